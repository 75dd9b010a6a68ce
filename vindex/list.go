package vindex

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
)

const listLine = "stemma-vindex/v1 list\n"

// ListHash is the value of a key in the map: the hash of its list of entry
// indices, which are ascending (see the package comment, Lists).
func ListHash(entries []uint64) Hash {
	var short [64]byte
	b := append(short[:0], listLine...)
	for _, e := range entries {
		b = binary.BigEndian.AppendUint64(b, e)
	}
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(len(entries))))
}

// ListState is the hash of a list that grows: what is appended costs its own
// length and not that of the list. Keep one for long lists.
type ListState struct {
	state []byte // of the hash, before the number
	n     uint64
}

// NewListState begins with a list.
func NewListState(entries []uint64) ListState {
	h := sha256.New()
	h.Write([]byte(listLine))
	return ListState{save(h), 0}.Append(entries...)
}

// Len is the number of entries in the list.
func (s ListState) Len() int { return int(s.n) }

// Append gives the state of the list with more entries.
func (s ListState) Append(entries ...uint64) ListState {
	h := s.load()
	var b [8]byte
	for _, e := range entries {
		binary.BigEndian.PutUint64(b[:], e)
		h.Write(b[:])
	}
	return ListState{save(h), s.n + uint64(len(entries))}
}

// Hash is the ListHash of the list.
func (s ListState) Hash() (sum Hash) {
	h := s.load()
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], s.n)
	h.Write(b[:])
	h.Sum(sum[:0])
	return sum
}

func (s ListState) load() hash.Hash {
	h := sha256.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(s.state); err != nil {
		panic("vindex: a ListState that NewListState did not make")
	}
	return h
}

func save(h hash.Hash) []byte {
	b, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic(err) // crypto/sha256 says that it never fails
	}
	return b
}
