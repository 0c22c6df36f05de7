package main

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"sallyport/internal/bench/terms"
)

// The limits of a request (spec: wire.md 2), the same as sallyport's.
const (
	maxRequest  = 65536
	maxHeader   = 4096
	readTimeout = 30 * time.Second
)

type server struct {
	mu       sync.RWMutex                 // a real server's map changes
	features map[string]map[string]string // by qube, then by feature
	replies  terms.Replies                // to all other calls
}

func (s *server) serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			if errors.Is(err, syscall.EMFILE) {
				time.Sleep(5 * time.Millisecond) // until some caller is done, as net/http does
				continue
			}
			return err
		}
		go s.serveConn(conn)
	}
}

func (s *server) serveConn(conn net.Conn) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(readTimeout)); err != nil {
		return
	}
	request, err := io.ReadAll(io.LimitReader(conn, maxRequest+1))
	var reply []byte
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		reply = exception("ProtocolError", "the request did not arrive in time")
	case err != nil:
		return
	default:
		reply = s.answer(request)
	}
	if _, err := conn.Write(reply); err != nil {
		log.Printf("reply not sent: %v", err)
	}
}

// answer is the reply to a whole request.
func (s *server) answer(request []byte) []byte {
	if len(request) > maxRequest {
		return exception("ProtocolError", "the request is larger than 65536 bytes")
	}
	header, payload, ok := bytes.Cut(request, []byte{0})
	if !ok {
		return exception("ProtocolError", "the request has no header")
	}
	if len(header) > maxHeader {
		return exception("ProtocolError", "the request's header is larger than 4096 bytes")
	}
	call, rest, _ := bytes.Cut(header, []byte{' '})
	source, rest, _ := bytes.Cut(rest, []byte{' '})
	kind, dest, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return exception("ProtocolError", "the request's header has too few fields")
	}
	if string(kind) == "keyword" && string(dest) == "adminvm" {
		kind, dest = []byte("name"), []byte("dom0")
	}
	if string(kind) != "name" {
		return exception("ProtocolError", "the destination is neither a name nor the admin qube")
	}
	method, arg, _ := bytes.Cut(call, []byte{'+'})

	s.mu.RLock()
	defer s.mu.RUnlock()
	if _, ok := s.features[string(source)]; !ok && string(source) != "dom0" {
		return exception("QubesVMNotFoundError", "there is no qube %s", source)
	}
	features, ok := s.features[string(dest)]
	if !ok && string(dest) != "dom0" {
		return exception("QubesVMNotFoundError", "there is no qube %s", dest)
	}
	switch string(method) {
	case "admin.vm.feature.Get":
		if len(payload) > 0 {
			return exception("ProtocolError", "the method takes no payload")
		}
		if len(arg) == 0 {
			return exception("ProtocolError", "the method needs an argument")
		}
		value, ok := features[string(arg)]
		if !ok {
			return exception("QubesFeatureNotFoundError", "qube %s has no feature %s", dest, arg)
		}
		return append([]byte{'0', 0}, value...)
	default:
		if reply, ok := s.replies[string(request)]; ok {
			return reply
		}
		return exception("ProtocolError", "there is no such method")
	}
}

// exception is the frame of an exception (spec: wire.md 4): "2" NUL type NUL NUL format NUL (field NUL)*.
func exception(typ, format string, fields ...[]byte) []byte {
	b := append([]byte{'2', 0}, typ...)
	b = append(b, 0, 0)
	b = append(b, format...)
	b = append(b, 0)
	for _, f := range fields {
		b = append(b, f...)
		b = append(b, 0)
	}
	return b
}
