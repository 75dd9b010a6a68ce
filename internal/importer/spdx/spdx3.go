package spdx

import (
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/bom"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
)

// reading3 is one SPDX 3 document being read. Its elements stand in any order,
// so they are gone through twice: for what they are, and for what ties them.
type reading3 struct {
	*bom.Statements
	doc *bom.Document
	src bom.Source

	scope    string
	self     bom.Thing
	about    map[string]string
	things   map[string]bom.Thing // by spdxId
	parties  map[string]prov.Ref  // persons, organisations, agents
	texts    map[string]string    // licences by spdxId, with their expression
	builds   map[string]*build
	order    []string // of builds
	infos    map[string]rawjson.Node
	vulns    map[string]string // by spdxId
	licences map[string][]string
	types    map[string]int // element types in the evidence only
	leftOut  map[string]int // relationship types in the evidence only
	dangling int
	elements int
	external map[string]bool
}

func newReading3(doc *bom.Document, src bom.Source, s *bom.Statements) *reading3 {
	return &reading3{Statements: s, doc: doc, src: src, about: map[string]string{}, things: map[string]bom.Thing{}, parties: map[string]prov.Ref{},
		texts: map[string]string{}, builds: map[string]*build{}, infos: map[string]rawjson.Node{}, vulns: map[string]string{},
		licences: map[string][]string{}, types: map[string]int{}, leftOut: map[string]int{}, external: map[string]bool{}}
}

// typeOf gives the type of an element without the prefix of its profile, which
// is written as ai_AIPackage, ai:AIPackage or as an IRI.
func typeOf(n rawjson.Node) string {
	t := first(n.Get("type").Text(), n.Get("@type").Text())
	if t == "" {
		for e := range n.Get("@type").All() {
			t = e.Text()
		}
	}
	if i := strings.LastIndexAny(t, "_:/"); i >= 0 {
		return t[i+1:]
	}
	return t
}

func idOf(n rawjson.Node) string {
	return first(n.Get("spdxId").Text(), n.Get("@id").Text(), n.Get("id").Text())
}

// field gives a property, with or without the prefix of its profile.
func field(n rawjson.Node, profile, name string) rawjson.Node {
	if v := n.Get(profile + "_" + name); v.Given() {
		return v
	}
	return n.Get(name)
}

// read goes through the graph.
func (x *reading3) read() {
	id := ""
	for i, n := range x.doc.Each("@graph") {
		if n.Kind() != '{' {
			x.Refuse(bom.BadField, at("@graph", i), "is no object; every element is one")
			return
		}
		switch typeOf(n) {
		case "CreationInfo":
			x.creation(n, at("@graph", i))
		case "SpdxDocument":
			id = first(id, idOf(n))
			x.document(n)
		}
		x.elements++
	}
	if x.elements == 0 {
		x.Refuse(NotSPDX, "@graph", "is empty; an SPDX 3 document lists its elements in it")
		return
	}
	x.scope = x.src.Scope(id)
	x.self = x.src.Thing(id, "")
	if id != "" {
		x.things[id] = x.self
	}
	for i, n := range x.doc.Each("@graph") {
		if x.element(n, at("@graph", i)); x.Refusal() != nil {
			return
		}
	}
	for i, n := range x.doc.Each("@graph") {
		x.tie(n, at("@graph", i))
		if x.Refusal() != nil {
			return
		}
	}
	for _, id := range x.order {
		x.Add(x.builds[id].draft())
	}
	for _, id := range sortedKeys(x.licences) {
		x.Describe(x.things[id], bom.Description{State: "labelled", Licence: strings.Join(x.licences[id], ", ")})
	}
	x.end()
}

func (x *reading3) creation(n rawjson.Node, place string) {
	v := n.Get("specVersion").Text()
	if v != "" && !strings.HasPrefix(v, "3.") {
		x.Refuse(NotSPDX, place+".specVersion", "is %q; SPDX 3 is read here", rawjson.Clip(v, 100))
		return
	}
	created := x.Time(place+".created", n.Get("created").Text())
	if x.At.IsZero() {
		x.At, x.about["specVersion"] = created, v
	}
	if id := idOf(n); id != "" {
		x.infos[id] = n
	}
}

func (x *reading3) document(n rawjson.Node) {
	x.about["name"] = n.Get("name").Text()
	x.about["profiles"] = strings.Join(list(n.Get("profileConformance")), ", ")
	x.about["describes"] = strings.Join(list(n.Get("rootElement")), ", ")
	for m := range n.Get("import").All() {
		x.external[m.Get("externalSpdxId").Text()] = true
	}
}

// madeOf are the kinds of the elements that are things.
var madeOf = map[string]prov.Kind{"AIPackage": prov.Model, "DatasetPackage": prov.Dataset, "Package": bom.Component, "File": prov.File,
	"SpdxDocument": prov.Document, "Service": prov.Service}

// element says what an element is.
func (x *reading3) element(n rawjson.Node, place string) {
	typ, id := typeOf(n), idOf(n)
	kind, isThing := madeOf[typ]
	switch typ {
	case "SpdxDocument", "CreationInfo", "Relationship", "LifecycleScopedRelationship", "Annotation":
		return
	case "Person", "Organization", "Agent", "SoftwareAgent":
		x.party(n, typ, id)
		return
	case "Tool":
		x.things[id] = bom.Thing{Ref: bom.Named(prov.Tool, x.scope, id, "", n.Get("name").Text(), "")}
		x.about["tools"] = strings.TrimPrefix(x.about["tools"]+", "+n.Get("name").Text(), ", ")
		return
	case "LicenseExpression":
		x.texts[id] = field(n, "simplelicensing", "licenseExpression").Text()
		return
	case "ListedLicense", "CustomLicense", "SimpleLicensingText", "DisjunctiveLicenseSet", "ConjunctiveLicenseSet", "WithAdditionOperator", "OrLaterOperator", "IndividualLicensingInfo":
		x.texts[id] = first(n.Get("name").Text(), id)
		return
	case "Vulnerability":
		x.vulns[id] = x.vulnerabilityID(n, id)
		return
	case "Build":
		x.build(n, id, place)
		return
	case "Sbom", "Bom", "Bundle":
		if t := list(field(n, "software", "sbomType")); len(t) > 0 {
			x.about["sbomType"] = strings.Join(t, ", ")
		}
		if r := list(n.Get("rootElement")); len(r) > 0 {
			x.about["describes"] = strings.Join(r, ", ")
		}
		x.things[id] = x.self
		return
	}
	if !isThing {
		if !strings.HasSuffix(typ, "Relationship") {
			x.types[first(typ, "without a type")]++
		}
		return
	}
	if id == "" {
		x.Refuse(MissingField, place+".spdxId", "is missing; every element has one")
		return
	}
	x.thing(n, kind, typ, id, place)
}

func (x *reading3) thing(n rawjson.Node, kind prov.Kind, typ, id, place string) {
	name := n.Get("name").Text()
	version := field(n, "software", "packageVersion").Text()
	purpose := field(n, "software", "primaryPurpose").Text()
	var t bom.Thing
	x.hashes(n, &t, place)
	switch {
	case kind == bom.Component && purpose == "container":
		kind = prov.Image
	case kind == bom.Component && purpose == "model":
		kind = prov.Model
	case kind == bom.Component && purpose == "data":
		kind = prov.Dataset
	}
	purls := x.purls(n, place)
	location := rawjson.Secrets(none(field(n, "software", "downloadLocation").Text()))
	switch {
	case len(purls) > 0 && kind != prov.Model && kind != prov.Dataset:
		t.Purl(purls[0])
		purls = purls[1:]
	case name == "":
		t.Ref = bom.Fit(prov.Ref{Kind: kind, Name: id})
		x.Note("%s has no name; named by its spdxId", place)
	case kind == prov.Dataset && version == "" && location != "":
		t.Ref = bom.Fit(prov.Ref{Kind: kind, Name: location})
	case version == "" && !strings.Contains(name, "/") || kind == prov.File:
		t.Ref = bom.Fit(prov.Ref{Kind: kind, Name: id, Version: versionFor(kind, version)}) // an IRI, and so known beyond the document
		if !strings.Contains(id, ":") || strings.HasPrefix(id, "_:") {
			t.Ref.Namespace = x.scope
		}
	default:
		t.Ref = bom.Named(kind, x.scope, id, "", name, version)
	}
	if _, again := x.things[id]; again {
		x.Note("spdxId %q stands more than once; relationships take the first", rawjson.Clip(id, 200))
	} else {
		x.things[id] = t
	}
	for _, p := range purls {
		x.Same(t, p)
	}
	a := map[string]string{"type": strings.ToLower(first(purpose, typ)), "suppliedBy": x.who(list(n.Get("suppliedBy"))), "originatedBy": x.who(list(n.Get("originatedBy")))}
	if t.Ref.Name != name {
		a["name"] = name
	}
	for _, k := range []string{"builtTime", "releaseTime", "validUntilTime"} {
		if when := x.Time(place+"."+k, n.Get(k).Text()); !when.IsZero() {
			a[k] = when.String()
		}
	}
	d := bom.Description{Attributes: a}
	if kind == prov.Model || kind == prov.Dataset {
		d.Text, d.Origin = first(n.Get("description").Text(), n.Get("summary").Text()), location
		a["copyright"] = none(field(n, "software", "copyrightText").Text())
		a["comment"] = n.Get("comment").Text()
		x.profile(n, a)
		d.Sensitivity = a["confidentialityLevel"]
	}
	x.Describe(t, d)
}

func versionFor(kind prov.Kind, v string) string {
	if kind.Versioned() {
		return v
	}
	return ""
}

// profile keeps the properties of the AI and dataset profiles as attributes.
func (x *reading3) profile(n rawjson.Node, a map[string]string) {
	for m := range n.All() {
		key := m.Key()
		name, ok := strings.CutPrefix(key, "ai_")
		if !ok {
			if name, ok = strings.CutPrefix(key, "dataset_"); !ok {
				continue
			}
		}
		if t := m.Text(); t != "" {
			a[name] = t
			continue
		}
		if name == "energyConsumption" {
			x.energy(m, a)
			continue
		}
		var texts []string
		for e := range m.All() {
			if k := e.Get("key").Text(); k != "" {
				a[name+"."+k] = e.Get("value").Text()
			} else if t := e.Text(); t != "" {
				texts = append(texts, t)
			}
		}
		if len(texts) > 0 {
			a[name] = strings.Join(texts, "; ")
		}
	}
}

func (x *reading3) energy(n rawjson.Node, a map[string]string) {
	for stage := range n.All() {
		for e := range stage.All() {
			q := field(e, "ai", "energyQuantity").Text()
			if q != "" {
				k := "energy." + strings.TrimPrefix(stage.Key(), "ai_")
				a[k] = strings.TrimPrefix(a[k]+"; "+q+" "+field(e, "ai", "energyUnit").Text(), "; ")
			}
		}
	}
}

func (x *reading3) hashes(n rawjson.Node, t *bom.Thing, place string) {
	i := 0
	for h := range n.Get("verifiedUsing").All() {
		p := at(place+".verifiedUsing", i)
		i++
		if typeOf(h) != "Hash" {
			x.Note("kept in the evidence only: integrity methods other than a hash")
			continue
		}
		if wrong := bom.AddDigest(&t.Digest, h.Get("algorithm").Text(), h.Get("hashValue").Text()); wrong != "" {
			x.Refuse(BadHash, p, "%q %s; give the digest as the tool printed it", rawjson.Clip(h.Get("hashValue").Text(), 150), wrong)
		}
	}
}

func (x *reading3) purls(n rawjson.Node, place string) []prov.Ref {
	texts := []string{}
	if u := field(n, "software", "packageUrl").Text(); u != "" {
		texts = append(texts, u)
	}
	for e := range n.Get("externalIdentifier").All() {
		if t := e.Get("externalIdentifierType").Text(); t == "packageUrl" || t == "purl" {
			texts = append(texts, e.Get("identifier").Text())
		}
	}
	var out []prov.Ref
	for _, t := range texts {
		if r, ok := bom.PurlRef(t); ok {
			out = append(out, r)
		} else {
			x.Note("%s: %q is no package URL; left out", place, rawjson.Clip(t, 200))
		}
	}
	return out
}

func (x *reading3) party(n rawjson.Node, typ, id string) {
	mail := ""
	for e := range n.Get("externalIdentifier").All() {
		if e.Get("externalIdentifierType").Text() == "email" {
			mail = e.Get("identifier").Text()
		}
	}
	kind := map[string]prov.Kind{"Person": prov.Person, "SoftwareAgent": prov.Workload}[typ]
	if kind == "" {
		kind = prov.Org
	}
	if r := bom.Party(kind, n.Get("name").Text(), mail); !r.IsZero() {
		x.parties[id] = r
	}
}

// who gives the names of parties.
func (x *reading3) who(ids []string) string {
	var out []string
	for _, id := range ids {
		if r, ok := x.parties[id]; ok {
			out = append(out, r.String())
		} else {
			out = append(out, id)
		}
	}
	return strings.Join(out, ", ")
}

func (x *reading3) vulnerabilityID(n rawjson.Node, id string) string {
	for e := range n.Get("externalIdentifier").All() {
		if t := e.Get("externalIdentifierType").Text(); t == "cve" || t == "securityOther" {
			return first(e.Get("identifier").Text(), id)
		}
	}
	return first(n.Get("name").Text(), id)
}

func (x *reading3) end() {
	for _, id := range sortedKeys(x.infos) {
		x.about["createdBy"] = x.who(list(x.infos[id].Get("createdBy")))
	}
	for _, t := range sortedKeys(x.types) {
		x.Note("kept in the evidence only: %d elements of type %s", x.types[t], rawjson.Clip(t, 100))
	}
	for _, t := range sortedKeys(x.leftOut) {
		x.Note("kept in the evidence only: %d relationships %s", x.leftOut[t], rawjson.Clip(t, 100))
	}
	if x.dangling > 0 {
		x.Note("%d references lead to no element of the document; taken as names of its own", x.dangling)
	}
	var roots []string
	for _, id := range strings.Split(x.about["describes"], ", ") {
		if t, ok := x.things[id]; ok && id != "" {
			roots = append(roots, t.Ref.String())
		}
	}
	x.about["describes"] = strings.Join(roots, ", ")
	x.about["elements"] = strconv.Itoa(x.elements)
	if x.about["completeness"] == "" {
		x.about["completeness"] = "not stated"
	}
	x.Describe(x.self, bom.Description{Text: "SPDX " + first(x.about["specVersion"], "3") + " document", Attributes: x.about})
}

// find gives the thing of an spdxId.
func (x *reading3) find(id string) bom.Thing {
	if t, ok := x.things[id]; ok {
		return t
	}
	if b, ok := x.builds[id]; ok {
		return bom.Thing{Ref: b.ref}
	}
	if r, ok := x.parties[id]; ok {
		return bom.Thing{Ref: r}
	}
	x.dangling++
	t := bom.Thing{Ref: bom.Fit(prov.Ref{Kind: bom.Component, Name: id})}
	if !strings.Contains(id, ":") || strings.HasPrefix(id, "_:") {
		t.Ref.Namespace = x.scope
	}
	return t
}
