package vex

import (
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/bom"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// affectedLists are the product states of CSAF (2.0 section 3.2.3.9) that
// state that a product is affected; the others do not.
var affectedLists = map[string]bool{"known_affected": true, "first_affected": true, "last_affected": true}

var productLists = []string{"known_affected", "first_affected", "last_affected", "known_not_affected", "fixed", "first_fixed",
	"recommended", "under_investigation", "unknown"}

// csaf reads a CSAF document.
func (x *reading) csaf() {
	d := x.doc.Get("document")
	if d.Get("csaf_version").Text() == "" {
		x.Refuse(NotVEX, "document.csaf_version", "is missing; a CSAF document says 2.0 or 2.1")
		return
	}
	tracking, publisher := d.Get("tracking"), d.Get("publisher")
	id := tracking.Get("id").Text()
	if id == "" {
		x.Refuse(MissingField, "document.tracking.id", "is missing; give the identifier of the advisory")
		return
	}
	namespace := publisher.Get("namespace").Text()
	name := join("/", strings.TrimSuffix(namespace, "/"), id)
	x.scope = x.src.Scope(name)
	x.At = x.Time("document.tracking.current_release_date", first(tracking.Get("current_release_date").Text(), tracking.Get("initial_release_date").Text()))
	products := x.products(x.doc.Get("product_tree"))
	if x.Refusal() != nil {
		return
	}
	said := map[string]bool{}
	for i, v := range x.doc.Each("vulnerabilities") {
		x.vulnerability(v, at("vulnerabilities", i), products, namespace, said)
		if x.Refusal() != nil {
			return
		}
	}
	x.about["category"], x.about["title"], x.about["publisher"] = d.Get("category").Text(), d.Get("title").Text(), publisher.Get("name").Text()
	x.about["status"], x.about["products"] = tracking.Get("status").Text(), strconv.Itoa(len(products))
	x.about["tlp"] = d.Get("distribution").Get("tlp").Get("label").Text()
	x.about["severity"] = d.Get("aggregate_severity").Get("text").Text()
	x.Describe(x.src.Thing(name, tracking.Get("version").Text()), bom.Description{Text: "CSAF " + d.Get("csaf_version").Text() + " advisory", Attributes: x.about})
}

// product of a CSAF product tree.
type product struct {
	thing bom.Thing
	name  string
	parts []string // product IDs of which it is the relationship
}

// products reads the product tree. Branches nest, as deep as the document does.
func (x *reading) products(tree rawjson.Node) map[string]*product {
	out := map[string]*product{}
	add := func(n rawjson.Node, place string, parts ...string) {
		id := n.Get("product_id").Text()
		if id == "" {
			x.Refuse(MissingField, place+".product_id", "is missing; every product has one")
			return
		}
		if out[id] == nil {
			out[id] = &product{x.productThing(n, id, place), n.Get("name").Text(), parts}
		}
	}
	var walk func(n rawjson.Node, place string)
	walk = func(n rawjson.Node, place string) {
		i := 0
		for b := range n.Get("branches").All() {
			p := at(place+".branches", i)
			i++
			if q := b.Get("product"); q.Given() {
				add(q, p+".product")
			}
			walk(b, p)
		}
	}
	walk(tree, "product_tree")
	i := 0
	for n := range tree.Get("full_product_names").All() {
		add(n, at("product_tree.full_product_names", i))
		i++
	}
	i = 0
	for r := range tree.Get("relationships").All() {
		add(r.Get("full_product_name"), at("product_tree.relationships", i)+".full_product_name", r.Get("product_reference").Text(), r.Get("relates_to_product_reference").Text())
		i++
	}
	return out
}

// productThing names a product: by purl, else by the document and its ID.
func (x *reading) productThing(n rawjson.Node, id, place string) bom.Thing {
	h := n.Get("product_identification_helper")
	t := bom.Thing{Ref: bom.Fit(prov.Ref{Kind: bom.Component, Namespace: x.scope, Name: id})}
	for _, text := range append([]string{h.Get("purl").Text()}, list(h.Get("purls"))...) {
		if r, ok := bom.PurlRef(text); ok {
			t.Purl(r)
			break
		}
	}
	files := 0
	for f := range h.Get("hashes").All() {
		if files++; files > 1 {
			x.Note("%s: has hashes of several files; kept in the evidence only", place)
			t.Digest = nil
			break
		}
		for s := range f.Get("file_hashes").All() {
			if wrong := bom.AddDigest(&t.Digest, s.Get("algorithm").Text(), s.Get("value").Text()); wrong != "" {
				x.Refuse(BadHash, place+".hashes", "%q %s; give the digest as the tool printed it", rawjson.Clip(s.Get("value").Text(), 150), wrong)
			}
		}
	}
	return t
}

func (x *reading) vulnerability(v rawjson.Node, place string, products map[string]*product, namespace string, said map[string]bool) {
	id := v.Get("cve").Text()
	for n := range v.Get("ids").All() {
		id = first(id, n.Get("text").Text())
	}
	if id = first(id, v.Get("title").Text()); id == "" {
		x.Note("%s has neither cve nor ids; kept in the evidence only", place)
		return
	}
	severity := x.severity(v)
	for _, k := range productLists {
		var things []bom.Thing
		for _, pid := range list(v.Get("product_status").Get(k)) {
			p := products[pid]
			if p == nil {
				x.Note("%s.product_status.%s: %q is no product of the tree; named by the document", place, k, rawjson.Clip(pid, 200))
				p = &product{thing: bom.Thing{Ref: bom.Fit(prov.Ref{Kind: bom.Component, Namespace: x.scope, Name: pid})}}
				products[pid] = p
			}
			things = append(things, p.thing)
			x.introduce(pid, p, products, said)
			x.ofPart(p, products, id, k)
		}
		if len(things) == 0 {
			continue
		}
		if affectedLists[k] {
			n := statement.Notice{ID: bom.NoticeRef(id), Severity: severity, At: x.At, Source: namespace, Description: first(note(v, "description"), note(v, "summary"), v.Get("title").Text())}
			x.Vulnerable(things, n)
			continue
		}
		for _, t := range things {
			x.Describe(t, bom.Description{State: "labelled", Attributes: map[string]string{"vulnerability." + id: k}})
		}
	}
}

// introduce describes a product of which something is said, and what it is put
// together from.
func (x *reading) introduce(id string, p *product, products map[string]*product, said map[string]bool) {
	if said[id] {
		return
	}
	said[id] = true
	x.Describe(p.thing, bom.Description{Attributes: map[string]string{"type": "product", "name": p.name}})
	for _, part := range p.parts {
		if q := products[part]; q != nil {
			x.Derive(p.thing, q.thing, "product-of")
		}
	}
}

// ofPart tells of the component in a combination what is said of the
// combination: it is affected there, which does not say that it is elsewhere.
func (x *reading) ofPart(p *product, products map[string]*product, id, state string) {
	if len(p.parts) == 0 || products[p.parts[0]] == nil {
		return
	}
	x.Describe(products[p.parts[0]].thing, bom.Description{State: "labelled", Attributes: map[string]string{"vulnerability." + id + " in combination": state}})
}

func note(v rawjson.Node, category string) string {
	for n := range v.Get("notes").All() {
		if n.Get("category").Text() == category {
			return n.Get("text").Text()
		}
	}
	return ""
}

// severity gives the gravest that the scores, metrics and impact threats state.
func (x *reading) severity(v rawjson.Node) string {
	worst := ""
	see := func(s rawjson.Node) {
		for _, k := range []string{"cvss_v4", "cvss_v3", "cvss_v2"} {
			worst = bom.Worse(worst, bom.Severity(s.Get(k).Get("baseSeverity").Text()))
		}
	}
	for s := range v.Get("scores").All() {
		see(s)
	}
	for m := range v.Get("metrics").All() {
		see(m.Get("content"))
	}
	if worst == "" {
		for t := range v.Get("threats").All() {
			if t.Get("category").Text() == "impact" {
				worst = bom.Worse(worst, bom.Severity(t.Get("details").Text()))
			}
		}
	}
	return worst
}
