package bench

import (
	"math/rand/v2"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// lineage are the relations that closures walk. That it is the set of package
// query is checked: every count is compared with the engine's.
var lineage = prov.Relations(prov.Used, prov.GeneratedBy, prov.GeneratedByStated, prov.DerivedFrom, prov.SameAs,
	prov.HadPlan, prov.AssociatedWith, prov.ActedOnBehalfOf, prov.Deployed, prov.RunsAs, prov.AuthenticatesWith,
	prov.CallsTool, prov.UsesPrompt, prov.GovernedBy, prov.ReadsSecret)

// openKnown in row.kt says that the relation is known until further notice.
const openKnown = 1<<31 - 1

// row is one relation of lineage as plain numbers, with its rectangle: what
// the other engines are given. A relation SameAs makes two, one each way.
type row struct {
	up, down uint32
	vf, vt   int64
	kf, kt   int32
}

// rowsOf gives the relations of lineage that are known at either moment, now
// or a year ago. What was known only in between or before is left out, which
// can only help the engines that read this.
func rowsOf(w *world) []row {
	now, past := w.g.At(prov.Now), w.g.At(prov.AsOf{Valid: prov.Forever, Known: w.year.Known})
	var out []row
	add := func(r graph.Relation, kt int32) {
		x := row{uint32(r.To), uint32(r.From), int64(r.Valid.From), int64(r.Valid.To), int32(r.Since), kt}
		out = append(out, x)
		if r.Type == prov.SameAs {
			x.up, x.down = x.down, x.up
			out = append(out, x)
		}
	}
	var current []graph.Relation
	for id := graph.ID(1); int(id) < now.Len(); id++ {
		current = current[:0]
		for r := range now.Out(id) {
			if lineage.Has(r.Type()) {
				current = append(current, now.Relation(r))
				add(current[len(current)-1], openKnown)
			}
		}
		for r := range past.Out(id) {
			if x := past.Relation(r); lineage.Has(x.Type) && !slices.Contains(current, x) {
				add(x, int32(w.year.Known))
			}
		}
	}
	return out
}

// moment is a pair of clocks by which rows are chosen.
type moment struct {
	name  string
	asOf  prov.AsOf
	known int32 // of a past moment
}

func (w *world) moments() []moment {
	return []moment{{"now", prov.Now, openKnown}, {"year-ago", w.year, int32(w.year.Known)}}
}

func (m moment) past() bool { return m.asOf != prov.Now }

func (m moment) sees(r *row) bool {
	if !m.past() {
		return r.kt == openKnown
	}
	t := int64(m.asOf.Valid)
	return r.kf < m.known && m.known <= r.kt && r.vf <= t && t < r.vt
}

// flat is plain rows of one direction and one moment: the relations of thing
// i lead to to[at[i]:at[i+1]]. There are no clocks and no kinds in it: it is
// the floor, not an engine.
type flat struct {
	at, to []uint32
	seen   []uint64
	queue  []uint32
}

func flatten(rows []row, m moment, n int, down bool) *flat {
	f := &flat{at: make([]uint32, n+1), seen: make([]uint64, n/64+1)}
	ends := func(r *row) (uint32, uint32) {
		if down {
			return r.up, r.down
		}
		return r.down, r.up
	}
	for i := range rows {
		if m.sees(&rows[i]) {
			from, _ := ends(&rows[i])
			f.at[from+1]++
		}
	}
	for i := range n {
		f.at[i+1] += f.at[i]
	}
	f.to = make([]uint32, f.at[n])
	fill := slices.Clone(f.at)
	for i := range rows {
		if m.sees(&rows[i]) {
			from, to := ends(&rows[i])
			f.to[fill[from]] = to
			fill[from]++
		}
	}
	return f
}

// reach counts what a breadth-first search finds, and gives up beyond most.
func (f *flat) reach(from uint32, most int) int {
	f.queue = append(f.queue[:0], from)
	f.seen[from/64] |= 1 << (from % 64)
	for i := 0; i < len(f.queue) && len(f.queue) <= most; i++ {
		x := f.queue[i]
		for _, to := range f.to[f.at[x]:f.at[x+1]] {
			if f.seen[to/64]>>(to%64)&1 == 0 {
				f.seen[to/64] |= 1 << (to % 64)
				f.queue = append(f.queue, to)
			}
		}
	}
	for _, x := range f.queue {
		f.seen[x/64] = 0
	}
	return len(f.queue)
}

// members lists what reach finds.
func (f *flat) members(from uint32) map[uint32]bool {
	f.reach(from, len(f.at))
	out := map[uint32]bool{}
	for _, x := range f.queue {
		out[x] = true
	}
	return out
}

// starts finds up to n things, none of them in except, whose closure holds
// size things, give or take a fifth. For large sizes it tries those with most
// relations first, else any.
func (f *flat) starts(size, n int, except map[uint32]bool) []uint32 {
	r := rand.New(rand.NewPCG(uint64(size), 11))
	things := len(f.at) - 1
	var try []uint32
	if size >= 10_000 {
		for i := range things {
			if f.at[i+1]-f.at[i] > 20 {
				try = append(try, uint32(i))
			}
		}
		slices.SortFunc(try, func(a, b uint32) int { return int(f.at[b+1]-f.at[b]) - int(f.at[a+1]-f.at[a]) })
		try = try[:min(len(try), 2000)]
	}
	for range 40_000_000 / size {
		try = append(try, uint32(1+r.IntN(things-1)))
	}
	var out []uint32
	for _, x := range try {
		if except[x] {
			continue
		}
		if got := f.reach(x, size*6/5); got >= size*4/5 && got <= size*6/5 && !slices.Contains(out, x) {
			if out = append(out, x); len(out) == n {
				break
			}
		}
	}
	return out
}
