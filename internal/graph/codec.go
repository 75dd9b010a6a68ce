package graph

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"unsafe"

	"github.com/stemma-lineage/stemma/prov"
)

// A snapshot file is the slices of a graph as they lie in memory:
//
//	magic    8 bytes "stemgrf" and the format version
//	check    4 bytes CRC-32C of all that follows
//	zero     4 bytes
//	sections for each slice: element size and count (uint64, little endian),
//	         then its bytes, padded to 8
//
// It is derived from the log and never needed: one that is damaged, of another
// version, or written by a machine that lays structs out differently is
// refused, and the log is folded again.
const codecVersion = 2

var magic = [8]byte{'s', 't', 'e', 'm', 'g', 'r', 'f', codecVersion}

// ErrSnapshot says that a snapshot file cannot be used.
var ErrSnapshot = errors.New("the snapshot cannot be used")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode gives the snapshot file of the graph.
func (g *Graph) Encode() []byte {
	g.Compact()
	w := &writer{b: make([]byte, 16, 1<<20)}
	copy(w.b, magic[:])
	put(w, g.arena)
	put(w, g.things)
	put(w, g.table)
	put(w, g.rels)
	put(w, []uint64{uint64(g.rows.base)})
	put(w, g.rows.outStart)
	put(w, g.rows.out.word)
	put(w, g.rows.out.rel)
	put(w, g.rows.inStart)
	put(w, g.rows.in.word)
	put(w, g.rows.in.rel)
	put(w, g.alike)
	put(w, g.attrs)
	put(w, g.ments)
	put(w, g.recorded)
	put(w, g.digests)
	put(w, g.seen)
	put(w, g.marks)
	put(w, g.problems)
	put(w, g.retracted)
	b := &g.binding
	put(w, b.acts)
	put(w, b.claims)
	put(w, b.asserts)
	put(w, b.writes)
	put(w, b.joins)
	put(w, []uint64{uint64(len(b.groups))})
	for _, gr := range b.groups {
		put(w, gr.members)
		put(w, gr.versions)
		put(w, gr.reads)
	}
	put(w, []uint64{uint64(len(g.words.list)), uint64(len(g.slots))})
	for _, s := range g.words.list {
		put(w, []byte(s))
	}
	for _, s := range g.slots {
		put(w, []byte(s.key))
		put(w, []uint64{uint64(len(s.items))})
		for _, it := range s.items {
			put(w, []uint64{uint64(it.at), uint64(it.id), uint64(it.entry)})
			put(w, it.rels)
			put(w, it.ends)
		}
	}
	binary.LittleEndian.PutUint32(w.b[8:], crc32.Checksum(w.b[16:], castagnoli))
	return w.b
}

// Decode reads a snapshot file. The graph keeps the bytes of b.
func Decode(b []byte) (*Graph, error) {
	if len(b) < 16 || [8]byte(b[:8]) != magic {
		return nil, fmt.Errorf("%w: it is of another version or no snapshot", ErrSnapshot)
	}
	if crc32.Checksum(b[16:], castagnoli) != binary.LittleEndian.Uint32(b[8:]) {
		return nil, fmt.Errorf("%w: its checksum is wrong", ErrSnapshot)
	}
	g := New()
	r := &reader{b: b[16:]}
	get(r, &g.arena)
	get(r, &g.things)
	get(r, &g.table)
	get(r, &g.rels)
	g.rows.base = uint32(r.numbers(1)[0])
	get(r, &g.rows.outStart)
	get(r, &g.rows.out.word)
	get(r, &g.rows.out.rel)
	get(r, &g.rows.inStart)
	get(r, &g.rows.in.word)
	get(r, &g.rows.in.rel)
	get(r, (*[]uint64)(&g.alike))
	get(r, &g.attrs)
	get(r, &g.ments)
	get(r, &g.recorded)
	get(r, &g.digests)
	get(r, &g.seen)
	get(r, &g.marks)
	get(r, &g.problems)
	get(r, &g.retracted)
	bi := &g.binding
	get(r, &bi.acts)
	get(r, &bi.claims)
	get(r, &bi.asserts)
	get(r, &bi.writes)
	get(r, &bi.joins)
	n := r.numbers(1)
	bi.groups = nil
	for i := uint64(0); i < n[0] && !r.bad; i++ {
		var gr group
		get(r, &gr.members)
		get(r, &gr.versions)
		get(r, &gr.reads)
		bi.groups = append(bi.groups, gr)
	}
	n = r.numbers(2)
	g.words = words{index: map[string]uint32{}}
	for i := uint64(0); i < n[0] && !r.bad; i++ {
		var s []byte
		get(r, &s)
		g.words.list = append(g.words.list, string(s))
		g.words.index[string(s)] = uint32(i)
	}
	g.slots = nil
	for i := uint64(0); i < n[1] && !r.bad; i++ {
		g.slots = append(g.slots, r.slot())
		g.slotKeys[g.slots[i].key] = uint32(i)
	}
	delete(g.slotKeys, "")
	if r.bad || len(r.b) != 0 || len(g.things) == 0 || len(g.rels) == 0 || g.rows.base != uint32(len(g.rels)) || len(g.rows.outStart) != len(g.things)+1 || len(g.rows.inStart) != len(g.things)+1 {
		return nil, fmt.Errorf("%w: its sections do not fit", ErrSnapshot)
	}
	return g, nil
}

func (r *reader) slot() slot {
	var key []byte
	get(r, &key)
	s := slot{key: string(key)}
	n := r.numbers(1)
	for i := uint64(0); i < n[0] && !r.bad; i++ {
		x := r.numbers(3)
		it := slotItem{at: instantOf(x[0]), id: ID(x[1]), entry: uint32(x[2])}
		get(r, &it.rels)
		get(r, &it.ends)
		if len(it.ends) == 0 {
			it.ends = nil
		}
		s.items = append(s.items, it)
	}
	return s
}

type writer struct{ b []byte }

func put[T any](w *writer, s []T) {
	var zero T
	size := unsafe.Sizeof(zero)
	w.b = binary.LittleEndian.AppendUint64(w.b, uint64(size))
	w.b = binary.LittleEndian.AppendUint64(w.b, uint64(len(s)))
	if len(s) > 0 {
		w.b = append(w.b, unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), uintptr(len(s))*size)...)
	}
	for len(w.b)%8 != 0 {
		w.b = append(w.b, 0)
	}
}

type reader struct {
	b   []byte
	bad bool
}

func get[T any](r *reader, s *[]T) {
	var zero T
	size := uint64(unsafe.Sizeof(zero))
	*s = nil
	if r.bad || len(r.b) < 16 {
		r.bad = true
		return
	}
	if binary.LittleEndian.Uint64(r.b) != size {
		r.bad = true
		return
	}
	n := binary.LittleEndian.Uint64(r.b[8:])
	r.b = r.b[16:]
	if n > uint64(len(r.b))/size {
		r.bad = true
		return
	}
	if n > 0 {
		// Appending to the slice copies it: its capacity is its length.
		*s = unsafe.Slice((*T)(unsafe.Pointer(&r.b[0])), n)
	}
	r.b = r.b[min((n*size+7)/8*8, uint64(len(r.b))):]
}

func (r *reader) numbers(n int) []uint64 {
	var s []uint64
	get(r, &s)
	if len(s) != n {
		r.bad = true
		return make([]uint64, n)
	}
	return s
}

func instantOf(x uint64) prov.Instant { return prov.Instant(int64(x)) }
