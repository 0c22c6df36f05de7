package scenario

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
)

// ClientTLS is how a client proves who it is to the daemon at addr, HOST:PORT. certificate, key and authority are files in
// PEM; without an authority, those of the system count. Without a name, the server's certificate is to bear the host's.
func ClientTLS(addr, certificate, key, authority, name string) (*tls.Config, error) {
	host, err := hostOf(addr)
	if err != nil {
		return nil, fmt.Errorf("expected %w", err)
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, expected("certificate and key to be PEM files that belong together")
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, ServerName: name, MinVersion: tls.VersionTLS13}
	if c.ServerName == "" {
		c.ServerName = host
	}
	if authority != "" {
		pem, err := os.ReadFile(authority)
		if c.RootCAs = x509.NewCertPool(); err != nil || !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, expected("authority to be a PEM file of certificates")
		}
	}
	return c, nil
}

// expected wraps what was expected, which a file's error says in its own way.
func expected(want string) error { return fmt.Errorf("expected %w", errors.New(want)) }

// hostOf is the host of HOST:PORT. Its error says what was expected.
func hostOf(addr string) (string, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return "", errors.New("connect to be HOST:PORT")
	}
	return host, nil
}
