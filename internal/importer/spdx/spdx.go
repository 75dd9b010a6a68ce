// Package spdx makes statements out of SPDX documents: 2.2 and 2.3 (ISO/IEC
// 5962) as JSON and as tag-value text, and 3.0 and 3.1 as JSON-LD with the
// profiles for software, AI, datasets, builds and security.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-spdx.md.
package spdx

import (
	"bufio"
	"bytes"
	"io"
	"iter"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/bom"
	"github.com/stemma-lineage/stemma/statement"
)

// The media types of the evidence.
const (
	MediaTypeJSON     = "application/spdx+json"
	MediaTypeTagValue = "text/spdx"
)

// The classes of refusals beside those of rawjson and package bom.
const (
	NotSPDX         = "not-spdx"
	MissingField    = "missing-field"
	BadHash         = "bad-hash"
	BadRelationship = "bad-relationship"
	BadTag          = "bad-tag"
)

// Importer reads SPDX documents.
type Importer struct{ Options bom.Options }

// Name gives "spdx".
func (Importer) Name() string { return "spdx" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Recognise tells whether the file is an SPDX document.
func (Importer) Recognise(h *importer.Head) bool {
	if h.Has("spdxVersion") || h.Has("SPDXID", "documentNamespace") {
		return true
	}
	if h.Members != nil {
		return h.Has("@graph") && isContext(string(h.Bytes)) || strings.Contains(h.Members["@context"], "spdx.org/rdf/3")
	}
	return isTagValue(h.Bytes)
}

// isContext tells whether the beginning of a JSON-LD document names the
// context of SPDX.
func isContext(head string) bool {
	return strings.Contains(head, "spdx.org/rdf/3") || strings.Contains(head, "spdx.org/rdf/v3") || strings.Contains(head, "spdx.github.io/spdx-3-model") ||
		strings.Contains(head, `"CreationInfo"`) && strings.Contains(head, `"spdxId"`)
}

func isTagValue(head []byte) bool {
	b := bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	for n := 0; n < 200; n++ {
		line, rest, more := bytes.Cut(b, []byte("\n"))
		line = bytes.TrimSpace(line)
		if bytes.HasPrefix(line, []byte("SPDXVersion:")) {
			return true
		}
		if len(line) > 0 && line[0] != '#' || !more {
			return false
		}
		b = rest
	}
	return false
}

// Read yields an Item for each document of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		b := bufio.NewReaderSize(s.R, 64<<10)
		head, _ := b.Peek(64 << 10)
		s.R = io.Reader(b)
		if isTagValue(head) {
			yield(im.readTagValue(s))
			return
		}
		for it, err := range bom.Read(im, s, im.Options, MediaTypeJSON, mapping) {
			if !yield(it, err) {
				return
			}
		}
	}
}

func mapping(doc *bom.Document, src bom.Source, s *bom.Statements) *statement.EvidenceCheck {
	switch {
	case doc.Kind("spdxVersion") != 0 || doc.Kind("SPDXID") != 0:
		x := &reading2{Statements: s, src: src}
		x.fromJSON(doc)
	case doc.Kind("@graph") == '[':
		x := newReading3(doc, src, s)
		x.read()
	case doc.Kind("@context") != 0:
		s.Refuse(NotSPDX, "@graph", "is missing; an SPDX 3 document lists its elements in @graph")
	default:
		s.Refuse(NotSPDX, "document", "has neither spdxVersion nor @graph; an SPDX document has one of them")
	}
	return &statement.EvidenceCheck{Result: statement.CheckUnsigned}
}
