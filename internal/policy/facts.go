package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// environment declares what rules can ask. Data is in variables; questions
// that need the graph are functions, and each of those tells true, false, or
// by an error that it cannot know.
//
//	thing       ref, kind, name, version, digest, and what is known of owner, licence, origin, sensitivity, state
//	env         the environment, such as "prod"
//	ancestors   all that the thing was made with, each like thing, with notices: the kinds in effect
//	decisions   every decision on the thing, with its effect and reasons
//	param       the policy's parameters
//
// There is no clock among them: time comes in only through the functions, so
// that the moments at which an outcome can change are known.
func environment() (*cel.Env, error) {
	str, num, list := cel.StringType, cel.IntType, cel.ListType(cel.StringType)
	fn := func(name string, args ...*cel.Type) cel.EnvOption {
		return cel.Function(name, cel.Overload(name+"_"+fmt.Sprint(len(args)), args, cel.BoolType, cel.LateFunctionBinding()))
	}
	obj := cel.MapType(cel.StringType, cel.DynType)
	return cel.NewEnv(cel.Variable("thing", obj), cel.Variable("env", str), cel.Variable("ancestors", cel.ListType(obj)),
		cel.Variable("decisions", cel.ListType(obj)), cel.Variable("param", obj),
		fn("approved", str, num), fn("approvedWith", str, num, str), fn("approvedApart", list), fn("rejected", str), fn("noticed", list),
		fn("originsKnown"), fn("licensed", list), fn("evaluated", str), fn("owned"), fn("credentialsInDate"), fn("policyPinned"),
		fn("ancestorsApproved", str, list), fn("thirdPartiesReviewed", str), fn("unchanged"))
}

// environmentOnce makes it once: it does not change.
var environmentOnce = sync.OnceValues(environment)

// facts is what a policy can ask of one thing at one moment.
type facts struct {
	p         *Policy
	v         graph.View // at the moment
	at        prov.Instant
	q         Question
	judge     *judge
	decisions []Decision
	members   []graph.ID // the thing and all that it was made with
	listed    bool

	looked     map[uint64]bool // entries that the current rule looked at
	reasons    []string        // why the current rule does not hold
	thresholds []prov.Instant  // moments at which something grows too old
	shared     *facts          // of the same thing for another policy; nil: none
	memo       map[string]any
	asked      map[string]answered
	spent      uint64 // of the cost that all rules together may have
}

func newFacts(p *Policy, v graph.View, q Question, shared *facts) *facts {
	f := &facts{p: p, v: v, at: v.AsOf().Valid, q: q, memo: map[string]any{}, asked: map[string]answered{}, looked: map[uint64]bool{}}
	if f.shared = shared; shared != nil {
		f.judge, f.decisions = shared.judge, slices.Clone(shared.decisions)
		return f
	}
	f.judge = newJudge(v, q.Thing, q.Context)
	f.decisions = f.judge.decisions()
	return f
}

// ids gives the thing's content and the names of it.
func (f *facts) ids() []graph.ID { return append(slices.Clone(f.judge.content), f.judge.names...) }

// closure gives the thing and all that it was made with.
func (f *facts) closure() []graph.ID {
	if f.shared != nil {
		return f.shared.closure()
	}
	if !f.listed {
		f.members, f.listed = query.Members(f.v, append(f.ids(), f.judge.same...), false), true
	}
	return f.members
}

func (f *facts) vars() map[string]any {
	return map[string]any{
		"thing": func() any { return f.memoize("thing", func() any { return f.describe(f.q.Thing) }) },
		"env":   strings.TrimPrefix(f.q.Context.Environment, "env:"),
		"param": f.param(),
		"ancestors": func() any {
			return f.memoize("ancestors", func() any {
				out := []any{}
				for _, id := range f.closure() {
					if !slices.Contains(f.ids(), id) && f.v.Ref(id).Class() == prov.ClassEntity {
						out = append(out, f.describe(id))
					}
				}
				return out
			})
		},
		"decisions": func() any { return f.memoize("decisions", func() any { return f.describeDecisions() }) },
	}
}

func (f *facts) memoize(key string, make func() any) any {
	if x, ok := f.memo[key]; ok {
		return x
	}
	x := make()
	f.memo[key] = x
	return x
}

func (f *facts) param() map[string]any {
	if f.p.Parameters == nil {
		return map[string]any{}
	}
	return f.p.Parameters
}

// describe gives a thing to expressions. What is not known is absent, so that
// an expression that needs it is unknown.
func (f *facts) describe(id graph.ID) map[string]any {
	content, names := contentAndNames(f.v.Always(), id)
	r := f.v.Ref(id)
	if r.IsDigest() && len(names) > 0 {
		r = f.v.Ref(names[0])
	}
	out := map[string]any{"ref": r.String(), "kind": string(r.Kind), "name": r.Name, "notices": []string{}}
	if r.Version != "" {
		out["version"] = r.Version
	}
	if len(content) > 0 {
		out["digest"] = f.v.Ref(content[0]).String()
	}
	notices, disagree := []string{}, map[string]bool{}
	for _, x := range append(content, names...) {
		attrs := f.v.Attributes(x)
		for _, k := range []string{"licence", "origin", "sensitivity", "state"} {
			if attrs[k] != "" && attrs[k] != "unknown" {
				disagree[k] = disagree[k] || out[k] != nil && out[k] != attrs[k]
				out[k] = attrs[k]
			}
		}
		for o := range f.v.Out(x) {
			switch rel := f.v.Relation(o); rel.Type {
			case prov.OwnedBy:
				if owner, was := f.v.Ref(rel.To).String(), out["owner"]; was == nil || owner < was.(string) {
					out["owner"] = owner
				}
			case prov.SubjectOf:
				notices = append(notices, rel.Role)
			}
		}
	}
	for k, yes := range disagree {
		if yes {
			delete(out, k) // its names disagree: it is not known
		}
	}
	slices.Sort(notices)
	out["notices"] = slices.Compact(notices)
	return out
}

func (f *facts) describeDecisions() []any {
	out := []any{}
	for _, d := range f.decisions {
		classes := []string{}
		for _, r := range d.Reasons {
			classes = append(classes, r.Class)
		}
		out = append(out, map[string]any{"ref": d.Ref, "decision": d.Decision, "review": d.Review, "role": d.Role, "approver": d.Approver,
			"assurance": d.Assurance, "effect": string(d.Effect), "reasons": classes, "entry": int64(d.Entry)})
	}
	return out
}

// functions binds the questions of expressions. An argument of another type,
// which a policy's parameters can bring, makes the question unknown: an empty
// list or name in its place could pass.
func (f *facts) functions() map[string]cel.LateBoundFunction {
	out := map[string]cel.LateBoundFunction{}
	bind := func(name string, ask func(a arguments) ref.Val) {
		out[name] = func(_ string, args ...ref.Val) ref.Val {
			a, err := readArguments(name, args)
			if err != nil {
				return f.unknown("%v", err)
			}
			return f.once(a.key, func() ref.Val { return ask(a) })
		}
	}
	bind("approved", func(a arguments) ref.Val { return f.approved(a.text[0], a.num, "") })
	bind("approvedWith", func(a arguments) ref.Val { return f.approved(a.text[0], a.num, a.text[1]) })
	bind("approvedApart", func(a arguments) ref.Val { return f.approvedApart(a.list) })
	bind("rejected", func(a arguments) ref.Val { return f.rejected(a.text[0]) })
	bind("noticed", func(a arguments) ref.Val { return f.noticed(a.list) })
	bind("originsKnown", func(arguments) ref.Val { return f.originsKnown() })
	bind("licensed", func(a arguments) ref.Val { return f.licensed(a.list) })
	bind("evaluated", func(a arguments) ref.Val { return f.evaluated(a.text[0]) })
	bind("owned", func(arguments) ref.Val { return f.owned() })
	bind("ancestorsApproved", func(a arguments) ref.Val { return f.ancestorsApproved(a.text[0], a.list, false) })
	bind("thirdPartiesReviewed", func(a arguments) ref.Val { return f.ancestorsApproved(a.text[0], nil, true) })
	bind("credentialsInDate", func(arguments) ref.Val { return f.credentialsInDate() })
	bind("policyPinned", func(arguments) ref.Val { return f.policyPinned() })
	bind("unchanged", func(arguments) ref.Val { return f.unchanged() })
	return out
}

// arguments are those of one call: texts in their order, a number, a list.
type arguments struct {
	text []string
	num  int
	list []string
	key  string // of the function with them
}

func readArguments(name string, args []ref.Val) (arguments, error) {
	a := arguments{key: name}
	for _, v := range args {
		switch x := v.Value().(type) {
		case string:
			if x == "" {
				return a, fmt.Errorf("%s: a name is empty", name)
			}
			a.text = append(a.text, x)
			a.key += fmt.Sprintf(" %q", x)
		case int64:
			if x < 1 || x > 1000 {
				return a, fmt.Errorf("%s: the number %d is not from 1 to 1000", name, x)
			}
			a.num = int(x)
			a.key += fmt.Sprintf(" %d", x)
		default:
			n, err := v.ConvertToNative(stringsType)
			list, ok := n.([]string)
			if err != nil || !ok || len(list) == 0 || slices.Contains(list, "") {
				return a, fmt.Errorf("%s takes a name, a number or a list of names, none of them empty; it was given a %s", name, v.Type().TypeName())
			}
			a.list = list
			a.key += fmt.Sprintf(" %q", list)
		}
	}
	return a, a.fit(name)
}

// shapes tells how many texts, numbers and lists each function takes.
var shapes = map[string][3]int{"approved": {1, 1, 0}, "approvedWith": {2, 1, 0}, "approvedApart": {0, 0, 1}, "rejected": {1, 0, 0}, "noticed": {0, 0, 1},
	"licensed": {0, 0, 1}, "evaluated": {1, 0, 0}, "ancestorsApproved": {1, 0, 1}, "thirdPartiesReviewed": {1, 0, 0}}

func (a arguments) fit(name string) error {
	has := [3]int{len(a.text), 0, 0}
	if a.num > 0 {
		has[1] = 1
	}
	if a.list != nil {
		has[2] = 1
	}
	if has != shapes[name] {
		return fmt.Errorf("%s was given arguments of other types than it takes", name)
	}
	return nil
}

// maxQuestions is how many different questions one evaluation may ask of the
// graph. CEL counts a call as cheap; these are not.
const maxQuestions = 256

// answered is what a question gave, with what it looked at.
type answered struct {
	val     ref.Val
	looked  map[uint64]bool
	reasons []string
}

// once asks each question once, however often rules ask it.
func (f *facts) once(key string, ask func() ref.Val) ref.Val {
	got, ok := f.asked[key]
	if !ok {
		if len(f.asked) >= maxQuestions {
			return f.unknown("the policy asks more than %d different questions", maxQuestions)
		}
		looked, reasons := f.looked, f.reasons
		f.looked, f.reasons = map[uint64]bool{}, nil
		val := ask()
		got = answered{val, f.looked, f.reasons}
		f.asked[key] = got
		f.looked, f.reasons = looked, reasons
	}
	maps.Copy(f.looked, got.looked)
	f.reasons = append(f.reasons, got.reasons...)
	return got.val
}

// look notes an entry as evidence of the current rule.
func (f *facts) look(entry uint64) { f.looked[entry] = true }

func (f *facts) no(format string, args ...any) ref.Val {
	f.reasons = append(f.reasons, fmt.Sprintf(format, args...))
	return types.False
}

// unknown is the third value.
func (f *facts) unknown(format string, args ...any) ref.Val {
	s := fmt.Sprintf(format, args...)
	f.reasons = append(f.reasons, s)
	return types.NewErr("unknown: %s", s)
}

var assuranceRank = map[string]int{statement.OIDCSession: 1, statement.LocalKey: 2, statement.HardwareKey: 3, statement.PasskeyUV: 4}

// approved tells whether n people approved for a review, each with at least
// the assurance that is asked for. A rejection that counts, later than an
// approval of the same person, takes it away.
func (f *facts) approved(review string, n int, assurance string) ref.Val {
	if n < 1 {
		return f.unknown("approved(%q, %d): ask for at least 1 approval", review, n)
	}
	if assurance != "" && assuranceRank[assurance] == 0 {
		return f.unknown("assurance %q is not known; the assurances are oidc-session, local-key, hardware-key, passkey", assurance)
	}
	sure, maybe, why := f.approvers(review, assurance)
	if len(sure) >= n {
		return types.True
	}
	missing := fmt.Sprintf("%d of %d approvals for the %s review count", len(sure), n, review)
	f.reasons = append(f.reasons, why...)
	if len(sure)+len(maybe) >= n {
		return f.unknown("%s, %d more may", missing, len(maybe))
	}
	return f.no("%s", missing)
}

// approvers gives who approved for a review: those whose approval counts, those
// whose approval may, and why others do not.
func (f *facts) approvers(review, assurance string) (sure, maybe map[string]bool, why []string) {
	sure, maybe = map[string]bool{}, map[string]bool{}
	for _, d := range f.decisions { // in the order of the log
		if d.Review != review || d.Decision != statement.Approve && d.Decision != statement.Reject {
			continue
		}
		f.look(d.Entry)
		weak := assurance != "" && assuranceRank[d.Assurance] < assuranceRank[assurance]
		switch {
		case d.Decision == statement.Reject && d.Effect == Counts:
			delete(sure, d.who)
			delete(maybe, d.who)
			why = append(why, fmt.Sprintf("%s rejected it (entry %d): %s", d.Approver, d.Entry, d.Comment))
		case d.Decision == statement.Reject && d.Effect == Uncertain && sure[d.who]:
			delete(sure, d.who)
			maybe[d.who] = true
		case d.Decision == statement.Reject:
		case d.Effect == Counts && weak:
			why = append(why, fmt.Sprintf("%s (entry %d) was signed with assurance %q, less than %s", d.Ref, d.Entry, d.Assurance, assurance))
		case d.Effect == Counts:
			sure[d.who] = true
			delete(maybe, d.who)
		default:
			says := "does not count"
			if d.Effect == Uncertain {
				says = "may not count"
			}
			for _, r := range d.Reasons {
				why = append(why, fmt.Sprintf("%s (entry %d) %s: %s", d.Ref, d.Entry, says, r.Detail))
			}
			if d.Effect == Uncertain && !weak && !sure[d.who] {
				maybe[d.who] = true
			}
		}
	}
	return sure, maybe, why
}

// approvedApart tells whether the reviews were approved by as many people,
// one for each.
func (f *facts) approvedApart(reviews []string) ref.Val {
	if len(reviews) == 0 || len(reviews) > 8 {
		return f.unknown("approvedApart takes 1 to 8 reviews")
	}
	certain, possible := make([]map[string]bool, len(reviews)), make([]map[string]bool, len(reviews))
	for i, r := range reviews {
		sure, maybe, _ := f.approvers(r, "")
		certain[i] = sure
		possible[i] = maps.Clone(sure)
		maps.Copy(possible[i], maybe)
	}
	switch {
	case apart(certain):
		return types.True
	case apart(possible):
		return f.unknown("whether the approvals for %s are of different people and count", strings.Join(reviews, " and "))
	}
	return f.no("the approvals for %s are not of different people", strings.Join(reviews, " and "))
}

// apart tells whether each set can give one member that no other gives: a
// matching in a bipartite graph, by augmenting paths (Kuhn's algorithm). There
// are at most 8 sets, and a path is no longer than that.
func apart(sets []map[string]bool) bool {
	gives := map[string]int{} // who is given by which set
	var find func(set int, seen map[string]bool) bool
	find = func(set int, seen map[string]bool) bool {
		for who := range sets[set] {
			if seen[who] {
				continue
			}
			seen[who] = true
			if other, taken := gives[who]; !taken || find(other, seen) {
				gives[who] = set
				return true
			}
		}
		return false
	}
	for i := range sets {
		if !find(i, map[string]bool{}) {
			return false
		}
	}
	return true
}

// rejected tells whether a rejection of the review counts that no approval of
// the same person, later and sure to count, follows.
func (f *facts) rejected(review string) ref.Val {
	last := map[string]*rejection{}
	for _, d := range f.decisions { // in the order of the log
		if d.Review != review || d.Effect == NoEffect {
			continue
		}
		switch {
		case d.Decision == statement.Reject:
			f.look(d.Entry)
			if was := last[d.who]; was == nil || was.maybe || d.Effect == Counts {
				last[d.who] = &rejection{d, d.Effect != Counts}
			}
		case d.Decision == statement.Approve && d.Effect == Counts:
			delete(last, d.who)
		case d.Decision == statement.Approve && last[d.who] != nil:
			last[d.who].maybe = true
		}
	}
	yes := false
	for _, r := range last {
		f.reasons = append(f.reasons, fmt.Sprintf("%s rejected it (entry %d): %s", r.Approver, r.Entry, r.Comment))
		yes = yes || !r.maybe
	}
	switch {
	case yes:
		return types.True
	case len(last) > 0:
		return types.NewErr("unknown: whether a rejection counts")
	}
	return types.False
}

// rejection is the last rejection of a person; maybe says that it may not
// count, or no longer.
type rejection struct {
	Decision
	maybe bool
}

// waive accepts an outcome for which a waiver counts.
func (f *facts) waive(o *Outcome) {
	if f.p.Waivers.Role == "" || f.judge.several() {
		return
	}
	for _, id := range f.ids() {
		for c := range f.v.Always().Claims(id) {
			if c.Key != "waiver" || c.Value != o.Rule || c.Retracted {
				continue
			}
			w := readWaiver(f.v, id, c.Entry, f.p.Waivers.Role)
			if !f.v.IsDigest(id) && len(f.judge.content) > 0 {
				w.no(NoDigest, "it binds the name %s, not content", f.v.Ref(id))
			}
			f.judge.weighApprover(&w)
			f.judge.weighWaiver(&w)
			text := fmt.Sprintf("%s until %s: %s (entry %d)", w.Approver, w.said["waiver.until"], w.said["waiver.reason"], c.Entry)
			if w.Effect == Counts {
				o.Outcome, o.Waiver = Waived, text
				o.Entries = append(o.Entries, c.Entry)
				slices.Sort(o.Entries)
				return
			}
			for _, r := range w.Reasons {
				o.Reasons = append(o.Reasons, fmt.Sprintf("the waiver of %s does not count: %s", text, r.Detail))
			}
		}
	}
}

func scopeOf(said map[string]string) []string {
	var out []string
	for k := range said {
		if s, ok := strings.CutPrefix(k, "waiver.scope."); ok {
			out = append(out, strings.TrimPrefix(s, "env:"))
		}
	}
	slices.Sort(out)
	return out
}

// evaluated tells whether an evaluation of the thing was completed within a
// duration before the moment.
func (f *facts) evaluated(within string) ref.Val {
	limit, err := time.ParseDuration(within)
	if err != nil || limit <= 0 {
		return f.unknown("evaluated(%q): write a duration such as \"720h\"", within)
	}
	newest, entry := prov.Beginning, uint64(0)
	for _, id := range f.ids() {
		for r := range f.v.In(id) {
			x := f.v.Relation(r)
			if x.Type != prov.Used || f.v.Attributes(x.From)["activity"] != "evaluate" {
				continue
			}
			t, ok := f.v.Times(x.From)
			if !ok || t.State == "failed" || t.State == "aborted" || t.End == prov.Beginning || t.End == prov.Forever || t.End > f.at {
				continue
			}
			f.look(x.Entry)
			if t.End > prov.Forever-prov.Instant(limit) {
				return f.unknown("evaluated(%q): the end of that time cannot be told", within)
			}
			f.thresholds = append(f.thresholds, t.End+prov.Instant(limit))
			if t.End > newest {
				newest, entry = t.End, x.Entry
			}
		}
	}
	switch {
	case newest == prov.Beginning:
		return f.unknown("no entry tells of a completed evaluation")
	case f.at < newest+prov.Instant(limit):
		return types.True
	}
	return f.no("the newest evaluation ended at %s (entry %d), more than %s before", newest, entry, within)
}
