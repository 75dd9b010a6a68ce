package policy

import (
	"fmt"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Whether an approver was allowed to decide rests on what is known of that
// person, and a statement more can make somebody less free: an administrator,
// a maker, one of two names of a person. See docs/decisions/0016.

// weighApprover asks whether the approver was allowed to decide. What speaks
// against it for certain does so only if it does not hang on one entry without
// which the decision would count: nobody may gain by leaving an entry out.
func (j *judge) weighApprover(d *Decision) {
	rs := j.approver(d)
	if d.Decision != statement.Reject { // a rejection allows nothing
		j.contest(d, rs)
	}
	d.Reasons = append(d.Reasons, rs...)
}

// contest makes reasons uncertain that hang on one entry alone. Such an entry
// is among those of the first reason, whichever it is.
func (j *judge) contest(d *Decision, rs []Reason) {
	first := slices.IndexFunc(rs, func(r Reason) bool { return r.sure })
	if first < 0 {
		return
	}
	for _, e := range rs[first].via {
		if e == d.Entry || len(j.without(e).approver(d)) > 0 {
			continue
		}
		for i := range rs {
			rs[i].sure, rs[i].Contested = false, true
			rs[i].Detail += fmt.Sprintf("; entry %d alone says so, and what others say of it without that would let the decision count: record all of it in one statement", e)
		}
		return
	}
}

// approver gives what speaks against the approver of a decision, or against
// knowing that nothing does.
func (j *judge) approver(d *Decision) (rs []Reason) {
	no := func(class string, via []uint64, format string, args ...any) {
		rs = append(rs, Reason{Class: class, Detail: fmt.Sprintf(format, args...), sure: true, via: via})
	}
	ref, err := prov.ParseRef(d.Approver)
	if err != nil || ref.Kind != prov.Person {
		no(NotAPerson, nil, "%s is not a person", d.Approver)
		return rs
	}
	who := j.v.Lookup(ref)
	names := map[graph.ID][]uint64{}
	if who != graph.None {
		names = kin(j.v, who)
	}
	for _, s := range j.ctx.Stewards {
		if s == d.Approver {
			no(IsAdmin, nil, "%s set up this log and says who may do what; who does that cannot decide", d.Approver)
		} else if r, err := prov.ParseRef(s); err == nil {
			if via, ok := names[j.v.Lookup(r)]; ok {
				no(IsAdmin, via, "%s set up this log, and is stated to be %s", s, d.Approver)
			}
		}
	}
	ties, told := j.memberships(who)
	rs = append(rs, j.roles(d, who, ties, told)...)
	rs = append(rs, j.erased(d, who)...)
	return append(rs, j.makers().weigh(d, j.v, names, ties)...)
}

// roles asks for the role of a decision, and for that of an administrator.
func (j *judge) roles(d *Decision, who graph.ID, ties []tie, told bool) (rs []Reason) {
	held, was, idle := false, "", ""
	for _, m := range ties {
		name := j.v.Ref(m.To).String()
		if m.idle {
			if name == roleRef(d.Role) && m.From == who {
				idle = "; " + j.standing.lacks(m.Entry, "says so")
			}
			continue
		}
		// The role must be held when it was decided and when it was recorded,
		// under that very name: what makes a person less free to decide is
		// taken from every name and team, what makes more free is not.
		in := m.Valid.From <= d.decided && d.recorded < m.Valid.To
		switch {
		case name == adminRole && m.Valid.From <= d.recorded && d.decided < m.Valid.To:
			rs = append(rs, Reason{Class: IsAdmin, Detail: fmt.Sprintf("%s holds role:admin (entry %d)", d.Approver, m.Entry), sure: true, via: m.via})
		case m.From != who:
		case name == roleRef(d.Role) && in:
			held = true
		case name == roleRef(d.Role):
			was = fmt.Sprintf("; it was held from %s until %s (entry %d)", m.Valid.From, m.Valid.To, m.Entry)
		}
	}
	switch {
	case !told:
		unheard := ""
		for _, m := range ties {
			if m.From == who && !j.standing.has(m.Entry) {
				unheard = "; " + j.standing.lacks(m.Entry, "tells some")
			}
		}
		rs = append(rs, Reason{Class: RoleUnknown, Detail: fmt.Sprintf("no entry tells the teams and roles of %s, so nobody knows what else it is allowed to do%s", d.Approver, unheard)})
	case d.Role != "" && !held:
		// Of a rejection the role may not have been told: that it has no effect
		// would allow.
		rs = append(rs, Reason{Class: RoleNotHeld, Detail: fmt.Sprintf("no entry says that %s held %s when deciding%s%s", d.Approver, roleRef(d.Role), was, idle), sure: d.Decision != statement.Reject})
	}
	return rs
}

// tie is a membership in a team or role, with the entries by which it is known
// to be that of the person who is asked about. One that is idle gives a role,
// but was recorded without standing.
type tie struct {
	graph.Relation
	via  []uint64
	idle bool
}

// memberships gives the teams and roles of an identity under all its names,
// with those of its teams, and whether somebody with standing tells any under
// the name itself. The walk is bounded by the number of teams.
func (j *judge) memberships(who graph.ID) (out []tie, told bool) {
	if who == graph.None {
		return nil, false
	}
	type step struct {
		id  graph.ID
		via []uint64
	}
	var todo []step
	names := kin(j.v, who)
	for _, id := range sortedIDs(names) {
		todo = append(todo, step{id, names[id]})
	}
	for seen := map[graph.ID]bool{}; len(todo) > 0; {
		s := todo[0]
		todo = todo[1:]
		if seen[s.id] {
			continue
		}
		seen[s.id] = true
		for r := range j.v.Out(s.id) {
			if r.Type() != prov.MemberOf {
				continue
			}
			x := j.v.Relation(r)
			t := tie{Relation: x, via: append(slices.Clone(s.via), x.Entry)}
			chain, ok := j.standing.by(x.Entry)
			if j.v.Ref(x.To).Kind == prov.Role {
				t.idle, t.via = !ok, append(t.via, chain...)
			}
			out, told = append(out, t), told || ok && x.From == who
			if !t.idle {
				todo = append(todo, step{x.To, t.via})
			}
		}
	}
	return out, told
}
