// Package messages is the vocabulary that every other package speaks: the frames of the wire and what they carry.
//
//	bytes ─ReadRequest→ Request ─stages→ Reply | exception ─Frame→ bytes
package messages

import (
	"sallyport/messages/exception"
	"sallyport/messages/untrusted"
)

// The limits of a request, in bytes (spec: wire.md 2).
const (
	MaxRequest = 65536 // header, NUL and payload together
	MaxHeader  = 4096
)

// Request is one call as it came off the socket: split, and every part still sealed.
type Request struct {
	Call     untrusted.Bytes // method, or method+argument
	Source   untrusted.Bytes
	DestType untrusted.Bytes
	Dest     untrusted.Bytes
	Payload  untrusted.Bytes
}

// The ways a frame can be too broken to hold a request.
var (
	ErrUnframed  = exception.New(exception.ProtocolError, "a request is: method+argument SP source SP type SP destination NUL payload")
	ErrTooLarge  = exception.New(exception.ProtocolError, "the request is larger than 65536 bytes")
	ErrLongHead  = exception.New(exception.ProtocolError, "the request's header is too long")
	ErrSlow      = exception.New(exception.ProtocolError, "the request did not arrive in time")
	ErrNoRequest = exception.New(exception.ProtocolError, "the connection was closed before a request arrived")
)

// ParseRequest splits what arrived until the client's half-close (spec: wire.md 2, split rules 1 and 2). It takes
// ownership of b. Its errors are exceptions.
func ParseRequest(b []byte) (Request, error) { return ParseRequestWithin(b, MaxHeader) }

// ParseRequestWithin is ParseRequest with a limit of its own on the header, in bytes.
func ParseRequestWithin(b []byte, maxHeader int) (Request, error) {
	if len(b) == 0 {
		return Request{}, ErrNoRequest
	}
	if len(b) > MaxRequest {
		return Request{}, ErrTooLarge
	}
	header, payload, ok := untrusted.Seal(b).Cut(0)
	if header.Len() > maxHeader {
		return Request{}, ErrLongHead
	}
	r := Request{Payload: payload}
	for _, part := range []*untrusted.Bytes{&r.Call, &r.Source, &r.DestType} {
		if !ok {
			return Request{}, ErrUnframed
		}
		*part, header, ok = header.Cut(' ')
	}
	if !ok {
		return Request{}, ErrUnframed
	}
	r.Dest = header // the fourth part is all that is left, spaces included
	return r, nil
}

// Encode gives back the bytes that ParseRequest would read r from, sealed.
func (r Request) Encode() untrusted.Bytes {
	return untrusted.Join(0, untrusted.Join(' ', r.Call, r.Source, r.DestType, r.Dest), r.Payload)
}

// FormatRequest is the request that a client sends: call is METHOD or METHOD+ARGUMENT.
func FormatRequest(call, source, dest string, payload []byte) []byte {
	b := make([]byte, 0, len(call)+len(source)+len(dest)+len(payload)+9)
	b = append(b, call...)
	b = append(b, ' ')
	b = append(b, source...)
	b = append(b, " name "...)
	b = append(b, dest...)
	b = append(b, 0)
	return append(b, payload...)
}
