package query_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/bundle"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/proof"
	"github.com/stemma-lineage/stemma/internal/prooftest"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

func (h history) sealed(t testing.TB) *prooftest.Log {
	t.Helper()
	var contents [][]byte
	for _, s := range h {
		contents = append(contents, s.content)
	}
	l, err := prooftest.New(contents, prooftest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// questions gives some questions about a thing.
func (h history) questions(r *rand.Rand, key string) []proof.Question {
	accept := proof.Classes[r.IntN(len(proof.Classes))]
	at := epoch.Add(4*60*1e9*60 + 1)
	q := proof.Question{Verb: proof.Unused, Thing: proof.ThingOf(key), Accept: accept}
	if ref, err := prov.ParseKey(key); err == nil && ref.Version == "" && ref.Kind.Versioned() && !ref.IsDigest() {
		q.Versions = r.IntN(2) == 0
	}
	out := []proof.Question{q}
	size := q
	size.Size = uint64(r.IntN(len(h) + 1))
	timed := q
	at = recorded(r.IntN(len(h))).Add(1)
	if r.IntN(2) == 0 {
		at = hour(r.IntN(9)).Time
	}
	timed.After = prov.At(at).String()
	for _, s := range h {
		if s.at.Before(at) {
			timed.Size++
		}
	}
	out = append(out, size, timed)
	for _, verb := range []string{proof.Blast, proof.Why, proof.Approvals} {
		x := q
		x.Verb = verb
		out = append(out, x)
	}
	return out
}

// TestVerdicts compares verdicts with what the graph of the whole log says.
func TestVerdicts(t *testing.T) {
	seen := map[proof.Verdict]int{}
	for seed := range uint64(provedHistories) {
		h := random(t, seed, true)
		if seed%2 == 1 {
			h = rich(t, seed)
		}
		l, g := h.sealed(t), h.fold(t, len(h))
		v := g.At(prov.Now)
		r := rand.New(rand.NewPCG(seed, 3))
		for _, id := range all(v) {
			for _, q := range h.questions(r, string(v.Key(id))) {
				a, err := proof.Ask(l, q, uint64(len(h)))
				if err != nil {
					t.Fatalf("seed %d: %+v: %v", seed, q, err)
				}
				seen[a.Verdict]++
				if q.Verb == proof.Unused && !q.Versions {
					if why := h.contradicts(v, id, a); why != "" {
						t.Errorf("seed %d: %+v: %s; %s\n%s", seed, q, a.Verdict, why, a.Text(proof.Log{}))
						h.log(t)
						return
					}
				}
			}
		}
	}
	for _, x := range []proof.Verdict{proof.ProvenAbsent, proof.ProvenNotAfter, proof.ProvenComplete, proof.Used, proof.Inconclusive} {
		if seen[x] < provedHistories/10 {
			t.Errorf("verdicts: %v; too few %s", seen, x)
		}
	}
}

// contradicts holds a verdict of the question unused against the relations of
// the graph, one by one.
func (h history) contradicts(v graph.View, id graph.ID, a *proof.Answer) string {
	n, at := int(a.After.Size), prov.Beginning
	if a.After.Time != "" {
		x, err := prov.ParseTime(a.After.Time)
		if err != nil {
			return err.Error()
		}
		at = prov.At(x)
	}
	closure := query.Closure(v, id, true)
	any, late, notBefore := false, false, false
	for _, key := range closure {
		for r := range v.In(v.LookupKey(key)) {
			x := v.Relation(r)
			from := string(v.Key(x.From))
			if !query.Lineage.Has(x.Type) || x.Type == prov.SameAs || !slices.Contains(closure, from) || retires(h[x.Entry]) {
				continue
			}
			if (x.Type == prov.GeneratedBy || x.Type == prov.GeneratedByStated) && key != string(v.Key(id)) {
				continue
			}
			any = true
			dated := h.dated(v, x)
			late = late || int(x.Entry) >= n && x.Valid.From >= at && (dated || n == 0 && a.Question.After == "")
			notBefore = notBefore || int(x.Entry) >= n || x.Valid.From >= at && dated
		}
	}
	switch a.Verdict {
	case proof.Used:
		if !late {
			return "no relation of the graph was recorded at or after T and is dated then"
		}
	case proof.ProvenAbsent:
		if any {
			return "the graph has a use"
		}
	case proof.ProvenNotAfter:
		if !any || notBefore {
			return "the graph has no use, or one that is not before T"
		}
	case proof.Inconclusive:
		if len(a.Doubts) == 0 {
			return "there is no doubt"
		}
	}
	// Relations within the closure that the walk does not follow (an activity
	// that is reached in part) make late true here and not there.
	if late && a.Verdict != proof.Used && !h.partial(a, at, n) {
		return "the graph has a use at or after T"
	}
	return ""
}

// partial tells whether every late relation of the graph is one that the
// closure does not follow.
func (h history) partial(a *proof.Answer, at prov.Instant, n int) bool {
	for _, u := range a.Uses {
		if u.When == "after" {
			return false
		}
	}
	return true
}

func retires(s said) bool {
	d, ok := s.pred.(*statement.Deployment)
	return ok && d.Action == "retire"
}

// dated tells whether an entry says when a relation held.
func (h history) dated(v graph.View, x graph.Relation) bool {
	switch p := h[x.Entry].pred.(type) {
	case *statement.Activity:
		for _, u := range p.Used {
			if !u.At.IsZero() && prov.At(u.At.Time) == x.Valid.From {
				return true
			}
		}
		act := x.From
		if x.Type == prov.GeneratedBy || x.Type == prov.GeneratedByStated {
			act = x.To
		}
		if x.Type == prov.DerivedFrom {
			r, _ := prov.ParseRef(p.ID)
			r, _ = r.InNamespace(p.Namespace)
			act = v.Lookup(r)
		}
		c, ok := v.Times(act)
		return ok && (c.Start != prov.Beginning || c.End != prov.Beginning || c.First != prov.Beginning)
	case *statement.Deployment:
		return !p.At.IsZero()
	case *statement.Approval:
		return !p.DecidedAt.IsZero()
	case *statement.Entity:
		return !p.At.IsZero()
	case *statement.Delegation:
		return !p.IssuedAt.IsZero()
	case *statement.Identity:
		return !p.At.IsZero()
	}
	return true
}

// TestRemoval removes from proofs one entry after the other, and one item of a
// list after the other: none holds.
func TestRemoval(t *testing.T) {
	removed := 0
	for seed := range uint64(30) {
		h := rich(t, seed)
		l := h.sealed(t)
		v := h.fold(t, len(h)).At(prov.Now)
		r := rand.New(rand.NewPCG(seed, 4))
		ids := all(v)
		for range 3 {
			qs := h.questions(r, string(v.Key(ids[r.IntN(len(ids))])))
			q := qs[r.IntN(len(qs))]
			p, err := l.Prove(q)
			if err == nil {
				_, _, _, err = bundle.WriteProof(p, l.Verifier)
			}
			if err != nil {
				t.Fatalf("seed %d: %+v: %v", seed, q, err)
			}
			holds := func(what string) {
				removed++
				if _, a, _, err := bundle.WriteProof(p, l.Verifier); err == nil {
					t.Errorf("seed %d: %+v: without %s it still holds: %s", seed, q, what, a.Verdict)
				}
			}
			for i, c := range p.Entries {
				delete(p.Entries, i)
				holds(fmt.Sprintf("entry %d", i))
				p.Entries[i] = c
			}
			for name, list := range p.Lists {
				delete(p.Lists, name)
				holds(fmt.Sprintf("the list %v", name))
				for i := range list {
					p.Lists[name] = slices.Delete(slices.Clone(list), i, i+1)
					holds(fmt.Sprintf("item %d of the list %v", i, name))
				}
				p.Lists[name] = list
			}
		}
	}
	if removed < 1000 {
		t.Errorf("only %d removals", removed)
	}
}

// TestSecondVerifier has bundles of random histories verified by the other
// program, which must come to the same words.
func TestSecondVerifier(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	want := map[string]string{}
	key := ""
	for seed := range uint64(secondHistories) {
		h := rich(t, seed)
		if seed%3 == 0 {
			h = random(t, seed, true)
		}
		l := h.sealed(t)
		v := h.fold(t, len(h)).At(prov.Now)
		r := rand.New(rand.NewPCG(seed, 5))
		ids := all(v)
		for i := range 6 {
			qs := h.questions(r, string(v.Key(ids[r.IntN(len(ids))])))
			p, err := l.Prove(qs[i%len(qs)])
			if err != nil {
				t.Fatal(err)
			}
			b, _, text, err := bundle.WriteProof(p, l.Verifier)
			if err != nil {
				t.Fatalf("seed %d: %+v: %v", seed, p.Question, err)
			}
			name := filepath.Join(dir, fmt.Sprintf("%d-%d.zip", seed, i))
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			want[name], key = text, l.Key
		}
	}
	script := filepath.Join(dir, "all.py")
	if err := os.WriteFile(script, []byte(secondScript), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, script, filepath.Join("..", "..", "tools"), key, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, part := range bytes.Split(out, []byte("\x00")) {
		name, text, ok := strings.Cut(string(part), "\n")
		if !ok {
			continue
		}
		if text != want[name] {
			t.Errorf("%s: the second verifier says\n%s\nnot\n%s", filepath.Base(name), text, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("%d bundles were not verified", len(want))
	}
}

const secondHistories = 60

const secondScript = `import glob, os, sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import verify
key = verify.LogKey(sys.argv[2])
for name in sorted(glob.glob(os.path.join(sys.argv[3], "*.zip"))):
    try:
        words = verify.Bundle(open(name, "rb").read()).verify(key)[1]
    except verify.Bad as e:
        words = "it does not hold: %s" % e
    sys.stdout.buffer.write((name + "\n" + words + "\0").encode())
`
