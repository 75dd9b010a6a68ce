// Package proof answers questions about a log out of lists that were proved
// complete: what was made with a thing, what it was made from, whether it was
// used after a time, what was decided on it.
//
// The walk asks for lists and entries one by one, and asks for nothing that it
// does not need. Over a whole log it finds out what a bundle must hold; over
// the bundle it finds the same answer, or a hole. So the maker of a proof and
// its verifier run the same code, and neither trusts what the other says.
//
// It binds names to versions as the graph does (docs/decisions/0003), but of
// only those series that the walk meets. That it reaches what a closure over
// the graph of the whole log reaches is a law of the tests.
package proof

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/vindex"
)

// Source gives complete lists of entries, and entries.
type Source interface {
	// List gives the entries that have the key, ascending. It is an error if it
	// is not sure that the list is complete.
	List(rel vindex.Relation, x string) ([]uint64, error)
	Entry(i uint64) ([]byte, error)
}

// ErrSource says that a source cannot be what it claims: two things that it
// gave contradict each other.
var ErrSource = errors.New("the lists and the entries contradict each other")

// log reads a source, each thing once, and counts only what stands: an entry
// that was retracted, or that is a copy of an earlier one, says nothing.
type log struct {
	src     Source
	size    uint64 // entries from here on are not known
	read    map[uint64]*vindex.Reading
	stands  map[uint64]bool
	digests map[[32]byte]uint64 // the first entry with an envelope
	lists   map[list][]uint64   // as the source gave them, up to size
	told    map[list][]uint64   // those that stand
}

type list struct {
	rel vindex.Relation
	x   string
}

func newLog(src Source, size uint64) *log {
	return &log{src: src, size: size, read: map[uint64]*vindex.Reading{}, stands: map[uint64]bool{},
		digests: map[[32]byte]uint64{}, lists: map[list][]uint64{}, told: map[list][]uint64{}}
}

// entry reads an entry.
func (l *log) entry(i uint64) (*vindex.Reading, error) {
	if r := l.read[i]; r != nil {
		return r, nil
	}
	content, err := l.src.Entry(i)
	if err != nil {
		return nil, err
	}
	r, err := vindex.ReadEntry(content)
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", i, err)
	}
	l.read[i] = r
	if first, ok := l.digests[r.Digest]; !ok || i < first {
		l.digests[r.Digest] = i
	}
	return r, nil
}

// all gives a list with all entries that are known, and reads each.
func (l *log) all(rel vindex.Relation, x string) ([]uint64, error) {
	id := list{rel, x}
	if got, ok := l.lists[id]; ok {
		return got, nil
	}
	got, err := l.src.List(rel, x)
	if err != nil {
		return nil, err
	}
	n, _ := slices.BinarySearch(got, l.size)
	got = got[:n:n]
	for _, i := range got { // ascending: a copy comes after its first
		if _, err := l.entry(i); err != nil {
			return nil, err
		}
	}
	l.lists[id] = got
	return got, nil
}

// list gives the entries of a list that stand.
func (l *log) list(rel vindex.Relation, x string) ([]uint64, error) {
	id := list{rel, x}
	if got, ok := l.told[id]; ok {
		return got, nil
	}
	got, err := l.all(rel, x)
	if err != nil {
		return nil, err
	}
	out := make([]uint64, 0, len(got))
	for _, i := range got {
		ok, err := l.standing(i)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, i)
		}
	}
	l.told[id] = out
	return out, nil
}

// standing tells whether an entry that is known counts.
func (l *log) standing(i uint64) (bool, error) {
	if ok, known := l.stands[i]; known {
		return ok, nil
	}
	r, err := l.entry(i)
	if err != nil {
		return false, err
	}
	ok, err := l.first(i, r)
	if ok && err == nil {
		var by []uint64
		by, err = l.retractions(i)
		ok = len(by) == 0
	}
	if err != nil {
		return false, err
	}
	l.stands[i] = ok
	return ok, nil
}

// first tells whether no earlier entry has the same envelope. An earlier one
// stands in the same lists; where names depend on the time of recording a list
// of its own tells.
func (l *log) first(i uint64, r *vindex.Reading) (bool, error) {
	if r.Reused {
		if _, err := l.all(vindex.CopiedBy, fmt.Sprintf("%x", r.Digest[:])); err != nil {
			return false, err
		}
	}
	return l.digests[r.Digest] == i, nil
}

// retractions gives the entries that retract an entry. A retraction cannot be
// retracted.
func (l *log) retractions(i uint64) ([]uint64, error) {
	got, err := l.all(vindex.RetractedBy, strconv.FormatUint(i, 10))
	if err != nil {
		return nil, err
	}
	var out []uint64
	for _, k := range got {
		r := l.read[k]
		if r.Retracts != nil && *r.Retracts == i && k > i && l.digests[r.Digest] == k {
			out = append(out, k)
		}
	}
	return out, nil
}

// check holds what was read against itself: an entry stands in each list that
// was read and whose key it has, and in no other; and no entry was recorded
// before one that precedes it.
func (l *log) check() error {
	var last prov.Instant = prov.Beginning
	for _, i := range sortedKeys(l.read) {
		r := l.read[i]
		if r.Recorded < last {
			return fmt.Errorf("%w: entry %d says that it was recorded at %s, before one that precedes it", ErrSource, i, r.Recorded)
		}
		last = r.Recorded
		var err error
		r.EachKey(func(rel vindex.Relation, x string) {
			if got, ok := l.lists[list{rel, x}]; ok && err == nil && i < l.size && !contains(got, i) {
				err = fmt.Errorf("%w: entry %d is missing in the list %s %s", ErrSource, i, rel, x)
			}
		})
		if err != nil {
			return err
		}
	}
	for _, id := range l.names() {
		for _, i := range l.lists[id] {
			found := false
			l.read[i].EachKey(func(rel vindex.Relation, x string) { found = found || id == list{rel, x} })
			if !found {
				return fmt.Errorf("%w: entry %d stands in the list %s %s, but has not this key", ErrSource, i, id.rel, id.x)
			}
		}
	}
	return nil
}

// names gives the lists that were read, sorted.
func (l *log) names() []list {
	out := make([]list, 0, len(l.lists))
	for id := range l.lists {
		out = append(out, id)
	}
	slices.SortFunc(out, func(a, b list) int { return slices.Compare([]string{string(a.rel), a.x}, []string{string(b.rel), b.x}) })
	return out
}

func sortedKeys[V any](m map[uint64]V) []uint64 {
	out := make([]uint64, 0, len(m))
	for i := range m {
		out = append(out, i)
	}
	slices.Sort(out)
	return out
}

func contains(list []uint64, i uint64) bool {
	_, ok := slices.BinarySearch(list, i)
	return ok
}
