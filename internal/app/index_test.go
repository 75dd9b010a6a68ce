package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"github.com/stemma-lineage/stemma/internal/index"
	"github.com/stemma-lineage/stemma/vindex"
)

// lineKeys gives each entry a key of its own and one of sixteen.
var lineKeys = index.Keys{Version: "test/v1", Of: func(_ uint64, content []byte) []vindex.Key {
	h := sha256.Sum256(content)
	return []vindex.Key{h, {h[0] & 15}}
}}

// plainRoot indexes the log from its beginning.
func plainRoot(t *testing.T, w *Workspace, size uint64) vindex.Hash {
	t.Helper()
	x := index.New(lineKeys)
	for e, err := range w.Log.Entries(context.Background(), 0, size) {
		if err == nil {
			err = x.Apply(e.Index, e.Content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := x.Root(size)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// wantIndex asks a workspace for its index and compares it with the log; it
// tells how many of its entries came out of the file.
func wantIndex(t *testing.T, w *Workspace) (fromFile uint64) {
	t.Helper()
	x, h, err := w.Index(context.Background(), lineKeys)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []uint64{uint64(h.Size), uint64(h.Size) / 2} {
		if root, err := x.Root(size); err != nil || root != plainRoot(t, w, size) {
			t.Fatalf("root at %d: %x %v", size, root, err)
		}
	}
	if err := w.CheckIndex(context.Background(), lineKeys); err != nil {
		t.Fatal(err)
	}
	return w.kept.saved
}

func TestIndexFollowsTheLog(t *testing.T) {
	h := newHand(t, 1)
	wantIndex(t, h.w)
	for range 4 {
		h.batch(h.w)
		wantIndex(t, h.w)
		h.batch(h.other)
		h.batch(h.w)
		wantIndex(t, h.w)
	}
}

// TestIndexFile puts all kinds of files where the index file is; the index is
// that of the log each time.
func TestIndexFile(t *testing.T) {
	h := newHand(t, 2)
	h.batch(h.w)
	wantIndex(t, h.w)
	save := func(h *hand) []byte {
		x, _, err := h.w.Index(context.Background(), lineKeys)
		if err != nil {
			t.Fatal(err)
		}
		h.w.saveIndex(context.Background(), x)
		b, err := os.ReadFile(h.w.indexPath())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	early := save(h)
	h.batch(h.w)
	good := save(h)
	foreign := newHand(t, 3)
	foreign.batch(foreign.w)
	path := h.w.indexPath()
	for _, c := range []struct {
		what string
		file []byte // nil: none
		used bool
	}{
		{"the newest", good, true},
		{"of an earlier size", early, true},
		{"none", nil, false},
		{"empty", []byte{}, false},
		{"cut", good[:len(good)-5], false},
		{"damaged", append(bytes.Clone(good[:len(good)-9]), "otherwise"...), false},
		{"of another log", save(foreign), false},
	} {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if c.file != nil {
			if err := os.WriteFile(path, c.file, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		// What a writer leaves that was killed is in nobody's way.
		if err := os.WriteFile(filepath.Join(h.w.Dir, ".index-123"), good[:20], 0o600); err != nil {
			t.Fatal(err)
		}
		w, err := Open(context.Background(), h.w.Dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if from := wantIndex(t, w); (from > 0) != c.used {
			t.Errorf("%s: %d entries came out of the file", c.what, from)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestIndexFileAhead has a file of a longer history than the log.
func TestIndexFileAhead(t *testing.T) {
	h := newHand(t, 4)
	h.batch(h.w)
	for range 3 {
		h.batch(h.other)
	}
	x := index.New(lineKeys)
	for i := range uint64(100) {
		if err := x.Apply(i, []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Save(h.w.indexPath(), vindex.Hash{}); err != nil {
		t.Fatal(err)
	}
	if from := wantIndex(t, h.w); from != 0 {
		t.Errorf("%d entries came out of a file that is ahead of the log", from)
	}
}

// TestIndexFileIsWritten has enough entries for the file to be written by
// itself.
func TestIndexFileIsWritten(t *testing.T) {
	h := newHand(t, 5)
	for n := 0; n < indexKeep; {
		n += len(h.batch(h.w))
	}
	if from := wantIndex(t, h.w); from < indexKeep {
		t.Errorf("the file has %d entries", from)
	}
}
