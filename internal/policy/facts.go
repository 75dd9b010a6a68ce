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
	p       *Policy
	v       graph.View // at the moment
	at      prov.Instant
	q       Question
	judge   *judge
	weighed []Decision // nil until asked for
	members []graph.ID // the thing and all that it was made with
	listed  bool

	looked     map[uint64]bool // entries that the current rule looked at
	against    []uint64        // entries on which the answer to the current question may hang
	alone      bool            // the view leaves an entry out, to ask what hangs on it
	reasons    []string        // why the current rule does not hold
	thresholds []prov.Instant  // moments at which something grows too old
	memo       map[string]any
	asked      map[string]answered
	spent      uint64 // of the cost that all rules together may have
}

func newFacts(p *Policy, v graph.View, q Question) *facts {
	f := &facts{p: p, v: v, at: v.AsOf().Valid, q: q, memo: map[string]any{}, asked: map[string]answered{}, looked: map[uint64]bool{}}
	f.judge = newJudge(v, q.Thing, q.Context)
	return f
}

// decisions gives every decision on the thing, in the order of the log.
func (f *facts) decisions() []Decision {
	if f.weighed == nil {
		f.weighed = append([]Decision{}, f.judge.decisions()...)
	}
	return f.weighed
}

// ids gives the thing's content and the names of it.
func (f *facts) ids() []graph.ID { return append(slices.Clone(f.judge.content), f.judge.names...) }

// closure gives the thing and all that it was made with.
func (f *facts) closure() []graph.ID {
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
	content, names := Same(f.v.Always(), id)
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
	for _, d := range f.decisions() { // an effect that is not known is absent
		classes := []string{}
		for _, r := range d.Reasons {
			classes = append(classes, r.Class)
		}
		x := map[string]any{"ref": d.Ref, "decision": d.Decision, "review": d.Review, "role": d.Role, "approver": d.Approver,
			"assurance": d.Assurance, "reasons": classes, "entry": int64(d.Entry)}
		if d.Effect != Uncertain {
			x["effect"] = string(d.Effect)
		}
		out = append(out, x)
	}
	return out
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
	sure, maybe, why := f.approvers(review, assurance, joined)
	if len(sure) >= n {
		return types.True
	}
	missing := fmt.Sprintf("%d of %d approvals for the %s review count", len(sure), n, review)
	f.reasons = append(f.reasons, why...)
	if len(sure)+len(maybe) >= n {
		return f.unknown("%s, %d more may", missing, len(maybe))
	}
	if sure, maybe, _ = f.approvers(review, assurance, named); len(sure)+len(maybe) >= n {
		return f.unknown("%s, as long as those who are stated to be one person are", missing)
	}
	return f.no("%s", missing)
}

// joined and named tell for whom a decision is: the person under all names
// that are stated to be theirs, and the very name. That two names are one
// person's can keep approvals from being enough, and then nobody knows: else
// leaving out that statement would allow.
func joined(d Decision) string { return d.who }
func named(d Decision) string  { return d.Approver }

// approvers gives who approved for a review: those whose approval counts, those
// whose approval may, and why others do not.
func (f *facts) approvers(review, assurance string, of func(Decision) string) (sure, maybe map[string]bool, why []string) {
	sure, maybe = map[string]bool{}, map[string]bool{}
	for _, d := range f.decisions() { // in the order of the log
		if d.Review != review || d.Decision != statement.Approve && d.Decision != statement.Reject {
			continue
		}
		f.look(d.Entry)
		who, weak := of(d), assurance != "" && assuranceRank[d.Assurance] < assuranceRank[assurance]
		switch {
		case d.Decision == statement.Reject && d.Effect == Counts:
			delete(sure, who)
			delete(maybe, who)
			why = append(why, fmt.Sprintf("%s rejected it (entry %d): %s", d.Approver, d.Entry, d.Comment))
		case d.Decision == statement.Reject && d.Effect == Uncertain && sure[who]:
			delete(sure, who)
			maybe[who] = true
		case d.Decision == statement.Reject:
		case d.Effect == Counts && weak:
			says := ""
			if d.ClaimedAssurance != "" {
				says = fmt.Sprintf(" (its client said %q, which the signature does not show)", d.ClaimedAssurance)
			}
			why = append(why, fmt.Sprintf("%s (entry %d) was signed with assurance %q, less than %s%s", d.Ref, d.Entry, d.Assurance, assurance, says))
		case d.Effect == Counts:
			sure[who] = true
			delete(maybe, who)
		default:
			says := "does not count"
			if d.Effect == Uncertain {
				says = "may not count"
			}
			for _, r := range d.Reasons {
				why = append(why, fmt.Sprintf("%s (entry %d) %s: %s", d.Ref, d.Entry, says, r.Detail))
			}
			if d.Effect == Uncertain && !weak && !sure[who] {
				maybe[who] = true
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
	sets := func(of func(Decision) string) (certain, possible []map[string]bool) {
		for _, r := range reviews {
			sure, maybe, _ := f.approvers(r, "", of)
			all := maps.Clone(sure)
			maps.Copy(all, maybe)
			certain, possible = append(certain, sure), append(possible, all)
		}
		return certain, possible
	}
	certain, possible := sets(joined)
	_, apartByName := sets(named)
	switch {
	case apart(certain):
		return types.True
	case apart(possible):
		return f.unknown("whether the approvals for %s are of different people and count", strings.Join(reviews, " and "))
	case apart(apartByName):
		return f.unknown("the approvals for %s are under different names, which are stated to be one person's", strings.Join(reviews, " and "))
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
// the same person under the same name, later and sure to count, follows.
func (f *facts) rejected(review string) ref.Val {
	last := map[string]*rejection{}
	for _, d := range f.decisions() { // in the order of the log
		if d.Review != review || d.Effect == NoEffect {
			continue
		}
		switch {
		case d.Decision == statement.Reject:
			f.look(d.Entry)
			if was := last[d.Approver]; was == nil || was.maybe || d.Effect == Counts {
				last[d.Approver] = &rejection{d, d.Effect != Counts}
			}
		case d.Decision == statement.Approve && d.Effect == Counts:
			delete(last, d.Approver)
		case d.Decision == statement.Approve && last[d.Approver] != nil:
			last[d.Approver].maybe = true
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
			if w.Effect == Uncertain && !slices.ContainsFunc(w.Reasons, func(r Reason) bool { return r.Class == RoleUnknown }) {
				o.Outcome = Unknown // whether it is accepted
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
	f.toldOfEvaluations()
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

// toldOfEvaluations notes the entries that tell of what used the thing: that
// something was no evaluation, or failed, can be what keeps it from counting.
func (f *facts) toldOfEvaluations() {
	for _, id := range f.ids() {
		for r := range f.v.In(id) {
			if r.Type() != prov.Used {
				continue
			}
			var entries []uint64
			for c := range f.v.EverTimes(r.From()) {
				entries = append(entries, c.Entry)
			}
			if slices.Sort(entries); len(slices.Compact(entries)) > 1 {
				f.against = append(f.against, entries...)
			}
		}
	}
}
