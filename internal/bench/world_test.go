package bench

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/internal/gen"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

// world is a folded graph to ask, with what its making took.
type world struct {
	name  string
	g     *graph.Graph
	year  prov.AsOf // a year before the end, on both clocks
	chain [2]prov.Ref

	making, folding time.Duration
	entryBytes      int
	heap            uint64 // what the graph takes, after garbage collection
}

// things gives the size of the made history: STEMMA_BENCH_THINGS.
func things(b *testing.B) int {
	b.Helper()
	text := os.Getenv("STEMMA_BENCH_THINGS")
	if text == "" {
		return 1_000_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1000 {
		b.Fatalf("STEMMA_BENCH_THINGS is %q; give a number of at least 1000", text)
	}
	return n
}

var (
	worlds   = map[string]*world{}
	worldsMu sync.Mutex
)

// once makes each world at its first use: several benchmarks ask the same.
func once(name string, make func() *world) *world {
	worldsMu.Lock()
	defer worldsMu.Unlock()
	if worlds[name] == nil {
		worlds[name] = make()
		worlds[name].name = name
	}
	return worlds[name]
}

// madeWorld is the made history of the size that was asked for.
func madeWorld(b *testing.B) *world {
	b.Helper()
	o := gen.Typical(1, things(b))
	return once(fmt.Sprintf("made-%d", o.Entities), func() *world {
		w := foldWorld(b, gen.Statements(o))
		w.chain = [2]prov.Ref{gen.ChainFirst(), gen.ChainLast(o)}
		w.since(gen.Begin.Add(gen.Span))
		return w
	})
}

// gitWorld and citationWorld are the real graphs of the fixtures.
func gitWorld(b *testing.B) *world {
	b.Helper()
	return once("git", func() *world {
		said, err := gen.FromGit(fixture(b, "git-prov-git-nodes.tsv.gz"), fixture(b, "git-prov-git-edges.tsv.gz"))
		if err != nil {
			b.Fatal(err)
		}
		return foldWorld(b, said).last()
	})
}

func citationWorld(b *testing.B) *world {
	b.Helper()
	return once("citations", func() *world {
		said, err := gen.FromCitations(fixture(b, "arxiv-hep-th-citations.tsv.gz"), fixture(b, "arxiv-hep-th-ids.tsv.gz"))
		if err != nil {
			b.Fatal(err)
		}
		return foldWorld(b, said).last()
	})
}

func fixture(b *testing.B, name string) *os.File {
	b.Helper()
	dir := os.Getenv("STEMMA_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "fixtures")
	}
	f, err := os.Open(filepath.Join(dir, "graphs", name))
	if err != nil && os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
		b.Fatalf("the fixtures are missing: %v; set STEMMA_FIXTURES", err)
	}
	if err != nil {
		b.Skipf("the fixtures are missing: %v; set STEMMA_FIXTURES", err)
	}
	b.Cleanup(func() { f.Close() })
	return f
}

// since puts the year's view before end.
func (w *world) since(end time.Time) {
	at := prov.At(end.AddDate(-1, 0, 0))
	w.year = prov.AsOf{Valid: at, Known: w.g.SizeAt(at)}
}

func (w *world) last() *world {
	v := w.g.At(prov.Now)
	w.since(v.Recorded(w.g.Size() - 1).Time())
	return w
}

// foldWorld folds statements a thousand at a time, so that making them and
// folding them are timed apart and only so many are held.
func foldWorld(b *testing.B, said iter.Seq[gen.Said]) *world {
	b.Helper()
	w := &world{g: graph.New()}
	before := heap()
	batch := make([][]byte, 0, 1000)
	fold := func() {
		start := time.Now()
		for _, c := range batch {
			w.entryBytes += len(c)
			if err := w.g.Fold(w.g.Size(), c); err != nil {
				b.Fatal(err)
			}
		}
		w.folding += time.Since(start)
		batch = batch[:0]
	}
	start := time.Now()
	for c := range gen.Contents(said) {
		if batch = append(batch, c); len(batch) == cap(batch) {
			fold()
		}
	}
	fold()
	w.making = time.Since(start) - w.folding
	w.heap = heap() - before
	w.g.Compact()
	return w
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // the first may have finished one that was under way
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// reach counts the closure by the engine.
func reach(v graph.View, id graph.ID, down bool) int {
	if down {
		return query.Reach(v, []graph.ID{id}, query.Down)
	}
	return query.Reach(v, []graph.ID{id}, query.Up)
}

// BenchmarkGraph folds the made history: the rate, and what the graph takes
// in memory. The heap tells only the sum; it is given once by relation and
// once by thing.
func BenchmarkGraph(b *testing.B) {
	for b.Loop() {
		w := madeWorld(b)
		n, rels := float64(w.g.Size()), float64(w.g.Relations())
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(w.g.Things()), "things")
		b.ReportMetric(rels, "relations")
		b.ReportMetric(n, "entries")
		b.ReportMetric(n/w.making.Seconds(), "made/s")
		b.ReportMetric(n/w.folding.Seconds(), "folded/s")
		b.ReportMetric(rels/w.folding.Seconds(), "relations/s")
		b.ReportMetric(float64(w.entryBytes)/n, "B/entry")
		b.ReportMetric(float64(w.heap)/rels, "B/relation")
		b.ReportMetric(float64(w.heap)/float64(w.g.Things()), "B/thing")
	}
}
