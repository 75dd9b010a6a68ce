package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// The verdicts.
const (
	Allow     = "allow"
	Deny      = "deny"
	Undecided = "undecided"
)

// The outcomes of a rule.
const (
	Satisfied     = "satisfied"
	Violated      = "violated"
	Unknown       = "unknown"
	Waived        = "waived" // violated or unknown, and accepted until a time
	NotApplicable = "not applicable"
)

// Outcome is what a rule says of one thing at one moment.
type Outcome struct {
	Rule     string   `json:"rule"`
	Says     string   `json:"says,omitempty"`
	Outcome  string   `json:"outcome"`
	Reasons  []string `json:"reasons,omitempty"` // why it is not satisfied
	Entries  []uint64 `json:"entries"`           // the evidence that was looked at
	Waiver   string   `json:"waiver,omitempty"`
	Mend     string   `json:"mend,omitempty"`
	Controls []string `json:"controls,omitempty"`
}

// Verdict is the roll-up: deny when any rule is violated, else undecided when
// any is unknown, else allow.
type Verdict struct {
	Verdict     string     `json:"verdict"`
	Policy      string     `json:"policy"`
	Subject     string     `json:"subject"`
	Digest      string     `json:"digest,omitempty"`
	Environment string     `json:"environment"`
	At          string     `json:"at"`
	LogSize     uint64     `json:"logSize"`
	Rules       []Outcome  `json:"rules"`
	Decisions   []Decision `json:"decisions"`
}

// Planned is what a release would bring that is not recorded yet.
type Planned struct {
	RunsAs []string // identities
}

// Question is what a policy is asked.
type Question struct {
	Thing   graph.ID
	Context Context
	Planned Planned
}

// Evaluate asks a policy about a thing. The view's valid instant must be a
// moment, not the whole of time.
func Evaluate(p *Policy, v graph.View, q Question) (*Verdict, error) {
	out, _, err := evaluate(p, v, q)
	return out, err
}

func evaluate(p *Policy, v graph.View, q Question) (*Verdict, *facts, error) {
	at := v.AsOf().Valid
	if at == prov.Forever {
		return nil, nil, errors.New("a policy is asked about a moment; give a time")
	}
	if q.Thing == graph.None || int(q.Thing) >= v.Len() {
		return nil, nil, errors.New("a policy is asked about a thing that the log knows")
	}
	f := newFacts(p, v, q)
	out := &Verdict{Policy: p.Source, Environment: q.Context.Environment, At: at.String(), LogSize: v.AsOf().Known, Decisions: f.decisions()}
	out.Subject = Label(v, q.Thing)
	if len(f.judge.content) > 0 {
		out.Digest = v.Ref(f.judge.content[0]).String()
	}
	for i := range p.Rules {
		out.Rules = append(out.Rules, f.rule(&p.Rules[i], out.Subject))
	}
	out.Verdict = rollUp(out.Rules)
	return out, f, nil
}

// rollUp gives the verdict of outcomes. No outcome at all, or none that
// applies, is nothing to rely on.
func rollUp(os []Outcome) string {
	verdict, any := Allow, false
	for _, o := range os {
		switch o.Outcome {
		case Violated:
			return Deny
		case Unknown:
			verdict = Undecided
		}
		any = any || o.Outcome != NotApplicable
	}
	if !any {
		return Undecided
	}
	return verdict
}

// rule evaluates one rule.
func (f *facts) rule(r *Rule, ref string) Outcome {
	o := Outcome{Rule: r.ID, Says: r.Says, Outcome: Satisfied, Controls: r.Controls, Entries: []uint64{}}
	f.looked, f.reasons = map[uint64]bool{}, nil
	holds, err := true, error(nil)
	if r.applies != nil {
		if holds, err = f.eval(r.applies); err == nil && !holds {
			o.Outcome = NotApplicable
			return o
		}
	}
	if err == nil {
		f.reasons = nil
		holds, err = f.eval(r.require)
	}
	if err == nil && holds && f.judge.several() {
		err = errors.New("it is a name that stands for several contents")
		f.reasons = []string{fmt.Sprintf("%s stands for %d contents; ask about one by its digest", ref, len(f.judge.content))}
	}
	switch {
	case err != nil:
		o.Outcome = Unknown
		if len(f.reasons) == 0 {
			f.reasons = []string{err.Error()}
		}
	case !holds:
		o.Outcome = Violated
		if len(f.reasons) == 0 {
			f.reasons = []string{"the condition does not hold: " + r.Require}
		}
	}
	for e := range f.looked {
		o.Entries = append(o.Entries, e)
	}
	slices.Sort(o.Entries)
	if o.Outcome == Satisfied {
		return o
	}
	slices.Sort(f.reasons)
	o.Reasons = slices.Compact(f.reasons)
	o.Mend = strings.NewReplacer("{ref}", quote(ref), "{env}", quote(strings.TrimPrefix(f.q.Context.Environment, "env:"))).Replace(r.Mend)
	f.waive(&o)
	return o
}

// quote makes a name safe to paste into a shell: names are other people's
// text.
func quote(s string) string {
	plain := func(r rune) bool {
		return r < 128 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.:/@+=,%", r))
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// eval gives what an expression gives. What is not known is an error: CEL's
// && and || take it as the third value.
func (f *facts) eval(p cel.Program) (bool, error) {
	act, err := cel.FunctionVars(f.vars(), f.functions())
	if err != nil {
		return false, err
	}
	if f.spent > policyCost {
		return false, errors.New("the policy costs more than is allowed to evaluate")
	}
	val, det, err := p.Eval(act)
	if cost := det.ActualCost(); cost != nil {
		f.spent += *cost
	}
	if err != nil {
		if strings.Contains(err.Error(), "cost limit") {
			f.spent += costLimit
			return false, errors.New("the rule costs more than is allowed to evaluate")
		}
		return false, fmt.Errorf("not known: %s", strings.TrimPrefix(err.Error(), "unknown: "))
	}
	b, ok := val.(types.Bool)
	if !ok {
		return false, fmt.Errorf("the rule gave %s, not true or false", val.Type().TypeName())
	}
	return bool(b), nil
}
