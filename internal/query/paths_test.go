package query_test

import (
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
	"github.com/stemma-lineage/stemma/statement"
)

// pathReference enumerates paths in the plainest way: every sequence of
// things, by recursion over the list of relations, and of those the ones that
// hold no loop that could be left out.
type pathReference struct {
	rels []refRel          // those of the moment
	one  map[string]string // of a name: the only content that it has
	held map[string]bool   // content that is shown with names
	// tooMany is set when the recursion was given up.
	walks   int
	tooMany bool
}

func newPathReference(r *reference, valid prov.Instant) *pathReference {
	p := &pathReference{one: map[string]string{}, held: map[string]bool{}}
	contents := map[string][]string{}
	for _, x := range r.rels {
		if valid != prov.Forever && (x.vf > valid || x.vt <= valid) {
			continue
		}
		p.rels = append(p.rels, x)
		if x.typ == prov.SameAs && strings.HasPrefix(x.to, "sha256:") && !slices.Contains(contents[x.from], x.to) {
			contents[x.from] = append(contents[x.from], x.to)
		}
	}
	for name, c := range contents {
		if len(c) == 1 {
			p.one[name] = c[0]
			p.held[c[0]] = true
		}
	}
	return p
}

func (p *pathReference) shown(key string) string {
	if c, ok := p.one[key]; ok {
		return c
	}
	return key
}

// hop tells how one thing leads to another: in full, in part, and whether it
// does so otherwise than by having used it.
func (p *pathReference) hop(from, to string, fromPart bool) (ok, part bool) {
	part = true
	for _, x := range p.rels {
		a, b := p.shown(x.from), p.shown(x.to)
		switch {
		case a == b, !query.Lineage.Has(x.typ):
		case x.typ == prov.SameAs && (a == from && b == to || a == to && b == from):
			ok, part = true, false
		case x.typ != prov.SameAs && a == from && b == to && !(fromPart && x.typ == prov.Used):
			ok = true
			part = part && x.typ == prov.GeneratedByStated && !p.held[to]
		}
	}
	return ok, ok && part
}

// isPath tells whether each thing of the sequence leads to the next.
func (p *pathReference) isPath(seq []string) bool {
	part := false
	for i := 1; i < len(seq); i++ {
		ok, next := p.hop(seq[i-1], seq[i], part)
		if !ok {
			return false
		}
		part = next
	}
	return true
}

// plain tells whether no loop of the path that ends before the given position
// can be left out.
func (p *pathReference) plain(seq []string, before int) bool {
	for i := range seq {
		for j := i + 1; j < before; j++ {
			if seq[i] == seq[j] && p.isPath(append(slices.Clone(seq[:i]), seq[j:]...)) {
				return false
			}
		}
	}
	return true
}

func (p *pathReference) paths(from, to string) []string {
	var things []string
	for _, x := range p.rels {
		things = append(things, p.shown(x.from), p.shown(x.to))
	}
	slices.Sort(things)
	things = slices.Compact(things)
	from, to = p.shown(from), p.shown(to)
	var out []string
	var walk func(seq []string)
	walk = func(seq []string) {
		if p.walks++; p.walks > 2000 {
			p.tooMany = true
			return
		}
		last := seq[len(seq)-1]
		if !p.plain(seq, len(seq)-1) {
			return // nor can it be left out of what goes on from here
		}
		if last == to && p.plain(seq, len(seq)) {
			out = append(out, strings.Join(seq, " > "))
		}
		for _, x := range things {
			times := 0
			for _, y := range seq {
				if x == y {
					times++
				}
			}
			if next := append(slices.Clone(seq), x); times < 2 && x != last && p.isPath(next) {
				walk(next)
			}
		}
	}
	walk([]string{from})
	slices.Sort(out)
	return out
}

// tangle makes a history in which few things depend on one another in many
// ways, cycles included.
func tangle(t testing.TB, seed uint64) history {
	m := &maker{t: t, r: rand.New(rand.NewPCG(seed, 6))}
	thing := func() (string, statement.DigestSet) {
		name := pick(m, "dataset:a@1", "dataset:a@2", "dataset:b@1", "model:m@1", "code:c@1")
		if m.is(15) {
			return name, statement.DigestSet{"sha256": hex(name + pick(m, "", "", "x"))}
		}
		return name, nil
	}
	resource := func() statement.Resource {
		name, d := thing()
		return statement.Resource{Ref: name, Digest: d}
	}
	for n := 4 + m.r.IntN(8); len(m.h) < n; {
		if m.is(8) {
			m.h.add(t, &statement.Entity{State: "same-as", SameAs: []statement.Resource{{Ref: pick(m, "dataset:a@1", "model:m@1")}}}, subject("dataset:b@1", nil))
			continue
		}
		a := &statement.Activity{Kind: "transform", ID: pick(m, "activity:p", "activity:q", "activity:r"), StartedAt: m.time(50)}
		subjects := []statement.Subject{subject(a.ID, nil)}
		for range m.r.IntN(3) {
			a.Used = append(a.Used, statement.Use{Resource: resource()})
		}
		for range m.r.IntN(3) {
			name, d := thing()
			subjects = append(subjects, subject(name, d))
		}
		if m.is(40) {
			to := resource()
			subjects = append(subjects, subject(to.Ref, to.Digest))
			a.Derived = []statement.Derivation{{To: to, Rule: statement.RuleStated, From: []statement.DerivedInput{{Resource: resource()}}}}
		}
		if m.is(30) {
			r := resource()
			a.Plan = &r
		}
		m.h.add(t, a, subjects...)
	}
	return m.h
}

// TestPathsReference compares all paths between random things with those of
// the plain reference, at several clocks.
func TestPathsReference(t *testing.T) {
	compared, several, looped := 0, 0, 0
	for seed := range uint64(300) {
		h := tangle(t, seed)
		g := h.fold(t, len(h))
		r := rand.New(rand.NewPCG(seed, 7))
		n := r.IntN(len(h)) + 1
		ref := newReference(h, n)
		for _, valid := range validTimes(r) {
			v := g.At(prov.AsOf{Valid: valid, Known: uint64(n)})
			ids := all(v)
			for range 6 {
				a, z := ids[r.IntN(len(ids))], ids[r.IntN(len(ids))]
				p := newPathReference(ref, valid)
				want := p.paths(string(v.Key(a)), string(v.Key(z)))
				if p.tooMany {
					continue
				}
				got, s, total, whole := query.PathKeys(v, a, z, 1<<20)
				where := fmt.Sprintf("seed %d, known %d of %d, valid %s: %s to %s", seed, n, len(h), valid, v.Key(a), v.Key(z))
				checkPaths(t, where, want, got, s, total, whole)
				compared++
				if len(want) > 1 {
					several++
				}
				if slices.ContainsFunc(want, twice) {
					looped++
				}
			}
		}
		if t.Failed() {
			h.log(t)
			return
		}
	}
	t.Logf("%d pairs, %d with several paths, %d with a thing that is passed twice", compared, several, looped)
	if compared < 2000 || several < 200 || looped < 10 {
		t.Errorf("only %d pairs were compared, %d with several paths, %d with a loop; the histories say too little", compared, several, looped)
	}
}

func twice(path string) bool {
	seq := strings.Split(path, " > ")
	slices.Sort(seq)
	return len(slices.Compact(seq)) < strings.Count(path, " > ")+1
}

func checkPaths(t *testing.T, where string, want, got []string, s query.Shortest, total uint64, whole bool) {
	t.Helper()
	if !whole {
		t.Errorf("%s: the search did not come to its end", where)
	}
	shortest := uint64(0)
	for _, p := range got {
		if strings.Count(p, " > ") == s.Length {
			shortest++
		}
	}
	if len(got) > 0 && (shortest != s.Count || strings.Count(got[0], " > ") != s.Length) {
		t.Errorf("%s: %d shortest paths of length %d are counted, %d found", where, s.Count, s.Length, shortest)
	}
	if total != 0 && total != uint64(len(got)) {
		t.Errorf("%s: %d paths are counted, %d found", where, total, len(got))
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-reference +graph):\n%s", where, diff)
	}
}

// ladder makes n times two ways from one thing to the next.
func ladder(t *testing.T, n int) *graph.Graph {
	return foldAll(t, 3*n, func(i int) (statement.Predicate, statement.Subject) {
		from, to := fmt.Sprintf("dataset:d@%d", i/3), fmt.Sprintf("dataset:d@%d", i/3+1)
		mid := func(k int) string { return fmt.Sprintf("dataset:m@%d.%d", i/3, k) }
		derived := func(to string, from ...string) *statement.Entity {
			d := statement.Derivation{To: statement.Resource{Ref: to}, Rule: statement.RuleStated}
			for _, f := range from {
				d.From = append(d.From, statement.DerivedInput{Resource: statement.Resource{Ref: f}})
			}
			return &statement.Entity{State: "described", Derived: []statement.Derivation{d}}
		}
		if i%3 == 2 {
			return derived(to, mid(0), mid(1)), subject(to, nil)
		}
		return derived(mid(i%3), from), subject(mid(i%3), nil)
	})
}

func TestPathsAreCountedAndCut(t *testing.T) {
	ask := func(n int, opt query.Options) *query.Answer {
		t.Helper()
		opt.All = true
		a, err := query.Path(ladder(t, n).At(prov.Now), fmt.Sprintf("dataset:d@%d", n), "dataset:d@0", opt)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := ask(4, query.Options{})
	if diff := cmp.Diff(&query.Shortest{Length: 8, Count: 16}, a.Shortest); diff != "" || len(a.Paths) != 16 || a.Truncated || a.Hidden != 0 {
		t.Errorf("4 rungs: %d paths, truncated %t, hidden %d:\n%s", len(a.Paths), a.Truncated, a.Hidden, diff)
	}
	if diff := cmp.Diff(a.Path, a.Paths[0]); diff != "" {
		t.Errorf("the shortest path is not the first (-path +first):\n%s", diff)
	}
	a = ask(20, query.Options{Limit: 10})
	if diff := cmp.Diff(&query.Shortest{Length: 40, Count: 1 << 20}, a.Shortest); diff != "" || len(a.Paths) != 10 || !a.Truncated || a.Hidden != 1<<20-10 {
		t.Errorf("20 rungs: %d paths, truncated %t, hidden %d:\n%s", len(a.Paths), a.Truncated, a.Hidden, diff)
	}
	a = ask(3000, query.Options{Limit: 3})
	if diff := cmp.Diff(&query.Shortest{Length: 6000, Count: 1<<53 - 1, AtLeast: true}, a.Shortest); diff != "" || len(a.Paths) != 3 || !a.Truncated || len(a.Unknown) == 0 {
		t.Errorf("3000 rungs: %d paths, truncated %t, unknown %v:\n%s", len(a.Paths), a.Truncated, a.Unknown, diff)
	}
	a = ask(3000, query.Options{})
	if n := len(a.Paths); n < 100 || n > 1<<20/6000 || !a.Truncated {
		t.Errorf("3000 rungs without a limit: %d paths, truncated %t", n, a.Truncated)
	}
}

func TestPathsInACycleAreNotCounted(t *testing.T) {
	// Every one of 12 things is derived from every other.
	const n = 12
	g := foldAll(t, n, func(i int) (statement.Predicate, statement.Subject) {
		d := statement.Derivation{To: statement.Resource{Ref: fmt.Sprintf("dataset:d@%d", i)}, Rule: statement.RuleStated}
		for j := range n {
			if j != i {
				d.From = append(d.From, statement.DerivedInput{Resource: statement.Resource{Ref: fmt.Sprintf("dataset:d@%d", j)}})
			}
		}
		return &statement.Entity{State: "described", Derived: []statement.Derivation{d}}, subject(d.To.Ref, nil)
	})
	a, err := query.Path(g.At(prov.Now), "dataset:d@0", "dataset:d@1", query.Options{All: true, Limit: 12})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Paths) != 12 || len(a.Paths[0]) != 2 || len(a.Paths[11]) != 4 || !a.Truncated || a.Hidden != 1 || len(a.Unknown) != 2 {
		t.Errorf("%d paths, truncated %t, hidden %d, unknown %v", len(a.Paths), a.Truncated, a.Hidden, a.Unknown)
	}
	_, _, _, whole := query.PathKeys(g.At(prov.Now), a1(g, "dataset:d@0"), a1(g, "dataset:d@1"), 5000)
	if whole {
		t.Error("5000 steps were enough for all paths; they cannot be")
	}
}

func a1(g *graph.Graph, key string) graph.ID { return g.At(prov.Now).LookupKey(key) }

func TestStop(t *testing.T) {
	v := ladder(t, 2000).At(prov.Now)
	for name, f := range map[string]func(query.Options) (*query.Answer, error){
		"path": func(o query.Options) (*query.Answer, error) {
			o.All = true
			return query.Path(v, "dataset:d@2000", "dataset:d@0", o)
		},
		"why":   func(o query.Options) (*query.Answer, error) { return query.Why(v, "dataset:d@2000", o) },
		"blast": func(o query.Options) (*query.Answer, error) { return query.Blast(v, "dataset:d@0", o) },
		"diff": func(o query.Options) (*query.Answer, error) {
			return query.Diff(v, v, "dataset:d@2000", "dataset:d@2000", o)
		},
		"counts": func(o query.Options) (*query.Answer, error) {
			return query.Counts(v, "blast", "dataset:d@0", o)
		},
		"lines": func(o query.Options) (*query.Answer, error) {
			return nil, query.Lines(v, "blast", "dataset:d@0", o, func(l *query.Line) error {
				if l.End != nil {
					t.Error("lines: a stopped answer has its end")
				}
				return nil
			})
		},
	} {
		for after := range 3 {
			asked := 0
			a, err := f(query.Options{Stop: func() bool { asked++; return asked > after }})
			if !errors.Is(err, query.ErrStopped) || a != nil {
				t.Errorf("%s stopped after %d times: %v, want %v and no answer", name, after, err, query.ErrStopped)
			}
		}
	}
}
