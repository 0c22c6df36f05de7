package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"sallyport/internal/endpoint"
)

// This file is what those have in common who serve clients at a socket of their own, and pass on what they say to a daemon.

// drain is how long calls may take to end once we are told to stop, and a client to take its reply.
const drain = 30 * time.Second

// again is how long after a signal a second one ends the tool at once. One that comes earlier is the same, sent to the tool
// and to its group, as timeout(1) does.
const again = 300 * time.Millisecond

// untilTold is a context that a signal ends; a second one ends the tool at once.
func untilTold() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, func() { time.AfterFunc(again, stop) })
	return ctx, stop
}

// listenAt makes a socket for this user alone.
func listenAt(path string) (*net.UnixListener, error) {
	if err := endpoint.RemoveStale(path); err != nil {
		return nil, fail(exitUsage, "--socket: %s: %v", path, cause(err))
	}
	// The file gets the mode of the descriptor.
	private := func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), 0o600) }), err)
	}
	l, err := (&net.ListenConfig{Control: private}).Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fail(exitUsage, "--socket: %s: %v", path, cause(err))
	}
	return l.(*net.UnixListener), nil
}

// serveClients has serve serve each client, of which there are most at once and others have to wait, until stop. Then
// serve is to end what could go on for ever, and, drain later, when its end ends, all.
func serveClients(stop context.Context, listener *net.UnixListener, most int, serve func(stop, end context.Context, client *net.UnixConn)) error {
	context.AfterFunc(stop, func() { _ = listener.Close() }) // which removes the file
	end, cancel := context.WithCancel(context.Background())
	defer cancel()
	slots := make(chan struct{}, most)
	var clients sync.WaitGroup
	for {
		client, err := listener.AcceptUnix()
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM) {
			time.Sleep(10 * time.Millisecond) // somebody will leave
			continue
		}
		if err != nil {
			_ = listener.Close()
			timer := time.AfterFunc(drain, cancel)
			clients.Wait()
			timer.Stop()
			if stop.Err() == nil {
				return fail(exitUsage, "--socket: %s: %v", listener.Addr(), cause(err))
			}
			return nil
		}
		slots <- struct{}{}
		clients.Go(func() {
			defer func() { <-slots }()
			serve(stop, end, client)
		})
	}
}

// halfCloser is a connection to a daemon that can be told that the client has said all.
type halfCloser interface {
	io.Writer
	CloseWrite() error
}

// passUp passes on what a client says, and that it has said all. The connection stays open: who closes it leaves, for the
// daemon. Its error is why there is no more to read, which is io.EOF if the client has said all.
func passUp(client io.Reader, daemon halfCloser) error {
	room, refused := make([]byte, 16<<10), false
	for {
		n, err := client.Read(room)
		if n > 0 && !refused { // a daemon that has answered takes no more
			_, failed := daemon.Write(room[:n])
			refused = failed != nil
		}
		if err == io.EOF {
			_ = daemon.CloseWrite()
		}
		if err != nil {
			return err
		}
	}
}

// teller tells what kept a client from its reply. Safe for concurrent use.
type teller struct {
	of     string // the daemon
	mu     sync.Mutex
	stderr io.Writer
}

func (t *teller) say(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.stderr, "sallyport: %s: %s\n", escape([]byte(t.of), ""), escape([]byte(err.Error()), ""))
}
