package vindex

import "slices"

// Snapshot is a version of a Map of which claims are proved. Its methods
// change nothing and may be called at once by many. When its Map changes it is
// no longer good, and its methods panic: whoever changes a Map while others
// prove has to keep them apart.
type Snapshot struct {
	m      *Map
	root   ref
	change uint64
	over   []overNode
}

// overNode is a node of the past that the Map no longer has like this.
type overNode struct {
	inner
	leaf bool // then kid[0] is the leaf of the Map that has the key
	hash Hash // of a leaf: its value then
}

// Snapshot gives the map as it is now.
func (m *Map) Snapshot() Snapshot {
	m.Root()
	return Snapshot{m: m, root: m.root, change: m.change}
}

// Past gives the map as it once was. changed are the numbers of all keys that
// were added or got another value since, each once; at gives the value that
// one had then, or false when it was not there. It costs time and memory for
// the changed keys and the paths to them, and nothing for the others.
func (m *Map) Past(changed []uint32, at func(n uint32) (v Hash, present bool)) Snapshot {
	s := m.Snapshot()
	if s.root != none {
		s.root = s.past(s.root, slices.Clone(changed), at)
	}
	return s
}

// past builds what is different below r.
func (s *Snapshot) past(r ref, changed []uint32, at func(n uint32) (Hash, bool)) ref {
	if len(changed) == 0 {
		return r
	}
	node := overNode{}
	if r&kindMask == kindLeaf {
		v, present := at(changed[0])
		if !present {
			return none
		}
		node.leaf, node.kid[0], node.hash = true, r, v
	} else {
		in := *s.m.inner(r)
		split := partition(changed, func(n uint32) bool { return s.m.leaves.at(n).key.bit(in.bit) == 1 })
		left := s.past(in.kid[0], changed[:split], at)
		right := s.past(in.kid[1], changed[split:], at)
		if left == none {
			return right
		}
		if right == none {
			return left
		}
		var h [2]Hash
		node.inner = inner{kid: [2]ref{left, right}, bit: in.bit}
		for side, kid := range node.kid {
			if kid == in.kid[side] {
				h[side] = s.side(r, side)
			} else {
				h[side] = s.hash(kid)
			}
		}
		node.hash = innerHash(in.bit, &h[0], &h[1])
	}
	s.over = append(s.over, node)
	return kindOver | ref(len(s.over)-1)
}

// partition moves those with what is true behind the others, and tells where
// they begin.
func partition[T any](list []T, what func(T) bool) int {
	i, j := 0, len(list)
	for i < j {
		if what(list[i]) {
			j--
			list[i], list[j] = list[j], list[i]
		} else {
			i++
		}
	}
	return i
}

func (s *Snapshot) check() {
	if s.change != s.m.change {
		panic("vindex: a Snapshot was used after its Map had changed")
	}
}

// Root is the hash of the map at this version.
func (s Snapshot) Root() Hash {
	s.check()
	if s.root == none {
		return EmptyRoot
	}
	if s.root == s.m.root {
		return s.m.hash
	}
	return s.hash(s.root)
}

// inner gives an inner node, or nil for a leaf.
func (s *Snapshot) inner(r ref) *inner {
	switch r & kindMask {
	case kindLeaf:
		return nil
	case kindOver:
		o := &s.over[r&^kindMask]
		if o.leaf {
			return nil
		}
		return &o.inner
	}
	return s.m.inner(r)
}

// leaf gives key and value of a leaf.
func (s *Snapshot) leaf(r ref) (*Key, *Hash) {
	if r&kindMask == kindOver {
		o := &s.over[r&^kindMask]
		return &s.m.leaves.at(uint32(o.kid[0])).key, &o.hash
	}
	l := s.m.leaves.at(uint32(r))
	return &l.key, &l.val
}

func (s *Snapshot) hash(r ref) Hash {
	switch r & kindMask {
	case kindLeaf:
		k, v := s.leaf(r)
		return leafHash(k, v)
	case kindOver:
		o := &s.over[r&^kindMask]
		if o.leaf {
			k, v := s.leaf(r)
			return leafHash(k, v)
		}
		return o.hash
	}
	a, b := s.side(r, 0), s.side(r, 1)
	return innerHash(s.inner(r).bit, &a, &b)
}

// side gives the hash of one side of an inner node.
func (s *Snapshot) side(r ref, side int) Hash {
	if r&kindMask == kindBig {
		return *s.m.side(r, side)
	}
	return s.hash(s.inner(r).kid[side])
}
