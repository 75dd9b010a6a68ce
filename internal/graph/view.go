package graph

import (
	"bytes"
	"iter"
	"sort"

	"github.com/stemma-lineage/stemma/prov"
)

// View answers as of one log size and one valid time. It is a value, costs
// nothing to take, and answers the same whatever is folded into the graph
// meanwhile.
type View struct {
	g      *Graph
	rows   *rows // as they were when the view was taken, or later
	known  uint32
	valid  prov.Instant
	bucket uint64 // of valid; see rows
	relEnd uint32 // relations from here on were not known
	out    uint32 // the entry that is left out; openKnown: none
	looked uint64 // keeps Prepare from being left out as useless
	reads  *Reads // notes what is read; nil: nothing does
}

// At gives the view as of asOf. A known size beyond the graph means all of it.
func (g *Graph) At(asOf prov.AsOf) View {
	v := View{g: g, known: uint32(min(asOf.Known, g.Size())), valid: asOf.Valid, out: openKnown}
	v.rows = g.rows.Load() // after the size: what is known lies in these rows, or after them
	v.relEnd = g.marks.at(v.known).rels
	b, ok := bucket(v.valid)
	switch {
	case ok:
		v.bucket = b
	case v.valid > bucketBegin:
		v.bucket = wordBucket // after all buckets
	}
	return v
}

// Always gives the view of the same log size over all of valid time.
func (v View) Always() View { return v.When(prov.Forever) }

func (v View) as(asOf prov.AsOf) View {
	w := v.g.At(asOf).Noting(v.reads)
	w.out = v.out
	return w
}

// Without gives the view as if one entry said nothing: to ask what hangs on
// that entry alone. What other entries came to mean by it stays as it is: what
// it ended stays ended, and to what it bound unversioned reads they stay bound.
func (v View) Without(entry uint64) View {
	v.out = uint32(entry)
	return v
}

// tells is whether the view takes what an entry says.
func (v View) tells(entry uint32) bool { return entry < v.known && entry != v.out }

// When gives the view of the same log size at another valid instant.
func (v View) When(t prov.Instant) View { return v.as(prov.AsOf{Valid: t, Known: uint64(v.known)}) }

// AsKnownAt gives the view at a valid instant with what the log, up to the
// size of this view, held at that instant itself.
func (v View) AsKnownAt(t prov.Instant) View {
	return v.as(prov.AsOf{Valid: t, Known: min(uint64(v.known), v.g.SizeAt(t))})
}

// AsOf gives the clocks of the view.
func (v View) AsOf() prov.AsOf { return prov.AsOf{Valid: v.valid, Known: uint64(v.known)} }

// Relation is one relation as it is seen in a view.
type Relation struct {
	Type     prov.RelationType
	From, To ID
	Valid    prov.Period
	// Entry asserts the relation. Since is the entry from which on the log
	// tells it in this form: a bound read may point elsewhere before.
	Entry, Since uint64
	Rule, Role   string
}

// Lookup finds the thing that ref names exactly.
func (v View) Lookup(ref prov.Ref) ID { return v.LookupKey(ref.Key()) }

// LookupKey finds a thing by its Ref's key.
func (v View) LookupKey(key string) ID {
	id := v.g.lookup(key)
	if id != None && v.g.things.at(id).entry >= v.known {
		id = None
	}
	if v.reads != nil {
		v.reads.name(id, key)
	}
	return id
}

// Ref gives the name of a thing.
func (v View) Ref(id ID) prov.Ref {
	r, err := prov.ParseKey(v.g.text(v.g.things.at(id).key))
	if err != nil {
		panic("graph: a key that was interned cannot be read: " + err.Error())
	}
	return r
}

// Key gives the key of a thing's name. The bytes must not be changed.
func (v View) Key(id ID) []byte { return v.g.bytes(v.g.things.at(id).key) }

// Kind gives the kind of a thing's name, the algorithm of a digest.
func (v View) Kind(id ID) prov.Kind {
	t := v.g.things.at(id)
	if t.kind < 254 {
		return prov.Kind((*v.g.words.list.at(uint32(t.kind)))[len("kind:"):])
	}
	k, _, _ := bytes.Cut(v.g.bytes(t.key), []byte(":"))
	return prov.Kind(k)
}

// IsDigest tells whether the thing is content named by its digest.
func (v View) IsDigest(id ID) bool { return v.g.things.at(id).flags&flagDigest != 0 }

// Len gives a bound of all IDs: 1 <= id < Len. It grows while entries are
// folded; what the view knows lies below it from the first.
func (v View) Len() int { return v.g.things.len() }

// Known tells whether the thing was mentioned by then.
func (v View) Known(id ID) bool { return v.g.things.at(id).entry < v.known }

func (v View) sees(r *rel) bool {
	return r.kf < v.known && r.entry != v.out && v.known <= get(&r.kt) && (v.valid == prov.Forever || r.vf <= v.valid && v.valid < r.vt)
}

// Out yields the relations from id that the view sees, newest first.
func (v View) Out(id ID) iter.Seq[*rel] {
	return func(yield func(*rel) bool) {
		if v.reads != nil {
			v.reads.out(v, id, relationSet)
		}
		for p := get(&v.g.things.at(id).out); p != 0; {
			r := v.g.rels.at(p)
			p = r.nextOut
			if v.sees(r) && !yield(r) {
				return
			}
		}
	}
}

// In yields the relations to id that the view sees, newest first.
func (v View) In(id ID) iter.Seq[*rel] {
	return func(yield func(*rel) bool) {
		if v.reads != nil {
			v.reads.in(v, id, relationSet)
		}
		for p := get(&v.g.things.at(id).in); p != 0; {
			r := v.g.rels.at(p)
			p = r.nextIn
			if v.sees(r) && !yield(r) {
				return
			}
		}
	}
}

// Ever is a relation that was told at some log size up to the view's, whether
// or not it still is.
type Ever struct {
	Relation
	// Begin and End are the recording times of the entries with which it came
	// to be told and ceased to be; End is Forever when it still is.
	Begin, End prov.Instant
	Ended      uint64 // the entry with which it ceased
}

// EverOut yields all relations from id that were told at any size up to the
// view's, whatever its valid instant.
func (v View) EverOut(id ID) iter.Seq[Ever] {
	return func(yield func(Ever) bool) {
		if v.reads != nil {
			v.reads.out(v, id, relationSet)
		}
		for p := get(&v.g.things.at(id).out); p != 0; p = v.g.rels.at(p).nextOut {
			if r := v.g.rels.at(p); r.kf < v.known && r.entry != v.out && !yield(v.ever(r)) {
				return
			}
		}
	}
}

// EverIn yields all relations to id as EverOut does those from it.
func (v View) EverIn(id ID) iter.Seq[Ever] {
	return func(yield func(Ever) bool) {
		if v.reads != nil {
			v.reads.in(v, id, relationSet)
		}
		for p := get(&v.g.things.at(id).in); p != 0; p = v.g.rels.at(p).nextIn {
			if r := v.g.rels.at(p); r.kf < v.known && r.entry != v.out && !yield(v.ever(r)) {
				return
			}
		}
	}
}

func (v View) ever(r *rel) Ever {
	e := Ever{Relation: v.Relation(r), Begin: v.Recorded(uint64(r.kf)), End: prov.Forever}
	if kt := get(&r.kt); kt < v.known { // at size kt it still holds: the entry at that index ends it
		e.End, e.Ended = v.Recorded(uint64(kt)), uint64(kt)
	}
	return e
}

// Claim is one attribute value with when it is claimed to hold, and the entry.
type Claim struct {
	Key, Value string
	At         prov.Instant
	Entry      uint64
	Ended      uint64 // the entry that retracted it, if Retracted
	Retracted  bool
}

// Claims yields every attribute value that was claimed of a thing at any size
// up to the view's, newest first.
func (v View) Claims(id ID) iter.Seq[Claim] {
	return func(yield func(Claim) bool) {
		if v.reads != nil {
			v.reads.attrs(v, id)
		}
		for p := get(&v.g.things.at(id).attr); p != 0; p = v.g.attrs.at(p).next {
			a := v.g.attrs.at(p)
			if !v.tells(a.entry) {
				continue
			}
			c := Claim{Key: *v.g.words.list.at(a.key), Value: v.g.text(a.val), At: a.at, Entry: uint64(a.entry)}
			if kt := get(&a.kt); kt < v.known {
				c.Retracted, c.Ended = true, uint64(kt)
			}
			if !yield(c) {
				return
			}
		}
	}
}

// Type, From and To of a relation in a list.
func (r *rel) Type() prov.RelationType { return r.typ }

// From gives what depends.
func (r *rel) From() ID { return r.from }

// To gives what it depends on.
func (r *rel) To() ID { return r.to }

// Named tells whether the relation ties a name to the digest that was given
// with it.
func (r *rel) Named() bool { return r.rule == ruleNamed }

// Relation gives a relation of a list as a value.
func (v View) Relation(r *rel) Relation {
	return Relation{Type: r.typ, From: r.from, To: r.to, Valid: prov.Period{From: r.vf, To: r.vt},
		Entry: uint64(r.entry), Since: uint64(r.kf), Rule: ruleNames[r.rule], Role: *v.g.words.list.at(r.role)}
}

// First gives the first entry that mentions the thing. No entry changes it, so
// it is not noted.
func (v View) First(id ID) uint64 { return uint64(v.g.things.at(id).entry) }

// Entries gives the entries that are about the thing, ascending; when there
// is none, the first that mentions it.
func (v View) Entries(id ID) []uint64 {
	if v.reads != nil {
		v.reads.entries(id)
	}
	var out []uint64
	for p := get(&v.g.things.at(id).mention); p != 0; p = v.g.ments.at(p).next {
		if e := v.g.ments.at(p).entry; v.tells(e) {
			out = append(out, uint64(e))
		}
	}
	if len(out) == 0 {
		return []uint64{uint64(v.g.things.at(id).entry)}
	}
	sort.Slice(out, func(i, j int) bool { return out[i] < out[j] })
	return out
}

// Attributes gives the attributes of a thing as of the view: of several
// claims of one key the latest in valid time counts, and of claims of the
// same time the one that is last in the order of bytes, so that the order of
// entries does not matter.
func (v View) Attributes(id ID) map[string]string {
	if v.reads != nil {
		v.reads.attrs(v, id)
	}
	type best struct {
		at  prov.Instant
		val string
	}
	found := map[uint32]best{}
	for p := get(&v.g.things.at(id).attr); p != 0; p = v.g.attrs.at(p).next {
		a := v.g.attrs.at(p)
		if !v.tells(a.entry) || v.known > get(&a.kt) || (v.valid != prov.Forever && a.at > v.valid) {
			continue
		}
		val := v.g.text(a.val)
		if b, ok := found[a.key]; !ok || a.at > b.at || a.at == b.at && val > b.val {
			found[a.key] = best{a.at, val}
		}
	}
	out := make(map[string]string, len(found))
	for k, b := range found {
		out[*v.g.words.list.at(k)] = b.val
	}
	return out
}

// Attribute gives one attribute of a thing, as Attributes would; "": there is
// none.
func (v View) Attribute(id ID, key string) string {
	if v.reads != nil {
		v.reads.attrs(v, id)
	}
	at, val, found := prov.Instant(0), "", false
	for p := get(&v.g.things.at(id).attr); p != 0; p = v.g.attrs.at(p).next {
		a := v.g.attrs.at(p)
		if *v.g.words.list.at(a.key) != key || a.entry >= v.known || v.known > get(&a.kt) || (v.valid != prov.Forever && a.at > v.valid) {
			continue
		}
		if x := v.g.text(a.val); !found || a.at > at || a.at == at && x > val {
			at, val, found = a.at, x, true
		}
	}
	return val
}

// Said gives the attributes of a thing that one entry claims.
func (v View) Said(id ID, entry uint64) map[string]string {
	if v.reads != nil {
		v.reads.attrs(v, id)
	}
	out := map[string]string{}
	for p := get(&v.g.things.at(id).attr); p != 0; p = v.g.attrs.at(p).next {
		if a := v.g.attrs.at(p); uint64(a.entry) == entry && v.tells(a.entry) && v.known <= get(&a.kt) {
			out[*v.g.words.list.at(a.key)] = v.g.text(a.val)
		}
	}
	return out
}

// Times gives the dates of an activity as of the view; ok is false for
// anything else.
func (v View) Times(id ID) (t Times, ok bool) {
	if v.reads != nil {
		v.reads.times(v, id)
	}
	a := get(&v.g.things.at(id).act)
	if a == 0 {
		return Times{}, false
	}
	b := &v.g.binding
	t, _, _, _, _ = foldClaims(func(add func(*claim)) {
		for p := get(&b.acts.at(a).claim); p != 0; p = b.claims.at(p).next {
			if c := b.claims.at(p); v.tells(c.entry) && v.known <= get(&c.kt) {
				add(c)
			}
		}
	})
	return t, true
}

// TimesClaim is what one entry says of when an activity was.
type TimesClaim struct {
	Start, End prov.Instant // Beginning when not stated
	Entry      uint64
	Ended      uint64 // the entry that retracted it, if Retracted
	Retracted  bool
}

// EverTimes yields what was ever said of an activity's times at any size up to
// the view's.
func (v View) EverTimes(id ID) iter.Seq[TimesClaim] {
	return func(yield func(TimesClaim) bool) {
		if v.reads != nil {
			v.reads.times(v, id)
		}
		a := get(&v.g.things.at(id).act)
		if a == 0 {
			return
		}
		b := &v.g.binding
		for p := get(&b.acts.at(a).claim); p != 0; p = b.claims.at(p).next {
			c := b.claims.at(p)
			if !v.tells(c.entry) {
				continue
			}
			t := TimesClaim{Start: c.start, End: c.end, Entry: uint64(c.entry)}
			if kt := get(&c.kt); kt < v.known {
				t.Retracted, t.Ended = true, uint64(kt)
			}
			if !yield(t) {
				return
			}
		}
	}
}

// Recorded gives when an entry was recorded.
func (v View) Recorded(entry uint64) prov.Instant {
	t := *v.g.recorded.at(uint32(entry))
	if v.reads != nil {
		v.reads.moment(t)
	}
	return t
}

// RecordedBy gives the principal that an entry names as its recorder, as a Ref
// in text; empty for an entry that is not known here.
func (v View) RecordedBy(entry uint64) string {
	return *v.g.words.list.at(*v.g.recorder.at(uint32(entry)))
}

// SizeAt gives how many entries were recorded at t or before.
func (g *Graph) SizeAt(t prov.Instant) uint64 {
	return uint64(sort.Search(int(g.Size()), func(i int) bool { return *g.recorded.at(uint32(i)) > t }))
}

// firstVer gives the newest version of a series in order of mention.
func (v View) firstVer(series ID) ID { return ID(get((*uint32)(&v.g.things.at(series).firstVer))) }

// SeriesOf gives the series of a version.
func (v View) SeriesOf(id ID) ID { return v.g.things.at(id).series }

// Version is one version of a series with the time from which it was current.
type Version struct {
	ID ID
	// At is Forever when the version was only ever mentioned, or written by an
	// activity that failed.
	At prov.Instant
	// Written tells whether At is known.
	Written bool
}

// Versions gives the versions of a series that the view knows, in order of
// time, and those of unknown time at the end in the order of their names.
// With valid time limited, versions written later are left out.
func (v View) Versions(series ID) []Version {
	var out []Version
	if v.reads != nil {
		v.reads.parts.add(series, Facets{Out: markTimes})
	}
	for p := v.firstVer(series); p != None; p = v.g.things.at(p).nextVer {
		if v.reads != nil {
			v.reads.written(v, p)
		}
		if !v.Known(p) {
			continue
		}
		at, ok := v.written(p)
		if v.valid != prov.Forever && ok && at > v.valid {
			continue
		}
		out = append(out, Version{p, at, ok})
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].At != out[j].At {
			return out[i].At < out[j].At
		}
		return string(v.Key(out[i].ID)) < string(v.Key(out[j].ID))
	})
	return out
}

// written gives when a version became current as of the view's log size.
func (v View) written(id ID) (prov.Instant, bool) {
	b := &v.g.binding
	at, reg := prov.Forever, prov.Forever
	ok := false
	for p := get(&v.g.things.at(id).writes); p != 0; p = b.writes.at(p).nextOfVer {
		w := b.writes.at(p)
		if !v.tells(w.entry) || v.known > get(&w.kt) {
			continue
		}
		if w.act == 0 {
			reg = min(reg, w.at)
			continue
		}
		_, _, wrote, failed, _ := foldClaims(func(add func(*claim)) {
			for q := get(&b.acts.at(w.act).claim); q != 0; q = b.claims.at(q).next {
				if c := b.claims.at(q); v.tells(c.entry) && v.known <= get(&c.kt) {
					add(c)
				}
			}
		})
		if !failed {
			at, ok = min(at, wrote), true
		}
	}
	if !ok && reg != prov.Forever {
		return reg, true
	}
	return at, ok
}

// Problem is an entry that the fold could not use, and why.
type Problem struct {
	Entry  uint64
	Reason string
}

// Problems lists the entries known in the view that could not be used.
func (v View) Problems() []Problem {
	var out []Problem
	for i := range v.g.problems.end() {
		p := v.g.problems.at(i)
		if p.entry >= v.known {
			break
		}
		out = append(out, Problem{uint64(p.entry), v.g.text(p.what)})
	}
	return out
}

// Doubt tells whether the evidence that an entry was made from failed the
// check of its signatures when it was recorded, and why.
func (v View) Doubt(entry uint64) (reason string, ok bool) {
	ds := &v.g.doubts
	n := ds.len()
	i := sort.Search(n, func(i int) bool { return uint64(ds.at(uint32(i)).entry) >= entry })
	if i == n || uint64(ds.at(uint32(i)).entry) != entry || entry >= uint64(v.known) {
		return "", false
	}
	return v.g.text(ds.at(uint32(i)).what), true
}

// RetractedBy gives the entry that retracted entry, if the view knows one.
func (v View) RetractedBy(entry uint64) (by uint64, ok bool) {
	for i := range v.g.retracted.end() {
		if r := v.g.retracted.at(i); uint64(r.entry) == entry && r.by < v.known {
			return uint64(r.by), true
		}
	}
	return 0, false
}

// Touching yields the entries up to the view's log size that make a relation
// with, or a version of, any thing that the given entries made relations with,
// and those that could not be used.
func (v View) Touching(entries []uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		g := v.g
		in := map[uint64]bool{}
		for _, e := range entries {
			in[e] = true
		}
		things := map[ID]bool{}
		for p := uint32(1); p < v.relEnd; p++ {
			r := g.rels.at(p)
			if in[uint64(r.entry)] || in[uint64(r.kf)] {
				things[r.from], things[r.to] = true, true
			}
		}
		for id := range things {
			if s := g.things.at(id).series; s != None {
				for p := v.firstVer(s); p != None; p = g.things.at(p).nextVer {
					things[p] = true
				}
			}
		}
		for p := uint32(1); p < v.relEnd; p++ {
			r := g.rels.at(p)
			if (things[r.from] || things[r.to]) && (!yield(uint64(r.entry)) || !yield(uint64(r.kf))) {
				return
			}
		}
		for i := range g.problems.end() {
			if e := g.problems.at(i).entry; e < v.known && !yield(uint64(e)) {
				return
			}
		}
		for i := range g.retracted.end() {
			if r := g.retracted.at(i); r.by < v.known && (!yield(uint64(r.entry)) || !yield(uint64(r.by))) {
				return
			}
		}
	}
}
