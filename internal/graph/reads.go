package graph

import (
	"slices"

	"github.com/stemma-lineage/stemma/prov"
)

// Reads notes what is asked of views, so that it is known when an answer can
// change: by an entry that touches one of the things, or, without any entry,
// at a moment. It notes too much rather than too little.
type Reads struct {
	after  prov.Instant
	things []ID
	names  []string
	next   prov.Instant
	last   ID
}

// Begin makes r note reads anew, for an answer as of an instant.
func (r *Reads) Begin(at prov.Instant) {
	r.after, r.things, r.names, r.next, r.last = at, r.things[:0], r.names[:0], prov.Forever, None
}

// Things gives the things of which anything was read, ascending, each once. It
// is valid until the next call of Begin.
func (r *Reads) Things() []ID {
	slices.Sort(r.things)
	r.things = slices.Compact(r.things)
	r.last = None
	return r.things
}

// Names gives the keys that were looked up and named nothing.
func (r *Reads) Names() []string { return r.names }

// Next gives the first moment after that of Begin at which anything that was
// read begins or ends, or that it tells; Forever: none.
func (r *Reads) Next() prov.Instant { return r.next }

// Moment notes a moment that whoever reads made of what was read, such as a
// time and a limit of age.
func (r *Reads) Moment(t prov.Instant) { r.moment(t) }

// Add notes all that another noted.
func (r *Reads) Add(things []ID, names []string, next prov.Instant) {
	r.things, r.names, r.last = append(r.things, things...), append(r.names, names...), None
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

// Touch notes a thing of which the caller keeps something that it read before.
func (v View) Touch(id ID) {
	if v.reads != nil {
		v.reads.thing(id)
	}
}

func (r *Reads) thing(id ID) {
	if id != r.last {
		r.things, r.last = append(r.things, id), id
	}
}

func (r *Reads) moment(t prov.Instant) {
	if t > r.after && t < r.next {
		r.next = t
	}
}

func (r *Reads) name(id ID, key string) {
	if id != None {
		r.thing(id)
		return
	}
	r.names = append(r.names, key)
}

func (r *Reads) out(v View, id ID) {
	r.thing(id)
	for p := v.g.things.at(id).out; p != 0; p = v.g.rels.at(p).nextOut {
		r.rel(v, v.g.rels.at(p))
	}
}

func (r *Reads) in(v View, id ID) {
	r.thing(id)
	for p := v.g.things.at(id).in; p != 0; p = v.g.rels.at(p).nextIn {
		r.rel(v, v.g.rels.at(p))
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
	r.thing(id)
	for p := v.g.things.at(id).attr; p != 0; p = v.g.attrs.at(p).next {
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
	r.thing(id)
	a := v.g.things.at(id).act
	if a == 0 {
		return
	}
	b := &v.g.binding
	for p := b.acts.at(a).claim; p != 0; p = b.claims.at(p).next {
		c := b.claims.at(p)
		for _, t := range []prov.Instant{c.start, c.end, c.seen, c.recorded} {
			r.moment(t)
		}
	}
}

// written notes what says when a version became current.
func (r *Reads) written(v View, id ID) {
	r.thing(id)
	b := &v.g.binding
	for p := v.g.things.at(id).writes; p != 0; p = b.writes.at(p).nextOfVer {
		w := b.writes.at(p)
		r.moment(w.at)
		if w.act != 0 {
			r.times(v, b.acts.at(w.act).id)
		}
	}
}

// Touched gives the things of which the entry that was folded last changed
// anything that a view tells: their relations, attributes, times or versions.
// It is valid until the next entry.
func (g *Graph) Touched() []ID {
	slices.Sort(g.touched)
	g.touched = slices.Compact(g.touched)
	return g.touched
}

func (g *Graph) touch(id ID) { g.touched = append(g.touched, id) }
