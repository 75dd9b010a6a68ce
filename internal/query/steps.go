package query

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/access"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// Step is what is known of one relation on the path of a Reach question.
type Step struct {
	Relation string `json:"relation"`
	From     string `json:"from"`
	To       string `json:"to"`
	Entry    uint64 `json:"entry"`
	// Since is from when on it stood unbroken until the moment of the path, as
	// far as entries tell, and Until when it ended or ends.
	Since nullTime `json:"since"`
	Until nullTime `json:"until"`
	// Grade is how the source knows: observed, declared, self-reported, issuer,
	// resource-side, or implied by a name; empty: not stated.
	Grade string `json:"grade,omitempty"`
	// Scope, Except, Pattern, Condition and Via are of a grant: the actions,
	// those left out, the resource as the grant names it, and the binding or
	// policy.
	Scope     []string `json:"scope,omitempty"`
	Except    []string `json:"except,omitempty"`
	Pattern   string   `json:"pattern,omitempty"`
	Condition string   `json:"condition,omitempty"`
	Via       string   `json:"via,omitempty"`
	// Part: it is a right to a part of what was asked.
	Part bool `json:"part,omitempty"`
	// Refused are refusals that take something of the grant.
	Refused []Refusal `json:"refused,omitempty"`
	// Doubt says why it is not known whether the relation gives a right.
	Doubt string `json:"doubt,omitempty"`
	// Approvals are the decisions on what the relation ties that hold then, and
	// Policies the policy bundles that govern it.
	Approvals []Decided `json:"approvals,omitempty"`
	Policies  []string  `json:"policies,omitempty"`
	// Cut is what would end the relation.
	Cut string `json:"cut"`
	// Told is set by whoever holds the log.
	Told *Told `json:"told,omitempty"`
}

// Decided is an approval with its approver.
type Decided struct {
	Approval string `json:"approval"`
	By       string `json:"by,omitempty"`
	Entry    uint64 `json:"entry"`
}

// Refusal is a statement of a policy that refuses.
type Refusal struct {
	Holder    string   `json:"holder"`
	Scope     []string `json:"scope"`
	Resource  string   `json:"resource"`
	Except    []string `json:"except,omitempty"`
	Condition string   `json:"condition,omitempty"`
	Via       string   `json:"via,omitempty"`
	Entry     uint64   `json:"entry"`
}

// Told is who told an entry, and what its statement says of its source.
type Told struct {
	RecordedBy string   `json:"recordedBy"`
	RecordedAt string   `json:"recordedAt"`
	Source     string   `json:"source,omitempty"` // of an inventory
	Mode       string   `json:"mode,omitempty"`   // of an inventory: event or snapshot
	At         string   `json:"at,omitempty"`     // when it was true, where that is stated
	SignedBy   []string `json:"signedBy"`         // the ids of the keys of the envelope's signatures
	// Evidence is the outcome of checking the signatures of the foreign
	// document: verified, unverified, unsigned, failed; empty: there is none.
	Evidence string `json:"evidence,omitempty"`
}

// Coverage is an entry that lists identities of a Reach question.
type Coverage struct {
	Entry      uint64 `json:"entry"`
	Identities int    `json:"identities"`
	Told       *Told  `json:"told,omitempty"`
}

// NoPathError says that no path is recorded, or that it is not known whether
// there is one. It is an ErrNotFound.
type NoPathError struct {
	Answer *Answer // with Outcome none or unknown, without a path
}

// Unwrap gives ErrNotFound.
func (*NoPathError) Unwrap() error { return ErrNotFound }

func (e *NoPathError) Error() string {
	a := e.Answer
	from, to := a.Question.Refs[0], a.Question.Refs[1]
	if a.Question.Action != "" {
		to += " for " + a.Question.Action
	}
	if a.Outcome == access.Unknown.String() {
		var why []string
		for i, u := range a.Unknown {
			if i == 3 {
				why = append(why, fmt.Sprintf("and %d reasons more", len(a.Unknown)-i))
				break
			}
			why = append(why, strings.TrimPrefix(u.Ref+": "+u.Reason, ": "))
		}
		return fmt.Sprintf("%v: no path from %s to %s is recorded as of then, and whether there is one is not known: %s", ErrNotFound, from, to, strings.Join(why, "; "))
	}
	s := fmt.Sprintf("%v: no path from %s to %s is recorded as of then (not that it cannot reach it: only rights that an entry tells of are known)", ErrNotFound, from, to)
	for i, x := range a.Refused {
		if i == 3 {
			s += fmt.Sprintf("; and %d refusals more", len(a.Refused)-i)
			break
		}
		s += fmt.Sprintf("; %s is refused %s on %s (entry %d)", x.Holder, strings.Join(x.Scope, ", "), x.Resource, x.Entry)
	}
	return s + fmt.Sprintf("; stemma reach %s lists what is", from)
}

// noPath gives the answer that no path is recorded, with what was refused,
// what is not known and what the record covers.
func (r *reacher) noPath(forth *reached, from, to string) error {
	b := r.b
	outcome := "none"
	gaps := r.gaps(forth)
	if why := erasedPaths(b.v); why != "" {
		gaps = true
		b.unknown(from, "%s", strings.TrimPrefix(why, "; "))
	}
	if gaps {
		outcome = access.Unknown.String()
	}
	b.answer.Outcome = outcome
	seen := map[graph.ID]bool{}
	for _, id := range forth.order {
		g := r.grants[r.real(id)]
		if g == nil || id < firstCopy {
			continue
		}
		for _, d := range r.judge(g.Compiled, r.copies[id-firstCopy].by, r.ask).less {
			if !seen[d.id] {
				seen[d.id] = true
				b.answer.Refused = append(b.answer.Refused, r.refusal(d))
			}
		}
	}
	b.problems()
	a, err := b.end()
	if err != nil {
		return err
	}
	return &NoPathError{a}
}

func (r *reacher) refusal(d *grant) Refusal {
	return Refusal{Holder: r.b.name(d.holder), Scope: d.Actions, Resource: r.v.Ref(d.on.To).String(), Except: slices.Concat(d.NotActions, d.NotResources),
		Condition: d.condition, Via: d.via, Entry: d.on.Entry}
}

// unlisted says why it is not known what an identity grants; "": that is known.
func (r *reacher) unlisted(x graph.ID) string {
	for _, y := range r.b.group(x) {
		if why, ok := strings.CutPrefix(r.v.Attributes(y)["grants"], "unknown"); ok {
			return "what it grants is not recorded" + why
		}
	}
	if r.v.Ref(x).Kind != prov.Role || len(r.all.Attributes(x)) > 0 {
		return ""
	}
	for range r.all.Out(x) {
		return ""
	}
	return "what it grants is not recorded: no entry lists it"
}

// gaps tells of roles on the way whose grants are not recorded, and of the
// inventories that the rest is known from.
func (r *reacher) gaps(forth *reached) bool {
	found := false
	lists := map[uint64]int{}
	for _, id := range forth.order {
		x := r.real(id)
		if x == graph.None || r.v.Ref(x).Class() != prov.ClassIdentity {
			continue
		}
		if why := r.unlisted(x); why != "" {
			found = true
			r.b.unknown(r.b.name(x), "%s", why)
		}
		es := r.v.Entries(x)
		lists[es[len(es)-1]]++
	}
	for _, e := range slices.Sorted(maps.Keys(lists)) {
		r.b.answer.Covers = append(r.b.answer.Covers, Coverage{Entry: e, Identities: lists[e]})
	}
	return found
}

// step tells of a hop, as of a moment.
func (r *reacher) step(h hop, it RelationItem, at prov.Instant) Step {
	s := Step{Relation: it.Type, From: it.From, To: it.To, Entry: it.Entry, Doubt: h.doubt, Part: h.part}
	p := r.standing(h.rel, at)
	s.Since, s.Until = nullTime(p.From.String()), nullTime(p.To.String())
	s.Grade = r.grade(h.rel)
	if h.rel.Type == prov.Granted {
		h.grant = r.grantOf(h.rel.To)
	}
	if g := h.grant; g != nil {
		s.Scope, s.Condition, s.Via = g.scope, g.condition, g.via
		s.Except = slices.Concat(g.NotActions, g.NotResources)
		s.Pattern = r.v.Ref(g.on.To).String()
		for _, d := range h.less {
			s.Refused = append(s.Refused, r.refusal(d))
		}
	}
	for _, x := range []graph.ID{h.rel.From, h.rel.To} {
		r.decisions(&s, x, at)
	}
	s.Cut = r.cut(h)
	return s
}

// standing gives the period around a moment in which a relation was told
// without a break: snapshots tell it again and again.
func (r *reacher) standing(rel graph.Relation, at prov.Instant) prov.Period {
	var all span
	want := ""
	if rel.Type == prov.Granted {
		want = r.signature(rel.To)
	}
	switch {
	case rel.Rule == "implied" || rel.Rule == "by-account":
		return prov.Period{From: rel.Valid.From, To: rel.Valid.To}
	case rel.Type == prov.GrantsOn: // with the grant
		for x := range r.all.In(rel.From) {
			if x.Type() == prov.Granted {
				return r.standing(r.all.Relation(x), at)
			}
		}
	}
	for x := range r.all.Out(rel.From) {
		if x.Type() != rel.Type || want == "" && x.To() != rel.To || want != "" && r.signature(x.To()) != want {
			continue
		}
		all = all.join(span{r.all.Relation(x).Valid})
	}
	for _, p := range all {
		if p.Holds(at) {
			return p
		}
	}
	return rel.Valid
}

// signature is what a grant says, whichever entry says it.
func (r *reacher) signature(id graph.ID) string {
	g := r.grantOf(id)
	return fmt.Sprintf("%q %q %q %q %q %q", g.scope, g.NotActions, g.Resource, g.NotResources, g.condition, g.via)
}

// grade tells how the source of a relation knows.
func (r *reacher) grade(rel graph.Relation) string {
	switch rel.Role {
	case "issuer", "resource-side", "self-reported":
		return rel.Role
	}
	if rel.Rule == "implied" {
		return "implied"
	}
	who := rel.From
	if rel.Type == prov.GrantsOn {
		for x := range r.all.In(rel.From) {
			if x.Type() == prov.Granted {
				who = x.From()
			}
		}
	}
	if g := r.all.Said(who, rel.Entry)["grade"]; g != "" {
		return g
	}
	return r.all.Said(rel.To, rel.Entry)["grade"]
}

// decisions adds the approvals of a thing that hold at a moment, and the policy
// bundles that govern it.
func (r *reacher) decisions(s *Step, x graph.ID, at prov.Instant) {
	for _, y := range r.b.group(x) {
		for rel := range r.all.Out(y) {
			z := r.all.Relation(rel)
			if !z.Valid.Holds(at) {
				continue
			}
			switch z.Type {
			case prov.GovernedBy:
				if n := r.b.name(z.To); !slices.Contains(s.Policies, n) {
					s.Policies = append(s.Policies, n)
				}
			case prov.ApprovedBy:
				d := Decided{Approval: r.b.name(z.To), Entry: z.Entry}
				for by := range r.all.Out(z.To) {
					if by.Type() == prov.AssociatedWith {
						d.By = r.b.name(by.To())
					}
				}
				if !slices.Contains(s.Approvals, d) {
					s.Approvals = append(s.Approvals, d)
				}
			}
		}
	}
	slices.SortFunc(s.Approvals, func(a, b Decided) int { return int(a.Entry) - int(b.Entry) })
	slices.Sort(s.Policies)
}
