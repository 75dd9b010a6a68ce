package otel

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// partSize is about how many bytes of spans a part of a large document holds.
const partSize = 1 << 20

// maxDescent is how deeply the arrays of spans can lie in a document.
const maxDescent = 12

var errTooLarge = errors.New("a value is larger than the limit")

// bounded reads on only as far as it is allowed to, so that no single value
// fills the memory.
type bounded struct {
	r           io.Reader
	read, limit int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.read >= b.limit {
		return 0, errTooLarge
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.limit-b.read)])
	b.read += int64(n)
	return n, err
}

// descent reads a large document in parts: some spans, with the resource and
// scope, or processes, that stand before them. A part is a small document of
// the same format.
type descent struct {
	in   *reader
	src  *bounded
	dec  *jsontext.Decoder
	skip int64 // bytes before the document: a byte order mark

	part     bytes.Buffer // spans, with commas
	first, n int          // number of the first span of the part, spans in it
	from     int64        // where the part begins
	total    int
	around   frame // of the last span
}

func newDescent(r io.Reader, in *reader) *descent {
	d := &descent{in: in, src: &bounded{r: r, limit: 1 << 20}}
	var mark [3]byte
	if n, _ := io.ReadFull(r, mark[:]); n < 3 || mark != [3]byte{0xef, 0xbb, 0xbf} {
		d.src.r = io.MultiReader(bytes.NewReader(mark[:n]), r)
	} else {
		d.skip = 3
	}
	d.dec = jsontext.NewDecoder(d.src, jsontext.AllowDuplicateNames(true))
	return d
}

// frame is what stands around an array of spans.
type frame struct {
	otlp, jaeger bool
	members      [][2][]byte // of the object, and of those around it, by name
}

func (f frame) get(names ...string) []byte {
	for i := len(f.members) - 1; i >= 0; i-- {
		for _, n := range names {
			if string(f.members[i][0]) == n {
				return f.members[i][1]
			}
		}
	}
	return nil
}

func (d *descent) run() error {
	err := d.document()
	if err == nil || errors.Is(err, errStop) {
		return err
	}
	if stop := d.flush(d.around); stop != nil {
		return stop
	}
	var syntax *jsontext.SyntacticError
	at := d.skip + d.dec.InputOffset()
	reason, detail := "", ""
	switch {
	case errors.Is(err, errTooLarge):
		reason, detail = rawjson.TooLarge, fmt.Sprintf("byte %d: a single value is larger than the limit of %d bytes; what came before was read, the rest was not. Raise the limit, or leave message content out of the export", at, d.in.max)
	case errors.Is(err, io.ErrUnexpectedEOF):
		reason, detail = rawjson.Truncated, fmt.Sprintf("byte %d: the input ends within the document; what came before was read. Fetch the file again", at)
	case errors.As(err, &syntax):
		reason, detail = rawjson.Malformed, fmt.Sprintf("byte %d: %v; what came before was read, the rest was not", at, rawjson.Secrets(syntax.Error()))
	default:
		return err
	}
	if _, err := io.Copy(io.Discard, d.src.r); err != nil {
		return err
	}
	return d.in.refuseRest(at, fmt.Sprintf("byte %d", at), reason, detail)
}

// document reads the large document, and whatever values come after it.
func (d *descent) document() error {
	for {
		switch d.peek() {
		case '{':
			if err := d.object(frame{}, 0); err != nil {
				return err
			}
		case 0:
			_, err := d.dec.ReadToken()
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		default:
			if err := d.dec.SkipValue(); err != nil {
				return err
			}
		}
	}
}

func (d *descent) peek() jsontext.Kind {
	d.src.limit = d.dec.InputOffset() + d.in.max + 1<<16
	return d.dec.PeekKind()
}

func (d *descent) object(f frame, depth int) error {
	if depth > maxDescent {
		return d.dec.SkipValue()
	}
	if _, err := d.dec.ReadToken(); err != nil {
		return err
	}
	for d.peek() == '"' {
		t, err := d.dec.ReadToken()
		if err != nil {
			return err
		}
		if err := d.member(&f, t.String(), depth); err != nil {
			return err
		}
	}
	if err := d.flush(f); err != nil {
		return err
	}
	_, err := d.dec.ReadToken()
	return err
}

func (d *descent) member(f *frame, name string, depth int) error {
	kind := d.peek()
	switch name {
	case "data", "batches", "resourceSpans", "resource_spans", "scopeSpans", "scope_spans",
		"instrumentationLibrarySpans", "instrumentation_library_spans", "trace", "result":
		inner := *f
		inner.members = f.members[:len(f.members):len(f.members)]
		inner.otlp = f.otlp || name != "data" && name != "trace" && name != "result"
		inner.jaeger = f.jaeger || name == "data" && kind == '['
		if kind == '{' {
			return d.object(inner, depth+1)
		} else if kind == '[' {
			return d.array(func() error { return d.object(inner, depth+1) })
		}
	case "spans":
		if kind == '[' {
			return d.array(func() error { return d.span(*f) })
		}
	case "resource", "scope", "instrumentationLibrary", "instrumentation_library", "processes":
		v, err := d.dec.ReadValue()
		if err == nil {
			f.members = append(f.members, [2][]byte{[]byte(name), bytes.Clone(v)})
		}
		return err
	}
	return d.dec.SkipValue()
}

// array reads an array whose elements of objects f reads.
func (d *descent) array(f func() error) error {
	if _, err := d.dec.ReadToken(); err != nil {
		return err
	}
	for {
		var err error
		switch d.peek() {
		case '{':
			err = f()
		case ']', 0:
			_, err = d.dec.ReadToken()
			return err
		default:
			err = d.dec.SkipValue()
		}
		if err != nil {
			return err
		}
	}
}

func (d *descent) span(f frame) error {
	v, err := d.dec.ReadValue()
	if err != nil {
		return err
	}
	if d.n > 0 && d.part.Len()+len(v) > partSize {
		if err := d.flush(f); err != nil {
			return err
		}
	}
	if d.n == 0 {
		d.from, d.first = d.dec.InputOffset()-int64(len(v)), d.total
	} else {
		d.part.WriteByte(',')
	}
	d.part.Write(v)
	d.n++
	d.total++
	d.around = f
	return nil
}

// flush makes a document of the spans that are waiting and sends its Items.
func (d *descent) flush(f frame) error {
	if d.n == 0 {
		return nil
	}
	var b bytes.Buffer
	object := func(name string, v []byte) {
		if v != nil {
			fmt.Fprintf(&b, "%q:%s,", name, v)
		}
	}
	end := "]}"
	switch {
	case f.otlp:
		b.WriteString(`{"resourceSpans":[{`)
		object("resource", f.get("resource"))
		b.WriteString(`"scopeSpans":[{`)
		object("scope", f.get("scope", "instrumentationLibrary", "instrumentation_library"))
		end = "]}]}]}"
	case f.jaeger:
		b.WriteString(`{"data":[{`)
		object("processes", f.get("processes"))
		end = "]}]}"
	default:
		b.WriteString(`{`)
		object("processes", f.get("processes"))
	}
	b.WriteString(`"spans":[`)
	b.Write(d.part.Bytes())
	b.WriteString(end)
	size := d.dec.InputOffset() - d.from
	place := fmt.Sprintf("spans %d to %d, from byte %d", d.first, d.first+d.n-1, d.skip+d.from)
	offset := d.skip + d.from
	d.part.Reset()
	d.n = 0
	for v, err := range rawjson.Split(bytes.NewReader(b.Bytes()), int64(b.Len())) {
		if err != nil {
			return err
		}
		v.Place, v.Offset, v.Size = place, offset, size
		if err := d.in.send(jsonItems(v)...); err != nil {
			return err
		}
	}
	return nil
}
