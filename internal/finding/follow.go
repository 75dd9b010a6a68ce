package finding

import (
	"cmp"
	"container/heap"
	"iter"
	"reflect"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// Follower keeps the findings of a log that grows and of time that passes. Of
// every subject and detector, and of every footprint of a deployment, it keeps
// what was read for it, so that an entry makes only those anew that can have
// changed. What it holds always equals what [Run] gives.
//
// It is not safe for concurrent use.
type Follower struct {
	g     *graph.Graph
	o     Options
	at    prov.Instant
	w     *world
	cells map[node]*cell
	kinds map[graph.ID][]int // of contents: the detectors of their kind
	// readers gives the nodes that read a thing. It may name some that read it
	// no more.
	readers [][]node
	names   map[string][]node // of keys that named nothing
	queue   deadlines
	notes   graph.Reads
	derived []graph.Part // changed by the footprints that were made anew
}

// node is a thing and what is kept of it: the number of a detector, or one of
// the following.
type node uint64

const (
	nodeStaff node = 247 // see derivations
	nodeChain node = 248
	nodeAsked node = 249
	nodeUses  node = 250 // of a deployment: its usage
	nodeOwner node = 251
	nodeFoot  node = 254 // of a deployment: its footprint
	nodeKind  node = 255 // of a content: which detectors look at it
)

func nodeOf(id graph.ID, what node) node { return node(id)<<8 | what }

func (n node) id() graph.ID { return graph.ID(n >> 8) }
func (n node) what() node   { return n & 255 }

// cell is what is known of one node.
type cell struct {
	finding *Finding // nil: the detector has nothing to say, or its outcome is terse
	terse   Outcome
	value   any          // of a derivation
	read    []graph.Part // ascending by the things
	names   []string
	next    prov.Instant
}

// Follow finds everything in a graph as of a moment, and is ready to follow.
func Follow(g *graph.Graph, at prov.Instant, o Options) (*Follower, error) {
	if at == prov.Forever {
		return nil, ErrMoment
	}
	f := &Follower{g: g, o: o.filled(), at: at, w: newWorld(), cells: map[node]*cell{}, kinds: map[graph.ID][]int{}, names: map[string][]node{}}
	s := f.scope()
	for id := graph.ID(1); int(id) < s.v.Len(); id++ {
		f.first(s, id)
	}
	f.derived = nil
	for id := graph.ID(1); int(id) < s.v.Len(); id++ {
		for _, i := range f.detectors(s, id) {
			f.look(s, nodeOf(id, node(i)))
		}
	}
	return f, nil
}

func (f *Follower) scope() *scope {
	s := newScope(f.g.At(prov.AsOf{Valid: f.at, Known: prov.AllKnown}), &f.o)
	s.w, s.f = f.w, f
	return s
}

// first makes what subjects are looked at with of one thing.
func (f *Follower) first(s *scope, id graph.ID) {
	switch s.all.Kind(id) {
	case prov.Deployment:
		f.look(s, nodeOf(id, nodeUses))
		f.look(s, nodeOf(id, nodeFoot))
	case prov.Activity:
		s.ran(id, f.changed)
	}
}

func (f *Follower) changed(id graph.ID, x graph.Facets) {
	f.derived = append(f.derived, graph.Part{ID: id, Facets: x})
}

// detectors gives the numbers of the detectors that look at a thing.
func (f *Follower) detectors(s *scope, id graph.ID) []int {
	if !s.all.IsDigest(id) {
		return byKind[s.all.Kind(id)]
	}
	if f.cells[nodeOf(id, nodeKind)] == nil {
		f.look(s, nodeOf(id, nodeKind))
	}
	return f.kinds[id]
}

// Entry takes in the entry that the graph folded last, and gives the subjects
// that were looked at anew. It must be called after each entry, right after
// Fold and on the goroutine that folds: what an entry touched is told until the
// next one only.
func (f *Follower) Entry() []graph.ID {
	s := f.scope()
	var again []node
	for _, p := range f.g.Touched() {
		again = f.reading(again, p)
		if len(f.names) > 0 {
			if key := s.v.Key(p.ID); f.names[string(key)] != nil {
				again = append(again, f.names[string(key)]...)
				delete(f.names, string(key))
			}
		}
		switch s.all.Kind(p.ID) {
		case prov.Deployment:
			if n := nodeOf(p.ID, nodeFoot); f.cells[n] == nil {
				again = append(again, nodeOf(p.ID, nodeUses), n)
			}
		case prov.Activity:
			s.ran(p.ID, f.changed)
		}
		for _, i := range f.detectors(s, p.ID) {
			if n := nodeOf(p.ID, node(i)); f.cells[n] == nil {
				again = append(again, n)
			}
		}
	}
	return f.lookAll(s, again)
}

// Advance lets time pass up to a moment, and gives the subjects that were
// looked at anew. A moment before the present one changes nothing.
func (f *Follower) Advance(to prov.Instant) []graph.ID {
	if to <= f.at {
		return nil
	}
	f.at = to
	var again []node
	for len(f.queue) > 0 && f.queue[0].at <= to {
		d := heap.Pop(&f.queue).(deadline)
		if c := f.cells[d.node]; c != nil && c.next == d.at {
			again = append(again, d.node)
		}
	}
	if len(again) == 0 {
		return nil
	}
	return f.lookAll(f.scope(), again)
}

// Next gives the next moment at which a finding can change without an entry;
// Forever: none.
func (f *Follower) Next() prov.Instant {
	for len(f.queue) > 0 {
		d := f.queue[0]
		if c := f.cells[d.node]; c != nil && c.next == d.at {
			return d.at
		}
		heap.Pop(&f.queue)
	}
	return prov.Forever
}

// Findings yields all findings in the order of [Run].
func (f *Follower) Findings() iter.Seq[Finding] {
	return func(yield func(Finding) bool) {
		s := f.scope()
		for id := graph.ID(1); int(id) < s.v.Len(); id++ {
			for _, x := range f.of(s, id) {
				if !yield(x) {
					return
				}
			}
		}
	}
}

// Of gives the findings of a subject.
func (f *Follower) Of(id graph.ID) []Finding { return f.of(f.scope(), id) }

func (f *Follower) of(s *scope, id graph.ID) []Finding {
	var out []Finding
	for _, i := range f.detectors(s, id) {
		switch c := f.cells[nodeOf(id, node(i))]; {
		case c == nil:
		case c.finding != nil:
			out = append(out, *c.finding)
		case c.terse != "":
			out = append(out, terse(&detectors[i], id, c.terse))
		}
	}
	return out
}

// reading appends the nodes that read a part, and forgets those that read the
// thing no more.
func (f *Follower) reading(to []node, p graph.Part) []node {
	if int(p.ID) >= len(f.readers) || len(f.readers[p.ID]) == 0 {
		return to
	}
	rs := f.readers[p.ID]
	kept := rs[:0]
	for _, r := range rs {
		if c := f.cells[r]; c != nil {
			if i, ok := find(c.read, p.ID); ok {
				if kept = append(kept, r); c.read[i].Meets(p.Facets) {
					to = append(to, r)
				}
			}
		}
	}
	f.readers[p.ID] = kept
	return to
}

func find(ps []graph.Part, id graph.ID) (int, bool) {
	return slices.BinarySearchFunc(ps, id, func(p graph.Part, id graph.ID) int { return cmp.Compare(p.ID, id) })
}

// level gives when a node is made anew: what others are made of comes first.
func (n node) level() int {
	switch n.what() {
	case nodeStaff, nodeChain, nodeAsked, nodeUses, nodeKind:
		return 0
	case nodeFoot, nodeOwner: // of nodeChain and nodeStaff
		return 1
	}
	return 2
}

// lookAll makes nodes anew, level by level: at each those too that read what
// came out otherwise at those before. It gives the subjects among them.
func (f *Follower) lookAll(s *scope, ns []node) []graph.ID {
	var levels [3][]node
	place := func(ns []node) {
		for _, n := range ns {
			levels[n.level()] = append(levels[n.level()], n)
		}
	}
	place(ns)
	var ids []graph.ID
	for l := range levels {
		for _, p := range f.derived {
			place(f.reading(nil, p))
		}
		f.derived = f.derived[:0]
		slices.Sort(levels[l])
		for _, n := range slices.Compact(levels[l]) {
			if l < 2 {
				place(f.underlying(s, n))
				continue
			}
			if id := n.id(); !s.all.IsDigest(id) || slices.Contains(f.kinds[id], int(n.what())) {
				f.look(s, n)
				ids = append(ids, id)
			}
		}
	}
	return slices.Compact(ids)
}

// underlying makes a node anew that others are made of, and gives those that
// are to be looked at whatever they read.
func (f *Follower) underlying(s *scope, n node) (again []node) {
	id := n.id()
	if d, ok := derivations[n.what()]; ok {
		was := f.cells[n].value
		if c := f.derive(s, n); !reflect.DeepEqual(was, c.value) {
			f.changed(id, d.mark)
		}
		return nil
	}
	was := f.kinds[id]
	if f.look(s, n); n.what() != nodeKind {
		return nil
	}
	for _, i := range was {
		if !slices.Contains(f.kinds[id], i) {
			delete(f.cells, nodeOf(id, node(i)))
		}
	}
	for _, i := range f.kinds[id] {
		again = append(again, nodeOf(id, node(i)))
	}
	return again
}

// look makes one node anew.
func (f *Follower) look(s *scope, n node) {
	f.notes.Begin(f.at)
	s.noting(&f.notes)
	c, id := &cell{}, n.id()
	switch n.what() {
	case nodeUses:
		now := s.uses(id)
		s.noting(nil)
		f.w.use(id, now, f.changed)
	case nodeFoot:
		now := s.footprint(id)
		s.noting(nil)
		f.w.replace(id, now, f.changed)
	case nodeKind:
		f.kinds[id] = byKind[s.kind(id)]
	default:
		if x, ok := s.check(int(n.what()), id); ok && slices.Contains(f.o.Terse, x.Outcome) {
			c.terse = x.Outcome
		} else if ok {
			c.finding = &x
		}
	}
	s.noting(nil)
	f.keep(n, c, &f.notes)
}

// derive makes a derivation anew, also while something else is looked at.
func (f *Follower) derive(s *scope, n node) *cell {
	outer, own := s.v.Notes(), &graph.Reads{}
	own.Begin(f.at)
	s.noting(own)
	c := &cell{value: derivations[n.what()].make(s, n.id())}
	s.noting(outer)
	f.keep(n, c, own)
	return c
}

// keep puts a cell in its place, with what was noted while it was made.
func (f *Follower) keep(n node, c *cell, notes *graph.Reads) {
	old, read := f.cells[n], notes.Parts()
	if old != nil && slices.Equal(old.read, read) {
		c.read = old.read
	} else {
		c.read = slices.Clone(read)
		for _, p := range c.read {
			if old != nil {
				if _, had := find(old.read, p.ID); had {
					continue
				}
			}
			for int(p.ID) >= len(f.readers) {
				f.readers = append(f.readers, make([][]node, 1+len(f.readers)/2)...)
			}
			f.readers[p.ID] = append(f.readers[p.ID], n)
		}
	}
	c.names, c.next = slices.Clone(notes.Names()), notes.Next()
	for _, k := range c.names {
		if old == nil || !slices.Contains(old.names, k) || !slices.Contains(f.names[k], n) {
			f.names[k] = append(f.names[k], n)
		}
	}
	f.cells[n] = c
	if c.next != prov.Forever && (old == nil || old.next != c.next) {
		heap.Push(&f.queue, deadline{c.next, n})
	}
}

// deadline is when a node is to be looked at anew.
type deadline struct {
	at   prov.Instant
	node node
}

// deadlines is a heap.
type deadlines []deadline

func (h deadlines) Len() int           { return len(h) }
func (h deadlines) Less(i, j int) bool { return h[i].at < h[j].at }
func (h deadlines) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push adds a deadline.
func (h *deadlines) Push(x any) { *h = append(*h, x.(deadline)) }

// Pop takes the last one away.
func (h *deadlines) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
