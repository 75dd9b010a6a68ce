package query

import (
	"fmt"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

type direction bool

const (
	up   direction = false // towards what a thing was made from
	down direction = true  // towards what was made from it
)

// bits is a set of things.
type bits []uint64

func newBits(n int) bits            { return make(bits, n/64+1) }
func (s bits) has(id graph.ID) bool { return s[id/64]>>(id%64)&1 != 0 }
func (s bits) add(id graph.ID)      { s[id/64] |= 1 << (id % 64) }

// walk is one closure: a breadth-first search without recursion that ends on
// cycles. A path that enters an activity from an output whose derivations are
// stated and leaves it by something the activity used is no path of lineage;
// so an activity may be reached in part (only that way) or in full.
type walk struct {
	v    graph.View
	dir  direction
	mask prov.RelationSet
	full bits
	part bits
	// listed are the things that have their distance. A thing that waits for
	// the next distance is nearer when it turns out to be the same as one at
	// this distance; near are those that were called up for that.
	listed bits
	near   bits
	// order is the things in the order of their distance, at[d] where
	// distance d begins in it.
	order []graph.ID
	at    []int
}

type step struct {
	id   graph.ID
	part bool
}

// closure walks from the focus. Things at a distance of more than depth are
// counted in beyond, not listed.
func closure(v graph.View, focus []graph.ID, dir direction, mask prov.RelationSet, depth int) (w *walk, beyond int) {
	w = &walk{v: v, dir: dir, mask: mask, full: newBits(v.Len()), part: newBits(v.Len())}
	var cur, next []step
	for _, id := range focus {
		if !w.full.has(id) {
			w.full.add(id)
			cur = append(cur, step{id, false})
		}
	}
	w.listed, w.near = newBits(v.Len()), newBits(v.Len())
	for d := 0; len(cur) > 0; d++ {
		w.at = append(w.at, len(w.order))
		for i := 0; i < len(cur); i++ { // cur grows: SameAs costs no distance
			s := cur[i]
			if !w.listed.has(s.id) {
				w.listed.add(s.id)
				if depth > 0 && d > depth {
					beyond++
				} else {
					w.order = append(w.order, s.id)
				}
			}
			w.expand(s, &cur, &next)
		}
		cur, next = next, cur[:0]
	}
	w.at = append(w.at, len(w.order))
	return w, beyond
}

// expand adds the neighbours of s: those that are the same thing to cur,
// others to next.
func (w *walk) expand(s step, cur, next *[]step) {
	if w.dir == up || w.mask.Has(prov.SameAs) {
		for r := range w.v.Out(s.id) {
			switch {
			case r.Type() == prov.SameAs:
				if w.mask.Has(prov.SameAs) {
					w.same(r.To(), cur)
				}
			case w.dir != up || !w.mask.Has(r.Type()):
			case s.part && r.Type() == prov.Used:
			default:
				w.reach(step{r.To(), r.Type() == prov.GeneratedByStated}, next)
			}
		}
	}
	if w.dir == down || w.mask.Has(prov.SameAs) {
		for r := range w.v.In(s.id) {
			switch {
			case r.Type() == prov.SameAs:
				if w.mask.Has(prov.SameAs) {
					w.same(r.From(), cur)
				}
			case w.dir != down || !w.mask.Has(r.Type()):
			case s.part && r.Type() == prov.GeneratedByStated:
			default:
				w.reach(step{r.From(), r.Type() == prov.Used}, next)
			}
		}
	}
}

func (w *walk) reach(s step, list *[]step) {
	if w.full.has(s.id) || s.part && w.part.has(s.id) {
		return
	}
	if s.part {
		w.part.add(s.id)
	} else {
		w.full.add(s.id)
	}
	*list = append(*list, s)
}

// same adds what is the same thing as one of the current distance.
func (w *walk) same(id graph.ID, cur *[]step) {
	if w.full.has(id) {
		if w.listed == nil || w.listed.has(id) || w.near.has(id) {
			return
		}
		w.near.add(id)
	}
	w.full.add(id)
	*cur = append(*cur, step{id, false})
}

func (w *walk) has(id graph.ID) bool { return w.full.has(id) || w.part.has(id) }

// Why answers what a thing was made from and by whom, all the way up.
func Why(v graph.View, text string, opt Options) (*Answer, error) {
	ids, err := Resolve(v, text, One)
	if err != nil {
		return nil, err
	}
	return reachable(v, "why", text, live(v, ids), up, opt), nil
}

// live puts the deployments that are live as of the view in the place of a
// service or environment, which is made of nothing itself.
func live(v graph.View, ids []graph.ID) []graph.ID {
	var out []graph.ID
	for _, id := range ids {
		if k := v.Ref(id).Kind; k != prov.Service && k != prov.Environment {
			continue
		}
		for r := range v.In(id) {
			x := v.Relation(r)
			if x.Type == prov.DeployedTo && (v.AsOf().Valid != prov.Forever || x.Valid.To == prov.Forever) {
				out = append(out, x.From)
			}
		}
	}
	if len(out) == 0 {
		return ids
	}
	return out
}

// Blast answers what was made with a thing, all the way down: of a series,
// with any of its versions written at or after opt.Since.
func Blast(v graph.View, text string, opt Options) (*Answer, error) {
	ids, err := Resolve(v, text, All)
	if err != nil {
		return nil, err
	}
	if opt.Since != 0 && opt.Since != prov.Beginning {
		ids = since(v, ids, opt.Since)
	}
	return reachable(v, "blast", text, ids, down, opt), nil
}

// since keeps the versions that were written at t or later. Versions of
// unknown time stay: unknown is never no.
func since(v graph.View, ids []graph.ID, t prov.Instant) []graph.ID {
	var out []graph.ID
	for _, id := range ids {
		s := v.SeriesOf(id)
		if s == graph.None {
			continue // the series itself: read before any version was written
		}
		for _, ver := range v.Versions(s) {
			if ver.ID == id && (!ver.Written || ver.At >= t) {
				out = append(out, id)
			}
		}
	}
	return out
}

func reachable(v graph.View, verb, text string, focus []graph.ID, dir direction, opt Options) *Answer {
	q := Question{Verb: verb, Refs: []string{text}, Depth: opt.Depth, Limit: opt.Limit, Since: opt.Since.String()}
	if opt.Since == 0 {
		q.Since = ""
	}
	for _, k := range opt.Kinds {
		q.Kinds = append(q.Kinds, string(k))
	}
	mask := opt.Relations
	if mask == 0 {
		mask = lineage
		for _, id := range focus {
			if k := v.Ref(id).Kind; dir == down && (k.Class() == prov.ClassIdentity || k == prov.Approval || k == prov.Notice) {
				mask |= governance
			}
		}
	} else {
		q.Relations = relationNames(mask)
	}
	b := newBuilder(v, q, opt)
	w, beyond := closure(v, focus, dir, mask, opt.Depth)
	b.take(w, beyond)
	for _, id := range focus {
		b.answer.Focus = append(b.answer.Focus, b.name(id))
	}
	b.surroundings(dir)
	b.connect(mask | context | agency)
	b.doubts(dir)
	b.notesOnApprovals()
	return b.finish()
}

// take makes members of what a walk found, within the limit and the kinds
// that were asked for.
func (b *builder) take(w *walk, beyond int) {
	b.answer.Hidden = beyond
	kinds := map[prov.Kind]bool{}
	for _, k := range b.opt.Kinds {
		kinds[k] = true
	}
	for d := 0; d+1 < len(w.at); d++ {
		for _, id := range w.order[w.at[d]:w.at[d+1]] {
			if len(kinds) > 0 && d > 0 && !b.wanted(id, kinds) {
				continue
			}
			if b.opt.Limit > 0 && len(b.members) >= b.opt.Limit {
				b.answer.Hidden++
				continue
			}
			b.member(id, d)
		}
	}
	b.answer.Truncated = b.answer.Hidden > 0
}

func (b *builder) wanted(id graph.ID, kinds map[prov.Kind]bool) bool {
	if kinds[b.v.Ref(id).Kind] {
		return true
	}
	for _, p := range partners(b.v, id) {
		if kinds[b.v.Ref(p).Kind] {
			return true
		}
	}
	return false
}

// surroundings adds what governs the members: approvals with their approvers
// and evidence, owners, notices, registry names, environments.
func (b *builder) surroundings(dir direction) {
	mask := context
	if dir == down {
		mask |= agency
	}
	for _, id := range b.members {
		b.around(id, mask)
	}
}

func (b *builder) around(id graph.ID, mask prov.RelationSet) {
	for r := range b.v.Out(id) {
		if mask.Has(r.Type()) && b.contextOf(r.To()) && b.v.Ref(r.To()).Kind == prov.Approval {
			b.around(r.To(), prov.Relations(prov.AssociatedWith, prov.Used)|governance)
		}
	}
}

// connect adds the relations among all that is in the answer.
func (b *builder) connect(mask prov.RelationSet) {
	add := func(id graph.ID) {
		for r := range b.v.Out(id) {
			if mask.Has(r.Type()) && b.has(r.To()) {
				b.relation(b.v.Relation(r))
			}
		}
	}
	for _, id := range b.members {
		add(id)
	}
	for id := range b.ctx {
		add(id)
	}
}

// doubts says what the answer cannot know.
func (b *builder) doubts(dir direction) {
	unnamed := 0
	for _, id := range b.members {
		ref := b.v.Ref(id)
		switch {
		case ref.Kind == prov.Activity:
			if !b.hasOut(id, prov.Relations(prov.AssociatedWith, prov.ActedOnBehalfOf)) {
				unnamed++
			}
			b.doubtActivity(id, dir)
		case dir == up && ref.Class() == prov.ClassEntity:
			b.doubtOrigin(id)
		case dir == down:
			b.doubtDesign(id)
		}
	}
	if unnamed > 0 {
		b.unknown("", "%s: no entry says which identity was responsible", count(unnamed, "activity", "activities"))
	}
	b.problems()
}

// problems says which entries the answer could not use.
func (b *builder) problems() {
	if ps := b.v.Problems(); len(ps) > 0 {
		b.unknown("", "%s could not be used; the first is entry %d: %s", count(len(ps), "entry of the log", "entries of the log"), ps[0].Entry, ps[0].Reason)
	}
}

func (b *builder) unknown(ref, format string, args ...any) {
	b.answer.Unknown = append(b.answer.Unknown, Unknown{ref, fmt.Sprintf(format, args...)})
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (b *builder) hasOut(id graph.ID, mask prov.RelationSet) bool {
	for r := range b.v.Out(id) {
		if mask.Has(r.Type()) {
			return true
		}
	}
	return false
}

// made are kinds whose origin one asks for.
var made = map[prov.Kind]bool{prov.Dataset: true, prov.Model: true, prov.FeatureSet: true, prov.Prompt: true,
	prov.File: true, prov.Image: true, prov.Agent: true, prov.SHA256: true, prov.SHA512: true, prov.SHA384: true}

func (b *builder) doubtOrigin(id graph.ID) {
	kind := b.v.Ref(id).Kind
	if ls := b.labels(id); len(ls) > 0 {
		kind = best(b.v, ls).Kind
	}
	if !made[kind] || b.represent(id) != id {
		return
	}
	derivations := prov.Relations(prov.GeneratedBy, prov.GeneratedByStated, prov.DerivedFrom)
	same, _ := closure(b.v, []graph.ID{id}, up, prov.Relations(prov.SameAs), 0)
	origin := ""
	for _, s := range same.order {
		if b.hasOut(s, derivations) {
			return
		}
		if o := b.v.Attributes(s)["origin"]; o != "" {
			origin = o
		}
	}
	switch origin {
	case "":
		b.unknown(b.name(id), "no entry says how it was made or where it came from")
	case "unknown":
		b.unknown(b.name(id), "its origin is recorded as unknown")
	}
}

func (b *builder) doubtActivity(id graph.ID, dir direction) {
	t, _ := b.v.Times(id)
	if t.State == "failed" || t.State == "aborted" {
		b.unknown(b.name(id), "the activity %s; whether it wrote its outputs is not known, and unversioned reads are not tied to them", t.State)
	}
	if dir != up || t.End <= t.Start {
		return
	}
	for r := range b.v.Out(id) {
		if r.Type() != prov.Used {
			continue
		}
		x := b.v.Relation(r)
		s := b.v.SeriesOf(r.To())
		if s == graph.None || x.Valid.From != t.Start {
			continue
		}
		for _, ver := range b.v.Versions(s) {
			if ver.Written && ver.At > t.Start && ver.At < t.End && !b.has(ver.ID) {
				b.unknown(b.name(id), "%s was written while the activity ran; it may have read that instead of %s", b.name(ver.ID), b.name(r.To()))
			}
		}
	}
}

// doubtDesign tells of series that are said to derive from this one's series
// by design, without an activity that says which version.
func (b *builder) doubtDesign(id graph.ID) {
	s := b.v.SeriesOf(id)
	if s == graph.None || b.has(s) {
		return
	}
	for r := range b.v.In(s) {
		if r.Type() == prov.DerivedFrom && !b.has(r.From()) {
			b.unknown(b.name(r.From()), "is stated to derive from %s by design; no activity says from which version", b.name(s))
		}
	}
}

// Up and Down are the directions of Reach.
const (
	Up   = up
	Down = down
)

// Reach counts what lineage reaches from the focus, itself included, without
// making an answer of it.
func Reach(v graph.View, focus []graph.ID, dir direction) int {
	w, _ := closure(v, focus, dir, lineage, 0)
	return len(w.order)
}
