package query

import (
	"fmt"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// Path answers how one thing depends on another: everything that lies on any
// path between them, the first of the shortest and how many those are; with
// opt.All every path. Both directions are tried.
func Path(v graph.View, from, to string, opt Options) (*Answer, error) {
	a, err := Resolve(v, from, One)
	if err != nil {
		return nil, err
	}
	z, err := Resolve(v, to, All)
	if err != nil {
		return nil, err
	}
	q := Question{Verb: "path", Refs: []string{from, to}, Limit: opt.Limit, All: opt.All}
	mask := opt.Relations
	if mask == 0 {
		mask = lineage | prov.Relations(prov.ApprovedBy, prov.OwnedBy, prov.CanAssume, prov.MemberOf)
	} else {
		q.Relations = relationNames(mask)
	}
	start, ends := a, z
	w, found := between(v, a, z, mask)
	if len(w) == 0 {
		if a, err = Resolve(v, from, All); err != nil {
			return nil, err
		}
		if z, err = Resolve(v, to, One); err != nil {
			return nil, err
		}
		start, ends = z, a
		w, found = between(v, z, a, mask)
	}
	if len(w) == 0 {
		return nil, fmt.Errorf("%w: no path between %s and %s is recorded as of then; stemma why %s shows what it was made from", ErrNotFound, from, to, from)
	}
	b := newBuilder(v, q, opt)
	for i, id := range w {
		if opt.Limit > 0 && i >= opt.Limit && !opt.All {
			b.answer.Hidden++
			continue
		}
		b.member(id, i)
	}
	b.answer.Truncated = b.answer.Hidden > 0
	for _, id := range slices.Concat(start, ends) {
		if b.has(id) {
			b.answer.Focus = append(b.answer.Focus, b.name(id))
		}
	}
	if _, err := b.paths(b.lineageMaze(w, start[0], found, mask)); err != nil {
		return nil, err
	}
	b.connect(mask)
	return b.end()
}

// Between gives what lies on any path of lineage from a thing, under any of
// its names, up to another.
func Between(v graph.View, from []graph.ID, to graph.ID) []graph.ID {
	all, _ := between(v, from, []graph.ID{to}, lineage)
	return all
}

// between gives what lies on any path upwards from a to z, nearest to a
// first, and which of z are reached.
func between(v graph.View, a, z []graph.ID, mask prov.RelationSet) (all, ends []graph.ID) {
	w := closure(v, a, up, mask)
	defer w.free()
	for _, id := range z {
		if w.has(id) {
			ends = append(ends, id)
		}
	}
	if len(ends) == 0 {
		return nil, nil
	}
	back := closure(v, ends, down, mask)
	defer back.free()
	for _, id := range w.order {
		// An activity that is reached only from a stated output above and only
		// through what it used below is on no path.
		if back.has(id) && (w.full(id) || back.full(id)) {
			all = append(all, id)
		}
	}
	return all, ends
}

// Show answers what is recorded of one thing: all its relations, both ways.
func Show(v graph.View, text string, opt Options) (*Answer, error) {
	ids, err := Resolve(v, text, One)
	if err != nil {
		return nil, err
	}
	b := newBuilder(v, Question{Verb: "show", Refs: []string{text}, Limit: opt.Limit}, opt)
	all := append(ids, partners(v, ids[0])...)
	for _, id := range all {
		b.member(id, 0)
	}
	b.answer.Focus = []string{b.name(ids[0])}
	add := func(other graph.ID, r graph.Relation) {
		if _, ok := b.dist[other]; !ok && opt.Limit > 0 && len(b.members) >= opt.Limit {
			b.answer.Hidden++
			return
		}
		b.member(other, 1)
		b.relation(r)
	}
	for _, id := range all {
		for r := range v.Out(id) {
			add(r.To(), v.Relation(r))
		}
		for r := range v.In(id) {
			add(r.From(), v.Relation(r))
		}
	}
	b.answer.Truncated = b.answer.Hidden > 0
	b.doubtOrigin(ids[0])
	return b.end()
}

// Search answers which names contain a text.
func Search(v graph.View, text string, opt Options) (*Answer, error) {
	ids, more := v.Search(text, opt.Limit)
	if len(ids) == 0 {
		return nil, fmt.Errorf("%w: no name contains %q", ErrNotFound, text)
	}
	b := newBuilder(v, Question{Verb: "search", Refs: []string{text}, Limit: opt.Limit}, opt)
	for _, id := range ids {
		b.member(id, 0)
	}
	b.answer.Hidden, b.answer.Truncated = more, more > 0
	return b.end()
}
