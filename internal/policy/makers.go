package policy

import (
	"fmt"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// makers is who made a thing: the identities of the activities that generated
// it, whom they acted for, and who owns those that are no persons.
type makers struct {
	j       *judge
	who     map[graph.ID]string // how each is a maker, in words
	teams   map[graph.ID]string // teams whose members count as makers
	unknown []string            // what is not known, in words
}

// findMakers looks for the makers of a thing under all its names. The walk is
// over identities and is bounded by their number.
func findMakers(j *judge, ids []graph.ID) makers {
	v := j.v
	m := makers{j: j, who: map[graph.ID]string{}, teams: map[graph.ID]string{}}
	made := false
	for _, id := range ids {
		for r := range v.OutOf(id, prov.Relations(prov.GeneratedBy, prov.GeneratedByStated)) {
			made = true
			m.activity(v, r.To())
		}
	}
	if !made {
		m.registered(v, ids)
	}
	slices.Sort(m.unknown)
	m.unknown = slices.Compact(m.unknown)
	return m
}

func (m *makers) activity(v graph.View, act graph.ID) {
	name, named := v.Ref(act).String(), false
	for r := range v.OutOf(act, prov.Relations(prov.AssociatedWith, prov.ActedOnBehalfOf)) {
		x := v.Relation(r)
		named = true
		m.identity(v, x.To, fmt.Sprintf("%s ran %s (entry %d)", v.Ref(x.To), name, x.Entry))
	}
	if !named {
		m.unknown = append(m.unknown, fmt.Sprintf("no entry says who ran %s", name))
	}
}

// registered takes the owner of what no activity made as its maker, and of a
// deployment who deployed.
func (m *makers) registered(v graph.View, ids []graph.ID) {
	owned := false
	for _, id := range ids {
		for r := range v.OutOf(id, prov.Relations(prov.OwnedBy, prov.AssociatedWith)) {
			switch x := v.Relation(r); x.Type {
			case prov.OwnedBy:
				owned = true
				m.identity(v, x.To, fmt.Sprintf("%s owns it (entry %d)", v.Ref(x.To), x.Entry))
			case prov.AssociatedWith: // of a deployment
				owned = true
				m.identity(v, x.To, fmt.Sprintf("%s did it (entry %d)", v.Ref(x.To), x.Entry))
			}
		}
	}
	if !owned {
		m.unknown = append(m.unknown, "no entry says who made it or who owns it")
	}
}

// identity adds an identity and, if it is no person, who was ever behind it:
// inventories are often made after the fact.
func (m *makers) identity(v graph.View, id graph.ID, how string) {
	type step struct {
		id  graph.ID
		how string
	}
	for todo := []step{{id, how}}; len(todo) > 0; {
		s := todo[0]
		todo = todo[1:]
		if m.who[s.id] != "" || m.teams[s.id] != "" {
			continue
		}
		switch v.Ref(s.id).Kind {
		case prov.Person:
			m.who[s.id] = s.how
			continue
		case prov.Team, prov.Org, prov.Role:
			m.teams[s.id] = s.how
			continue
		}
		m.who[s.id] = s.how
		behind := false
		for _, x := range m.j.behind(s.id) {
			behind = true
			todo = append(todo, step{x.To, fmt.Sprintf("%s answers for %s (entry %d), and %s", v.Ref(x.To), v.Ref(s.id), x.Entry, s.how)})
		}
		if !behind {
			m.unknown = append(m.unknown, fmt.Sprintf("no entry says who owns %s", v.Ref(s.id)))
		}
	}
}

// weigh asks whether a person, under whatever name, is among the makers, or in
// a team that is. member is all that the person belongs to.
func (m *makers) weigh(d *Decision, v graph.View, who graph.ID, member []graph.Relation) {
	for _, id := range sameAs(v, who) {
		if how := m.who[id]; how != "" {
			d.no(OwnWork, "%s", how)
			return
		}
	}
	for _, x := range member {
		if m.teams[x.To] != "" {
			d.no(OwnWork, "%s is a member of %s (entry %d), and %s", d.Approver, v.Ref(x.To), x.Entry, m.teams[x.To])
			return
		}
	}
	if len(m.teams) > 0 && len(member) == 0 {
		d.unsure(AuthorUnknown, "a team made it, and no entry tells the teams of %s", d.Approver)
	}
	for _, u := range m.unknown {
		d.unsure(AuthorUnknown, "%s", u)
	}
}

func (j *judge) behind(id graph.ID) []graph.Relation {
	if j.ctx.Memory != nil {
		return j.ctx.Memory.Behind(id)
	}
	return Behind(j.v, id)
}

// Behind gives who owns an identity, and for whom it acts, each once as
// Memberships does.
func Behind(v graph.View, id graph.ID) []graph.Relation {
	return once(v, id, prov.Relations(prov.OwnedBy, prov.ActedOnBehalfOf))
}
