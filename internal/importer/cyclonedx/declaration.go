package cyclonedx

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/bom"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
)

var aggregates = []string{"complete", "incomplete", "incomplete_first_party_only", "incomplete_first_party_proprietary_only",
	"incomplete_first_party_opensource_only", "incomplete_third_party_only", "incomplete_third_party_proprietary_only",
	"incomplete_third_party_opensource_only", "unknown", "not_specified"}

// compositions says how complete the document is, as a whole or for some of
// what it lists.
func (x *reading) compositions() {
	for i, c := range x.doc.Each("compositions") {
		place := at("compositions", i)
		agg := c.Get("aggregate").Text()
		if x.known && !oneOf(agg, aggregates...) {
			x.Refuse(bom.BadField, place+".aggregate", "%q is no aggregate; write complete, incomplete, unknown or another of the specification", rawjson.Clip(agg, 100))
			return
		}
		x.signedPart(c)
		any := false
		for _, k := range []string{"assemblies", "dependencies", "vulnerabilities"} {
			for r := range c.Get(k).All() {
				any = true
				if k != "vulnerabilities" || x.refs[r.Text()].IsZero() == false {
					x.Describe(x.target(r.Text(), place+"."+k), bom.Description{State: "labelled", Attributes: map[string]string{"completeness." + k: agg}})
				}
			}
		}
		if any {
			x.about["completeness"] = first(x.about["completeness"], "stated for some of what is listed")
			continue
		}
		x.about["completeness"] = agg
		x.Describe(x.root, bom.Description{State: "labelled", Attributes: map[string]string{"completeness": agg}})
	}
}

// targets keeps what claims are about, so that references find it.
func (x *reading) targets() {
	d := x.doc.Get("declarations")
	for o := range d.Get("targets").Get("organizations").All() {
		if r := x.party(o, prov.Org); !r.IsZero() {
			x.name(o.Get("bom-ref").Text(), bom.Thing{Ref: r})
		}
	}
	i := 0
	for c := range d.Get("targets").Get("components").All() {
		x.component(c, at("declarations.targets.components", i), false)
		i++
	}
	i = 0
	for s := range d.Get("targets").Get("services").All() {
		x.service(s, at("declarations.targets.services", i))
		i++
	}
	for a := range d.Get("assessors").All() {
		r := x.party(a.Get("organization"), prov.Org)
		if ref := a.Get("bom-ref").Text(); ref != "" && !r.IsZero() {
			x.orgs[ref] = r
		}
	}
}

// declarations says of each target what is claimed of it, and to what extent
// its assessor found it to hold. A claim is no approval and is made none.
func (x *reading) declarations() {
	x.standards(x.doc.Get("definitions"))
	d := x.doc.Get("declarations")
	if !d.Given() {
		return
	}
	x.signedPart(d)
	claimed := map[string]bom.Thing{}
	i := 0
	for c := range d.Get("claims").All() {
		place := at("declarations.claims", i)
		i++
		x.signedPart(c)
		ref := c.Get("bom-ref").Text()
		t := x.target(c.Get("target").Text(), place+".target")
		if t.IsZero() {
			x.Note("%s names no target; kept in the evidence only", place)
			continue
		}
		claimed[ref] = t
		k := "claim." + first(ref, strconv.Itoa(i-1))
		x.Describe(t, bom.Description{State: "labelled", Attributes: map[string]string{k: c.Get("predicate").Text(), k + ".reasoning": c.Get("reasoning").Text(),
			k + ".evidence": strings.Join(list(c.Get("evidence")), ", "), k + ".counterEvidence": strings.Join(list(c.Get("counterEvidence")), ", ")}})
	}
	i = 0
	for a := range d.Get("attestations").All() {
		x.assessment(a, at("declarations.attestations", i), claimed)
		i++
	}
	for e := range d.Get("evidence").All() {
		x.signedPart(e)
		x.Note("kept in the evidence only: the data, authors and reviewers of the evidence for claims")
	}
	aff := d.Get("affirmation")
	x.signedPart(aff)
	x.about["affirmation"] = aff.Get("statement").Text()
	for s := range aff.Get("signatories").All() {
		x.signedPart(s)
		how := "without a signature"
		if s.Get("signature").Given() {
			how = "signature not checked"
		} else if s.Get("externalReference").Given() {
			how = "signature elsewhere"
		}
		x.about["signatory."+s.Get("name").Text()] = join(", ", s.Get("role").Text(), orgText(s.Get("organization")), how)
	}
}

func (x *reading) assessment(a rawjson.Node, place string, claimed map[string]bom.Thing) {
	x.signedPart(a)
	by := a.Get("assessor").Text()
	if r, ok := x.orgs[by]; ok {
		by = r.Name
	}
	for m := range a.Get("map").All() {
		req := m.Get("requirement").Text()
		text := join(", ", "conformance "+first(m.Get("conformance").Get("score").Text(), "not stated"), "confidence "+first(m.Get("confidence").Get("score").Text(), "not stated"),
			prefixed("assessed by ", unique([]string{by})), prefixed("counter-claims ", list(m.Get("counterClaims"))), m.Get("conformance").Get("rationale").Text())
		found := false
		for _, c := range list(m.Get("claims")) {
			if t, ok := claimed[c]; ok {
				found = true
				x.Describe(t, bom.Description{State: "labelled", Attributes: map[string]string{"requirement." + req: text}})
			}
		}
		if !found {
			x.about["requirement."+req] = text
			x.Note("%s: requirement %q is mapped to no claim with a target; told of the document", place, rawjson.Clip(req, 100))
		}
	}
	x.about["attestation"] = join("; ", x.about["attestation"], a.Get("summary").Text())
}

// standards describes the standards that the document defines.
func (x *reading) standards(d rawjson.Node) {
	for s := range d.Get("standards").All() {
		x.signedPart(s)
		t := bom.Thing{Ref: bom.Named(prov.Document, x.scope, s.Get("bom-ref").Text(), s.Get("owner").Text(), s.Get("name").Text(), s.Get("version").Text())}
		a := map[string]string{"type": "standard", "name": s.Get("name").Text(), "owner": s.Get("owner").Text()}
		n := 0
		for r := range s.Get("requirements").All() {
			if n++; n <= 150 {
				a["requirement."+r.Get("identifier").Text()] = first(r.Get("title").Text(), r.Get("text").Text())
			}
		}
		if n > 150 {
			x.Note("kept in the evidence only: the requirements of a standard after the first 150")
		}
		for l := range s.Get("levels").All() {
			a["level."+l.Get("identifier").Text()] = first(l.Get("title").Text(), l.Get("description").Text())
		}
		a["requirements"] = strconv.Itoa(n)
		x.Describe(t, bom.Description{Text: s.Get("description").Text(), Attributes: a})
	}
	if d.Get("patents").Given() {
		x.Note("kept in the evidence only: definitions.patents")
	}
}

// annotations tells of each subject what was remarked about it, and by whom.
func (x *reading) annotations() {
	for i, n := range x.doc.Each("annotations") {
		place := at("annotations", i)
		x.signedPart(n)
		if n.Get("text").Text() == "" || !n.Get("subjects").Given() {
			x.Refuse(MissingField, place, "lacks text or subjects; an annotation has both")
			return
		}
		by := n.Get("annotator")
		who := first(orgText(by.Get("organization")), personText(by.Get("individual")), join(" ", by.Get("component").Get("name").Text(), by.Get("component").Get("version").Text()),
			join(" ", by.Get("service").Get("name").Text(), by.Get("service").Get("version").Text()))
		d := bom.Description{State: "labelled", At: x.Time(place+".timestamp", n.Get("timestamp").Text()),
			Attributes: map[string]string{fmt.Sprintf("annotation.%s", first(n.Get("bom-ref").Text(), strconv.Itoa(i))): join(": ", who, n.Get("text").Text())}}
		for s := range n.Get("subjects").All() {
			if s.Text() == x.serial && x.serial != "" {
				x.Describe(x.self, d)
				continue
			}
			x.Describe(x.target(s.Text(), place+".subjects"), d)
		}
	}
}

// citations tells who stated which part of the document.
func (x *reading) citations() {
	for i, c := range x.doc.Each("citations") {
		place := at("citations", i)
		switch {
		case !c.Get("attributedTo").Given() && !c.Get("process").Given():
			x.Refuse(BadCitation, place, "has neither attributedTo nor process; say who or which process stated it")
		case c.Get("pointers").Given() == c.Get("expressions").Given():
			x.Refuse(BadCitation, place, "has not exactly one of pointers and expressions; say by one of both what it is about")
		case !c.Get("timestamp").Given():
			x.Refuse(BadCitation, place+".timestamp", "is missing; say when it was stated")
		}
		x.signedPart(c)
		d := bom.Description{State: "labelled", At: x.Time(place+".timestamp", c.Get("timestamp").Text())}
		if x.Refusal() != nil {
			return
		}
		by := c.Get("attributedTo").Text()
		if r, ok := x.orgs[by]; ok {
			by = r.Name
		}
		text := join(", ", prefixed("by ", unique([]string{by})), prefixed("process ", unique([]string{c.Get("process").Text()})), c.Get("note").Text())
		id := first(c.Get("bom-ref").Text(), strconv.Itoa(i))
		for _, p := range append(list(c.Get("pointers")), list(c.Get("expressions"))...) {
			t, field := x.pointed(p)
			d.Attributes = map[string]string{"citation." + id + " " + field: text}
			x.Describe(t, d)
		}
	}
}

// pointed gives the component that a JSON pointer leads into, and where in it;
// the document itself for every other pointer or expression.
func (x *reading) pointed(p string) (bom.Thing, string) {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(p, "#"), "/components/")
	if ok {
		index, field, _ := strings.Cut(rest, "/")
		if n, err := strconv.Atoi(index); err == nil && n >= 0 && n < len(x.top) {
			return x.top[n], field
		}
	}
	return x.self, p
}
