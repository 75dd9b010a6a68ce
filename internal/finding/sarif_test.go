package finding

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// SARIF output is valid by the schema of OASIS (2.1.0 with errata 01), which the
// module go-sarif carries. Read and written by that module nothing of it is
// lost, so there is no property in it that the schema does not have.
func TestSARIFIsValid(t *testing.T) {
	waived, n := 0, 0
	for seed := range uint64(6) {
		g := graph.New()
		for i, c := range (&maker{r: rand.New(rand.NewPCG(seed, 7)), odd: seed%2 == 0}).history(80) {
			if err := g.Fold(uint64(i), c(t)); err != nil {
				t.Fatal(err)
			}
		}
		run, err := Run(g.At(prov.AsOf{Valid: prov.At(epoch.AddDate(0, 6, 0)), Known: prov.AllKnown}), testOptions)
		if err != nil {
			t.Fatal(err)
		}
		var fs []Finding
		for f := range run {
			f.Last = "2026-07-01T00:00:00Z"
			if fs = append(fs, f); f.Waiver != nil {
				waived++
			}
		}
		n += len(fs)
		valid(t, fs)
	}
	valid(t, nil)
	if n < 100 {
		t.Errorf("only %d findings", n)
	}
	t.Logf("%d findings, %d waived", n, waived)
}

func valid(t *testing.T, fs []Finding) {
	t.Helper()
	var out bytes.Buffer
	if err := WriteSARIF(&out, fs, "1.2.3"); err != nil {
		t.Fatal(err)
	}
	r, err := sarif.FromBytes(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range r.Runs { // the module writes these though they are not there; the schema's defaults
		x.NewlineSequences, x.Language, x.Tool.Driver.Language = []string{"\r\n", "\n"}, "en-US", "en-US"
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(again, &b); err != nil {
		t.Fatal(err)
	}
	holds(t, "", a, b)
}

// holds tells what of a is not in b: the module adds defaults.
func holds(t *testing.T, at string, a, b any) {
	switch a := a.(type) {
	case map[string]any:
		m, _ := b.(map[string]any)
		for k, x := range a {
			holds(t, at+"/"+k, x, m[k])
		}
	case []any:
		l, _ := b.([]any)
		if len(l) != len(a) {
			t.Errorf("%s: %d elements, %d read", at, len(a), len(l))
			return
		}
		for i, x := range a {
			holds(t, at+"/"+strconv.Itoa(i), x, l[i])
		}
	default:
		if !cmp.Equal(a, b) {
			t.Errorf("%s: %v, %v is read: the schema does not have it", at, a, b)
		}
	}
}
