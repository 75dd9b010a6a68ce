package query

import (
	"iter"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// chosen yields what a walk found, within the depth, limit and kinds that were
// asked for, with its distance. What is cut is counted in Hidden, a name and
// its content as the one thing that they are shown as.
func (b *builder) chosen(w *walk) iter.Seq2[graph.ID, int] {
	return func(yield func(graph.ID, int) bool) {
		kinds := map[prov.Kind]bool{}
		for _, k := range b.opt.Kinds {
			kinds[k] = true
		}
		cuts := b.opt.Depth > 0 || b.opt.Limit > 0
		shown, left := map[graph.ID]bool{}, map[graph.ID]bool{}
		for d := 0; d+1 < len(w.at); d++ {
			for _, id := range w.order[w.at[d]:w.at[d+1]] {
				if b.halt() {
					return
				}
				if len(kinds) > 0 && d > 0 && !b.wanted(id, kinds) {
					continue
				}
				if cuts {
					one := standsFor(b.v, id)
					far := b.opt.Depth > 0 && d > b.opt.Depth
					if !shown[one] && (far || b.opt.Limit > 0 && len(shown) >= b.opt.Limit) {
						left[one] = true
					}
					if far || left[one] {
						continue
					}
					shown[one] = true
				}
				if !yield(id, d) {
					return
				}
			}
		}
		b.answer.Hidden = len(left)
		b.answer.Truncated = b.answer.Hidden > 0
	}
}

// standsFor is represent without keeping the outcome or saying what is
// doubtful.
func standsFor(v graph.View, id graph.ID) graph.ID {
	if v.IsDigest(id) {
		return id
	}
	only := graph.None
	for r := range v.Out(id) {
		if !r.Named() {
			continue
		}
		if only != graph.None && only != r.To() {
			return id
		}
		only = r.To()
	}
	if only == graph.None {
		return id
	}
	return only
}

// wanted tells whether a thing is of one of the kinds, by any of its names.
func (b *builder) wanted(id graph.ID, kinds map[prov.Kind]bool) bool {
	if kinds[b.v.Ref(id).Kind] {
		return true
	}
	for _, p := range partners(b.v, id) {
		if kinds[b.v.Ref(p).Kind] {
			return true
		}
	}
	return false
}
