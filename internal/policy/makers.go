package policy

import (
	"fmt"
	"maps"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// makers is who made a thing: the identities of the activities that generated
// it, whom they acted for, and who owns those that are no persons.
type makers struct {
	who     map[graph.ID]trace // how each is a maker
	teams   map[graph.ID]trace // teams whose members count as makers
	unknown []string           // what is not known, in words
}

// trace says how something is known: in words, and by which entries.
type trace struct {
	how string
	via []uint64
}

func (t trace) then(entry uint64, how string) trace {
	return trace{how, append(slices.Clone(t.via), entry)}
}

// findMakers looks for the makers of a thing under all its names, which come
// with the entries that say that they are its. The walk is over identities and
// is bounded by their number.
func findMakers(v graph.View, ids map[graph.ID][]uint64) makers {
	m := makers{who: map[graph.ID]trace{}, teams: map[graph.ID]trace{}}
	made := false
	for _, id := range sortedIDs(ids) {
		for r := range v.Out(id) {
			x := v.Relation(r)
			if x.Type != prov.GeneratedBy && x.Type != prov.GeneratedByStated {
				continue
			}
			made = true
			m.activity(v, x.To, trace{via: ids[id]}.then(x.Entry, ""))
		}
	}
	if !made {
		m.registered(v, ids)
	}
	slices.Sort(m.unknown)
	m.unknown = slices.Compact(m.unknown)
	return m
}

func (m *makers) activity(v graph.View, act graph.ID, t trace) {
	name, named := v.Ref(act).String(), false
	for r := range v.Out(act) {
		x := v.Relation(r)
		if x.Type == prov.AssociatedWith || x.Type == prov.ActedOnBehalfOf {
			named = true
			m.identity(v, x.To, t.then(x.Entry, fmt.Sprintf("%s ran %s (entry %d)", v.Ref(x.To), name, x.Entry)))
		}
	}
	if !named {
		m.unknown = append(m.unknown, fmt.Sprintf("no entry says who ran %s", name))
	}
}

// registered takes the owner of what no activity made as its maker, and of a
// deployment who deployed.
func (m *makers) registered(v graph.View, ids map[graph.ID][]uint64) {
	owned := false
	for _, id := range sortedIDs(ids) {
		for r := range v.Out(id) {
			switch x := v.Relation(r); x.Type {
			case prov.OwnedBy:
				owned = true
				m.identity(v, x.To, trace{via: ids[id]}.then(x.Entry, fmt.Sprintf("%s owns it (entry %d)", v.Ref(x.To), x.Entry)))
			case prov.AssociatedWith: // of a deployment
				owned = true
				m.identity(v, x.To, trace{via: ids[id]}.then(x.Entry, fmt.Sprintf("%s did it (entry %d)", v.Ref(x.To), x.Entry)))
			}
		}
	}
	if !owned {
		m.unknown = append(m.unknown, "no entry says who made it or who owns it")
	}
}

// identity adds an identity and, if it is no person, who was ever behind it:
// inventories are often made after the fact.
func (m *makers) identity(v graph.View, id graph.ID, t trace) {
	type step struct {
		id graph.ID
		trace
	}
	for todo := []step{{id, t}}; len(todo) > 0; {
		s := todo[0]
		todo = todo[1:]
		if m.who[s.id].how != "" || m.teams[s.id].how != "" {
			continue
		}
		switch v.Ref(s.id).Kind {
		case prov.Person:
			if r := v.Ref(s.id); statement.IsPseudonym(r) {
				m.unknown = append(m.unknown, fmt.Sprintf("a name was erased: %s", s.how))
			}
			m.who[s.id] = s.trace
			continue
		case prov.Team, prov.Org, prov.Role:
			m.teams[s.id] = s.trace
			continue
		}
		m.who[s.id] = s.trace
		behind, told := false, map[graph.ID]bool{}
		for r := range v.Out(s.id) {
			if r.Type() == prov.OwnedBy || r.Type() == prov.ActedOnBehalfOf {
				behind = true
				if told[r.To()] { // inventories say it again and again
					continue
				}
				told[r.To()] = true
				x := v.Relation(r)
				todo = append(todo, step{x.To, s.then(x.Entry, fmt.Sprintf("%s answers for %s (entry %d), and %s", v.Ref(x.To), v.Ref(s.id), x.Entry, s.how))})
			}
		}
		if !behind {
			m.unknown = append(m.unknown, fmt.Sprintf("no entry says who owns %s", v.Ref(s.id)))
		}
	}
}

// weigh asks whether a person, under whatever name, is among the makers, or in
// a team that is. names come with the entries that say that they are those of
// the person, and ties are all that the person belongs to.
func (m *makers) weigh(d *Decision, v graph.View, names map[graph.ID][]uint64, ties []tie) (rs []Reason) {
	for _, id := range sortedIDs(names) {
		if t := m.who[id]; t.how != "" {
			return []Reason{{Class: OwnWork, Detail: t.how, sure: true, via: slices.Concat(names[id], t.via)}}
		}
	}
	for _, x := range ties {
		if t := m.teams[x.To]; t.how != "" {
			return []Reason{{Class: OwnWork, Detail: fmt.Sprintf("%s is a member of %s (entry %d), and %s", d.Approver, v.Ref(x.To), x.Entry, t.how),
				sure: true, via: slices.Concat(x.via, t.via)}}
		}
	}
	if len(m.teams) > 0 && len(ties) == 0 {
		rs = append(rs, Reason{Class: AuthorUnknown, Detail: fmt.Sprintf("a team made it, and no entry tells the teams of %s", d.Approver)})
	}
	for _, u := range m.unknown {
		rs = append(rs, Reason{Class: AuthorUnknown, Detail: u})
	}
	return rs
}

func sortedIDs(ids map[graph.ID][]uint64) []graph.ID { return slices.Sorted(maps.Keys(ids)) }
