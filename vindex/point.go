package vindex

import (
	"encoding/binary"
	"errors"
)

// PresentProof proves that one key has one value.
type PresentProof []byte

// AbsentProof proves that one key is not in the map.
type AbsentProof []byte

// ErrAbsent and ErrPresent say that what was to be proved is not so.
var (
	ErrAbsent  = errors.New("the key is not in the map")
	ErrPresent = errors.New("the key is in the map")
)

// ProvePresent gives the value of a key and the proof of it. The error is
// ErrAbsent.
func (s Snapshot) ProvePresent(k Key) (Hash, PresentProof, error) {
	s.check()
	key, val, path := s.path(&k)
	if key == nil || *key != k {
		return Hash{}, nil, ErrAbsent
	}
	return *val, path, nil
}

// ProveAbsent gives the proof that a key is not in the map. The error is
// ErrPresent.
func (s Snapshot) ProveAbsent(k Key) (AbsentProof, error) {
	s.check()
	key, val, path := s.path(&k)
	if key == nil {
		return AbsentProof{}, nil
	}
	if *key == k {
		return nil, ErrPresent
	}
	p := append(append(AbsentProof{32}, key[:]...), 32)
	return append(append(p, val[:]...), path...), nil
}

// path goes down by the bits of k: the leaf where it ends, nil in an empty
// map, and the way back up.
func (s *Snapshot) path(k *Key) (*Key, *Hash, []byte) {
	if s.root == none {
		return nil, nil, nil
	}
	var way []ref
	r := s.root
	for in := s.inner(r); in != nil; in = s.inner(r) {
		way = append(way, r)
		r = in.kid[k.bit(in.bit)]
	}
	p := make([]byte, 0, 34*len(way))
	for i := len(way) - 1; i >= 0; i-- {
		in := s.inner(way[i])
		h := s.side(way[i], 1-k.bit(in.bit))
		p = append(binary.AppendUvarint(p, uint64(in.bit)), h[:]...)
	}
	key, val := s.leaf(r)
	return key, val, p
}

// VerifyPresent checks a proof that a key has a value in the map with this
// root. The error is ErrProof.
func VerifyPresent(root Hash, k Key, v Hash, p PresentProof) error {
	_, err := climb(root, &k, leafHash(&k, &v), p, 0)
	return err
}

// VerifyAbsent checks a proof that a key is not in the map with this root. The
// error is ErrProof.
func VerifyAbsent(root Hash, k Key, p AbsentProof) error {
	if len(p) == 0 {
		if root != EmptyRoot {
			return bad("it is empty, and the root is not that of an empty map")
		}
		return nil
	}
	if len(p) < 66 || p[0] != 32 || p[33] != 32 {
		return bad("byte 0: no leaf with a key and a value of 32 bytes")
	}
	other, val := Key(p[1:33]), Hash(p[34:66])
	if other == k {
		return bad("byte 1: the leaf is that of the key which is said to be absent")
	}
	bits, err := climb(root, &other, leafHash(&other, &val), p, 66)
	if err != nil {
		return err
	}
	for _, b := range bits {
		if k.bit(b) != other.bit(b) {
			return bad("at bit %d the way of the key does not lead to the leaf that is shown", b)
		}
	}
	return nil
}

// climb computes the root from a leaf with this key and hash along the way in
// p[at:], compares it, and gives the bits of the way.
func climb(root Hash, k *Key, h Hash, p []byte, at int) ([]uint8, error) {
	var bits []uint8
	for last := 256; at < len(p); {
		start := at
		b, n := binary.Uvarint(p[at:])
		if n <= 0 || b > 255 || n == 2 && b < 128 || n > 2 {
			return nil, bad("byte %d: no bit in its shortest form", start)
		}
		if int(b) >= last {
			return nil, bad("byte %d: bit %d stands above bit %d", start, b, last)
		}
		at += n
		if len(p)-at < 32 {
			return nil, bad("byte %d: it ends before the end of a hash", at)
		}
		side := Hash(p[at : at+32])
		at += 32
		last = int(b)
		bits = append(bits, uint8(b))
		if k.bit(uint8(b)) == 0 {
			h = innerHash(uint8(b), &h, &side)
		} else {
			h = innerHash(uint8(b), &side, &h)
		}
	}
	if h != root {
		return nil, bad("it leads to the root %x and not to %x; take the proof and the root of one log and one size", h, root)
	}
	return bits, nil
}
