// Package vex makes statements out of documents that say which products a
// vulnerability affects: OpenVEX 0.0 to 0.2, and CSAF 2.0 and 2.1 (OASIS) of
// any profile with vulnerabilities.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-vex.md.
package vex

import (
	"iter"
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/bom"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// MediaType is that of the evidence.
const MediaType = "application/json"

// The classes of refusals beside those of rawjson and package bom.
const (
	NotVEX       = "not-vex"
	MissingField = "missing-field"
	BadStatus    = "bad-status"
	BadHash      = "bad-hash"
	NoProduct    = "no-product"
)

// Importer reads OpenVEX and CSAF documents.
type Importer struct{ Options bom.Options }

// Name gives "vex".
func (Importer) Name() string { return "vex" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Recognise tells whether the file is an OpenVEX or CSAF document.
func (Importer) Recognise(h *importer.Head) bool {
	switch {
	case h.HasPrefix("@context", "https://openvex.dev/"):
		return true
	case h.Has("@context", "author", "statements") && !h.Has("predicateType"):
		return true
	case h.Members["document"] == "{" && (h.Has("product_tree") || h.Has("vulnerabilities") || strings.Contains(string(h.Bytes), `"csaf_version"`)):
		return strings.Contains(string(h.Bytes), `"csaf_version"`)
	}
	return false
}

// Read yields an Item for each document of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return bom.Read(im, s, im.Options, MediaType, mapping)
}

func mapping(doc *bom.Document, src bom.Source, s *bom.Statements) *statement.EvidenceCheck {
	x := &reading{Statements: s, doc: doc, src: src, about: map[string]string{}}
	switch {
	case doc.Kind("document") == '{':
		x.csaf()
	case doc.Kind("statements") != 0:
		x.openVEX()
	default:
		s.Refuse(NotVEX, "document", "is neither OpenVEX (statements) nor CSAF (document); give one of them")
	}
	return &statement.EvidenceCheck{Result: statement.CheckUnsigned}
}

type reading struct {
	*bom.Statements
	doc   *bom.Document
	src   bom.Source
	scope string
	about map[string]string
}

// openVEX reads an OpenVEX document.
func (x *reading) openVEX() {
	id := x.doc.Get("@id").Text()
	if x.doc.Kind("statements") != '[' {
		x.Refuse(bom.BadField, "statements", "is no array; write a list of statements")
		return
	}
	x.scope = x.src.Scope(id)
	x.At = x.Time("timestamp", first(x.doc.Get("last_updated").Text(), x.doc.Get("timestamp").Text()))
	author := x.doc.Get("author").Text()
	n := 0
	for i, s := range x.doc.Each("statements") {
		x.statement(s, at("statements", i), author)
		if x.Refusal() != nil {
			return
		}
		n++
	}
	x.about["author"], x.about["role"], x.about["tooling"] = author, x.doc.Get("role").Text(), x.doc.Get("tooling").Text()
	x.about["statements"] = strconv.Itoa(n)
	x.Describe(x.src.Thing(id, x.doc.Get("version").Text()), bom.Description{Text: "OpenVEX document", Attributes: x.about})
}

func (x *reading) statement(s rawjson.Node, place, author string) {
	v := s.Get("vulnerability")
	id := first(v.Text(), v.Get("name").Text(), v.Get("@id").Text())
	if id == "" {
		x.Refuse(MissingField, place+".vulnerability.name", "is missing; name the vulnerability, for example CVE-2026-1234")
		return
	}
	status := s.Get("status").Text()
	switch status {
	case "affected", "not_affected", "fixed", "under_investigation":
	default:
		x.Refuse(BadStatus, place+".status", "%q is no status; write affected, not_affected, fixed or under_investigation", rawjson.Clip(status, 100))
		return
	}
	var things []bom.Thing
	var subs []string
	i := 0
	for p := range s.Get("products").All() {
		things = append(things, x.product(p, at(place+".products", i)))
		for c := range p.Get("subcomponents").All() {
			subs = append(subs, x.product(c, place).Ref.String())
		}
		i++
	}
	for c := range s.Get("subcomponents").All() {
		subs = append(subs, x.product(c, place).Ref.String())
	}
	if i == 0 {
		x.Note("%s names no product; kept in the evidence only", place)
		return
	}
	when := x.Time(place+".timestamp", first(s.Get("last_updated").Text(), s.Get("timestamp").Text()))
	if when.IsZero() {
		when = x.At
	}
	if a := list(v.Get("aliases")); len(a) > 0 {
		x.about["aliases."+id] = strings.Join(a, ", ")
	}
	within := ""
	if len(subs) > 0 {
		within = "through " + strings.Join(subs, ", ")
	}
	if status == "affected" {
		x.Vulnerable(things, statement.Notice{ID: bom.NoticeRef(id), At: when, Source: author,
			Description: join("; ", within, v.Get("description").Text(), s.Get("action_statement").Text(), s.Get("status_notes").Text())})
		return
	}
	text := join("; ", status, within, s.Get("justification").Text(), s.Get("impact_statement").Text(), s.Get("status_notes").Text(), "says "+first(author, "an unnamed author"))
	for _, t := range things {
		x.Describe(t, bom.Description{State: "labelled", At: when, Attributes: map[string]string{"vulnerability." + id: text}})
	}
}

// product gives the thing that a product or subcomponent names: by purl, else
// by its identifier.
func (x *reading) product(p rawjson.Node, place string) bom.Thing {
	id := first(p.Text(), p.Get("@id").Text())
	var t bom.Thing
	for h := range p.Get("hashes").All() {
		if wrong := bom.AddDigest(&t.Digest, h.Key(), h.Text()); wrong != "" {
			x.Refuse(BadHash, place+".hashes", "%q %s; give the digest as the tool printed it", rawjson.Clip(h.Text(), 150), wrong)
		}
	}
	for _, purl := range []string{p.Get("identifiers").Get("purl").Text(), id} {
		if r, ok := bom.PurlRef(purl); ok {
			t.Purl(r)
			return t
		}
	}
	id = first(id, p.Get("identifiers").Get("cpe23").Text(), p.Get("identifiers").Get("cpe22").Text())
	switch {
	case id == "" && !t.Digest.Content().IsZero():
	case id == "":
		x.Refuse(NoProduct, place, "has no @id, identifier or digest; say which product is meant")
	case strings.Contains(id, ":"): // an IRI or CPE: known beyond the document
		t.Ref = bom.Fit(prov.Ref{Kind: bom.Component, Name: rawjson.Secrets(id)})
	default:
		t.Ref = bom.Fit(prov.Ref{Kind: bom.Component, Namespace: x.scope, Name: id})
	}
	return t
}

func at(place string, i int) string { return place + "[" + strconv.Itoa(i) + "]" }

func first(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

func join(sep string, texts ...string) string {
	var out []string
	for _, s := range texts {
		if s != "" {
			out = append(out, s)
		}
	}
	return strings.Join(out, sep)
}

func list(n rawjson.Node) []string {
	var out []string
	for e := range n.All() {
		if t := e.Text(); t != "" {
			out = append(out, t)
		}
	}
	return out
}
