package query_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/internal/report"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

var salt = statement.Hide{Salt: []byte("a salt of a test")}

// erase gives the contents of the log after an order that erases some entries
// of the history; the order is the last entry.
func (h history) erase(t testing.TB, entries []uint64) [][]byte {
	t.Helper()
	order := &statement.Erasure{Rule: statement.KeepCore, Reason: "request 7", LegalBasis: "law", Role: "role:privacy"}
	for _, n := range entries {
		x, err := statement.Erase(n, h[n].content, salt)
		if err != nil {
			t.Fatal(err)
		}
		if err := statement.CheckErased(h[n].content, x); err != nil {
			t.Fatal(err)
		}
		order.Entries = append(order.Entries, x)
	}
	var out [][]byte
	for _, s := range h {
		out = append(out, s.content)
	}
	for i, n := range entries {
		var err error
		if out[n], err = order.Remainder(uint64(len(h)), i); err != nil {
			t.Fatal(err)
		}
	}
	return append(out, content(t, []statement.Subject{{Digest: statement.DigestSet{"sha256": hex("x")}}}, order, recorded(len(h))))
}

func foldContents(t testing.TB, g *graph.Graph, list [][]byte) *graph.Graph {
	t.Helper()
	for i := g.Size(); i < uint64(len(list)); i++ {
		if err := g.Fold(i, list[i]); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func someEntries(r *rand.Rand, n int) (out []uint64) {
	for i := range n {
		if r.IntN(3) == 0 {
			out = append(out, uint64(i))
		}
	}
	if out == nil {
		out = []uint64{uint64(r.IntN(n))}
	}
	return out
}

// rectangles lists every relation that a view sees, with the names that entries
// of the order gave replaced by pseudonyms.
func rectangles(v graph.View, erased []uint64) []string {
	var out []string
	for _, id := range all(v) {
		for r := range v.Out(id) {
			x := v.Relation(r)
			from, to := v.Ref(x.From), v.Ref(x.To)
			if slices.Contains(erased, x.Entry) {
				from, to = salt.Ref(from), salt.Ref(to)
			}
			out = append(out, fmt.Sprintf("%s %s %s %v entry %d since %d %s %s", from, x.Type, to, x.Valid, x.Entry, x.Since, x.Rule, x.Role))
		}
	}
	slices.Sort(out)
	return out
}

// TestErasureKeepsRelations wants the graph after an erasure to be, at every
// log size and time, that of before: the same relations with the same
// rectangles by the same entries, with people's names replaced.
func TestErasureKeepsRelations(t *testing.T) {
	for seed := range uint64(150) {
		h := random(t, seed, true)
		r := rand.New(rand.NewPCG(seed, 2))
		erased := someEntries(r, len(h))
		list := h.erase(t, erased)
		before, after := h.fold(t, len(h)), foldContents(t, graph.New(), list)
		for n := range len(h) + 1 {
			for _, valid := range validTimes(r) {
				at := prov.AsOf{Valid: valid, Known: uint64(n)}
				if d := cmp.Diff(rectangles(before.At(at), erased), rectangles(after.At(at), nil)); d != "" {
					h.log(t)
					t.Fatalf("seed %d, known %d, valid %s, erased %v: %s", seed, n, valid, erased, d)
				}
			}
		}
	}
}

// TestErasureIsOfTheLog wants the same graph, byte for byte, however the
// remainders and the rest were folded: at once, or from a snapshot of any size.
func TestErasureIsOfTheLog(t *testing.T) {
	for seed := range uint64(25) {
		h := random(t, seed, true)
		r := rand.New(rand.NewPCG(seed, 3))
		list := h.erase(t, someEntries(r, len(h)))
		want := foldContents(t, graph.New(), list).Encode()
		for n := range list {
			b := foldContents(t, graph.New(), list[:n]).Encode()
			g, err := graph.Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(foldContents(t, g, list).Encode(), want) {
				t.Fatalf("seed %d: a snapshot of %d entries and the rest give another graph", seed, n)
			}
		}
	}
}

// TestErasureIsTold asks for everything at every log size: no answer holds a
// name or a text that was erased, and each that rests on an erased entry says
// so, also one for a size before the order.
func TestErasureIsTold(t *testing.T) {
	told := 0
	for seed := range uint64(15) {
		h := random(t, seed, true)
		r := rand.New(rand.NewPCG(seed, 4))
		var entries []uint64
		for n := range uint64(len(h)) { // all, so that nobody else names the people
			entries = append(entries, n)
		}
		if r.IntN(2) == 0 {
			entries = someEntries(r, len(h))
		}
		g := foldContents(t, graph.New(), h.erase(t, entries))
		whole := len(entries) == len(h)
		if b := string(g.Encode()); whole && strings.Contains(b, "carol") {
			t.Errorf("seed %d: the snapshot holds a name that was erased", seed)
		}
		for n := 1; n <= len(h)+1; n++ {
			v := g.At(prov.AsOf{Valid: prov.Forever, Known: uint64(n)})
			for _, id := range all(v) {
				name := v.Ref(id).String()
				for _, ask := range []func() (*query.Answer, error){
					func() (*query.Answer, error) { return query.Why(v, name, query.Options{}) },
					func() (*query.Answer, error) { return query.Blast(v, name, query.Options{}) },
					func() (*query.Answer, error) { return query.History(v, name, query.Options{}) },
				} {
					a, err := ask()
					if err != nil {
						continue // content that several names share, and so on: not of this test
					}
					told += isTold(t, seed, v, a, entries)
					b, err := report.JSON(a)
					if err != nil {
						t.Fatal(err)
					}
					if whole && strings.Contains(string(b), "carol") {
						t.Errorf("seed %d: known %d, %s: the answer names who was erased", seed, n, name)
					}
				}
			}
		}
	}
	if told < 300 {
		t.Errorf("only %d answers rested on what was erased", told)
	}
}

// isTold wants a line under unknown for every order that erased an entry on
// which the answer rests.
func isTold(t *testing.T, seed uint64, v graph.View, a *query.Answer, erased []uint64) int {
	rests := false
	for _, list := range [][]query.Item{a.Entities, a.Activities, a.Identities} {
		for _, it := range list {
			rests = rests || slices.ContainsFunc(it.Entries, func(e uint64) bool { return slices.Contains(erased, e) })
		}
	}
	for _, r := range a.Relations {
		rests = rests || slices.Contains(erased, r.Entry)
	}
	if !rests {
		return 0
	}
	if !slices.ContainsFunc(a.Unknown, func(u query.Unknown) bool {
		return strings.HasPrefix(u.Reason, "what else entr") && strings.HasSuffix(u.Reason, "because request 7 (law)")
	}) {
		t.Errorf("seed %d: known %d, %s %v rests on what was erased and does not say so: %v", seed, v.AsOf().Known, a.Question.Verb, a.Question.Refs, a.Unknown)
	}
	return 1
}

// TestErasedNamesAreTold asks for a person of whom a part of the entries was
// erased, and for one of whom all were.
func TestErasedNamesAreTold(t *testing.T) {
	var h history
	h.add(t, &statement.Activity{Kind: "train", ID: "activity:a", Identities: []statement.Party{{Ref: "person:jane"}}}, subject("model:m@1", nil))
	h.add(t, &statement.Activity{Kind: "train", ID: "activity:b", Identities: []statement.Party{{Ref: "person:jane"}}}, subject("model:m@2", nil))
	v := foldContents(t, graph.New(), h.erase(t, []uint64{0})).At(prov.Now)
	a, err := query.Blast(v, "person:jane", query.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := query.Unknown{Reason: "which people entry 0 named: the names were erased by entry 2, because request 7 (law); the answer leaves out what is said there of those in it"}
	if !slices.Contains(a.Unknown, want) {
		t.Errorf("the answer does not say that it may leave something out: %v", a.Unknown)
	}
	c, err := query.Counts(v, "blast", "person:jane", query.Options{})
	if err != nil || !slices.Contains(c.Unknown, want) {
		t.Errorf("the counts do not say so: %v, %v", c, err)
	}
	if _, err := query.Blast(v, "person:john", query.Options{}); err == nil || !strings.Contains(err.Error(), "names of that kind were erased from entry 0") {
		t.Errorf("of a person that nobody names: %v", err)
	}
	var lines []query.Unknown
	if err := query.Lines(v, "blast", "person:jane", query.Options{}, func(l *query.Line) error {
		if l.End != nil {
			lines = l.End.Unknown
		}
		return nil
	}); err != nil || !slices.Contains(lines, want) {
		t.Errorf("the lines do not say so: %v, %v", lines, err)
	}
}
