package bench

import (
	"slices"
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/internal/finding"
	"github.com/stemma-lineage/stemma/internal/gen"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// BenchmarkFindings runs all detectors over a made history, at its end.
func BenchmarkFindings(b *testing.B) {
	w := madeWorld(b)
	at := prov.At(gen.Begin.Add(gen.Span))
	b.ResetTimer()
	for b.Loop() {
		run, err := finding.Run(w.g.At(prov.AsOf{Valid: at, Known: prov.AllKnown}), finding.Options{Log: "bench"})
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
}

// BenchmarkFindingsFollowed takes the last entries of a made history in, one
// by one, and brings all findings up to date after each.
func BenchmarkFindingsFollowed(b *testing.B) {
	const last = 2000
	o := gen.Typical(1, things(b))
	var entries []gen.Said
	for s := range gen.Statements(o) {
		entries = append(entries, s)
	}
	begin := len(entries) - last
	if begin < 0 {
		b.Skip("the history is too short")
	}
	g := graph.New()
	fold := func(i int) prov.Instant {
		c, err := entries[i].Content()
		if err != nil {
			b.Fatal(err)
		}
		if err := g.Fold(uint64(i), c); err != nil {
			b.Fatal(err)
		}
		return prov.At(entries[i].RecordedAt)
	}
	at := prov.Beginning
	for i := range begin {
		at = fold(i)
	}
	f, err := finding.Follow(g, at, finding.Options{Log: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	subjects := 0
	i := begin
	b.ResetTimer()
	for b.Loop() {
		if i == len(entries) {
			break
		}
		b.StopTimer()
		at := fold(i)
		i++
		b.StartTimer()
		t := time.Now()
		subjects += len(f.Entry())
		f.Advance(at)
		took = append(took, time.Since(t))
	}
	slices.Sort(took)
	for _, q := range []struct {
		name string
		at   float64
	}{{"ms-p50", 0.5}, {"ms-p90", 0.9}, {"ms-p99", 0.99}} {
		b.ReportMetric(took[int(q.at*float64(len(took)-1))].Seconds()*1000, q.name)
	}
	b.ReportMetric(float64(subjects)/float64(len(took)), "subjects/op")
}
