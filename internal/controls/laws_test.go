package controls

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/catalog"
	"github.com/stemma-lineage/stemma/internal/gen"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// made gives the graph of a made history.
func madeHistory(t testing.TB, seed uint64, entities int) *graph.Graph {
	o := gen.Typical(seed, entities)
	o.Chain = 50
	g := graph.New()
	for c := range gen.Entries(o) {
		if err := g.Fold(g.Size(), c); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// TestLaws holds over made histories: statuses follow from the evidence, a
// graph that was written and read gives the same bytes, and a question that is
// asked again gives the coverage that the assessment states.
func TestLaws(t *testing.T) {
	for seed := range uint64(2) {
		g := madeHistory(t, seed, 1500)
		again, err := graph.Decode(g.Encode())
		if err != nil {
			t.Fatal(err)
		}
		for _, known := range []uint64{0, 1, g.Size() / 2, g.Size()} {
			at := prov.Instant(0)
			if known > 0 {
				at = g.At(prov.Now).Recorded(known - 1)
			}
			asOf := prov.AsOf{Valid: at, Known: known}
			o := Options{Log: Log{Origin: testLog, Stewards: stewards, Published: true}}
			for _, f := range catalog.Frameworks() {
				a, err := Assess(g.At(asOf), f, o)
				if err != nil {
					t.Fatal(err)
				}
				checkAssessment(t, a)
				b, err := Assess(again.At(asOf), f, o)
				if d := cmp.Diff(text(t, a), text(t, b)); err != nil || d != "" {
					t.Errorf("seed %d, %d entries, %s: written and read: %v\n%s", seed, known, f.ID, err, d)
				}
				if f.ID == catalog.CSF {
					askedAgain(t, g.At(asOf), a, o)
				}
			}
		}
	}
}

func askedAgain(t *testing.T, v graph.View, a *Assessment, o Options) {
	t.Helper()
	for _, e := range a.Evidence {
		if e.Kind != kindQuery {
			continue
		}
		b, err := Ask(v, e.ID, o)
		if err != nil {
			t.Fatal(err)
		}
		got := b.Evidence[0]
		if d := cmp.Diff(e.Coverage, got.Coverage); d != "" {
			t.Errorf("%s asked again:\n%s", e.ID, d)
		}
		if n := len(e.Items) + e.Hidden; n != e.Coverage.Asked-e.Coverage.Yes {
			t.Errorf("%s: %d things listed or hidden, %d did not answer yes", e.ID, n, e.Coverage.Asked-e.Coverage.Yes)
		}
		if len(e.Entries)+e.MoreEntries != len(got.Entries) {
			t.Errorf("%s: %d and %d more entries, but %d when asked again", e.ID, len(e.Entries), e.MoreEntries, len(got.Entries))
		}
	}
}

func text(t testing.TB, a *Assessment) string {
	b, err := json.MarshalIndent(a, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func BenchmarkAssess(b *testing.B) {
	for _, entities := range []int{1000, 10000} {
		g := madeHistory(b, 1, entities)
		asOf := prov.AsOf{Valid: g.At(prov.Now).Recorded(g.Size() - 1), Known: g.Size()}
		f, _ := catalog.Find(catalog.CSF)
		b.Run(fmt.Sprint(entities), func(b *testing.B) {
			for b.Loop() {
				if _, err := Assess(g.At(asOf), f, Options{Log: Log{Origin: testLog, Stewards: stewards}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
