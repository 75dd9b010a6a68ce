package query

import (
	"fmt"
	"sort"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// partners gives the names of content, or the content of a name, that one
// statement gave together.
func partners(v graph.View, id graph.ID) []graph.ID {
	var out []graph.ID
	if !v.Alike(id) {
		return nil
	}
	named := prov.Relations(prov.SameAs)
	if v.IsDigest(id) {
		for r := range v.InOf(id, named) {
			if r.Named() {
				out = append(out, r.From())
			}
		}
	} else {
		for r := range v.OutOf(id, named) {
			if r.Named() {
				out = append(out, r.To())
			}
		}
	}
	sort.Slice(out, func(i, j int) bool { return string(v.Key(out[i])) < string(v.Key(out[j])) })
	return compact(out)
}

func compact(ids []graph.ID) []graph.ID {
	out := ids[:0]
	for i, id := range ids {
		if i == 0 || id != ids[i-1] {
			out = append(out, id)
		}
	}
	return out
}

// represent gives the thing that stands for id in answers: content stands
// for its names as long as each of them names nothing else.
func (b *builder) represent(id graph.ID) graph.ID {
	if r, ok := b.rep[id]; ok {
		return r
	}
	r := id
	if !b.v.IsDigest(id) {
		if d := partners(b.v, id); len(d) == 1 {
			r = d[0]
		} else if len(d) > 1 {
			b.answer.Unknown = append(b.answer.Unknown, Unknown{b.v.Ref(id).String(),
				fmt.Sprintf("the name stands for %d different contents (%s); they are kept apart, and lineage is followed through all of them", len(d), refs(b.v, d))})
		}
	}
	b.rep[id] = r
	return r
}

func refs(v graph.View, ids []graph.ID) string {
	var out []string
	for _, id := range ids {
		out = append(out, v.Ref(id).String())
	}
	return strings.Join(out, ", ")
}

// labels gives the names of which content is the only one.
func (b *builder) labels(id graph.ID) []graph.ID {
	var out []graph.ID
	if b.v.IsDigest(id) {
		for _, n := range partners(b.v, id) {
			if b.represent(n) == id {
				out = append(out, n)
			}
		}
	}
	return out
}

// name gives the text by which a thing goes in the answer.
func (b *builder) name(id graph.ID) string {
	if id >= firstCopy {
		return b.virtual(id)
	}
	id = b.represent(id)
	if s, ok := b.names[id]; ok {
		return s
	}
	s := b.v.Ref(id).String()
	if ls := b.labels(id); len(ls) > 0 {
		s = best(b.v, ls).String()
	}
	b.names[id] = s
	return s
}

// best picks the name to show: one that a person gave before one that is made
// of the digest, then the first in order.
func best(v graph.View, ids []graph.ID) prov.Ref {
	out := v.Ref(ids[0])
	for _, id := range ids[1:] {
		r := v.Ref(id)
		if byDigest(out) && !byDigest(r) {
			out = r
		}
	}
	return out
}

// Name gives the name of a thing for people: of content the best of its names.
func Name(v graph.View, id graph.ID) prov.Ref {
	if v.IsDigest(id) {
		if names := partners(v, id); len(names) > 0 {
			return best(v, names)
		}
	}
	return v.Ref(id)
}

func byDigest(r prov.Ref) bool {
	d, err := prov.ParseRef(r.Version)
	return err == nil && d.IsDigest()
}
