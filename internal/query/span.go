package query

import (
	"slices"

	"github.com/stemma-lineage/stemma/prov"
)

// span is a set of instants: periods that neither meet nor touch, in order.
type span []prov.Period

// meet gives the instants of s that lie in p.
func (s span) meet(p prov.Period) span {
	var out span
	for _, x := range s {
		if x.From, x.To = max(x.From, p.From), min(x.To, p.To); x.From < x.To {
			out = append(out, x)
		}
	}
	return out
}

// meets tells whether s and t have an instant in common.
func (s span) meets(t span) bool {
	return slices.ContainsFunc(t, func(p prov.Period) bool { return len(s.meet(p)) > 0 })
}

// minus gives the instants of s that are not in t.
func (s span) minus(t span) span {
	for _, p := range t {
		var out span
		for _, x := range s {
			for _, y := range []prov.Period{{From: x.From, To: min(x.To, p.From)}, {From: max(x.From, p.To), To: x.To}} {
				if y.From < y.To {
					out = append(out, y)
				}
			}
		}
		s = out
	}
	return s
}

// join gives the instants of both.
func (s span) join(t span) span {
	all := slices.Concat(s, t)
	slices.SortFunc(all, func(a, b prov.Period) int {
		if a.From < b.From {
			return -1
		}
		return 1
	})
	var out span
	for _, x := range all {
		if n := len(out); n > 0 && x.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, x.To)
		} else {
			out = append(out, x)
		}
	}
	return out
}

// cut gives the instants of both.
func (s span) cut(t span) span {
	var out span
	for _, p := range t {
		out = out.join(s.meet(p))
	}
	return out
}
