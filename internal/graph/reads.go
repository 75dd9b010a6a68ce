package graph

import (
	"cmp"
	"iter"
	"slices"

	"github.com/stemma-lineage/stemma/prov"
)

// Facets are the parts of what a view tells of a thing: its relations by their
// type and direction, and marks for what is no relation.
type Facets struct{ In, Out prov.RelationSet }

// The marks. No relation type has these numbers.
const (
	markAttrs   prov.RelationSet = 1         // of Out: attributes
	markTimes   prov.RelationSet = 1 << 63   // of Out: times and versions
	markEntries prov.RelationSet = 1         // of In: the entries about it
	markDerived prov.RelationSet = 255 << 55 // of In: what whoever reads derives; see Derived
	relationSet                  = ^prov.RelationSet(0) &^ (markAttrs | markTimes | markDerived)
)

// Derived gives a mark for something that whoever reads derives of things, n
// from 0 to 7. No entry touches it but the first that mentions the thing.
func Derived(n int) Facets { return Facets{In: 1 << (55 + n)} }

var allFacets = Facets{^prov.RelationSet(0), ^prov.RelationSet(0)}

// Meets tells whether the two have a part in common.
func (f Facets) Meets(o Facets) bool { return f.In&o.In|f.Out&o.Out != 0 }

// Part is parts of a thing.
type Part struct {
	ID ID
	Facets
}

// parts is a list of parts in which neighbours of one thing are one.
type parts []Part

func (ps *parts) add(id ID, f Facets) {
	if n := len(*ps); n > 0 && (*ps)[n-1].ID == id {
		p := &(*ps)[n-1]
		p.In, p.Out = p.In|f.In, p.Out|f.Out
		return
	}
	*ps = append(*ps, Part{id, f})
}

// sorted makes the list ascending, with each thing once.
func (ps *parts) sorted() []Part {
	list := *ps
	slices.SortFunc(list, func(a, b Part) int { return cmp.Compare(a.ID, b.ID) })
	*ps = list[:0]
	for _, p := range list {
		ps.add(p.ID, p.Facets)
	}
	return *ps
}

// Reads notes what is asked of views, so that it is known when an answer can
// change: by an entry that touches one of the parts, or, without any entry, at
// a moment. It notes too much rather than too little.
type Reads struct {
	after prov.Instant
	parts parts
	names []string
	next  prov.Instant
}

// Begin makes r note reads anew, for an answer as of an instant.
func (r *Reads) Begin(at prov.Instant) {
	r.after, r.parts, r.names, r.next = at, r.parts[:0], r.names[:0], prov.Forever
}

// Parts gives what was read, ascending by the things, each once. It is valid
// until the next call of Begin.
func (r *Reads) Parts() []Part { return r.parts.sorted() }

// Names gives the keys that were looked up and named nothing.
func (r *Reads) Names() []string { return r.names }

// Next gives the first moment after that of Begin at which anything that was
// read begins or ends, or that it tells; Forever: none.
func (r *Reads) Next() prov.Instant { return r.next }

// Moment notes a moment that whoever reads made of what was read, such as a
// time and a limit of age.
func (r *Reads) Moment(t prov.Instant) { r.moment(t) }

// Note notes a part of a thing as read.
func (r *Reads) Note(id ID, f Facets) { r.parts.add(id, f) }

// Add notes all that another noted.
func (r *Reads) Add(read []Part, names []string, next prov.Instant) {
	r.parts, r.names = append(r.parts, read...), append(r.names, names...)
	r.moment(next)
}

// Noting gives the view with reads noted in r, also of views that are made of
// it; nil ends it.
func (v View) Noting(r *Reads) View {
	v.reads = r
	return v
}

// Notes gives what notes the reads of the view, or nil.
func (v View) Notes() *Reads { return v.reads }

func (r *Reads) moment(t prov.Instant) {
	if t > r.after && t < r.next {
		r.next = t
	}
}

func (r *Reads) name(id ID, key string) {
	if id == None {
		r.names = append(r.names, key)
	}
}

func (r *Reads) alike(id ID) {
	r.parts.add(id, Facets{prov.Relations(prov.SameAs), prov.Relations(prov.SameAs)})
}

func (r *Reads) entries(id ID) { r.parts.add(id, Facets{In: markEntries}) }

func (r *Reads) out(v View, id ID, mask prov.RelationSet) {
	r.parts.add(id, Facets{Out: mask & relationSet})
	for p := get(&v.g.things.at(id).out); p != 0; {
		x := v.g.rels.at(p)
		if p = x.nextOut; mask.Has(x.typ) {
			r.rel(v, x)
		}
	}
}

func (r *Reads) in(v View, id ID, mask prov.RelationSet) {
	r.parts.add(id, Facets{In: mask & relationSet})
	for p := get(&v.g.things.at(id).in); p != 0; {
		x := v.g.rels.at(p)
		if p = x.nextIn; mask.Has(x.typ) {
			r.rel(v, x)
		}
	}
}

func (r *Reads) rel(v View, x *rel) {
	if x.kf < v.known {
		r.moment(x.vf)
		r.moment(x.vt)
	}
}

// attrs notes the times from which attributes hold, and those that they tell.
func (r *Reads) attrs(v View, id ID) {
	r.parts.add(id, Facets{Out: markAttrs})
	for p := get(&v.g.things.at(id).attr); p != 0; p = v.g.attrs.at(p).next {
		a := v.g.attrs.at(p)
		r.moment(a.at)
		if a.val.n < 10 || a.val.n > 40 {
			continue
		}
		b := v.g.bytes(a.val)
		if b[0] < '0' || b[0] > '9' || b[4] != '-' {
			continue
		}
		if t, err := prov.ParseTime(string(b)); err == nil {
			r.moment(prov.At(t))
		}
	}
}

func (r *Reads) times(v View, id ID) {
	r.parts.add(id, Facets{Out: markTimes})
	a := get(&v.g.things.at(id).act)
	if a == 0 {
		return
	}
	b := &v.g.binding
	for p := get(&b.acts.at(a).claim); p != 0; p = b.claims.at(p).next {
		c := b.claims.at(p)
		for _, t := range []prov.Instant{c.start, c.end, c.seen, c.recorded} {
			r.moment(t)
		}
	}
}

// written notes what says when a version became current.
func (r *Reads) written(v View, id ID) {
	r.parts.add(id, Facets{Out: markTimes})
	b := &v.g.binding
	for p := get(&v.g.things.at(id).writes); p != 0; p = b.writes.at(p).nextOfVer {
		w := b.writes.at(p)
		r.moment(w.at)
		if w.act != 0 {
			r.times(v, b.acts.at(w.act).id)
		}
	}
}

// Touched gives the parts of things that the entry that was folded last
// changed, ascending by the things, each once. It is valid until the next
// entry.
func (g *Graph) Touched() []Part { return g.touched.sorted() }

func (g *Graph) touch(id ID, f Facets) { g.touched.add(id, f) }

// touchRel notes that a relation came, went or moved.
func (g *Graph) touchRel(r *rel) {
	g.touch(r.from, Facets{Out: prov.Relations(r.typ)})
	g.touch(r.to, Facets{In: prov.Relations(r.typ)})
}

// OutOf yields what Out does of some types of relations.
func (v View) OutOf(id ID, mask prov.RelationSet) iter.Seq[*rel] {
	return func(yield func(*rel) bool) {
		if v.reads != nil {
			v.reads.out(v, id, mask)
		}
		for p := get(&v.g.things.at(id).out); p != 0; {
			r := v.g.rels.at(p)
			p = r.nextOut
			if mask.Has(r.typ) && v.sees(r) && !yield(r) {
				return
			}
		}
	}
}

// InOf yields what In does of some types of relations.
func (v View) InOf(id ID, mask prov.RelationSet) iter.Seq[*rel] {
	return func(yield func(*rel) bool) {
		if v.reads != nil {
			v.reads.in(v, id, mask)
		}
		for p := get(&v.g.things.at(id).in); p != 0; {
			r := v.g.rels.at(p)
			p = r.nextIn
			if mask.Has(r.typ) && v.sees(r) && !yield(r) {
				return
			}
		}
	}
}
