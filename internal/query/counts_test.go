package query_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// eachClosure calls f for many why and blast questions about random histories.
func eachClosure(t *testing.T, seeds uint64, f func(where string, v graph.View, verb, ref string, opt query.Options, a *query.Answer)) {
	t.Helper()
	for seed := range seeds {
		h := random(t, seed, true)
		g := h.fold(t, len(h))
		r := rand.New(rand.NewPCG(seed, 9))
		for _, valid := range validTimes(r) {
			v := g.At(prov.AsOf{Valid: valid, Known: uint64(r.IntN(len(h)) + 1)})
			for _, ref := range names(v) {
				for verb, ask := range map[string]func(graph.View, string, query.Options) (*query.Answer, error){"why": query.Why, "blast": query.Blast} {
					opt := query.Options{Depth: r.IntN(4)}
					if r.IntN(3) == 0 {
						opt.Kinds = []prov.Kind{prov.Dataset, prov.Deployment}
					}
					if a, err := ask(v, ref, opt); err == nil {
						f(fmt.Sprintf("seed %d, valid %s: %s %s %+v", seed, valid, verb, ref, opt), v, verb, ref, opt, a)
					}
				}
			}
		}
		if t.Failed() {
			h.log(t)
			return
		}
	}
}

// TestCountsAreThoseOfTheWholeAnswer counts the items of whole answers.
func TestCountsAreThoseOfTheWholeAnswer(t *testing.T) {
	eachClosure(t, 150, func(where string, v graph.View, verb, ref string, opt query.Options, a *query.Answer) {
		c, err := query.Counts(v, verb, ref, opt)
		if err != nil {
			t.Errorf("%s: %v", where, err)
			return
		}
		want, got := map[string]int{}, map[string]int{}
		things := 0
		for _, list := range [][]query.Item{a.Entities, a.Activities, a.Identities} {
			for _, it := range list {
				if !it.Context {
					want[it.Kind]++
					things++
				}
			}
		}
		for _, k := range c.Counts.ByKind {
			got[k.Kind] = k.Things
		}
		if diff := cmp.Diff(want, got); diff != "" || things != c.Counts.Things || a.Hidden != c.Hidden || a.Truncated != c.Truncated {
			t.Errorf("%s: %d things, %d hidden; counted %d and %d (-whole +counts):\n%s", where, things, a.Hidden, c.Counts.Things, c.Hidden, diff)
		}
		if len(c.Entities)+len(c.Activities)+len(c.Identities)+len(c.Relations) > 0 {
			t.Errorf("%s: counts list items", where)
		}
	})
}

// TestLinesAreTheWholeAnswer puts the lines together and compares.
func TestLinesAreTheWholeAnswer(t *testing.T) {
	eachClosure(t, 100, func(where string, v graph.View, verb, ref string, opt query.Options, a *query.Answer) {
		var got query.Answer
		ends, last := 0, 0
		err := query.Lines(v, verb, ref, opt, func(l *query.Line) error {
			switch {
			case l.Header != nil:
				got.APIVersion, got.Question, got.LogSize, got.AsOf, got.Focus = l.Header.APIVersion, l.Header.Question, l.Header.LogSize, l.Header.AsOf, l.Header.Focus
			case l.End != nil:
				ends++
				got.Truncated, got.Hidden = l.End.Truncated, l.End.Hidden
				got.Unknown = append(got.Unknown, l.End.Unknown...)
				if l.End.Relations != len(got.Relations) || l.End.Things+l.End.Context != len(got.Entities) {
					t.Errorf("%s: the end counts %+v", where, *l.End)
				}
			default:
				if d := l.Item.Distance; d != nil {
					if *d < last {
						t.Errorf("%s: %s at distance %d comes after one at %d", where, l.Item.Ref, *d, last)
					}
					last = *d
				} else {
					last = 1 << 30
				}
				got.Entities = append(got.Entities, *l.Item)
				got.Relations = append(got.Relations, l.Relations...)
				got.Unknown = append(got.Unknown, l.Unknown...)
			}
			return nil
		})
		if err != nil || ends != 1 {
			t.Errorf("%s: %v, %d ends", where, err, ends)
		}
		want := *a
		want.Entities = slices.Concat(a.Entities, a.Activities, a.Identities)
		want.Activities, want.Identities = nil, nil
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.SortSlices(func(x, y query.Item) bool { return x.Ref < y.Ref }),
			cmpopts.SortSlices(func(x, y query.RelationItem) bool { return fmt.Sprint(x) < fmt.Sprint(y) }),
			cmpopts.SortSlices(func(x, y query.Unknown) bool { return fmt.Sprint(x) < fmt.Sprint(y) })); diff != "" {
			t.Errorf("%s (-whole +lines):\n%s", where, diff)
		}
	})
}

// TestHiddenIsCountedAsShown cuts an answer in which names and content are
// shown as one thing.
func TestHiddenIsCountedAsShown(t *testing.T) {
	var h history
	digest := func(s string) statement.DigestSet { return statement.DigestSet{"sha256": hex(s)} }
	for i := range 6 {
		h.add(t, &statement.Activity{Kind: "transform", ID: fmt.Sprintf("activity:r%d", i), Used: []statement.Use{{Resource: statement.Resource{
			Ref: fmt.Sprintf("dataset:d@%d", i), Digest: digest(fmt.Sprint(i))}}}}, subject(fmt.Sprintf("dataset:d@%d", i+1), digest(fmt.Sprint(i+1))))
	}
	v := h.fold(t, len(h)).At(prov.Now)
	for _, x := range []struct {
		opt           query.Options
		shown, hidden int
	}{
		{query.Options{}, 13, 0},
		{query.Options{Limit: 4}, 4, 9},
		{query.Options{Limit: 13}, 13, 0},
		{query.Options{Depth: 2}, 3, 10},
		{query.Options{Depth: 2, Kinds: []prov.Kind{prov.Dataset}}, 2, 5},
		{query.Options{Depth: 4, Limit: 2}, 2, 11},
		{query.Options{Kinds: []prov.Kind{prov.Activity}, Limit: 3}, 3, 4},
	} {
		if shown, hidden := reached(t, query.Why, v, "dataset:d@6", x.opt); shown != x.shown || hidden != x.hidden {
			t.Errorf("%+v: %d shown and %d hidden, want %d and %d", x.opt, shown, hidden, x.shown, x.hidden)
		}
	}
}

func TestCountsByEnvironment(t *testing.T) {
	var h history
	model := statement.DigestSet{"sha256": hex("m")}
	h.add(t, &statement.Activity{Kind: "train", ID: "activity:t", Used: used("dataset:d@1")}, subject("model:m@1", model))
	for i, env := range []string{"env:prod", "env:prod", "env:test"} {
		h.add(t, &statement.Deployment{Action: "deploy", ID: fmt.Sprintf("deployment:d%d", i), Environment: env, Service: "service:s", At: hour(i)}, subject("model:m@1", model))
	}
	v := h.fold(t, len(h)).At(prov.Now)
	a, err := query.Counts(v, "blast", "dataset:d@1", query.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := &query.Counted{Things: 6, ByKind: []query.KindCount{{Kind: "activity", Things: 1}, {Kind: "dataset", Things: 1}, {Kind: "deployment", Things: 3}, {Kind: "model", Things: 1}},
		ByEnvironment: []query.EnvironmentCount{{Environment: "env:prod", Things: 3, Live: 2}, {Environment: "env:test", Things: 2, Live: 2}}}
	if diff := cmp.Diff(want, a.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if _, err := query.Counts(v, "path", "dataset:d@1", query.Options{}); err == nil {
		t.Error("a path is counted")
	}
}
