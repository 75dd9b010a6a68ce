// Package index keeps the verifiable index of a log in memory and in a file:
// for each key the entries that mention it, and the map of package vindex over
// them. It is a function of the log: whatever is wrong with the file, the log
// makes it anew.
//
// Lists only grow and their entries ascend, so a list as it was at an earlier
// size of the log is a part of the list of today. The map of an earlier size is
// the map of today with what came since taken back (vindex.Map.Past); no
// version is kept.
package index

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"sync"

	"github.com/stemma-lineage/stemma/vindex"
)

// Keys tells how entries are indexed.
type Keys struct {
	// Version names the function. A file that was written with another is not
	// used.
	Version string
	// Of gives the keys that an entry has. It must depend on nothing but the
	// entry, and may name a key twice.
	Of func(index uint64, content []byte) []vindex.Key
}

// Index is the index of the entries from 0 on. Its methods may be called at
// once by many. What they say of a size is fixed for ever, and does not change
// when entries are applied; they wait while one is.
type Index struct {
	keys Keys

	mu      sync.RWMutex // write: to apply, and to hash what was applied
	size    uint64
	lists   lists
	m       *vindex.Map
	settled bool // the map has its hashes
}

// New makes an index of nothing.
func New(keys Keys) *Index {
	x := &Index{keys: keys, settled: true}
	x.lists.hot = map[uint32]*hot{}
	x.m = vindex.NewMap(x.lists.hash)
	return x
}

// Size is the number of entries that are indexed.
func (x *Index) Size() uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.size
}

// Len is the number of keys that the first size entries have.
func (x *Index) Len(size uint64) (int, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if size > x.size {
		return 0, x.beyond("the number of keys", size)
	}
	if size == x.size {
		return x.m.Len(), nil
	}
	// Keys are numbered as they came, so their first entries ascend.
	return sort.Search(x.m.Len(), func(n int) bool { return x.lists.first(uint32(n)) >= size }), nil
}

func (x *Index) beyond(what string, size uint64) error {
	return fmt.Errorf("%s at size %d: the index covers %d entries; stemma log size tells how many the log has", what, size, x.size)
}

// Apply takes the next entry, whose index must be Size.
func (x *Index) Apply(index uint64, content []byte) error {
	keys := x.keys.Of(index, content)
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case index != x.size:
		return fmt.Errorf("indexing entry %d: the index has %d entries and takes entry %d next", index, x.size, x.size)
	case index >= math.MaxUint32:
		return fmt.Errorf("indexing entry %d: an index holds at most %d entries; close the log and begin another", index, uint32(math.MaxUint32))
	case len(keys) > vindex.MaxLen-x.m.Len():
		return fmt.Errorf("indexing entry %d: an index holds at most %d keys; close the log and begin another", index, vindex.MaxLen)
	}
	for _, k := range keys {
		n := x.m.Touch(k)
		if int(n) < len(x.lists.heads) && x.lists.heads[n].last == uint32(index) {
			continue // named twice
		}
		x.lists.add(n, uint32(index))
	}
	x.size++
	x.settled = x.settled && len(keys) == 0
	return nil
}

// at runs f while the map is that of the first size entries.
func (x *Index) at(size uint64, what string, f func(s vindex.Snapshot)) error {
	x.mu.RLock()
	for !x.settled {
		x.mu.RUnlock()
		x.mu.Lock()
		x.m.Root()
		x.settled = true
		x.mu.Unlock()
		x.mu.RLock()
	}
	defer x.mu.RUnlock()
	if size > x.size {
		return x.beyond(what, size)
	}
	if size == x.size {
		f(x.m.Snapshot())
		return nil
	}
	var changed []uint32
	for n, h := range x.lists.heads {
		if uint64(h.last) >= size {
			changed = append(changed, uint32(n))
		}
	}
	f(x.m.Past(changed, func(n uint32) (vindex.Hash, bool) {
		list := x.lists.list(n, size)
		return vindex.ListHash(list), len(list) > 0
	}))
	return nil
}

// Root gives the root of the map over the first size entries.
func (x *Index) Root(size uint64) (root vindex.Hash, err error) {
	err = x.at(size, "the root of the index", func(s vindex.Snapshot) { root = s.Root() })
	return root, err
}

// Prove gives the root of the map over the first size entries, and the proof
// under it for the keys: for those that are present the hashes of their lists,
// for the others that they are absent.
func (x *Index) Prove(size uint64, keys []vindex.Key) (root vindex.Hash, p vindex.Proof, err error) {
	err = x.at(size, "proving keys", func(s vindex.Snapshot) { root, p = s.Root(), s.Prove(keys) })
	if err == nil && p.Size() > vindex.MaxProof {
		err = fmt.Errorf("proving %d keys: the proof has %d bytes, and readers take %d; ask about fewer things at once", len(keys), p.Size(), vindex.MaxProof)
	}
	return root, p, err
}

// Entries gives those of the first size entries that mention a key, ascending;
// none when no entry does.
func (x *Index) Entries(size uint64, k vindex.Key) ([]uint64, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if size > x.size {
		return nil, x.beyond("the entries of a key", size)
	}
	n, ok := x.m.Find(k)
	if !ok {
		return nil, nil
	}
	return x.lists.list(n, size), nil
}

// Check computes the root from the lists anew, in another way than it was
// computed, and compares.
func (x *Index) Check() error {
	root, err := x.Root(x.Size())
	if err != nil {
		return err
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	order := make([]uint32, x.m.Len())
	for n := range order {
		order[n] = uint32(n)
	}
	slices.SortFunc(order, func(a, b uint32) int { return x.m.Key(a).Compare(x.m.Key(b)) })
	again, err := vindex.TreeHash(func(yield func(vindex.Key, vindex.Hash) bool) {
		for _, n := range order {
			if !yield(x.m.Key(n), vindex.ListHash(x.lists.list(n, math.MaxUint64))) {
				return
			}
		}
	})
	if err == nil && again != root {
		err = fmt.Errorf("the index has the root %x, and its lists have %x", root, again)
	}
	return err
}
