package app

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// TestRecordFoldsAsTheLogDoes records random histories in batches, with
// duplicates in a batch and between batches, and with entries of another
// process in between, and wants the graph in memory to be that of the log.
func TestRecordFoldsAsTheLogDoes(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h := newHand(t, seed)
			for range 8 {
				before := h.w.Folded()
				n := len(h.batch(h.w))
				if got := h.w.Folded(); got != before+uint64(n) {
					t.Fatalf("the graph holds %d entries after %d new ones on %d", got, n, before)
				}
				h.compare()
				if h.r.IntN(3) == 0 {
					h.batch(h.other)
					h.batch(h.w)
					h.compare()
				}
			}
		})
	}
}

// TestRecordAtOnce records from several goroutines while others read: whoever
// folds first, the graph keeps up and is that of the log, and a view stays as
// it was.
func TestRecordAtOnce(t *testing.T) {
	h := newHand(t, 99)
	const callers, calls = 4, 10
	var envs [callers * calls][]byte
	for i := range envs {
		s, p := h.statement()
		s[0].Annotations = map[string]string{"n": fmt.Sprint(i)} // none is a duplicate
		var err error
		if envs[i], err = Envelope(t.Context(), h.key, s, p); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range calls {
				if _, err := h.w.Record(t.Context(), h.key.Principal, envs[c*calls+i]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() { h.readTo(len(envs)) })
	}
	wg.Wait()
	if got := h.w.Folded(); got != uint64(len(envs)) {
		t.Errorf("the graph holds %d entries of %d", got, len(envs))
	}
	h.compare()
}

// readTo reads the graph until it holds n entries.
func (h *hand) readTo(n int) {
	for size := uint64(0); size < uint64(n) && !h.t.Failed(); {
		g, head, err := h.w.Graph(context.Background())
		if err != nil {
			h.t.Error(err)
			return
		}
		if g.Size() < uint64(head.Size) || uint64(head.Size) < size {
			h.t.Errorf("the graph holds %d entries at the head %d, which was %d before", g.Size(), head.Size, size)
		}
		size = uint64(head.Size)
		v := g.At(prov.AsOf{Valid: prov.Forever, Known: size})
		was, _ := v.Search("", 0)
		if is, _ := v.Search("", 0); v.AsOf().Known != size || !slices.Equal(was, is) {
			h.t.Errorf("a view as of size %d is one of %d, and knew %d things and then %d", size, v.AsOf().Known, len(was), len(is))
		}
	}
}

type hand struct {
	t        *testing.T
	r        *rand.Rand
	w, other *Workspace
	key      keys.Key
	said     [][]byte
}

func newHand(t *testing.T, seed uint64) *hand {
	t.Helper()
	t.Setenv("STEMMA_CONFIG", t.TempDir())
	h := &hand{t: t, r: rand.New(rand.NewPCG(seed, 1))}
	h.key = keys.Key{Name: "test", Principal: prov.Ref{Kind: prov.Person, Name: "ann"}, Private: ed25519.NewKeyFromSeed(make([]byte, 32))}
	signer, vkey, err := keys.GenerateLogKey("test.example/log")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if h.w, err = Init(context.Background(), dir, Options{Origin: "test.example/log", Key: h.key, LogKey: signer, LogVKey: vkey}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.w.Close() })
	if h.other, err = Open(context.Background(), h.w.Dir, Options{}); err != nil {
		t.Fatal(err)
	}
	h.other.Log.Close()
	if h.other.Log, err = evlog.Open(context.Background(), h.w.Dir, evlog.Options{Signer: signer}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.other.Close() })
	return h
}

// batch records a few statements and gives those that were not there before.
func (h *hand) batch(w *Workspace) (fresh []uint64) {
	h.t.Helper()
	var envs [][]byte
	for range 1 + h.r.IntN(6) {
		if len(h.said) > 0 && h.r.IntN(5) == 0 {
			envs = append(envs, h.said[h.r.IntN(len(h.said))])
			continue
		}
		s, p := h.statement()
		env, err := Envelope(context.Background(), h.key, s, p)
		if err != nil {
			h.t.Fatal(err)
		}
		envs, h.said = append(envs, env), append(h.said, env)
	}
	out, err := w.Record(context.Background(), h.key.Principal, envs...)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, a := range out {
		if !a.Duplicate {
			fresh = append(fresh, a.Index)
		}
	}
	return fresh
}

func (h *hand) statement() ([]statement.Subject, statement.Predicate) {
	name := func() prov.Ref {
		r := prov.Ref{Kind: prov.Dataset, Name: string(rune('a' + h.r.IntN(4)))}
		if h.r.IntN(2) == 0 {
			r.Version = fmt.Sprint(h.r.IntN(3))
		}
		return r
	}
	at := statement.NewTime(time.Date(2026, 1, 1, h.r.IntN(24), 0, 0, h.r.IntN(3), time.UTC))
	about := []statement.Subject{statement.NewSubject(name(), nil)}
	switch h.r.IntN(5) {
	case 0:
		return about, &statement.Entity{State: "registered", At: at, Owner: "team:x"}
	case 1:
		return about, &statement.Entity{State: "same-as", SameAs: []statement.Resource{statement.NewResource(name(), nil)}}
	case 2:
		return about, &statement.Retraction{Entry: uint64(h.r.IntN(20)), Reason: "wrong", At: at}
	}
	return about, &statement.Activity{Kind: "train", ID: fmt.Sprintf("activity:r%d", h.r.IntN(5)), StartedAt: at,
		Used: []statement.Use{{Resource: statement.NewResource(name(), nil), Role: "in"}, {Resource: statement.NewResource(name(), nil)}}}
}

func (h *hand) compare() {
	h.t.Helper()
	got, head, err := h.w.Graph(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	want := graph.New()
	for e, err := range h.w.Log.Entries(context.Background(), 0, uint64(head.Size)) {
		if err == nil {
			err = want.Fold(e.Index, e.Content)
		}
		if err != nil {
			h.t.Fatal(err)
		}
	}
	if !bytes.Equal(got.Encode(), want.Encode()) {
		h.t.Fatalf("after %d entries the graph in memory is not the one that the log folds to", head.Size)
	}
}
