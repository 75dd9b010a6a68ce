package bom

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Options of reading.
type Options struct {
	MaxDocument int64 // in bytes, at most 1 GiB; 0 means DefaultMaxDocument
}

// Limit gives the largest document in bytes.
func (o Options) Limit() int64 {
	if o.MaxDocument <= 0 {
		return DefaultMaxDocument
	}
	return min(o.MaxDocument, 1<<30)
}

// Source is a document as it is kept, for what is said of it.
type Source struct {
	Sum      string // SHA-256 of the kept bytes, in hexadecimal
	Redacted bool   // secrets were taken out, so Sum is not that of the document as its author knows it
}

// Scope gives the namespace of the names that only mean something within the
// document: its own identifier, or its digest when it has none.
func (s Source) Scope(id string) string {
	if id != "" {
		return id
	}
	return "sha256:" + s.Sum
}

// Thing gives the document itself, by its identifier and content.
func (s Source) Thing(id, version string) Thing {
	t := Thing{Ref: Fit(prov.Ref{Kind: prov.Document, Name: id, Version: version})}
	if !s.Redacted {
		t.Digest = statement.DigestSet{"sha256": s.Sum}
	}
	if id == "" {
		t.Ref = prov.Ref{Kind: prov.Document, Name: "sha256:" + s.Sum}
		if !s.Redacted {
			t.Ref = prov.DigestRef("sha256", s.Sum)
		}
	}
	return t
}

// Mapping says what a document says; it gives the outcome of checking its
// signatures, nil where the format has none.
type Mapping func(src Source, s *Statements) *statement.EvidenceCheck

// Kept are the bytes of one unit as they are kept.
type Kept struct {
	Bytes     []byte
	Redacted  []string
	Original  [sha256.Size]byte
	MediaType string
}

// Finish makes the Item of one document.
func Finish(im importer.Importer, it importer.Item, k Kept, say Mapping) importer.Item {
	s := New()
	it.Original = k.Original
	sum := k.Original
	if len(k.Redacted) > 0 {
		sum = sha256.Sum256(k.Bytes)
	}
	check := say(Source{Sum: hex.EncodeToString(sum[:]), Redacted: len(k.Redacted) > 0}, s)
	ev := importer.NewEvidence(im, k.MediaType, sum, len(k.Bytes))
	ev.Redacted, ev.Verified = k.Redacted, check
	drafts := s.Drafts(ev)
	if s.refusal == nil && len(drafts) == 0 {
		s.Refuse("nothing-to-record", "document", "it says nothing that can be recorded; give one that lists components, services or vulnerabilities")
	}
	if s.refusal != nil {
		it.Refusal = s.refusal
		return it
	}
	it.Evidence, it.Statements, it.Notes = k.Bytes, drafts, s.Notes()
	return it
}

// Read yields an Item for each JSON document of the source.
func Read(im importer.Importer, src importer.Source, o Options, mediaType string, say func(*Document, Source, *Statements) *statement.EvidenceCheck) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		data, size, err := ReadAll(src.R, o.Limit())
		if err != nil {
			yield(importer.Item{}, fmt.Errorf("reading %s: %w", im.Name(), err))
			return
		}
		if data == nil && size > 0 {
			yield(Oversize(size, o), nil)
			return
		}
		for _, u := range Units(data) {
			if !yield(jsonItem(im, u, mediaType, say), nil) {
				return
			}
		}
	}
}

// Oversize is the Item of an input that is larger than the limit.
func Oversize(size int64, o Options) importer.Item {
	return importer.Item{Place: "line 1", Bytes: size, Refusal: &importer.Refusal{Reason: rawjson.TooLarge,
		Detail: fmt.Sprintf("document: %d bytes; the limit is %d. Split the document", size, o.Limit())}}
}

func jsonItem(im importer.Importer, u Unit, mediaType string, say func(*Document, Source, *Statements) *statement.EvidenceCheck) importer.Item {
	it := importer.Item{Place: u.Place, Offset: u.Offset, Bytes: u.Bytes, Refusal: u.Refusal}
	if u.Refusal != nil {
		return it
	}
	original := u.Doc.Sum()
	doc, redacted := u.Doc.Redacted()
	return Finish(im, it, Kept{doc.Raw(), redacted, original, mediaType}, func(src Source, s *Statements) *statement.EvidenceCheck {
		for _, name := range doc.Repeat {
			s.Note("%s occurs more than once; the last one counts", rawjson.Clip(name, 100))
		}
		return say(doc, src, s)
	})
}
