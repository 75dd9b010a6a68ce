package spdx

import (
	"sort"
	"strconv"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

func at(place string, i int) string { return place + "[" + strconv.Itoa(i) + "]" }

func first(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// list gives the texts of an array, or one text that stands alone.
func list(n rawjson.Node) []string {
	if t := n.Text(); t != "" {
		return []string{t}
	}
	var out []string
	for e := range n.All() {
		if t := e.Text(); t != "" {
			out = append(out, t)
		}
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
