package query_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

const histories = 2000 // of the comparison with the reference; the other laws take a part

func all(v graph.View) []graph.ID {
	var out []graph.ID
	for id := graph.ID(1); int(id) < v.Len(); id++ {
		if v.Known(id) {
			out = append(out, id)
		}
	}
	return out
}

func validTimes(r *rand.Rand) []prov.Instant {
	return []prov.Instant{prov.Forever, prov.At(hour(r.IntN(9)).Time), prov.At(hour(r.IntN(9)).Time) + 1}
}

// TestReference compares the closures with those of the plain reference, for
// every thing at several clocks, and the one direction with the other.
func TestReference(t *testing.T) {
	compared := 0
	for seed := range uint64(histories) {
		h := random(t, seed, true)
		g := h.fold(t, len(h))
		r := rand.New(rand.NewPCG(seed, 1))
		for _, n := range []int{len(h), r.IntN(len(h)) + 1} {
			ref := newReference(h, n)
			for _, valid := range validTimes(r) {
				v := g.At(prov.AsOf{Valid: valid, Known: uint64(n)})
				compared += compare(t, fmt.Sprintf("seed %d, known %d of %d, valid %s", seed, n, len(h), valid), v, ref, valid)
			}
		}
		if t.Failed() {
			h.log(t)
			return
		}
	}
	if compared < 100*histories {
		t.Errorf("only %d closures were compared; the histories say too little", compared)
	}
}

func (h history) log(t *testing.T) {
	for i, s := range h {
		b, err := json.Marshal(s.pred)
		t.Logf("%d: %T %v %s %v", i, s.pred, s.subjects, b, err)
	}
}

func compare(t *testing.T, where string, v graph.View, ref *reference, valid prov.Instant) int {
	t.Helper()
	ids := all(v)
	whys := map[string][]string{}
	for _, id := range ids {
		key := string(v.Key(id))
		whys[key] = query.Closure(v, id, false)
		if diff := cmp.Diff(ref.reach(key, false, valid), whys[key]); diff != "" {
			t.Errorf("%s: why %s (-reference +graph):\n%s", where, key, diff)
		}
	}
	for _, id := range ids {
		key := string(v.Key(id))
		blast := query.Closure(v, id, true)
		if diff := cmp.Diff(ref.reach(key, true, valid), blast); diff != "" {
			t.Errorf("%s: blast %s (-reference +graph):\n%s", where, key, diff)
		}
		for other, why := range whys {
			_, up := slices.BinarySearch(why, key)
			_, down := slices.BinarySearch(blast, other)
			if o := v.LookupKey(other); query.Reaches(v, id, o) != down {
				t.Errorf("%s: Reaches(%s, %s) is %t, the closure says otherwise", where, key, other, !down)
			}
			if up != down {
				t.Errorf("%s: %s in why(%s): %t; the other way round: %t", where, key, other, up, down)
			}
		}
	}
	return 2 * len(ids)
}

type ask struct {
	verb string
	f    func(graph.View, string, query.Options) (*query.Answer, error)
}

var asks = []ask{{"why", query.Why}, {"blast", query.Blast}, {"show", query.Show}, {"history", query.History}}

// answers gives the JSON of several questions about each of refs.
func answers(t *testing.T, v graph.View, refs []string, clean func(*query.Answer)) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, a := range asks {
		for _, ref := range refs {
			ans, err := a.f(v, ref, query.Options{})
			if err != nil {
				out[a.verb+" "+ref] = err.Error()
				continue
			}
			if clean != nil {
				clean(ans)
			}
			b, err := json.Marshal(ans)
			if err != nil {
				t.Fatal(err)
			}
			out[a.verb+" "+ref] = string(b)
		}
	}
	return out
}

func names(v graph.View) []string {
	var out []string
	for _, id := range all(v) {
		out = append(out, v.Ref(id).String())
	}
	slices.Sort(out)
	return out
}

// TestKnown asks the graph of the whole log for each earlier size: it must
// answer byte for byte as the graph that was folded only so far.
func TestKnown(t *testing.T) {
	for seed := range uint64(histories / 8) {
		h := random(t, seed, true)
		g := h.fold(t, len(h))
		r := rand.New(rand.NewPCG(seed, 2))
		n := r.IntN(len(h) + 1)
		early := h.fold(t, n)
		for _, valid := range validTimes(r) {
			whole, part := g.At(prov.AsOf{Valid: valid, Known: uint64(n)}), early.At(prov.AsOf{Valid: valid, Known: prov.AllKnown})
			refs := names(g.At(prov.Now))
			if diff := cmp.Diff(answers(t, part, refs, nil), answers(t, whole, refs, nil)); diff != "" {
				t.Fatalf("seed %d, known %d of %d, valid %s (-folded so far +folded in full):\n%s", seed, n, len(h), valid, diff)
			}
		}
	}
}

// timeless takes out of an answer what names positions of the log.
func timeless(a *query.Answer) {
	a.LogSize, a.AsOf.Known, a.Question.Known, a.History = 0, 0, 0, nil
	for _, list := range [][]query.Item{a.Entities, a.Activities, a.Identities} {
		for i := range list {
			list[i].Entries, list[i].Notes = nil, nil
		}
	}
	for i := range a.Relations {
		// Of equal relations that several entries assert, the first entry's is shown.
		r := &a.Relations[i]
		r.Entry, r.KnownFrom, r.Rule, r.Role = 0, 0, "", ""
	}
	a.Unknown = slices.DeleteFunc(a.Unknown, func(u query.Unknown) bool {
		return strings.Contains(u.Reason, "was recorded only at") || strings.Contains(u.Reason, "of the log could not be used")
	})
}

// TestOrder folds the same entries in another order.
func TestOrder(t *testing.T) {
	for seed := range uint64(histories / 8) {
		h := slices.DeleteFunc(random(t, seed, false), func(s said) bool { return s.copyOf >= 0 })
		r := rand.New(rand.NewPCG(seed, 3))
		p := slices.Clone(h)
		r.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
		a, b := h.fold(t, len(h)), p.fold(t, len(p))
		for _, valid := range validTimes(r) {
			asOf := prov.AsOf{Valid: valid, Known: prov.AllKnown}
			refs := names(a.At(asOf))
			if diff := cmp.Diff(refs, names(b.At(asOf))); diff != "" {
				t.Fatalf("seed %d: names (-in order +permuted):\n%s", seed, diff)
			}
			if diff := cmp.Diff(answers(t, a.At(asOf), refs, timeless), answers(t, b.At(asOf), refs, timeless)); diff != "" {
				h.log(t)
				t.Fatalf("seed %d, valid %s (-in order +permuted):\n%s", seed, valid, diff)
			}
		}
	}
}

// TestCopies folds every entry twice.
func TestCopies(t *testing.T) {
	for seed := range uint64(histories / 8) {
		h := random(t, seed, true)
		twice := slices.Clone(h)
		for i := range h {
			if h[i].copyOf < 0 {
				twice.repeat(t, i)
			}
		}
		a, b := h.fold(t, len(h)), twice.fold(t, len(twice))
		refs := names(a.At(prov.Now))
		if diff := cmp.Diff(answers(t, a.At(prov.Now), refs, timeless), answers(t, b.At(prov.Now), refs, timeless)); diff != "" {
			t.Fatalf("seed %d (-once +twice):\n%s", seed, diff)
		}
		if got, want := len(b.At(prov.Now).Problems())-len(a.At(prov.Now).Problems()), len(twice)-len(h); got != want {
			t.Fatalf("seed %d: %d copies are reported, want %d", seed, got, want)
		}
	}
}

// TestSnapshotInBetween writes the graph down at some size, reads it again and
// goes on: the bytes are those of folding all at once.
func TestSnapshotInBetween(t *testing.T) {
	for seed := range uint64(histories / 8) {
		h := random(t, seed, true)
		n := rand.New(rand.NewPCG(seed, 4)).IntN(len(h) + 1)
		g, err := graph.Decode(h.fold(t, n).Encode())
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		h.foldInto(t, g, len(h))
		if !bytes.Equal(g.Encode(), h.fold(t, len(h)).Encode()) {
			t.Fatalf("seed %d: the graphs differ after a snapshot at %d of %d", seed, n, len(h))
		}
	}
}

// TestNothingIsForgotten lets the known size grow: things and the entries that
// are about them only ever become more.
func TestNothingIsForgotten(t *testing.T) {
	for seed := range uint64(histories / 8) {
		h := random(t, seed, true)
		g := h.fold(t, len(h))
		for n := 1; n < len(h); n++ {
			a, b := g.At(prov.AsOf{Valid: prov.Forever, Known: uint64(n)}), g.At(prov.AsOf{Valid: prov.Forever, Known: uint64(n + 1)})
			for _, id := range all(a) {
				was, is := a.Entries(id), b.Entries(id)
				// A thing that no entry is about shows the one that first
				// mentions it, until there is a better one.
				if len(was) == 1 && len(is) == 1 && is[0] == uint64(n) {
					continue
				}
				for _, e := range was {
					if !b.Known(id) || !slices.Contains(is, e) {
						t.Fatalf("seed %d: %s loses entry %d from size %d to %d: %v, %v", seed, a.Key(id), e, n, n+1, was, is)
					}
				}
			}
		}
	}
}

func TestNothingIsKnownAtFirst(t *testing.T) {
	h := random(t, 1, true)
	v := h.fold(t, len(h)).At(prov.AsOf{Valid: prov.Forever})
	for _, a := range asks {
		if _, err := a.f(v, "dataset:a", query.Options{}); !errors.Is(err, query.ErrNotFound) {
			t.Errorf("%s at size 0: %v, want %v", a.verb, err, query.ErrNotFound)
		}
	}
}
