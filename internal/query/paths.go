package query

import (
	"fmt"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// relationNames names the types that a question walks, as one writes them.
func relationNames(mask prov.RelationSet) []string {
	var out []string
	for _, t := range prov.RelationTypes() {
		if mask.Has(t) && t != prov.GeneratedByStated {
			out = append(out, t.String())
		}
	}
	return out
}

// group gives all that is shown as one thing: content and the names of which
// it is the only one.
func (b *builder) group(id graph.ID) []graph.ID { return append(b.labels(id), id) }

// lineageMaze is the part of the graph that lies on paths: all, from the
// start to any of the ends. A name and its content are one thing in it, unless
// the question does not walk SameAs.
func (b *builder) lineageMaze(all []graph.ID, start graph.ID, ends []graph.ID, mask prov.RelationSet) maze {
	in, end := newBits(b.v.Len()), newBits(b.v.Len())
	for _, id := range all {
		in.add(id)
	}
	one, group := b.represent, b.group
	if !mask.Has(prov.SameAs) {
		one, group = func(id graph.ID) graph.ID { return id }, func(id graph.ID) []graph.ID { return []graph.ID{id} }
	}
	for _, id := range ends {
		end.add(one(id))
	}
	hops := func(p place) []place {
		h := hopper{in: in, found: map[graph.ID]bool{}}
		for _, x := range group(p.id) {
			for r := range b.v.Out(x) {
				if t := r.Type(); mask.Has(t) && !(p.part && t == prov.Used) && in.has(r.To()) {
					h.add(p.id, one(r.To()), t == prov.GeneratedByStated && len(group(one(r.To()))) == 1)
				}
			}
			if !mask.Has(prov.SameAs) {
				continue
			}
			for r := range b.v.In(x) {
				if r.Type() == prov.SameAs && in.has(r.From()) {
					h.add(p.id, one(r.From()), false)
				}
			}
		}
		return h.places()
	}
	return maze{start: one(start), end: end.has, hops: hops, name: b.name}
}

// hopper gathers where a place leads, each thing once: passed in full if any
// relation allows it.
type hopper struct {
	in    bits
	found map[graph.ID]bool // whether in part only
	order []graph.ID
}

func (h *hopper) add(from, to graph.ID, part bool) {
	if from == to {
		return
	}
	was, ok := h.found[to]
	if !ok {
		h.order = append(h.order, to)
	}
	h.found[to] = part && (was || !ok)
}

func (h *hopper) places() []place {
	var out []place
	for _, id := range h.order {
		out = append(out, place{id, h.found[id]})
	}
	return out
}

// paths puts the shortest path, the number of its like and, where the question
// asks for them, all paths into the answer.
func (b *builder) paths(m maze) (*ways, error) {
	w, err := m.find(&b.opt)
	if err != nil || w.toEnd[0] < 0 {
		return w, err
	}
	s := w.shortest()
	b.answer.Shortest = &s
	b.answer.Path = b.named(w, w.first())
	if !b.opt.All {
		return w, nil
	}
	return w, b.allPaths(w)
}

func (b *builder) named(w *ways, path []int32) []string {
	out := make([]string, len(path))
	for i, n := range path {
		out[i] = b.name(w.places[n].id)
	}
	return out
}

func (b *builder) allPaths(w *ways) error {
	limit := b.opt.Limit
	if limit == 0 {
		limit = most
	}
	total, countable := w.total()
	cut, things := "", 0
	whole, err := w.each(maxSteps, func(t *trail) bool {
		switch {
		case len(b.answer.Paths) == limit:
			cut = fmt.Sprintf("there are more paths than the limit of %d; --limit raises it", limit)
		case len(b.answer.Paths) > 0 && things+int(t.length) >= maxThings:
			cut = fmt.Sprintf("the paths shown pass %d things together, and one answer gives no more; --relation and --known ask for less", things)
		default:
			things += int(t.length) + 1
			b.answer.Paths = append(b.answer.Paths, b.named(w, t.places()))
			return true
		}
		return false
	})
	if err != nil {
		return err
	}
	slices.SortFunc(b.answer.Paths, func(x, y []string) int {
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		return slices.Compare(x, y)
	})
	if whole {
		return nil
	}
	b.answer.Truncated = true
	shown := uint64(len(b.answer.Paths))
	switch {
	case countable && total < maxCount:
		b.answer.Hidden = int(total - shown)
	case countable:
		b.answer.Hidden, b.answer.HiddenAtLeast = int(maxCount-shown), true
		b.unknown("", "how many more paths there are: at least %d, where counting ends", b.answer.Hidden)
	case cut != "":
		b.answer.Hidden, b.answer.HiddenAtLeast = 1, true
		b.unknown("", "how many more paths there are: at least 1; things that lead to one another in a cycle are on them, and there is no count short of finding each")
	default:
		b.answer.HiddenAtLeast = true
		b.unknown("", "whether there are more paths: the search was ended after %d beginnings, most of which led nowhere in cycles", maxSteps)
	}
	if cut != "" {
		b.unknown("", "%s", cut)
	}
	return nil
}

// bits is a set of things.
type bits []uint64

func newBits(n int) bits            { return make(bits, n/64+1) }
func (s bits) has(id graph.ID) bool { return s[id/64]>>(id%64)&1 != 0 }
func (s bits) add(id graph.ID)      { s[id/64] |= 1 << (id % 64) }
