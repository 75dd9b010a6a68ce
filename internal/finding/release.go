package finding

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/policy"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

// What can be wrong with a deployment and the decisions on what it placed.

var deciding = prov.Relations(prov.ApprovedBy)

// standing is what the approvals of a thing come to at a time.
type standing struct {
	counts, maybe bool
	hops          []Hop
	reasons       []Reason // why others do not count
}

func (s *scope) standing(id graph.ID, at prov.Instant, env string) standing {
	if !s.derive(nodeAsked, id).(bool) {
		return standing{}
	}
	return keep(s, memoKey{"standing", id, at, env}, func() standing {
		st := standing{}
		for _, d := range s.decisions(id, at, env) {
			if d.Decision != "approve" {
				continue
			}
			switch d.Effect {
			case policy.Counts:
				st.counts = true
			case policy.Uncertain:
				st.maybe = true
			}
			st.hops = append(st.hops, Hop{from: id, Relation: "ApprovedBy", To: d.Ref, Entry: d.Entry, toKind: prov.Approval})
			for _, r := range d.Reasons {
				st.reasons = append(st.reasons, Reason{r.Class, fmt.Sprintf("%s (entry %d): %s", d.Ref, d.Entry, r.Detail)})
			}
		}
		return st
	})
}

// unapproved is L06.
func unapproved(s *scope, id graph.ID) *result {
	d := s.deployment(id)
	if d == nil {
		return nil
	}
	r := s.resultOf(d)
	for _, p := range d.placed {
		st := s.standing(p.To, d.start, d.env)
		r.from(d.start, p.Entry)
		r.say(s.hop(p))
		r.say(st.hops...)
		switch {
		case st.counts:
			r.clear()
			continue
		case st.maybe:
			r.unsure("approval-uncertain", fmt.Sprintf("whether an approval of %s counted at %s is not known", s.label(p.To), d.start))
		default:
			r.bad("no-approval", fmt.Sprintf("no approval of %s counted in %s at %s", s.label(p.To), d.env, d.start))
		}
		for _, x := range st.reasons {
			r.add(x.Class, x.Detail)
		}
	}
	return r
}

// lapsed is L07.
func lapsed(s *scope, id graph.ID) *result {
	d := s.deployment(id)
	if d == nil || !d.live {
		return nil
	}
	r := s.resultOf(d)
	for _, p := range d.placed {
		then := s.standing(p.To, d.start, d.env)
		if !then.counts {
			if then.maybe {
				r.unsure("approval-uncertain", "whether it was approved when it was deployed is not known")
			}
			continue // L06 says so
		}
		now := s.standing(p.To, s.at, d.env)
		r.say(s.hop(p))
		r.say(now.hops...)
		switch {
		case now.counts:
			r.clear()
			continue
		case now.maybe:
			r.unsure("approval-uncertain", fmt.Sprintf("whether the approval of %s still counts is not known", s.label(p.To)))
		default:
			r.bad("approval-ended", fmt.Sprintf("no approval of %s counts in %s any more", s.label(p.To), d.env))
		}
		for _, x := range now.reasons {
			if r.add(x.Class, x.Detail); x.Class == policy.Revoked {
				r.base = High
			}
		}
		ended := cause{at: prov.Beginning}
		for _, x := range s.out(p.To, deciding) {
			if x.Valid.To <= s.at {
				ended = cause{max(ended.at, x.Valid.To), max(ended.entry, x.Entry, p.Entry)}
			}
		}
		if ended.at != prov.Beginning {
			r.from(ended.at, ended.entry)
		}
	}
	if r.outcome == "" {
		return nil
	}
	return r
}

// drifted is L09.
func drifted(s *scope, id graph.ID) *result {
	d := s.deployment(id)
	if d == nil || !d.live {
		return nil
	}
	r := s.resultOf(d)
	for _, p := range d.placed {
		r.say(s.hop(p))
		r.from(p.Valid.From)
		if _, ok := s.content(p.To); !ok {
			r.unsure("no-digest", "no entry tells the content of "+s.label(p.To)+", so it cannot be compared")
			continue
		}
		var other, named []Reason
		approved := false
		for _, x := range s.decisions(p.To, s.at, d.env) {
			if x.Decision != "approve" {
				continue
			}
			class := ""
			for _, why := range x.Reasons {
				if why.Class == policy.ContentChanged || why.Class == policy.NoDigest {
					class = why.Class
					detail := Reason{why.Class, fmt.Sprintf("%s (entry %d): %s", x.Ref, x.Entry, why.Detail)}
					if class == policy.NoDigest {
						named = append(named, detail)
					} else {
						other = append(other, detail)
					}
					r.say(Hop{from: p.To, Relation: "ApprovedBy", To: x.Ref, Entry: x.Entry, toKind: prov.Approval})
				}
			}
			approved = approved || class == ""
		}
		switch {
		case approved:
			r.clear()
		case len(other)+len(named) > 0:
			for _, why := range append(other, named...) {
				r.bad(why.Class, why.Detail)
			}
		default:
			r.unsure("no-approval", "no entry approves "+s.label(p.To)+", so there is nothing to compare with")
		}
	}
	return r
}

// named tells whether a thing is told about under its content, so that its
// name need not be.
func (s *scope) named(id graph.ID) bool {
	c, ok := s.content(id)
	return ok && c != id
}

// orphaned is L04.
func orphaned(s *scope, id graph.ID) *result {
	d := s.deployment(id)
	if d == nil || !d.live {
		return nil
	}
	r := s.resultOf(d)
	ask := func(x graph.ID) {
		o := s.owner(x)
		switch o.outcome {
		case Violated:
			r.bad(o.class, s.label(x)+": "+o.why)
			r.left(o)
		case Unknown:
			r.unsure(o.class, s.label(x)+": "+o.why)
		default:
			r.clear()
			return
		}
		r.say(s.hops(o.hops...)...)
	}
	chain := s.chain(d)
	for _, x := range chain {
		switch s.kind(x.To) {
		case prov.ServiceAccount, prov.Workload, prov.Agent, prov.Role, prov.Tool:
			r.say(s.hop(x))
			ask(x.To)
		case prov.Credential, prov.Secret:
			r.say(s.hop(x))
			if s.owner(x.To).class == "no-owner" { // its holder answers for it
				if h := s.holder(chain, x.To); h != graph.None {
					ask(h)
					continue
				}
			}
			ask(x.To)
		}
	}
	for _, x := range s.foot(d).outside {
		switch s.kind(x) {
		case prov.Model, prov.Dataset, prov.Agent, prov.Tool:
			ask(x)
		}
	}
	if len(r.hops) == 0 {
		r.say(s.hops(d.placed...)...)
	}
	if r.outcome == "" {
		r.unsure("nothing-owned", "no entry says as whom it runs, and nothing that it rests on needs an owner")
	}
	return r
}

// holder gives an identity that holds a credential, of those in a chain if one
// of them does.
func (s *scope) holder(chain []graph.Relation, id graph.ID) graph.ID {
	for _, x := range chain {
		if x.Type != prov.RunsAs {
			continue
		}
		for r := range s.all.OutOf(x.To, reaches) {
			if r.To() == id {
				return x.To
			}
		}
	}
	return once(s, "holder", id, func() graph.ID { return s.findHolder(id) })
}

func (s *scope) findHolder(id graph.ID) graph.ID {
	for _, x := range s.in(id, reaches) {
		switch s.all.Kind(x.From) {
		case prov.ServiceAccount, prov.Workload, prov.Subagent, prov.Role, prov.Person:
			return x.From
		}
	}
	return graph.None
}

// madeBy tells whether an activity with an identity made a thing: whoever ran
// that answers for it, and L04 asks for what nobody made.
func (s *scope) madeBy(id graph.ID) bool {
	return once(s, "made", id, func() bool {
		for _, x := range s.same(id) {
			if len(s.out(x, prov.Relations(prov.GeneratedBy, prov.GeneratedByStated))) > 0 {
				return true
			}
		}
		return false
	})
}

// unreviewed is L05.
func unreviewed(s *scope, id graph.ID) *result {
	d := s.deployment(id)
	if d == nil || !d.live {
		return nil
	}
	r := s.resultOf(d)
	r.from(d.start)
	own := map[graph.ID]bool{}
	for _, p := range d.placed {
		for _, x := range s.same(p.To) {
			own[x] = true
		}
	}
	for _, x := range s.foot(d).outside {
		if own[x] {
			continue
		}
		then, now := s.standing(x, d.start, d.env), s.standing(x, s.at, d.env)
		if r.outcome == Violated && len(r.reasons) >= maxHops && !then.counts && !now.counts && !then.maybe && !now.maybe {
			r.hidden += 2 // another without a review, and the hop to it
			r.entries = append(r.entries, s.all.First(x))
			continue
		}
		switch {
		case then.counts && now.counts:
			r.clear()
			r.say(now.hops...)
			continue
		case (then.counts || then.maybe) && (now.counts || now.maybe):
			r.unsure("review-uncertain", s.label(x)+": whether its approval counts is not known")
		case then.counts:
			r.bad("review-ended", s.label(x)+": the approval that it had counts no more")
		case now.counts:
			r.bad("reviewed-late", s.label(x)+": it was approved only after it was deployed")
		default:
			r.bad("no-review", s.label(x)+": no approval of it counts")
		}
		r.say(now.hops...)
		r.say(Hop{from: d.id, Relation: "DependsOn", to: x, Entry: s.all.First(x)})
	}
	r.say(s.hops(d.placed...)...)
	if r.outcome == "" { // nothing came from outside
		for _, p := range d.placed {
			if !s.madeBy(p.To) {
				return r.unsure("lineage-unknown", s.label(p.To)+": no entry says what it was made with")
			}
		}
	}
	return r.clear()
}

// unsafeRollback is L21.
func unsafeRollback(s *scope, id graph.ID) *result {
	d := s.deployment(id)
	if d == nil || d.action != "rollback" {
		return nil
	}
	r := s.resultOf(d)
	r.from(d.start)
	was := (*deployment)(nil)
	for _, x := range s.out(id, prov.Relations(prov.Restores)) {
		r.say(s.hop(x))
		was = s.deployment(x.To)
	}
	for _, p := range d.placed {
		r.say(s.hop(p))
		st := s.standing(p.To, d.start, d.env)
		switch {
		case st.counts:
		case st.maybe:
			r.unsure("approval-uncertain", "whether an approval of "+s.label(p.To)+" counted at the rollback is not known")
		default:
			r.bad("no-approval", "no approval of "+s.label(p.To)+" counted at the rollback")
		}
		r.say(st.hops...)
		for _, x := range query.Members(s.all.When(d.start), s.same(p.To), false) {
			for _, n := range s.out(x, prov.Relations(prov.SubjectOf)) {
				if n.Valid.Holds(d.start) && n.Role != "vulnerable" {
					r.bad("under-notice", s.label(x)+" is "+n.Role+": "+s.label(n.To))
					r.say(s.hop(n))
				}
			}
		}
	}
	if was == nil {
		return r.unsure("restored-unknown", "nothing is known of the deployment that it restores")
	}
	for _, t := range []prov.RelationType{prov.Deployed, prov.RunsAs, prov.AuthenticatesWith, prov.ReadsSecret, prov.GovernedBy, prov.CallsTool} {
		before, now := s.targets(was.id, t), s.targets(id, t)
		if !slices.Equal(before, now) {
			r.bad("chain-differs", fmt.Sprintf("%s: it has %s, and what it restores had %s", t, texts(now), texts(before)))
		}
	}
	return r.clear()
}

func (s *scope) targets(id graph.ID, t prov.RelationType) []string {
	var out []string
	for _, x := range s.out(id, prov.Relations(t)) {
		c, _ := s.content(x.To)
		out = append(out, s.label(c))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func texts(xs []string) string {
	if len(xs) == 0 {
		return "none"
	}
	return strings.Join(xs, ", ")
}

// approval reads an approval: what it is of, and what it comes to there.
func (s *scope) approval(id graph.ID, each func(of graph.Relation, d policy.Decision)) bool {
	found := false
	for _, x := range s.in(id, deciding) {
		for _, d := range s.decisions(x.From, s.at, "") {
			if d.Entry == x.Entry && d.Ref == s.all.Ref(id).String() && s.all.Recorded(x.Entry) <= s.at {
				found = true
				each(x, d)
			}
		}
	}
	return found
}

// ownWork is L08.
func ownWork(s *scope, id graph.ID) *result {
	r := &result{}
	s.approval(id, func(x graph.Relation, d policy.Decision) {
		r.about = append(r.about, x.From)
		r.say(s.hop(x))
		for _, y := range s.out(id, prov.Relations(prov.AssociatedWith)) {
			if y.Entry == x.Entry {
				r.say(s.hop(y))
			}
		}
		s.liveness(r, x.From)
		for _, why := range d.Reasons {
			switch why.Class {
			case policy.OwnWork, policy.NotAPerson, policy.IsAdmin, policy.NotTheirs:
				r.bad(why.Class, why.Detail)
			case policy.AuthorUnknown:
				r.unsure(why.Class, why.Detail)
			}
		}
		r.clear()
	})
	if r.outcome == "" {
		return nil
	}
	return r
}

// liveness says in a result where a thing itself is deployed.
func (s *scope) liveness(r *result, id graph.ID) {
	seen := map[graph.ID]bool{}
	for _, x := range s.same(id) {
		for _, y := range s.in(x, prov.Relations(prov.Deployed)) {
			d := s.deployment(y.From)
			if d == nil || !d.live || seen[d.id] {
				continue
			}
			seen[d.id] = true
			r.live = true
			r.blast++
			if r.env == "" || production(d.env) {
				r.env = d.env
			}
		}
	}
}

// backdated is L22.
func backdated(s *scope, id graph.ID) *result {
	r := &result{}
	s.approval(id, func(x graph.Relation, d policy.Decision) {
		r.about = append(r.about, x.From)
		r.say(s.hop(x))
		s.liveness(r, x.From)
		recorded := s.all.Recorded(x.Entry)
		decided, ok := moment(d.DecidedAt)
		if why, doubt := s.all.Doubt(x.Entry); doubt {
			r.bad("check-failed", "the check of its evidence failed: "+why)
		}
		if !ok {
			r.unsure("no-time", "it does not say when it was decided")
			return
		}
		if decided < prov.Beginning+1 || recorded-decided > prov.Instant(s.o.Limits.MaxLate) {
			r.bad("recorded-late", fmt.Sprintf("it claims to be of %s, and was recorded at %s", decided, recorded))
			r.from(recorded, x.Entry)
		}
		if _, known := s.content(x.From); !known {
			r.unsure("no-digest", "it binds the name "+s.label(x.From)+", so what was deployed cannot be compared")
		}
		for _, same := range s.same(x.From) {
			for _, y := range s.in(same, prov.Relations(prov.Deployed)) {
				dep := s.deployment(y.From)
				if dep == nil {
					continue
				}
				if told := s.all.Recorded(y.Entry); recorded > told && decided <= dep.start && decided < recorded {
					r.bad("backdated", fmt.Sprintf("it claims to be of %s, before %s of %s, and was recorded at %s, after it", decided, s.label(dep.id), dep.start, recorded))
					r.say(s.hop(y))
					r.from(recorded, x.Entry)
				}
			}
		}
		r.clear()
	})
	if r.outcome == "" {
		return nil
	}
	return r
}
