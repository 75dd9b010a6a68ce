package finding

import (
	"cmp"
	"container/heap"
	"iter"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// Follower keeps the findings of a log that grows and of time that passes. Of
// every subject it keeps what was read for it, so that an entry makes only
// those anew that can have changed. What it holds always equals what [Run]
// gives.
//
// It is not safe for concurrent use.
type Follower struct {
	g     *graph.Graph
	o     Options
	at    prov.Instant
	cells map[graph.ID]*cell
	// readers gives the subjects that read a thing. It may name some that read
	// it no more.
	readers [][]graph.ID
	names   map[string][]graph.ID // of keys that named nothing
	queue   deadlines
	notes   graph.Reads
}

// cell is what is known of one subject.
type cell struct {
	findings []Finding
	read     []graph.Part // ascending by the things
	names    []string
	next     prov.Instant
}

// Follow finds everything in a graph as of a moment, and is ready to follow.
func Follow(g *graph.Graph, at prov.Instant, o Options) (*Follower, error) {
	if at == prov.Forever {
		return nil, ErrMoment
	}
	f := &Follower{g: g, o: o.filled(), at: at, cells: map[graph.ID]*cell{}, names: map[string][]graph.ID{}}
	s := f.scope()
	for id := graph.ID(1); int(id) < s.v.Len(); id++ {
		f.look(s, id)
	}
	return f, nil
}

func (f *Follower) scope() *scope {
	return newScope(f.g.At(prov.AsOf{Valid: f.at, Known: prov.AllKnown}), &f.o)
}

// Entry takes in the entry that the graph folded last, and gives the subjects
// that were looked at anew. It must be called after each entry, right after
// Fold and on the goroutine that folds: what an entry touched is told until the
// next one only.
func (f *Follower) Entry() []graph.ID {
	s := f.scope()
	var again []graph.ID
	for _, p := range f.g.Touched() {
		if f.cells[p.ID] == nil {
			again = append(again, p.ID)
		}
		again = f.reading(again, p)
		if len(f.names) > 0 {
			key := string(s.v.Key(p.ID))
			again = append(again, f.names[key]...)
			delete(f.names, key)
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
	var again []graph.ID
	for len(f.queue) > 0 && f.queue[0].at <= to {
		d := heap.Pop(&f.queue).(deadline)
		if c := f.cells[d.id]; c != nil && c.next == d.at {
			again = append(again, d.id)
		}
	}
	return f.lookAll(f.scope(), again)
}

// Next gives the next moment at which a finding can change without an entry;
// Forever: none.
func (f *Follower) Next() prov.Instant {
	for len(f.queue) > 0 {
		d := f.queue[0]
		if c := f.cells[d.id]; c != nil && c.next == d.at {
			return d.at
		}
		heap.Pop(&f.queue)
	}
	return prov.Forever
}

// Findings yields all findings in the order of [Run].
func (f *Follower) Findings() iter.Seq[Finding] {
	return func(yield func(Finding) bool) {
		for id := graph.ID(1); int(id) < len(f.readers); id++ {
			if c := f.cells[id]; c != nil {
				for _, x := range c.findings {
					if !yield(x) {
						return
					}
				}
			}
		}
	}
}

// Of gives the findings of a subject.
func (f *Follower) Of(id graph.ID) []Finding {
	if c := f.cells[id]; c != nil {
		return c.findings
	}
	return nil
}

// reading appends the subjects that read a part, and forgets those that read
// the thing no more.
func (f *Follower) reading(to []graph.ID, p graph.Part) []graph.ID {
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

func (f *Follower) lookAll(s *scope, ids []graph.ID) []graph.ID {
	slices.Sort(ids)
	ids = slices.Compact(ids)
	for _, id := range ids {
		f.look(s, id)
	}
	return ids
}

// look makes the findings of one subject anew.
func (f *Follower) look(s *scope, id graph.ID) {
	for int(id) >= len(f.readers) {
		f.readers = append(f.readers, make([][]graph.ID, 1+len(f.readers)/2)...)
	}
	f.notes.Begin(f.at)
	s.noting(&f.notes)
	c := &cell{findings: s.subject(id)}
	s.noting(nil)
	old := f.cells[id]
	read := f.notes.Parts()
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
				f.readers = append(f.readers, make([][]graph.ID, 1+len(f.readers)/2)...)
			}
			f.readers[p.ID] = append(f.readers[p.ID], id)
		}
	}
	c.names, c.next = slices.Clone(f.notes.Names()), f.notes.Next()
	for _, n := range c.names {
		if old == nil || !slices.Contains(old.names, n) || !slices.Contains(f.names[n], id) {
			f.names[n] = append(f.names[n], id)
		}
	}
	f.cells[id] = c
	if c.next != prov.Forever && (old == nil || old.next != c.next) {
		heap.Push(&f.queue, deadline{c.next, id})
	}
}

// deadline is when a subject is to be looked at anew.
type deadline struct {
	at prov.Instant
	id graph.ID
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
