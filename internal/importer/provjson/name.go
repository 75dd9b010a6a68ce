package provjson

import (
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// class says as what a thing occurs. PROV-DM lets an agent be an entity or an
// activity too (constraint 5.1 of PROV-CONSTRAINTS keeps entity and activity
// apart).
type class uint8

const (
	isEntity class = 1 << iota
	isActivity
	isAgent
	isPlan // an entity that an association names as its plan
)

func classOf(section string) class {
	switch section {
	case "activity":
		return isActivity
	case "agent":
		return isAgent
	}
	return isEntity
}

// thing is what one identifier names, in the whole document.
type thing struct {
	name    string // with its prefix expanded
	classes class
	records []record
	refs    map[class]prov.Ref
	digest  statement.DigestSet
	digests bool // digest was looked for
}

type record struct {
	bundle  *bundle
	section string
	node    rawjson.Node
}

// in tells whether the thing has a record in the bundle that is being read.
func (t *thing) in(b *bundle) bool {
	return len(t.records) > 0 && t.records[len(t.records)-1].bundle == b
}

func (d *document) thing(name string) *thing {
	t := d.things[name]
	if t == nil {
		t = &thing{name: name}
		d.things[name] = t
	}
	return t
}

func (b *bundle) readPrefixes(n rawjson.Node, place string) {
	if !n.Given() {
		return
	}
	if n.Kind() != '{' {
		b.d.refuse(BadPrefix, place+".prefix", "is no object; write {\"ex\": \"http://example.org/\"}")
		return
	}
	own := map[string]string{}
	for k, v := range b.prefixes {
		own[k] = v
	}
	for m := range n.All() {
		if m.Kind() != '"' {
			b.d.refuse(BadPrefix, place+".prefix."+m.Key(), "is no text; give the namespace as text, for example \"http://example.org/\"")
			return
		}
		own[m.Key()] = m.Text()
	}
	b.prefixes = own
}

// reserved are the prefixes that need no declaration (submission, section
// 2.1), and schemes of whole URIs.
var reserved = map[string]string{"prov": "prov:", "xsd": "xsd:"}

var schemes = map[string]bool{"http": true, "https": true, "urn": true, "mailto": true, "file": true, "s3": true, "gs": true,
	"abfss": true, "hdfs": true, "ftp": true, "doi": true, "info": true, "tag": true, "did": true, "orcid": true}

// expand writes a qualified name with its namespace in the place of the
// prefix. A blank node holds within the document only and is named after it.
func (b *bundle) expand(name string) string {
	prefix, local, ok := strings.Cut(name, ":")
	if !ok {
		return b.prefixes["default"] + name
	}
	if prefix == "_" {
		return "_:" + b.d.short() + "/" + local
	}
	if ns, ok := b.prefixes[prefix]; ok {
		return ns + local
	}
	if r, ok := reserved[prefix]; ok {
		return r + local
	}
	if !schemes[strings.ToLower(prefix)] && !strings.HasPrefix(local, "//") {
		b.d.note("prefix %q is not declared; its names are taken as they are written", prefix)
	}
	return name
}

// local gives the part of a name after its namespace.
func local(name string) string {
	if i := strings.LastIndexAny(name, "#/:"); i >= 0 && i < len(name)-1 {
		return name[i+1:]
	}
	return name
}

// word gives the local part in lower case, letters and digits only.
func word(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r | 0x20
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		}
		return -1
	}, local(name))
}

// attribute gives the first value of an attribute in any record of a thing.
func (t *thing) attribute(name string) string {
	for _, r := range t.records {
		if s := first(r.node.Get(name)); s != "" {
			return s
		}
	}
	return ""
}

// types gives the words of the types of a thing.
func (t *thing) types() []string {
	var out []string
	for _, r := range t.records {
		for _, v := range values(r.node.Get("prov:type")) {
			if w := word(v.text); w != "" {
				out = append(out, w)
			}
		}
	}
	return out
}

// mark notes what relations make of things, before anything is named.
func (d *document) mark() {
	for _, b := range d.bundles {
		for _, r := range b.relations {
			for _, p := range r.ends["prov:plan"] {
				d.thing(p).classes |= isPlan
			}
		}
	}
}

// asStated is the version of an entity of a versioned kind that states none.
// A PROV entity is one thing with fixed aspects and not a series; an
// unversioned name would bind to whatever version was current.
const asStated = "prov"

// ref names a thing as an entity, activity or agent.
func (d *document) ref(name string, c class) prov.Ref {
	t := d.thing(name)
	if r, ok := t.refs[c]; ok {
		return r
	}
	r := d.refOf(t, c)
	if n := len(r.String()); n > prov.MaxRef {
		d.refuse(NameTooLong, rawjson.Clip(t.name, 100), "the name is %d bytes long as a Ref, the limit is %d", n, prov.MaxRef)
	}
	if t.refs == nil {
		t.refs = map[class]prov.Ref{}
	}
	t.refs[c] = r
	return r
}

func (d *document) refOf(t *thing, c class) prov.Ref {
	if s := t.attribute(RefAttribute); s != "" {
		if r, err := prov.ParseRef(s); err == nil && classIs(r, c) {
			return r
		}
	}
	name := t.name
	if name == "" {
		name = "_"
	}
	switch c {
	case isActivity:
		return prov.Ref{Kind: prov.Activity, Name: name}
	case isAgent:
		return d.agentRef(t, name)
	}
	r := prov.Ref{Kind: t.entityKind(), Name: name}
	if r.Kind.Versioned() {
		r.Version = asStated
		if v := t.version(); v != "" {
			r.Version = v
		}
	}
	return r
}

func classIs(r prov.Ref, c class) bool {
	switch r.Class() {
	case prov.ClassActivity:
		return c == isActivity
	case prov.ClassIdentity:
		return c == isAgent
	}
	return c == isEntity
}

func (t *thing) version() string {
	for _, r := range t.records {
		for m := range r.node.All() {
			if w := word(m.Key()); w == "version" || w == "hasversion" || w == "softwareversion" {
				if s := first(m); s != "" && len(s) <= 200 {
					return s
				}
			}
		}
	}
	return ""
}

// kinds are those of entities by the words of their types.
var kinds = map[string]prov.Kind{
	"plan": prov.Plan, "workflow": prov.Plan, "recipe": prov.Plan,
	"bundle": prov.Document, "document": prov.Document, "article": prov.Document, "report": prov.Document,
	"data": prov.Dataset, "datafile": prov.Dataset, "featureset": prov.FeatureSet,
	"code": prov.Code, "sourcecode": prov.Code, "script": prov.Code, "software": prov.Code, "softwaresourcecode": prov.Code,
	"file": prov.File, "container": prov.Image, "containerimage": prov.Image, "dockerimage": prov.Image, "ociimage": prov.Image,
	"package": prov.Package, "softwarepackage": prov.Package, "tool": prov.Tool, "policy": prov.Policy,
	"service": prov.Service, "prompt": prov.Prompt, "prompttemplate": prov.Prompt,
}

func (t *thing) entityKind() prov.Kind {
	if t.classes&isPlan != 0 {
		return prov.Plan
	}
	for _, w := range t.types() {
		if k, ok := kinds[w]; ok {
			return k
		}
		switch {
		case strings.Contains(w, "dataset"):
			return prov.Dataset
		case strings.HasSuffix(w, "model") && w != "datamodel":
			return prov.Model
		}
	}
	return prov.Resource
}

var agentKinds = map[string]prov.Kind{
	"person": prov.Person, "user": prov.Person, "human": prov.Person, "author": prov.Person, "researcher": prov.Person,
	"organization": prov.Org, "organisation": prov.Org, "institution": prov.Org, "company": prov.Org,
	"team": prov.Team, "group": prov.Team, "role": prov.Role,
	"serviceaccount": prov.ServiceAccount, "subagent": prov.Subagent,
	"softwareagent": prov.Workload, "software": prov.Workload, "softwareapplication": prov.Workload, "service": prov.Workload,
	"program": prov.Workload, "workload": prov.Workload, "aiagent": prov.Workload,
}

func (d *document) agentRef(t *thing, name string) prov.Ref {
	for _, w := range t.types() {
		if k, ok := agentKinds[w]; ok {
			return prov.Ref{Kind: k, Name: strings.TrimPrefix(name, "mailto:")}
		}
	}
	switch {
	case strings.HasPrefix(name, "mailto:"), strings.Contains(name, "orcid.org/"),
		t.attribute("foaf:mbox") != "", t.attribute("foaf:givenName") != "":
		return prov.Ref{Kind: prov.Person, Name: strings.TrimPrefix(name, "mailto:")}
	}
	d.note("agent %q has no type that tells a person, organisation or software; read as a team", name)
	return prov.Ref{Kind: prov.Team, Name: name}
}

// content gives the digests that the attributes of an entity state: the
// attribute names the algorithm, or its value does.
func (t *thing) content() statement.DigestSet {
	if t.digests {
		return t.digest
	}
	t.digests = true
	for _, r := range t.records {
		for m := range r.node.All() {
			key := word(m.Key())
			for _, v := range values(m) {
				alg, hex, ok := strings.Cut(v.text, ":")
				switch {
				case ok && (key == "digest" || key == "checksum" || key == "hash" || strings.HasPrefix(key, "sha")):
				case strings.HasSuffix(key, "sha256"), strings.HasSuffix(key, "sha384"), strings.HasSuffix(key, "sha512"):
					alg, hex = key[len(key)-6:], v.text
				default:
					continue
				}
				if ref, err := prov.ParseRef(strings.ToLower(alg + ":" + hex)); err == nil && ref.IsDigest() {
					if t.digest == nil {
						t.digest = statement.DigestSet{}
					}
					if _, ok := t.digest[string(ref.Kind)]; !ok {
						t.digest[string(ref.Kind)] = ref.Name
					}
				}
			}
		}
	}
	return t.digest
}

func (d *document) resource(name string) statement.Resource {
	r := d.ref(name, isEntity)
	return statement.NewResource(r, d.contentOf(r, name))
}

func (d *document) subject(name string) statement.Subject {
	r := d.ref(name, isEntity)
	return statement.NewSubject(r, d.contentOf(r, name))
}

// contentOf gives the digests of an entity, unless its name says another one.
func (d *document) contentOf(r prov.Ref, name string) statement.DigestSet {
	digest := d.thing(name).content()
	if r.IsDigest() && digest[string(r.Kind)] != "" && digest[string(r.Kind)] != r.Name {
		return nil
	}
	return digest
}

// agent gives the Ref of whoever an association, attribution or delegation
// names.
func (d *document) agent(name string) string { return d.ref(name, isAgent).String() }
