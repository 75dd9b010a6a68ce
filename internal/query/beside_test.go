package query_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/gen"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

// readers is how many goroutines ask while one folds.
const readers = 4

// question is one question and the answer that a reader got.
type question struct {
	size   uint64
	valid  prov.Instant
	verb   string
	a, b   string
	answer string
}

// ask answers the question in the view.
func (q *question) ask(v graph.View) string {
	var a *query.Answer
	var err error
	switch opt := (query.Options{}); q.verb {
	case "why":
		a, err = query.Why(v, q.a, opt)
	case "blast":
		a, err = query.Blast(v, q.a, opt)
	case "history":
		a, err = query.History(v, q.a, opt)
	case "show":
		a, err = query.Show(v, q.a, opt)
	case "search":
		a, err = query.Search(v, q.a[len(q.a)/2:], query.Options{Limit: 20})
	case "path":
		a, err = query.Path(v, q.a, q.b, opt)
	case "reach":
		a, err = query.CanReach(v, q.a, "", opt)
	case "versions":
		return versions(v, q.a)
	}
	if err != nil {
		return err.Error()
	}
	b, err := json.Marshal(a)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// versions tells what the view itself knows of a thing.
func versions(v graph.View, name string) string {
	ref, err := prov.ParseRef(name)
	if err != nil {
		return err.Error()
	}
	id := v.Lookup(ref)
	if id == graph.None {
		return "unknown"
	}
	out := fmt.Sprintf("%s %v %v", v.Key(id), v.Entries(id), v.Attributes(id))
	series := id
	if s := v.SeriesOf(id); s != graph.None {
		series = s
	}
	for _, x := range v.Versions(series) {
		out += fmt.Sprintf("\n%s %s %t", v.Key(x.ID), x.At, x.Written)
	}
	for e := range v.EverOut(id) {
		out += fmt.Sprintf("\n%s > %s %d %s %s %s", e.Type, v.Key(e.To), e.Ended, e.Role, e.Begin, e.End)
	}
	for e := range v.EverIn(id) {
		out += fmt.Sprintf("\n%s < %s %d", e.Type, v.Key(e.From), e.Ended)
	}
	for c := range v.Claims(id) {
		out += fmt.Sprintf("\n%v", c)
	}
	for t := range v.EverTimes(id) {
		out += fmt.Sprintf("\n%v", t)
	}
	for _, e := range v.Entries(id) {
		by, ok := v.RetractedBy(e)
		doubt, doubted := v.Doubt(e)
		out += fmt.Sprintf("\n%d %d %t %s %t", e, by, ok, doubt, doubted)
	}
	for _, a := range v.Aliases("r", ref) {
		out += fmt.Sprintf("\n%s %s %s %t", a.Name, v.Key(a.To), a.Since, a.Stage)
	}
	touching := slices.Sorted(v.Touching(v.Entries(id)))
	out += fmt.Sprintf("\ntouches %d", slices.Compact(touching))
	return out + fmt.Sprintf("\n%d problems, as known then: %v", len(v.Problems()), v.AsKnownAt(v.Recorded(v.AsOf().Known-1)).AsOf())
}

var verbs = []string{"why", "blast", "history", "show", "search", "path", "reach", "versions", "versions"}

// pace keeps a fold and its readers together, so that neither is done before
// the other has begun. Readers learn from the graph alone how far the fold is.
type pace struct {
	from, to uint64 // log sizes
	each     uint64 // questions of one reader
	asked    atomic.Uint64
}

// due gives how many questions a reader may have asked at a log size.
func (p *pace) due(size uint64) uint64 { return p.each * (size - p.from) / (p.to - p.from) }

// folder waits until half of the questions are asked that are due.
func (p *pace) folder(size uint64) {
	for p.asked.Load() < readers*p.due(size)/2 {
		runtime.Gosched()
	}
}

// reader asks at random while entries are folded, of a view that it takes
// anew or has held for some time.
func reader(g *graph.Graph, r *rand.Rand, names []string, p *pace) []question {
	var out []question
	held, notes := g.At(prov.Now), &graph.Reads{}
	for n := range p.each {
		for n > p.due(g.Size())+1 {
			runtime.Gosched()
		}
		if r.IntN(3) > 0 {
			asOf := prov.AsOf{Valid: prov.Forever, Known: prov.AllKnown}
			if r.IntN(2) == 0 {
				asOf.Valid = prov.At(hour(r.IntN(9)).Time)
			}
			if r.IntN(3) == 0 {
				asOf.Known = r.Uint64N(g.Size() + 1)
			}
			if held = g.At(asOf); r.IntN(2) == 0 { // as who follows findings reads
				notes.Begin(asOf.Valid)
				held = held.Noting(notes)
			}
		}
		at := held.AsOf()
		q := question{size: at.Known, valid: at.Valid, verb: verbs[r.IntN(len(verbs))], a: names[r.IntN(len(names))], b: names[r.IntN(len(names))]}
		q.answer = q.ask(held)
		out = append(out, q)
		p.asked.Add(1)
	}
	return out
}

// besides folds the history, from a snapshot at the given size on, while
// readers ask, and gives what they were answered.
func besides(t *testing.T, h history, from int, r *rand.Rand, names []string, each int) []question {
	t.Helper()
	g := h.fold(t, from)
	if from > 0 {
		var err error
		if g, err = graph.Decode(g.Encode()); err != nil {
			t.Fatal(err)
		}
	}
	p := &pace{from: uint64(from), to: uint64(len(h)), each: uint64(each)}
	var wait sync.WaitGroup
	got := make([][]question, readers)
	for i := range readers {
		own := rand.New(rand.NewPCG(r.Uint64(), 0))
		wait.Go(func() { got[i] = reader(g, own, names, p) })
	}
	for i := from; i < len(h); i++ {
		p.folder(uint64(i))
		if err := g.Fold(uint64(i), h[i].content); err != nil {
			panic(err) // readers wait for the fold
		}
		switch r.IntN(12) {
		case 0:
			g.Compact()
		case 1:
			if i%8 == 0 {
				g.Encode() // writes the graph down
			}
		}
	}
	wait.Wait()
	return slices.Concat(got...)
}

// TestReadersWhileFolding asks while entries are folded: each answer is that
// of a graph which was folded only so far and is left alone. It is run with
// the race detector by make test.
func TestReadersWhileFolding(t *testing.T) {
	for seed := range uint64(10) {
		h := (&maker{t: t, r: rand.New(rand.NewPCG(seed, 6))}).many(80)
		readersAgree(t, fmt.Sprintf("seed %d", seed), h, rand.New(rand.NewPCG(seed, 7)), 80)
	}
	for seed := range uint64(1) { // so large that tables and lists grow
		var h history
		o := gen.Typical(seed, 2000)
		o.Chain = 200
		for c := range gen.Entries(o) {
			h = append(h, said{content: c, copyOf: -1})
		}
		readersAgree(t, fmt.Sprintf("made history %d", seed), h, rand.New(rand.NewPCG(seed, 8)), 80)
	}
}

// many makes a history of n entries.
func (m *maker) many(n int) history {
	for len(m.h) < n {
		m.entry(true)
	}
	return m.h
}

func readersAgree(t *testing.T, where string, h history, r *rand.Rand, each int) {
	t.Helper()
	whole := h.fold(t, len(h))
	got := besides(t, h, r.IntN(2)*len(h)/3, r, names(whole.At(prov.Now)), each)
	slices.SortStableFunc(got, func(a, b question) int { return int(a.size) - int(b.size) })
	alone, earlier := graph.New(), 0
	for _, q := range got {
		h.foldInto(t, alone, int(q.size))
		if q.size < uint64(len(h)) {
			earlier++
		}
		if diff := cmp.Diff(q.ask(alone.At(prov.AsOf{Valid: q.valid, Known: prov.AllKnown})), q.answer); diff != "" {
			t.Fatalf("%s: %s %s %s at size %d of %d, valid %s (-folded so far +while folding):\n%s", where, q.verb, q.a, q.b, q.size, len(h), q.valid, diff)
		}
	}
	if earlier < len(got)/4 {
		t.Errorf("%s: of %d answers only %d are of the time of the fold", where, len(got), earlier)
	}
}
