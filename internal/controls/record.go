package controls

import (
	"fmt"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/policy"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Questions about decisions, policies and the log itself.

// approvals calls f with every approval in scope that was decided by then, in
// the order of the log.
func (s *scope) approvals(f func(about graph.ID, d policy.Decision) bool) {
	if s.approved == nil {
		s.approved = s.findApprovals()
	}
	for _, x := range s.approved {
		if !f(x.about, x.d) {
			return
		}
	}
}

// decided is an approval and what it is of.
type decided struct {
	about graph.ID
	d     policy.Decision
}

func (s *scope) findApprovals() []decided {
	things := map[graph.ID][]uint64{}
	for _, a := range s.kinds[prov.Approval] {
		for r := range s.v.Always().In(a) {
			if r.Type() == prov.ApprovedBy && s.covers(r.From()) {
				things[r.From()] = nil
			}
		}
	}
	all := []decided{}
	seen := map[string]bool{}
	for _, id := range s.ordered(things) {
		for _, d := range policy.Decisions(s.v, id, policy.Context{Log: s.o.Log.Origin, Environment: s.env, Stewards: s.o.Log.Stewards}) {
			key := fmt.Sprint(d.Entry, d.Ref)
			if t, err := prov.ParseTime(d.DecidedAt); d.Decision != statement.Approve || seen[key] || err == nil && prov.At(t) > s.at {
				continue
			}
			seen[key] = true
			all = append(all, decided{id, d})
		}
	}
	slices.SortStableFunc(all, func(a, b decided) int { return int(a.d.Entry) - int(b.d.Entry) })
	return all
}

func (s *scope) decisionItem(about graph.ID, d policy.Decision, a Answer, says string) Item {
	return Item{Ref: d.Ref, Answer: a, Says: "of " + policy.Label(s.v, about) + " by " + d.Approver + ": " + says, Entries: []uint64{d.Entry}, Command: s.show(d.Ref)}
}

// Why an approval is none of an independent person, and why that is not known.
var (
	dependent = []string{policy.OwnWork, policy.NotAPerson, policy.IsAdmin, policy.RoleNotHeld, policy.NotTheirs, policy.TextDiffers}
	obscure   = []string{policy.AuthorUnknown, policy.RoleUnknown, policy.LogUnknown}
)

func askApprovalsIndependent(s *scope, c *collector) {
	s.approvals(func(about graph.ID, d policy.Decision) bool {
		answer, says := Yes, "in their role, of work that is not their own"
		for _, r := range d.Reasons {
			if slices.Contains(dependent, r.Class) && answer != No {
				answer, says = No, r.Detail
			} else if slices.Contains(obscure, r.Class) && answer == Yes {
				answer, says = Unknown, r.Detail
			}
		}
		return c.put(s.decisionItem(about, d, answer, says))
	})
}

func askApprovalsTimely(s *scope, c *collector) {
	s.approvals(func(about graph.ID, d policy.Decision) bool {
		decided, err := prov.ParseTime(d.DecidedAt)
		recorded := s.v.Recorded(d.Entry)
		answer, says := Yes, "recorded at "+recorded.String()
		switch {
		case err != nil:
			answer, says = Unknown, "it does not say when it was made"
		case recorded-prov.At(decided) > day:
			answer, says = No, "it claims to be of "+d.DecidedAt+", but was recorded at "+recorded.String()
		}
		return c.put(s.decisionItem(about, d, answer, says))
	})
}

func askPolicyInForce(s *scope, c *collector) {
	var envs []string
	for _, d := range s.live() {
		envs = append(envs, d.env)
	}
	if s.env != "" {
		envs = append(envs, s.env)
	}
	slices.Sort(envs)
	for _, env := range slices.Compact(envs) {
		it := Item{Ref: "env:" + env, Answer: Unknown, Says: "no entry puts a policy in force for it", Command: s.show("env:" + env)}
		ps, _, err := policy.InForce(s.v, policy.Context{Log: s.o.Log.Origin, Environment: env, Stewards: s.o.Log.Stewards})
		switch {
		case err != nil:
			it.Says = "a policy that is in force cannot be read: " + err.Error()
		case len(ps) > 0:
			it.Answer, it.Says = Yes, ps[0].Source+" is in force"
			if r, err := prov.ParseRef(ps[0].Source); err == nil {
				if id := s.v.Lookup(r); id != graph.None {
					it.Entries, it.Command = s.v.Entries(id), s.show(ps[0].Source)
				}
			}
		}
		if !c.put(it) {
			return
		}
	}
}

func askLogPublished(s *scope, c *collector) {
	if s.v.AsOf().Known == 0 {
		return
	}
	it := Item{Ref: s.o.Log.Origin, Answer: Unknown, Says: "no signed checkpoint is known", Command: "stemma log checkpoint"}
	if s.o.Log.Published {
		it.Answer, it.Says = Yes, fmt.Sprintf("a signed checkpoint covers %d entries", s.v.AsOf().Known)
	}
	c.put(it)
}

func askLogWitnessed(s *scope, c *collector) {
	if s.v.AsOf().Known == 0 {
		return
	}
	it := Item{Ref: s.o.Log.Origin, Answer: Unknown, Says: "no cosignature of a witness is known", Command: "stemma log publish"}
	if n := s.o.Log.Witnesses; n > 0 {
		it.Answer, it.Says = Yes, fmt.Sprintf("%d witnesses cosigned it", n)
	}
	c.put(it)
}

func askEntriesUsable(s *scope, c *collector) {
	known := s.v.AsOf().Known
	bad := map[uint64]bool{}
	for _, p := range s.v.Problems() {
		if bad[p.Entry] {
			continue
		}
		bad[p.Entry] = true
		if !c.put(Item{Ref: entryName(p.Entry), Answer: Unknown, Says: "it could not be used: " + p.Reason, Entries: []uint64{p.Entry}, Command: entryCommand(p.Entry)}) {
			return
		}
	}
	for e := range known {
		if why, ok := s.v.Doubt(e); ok && !bad[e] {
			bad[e] = true
			if !c.put(Item{Ref: entryName(e), Answer: No, Says: "the signature of its evidence does not hold: " + why, Entries: []uint64{e}, Command: entryCommand(e)}) {
				return
			}
		}
	}
	c.coverage.add(Yes, int(known)-len(bad))
}

func entryName(e uint64) string    { return fmt.Sprintf("entry %d", e) }
func entryCommand(e uint64) string { return fmt.Sprintf("stemma log entry %d", e) }
