package graph

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unsafe"

	"github.com/stemma-lineage/stemma/prov"
)

// A snapshot file is the slices of a graph as they lie in memory:
//
//	magic     8 bytes "stemgrf" and the format version
//	check     4 bytes CRC-32C of the table
//	sections  4 bytes, their number
//	table     for each section 24 bytes: element size and count (8 each),
//	          CRC-32C of the section with its padding (4), zero (4)
//	sections  each padded to 8 bytes
//
// Numbers are little endian. It is derived from the log and never needed: one
// that is damaged, of another version, or written by a machine that lays
// structs out differently is refused, and the log is folded again.
//
// The sections that only Fold needs come last. They are neither checked nor
// looked at before the first entry is folded into a graph that was read.
const codecVersion = 8

var magic = [8]byte{'s', 't', 'e', 'm', 'g', 'r', 'f', codecVersion}

const (
	headerSize = 16
	tableRow   = 24
)

// ErrSnapshot says that a snapshot file cannot be used.
var ErrSnapshot = errors.New("the snapshot cannot be used")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// section is one list of a graph.
type section struct {
	size  uint64          // of an element
	parts func() [][]byte // its bytes, in pieces
	set   func(b []byte, n uint64)
}

func (s section) count() uint64 {
	n := uint64(0)
	for _, b := range s.parts() {
		n += uint64(len(b))
	}
	return n / s.size
}

func bytesOf[T any](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), uintptr(len(s))*unsafe.Sizeof(s[0]))
}

func sectionIn[T any](parts func() [][]T, set func([]T)) section {
	var zero T
	return section{
		size: uint64(unsafe.Sizeof(zero)),
		parts: func() [][]byte {
			var out [][]byte
			for _, p := range parts() {
				out = append(out, bytesOf(p))
			}
			return out
		},
		set: func(b []byte, n uint64) {
			var s []T
			if n > 0 { // appending to the slice copies it: its capacity is its length
				s = unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n)
			}
			set(s)
		},
	}
}

func sectionOf[T any](s *[]T) section {
	return sectionIn(func() [][]T { return [][]T{*s} }, func(b []T) { *s = b })
}

func sectionVec[I ~uint32, T any](v *vec[I, T]) section { return sectionIn(v.parts, v.set) }

// flat is what is no flat slice in the graph, made flat for the file. An end
// is where a part ends in the slice that holds all.
type flat struct {
	base     []uint64 // of rows
	wordText []byte
	wordEnd  []uint64

	members    []ID
	memberEnd  []uint64
	versions   []version
	versionEnd []uint64
	reads      []uint32
	readEnd    []uint64

	slotText  []byte
	slotEnd   []uint64
	slotGroup []uint32
	items     []flatItem
	itemEnd   []uint64
	itemRels  []uint32
	itemStop  []prov.Instant
}

type flatItem struct {
	at          prov.Instant
	id          ID
	entry       uint32
	rels, stops uint32
}

// sections lists the sections in the order of the file: those that questions
// need, and those that only Fold needs.
func (g *Graph) sections(f *flat) (hot, cold []section) {
	b, r := &g.binding, g.rows.Load()
	table := sectionIn(func() [][]uint32 { return [][]uint32{*g.table.Load()} }, func(t []uint32) { g.table.Store(&t) })
	alike := sectionIn(func() [][]uint64 { return [][]uint64{g.alike.all()} }, g.alike.set)
	hot = []section{sectionIn(g.arena.parts, g.arena.set), sectionVec(&g.things), table, sectionVec(&g.rels),
		sectionOf(&f.base), sectionOf(&r.outStart), sectionOf(&r.out.word), sectionOf(&r.out.rel),
		sectionOf(&r.inStart), sectionOf(&r.in.word), sectionOf(&r.in.rel), alike,
		sectionVec(&g.attrs), sectionVec(&g.ments), sectionVec(&g.recorded), sectionVec(&g.recorder), sectionVec(&g.marks), sectionVec(&g.problems), sectionVec(&g.doubts),
		sectionVec(&g.retracted), sectionVec(&b.acts), sectionVec(&b.claims), sectionVec(&b.writes),
		sectionOf(&f.wordText), sectionOf(&f.wordEnd)}
	cold = []section{sectionVec(&g.digests), sectionOf(&g.seen), sectionVec(&b.asserts), sectionOf(&b.joins), sectionOf(&g.fills),
		sectionOf(&f.members), sectionOf(&f.memberEnd), sectionOf(&f.versions), sectionOf(&f.versionEnd),
		sectionOf(&f.reads), sectionOf(&f.readEnd), sectionOf(&f.slotText), sectionOf(&f.slotEnd), sectionOf(&f.slotGroup),
		sectionOf(&f.items), sectionOf(&f.itemEnd), sectionOf(&f.itemRels), sectionOf(&f.itemStop)}
	return hot, cold
}

func (g *Graph) flatten() *flat {
	f := &flat{base: []uint64{uint64(g.rows.Load().base)}}
	for i := range g.words.list.end() {
		f.wordText = append(f.wordText, *g.words.list.at(i)...)
		f.wordEnd = append(f.wordEnd, uint64(len(f.wordText)))
	}
	for _, gr := range g.binding.groups {
		f.members = append(f.members, gr.members...)
		f.memberEnd = append(f.memberEnd, uint64(len(f.members)))
		f.versions = append(f.versions, gr.versions...)
		f.versionEnd = append(f.versionEnd, uint64(len(f.versions)))
		f.reads = append(f.reads, gr.reads...)
		f.readEnd = append(f.readEnd, uint64(len(f.reads)))
	}
	for _, s := range g.slots {
		f.slotText = append(f.slotText, s.key...)
		f.slotEnd = append(f.slotEnd, uint64(len(f.slotText)))
		f.slotGroup = append(f.slotGroup, s.group)
		for _, it := range s.items {
			f.items = append(f.items, flatItem{it.at, it.id, it.entry, uint32(len(it.rels)), uint32(len(it.ends))})
			f.itemRels = append(f.itemRels, it.rels...)
			f.itemStop = append(f.itemStop, it.ends...)
		}
		f.itemEnd = append(f.itemEnd, uint64(len(f.items)))
	}
	return f
}

var padding [8]byte

func padOf(n uint64) uint64 { return (8 - n%8) % 8 }

// WriteTo writes the snapshot file of the graph. It holds no copy of it.
func (g *Graph) WriteTo(w io.Writer) (written int64, err error) {
	if err := g.thaw(); err != nil {
		return 0, err
	}
	g.Compact()
	hot, cold := g.sections(g.flatten())
	all := append(hot, cold...)
	head := make([]byte, headerSize, headerSize+tableRow*len(all))
	copy(head, magic[:])
	binary.LittleEndian.PutUint32(head[12:], uint32(len(all)))
	for _, s := range all {
		n, sum := s.count(), uint32(0)
		for _, b := range s.parts() {
			sum = crc32.Update(sum, castagnoli, b)
		}
		sum = crc32.Update(sum, castagnoli, padding[:padOf(n*s.size)])
		head = binary.LittleEndian.AppendUint64(head, s.size)
		head = binary.LittleEndian.AppendUint64(head, n)
		head = binary.LittleEndian.AppendUint64(head, uint64(sum))
	}
	binary.LittleEndian.PutUint32(head[8:], crc32.Checksum(head[headerSize:], castagnoli))
	put := func(b []byte) {
		if err == nil {
			var n int
			n, err = w.Write(b)
			written += int64(n)
		}
	}
	put(head)
	for _, s := range all {
		for _, b := range s.parts() {
			put(b)
		}
		put(padding[:padOf(s.count()*s.size)])
	}
	return written, err
}

// Encode gives the snapshot file of the graph as one piece.
func (g *Graph) Encode() []byte {
	var b bytes.Buffer
	if _, err := g.WriteTo(&b); err != nil {
		panic("graph: writing to memory: " + err.Error()) // only a damaged snapshot can: Decode, then Fold, tells of it
	}
	return b.Bytes()
}

// Decode reads a snapshot file. The graph keeps the bytes of b, and writes to
// them when it is folded into.
func Decode(b []byte) (*Graph, error) {
	if len(b) < headerSize || [8]byte(b[:8]) != magic {
		return nil, fmt.Errorf("%w: it is of another version or no snapshot", ErrSnapshot)
	}
	g, f := New(), &flat{}
	hot, cold := g.sections(f)
	n := len(hot) + len(cold)
	start := headerSize + tableRow*n
	if int(binary.LittleEndian.Uint32(b[12:])) != n || len(b) < start ||
		crc32.Checksum(b[headerSize:start], castagnoli) != binary.LittleEndian.Uint32(b[8:]) {
		return nil, fmt.Errorf("%w: its table is damaged", ErrSnapshot)
	}
	r := &sectionReader{table: b[headerSize:start], b: b[start:]}
	for _, s := range hot {
		r.take(s, true)
	}
	var later []func() bool
	for _, s := range cold {
		later = append(later, r.take(s, false))
	}
	switch {
	case r.bad || len(r.b) != 0:
		return nil, fmt.Errorf("%w: it is damaged, or its sections do not fit", ErrSnapshot)
	case !g.plausible(f) || !g.unflattenWords(f):
		return nil, fmt.Errorf("%w: its sections contradict one another", ErrSnapshot)
	}
	g.rows.Load().base = uint32(f.base[0])
	g.size.Store(g.recorded.end())
	g.cold = func() error {
		for _, check := range later {
			if !check() {
				return fmt.Errorf("%w: a section that only the fold needs is damaged", ErrSnapshot)
			}
		}
		if !g.unflatten(f) {
			return fmt.Errorf("%w: the sections that only the fold needs contradict one another", ErrSnapshot)
		}
		return nil
	}
	return g, nil
}

// plausible tells whether the slices that go together fit.
func (g *Graph) plausible(f *flat) bool {
	r, table := g.rows.Load(), len(*g.table.Load())
	return g.things.len() > 0 && g.rels.len() > 0 && table > g.things.len() && table&(table-1) == 0 &&
		len(f.base) == 1 && f.base[0] == uint64(g.rels.len()) && g.marks.len() == g.recorded.len()+1 && g.recorder.len() == g.recorded.len() &&
		len(r.outStart) == g.things.len()+1 && len(r.inStart) == g.things.len()+1 &&
		len(r.out.word) == len(r.out.rel) && len(r.in.word) == len(r.in.rel)
}

// thaw makes a graph that was read ready for Fold.
func (g *Graph) thaw() error {
	if g.cold == nil {
		return nil
	}
	err := g.cold()
	if err == nil {
		g.cold = nil
	}
	return err
}

type sectionReader struct {
	table, b []byte
	bad      bool
}

// take cuts the next section off. now says to check it at once; else the
// function that it gives does, and sets the slice.
func (r *sectionReader) take(s section, now bool) func() bool {
	size, n := binary.LittleEndian.Uint64(r.table), binary.LittleEndian.Uint64(r.table[8:])
	sum := binary.LittleEndian.Uint64(r.table[16:])
	r.table = r.table[tableRow:]
	if r.bad || size != s.size || n > uint64(len(r.b))/size {
		r.bad = true
		return nil
	}
	end := n*size + padOf(n*size)
	if end > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	b := r.b[:end]
	r.b = r.b[end:]
	set := func() bool {
		if uint64(crc32.Checksum(b, castagnoli)) != sum {
			return false
		}
		s.set(b, n)
		return true
	}
	if now && !set() {
		r.bad = true
	}
	return set
}

// cut gives the part of all that ends at the i-th end.
func cut[T any](all []T, ends []uint64, i int) ([]T, bool) {
	from := uint64(0)
	if i > 0 {
		from = ends[i-1]
	}
	if from > ends[i] || ends[i] > uint64(len(all)) {
		return nil, false
	}
	return all[from:ends[i]:ends[i]], true
}

func (g *Graph) unflattenWords(f *flat) bool {
	g.words.list.set(nil)
	g.words.index = make(map[string]uint32, len(f.wordEnd))
	for i := range f.wordEnd {
		s, ok := cut(f.wordText, f.wordEnd, i)
		if !ok {
			return false
		}
		g.words.index[string(s)] = g.words.list.add(string(s))
	}
	return true
}

func (g *Graph) unflatten(f *flat) bool {
	if len(f.versionEnd) != len(f.memberEnd) || len(f.readEnd) != len(f.memberEnd) || len(f.itemEnd) != len(f.slotEnd) || len(f.slotGroup) != len(f.slotEnd) {
		return false
	}
	g.binding.groups = make([]group, len(f.memberEnd))
	for i := range g.binding.groups {
		gr := &g.binding.groups[i]
		var ok1, ok2, ok3 bool
		gr.members, ok1 = cut(f.members, f.memberEnd, i)
		gr.versions, ok2 = cut(f.versions, f.versionEnd, i)
		gr.reads, ok3 = cut(f.reads, f.readEnd, i)
		if !ok1 || !ok2 || !ok3 {
			return false
		}
	}
	g.slots = make([]slot, len(f.slotEnd))
	for i := range g.slots {
		key, ok1 := cut(f.slotText, f.slotEnd, i)
		items, ok2 := cut(f.items, f.itemEnd, i)
		if !ok1 || !ok2 {
			return false
		}
		s := &g.slots[i]
		s.key = string(key)
		for _, x := range items {
			if int(x.rels) > len(f.itemRels) || int(x.stops) > len(f.itemStop) {
				return false
			}
			it := slotItem{at: x.at, id: x.id, entry: x.entry, rels: f.itemRels[:x.rels:x.rels]}
			if x.stops > 0 {
				it.ends = f.itemStop[:x.stops:x.stops]
			}
			f.itemRels, f.itemStop = f.itemRels[x.rels:], f.itemStop[x.stops:]
			s.items = append(s.items, it)
		}
		g.slotKeys[s.key] = uint32(i)
		if s.group = f.slotGroup[i]; s.group != 0 {
			if int(s.group) >= len(g.slots) {
				return false
			}
			g.members[s.group] = append(g.members[s.group], uint32(i))
		}
	}
	delete(g.slotKeys, "")
	return true
}
