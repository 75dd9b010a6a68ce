package finding

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/policy"
	"github.com/stemma-lineage/stemma/prov"
)

// Limits are what detectors compare with.
type Limits struct {
	MaxAge   time.Duration // of a credential since it was issued or rotated
	MaxIdle  time.Duration // of a credential since it was used
	MaxLate  time.Duration // between a decision and its recording
	Grace    time.Duration // after an owner left
	Depth    int           // hops of a chain of delegations
	Services int           // that may share an identity or credential
	Budget   int           // live deployments in production that may depend on one
}

// DefaultLimits are the limits where none are given.
func DefaultLimits() Limits {
	const day = 24 * time.Hour
	return Limits{MaxAge: 90 * day, MaxIdle: 45 * day, MaxLate: 7 * day, Grace: day, Depth: 4, Services: 5, Budget: 25}
}

// Options say what to look for.
type Options struct {
	Log string // the origin of this log
	// Stewards are who set up the log; see policy.Context.
	Stewards []string
	Limits   Limits // zero: DefaultLimits
	// WaiverRole is the role in which somebody may accept a finding.
	WaiverRole string   // "": role:risk-owner
	Only       []string // ids of detectors; nil: all
	// Terse are outcomes of which only the detector, the thing and the outcome
	// are told: to tell the rest takes longer than to find them.
	Terse []Outcome
	// Stop is asked now and then; once it says true no more is looked at. Nil:
	// never.
	Stop func() bool
}

func (o Options) filled() Options {
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits()
	}
	if o.WaiverRole == "" {
		o.WaiverRole = "role:risk-owner"
	}
	return o
}

// scope is what checks read through. Its views note what is read when they
// were made to.
type scope struct {
	v    graph.View // at the moment
	all  graph.View // over all of time
	at   prov.Instant
	o    *Options
	memo map[memoKey]remembered

	w *world    // nil: not made yet
	f *Follower // who keeps w and what is derived; nil: nobody
}

type memoKey struct {
	what string
	id   graph.ID
	at   prov.Instant
	env  string
}

// maxMemo bounds how many values are kept at a time.
const maxMemo = 1 << 18

// remembered is a value that was made once in a run, with what was read for
// it.
type remembered struct {
	value any
	read  []graph.Part
	names []string
	next  prov.Instant
}

func newScope(v graph.View, o *Options) *scope {
	return &scope{v: v, all: v.Always(), at: v.AsOf().Valid, o: o, memo: map[memoKey]remembered{}}
}

// noting makes the scope note its reads in r.
func (s *scope) noting(r *graph.Reads) { s.v, s.all = s.v.Noting(r), s.all.Noting(r) }

// once makes a value that several checks need. What was read for it counts as
// read by each of them.
func once[T any](s *scope, what string, id graph.ID, make func() T) T {
	return keep(s, memoKey{what: what, id: id}, make)
}

func keep[T any](s *scope, k memoKey, make func() T) T {
	outer := s.v.Notes()
	m, ok := s.memo[k]
	if !ok {
		if outer != nil {
			own := &graph.Reads{}
			own.Begin(s.at)
			s.noting(own)
			m.value = make()
			s.noting(outer)
			m.read, m.names, m.next = own.Parts(), own.Names(), own.Next()
			if k.at != 0 && k.at != s.at { // as of a moment that stays
				m.next = prov.Forever
			}
		} else {
			m.value = make()
		}
		if len(s.memo) >= maxMemo {
			clear(s.memo)
		}
		s.memo[k] = m
	}
	if outer != nil {
		outer.Add(m.read, m.names, m.next)
	}
	return m.value.(T)
}

// due tells whether a moment has come, and notes it.
func (s *scope) due(t prov.Instant) bool {
	if r := s.v.Notes(); r != nil {
		r.Moment(t)
	}
	return t <= s.at
}

// later tells whether a moment has not come, and notes it.
func (s *scope) later(t prov.Instant) bool { return !s.due(t) }

func after(t prov.Instant, d time.Duration) prov.Instant {
	if t == prov.Beginning || t >= prov.Forever-prov.Instant(d) {
		return t
	}
	return t + prov.Instant(d)
}

// out gives the relations of some types from a thing, over all of time, in the
// order of the log.
func (s *scope) out(id graph.ID, types prov.RelationSet) []graph.Relation {
	var out []graph.Relation
	for r := range s.all.OutOf(id, types) {
		out = append(out, s.all.Relation(r))
	}
	slices.Reverse(out)
	return out
}

func (s *scope) in(id graph.ID, types prov.RelationSet) []graph.Relation {
	var out []graph.Relation
	for r := range s.all.InOf(id, types) {
		out = append(out, s.all.Relation(r))
	}
	slices.Reverse(out)
	return out
}

func (s *scope) label(id graph.ID) string { return policy.Label(s.all, id) }

// kind gives the kind of a thing, of content that of its first name.
func (s *scope) kind(id graph.ID) prov.Kind {
	if s.all.IsDigest(id) {
		best := []byte(nil)
		for r := range s.all.InOf(id, sameAs) {
			if r.Named() {
				if k := s.all.Key(r.From()); best == nil || bytes.Compare(k, best) < 0 {
					best = k
				}
			}
		}
		if best == nil {
			return ""
		}
		return kindOf(best)
	}
	return s.all.Kind(id)
}

func kindOf(key []byte) prov.Kind {
	k, _, _ := bytes.Cut(key, []byte(":"))
	return prov.Kind(k)
}

// same gives a thing under all its names, its content first.
func (s *scope) same(id graph.ID) []graph.ID {
	if !s.all.Alike(id) {
		return []graph.ID{id}
	}
	content, names := policy.Same(s.all, id)
	return append(content, names...)
}

// content gives the content of a thing, if it is known.
func (s *scope) content(id graph.ID) (graph.ID, bool) {
	if s.all.IsDigest(id) {
		return id, true
	}
	for r := range s.all.OutOf(id, sameAs) {
		if r.Named() {
			return r.To(), true
		}
	}
	return id, false
}

func (s *scope) hop(r graph.Relation) Hop {
	h := Hop{Relation: r.Type.String(), Entry: r.Entry, from: r.From, to: r.To}
	switch r.Role {
	case "issuer", "resource-side", "self-reported":
		h.Grade = r.Role
	}
	return h
}

func (s *scope) hops(rs ...graph.Relation) []Hop {
	var out []Hop
	for _, r := range rs {
		out = append(out, s.hop(r))
	}
	return out
}

// attributes gives those that hold at the moment; of the dates of what began
// before an inventory saw it also those that were told for later.
func (s *scope) attributes(id graph.ID) map[string]string {
	out := s.v.Attributes(id)
	var later map[string]string
	for _, k := range []string{"issuedAt", "expiresAt", "createdAt"} {
		if out[k] == "" {
			if later == nil {
				later = s.all.Attributes(id)
			}
			if later[k] != "" {
				out[k] = later[k]
			}
		}
	}
	return out
}

func moment(text string) (prov.Instant, bool) {
	if text == "" {
		return 0, false
	}
	t, err := prov.ParseTime(text)
	return prov.At(t), err == nil
}

func production(env string) bool {
	e := strings.ToLower(strings.TrimPrefix(env, "env:"))
	return e == "live" || strings.HasPrefix(e, "prod")
}

// deployment is one deployment with what it placed where.
type deployment struct {
	id      graph.ID
	action  string
	env     string // without "env:"
	service string
	live    bool
	start   prov.Instant
	placed  []graph.Relation
	where   []graph.Relation // DeployedTo
}

// deployment reads a deployment that happened by the moment, or gives nil.
func (s *scope) deployment(id graph.ID) *deployment {
	return once(s, "deployment", id, func() *deployment {
		d := &deployment{id: id}
		for _, x := range s.out(id, prov.Relations(prov.Deployed, prov.DeployedTo)) {
			if x.Type == prov.Deployed {
				d.placed = append(d.placed, x)
				continue
			}
			d.where = append(d.where, x)
			d.start, d.live = x.Valid.From, x.Valid.Holds(s.at)
			if s.all.Kind(x.To) == prov.Environment {
				d.env = s.all.Ref(x.To).Name
			} else {
				d.service = s.all.Ref(x.To).Name
			}
		}
		if len(d.where) == 0 || len(d.placed) == 0 || d.start > s.at {
			return nil
		}
		d.action = s.all.Attribute(id, "action")
		return d
	})
}

// liveDeployment gives a deployment if it is live. Most that an account ever
// had are not, and of those no more is read than that.
func (s *scope) liveDeployment(id graph.ID) *deployment {
	for range s.v.OutOf(id, prov.Relations(prov.DeployedTo)) {
		if d := s.deployment(id); d != nil && d.live {
			return d
		}
		break
	}
	return nil
}

// resultOf gives a result about a deployment.
func (s *scope) resultOf(d *deployment) *result {
	r := &result{env: d.env, live: d.live}
	if d.live {
		r.blast = 1
	}
	for _, p := range d.placed {
		r.about = append(r.about, p.To)
	}
	return r
}

var (
	sameAs  = prov.Relations(prov.SameAs)
	reaches = prov.Relations(prov.AuthenticatesWith, prov.ReadsSecret, prov.RunsAs)
	chained = prov.Relations(prov.RunsAs, prov.AuthenticatesWith, prov.ReadsSecret, prov.CallsTool, prov.UsesPrompt, prov.GovernedBy)
)

// use tells in a result which live deployments rest on its subject.
func (s *scope) use(r *result, us []user) {
	for _, u := range us {
		r.live = true
		r.blast++
		r.under = append(r.under, u.d.id)
		if r.env == "" || production(u.d.env) {
			r.env = u.d.env
		}
		r.say(s.hops(u.how...)...)
	}
}

// chain gives what a deployment runs as and with, and how.
func (s *scope) chain(d *deployment) []graph.Relation {
	return s.derive(nodeChain, d.id).([]graph.Relation)
}

func (s *scope) findChain(id graph.ID) []graph.Relation {
	var out []graph.Relation
	seen := map[graph.ID]bool{id: true}
	for todo := []graph.ID{id}; len(todo) > 0; {
		at := todo[0]
		todo = todo[1:]
		for _, x := range s.out(at, chained) {
			if seen[x.To] || x.Valid.From > s.at {
				continue
			}
			seen[x.To] = true
			out = append(out, x)
			if x.Type == prov.RunsAs {
				todo = append(todo, x.To)
			}
		}
	}
	return out
}

// person says whether somebody is an active person: Clear yes, Violated no.
func (s *scope) person(id graph.ID) (Outcome, string) {
	switch a := s.v.Attributes(id); {
	case gone(a):
		return Violated, s.label(id) + " is " + a["state"]
	case a["state"] == "active", a["human"] == "yes", a["createdAt"] != "":
		return Clear, ""
	}
	for range s.v.OutOf(id, prov.Relations(prov.MemberOf)) {
		return Clear, "" // an inventory lists the person
	}
	return Unknown, "no inventory says whether " + s.label(id) + " is active"
}

// gone tells whether who has the attributes is retired or switched off.
func gone(a map[string]string) bool { return a["state"] == "retired" || a["state"] == "inactive" }

type owners struct {
	outcome Outcome
	class   string
	why     string
	hops    []graph.Relation
	name    string
	entry   uint64       // that says that the owner left
	since   prov.Instant // when
}

// left notes in a result that an owner has left.
func (r *result) left(o owners) {
	if o.class == "owner-not-active" {
		r.entries = append(r.entries, o.entry)
		r.from(o.since, o.entry)
	}
}

// stateClaim gives since when, and by which entry, a thing is in the state in
// which it is.
func (s *scope) stateClaim(id graph.ID) (since prov.Instant, entry uint64) {
	state := s.v.Attributes(id)["state"]
	since = prov.Forever
	for c := range s.v.Claims(id) { // what was said after another state was is later
		if c.Key == "state" && c.Value == state && !c.Retracted && c.At <= s.at && (c.At < since || c.At == since && c.Entry < entry) {
			since, entry = c.At, c.Entry
		}
	}
	return since, entry
}

// owner looks for an active person who answers for a thing.
func (s *scope) owner(id graph.ID) owners {
	return s.derive(nodeOwner, id).(owners)
}

func (s *scope) findOwner(ids []graph.ID) owners {
	best := owners{outcome: Violated, class: "no-owner", why: "no entry says who owns " + s.label(ids[0])}
	better := func(o owners) {
		if best.class == "no-owner" || best.outcome == Violated && o.outcome != Violated || o.outcome == Clear {
			best = o
		}
	}
	type step struct {
		id  graph.ID
		how []graph.Relation
	}
	var todo []step
	for _, id := range ids {
		todo = append(todo, step{id: id})
	}
	seen := map[graph.ID]bool{}
	for len(todo) > 0 && best.outcome != Clear {
		at := todo[0]
		todo = todo[1:]
		if seen[at.id] {
			continue
		}
		seen[at.id] = true
		for _, x := range s.out(at.id, prov.Relations(prov.OwnedBy)) { // the first that says so, for inventories repeat it
			if !x.Valid.Holds(s.at) {
				continue
			}
			how := append(slices.Clone(at.how), x)
			o := owners{hops: how, name: s.label(x.To)}
			switch s.v.Kind(x.To) {
			case prov.Person:
				o.outcome, o.why = s.person(x.To)
				if o.class = map[Outcome]string{Violated: "owner-not-active", Unknown: "owner-not-listed"}[o.outcome]; o.outcome == Violated {
					o.since, o.entry = s.stateClaim(x.To)
				}
			case prov.Team, prov.Org, prov.Role:
				o.outcome, o.class, o.why = s.team(x.To)
			default:
				todo = append(todo, step{x.To, how})
				o.outcome, o.class, o.why = Unknown, "owner-is-no-person", s.label(x.To)+" is no person, and no entry says who owns it"
			}
			better(o)
		}
	}
	return best
}

// staff is whether a team has an active member, and why not.
type staff struct {
	outcome    Outcome
	class, why string
}

// team asks whether a team has an active member.
func (s *scope) team(id graph.ID) (Outcome, string, string) {
	t := s.derive(nodeStaff, id).(staff)
	return t.outcome, t.class, t.why
}

func (s *scope) findStaff(id graph.ID) (Outcome, string, string) {
	members, unsure := 0, 0
	for _, x := range s.in(id, prov.Relations(prov.MemberOf)) {
		members++
		if !x.Valid.Holds(s.at) {
			continue
		}
		switch o, _ := s.person(x.From); o {
		case Clear:
			return Clear, "", ""
		case Unknown:
			unsure++
		}
	}
	switch {
	case members == 0:
		return Unknown, "team-not-listed", "no entry lists the members of " + s.label(id)
	case unsure > 0:
		return Unknown, "owner-not-listed", "no inventory says whether a member of " + s.label(id) + " is active"
	}
	return Violated, "team-empty", fmt.Sprintf("%s has no active member of %d that were listed", s.label(id), members)
}

// decisions weighs the decisions on a thing at a time.
func (s *scope) decisions(id graph.ID, at prov.Instant, env string) []policy.Decision {
	return keep(s, memoKey{"decisions", id, at, env}, func() []policy.Decision {
		return policy.Decisions(s.all.When(at), id, policy.Context{Log: s.o.Log, Environment: env, Stewards: s.o.Stewards})
	})
}
