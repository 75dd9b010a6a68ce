package query

import (
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// Lineage is the default set of relations that closures walk.
var Lineage = lineage

// Closure gives the sorted keys of all that is reached from exactly one thing:
// what it was made from, or with made down what was made from it.
func Closure(v graph.View, id graph.ID, made bool) []string {
	w := closure(v, []graph.ID{id}, direction(made), lineage)
	var out []string
	for _, x := range w.order {
		out = append(out, string(v.Key(x)))
	}
	slices.Sort(out)
	return out
}

// ClosureSize is Closure along other relations.
func ClosureSize(v graph.View, id graph.ID, made bool, mask prov.RelationSet) int {
	w := closure(v, []graph.ID{id}, direction(made), mask)
	return len(w.order)
}

// PathKeys gives all paths upwards between two things along lineage, each as
// the keys of its things with dots between, how many shortest ones there are,
// and whether the search came to its end.
func PathKeys(v graph.View, from, to graph.ID, steps int) (paths []string, s Shortest, total uint64, whole bool) {
	all, ends := between(v, []graph.ID{from}, []graph.ID{to}, lineage)
	if len(all) == 0 {
		return nil, s, 0, true
	}
	b := newBuilder(v, Question{}, Options{})
	w, err := b.lineageMaze(all, from, ends, lineage).find(&b.opt)
	if err != nil || w.toEnd[0] < 0 {
		panic("what lies on a path has no path")
	}
	last := int32(0)
	whole, _ = w.each(steps, func(t *trail) bool {
		if t.length < last {
			panic("a shorter path comes later")
		}
		last = t.length
		var keys []string
		for _, n := range t.places() {
			keys = append(keys, string(v.Key(w.places[n].id)))
		}
		paths = append(paths, strings.Join(keys, " > "))
		return true
	})
	total, _ = w.total()
	return paths, w.shortest(), total, whole
}
