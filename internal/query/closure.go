package query

import (
	"fmt"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// Why answers what a thing was made from and by whom, all the way up.
func Why(v graph.View, text string, opt Options) (*Answer, error) { return whole(v, "why", text, opt) }

// Blast answers what was made with a thing, all the way down: of a series,
// with any of its versions written at or after opt.Since.
func Blast(v graph.View, text string, opt Options) (*Answer, error) {
	return whole(v, "blast", text, opt)
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

// lineageQuestion is a Why or Blast question and its closure, before there is
// an answer.
type lineageQuestion struct {
	b     *builder
	w     *walk
	mask  prov.RelationSet
	dir   direction
	focus []graph.ID
}

// askLineage walks the closure of a Why or Blast question. The walk is to be
// freed.
func askLineage(v graph.View, verb, text string, opt Options) (*lineageQuestion, error) {
	l, versions := &lineageQuestion{dir: up}, One
	if verb == "blast" {
		l.dir, versions = down, All
	}
	var err error
	if l.focus, err = Resolve(v, text, versions); err != nil {
		return nil, err
	}
	if l.dir == up {
		l.focus = live(v, l.focus)
	} else if opt.Since != 0 && opt.Since != prov.Beginning {
		l.focus = since(v, l.focus, opt.Since)
	}
	q := Question{Verb: verb, Refs: []string{text}, Depth: opt.Depth, Limit: opt.Limit, Since: opt.Since.String()}
	if opt.Since == 0 {
		q.Since = ""
	}
	for _, k := range opt.Kinds {
		q.Kinds = append(q.Kinds, string(k))
	}
	l.mask = opt.Relations
	if l.mask == 0 {
		l.mask = lineage
		for _, id := range l.focus {
			if k := v.Ref(id).Kind; l.dir == down && (k.Class() == prov.ClassIdentity || k == prov.Approval || k == prov.Notice) {
				l.mask |= governance
			}
		}
	} else {
		q.Relations = relationNames(l.mask)
	}
	l.b = newBuilder(v, q, opt)
	// To any depth: what is cut is counted in things as they are shown.
	if l.w, err = closureUntil(v, l.focus, l.dir, l.mask, &opt); err != nil {
		return nil, err
	}
	if l.dir == up && len(l.w.order) == 1 {
		if err := versionless(v, l.w.order[0]); err != nil {
			l.w.free()
			return nil, err
		}
	}
	for _, id := range l.focus {
		l.b.answer.Focus = append(l.b.answer.Focus, l.b.name(id))
	}
	return l, nil
}

// whole gives the answer to a Why or Blast question with all that is in it.
func whole(v graph.View, verb, text string, opt Options) (*Answer, error) {
	l, err := askLineage(v, verb, text, opt)
	if err != nil {
		return nil, err
	}
	defer l.w.free()
	b := l.b
	for id, d := range b.chosen(l.w) {
		b.member(id, d)
	}
	b.surroundings(l.dir)
	b.connect(l.mask | context | agency)
	b.doubts(l.dir)
	b.notesOnApprovals()
	return b.end()
}

// surroundings adds what governs the members: approvals with their approvers
// and evidence, owners, notices, registry names, environments.
func (b *builder) surroundings(dir direction) {
	mask := context
	if dir == down {
		mask |= agency
	}
	for _, id := range b.members {
		if b.halt() {
			return
		}
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
	for _, id := range b.members {
		b.relationsOf(id, mask)
	}
	for id := range b.ctx {
		b.relationsOf(id, mask)
	}
}

// relationsOf adds the relations from a thing to what is in the answer.
func (b *builder) relationsOf(id graph.ID, mask prov.RelationSet) {
	if b.halt() {
		return
	}
	for r := range b.v.Out(id) {
		if mask.Has(r.Type()) && b.has(r.To()) {
			b.relation(b.v.Relation(r))
		}
	}
}

// doubts says what the answer cannot know.
func (b *builder) doubts(dir direction) {
	unnamed := 0
	for _, id := range b.members {
		if b.halt() {
			return
		}
		if b.doubt(id, dir) {
			unnamed++
		}
	}
	b.doubtAll(unnamed)
}

// doubt says what the answer cannot know about one thing. It tells whether it
// is an activity for which nobody is named.
func (b *builder) doubt(id graph.ID, dir direction) (unnamed bool) {
	ref := b.v.Ref(id)
	switch {
	case ref.Kind == prov.Activity:
		b.doubtActivity(id, dir)
		return !b.hasOut(id, prov.Relations(prov.AssociatedWith, prov.ActedOnBehalfOf))
	case dir == up && ref.Class() == prov.ClassEntity:
		b.doubtOrigin(id)
	case dir == down:
		b.doubtDesign(id)
	}
	return false
}

// doubtAll says what is not known about the answer as a whole, and gives it.
func (b *builder) doubtAll(unnamed int) []Unknown {
	n := len(b.answer.Unknown)
	if unnamed > 0 {
		b.unknown("", "%s: no entry says which identity was responsible", count(unnamed, "activity", "activities"))
	}
	b.problems()
	return b.answer.Unknown[n:]
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
	same := closure(b.v, []graph.ID{id}, up, prov.Relations(prov.SameAs))
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
	w := closure(v, focus, dir, lineage)
	defer w.free()
	return len(w.order)
}

// Members gives the focus and all that it was made with, or with down all that
// was made with it, in the order of their distance.
func Members(v graph.View, focus []graph.ID, down bool) []graph.ID {
	w := closure(v, focus, direction(down), lineage)
	defer w.free()
	return slices.Clone(w.order)
}

// Ingredients gives the focus and all that it was made of, in the order of their
// distance: what Members gives upwards, but for the credentials of whoever made
// it, as whom they run and for whom they act.
func Ingredients(v graph.View, focus []graph.ID) []graph.ID {
	w := closure(v, focus, up, lineage&^prov.Relations(prov.RunsAs, prov.AuthenticatesWith, prov.ReadsSecret, prov.ActedOnBehalfOf))
	defer w.free()
	return slices.Clone(w.order)
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
			w.list(s.id)
			w.expand(s, &w.cur, &w.next)
		}
		if w.has(from) {
			return true // free clears what waits in next
		}
		w.cur, w.next = w.next, w.cur[:0]
	}
	return false
}
