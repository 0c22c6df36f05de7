package messages

import "sallyport/messages/qube"

// Peer is who holds the other end of a connection, as the kernel or a certificate says, and what the configuration lets
// him claim (design: 7). The zero Peer may claim nothing. It never changes, and is shared by all connections of that peer.
type Peer struct {
	Any     bool        // may claim any source
	Guests  bool        // may claim any source but dom0
	Sources []qube.Name // may claim these
	Decided bool        // evaluated policy already, as qrexec does
}

// May reports whether p may claim to speak for source.
func (p *Peer) May(source qube.Name) bool {
	if p.Any || p.Guests && source != qube.Dom0 {
		return true
	}
	for _, s := range p.Sources {
		if s == source {
			return true
		}
	}
	return false
}
