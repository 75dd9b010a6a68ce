package openlineage

import (
	"fmt"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// shape says what a member of a standard facet must be, as far as a statement
// or a later reader of the evidence relies on it.
type shape struct {
	// path leads to the member: names by '.', "[]" for each element, "*" for
	// each member.
	path     string
	kind     byte // '{', '[', '"', '0'; '"' also takes a number
	required bool // where the object that it belongs to is there
}

// shapes holds, for each place of facets, the standard facets that are
// checked. The OpenLineage schemas ask for more (every facet its _producer and
// _schemaURL), but producers in use leave those out, and nothing here needs
// them. What is not listed may look as it likes.
var shapes = map[string]map[string][]shape{
	"run": {
		"parent": {{"run", '{', false}, {"run.runId", '"', true}, {"job", '{', false},
			{"root", '{', false}, {"root.run", '{', false}, {"root.run.runId", '"', true}},
		"nominalTime":       {{"nominalStartTime", '"', false}, {"nominalEndTime", '"', false}},
		"processing_engine": {{"name", '"', false}, {"version", '"', false}},
	},
	"job": {
		"ownership":          ownerShapes,
		"sourceCodeLocation": {{"url", '"', false}, {"repoUrl", '"', false}, {"version", '"', false}},
		"jobType":            {{"jobType", '"', false}, {"integration", '"', false}, {"processingType", '"', false}},
		"lineage": {{"entries", '[', true}, {"entries[]", '{', true}, {"entries[].inputs", '[', false},
			{"entries[].inputs[]", '{', true}, {"entries[].fields", '{', false}, {"entries[].fields.*", '{', true},
			{"entries[].fields.*.inputs", '[', true}, {"entries[].fields.*.inputs[]", '{', true}},
	},
	"dataset": {
		"ownership": ownerShapes,
		"version":   {{"datasetVersion", '"', true}},
		"symlinks": {{"identifiers", '[', false}, {"identifiers[]", '{', true},
			{"identifiers[].namespace", '"', true}, {"identifiers[].name", '"', true}},
		"lifecycleStateChange": {{"lifecycleStateChange", '"', true}, {"previousIdentifier", '{', false},
			{"previousIdentifier.namespace", '"', true}, {"previousIdentifier.name", '"', true}},
		"columnLineage": {{"fields", '{', false}, {"fields.*", '{', true}, {"fields.*.inputFields", '[', false},
			{"fields.*.inputFields[]", '{', true}, {"fields.*.inputFields[].namespace", '"', true},
			{"fields.*.inputFields[].name", '"', true}, {"fields.*.inputFields[].field", '"', true},
			{"dataset", '[', false}, {"dataset[]", '{', true}, {"dataset[].namespace", '"', true},
			{"dataset[].name", '"', true}, {"dataset[].field", '"', true}},
		"lineage": {{"inputs", '[', false}, {"inputs[]", '{', true}, {"fields", '{', false}, {"fields.*", '{', true},
			{"fields.*.inputs", '[', true}, {"fields.*.inputs[]", '{', true}},
	},
	"input": {
		"dataQualityMetrics": {{"rowCount|columnMetrics", 0, true}, {"rowCount", '0', false}, {"bytes", '0', false}, {"columnMetrics", '{', false}},
		"inputStatistics":    {{"rowCount", '0', false}, {"size", '0', false}, {"fileCount", '0', false}},
	},
	"output": {
		"outputStatistics": {{"rowCount", '0', false}, {"size", '0', false}, {"fileCount", '0', false}},
	},
}

var ownerShapes = []shape{{"owners", '[', false}, {"owners[]", '{', true}, {"owners[].name", '"', true}}

// facetShapes refuses the event when a standard facet is not what it must be.
func (e *event) facetShapes(at string, facets rawjson.Node, place string) {
	if e.refusal != nil || !facets.Given() {
		return
	}
	if facets.Kind() != '{' {
		e.refuse(BadField, place, "is no object; write facets as an object of facets by name")
		return
	}
	for f := range facets.All() {
		list, ok := shapes[at][f.Key()]
		if !ok || !f.Given() || f.Get("_deleted").Kind() == 't' {
			continue
		}
		here := place + "." + f.Key()
		if f.Kind() != '{' {
			e.refuse(BadFacet, here, "is no object; leave the facet out or write it as its schema says")
			return
		}
		for _, s := range list {
			e.checkShape(f, s, strings.Split(s.path, "."), here)
		}
	}
}

func (e *event) checkShape(n rawjson.Node, s shape, path []string, place string) {
	if e.refusal != nil {
		return
	}
	name, each := strings.CutSuffix(path[0], "[]")
	last := len(path) == 1
	if name == "*" {
		for m := range n.All() {
			e.shapeOf(m, s, path, place+"."+m.Key(), last)
		}
		return
	}
	if alternatives := strings.Split(name, "|"); len(alternatives) > 1 {
		for _, a := range alternatives {
			if n.Get(a).Given() {
				return
			}
		}
		e.refuse(BadFacet, place, "has none of %s; give one of them or leave the facet out", strings.Join(alternatives, ", "))
		return
	}
	m := n.Get(name)
	if !each {
		e.shapeOf(m, s, path, place+"."+name, last)
		return
	}
	i := 0
	for x := range m.All() {
		e.shapeOf(x, s, path, fmt.Sprintf("%s.%s[%d]", place, name, i), last)
		i++
	}
}

func (e *event) shapeOf(m rawjson.Node, s shape, path []string, place string, last bool) {
	if !last {
		if m.Kind() == '{' {
			e.checkShape(m, s, path[1:], place)
		}
		return
	}
	k := m.Kind()
	switch {
	case !m.Given():
		if s.required {
			e.refuse(BadFacet, place, "is missing; give it or leave the facet out")
		}
	case k == s.kind || s.kind == '"' && k == '0':
	default:
		e.refuse(BadFacet, place, "must be %s; mend it or leave the facet out", kindName(s.kind))
	}
}

func kindName(k byte) string {
	return map[byte]string{'{': "an object", '[': "an array", '"': "text", '0': "a number"}[k]
}
