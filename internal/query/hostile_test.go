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

const million = 1_000_000

// derivations folds n derivations, a thousand an entry.
func derivations(t *testing.T, n int, pair func(i int) (to, from string)) *graph.Graph {
	t.Helper()
	const each = 1000
	return foldAll(t, n/each, func(k int) (statement.Predicate, statement.Subject) {
		e := &statement.Entity{State: "described"}
		for i := k * each; i < (k+1)*each; i++ {
			to, from := pair(i)
			e.Derived = append(e.Derived, statement.Derivation{To: statement.Resource{Ref: to}, Rule: statement.RuleStated,
				From: []statement.DerivedInput{{Resource: statement.Resource{Ref: from}}}})
		}
		return e, subject("dataset:subject@1", nil)
	})
}

// TestMillion asks graphs of a million relations of hostile shapes. Each is
// asked out of the lists and out of the rows.
func TestMillion(t *testing.T) {
	for name, pair := range map[string]func(i int) (to, from string){
		"chain": func(i int) (string, string) { return fmt.Sprintf("dataset:d@%d", i+1), fmt.Sprintf("dataset:d@%d", i) },
		"users": func(i int) (string, string) { return fmt.Sprintf("model:m%d@1", i), "dataset:d@0" },
	} {
		t.Run(name, func(t *testing.T) {
			g := derivations(t, million, pair)
			to, from := pair(million - 1)
			for range 2 {
				v := g.At(prov.Now)
				first, last := v.LookupKey("dataset:d@0"), v.LookupKey(to)
				if got := query.Reach(v, []graph.ID{first}, query.Down); got != million+1 {
					t.Errorf("%d things are downstream, want %d", got, million+1)
				}
				want := 2
				if from != "dataset:d@0" {
					want = million + 1
				}
				if got := query.Reach(v, []graph.ID{last}, query.Up); got != want {
					t.Errorf("%d things are upstream of the last, want %d", got, want)
				}
				if !query.Reaches(v, first, last) || query.Reaches(v, last, first) {
					t.Error("Reaches says otherwise")
				}
				if got, hidden := reached(t, query.Blast, v, "dataset:d@0", query.Options{Limit: 10}); got != 10 || hidden != million+1-10 {
					t.Errorf("blast with a limit: %d things and %d hidden, want 10 and %d", got, hidden, million+1-10)
				}
				g.Compact()
			}
		})
	}
}

// TestMillionVersions registers a million versions of one series in the order
// of time, and reads the series in between.
func TestMillionVersions(t *testing.T) {
	const each = 1000
	g := graph.New()
	add := func(p statement.Predicate, subjects ...statement.Subject) {
		t.Helper()
		i := int(g.Size())
		if err := g.Fold(uint64(i), content(t, subjects, p, recorded(i))); err != nil {
			t.Fatal(err)
		}
	}
	for k := range million / each {
		subjects := make([]statement.Subject, each)
		for i := range subjects {
			subjects[i] = subject(fmt.Sprintf("dataset:d@%07d", k*each+i), nil)
		}
		add(&statement.Entity{State: "registered", At: hour(k)}, subjects...)
	}
	add(&statement.Activity{Kind: "train", ID: "activity:r", StartedAt: hour(500), Used: used("dataset:d")}, subject("model:m", nil))
	v := g.At(prov.Now)
	for r := range v.Out(v.LookupKey("activity:r")) {
		// Of the versions of one moment the last by name is the current one.
		if got := string(v.Key(r.To())); r.Type() == prov.Used && got != "dataset:d@0500999" {
			t.Errorf("the activity read %s", got)
		}
	}
	if got := query.Reach(v, []graph.ID{v.LookupKey("model:m@r")}, query.Up); got != 3 {
		t.Errorf("%d things are upstream of the model, want 3", got)
	}
}
