package finding

import (
	"fmt"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// What can be wrong with how things were made.

var making = prov.Relations(prov.GeneratedBy, prov.GeneratedByStated, prov.DerivedFrom, prov.PartOf)

// reused is L10.
func reused(s *scope, id graph.ID) *result {
	r := &result{base: High}
	subjects, uses := 0, 0
	var reusers []graph.ID
	for _, n := range s.in(id, prov.Relations(prov.SubjectOf)) {
		if n.Role != "compromised" && n.Role != "withdrawn" && n.Role != "out-of-validation" && n.Role != "leaked" {
			continue
		}
		if s.all.Kind(n.From) == prov.Credential || s.all.Kind(n.From) == prov.Secret {
			continue // L16
		}
		told := s.all.Recorded(n.Entry)
		if told > s.at {
			continue
		}
		subjects++
		r.about = append(r.about, n.From)
		r.say(s.hop(n))
		n, after := s.reuse(r, n, told)
		uses, reusers = uses+n, append(reusers, after...)
	}
	s.rest(r, reusers...)
	switch {
	case subjects == 0:
		return nil
	case r.outcome == "" && uses == 0:
		return r.unsure("no-use-recorded", "no entry tells of a use of it, before or after; stemma prove says what that covers")
	}
	if r.outcome == Violated && r.live {
		r.base = Critical
	}
	return r.clear()
}

// reuse looks for uses of what a notice is about after it went bad, and gives
// how many uses there are, and what used it after.
func (s *scope) reuse(r *result, n graph.Relation, told prov.Instant) (uses int, after []graph.ID) {
	for _, x := range s.same(n.From) {
		for _, u := range s.in(x, prov.Relations(prov.Used, prov.DerivedFrom)) {
			if u.Role == "evidence" || u.Valid.From > s.at {
				continue
			}
			uses++
			t, dated := s.all.Times(u.From)
			if u.Type == prov.Used && dated && t.Start == prov.Beginning && t.End == prov.Beginning && t.First == prov.Beginning && n.Valid.From != prov.Beginning {
				r.unsure("use-not-dated", "no entry says when "+s.label(u.From)+" used it")
				continue
			}
			if u.Valid.From <= n.Valid.From {
				continue
			}
			known, word := "before", "before the notice was recorded"
			if u.Valid.From >= told {
				known, word = "after", "although the notice was recorded"
			}
			if r.known == "" || known == "after" {
				r.known = known
			}
			r.bad("used-after", fmt.Sprintf("%s used %s at %s, %s", s.label(u.From), s.label(x), u.Valid.From, word))
			r.say(s.hop(u))
			r.from(u.Valid.From, u.Entry, n.Entry)
			after = append(after, u.From)
		}
		if series := s.all.SeriesOf(x); series != graph.None && s.kind(x).Versioned() {
			for _, u := range s.in(series, prov.Relations(prov.Used)) {
				if u.Valid.From > n.Valid.From && u.Valid.From <= s.at {
					uses++
					r.unsure("version-unknown", s.label(u.From)+" used "+s.label(series)+", of a version that no entry tells")
				}
			}
		}
	}
	if len(after) > 0 {
		s.downstream(r, after)
	}
	return uses, after
}

// maxListed is how many deployments downstream are listed.
const maxListed = 10

// lineageGap is L11.
func lineageGap(s *scope, id graph.ID) *result {
	if s.all.Kind(id) == prov.Activity {
		return s.inputsGap(id)
	}
	series := s.all.SeriesOf(id)
	if !s.all.IsDigest(id) && series == graph.None || s.named(id) {
		return nil // a series, or a name of content that is asked for itself
	}
	r := &result{}
	ids := s.same(id)
	for _, x := range ids {
		for n := range s.v.OutOf(x, making) {
			r.say(s.hop(s.v.Relation(n)))
		}
	}
	if len(r.hops) > 0 {
		return r.clear()
	}
	for _, x := range ids {
		if s.v.Attribute(x, "origin") != "" {
			return r.clear()
		}
	}
	for _, x := range ids {
		if m := s.v.Attribute(x, "activity"); m != "" {
			return nil
		}
	}
	s.rest(r, ids...)
	first := s.all.First(ids[0])
	for _, x := range ids {
		first = min(first, s.all.First(x))
	}
	r.entries = append(r.entries, first)
	r.from(s.all.Recorded(first), first)
	if s.all.Recorded(first) > s.at {
		return nil
	}
	r.bad("no-origin", "no entry says how it was made or where it came from")
	if r.live && production(r.env) {
		r.base = High
	}
	return r
}

// nearest bounds how many things below a thing are searched for deployments to
// list. Where what rests on it is live is known without a search.
const nearest = 2000

var below = prov.Relations(prov.Used, prov.GeneratedBy, prov.DerivedFrom, prov.SameAs, prov.CallsTool, prov.UsesPrompt, prov.GovernedBy)

// downstream lists in a result the nearest deployments of what was made with
// things, past ones too.
func (s *scope) downstream(r *result, ids []graph.ID) {
	seen := map[graph.ID]bool{}
	todo := slices.Clone(ids)
	var near []graph.Neighbour
	listed := 0
	for at := 0; at < len(todo); at++ {
		x := todo[at]
		if seen[x] {
			continue
		}
		if len(seen) == nearest {
			r.add("more-downstream", "there may be more; stemma blast lists them all")
			return
		}
		seen[x] = true
		for _, y := range s.in(x, prov.Relations(prov.Deployed)) {
			d := s.deployment(y.From)
			if d == nil {
				continue
			}
			if listed++; listed > maxListed {
				r.add("more-downstream", "there are more; stemma blast lists them all")
				return
			}
			word := "was deployed"
			if d.live {
				word = "is deployed"
			}
			r.add("downstream", fmt.Sprintf("%s, made with it, %s in %s", s.label(y.To), word, d.env))
			r.say(s.hop(y))
		}
		near = s.v.AppendIn(near[:0], x, below)
		if s.v.Alike(x) {
			near = s.v.AppendOut(near, x, sameAs)
		}
		for _, n := range near {
			todo = append(todo, n.ID())
		}
	}
}

// inputsGap says whether what an activity used is told.
func (s *scope) inputsGap(id graph.ID) *result {
	switch s.all.Attribute(id, "activity") {
	case "train", "transform", "fine-tune":
	default:
		return nil
	}
	if t, ok := s.all.Times(id); !ok || t.State == "failed" || t.State == "aborted" {
		return nil
	}
	r := &result{}
	for _, x := range s.out(id, prov.Relations(prov.Used)) {
		r.say(s.hop(x))
	}
	entry := s.all.First(id)
	r.entries = append(r.entries, entry)
	if s.all.Recorded(entry) > s.at {
		return nil
	}
	switch {
	case len(r.hops) == 0:
		r.from(s.all.Recorded(entry), entry)
		return r.bad("no-inputs", "no entry says what it used")
	case s.all.Attribute(id, "inputsCompleteness") == "best-effort":
		return r.unsure("inputs-best-effort", "it may have used more than is recorded: its inputs are known by best effort")
	}
	return r.clear()
}
