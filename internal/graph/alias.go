package graph

import (
	"sort"
	"strings"

	"github.com/stemma-lineage/stemma/prov"
)

// Alias is an alias or stage of a registry that points at a version.
type Alias struct {
	Name  string
	To    ID
	Since prov.Instant
	Stage bool
}

// Aliases gives the aliases and stages of a series in a registry that point at
// one of its versions, or at the series, at the view's valid time; without a
// valid time, those that nothing has ended. They are in the order of their
// names, and those of one name in the order of what they point at.
func (v View) Aliases(registry string, series prov.Ref) []Alias {
	id := v.Lookup(series.Series())
	if id == None {
		return nil
	}
	prefix := AliasRef(registry, series.Series(), "").Name
	var out []Alias
	add := func(to ID) {
		for r := range v.Out(to) {
			if r.typ != prov.NamedBy || v.valid == prov.Forever && r.vt != prov.Forever {
				continue
			}
			name, ok := strings.CutPrefix(v.Ref(r.to).Name, prefix)
			if !ok {
				continue
			}
			out = append(out, Alias{name, to, r.vf, v.Attributes(r.to)[attrStage] != ""})
		}
	}
	add(id)
	for p := v.firstVer(id); p != None; p = v.g.things.at(p).nextVer {
		add(p)
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Name != out[j].Name {
			return out[i].Name < out[j].Name
		}
		return string(v.Key(out[i].To)) < string(v.Key(out[j].To))
	})
	return out
}
