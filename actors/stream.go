package actors

import (
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
)

// stream is what a request actor has while it sends events: see request.beginStream. It costs no goroutine; its actor is woken by feeds, by the clock, or by the poller.
type stream struct {
	feed
	inbox // which feeds touches, and nobody else

	after  qube.Revision // of the last event that was sent, or left out by the filter
	behind bool          // it reads the history, and not its inbox

	out   [][]byte    // frames, or the rest of one, that the client has not taken yet; some are shared with other streams
	held  int         // bytes of out
	begun bool        // the client has taken a part of the first of out
	sent  int         // events that the client has taken
	taken int         // bytes of them
	timer func() bool // stops the clock until the next tick
}

// feed is the Feed that a method is given: it keeps what the method asks for.
type feed struct {
	follow *stages.Follow
	tick   func(qube.View) ([]qube.Event, time.Duration, error)
}

// Follow is part of stages.Feed.
func (f *feed) Follow(what stages.Follow) { f.follow = &what }

// Every is part of stages.Feed.
func (f *feed) Every(tick func(qube.View) ([]qube.Event, time.Duration, error)) { f.tick = tick }

// due is what the clock tells a stream: it is time for a tick.
type due struct{}

// IgnoreDeadLetterLogging keeps the library from logging what is for a client that has left.
func (due) IgnoreDeadLetterLogging() {}

var (
	errBehind = exception.New(exception.QubesException, "events were read too slowly; begin again, or go on from the last revision that was read")
	errSilent = errors.New("actors: a stream that asks for no events")
)

// beginStream carries out a Streams call.
func (r *request) beginStream(ctx actor.Context) {
	s := &stream{}
	err := r.call.authorized.Stream(&s.feed)
	if err == nil && (s.follow == nil) == (s.tick == nil) {
		err = errSilent
	}
	if err == nil && s.follow != nil && s.follow.After != nil {
		_, err = r.d.settings.Book.Since(*s.follow.After) // an exception where nothing can be gone on from
	}
	if err == nil {
		r.stream = s
		if s.after, err = r.d.feeds.join(r, s.follow != nil); err != nil {
			r.stream = nil
		}
	}
	if err != nil {
		r.finish(ctx, messages.Reply{}, err)
		return
	}
	r.phase = streaming
	var from qube.Revision // spec: events.md 1
	if s.follow != nil && s.follow.Numbered {
		if s.follow.After != nil {
			s.after, s.behind = *s.follow.After, true
		}
		from = s.after
	}
	s.put(messages.EventOf(qube.Event{Name: "connection-established"}, from).AppendFrame(nil))
	if r.left() { // before there was a stream that could have been told
		r.end(ctx, nil)
		return
	}
	if s.tick != nil {
		r.tick(ctx)
		return
	}
	r.flow(ctx)
}

// put adds a frame to what the client is to take.
func (s *stream) put(frame []byte) {
	s.out, s.held = append(s.out, frame), s.held+len(frame)
}

// drop throws away what the client has not taken, but for the rest of a frame that it has begun to take, which it gives.
func (s *stream) drop() (rest []byte) {
	if s.begun {
		rest = s.out[0]
		s.sent++
	}
	s.out, s.held, s.begun = nil, 0, false
	return rest
}

// drain gives all that the client has not taken.
func (s *stream) drain() (rest []byte) {
	for _, frame := range s.out {
		rest = append(rest, frame...)
	}
	s.sent += len(s.out)
	s.out, s.held, s.begun = nil, 0, false
	return rest
}

// proceedStream goes on when the client has taken something, or has left.
func (r *request) proceedStream(ctx actor.Context) {
	if r.left() {
		r.end(ctx, nil) // which is how streams end
		return
	}
	r.flow(ctx)
}

// left reports whether the client has left, and not only ended its request.
func (r *request) left() bool { return r.via.hasGone() || r.conn.left() }

// flow sends what there is to be sent, as far as the client takes it.
func (r *request) flow(ctx actor.Context) {
	s := r.stream
	queue, overrun := r.d.feeds.take(r)
	defer func() { // whatever happens here: commits wait for it
		for _, d := range queue {
			d.turned()
		}
	}()
	if overrun {
		r.cut(ctx)
		return
	}
	if !s.behind {
		for _, d := range queue {
			s.receive(d)
		}
	}
	for {
		if err := r.push(); err != nil {
			r.end(ctx, nil) // the client has left
			return
		}
		if !s.behind || len(s.out) > 0 {
			break
		}
		if err := r.recall(); err != nil {
			r.endStream(ctx, err, s.drop())
			return
		}
	}
	switch {
	case s.held > r.d.settings.Backlog && len(s.out) > 1: // one event can always be read
		r.cut(ctx)
	case len(s.out) > 0:
		r.await(ctx, unix.EPOLLOUT)
	default:
		r.await(ctx, 0)
	}
}

// receive puts what the subscriber is to be told of d. What it had from the history already is not told again.
func (s *stream) receive(d *delivery) {
	for _, h := range d.events {
		if h.revision > 0 && h.revision <= s.after {
			continue
		}
		if h.revision > 0 {
			s.after = h.revision
		}
		switch {
		case !s.follow.Keeps(h.view, h.Event):
		case s.follow.Numbered:
			s.put(h.numbered)
		default:
			s.put(h.plain)
		}
	}
}

// recallAtOnce is how many bytes are read from the history before the client has taken them, about.
const recallAtOnce = 64 << 10

// recall puts the next part of the history. A client that reads gets all of it, however long it is.
func (r *request) recall() error {
	s := r.stream
	ok, until := r.d.feeds.caughtUp(r, s.after)
	if ok {
		s.behind = false
		return nil
	}
	batches, err := r.d.settings.Book.Since(s.after)
	if err != nil {
		return err // it was overtaken
	}
	for _, b := range batches {
		for i, e := range b.Events {
			revision, view := b.RevisionOf(i), b.ViewOf(i)
			switch {
			case revision > until:
				return nil
			case s.held >= min(recallAtOnce, r.d.settings.Backlog/2):
				return nil
			case revision <= s.after:
				continue
			}
			s.after = revision
			if view != nil && s.follow.Keeps(view, e) {
				s.put(messages.EventOf(e, revision).AppendFrame(nil))
			}
		}
	}
	s.after = max(s.after, until) // the rest told nobody anything
	return nil
}

// tick sends what the method has to say now.
func (r *request) tick(ctx actor.Context) {
	s := r.stream
	events, next, err := s.tick(r.d.settings.Book.View())
	for _, e := range events {
		s.put(messages.EventOf(e, 0).AppendFrame(nil))
	}
	if err != nil {
		r.endStream(ctx, err, s.drain())
		return
	}
	self := ctx.Self()
	s.timer = r.d.settings.Clock.AfterFunc(next, func() { r.d.send(self, due{}) })
	r.flow(ctx)
}

// push writes what the client takes now.
func (r *request) push() error {
	s := r.stream
	for len(s.out) > 0 {
		n, err := r.conn.writeAll(s.out)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		r.d.stats.events.Add(uint64(s.took(n)))
	}
	s.out = nil // with the room that it has grown to
	return nil
}

// took notes that the client has taken n bytes, and gives how many frames those were the last of.
func (s *stream) took(n int) (frames int) {
	s.held, s.taken = s.held-n, s.taken+n
	for n > 0 {
		first := len(s.out[0])
		if s.begun = n < first; s.begun {
			s.out[0] = s.out[0][n:]
			break
		}
		n -= first
		frames++
		s.out[0], s.out = nil, s.out[1:]
	}
	s.sent += frames
	return frames
}

// await has the actor told when the client has left, or has taken something.
func (r *request) await(ctx actor.Context, events uint32) {
	if err := r.d.watched.attend(r, events); err != nil {
		r.endStream(ctx, err, r.stream.drop())
	}
}

// cut ends the stream of a client that has fallen behind. It is told so, if it reads that in time.
func (r *request) cut(ctx actor.Context) {
	rest := r.stream.drop()
	r.d.stats.cut.Add(1)
	r.d.log.StreamCut(r.call.method(), r.call.authorized.Source().Shown(), r.call.authorized.Dest().Shown(), r.stream.sent)
	r.endStream(ctx, errBehind, rest)
}

// endStream ends the stream after rest, with an exception if err is one. The client has as long to take that as any.
func (r *request) endStream(ctx actor.Context, err error, rest []byte) {
	var e *exception.Exception
	if err != nil {
		e = r.d.translate(err, "request", typesOf, r.call.method())
		rest = e.AppendFrame(rest[:len(rest):len(rest)]) // which others may have, too
	}
	r.leaveStream()
	r.reply(e, rest)
	r.write(ctx)
}

// leaveStream takes the actor out of what wakes it, if it streams.
func (r *request) leaveStream() {
	if r.stream == nil {
		return
	}
	r.d.feeds.leave(r)
	if r.stream.timer != nil {
		r.stream.timer()
	}
}
