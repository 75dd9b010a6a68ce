package query_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/importer/openlineage"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// apples reads the statements of each file of Marquez' story of the apple pie.
func apples(t *testing.T) map[string][]statementOf {
	t.Helper()
	dir := os.Getenv("STEMMA_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "fixtures")
	}
	files, err := filepath.Glob(filepath.Join(dir, "openlineage", "marquez", "apples", "*.json"))
	if err != nil || len(files) != 8 {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatalf("%d of 8 files of the apple story are below %s (%v); set STEMMA_FIXTURES", len(files), dir, err)
		}
		t.Skipf("%d of 8 files of the apple story are below %s (%v); set STEMMA_FIXTURES", len(files), dir, err)
	}
	out := map[string][]statementOf{}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for it, err := range openlineage.Read(f, openlineage.Options{}) {
			if err != nil || it.Refusal != nil {
				t.Fatalf("%s: %v, %v", name, err, it.Refusal)
			}
			for _, d := range it.Statements {
				out[name] = append(out[name], statementOf{d.Subjects, d.Predicate})
			}
		}
	}
	return out
}

type statementOf struct {
	subjects []statement.Subject
	pred     statement.Predicate
}

// pies gives the versions of the pie in the order of their times.
func pies(t *testing.T, v graph.View) []string {
	t.Helper()
	ids, err := query.Resolve(v, "dataset:grandmas.kitchen/apple.pie", query.All)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, ver := range v.Versions(ids[0]) {
		if ver.Written {
			out = append(out, fmt.Sprintf("%s %s", ver.At, v.Ref(ver.ID)))
		}
	}
	return out
}

func upstream(t *testing.T, v graph.View, ref string) string {
	t.Helper()
	a, err := query.Why(v, ref, query.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return entities(a)
}

func entities(a *query.Answer) string {
	var out []string
	for _, e := range a.Entities {
		if !e.Context {
			out = append(out, e.Name)
		}
	}
	return strings.Join(out, " ")
}

// TestApples reads the eight files of the story in many orders: a pie holds
// the apples that were in the kitchen when its filling was made, in whatever
// order the log learned of it.
func TestApples(t *testing.T) {
	files := apples(t)
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	const seed = 8
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range 200 {
		var h history
		for _, name := range names {
			for _, s := range files[name] {
				h.add(t, s.pred, s.subjects...)
			}
		}
		checkApples(t, h.fold(t, len(h)))
		if t.Failed() {
			t.Fatalf("seed %d, order %d: %q", seed, i, names)
		}
		r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	}
}

func checkApples(t *testing.T, g *graph.Graph) {
	t.Helper()
	now := g.At(prov.Now)
	ps := pies(t, now)
	if len(ps) != 2 || !strings.HasPrefix(ps[0], "2020-09-03T05:00:00Z") || !strings.HasPrefix(ps[1], "2020-10-16T05:00:00Z") {
		t.Fatalf("the pies are %q, want those of 2020-09-03 and 2020-10-16", ps)
	}
	const good, crab = "laurents-orchard/red.delicious", "backyard/crab.apples"
	for i, want := range []struct{ from, notFrom string }{{good, crab}, {crab, good}} {
		_, ref, _ := strings.Cut(ps[i], " ")
		got := upstream(t, now, ref)
		if !strings.Contains(got, want.from) || strings.Contains(got, want.notFrom) {
			t.Errorf("the pie of %s comes from %s; want %s and not %s", ps[i], got, want.from, want.notFrom)
		}
	}
	a, err := query.Blast(now, "dataset:"+crab, query.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := entities(a)
	if !strings.Contains(got, "apple.pie") || strings.Contains(got, "apple.cider") || strings.Contains(got, "apple.vinegar") {
		t.Errorf("the crab apples reach %s; want the pie, neither cider nor vinegar", got)
	}
	october := g.At(prov.AsOf{Valid: prov.At(time.Date(2020, 10, 1, 0, 0, 0, 0, time.UTC)), Known: prov.AllKnown})
	if diff := cmp.Diff(ps[:1], pies(t, october)); diff != "" {
		t.Errorf("pies by 2020-10-01 (-want +got):\n%s", diff)
	}
	if got := upstream(t, october, "dataset:grandmas.kitchen/apple.pie"); !strings.Contains(got, good) {
		t.Errorf("on 2020-10-01 the pie comes from %s, want %s", got, good)
	}
	nothing := g.At(prov.AsOf{Valid: prov.Forever})
	if _, err := query.Why(nothing, "dataset:grandmas.kitchen/apple.pie", query.Options{}); !errors.Is(err, query.ErrNotFound) {
		t.Errorf("at size 0: %v, want %v", err, query.ErrNotFound)
	}
}
