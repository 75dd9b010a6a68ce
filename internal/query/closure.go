package query

import (
	"fmt"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

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
	defer w.free()
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
	defer same.free()
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
	defer w.free()
	return len(w.order)
}

// Reaches tells whether lineage leads from a thing down to another: whether
// of was made, directly or not, with from. It searches upwards from of, since
// what a thing was made from is little where what was made with it is much.
func Reaches(v graph.View, from, of graph.ID) bool {
	w := newWalk(v, up, lineage)
	defer w.free()
	w.start([]graph.ID{of})
	for len(w.cur) > 0 {
		for i := 0; i < len(w.cur); i++ {
			s := w.cur[i]
			if !w.marks.has(s.id, isListed) {
				w.marks.set(s.id, isListed)
				w.order = append(w.order, s.id)
			}
			w.expand(s, &w.cur, &w.next)
		}
		if w.has(from) {
			return true // free clears what waits in next
		}
		w.cur, w.next = w.next, w.cur[:0]
	}
	return false
}
