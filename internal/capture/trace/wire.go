package trace

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Kinds that travel between our own processes and never reach a sink.
const (
	kindBlind   Kind = 200 + iota // Path is the class, Note the detail
	kindCalls                     // Pid calls were seen since the last one
	kindDropped                   // Pid events were dropped before this one
)

// Limits of what one event may hold on the wire.
const (
	maxFrame = 1 << 20
	maxArgs  = 4096
)

var errFrame = errors.New("reading events: malformed frame")

// appendEvent appends the frame of an event: its length as a uvarint, then
// kind, pid, parent, time, flags as varints, the strings with their lengths,
// and the arguments with their count.
func appendEvent(dst []byte, e *Event) []byte {
	size := 64 + len(e.Path) + len(e.To) + len(e.Addr) + len(e.Note) + len(e.Sub)
	for _, a := range e.Argv {
		size += len(a) + 4
	}
	if size > maxFrame {
		short := *e
		short.Argv, short.Note = nil, "arguments too long"
		short.Path, short.To = clip(e.Path), clip(e.To)
		return appendEvent(dst, &short)
	}
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, byte(e.Kind), byte(e.Flags))
	dst = binary.AppendUvarint(dst, uint64(e.Pid))
	dst = binary.AppendUvarint(dst, uint64(e.Parent))
	var at int64
	if !e.At.IsZero() {
		at = e.At.UnixNano()
	}
	dst = binary.AppendVarint(dst, at)
	for _, s := range [...]string{e.Path, e.To, e.Addr, e.Note, e.Sub} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.Argv)))
	for _, s := range e.Argv {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

func clip(s string) string {
	if len(s) > 8192 {
		return s[:8192]
	}
	return s
}

// readEvent reads one frame. It returns io.EOF only between frames.
func readEvent(r *bufio.Reader, scratch *[]byte) (Event, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Event{}, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > maxFrame {
		return Event{}, fmt.Errorf("%w: %d bytes, of at most %d", errFrame, n, maxFrame)
	}
	if cap(*scratch) < int(n) {
		*scratch = make([]byte, n)
	}
	b := (*scratch)[:n]
	if _, err := io.ReadFull(r, b); err != nil {
		return Event{}, fmt.Errorf("%w: %v", errFrame, err)
	}
	return parseEvent(b)
}

func parseEvent(b []byte) (Event, error) {
	if len(b) < 2 {
		return Event{}, errFrame
	}
	e := Event{Kind: Kind(b[0]), Flags: Flag(b[1])}
	d := decoder{b: b[2:]}
	e.Pid, e.Parent = d.number(), d.number()
	if at := d.signed(); at != 0 {
		e.At = time.Unix(0, at)
	}
	for _, s := range [...]*string{&e.Path, &e.To, &e.Addr, &e.Note, &e.Sub} {
		*s = d.text()
	}
	if n := d.number(); n > maxArgs {
		d.bad = true
	} else if n > 0 && !d.bad {
		e.Argv = make([]string, 0, min(n, 64))
		for range n {
			e.Argv = append(e.Argv, d.text())
		}
	}
	if d.bad || len(d.b) != 0 {
		return Event{}, errFrame
	}
	return e, nil
}

type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) number() int {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > 1<<40 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

func (d *decoder) signed() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) text() string {
	n := d.number()
	if d.bad || n > len(d.b) {
		d.bad = true
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}
