package statement

import "fmt"

// Parsed is an envelope that was read once: what an appender verifies and
// what a graph takes in are the same reading. [Read] makes it, and nothing
// changes it afterwards.
type Parsed struct {
	Digest    [32]byte   // EnvelopeDigest of the bytes
	Envelope  *Envelope  // nil when the bytes are no envelope
	Statement *Statement // nil when Err is set
	// Err says why the envelope says nothing that is understood: it is no
	// envelope, its payload type is another, or its payload is no statement.
	Err error
}

// Read reads an envelope and the statement in it. It verifies nothing.
func Read(envelope []byte) Parsed {
	p := Parsed{Digest: EnvelopeDigest(envelope)}
	if p.Envelope, p.Err = ParseEnvelope(envelope); p.Err != nil {
		return p
	}
	if t := p.Envelope.PayloadType; t != PayloadType {
		p.Err = fmt.Errorf("payload type %q is not understood; the entry is kept and says nothing here", t)
		return p
	}
	p.Statement, p.Err = Parse(p.Envelope.Payload)
	return p
}
