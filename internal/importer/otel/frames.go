package otel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// framing is how protobuf messages stand in the input.
type framing int

const (
	notProto  framing = iota
	bare              // one message to the end
	bigEndian         // 4 bytes of length before each, as the collector's file exporter writes
	varint            // a varint of length before each
)

// frameOf tells whether the input begins with OTLP traces in protobuf, and in
// which framing. It asks for a span with its ids and time, so that no other
// format passes.
func frameOf(head []byte) framing {
	if len(head) < 30 || head[0] == '{' || head[0] == '[' {
		return notProto
	}
	if head[0] == 0x0a && tracesBegin(head) {
		return bare
	}
	if n := binary.BigEndian.Uint32(head); n > 20 && n < 1<<30 && head[4] == 0x0a && tracesBegin(head[4:]) {
		return bigEndian
	}
	if n, k := protowire.ConsumeVarint(head); k > 0 && n > 20 && n < 1<<30 && tracesBegin(head[k:]) {
		return varint
	}
	return notProto
}

// tracesBegin tells whether b begins with a TracesData message: a
// ResourceSpans with a ScopeSpans with a Span.
func tracesBegin(b []byte) bool {
	found := false
	fields(b, func(n protowire.Number, rs []byte) bool {
		if n == 1 {
			fields(rs, func(n protowire.Number, ss []byte) bool {
				if n == 2 || n == 1000 {
					fields(ss, func(n protowire.Number, s []byte) bool {
						found = found || n == 2 && spanBegin(s)
						return !found
					})
				}
				return !found
			})
		}
		return n == 1 && !found
	})
	return found
}

// fields goes through the fields of a message that have a length. The last one
// may be cut off.
func fields(b []byte, f func(n protowire.Number, v []byte) bool) {
	for len(b) > 0 {
		n, typ, k := protowire.ConsumeTag(b)
		if k < 0 {
			return
		}
		b = b[k:]
		if typ != protowire.BytesType {
			if k = protowire.ConsumeFieldValue(n, typ, b); k < 0 {
				return
			}
			b = b[k:]
			continue
		}
		size, k := protowire.ConsumeVarint(b)
		if k < 0 {
			return
		}
		b = b[k:]
		v := b[:min(uint64(len(b)), size)]
		if !f(n, v) {
			return
		}
		b = b[len(v):]
	}
}

// spanBegin asks for a trace id of 16 bytes, a span id of 8, and a start.
func spanBegin(b []byte) bool {
	if len(b) < 28 || b[0] != 0x0a || b[1] != 16 || b[18] != 0x12 || b[19] != 8 {
		return false
	}
	for len(b) > 0 {
		n, typ, k := protowire.ConsumeTag(b)
		if k < 0 {
			return false
		}
		if n == 7 {
			return typ == protowire.Fixed64Type
		}
		size := protowire.ConsumeFieldValue(n, typ, b[k:])
		if size < 0 {
			return false
		}
		b = b[k+size:]
	}
	return false
}

// message is a TracesData message, or some of the ResourceSpans of a bare one,
// which are one by themselves.
type message struct {
	offset, size int64 // in the input
	bytes        []byte
}

// groupSize is about how many bytes of a bare message make a unit: enough to
// hold most traces whole, so that what their processes say can be compared.
const groupSize = 4 << 20

type protoReader struct {
	in  *reader
	pos int64
}

// protobuf reads messages in the given framing.
func (in *reader) protobuf(frame framing) error {
	p := &protoReader{in: in}
	for {
		start := p.pos
		var m message
		var refused *importer.Refusal
		var err error
		if frame == bare {
			m, refused, err = p.group()
		} else {
			m, refused, err = p.framed(frame)
		}
		switch {
		case errors.Is(err, io.EOF) && p.pos == start:
			return nil
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			refused = &importer.Refusal{Reason: TruncatedProto, Detail: fmt.Sprintf("byte %d: the input ends within the message that begins at byte %d; fetch the file again if it was cut off", p.pos, start)}
			return in.send(importer.Item{Place: place(start), Offset: start, Bytes: p.pos - start, Refusal: refused})
		case err != nil:
			return err
		case refused != nil && refused.Reason == MalformedProto:
			return in.refuseRest(start, place(start), refused.Reason, refused.Detail)
		case refused != nil:
			err = in.send(importer.Item{Place: place(start), Offset: start, Bytes: p.pos - start, Refusal: refused})
		case len(m.bytes) > 0:
			err = in.send(protoItems(m)...)
		}
		if err != nil {
			return err
		}
	}
}

func place(offset int64) string { return fmt.Sprintf("byte %d", offset) }

// framed reads a message with its length before it.
func (p *protoReader) framed(frame framing) (m message, refused *importer.Refusal, err error) {
	m.offset = p.pos
	var n uint64
	if frame == bigEndian {
		var b [4]byte
		k, err := io.ReadFull(p.in.r, b[:])
		p.pos += int64(k)
		if err != nil {
			return m, nil, err
		}
		n = uint64(binary.BigEndian.Uint32(b[:]))
	} else if n, err = p.varint(); err != nil {
		return m, nil, err
	}
	if refused, err = p.large(n, m.offset); refused != nil || err != nil {
		return m, refused, err
	}
	m.bytes, err = p.take(n)
	m.size = p.pos - m.offset
	return m, nil, err
}

// large passes over n bytes if they are more than may be held.
func (p *protoReader) large(n uint64, from int64) (*importer.Refusal, error) {
	if n <= uint64(p.in.max) {
		return nil, nil
	}
	if n > 1<<40 {
		return &importer.Refusal{Reason: MalformedProto, Detail: fmt.Sprintf("byte %d: a length of %d bytes cannot be; the rest of the input was not read", from, n)}, nil
	}
	k, err := io.CopyN(io.Discard, p.in.r, int64(n))
	p.pos += k
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &importer.Refusal{Reason: rawjson.TooLarge, Detail: fmt.Sprintf("byte %d: %d bytes; the limit is %d. Raise the limit, or have the exporter send smaller batches", from, n, p.in.max)}, err
}

func (p *protoReader) take(n uint64) ([]byte, error) {
	var b bytes.Buffer // grows with what really comes, whatever the length says
	k, err := io.CopyN(&b, p.in.r, int64(n))
	p.pos += k
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return b.Bytes(), err
}

func (p *protoReader) varint() (uint64, error) {
	var n uint64
	for i := 0; ; i++ {
		c, err := p.in.r.ReadByte()
		if err != nil {
			if i > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		p.pos++
		if i == 9 && c > 1 {
			return 1<<64 - 1, nil // larger than any limit
		}
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return n, nil
		}
	}
}

// group reads ResourceSpans of a bare message, up to groupSize.
func (p *protoReader) group() (m message, refused *importer.Refusal, err error) {
	m.offset = p.pos
	for {
		head, err := p.in.r.Peek(2 * binary.MaxVarintLen64)
		if len(head) == 0 {
			if len(m.bytes) > 0 && errors.Is(err, io.EOF) {
				return m, nil, nil
			}
			return m, nil, err
		}
		num, typ, k := protowire.ConsumeTag(head)
		n, l := uint64(0), 0
		if k > 0 {
			n, l = protowire.ConsumeVarint(head[k:])
		}
		if k < 0 || typ != protowire.BytesType || l < 0 {
			if len(m.bytes) > 0 {
				return m, nil, nil // what came before is whole
			}
			return m, &importer.Refusal{Reason: MalformedProto, Detail: fmt.Sprintf("byte %d: no field of a TracesData message begins here; the rest of the input was not read. If the messages have their length before them, see that none was cut off", p.pos)}, nil
		}
		whole := uint64(k+l) + n
		if len(m.bytes) > 0 && uint64(len(m.bytes))+whole > uint64(min(groupSize, p.in.max)) {
			return m, nil, nil
		}
		if refused, err := p.large(whole, p.pos); refused != nil || err != nil {
			return m, refused, err
		}
		b, err := p.take(whole)
		if num == 1 { // other fields are of a later version of the protocol
			m.bytes = append(m.bytes, b...)
		}
		m.size = p.pos - m.offset
		if err != nil {
			return m, nil, err
		}
	}
}
