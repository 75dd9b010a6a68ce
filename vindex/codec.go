package vindex

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A stored map is its arrays, in little endian:
//
//	numbers of leaves, small nodes and big nodes, the topmost node  4 bytes each
//	hash of the topmost node                                        32
//	each leaf: key, value                                           64
//	each small node: its two kids (4 each), its bit (1)             9
//	each big node: the same, and the hashes of the kids             73
//
// It is derived data, for the machine that wrote it. Who stores it adds a
// checksum: what is read back is held to be a map, and not to be the right one.
const mapHeader = 48

// ErrStored says that stored bytes are no map.
var ErrStored = errors.New("the stored map cannot be used")

// WriteTo writes the map for [ReadMap]. The values are asked for before.
func (m *Map) WriteTo(w io.Writer) (int64, error) {
	root := m.Root()
	var b []byte
	for _, n := range []uint32{m.leaves.n, m.small.n, m.big.n, uint32(m.root)} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	b = append(b, root[:]...)
	var done int64
	flush := func(room int) error {
		if len(b) < room {
			return nil
		}
		n, err := w.Write(b)
		done += int64(n)
		b = b[:0]
		return err
	}
	for i := range m.leaves.n {
		l := m.leaves.at(i)
		b = append(append(b, l.key[:]...), l.val[:]...)
		if err := flush(1 << 16); err != nil {
			return done, err
		}
	}
	for i := range m.small.n {
		b = m.small.at(i).append(b)
		if err := flush(1 << 16); err != nil {
			return done, err
		}
	}
	for i := range m.big.n {
		hash := m.hashes.at(i)
		b = m.big.at(i).append(b)
		b = append(append(b, hash[0][:]...), hash[1][:]...)
		if err := flush(1 << 16); err != nil {
			return done, err
		}
	}
	return done, flush(0)
}

func (in *inner) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(in.kid[0]))
	b = binary.LittleEndian.AppendUint32(b, uint32(in.kid[1]))
	return append(b, in.bit)
}

// ReadMap reads what WriteTo wrote; value is that of NewMap. It takes nothing
// that would make a method of Map fail or not end. The error is ErrStored.
func ReadMap(b []byte, value func(n uint32) Hash) (*Map, error) {
	if len(b) < mapHeader {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrStored, len(b))
	}
	num := func(i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }
	leaves, small, big := num(0), num(1), num(2)
	m := &Map{root: ref(num(3)), hash: Hash(b[16:48]), value: value}
	want := mapHeader + 64*uint64(leaves) + 9*uint64(small) + 73*uint64(big)
	if uint64(len(b)) != want {
		return nil, fmt.Errorf("%w: it has %d bytes, its numbers say %d", ErrStored, len(b), want)
	}
	if inners := uint64(small) + uint64(big); leaves > MaxLen || leaves == 0 && inners != 0 || leaves > 0 && inners != uint64(leaves)-1 {
		return nil, fmt.Errorf("%w: %d leaves and %d inner nodes are no tree", ErrStored, leaves, inners)
	}
	b = b[mapHeader:]
	for ; m.leaves.n < leaves; b = b[64:] {
		m.leaves.add(leaf{Key(b[:32]), Hash(b[32:64])})
	}
	for ; m.small.n < small; b = b[9:] {
		m.small.add(readInner(b))
	}
	for ; m.big.n < big; b = b[73:] {
		m.big.add(readInner(b))
		m.hashes.add([2]Hash{Hash(b[9:41]), Hash(b[41:73])})
	}
	if err := m.wellFormed(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStored, err)
	}
	return m, nil
}

func readInner(b []byte) inner {
	kid := func(i int) ref { return ref(binary.LittleEndian.Uint32(b[4*i:])) }
	return inner{kid: [2]ref{kid(0), kid(1)}, bit: b[8]}
}

// wellFormed makes sure that every way down ends: each node is there, bits
// grow, and below a small node there are few leaves.
func (m *Map) wellFormed() error {
	if m.leaves.n == 0 {
		if m.root != none {
			return errors.New("an empty map has a topmost node")
		}
		return nil
	}
	if !m.has(m.root) {
		return errors.New("there is no topmost node")
	}
	check := func(what string, i uint32, in *inner, top int) error {
		for _, kid := range in.kid {
			if !m.has(kid) || kid&kindMask != kindLeaf && m.inner(kid).bit <= in.bit || top == 0 && kid&kindMask == kindBig {
				return fmt.Errorf("%s node %d has a kid that cannot be", what, i)
			}
		}
		return nil
	}
	for i := range m.big.n {
		if err := check("big", i, m.big.at(i), 1); err != nil {
			return err
		}
	}
	for i := range m.small.n {
		if err := check("small", i, m.small.at(i), 0); err != nil {
			return err
		}
	}
	for i := range m.small.n {
		if m.few(kindSmall|ref(i), smallLeaves) < 0 {
			return fmt.Errorf("small node %d has more than %d leaves", i, smallLeaves)
		}
	}
	return nil
}

// has tells whether there is such a node.
func (m *Map) has(r ref) bool {
	i := uint32(r &^ kindMask)
	switch r & kindMask {
	case kindLeaf:
		return i < m.leaves.n
	case kindSmall:
		return i < m.small.n
	case kindBig:
		return i < m.big.n
	}
	return false
}

// few gives how many of left leaves remain when those below r are taken off,
// less than 0 when there are more.
func (m *Map) few(r ref, left int) int {
	if left < 0 {
		return left
	}
	if r&kindMask == kindLeaf {
		return left - 1
	}
	in := m.inner(r)
	return m.few(in.kid[1], m.few(in.kid[0], left))
}
