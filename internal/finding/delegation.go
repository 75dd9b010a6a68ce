package finding

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// What can be wrong with delegations: whether each hop of a chain keeps within
// the one before it.

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// hop is one delegation: a parent let a child act.
type hop struct {
	rel           graph.Relation // DelegatedTo, from parent to child
	parent, child graph.ID
	said          map[string]string
	from, until   prov.Instant // until is Forever when it is not stated
	scope         []string
	credential    string
	actingAs      string // as whom the child acts
}

// given gives the delegations that a child received, in the order of time and
// then of the log.
func (s *scope) given(child graph.ID) []hop {
	return once(s, "given", child, func() []hop {
		var out []hop
		for _, x := range s.in(child, prov.Relations(prov.DelegatedTo)) {
			if x.Valid.From > s.at {
				continue
			}
			h := hop{rel: x, parent: x.From, child: child, said: s.all.Said(child, x.Entry), from: x.Valid.From, until: x.Valid.To}
			h.scope, h.credential, h.actingAs = listed(h.said, "delegation.scope."), h.said["delegation.credential"], h.said["delegation.actingAs"]
			out = append(out, h)
		}
		slices.SortStableFunc(out, func(a, b hop) int {
			if a.from != b.from {
				return int(max(-1, min(1, a.from-b.from)))
			}
			return int(a.rel.Entry) - int(b.rel.Entry)
		})
		return out
	})
}

// above gives the delegation on which another rests: of those that its parent
// had received by then, of the same root where both name one, the latest.
func (s *scope) above(h hop) (hop, bool) {
	ps := s.given(h.parent)
	i := sort.Search(len(ps), func(i int) bool { return ps[i].from > h.from })
	for i--; i >= 0; i-- {
		a, b := ps[i].said["delegation.root"], h.said["delegation.root"]
		if ps[i].rel.Entry != h.rel.Entry && (a == "" || b == "" || a == b) {
			return ps[i], true
		}
	}
	return hop{}, false
}

// held gives the scope that an identity has itself, out of its grants, until
// when, and whether any is recorded.
func (s *scope) held(id graph.ID, at prov.Instant) (scope []string, until prov.Instant, hops []Hop) {
	until = prov.Beginning
	for _, g := range s.out(id, prov.Relations(prov.Granted)) {
		if g.Valid.Holds(at) && g.Role != graph.RoleConditional {
			scope = append(scope, listed(s.all.Said(g.To, g.Entry), "scope.")...)
			until = max(until, g.Valid.To)
			hops = append(hops, s.hop(g))
		}
	}
	return scope, until, hops
}

// maxChain bounds how far up the root of a chain is looked for.
const maxChain = 1000

// delegations asks a question of each delegation that a child received.
func (s *scope) delegations(child graph.ID, ask func(r *result, h hop)) *result {
	hs := s.given(child)
	if len(hs) == 0 {
		return nil
	}
	r := &result{}
	for _, h := range hs {
		r.live = r.live || h.rel.Valid.Holds(s.at)
		r.say(s.hop(h.rel))
		ask(r, h)
		if h.rel.Role == "self-reported" {
			r.grade(s, h)
		}
	}
	return r
}

func (r *result) grade(s *scope, h hop) {
	if r.outcome == Violated || r.outcome == Unknown {
		r.add("self-reported", s.label(h.child)+" itself, and nobody else, says that it was given this")
	}
}

// escalated is L12.
func escalated(s *scope, id graph.ID) *result {
	return s.delegations(id, func(r *result, h hop) {
		var parent []string
		if p, ok := s.above(h); ok {
			parent = p.scope
			r.say(s.hop(p.rel))
		} else {
			var hops []Hop
			parent, _, hops = s.held(h.parent, h.from)
			r.say(hops...)
		}
		switch {
		case len(h.scope) == 0:
			r.unsure("scope-not-known", "no entry tells the scope that "+s.label(h.child)+" was given")
			return
		case len(parent) == 0:
			r.unsure("parent-scope-not-known", "no entry tells the scope that "+s.label(h.parent)+" had")
			return
		}
		for _, x := range h.scope {
			switch within(x, parent) {
			case Violated:
				r.from(h.from, h.rel.Entry)
				r.bad("scope-exceeds", fmt.Sprintf("%s is not in what %s had: %s", x, s.label(h.parent), texts(parent)))
			case Unknown:
				r.unsure("not-comparable", fmt.Sprintf("whether %s is in %s is not known", x, texts(parent)))
			}
		}
		r.clear()
	})
}

// within tells whether a scope is part of one of others: Clear yes, Violated
// no, Unknown where they cannot be compared. Scopes are compared part by part
// at ':' and '/'; "*" as a last part stands for all that follow, elsewhere for
// one part; the letter case of the last part, the verb, does not matter. A text of
// one part is opaque: it is part of itself, of "*", and for all else nobody can
// say.
func within(x string, others []string) Outcome {
	best := Violated
	for _, o := range others {
		switch covers(o, x) {
		case Clear:
			return Clear
		case Unknown:
			best = Unknown
		}
	}
	return best
}

func covers(wide, narrow string) Outcome {
	if wide == narrow || wide == "*" {
		return Clear
	}
	w, n := parts(wide), parts(narrow)
	if len(w) == 1 || len(n) == 1 {
		return Unknown // opaque
	}
	for i, p := range w {
		switch {
		case p == "*" && i == len(w)-1:
			return Clear
		case i >= len(n):
			return Violated // narrow names more than wide does
		case p == "*":
			continue
		case n[i] == "*":
			return Violated
		case strings.ContainsAny(p, "*?") || strings.ContainsAny(n[i], "*?"):
			return Unknown
		case i == len(w)-1 && strings.EqualFold(p, n[i]) && len(w) == len(n):
		case p != n[i]:
			return Violated
		}
	}
	if len(n) > len(w) && strings.Contains(narrow, "/") {
		return Clear // a prefix of a path, at a boundary
	}
	if len(n) > len(w) {
		return Unknown
	}
	return Clear
}

func parts(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == '/' })
}

// outlives is L14.
func outlives(s *scope, id graph.ID) *result {
	return s.delegations(id, func(r *result, h hop) {
		from, until, known := prov.Beginning, prov.Forever, false
		if p, ok := s.above(h); ok {
			from, until, known = p.from, p.until, p.until != prov.Forever
			r.say(s.hop(p.rel))
		} else if _, end, hops := s.held(h.parent, h.from); len(hops) > 0 {
			until, known = end, end != prov.Forever
			r.say(hops...)
		}
		switch {
		case known && h.until != prov.Forever && h.until > until:
			r.from(h.from, h.rel.Entry)
			r.bad("outlives-parent", fmt.Sprintf("it lasts until %s, what %s had only until %s", h.until, s.label(h.parent), until))
		case known && h.until == prov.Forever:
			r.unsure("end-not-known", "no entry says when it ends")
		case !known:
			r.unsure("parent-end-not-known", "no entry says until when "+s.label(h.parent)+" may act")
		}
		if known && (h.from < from || h.from >= until) {
			r.from(h.from, h.rel.Entry)
			r.bad("outside-parent", fmt.Sprintf("it was given at %s, when %s could not act", h.from, s.label(h.parent)))
		}
		seen := map[graph.ID]bool{h.child: true}
		depth := 1
		for at, ok := h, true; ok; depth++ {
			if seen[at.parent] {
				r.from(h.from, h.rel.Entry)
				r.bad("cycle", "the chain leads back to "+s.label(at.parent))
				break
			}
			if seen[at.parent] = true; depth > s.o.Limits.Depth+maxHops {
				break // deep enough to say so
			}
			at, ok = s.above(at)
		}
		if depth-1 > s.o.Limits.Depth {
			r.from(h.from, h.rel.Entry)
			r.bad("too-deep", fmt.Sprintf("it is hop %d of its chain, more than %d", depth-1, s.o.Limits.Depth))
		}
		s.revoked(r, h)
		r.clear()
	})
}

// revoked asks whether the credential of a delegation was usable when it was
// given.
func (s *scope) revoked(r *result, h hop) {
	ref, err := prov.ParseRef(h.credential)
	if h.credential == "" || err != nil {
		return
	}
	id := s.all.Lookup(ref)
	if id == graph.None {
		return
	}
	a := s.attributes(id)
	if a["state"] != "revoked" && a["state"] != "expired" {
		return
	}
	if end, entry := s.stateClaim(id); h.from >= end {
		r.entries = append(r.entries, entry)
		r.from(h.from, h.rel.Entry)
		r.bad("credential-ended", fmt.Sprintf("it was given with %s, which is %s since %s", s.label(id), a["state"], end))
	}
}

// unrooted is L13.
func unrooted(s *scope, id graph.ID) *result {
	return s.delegations(id, func(r *result, h hop) {
		top := h
		seen := map[graph.ID]bool{h.child: true}
		for p, ok := s.above(top); ok && !seen[top.parent]; p, ok = s.above(top) {
			seen[top.parent] = true
			if top = p; len(seen) > maxChain {
				r.unsure("too-deep", fmt.Sprintf("its root is more than %d hops away", maxChain))
				return
			}
			r.say(s.hop(p.rel))
		}
		root := top.parent
		if want := h.said["delegation.root"]; want != "" && want != s.all.Ref(root).String() {
			r.from(h.from, h.rel.Entry)
			r.bad("missing-hop", fmt.Sprintf("it is said to be for %s, and the hops that are recorded lead to %s", want, s.label(root)))
			return
		}
		outcome, class, why := Outcome(""), "", ""
		if s.all.Kind(root) == prov.Person {
			outcome, why = s.person(root)
			if class = map[Outcome]string{Violated: "root-not-active", Unknown: "root-not-listed"}[outcome]; outcome == Violated {
				_, entry := s.stateClaim(root)
				r.entries = append(r.entries, entry)
			}
		} else {
			o := s.owner(root)
			r.say(s.hops(o.hops...)...)
			r.left(o)
			outcome, class, why = o.outcome, o.class, o.why
		}
		switch outcome {
		case Violated:
			r.from(h.from, h.rel.Entry)
			r.bad(class, "the chain begins with "+s.label(root)+": "+why)
		case Unknown:
			r.unsure(class, "the chain begins with "+s.label(root)+": "+why)
		}
		r.clear()
	})
}

// sharedHop asks whether a child acts with the credential of its parent, or as
// its parent: then nobody can tell the two apart where they act. It tells
// whether it received any delegation that says with what or as whom it acts.
func (s *scope) sharedHop(r *result, id graph.ID) bool {
	asked := false
	for _, h := range s.given(id) {
		if h.credential == "" && h.actingAs == "" {
			continue
		}
		asked = true
		r.live = r.live || h.rel.Valid.Holds(s.at)
		r.say(s.hop(h.rel))
		p, ok := s.above(h)
		bad := false
		if ok && h.credential != "" && p.credential == h.credential {
			bad = true
			r.from(h.from, h.rel.Entry)
			r.bad("credential-of-parent", fmt.Sprintf("%s acts with %s, the credential of %s", s.label(h.child), h.credential, s.label(h.parent)))
		}
		if as := h.actingAs; as != "" && (as == s.all.Ref(h.parent).String() || ok && as == p.actingAs || s.runsAs(h.parent, as, h.from)) {
			bad = true
			r.from(h.from, h.rel.Entry)
			r.bad("flattened", fmt.Sprintf("%s acts as %s, as %s does: where they act nobody can tell them apart", s.label(h.child), as, s.label(h.parent)))
		}
		if !bad {
			continue
		}
		if ok {
			r.say(s.hop(p.rel))
		}
		if h.rel.Role == "self-reported" {
			r.grade(s, h)
		}
	}
	return asked
}

// runsAs tells whether somebody runs as an identity at a time.
func (s *scope) runsAs(id graph.ID, as string, at prov.Instant) bool {
	for _, x := range s.out(id, prov.Relations(prov.RunsAs)) {
		if x.Valid.Holds(at) && s.all.Ref(x.To).String() == as {
			return true
		}
	}
	return false
}

// disguised is L18.
func disguised(s *scope, id graph.ID) *result {
	var people, agents, accounts []graph.Relation
	for n := range s.all.OutOf(id, prov.Relations(prov.AssociatedWith)) {
		x := s.all.Relation(n)
		if x.Valid.From > s.at {
			continue
		}
		switch s.all.Kind(x.To) {
		case prov.Person:
			people = append(people, x)
		case prov.Agent, prov.Subagent:
			agents = append(agents, x)
		case prov.ServiceAccount, prov.Workload:
			accounts = append(accounts, x)
		}
	}
	if len(people)+len(agents)+len(accounts) == 0 {
		return nil
	}
	kind, session := s.all.Attribute(id, "activity"), s.all.Attribute(id, "parameter.session")
	if len(agents) == 0 && kind != "invoke" && session == "" {
		return nil
	}
	r := &result{live: true}
	r.say(s.hops(append(append(people, agents...), accounts...)...)...)
	behalf := s.out(id, prov.Relations(prov.ActedOnBehalfOf))
	switch {
	case len(agents) > 0 && len(people) > 0 && len(behalf) == 0:
		r.from(people[0].Valid.From)
		r.bad("agent-as-human", "an agent acted under the name of "+s.label(people[0].To)+", and no entry says for whom")
	case len(accounts) > 0 && session == "human":
		r.from(accounts[0].Valid.From)
		r.bad("human-as-account", "a person used "+s.label(accounts[0].To))
	case len(agents) > 0 && len(behalf) > 0:
		r.say(s.hops(behalf...)...)
		return r.clear()
	case len(agents) > 0:
		r.unsure("behalf-not-known", "no entry says for whom the agent acted")
	case len(people) > 0 && kind == "invoke":
		r.unsure("client-not-known", "no entry says with which client "+s.label(people[0].To)+" acted")
	default:
		return nil
	}
	return r
}

// toolDrift is L19.
func toolDrift(s *scope, id graph.ID) *result {
	d := s.deployment(id)
	if d == nil || !d.live {
		return nil
	}
	declared := map[graph.ID]bool{}  // contents, and names without one
	names := map[graph.ID]graph.ID{} // name or series -> content
	r := s.resultOf(d)
	n := 0
	var runs []graph.Relation
	for _, x := range s.chain(d) {
		switch x.Type {
		case prov.RunsAs:
			runs = append(runs, x)
		case prov.CallsTool:
			n++
			c, ok := s.content(x.To)
			declared[c] = true
			for _, y := range s.same(x.To) {
				names[y] = c
				if v := s.all.SeriesOf(y); v != graph.None {
					names[v] = c
				}
			}
			if !ok {
				r.unsure("no-digest", s.label(x.To)+" is named without its content")
			}
			r.say(s.hop(x))
		}
	}
	calls := 0
	for _, who := range runs {
		for _, c := range s.calls(who.To) {
			x, y := c.ran, c.called
			if x.Valid.From >= d.start && !s.later(x.Valid.From) {
				calls++
				c, _ := s.content(y.To)
				series := s.all.SeriesOf(y.To)
				for _, z := range s.same(y.To) {
					if series == graph.None {
						series = s.all.SeriesOf(z)
					}
				}
				switch {
				case declared[c]:
				case names[series] != graph.None && s.all.IsDigest(names[series]) && s.all.IsDigest(c), names[series] != graph.None && series != graph.None && c != names[series]:
					r.from(y.Valid.From, y.Entry)
					r.bad("tool-changed", fmt.Sprintf("%s called %s, and it was deployed with %s", s.label(x.From), s.label(y.To), s.label(names[series])))
				default:
					r.from(y.Valid.From, y.Entry)
					r.bad("tool-not-declared", fmt.Sprintf("%s called %s, with which it was not deployed", s.label(x.From), s.label(y.To)))
				}
				if !declared[c] {
					r.say(s.hop(x), s.hop(y))
				}
			}
		}
	}
	if n == 0 && calls == 0 {
		return nil
	}
	if calls == 0 {
		return r.unsure("calls-not-known", "no entry tells of a call")
	}
	return r.clear()
}
