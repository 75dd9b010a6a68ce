package cyclonedx

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/bom"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// componentTypes are those of specification 1.7.
var componentTypes = []string{"application", "framework", "library", "container", "platform", "operating-system", "device",
	"device-driver", "firmware", "file", "machine-learning-model", "data", "cryptographic-asset"}

// inventory reads what the document lists.
func (x *reading) inventory() {
	if c := x.doc.Get("metadata").Get("component"); c.Given() {
		x.root = x.component(c, "metadata.component", true)
	}
	for i, c := range x.doc.Each("components") {
		t := x.component(c, at("components", i), false)
		if x.Refusal() != nil {
			return
		}
		x.top = append(x.top, t)
		if s := c.Get("scope").Text(); s != "excluded" {
			x.listed = append(x.listed, t)
		} else {
			x.Note("components of scope excluded are described, and are no part of what the document describes")
		}
	}
	for i, s := range x.doc.Each("services") {
		x.listed = append(x.listed, x.service(s, at("services", i)))
		if x.Refusal() != nil {
			return
		}
	}
	for i, f := range x.doc.Each("formulation") {
		k := 0
		for c := range f.Get("components").All() {
			x.component(c, at("formulation", i)+at(".components", k), false)
			k++
		}
		k = 0
		for s := range f.Get("services").All() {
			x.service(s, at("formulation", i)+at(".services", k))
			k++
		}
	}
	x.targets()
}

// resolve does what had to wait until all bom-refs were known.
func (x *reading) resolve() {
	for _, f := range x.later {
		f()
	}
	x.later = nil
}

// component describes a component and, within it, what it contains and comes
// from. How deep they nest is bounded by the depth of the document.
func (x *reading) component(c rawjson.Node, place string, full bool) bom.Thing {
	if c.Kind() != '{' {
		x.Refuse(BadComponent, place, "is no object; write a component as an object with type and name")
		return bom.Thing{}
	}
	typ := x.checkComponent(c, place)
	if x.Refusal() != nil {
		return bom.Thing{}
	}
	t, aliases := x.identify(c, typ, place)
	x.name(c.Get("bom-ref").Text(), t)
	x.signedPart(c)
	model, data := typ == "machine-learning-model", typ == "data"
	full = full || model || data || typ == "cryptographic-asset"
	d := x.describe(c, typ, place, full)
	if c.Get("modelCard").Given() {
		x.modelCard(t, c.Get("modelCard"), d.Attributes, place+".modelCard")
	}
	i := 0
	for e := range c.Get("data").All() {
		x.Contain(t, x.data(e, at(place+".data", i), d.Attributes))
		i++
	}
	x.Describe(t, d)
	for _, a := range aliases {
		x.Same(t, a)
	}
	x.pedigree(t, c.Get("pedigree"), place+".pedigree")
	i = 0
	for n := range c.Get("components").All() {
		x.Contain(t, x.component(n, at(place+".components", i), false))
		i++
	}
	return t
}

// checkComponent refuses a component that breaks the rules of the format.
func (x *reading) checkComponent(c rawjson.Node, place string) (typ string) {
	typ = c.Get("type").Text()
	switch {
	case typ == "":
		x.Refuse(MissingField, place+".type", "is missing; say what sort of component it is, for example library")
	case x.known && !oneOf(typ, componentTypes...):
		x.Refuse(BadComponent, place+".type", "%q is no type of component; write one of %s", rawjson.Clip(typ, 100), strings.Join(componentTypes, ", "))
	}
	if c.Get("name").Text() == "" && !(x.known && c.Get("name").Kind() == '"') {
		x.Refuse(MissingField, place+".name", "is missing; give the name of the component")
	}
	for _, k := range []string{"group", "name", "version", "purl", "cpe", "bom-ref", "scope", "description", "publisher", "mime-type"} {
		x.text(c, k, place+"."+k)
	}
	if ref := c.Get("bom-ref"); ref.Given() && ref.Text() == "" && x.known {
		x.Refuse(BadComponent, place+".bom-ref", "is empty; give a reference or leave it out")
	}
	if s := c.Get("scope").Text(); s != "" && x.known && !oneOf(s, "required", "optional", "excluded") {
		x.Refuse(BadComponent, place+".scope", "%q is no scope; write required, optional or excluded", rawjson.Clip(s, 100))
	}
	if r := c.Get("versionRange"); r.Given() {
		if c.Get("version").Given() {
			x.Refuse(BadComponent, place+".versionRange", "stands beside version; give one of both")
		}
		if c.Get("isExternal").Kind() != 't' {
			x.Refuse(BadComponent, place+".versionRange", "is given for a component that is not external; give version, or say isExternal")
		}
	}
	if w := c.Get("swid"); w.Given() && (w.Get("tagId").Text() == "" || w.Get("name").Text() == "") {
		x.Refuse(BadComponent, place+".swid", "lacks tagId or name; a SWID tag has both")
	}
	x.properties(c.Get("properties"), place+".properties")
	x.checkPedigree(c.Get("pedigree"), place+".pedigree")
	return typ
}

// properties refuses properties that are no list of objects with texts.
func (x *reading) properties(n rawjson.Node, place string) {
	i := 0
	for p := range n.All() {
		if n.Kind() != '[' || p.Kind() != '{' || p.Get("name").Given() && p.Get("name").Kind() != '"' || x.spec == "1.7" && !p.Get("name").Given() || p.Get("value").Given() && p.Get("value").Kind() != '"' {
			x.Refuse(bom.BadField, at(place, i), "is no property; write {\"name\": …, \"value\": …} with texts")
			return
		}
		i++
	}
}

var patchTypes = []string{"unofficial", "monkey", "backport", "cherry-pick"}
var issueTypes = []string{"defect", "enhancement", "security"}

func (x *reading) checkPedigree(p rawjson.Node, place string) {
	i := 0
	for patch := range p.Get("patches").All() {
		if t := patch.Get("type").Text(); x.known && !oneOf(t, patchTypes...) {
			x.Refuse(bom.BadField, at(place+".patches", i)+".type", "%q is no type of patch; write one of %s", rawjson.Clip(t, 100), strings.Join(patchTypes, ", "))
		}
		k := 0
		for issue := range patch.Get("resolves").All() {
			if t := issue.Get("type").Text(); x.known && !oneOf(t, issueTypes...) {
				x.Refuse(bom.BadField, at(at(place+".patches", i)+".resolves", k)+".type", "%q is no type of issue; write one of %s", rawjson.Clip(t, 100), strings.Join(issueTypes, ", "))
			}
			k++
		}
		i++
	}
}

// identify gives the component's name and digests, and its other names.
func (x *reading) identify(c rawjson.Node, typ, place string) (t bom.Thing, aliases []prov.Ref) {
	t.Digest = x.hashes(c.Get("hashes"), place+".hashes")
	group, name, version, ref := c.Get("group").Text(), c.Get("name").Text(), c.Get("version").Text(), c.Get("bom-ref").Text()
	kind := kindOf(c, typ)
	if typ == "container" && strings.HasPrefix(version, "sha256:") && len(version) == 71 && t.Digest.Content().IsZero() {
		if bom.AddDigest(&t.Digest, "SHA-256", version[7:]) == "" {
			x.Note("a version sha256:… of a container is read as the digest of the image")
			version = ""
		}
	}
	purl, isPurl := bom.PurlRef(c.Get("purl").Text())
	if p := c.Get("purl").Text(); p != "" && !isPurl {
		x.Note("%s.purl %q is no package URL; left out", place, rawjson.Clip(p, 200))
	}
	if isPurl && kind != prov.Model && kind != prov.Dataset {
		t.Purl(purl)
		return t, nil
	}
	t.Ref = bom.Named(kind, x.scope, "", group, name, version)
	if t.Ref.Namespace != "" {
		t.Ref = bom.Named(kind, x.scope, x.Local(kind, join("/", group, name), first(ref, place)), group, name, version)
	}
	if isPurl {
		aliases = append(aliases, purl)
	}
	if ref != "" && x.serial != "" && kind != prov.File {
		if l := linked(x.serial, ref); l.Key() != t.Ref.Key() {
			aliases = append(aliases, l)
		}
	}
	return t, aliases
}

// kindOf gives the kind of a component by its type.
func kindOf(c rawjson.Node, typ string) prov.Kind {
	switch typ {
	case "machine-learning-model":
		return prov.Model
	case "data":
		return prov.Dataset
	case "container":
		return prov.Image
	case "file":
		return prov.File
	case "cryptographic-asset":
		switch c.Get("cryptoProperties").Get("assetType").Text() {
		case "certificate":
			return prov.Credential
		case "related-crypto-material":
			return prov.Secret
		}
	}
	return bom.Component
}

func (x *reading) hashes(n rawjson.Node, place string) statement.DigestSet {
	var set statement.DigestSet
	i := 0
	for h := range n.All() {
		if n.Kind() != '[' || h.Kind() != '{' {
			x.Refuse(BadHash, place, "is no list of hashes; write [{\"alg\": …, \"content\": …}]")
			return nil
		}
		if wrong := bom.AddDigest(&set, h.Get("alg").Text(), h.Get("content").Text()); wrong != "" {
			x.Refuse(BadHash, at(place, i), "%q %s; give the digest as the tool printed it", rawjson.Clip(h.Get("content").Text(), 150), wrong)
		}
		i++
	}
	return set
}

// describe gives what is said of the component itself. Of a component among
// many only what many have in common is kept, so that they share statements.
func (x *reading) describe(c rawjson.Node, typ, place string, full bool) bom.Description {
	d := bom.Description{Licence: x.licences(c.Get("licenses"), place+".licenses"), Attributes: map[string]string{"type": typ}}
	a := d.Attributes
	a["supplier"] = orgText(c.Get("supplier"))
	a["manufacturer"] = orgText(c.Get("manufacturer"))
	a["publisher"] = c.Get("publisher").Text()
	a["scope"] = c.Get("scope").Text()
	a["versionRange"] = c.Get("versionRange").Text()
	if c.Get("isExternal").Kind() == 't' {
		a["isExternal"] = "yes"
	}
	if c.Get("modified").Kind() == 't' {
		a["modified"] = "yes"
	}
	if !full {
		return d
	}
	d.Text = c.Get("description").Text()
	for _, k := range []string{"author", "copyright", "cpe", "mime-type"} {
		a[k] = c.Get(k).Text()
	}
	var authors []string
	for p := range c.Get("authors").All() {
		authors = append(authors, personText(p))
	}
	if len(authors) > 0 {
		a["author"] = strings.Join(authors, ", ")
	}
	x.externalReferences(c.Get("externalReferences"), a)
	named(c.Get("properties"), "property.", a)
	crypto := c.Get("cryptoProperties")
	a["assetType"] = crypto.Get("assetType").Text()
	for _, k := range []string{"algorithmProperties", "certificateProperties", "relatedCryptoMaterialProperties", "protocolProperties"} {
		for m := range crypto.Get(k).All() {
			if t := m.Text(); t != "" && crypto.Get(k).Kind() == '{' {
				a["crypto."+m.Key()] = t
			}
		}
	}
	return d
}

// named adds properties as attributes. Of several with one name the values are
// joined.
func named(n rawjson.Node, prefix string, a map[string]string) {
	i := 0
	for p := range n.All() {
		k, v := prefix+p.Get("name").Text(), p.Get("value").Text()
		if a[k] != "" && v != "" {
			v = a[k] + ", " + v
		}
		if a[k] = v; i > 100 {
			return
		}
		i++
	}
}

func (x *reading) externalReferences(n rawjson.Node, a map[string]string) {
	i := 0
	for r := range n.All() {
		k, v := "externalReference."+r.Get("type").Text(), rawjson.Secrets(r.Get("url").Text())
		if a[k] != "" && v != "" {
			v = a[k] + ", " + v
		}
		if a[k] = v; i > 50 {
			return
		}
		i++
	}
}

// licences gives the licences as text: an expression as it is, several joined
// by commas, for the format does not say whether all or any of them hold.
func (x *reading) licences(n rawjson.Node, place string) string {
	if n.Given() && n.Kind() != '[' {
		x.Refuse(BadLicence, place, "is no array; write a list of licenses or one expression")
		return ""
	}
	var out []string
	i := 0
	for l := range n.All() {
		p := at(place, i)
		i++
		lic, expr := l.Get("license"), l.Get("expression")
		switch {
		case l.Kind() != '{' || lic.Given() == expr.Given():
			x.Refuse(BadLicence, p, "has not exactly one of license and expression; give one of both")
		case expr.Given():
			if expr.Text() == "" {
				x.Refuse(BadLicence, p+".expression", "is empty; write an SPDX licence expression")
			}
			out = append(out, expr.Text())
		case lic.Get("id").Given() && lic.Get("name").Given():
			x.Refuse(BadLicence, p+".license", "has both id and name; give the SPDX id, or a name for one that SPDX does not list")
		default:
			s := first(lic.Get("id").Text(), lic.Get("name").Text())
			if s == "" && x.known {
				x.Refuse(BadLicence, p+".license", "has neither id nor name; give the SPDX id, or a name")
			}
			if e := lic.Get("text").Get("encoding"); e.Given() && e.Text() != "base64" && x.known {
				x.Refuse(BadLicence, p+".license.text.encoding", "is %q; write base64 or leave it out", rawjson.Clip(e.Text(), 100))
			}
			out = append(out, s)
		}
		if x.Refusal() != nil {
			return ""
		}
	}
	return strings.Join(out, ", ")
}

// pedigree says what the component was made from, and what of it.
func (x *reading) pedigree(t bom.Thing, p rawjson.Node, place string) {
	if !p.Given() {
		return
	}
	i := 0
	for c := range p.Get("ancestors").All() {
		x.Derive(t, x.component(c, at(place+".ancestors", i), false), "ancestor")
		i++
	}
	i = 0
	for c := range p.Get("descendants").All() {
		x.Derive(x.component(c, at(place+".descendants", i), false), t, "descendant")
		i++
	}
	a := map[string]string{}
	i = 0
	var names []string
	for c := range p.Get("variants").All() {
		v := x.component(c, at(place+".variants", i), false)
		if x.Refusal() != nil {
			return
		}
		names = append(names, v.Ref.String())
		i++
	}
	if len(names) > 0 {
		a["variants"] = strings.Join(names, ", ")
		x.Note("variants in a pedigree are attributes: neither is known to be made from the other")
	}
	n := 0
	for c := range p.Get("commits").All() {
		if uid, url := c.Get("uid").Text(), c.Get("url").Text(); uid != "" && url != "" {
			name := strings.TrimSuffix(url, "/commit/"+uid)
			if repo, _, ok := prov.Repository(name, true); ok {
				name = repo
			}
			x.Derive(t, bom.Thing{Ref: bom.Fit(prov.Ref{Kind: prov.Code, Name: name, Version: uid})}, "commit")
		} else if uid != "" {
			a["pedigree.commit"] = join(", ", a["pedigree.commit"], uid)
		}
	}
	var kinds []string
	for c := range p.Get("patches").All() {
		n++
		kinds = append(kinds, c.Get("type").Text())
		for r := range c.Get("resolves").All() {
			a["pedigree.resolves"] = join(", ", a["pedigree.resolves"], r.Get("id").Text())
		}
	}
	if n > 0 {
		a["pedigree.patches"] = strconv.Itoa(n) + ": " + strings.Join(kinds, ", ")
		x.Note("kept in the evidence only: the differences of the patches in a pedigree")
	}
	a["pedigree.notes"] = p.Get("notes").Text()
	if any(a) {
		x.Describe(t, bom.Description{State: "labelled", Attributes: a})
	}
}

func any(a map[string]string) bool {
	for _, v := range a {
		if v != "" {
			return true
		}
	}
	return false
}

// service describes a service and those within it.
func (x *reading) service(s rawjson.Node, place string) bom.Thing {
	if s.Kind() != '{' || s.Get("name").Text() == "" {
		x.Refuse(MissingField, place+".name", "is missing; give the name of the service")
		return bom.Thing{}
	}
	name := s.Get("name").Text()
	t := bom.Thing{Ref: bom.Named(prov.Service, x.scope, "", s.Get("group").Text(), name, s.Get("version").Text())}
	if t.Ref.Namespace != "" {
		t.Ref.Name = x.Local(prov.Service, name, first(s.Get("bom-ref").Text(), place))
	}
	x.name(s.Get("bom-ref").Text(), t)
	x.signedPart(s)
	a := map[string]string{"type": "service", "provider": orgText(s.Get("provider")), "endpoints": strings.Join(list(s.Get("endpoints")), ", "),
		"authenticated": boolText(s.Get("authenticated")), "trustBoundary": boolText(s.Get("x-trust-boundary")), "trustZone": s.Get("trustZone").Text(),
		"version": s.Get("version").Text()}
	x.properties(s.Get("properties"), place+".properties")
	var flows, classes []string
	i := 0
	for f := range s.Get("data").All() {
		p := at(place+".data", i)
		i++
		class, flow := f.Get("classification").Text(), f.Get("flow").Text()
		if x.known && (class == "" || !oneOf(flow, "inbound", "outbound", "bi-directional", "unknown")) {
			x.Refuse(bom.BadField, p, "lacks a classification, or its flow %q is none of inbound, outbound, bi-directional, unknown", rawjson.Clip(flow, 100))
		}
		classes = append(classes, class)
		flows = append(flows, join(" ", class, flow, f.Get("name").Text(), prefixed("from ", list(f.Get("source"))), prefixed("to ", list(f.Get("destination")))))
		a["data.owners"] = join(", ", a["data.owners"], strings.Join(governors(f.Get("governance").Get("owners")), ", "))
		a["data.custodians"] = join(", ", a["data.custodians"], strings.Join(governors(f.Get("governance").Get("custodians")), ", "))
	}
	a["dataFlows"] = strings.Join(flows, "; ")
	x.externalReferences(s.Get("externalReferences"), a)
	named(s.Get("properties"), "property.", a)
	x.Describe(t, bom.Description{Text: s.Get("description").Text(), Licence: x.licences(s.Get("licenses"), place+".licenses"),
		Sensitivity: strings.Join(unique(classes), ", "), Attributes: a})
	if ref := s.Get("bom-ref").Text(); ref != "" && x.serial != "" {
		x.Same(t, linked(x.serial, ref))
	}
	i = 0
	for n := range s.Get("services").All() {
		x.Contain(t, x.service(n, at(place+".services", i)))
		i++
	}
	return t
}

func prefixed(prefix string, texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return prefix + strings.Join(texts, ", ")
}

func boolText(n rawjson.Node) string {
	switch n.Kind() {
	case 't':
		return "yes"
	case 'f':
		return "no"
	}
	return ""
}

func unique(in []string) []string {
	var out []string
	for _, s := range in {
		if s != "" && !oneOf(s, out...) {
			out = append(out, s)
		}
	}
	return out
}

// graph states the dependencies, and ties what the document lists to what it
// describes where no dependency does so.
func (x *reading) graph() {
	next := map[string][]string{}
	for i, d := range x.doc.Each("dependencies") {
		place := at("dependencies", i)
		ref := d.Get("ref").Text()
		if d.Kind() != '{' || ref == "" {
			x.Refuse(BadDependency, place+".ref", "is missing; name the bom-ref of what depends")
			return
		}
		for _, k := range []string{"dependsOn", "provides"} {
			if l := d.Get(k); l.Given() && l.Kind() != '[' {
				x.Refuse(BadDependency, place+"."+k, "is no array; write a list of bom-refs")
				return
			}
		}
		to := x.target(ref, place+".ref")
		k := 0
		for on := range d.Get("dependsOn").All() {
			if on.Kind() != '"' {
				x.Refuse(BadDependency, at(place+".dependsOn", k), "is no text; write a bom-ref")
				return
			}
			from := x.target(on.Text(), at(place+".dependsOn", k))
			x.Derive(to, from, "depends-on")
			next[to.Key()] = append(next[to.Key()], from.Key())
			k++
		}
		var provided []string
		for p := range d.Get("provides").All() {
			provided = append(provided, x.target(p.Text(), place+".provides").Ref.String())
		}
		if len(provided) > 0 {
			x.Describe(to, bom.Description{State: "labelled", Attributes: map[string]string{"provides": strings.Join(provided, ", ")}})
		}
	}
	if x.root.IsZero() {
		return
	}
	reached := map[string]bool{}
	reach := func(from string) {
		for todo := []string{from}; len(todo) > 0; {
			k := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if !reached[k] {
				reached[k] = true
				todo = append(todo, next[k]...)
			}
		}
	}
	reach(x.root.Key())
	inward := map[string]bool{}
	for from, tos := range next {
		for _, t := range tos {
			inward[t] = inward[t] || t != from
		}
	}
	for _, heads := range []bool{true, false} { // those that nothing depends on first, so that their own come through them
		for _, t := range x.listed {
			if k := t.Key(); !reached[k] && (!heads || !inward[k]) {
				x.Derive(x.root, t, "listed")
				reach(k)
			}
		}
	}
}

// document describes the document itself.
func (x *reading) document() {
	a := x.about
	a["components"] = strconv.Itoa(len(x.top))
	a["describes"] = ""
	if !x.root.IsZero() {
		a["describes"] = x.root.Ref.String()
	}
	if a["completeness"] == "" {
		a["completeness"] = "not stated"
	}
	x.Describe(x.self, bom.Description{Sensitivity: prefixed("TLP:", unique([]string{x.tlp})), Text: fmt.Sprintf("CycloneDX %s bill of materials", x.spec), Attributes: a})
}
