package graph

import (
	"fmt"
	"sync/atomic"
)

// vec is a list that grows without moving what it holds: what came out of a
// snapshot file stays in the mapping, and what is added lies in chunks. So the
// first entry that is folded after a start copies nothing, and a pointer to an
// element stays good.
type vec[I ~uint32, T any] struct {
	base []T
	// more holds what is beyond base, in chunks that begin at multiples of
	// vecChunk; the first of them may have its beginning in base. A list of
	// chunks that was stored is never changed: a longer one takes its place.
	more atomic.Pointer[[]*[vecChunk]T]
	skip uint32 // chunks that base holds in full
	n    atomic.Uint32
}

const (
	vecBits  = 12
	vecChunk = 1 << vecBits
)

func (v *vec[I, T]) len() int { return int(v.n.Load()) }

// end gives the index of the next element.
func (v *vec[I, T]) end() uint32 { return v.n.Load() }

func (v *vec[I, T]) at(i I) *T {
	if int(i) < len(v.base) {
		return &v.base[i]
	}
	return &(*v.more.Load())[uint32(i)>>vecBits-v.skip][i&(vecChunk-1)]
}

// add appends x and gives its index.
func (v *vec[I, T]) add(x T) I {
	i := v.n.Load()
	if i == 1<<32-1 {
		panic(fmt.Sprintf("graph: more than %d elements of %T", uint32(1<<32-2), x))
	}
	if more := v.chunks(); int(i>>vecBits-v.skip) == len(more) {
		longer := append(more, new([vecChunk]T)) // a variable of its own: it is allocated
		v.more.Store(&longer)
	}
	*v.at(I(i)) = x
	v.n.Store(i + 1)
	return I(i)
}

func (v *vec[I, T]) chunks() []*[vecChunk]T {
	if p := v.more.Load(); p != nil {
		return *p
	}
	return nil
}

// parts gives what the list holds, in order.
func (v *vec[I, T]) parts() [][]T {
	var out [][]T
	if len(v.base) > 0 {
		out = append(out, v.base)
	}
	for c, chunk := range v.chunks() {
		begin := (uint64(c) + uint64(v.skip)) << vecBits
		lo, hi := max(begin, uint64(len(v.base))), min(begin+vecChunk, uint64(v.n.Load()))
		out = append(out, chunk[lo-begin:hi-begin])
	}
	return out
}

// set makes the list what b holds. Nobody may read it yet.
func (v *vec[I, T]) set(b []T) {
	v.base, v.skip = b, uint32(len(b))>>vecBits
	v.more.Store(nil)
	v.n.Store(uint32(len(b)))
}

// arena is texts one after the other, kept as a vec keeps its elements. A text
// does not cross from one chunk into the next; the rest of a chunk stays zero.
type arena struct {
	base []byte
	more atomic.Pointer[[][]byte]
	skip uint64
	n    uint64 // of the fold alone
}

const (
	arenaBits  = 18
	arenaChunk = 1 << arenaBits
)

// room gives size bytes at the end, and where they are.
func (a *arena) room(size int) (off uint64, b []byte) {
	used := a.n & (arenaChunk - 1)
	if used > 0 && uint64(size) > arenaChunk-used {
		a.n += arenaChunk - used
	}
	off = a.n
	a.n += uint64(size)
	if size == 0 {
		return off, nil
	}
	first := int(off>>arenaBits - a.skip)
	more := a.chunks()
	for first > len(more) { // the rest of the chunk in which base ends
		more = append(more, nil)
	}
	if first == len(more) {
		whole := make([]byte, (size+arenaChunk-1)>>arenaBits<<arenaBits)
		for len(whole) > 0 {
			more = append(more, whole)
			whole = whole[arenaChunk:]
		}
		longer := more
		a.more.Store(&longer)
	}
	at := off & (arenaChunk - 1)
	return off, more[first][at : at+uint64(size)]
}

func (a *arena) chunks() [][]byte {
	if p := a.more.Load(); p != nil {
		return *p
	}
	return nil
}

// add appends a text and gives where it is.
func (a *arena) add(s string) span {
	off, b := a.room(len(s))
	copy(b, s)
	return span{off: off, n: uint32(len(s))}
}

func (a *arena) at(off, n uint64) []byte {
	if n == 0 {
		return nil
	}
	if off < uint64(len(a.base)) {
		return a.base[off : off+n : off+n]
	}
	b := (*a.more.Load())[off>>arenaBits-a.skip]
	off &= arenaChunk - 1
	return b[off : off+n]
}

// parts gives what the arena holds, in order.
func (a *arena) parts() [][]byte {
	var out [][]byte
	if len(a.base) > 0 {
		out = append(out, a.base)
	}
	for c, chunk := range a.chunks() {
		begin := (uint64(c) + a.skip) << arenaBits
		lo, hi := max(begin, uint64(len(a.base))), min(begin+arenaChunk, a.n)
		if chunk == nil {
			chunk = make([]byte, arenaChunk)
		}
		out = append(out, chunk[lo-begin:hi-begin])
	}
	return out
}

func (a *arena) set(b []byte) {
	a.base, a.n, a.skip = b, uint64(len(b)), uint64(len(b))>>arenaBits
	a.more.Store(nil)
}
