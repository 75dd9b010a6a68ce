// Package provjson makes statements out of PROV-JSON documents (W3C Member
// Submission 24 April 2013): records of all types of PROV-DM, in the document
// and in its bundles.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-prov-json.md.
package provjson

import (
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"math"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// DefaultMaxDocument is the largest document that is read unless told
// otherwise, in bytes.
const DefaultMaxDocument = 64 << 20

// MediaType is that of the evidence.
const MediaType = "application/json"

// Options of reading.
type Options struct {
	MaxDocument int64 // in bytes, at most 2 GiB; 0 means DefaultMaxDocument
}

// Importer reads PROV-JSON documents.
type Importer struct{ Options Options }

// Name gives "prov-json".
func (Importer) Name() string { return "prov-json" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Recognise tells whether the file begins with a PROV-JSON document: members
// are sections of it, and at least one section tells PROV from other JSON.
func (Importer) Recognise(h *importer.Head) bool {
	known, telling := 0, 0
	for name, value := range h.Members {
		s, ok := sections[name]
		switch {
		case name == "prefix" && value == "{":
			known++
		case ok && (value == "{" || value == "[" && s.relation()):
			known++
			if s.relation() && name != "used" {
				telling++
			}
		case name == "$schema":
		default:
			return false
		}
	}
	_, prefix := h.Members["prefix"]
	return telling > 0 || prefix && known > 1 || known > 2
}

// Read yields an Item for each document of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return Read(s.R, im.Options)
}

// Read yields an Item for each document of r, in their order. It holds one
// document at a time.
func Read(r io.Reader, o Options) iter.Seq2[importer.Item, error] {
	if o.MaxDocument <= 0 {
		o.MaxDocument = DefaultMaxDocument
	}
	o.MaxDocument = min(o.MaxDocument, math.MaxInt32) // what a tree can point into
	return func(yield func(importer.Item, error) bool) {
		for v, err := range rawjson.Split(r, o.MaxDocument) {
			if err != nil {
				yield(importer.Item{}, fmt.Errorf("reading PROV-JSON: %w", err))
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
	kept, redacted := rawjson.Redact(doc, func([]byte) ([]string, bool) { return nil, false })
	if len(redacted) > 0 {
		doc = rawjson.Parse(kept) // the statements know only what is kept
	}
	d := newDocument(doc, redacted, it.Original)
	if len(redacted) > 0 {
		d.sum = sha256.Sum256(kept)
	}
	drafts := d.drafts()
	if d.refusal != nil {
		it.Refusal = d.refusal
		return it
	}
	it.Evidence, it.Statements, it.Notes = kept, drafts, d.notes
	return it
}
