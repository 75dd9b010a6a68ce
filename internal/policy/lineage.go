package policy

import (
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// What rules ask of the lineage of a thing.

// noticeKinds are the kinds of notices that statements know.
var noticeKinds = []string{"compromised", "vulnerable", "leaked", "withdrawn", "out-of-validation"}

var stringsType = reflect.TypeFor[[]string]()

// noticed tells whether the thing or anything that it was made with is under
// a notice of one of the kinds at the moment. It says no only when it is known
// of everything where it came from: what is not seen may be under one.
func (f *facts) noticed(kinds []string) ref.Val {
	for _, k := range kinds {
		if !slices.Contains(noticeKinds, k) {
			return f.unknown("noticed: %q is no kind of notice; the kinds are %s", k, strings.Join(noticeKinds, ", "))
		}
	}
	found, notices := false, []uint64{}
	for _, id := range f.closure() {
		for r := range f.v.Out(id) {
			x := f.v.Relation(r)
			if x.Type == prov.SubjectOf && slices.Contains(kinds, x.Role) {
				if !found { // one suffices: what it does not hang on, the answer does not
					f.leadsTo(id)
				}
				found, notices = true, append(notices, x.Entry)
				f.look(x.Entry)
				f.reasons = append(f.reasons, Label(f.v, id)+" is "+x.Role+": "+Label(f.v, x.To)+since(x))
			}
		}
	}
	if found { // a notice is what allows less
		f.against = slices.DeleteFunc(f.against, func(e uint64) bool { return slices.Contains(notices, e) })
		return types.True
	}
	if gaps := f.gaps(); len(gaps) > 0 {
		f.reasons = append(f.reasons, gaps...)
		return types.NewErr("unknown: whether anything that it was made with is under a notice")
	}
	return types.False
}

func since(x graph.Relation) string {
	if x.Valid.From == prov.Beginning {
		return ""
	}
	return " since " + x.Valid.From.String()
}

// gaps says of what the origin is not known.
func (f *facts) gaps() []string {
	return f.memoize("gaps", func() any {
		var out []string
		for _, id := range f.closure() {
			if why := f.gap(id); why != "" {
				out = append(out, why)
			}
		}
		slices.Sort(out)
		return slices.Compact(out)
	}).([]string)
}

// gap says why the origin of one member of the closure is not known: an entity
// that no activity made and for which no origin is stated, or an activity of
// which nobody says what it used.
func (f *facts) gap(id graph.ID) string {
	r := f.v.Ref(id)
	switch r.Kind {
	case prov.Dataset, prov.FeatureSet, prov.Model, prov.Prompt, prov.Code, prov.Image, prov.Agent, prov.File, prov.Column, prov.Document:
	case prov.Activity:
		return f.inputsGap(id)
	default:
		if !r.IsDigest() {
			return ""
		}
	}
	content, names := Same(f.v, id)
	for _, x := range append(content, names...) {
		if o := f.v.Attributes(x)["origin"]; o != "" && o != "unknown" {
			return ""
		}
		for o := range f.v.Out(x) {
			switch o.Type() {
			case prov.GeneratedBy, prov.GeneratedByStated, prov.DerivedFrom, prov.PartOf:
				return ""
			}
		}
	}
	return Label(f.v, id) + ": no entry says how it was made or where it came from"
}

// inputsGap says why nobody knows what an activity used: its inputs are known
// by best effort only, or no entry tells any, nor that there were none.
func (f *facts) inputsGap(id graph.ID) string {
	known := f.v.Attributes(id)["inputsCompleteness"]
	if known == "best-effort" {
		return f.v.Ref(id).String() + ": it may have read more than is recorded (its inputs are known by best effort)"
	}
	if known != "" {
		return ""
	}
	for r := range f.v.Out(id) {
		if r.Type() == prov.Used {
			return ""
		}
	}
	return f.v.Ref(id).String() + ": no entry tells what it used, or that it used nothing"
}

func (f *facts) originsKnown() ref.Val {
	if gaps := f.gaps(); len(gaps) > 0 {
		f.reasons = append(f.reasons, gaps...)
		return types.NewErr("unknown: where everything came from")
	}
	return types.True
}

// licensed tells whether every model and dataset in the lineage has one of the
// licences. Names of licences are compared without regard to case (SPDX
// specification 2.3, annex D.2).
func (f *facts) licensed(allowed []string) ref.Val {
	bad, missing := false, []string{}
	for _, id := range f.closure() {
		if f.v.IsDigest(id) && len(f.kindsOf(id)) == 0 { // it may be a model or a dataset
			missing = append(missing, f.v.Ref(id).String()+": no entry tells of what kind it is")
		}
		if k := f.v.Ref(id).Kind; k != prov.Model && k != prov.Dataset {
			continue
		}
		ls := f.licences(id)
		if len(ls) == 0 && !f.made(id) {
			missing = append(missing, Label(f.v, id)+": no entry tells its licence")
		}
		for _, l := range ls {
			if !slices.ContainsFunc(allowed, func(a string) bool { return strings.EqualFold(a, l) }) {
				if !bad {
					f.leadsTo(id)
				}
				bad = true
				f.reasons = append(f.reasons, Label(f.v, id)+" has the licence "+l)
			}
		}
	}
	if bad {
		return types.False
	}
	if missing = append(missing, f.gaps()...); len(missing) > 0 {
		f.reasons = append(f.reasons, missing...)
		return types.NewErr("unknown: the licence of everything")
	}
	return types.True
}

// licences gives every licence that is told of a thing, under any name. Of the
// claims under one name the latest counts; where two are of one time, both.
func (f *facts) licences(id graph.ID) []string {
	var out []string
	for _, x := range sameAs(f.v, id) {
		latest, told := prov.Beginning, []string{}
		for c := range f.v.Claims(x) {
			if c.Key != "licence" || c.Retracted || c.At > f.at || c.At < latest {
				continue
			}
			if c.At > latest {
				latest, told = c.At, told[:0]
			}
			told = append(told, c.Value)
		}
		out = append(out, told...)
	}
	out = slices.DeleteFunc(out, func(l string) bool { return l == "" || l == "unknown" })
	slices.Sort(out)
	return slices.Compact(out)
}

// made tells whether the log knows an activity that made the thing.
func (f *facts) made(id graph.ID) bool {
	content, names := Same(f.v, id)
	for _, x := range append(content, names...) {
		for r := range f.v.Out(x) {
			if r.Type() == prov.GeneratedBy || r.Type() == prov.GeneratedByStated {
				return true
			}
		}
	}
	return false
}

// owned tells whether somebody answers for the thing.
func (f *facts) owned() ref.Val {
	for _, id := range f.ids() {
		for r := range f.v.Out(id) {
			if x := f.v.Relation(r); x.Type == prov.OwnedBy {
				f.look(x.Entry)
				return types.True
			}
		}
	}
	return f.no("no entry says who owns it")
}

// unchanged tells whether the thing's names stand for one content.
func (f *facts) unchanged() ref.Val {
	for _, n := range f.judge.names {
		var contents []string
		for r := range f.v.Out(n) {
			if r.Named() {
				contents = append(contents, f.v.Ref(r.To()).String())
			}
		}
		slices.Sort(contents)
		if contents = slices.Compact(contents); len(contents) > 1 {
			return f.unknown("%s stands for %d contents: %s", f.v.Ref(n), len(contents), strings.Join(contents, ", "))
		}
	}
	if len(f.judge.content) == 0 {
		return f.unknown("no content is known of %s", f.v.Ref(f.q.Thing))
	}
	return types.True
}

// ancestorsApproved tells whether everything of some kinds in the lineage, the
// thing itself aside, has an approval of a review that counts. With outside it
// is asked of what no recorded activity made, of whatever kind.
func (f *facts) ancestorsApproved(review string, kinds []string, outside bool) ref.Val {
	bad, unsure := false, false
	members := f.closure()
	in := make(map[graph.ID]bool, len(members))
	for _, id := range members {
		in[id] = true
	}
	for _, id := range members {
		if why := f.gap(id); outside && why != "" && !f.askedOfOutside(id, in) {
			unsure = true
			f.reasons = append(f.reasons, why)
		}
		if slices.Contains(f.ids(), id) || f.v.Ref(id).Class() != prov.ClassEntity && !f.v.IsDigest(id) || f.askedAsContent(id, in) {
			continue
		}
		ks := f.kindsOf(id)
		asked := slices.ContainsFunc(ks, func(k prov.Kind) bool {
			return outside && comesFromOutside(k) || !outside && slices.Contains(kinds, string(k))
		})
		if outside && f.made(id) || !asked && len(ks) > 0 {
			continue
		}
		ok, maybe := f.approvedFor(id, review)
		switch {
		case ok:
		case len(ks) == 0:
			unsure = true
			f.reasons = append(f.reasons, f.v.Ref(id).String()+": no entry tells of what kind it is")
		case maybe:
			unsure = true
			f.reasons = append(f.reasons, Label(f.v, id)+": whether its approval for the "+review+" review counts is not known")
		default:
			if !bad {
				f.leadsTo(id)
			}
			bad = true
			f.reasons = append(f.reasons, Label(f.v, id)+": it has no approval for the "+review+" review that counts")
		}
	}
	if bad {
		return types.False
	}
	if gaps := f.gaps(); len(gaps) > 0 && !outside {
		f.reasons = append(f.reasons, gaps...)
		unsure = true
	}
	if unsure {
		return types.NewErr("unknown: whether everything is approved")
	}
	return types.True
}

// askedOfOutside tells whether a member of the lineage is asked about as one
// that comes from outside: then its review stands for where it came from.
func (f *facts) askedOfOutside(id graph.ID, in map[graph.ID]bool) bool {
	if slices.Contains(f.ids(), id) {
		return false
	}
	return f.askedAsContent(id, in) || slices.ContainsFunc(f.kindsOf(id), comesFromOutside)
}

// approvedFor tells whether one thing has an approval for a review that counts,
// or that may.
func (f *facts) approvedFor(id graph.ID, review string) (ok, maybe bool) {
	for _, d := range Decisions(f.v, id, f.q.Context) {
		if d.Review != review || d.Decision != statement.Approve {
			continue
		}
		f.look(d.Entry)
		ok, maybe = ok || d.Effect == Counts, maybe || d.Effect == Uncertain
	}
	return ok, maybe
}

// askedAsContent tells that a thing is a name of content that is in the
// lineage itself. The content is asked about then: a name can stand for other
// content too.
func (f *facts) askedAsContent(id graph.ID, in map[graph.ID]bool) bool {
	if f.v.IsDigest(id) {
		return false
	}
	for r := range f.v.Out(id) {
		if r.Named() && in[r.To()] {
			return true
		}
	}
	return false
}

// kindsOf gives the kind of a thing; of content the kinds of its names.
func (f *facts) kindsOf(id graph.ID) []prov.Kind {
	if !f.v.IsDigest(id) {
		return []prov.Kind{f.v.Ref(id).Kind}
	}
	var out []prov.Kind
	for r := range f.v.In(id) {
		if r.Named() {
			out = append(out, f.v.Ref(r.From()).Kind)
		}
	}
	return out
}

func comesFromOutside(k prov.Kind) bool {
	switch k {
	case prov.Model, prov.Dataset, prov.Package, prov.Image, prov.Code, prov.Prompt, prov.Tool, prov.Agent:
		return true
	}
	return false
}

// deployments gives the deployments of the thing that are live in the
// environment at the moment.
func (f *facts) deployments() []graph.ID { return f.deployedIn(f.v) }

func (f *facts) deployedIn(v graph.View) []graph.ID {
	var out []graph.ID
	env := f.q.Context.Environment
	for _, id := range f.ids() {
		if f.v.Ref(id).Kind == prov.Deployment {
			out = append(out, id)
		}
		for r := range v.In(id) {
			if r.Type() != prov.Deployed {
				continue
			}
			for o := range v.Out(r.From()) {
				if o.Type() == prov.DeployedTo && f.v.Ref(o.To()).String() == "env:"+strings.TrimPrefix(env, "env:") {
					out = append(out, r.From())
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// credentialsInDate tells whether every credential of what runs the thing, or
// is planned to, is within its dates.
func (f *facts) credentialsInDate() ref.Val {
	holders := f.deployments()
	for _, d := range slices.Clone(holders) {
		for r := range f.v.Out(d) {
			if r.Type() == prov.RunsAs {
				holders = append(holders, r.To())
				f.against = append(f.against, f.v.Relation(r).Entry)
			}
		}
	}
	for _, name := range f.q.Planned.RunsAs {
		r, err := prov.ParseRef(name)
		id := f.v.Lookup(r)
		if err != nil || id == graph.None {
			return f.unknown("nothing is known of %s, as which it is to run", name)
		}
		holders = append(holders, id)
	}
	if len(holders) == 0 {
		return f.unknown("it is not deployed there, and nothing says as whom it is to run; name it with --runs-as")
	}
	bad, unsure, held := false, false, false
	for _, h := range holders {
		for _, x := range f.credentials(h) {
			held = true
			f.look(x.Entry)
			switch ok, why := f.inDate(h, x); {
			case why == "":
			case ok:
				unsure = true
				f.reasons = append(f.reasons, why)
			default:
				bad = true
				f.against = append(f.against, x.Entry)
				f.tellOf(x.To)
				f.reasons = append(f.reasons, why)
			}
		}
	}
	switch {
	case bad && f.otherwiseBefore():
		return f.unknown("an earlier deployment there ran as somebody else; ask with --runs-as")
	case bad:
		return types.False
	case unsure:
		return types.NewErr("unknown: the dates of every credential")
	case !held:
		return f.unknown("no entry tells with which credentials it runs")
	}
	return types.True
}

// credentials gives those that a holder has by the moment. One that a newer
// version of the same name has taken the place of, or that an inventory no
// longer lists, is not among them.
func (f *facts) credentials(holder graph.ID) []graph.Relation {
	newest := map[string]prov.Instant{} // by name without version: when the newest was issued
	var all []graph.Relation
	for r := range f.v.Always().Out(holder) {
		x := f.v.Relation(r)
		if x.Type != prov.AuthenticatesWith || x.Valid.From > f.at {
			continue
		}
		all = append(all, x)
		s := f.v.Ref(x.To).WithVersion("").String()
		if t, ok := f.told(x.To, "issuedAt"); ok {
			if was, ok := newest[s]; !ok || t > was {
				newest[s] = t
			}
		}
	}
	return slices.DeleteFunc(all, func(x graph.Relation) bool {
		expires, dated := f.told(x.To, "expiresAt")
		if x.Valid.To <= f.at && (!dated || x.Valid.To < expires) {
			return true
		}
		t, ok := f.told(x.To, "issuedAt")
		was, newer := newest[f.v.Ref(x.To).WithVersion("").String()]
		return ok && newer && t < was
	})
}

// told gives a time that is told of a thing.
func (f *facts) told(id graph.ID, key string) (prov.Instant, bool) {
	t, err := prov.ParseTime(f.v.Always().Attributes(id)[key])
	return prov.At(t), err == nil
}

// inDate says what is wrong with the dates of a credential that a holder has.
// ok says that nothing is known to be.
func (f *facts) inDate(holder graph.ID, x graph.Relation) (ok bool, why string) {
	name := Label(f.v, x.To)
	attrs := f.v.Always().Attributes(x.To)
	t, err := prov.ParseTime(attrs["expiresAt"])
	switch {
	case err == nil && f.at >= prov.At(t):
		return false, name + " of " + Label(f.v, holder) + " expired at " + attrs["expiresAt"]
	case err == nil:
		return true, ""
	case attrs["state"] == "retired":
		return false, name + " is retired"
	}
	return true, name + ": no entry says when it expires"
}

// policyPinned tells whether every live deployment is governed by a policy
// bundle that is named by its content.
func (f *facts) policyPinned() ref.Val {
	ds := f.deployments()
	if len(ds) == 0 {
		return f.unknown("it is not deployed there, so nothing says which policy bundle governs it")
	}
	for _, d := range ds {
		pinned := false
		for r := range f.v.Out(d) {
			if x := f.v.Relation(r); x.Type == prov.GovernedBy {
				f.look(x.Entry)
				pinned = pinned || f.v.IsDigest(x.To)
			}
		}
		if !pinned && f.pinnedBefore() {
			return f.unknown("%s names no policy bundle by its content, and another deployment of it there did", f.v.Ref(d))
		}
		if !pinned {
			return f.no("%s names no policy bundle by its content", f.v.Ref(d))
		}
	}
	return types.True
}

// everDeployed gives all deployments of the thing in the environment, whether
// or not others have taken their place: without those they would be live.
func (f *facts) everDeployed() []graph.ID { return f.deployedIn(f.v.Always()) }

// pinnedBefore tells whether any deployment there named its bundle by content.
func (f *facts) pinnedBefore() bool {
	for _, d := range f.everDeployed() {
		for r := range f.v.Always().Out(d) {
			if r.Type() == prov.GovernedBy && f.v.IsDigest(r.To()) {
				return true
			}
		}
	}
	return false
}

// otherwiseBefore tells whether a deployment there that is not live ran as
// somebody else: without what took its place, that would be asked about.
func (f *facts) otherwiseBefore() bool {
	who, live := map[graph.ID]bool{}, f.deployments()
	now := map[graph.ID]bool{}
	for _, d := range live {
		for r := range f.v.Out(d) {
			now[r.To()] = true
		}
	}
	for _, d := range f.everDeployed() {
		if slices.Contains(live, d) {
			continue
		}
		for r := range f.v.Always().Out(d) {
			if r.Type() == prov.RunsAs && !now[r.To()] {
				who[r.To()] = true
			}
		}
	}
	return len(who) > 0
}
