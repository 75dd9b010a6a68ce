package gen

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

func fold(t testing.TB, o Options) *graph.Graph {
	t.Helper()
	g := graph.New()
	for c := range Entries(o) {
		if err := g.Fold(g.Size(), c); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func TestSameSeedSameBytes(t *testing.T) {
	all := func(seed uint64) []byte {
		return bytes.Join(slices.Collect(Entries(Typical(seed, 3000))), []byte("\n"))
	}
	one := all(7)
	if !bytes.Equal(one, all(7)) {
		t.Error("the same options gave other bytes")
	}
	if bytes.Equal(one, all(8)) {
		t.Error("another seed gave the same bytes")
	}
}

func TestRecordedInOrder(t *testing.T) {
	last := Begin
	for s := range Statements(Typical(1, 5000)) {
		if s.RecordedAt.Before(last) {
			t.Fatalf("recorded at %s after an entry of %s", s.RecordedAt, last)
		}
		last = s.RecordedAt
	}
}

func TestStopsWhenAsked(t *testing.T) {
	n := 0
	for range Entries(Typical(1, 5000)) {
		if n++; n == 10 {
			break
		}
	}
	if n != 10 {
		t.Fatalf("took %d", n)
	}
}

// TestFoldsWithoutProblems folds all and finds nothing that could not be used
// but the duplicates that were asked for.
func TestFoldsWithoutProblems(t *testing.T) {
	o := Typical(3, 30000)
	o.Chain = 500
	g := fold(t, o)
	dups := 0
	for _, p := range g.At(prov.Now).Problems() {
		if !strings.Contains(p.Reason, "same envelope") {
			t.Errorf("entry %d: %s", p.Entry, p.Reason)
		}
		dups++
	}
	if n := float64(g.Size()); float64(dups) < n*0.005 || float64(dups) > n*0.015 {
		t.Errorf("%d of %d entries are duplicates; asked for 1 %%", dups, g.Size())
	}
}

func TestShape(t *testing.T) {
	o := Typical(5, 60000)
	o.Chain = 2000
	g := fold(t, o)
	if n := g.Things(); n < o.Entities*95/100 || n > o.Entities*105/100 {
		t.Errorf("%d things; asked for %d", n, o.Entities)
	}
	if r := float64(g.Relations()) / float64(g.Things()); r < 3.3 || r > 4.1 {
		t.Errorf("%.2f relations a thing", r)
	}
	v := g.At(prov.Now)
	var in []int
	for id := graph.ID(1); int(id) < v.Len(); id++ {
		n := 0
		for r := range v.In(id) {
			if r.Type() == prov.Used {
				n++
			}
		}
		if n > 0 {
			in = append(in, n)
		}
	}
	slices.Sort(in)
	p50, p99, most := in[len(in)/2], in[len(in)*99/100], in[len(in)-1]
	t.Logf("%d things, %.2f relations each, %d entries; read by p50 %d, p99 %d, at most %d", g.Things(),
		float64(g.Relations())/float64(g.Things()), g.Size(), p50, p99, most)
	if p50 > 5 || p99 < 8*p50 || most < 3*p99 {
		t.Errorf("things are read by p50 %d, p99 %d, at most %d: that is no power law", p50, p99, most)
	}
}

func TestChain(t *testing.T) {
	o := Typical(5, 20000)
	o.Chain, o.CorrectedPercent = 2000, 0
	v := fold(t, o).At(prov.Now)
	first, last := v.Lookup(ChainFirst()), v.Lookup(ChainLast(o))
	if n := query.Reach(v, []graph.ID{last}, query.Up); n != o.Chain {
		t.Errorf("up from the end of the chain lie %d things; asked for %d", n, o.Chain)
	}
	if n := query.Reach(v, []graph.ID{first}, query.Down); n != o.Chain-1 {
		t.Errorf("down from its beginning lie %d things; the first activity is above it", n)
	}
}

// TestDepth finds no path longer than the cap outside the chain.
func TestDepth(t *testing.T) {
	o := Typical(9, 60000)
	o.Chain = 0
	v := fold(t, o).At(prov.Now)
	deepest := 0
	depth := make([]int, v.Len())
	var order []graph.ID
	waiting := make([]int, v.Len())
	lineage := prov.Relations(prov.Used, prov.GeneratedBy)
	for id := graph.ID(1); int(id) < v.Len(); id++ {
		for r := range v.Out(id) {
			if lineage.Has(r.Type()) {
				waiting[id]++
			}
		}
		if waiting[id] == 0 {
			order = append(order, id)
		}
	}
	for i := 0; i < len(order); i++ {
		deepest = max(deepest, depth[order[i]])
		for r := range v.In(order[i]) {
			if !lineage.Has(r.Type()) {
				continue
			}
			depth[r.From()] = max(depth[r.From()], depth[order[i]]+1)
			if waiting[r.From()]--; waiting[r.From()] == 0 {
				order = append(order, r.From())
			}
		}
	}
	t.Logf("the longest path has %d relations", deepest)
	if len(order) != v.Len()-1 {
		t.Errorf("%d things lie on or behind a cycle", v.Len()-1-len(order))
	}
	if deepest > DepthCap+6 || deepest < DepthCap/3 {
		t.Errorf("the longest path has %d relations; the cap is %d", deepest, DepthCap)
	}
}

func BenchmarkEntries(b *testing.B) {
	b.ReportAllocs()
	n, size := 0, 0
	for b.Loop() {
		for c := range Entries(Typical(1, 100000)) {
			n++
			size += len(c)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "entries/s")
	b.ReportMetric(float64(size)/float64(n), "B/entry")
}
