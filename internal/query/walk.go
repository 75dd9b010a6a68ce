package query

import (
	"slices"
	"sync"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

type direction bool

const (
	up   direction = false // towards what a thing was made from
	down direction = true  // towards what was made from it
)

// marks is four bits for each thing, side by side, so that a closure looks at
// one place for each relation.
type marks []uint64

const (
	inFull   = 1 << iota // reached in full
	inPart               // reached in part
	isListed             // has its distance
	isNear               // called up to this distance while it waited for the next
)

func (m marks) get(id graph.ID) uint64         { return m[id/16] >> (id % 16 * 4) & 15 }
func (m marks) set(id graph.ID, x uint64)      { m[id/16] |= x << (id % 16 * 4) }
func (m marks) has(id graph.ID, x uint64) bool { return m.get(id)&x != 0 }
func (m marks) reset(ids []graph.ID) {
	for _, id := range ids {
		m[id/16] = 0
	}
}

// walk is one closure: a breadth-first search without recursion that ends on
// cycles. A path that enters an activity from an output whose derivations are
// stated and leaves it by something the activity used is no path of lineage;
// so an activity may be reached in part (only that way) or in full.
type walk struct {
	v     graph.View
	dir   direction
	mask  prov.RelationSet
	marks marks
	near  []graph.Neighbour // of the thing that is expanded
	// order is the things in the order of their distance, at[d] where
	// distance d begins in it.
	order  []graph.ID
	at     []int
	cur    []step
	next   []step
	same   bool              // whether mask has SameAs
	toPart prov.RelationType // leads to what is reached in part
	ofPart prov.RelationSet  // mask of what was reached in part
}

type step struct {
	id   graph.ID
	part bool
}

// walks keeps walks for use again: a small closure of a large graph must not
// pay for clearing a mark of each thing.
var walks sync.Pool

func newWalk(v graph.View, dir direction, mask prov.RelationSet) *walk {
	w, _ := walks.Get().(*walk)
	if w == nil {
		w = &walk{}
	}
	w.v, w.dir, w.mask, w.same = v, dir, mask, mask.Has(prov.SameAs)
	w.toPart, w.ofPart = prov.GeneratedByStated, mask&^prov.Relations(prov.Used)
	if dir == down {
		w.toPart, w.ofPart = prov.Used, mask&^prov.Relations(prov.GeneratedByStated)
	}
	if n := v.Len()/16 + 1; len(w.marks) < n {
		w.marks = make(marks, n)
	}
	return w
}

// free gives the walk back. Neither it nor its order may be used after.
func (w *walk) free() {
	if len(w.order) > len(w.marks) {
		clear(w.marks)
	} else {
		w.marks.reset(w.order)
		for _, s := range slices.Concat(w.cur, w.next) { // of a walk that was ended
			w.marks[s.id/16] = 0
		}
	}
	w.v = graph.View{}
	w.order, w.at, w.cur, w.next = w.order[:0], w.at[:0], w.cur[:0], w.next[:0]
	walks.Put(w)
}

func (w *walk) start(focus []graph.ID) {
	for _, id := range focus {
		if !w.marks.has(id, inFull) {
			w.marks.set(id, inFull)
			w.cur = append(w.cur, step{id, false})
		}
	}
}

// closure walks from the focus.
func closure(v graph.View, focus []graph.ID, dir direction, mask prov.RelationSet) *walk {
	w, _ := closureUntil(v, focus, dir, mask, &Options{})
	return w
}

// closureUntil is closure that ends with ErrStopped when opt says to stop.
func closureUntil(v graph.View, focus []graph.ID, dir direction, mask prov.RelationSet, opt *Options) (*walk, error) {
	w := newWalk(v, dir, mask)
	w.start(focus)
	steps := 0
	for len(w.cur) > 0 {
		w.at = append(w.at, len(w.order))
		for i := 0; i < len(w.cur); i++ { // cur grows: SameAs costs no distance
			if steps++; opt.stopped(steps) {
				w.free()
				return nil, ErrStopped
			}
			if i%ahead == 0 && len(w.cur)-i >= ahead {
				w.prepare(w.cur[i : i+ahead])
			}
			w.list(w.cur[i].id)
			w.expand(w.cur[i], &w.cur, &w.next)
		}
		w.cur, w.next = w.next, w.cur[:0]
	}
	w.at = append(w.at, len(w.order))
	return w, nil
}

// ahead is how many steps are made ready together.
const ahead = 32

// prepare has the rows of some steps fetched from memory at once, where
// expanding one after the other would wait for each.
func (w *walk) prepare(steps []step) {
	var ids, alike [ahead]graph.ID
	n := 0
	for i, s := range steps {
		ids[i] = s.id
		if w.same && w.v.Joined(s.id) {
			alike[n] = s.id
			n++
		}
	}
	w.v.Prepare(ids[:len(steps)], w.dir == down)
	w.v.Prepare(alike[:n], w.dir == up)
}

// list gives a thing its distance, if it has none.
func (w *walk) list(id graph.ID) {
	if !w.marks.has(id, isListed) {
		w.marks.set(id, isListed)
		w.order = append(w.order, id)
	}
}

// expand adds the neighbours of s: those that are the same thing to cur,
// others to next.
func (w *walk) expand(s step, cur, next *[]step) {
	mask := w.mask
	if s.part {
		mask = w.ofPart
	}
	same := w.same && w.v.Joined(s.id)
	if w.same && w.v.Notes() != nil {
		w.v.Alike(s.id) // noted
	}
	if w.dir == up {
		w.near = w.v.AppendOut(w.near[:0], s.id, mask)
	} else if w.near = w.near[:0]; same {
		w.near = w.v.AppendOut(w.near, s.id, sameOnly)
	}
	w.visit(cur, next)
	if w.dir == down {
		w.near = w.v.AppendIn(w.near[:0], s.id, mask)
	} else if w.near = w.near[:0]; same {
		w.near = w.v.AppendIn(w.near, s.id, sameOnly)
	}
	w.visit(cur, next)
}

var sameOnly = prov.Relations(prov.SameAs)

func (w *walk) visit(cur, next *[]step) {
	for _, n := range w.near {
		id, t := n.ID(), n.Type()
		m := w.marks.get(id)
		if t == prov.SameAs {
			w.alike(id, m, cur)
			continue
		}
		part := t == w.toPart
		if m&inFull != 0 || part && m&inPart != 0 {
			continue
		}
		if part {
			w.marks.set(id, inPart)
		} else {
			w.marks.set(id, inFull)
		}
		*next = append(*next, step{id, part})
	}
}

// alike adds what is the same thing as one of the current distance. A thing
// that waits for the next distance is nearer when it turns out to be the same
// as one at this distance.
func (w *walk) alike(id graph.ID, m uint64, cur *[]step) {
	if m&inFull != 0 {
		if m&(isListed|isNear) != 0 {
			return
		}
		w.marks.set(id, isNear)
	}
	w.marks.set(id, inFull)
	*cur = append(*cur, step{id, false})
}

func (w *walk) full(id graph.ID) bool { return w.marks.has(id, inFull) }

func (w *walk) has(id graph.ID) bool { return w.marks.has(id, inFull|inPart) }
