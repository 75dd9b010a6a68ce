// Package policy says what may happen under which rules: whether a decision
// counts, what a policy's rules say of a thing at a moment, and in which
// periods it was valid. All of it is a pure function of a view of the graph.
package policy

import (
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

// sameness are the relations that tie names to content, and what is the same.
var sameness = prov.Relations(prov.SameAs)

// Same gives the content that a thing is, with what is stated to be
// the same, and the names of it. A name without content gives names only.
func Same(v graph.View, thing graph.ID) (content, names []graph.ID) {
	for id := range kin(v, thing) {
		if v.IsDigest(id) {
			content = append(content, id)
		} else {
			names = append(names, id)
		}
	}
	slices.Sort(content)
	slices.Sort(names)
	return content, names
}

// kin gives all that a thing is stated to be, itself included, each with the
// entries that say so.
func kin(v graph.View, thing graph.ID) map[graph.ID][]uint64 {
	seen, content := map[graph.ID][]uint64{thing: nil}, 0
	for todo := []graph.ID{thing}; len(todo) > 0; {
		id := todo[0]
		todo = todo[1:]
		if v.IsDigest(id) {
			content++
		}
		if !v.Alike(id) { // who decided often has many relations, and no other name
			continue
		}
		next := func(other graph.ID, x graph.Relation, named bool) {
			// From content to each of its names, but from such a name not on to
			// other content that it stood for.
			if _, ok := seen[other]; ok || named && v.IsDigest(other) && content > 0 {
				return
			}
			seen[other] = append(slices.Clone(seen[id]), x.Entry)
			todo = append(todo, other)
		}
		for r := range v.OutOf(id, sameness) {
			next(r.To(), v.Relation(r), r.Named())
		}
		for r := range v.InOf(id, sameness) {
			next(r.From(), v.Relation(r), r.Named())
		}
	}
	return seen
}

// identify gives the very content that a thing is, and the names of that
// content. What is only stated to be the same is not among it. A name can
// stand for several contents; content has one.
func identify(v graph.View, thing graph.ID) (content, names []graph.ID) {
	if v.IsDigest(thing) {
		content = []graph.ID{thing}
	} else {
		names = []graph.ID{thing}
		for r := range v.OutOf(thing, sameness) {
			if r.Named() {
				content = append(content, r.To())
			}
		}
	}
	for _, c := range content {
		for r := range v.InOf(c, sameness) {
			if r.Named() {
				names = append(names, r.From())
			}
		}
	}
	slices.Sort(content)
	slices.Sort(names)
	return slices.Compact(content), slices.Compact(names)
}

// sameAs gives an identity with all that are stated to be the same.
func sameAs(v graph.View, id graph.ID) []graph.ID {
	content, names := Same(v, id)
	return append(names, content...)
}

// person gives one name for all names of a person, so that nobody counts
// twice.
func person(v graph.View, id graph.ID) string {
	first := ""
	for _, a := range sameAs(v, id) {
		if s := v.Ref(a).String(); first == "" || s < first {
			first = s
		}
	}
	return first
}

// Label gives the name of a thing for people: of content the first of its
// names.
func Label(v graph.View, id graph.ID) string { return query.Name(v.Always(), id).String() }
