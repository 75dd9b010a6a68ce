// Package cyclonedx makes statements out of CycloneDX documents (ECMA-424):
// JSON of the specification versions 1.2 to 1.7, and XML of 1.0 to 1.7.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-cyclonedx.md.
package cyclonedx

import (
	"bytes"
	"iter"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/bom"
	"github.com/stemma-lineage/stemma/statement"
)

// The media types of the evidence.
const (
	MediaTypeJSON = "application/vnd.cyclonedx+json"
	MediaTypeXML  = "application/vnd.cyclonedx+xml"
)

// Importer reads CycloneDX documents.
type Importer struct{ Options bom.Options }

// Name gives "cyclonedx".
func (Importer) Name() string { return "cyclonedx" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Recognise tells whether the file is a CycloneDX document.
func (Importer) Recognise(h *importer.Head) bool {
	if h.Has("bomFormat") || strings.Contains(h.Members["$schema"], "cyclonedx.org/schema/bom") && !strings.Contains(h.Members["$id"], "cyclonedx.org") {
		return true
	}
	return h.Members == nil && isXML(h.Bytes)
}

// Read yields an Item for each document of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		head, rest := peek(s.R)
		s.R = rest
		if isXML(head) {
			yield(im.readXML(s))
			return
		}
		for it, err := range bom.Read(im, s, im.Options, MediaTypeJSON, mapping) {
			if !yield(it, err) {
				return
			}
		}
	}
}

func isXML(head []byte) bool {
	b := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	return bytes.HasPrefix(b, []byte("<")) && bytes.Contains(b, []byte("http://cyclonedx.org/schema/bom"))
}

// mapping says what a document says.
func mapping(doc *bom.Document, src bom.Source, s *bom.Statements) *statement.EvidenceCheck {
	x := newReading(doc, src, s)
	if x.head(); s.Refusal() != nil {
		return nil
	}
	x.inventory()
	if s.Refusal() != nil {
		return nil
	}
	x.resolve()
	x.graph()
	x.formulation()
	x.vulnerabilities()
	x.compositions()
	x.declarations()
	x.annotations()
	x.citations()
	x.document()
	x.leftOver()
	return x.check
}
