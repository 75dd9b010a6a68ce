package spdx

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/bom"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
)

// reading2 is one SPDX 2 document being read, in either of its forms.
type reading2 struct {
	*bom.Statements
	src bom.Source

	version   string // SPDX-2.3
	name      string
	namespace string
	scope     string
	self      bom.Thing
	about     map[string]string
	elements  map[string]bom.Thing // by SPDXID
	external  map[string]string    // namespace by DocumentRef-…
	packages  int
	files     int
	described []string
	leftOut   map[string]int // relationship types in the evidence only
	dangling  int
}

// element is a package or file as either form gives it.
type element struct {
	id, name, version, supplier, originator, download, purpose, licence, concluded, copyright, text, source string
	purls                                                                                                   []string
	hashes                                                                                                  [][2]string
	types                                                                                                   []string
	file                                                                                                    bool
	place                                                                                                   string
	dates                                                                                                   map[string]string
}

func (x *reading2) begin(version, id, name, namespace, created string, creators []string) {
	x.elements, x.external, x.leftOut, x.about = map[string]bom.Thing{}, map[string]string{}, map[string]int{}, map[string]string{}
	x.version, x.name, x.namespace = version, name, strings.TrimSuffix(namespace, "#")
	if !strings.HasPrefix(version, "SPDX-2.") {
		x.Refuse(NotSPDX, "spdxVersion", "is %q; SPDX-2.2 and SPDX-2.3 are read here, and SPDX 3 as JSON-LD with @graph", rawjson.Clip(version, 100))
		return
	}
	if v := version[len("SPDX-"):]; v != "2.0" && v != "2.1" && v != "2.2" && v != "2.3" {
		x.Note("spdxVersion %s is newer than what is known; read as 2.3", version)
	}
	if id != "" && id != "SPDXRef-DOCUMENT" {
		x.Note("SPDXID of the document is %q, not SPDXRef-DOCUMENT", rawjson.Clip(id, 100))
	}
	if x.namespace == "" {
		x.Note("documentNamespace is missing; names of the document's own are kept apart by its digest")
	}
	x.scope = x.src.Scope(x.namespace)
	x.self = x.src.Thing(x.namespace, "")
	for _, n := range []string{"SPDXRef-DOCUMENT", id} {
		x.elements[n] = x.self
	}
	x.At = x.Time("creationInfo.created", created)
	x.about["spdxVersion"], x.about["name"], x.about["creators"] = version, name, strings.Join(creators, ", ")
}

// fromJSON reads the JSON form (SPDX 2.3 annex C and its JSON schema).
func (x *reading2) fromJSON(doc *bom.Document) {
	info := doc.Get("creationInfo")
	x.begin(doc.Get("spdxVersion").Text(), doc.Get("SPDXID").Text(), doc.Get("name").Text(), doc.Get("documentNamespace").Text(), info.Get("created").Text(), list(info.Get("creators")))
	if x.Refusal() != nil {
		return
	}
	for _, k := range []string{"packages", "files", "relationships", "externalDocumentRefs", "annotations", "documentDescribes"} {
		if c := doc.Kind(k); c != 0 && c != 'n' && c != '[' {
			x.Refuse(bom.BadField, k, "is no array; write %s as an array", k)
			return
		}
	}
	for _, e := range doc.Each("externalDocumentRefs") {
		x.external[e.Get("externalDocumentId").Text()] = strings.TrimSuffix(e.Get("spdxDocument").Text(), "#")
	}
	type pair struct{ whole, part string }
	var inside []pair
	for i, p := range doc.Each("packages") {
		x.element(elementOf(p, at("packages", i), false))
		for f := range p.Get("hasFiles").All() {
			inside = append(inside, pair{p.Get("SPDXID").Text(), f.Text()})
		}
		x.annotate(p, p.Get("SPDXID").Text())
		if x.Refusal() != nil {
			return
		}
	}
	for i, f := range doc.Each("files") {
		x.element(elementOf(f, at("files", i), true))
		x.annotate(f, f.Get("SPDXID").Text())
		if x.Refusal() != nil {
			return
		}
	}
	for _, d := range doc.Each("documentDescribes") {
		x.described = append(x.described, d.Text())
	}
	for _, p := range inside {
		x.relate(p.whole, "CONTAINS", p.part, "hasFiles")
	}
	for i, r := range doc.Each("relationships") {
		if !r.Given() {
			x.Note("relationships[%d] is null; left out", i)
			continue
		}
		x.relate(r.Get("spdxElementId").Text(), r.Get("relationshipType").Text(), r.Get("relatedSpdxElement").Text(), at("relationships", i))
		if x.Refusal() != nil {
			return
		}
	}
	for _, a := range doc.Each("annotations") {
		x.annotation(x.self, a.Get("annotator").Text(), a.Get("annotationDate").Text(), a.Get("comment").Text())
	}
	for _, k := range []string{"snippets", "hasExtractedLicensingInfos", "revieweds"} {
		if doc.Kind(k) == '[' {
			x.Note("kept in the evidence only: %s", k)
		}
	}
	x.end()
}

func elementOf(n rawjson.Node, place string, file bool) element {
	e := element{id: n.Get("SPDXID").Text(), name: n.Get("name").Text(), version: n.Get("versionInfo").Text(), supplier: n.Get("supplier").Text(),
		originator: n.Get("originator").Text(), download: n.Get("downloadLocation").Text(), purpose: n.Get("primaryPackagePurpose").Text(),
		licence: n.Get("licenseDeclared").Text(), concluded: n.Get("licenseConcluded").Text(), copyright: n.Get("copyrightText").Text(),
		text: first(n.Get("description").Text(), n.Get("summary").Text()), source: n.Get("sourceInfo").Text(), file: file, place: place,
		types: list(n.Get("fileTypes")), dates: map[string]string{}}
	if file {
		e.name = first(n.Get("fileName").Text(), e.name)
	}
	for _, k := range []string{"builtDate", "releaseDate", "validUntilDate"} {
		e.dates[k] = n.Get(k).Text()
	}
	for c := range n.Get("checksums").All() {
		e.hashes = append(e.hashes, [2]string{c.Get("algorithm").Text(), c.Get("checksumValue").Text()})
	}
	for r := range n.Get("externalRefs").All() {
		if t := r.Get("referenceType").Text(); t == "purl" || strings.HasSuffix(t, "/purl") {
			e.purls = append(e.purls, r.Get("referenceLocator").Text())
		}
	}
	return e
}

var spdxID = regexp.MustCompile(`^SPDXRef-[A-Za-z0-9.-]+$`)

// element describes a package or file.
func (x *reading2) element(e element) {
	if e.id == "" {
		x.Refuse(MissingField, e.place+".SPDXID", "is missing; give an identifier such as SPDXRef-1")
		return
	}
	if !spdxID.MatchString(e.id) {
		x.Note("%s.SPDXID %q is not of the form SPDXRef-…; taken as it is", e.place, rawjson.Clip(e.id, 200))
	}
	if e.name == "" {
		x.Refuse(MissingField, e.place+".name", "is missing; give the name of the package or file")
		return
	}
	var t bom.Thing
	for i, h := range e.hashes {
		if wrong := bom.AddDigest(&t.Digest, h[0], h[1]); wrong != "" {
			x.Refuse(BadHash, at(e.place+".checksums", i), "%q %s; give the digest as the tool printed it", rawjson.Clip(h[1], 150), wrong)
			return
		}
	}
	kind, purls := kindOf(e), []prov.Ref{}
	for _, p := range e.purls {
		if r, ok := bom.PurlRef(p); ok {
			purls = append(purls, r)
		} else {
			x.Note("%s: %q is no package URL; left out", e.place, rawjson.Clip(p, 200))
		}
	}
	version := e.version
	if kind == prov.Image && strings.HasPrefix(version, "sha256:") && t.Digest.Content().IsZero() && bom.AddDigest(&t.Digest, "sha256", version[7:]) == "" {
		x.Note("a version sha256:… of a container is read as the digest of the image")
		version = ""
	}
	if len(purls) > 0 && kind != prov.Model && kind != prov.Dataset {
		t.Purl(purls[0])
		purls = purls[1:]
	} else {
		id := e.id
		if kind == prov.File {
			id = x.Local(kind, e.name, e.id)
		}
		t.Ref = bom.Named(kind, x.scope, id, "", e.name, none(version))
	}
	if _, ok := x.elements[e.id]; ok {
		x.Note("SPDXID %q stands more than once; relationships take the first", rawjson.Clip(e.id, 200))
	} else {
		x.elements[e.id] = t
	}
	for _, p := range purls {
		x.Same(t, p)
	}
	if e.file {
		x.files++
	} else {
		x.packages++
	}
	a := map[string]string{"type": strings.ToLower(first(e.purpose, strings.Join(e.types, ", "), "package")), "supplier": none(e.supplier), "originator": none(e.originator)}
	if e.file && len(e.types) == 0 {
		a["type"] = "file"
	}
	if t.Ref.Namespace != "" && kind != prov.File {
		a["name"] = e.name
	}
	if c := none(e.concluded); c != "" && c != e.licence {
		a["licence concluded"] = c
	}
	for k, v := range e.dates {
		if when := x.Time(e.place+"."+k, v); !when.IsZero() {
			a[k] = when.String()
		}
	}
	d := bom.Description{Licence: none(e.licence), Attributes: a}
	if kind == prov.Model || kind == prov.Dataset {
		d.Text, d.Origin = e.text, rawjson.Secrets(none(e.download))
		a["copyright"], a["sourceInfo"] = none(e.copyright), e.source
	}
	x.Describe(t, d)
}

// kindOf gives the kind of an element by its purpose (SPDX 2.3 section 7.24).
func kindOf(e element) prov.Kind {
	switch strings.ToUpper(e.purpose) {
	case "CONTAINER":
		return prov.Image
	case "FILE":
		return prov.File
	case "MODEL", "MACHINE-LEARNING-MODEL":
		return prov.Model
	case "DATA", "DATASET":
		return prov.Dataset
	}
	if e.file {
		return prov.File
	}
	return bom.Component
}

// none takes NOASSERTION and NONE for nothing said.
func none(s string) string {
	if s == "NOASSERTION" || s == "NONE" {
		return ""
	}
	return s
}

// relation says what a relationship makes: the first or the second is made of
// the other, or contains it.
type relation struct {
	how      string // the word that is kept; "" when contained
	backward bool   // the second is made of the first
	contains bool
}

// relations are those of SPDX 2.3 section 11 that say what a thing is made of
// or needs to run. Those for development and test only are not among them.
var relations = map[string]relation{
	"CONTAINS": {contains: true}, "CONTAINED_BY": {contains: true, backward: true},
	"DEPENDS_ON": {how: "depends-on"}, "DEPENDENCY_OF": {how: "depends-on", backward: true},
	"BUILD_DEPENDENCY_OF": {how: "build-dependency", backward: true}, "RUNTIME_DEPENDENCY_OF": {how: "runtime-dependency", backward: true},
	"OPTIONAL_DEPENDENCY_OF": {how: "optional-dependency", backward: true}, "PROVIDED_DEPENDENCY_OF": {how: "provided-dependency", backward: true},
	"OPTIONAL_COMPONENT_OF": {how: "optional-component", backward: true}, "BUILD_TOOL_OF": {how: "build-tool", backward: true},
	"GENERATES": {how: "generated-from", backward: true}, "GENERATED_FROM": {how: "generated-from"},
	"ANCESTOR_OF": {how: "ancestor", backward: true}, "DESCENDANT_OF": {how: "ancestor"},
	"COPY_OF": {how: "copy"}, "DYNAMIC_LINK": {how: "dynamic-link"}, "STATIC_LINK": {how: "static-link"},
	"EXPANDED_FROM_ARCHIVE": {how: "archive"}, "DISTRIBUTION_ARTIFACT": {how: "distribution", backward: true},
	"PACKAGE_OF": {how: "package", backward: true}, "DATA_FILE_OF": {how: "data-file", backward: true},
	"HAS_PREREQUISITE": {how: "prerequisite"}, "PREREQUISITE_FOR": {how: "prerequisite", backward: true},
	"PATCH_APPLIED": {how: "patch", backward: true}, "FILE_ADDED": {how: "file-added", backward: true}, "FILE_MODIFIED": {how: "modified"},
}

func (x *reading2) relate(from, typ, to, place string) {
	if from == "" || typ == "" || to == "" {
		x.Refuse(BadRelationship, place, "lacks spdxElementId, relationshipType or relatedSpdxElement; a relationship has all three")
		return
	}
	typ = strings.ToUpper(typ)
	switch {
	case typ == "DESCRIBES":
		x.described = append(x.described, to)
		return
	case typ == "DESCRIBED_BY":
		x.described = append(x.described, from)
		return
	}
	r, ok := relations[typ]
	if !ok || none(to) == "" || none(from) == "" {
		if none(to) != "" {
			x.leftOut[typ]++
		} else if to == "NONE" {
			x.Describe(x.find(from), bom.Description{State: "labelled", Attributes: map[string]string{"none." + typ: "stated that there is none"}})
		}
		return
	}
	a, b := x.find(from), x.find(to)
	if r.backward {
		a, b = b, a
	}
	if a.Key() == x.self.Key() || b.Key() == x.self.Key() {
		x.leftOut[typ+" of the document itself"]++ // it lists things, and is not made of them
		return
	}
	if r.contains {
		x.Contain(a, b)
	} else {
		x.Derive(a, b, r.how)
	}
}

// find gives the thing of an identifier; one of another document or of no
// element is named by it.
func (x *reading2) find(id string) bom.Thing {
	if t, ok := x.elements[id]; ok {
		return t
	}
	scope := x.scope
	if doc, rest, ok := strings.Cut(id, ":"); ok && strings.HasPrefix(doc, "DocumentRef-") {
		if ns := x.external[doc]; ns != "" {
			scope, id = ns, rest
		} else {
			x.Note("%q is no external document reference of the document; named within it", rawjson.Clip(doc, 200))
		}
	} else {
		x.dangling++
	}
	return bom.Thing{Ref: bom.Fit(prov.Ref{Kind: bom.Component, Namespace: scope, Name: id})}
}

func (x *reading2) annotate(n rawjson.Node, id string) {
	for a := range n.Get("annotations").All() {
		x.annotation(x.find(id), a.Get("annotator").Text(), a.Get("annotationDate").Text(), a.Get("comment").Text())
	}
}

func (x *reading2) annotation(t bom.Thing, by, date, text string) {
	when := x.Time("annotationDate", date)
	x.Describe(t, bom.Description{State: "labelled", At: when, Attributes: map[string]string{"annotation." + first(when.String(), "undated"): first(by, "unknown") + ": " + text}})
}

// end describes the document, with what it describes.
func (x *reading2) end() {
	var roots []string
	for _, id := range x.described {
		if t := x.find(id); !t.IsZero() && len(roots) < 20 {
			roots = append(roots, t.Ref.String())
		}
	}
	x.about["describes"] = strings.Join(roots, ", ")
	x.about["packages"], x.about["files"] = strconv.Itoa(x.packages), strconv.Itoa(x.files)
	x.about["completeness"] = "not stated"
	for _, typ := range sortedKeys(x.leftOut) {
		x.Note("kept in the evidence only: %d relationships %s", x.leftOut[typ], rawjson.Clip(typ, 100))
	}
	if x.dangling > 0 {
		x.Note("%d references lead to no element of the document; taken as names of its own", x.dangling)
	}
	x.Describe(x.self, bom.Description{Text: x.version + " document", Attributes: x.about})
}
