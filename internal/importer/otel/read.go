// Package otel makes statements out of OpenTelemetry traces of AI agents: OTLP
// as JSON (single requests, lines of the collector's file exporter) and as
// protobuf (one message, or messages with a length before each), traces
// exported by Jaeger and Grafana Tempo, and spans as the console exporters of
// the SDKs, any-agent and Phoenix write them.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-otel.md.
package otel

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

// DefaultMaxDocument is the largest document (a JSON value, a protobuf
// message) that is read as one unless told otherwise, in bytes. A first JSON
// value that is larger is read in parts.
const DefaultMaxDocument = 16 << 20

// The media types of the evidence.
const (
	MediaTypeJSON     = "application/json"
	MediaTypeProtobuf = "application/x-protobuf"
)

// Options of reading.
type Options struct {
	MaxDocument int64 // in bytes, at most 1 GiB; 0 means DefaultMaxDocument
}

// Importer reads traces.
type Importer struct{ Options Options }

// Name gives "otel".
func (Importer) Name() string { return "otel" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Read yields an Item for each document of the source, and one more for each
// span of it that is refused by itself.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return Read(s.R, im.Options)
}

// Read yields an Item for each document of r, in their order, and after it one
// for each span of it that is refused by itself. It holds one document at a
// time.
func Read(r io.Reader, o Options) iter.Seq2[importer.Item, error] {
	if o.MaxDocument <= 0 {
		o.MaxDocument = DefaultMaxDocument
	}
	o.MaxDocument = min(o.MaxDocument, 1<<30, math.MaxInt)
	return func(yield func(importer.Item, error) bool) {
		in := &reader{r: bufio.NewReaderSize(r, sniffSize), max: o.MaxDocument, yield: yield}
		if err := in.read(); err != nil {
			yield(importer.Item{}, fmt.Errorf("reading traces: %w", err))
		}
	}
}

// sniffSize is how much is looked at to tell protobuf from JSON.
const sniffSize = 64 << 10

type reader struct {
	r     *bufio.Reader
	max   int64
	yield func(importer.Item, error) bool
}

var errStop = errors.New("the receiver wants no more")

func (in *reader) read() error {
	head, err := in.r.Peek(sniffSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch frame := frameOf(head); {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}) || bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		err = in.refuseRest(0, "byte 0", Compressed, "the input is compressed with gzip or zstd; unpack it first, for example with gunzip or zstd -d")
	case frame != notProto:
		err = in.protobuf(frame)
	default:
		err = in.json()
	}
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// refuseRest refuses what is left of the input.
func (in *reader) refuseRest(from int64, place, reason, detail string) error {
	n, err := io.Copy(io.Discard, in.r)
	if err != nil {
		return err
	}
	return in.send(importer.Item{Place: place, Offset: from, Bytes: n, Refusal: &importer.Refusal{Reason: reason, Detail: detail}})
}

func (in *reader) send(items ...importer.Item) error {
	for _, it := range items {
		if !in.yield(it, nil) {
			return errStop
		}
	}
	return nil
}

// json reads the values of the input. Only if the first one is an object
// larger than the limit is it read in parts.
func (in *reader) json() error {
	prefix, err := io.ReadAll(io.LimitReader(in.r, in.max+1))
	if err != nil {
		return err
	}
	all := io.MultiReader(bytes.NewReader(prefix), in.r)
	if int64(len(prefix)) > in.max && openObject(prefix) {
		d := newDescent(all, in)
		return d.run()
	}
	for v, err := range rawjson.Split(all, in.max) {
		if err != nil {
			return err
		}
		if err := in.send(jsonItems(v)...); err != nil {
			return err
		}
	}
	return nil
}

// openObject tells whether the input begins with an object that does not end
// in prefix.
func openObject(prefix []byte) bool {
	b := bytes.TrimLeft(bytes.TrimPrefix(prefix, []byte("\xef\xbb\xbf")), " \t\r\n")
	if len(b) == 0 || b[0] != '{' {
		return false
	}
	d := jsontext.NewDecoder(bytes.NewReader(b), jsontext.AllowDuplicateNames(true))
	return errors.Is(d.SkipValue(), io.ErrUnexpectedEOF)
}

// jsonItems makes the Items of one JSON value.
func jsonItems(v rawjson.Value) []importer.Item {
	it := importer.Item{Place: v.Place, Offset: v.Offset, Bytes: v.Size}
	if v.Fault != nil {
		it.Refusal = &importer.Refusal{Reason: v.Fault.Reason, Detail: v.Fault.Detail}
		return []importer.Item{it}
	}
	it.Original = sha256.Sum256(v.Bytes)
	doc, redacted := redact(rawjson.Parse(v.Bytes))
	root := doc.Root()
	u := &unit{}
	if root.Kind() == '{' {
		if reason, detail := otherTelemetry(root); reason != "" {
			it.Refusal = &importer.Refusal{Reason: reason, Detail: detail}
			return []importer.Item{it}
		}
		u.document(root)
	}
	if len(doc.Repeated) > 0 {
		u.note("names that occur twice in one object, of which the last counts: %d, the first is %s", len(doc.Repeated), doc.Repeated[0])
	}
	return u.items(it, doc.Raw(), MediaTypeJSON, redacted)
}

func otherTelemetry(root rawjson.Node) (reason, detail string) {
	if get(root, "resourceSpans", "resource_spans").Given() {
		return "", ""
	}
	for _, name := range []string{"resourceLogs", "resourceMetrics", "resourceProfiles"} {
		if root.Get(name).Given() {
			return OtherTelemetry, name + ": this is OTLP, but no traces; only traces say who invoked what"
		}
	}
	return "", ""
}

// items completes the Item of the unit, whose kept bytes are evidence, and adds
// one for each span that is refused.
func (u *unit) items(it importer.Item, evidence []byte, mediaType string, redacted []string) []importer.Item {
	drafts := u.drafts()
	switch {
	case len(drafts) > 0:
		u.seal(drafts, evidence, mediaType, redacted)
		it.Evidence, it.Statements, it.Notes = evidence, drafts, u.notes
	case u.seen == 0:
		it.Refusal = &importer.Refusal{Reason: NotSpans, Detail: it.Place + ": nothing in it is a span; give OTLP traces, or a trace exported by Jaeger or Tempo"}
	case len(u.spans) == 0:
		it.Refusal = &u.refused[0]
		u.refused = u.refused[1:]
	default:
		it.Refusal = &importer.Refusal{Reason: NoAgentSpans, Detail: fmt.Sprintf(
			"%s: none of its %d spans is of an agent, tool or model, so there is no lineage to record; see docs/format-otel.md for the conventions that are understood", it.Place, len(u.spans))}
	}
	out := []importer.Item{it}
	for i := range u.refused {
		out = append(out, importer.Item{Place: it.Place, Offset: it.Offset, Original: it.Original, Refusal: &u.refused[i]})
	}
	if n := len(out); u.skipped > 0 {
		out[n-1].Refusal.Detail += fmt.Sprintf("; %d more spans of this document are refused", u.skipped)
	}
	return out
}

// seal adds the evidence to each draft.
func (u *unit) seal(drafts []importer.Draft, evidence []byte, mediaType string, redacted []string) {
	if u.unsaid > 0 {
		u.notes = append(u.notes, fmt.Sprintf("%d more notes are not written out", u.unsaid))
	}
	if n := len(redacted); n > maxRedacted {
		redacted = append(redacted[:maxRedacted:maxRedacted], fmt.Sprintf("and %d more", n-maxRedacted))
	}
	ev := importer.NewEvidence(Importer{}, mediaType, sha256.Sum256(evidence), len(evidence))
	first := ev // what is told once: a document makes many statements
	first.Notes, first.Redacted = u.notes, redacted
	for i, d := range drafts {
		e := []statement.Evidence{ev}
		if i == 0 {
			e[0] = first
		}
		switch p := d.Predicate.(type) {
		case *statement.Activity:
			p.Evidence = e
		case *statement.Entity:
			p.Evidence = e
		case *statement.Delegation:
			p.Evidence = e
		}
	}
}
