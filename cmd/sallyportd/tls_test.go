package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/endpoint"
	"sallyport/internal/testcert"
	"sallyport/messages"
)

// remotely starts a demo that serves clients on other machines, and gives the authority that it knows.
func remotely(t *testing.T) (*process, *testcert.Authority) {
	dir, a := t.TempDir(), testcert.NewAuthority()
	require.NoError(t, errors.Join(a.Write(dir, "ca"), testcert.Write(dir, "daemon", a.Server("daemon"))))
	config := filepath.Join(dir, "config.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `listen_tls: "127.0.0.1:0"
tls:
  certificate: %[1]s/daemon.pem
  key: %[1]s/daemon.key
  client_ca: [%[1]s/ca.pem]
  peers:
  - {dns: admin.example, sources: [dom0]}
  - {uri: "spiffe://example/qrexec", sources: "*", policy: decided}
  - {dns: guests.example, sources: "*"}
`, dir), 0o600))
	return start(t, nil, "--demo", "--config", config), a
}

// dialTLS makes a connection over TLS, and sends a whole request.
func (p *process) dialTLS(c tls.Certificate, a *testcert.Authority, request []byte) (*tls.Conn, *endpoint.Wire) {
	raw, err := net.Dial("tcp", p.events("ready")[0].text("network.local.address"))
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = raw.Close() })
	require.NoError(p.t, raw.SetDeadline(time.Now().Add(timeoutOfTests)))
	wire := &endpoint.Wire{TCPConn: raw.(*net.TCPConn)}
	conn := tls.Client(wire, &tls.Config{Certificates: []tls.Certificate{c}, RootCAs: a.Pool(), ServerName: "daemon"})
	_, _ = conn.Write(request)
	_ = conn.CloseWrite()
	return conn, wire
}

func TestClientsOnOtherMachines(t *testing.T) {
	p, a := remotely(t)
	for _, c := range []struct {
		why, name          string
		call, source, dest string
		want               string
	}{
		{"dom0, which is named", "admin.example", "admin.vm.feature.Get+service.cups", "dom0", "work", ""},
		{"and nobody else", "admin.example", "admin.vm.feature.Get+service.cups", "work", "work", "PermissionDenied"},
		{"every qube, judged already", "spiffe://example/qrexec", "admin.vm.feature.Get+service.cups", "work", "work", ""},
		{"but not dom0, which is not named", "spiffe://example/qrexec", "admin.vm.feature.Get+service.cups", "dom0", "work", "PermissionDenied"},
		{"nor one that does not exist", "spiffe://example/qrexec", "admin.vm.feature.Get+service.cups", "nosuch", "work", "PermissionDenied"},
		{"every qube, by the policy, which there is none of", "guests.example", "admin.vm.feature.Get+service.cups", "work", "work", "PermissionDenied"},
		{"a name that has no entry", "daemon", "admin.vm.feature.Get+service.cups", "dom0", "work", "PermissionDenied"},
	} {
		conn, wire := p.dialTLS(a.Client(c.name), a, messages.FormatRequest(c.call, c.source, c.dest, nil))
		b, err := io.ReadAll(conn)
		require.NoError(t, err, c.why)
		assert.True(t, wire.Ended(io.EOF), c.why)
		answer, err := messages.ParseAnswer(b)
		require.NoError(t, err, c.why)
		assert.Equal(t, c.want, answer.Type, c.why)
	}
	conn, _ := p.dialTLS(testcert.NewAuthority().Client("admin.example"), a, messages.FormatRequest("admin.vm.List+", "dom0", "dom0", nil))
	b, err := io.ReadAll(conn)
	assert.Error(t, err, "whom our authority does not know is not heard")
	assert.Empty(t, b)
}

// A daemon that is told to stop ends streams, and ends cleanly.
func TestSIGTERMEndsRemoteStreams(t *testing.T) {
	p, a := remotely(t)
	conn, wire := p.dialTLS(a.Client("admin.example"), a, messages.FormatRequest("admin.Events+", "dom0", "dom0", nil))
	events := bufio.NewReader(conn)
	e, err := messages.ReadEvent(events)
	require.NoError(t, err)
	assert.Equal(t, "connection-established", e.Name)
	assert.Equal(t, 0, p.terminate())
	rest, err := io.ReadAll(events)
	assert.NoError(t, err)
	assert.Empty(t, rest)
	assert.True(t, wire.Ended(io.EOF))
	done := p.events("request.done")
	require.Len(t, done, 1)
	assert.Equal(t, "admin.example", done[0].text("sallyport.peer.name"))
	assert.Equal(t, "tls", done[0].text("sallyport.socket"))
	assert.Equal(t, "admin.Events", done[0].text("rpc.method"))
}

func TestBadCertificatesAreOneLineAndExit2(t *testing.T) {
	dir, a := t.TempDir(), testcert.NewAuthority()
	require.NoError(t, errors.Join(a.Write(dir, "ca"), testcert.Write(dir, "daemon", a.Server("daemon")), testcert.Write(dir, "other", a.Server("other"))))
	for _, c := range []struct{ tls, want string }{
		{"{certificate: DIR/none.pem, key: DIR/daemon.key, client_ca: [DIR/ca.pem]}", "tls.certificate, tls.key: expected PEM files of a certificate and its key: open DIR/none.pem: no such file or directory"},
		{"{certificate: DIR/daemon.pem, key: DIR/other.key, client_ca: [DIR/ca.pem]}", "tls.certificate, tls.key: expected PEM files of a certificate and its key: tls: private key does not match public key"},
		{"{certificate: DIR/daemon.pem, key: DIR/daemon.key, client_ca: [DIR/none.pem]}", "tls.client_ca: expected a PEM file of certificates: open DIR/none.pem: no such file or directory"},
		{"{certificate: DIR/daemon.pem, key: DIR/daemon.key, client_ca: [DIR/ca.pem, DIR/daemon.key]}", "tls.client_ca: expected a PEM file of certificates: DIR/daemon.key has none"},
		{"{certificate: DIR/daemon.pem, key: DIR/daemon.key, client_ca: [DIR/ca.pem], peers: [{dns: a, sources: [1bad]}]}", "DIR/config.yaml:1: tls.peers[0].sources[0]: expected a qube's name"},
	} {
		in := func(s string) string { return strings.ReplaceAll(s, "DIR", dir) }
		config := filepath.Join(dir, "config.yaml")
		require.NoError(t, os.WriteFile(config, []byte("tls: "+in(c.tls)+"\n"), 0o600))
		code, said := runHere(t, "--demo", "--config", config, "--listen-tls", "127.0.0.1:0", "--socket-dir", filepath.Join(dir, "sockets"))
		assert.Equal(t, 2, code, c.tls)
		assert.Equal(t, "sallyportd: "+in(c.want), said)
	}
}
