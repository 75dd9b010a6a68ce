package vindex

import "fmt"

// ref names a node: two bits of kind and an index into the nodes of that kind.
type ref uint32

const (
	kindLeaf  ref = 0 << 30
	kindSmall ref = 1 << 30 // an inner node below which hashes are computed when they are needed
	kindBig   ref = 2 << 30 // an inner node that keeps the hashes of its sides
	kindOver  ref = 3 << 30 // a node of a Snapshot of the past
	kindMask  ref = 3 << 30
	none      ref = 1<<32 - 1 // no node
)

// MaxLen is how many keys a Map holds at most.
const MaxLen = 1<<30 - 1

// smallLeaves is the number of leaves up to which an inner node keeps no
// hashes. Seven of ten inner nodes of random keys are that small; to compute
// the hash of one takes at most nine hashes.
const smallLeaves = 5

type leaf struct {
	key Key
	val Hash // zero while it has to be asked for, see NewMap
}

type inner struct {
	kid   [2]ref
	bit   uint8
	stale [2]bool // of a big node: the hash of that side has to be computed
}

// Map is a map from keys to values with a root hash: a Patricia tree in a few
// arrays, about 95 bytes a key. Keys are never removed. It is changed in
// place: methods that change it (Set, Touch, Root, Snapshot) need it for
// themselves; what a Snapshot offers may be called at once by many, until the
// Map is changed.
//
// The versions that a Map had before need not be kept: see [Map.Past].
type Map struct {
	leaves vec[leaf]
	small  vec[inner]
	big    vec[inner]
	hashes vec[[2]Hash] // of the sides of each big node, beside each other
	root   ref
	hash   Hash   // of the root
	stale  bool   // it has to be computed
	change uint64 // counts changes, so that no Snapshot is used too long
	value  func(n uint32) Hash
}

// NewMap makes an empty map. value, if not nil, is asked at the next Root or
// Snapshot for the value of each key that was touched since, by the number
// that Touch gave.
func NewMap(value func(n uint32) Hash) *Map {
	return &Map{root: none, value: value}
}

// Len is the number of keys.
func (m *Map) Len() int { return int(m.leaves.n) }

// Key gives the key with number n.
func (m *Map) Key(n uint32) Key { return m.leaves.at(n).key }

// Set gives a key a value.
func (m *Map) Set(k Key, v Hash) {
	n := m.place(&k)
	m.leaves.at(n).val = v
}

// Touch says that the value of a key has changed, or that the key is new, and
// gives its number: keys are numbered from 0 in the order in which they came.
// It panics when the map was made without a function to ask for values.
func (m *Map) Touch(k Key) (n uint32) {
	if m.value == nil {
		panic("vindex: Touch on a Map that has nobody to ask for values")
	}
	n = m.place(&k)
	m.leaves.at(n).val = Hash{}
	return n
}

// Find gives the number of a key.
func (m *Map) Find(k Key) (n uint32, ok bool) {
	if m.root == none {
		return 0, false
	}
	r := m.root
	for r&kindMask != kindLeaf {
		in := m.inner(r)
		r = in.kid[k.bit(in.bit)]
	}
	return uint32(r), m.leaves.at(uint32(r)).key == k
}

// Get gives the value of a key.
func (m *Map) Get(k Key) (v Hash, ok bool) {
	n, ok := m.Find(k)
	if !ok {
		return Hash{}, false
	}
	v = m.leaves.at(n).val
	if v == (Hash{}) && m.value != nil {
		v = m.value(n)
	}
	return v, true
}

// Root computes the hash of the map as it is now.
func (m *Map) Root() Hash {
	if m.root == none {
		return EmptyRoot
	}
	if m.stale {
		m.hash = m.settle(m.root)
		m.stale = false
	}
	return m.hash
}

func (m *Map) inner(r ref) *inner {
	if r&kindMask == kindSmall {
		return m.small.at(uint32(r &^ kindMask))
	}
	return m.big.at(uint32(r &^ kindMask))
}

// side gives the hash of one side of a big node.
func (m *Map) side(r ref, side int) *Hash { return &m.hashes.at(uint32(r &^ kindMask))[side] }

// settle computes the hashes that are missing below r, and gives that of r.
// It calls itself at most 256 times deep.
func (m *Map) settle(r ref) Hash {
	switch r & kindMask {
	case kindLeaf:
		l := m.leaves.at(uint32(r))
		if m.value != nil && l.val == (Hash{}) {
			l.val = m.value(uint32(r))
		}
		return leafHash(&l.key, &l.val)
	case kindSmall:
		in := m.small.at(uint32(r &^ kindMask))
		a, b := m.settle(in.kid[0]), m.settle(in.kid[1])
		return innerHash(in.bit, &a, &b)
	default:
		in, hash := m.big.at(uint32(r&^kindMask)), m.hashes.at(uint32(r&^kindMask))
		for side, stale := range in.stale {
			if stale {
				hash[side] = m.settle(in.kid[side])
				in.stale[side] = false
			}
		}
		return innerHash(in.bit, &hash[0], &hash[1])
	}
}

// place gives the number of the leaf of a key, which it makes when there is
// none, and forgets the hashes above it.
func (m *Map) place(k *Key) uint32 {
	m.change++
	m.stale = true
	if m.root == none {
		m.root = kindLeaf
		return m.leaves.add(leaf{key: *k})
	}
	var path [256]ref
	depth := 0
	r := m.root
	for r&kindMask != kindLeaf {
		path[depth] = r
		depth++
		if r&kindMask == kindBig {
			b := m.big.at(uint32(r &^ kindMask))
			side := k.bit(b.bit)
			b.stale[side] = true
			r = b.kid[side]
		} else {
			in := m.small.at(uint32(r &^ kindMask))
			r = in.kid[k.bit(in.bit)]
		}
	}
	d := firstDiff(&m.leaves.at(uint32(r)).key, k)
	if d == 256 {
		return uint32(r)
	}
	for depth > 0 && int(m.inner(path[depth-1]).bit) > d {
		depth--
		r = path[depth]
	}
	return m.insert(k, uint8(d), path[:depth], r)
}

// insert makes the leaf of k, and the inner node that parts it at bit d from
// what is below; path leads there.
func (m *Map) insert(k *Key, d uint8, path []ref, below ref) uint32 {
	if m.leaves.n == MaxLen {
		panic(fmt.Sprintf("vindex: a Map holds at most %d keys", MaxLen))
	}
	n := m.leaves.add(leaf{key: *k})
	node := inner{bit: d}
	node.kid[k.bit(d)], node.kid[1-k.bit(d)] = ref(n), below
	top := len(path) // the topmost small node above, if there is one
	for top > 0 && path[top-1]&kindMask == kindSmall {
		top--
	}
	switch {
	case top == len(path): // all above are big
		if m.count(below)+1 > smallLeaves {
			m.hang(k, path, m.addBig(node))
		} else {
			m.hang(k, path, kindSmall|ref(m.small.add(node)))
		}
	case m.count(path[top])+1 <= smallLeaves:
		m.hang(k, path, kindSmall|ref(m.small.add(node)))
	default: // the topmost small node gets a hash, the new one its place
		place := path[top]
		grown := m.addBig(*m.inner(place))
		m.hang(k, path[:top], grown)
		path[top] = grown
		*m.inner(place) = node
		m.hang(k, path, place)
	}
	return n
}

// addBig makes a big node, whose hashes have to be computed.
func (m *Map) addBig(in inner) ref {
	in.stale = [2]bool{true, true}
	m.hashes.add([2]Hash{})
	return kindBig | ref(m.big.add(in))
}

// hang puts a node below the last of path, on the side of k. The hash of that
// side is forgotten already.
func (m *Map) hang(k *Key, path []ref, r ref) {
	if len(path) == 0 {
		m.root = r
		return
	}
	in := m.inner(path[len(path)-1])
	in.kid[k.bit(in.bit)] = r
}

// count gives the number of leaves below r, where it is small, and else more
// than smallLeaves.
func (m *Map) count(r ref) int {
	switch r & kindMask {
	case kindLeaf:
		return 1
	case kindSmall:
		in := m.inner(r)
		return m.count(in.kid[0]) + m.count(in.kid[1])
	}
	return smallLeaves + 1
}

// vec is a list in pieces: growing it copies nothing but a short first piece,
// so that it never takes twice its size.
type vec[T any] struct {
	pieces [][]T
	n      uint32
}

const (
	pieceBits = 12
	pieceLen  = 1 << pieceBits
)

func (v *vec[T]) at(i uint32) *T { return &v.pieces[i>>pieceBits][i&(pieceLen-1)] }

// add appends; what at gave before is then no longer good.
func (v *vec[T]) add(x T) uint32 {
	last := int(v.n >> pieceBits)
	if last == len(v.pieces) {
		var piece []T
		if last > 0 {
			piece = make([]T, 0, pieceLen)
		}
		v.pieces = append(v.pieces, piece)
	}
	v.pieces[last] = append(v.pieces[last], x)
	v.n++
	return v.n - 1
}
