// Package policy says what may happen under which rules: whether a decision
// counts, what a policy's rules say of a thing at a moment, and in which
// periods it was valid. All of it is a pure function of a view of the graph.
package policy

import (
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// sameAs are the relations that tie names to content, and what is the same.
var sameAs = prov.Relations(prov.SameAs)

// contentAndNames gives the content that a thing is, with what is stated to be
// the same, and the names of it. A name without content gives names only.
func contentAndNames(v graph.View, thing graph.ID) (content, names []graph.ID) {
	seen := map[graph.ID]bool{thing: true}
	for todo := []graph.ID{thing}; len(todo) > 0; {
		id := todo[0]
		todo = todo[1:]
		if v.IsDigest(id) {
			content = append(content, id)
		} else {
			names = append(names, id)
		}
		if !v.Alike(id) { // who decided often has many relations, and no other name
			continue
		}
		next := func(other graph.ID, named bool) {
			// From content to each of its names, but from such a name not on to
			// other content that it stood for.
			if seen[other] || named && v.IsDigest(other) && len(content) > 0 {
				return
			}
			seen[other] = true
			todo = append(todo, other)
		}
		for r := range v.OutOf(id, sameAs) {
			next(r.To(), r.Named())
		}
		for r := range v.InOf(id, sameAs) {
			next(r.From(), r.Named())
		}
	}
	slices.Sort(content)
	slices.Sort(names)
	return content, names
}

// identify gives the very content that a thing is, and the names of that
// content. What is only stated to be the same is not among it. A name can
// stand for several contents; content has one.
func identify(v graph.View, thing graph.ID) (content, names []graph.ID) {
	if v.IsDigest(thing) {
		content = []graph.ID{thing}
	} else {
		names = []graph.ID{thing}
		for r := range v.OutOf(thing, sameAs) {
			if r.Named() {
				content = append(content, r.To())
			}
		}
	}
	for _, c := range content {
		for r := range v.InOf(c, sameAs) {
			if r.Named() {
				names = append(names, r.From())
			}
		}
	}
	slices.Sort(content)
	slices.Sort(names)
	return slices.Compact(content), slices.Compact(names)
}

// aliases gives an identity with all that are stated to be the same.
func aliases(v graph.View, id graph.ID) []graph.ID {
	content, names := contentAndNames(v, id)
	return append(names, content...)
}

// person gives one name for all names of a person, so that nobody counts
// twice.
func person(v graph.View, id graph.ID) string {
	first := ""
	for _, a := range aliases(v, id) {
		if s := v.Ref(a).String(); first == "" || s < first {
			first = s
		}
	}
	return first
}

// preferred tells whether a name is better to show than another: one that a
// person gave comes before one whose version is made of the digest.
func preferred(n prov.Ref, than string) bool {
	made := func(version string) bool { return strings.HasPrefix(version, "sha256:") }
	_, version, _ := strings.Cut(than, "@")
	if a, b := made(n.Version), made(version); a != b {
		return b
	}
	return n.String() < than
}

// label gives the name of a thing for people: of content the first of its
// names.
func label(v graph.View, id graph.ID) string {
	if v.IsDigest(id) {
		best := ""
		for r := range v.Always().InOf(id, sameAs) {
			if n := v.Ref(r.From()); r.Named() && (best == "" || preferred(n, best)) {
				best = n.String()
			}
		}
		if best != "" {
			return best
		}
	}
	return v.Ref(id).String()
}
