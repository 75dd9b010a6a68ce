// Package vindex is the verifiable index of a log: a map from keys to the
// entries that mention them, with one root hash that proves for any key which
// entries those are, or that there are none. It holds values, takes values,
// and reads no file, no clock and no network.
//
// The rest of this comment is the byte format, stemma-vindex/v1. It is enough
// for another implementation; testdata/vectors has examples, good and bad.
// "‖" joins bytes, H is SHA-256 (FIPS 180-4), and "uvarint" is the unsigned
// LEB128 number of protocol buffers, in as few bytes as possible.
//
// # Lists
//
// The value of a key is the hash of its list: the indices of the entries that
// mention it, ascending, each once.
//
//	value = H("stemma-vindex/v1 list\n" ‖ index₀ ‖ … ‖ indexₙ₋₁ ‖ n)
//
// Indices and n are 8 bytes each, big endian. The number stands last, so that
// whoever keeps the state of the hash adds to a list of any length at the cost
// of what is added. A key that no entry mentions is not in the map; there is
// no value for an empty list.
//
// # Tree
//
// The map is a binary Patricia tree (Morrison 1968) over keys of 32 bytes.
// Bit 0 of a key is the highest bit of its first byte, bit 255 the lowest of
// its last. A leaf is a key and its value. An inner node stands exactly where
// keys part: all keys below it agree in the bits before its own bit B, those
// to the left have 0 at B, those to the right 1. So bits grow on each path
// down, and the tree depends on the keys alone, not on the order in which they
// came. Its hashes are those that filippo.io/torchwood/mpt documents, for keys
// and values of 32 bytes:
//
//	empty tree  H("")
//	leaf        H(0x00 ‖ 0x20 ‖ key ‖ 0x20 ‖ value)
//	inner node  H(0x01 ‖ uvarint(B) ‖ hash of left ‖ hash of right)
//
// The hash of the topmost node is the root of the map.
//
// # Proof of many keys
//
// A [Proof] is the tree without the parts that were not asked for. It begins
// with the line "stemma-vindex/v1 proof\n"; then stands one node, after it
// nothing:
//
//	0x00                       the map is empty (only alone)
//	0x01 ‖ key ‖ value         a leaf
//	0x02 ‖ B ‖ left ‖ right    an inner node, both sides follow as nodes
//	0x03 ‖ B ‖ hash ‖ left     an inner node; of the right side only the hash
//	0x04 ‖ B ‖ hash ‖ right    an inner node; of the left side only the hash
//	0x05 ‖ hash                nothing was asked for (only alone)
//
// B is one byte. A reader refuses a proof in which a bit is not greater than
// that of the node above, a leaf does not stand where the bits of its key
// lead, or two neighbouring leaves part at another bit than that of the node
// where their paths part. What is left has one encoding only. The reader
// computes the hash of the topmost node and compares it with the root that it
// trusts. To look up a key it goes down by the bits of the key: a leaf with
// this key says present, with this value; a leaf with another key, or the
// empty map, says absent; a hash says that the proof does not answer.
//
// # Proof of one key
//
// A [PresentProof] is the way from the leaf of the key up to the top, for each
// inner node the bit and the hash of the side that the key is not on:
//
//	uvarint(B₁) ‖ hash₁ ‖ uvarint(B₂) ‖ hash₂ ‖ …
//
// Bits are strictly decreasing. Key and value are not in it: the verifier has
// them. An [AbsentProof] is empty for the empty map, and else begins with
// another leaf, the one to which the bits of the absent key lead:
//
//	0x20 ‖ key of the leaf ‖ 0x20 ‖ its value ‖ uvarint(B₁) ‖ hash₁ ‖ …
//
// The verifier checks that the two keys differ and that they agree in each
// bit B. Both forms are those of torchwood/mpt. They are types of their own
// with verifiers of their own: that a key could not be shown to be present
// proves nothing.
//
// # What a root cannot say
//
// A proof binds an answer to a root. That the root is that of the right map
// for the log, anyone can check who has the entries: compute the keys of each,
// the lists, and [TreeHash].
package vindex

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"math/bits"
)

// Key is the name of a list of entries: the hash of what the list is about.
type Key [32]byte

// String is the key in hexadecimal.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// Compare orders keys as bytes.
func (k Key) Compare(other Key) int { return bytes.Compare(k[:], other[:]) }

// Hash is a SHA-256 digest.
type Hash = [32]byte

// EmptyRoot is the root of a map without keys: SHA-256 of nothing.
var EmptyRoot = Hash(sha256.Sum256(nil))

// ErrProof says that a proof is malformed or does not lead to the root. What
// it claims is then neither true nor false: it is not proved.
var ErrProof = errors.New("the proof does not hold")

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProof, fmt.Sprintf(format, args...))
}

// bit gives bit i of the key, 0 or 1.
func (k *Key) bit(i uint8) int { return int(k[i>>3]>>(7-i&7)) & 1 }

// firstDiff gives the first bit in which two keys differ, 256 if in none.
func firstDiff(a, b *Key) int {
	for i := 0; i < 32; i += 8 {
		if x := binary.BigEndian.Uint64(a[i:]) ^ binary.BigEndian.Uint64(b[i:]); x != 0 {
			return 8*i + bits.LeadingZeros64(x)
		}
	}
	return 256
}

func leafHash(k *Key, v *Hash) Hash {
	var b [67]byte
	b[1], b[34] = 32, 32
	copy(b[2:], k[:])
	copy(b[35:], v[:])
	return sha256.Sum256(b[:])
}

func innerHash(bit uint8, left, right *Hash) Hash {
	var b [67]byte
	b[0] = 1
	n := 1 + binary.PutUvarint(b[1:], uint64(bit))
	n += copy(b[n:], left[:])
	n += copy(b[n:], right[:])
	return sha256.Sum256(b[:n])
}

// TreeHash computes the root of a map from its keys and values without
// building the tree. Keys must ascend; one that does not is an error. It is
// what an auditor needs who has computed the lists: memory for one path.
func TreeHash(pairs iter.Seq2[Key, Hash]) (Hash, error) {
	type half struct { // an inner node whose left side is known
		bit  int
		left Hash
	}
	var open []half
	var prev Key
	var done Hash // the hash of what ended with prev
	n := 0
	closeTo := func(bit int) { // closes the nodes that prev was the last key of
		for len(open) > 0 && open[len(open)-1].bit > bit {
			h := open[len(open)-1]
			open = open[:len(open)-1]
			done = innerHash(uint8(h.bit), &h.left, &done)
		}
	}
	for k, v := range pairs {
		if n > 0 {
			d := firstDiff(&prev, &k)
			if prev.Compare(k) >= 0 {
				return Hash{}, fmt.Errorf("hashing a map: key %d is %s and not greater than the key before; sort the keys and name each once", n, k)
			}
			closeTo(d)
			open = append(open, half{d, done})
		}
		done, prev = leafHash(&k, &v), k
		n++
	}
	if n == 0 {
		return EmptyRoot, nil
	}
	closeTo(-1)
	return done, nil
}
