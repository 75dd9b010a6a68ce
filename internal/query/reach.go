package query

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// access are the relations by which an identity comes to a resource. Deployed
// and DeployedTo are walked against their direction: an agent or service acts
// through the deployments of it that are live.
var access = prov.Relations(prov.SameAs, prov.CanAssume, prov.MemberOf, prov.Granted, prov.GrantsOn, prov.CallsTool,
	prov.AuthenticatesWith, prov.ReadsSecret, prov.RunsAs, prov.DelegatedTo, prov.Deployed, prov.DeployedTo)

// hop is one relation as it is walked, and when.
type hop struct {
	to  graph.ID
	in  prov.Period
	rel graph.Relation
}

// reacher walks rights. Over the whole history a path counts only if all its
// relations held at one moment; when says at which moments a thing is reached.
type reacher struct {
	b     *builder
	mask  prov.RelationSet
	start graph.ID
	hops  map[graph.ID][]hop
}

// CanReach answers how an identity, or an agent, service or deployment, can
// reach a resource: by what it runs as, the roles that it can assume, its
// memberships, delegations, grants, credentials, secrets and tools. Without a
// resource it gives all that is reached.
//
// Of the whole history (no valid time) it gives what was reached at any
// moment, with the periods, and the path as of the last moment of them.
func CanReach(v graph.View, from, to string, opt Options) (*Answer, error) {
	ids, err := Resolve(v, from, One)
	if err != nil {
		return nil, err
	}
	q := Question{Verb: "reach", Refs: []string{from}, Depth: opt.Depth, Limit: opt.Limit, All: opt.All}
	for _, k := range opt.Kinds {
		q.Kinds = append(q.Kinds, string(k))
	}
	mask := opt.Relations
	if mask == 0 {
		mask = access
	} else {
		q.Relations = relationNames(mask)
	}
	var targets []graph.ID
	if to != "" {
		q.Refs = append(q.Refs, to)
		if targets, err = Resolve(v, to, All); err != nil {
			return nil, err
		}
	}
	b := newBuilder(v, q, opt)
	r := &reacher{b: b, mask: mask, start: b.represent(ids[0]), hops: map[graph.ID][]hop{}}
	forth, err := spread([]graph.ID{r.start}, r.next, b)
	if err != nil {
		return nil, err
	}
	b.answer.Focus = append(b.answer.Focus, b.name(r.start))
	if to == "" {
		err = r.everything(forth, from)
	} else {
		err = r.resource(forth, targets, from, to)
	}
	if err != nil {
		return nil, err
	}
	b.rightsInDoubt()
	return b.end()
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

// next gives the hops from a thing.
func (r *reacher) next(id graph.ID) []hop {
	if hs, ok := r.hops[id]; ok {
		return hs
	}
	var hs []hop
	v := r.b.v
	add := func(other graph.ID, rel graph.Relation, in span) {
		to := r.b.represent(other)
		for _, p := range in.meet(r.period(rel)) {
			if to != id {
				hs = append(hs, hop{to, p, rel})
			}
		}
	}
	for _, x := range r.b.group(id) {
		when := span{prov.Always}
		if v.Ref(x).Kind == prov.Deployment && v.Attributes(x)["action"] != "" {
			when = r.live(x)
		}
		for rel := range v.Out(x) {
			if t := rel.Type(); r.mask.Has(t) && t != prov.Deployed && t != prov.DeployedTo {
				add(rel.To(), v.Relation(rel), when)
			}
		}
		for rel := range v.In(x) {
			switch t := rel.Type(); {
			case !r.mask.Has(t):
			case t == prov.SameAs:
				add(rel.From(), v.Relation(rel), when)
			case t == prov.DeployedTo, t == prov.Deployed && (id == r.start || v.Ref(x).Kind == prov.Agent):
				add(rel.From(), v.Relation(rel), r.live(rel.From()))
			}
		}
	}
	r.hops[id] = hs
	return hs
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
	for _, id := range forth.order {
		d := forth.dist[id]
		switch {
		case len(kinds) > 0 && d > 0 && !b.wanted(id, kinds):
		case b.opt.Depth > 0 && d > b.opt.Depth, b.opt.Limit > 0 && len(b.members) >= b.opt.Limit:
			b.answer.Hidden++
		default:
			b.member(id, d)
		}
	}
	b.answer.Truncated = b.answer.Hidden > 0
	for _, id := range b.members {
		for _, h := range r.next(id) {
			if b.has(h.to) && len(forth.when[id].meet(h.in)) > 0 {
				b.relation(h.rel)
			}
		}
	}
	r.periods(forth)
	return nil
}

// resource puts the ways to the targets into the answer.
func (r *reacher) resource(forth *reached, targets []graph.ID, from, to string) error {
	b := r.b
	var ends []graph.ID
	last := prov.Beginning // of the moments at which a target is reached
	for _, id := range targets {
		for _, x := range []graph.ID{id, b.v.SeriesOf(id)} { // a right to a series is one to its versions
			if x == graph.None {
				continue
			}
			x = b.represent(x)
			if s := forth.when[x]; len(s) > 0 && !slices.Contains(ends, x) {
				ends = append(ends, x)
				last = max(last, s[len(s)-1].To-1)
			}
		}
	}
	if len(ends) == 0 {
		return fmt.Errorf("%w: no path from %s to %s is recorded as of then (not that it cannot reach it: only rights that an entry tells of are known); stemma reach %s lists what is%s", ErrNotFound, from, to, from, erasedPaths(b.v))
	}
	back, err := spread(ends, r.backwards(forth), b)
	if err != nil {
		return err
	}
	between := func(id graph.ID) bool { return forth.when[id].meets(back.when[id]) }
	for _, id := range forth.order {
		switch {
		case !between(id):
		case b.opt.Limit > 0 && !b.opt.All && len(b.members) >= b.opt.Limit:
			b.answer.Hidden++
		default:
			b.member(id, forth.dist[id])
		}
	}
	b.answer.Truncated = b.answer.Hidden > 0
	for _, id := range b.members {
		for _, h := range r.next(id) {
			if b.has(h.to) && forth.when[id].meet(h.in).meets(back.when[h.to]) {
				b.relation(h.rel)
			}
		}
	}
	for _, id := range ends {
		if b.has(id) {
			b.answer.Focus = append(b.answer.Focus, b.name(id))
		}
	}
	r.periods(forth)
	return r.path(ends, last)
}

// backwards gives the hops of what was reached from their far ends.
func (r *reacher) backwards(forth *reached) func(graph.ID) []hop {
	back := map[graph.ID][]hop{}
	for _, id := range forth.order {
		for _, h := range r.next(id) {
			back[h.to] = append(back[h.to], hop{id, h.in, h.rel})
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
		var best *RelationItem
		for _, h := range r.next(w.places[path[i-1]].id) {
			if h.to != w.places[path[i]].id || !h.in.Holds(at) {
				continue
			}
			if it := r.b.relationItem(h.rel); best == nil || it.Entry < best.Entry || it.Entry == best.Entry && it.Type < best.Type {
				best = &it
			}
		}
		r.b.answer.Hops = append(r.b.answer.Hops, *best)
	}
	return nil
}

// periods notes when each thing was reached, where that is not always.
func (r *reacher) periods(forth *reached) {
	r.b.reached = map[string][]Period{}
	for _, id := range r.b.members {
		s := forth.when[id]
		if len(s) == 1 && s[0] == prov.Always {
			continue
		}
		var out []Period
		for _, p := range s {
			out = append(out, Period{nullTime(p.From.String()), nullTime(p.To.String())})
		}
		r.b.reached[r.b.name(id)] = out
	}
}

// rightsInDoubt adds who owns what is in the answer and the notices about it,
// and says what the answer about rights cannot know.
func (b *builder) rightsInDoubt() {
	around := prov.Relations(prov.OwnedBy, prov.SubjectOf)
	for _, id := range slices.Clone(b.members) {
		for _, x := range b.group(id) {
			b.around(x, around)
			attrs := b.v.Attributes(x)
			if s := attrs["state"]; s == "retired" || s == "inactive" {
				b.unknown(b.name(x), "is recorded as %s; whether what it could reach ended with that, no entry says", s)
			}
			for _, k := range slices.Sorted(maps.Keys(attrs)) {
				if strings.HasPrefix(k, "denied.") {
					b.unknown(b.name(x), "is denied something on %s; how much of what is granted remains is not computed", attrs[k])
				}
			}
			for rel := range b.v.Out(x) {
				if b.has(rel.To()) && access.Has(rel.Type()) && b.v.Relation(rel).Role == graph.RoleConditional {
					b.unknown(b.name(x), "the right to %s (entry %d) holds only under a condition; whether it is met is not in the graph", b.name(rel.To()), b.v.Relation(rel).Entry)
				}
				if rel.Type() == prov.ActedOnBehalfOf && !b.has(rel.To()) && b.v.Ref(x).Kind != prov.Activity {
					b.unknown(b.name(x), "acts on behalf of %s (entry %d); what that can reach is not counted, for how much of it was delegated is not in the graph",
						b.name(rel.To()), b.v.Relation(rel).Entry)
				}
			}
		}
	}
	b.connect(around)
	b.problems()
}
