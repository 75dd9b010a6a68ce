// Package bom holds what the readers of bills of materials and of their
// vulnerability documents have in common: a document as its bytes, the names
// of the things it lists, and the statements that are made of them.
//
// A bill of materials can list hundreds of thousands of components, so no tree
// of it is built as a whole: [Document] gives its members, and the elements of
// those that are arrays, one at a time.
package bom

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// DefaultMaxDocument is the largest document that is read unless told
// otherwise, in bytes.
const DefaultMaxDocument = 256 << 20

// ReadAll reads a whole input of at most max bytes. Of a larger one it gives
// the size and no bytes.
func ReadAll(r io.Reader, max int64) (data []byte, size int64, err error) {
	var b bytes.Buffer
	if _, err := b.ReadFrom(io.LimitReader(r, max+1)); err != nil {
		return nil, 0, err
	}
	if int64(b.Len()) <= max {
		return b.Bytes(), int64(b.Len()), nil
	}
	rest, err := io.Copy(io.Discard, r)
	return nil, int64(b.Len()) + rest, err
}

// Document is one JSON object with the places of its members.
type Document struct {
	raw     []byte
	members []member
	whole   *rawjson.Doc
	Repeat  []string // names that occur more than once; the last one counts
}

type member struct {
	name       string
	name0      int // where the name begins
	start, end int // of the value
}

// Unit is a document of an input, or the reason why a part of it is none.
type Unit struct {
	Place   string
	Offset  int64
	Bytes   int64
	Doc     *Document
	Refusal *importer.Refusal
}

// Units gives the documents of an input: one object, objects one after
// another, or the objects of an array.
func Units(data []byte) []Unit {
	start := 0
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		start = 3
	}
	if at := invalidUTF8(data); at >= 0 {
		if len(data) > 1 && (data[0] == 0xff || data[0] == 0xfe || data[0] == 0x1f) {
			return []Unit{fault(data, 0, rawjson.NotJSON, "the input is compressed or not UTF-8 text; unpack or convert it first")}
		}
		return []Unit{fault(data, 0, rawjson.Malformed, fmt.Sprintf("byte %d is not UTF-8; convert the input to UTF-8", at))}
	}
	var out []Unit
	d := jsontext.NewDecoder(bytes.NewBuffer(data[start:]), jsontext.AllowDuplicateNames(true))
	array, n := false, 0
	for {
		k := d.PeekKind()
		from := start + int(d.InputOffset())
		switch {
		case k == '[' && !array:
			if _, err := d.ReadToken(); err == nil {
				array, n = true, 0
				continue
			}
		case k == ']' && array:
			if _, err := d.ReadToken(); err == nil {
				array = false
				continue
			}
		case k == '{':
			from += bytes.IndexByte(data[from:], '{')
			place := "line " + strconv.Itoa(1+bytes.Count(data[:from], []byte("\n")))
			if array {
				place = "[" + strconv.Itoa(n) + "]"
				n++
			}
			doc, err := readObject(d, data, start)
			if err != nil {
				return append(out, syntax(data, from, err))
			}
			u := Unit{Place: place, Offset: int64(from), Bytes: int64(len(doc.raw)), Doc: doc}
			if reason, detail := doc.limits(); reason != "" {
				u.Doc, u.Refusal = nil, &importer.Refusal{Reason: reason, Detail: detail}
			}
			out = append(out, u)
			continue
		case k == 0:
			if _, err := d.ReadToken(); errors.Is(err, io.EOF) {
				if len(out) == 0 {
					out = append(out, fault(data, 0, rawjson.Empty, "there is no JSON object in the input; give a document"))
				}
				return out
			}
		}
		return append(out, syntax(data, from, nil))
	}
}

// readObject reads the object that the decoder stands before.
func readObject(d *jsontext.Decoder, data []byte, start int) (*Document, error) {
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	begin := start + int(d.InputOffset()) - 1
	doc := &Document{}
	seen := map[string]bool{}
	for d.PeekKind() != '}' {
		name0 := start + int(d.InputOffset())
		t, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		name := t.String()
		for name0 < len(data) && data[name0] != '"' {
			name0++
		}
		d.PeekKind()
		from := start + int(d.InputOffset())
		if err := d.SkipValue(); err != nil {
			return nil, err
		}
		to := start + int(d.InputOffset())
		for from < to && bytes.IndexByte([]byte(" \t\r\n:"), data[from]) >= 0 {
			from++
		}
		if seen[name] && len(doc.Repeat) < 20 {
			doc.Repeat = append(doc.Repeat, name)
		}
		seen[name] = true
		doc.members = append(doc.members, member{name, name0 - begin, from - begin, to - begin})
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	doc.raw = data[begin : start+int(d.InputOffset())]
	return doc, nil
}

func fault(data []byte, from int, reason, detail string) Unit {
	return Unit{Place: "line " + strconv.Itoa(1+bytes.Count(data[:from], []byte("\n"))), Offset: int64(from), Bytes: int64(len(data) - from),
		Refusal: &importer.Refusal{Reason: reason, Detail: detail}}
}

// syntax says what is wrong with the JSON from a place on. The splitter of
// rawjson has the better words.
func syntax(data []byte, from int, err error) Unit {
	for v, e := range rawjson.Split(bytes.NewReader(data[from:]), int64(len(data))+1) {
		if e != nil {
			break
		}
		if v.Fault != nil {
			u := fault(data, from, v.Fault.Reason, v.Fault.Detail)
			if from > 0 {
				u.Refusal.Detail += fmt.Sprintf(" (counted from byte %d of the input)", from)
			}
			return u
		}
	}
	if err == nil {
		err = errors.New("found what is neither an object nor an array of objects")
	}
	return fault(data, from, rawjson.Malformed, err.Error()+"; give whole JSON objects")
}

func invalidUTF8(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return -1
}

// limits checks depth and, for each part that is parsed by itself, the number
// of values.
func (d *Document) limits() (reason, detail string) {
	for _, m := range d.members {
		depth, values, deepest, quote := 1, 0, 1, false
		for i := m.start; i < m.end; i++ {
			switch c := d.raw[i]; {
			case quote && c == '\\':
				i++
			case c == '"':
				quote = !quote
			case quote:
			case c == '{' || c == '[':
				depth++
				values++
				deepest = max(deepest, depth)
			case c == '}' || c == ']':
				depth--
			case c == ',':
				values++
				if depth == 2 && d.raw[m.start] == '[' {
					values = 0 // the next element is parsed by itself
				}
			}
			if values > rawjson.MaxValues {
				return rawjson.TooLarge, fmt.Sprintf("%s: a part of it holds more than %d values; split the document", rawjson.Clip(m.name, 100), rawjson.MaxValues)
			}
		}
		if deepest > rawjson.MaxDepth {
			return rawjson.TooDeep, fmt.Sprintf("%s: nested %d deep, the limit is %d; flatten the document", rawjson.Clip(m.name, 100), deepest, rawjson.MaxDepth)
		}
	}
	return "", ""
}

// Raw gives the bytes of the document.
func (d *Document) Raw() []byte { return d.raw }

// Names gives the names of the members in their order.
func (d *Document) Names() []string {
	out := make([]string, len(d.members))
	for i, m := range d.members {
		out[i] = m.name
	}
	return out
}

func (d *Document) find(name string) (member, bool) {
	for i := len(d.members) - 1; i >= 0; i-- {
		if d.members[i].name == name {
			return d.members[i], true
		}
	}
	return member{}, false
}

// Get gives a member; it is for members other than the long arrays.
func (d *Document) Get(name string) rawjson.Node {
	m, ok := d.find(name)
	if !ok {
		return rawjson.Node{}
	}
	if n := bytes.Count(d.raw[m.start:m.end], []byte(",")); n > rawjson.MaxValues {
		return rawjson.Node{} // an array that only Each can give
	}
	return rawjson.Parse(d.raw[m.start:m.end]).Root()
}

// Kind gives what Node.Kind gives for a member, without parsing it.
func (d *Document) Kind(name string) byte {
	m, ok := d.find(name)
	if !ok || m.start >= m.end {
		return 0
	}
	c := d.raw[m.start]
	if c == '-' || c >= '0' && c <= '9' {
		return '0'
	}
	return c
}

// Each gives the elements of a member that is an array, one at a time.
func (d *Document) Each(name string) iter.Seq2[int, rawjson.Node] {
	return func(yield func(int, rawjson.Node) bool) {
		m, ok := d.find(name)
		if !ok || d.raw[m.start] != '[' {
			return
		}
		i := 0
		d.elements(m, func(from, to int) bool {
			i++
			return yield(i-1, rawjson.Parse(d.raw[from:to]).Root())
		})
	}
}

// elements gives the ranges of an array's elements; the JSON is known to be
// well formed.
func (d *Document) elements(m member, yield func(from, to int) bool) {
	from, depth, quote := m.start+1, 0, false
	end := func(to int) bool {
		for from < to && bytes.IndexByte([]byte(" \t\r\n"), d.raw[from]) >= 0 {
			from++
		}
		for from < to && bytes.IndexByte([]byte(" \t\r\n"), d.raw[to-1]) >= 0 {
			to--
		}
		return from == to || yield(from, to)
	}
	for i := m.start + 1; i < m.end; i++ {
		switch c := d.raw[i]; {
		case quote && c == '\\':
			i++
		case c == '"':
			quote = !quote
		case quote:
		case c == '{' || c == '[':
			depth++
		case depth > 0 && (c == '}' || c == ']'):
			depth--
		case depth == 0 && (c == ',' || c == ']'):
			if !end(i) || c == ']' {
				return
			}
			from = i + 1
		}
	}
}

// Redacted gives the document without the secrets that it holds: those that
// rawjson.Redact finds, the values of environment variables, values of
// name-and-value pairs whose name says that they are secret, and the values of
// key material. Without any it gives d itself.
func (d *Document) Redacted() (kept *Document, paths []string) {
	var out []byte
	from := 0
	part := func(path string, start, end int) {
		b, found := redactPart(d.raw[start:end])
		if len(found) == 0 {
			return
		}
		out = append(append(out, d.raw[from:start]...), b...)
		from = end
		for _, p := range found {
			switch {
			case len(paths) >= 500:
			case p == "":
				paths = append(paths, path)
			default:
				paths = append(paths, path+"."+p)
			}
		}
	}
	for _, m := range d.members {
		if d.raw[m.start] != '[' || m.end-m.start < 1<<20 { // with its name, which may say that it is a secret
			quoted, err := jsontext.AppendQuote(nil, m.name)
			if err != nil {
				quoted = []byte(`""`)
			}
			b, found := redactPart([]byte("{" + string(quoted) + ":" + string(d.raw[m.start:m.end]) + "}"))
			if len(found) > 0 {
				out = append(append(out, d.raw[from:m.name0]...), b[1:len(b)-1]...)
				from = m.end
				paths = append(paths, found...)
			}
			continue
		}
		if clean := rawjson.Secrets(m.name); clean != m.name {
			out = append(append(append(out, d.raw[from:m.name0]...), strconv.Quote(clean)...), ':')
			from = m.start
			paths = append(paths, clean+" (name)")
		}
		i := 0
		d.elements(m, func(a, b int) bool {
			part(rawjson.Secrets(m.name)+"["+strconv.Itoa(i)+"]", a, b)
			i++
			return true
		})
	}
	if from == 0 {
		return d, nil
	}
	if len(paths) > 500 {
		paths = append(paths[:500], "and more")
	}
	out = append(out, d.raw[from:]...)
	u := Units(out)
	if len(u) != 1 || u[0].Doc == nil { // cannot be: strings were put in the place of strings
		return &Document{raw: []byte("{}")}, append(paths, "the whole document")
	}
	return u[0].Doc, paths
}

func redactPart(b []byte) ([]byte, []string) {
	doc := rawjson.Parse(b)
	out, paths := rawjson.Redact(doc, secretMember)
	if len(paths) > 0 {
		doc = rawjson.Parse(out)
	}
	out, more := rawjson.RedactPairs(doc, rawjson.Pairs{Names: []string{"name", "key"}, Value: "value"})
	return out, append(paths, more...)
}

// secretMember names the members whose values may be secrets of any shape.
func secretMember(key []byte) (keep []string, secret bool) {
	switch string(key) {
	case "environmentVars":
		return []string{"name"}, true
	case "relatedCryptoMaterialProperties":
		return []string{"type", "id", "state", "algorithmRef", "creationDate", "activationDate", "updateDate", "expirationDate",
			"size", "format", "mechanism", "fingerprint", "alg", "content", "ref"}, true
	case "build_environment", "environment":
		return []string{"type", "key"}, true
	}
	return nil, false
}

// Sum gives the SHA-256 of the document's bytes.
func (d *Document) Sum() [sha256.Size]byte { return sha256.Sum256(d.raw) }
