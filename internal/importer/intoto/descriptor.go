package intoto

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// digests is a DigestSet (in-toto attestation specification, DigestSet) as
// far as it can be used.
type digests struct {
	set    statement.DigestSet // only what has the form that its algorithm demands
	commit string              // the git commit among them
	bad    string              // the text of a digest that cannot be used
}

func (d digests) content() prov.Ref { return d.set.Content() }

// thing is a subject or resource with the name that it goes by here.
type thing struct {
	ref    prov.Ref // zero when only the content is known
	digest statement.DigestSet
	node   rawjson.Node
}

func (t thing) resource() statement.Resource {
	if t.ref.IsZero() {
		return statement.Resource{Digest: t.digest}
	}
	return statement.NewResource(t.ref, t.digest)
}

func (t thing) subject() statement.Subject {
	if t.ref.IsZero() {
		return statement.Subject{Digest: t.digest}
	}
	return statement.NewSubject(t.ref, t.digest)
}

// key is the same for the same thing.
func (t thing) key() string {
	if c := t.digest.Content(); !c.IsZero() {
		return c.String() + " " + t.ref.String()
	}
	return t.ref.String()
}

// algorithm gives the name of a digest algorithm as the in-toto specification
// writes it.
func algorithm(name string) string {
	switch strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name)) {
	case "sha256", "sha2256":
		return "sha256"
	case "sha384", "sha2384":
		return "sha384"
	case "sha512", "sha2512":
		return "sha512"
	case "sha1":
		return "sha1"
	case "gitcommit":
		return "gitCommit"
	}
	return name
}

var hexLengths = map[string][]int{"sha256": {64}, "sha384": {96}, "sha512": {128}, "sha1": {40}, "gitCommit": {40, 64},
	"gitTree": {40, 64}, "gitBlob": {40, 64}, "gitTag": {40, 64}, "sha224": {56}, "md5": {32}}

// digests reads a DigestSet. A digest that has not the form of its algorithm
// is left out with a note: it identifies nothing.
func (u *unit) digests(n rawjson.Node, place string, git bool) digests {
	d := digests{set: statement.DigestSet{}}
	for m := range n.All() {
		if n.Kind() != '{' {
			break
		}
		alg, v := algorithm(m.Key()), strings.TrimSpace(m.Text())
		if t := strings.Trim(v, `'"`); t != v {
			u.note("%s.%s is written within quotes; read without them", place, alg)
			v = t
		}
		v = strings.TrimPrefix(v, alg+":")
		lengths, known := hexLengths[alg]
		if known {
			v = strings.ToLower(v)
		}
		_, err := hex.DecodeString(v)
		switch {
		case v == "":
			continue
		case alg == statement.RefDigest, len(alg) > 64, len(v) > 512, len(d.set) >= 16:
			u.note("%s.%s is in the evidence only", place, rawjson.Clip(alg, 64))
			continue
		case known && (err != nil || !slices.Contains(lengths, len(v))):
			u.note("%s.%s %q is no %s; it identifies nothing and is in the evidence only", place, alg, rawjson.Clip(v, 64), alg)
			if d.bad == "" {
				d.bad = rawjson.Clip(v, 64)
			}
			continue
		}
		d.set[alg] = v
		if alg == "gitCommit" || alg == "sha1" && git && d.commit == "" {
			d.commit = v
		}
	}
	return d
}

// descriptor reads a ResourceDescriptor (in-toto attestation specification,
// ResourceDescriptor), or a subject or material of older versions. It tells
// whether the thing can be named or identified.
func (u *unit) descriptor(n rawjson.Node, place string) (thing, bool) {
	if n.Kind() == '"' { // some producers write a bare name
		if r := named(n.Text(), digests{}, ""); !r.IsZero() && fits(r) {
			return thing{ref: r, node: n}, true
		}
		return thing{}, false
	}
	if n.Kind() != '{' {
		return thing{}, false
	}
	name := ""
	for _, m := range []string{"uri", "name", "downloadLocation"} {
		if s := strings.TrimSpace(n.Get(m).Text()); s != "" && (name == "" || strings.HasPrefix(s, "pkg:")) {
			name = s
		}
	}
	git := gitLike(name)
	return u.thing(name, n.Get("digest"), n.Get("mediaType").Text(), git, n, place)
}

// gitLike tells whether a SHA-1 under this name is one of a commit.
func gitLike(name string) bool {
	_, _, ok := prov.Repository(name, false)
	return ok || strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/")
}

// thing makes a thing of a name and digests.
func (u *unit) thing(name string, digest rawjson.Node, mediaType string, git bool, n rawjson.Node, place string) (thing, bool) {
	d := u.digests(digest, place+".digest", git)
	t := thing{ref: named(name, d, mediaType), digest: d.set, node: n}
	if !t.ref.IsZero() && !fits(t.ref) {
		u.note("the name of %s is too long; it is in the evidence only", place)
		t.ref = prov.Ref{}
	}
	if t.digest.Content().IsZero() && t.ref.IsZero() {
		return t, false
	}
	if len(d.set) == 0 && d.bad != "" && t.ref.Kind.Versioned() && t.ref.Version == "" {
		t.ref.Version = d.bad // so that nothing is said of other versions
	}
	if t.digest.Content().IsZero() && t.ref.Version == "" && t.ref.Kind.Versioned() && t.ref.Kind != prov.Code {
		for _, alg := range []string{"gitCommit", "sha1", "md5"} { // no identity here, but a version
			if v := t.digest[alg]; v != "" {
				t.ref.Version = alg + ":" + v
				break
			}
		}
	}
	if !fits(t.ref) {
		t.ref = t.ref.Series()
	}
	if len(t.digest) == 0 {
		t.digest = nil
	}
	return t, true
}

// uses collects the resources of an activity, each once.
type uses struct {
	u    *unit
	list []statement.Use
	at   map[string]int
}

func (u *unit) uses() *uses { return &uses{u: u, at: map[string]int{}} }

// add adds a resource; the first role that says something stays.
func (x *uses) add(t thing, role string) {
	if i, ok := x.at[t.key()]; ok {
		if x.list[i].Role == "" || x.list[i].Role == "material" {
			x.list[i].Role = role
		}
		return
	}
	if len(x.list) >= maxList {
		x.u.note("more than %d resources; the rest is in the evidence only", maxList)
		return
	}
	x.at[t.key()] = len(x.list)
	x.list = append(x.list, statement.Use{Resource: t.resource(), Role: role, Rule: statement.RuleStated})
}

// all adds each element of a list of descriptors.
func (x *uses) all(list rawjson.Node, role, place string) {
	for i, n := range elements(list) {
		where := place + "[" + itoa(i) + "]"
		t, ok := x.u.descriptor(n, where)
		if !ok {
			x.u.note("%s names nothing; it is in the evidence only", where)
			continue
		}
		r := role
		if r == "material" && t.ref.Kind == prov.Code {
			r = "source-code"
		}
		x.add(t, r)
	}
}

// map adds each member of an object whose names are paths and whose values
// are DigestSets, or objects with a digest.
func (x *uses) files(object rawjson.Node, role, place string) {
	for m := range object.All() {
		if object.Kind() != '{' {
			return
		}
		d := m
		if m.Get("digest").Kind() == '{' {
			d = m.Get("digest")
		}
		t, ok := x.u.thing(m.Key(), d, "", false, m, place+"."+rawjson.Clip(m.Key(), 100))
		if !ok {
			x.u.note("%s.%s names nothing; it is in the evidence only", place, rawjson.Clip(m.Key(), 100))
			continue
		}
		x.add(t, role)
	}
}
