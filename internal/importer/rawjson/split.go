// Package rawjson reads JSON (RFC 8259) without losing a byte of it: it splits
// a stream into its values, tells where each one stands, gives a tree over the
// bytes as they are, and takes secrets out of them.
package rawjson

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"unicode/utf8"
)

// MaxDepth is how deeply objects and arrays may be nested, and MaxValues how
// many values, nested ones counted, a value may hold: a tree takes 28 bytes
// for each, however short it is.
const (
	MaxDepth  = 512
	MaxValues = 4 << 20
)

// The classes of faults.
const (
	Malformed = "malformed-json"
	Truncated = "truncated-json"
	TooLarge  = "too-large"
	TooDeep   = "too-deep"
	Empty     = "empty"
	NotJSON   = "not-json"
)

// Fault says why a part of the stream is no value.
type Fault struct {
	Reason string // one of the classes above
	Detail string
}

// Value is one value of a stream, or a part of it that is none.
type Value struct {
	Place  string // "line 12"; "[3]" in an array; "line 12 [3]" in a later array
	Offset int64  // of the first byte
	Size   int64  // in the stream
	Bytes  []byte // owned by the receiver; nil with a Fault
	Fault  *Fault
}

// Split yields the values of a stream: those of a single document, of lines
// (NDJSON, also with RFC 7464 separators), of values one after another, and
// the elements of each top-level array. Which of them it is shows in the
// content; a byte order mark is skipped.
//
// A value of more than max bytes, or that is malformed, is yielded as a Fault,
// and reading goes on at the next place where a value can begin: the end of
// the element in an array, the next line after lines, else the next line that
// begins with '{' or '['. What was skipped is part of the Fault's Size, so the
// Sizes account for every byte but white space and the commas and brackets of
// arrays. Memory is bounded by max. The error is that of r.
func Split(r io.Reader, max int64) iter.Seq2[Value, error] {
	return func(yield func(Value, error) bool) {
		s := &splitter{r: r, buf: make([]byte, bufSize), line: 1, max: max, mark: -1}
		s.run(yield)
	}
}

const bufSize = 16 << 10

type splitter struct {
	r    io.Reader
	max  int64 // bytes of a value
	buf  []byte
	pos  int // next byte in buf
	end  int
	base int64 // offset of buf[0]
	err  error // of r, io.EOF included

	line      int   // of the next byte, from 1
	lineStart int64 // offset of the line's first byte

	mark  int    // start in buf of the bytes being kept; -1: none
	kept  []byte // what was kept of earlier fills
	over  bool   // more than max bytes: nothing is kept any more
	start int64  // offset of the value

	count int    // values within the value so far
	stack []byte // open brackets of the value
	quote bool   // within a string of the value
	lines bool   // the values so far stood on a line of their own
	alone int    // the line on which the last value began and ended; 0: none
	n     int    // values and arrays so far at the top
}

const eof = -1

func (s *splitter) offset() int64 { return s.base + int64(s.pos) }

// peek gives the next byte, or eof at the end or failure of the reader.
func (s *splitter) peek() int {
	if s.pos < s.end || s.fill() {
		return int(s.buf[s.pos])
	}
	return eof
}

func (s *splitter) fill() bool {
	for s.err == nil {
		s.keep()
		s.base += int64(s.end)
		s.pos, s.end = 0, 0
		s.end, s.err = s.r.Read(s.buf)
		if s.end > 0 {
			return true
		}
	}
	return false
}

// keep moves the bytes from mark to pos out of the buffer.
func (s *splitter) keep() {
	if s.mark < 0 {
		return
	}
	if !s.over {
		if int64(len(s.kept)+s.pos-s.mark) > s.max {
			s.over, s.kept = true, nil
		} else {
			s.kept = append(s.kept, s.buf[s.mark:s.pos]...)
		}
	}
	s.mark = 0
}

func (s *splitter) newline() {
	s.line++
	s.lineStart = s.offset() + 1
}

// space skips white space and gives the next byte without taking it.
func (s *splitter) space() int {
	for {
		c := s.peek()
		switch c {
		case '\n':
			s.newline()
		case ' ', '\t', '\r':
		default:
			return c
		}
		s.pos++
	}
}

func (s *splitter) where() string {
	return fmt.Sprintf("line %d, column %d (byte %d)", s.line, s.offset()-s.lineStart+1, s.offset())
}

// top skips what may stand between values at the top: white space, byte order
// marks and record separators.
func (s *splitter) top() int {
	for {
		switch c := s.space(); c {
		case 0x1e:
			s.pos++
		case 0xef:
			if !s.bom() {
				return c
			}
		default:
			return c
		}
	}
}

// bom skips a byte order mark, which may lie across two fills.
func (s *splitter) bom() bool {
	s.pos++
	for _, want := range []int{0xbb, 0xbf} {
		if s.peek() != want {
			return false
		}
		s.pos++
	}
	return true
}

func (s *splitter) run(yield func(Value, error) bool) {
	for {
		c := s.top()
		switch {
		case c == eof:
			if s.failed(yield) {
				return
			}
			if s.n == 0 {
				yield(Value{Place: "line 1", Fault: &Fault{Empty, "there is no JSON in the input; give a file that holds some"}}, nil)
			}
			return
		case c == '[':
			if !s.array(yield) {
				return
			}
		default:
			if !s.single(yield, c) {
				return
			}
		}
		s.n++
	}
}

func (s *splitter) failed(yield func(Value, error) bool) bool {
	if s.err != nil && !errors.Is(s.err, io.EOF) {
		yield(Value{}, fmt.Errorf("reading JSON at %s: %w", s.where(), s.err))
		return true
	}
	return false
}

// begin starts a value at the next byte.
func (s *splitter) begin() {
	s.start, s.mark, s.kept, s.over, s.stack, s.quote, s.count = s.offset(), s.pos, nil, false, s.stack[:0], false, 0
}

// finish gives the value that ends before the next byte.
func (s *splitter) finish(place string, f *Fault) Value {
	s.keep()
	v := Value{Place: place, Offset: s.start, Size: s.offset() - s.start, Bytes: s.kept, Fault: f}
	over := s.over
	s.mark, s.kept, s.over = -1, nil, false
	switch {
	case f != nil:
	case over:
		v.Fault = &Fault{TooLarge, fmt.Sprintf("%d bytes; the limit is %d. Raise the limit, or have the producer leave large facets out", v.Size, s.max)}
	case !utf8.Valid(v.Bytes):
		v.Fault = &Fault{Malformed, fmt.Sprintf("byte %d is not UTF-8; convert the input to UTF-8", s.start+int64(invalidAt(v.Bytes)))}
	}
	if v.Fault != nil {
		v.Bytes = nil
	}
	return v
}

func invalidAt(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return len(b)
}

// single reads a value that stands by itself.
func (s *splitter) single(yield func(Value, error) bool, c int) bool {
	place, line := fmt.Sprintf("line %d", s.line), s.line
	if s.alone > 0 && line > s.alone {
		s.lines = true
	}
	s.begin()
	var f *Fault
	if c == '{' {
		f = s.value()
	} else {
		f = s.noObject(c)
	}
	if s.failed(yield) {
		return false
	}
	if f != nil {
		if (f.Reason == TooDeep || f.Reason == TooLarge) && s.skipValue() {
			return yield(s.finish(place, f), nil)
		}
		s.nextStart(f)
		return yield(s.finish(place, f), nil)
	}
	v := s.finish(place, nil)
	s.alone = line
	if s.line != line {
		s.lines, s.alone = false, 0
	}
	return yield(v, nil)
}

func (s *splitter) noObject(c int) *Fault {
	at := s.where()
	if s.offset() == 0 && (c == 0x1f || c == 0xff || c == 0xfe || c == 0x28) {
		return &Fault{NotJSON, "the input is compressed or not UTF-8 text; unpack or convert it first"}
	}
	return &Fault{Malformed, fmt.Sprintf("%s: found %s where an object '{' or an array '[' must begin", at, show(c))}
}

// nextStart skips to where the next value at the top can begin.
func (s *splitter) nextStart(f *Fault) {
	from := s.offset()
	if s.lines && from > s.start && from == s.lineStart {
		return // the value broke off at the end of its line
	}
	for {
		c := s.peek()
		if c == eof {
			break
		}
		first := s.offset() == s.lineStart && s.offset() > s.start
		if first && (s.lines || c == '{' || c == '[') {
			break
		}
		if c == '\n' {
			s.newline()
		}
		s.pos++
	}
	if n := s.offset(); n > from && s.peek() == eof {
		f.Detail += fmt.Sprintf("; bytes %d to %d, the end of the input, were not read", s.start, n)
	} else if n > from {
		f.Detail += fmt.Sprintf("; bytes %d to %d were not read", s.start, n)
	}
}

// array reads the elements of an array at the top.
func (s *splitter) array(yield func(Value, error) bool) bool {
	prefix, at := "", s.where()
	if s.n > 0 {
		prefix = fmt.Sprintf("line %d ", s.line)
	}
	s.pos++
	for i := 0; ; i++ {
		place := fmt.Sprintf("%s[%d]", prefix, i)
		c := s.space()
		if c == ']' && i == 0 {
			s.pos++
			return true
		}
		s.begin()
		if c == ']' {
			f := &Fault{Malformed, fmt.Sprintf("%s: a comma stands before the end of the array; leave it out", s.where())}
			s.pos++
			return yield(s.finish(place, f), nil)
		}
		if c == eof {
			return s.unterminated(yield, place, at)
		}
		f := s.value()
		if s.failed(yield) {
			return false
		}
		if f != nil && !s.skipValue() {
			s.lines = false
			s.nextStart(f)
			f.Detail += "; the rest of the array that begins at " + at + " is part of that"
			return yield(s.finish(place, f), nil)
		}
		if !yield(s.finish(place, f), nil) {
			return false
		}
		if more, ok := s.comma(yield, prefix, &i, at); !more {
			return ok
		}
	}
}

// comma reads what stands after element i: more tells whether another one
// follows, ok whether the receiver wants to go on. An element that no comma
// leads to is passed over and counted.
func (s *splitter) comma(yield func(Value, error) bool, prefix string, i *int, at string) (more, ok bool) {
	for {
		place := fmt.Sprintf("%s[%d]", prefix, *i+1)
		c := s.space()
		switch c {
		case ',':
			s.pos++
			return true, true
		case ']':
			s.pos++
			return false, true
		case eof:
			s.begin()
			return false, s.unterminated(yield, place, at)
		}
		s.begin()
		f := &Fault{Malformed, fmt.Sprintf("%s: found %s where a comma or the end of the array must stand", s.where(), show(c))}
		if c != '{' || !s.skipValue() {
			s.lines = false
			s.nextStart(f)
			return false, yield(s.finish(place, f), nil)
		}
		if !yield(s.finish(place, f), nil) {
			return false, false
		}
		*i++
	}
}

func (s *splitter) unterminated(yield func(Value, error) bool, place, at string) bool {
	if s.failed(yield) {
		return false
	}
	return yield(s.finish(place, &Fault{Truncated,
		fmt.Sprintf("%s: the input ends inside the array that begins at %s; what came before was read. Fetch the file again if it was cut off", s.where(), at)}), nil)
}

func show(c int) string {
	switch {
	case c == eof:
		return "the end of the input"
	case c == '\n' || c == '\r':
		return "the end of the line"
	case c > ' ' && c < 0x7f:
		return "'" + string(rune(c)) + "'"
	}
	return fmt.Sprintf("byte 0x%02X", c)
}
