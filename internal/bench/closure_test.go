package bench

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/internal/graph"
)

// rivals are the other engines, loaded with the relations of one world.
type rivals struct {
	rows     []row
	postgres *postgres
	sqlite   *sqlite

	pgLoad, sqliteLoad time.Duration
}

// maxSQLite is the number of rows up to which SQLite is loaded: its load is
// slow, and its answers take as long by row at any size.
const maxSQLite = 6_000_000

func newRivals(b *testing.B, w *world) *rivals {
	b.Helper()
	x := &rivals{rows: rowsOf(w)}
	p, err := startPostgres(b)
	switch {
	case errors.Is(err, errNoPostgres) && os.Getenv("STEMMA_TEST_REQUIRE") != "all":
		b.Logf("without PostgreSQL: %v", err)
	case err != nil:
		b.Fatal(err)
	default:
		start := time.Now()
		if err := p.load(x.rows); err != nil {
			b.Fatal(err)
		}
		x.postgres, x.pgLoad = p, time.Since(start)
	}
	if len(x.rows) <= maxSQLite {
		start := time.Now()
		if x.sqlite, err = startSQLite(b, x.rows); err != nil {
			b.Fatal(err)
		}
		x.sqliteLoad = time.Since(start)
	}
	return x
}

// BenchmarkClosure asks the made history: closures of about 100, 1,000 and
// 100,000 things, both ways, now and as of a year ago on both clocks, and the
// chain. Each is asked of the engine and of the rivals; all counts agree.
func BenchmarkClosure(b *testing.B) { closures(b, madeWorld(b)) }

// BenchmarkClosureGit asks the history of git, where closures are large both
// ways.
func BenchmarkClosureGit(b *testing.B) { closures(b, gitWorld(b)) }

// BenchmarkClosureCitations asks a graph with cycles.
func BenchmarkClosureCitations(b *testing.B) { closures(b, citationWorld(b)) }

func closures(b *testing.B, w *world) {
	x := newRivals(b, w)
	b.Run("load", func(b *testing.B) { x.loads(b) })
	except := w.chainMembers(x)
	for _, m := range w.moments() {
		for _, down := range []bool{true, false} {
			f := flatten(x.rows, m, w.g.Things()+1, down)
			for _, size := range []int{100, 1000, 10_000, 100_000} {
				n := 100
				if size >= 10_000 {
					n = 10
				}
				ask(b, fmt.Sprintf("%s-%d-%s", way(down), size, m.name), w, x, f, m, down, f.starts(size, n, except))
			}
			if w.chain[0].Name != "" && !m.past() {
				v := w.g.At(m.asOf)
				end := v.Lookup(w.chain[0])
				if !down {
					end = v.Lookup(w.chain[1])
				}
				ask(b, way(down)+"-chain-"+m.name, w, x, f, m, down, []uint32{uint32(end)})
			}
		}
	}
}

// loads tells how fast the rivals took the relations in, indexes and all.
func (x *rivals) loads(b *testing.B) {
	for b.Loop() {
		n := float64(len(x.rows))
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(n, "rows")
		if x.postgres != nil {
			b.ReportMetric(n/x.pgLoad.Seconds(), "pg-rows/s")
			b.ReportMetric(float64(x.postgres.size(b))/n, "pg-B/row")
		}
		if x.sqlite != nil {
			b.ReportMetric(n/x.sqliteLoad.Seconds(), "sqlite-rows/s")
		}
	}
}

// chainMembers are the things of the chain: where one begins in it would hide
// what the others take.
func (w *world) chainMembers(x *rivals) map[uint32]bool {
	if w.chain[0].Name == "" {
		return nil
	}
	m := w.moments()[0]
	f := flatten(x.rows, m, w.g.Things()+1, true)
	return f.members(uint32(w.g.At(m.asOf).Lookup(w.chain[0])))
}

func way(down bool) string {
	if down {
		return "down"
	}
	return "up"
}

// maxRounds is how often the engine and the bare search are asked the same,
// unless that takes longer than maxAsking.
const (
	maxRounds = 10
	maxAsking = 3 * time.Second
)

// ask compares the engines on the closures of the starts.
func ask(b *testing.B, name string, w *world, x *rivals, f *flat, m moment, down bool, starts []uint32) {
	if len(starts) == 0 {
		return // no thing of this graph has a closure of that size
	}
	b.Run(name, func(b *testing.B) {
		v := w.g.At(m.asOf)
		want := make([]int, len(starts))
		runtime.GC() // what was made before is not to be collected meanwhile
		var engine, bare, pg, lite []float64
		for b.Loop() {
			begin := time.Now()
			for round := 0; round < maxRounds && time.Since(begin) < maxAsking; round++ {
				engine = append(engine, timed(b, "the engine", starts, want, func(s uint32) int { return reach(v, graph.ID(s), down) })...)
				bare = append(bare, timed(b, "the bare search", starts, want, func(s uint32) int { return f.reach(s, len(f.at)) })...)
			}
			if x.postgres != nil {
				pg = append(pg, timed(b, "PostgreSQL", starts, want, func(s uint32) int { return counted(b, s, m, down, x.postgres.reach) })...)
			}
			if x.sqlite != nil {
				lite = append(lite, timed(b, "SQLite", starts, want, func(s uint32) int { return counted(b, s, m, down, x.sqlite.reach) })...)
			}
		}
		sum := 0
		for _, n := range want {
			sum += n
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(len(starts)), "starts")
		b.ReportMetric(float64(sum)/float64(len(starts)), "things")
		mid := rank(engine, 0.5)
		b.ReportMetric(mid, "p50-us")
		b.ReportMetric(rank(engine, 0.99), "p99-us")
		b.ReportMetric(rank(bare, 0.5), "bare-us")
		b.ReportMetric(mid/rank(bare, 0.5), "x-bare")
		if pg != nil {
			b.ReportMetric(rank(pg, 0.5), "pg-us")
			b.ReportMetric(rank(pg, 0.5)/mid, "pg/ours")
		}
		if lite != nil {
			b.ReportMetric(rank(lite, 0.5), "sqlite-us")
			b.ReportMetric(rank(lite, 0.5)/mid, "sqlite/ours")
		}
	})
}

func counted(b *testing.B, s uint32, m moment, down bool, reach func(uint32, moment, bool) (int, error)) int {
	b.Helper()
	n, err := reach(s, m, down)
	if err != nil {
		b.Fatal(err)
	}
	return n
}
