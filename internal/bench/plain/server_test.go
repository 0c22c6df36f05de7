package main

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/bench/terms"
)

func TestAnswer(t *testing.T) {
	s := &server{features: map[string]map[string]string{"work": {"bench": "yes", "empty": ""}}, replies: terms.Replies{
		"admin.vm.List+ dom0 name dom0\x00": []byte("0\x00work class=AppVM\n"),
	}}
	socket := filepath.Join(t.TempDir(), "s.sock")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.serve(l) }()
	t.Cleanup(func() {
		l.Close()
		assert.ErrorIs(t, <-served, net.ErrClosed)
	})

	for name, c := range map[string]struct{ request, want string }{
		"found":               {"admin.vm.feature.Get+bench dom0 name work\x00", "0\x00yes"},
		"empty":               {"admin.vm.feature.Get+empty dom0 name work\x00", "0\x00"},
		"given":               {"admin.vm.List+ dom0 name dom0\x00", "0\x00work class=AppVM\n"},
		"given, with more":    {"admin.vm.List+ dom0 name dom0\x00x", "2\x00ProtocolError\x00"},
		"source is a qube":    {"admin.vm.feature.Get+bench work name work\x00", "0\x00yes"},
		"no such feature":     {"admin.vm.feature.Get+no dom0 name work\x00", "2\x00QubesFeatureNotFoundError\x00"},
		"no such dest":        {"admin.vm.feature.Get+bench dom0 name nobody\x00", "2\x00QubesVMNotFoundError\x00"},
		"no such source":      {"admin.vm.feature.Get+bench nobody name work\x00", "2\x00QubesVMNotFoundError\x00"},
		"keyword":             {"admin.vm.feature.Get+no dom0 keyword adminvm\x00", "2\x00QubesFeatureNotFoundError\x00"},
		"other keyword":       {"admin.vm.feature.Get+no dom0 keyword dispvm\x00", "2\x00ProtocolError\x00"},
		"payload":             {"admin.vm.feature.Get+bench dom0 name work\x00x", "2\x00ProtocolError\x00"},
		"no argument":         {"admin.vm.feature.Get+ dom0 name work\x00", "2\x00ProtocolError\x00"},
		"no such method":      {"admin.nosuch+ dom0 name work\x00", "2\x00ProtocolError\x00"},
		"no NUL":              {"admin.vm.feature.Get+bench dom0 name work", "2\x00ProtocolError\x00"},
		"too few fields":      {"admin.vm.feature.Get+bench dom0 name\x00", "2\x00ProtocolError\x00"},
		"nothing":             {"", "2\x00ProtocolError\x00"},
		"header at limit":     {"admin.vm.feature.Get+bench dom0 name " + strings.Repeat("x", 4059) + "\x00", "2\x00QubesVMNotFoundError\x00"},
		"header over limit":   {"admin.vm.feature.Get+bench dom0 name " + strings.Repeat("x", 4060) + "\x00", "2\x00ProtocolError\x00"},
		"largest request":     {"admin.nosuch+ dom0 name work\x00" + strings.Repeat("x", 65536-29), "2\x00ProtocolError\x00\x00there is no such"},
		"larger than largest": {"admin.nosuch+ dom0 name work\x00" + strings.Repeat("x", 65537-29), "2\x00ProtocolError\x00\x00the request is larger"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("unix", socket)
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
			_, err = io.WriteString(conn, c.request)
			require.NoError(t, err)
			require.NoError(t, conn.(*net.UnixConn).CloseWrite())
			reply, err := io.ReadAll(conn)
			require.NoError(t, err)
			if strings.HasPrefix(c.want, "0") {
				assert.Equal(t, c.want, string(reply))
			} else {
				assert.Truef(t, strings.HasPrefix(string(reply), c.want), "%q does not begin %q", reply, c.want)
			}
		})
	}
}
