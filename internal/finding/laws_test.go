package finding

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stemma-lineage/stemma/internal/gen"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// What is followed entry by entry, and moment by moment, equals a run over
// everything: over random histories of governance.
func TestFollowedIsWhatARunGives(t *testing.T) {
	said := map[string]int{}
	for seed := range uint64(60) {
		m := &maker{r: rand.New(rand.NewPCG(seed, 7)), odd: seed%2 == 0}
		h := m.history(40)
		if !t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { follow(t, h, m, said) }) {
			return
		}
	}
	never := 0
	for _, d := range Detectors() {
		for _, o := range []Outcome{Violated, Clear, Unknown} {
			if said[d.ID+" "+string(o)] == 0 {
				t.Logf("%s is never %s in these histories", d.ID, o)
				never++
			}
		}
	}
	if never > 6 {
		t.Errorf("%d outcomes never come about: the histories try too little", never)
	}
}

func follow(t *testing.T, h []content, m *maker, said map[string]int) {
	g := graph.New()
	at := prov.At(epoch)
	f, err := Follow(g, at, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range h {
		if err := g.Fold(uint64(i), c(t)); err != nil {
			t.Fatal(err)
		}
		f.Entry()
		equal(t, g, f, at, said)
		for range m.r.IntN(3) {
			at += prov.Instant(time.Duration(m.r.IntN(200)) * time.Hour)
			if m.one(3) && f.Next() != prov.Forever { // right at a deadline
				at = max(at, f.Next())
			}
			f.Advance(at)
			equal(t, g, f, at, said)
		}
	}
}

func equal(t *testing.T, g *graph.Graph, f *Follower, at prov.Instant, said map[string]int) {
	t.Helper()
	run, err := Run(g.At(prov.AsOf{Valid: at, Known: prov.AllKnown}), testOptions)
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Collect(run)
	got := slices.Collect(f.Findings())
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Hop{})); d != "" {
		t.Fatalf("at %s, log of %d: what is followed differs from a run (-run +followed):\n%s", at, g.Size(), d)
	}
	for _, x := range got {
		said[x.Detector+" "+string(x.Outcome)]++
	}
}

// The same over a made history with late entries, corrections and copies.
func TestFollowsMadeHistories(t *testing.T) {
	o := gen.Typical(3, 600)
	o.Chain = 20
	o.LatePercent, o.CorrectedPercent, o.UnversionedPercent, o.DigestPercent = 20, 10, 20, 20
	g := graph.New()
	f, err := Follow(g, prov.At(gen.Begin), testOptions)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]int{}
	i := uint64(0)
	for s := range gen.Statements(o) {
		c, err := s.Content()
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Fold(i, c); err != nil {
			t.Fatal(err)
		}
		f.Entry()
		at := prov.At(s.RecordedAt)
		f.Advance(at)
		if i%7 == 0 {
			equal(t, g, f, max(at, f.at), said)
		}
		i++
	}
	t.Log(said)
}
