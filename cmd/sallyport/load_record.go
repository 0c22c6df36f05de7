package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sallyport/internal/endpoint"
	"sallyport/internal/loadtest/trace"
)

func newLoadRecord(env func(string) string, stderr io.Writer) *cobra.Command {
	var socket, daemon string
	var payloads bool
	cmd := &cobra.Command{
		Use:   "record --socket PATH [flags] TRACE",
		Short: "Write down the calls of clients, to make them again",
		Long: `Give clients a socket to a daemon on this machine, and write down in the file TRACE what they call, and when.

What both say is passed on as it comes, and unchanged. TRACE, which must not be there yet, can be read by this user alone.
It has the method, argument, source and destination of each call, how it ended, and how long it took; of payloads the
length, and what is in them with --payloads only; of a request that is no call, the length alone. See sallyport load replay.

Exit codes: 0 told to stop; 2 usage, or a socket or file that cannot be made; 4 TRACE cannot be written any more: clients
get their replies, but there are no more of them. What keeps a client from its reply goes to standard error.`,
		Example: `  sallyport load record --socket ~/recorded.sock calls.trace &
  sallyport call --socket ~/recorded.sock admin.vm.List`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if socket == "" {
				return errors.New("--socket is the path of the socket to make")
			}
			if daemon == "" {
				var err error
				if daemon, err = usualSocket(env, socketOf("")); err != nil {
					return err
				}
			}
			listener, err := listenAt(socket)
			if err != nil {
				return err
			}
			defer listener.Close()
			file, err := createTrace(args[0])
			if err != nil {
				return fail(exitUsage, "%v", err)
			}
			ctx, stop := untilTold()
			defer stop()
			return record(ctx, listener, daemon, file, payloads, stderr)
		},
	}
	f := cmd.Flags()
	f.StringVar(&socket, "socket", "", "`PATH` of the socket to make")
	f.StringVar(&daemon, "daemon", "", "`PATH` of the daemon's socket (default as for sallyport call)")
	f.BoolVar(&payloads, "payloads", false, "write down what is in payloads, too")
	return cmd
}

// createTrace makes a file for this user alone. What is there already and is no regular file, such as a pipe, is taken.
func createTrace(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if info, there := os.Stat(path); errors.Is(err, os.ErrExist) && there == nil && !info.Mode().IsRegular() {
		return os.OpenFile(path, os.O_WRONLY, 0)
	}
	return f, err
}

const recordClients = 4096 // at once

// record passes on what clients of a socket and a daemon say to each other, and writes a trace of it to file, which it
// closes, until ctx ends or the trace cannot be written.
func record(ctx context.Context, listener *net.UnixListener, daemon string, file *os.File, payloads bool, stderr io.Writer) error {
	raiseDescriptors()
	w, err := trace.NewWriter(file, payloads)
	if err != nil {
		return fail(exitNoReply, "%v", errors.Join(err, file.Close()))
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-w.Failed():
			stop()
		case <-ctx.Done():
		}
	}()
	r := &recorder{daemon: daemon, trace: w, teller: teller{of: daemon, stderr: stderr}}
	served := serveClients(ctx, listener, recordClients, r.serve)
	stop()
	calls, err := w.Close()
	if err = cmp.Or(err, synced(file), file.Close()); err != nil {
		return fail(exitNoReply, "the recording has ended: %v", err)
	}
	fmt.Fprintf(stderr, "%s: %d connections\n", escape([]byte(file.Name()), ""), calls)
	return served
}

// synced writes a file to its disk, which may be full only then, and is content with what has none.
func synced(file *os.File) error {
	if err := file.Sync(); !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// recorder serves clients, and writes down what they call.
type recorder struct {
	daemon string
	trace  *trace.Writer
	teller
}

// serve serves a client.
func (r *recorder) serve(stop, end context.Context, client *net.UnixConn) {
	tap := r.trace.Begin()
	defer client.Close()
	defer context.AfterFunc(end, func() { _ = client.Close() })()
	conn, err := (&net.Dialer{Timeout: relayDial}).DialContext(end, "unix", r.daemon)
	if err != nil {
		r.say(fmt.Errorf("no daemon there: %w", cause(err)))
		_ = client.SetReadDeadline(time.Now().Add(relayDial))
		_, _ = io.Copy(io.Discard, sentBy{client, tap}) // it gets no reply, and no error either
		tap.End(trace.Missing)
		return
	}
	daemon := conn.(*net.UnixConn)
	defer daemon.Close()
	defer context.AfterFunc(end, func() { _ = daemon.Close() })()
	c := &recorded{client: client, daemon: daemon, tap: tap}
	var up sync.WaitGroup
	up.Go(c.up)
	how := c.down(stop)
	_ = endpoint.Left(daemon) // one that has only said all may still listen
	_ = daemon.Close()
	// What a client still sends is read and thrown away: else the kernel would reset its connection, and many clients
	// report that instead of the reply that they got before.
	_ = client.CloseRead()
	if c.asked.Load() {
		_ = client.SetReadDeadline(time.Unix(1, 0)) // which ends the wait for its leaving
	}
	up.Wait()
	tap.End(how)
}

// recorded is one client.
type recorded struct {
	client, daemon *net.UnixConn
	tap            *trace.Tap
	asked          atomic.Bool // the client has sent all
	told           atomic.Bool // the daemon has said all
	left           atomic.Bool // the client has left, before that
}

// up passes on what the client says, and closes the connection to the daemon when the client leaves.
func (c *recorded) up() {
	err := passUp(sentBy{c.client, c.tap}, c.daemon)
	if err == io.EOF {
		c.asked.Store(true)
		if c.told.Load() { // then there is nothing more to say
			_ = c.daemon.Close()
			return
		}
		err = endpoint.Left(c.client)
		if err != nil { // we have done with it
			return
		}
	}
	if !c.told.Load() && !errors.Is(err, net.ErrClosed) {
		c.left.Store(true)
	}
	_ = c.daemon.Close()
}

// down passes on what the daemon says, as it comes, and that it has said all. It gives what ended that before, if anything
// did. A stream ends when we are told to stop, too.
func (c *recorded) down(stop context.Context) trace.Outcome {
	from := &saidBy{reply: &connection{Conn: c.daemon}, c: c, stop: stop}
	_, err := io.Copy(c.client, from)
	if from.done != nil {
		from.done()
	}
	c.tap.Told()
	c.told.Store(true)
	_ = c.client.CloseWrite()
	switch {
	case err == nil:
		return ""
	case c.left.Load(), from.err == nil && !errors.Is(err, net.ErrClosed): // it takes no more
		_ = c.daemon.Close()
		return trace.Left
	default:
		return trace.Cut
	}
}

// sentBy is what a client sends.
type sentBy struct {
	client io.Reader
	tap    *trace.Tap
}

func (s sentBy) Read(p []byte) (int, error) {
	n, err := s.client.Read(p)
	if s.tap.Sent(p[:n]); err == io.EOF {
		s.tap.SentAll()
	}
	return n, err
}

// saidBy is what a daemon says.
type saidBy struct {
	reply *connection
	c     *recorded
	stop  context.Context
	done  func() bool // releases what waits for stop; nil: it is no stream
	err   error       // of reading; io.EOF: it is all
}

func (s *saidBy) Read(p []byte) (int, error) {
	n, err := s.reply.Read(p)
	s.c.tap.Said(p[:n])
	s.err = err
	if s.c.tap.Stream() && s.done == nil {
		s.done = context.AfterFunc(s.stop, func() {
			_ = s.c.daemon.Close() // by which the daemon learns that nobody listens
			_ = s.c.client.SetWriteDeadline(time.Unix(1, 0))
		})
	}
	return n, err
}
