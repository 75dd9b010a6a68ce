// Package openlineage makes statements out of OpenLineage events: RunEvent,
// JobEvent and DatasetEvent of the core schema 1-0-0 to 2-0-2, as a single
// document, an array, lines, or one after another.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-openlineage.md.
package openlineage

import (
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"math"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// DefaultMaxEvent is the largest event that is read unless told otherwise, in
// bytes. Spark producers have been seen to send 23 MB.
const DefaultMaxEvent = 32 << 20

// MediaType is that of the evidence.
const MediaType = "application/json"

// Options of reading.
type Options struct {
	MaxEvent int64 // in bytes, at most 2 GiB; 0 means DefaultMaxEvent
}

// Importer reads OpenLineage events.
type Importer struct{ Options Options }

// Name gives "openlineage".
func (Importer) Name() string { return "openlineage" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "2" }

// Recognise tells whether the file begins with an OpenLineage event.
func (Importer) Recognise(h *importer.Head) bool {
	if !h.Has("producer") && !h.HasPrefix("schemaURL", "https://openlineage.io/") {
		return false
	}
	return h.Has("run", "job") || h.Has("eventTime") && (h.Has("job") || h.Has("dataset"))
}

// Read yields an Item for each event of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return Read(s.R, im.Options)
}

// Read yields an Item for each event of r, in their order. It holds one event
// at a time.
func Read(r io.Reader, o Options) iter.Seq2[importer.Item, error] {
	if o.MaxEvent <= 0 {
		o.MaxEvent = DefaultMaxEvent
	}
	o.MaxEvent = min(o.MaxEvent, math.MaxInt32) // what a tree can point into
	return func(yield func(importer.Item, error) bool) {
		for v, err := range rawjson.Split(r, o.MaxEvent) {
			if err != nil {
				yield(importer.Item{}, fmt.Errorf("reading OpenLineage events: %w", err))
				return
			}
			if !yield(item(v), nil) {
				return
			}
		}
	}
}

// item makes the Item of one value of the stream.
func item(v rawjson.Value) importer.Item {
	it := importer.Item{Place: v.Place, Offset: v.Offset, Bytes: v.Size}
	if v.Fault != nil {
		it.Refusal = &importer.Refusal{Reason: v.Fault.Reason, Detail: v.Fault.Detail}
		return it
	}
	it.Original = sha256.Sum256(v.Bytes)
	doc := rawjson.Parse(v.Bytes)
	kept, redacted := rawjson.Redact(doc, secretFacet)
	if len(redacted) > 0 {
		doc = rawjson.Parse(kept) // the statements know only what is kept
	}
	e := &event{doc: doc, root: doc.Root(), redacted: redacted, sum: it.Original}
	if len(redacted) > 0 {
		e.sum = sha256.Sum256(kept)
	}
	drafts := e.drafts()
	if e.refusal != nil {
		it.Refusal = e.refusal
		return it
	}
	it.Evidence, it.Statements, it.Notes = kept, drafts, e.notes
	return it
}

// secretFacet names the facets whose values can be secrets in any shape, and
// the names within them that are no values.
func secretFacet(key []byte) (keep []string, secret bool) {
	switch string(key) {
	case "environmentVariables", "executionParameters":
		return []string{"_producer", "_schemaURL", "name", "key", "description"}, true
	case "spark_properties", "environment-properties":
		return []string{"_producer", "_schemaURL"}, true
	}
	return nil, false
}
