package finding

import (
	"cmp"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

// What is live, and what that rests on, is derived once for all detectors: each
// live deployment is walked downwards, and no thing upwards to its users.

// The marks of what is derived of a thing; see graph.Derived.
var (
	markFoot  = graph.Derived(0) // the footprint of a deployment
	markUsers = graph.Derived(1) // the live deployments that use an identity or credential
	markRests = graph.Derived(2) // where it is live what rests on it
	markCalls = graph.Derived(3) // the calls that ran as an identity
	markOwner = graph.Derived(4) // who answers for a thing
	// Of kinds of things that have nothing of the above in common:
	markStaff = markRests // of a team: whether it has an active member
	markChain = markUsers // of a deployment: what it runs as and with
	markAsked = markCalls // of an entity: whether there is any decision on it
)

// footprint is what a live deployment rests on.
type footprint struct {
	d       *deployment
	behind  []graph.ID // all that it was made with, ascending
	outside []graph.ID // of these what no activity made, the nearest first
}

// link is something that a deployment uses, and how.
type link struct {
	to  graph.ID
	how []graph.Relation // from the deployment
}

// user is a live deployment that rests on an identity or credential, and how.
type user struct {
	d   *deployment
	how []graph.Relation // from the deployment
}

// world is the footprints of all live deployments, and what follows from them.
type world struct {
	feet  map[graph.ID]*footprint
	usage map[graph.ID]*usage
	users map[graph.ID][]user // ascending by the deployments
	rests map[graph.ID][]graph.ID
	calls map[graph.ID][]call // by identity, in the order of time
	acts  map[graph.ID][]call // by activity; only of who follows
}

func newWorld() *world {
	return &world{feet: map[graph.ID]*footprint{}, usage: map[graph.ID]*usage{}, users: map[graph.ID][]user{}, rests: map[graph.ID][]graph.ID{}, calls: map[graph.ID][]call{}, acts: map[graph.ID][]call{}}
}

// whole gives the world of the scope. It is made when it is first asked for,
// unless it is given.
func (s *scope) whole() *world {
	if s.w != nil {
		return s.w
	}
	notes := s.v.Notes()
	s.noting(nil) // who follows brings the world along
	s.w = newWorld()
	for id := graph.ID(1); int(id) < s.v.Len(); id++ {
		if s.all.Kind(id) == prov.Deployment && s.all.Known(id) {
			s.w.use(id, s.uses(id), nil)
			s.w.replace(id, s.footprint(id), nil)
		}
	}
	s.noting(notes)
	return s.w
}

// footprint walks a deployment down; nil: it is not live.
func (s *scope) footprint(id graph.ID) *footprint {
	d := s.liveDeployment(id)
	if d == nil {
		return nil
	}
	f := &footprint{d: d}
	f.behind = s.madeWith(d)
	for _, x := range f.behind {
		switch s.kind(x) {
		case prov.Model, prov.Dataset, prov.Package, prov.Image, prov.Code, prov.Prompt, prov.Tool, prov.Agent:
			if !s.named(x) && !s.madeBy(x) {
				f.outside = append(f.outside, x)
			}
		}
	}
	slices.Sort(f.behind)
	return f
}

// uses walks a deployment down to the identities, credentials and secrets that
// it has; nil: it is not live.
func (s *scope) uses(id graph.ID) *usage {
	d := s.liveDeployment(id)
	if d == nil {
		return nil
	}
	f := &usage{d: d}
	seen := map[graph.ID]bool{id: true}
	for todo := []link{{to: id}}; len(todo) > 0; todo = todo[1:] {
		at := todo[0]
		for _, x := range s.out(at.to, reaches) {
			if seen[x.To] || x.Valid.From > s.at {
				continue
			}
			seen[x.To] = true
			l := link{x.To, append(slices.Clone(at.how), x)}
			f.links = append(f.links, l)
			switch s.all.Kind(x.To) {
			case prov.ServiceAccount, prov.Workload, prov.Subagent, prov.Role, prov.Agent, prov.Person:
				todo = append(todo, l)
			}
		}
	}
	return f
}

// usage is what a live deployment runs as and authenticates with.
type usage struct {
	d     *deployment
	links []link
}

// madeWith gives what a deployment placed and runs with, and all that these
// were made with, the nearest first.
func (s *scope) madeWith(d *deployment) []graph.ID {
	var from []graph.ID
	for _, p := range d.placed {
		from = append(from, s.same(p.To)...)
	}
	for _, x := range s.chain(d) {
		if x.Type != prov.RunsAs && x.Type != prov.AuthenticatesWith && x.Type != prov.ReadsSecret {
			from = append(from, s.same(x.To)...)
		}
	}
	return query.Ingredients(s.v, from)
}

// replace puts another footprint in the place of that which a deployment had,
// and tells what was derived anew.
func (w *world) replace(id graph.ID, now *footprint, changed func(graph.ID, graph.Facets)) {
	was := w.feet[id]
	if was == nil && now == nil {
		return
	}
	if now == nil {
		delete(w.feet, id)
	} else {
		w.feet[id] = now
	}
	tell := func(x graph.ID, f graph.Facets) {
		if changed != nil {
			changed(x, f)
		}
	}
	tell(id, markFoot)
	if was == nil {
		was = &footprint{}
	}
	if now == nil {
		now = &footprint{}
	}
	sameDeployment := was.d != nil && now.d != nil && was.d.equal(now.d)
	w.rest(id, was.behind, now.behind, sameDeployment, changed)
}

// use puts another usage in the place of that which a deployment had, and tells
// whose users are others.
func (w *world) use(id graph.ID, now *usage, changed func(graph.ID, graph.Facets)) {
	was := w.usage[id]
	if was == nil && now == nil {
		return
	}
	if now == nil {
		delete(w.usage, id)
		now = &usage{}
	} else {
		w.usage[id] = now
	}
	if was == nil {
		was = &usage{}
	}
	same := was.d != nil && now.d != nil && was.d.equal(now.d)
	in := func(links []link, l link) bool {
		return slices.ContainsFunc(links, func(m link) bool { return m.to == l.to && slices.Equal(m.how, l.how) })
	}
	for _, l := range was.links {
		w.users[l.to] = slices.DeleteFunc(w.users[l.to], func(u user) bool { return u.d.id == id })
	}
	for _, l := range now.links {
		us := w.users[l.to]
		i, _ := slices.BinarySearchFunc(us, id, func(u user, id graph.ID) int { return cmp.Compare(u.d.id, id) })
		w.users[l.to] = slices.Insert(us, i, user{now.d, l.how})
		if changed != nil && (!same || !in(was.links, l)) {
			changed(l.to, markUsers)
		}
	}
	for _, l := range was.links {
		if changed != nil && (!same || !in(now.links, l)) {
			changed(l.to, markUsers)
		}
	}
}

// rest brings up to date what rests on what, of one deployment.
func (w *world) rest(id graph.ID, was, now []graph.ID, same bool, changed func(graph.ID, graph.Facets)) {
	for len(was) > 0 || len(now) > 0 {
		var x graph.ID
		gone, come := false, false
		switch {
		case len(now) == 0 || len(was) > 0 && was[0] < now[0]:
			x, was, gone = was[0], was[1:], true
		case len(was) == 0 || now[0] < was[0]:
			x, now, come = now[0], now[1:], true
		default:
			x, was, now = was[0], was[1:], now[1:]
		}
		if gone || come {
			l := w.rests[x]
			i, _ := slices.BinarySearch(l, id)
			if gone {
				l = slices.Delete(l, i, i+1)
			} else {
				l = slices.Insert(l, i, id)
			}
			w.rests[x] = l
		}
		if changed != nil && (gone || come || !same) {
			changed(x, markRests)
		}
	}
}

// equal tells whether nothing is told otherwise of a deployment.
func (d *deployment) equal(o *deployment) bool {
	return d.id == o.id && d.action == o.action && d.env == o.env && d.service == o.service && d.live == o.live && d.start == o.start &&
		slices.Equal(d.placed, o.placed) && slices.Equal(d.where, o.where)
}

// note notes that something derived of a thing was read.
func (s *scope) note(id graph.ID, f graph.Facets) {
	if r := s.v.Notes(); r != nil {
		r.Note(id, f)
	}
}

// foot gives the footprint of a live deployment.
func (s *scope) foot(d *deployment) *footprint {
	s.note(d.id, markFoot)
	if f := s.whole().feet[d.id]; f != nil {
		return f
	}
	return &footprint{d: d}
}

// users gives the live deployments that run as an identity, or as one that
// holds a credential. Relations that ended count: what a live deployment was
// given it still has, unless an entry says otherwise.
func (s *scope) users(id graph.ID) []user {
	s.note(id, markUsers)
	return s.whole().users[id]
}

// maxBlast is how many live deployments are counted where only the severity
// depends on it.
const maxBlast = 10

// resting is where what rests on a thing is live.
type resting struct {
	env string // one in production, if there is one
	n   int    // live deployments, up to maxBlast
}

// restsOn says where what rests on things is live.
func (s *scope) restsOn(ids ...graph.ID) resting {
	w, out := s.whole(), resting{}
	var on []graph.ID
	for _, id := range ids {
		s.note(id, markRests)
		on = append(on, w.rests[id]...)
	}
	if len(ids) > 1 {
		slices.Sort(on)
		on = slices.Compact(on)
	}
	out.n = min(len(on), maxBlast)
	for _, d := range on {
		if e := w.feet[d].d.env; out.env == "" || production(e) {
			if out.env = e; production(e) {
				break
			}
		}
	}
	return out
}

// rest says in a result where what rests on things is live.
func (s *scope) rest(r *result, ids ...graph.ID) {
	if at := s.restsOn(ids...); at.n > 0 {
		r.live, r.env, r.blast = true, at.env, at.n
	}
}

// derivation is something that many subjects ask of the same thing. Who follows
// keeps it: when what it was made of changes and it stays the same, nobody else
// is looked at anew.
type derivation struct {
	name string
	mark graph.Facets
	make func(s *scope, id graph.ID) any
}

var derivations map[node]derivation

func init() { // not at once: findOwner asks for derivations
	derivations = map[node]derivation{
		nodeStaff: {"staff", markStaff, func(s *scope, id graph.ID) any {
			o, class, why := s.findStaff(id)
			return staff{o, class, why}
		}},
		nodeChain: {"chain", markChain, func(s *scope, id graph.ID) any { return s.findChain(id) }},
		nodeAsked: {"asked", markAsked, func(s *scope, id graph.ID) any { return s.anyDecision(id) }},
		nodeOwner: {"owner", markOwner, func(s *scope, id graph.ID) any { return s.findOwner(s.same(id)) }},
	}
}

// derive gives what is derived of a thing.
func (s *scope) derive(what node, id graph.ID) any {
	d := derivations[what]
	if s.f == nil {
		return once(s, d.name, id, func() any { return d.make(s, id) })
	}
	s.note(id, d.mark)
	n := nodeOf(id, what)
	if c := s.f.cells[n]; c != nil {
		return c.value
	}
	return s.f.derive(s, n).value
}

// anyDecision tells whether there is a decision on a thing under any name, or on
// other content of one of its names.
func (s *scope) anyDecision(id graph.ID) bool {
	ids := s.same(id)
	for _, x := range ids {
		if s.all.Alike(x) {
			for r := range s.all.OutOf(x, sameAs) {
				ids = append(ids, r.To())
			}
		}
	}
	for _, x := range ids {
		for range s.all.OutOf(x, prov.Relations(prov.ApprovedBy, prov.RejectedBy, prov.RevokedBy, prov.RequestedBy)) {
			return true
		}
	}
	return false
}

// call is one call of a tool by an activity that ran as an identity.
type call struct{ ran, called graph.Relation }

func (c call) compare(o call) int {
	return cmp.Or(cmp.Compare(c.called.Valid.From, o.called.Valid.From), cmp.Compare(c.called.Entry, o.called.Entry), cmp.Compare(c.ran.From, o.ran.From),
		cmp.Compare(c.called.To, o.called.To), cmp.Compare(c.ran.Entry, o.ran.Entry))
}

// making tells of activities that are of the making of a thing: the tools that
// they call are not those of what is deployed later under the same identity.
var makingKinds = map[string]bool{"collect": true, "train": true, "fine-tune": true, "transform": true, "evaluate": true, "package": true, "build": true, "commit": true}

// callsOf gives the calls of an activity at run time, once for each identity as
// which it ran.
func (s *scope) callsOf(act graph.ID) []call {
	called := s.out(act, prov.Relations(prov.CallsTool))
	if len(called) == 0 || makingKinds[s.all.Attribute(act, "activity")] {
		return nil
	}
	var out []call
	for _, ran := range s.out(act, prov.Relations(prov.AssociatedWith)) {
		for _, x := range called {
			out = append(out, call{ran, x})
		}
	}
	return out
}

// calls gives the calls of tools at run time that ran as an identity.
func (s *scope) calls(who graph.ID) []call {
	s.note(who, markCalls)
	w := s.whole()
	if s.f != nil {
		return w.calls[who]
	}
	cs, ok := w.calls[who]
	if !ok {
		for r := range s.all.InOf(who, prov.Relations(prov.AssociatedWith)) {
			if s.all.Kind(r.From()) == prov.Activity {
				for _, c := range s.callsOf(r.From()) {
					if c.ran.To == who {
						cs = append(cs, c)
					}
				}
			}
		}
		slices.SortFunc(cs, call.compare)
		cs = slices.Compact(cs)
		w.calls[who] = cs
	}
	return cs
}

// ran brings the calls of an activity up to date, and tells whose are others.
func (s *scope) ran(act graph.ID, changed func(graph.ID, graph.Facets)) {
	w := s.w
	was, now := w.acts[act], s.callsOf(act)
	if slices.Equal(was, now) {
		return
	}
	for _, c := range was {
		l := w.calls[c.ran.To]
		if i, ok := slices.BinarySearchFunc(l, c, call.compare); ok {
			w.calls[c.ran.To] = slices.Delete(l, i, i+1)
		}
	}
	for _, c := range now {
		l := w.calls[c.ran.To]
		if i, ok := slices.BinarySearchFunc(l, c, call.compare); !ok {
			w.calls[c.ran.To] = slices.Insert(l, i, c)
		}
	}
	for _, c := range slices.Concat(was, now) {
		changed(c.ran.To, markCalls)
	}
	if w.acts[act] = now; len(now) == 0 {
		delete(w.acts, act)
	}
}
