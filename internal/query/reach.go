package query

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/access"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// rights are the relations by which an identity comes to a resource. Deployed
// and DeployedTo are walked against their direction: an agent or service acts
// through the deployments of it that are live.
var rights = prov.Relations(prov.SameAs, prov.CanAssume, prov.MemberOf, prov.Granted, prov.GrantsOn, prov.CallsTool,
	prov.AuthenticatesWith, prov.ReadsSecret, prov.RunsAs, prov.DelegatedTo, prov.Deployed, prov.DeployedTo)

// hop is one relation as it is walked, and when.
type hop struct {
	to  graph.ID
	in  prov.Period
	rel graph.Relation
	// doubt says why it is not known whether the relation gives a right; "":
	// it does.
	doubt string
	grant *grant   // of a hop from a grant: what it says
	part  bool     // it is a right to a part of what was asked
	less  []*grant // refusals that take something of it
}

// reacher walks rights. Over the whole history a path counts only if all its
// relations held at one moment; when says at which moments a thing is reached.
//
// Those who act and are refused something, or bounded, have a copy of their
// own of each membership and grant (see copy), since what a grant gives depends
// on who uses it.
type reacher struct {
	b     *builder
	v     graph.View
	all   graph.View // over all of time
	mask  prov.RelationSet
	start graph.ID
	hops  map[graph.ID][]hop
	sure  bool // leave out hops in doubt
	doubt bool // there are such

	ask    access.Ask // for a resource; Any: for all
	ends   []graph.ID // what is asked for, as far as the graph has it
	end    graph.ID   // stands for it where the graph has it not, or under another name
	endRef prov.Ref

	copies  []copied
	copyOf  map[copied]graph.ID
	grants  map[graph.ID]*grant
	sets    map[graph.ID]*policySet
	limited map[graph.ID]bool // who has a policySet
}

// CanReach answers how an identity, or an agent, service or deployment, can
// reach a resource: by what it runs as, the roles that it can assume, its
// memberships, delegations, grants, credentials, secrets and tools. Without a
// resource it gives all that is reached.
//
// Grants are weighed: their wildcards, what they except, refusals and bounds of
// those who use them, conditions as far as they can be decided. A resource need
// not be named in the log: a pattern may hold it. The outcome is yes with the
// path, or unknown with the reasons; that no path is recorded is a
// [NoPathError].
//
// Of the whole history (no valid time) it gives what was reached at any
// moment, with the periods, and the path as of the last moment of them.
func CanReach(v graph.View, from, to string, opt Options) (*Answer, error) {
	ids, err := Resolve(v, from, One)
	if err != nil {
		return nil, err
	}
	q := Question{Verb: "reach", Refs: []string{from}, Depth: opt.Depth, Limit: opt.Limit, All: opt.All, Action: opt.Action}
	for _, k := range opt.Kinds {
		q.Kinds = append(q.Kinds, string(k))
	}
	mask := opt.Relations
	if mask == 0 {
		mask = rights
	} else {
		q.Relations = relationNames(mask)
	}
	if to != "" {
		q.Refs = append(q.Refs, to)
	}
	r := newReacher(v, q, mask, opt)
	r.start = r.b.represent(ids[0])
	if err := r.asked(to); err != nil {
		return nil, err
	}
	r.limits()
	forth, err := spread([]graph.ID{r.start}, r.next, r.b)
	if err != nil {
		return nil, err
	}
	r.b.answer.Focus = append(r.b.answer.Focus, r.b.name(r.start))
	if to == "" {
		err = r.everything(forth, from)
	} else {
		err = r.resource(forth, from, to)
	}
	if err != nil {
		return nil, err
	}
	r.told()
	return r.b.end()
}

func newReacher(v graph.View, q Question, mask prov.RelationSet, opt Options) *reacher {
	r := &reacher{b: newBuilder(v, q, opt), v: v, all: v.Always(), mask: mask, hops: map[graph.ID][]hop{}, ask: access.Ask{Any: true, Action: opt.Action},
		copyOf: map[copied]graph.ID{}, grants: map[graph.ID]*grant{}, sets: map[graph.ID]*policySet{}, limited: map[graph.ID]bool{}}
	r.b.virtual = func(id graph.ID) string {
		if r.real(id) == graph.None {
			return r.endRef.String()
		}
		return r.b.name(r.real(id))
	}
	return r
}

// reached is what a walk over time has reached.
type reached struct {
	when  map[graph.ID]span
	dist  map[graph.ID]int
	order []graph.ID // nearest first, then in the order of names
}

// spread walks in rounds. In each it goes on from the moments that the round
// before reached for the first time, so that for every moment it is a
// breadth-first search, and ends on cycles.
func spread(from []graph.ID, next func(graph.ID) []hop, b *builder) (*reached, error) {
	r := &reached{when: map[graph.ID]span{}, dist: map[graph.ID]int{}}
	cur, fresh := from, map[graph.ID]span{}
	for _, id := range from {
		fresh[id] = span{prov.Always}
	}
	for d, steps := 0, 0; len(cur) > 0; d++ {
		cur = slices.Clone(cur)
		slices.SortFunc(cur, func(x, y graph.ID) int { return strings.Compare(b.name(x), b.name(y)) })
		for _, id := range cur {
			if _, ok := r.dist[id]; !ok {
				r.dist[id] = d
				r.order = append(r.order, id)
			}
			r.when[id] = r.when[id].join(fresh[id])
		}
		var more []graph.ID
		then := map[graph.ID]span{}
		for _, id := range cur {
			for _, h := range next(id) {
				if steps++; b.opt.stopped(steps) {
					return nil, ErrStopped
				}
				s := fresh[id].meet(h.in).minus(r.when[h.to])
				if len(s) == 0 {
					continue
				}
				if _, ok := then[h.to]; !ok {
					more = append(more, h.to)
				}
				then[h.to] = then[h.to].join(s)
			}
		}
		cur, fresh = more, then
	}
	return r, nil
}

// period gives when a relation holds: always, when the view is of one moment.
func (r *reacher) period(rel graph.Relation) prov.Period {
	if r.b.v.AsOf().Valid != prov.Forever {
		return prov.Always
	}
	return rel.Valid
}

// live gives when a deployment was what ran in its environment.
func (r *reacher) live(deployment graph.ID) span {
	var out span
	for rel := range r.b.v.Out(deployment) {
		if rel.Type() == prov.DeployedTo {
			out = out.join(span{r.period(r.b.v.Relation(rel))})
		}
	}
	return out
}

// certain walks again without what is in doubt.
func (r *reacher) certain() (*reached, error) {
	r.sure, r.hops = true, map[graph.ID][]hop{}
	return spread([]graph.ID{r.start}, r.next, r.b)
}

// everything puts all that is reached into the answer.
func (r *reacher) everything(forth *reached, from string) error {
	b := r.b
	kinds := map[prov.Kind]bool{}
	for _, k := range b.opt.Kinds {
		kinds[k] = true
	}
	if len(forth.order) == 1 {
		return fmt.Errorf("%w: no entry known then says what %s can reach (not that it can reach nothing); stemma show %s tells what is recorded of it", ErrNotFound, from, from)
	}
	hidden := map[graph.ID]bool{}
	for _, id := range forth.order {
		d, x := forth.dist[id], r.real(id)
		switch {
		case b.has(x):
		case len(kinds) > 0 && d > 0 && !b.wanted(x, kinds):
		case b.opt.Depth > 0 && d > b.opt.Depth, b.opt.Limit > 0 && len(b.members) >= b.opt.Limit:
			hidden[x] = true
		default:
			b.member(x, d)
		}
	}
	b.answer.Hidden = len(hidden)
	b.answer.Truncated = b.answer.Hidden > 0
	r.relations(forth, func(id graph.ID, h hop) bool { return len(forth.when[id].meet(h.in)) > 0 })
	r.periods(forth)
	if r.doubt {
		sure, err := r.certain()
		if err != nil {
			return err
		}
		known := map[graph.ID]bool{}
		for _, id := range sure.order {
			known[r.real(id)] = true
		}
		b.unsure = map[string]bool{}
		for _, x := range b.members {
			if !known[x] {
				b.unsure[b.name(x)] = true
			}
		}
	}
	r.gaps(forth)
	return nil
}

// relations puts the hops between members into the answer.
func (r *reacher) relations(forth *reached, walked func(graph.ID, hop) bool) {
	for _, id := range forth.order {
		if !r.b.has(r.real(id)) {
			continue
		}
		for _, h := range r.next(id) {
			if x := r.real(h.to); (x == graph.None || r.b.has(x)) && walked(id, h) {
				r.b.related(r.relation(h))
				if h.doubt != "" {
					r.b.unknown(r.b.name(id), "%s", h.doubt)
				}
			}
		}
	}
}

// relation gives a hop as the answer tells it: of a grant that holds what was
// asked under a pattern, to what was asked.
func (r *reacher) relation(h hop) RelationItem {
	it := r.b.relationItem(h.rel)
	if h.grant != nil && h.to == r.end && r.real(h.rel.To) != r.real(h.to) {
		it.To, it.Rule = r.b.name(h.to), "covers"
	}
	return it
}

// resource puts the ways to what was asked into the answer.
func (r *reacher) resource(forth *reached, from, to string) error {
	b := r.b
	ends := r.reachedEnds(forth)
	outcome := access.Unknown
	if len(ends) > 0 && !r.doubt {
		outcome = access.Yes
	} else if len(ends) > 0 {
		all := r.hops
		sure, err := r.certain()
		if err != nil {
			return err
		}
		if e := r.reachedEnds(sure); len(e) > 0 {
			outcome, forth, ends = access.Yes, sure, e
		} else {
			r.sure, r.hops = false, all
		}
	}
	if len(ends) == 0 {
		return r.noPath(forth, from, to)
	}
	b.answer.Outcome = outcome.String()
	last := prov.Beginning // of the moments at which an end is reached
	for _, x := range ends {
		s := forth.when[x]
		last = max(last, s[len(s)-1].To-1)
	}
	back, err := spread(ends, r.backwards(forth), b)
	if err != nil {
		return err
	}
	hidden := map[graph.ID]bool{}
	for _, id := range forth.order {
		x := r.real(id)
		switch {
		case !forth.when[id].meets(back.when[id]) || b.has(x):
		case x == graph.None:
			b.extra = append(b.extra, Item{Ref: r.endRef.String(), Kind: string(r.endRef.Kind), Name: nameOf(r.endRef), Entries: []uint64{}, Distance: new(forth.dist[id]),
				Notes: []string{"no entry names it; patterns of grants hold it"}})
		case b.opt.Limit > 0 && !b.opt.All && len(b.members) >= b.opt.Limit:
			hidden[x] = true
		default:
			b.member(x, forth.dist[id])
		}
	}
	b.answer.Hidden = len(hidden)
	b.answer.Truncated = b.answer.Hidden > 0
	r.relations(forth, func(id graph.ID, h hop) bool { return forth.when[id].meet(h.in).meets(back.when[h.to]) })
	for _, id := range ends {
		if x := r.real(id); x == graph.None || b.has(x) {
			b.answer.Focus = append(b.answer.Focus, b.name(id))
		}
	}
	r.periods(forth)
	return r.path(ends, last)
}

// reachedEnds gives those of what was asked for that a walk reached.
func (r *reacher) reachedEnds(forth *reached) []graph.ID {
	var out []graph.ID
	for _, x := range append(slices.Clone(r.ends), r.end) {
		if len(forth.when[x]) > 0 && !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

// backwards gives the hops of what was reached from their far ends.
func (r *reacher) backwards(forth *reached) func(graph.ID) []hop {
	back := map[graph.ID][]hop{}
	for _, id := range forth.order {
		for _, h := range r.next(id) {
			back[h.to] = append(back[h.to], hop{to: id, in: h.in, rel: h.rel})
		}
	}
	return func(id graph.ID) []hop { return back[id] }
}

// path gives the paths as they were at one moment.
func (r *reacher) path(ends []graph.ID, at prov.Instant) error {
	m := maze{start: r.start, end: func(id graph.ID) bool { return slices.Contains(ends, id) }, name: r.b.name,
		hops: func(p place) []place {
			h := hopper{found: map[graph.ID]bool{}}
			for _, x := range r.next(p.id) {
				if x.in.Holds(at) {
					h.add(p.id, x.to, false)
				}
			}
			return h.places()
		}}
	w, err := r.b.paths(m)
	if err != nil {
		return err
	}
	path := w.first()
	for i := 1; i < len(path); i++ {
		var best hop
		var item *RelationItem
		for _, h := range r.next(w.places[path[i-1]].id) {
			if h.to != w.places[path[i]].id || !h.in.Holds(at) {
				continue
			}
			if it := r.relation(h); item == nil || it.Entry < item.Entry || it.Entry == item.Entry && it.Type < item.Type {
				item, best = &it, h
			}
		}
		r.b.answer.Hops = append(r.b.answer.Hops, *item)
		r.b.answer.Steps = append(r.b.answer.Steps, r.step(best, *item, at))
	}
	return nil
}

// periods notes when each thing was reached, where that is not always.
func (r *reacher) periods(forth *reached) {
	r.b.reached = map[string][]Period{}
	when := map[string]span{}
	for _, id := range forth.order {
		if x := r.real(id); x == graph.None || r.b.has(x) {
			when[r.b.name(id)] = when[r.b.name(id)].join(forth.when[id])
		}
	}
	for name, s := range when {
		if len(s) == 1 && s[0] == prov.Always {
			continue
		}
		var out []Period
		for _, p := range s {
			out = append(out, Period{nullTime(p.From.String()), nullTime(p.To.String())})
		}
		r.b.reached[name] = out
	}
}

// told adds who owns what is in the answer and the notices about it, and says
// what the answer about rights cannot know.
func (r *reacher) told() {
	b := r.b
	around := prov.Relations(prov.OwnedBy, prov.SubjectOf)
	aws := false
	for _, id := range slices.Clone(b.members) {
		if g := r.grants[id]; g != nil && access.DialectOf(g.Resource) == access.AWS {
			aws = true
		}
		for _, x := range b.group(id) {
			b.around(x, around)
			if s := b.v.Attributes(x)["state"]; s == "retired" || s == "inactive" {
				b.unknown(b.name(x), "is recorded as %s; whether what it could reach ended with that, no entry says", s)
			}
			for rel := range b.v.Out(x) {
				if rel.Type() == prov.ActedOnBehalfOf && !b.has(rel.To()) && b.v.Ref(x).Kind != prov.Activity {
					b.unknown(b.name(x), "acts on behalf of %s (entry %d); what that can reach is not counted, for how much of it was delegated is not in the graph",
						b.name(rel.To()), b.v.Relation(rel).Entry)
				}
			}
		}
	}
	if aws {
		b.unknown("", "%s", outsideAWS)
	}
	b.connect(around)
	b.problems()
}

// outsideAWS is what no inventory of an AWS account tells.
const outsideAWS = "service control policies, policies of resources and of sessions are in no inventory that is read; they may refuse or allow more than the identity policies that were weighed"
