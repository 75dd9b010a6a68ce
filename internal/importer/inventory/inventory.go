// Package inventory holds what the readers of inventories of identities have in
// common: how a unit of input becomes an Item with its secrets taken out first,
// the names of what it lists, and the statements that are made of it.
package inventory

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// DefaultMaxUnit is the largest unit that is read unless told otherwise, in
// bytes.
const DefaultMaxUnit = 64 << 20

// The classes of refusals beside those of rawjson.
const (
	// NothingToRecord: it is well-formed and tells of no identity, credential
	// or grant.
	NothingToRecord = "nothing-to-record"
	// Invalid: what follows from it is no statement.
	Invalid = "invalid-statement"
)

// Options of reading.
type Options struct {
	MaxUnit int64 // in bytes, at most 1 GiB; 0 means DefaultMaxUnit
	// Event says that a listing is a part of its source, such as one that was
	// filtered, so that it closes nothing.
	Event bool
}

// Limit gives the largest unit in bytes.
func (o Options) Limit() int64 {
	if o.MaxUnit <= 0 {
		return DefaultMaxUnit
	}
	return min(o.MaxUnit, 1<<30)
}

// Unit is a JSON value of the input.
type Unit struct {
	Place         string
	Offset, Bytes int64
	Raw           []byte
	// Redacted lists what was taken out of Raw before.
	Redacted []string
}

// Say makes statements of a document from which the secrets are taken out.
type Say func(doc rawjson.Node, s *Statements)

// Finish makes the Item of one unit.
func Finish(im importer.Importer, u Unit, rules rawjson.Rules, say Say) importer.Item {
	it := importer.Item{Place: u.Place, Offset: u.Offset, Bytes: u.Bytes}
	kept, sum := u.Raw, sha256.Sum256(u.Raw)
	it.Original = sum
	doc := rawjson.Parse(u.Raw)
	var redacted []string
	if kept, redacted = rawjson.RedactBy(doc, rules); len(redacted) > 0 {
		sum, doc = sha256.Sum256(kept), rawjson.Parse(kept)
	}
	ev := importer.NewEvidence(im, "application/json", sum, len(kept))
	ev.Redacted = append(u.Redacted, redacted...)
	ev.Verified = &statement.EvidenceCheck{Result: statement.CheckUnsigned}
	s := &Statements{}
	for _, name := range doc.Repeated {
		s.Note("%s occurs more than once; the last one counts", rawjson.Clip(name, 100))
	}
	say(doc.Root(), s)
	return Close(it, kept, ev, s)
}

// Close makes the Item of what was said.
func Close(it importer.Item, kept []byte, ev statement.Evidence, s *Statements) importer.Item {
	drafts := s.finish(ev)
	if s.refusal == nil && len(drafts) == 0 {
		s.Refuse(NothingToRecord, "it tells of no identity, credential or grant; nothing is lost by leaving it out")
	}
	if s.refusal != nil {
		it.Refusal = s.refusal
		return it
	}
	it.Evidence, it.Statements, it.Notes = kept, drafts, s.notesList()
	return it
}

// Values yields a Unit, or an Item with a Refusal, for each JSON value of a
// source: a document, lines, values one after another, elements of an array.
func Values(im importer.Importer, src importer.Source, o Options, each func(Unit) iter.Seq[importer.Item]) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		for v, err := range rawjson.Split(src.R, o.Limit()) {
			if err != nil {
				yield(importer.Item{}, fmt.Errorf("reading %s: %w", im.Name(), err))
				return
			}
			if v.Fault != nil {
				it := importer.Item{Place: v.Place, Offset: v.Offset, Bytes: v.Size, Refusal: &importer.Refusal{Reason: v.Fault.Reason, Detail: v.Fault.Detail}}
				if !yield(it, nil) {
					return
				}
				continue
			}

			for it := range each(Unit{Place: v.Place, Offset: v.Offset, Bytes: v.Size, Raw: v.Bytes}) {
				if !yield(it, nil) {
					return
				}
			}
		}
	}
}

// Read yields an Item for each JSON value of a source.
func Read(im importer.Importer, src importer.Source, o Options, rules rawjson.Rules, say Say) iter.Seq2[importer.Item, error] {
	return Values(im, src, o, func(u Unit) iter.Seq[importer.Item] {
		return func(yield func(importer.Item) bool) { yield(Finish(im, u, rules, say)) }
	})
}

// All reads a whole input of at most max bytes; of a larger one it gives a
// Refusal.
func All(r io.Reader, max int64) ([]byte, *importer.Refusal, error) {
	data, err := io.ReadAll(io.LimitReader(r, max+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(data)) <= max {
		return data, nil, nil
	}
	rest, err := io.Copy(io.Discard, r)
	return nil, &importer.Refusal{Reason: rawjson.TooLarge,
		Detail: fmt.Sprintf("the input has %d bytes; the limit is %d. Split it", int64(len(data))+rest, max)}, err
}

// maxName is the longest name that is taken as it is, in bytes of its text.
const maxName = 1000

// Name gives the Ref of a kind whose name is the parts joined by '/'. An empty
// part is written "-", and a name too long for a Ref ends with its digest.
func Name(kind prov.Kind, parts ...string) prov.Ref {
	for i, p := range parts {
		if p == "" {
			parts = slices.Clone(parts)
			parts[i] = "-"
		}
	}
	r := prov.Ref{Kind: kind, Name: strings.Join(parts, "/")}
	if len(r.Name) <= maxName && len(r.String()) <= prov.MaxRef {
		return r
	}
	sum := sha256.Sum256([]byte(r.Name))
	r.Name = strings.ToValidUTF8(r.Name[:300], "") + "#sha256:" + hex.EncodeToString(sum[:])
	return r
}

// Text gives the text of Name.
func Text(kind prov.Kind, parts ...string) string { return Name(kind, parts...).String() }

// Person names who has an e-mail address; other names are of the source.
func Person(source, name string) string {
	if strings.Contains(name, "@") && !strings.ContainsAny(name, "/ ") {
		return Text(prov.Person, name)
	}
	return Text(prov.Person, source, name)
}

// Embedded reads JSON that stands in a text, as policies do. It gives no node
// for text that is none.
func Embedded(text string) rawjson.Node {
	var out rawjson.Node
	for v, err := range rawjson.Split(strings.NewReader(text), int64(len(text))+1) {
		if err != nil || v.Fault != nil || out.Kind() != 0 {
			return rawjson.Node{}
		}
		out = rawjson.Parse(v.Bytes).Root()
	}
	return out
}

// Texts gives the texts of an array, or the one text that stands in its place.
func Texts(n rawjson.Node) []string {
	if n.Kind() == '"' {
		return []string{n.Text()}
	}
	var out []string
	if n.Kind() == '[' {
		for x := range n.All() {
			if x.Kind() == '"' {
				out = append(out, x.Text())
			}
		}
	}
	return out
}
