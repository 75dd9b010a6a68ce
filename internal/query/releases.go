package query

import (
	"cmp"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// release is a deployment in a history.
type release struct {
	id     graph.ID
	at     prov.Instant
	change *Change
}

// detail gives a tie of a deployment. That to a deployment before it names the
// entry which told of that.
func (h *historian) detail(x graph.Relation) Detail {
	d := Detail{Relation: x.Type.String(), Ref: h.b.name(x.To)}
	if x.Type == prov.Restores || x.Type == prov.Supersedes {
		for r := range h.b.v.Out(x.To) { // a name that nothing is told of has an entry too: the one that mentions it
			if r.Type() == prov.DeployedTo {
				first := h.b.v.Entries(x.To)[0]
				d.Entry = &first
			}
		}
	}
	return d
}

// retired adds the rows of what took a deployment down.
func (h *historian) retired(dep graph.ID) {
	v := h.b.v
	there := map[string]bool{}
	for r := range v.Out(dep) {
		if r.Type() == prov.DeployedTo {
			there[v.Ref(r.To()).String()] = true
		}
	}
	for r := range v.Out(dep) {
		if r.Type() != prov.Deployed {
			continue
		}
		for d := range v.In(r.To()) {
			attrs := map[string]string{}
			if d.Type() == prov.Deployed {
				attrs = v.Attributes(d.From())
			}
			if attrs["action"] == "retire" && there[attrs["environment"]] && there[attrs["service"]] {
				h.deployment(d.From())
			}
		}
	}
}

// place gives the environment and service of a deployment.
func (h *historian) place(r release) string {
	var out []string
	for _, d := range r.change.Details {
		if d.Relation == prov.DeployedTo.String() {
			out = append(out, d.Ref)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// releases says of each deployment in what it differs from the one before it.
func (h *historian) releases() {
	slices.SortFunc(h.deps, func(a, b release) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.change.Entry, b.change.Entry), cmp.Compare(a.change.Ref, b.change.Ref))
	})
	before := map[string]map[string]side{}
	for i, r := range h.deps {
		if h.b.opt.stopped(i) {
			h.b.halted = true
			return
		}
		place := h.place(r)
		if place == "" { // taken down
			continue
		}
		parts := h.parts(r.id)
		if was, ok := before[place]; ok {
			r.change.Changed = compare(was, parts, func(*Difference, side, side) {})
		}
		before[place] = parts
	}
}

// parts gives all that a deployment is made of, by kind and series.
func (h *historian) parts(dep graph.ID) map[string]side {
	out := map[string]side{}
	for _, id := range Members(h.b.v, []graph.ID{dep}, false) {
		ref := h.b.name(id)
		r, err := prov.ParseRef(ref)
		if err != nil || areaOf(string(r.Kind)) == "other" {
			continue
		}
		key := string(r.Kind) + "|" + r.Series().String()
		s := out[key]
		s.refs, s.entries = append(s.refs, ref), append(s.entries, h.b.v.Entries(id)...)
		out[key] = s
	}
	for k, s := range out {
		slices.Sort(s.refs)
		slices.Sort(s.entries)
		out[k] = side{slices.Compact(s.refs), slices.Compact(s.entries)}
	}
	return out
}
