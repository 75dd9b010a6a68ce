package app

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/stemma-lineage/stemma/bundle"
	"github.com/stemma-lineage/stemma/internal/proof"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

func verifier(t *testing.T, w *Workspace) note.Verifier {
	t.Helper()
	v, err := note.NewVerifier(w.Log.Key())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (h *hand) say(n int) {
	h.t.Helper()
	for range n {
		h.batch(h.w)
	}
}

// TestSeal seals a log, and again only when something was appended.
func TestSeal(t *testing.T) {
	h := newHand(t, 7)
	if _, err := h.w.Sealed(t.Context()); !errors.Is(err, ErrUnsealed) {
		t.Fatalf("an empty log: %v", err)
	}
	h.say(3)
	at, err := h.w.Seal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.w.Seal(t.Context())
	if err != nil || again != at {
		t.Fatalf("sealed twice: %d, %d, %v", at, again, err)
	}
	h.say(2)
	if _, err := h.w.Sealed(t.Context()); !errors.Is(err, ErrUnsealed) {
		t.Fatalf("more was recorded, and it is still sealed: %v", err)
	}
	q := proof.Question{Verb: proof.Unused, Thing: proof.Thing{Ref: "dataset:d0@1"}, Accept: statement.Observed}
	if _, _, _, err := h.w.Prove(t.Context(), q, at); err != nil {
		t.Fatal(err) // the older root is good for ever
	}
	if at, err = h.w.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, a, _, err := h.w.Prove(t.Context(), q, at)
	if err != nil {
		t.Fatal(err)
	}
	res, err := bundle.Verify(b, verifier(t, h.w), nil)
	if err != nil || res.Proof.Verdict != a.Verdict || a.Covered != at {
		t.Errorf("%v, %+v", err, a)
	}
	h.compare()
}

// TestFalseRoot appends a root of the index that somebody made up: it counts
// for nothing, and the next proof stands on one that is true.
func TestFalseRoot(t *testing.T) {
	h := newHand(t, 8)
	h.say(2)
	head, err := h.w.Log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	x := &statement.Index{Version: statement.IndexVersion, Size: uint64(head.Size), Root: strings.Repeat("0", 64)}
	if _, err := h.w.Say(t.Context(), h.key, []statement.Subject{statement.NewSubject(prov.Ref{Kind: prov.Resource, Name: "log/x"}, nil)}, x); err != nil {
		t.Fatal(err)
	}
	if _, err := h.w.Sealed(t.Context()); !errors.Is(err, ErrUnsealed) {
		t.Fatalf("a root that the log has not signed: %v", err)
	}
	at, err := h.w.Seal(t.Context())
	if err != nil || at != uint64(head.Size)+1 {
		t.Errorf("sealed at %d, %v", at, err)
	}
}

// TestSealAtOnce seals while others record.
func TestSealAtOnce(t *testing.T) {
	h := newHand(t, 9)
	h.say(1)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := h.w.Seal(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	h.say(3)
	wg.Wait()
	at, err := h.w.Seal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	q := proof.Question{Verb: proof.Blast, Thing: proof.Thing{Ref: "dataset:d0@1"}, Accept: statement.Observed}
	if _, _, _, err := h.w.Prove(t.Context(), q, at); err != nil {
		t.Error(err)
	}
}
