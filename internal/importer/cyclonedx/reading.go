package cyclonedx

import (
	"fmt"
	"net/url"
	"regexp"
	"sort"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/bom"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// The classes of refusals beside those of rawjson and package bom.
const (
	NotABOM       = "not-a-bom"
	BadVersion    = "bad-spec-version"
	BadSerial     = "bad-serial-number"
	MissingField  = "missing-field"
	BadHash       = "bad-hash"
	BadComponent  = "bad-component"
	BadLicence    = "bad-licence"
	BadDependency = "bad-dependency"
	BadCitation   = "bad-citation"
)

// reading is one document being read.
type reading struct {
	*bom.Statements
	doc *bom.Document
	src bom.Source

	spec    string
	known   bool // the specification version is one whose rules we know
	serial  string
	version string
	scope   string // namespace of the names that only the document knows

	root    bom.Thing
	self    bom.Thing // the document
	about   map[string]string
	tlp     string
	refs    map[string]bom.Thing // by bom-ref
	orgs    map[string]prov.Ref  // organisations and persons by bom-ref
	top     []bom.Thing          // the components at the top, by position
	listed  []bom.Thing          // those of them that are in scope
	later   []func()             // what needs all bom-refs
	check   *statement.EvidenceCheck
	signed  int // signatures within the document
	unknown int // references that lead nowhere
	pairs   [][2]string
	claims  map[string]bom.Thing
}

func newReading(doc *bom.Document, src bom.Source, s *bom.Statements) *reading {
	return &reading{Statements: s, doc: doc, src: src, about: map[string]string{}, refs: map[string]bom.Thing{}, orgs: map[string]prov.Ref{}}
}

var (
	specVersion  = regexp.MustCompile(`^1\.[0-9]{1,2}$`)
	serialNumber = regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

// exampleSerial is the serial number that the specification gives as an
// example. Copies of it name no single document.
const exampleSerial = "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79"

// head reads what the document says of itself.
func (x *reading) head() {
	if f := x.doc.Get("bomFormat").Text(); f != "CycloneDX" {
		if x.doc.Kind("bomFormat") != 0 {
			x.Refuse(NotABOM, "bomFormat", "is %q; a CycloneDX document says \"CycloneDX\"", rawjson.Clip(f, 100))
		} else {
			x.Refuse(NotABOM, "bomFormat", "is missing; a CycloneDX document says \"CycloneDX\"")
		}
		return
	}
	x.spec = x.doc.Get("specVersion").Text()
	if !specVersion.MatchString(x.spec) || x.doc.Kind("specVersion") != '"' {
		x.Refuse(BadVersion, "specVersion", "is %q; give the version of the specification as text, for example \"1.6\"", rawjson.Clip(x.spec, 100))
		return
	}
	x.known = strings.Contains(" 1.0 1.1 1.2 1.3 1.4 1.5 1.6 1.7 ", " "+x.spec+" ")
	if !x.known {
		x.Note("specVersion %s is newer than what is known; read as 1.7", x.spec)
	}
	x.serial = strings.TrimSpace(x.doc.Get("serialNumber").Text())
	if low := strings.ToLower(x.serial); low != x.serial {
		x.Note("serialNumber is written in capitals; read in lower case")
		x.serial = low
	}
	if x.doc.Kind("serialNumber") != 0 && x.doc.Kind("serialNumber") != 'n' && !serialNumber.MatchString(x.serial) && x.serial != "" {
		x.Refuse(BadSerial, "serialNumber", "%q is no UUID as a URN (RFC 4122); write urn:uuid: and a UUID, or leave it out", rawjson.Clip(x.serial, 100))
		return
	}
	x.version = x.doc.Get("version").Text()
	switch k := x.doc.Kind("version"); {
	case k == 0 || k == 'n':
		x.version = "1"
	case k != '0' || strings.Trim(x.version, "0123456789") != "":
		x.Refuse(bom.BadField, "version", "is %s; the version of a document is a whole number", rawjson.Clip(string(x.doc.Get("version").Raw()), 50))
		return
	}
	if x.serial == exampleSerial {
		x.Note("serialNumber is the example of the specification, which many documents carry; names are kept apart by the document's digest")
		x.serial = ""
	}
	x.scope = x.src.Scope(x.serial)
	x.self = x.src.Thing(x.serial, x.version)
	for _, name := range []string{"components", "services", "dependencies", "compositions", "vulnerabilities", "annotations", "formulation", "citations", "externalReferences", "properties"} {
		if k := x.doc.Kind(name); k != 0 && k != 'n' && k != '[' {
			x.Refuse(bom.BadField, name, "is no array; write %s as an array", name)
		}
	}
	for _, name := range []string{"metadata", "declarations", "definitions"} {
		if k := x.doc.Kind(name); k != 0 && k != 'n' && k != '{' {
			x.Refuse(bom.BadField, name, "is no object; write %s as an object", name)
		}
	}
	x.metadata(x.doc.Get("metadata"))
	x.signature(x.doc.Get("signature"))
}

// signature tells what is known of the document's own signature.
func (x *reading) signature(sig rawjson.Node) {
	x.check = &statement.EvidenceCheck{Result: statement.CheckUnsigned}
	if !sig.Given() {
		return
	}
	alg := sig.Get("algorithm").Text()
	for _, list := range []string{"signers", "chain"} {
		for one := range sig.Get(list).All() {
			alg = strings.TrimPrefix(alg+" "+one.Get("algorithm").Text(), " ")
		}
	}
	x.check = &statement.EvidenceCheck{By: "cyclonedx", Result: statement.CheckUnverified,
		Reason: "the document is signed (JSON Signature Format, " + rawjson.Clip(alg, 100) + "); no trusted key is given to check it with"}
}

// signedPart counts a signature of a part, which is in the evidence only.
func (x *reading) signedPart(n rawjson.Node) {
	if n.Get("signature").Given() {
		x.signed++
	}
}

func (x *reading) metadata(m rawjson.Node) {
	x.At = x.Time("metadata.timestamp", x.text(m, "timestamp", "metadata.timestamp"))
	x.about["specVersion"] = x.spec
	x.about["tools"] = strings.Join(x.tools(m.Get("tools")), ", ")
	var authors []string
	for a := range m.Get("authors").All() {
		authors = append(authors, personText(a))
		x.party(a, prov.Person)
	}
	x.about["authors"] = strings.Join(authors, ", ")
	for k, as := range map[string]string{"supplier": "supplier", "manufacturer": "manufacturer", "manufacture": "manufacturer"} {
		if v := orgText(m.Get(k)); v != "" {
			x.about[as] = v
		}
		x.party(m.Get(k), prov.Org)
	}
	var phases []string
	for l := range m.Get("lifecycles").All() {
		phases = append(phases, first(l.Get("phase").Text(), l.Get("name").Text()))
	}
	x.about["lifecycles"] = strings.Join(phases, ", ")
	if t := m.Get("distributionConstraints").Get("tlp"); t.Given() {
		x.tlp = t.Text()
		if x.known && !oneOf(x.tlp, "CLEAR", "GREEN", "AMBER", "AMBER_AND_STRICT", "RED") {
			x.Refuse(bom.BadField, "metadata.distributionConstraints.tlp", "%q is no label of the traffic light protocol; write CLEAR, GREEN, AMBER, AMBER_AND_STRICT or RED", x.tlp)
		}
	}
	x.about["licence of the document"] = x.licences(m.Get("licenses"), "metadata.licenses")
	x.properties(m.Get("properties"), "metadata.properties")
}

// tools reads tools of both forms: a list, or components and services.
func (x *reading) tools(n rawjson.Node) []string {
	var out []string
	for t := range n.All() {
		if n.Kind() == '[' {
			out = append(out, join(" ", t.Get("vendor").Text(), t.Get("name").Text(), t.Get("version").Text()))
			continue
		}
		for c := range t.All() {
			out = append(out, join(" ", first(c.Get("group").Text(), c.Get("publisher").Text(), orgText(c.Get("provider"))), c.Get("name").Text(), c.Get("version").Text()))
			if ref := c.Get("bom-ref").Text(); ref != "" {
				x.name(ref, bom.Thing{Ref: bom.Named(prov.Tool, x.scope, ref, c.Get("group").Text(), c.Get("name").Text(), c.Get("version").Text())})
			}
		}
	}
	return out
}

// name ties a bom-ref to a thing. The first one counts.
func (x *reading) name(ref string, t bom.Thing) {
	if ref == "" {
		return
	}
	if _, ok := x.refs[ref]; ok {
		x.Note("bom-ref %q stands more than once; references take the first", rawjson.Clip(ref, 200))
		return
	}
	x.refs[ref] = t
}

// party keeps who an organisation or person with a bom-ref is.
func (x *reading) party(n rawjson.Node, kind prov.Kind) prov.Ref {
	r := bom.Party(kind, n.Get("name").Text(), n.Get("email").Text())
	if ref := n.Get("bom-ref").Text(); ref != "" && !r.IsZero() {
		x.orgs[ref] = r
	}
	return r
}

// find gives the thing of a reference: a bom-ref of this document, or a
// BOM-Link (urn:cdx:<serial>/<version>#<bom-ref>).
func (x *reading) find(ref string) (bom.Thing, bool) {
	if t, ok := x.refs[ref]; ok {
		return t, true
	}
	if rest, ok := strings.CutPrefix(ref, "urn:cdx:"); ok {
		id, fragment, _ := strings.Cut(rest, "#")
		serial, version, _ := strings.Cut(id, "/")
		serial = "urn:uuid:" + strings.ToLower(serial)
		if fragment == "" {
			return bom.Thing{Ref: bom.Fit(prov.Ref{Kind: prov.Document, Name: serial, Version: version})}, true
		}
		if serial == x.serial {
			if t, ok := x.refs[fragment]; ok {
				return t, true
			}
		}
		if r, ok := bom.PurlRef(unescape(fragment)); ok {
			t := bom.Thing{}
			t.Purl(r)
			return t, true
		}
		return bom.Thing{Ref: linked(serial, unescape(fragment))}, true
	}
	return bom.Thing{}, false
}

// linked names a component by its document and bom-ref.
func linked(serial, ref string) prov.Ref {
	return bom.Fit(prov.Ref{Kind: bom.Component, Namespace: serial, Name: ref})
}

// target gives the thing of a reference, or one of the document's own when the
// reference leads nowhere.
func (x *reading) target(ref, place string) bom.Thing {
	if ref == "" {
		return bom.Thing{}
	}
	t, ok := x.find(ref)
	if !ok {
		if r, isPurl := bom.PurlRef(ref); isPurl {
			t.Purl(r)
		} else {
			t = bom.Thing{Ref: linked(x.scope, ref)}
		}
		x.Note("%s: %q is no bom-ref of the document; taken as a name of its own", place, rawjson.Clip(ref, 200))
	}
	return t
}

// text gives the text of a member, and refuses one that is no text.
func (x *reading) text(n rawjson.Node, key, place string) string {
	v := n.Get(key)
	if v.Given() && v.Kind() != '"' {
		x.Refuse(bom.BadField, place, "is no text; write it in quotes")
	}
	return v.Text()
}

func (x *reading) leftOver() {
	if x.signed > 0 {
		x.Note("kept in the evidence only: %d signatures of parts of the document, not checked", x.signed)
	}
	known := " $schema bomFormat specVersion serialNumber version metadata components services dependencies compositions vulnerabilities annotations formulation declarations definitions citations signature "
	var rest []string
	for _, n := range x.doc.Names() {
		if !strings.Contains(known, " "+n+" ") {
			rest = append(rest, rawjson.Clip(n, 100))
		}
	}
	if len(rest) > 0 {
		x.Note("kept in the evidence only: %s", strings.Join(rest, ", "))
	}
}

func personText(n rawjson.Node) string {
	name, mail := n.Get("name").Text(), n.Get("email").Text()
	if name != "" && mail != "" {
		return name + " <" + mail + ">"
	}
	return name + mail
}

func orgText(n rawjson.Node) string { return first(n.Get("name").Text(), n.Get("address").Text()) }

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

func oneOf(s string, words ...string) bool {
	for _, w := range words {
		if s == w {
			return true
		}
	}
	return false
}

// list gives the texts of an array.
func list(n rawjson.Node) []string {
	var out []string
	for e := range n.All() {
		if t := e.Text(); t != "" {
			out = append(out, t)
		}
	}
	return out
}

func unescape(s string) string {
	if t, err := url.PathUnescape(s); err == nil {
		return t
	}
	return s
}

func sortedKeys(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

func at(place string, i int) string { return fmt.Sprintf("%s[%d]", place, i) }
