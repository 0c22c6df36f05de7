package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"sallyport/actors"
	"sallyport/config"
	"sallyport/messages"
	"sallyport/messages/qube"
)

// remoteOf reads what it takes to serve clients on other machines; nil if that is off.
func remoteOf(c config.TLS) (*actors.Remote, error) {
	if !c.Listen.IsValid() {
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return nil, fmt.Errorf("tls.certificate, tls.key: expected PEM files of a certificate and its key: %w", err)
	}
	r := &actors.Remote{
		Address: c.Listen.String(), Certificate: certificate, ClientCAs: x509.NewCertPool(),
		Connections: c.Connections, Handshake: c.HandshakeTimeout,
	}
	for _, path := range c.ClientCA {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("tls.client_ca: expected a PEM file of certificates: %w", err)
		}
		if !r.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.client_ca: expected a PEM file of certificates: %s has none", path)
		}
	}
	for _, e := range c.Peers {
		p := &messages.Peer{Guests: e.Guests, Decided: e.Decided}
		if p.Sources, err = namesOf(e.Sources); err != nil {
			return nil, err
		}
		r.Peers = append(r.Peers, actors.Certified{DNS: e.DNS, URI: e.URI, Peer: p})
	}
	return r, nil
}

// namesOf are the sources that an entry of the configuration names.
func namesOf(sources []config.Source) ([]qube.Name, error) {
	var names []qube.Name
	for _, s := range sources {
		n, err := qube.ParseName(s.Name)
		if err != nil {
			return nil, s.Expected("a qube's name")
		}
		names = append(names, n)
	}
	return names, nil
}
