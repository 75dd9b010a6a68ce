package query

import (
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// Lineage is the default set of relations that closures walk.
var Lineage = lineage

// Closure gives the sorted keys of all that is reached from exactly one thing:
// what it was made from, or with made down what was made from it.
func Closure(v graph.View, id graph.ID, made bool) []string {
	w, _ := closure(v, []graph.ID{id}, direction(made), lineage, 0)
	var out []string
	for _, x := range w.order {
		out = append(out, string(v.Key(x)))
	}
	slices.Sort(out)
	return out
}

// ClosureSize is Closure along other relations.
func ClosureSize(v graph.View, id graph.ID, made bool, mask prov.RelationSet) int {
	w, _ := closure(v, []graph.ID{id}, direction(made), mask, 0)
	return len(w.order)
}
