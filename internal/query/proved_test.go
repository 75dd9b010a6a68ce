package query_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/proof"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/vindex"
)

// lists is the plainest index: all keys of all entries.
type lists struct {
	contents [][]byte
	byKey    map[vindex.Key][]uint64
}

func (h history) lists() *lists {
	l := &lists{byKey: map[vindex.Key][]uint64{}}
	for i, s := range h {
		l.contents = append(l.contents, s.content)
		for _, k := range vindex.Keys(s.content) {
			l.byKey[k] = append(l.byKey[k], uint64(i))
		}
	}
	return l
}

func (l *lists) List(rel vindex.Relation, x string) ([]uint64, error) {
	return l.byKey[vindex.KeyOf(rel, x)], nil
}

func (l *lists) Entry(i uint64) ([]byte, error) {
	if i >= uint64(len(l.contents)) {
		return nil, fmt.Errorf("there is no entry %d", i)
	}
	return l.contents[i], nil
}

const provedHistories = 200

// TestProvedClosures compares the walk over lists with the closure in the
// graph of the whole log: for every thing, in both directions, at two sizes.
func TestProvedClosures(t *testing.T) {
	compared := 0
	for seed := range uint64(provedHistories) {
		h := random(t, seed, true)
		if seed%3 != 0 {
			h = rich(t, seed)
		}
		g, src := h.fold(t, len(h)), h.lists()
		r := rand.New(rand.NewPCG(seed, 2))
		for _, n := range []int{len(h), r.IntN(len(h)) + 1} {
			v := g.At(prov.AsOf{Valid: prov.Forever, Known: uint64(n)})
			for _, id := range all(v) {
				key := string(v.Key(id))
				for _, down := range []bool{false, true} {
					got, err := proof.Closure(src, []string{key}, down, uint64(n))
					if err != nil {
						t.Fatalf("seed %d, known %d: %s, down %t: %v", seed, n, key, down, err)
					}
					slices.Sort(got)
					if diff := cmp.Diff(query.Closure(v, id, down), got); diff != "" {
						t.Errorf("seed %d, known %d: %s, down %t (-graph +lists):\n%s", seed, n, key, down, diff)
					}
					compared++
				}
			}
		}
		if t.Failed() {
			h.log(t)
			return
		}
	}
	if compared < 50*provedHistories {
		t.Errorf("only %d closures were compared", compared)
	}
}
