package policy

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Effect says whether a decision counts.
type Effect string

// The effects.
const (
	Counts    Effect = "counts"
	NoEffect  Effect = "no effect"
	Uncertain Effect = "unknown" // it may count; the reasons say what is not known
)

// The classes of reasons why a decision does not count, or may not.
const (
	NoDigest       = "no-digest"          // it binds a name, not content
	ContentChanged = "content-changed"    // it is of other content of the same name
	StatedSame     = "stated-same"        // it is of something else, which is only stated to be the same
	NotTheirs      = "not-signed-by-them" // the approver's key did not sign it
	OwnWork        = "own-work"           // the approver made the thing, or owns what made it
	AuthorUnknown  = "author-unknown"     // nobody knows who made the thing
	NotAPerson     = "not-a-person"       // assistants, agents and accounts cannot decide
	IsAdmin        = "is-admin"           // who administers the system cannot decide
	RoleNotHeld    = "role-not-held"      // not in the role, or not at that time
	RoleUnknown    = "role-unknown"       // no entry tells the approver's roles
	OtherEnv       = "other-environment"
	NotYet         = "not-yet" // not yet valid, or not yet recorded
	Late           = "recorded-late"
	Expired        = "expired"
	OtherLog       = "other-log" // made for another log
	LogUnknown     = "log-unknown"
	TextDiffers    = "text-differs" // signed over another text than it was shown
	Revoked        = "revoked"
	Superseded     = "superseded"
)

// Reason is why a decision has not, or may not have, an effect.
type Reason struct {
	Class  string `json:"class"`
	Detail string `json:"detail"`
}

// Decision is one decision on a thing, and whether it counts.
type Decision struct {
	Ref          string   `json:"ref"`
	Entry        uint64   `json:"entry"`
	Decision     string   `json:"decision"`
	Review       string   `json:"review"`
	Role         string   `json:"role,omitempty"`
	Approver     string   `json:"approver"`
	Environments []string `json:"environments,omitempty"`
	Assurance    string   `json:"assurance,omitempty"`
	Policy       string   `json:"policy,omitempty"`
	Comment      string   `json:"comment,omitempty"`
	DecidedAt    string   `json:"decidedAt"`
	RecordedAt   string   `json:"recordedAt"`
	Effect       Effect   `json:"effect"`
	Reasons      []Reason `json:"reasons,omitempty"`

	id          graph.ID
	on          graph.ID // the content or name that it is of
	decided     prov.Instant
	recorded    prov.Instant
	from, until prov.Instant // the period that it claims
	said        map[string]string
	who         string // the approver under the first of his names
	definite    bool   // some reason says no for certain
}

// Context is where a decision is to count.
type Context struct {
	Log         string // the origin of this log
	Environment string // env:prod; empty: any
	// Memory gives what was found of identities before; nil: it is looked for
	// each time. What it gives must be what Memberships and Behind give.
	Memory Memory
}

// Memory remembers what many decisions ask of the same identities.
type Memory interface {
	Memberships(who graph.ID) []graph.Relation
	Behind(id graph.ID) []graph.Relation
}

// judge weighs the decisions on one thing. It looks at the whole of valid
// time, because what has expired is told too, and compares with at itself.
type judge struct {
	v       graph.View // all times
	at      prov.Instant
	ctx     Context
	content []graph.ID // the thing's content
	names   []graph.ID // and its names
	same    []graph.ID // other content and names, stated to be the same
	all     []graph.ID // all of these, whose makers count
	made    *makers    // nil: not looked for yet
}

// Decisions gives the decisions on a thing in the order of the log: those on
// its content, those on its names, and those on other content of its names.
func Decisions(v graph.View, thing graph.ID, ctx Context) []Decision {
	return newJudge(v, thing, ctx).decisions()
}

func newJudge(v graph.View, thing graph.ID, ctx Context) *judge {
	j := &judge{v: v.Always(), at: v.AsOf().Valid, ctx: ctx}
	j.content, j.names = identify(j.v, thing)
	all := sameAs(j.v, thing)
	for _, id := range all {
		if !slices.Contains(j.content, id) && !slices.Contains(j.names, id) {
			j.same = append(j.same, id)
		}
	}
	for _, id := range append(slices.Clone(j.content), j.names...) { // a name that stands for several contents
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	j.all = all
	return j
}

// makers gives who made the thing. Most things have no decision, so it is looked
// for when it is asked first.
func (j *judge) makers() *makers {
	if j.made == nil {
		m := findMakers(j, j.all)
		j.made = &m
	}
	return j.made
}

// several tells that the name stands for several contents, so that no one of
// them can be meant.
func (j *judge) several() bool { return len(j.content) > 1 }

func (j *judge) decisions() []Decision {
	var out []Decision
	for _, id := range j.content {
		out = j.on(out, id, "")
	}
	for _, id := range j.names {
		out = j.on(out, id, NoDigest)
		for r := range j.v.OutOf(id, ties) {
			if r.Named() && !slices.Contains(j.content, r.To()) {
				out = j.on(out, r.To(), ContentChanged)
			}
		}
	}
	for _, id := range j.same {
		out = j.on(out, id, StatedSame)
	}
	sort.SliceStable(out, func(a, b int) bool { return out[a].Entry < out[b].Entry })
	j.takeBack(out)
	for i := range out {
		out[i].settle()
	}
	return out
}

// on adds the decisions on one content or name.
func (j *judge) on(out []Decision, id graph.ID, class string) []Decision {
	for r := range j.v.OutOf(id, prov.Relations(prov.ApprovedBy, prov.RejectedBy, prov.RevokedBy, prov.RequestedBy)) {
		d := j.read(j.v.Relation(r), id)
		if slices.ContainsFunc(out, func(o Decision) bool { return o.Entry == d.Entry && o.id == d.id }) {
			continue // of the content, and told already
		}
		switch class {
		case "":
			if j.several() {
				d.unsure(ContentChanged, "it is of %s, which is one of %d contents of that name; ask by digest", j.v.Ref(id), len(j.content))
			}
		case NoDigest:
			d.no(NoDigest, "it binds the name %s, not content", j.v.Ref(id))
		case ContentChanged:
			d.no(ContentChanged, "it is of %s, which is other content of that name", j.v.Ref(id))
		case StatedSame:
			d.no(StatedSame, "it is of %s, which is stated to be the same; a decision binds the very content", j.v.Ref(id))
		}
		j.weigh(&d)
		out = append(out, d)
	}
	return out
}

// read gives the decision that a relation tells.
func (j *judge) read(r graph.Relation, on graph.ID) Decision {
	said := j.v.Said(r.To, r.Entry)
	d := Decision{Ref: j.v.Ref(r.To).String(), Entry: r.Entry, Decision: said["decision"], Review: said["review"], Role: said["role"],
		Assurance: said["assurance"], Policy: said["policy"], Comment: said["comment"], DecidedAt: said["decidedAt"],
		id: r.To, on: on, recorded: j.v.Recorded(r.Entry), from: r.Valid.From, until: r.Valid.To, said: said}
	d.RecordedAt = d.recorded.String()
	d.decided = d.recorded
	if t, err := prov.ParseTime(d.DecidedAt); err == nil {
		d.decided = prov.At(t)
	}
	for k := range said {
		if e, ok := strings.CutPrefix(k, "environment."); ok {
			d.Environments = append(d.Environments, e)
		}
	}
	sort.Strings(d.Environments)
	for o := range j.v.OutOf(r.To, prov.Relations(prov.AssociatedWith)) {
		if x := j.v.Relation(o); x.Type == prov.AssociatedWith && x.Entry == r.Entry {
			d.Approver, d.who = j.v.Ref(x.To).String(), person(j.v, x.To)
		}
	}
	return d
}

func (d *Decision) no(class, format string, args ...any) {
	d.Reasons, d.definite = append(d.Reasons, Reason{class, fmt.Sprintf(format, args...)}), true
}

func (d *Decision) unsure(class, format string, args ...any) {
	d.Reasons = append(d.Reasons, Reason{class, fmt.Sprintf(format, args...)})
}

func (d *Decision) settle() {
	switch {
	case d.definite:
		d.Effect = NoEffect
	case len(d.Reasons) > 0:
		d.Effect = Uncertain
	default:
		d.Effect = Counts
	}
}

// weigh finds the reasons why a decision by itself does not count. Of a
// request nothing is asked but its time.
func (j *judge) weigh(d *Decision) {
	j.weighTime(d)
	if d.Decision == statement.Request {
		return
	}
	if d.said["recordedBy"] != d.Approver {
		d.no(NotTheirs, "it is in the name of %s, but was signed by %s", d.Approver, d.said["recordedBy"])
	}
	if d.said["text"] == "differs" {
		d.no(TextDiffers, "the text that was shown is not that of the decision that was signed")
	}
	switch log := d.said["log"]; {
	case log == "":
		d.unsure(LogUnknown, "it does not say for which log it was made")
	case log != j.ctx.Log:
		d.no(OtherLog, "it was made for the log %s, this is %s", log, j.ctx.Log)
	}
	if e := j.ctx.Environment; e != "" && len(d.Environments) > 0 && !slices.ContainsFunc(d.Environments, func(x string) bool {
		return strings.TrimPrefix(x, "env:") == strings.TrimPrefix(e, "env:")
	}) {
		d.no(OtherEnv, "it is for %s, not for %s", strings.Join(d.Environments, ", "), e)
	}
	j.weighApprover(d)
}

// weighTime compares the decision's periods with the time of the question. A
// decision counts from its recording on: before that nobody could rely on it,
// whatever it claims.
func (j *judge) weighTime(d *Decision) {
	switch {
	case j.at < d.from || j.at < d.decided:
		d.no(NotYet, "it is valid only from %s", max(d.from, d.decided))
	case j.at < d.recorded:
		d.no(Late, "it claims to be of %s, but was recorded only at %s", d.decided, d.recorded)
	case j.at >= d.until:
		d.no(Expired, "it was valid until %s", d.until)
	}
}

// weighApprover asks whether the approver was allowed to decide.
func (j *judge) weighApprover(d *Decision) {
	ref, err := prov.ParseRef(d.Approver)
	if err != nil || ref.Kind != prov.Person {
		d.no(NotAPerson, "%s is not a person", d.Approver)
		return
	}
	who := j.v.Lookup(ref)
	member := j.memberships(who)
	told := slices.ContainsFunc(member, func(m graph.Relation) bool { return m.From == who })
	held, was := false, ""
	for _, m := range member {
		// The role must be held when it was decided and when it was recorded,
		// under that very name: what makes a person less free to decide is
		// taken from every name and team, what makes more free is not.
		in := m.Valid.From <= d.decided && d.recorded < m.Valid.To
		switch name := j.v.Ref(m.To).String(); {
		case name == "role:admin" && m.Valid.From <= d.recorded && d.decided < m.Valid.To:
			d.no(IsAdmin, "%s holds role:admin (entry %d)", d.Approver, m.Entry)
		case m.From != who:
		case name == roleRef(d.Role) && in:
			held = true
		case name == roleRef(d.Role):
			was = fmt.Sprintf("; it was held from %s until %s (entry %d)", m.Valid.From, m.Valid.To, m.Entry)
		}
	}
	switch {
	case !told:
		d.unsure(RoleUnknown, "no entry tells the teams and roles of %s, so nobody knows what else it is allowed to do", d.Approver)
	case d.Role != "" && !held:
		d.no(RoleNotHeld, "no entry says that %s held %s when deciding%s", d.Approver, roleRef(d.Role), was)
	}
	j.makers().weigh(d, j.v, who, member)
}

func (j *judge) memberships(who graph.ID) []graph.Relation {
	if j.ctx.Memory != nil {
		return j.ctx.Memory.Memberships(who)
	}
	return Memberships(j.v, who)
}

// Memberships gives the teams and roles of an identity under all its names, with
// those of its teams. What inventories tell again and again is given once; see
// once. The walk is bounded by the number of teams.
func Memberships(v graph.View, who graph.ID) []graph.Relation {
	var out []graph.Relation
	todo := sameAs(v, who)
	for seen := map[graph.ID]bool{}; len(todo) > 0; {
		id := todo[0]
		todo = todo[1:]
		if seen[id] {
			continue
		}
		seen[id] = true
		of := once(v, id, prov.Relations(prov.MemberOf))
		out = append(out, of...)
		for _, x := range of {
			todo = append(todo, x.To)
		}
	}
	return out
}

// once gives the relations of some types from a thing, the newest first. Of
// those of one type to one thing, periods that meet are one, told by the first
// entry of them.
func once(v graph.View, id graph.ID, types prov.RelationSet) []graph.Relation {
	var out []graph.Relation
	for r := range v.OutOf(id, types) {
		out = append(out, v.Relation(r))
	}
	slices.SortStableFunc(out, func(a, b graph.Relation) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.To, b.To), cmp.Compare(a.Valid.From, b.Valid.From), cmp.Compare(a.Entry, b.Entry))
	})
	kept := out[:0]
	for _, x := range out {
		if n := len(kept); n > 0 && kept[n-1].Type == x.Type && kept[n-1].To == x.To && x.Valid.From <= kept[n-1].Valid.To {
			last := &kept[n-1]
			last.Valid.To, last.Entry = max(last.Valid.To, x.Valid.To), min(last.Entry, x.Entry)
			continue
		}
		kept = append(kept, x)
	}
	slices.SortStableFunc(kept, func(a, b graph.Relation) int { return cmp.Compare(b.Entry, a.Entry) })
	for i := range kept { // so that nothing is told that the entry does not say
		kept[i].Since = kept[i].Entry
	}
	return kept
}

func roleRef(role string) string {
	if role == "" || strings.HasPrefix(role, "role:") {
		return role
	}
	return "role:" + role
}

// takeBack applies revocations, and decisions that take the place of others.
// Only a revocation that is of this log, signed by who revokes, and recorded
// by then takes back; whether who revokes made the thing does not matter.
func (j *judge) takeBack(ds []Decision) {
	for i := range ds {
		by := &ds[i]
		if by.Decision == statement.Revoke && !by.blocked() {
			for k := range ds {
				d := &ds[k]
				if d.Decision != statement.Approve || d.Entry > by.Entry {
					continue
				}
				if named := canonical(by.said["revokes"]); named == d.Ref || named == "" && d.Review == by.Review && d.on == by.on {
					d.no(Revoked, "%s took it back (entry %d)", by.Approver, by.Entry)
				}
			}
		}
		for r := range j.v.OutOf(by.id, prov.Relations(prov.Supersedes)) {
			x := j.v.Relation(r)
			if x.Type != prov.Supersedes || x.Entry != by.Entry || by.blocked(Expired) { // what had its place taken does not come back
				continue
			}
			for k := range ds {
				if ds[k].id == x.To && ds[k].Entry < by.Entry && ds[k].who == by.who {
					ds[k].no(Superseded, "%s took its place (entry %d)", by.Ref, by.Entry)
				}
			}
		}
	}
}

// canonical gives a Ref as the graph writes it.
func canonical(ref string) string {
	if r, err := prov.ParseRef(ref); err == nil {
		return r.String()
	}
	return ref
}

// blocked tells whether a decision is none at all at this time and in this
// log, whoever made it. To take something back less is asked than to approve.
func (d *Decision) blocked(except ...string) bool {
	return slices.ContainsFunc(d.Reasons, func(r Reason) bool {
		if slices.Contains(except, r.Class) {
			return false
		}
		return r.Class == NotTheirs || r.Class == OtherLog || r.Class == NotYet || r.Class == Late || r.Class == Expired || r.Class == NoDigest
	})
}
