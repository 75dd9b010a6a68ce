package vindex

import (
	"encoding/binary"
	"fmt"
	"slices"
)

const (
	proofLine = "stemma-vindex/v1 proof\n"

	tagEmpty = 0 // the map is empty
	tagLeaf  = 1
	tagBoth  = 2
	tagLeft  = 3 // the left side follows, the right is a hash
	tagRight = 4 // the right side follows, the left is a hash
	tagRoot  = 5 // nothing was asked for

	// MaxProof is the greatest length of a Proof in bytes.
	MaxProof = 1 << 30
)

// Proof says for a set of keys which are in a map, with their values, and which
// are not. Its bytes are told in the package comment. The zero Proof says
// nothing and does not hold.
type Proof struct{ b []byte }

// Prove gives the proof that answers all of the keys. It depends only on the
// set of keys and on the map.
func (s Snapshot) Prove(keys []Key) Proof {
	s.check()
	b := []byte(proofLine)
	switch {
	case s.root == none:
		b = append(b, tagEmpty)
	case len(keys) == 0:
		h := s.Root()
		b = append(append(b, tagRoot), h[:]...)
	default:
		b = s.prove(b, s.root, slices.Clone(keys))
	}
	return Proof{b}
}

func (s *Snapshot) prove(b []byte, r ref, keys []Key) []byte {
	in := s.inner(r)
	if in == nil {
		k, v := s.leaf(r)
		return append(append(append(b, tagLeaf), k[:]...), v[:]...)
	}
	split := partition(keys, func(k Key) bool { return k.bit(in.bit) == 1 })
	switch {
	case split == len(keys):
		h := s.side(r, 1)
		b = append(append(b, tagLeft, in.bit), h[:]...)
		return s.prove(b, in.kid[0], keys)
	case split == 0:
		h := s.side(r, 0)
		b = append(append(b, tagRight, in.bit), h[:]...)
		return s.prove(b, in.kid[1], keys)
	}
	b = append(b, tagBoth, in.bit)
	b = s.prove(b, in.kid[0], keys[:split])
	return s.prove(b, in.kid[1], keys[split:])
}

// MarshalBinary gives the bytes of the proof.
func (p Proof) MarshalBinary() ([]byte, error) { return slices.Clone(p.b), nil }

// Size is the length of the proof in bytes.
func (p Proof) Size() int { return len(p.b) }

// ParseProof reads the bytes of a proof. What it gives is well formed; whether
// it holds, Verify tells. Errors name the byte where the proof goes wrong.
func ParseProof(b []byte) (Proof, error) {
	if _, err := parse(b); err != nil {
		return Proof{}, err
	}
	return Proof{slices.Clone(b)}, nil
}

// Verify computes the root from the proof, compares it with the one that the
// caller trusts, and gives what is thereby proved. The error is ErrProof.
func (p Proof) Verify(root Hash) (Found, error) {
	nodes, err := parse(p.b)
	if err != nil {
		return Found{}, err
	}
	f := Found{b: p.b, nodes: nodes}
	if h := f.hash(0); h != root {
		return Found{}, bad("it leads to the root %x and not to %x; take the proof and the root of one log and one size", h, root)
	}
	return f, nil
}

// Found is what a proof has proved. The zero Found has proved nothing.
type Found struct {
	b     []byte
	nodes []proofNode
}

// proofNode is a node of a proof. at is where key and value, or the hash,
// stand in its bytes.
type proofNode struct {
	tag, bit uint8
	at       uint32
	kid      uint32 // the side that follows; of tagBoth the right one, the left is the next node
}

// Lookup tells what is proved about a key: that it is present, with its value,
// or, when covered and not present, that it is absent. When it is not covered
// the proof says nothing about the key.
func (f Found) Lookup(k Key) (v Hash, present, covered bool) {
	if len(f.nodes) == 0 {
		return Hash{}, false, false
	}
	for i := uint32(0); ; {
		n := f.nodes[i]
		side := k.bit(n.bit)
		switch n.tag {
		case tagEmpty:
			return Hash{}, false, true
		case tagLeaf:
			if Key(f.b[n.at:n.at+32]) != k {
				return Hash{}, false, true
			}
			return Hash(f.b[n.at+32 : n.at+64]), true, true
		case tagBoth:
			i++
			if side == 1 {
				i = n.kid
			}
		case tagLeft, tagRight:
			if side != int(n.tag-tagLeft) {
				return Hash{}, false, false
			}
			i++
		default:
			return Hash{}, false, false
		}
	}
}

// hash gives the hash of a node; it calls itself at most 256 times deep.
func (f *Found) hash(i uint32) Hash {
	n := f.nodes[i]
	switch n.tag {
	case tagEmpty:
		return EmptyRoot
	case tagLeaf:
		return leafHash((*Key)(f.b[n.at:]), (*Hash)(f.b[n.at+32:]))
	case tagRoot:
		return Hash(f.b[n.at : n.at+32])
	case tagBoth:
		a, b := f.hash(i+1), f.hash(n.kid)
		return innerHash(n.bit, &a, &b)
	}
	follows := f.hash(i + 1)
	if n.tag == tagLeft {
		return innerHash(n.bit, &follows, (*Hash)(f.b[n.at:]))
	}
	return innerHash(n.bit, (*Hash)(f.b[n.at:]), &follows)
}

// parser reads a proof. mask and want are the bits that the path has decided.
type parser struct {
	b          []byte
	at         int
	nodes      []proofNode
	mask, want Key
	prev       *Key // the leaf before, nil before the first
	turn       int  // the bit of the node where the paths of prev and of the next leaf part
}

func parse(b []byte) ([]proofNode, error) {
	if len(b) > MaxProof {
		return nil, bad("it has %d bytes and may have %d", len(b), MaxProof)
	}
	if len(b) < len(proofLine) || string(b[:len(proofLine)]) != proofLine {
		return nil, bad("it does not begin with the line %q", proofLine)
	}
	p := parser{b: b, at: len(proofLine), nodes: make([]proofNode, 0, len(b)/32)}
	if err := p.node(-1); err != nil {
		return nil, err
	}
	if p.at != len(b) {
		return nil, p.bad("%d bytes are too many", len(b)-p.at)
	}
	return p.nodes, nil
}

func (p *parser) bad(format string, args ...any) error {
	return bad("byte %d: %s", p.at, fmt.Sprintf(format, args...))
}

func (p *parser) take(n int, what string) (uint32, error) {
	if len(p.b)-p.at < n {
		return 0, p.bad("it ends before %s", what)
	}
	p.at += n
	return uint32(p.at - n), nil
}

// node reads one node and what is below; above is the bit of the node above,
// -1 at the top. Bits grow, so that it calls itself at most 256 times deep.
func (p *parser) node(above int) error {
	at, err := p.take(1, "a node")
	if err != nil {
		return err
	}
	n := proofNode{tag: p.b[at]}
	switch n.tag {
	case tagEmpty, tagRoot:
		if above >= 0 {
			p.at--
			return p.bad("a node of kind %d stands only alone", n.tag)
		}
		if n.tag == tagRoot {
			n.at, err = p.take(32, "the end of a hash")
		}
		p.nodes = append(p.nodes, n)
		return err
	case tagLeaf:
		return p.leaf(n)
	case tagBoth, tagLeft, tagRight:
		return p.inner(n, above)
	}
	p.at--
	return p.bad("there is no node of kind %d", n.tag)
}

func (p *parser) leaf(n proofNode) error {
	var err error
	if n.at, err = p.take(64, "the end of a leaf"); err != nil {
		return err
	}
	k := (*Key)(p.b[n.at:])
	for i := 0; i < 32; i += 8 {
		if (binary.BigEndian.Uint64(k[i:])^binary.BigEndian.Uint64(p.want[i:]))&binary.BigEndian.Uint64(p.mask[i:]) != 0 {
			p.at = int(n.at)
			return p.bad("the leaf of key %s stands where its bits do not lead", k)
		}
	}
	if p.prev != nil && firstDiff(p.prev, k) != p.turn {
		p.at = int(n.at)
		return p.bad("the keys of this leaf and of the one before part at bit %d and not at bit %d", firstDiff(p.prev, k), p.turn)
	}
	p.prev = k
	p.nodes = append(p.nodes, n)
	return nil
}

func (p *parser) inner(n proofNode, above int) error {
	at, err := p.take(1, "the bit of a node")
	if err != nil {
		return err
	}
	n.bit = p.b[at]
	if int(n.bit) <= above {
		p.at--
		return p.bad("bit %d stands below bit %d", n.bit, above)
	}
	if n.tag != tagBoth {
		if n.at, err = p.take(32, "the end of a hash"); err != nil {
			return err
		}
	}
	i := len(p.nodes)
	p.nodes = append(p.nodes, n)
	one := byte(0x80) >> (n.bit & 7)
	p.mask[n.bit>>3] |= one
	if n.tag != tagRight {
		err = p.node(int(n.bit))
	}
	if n.tag == tagBoth {
		p.nodes[i].kid = uint32(len(p.nodes))
		p.turn = int(n.bit)
	}
	if err == nil && n.tag != tagLeft {
		p.want[n.bit>>3] |= one
		err = p.node(int(n.bit))
		p.want[n.bit>>3] &^= one
	}
	p.mask[n.bit>>3] &^= one
	return err
}
