package controls

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/policy"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

// Questions about what is deployed and what is behind it.

func askContentPinned(s *scope, c *collector) {
	for _, d := range s.live() {
		var loose []string
		for _, r := range d.placed {
			if !s.v.IsDigest(r.To) {
				loose = append(loose, s.v.Ref(r.To).String())
			}
		}
		if len(loose) > 0 {
			if !c.say(d.id, Unknown, d.entries, "it names %s without content", strings.Join(loose, ", ")) {
				return
			}
		} else if !c.say(d.id, Yes, d.entries, "it places %s by content", policy.Label(s.v, d.placed[0].To)) {
			return
		}
	}
}

func askToolsPinned(s *scope, c *collector) {
	entries := map[graph.ID][]uint64{}
	for _, d := range s.live() {
		for r := range s.v.Out(d.id) {
			if x := s.v.Relation(r); x.Type == prov.CallsTool || x.Type == prov.UsesPrompt {
				entries[x.To] = append(entries[x.To], x.Entry)
			}
		}
	}
	for _, id := range s.ordered(entries) {
		answer, says := Yes, "it is named by content"
		if !s.v.IsDigest(id) {
			answer, says = Unknown, "a deployment names it without content"
		}
		if !c.say(id, answer, entries[id], "%s", says) {
			return
		}
	}
}

// ordered gives the things of a map in the order of their names.
func (s *scope) ordered(m map[graph.ID][]uint64) []graph.ID {
	out := make([]graph.ID, 0, len(m))
	for id := range m {
		out = append(out, id)
	}
	slices.SortFunc(out, func(a, b graph.ID) int { return strings.Compare(string(s.v.Key(a)), string(s.v.Key(b))) })
	return out
}

func askDeploymentsAccounted(s *scope, c *collector) {
	for _, d := range s.deployments {
		answer, says, entries := Unknown, "no entry says who is responsible", d.entries
		for r := range s.v.Out(d.id) {
			x := s.v.Relation(r)
			if x.Type != prov.AssociatedWith {
				continue
			}
			entries = append(entries[:len(entries):len(entries)], x.Entry)
			if who := s.v.Ref(x.To); who.Kind == prov.Person {
				answer, says = Yes, "by "+who.String()
			} else if answer != Yes {
				says = "by " + who.String() + ", which is no person"
			}
		}
		if !c.say(d.id, answer, entries, "%s", says) {
			return
		}
	}
}

func askRollbackFaithful(s *scope, c *collector) {
	for _, d := range s.deployments {
		if d.action != "rollback" {
			continue
		}
		before, ok := deployment{}, false
		if d.restores != graph.None {
			before, ok = s.deployment(d.restores)
		}
		answer, says := Yes, "it places the content of "+policy.Label(s.v, d.restores)
		switch now, then := contents(d), contents(before); {
		case !ok:
			answer, says = Unknown, "no entry says which deployment it restores, or what that placed"
		case !slices.Equal(now, then):
			answer, says = No, fmt.Sprintf("it restores %s, but places other content", policy.Label(s.v, d.restores))
		case slices.ContainsFunc(now, func(id graph.ID) bool { return !s.v.IsDigest(id) }):
			answer, says = Unknown, "both name what they place without content"
		}
		if !c.say(d.id, answer, append(slices.Clone(d.entries), before.entries...), "%s", says) {
			return
		}
	}
}

func contents(d deployment) []graph.ID {
	var out []graph.ID
	for _, r := range d.placed {
		out = append(out, r.To)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// made are the kinds of which one asks where they came from.
var made = map[prov.Kind]bool{prov.Dataset: true, prov.FeatureSet: true, prov.Model: true, prov.Prompt: true, prov.Code: true,
	prov.Image: true, prov.Agent: true, prov.File: true}

// things gives what is behind the live deployments of the kinds, once each:
// content under the kind of its name, and a name only where its content is not
// among them.
func (s *scope) things(kinds map[prov.Kind]bool) []graph.ID {
	m := map[graph.ID][]uint64{}
	for _, id := range s.behind {
		if s.v.IsDigest(id) {
			if r, err := prov.ParseRef(policy.Label(s.v, id)); err == nil && (kinds[r.Kind] || r.IsDigest()) {
				m[id] = nil
			}
			continue
		}
		if !kinds[s.v.Ref(id).Kind] {
			continue
		}
		content, _ := policy.Same(s.v, id)
		if !slices.ContainsFunc(content, func(x graph.ID) bool { return s.within[x] }) {
			m[id] = nil
		}
	}
	return s.ordered(m)
}

// origin says how a thing came to be; ok is false when no entry does.
func (s *scope) origin(id graph.ID) (says string, entries []uint64, ok bool) {
	content, names := policy.Same(s.v, id)
	says = "no entry says how it was made or where it came from"
	for _, x := range append(content, names...) {
		for r := range s.v.Out(x) {
			switch rel := s.v.Relation(r); rel.Type {
			case prov.GeneratedBy, prov.GeneratedByStated, prov.DerivedFrom, prov.PartOf:
				return rel.Type.String() + " " + policy.Label(s.v, rel.To), []uint64{rel.Entry}, true
			}
		}
		switch o := s.v.Attributes(x)["origin"]; o {
		case "":
		case "unknown":
			says, entries = "its origin is recorded as unknown", s.v.Entries(x)
		default:
			return "from " + o, s.v.Entries(x), true
		}
	}
	return says, entries, false
}

func askLineageKnown(s *scope, c *collector) {
	for _, id := range s.things(made) {
		says, entries, ok := s.origin(id)
		answer := Unknown
		if ok {
			answer = Yes
		}
		if !c.say(id, answer, entries, "%s", says) {
			return
		}
	}
}

func askDataDescribed(s *scope, c *collector) {
	for _, id := range s.things(map[prov.Kind]bool{prov.Dataset: true}) {
		if r, err := prov.ParseRef(policy.Label(s.v, id)); err != nil || r.Kind != prov.Dataset {
			continue
		}
		says, entries, ok := s.origin(id)
		answer := Yes
		switch {
		case !ok:
			answer = Unknown
		case !s.v.IsDigest(id):
			answer, says = Unknown, "it is known by name only, without content"
		}
		if !c.say(id, answer, entries, "%s", says) {
			return
		}
	}
}

// activities gives the activities behind what is live.
func (s *scope) activities() []graph.ID {
	m := map[graph.ID][]uint64{}
	for _, id := range s.behind {
		if s.v.Ref(id).Kind == prov.Activity {
			m[id] = nil
		}
	}
	return s.ordered(m)
}

func askActivitiesNamed(s *scope, c *collector) {
	for _, id := range s.activities() {
		answer, says, entries := Unknown, "no entry says who ran it", s.v.Entries(id)
		for r := range s.v.Out(id) {
			if x := s.v.Relation(r); x.Type == prov.AssociatedWith || x.Type == prov.ActedOnBehalfOf {
				answer, says, entries = Yes, "by "+s.v.Ref(x.To).String(), []uint64{x.Entry}
			}
		}
		if !c.say(id, answer, entries, "%s", says) {
			return
		}
	}
}

func askInputsObserved(s *scope, c *collector) {
	for _, id := range s.activities() {
		how := s.v.Attributes(id)["inputsCompleteness"]
		answer, says := Unknown, "its inputs are "+how
		switch how {
		case "observed", "enforced":
			answer = Yes
		case "":
			says = "no entry says how its inputs are known"
		}
		if !c.say(id, answer, s.v.Entries(id), "%s", says) {
			return
		}
	}
}

func askNoticesContained(s *scope, c *collector) {
	var from []graph.ID
	for _, d := range s.live() {
		from = append(from, d.id)
	}
	reached, gap := map[graph.ID]bool{}, ""
	for _, id := range query.Members(s.v, from, false) {
		reached[id] = true
	}
	for _, id := range s.things(made) {
		if _, _, ok := s.origin(id); !ok && reached[id] && gap == "" {
			gap = policy.Label(s.v, id)
		}
	}
	for _, n := range s.kinds[prov.Notice] {
		live, others, entries := []string{}, 0, []uint64{}
		for r := range s.v.In(n) {
			x := s.v.Relation(r)
			if x.Type != prov.SubjectOf || !s.covers(x.From) && s.focus != nil {
				continue
			}
			others++
			entries = append(entries, x.Entry)
			if content, names := policy.Same(s.v, x.From); slices.ContainsFunc(append(content, names...), func(id graph.ID) bool { return reached[id] }) {
				live = append(live, policy.Label(s.v, x.From))
			}
		}
		answer, says := Yes, "nothing that is live was made with what it speaks of, as far as is recorded"
		switch slices.Sort(live); {
		case others == 0:
			continue
		case len(live) > 0:
			answer, says = No, "what is live was made with "+strings.Join(slices.Compact(live), ", ")
		case gap != "":
			answer, says = Unknown, "no entry says where "+gap+" came from, which is behind what is live"
		}
		if !c.say(n, answer, entries, "%s", says) {
			return
		}
	}
}
