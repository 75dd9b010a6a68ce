package graph

import (
	"slices"
	"sort"
	"sync/atomic"
	"time"

	"github.com/stemma-lineage/stemma/prov"
)

// rows are the relations below base once more, as closures walk them: of each
// thing the packed words of its relations lie side by side, in the order of
// the log. What was added since is found by the lists that begin in things,
// which run from the newest relation to the oldest.
//
// A word holds all that decides most relations, so that a closure does not
// look at the relations themselves:
//
//	target      32 bits
//	type         6 bits
//	exception    1 bit: ends, was closed, or begins out of range; ask the relation
//	bucket      25 bits: 1 + (valid from - bucketBegin) / bucketUnit, 0: always
type rows struct {
	base     uint32 // relations below are in the rows
	out, in  row
	outStart []uint32 // of thing i: out.word[outStart[i]:outStart[i+1]]
	inStart  []uint32
	fresh    bitset // things with relations from base on
}

// bitset is a set of things that only grows. It is read while it grows: who
// reads it after a size was published finds what was added before.
type bitset struct{ words atomic.Pointer[[]uint64] }

func (s *bitset) add(id ID) {
	words, w := s.all(), int(id/64)
	if w >= len(words) { // to the length that is needed, for snapshot files
		if w >= cap(words) {
			words = append(make([]uint64, 0, max(16, w+1, 2*cap(words))), words...)
		}
		words = words[:w+1]
		longer := words
		s.words.Store(&longer)
	}
	if x := words[w] | 1<<(id%64); x != words[w] {
		atomic.StoreUint64(&words[w], x)
	}
}

func (s *bitset) has(id ID) bool {
	words := s.all()
	return int(id/64) < len(words) && atomic.LoadUint64(&words[id/64])>>(id%64)&1 != 0
}

func (s *bitset) all() []uint64 {
	if p := s.words.Load(); p != nil {
		return *p
	}
	return nil
}

func (s *bitset) set(words []uint64) { s.words.Store(&words) }

type row struct {
	word []uint64
	rel  []uint32 // position of the relation, ascending within a thing
}

const (
	bucketBits  = 25
	bucketShift = 36 // a bucket is 2^36 ns, about 69 s: 73 years
	wordBucket  = 1<<bucketBits - 1
	wordExcept  = 1 << bucketBits
	typeShift   = bucketBits + 1
)

var bucketBegin = prov.At(time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC))

// bucket gives the bucket of an instant; ok is false for one out of range.
func bucket(t prov.Instant) (b uint64, ok bool) {
	if t == prov.Beginning {
		return 0, true
	}
	if t < bucketBegin {
		return 0, false
	}
	b = 1 + uint64(t-bucketBegin)>>bucketShift
	return b, b < wordBucket
}

func (r *rel) word(target ID) uint64 {
	b, ok := bucket(r.vf)
	if !ok || r.vt != prov.Forever || get(&r.kt) != openKnown {
		b = b&wordBucket | wordExcept
	}
	return uint64(target)<<32 | uint64(r.typ)<<typeShift | b
}

// Compact takes all relations into the rows. It changes no answer.
func (g *Graph) Compact() {
	n := g.rels.end()
	if old := g.rows.Load(); old.base == n && len(old.outStart) == g.things.len()+1 {
		return
	}
	r := &rows{base: n}
	r.outStart, r.out = g.pack(func(r *rel) (ID, ID) { return r.from, r.to })
	r.inStart, r.in = g.pack(func(r *rel) (ID, ID) { return r.to, r.from })
	g.rows.Store(r)
}

// pack sorts all relations by one of their ends, by counting.
func (g *Graph) pack(ends func(*rel) (at, target ID)) ([]uint32, row) {
	start := make([]uint32, g.things.len()+1)
	for i := uint32(1); i < g.rels.end(); i++ {
		at, _ := ends(g.rels.at(i))
		start[at]++
	}
	sum := uint32(0)
	for i, n := range start {
		start[i] = sum
		sum += n
	}
	out := row{make([]uint64, sum), make([]uint32, sum)}
	for i := uint32(1); i < g.rels.end(); i++ {
		at, target := ends(g.rels.at(i))
		p := start[at]
		start[at]++
		out.word[p], out.rel[p] = g.rels.at(i).word(target), i
	}
	copy(start[1:], start)
	start[0] = 0
	return start, out
}

// except marks a relation whose rectangle was changed after it was packed.
func (g *Graph) except(p uint32) {
	x := g.rows.Load()
	if p >= x.base {
		return
	}
	r := g.rels.at(p)
	mark := func(w row, lo, hi uint32) {
		if i, ok := slices.BinarySearch(w.rel[lo:hi], p); ok {
			atomic.OrUint64(&w.word[lo+uint32(i)], wordExcept)
		}
	}
	mark(x.out, x.outStart[r.from], x.outStart[r.from+1])
	mark(x.in, x.inStart[r.to], x.inStart[r.to+1])
}

// Neighbour is the other end of a relation, and the relation's type.
type Neighbour uint64

// ID gives the thing at the other end.
func (n Neighbour) ID() ID { return ID(n >> 32) }

// Type gives the relation's type.
func (n Neighbour) Type() prov.RelationType {
	return prov.RelationType(uint32(n) >> typeShift)
}

// Alike tells whether the thing has, or ever had, a SameAs in either
// direction.
func (v *View) Alike(id ID) bool {
	if v.reads != nil {
		v.reads.alike(id)
	}
	return v.Joined(id)
}

// Joined is Alike without a note of what is read, so that it costs nothing in a
// walk; whoever calls it sees to the note.
func (v *View) Joined(id ID) bool { return v.g.alike.has(id) }

// AppendOut appends what the relations of the given types from id lead to, as
// far as the view sees them, newest first. A thing to which several relations
// lead is appended several times.
func (v *View) AppendOut(dst []Neighbour, id ID, mask prov.RelationSet) []Neighbour {
	g, rows := v.g, v.rows
	if v.reads != nil {
		v.noteOut(id, mask)
	}
	if v.out != openKnown { // the packed words do not tell the entry
		for r := range v.OutOf(id, mask) {
			dst = append(dst, Neighbour(r.word(r.to)))
		}
		return dst
	}
	if rows.fresh.has(id) {
		for p := get(&g.things.at(id).out); p >= max(rows.base, 1); p = g.rels.at(p).nextOut {
			if r := g.rels.at(p); mask.Has(r.typ) && v.sees(r) {
				dst = append(dst, Neighbour(r.word(r.to)))
			}
		}
	}
	return v.scan(dst, &rows.out, rows.outStart, id, mask)
}

// AppendIn is AppendOut of the relations that lead to id.
func (v *View) AppendIn(dst []Neighbour, id ID, mask prov.RelationSet) []Neighbour {
	g, rows := v.g, v.rows
	if v.reads != nil {
		v.noteIn(id, mask)
	}
	if v.out != openKnown {
		for r := range v.InOf(id, mask) {
			dst = append(dst, Neighbour(r.word(r.from)))
		}
		return dst
	}
	if rows.fresh.has(id) {
		for p := get(&g.things.at(id).in); p >= max(rows.base, 1); p = g.rels.at(p).nextIn {
			if r := g.rels.at(p); mask.Has(r.typ) && v.sees(r) {
				dst = append(dst, Neighbour(r.word(r.from)))
			}
		}
	}
	return v.scan(dst, &rows.in, rows.inStart, id, mask)
}

// noteOut and noteIn are not inlined, so that whoever notes nothing pays
// nothing for the copy of the view.
//
//go:noinline
func (v *View) noteOut(id ID, mask prov.RelationSet) { v.reads.out(*v, id, mask) }

//go:noinline
func (v *View) noteIn(id ID, mask prov.RelationSet) { v.reads.in(*v, id, mask) }

// Prepare looks at the rows of up to 64 things at once, so that they are near
// when they are read one after the other; in is for AppendIn.
func (v *View) Prepare(ids []ID, in bool) {
	start, w := v.rows.outStart, &v.rows.out
	if in {
		start, w = v.rows.inStart, &v.rows.in
	}
	var lo, hi [64]uint32
	ids = ids[:min(len(ids), len(lo))]
	for i, id := range ids {
		if int(id)+1 < len(start) {
			lo[i], hi[i] = start[id], start[id+1]
		}
	}
	var sum uint64
	for i := range ids {
		if lo[i] < hi[i] {
			sum += atomic.LoadUint64(&w.word[lo[i]])
			if v.relEnd < v.rows.base {
				sum += uint64(w.rel[hi[i]-1])
			}
		}
	}
	v.looked = sum
}

// scan goes through a row from its end. The relation itself is looked at only
// where the word does not decide.
func (v *View) scan(dst []Neighbour, w *row, start []uint32, id ID, mask prov.RelationSet) []Neighbour {
	if int(id)+1 >= len(start) {
		return dst // made after the rows
	}
	lo, hi := start[id], start[id+1]
	words, rels := w.word[lo:hi], w.rel[lo:hi]
	if v.relEnd < v.rows.base && len(rels) > 0 && rels[len(rels)-1] >= v.relEnd { // an earlier log size: a prefix of the row
		n := sort.Search(len(rels), func(i int) bool { return rels[i] >= v.relEnd })
		words = words[:n]
	}
	now := v.bucket
	if v.valid == prov.Forever {
		now = wordBucket // whatever its time, a relation counts
	}
	n := len(dst)
	dst = slices.Grow(dst, len(words))[:n+len(words)]
	for i := len(words) - 1; i >= 0; i-- {
		x := atomic.LoadUint64(&words[i])
		b := x & wordBucket
		sees := uint64(mask) >> (uint32(x) >> typeShift) & ((b - now) >> 63) // b < now
		if x&wordExcept != 0 || b == now {
			sees = 0
			if mask.Has(Neighbour(x).Type()) && v.sees(v.g.rels.at(rels[i])) {
				sees = 1
			}
		}
		dst[n] = Neighbour(x)
		n += int(sees & 1)
	}
	return dst[:n]
}
