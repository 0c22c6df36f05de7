// Package testcert makes certificates for tests.
package testcert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Authority signs certificates.
type Authority struct {
	key  crypto.Signer
	cert *x509.Certificate
}

// NewAuthority makes one that is good for an hour.
func NewAuthority() *Authority {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	return &Authority{key, must(x509.ParseCertificate(der))}
}

// Pool holds the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// Server signs a certificate for the server of that name, or address.
func (a *Authority) Server(name string) tls.Certificate {
	return a.Certify(x509.ExtKeyUsageServerAuth, time.Hour, name)
}

// Client signs a certificate for a client of those names; those with a colon are URIs, unless they are addresses.
func (a *Authority) Client(names ...string) tls.Certificate {
	return a.Certify(x509.ExtKeyUsageClientAuth, time.Hour, names...)
}

// Certify signs a certificate that is valid for life from now on, and has been for two hours. Its subject is dom0, which
// must mean nothing.
func (a *Authority) Certify(usage x509.ExtKeyUsage, life time.Duration, names ...string) tls.Certificate {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "dom0"}, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(life),
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if strings.Contains(n, ":") {
			template.URIs = append(template.URIs, must(url.Parse(n)))
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der := must(x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Write makes the file NAME.pem of the authority in dir.
func (a *Authority) Write(dir, name string) error {
	return write(dir, name+".pem", "CERTIFICATE", a.cert.Raw)
}

// Write makes the files NAME.pem and NAME.key of a certificate in dir.
func Write(dir, name string, c tls.Certificate) error {
	key := must(x509.MarshalPKCS8PrivateKey(c.PrivateKey))
	return errors.Join(write(dir, name+".pem", "CERTIFICATE", c.Certificate[0]), write(dir, name+".key", "PRIVATE KEY", key))
}

func write(dir, name, kind string, der []byte) error {
	return os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// must is for what cannot fail, with what is given it here.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
