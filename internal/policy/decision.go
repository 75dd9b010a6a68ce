package policy

import (
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
	Erased         = "erased" // who decided, or what else is to be known of them, was erased
)

// Reason is why a decision has not, or may not have, an effect.
type Reason struct {
	Class  string `json:"class"`
	Detail string `json:"detail"`
	// Contested says that one entry alone makes it a reason, and that without
	// that entry the others would let the decision count: so it may not count.
	Contested bool `json:"contested,omitempty"`

	sure bool     // it does not count, for certain
	via  []uint64 // the entries that the reason rests on; without any, the decision itself
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
	// Assurance is the weaker of what the signature shows and what the
	// approver's client says, which is ClaimedAssurance where it differs.
	Assurance        string `json:"assurance,omitempty"`
	ClaimedAssurance string `json:"claimedAssurance,omitempty"`

	Policy     string   `json:"policy,omitempty"`
	Comment    string   `json:"comment,omitempty"`
	DecidedAt  string   `json:"decidedAt"`
	RecordedAt string   `json:"recordedAt"`
	Effect     Effect   `json:"effect"`
	Reasons    []Reason `json:"reasons,omitempty"`

	id          graph.ID
	on          graph.ID // the content or name that it is of
	decided     prov.Instant
	recorded    prov.Instant
	from, until prov.Instant // the period that it claims
	said        map[string]string
	who         string // the approver under the first of his names
}

// Context is where a decision is to count.
type Context struct {
	Log         string // the origin of this log
	Environment string // env:prod; empty: any
	// Stewards are the principals that set up the log, by its first trust list.
	// They, and whom they gave role:admin, say who may do what and which
	// policies are in force. Without any, nobody is known to.
	Stewards []string
}

// judge weighs the decisions on one thing. It looks at the whole of valid
// time, because what has expired is told too, and compares with at itself.
type judge struct {
	v        graph.View // all times
	at       prov.Instant
	ctx      Context
	thing    graph.ID
	content  []graph.ID            // the thing's content
	names    []graph.ID            // and its names
	same     []graph.ID            // other content and names, stated to be the same
	all      map[graph.ID][]uint64 // all of these, whose makers count
	made     *makers               // nil: not looked for yet
	standing *standing
	others   map[uint64]*judge // judges to whom one entry says nothing
}

// Decisions gives the decisions on a thing in the order of the log: those on
// its content, those on its names, and those on other content of its names.
func Decisions(v graph.View, thing graph.ID, ctx Context) []Decision {
	return newJudge(v, thing, ctx).decisions()
}

func newJudge(v graph.View, thing graph.ID, ctx Context) *judge {
	j := &judge{v: v.Always(), at: v.AsOf().Valid, ctx: ctx, thing: thing, standing: newStanding(v, ctx), others: map[uint64]*judge{}}
	j.content, j.names = identify(j.v, thing)
	all := kin(j.v, thing)
	for _, id := range sortedIDs(all) {
		if !slices.Contains(j.content, id) && !slices.Contains(j.names, id) {
			j.same = append(j.same, id)
		}
	}
	for r := range j.v.Out(thing) { // a name that stands for several contents
		if _, ok := all[r.To()]; r.Named() && !ok {
			all[r.To()] = []uint64{j.v.Relation(r).Entry}
		}
	}
	for _, c := range j.content { // and the names of those
		for r := range j.v.In(c) {
			if _, ok := all[r.From()]; r.Named() && !ok {
				all[r.From()] = append(slices.Clone(all[c]), j.v.Relation(r).Entry)
			}
		}
	}
	j.all = all
	return j
}

// makers gives who made the thing. Most things have no decision, so it is looked
// for when it is asked first.
func (j *judge) makers() *makers {
	if j.made == nil {
		m := findMakers(j.v, j.all)
		j.made = &m
	}
	return j.made
}

// without gives the judge to whom one entry says nothing.
func (j *judge) without(entry uint64) *judge {
	o := j.others[entry]
	if o == nil {
		o = newJudge(j.v.Without(entry), j.thing, j.ctx)
		j.others[entry] = o
	}
	return o
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
		for r := range j.v.Out(id) {
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
	for r := range j.v.Out(id) {
		switch r.Type() {
		case prov.ApprovedBy, prov.RejectedBy, prov.RevokedBy, prov.RequestedBy:
		default:
			continue
		}
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
		Policy: said["policy"], Comment: said["comment"], DecidedAt: said["decidedAt"],
		id: r.To, on: on, recorded: j.v.Recorded(r.Entry), from: r.Valid.From, until: r.Valid.To, said: said}
	d.RecordedAt = d.recorded.String()
	d.Assurance = weaker(said["assurance"], said["signedWith"])
	if claim := said["assurance"]; claim != d.Assurance {
		d.ClaimedAssurance = claim
	}
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
	for o := range j.v.Out(r.To) {
		if x := j.v.Relation(o); x.Type == prov.AssociatedWith && x.Entry == r.Entry {
			d.Approver, d.who = j.v.Ref(x.To).String(), person(j.v, x.To)
		}
	}
	return d
}

var assuranceRank = map[string]int{statement.OIDCSession: 1, statement.LocalKey: 2, statement.HardwareKey: 3, statement.PasskeyUV: 4}

// weaker gives the assurance that counts: what the signature shows, unless the
// client itself claims less. Nothing is assured of what has no signature.
func weaker(claimed, shown string) string {
	if claimed != "" && assuranceRank[claimed] < assuranceRank[shown] {
		return claimed
	}
	return shown
}

func (d *Decision) no(class, format string, args ...any) {
	d.Reasons = append(d.Reasons, Reason{Class: class, Detail: fmt.Sprintf(format, args...), sure: true})
}

func (d *Decision) unsure(class, format string, args ...any) {
	d.Reasons = append(d.Reasons, Reason{Class: class, Detail: fmt.Sprintf(format, args...)})
}

func (d *Decision) settle() {
	switch {
	case slices.ContainsFunc(d.Reasons, func(r Reason) bool { return r.sure }):
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

func roleRef(role string) string {
	if role == "" || strings.HasPrefix(role, "role:") {
		return role
	}
	return "role:" + role
}

// takeBack applies revocations, and decisions that take the place of others.
func (j *judge) takeBack(ds []Decision) {
	for i := range ds {
		by := &ds[i]
		if by.Decision == statement.Revoke && !by.blocked() {
			j.revoke(by, ds)
		}
		for r := range j.v.Out(by.id) {
			x := j.v.Relation(r)
			if x.Type != prov.Supersedes || x.Entry != by.Entry || by.blocked(Expired) { // what had its place taken does not come back
				continue
			}
			for k := range ds {
				switch d := &ds[k]; {
				case d.id != x.To || d.Entry >= by.Entry || d.who != by.who:
				case d.Approver == by.Approver:
					d.no(Superseded, "%s took its place (entry %d)", by.Ref, by.Entry)
				default:
					d.unsure(Superseded, "%s took its place (entry %d), if %s and %s are one person, as is stated", by.Ref, by.Entry, d.Approver, by.Approver)
				}
			}
		}
	}
}

// revoke applies one revocation, which is of this log, signed by who revokes,
// and recorded by then; whether who revokes made the thing does not matter.
// It takes back for certain what the same person approved, and what anybody
// did if it is of a person of whom something is known, or of who has standing.
// That of another person leaves open whether the approval counts.
func (j *judge) revoke(by *Decision, ds []Decision) {
	ref, err := prov.ParseRef(by.Approver)
	person := err == nil && ref.Kind == prov.Person
	may := j.standing.has(by.Entry)
	if person && !may {
		_, may = j.memberships(j.v.Lookup(ref))
	}
	for k := range ds {
		d := &ds[k]
		if d.Decision != statement.Approve || d.Entry > by.Entry {
			continue
		}
		if named := canonical(by.said["revokes"]); named != d.Ref && (named != "" || d.Review != by.Review || d.on != by.on) {
			continue
		}
		switch {
		case may || d.Approver == by.Approver:
			d.no(Revoked, "%s took it back (entry %d)", by.Approver, by.Entry)
		case person:
			d.unsure(Revoked, "%s took it back (entry %d), and no entry tells whether it may", by.Approver, by.Entry)
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
