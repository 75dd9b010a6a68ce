package query_test

import (
	"fmt"
	"testing"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

func reached(t *testing.T, f func(graph.View, string, query.Options) (*query.Answer, error), v graph.View, ref string, opt query.Options) (members, hidden int) {
	t.Helper()
	a, err := f(v, ref, opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]query.Item{a.Entities, a.Activities, a.Identities} {
		for _, it := range list {
			if !it.Context {
				members++
			}
		}
	}
	return members, a.Hidden
}

func used(ref string) []statement.Use {
	return []statement.Use{{Resource: statement.Resource{Ref: ref}}}
}

// foldAll folds what make gives for 0 to n-1, without keeping it.
func foldAll(t *testing.T, n int, make func(i int) (statement.Predicate, statement.Subject)) *graph.Graph {
	t.Helper()
	g := graph.New()
	for i := range n {
		p, s := make(i)
		if err := g.Fold(uint64(i), content(t, []statement.Subject{s}, p, recorded(i))); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func TestLongChain(t *testing.T) {
	const n = 20000
	g := foldAll(t, n, func(i int) (statement.Predicate, statement.Subject) {
		return &statement.Activity{Kind: "transform", ID: fmt.Sprintf("activity:r%d", i), Used: used(fmt.Sprintf("dataset:d@%d", i))},
			subject(fmt.Sprintf("dataset:d@%d", i+1), nil)
	})
	v := g.At(prov.Now)
	if got, _ := reached(t, query.Why, v, fmt.Sprintf("dataset:d@%d", n), query.Options{}); got != 2*n+1 {
		t.Errorf("why the last: %d things, want %d", got, 2*n+1)
	}
	if got, hidden := reached(t, query.Blast, v, "dataset:d@0", query.Options{Depth: 10}); got != 11 || hidden != 2*n-10 {
		t.Errorf("blast of the first to depth 10: %d things and %d hidden, want 11 and %d", got, hidden, 2*n-10)
	}
}

func TestManyUsers(t *testing.T) {
	const n = 20000
	g := foldAll(t, n, func(i int) (statement.Predicate, statement.Subject) {
		return &statement.Activity{Kind: "transform", ID: fmt.Sprintf("activity:r%d", i), Used: used("dataset:d@1")},
			subject(fmt.Sprintf("activity:r%d", i), nil)
	})
	v := g.At(prov.Now)
	if got, _ := reached(t, query.Blast, v, "dataset:d@1", query.Options{}); got != n+1 {
		t.Errorf("blast: %d things, want %d", got, n+1)
	}
	if got, hidden := reached(t, query.Blast, v, "dataset:d@1", query.Options{Limit: 100}); got != 100 || hidden != n+1-100 {
		t.Errorf("blast with a limit: %d things and %d hidden, want 100 and %d", got, hidden, n+1-100)
	}
}

// TestManyVersions writes the versions of one series latest first, with a
// reader between each two, so that every entry is out of order.
func TestManyVersions(t *testing.T) {
	const n = 5000
	at := func(i int) statement.Time { return hour(2 * (n - i)) }
	g := foldAll(t, 2*n, func(i int) (statement.Predicate, statement.Subject) {
		w := i / 2
		if i%2 == 0 {
			return &statement.Activity{Kind: "transform", ID: fmt.Sprintf("activity:w%d", w), EndedAt: at(w)}, subject("dataset:d", nil)
		}
		return &statement.Activity{Kind: "transform", ID: fmt.Sprintf("activity:r%d", w), StartedAt: statement.NewTime(at(w).Add(1)), Used: used("dataset:d")},
			subject(fmt.Sprintf("activity:r%d", w), nil)
	})
	v := g.At(prov.Now)
	for _, i := range []int{0, 1, n / 2, n - 1} {
		id := v.LookupKey(fmt.Sprintf("activity:r%d", i))
		for r := range v.Out(id) {
			if got, want := string(v.Key(r.To())), fmt.Sprintf("dataset:d@w%d", i); got != want {
				t.Errorf("reader %d read %s, want %s", i, got, want)
			}
		}
	}
	// Each version with its writer and its reader, and the series itself.
	if got, _ := reached(t, query.Blast, v, "dataset:d", query.Options{}); got != 2*n+1 {
		t.Errorf("blast of the series: %d things, want %d", got, 2*n+1)
	}
}

// TestSameAsRing joins every one of 300 series with every other.
func TestSameAsRing(t *testing.T) {
	const n = 300
	g := foldAll(t, n+2, func(i int) (statement.Predicate, statement.Subject) {
		switch i {
		case n:
			return &statement.Activity{Kind: "transform", ID: "activity:w", EndedAt: hour(1)}, subject("dataset:s7", nil)
		case n + 1:
			return &statement.Activity{Kind: "transform", ID: "activity:r", StartedAt: hour(2), Used: used("dataset:s123")}, subject("model:m", nil)
		}
		e := &statement.Entity{State: "same-as"}
		for j := range n {
			e.SameAs = append(e.SameAs, statement.Resource{Ref: fmt.Sprintf("dataset:s%d", j)})
		}
		return e, subject(fmt.Sprintf("dataset:s%d", i), nil)
	})
	v := g.At(prov.Now)
	for _, f := range []bool{false, true} {
		if got := query.ClosureSize(v, v.LookupKey("dataset:s0"), f, query.Lineage); got != n {
			t.Errorf("closure of a member, down %t: %d things, want %d", f, got, n)
		}
	}
	// m@r, r, s7@w, w: the read of s123 saw the version of s7.
	if got, _ := reached(t, query.Why, v, "model:m", query.Options{}); got != 4 {
		t.Errorf("why the model: %d things, want 4", got)
	}
}
