package app

import (
	"io"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/internal/witnessing"
	"github.com/stemma-lineage/stemma/witness"
)

// TestEvidenceGivesTheSameBounds: what is exported for an offline verifier
// says the same about a moment as the workspace does.
func TestEvidenceGivesTheSameBounds(t *testing.T) {
	h := newHand(t, 5)
	d, err := witnessing.InitDir(filepath.Join(t.TempDir(), "w"), "witness.example/w")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.AddLog(h.w.Log.Key()); err != nil {
		t.Fatal(err)
	}
	handler, err := witnessing.NewServer(d, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(handler)
	defer s.Close()
	if err := h.w.SetPolicy("witness w " + d.Key() + " " + s.URL + "\nquorum w\n"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		h.batch(h.w)
		if out, err := h.w.Publish(t.Context()); err != nil || !out.Checkpoint.Quorum {
			t.Fatalf("%+v %v", out, err)
		}
	}
	published, err := h.w.Log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for len(h.batch(h.w)) == 0 { // recorded and not published
	}
	for size, want := range map[int64]int{0: 1, published.Size: 1, published.Size + 1: 0} {
		if n, err := h.w.Witnessed(t.Context(), size); err != nil || n != want {
			t.Errorf("%d entries are witnessed by %d, %v; want %d", size, n, err, want)
		}
	}
	head, err := h.w.Log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(h.w.Log.Key())
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{time.Unix(0, 0), time.Now().Add(time.Hour)} {
		want, p, err := h.w.Bounds(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		list, err := h.w.Evidence(t.Context(), at, head.Size)
		if err != nil {
			t.Fatal(err)
		}
		seen, err := witness.OpenEvidence(list, tlog.Tree{N: head.Size, Hash: head.Root}, v, p)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, witness.BoundsAt(at, seen, nil, p)); d != "" || want.Lower == nil && want.Upper == nil {
			t.Errorf("at %s the workspace says %s\n%s", at, want, d)
		}
	}
}
