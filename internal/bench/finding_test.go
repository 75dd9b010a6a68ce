package bench

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/internal/finding"
	"github.com/stemma-lineage/stemma/internal/gen"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// governedWorld is the made history in which findings are looked for.
func governedWorld(b *testing.B) *world {
	b.Helper()
	o := gen.Governed(1, things(b))
	return once(fmt.Sprintf("governed-%d", o.Entities), func() *world { return foldWorld(b, gen.Statements(o)) })
}

// processor gives the processor time that this process took: what is measured
// while others work on the same machine says more with it.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// only are what stemma findings shows: of what is clear it counts.
var only = finding.Options{Log: gen.BenchLog, Terse: []finding.Outcome{finding.Clear, finding.Unknown}}

// BenchmarkFindings runs all detectors over a made history, at its end.
func BenchmarkFindings(b *testing.B) {
	w := governedWorld(b)
	at := prov.At(gen.Begin.Add(gen.Span))
	v := w.g.At(prov.AsOf{Valid: at, Known: prov.AllKnown})
	b.ResetTimer()
	begin := processor()
	for b.Loop() {
		run, err := finding.Run(v, only)
		if err != nil {
			b.Fatal(err)
		}
		n := map[finding.Outcome]int{}
		for f := range run {
			n[f.Outcome]++
		}
		b.ReportMetric(float64(n[finding.Violated]), "violated")
		b.ReportMetric(float64(n[finding.Unknown]), "unknown")
		b.ReportMetric(float64(n[finding.Clear]), "clear")
	}
	b.ReportMetric((processor()-begin).Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(float64(w.g.Things()), "things")
}

// BenchmarkFindingsFollowed takes the last entries of a made history in, one
// by one, and brings all findings up to date after each.
func BenchmarkFindingsFollowed(b *testing.B) {
	const last = 2000
	var entries [][]byte
	var recorded []prov.Instant
	for s := range gen.Statements(gen.Governed(1, things(b))) {
		c, err := s.Content()
		if err != nil {
			b.Fatal(err)
		}
		entries, recorded = append(entries, c), append(recorded, prov.At(s.RecordedAt))
	}
	begin := len(entries) - last
	if begin < 1 {
		b.Skip("the history is too short")
	}
	g := graph.New()
	for i := range begin {
		if err := g.Fold(uint64(i), entries[i]); err != nil {
			b.Fatal(err)
		}
	}
	g.Compact()
	start := processor()
	f, err := finding.Follow(g, recorded[begin-1], only)
	if err != nil {
		b.Fatal(err)
	}
	began := processor() - start
	var took, cpu []time.Duration
	subjects := 0
	b.ResetTimer()
	for i := begin; i < len(entries); i++ {
		if err := g.Fold(uint64(i), entries[i]); err != nil {
			b.Fatal(err)
		}
		t, p := time.Now(), processor()
		subjects += len(f.Entry())
		f.Advance(recorded[i])
		took, cpu = append(took, time.Since(t)), append(cpu, processor()-p)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(began.Seconds(), "cpu-s-to-begin")
	slices.Sort(took)
	slices.Sort(cpu)
	for _, q := range []struct {
		name string
		at   float64
	}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}} {
		i := int(q.at * float64(len(took)-1))
		b.ReportMetric(took[i].Seconds()*1000, "ms-"+q.name)
		b.ReportMetric(cpu[i].Seconds()*1000, "cpu-ms-"+q.name)
	}
	b.ReportMetric(float64(subjects)/float64(len(took)), "subjects/entry")
}
