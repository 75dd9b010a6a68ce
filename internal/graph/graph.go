// Package graph folds the entries of a log into a bitemporal graph.
//
// The fold is a pure function of the entries in the order of the log. Every
// relation carries a rectangle: the period of valid time in which it holds,
// and the range of log sizes at which it was known. So one graph answers for
// every earlier log size what the system said then, and the answer at the
// full size does not depend on the order in which independent entries came.
//
// # Versions bind by time
//
// A reader that names a series and no version read the version that was
// current at the time of reading: the one written last before it. When a
// better version becomes known later, the old relation is closed at that log
// size and a new one opened; see bind.go.
//
// # Storage
//
// Things, relations, attributes and assertions live in flat slices without
// pointers and refer to one another by position, so that a snapshot file is
// these slices as they are; see codec.go.
//
// # Readers beside the fold
//
// A [View] may be read while another goroutine folds; see beside.go.
package graph

import (
	"sync/atomic"

	"github.com/stemma-lineage/stemma/prov"
)

// ID is the position of a thing in a graph.
type ID uint32

// None is no thing.
const None ID = 0

const (
	openKnown = ^uint32(0) // known until further notice
	nilPos    = uint32(0)  // position 0 of every slice is unused
)

// thing is an entity, activity or identity: one name or one digest.
type thing struct {
	key       span  // Ref.Key
	kind      uint8 // index into kinds
	flags     uint8 // flag bits, fixed when the thing is made
	placed    bool  // the version stands in its group
	_         byte
	series    ID     // of a version: its series
	firstVer  ID     // of a series: its newest version in order of mention
	nextVer   ID     // of a version: the next of its series
	out, in   uint32 // heads of relation lists
	attr      uint32 // head of attribute list
	mention   uint32 // head of mention list
	group     uint32 // of a series: its binding group
	act       uint32 // of an activity: its row in acts
	writes    uint32 // of a version: head of write list
	entry     uint32 // first entry that mentions it
	lastEntry uint32 // last entry in its mention list
}

const flagDigest = 1 << iota // the thing is content, named by digest

type span struct {
	off uint64
	n   uint32
	_   uint32
}

// rel is one relation with its rectangle.
type rel struct {
	from, to        ID
	vf, vt          prov.Instant
	entry           uint32 // the entry that asserts it
	kf, kt          uint32 // visible at log sizes n with kf < n <= kt
	nextOut, nextIn uint32
	role            uint32 // interned word
	assert          uint32 // the assertion that keeps it, 0 for fixed times
	typ             prov.RelationType
	rule            uint8
	_               [2]byte
}

// attr is one attribute value of a thing, claimed at a valid time.
type attr struct {
	thing ID
	next  uint32
	key   uint32 // interned word
	val   span
	at    prov.Instant
	entry uint32
	kt    uint32
}

// mention says that an entry is about a thing.
type mention struct{ entry, next uint32 }

// Graph is the state of a fold. One goroutine at a time may call what changes
// it (Fold, FoldParsed, Skip, Compact) or writes it down (WriteTo, Encode). Any
// number may use its other methods, and views, at the same time.
type Graph struct {
	size    atomic.Uint32 // entries that readers see: stored last, when all of an entry is folded
	arena   arena
	things  vec[ID, thing]
	table   atomic.Pointer[[]uint32] // open addressing over keys, holds ID
	rels    vec[uint32, rel]
	rows    atomic.Pointer[rows] // derived from rels; see rows.go
	alike   bitset               // things that have, or had, a SameAs
	attrs   vec[uint32, attr]
	ments   vec[uint32, mention]
	words   words
	binding binding

	recorded  vec[uint32, prov.Instant] // recordedAt by entry
	recorder  vec[uint32, uint32]       // recordedBy by entry, a word
	digests   vec[uint32, [16]byte]     // of envelopes, by entry
	seen      []uint32                  // open addressing over digests, holds entry+1
	marks     vec[uint32, mark]         // slice lengths at each log size, 0 and Size() included
	problems  vec[uint32, problem]
	doubts    vec[uint32, problem] // entries whose evidence did not verify, and why
	retracted vec[uint32, retraction]
	slots     []slot
	fills     []fill
	slotKeys  map[string]uint32   // word -> slot; rebuilt on load
	members   map[uint32][]uint32 // slot of snapshots -> the slots that they list; rebuilt on load

	touched parts // what the entry that was folded last changed; see Touched

	// cold reads what only Fold needs of the snapshot that the graph came from;
	// nil when that is done, or there was none.
	cold func() error
}

// mark is where each slice stood at a log size: what a retraction closes lies
// between two marks.
type mark struct{ rels, attrs, asserts, claims, writes, joins uint32 }

// problem is an entry, or a part of one, that the fold could not use.
type problem struct {
	entry uint32
	pad   uint32 // named, so that it is zero: Encode writes it
	what  span
}

// retraction says that entry was retracted by a later one.
type retraction struct{ entry, by uint32 }

// New gives the graph of the empty log.
func New() *Graph {
	g := &Graph{slots: make([]slot, 1), slotKeys: map[string]uint32{}, members: map[uint32][]uint32{}, seen: make([]uint32, 1024)}
	table := make([]uint32, 1024)
	g.table.Store(&table)
	g.rows.Store(&rows{})
	g.things.add(thing{})
	g.rels.add(rel{})
	g.attrs.add(attr{})
	g.ments.add(mention{})
	g.words.init()
	g.binding.init()
	g.mark()
	return g
}

// Size gives the number of entries folded. What is said of them is read at
// once or at any time later; of an entry that is being folded nothing is.
func (g *Graph) Size() uint64 { return uint64(g.size.Load()) }

// Things gives the number of things.
func (g *Graph) Things() int { return g.things.len() - 1 }

// Relations gives the number of relation rectangles, past ones included.
func (g *Graph) Relations() int { return g.rels.len() - 1 }

func (g *Graph) store(s string) span { return g.arena.add(s) }

func (g *Graph) text(s span) string { return string(g.bytes(s)) }

func (g *Graph) bytes(s span) []byte { return g.arena.at(s.off, uint64(s.n)) }

// hash is FNV-1a, 64 bits, finished by a mix: the tables are part of the
// snapshot file, so the function must be the same everywhere.
func hash[T string | []byte](s T) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(s); i++ {
		h ^= uint64(s[i])
		h *= 1099511628211
	}
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}

// lookup finds a thing by its key.
func (g *Graph) lookup(key string) ID {
	table := *g.table.Load()
	mask := uint64(len(table) - 1)
	for i := hash(key) & mask; ; i = (i + 1) & mask {
		id := ID(get(&table[i]))
		if id == None || string(g.bytes(g.things.at(id).key)) == key {
			return id
		}
	}
}

// intern finds or makes the thing named by ref.
func (g *Graph) intern(ref prov.Ref, entry uint32) ID {
	key := ref.Key()
	if id := g.lookup(key); id != None {
		return id
	}
	for 4*(g.things.len()+1) > 3*len(*g.table.Load()) { // the series may be new too
		g.growTable()
	}
	id := g.name(key, ref, entry)
	if ref.Version == "" {
		g.place(id, key)
		return id
	}
	series := ref.Series()
	s := g.lookup(series.Key())
	if s == None {
		s = g.name(series.Key(), series, entry)
		g.place(s, series.Key())
	}
	t := g.things.at(id)
	t.series, t.nextVer = s, g.things.at(s).firstVer
	g.place(id, key)
	put((*uint32)(&g.things.at(s).firstVer), uint32(id))
	g.touch(s, Facets{Out: markTimes})
	return id
}

// name makes a thing. Readers do not find it before it is placed.
func (g *Graph) name(key string, ref prov.Ref, entry uint32) ID {
	t := thing{key: g.store(key), kind: g.words.kind(ref.Kind), entry: entry}
	if ref.IsDigest() {
		t.flags |= flagDigest
	}
	id := g.things.add(t)
	g.touch(id, allFacets)
	return id
}

func (g *Graph) place(id ID, key string) { placeIn(*g.table.Load(), id, hash(key)) }

func placeIn(table []uint32, id ID, h uint64) {
	mask := uint64(len(table) - 1)
	i := h & mask
	for table[i] != 0 {
		i = (i + 1) & mask
	}
	put(&table[i], uint32(id))
}

func (g *Graph) growTable() {
	table := make([]uint32, 2*len(*g.table.Load()))
	for id := ID(1); id < ID(g.things.end()); id++ {
		placeIn(table, id, hash(g.bytes(g.things.at(id).key)))
	}
	g.table.Store(&table)
}

// newRel appends a relation and links it in both directions.
func (g *Graph) newRel(r rel) uint32 {
	from, to := g.things.at(r.from), g.things.at(r.to)
	r.nextOut, r.nextIn = from.out, to.in
	p := g.rels.add(r)
	fresh := &g.rows.Load().fresh
	fresh.add(r.from)
	fresh.add(r.to)
	put(&from.out, p)
	put(&to.in, p)
	g.touchRel(&r)
	if r.typ == prov.SameAs {
		g.alike.add(r.from)
		g.alike.add(r.to)
	}
	return p
}

func (g *Graph) newAttr(id ID, key, val string, at prov.Instant, entry uint32) {
	if val == "" {
		return
	}
	g.touch(id, Facets{Out: markAttrs})
	t := g.things.at(id)
	put(&t.attr, g.attrs.add(attr{thing: id, next: t.attr, key: g.words.intern(key),
		val: g.store(val), at: at, entry: entry, kt: openKnown}))
}

func (g *Graph) mentionOf(id ID, entry uint32) {
	t := g.things.at(id)
	if t.mention != nilPos && t.lastEntry == entry {
		return
	}
	g.touch(id, Facets{In: markEntries})
	t.lastEntry = entry
	put(&t.mention, g.ments.add(mention{entry, t.mention}))
}

func (g *Graph) problem(entry uint32, what string) {
	g.problems.add(problem{entry: entry, what: g.store(what)})
}

// words is the table of short texts that repeat: kinds, roles, attribute keys.
type words struct {
	list  vec[uint32, string]
	index map[string]uint32 // of the fold alone
}

func (w *words) init() {
	w.index = map[string]uint32{}
	w.intern("")
	for _, k := range prov.Kinds() {
		w.intern("kind:" + string(k))
	}
}

func (w *words) intern(s string) uint32 {
	if i, ok := w.index[s]; ok {
		return i
	}
	i := w.list.add(s)
	w.index[s] = i
	return i
}

// kind numbers a kind: known kinds by their place in prov.Kinds, digests 254,
// kinds of one's own 255. The key's text tells which exactly.
func (w *words) kind(k prov.Kind) uint8 {
	if i, ok := w.index["kind:"+string(k)]; ok {
		return uint8(i)
	}
	if prov.DigestRef(string(k), "").IsDigest() {
		return 254
	}
	return 255
}
