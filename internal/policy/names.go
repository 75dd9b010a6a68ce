package policy

import "github.com/stemma-lineage/stemma/internal/graph"

// Label gives the name of a thing for people: of content the first of its
// names.
func Label(v graph.View, id graph.ID) string { return label(v, id) }

// Same gives the content that a thing is, with what is stated to be the same,
// and the names of it.
func Same(v graph.View, id graph.ID) (content, names []graph.ID) { return contentAndNames(v, id) }
