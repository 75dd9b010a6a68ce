package bench

import (
	"testing"

	"github.com/stemma-lineage/stemma/internal/catalog"
	"github.com/stemma-lineage/stemma/internal/controls"
	"github.com/stemma-lineage/stemma/internal/gen"
	"github.com/stemma-lineage/stemma/prov"
)

// BenchmarkControls assesses the controls of CSF 2.0 over a made history,
// without the detectors, which BenchmarkFindings measures.
func BenchmarkControls(b *testing.B) {
	w := governedWorld(b)
	at := prov.At(gen.Begin.Add(gen.Span))
	f, err := catalog.Find("csf")
	if err != nil {
		b.Fatal(err)
	}
	v := w.g.At(prov.AsOf{Valid: at, Known: prov.AllKnown})
	b.ResetTimer()
	begin := processor()
	for b.Loop() {
		a, err := controls.Assess(v, f, controls.Options{Log: controls.Log{Origin: gen.BenchLog}})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(a.Summary.NotSatisfied), "not-satisfied")
	}
	b.ReportMetric((processor()-begin).Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(float64(w.g.Things()), "things")
}
