package drive

import (
	"bufio"
	"context"
	"errors"
	"time"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
	"sallyport/messages"
)

// accompany has subscribers follow events, and clients misbehave, until ctx ends.
func (d *driver) accompany(ctx context.Context, rec *measure.Recorder) {
	n := -1 // of all subscribers
	for _, group := range d.s.Subscribers {
		for range group.Count {
			if n++; n%d.o.Of != d.o.Part {
				continue
			}
			draw := d.newDraw(subscribing + n)
			if group.For > 0 {
				d.stay.Go(func() {
					defer d.crashed()
					pause(ctx, group.At-d.now())
					d.subscribe(ctx, rec, group, draw)
				})
				continue
			}
			d.beside.Go(func() {
				defer d.crashed()
				pause(ctx, group.At-d.now())
				for ctx.Err() == nil {
					d.subscribe(ctx, rec, group, draw)
					pause(ctx, time.Second) // one that was cut off comes back
				}
			})
		}
	}
	for _, a := range d.s.Adversaries {
		d.beside.Go(func() {
			defer d.crashed()
			d.pester(ctx, rec, a)
		})
	}
}

// pester has this machine's share of an adversary misbehave, until ctx ends.
func (d *driver) pester(ctx context.Context, rec *measure.Recorder, a scenario.Adversary) {
	own, between := d.pace(a)
	if own == 0 {
		return
	}
	under := make(chan struct{}, own)
	every := time.NewTicker(between)
	defer every.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-every.C:
			select {
			case under <- struct{}{}:
				d.beside.Go(func() {
					d.misbehave(ctx, rec, a.Kind)
					<-under
				})
			default: // as many are there as are to be
			}
		}
	}
}

// pace gives how many of an adversary may be on this machine at the same time, and how long it is from one to the next: the
// machines have the rate as they have the places.
func (d *driver) pace(a scenario.Adversary) (own int, between time.Duration) {
	own = places(a.Count, d.o.Part, d.o.Of)
	rate := a.Rate * float64(own) / float64(a.Count)
	return own, max(time.Microsecond, time.Duration(float64(time.Second)/rate))
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// closing has conn closed when ctx ends, so that whatever waits for it ends, too.
func closing(ctx context.Context, conn half) (done func()) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return func() {
		stop()
		_ = conn.Close()
	}
}

// errLeft says that a subscriber has stayed as long as it was to.
var errLeft = errors.New("left")

// subscribe follows events until ctx ends, the subscriber is to leave, or the server ends the stream, which counts as a
// call that ended then.
func (d *driver) subscribe(ctx context.Context, rec *measure.Recorder, group scenario.Subscribers, draw *scenario.Draw) {
	begun := d.now()
	request, source := requestOf(d.s, &group.Call, draw)
	k, s := measure.Key{Method: group.Call.Method, Source: source}, measure.Sample{Intended: begun}
	conn, err := d.dial(ctx)
	if err == nil {
		defer closing(ctx, conn)()
		s.Connected = d.now()
		k.Outcome, k.Type, err = d.follow(ctx, conn, rec, group, request)
	}
	if ctx.Err() != nil || err == errLeft {
		return
	}
	if err != nil {
		k.Outcome = d.why.of(err)
	}
	s.Done = d.now()
	rec.Add(k, s)
}

// follow reads events until the stream ends, which it is not to do, and says how; errLeft: we ended it.
func (d *driver) follow(ctx context.Context, conn half, rec *measure.Recorder, group scenario.Subscribers, request []byte) (measure.Outcome, string, error) {
	if group.For > 0 {
		var leave context.CancelFunc
		ctx, leave = context.WithTimeout(ctx, group.For)
		defer leave()
		defer closing(ctx, conn)()
	}
	o, kind, err := d.followed(ctx, conn, rec, group, request)
	if ctx.Err() != nil {
		err = errLeft
	}
	return o, kind, err
}

// followed is follow without the leaving.
func (d *driver) followed(ctx context.Context, conn half, rec *measure.Recorder, group scenario.Subscribers, request []byte) (measure.Outcome, string, error) {
	if _, err := conn.Write(request); err != nil { // in time, which dial has set
		return "", "", err
	}
	if err := conn.CloseWrite(); err != nil {
		return "", "", err
	}
	if group.Silent {
		<-ctx.Done()
		return "", "", errLeft
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return "", "", err
	}
	return d.readEvents(conn, rec, &group.Call)
}

// readEvents reads events until the stream ends, and says how.
func (d *driver) readEvents(conn half, rec *measure.Recorder, c *scenario.Call) (measure.Outcome, string, error) {
	r := bufio.NewReaderSize(conn, 4<<10)
	for {
		tag, err := r.Peek(2)
		if len(tag) == 0 {
			return "", "", err
		}
		if string(tag) != "1\x00" {
			_ = conn.SetReadDeadline(time.Now().Add(d.s.Timeout)) // for the rest of what is no event
			o, kind, _, err := d.read(r, c, nil)
			return o, kind, err
		}
		if err := skipEvent(r); err != nil {
			return "", "", err
		}
		rec.Read()
	}
}

// skipEvent reads the event that r begins with. Nothing of it is needed, and nothing is kept, since a server may send one
// that is as long as it likes (spec: wire.md 4): "1" NUL subject NUL name NUL (key NUL value NUL)* NUL.
func skipEvent(r *bufio.Reader) error {
	const firstKey = 3
	for part := 0; ; part++ {
		empty, err := skipPart(r)
		if err != nil || empty && part >= firstKey && (part-firstKey)%2 == 0 {
			return err
		}
	}
}

// skipPart reads up to the next NUL, and reports whether there was nothing before it.
func skipPart(r *bufio.Reader) (empty bool, err error) {
	part, err := r.ReadSlice(0)
	empty = len(part) == 1
	for err == bufio.ErrBufferFull {
		_, err = r.ReadSlice(0)
	}
	return empty, err
}

// misbehave does one misdeed, and counts what came of it: how the server ended it, or that it had not within the timeout.
func (d *driver) misbehave(ctx context.Context, rec *measure.Recorder, kind scenario.Misdeed) {
	defer d.crashed()
	k := measure.Key{Method: string(kind)}
	conn, err := d.dial(ctx)
	if err == nil {
		defer closing(ctx, conn)()
		err = d.misdeed(ctx, conn, kind)
	}
	if err == nil {
		k.Outcome, k.Type, _, err = d.read(conn, &scenario.Call{Expect: scenario.Expect{Any: true}}, nil)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		k.Outcome = outcomeOf(err)
	}
	rec.Beside(k)
}

const (
	slowly   = 100 * time.Millisecond  // between two bytes of a slow sender
	oversize = 2 * messages.MaxRequest // bytes
)

// misdeed does what is wrong. What the server says to it is read afterwards.
func (d *driver) misdeed(ctx context.Context, conn half, kind scenario.Misdeed) error {
	request := messages.FormatRequest("admin.vm.List", "dom0", "dom0", nil)
	if d.s.Target.Plain {
		request = []byte("a request")
	}
	switch kind {
	case scenario.SlowSender:
		for i := 0; ctx.Err() == nil; i = (i + 1) % (len(request) - 1) {
			if _, err := conn.Write(request[i : i+1]); err != nil {
				return said(err)
			}
			pause(ctx, slowly)
		}
	case scenario.NeverReader:
		if _, err := conn.Write(request); err != nil {
			return said(err)
		}
		if err := conn.CloseWrite(); err != nil {
			return said(err)
		}
		pause(ctx, d.s.Timeout/2) // and then it looks what has become of its reply
	case scenario.HalfFrame:
		if _, err := conn.Write(request[:len(request)/2]); err != nil {
			return said(err)
		}
		return said(conn.CloseWrite())
	case scenario.Oversize:
		if _, err := conn.Write(make([]byte, oversize)); err != nil {
			return said(err)
		}
		return said(conn.CloseWrite())
	case scenario.Flood:
	}
	return ctx.Err()
}

// said makes nothing of an error in sending to a server that has closed: it may have said why.
func said(err error) error {
	if outcomeOf(err) == measure.Reset {
		return nil
	}
	return err
}
