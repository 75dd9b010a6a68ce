package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/stemma-lineage/stemma/vindex"
)

// lists holds ascending lists of entry indices, by number. A list of one has
// its entry in the head and nothing else: most are of this kind. A longer one
// is a chain of blocks, each twice as large as the one before, of differences
// as uvarints; the first of the first block is the first entry itself.
type lists struct {
	heads []head
	// arena holds the blocks, in pieces that never move. A block begins at a
	// multiple of unit and lies in one piece.
	arena [][]byte
	used  uint32 // units
	hot   map[uint32]*hot
}

type head struct {
	last  uint32 // entry
	count uint32
	tail  uint32 // the last block, in units; noBlock for a list of one
}

const (
	unit      = 16
	pieceSize = 1 << 20
	maxBlock  = 4096
	noBlock   = math.MaxUint32

	// A block begins with the block before it (4), the bytes used of it, these
	// eight included (2), and its size (2), in little endian.
	blockHead = 8

	// hotLen is the length from which on the hash of a list is not computed from
	// its beginning each time.
	hotLen = 64
)

// hot is the hash of a long list up to some place in it.
type hot struct {
	state vindex.ListState
	block uint32
	at    int    // in the block
	last  uint32 // entry before that place
}

func (l *lists) block(ref uint32) []byte {
	at := int(ref) * unit
	p := l.arena[at/pieceSize][at%pieceSize:]
	return p[:binary.LittleEndian.Uint16(p[6:])]
}

func blockUsed(b []byte) int { return int(binary.LittleEndian.Uint16(b[4:])) }

func (l *lists) newBlock(prev uint32, size int) (uint32, []byte) {
	at := int(l.used) * unit
	if at%pieceSize+size > pieceSize || at/pieceSize == len(l.arena) {
		at = len(l.arena) * pieceSize
		l.arena = append(l.arena, make([]byte, pieceSize))
	}
	ref := uint32(at / unit)
	l.used = ref + uint32(size/unit)
	b := l.arena[at/pieceSize][at%pieceSize:][:size]
	binary.LittleEndian.PutUint32(b, prev)
	binary.LittleEndian.PutUint16(b[4:], blockHead)
	binary.LittleEndian.PutUint16(b[6:], uint16(size))
	return ref, b
}

// add appends an entry, which is greater than those that are there, to list n.
// n is at most the number of lists.
func (l *lists) add(n, entry uint32) {
	if int(n) == len(l.heads) {
		l.heads = append(l.heads, head{entry, 1, noBlock})
		return
	}
	h := &l.heads[n]
	var enc [2 * binary.MaxVarintLen32]byte
	e := enc[:0]
	if h.count == 1 {
		e = binary.AppendUvarint(e, uint64(h.last))
	}
	e = binary.AppendUvarint(e, uint64(entry-h.last))
	var b []byte
	size := unit
	if h.tail != noBlock {
		b = l.block(h.tail)
		size = min(2*len(b), maxBlock)
	}
	if b == nil || len(b)-blockUsed(b) < len(e) {
		if blockHead+len(e) > size {
			size *= 2
		}
		h.tail, b = l.newBlock(h.tail, size)
	}
	u := blockUsed(b)
	binary.LittleEndian.PutUint16(b[4:], uint16(u+copy(b[u:], e)))
	h.last = entry
	h.count++
}

// chain gives the blocks of a list from the first, or from the one called
// since, to the last.
func (l *lists) chain(tail, since uint32) []uint32 {
	var refs []uint32
	for ref := tail; ref != noBlock; ref = binary.LittleEndian.Uint32(l.block(ref)) {
		refs = append(refs, ref)
		if ref == since {
			break
		}
	}
	for i, j := 0, len(refs)-1; i < j; i, j = i+1, j-1 {
		refs[i], refs[j] = refs[j], refs[i]
	}
	return refs
}

// first gives the first entry of list n.
func (l *lists) first(n uint32) uint64 {
	h := l.heads[n]
	if h.count == 1 {
		return uint64(h.last)
	}
	ref := h.tail
	for before := ref; before != noBlock; before = binary.LittleEndian.Uint32(l.block(ref)) {
		ref = before
	}
	entry, _ := binary.Uvarint(l.block(ref)[blockHead:])
	return entry
}

// list gives list n as far as it is below size.
func (l *lists) list(n uint32, size uint64) []uint64 {
	h := l.heads[n]
	if h.count == 1 {
		if uint64(h.last) < size {
			return []uint64{uint64(h.last)}
		}
		return nil
	}
	var out []uint64
	entry := uint64(0)
	for _, ref := range l.chain(h.tail, noBlock) {
		b := l.block(ref)
		for d := b[blockHead:blockUsed(b)]; len(d) > 0; {
			x, w := binary.Uvarint(d)
			d = d[w:]
			if entry += x; entry >= size {
				return out
			}
			out = append(out, entry)
		}
	}
	return out
}

// hash gives the value of list n in the map.
func (l *lists) hash(n uint32) vindex.Hash {
	h := l.heads[n]
	if h.count < hotLen {
		return vindex.ListHash(l.list(n, math.MaxUint64))
	}
	s := l.hot[n]
	if s == nil {
		s = &hot{state: vindex.NewListState(l.list(n, math.MaxUint64)), last: h.last, block: h.tail, at: blockUsed(l.block(h.tail))}
		l.hot[n] = s
		return s.state.Hash()
	}
	var more []uint64
	for _, ref := range l.chain(h.tail, s.block) {
		b := l.block(ref)
		at := blockHead
		if ref == s.block {
			at = s.at
		}
		for u := blockUsed(b); at < u; {
			x, w := binary.Uvarint(b[at:u])
			at += w
			s.last += uint32(x)
			more = append(more, uint64(s.last))
		}
		s.at = at
	}
	s.block = h.tail
	s.state = s.state.Append(more...)
	return s.state.Hash()
}

// check makes sure that every list can be read: after it nothing that list
// does can fail. size is the size of the log.
func (l *lists) check(size uint64) error {
	for n, h := range l.heads {
		if h.count == 0 || uint64(h.last) >= size || (h.count == 1) != (h.tail == noBlock) {
			return fmt.Errorf("list %d: its head cannot be", n)
		}
		for ref, below := h.tail, l.used; ref != noBlock; {
			if ref >= below {
				return fmt.Errorf("list %d: its blocks are not in order", n)
			}
			below = ref
			if err := l.checkBlock(ref); err != nil {
				return fmt.Errorf("list %d: %w", n, err)
			}
			ref = binary.LittleEndian.Uint32(l.block(ref))
		}
		if list := l.list(uint32(n), math.MaxUint64); len(list) != int(h.count) || list[len(list)-1] != uint64(h.last) {
			return fmt.Errorf("list %d is not what its head says", n)
		}
	}
	return nil
}

func (l *lists) checkBlock(ref uint32) error {
	at := int(ref) * unit
	if at/pieceSize >= len(l.arena) || at%pieceSize+blockHead > pieceSize {
		return errors.New("a block is out of bounds")
	}
	p := l.arena[at/pieceSize][at%pieceSize:]
	size, used := int(binary.LittleEndian.Uint16(p[6:])), int(binary.LittleEndian.Uint16(p[4:]))
	if size < unit || size > maxBlock || size > len(p) || used <= blockHead || used > size {
		return errors.New("a block cannot be")
	}
	for d := p[blockHead:used]; len(d) > 0; {
		x, w := binary.Uvarint(d)
		if w <= 0 || x > math.MaxUint32 {
			return errors.New("a block has no number where one has to be")
		}
		d = d[w:]
	}
	return nil
}
