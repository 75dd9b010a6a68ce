package otel

import (
	"fmt"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// joins are the agents that the unit shows to be the same, each with what
// shows it. Two names are never joined for being alike alone.
type joins struct {
	list []sameAs
	have map[[2]prov.Ref]bool
}

type sameAs struct {
	a, b prov.Ref // series
	at   statement.Time
	why  string
}

func (j *joins) add(a, b prov.Ref, at statement.Time, why string) {
	if a == b || j.have[[2]prov.Ref{a, b}] || j.have[[2]prov.Ref{b, a}] {
		return
	}
	j.have[[2]prov.Ref{a, b}] = true
	j.list = append(j.list, sameAs{a, b, at, why})
}

func (j *joins) same(a, b prov.Ref) bool {
	return a == b || j.have[[2]prov.Ref{a, b}] || j.have[[2]prov.Ref{b, a}]
}

func (j *joins) drafts() []importer.Draft {
	var out []importer.Draft
	for _, s := range j.list {
		out = append(out, importer.Draft{Subjects: []statement.Subject{statement.NewSubject(s.a, nil)},
			Predicate: &statement.Entity{State: "same-as", At: s.at, SameAs: []statement.Resource{statement.NewResource(s.b, nil)},
				Attributes: map[string]string{"same-as " + s.b.String(): s.why}}})
	}
	return out
}

// joins finds the agents that are the same:
//
//  1. one span gives both as gen_ai.agent.name and gen_ai.agent.id, and no
//     other span of the unit gives that name with another id;
//  2. an invocation of the one was handled by another process, and there it is
//     an invocation of the other, spelled the same but for case and the marks
//     between words.
func (u *unit) joins() *joins {
	j := &joins{have: map[[2]prov.Ref]bool{}}
	ids := map[string]map[string]bool{} // of a name
	each := func(f func(s *span, name, id string)) {
		for i := range u.spans {
			if u.kinds[i] == "" {
				continue
			}
			if name, _, id := u.spans[i].agent(u.kinds[i]); name != "" && id != "" && name != id {
				f(&u.spans[i], name, id)
			}
		}
	}
	each(func(_ *span, name, id string) {
		if ids[name] == nil {
			ids[name] = map[string]bool{}
		}
		ids[name][id] = true
	})
	each(func(s *span, name, id string) {
		if len(ids[name]) > 1 {
			u.note("the agent name %q is given with %d different ids; they are not joined", name, len(ids[name]))
			return
		}
		a, ok1 := u.ref(s, prov.Agent, name, "")
		b, ok2 := u.ref(s, prov.Agent, id, "")
		if ok1 && ok2 {
			j.add(a, b, s.start, fmt.Sprintf("span %s of trace %s gives both, as gen_ai.agent.name and gen_ai.agent.id", s.id, s.trace))
		}
	})
	u.handed(j)
	return j
}

// maxPairs bounds the pairs of spans that handed looks at.
const maxPairs = 1 << 20

// handed joins by the second rule of joins.
func (u *unit) handed(j *joins) {
	type place struct{ trace, process string }
	inside := map[place][]int{}
	for i := range u.spans {
		if s := &u.spans[i]; u.kinds[i] == invoke && workload(s.process) != "" {
			at := place{s.trace, s.process.key}
			inside[at] = append(inside[at], i)
		}
	}
	pairs := 0
	for c := range u.spans {
		handler := &u.spans[c]
		if handler.kind != "SERVER" && handler.kind != "CONSUMER" || handler.parent == "" {
			continue
		}
		p, ok := u.index[link{handler.trace, handler.parent}]
		if ok && u.kinds[p] == "" { // a client span stands between
			p = u.up[p].span
		}
		if !ok || p < 0 || u.kinds[p] != invoke || u.spans[p].process.key == handler.process.key || workload(u.spans[p].process) == "" {
			continue
		}
		for _, i := range inside[place{handler.trace, handler.process.key}] {
			if pairs++; pairs > maxPairs {
				u.note("more than %d pairs of invocations; same agents were not looked for in all of them", maxPairs)
				return
			}
			u.handedTo(j, p, c, i)
		}
	}
}

// handedTo looks at invocation p, the span c of another process that handled
// it, and invocation i in that process.
func (u *unit) handedTo(j *joins, p, c, i int) {
	outer, handler, inner := &u.spans[p], &u.spans[c], &u.spans[i]
	above := u.agentAbove(i)
	within := !inner.start.Before(handler.start.Time) && (handler.end.IsZero() || !inner.start.After(handler.end.Time))
	if above >= 0 && above != p || inner.start.IsZero() || handler.start.IsZero() || !within {
		return
	}
	x, _, xid := outer.agent(invoke)
	y, _, _ := inner.agent(invoke)
	if x == y || y == "" || !alike(x, y) && !alike(lastSegment(xid), y) {
		return
	}
	a, ok1 := u.ref(inner, prov.Agent, y, "")
	b, ok2 := u.ref(outer, prov.Agent, x, "")
	if !ok1 || !ok2 {
		return
	}
	why := fmt.Sprintf("trace %s: span %s invokes the one; its child %s is how workload %s handled that, and span %s there, in the time of %s, invokes the other; the names differ in case or marks only",
		outer.trace, outer.id, handler.id, workload(handler.process), inner.id, handler.id)
	j.add(a, b, inner.start, why)
}

func lastSegment(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

// alike tells whether two names are spelled the same but for case and the
// marks '-', '_', '.' and space. It is no reason to join them by itself.
func alike(a, b string) bool { return a != "" && folded(a) == folded(b) }

func folded(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("-_. ", r) {
			return -1
		}
		return r
	}, strings.ToLower(s))
}

// descriptions says what spans tell of agents themselves, once for each.
func (u *unit) descriptions() []importer.Draft {
	var out []importer.Draft
	have := map[prov.Ref]bool{}
	for i := range u.spans {
		s := &u.spans[i]
		if u.kinds[i] != invoke && u.kinds[i] != create {
			continue
		}
		r, ok := u.agentOf(i)
		text := s.attrs["gen_ai.agent.description"]
		if !ok || have[r] || text == "" && s.attrs["gen_ai.agent.id"] == "" {
			continue
		}
		have[r] = true
		e := &statement.Entity{State: "described", At: s.start}
		if text != "" {
			e.Description = rawjson.Clip(text, maxValue)
		}
		if id := s.attrs["gen_ai.agent.id"]; id != "" {
			e.Attributes = map[string]string{"gen_ai.agent.id": rawjson.Clip(id, maxValue)}
		}
		out = append(out, importer.Draft{Subjects: []statement.Subject{statement.NewSubject(r, nil)}, Predicate: e})
	}
	return out
}

// delegations gives a hop for each invocation of an agent by another one, and
// for each handover. What a trace says of it is self-reported: neither scope
// nor expiry are known from it.
func (u *unit) delegations(j *joins) []importer.Draft {
	var out []importer.Draft
	add := func(i int, parent, child prov.Ref) {
		s := &u.spans[i]
		if parent.Series() == child.Series() || j.same(parent.Series(), child.Series()) {
			return
		}
		if alike(parent.Name, child.Name) {
			u.note("the agents %s and %s are spelled alike and nothing shows that they are the same; they are neither joined nor taken for two", parent, child)
			return
		}
		d := &statement.Delegation{Parent: parent.String(), Child: child.String(), IssuedAt: s.start, Grade: "self-reported",
			Chain: u.chain(i, parent, child)}
		if as := s.attrs["gen_ai.agent.identity.id"]; as != "" && s.attrs.first("gen_ai.transfer.target.name", "gen_ai.handoff.to_agent") == "" {
			if r, ok := u.ref(s, prov.Workload, as, ""); ok {
				d.ActingAs = r.String()
			}
		}
		if user, ok := u.userOf(i); ok {
			d.OnBehalfOf = user.String()
		}
		out = append(out, importer.Draft{Subjects: []statement.Subject{statement.NewSubject(child, nil)}, Predicate: d})
	}
	for i := range u.spans {
		if u.kinds[i] == "" {
			continue
		}
		s := &u.spans[i]
		agent, ok := u.agentOf(i)
		if !ok {
			continue
		}
		if target, given := u.ref(s, prov.Agent, s.attrs.first("gen_ai.transfer.target.name", "gen_ai.handoff.to_agent"), ""); given {
			if from, said := u.ref(s, prov.Agent, s.attrs["gen_ai.handoff.from_agent"], ""); said {
				agent = from
			}
			add(i, agent, target) // here the agent of the span is the source
			continue
		}
		if u.kinds[i] == invoke {
			if parent, known := u.caller(i); known {
				add(i, parent, agent)
			}
		}
	}
	return out
}

// maxChain is how many agents of a chain are written out, from its end.
const maxChain = 32

// chain gives the agents from the first one known to child.
func (u *unit) chain(i int, parent, child prov.Ref) []string {
	out := []string{child.String(), parent.String()}
	last := parent
	p := i
	for range 4 * maxChain { // parents may form a circle
		if p = u.agentAbove(p); p < 0 || len(out) >= maxChain {
			break
		}
		if r, ok := u.agentOf(p); ok && r.Series() != last.Series() && r.Series() != child.Series() {
			out, last = append(out, r.String()), r
		} else if !ok || r.Series() == child.Series() {
			break
		}
	}
	for a, b := 0, len(out)-1; a < b; a, b = a+1, b-1 {
		out[a], out[b] = out[b], out[a]
	}
	return out
}
