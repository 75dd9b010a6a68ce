package evlog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
)

// tesseraCheck has Tessera's own checker read an exported log.
func tesseraCheck(t *testing.T, dir string, o Options) error {
	t.Helper()
	hasher := func(b []byte) ([][]byte, error) {
		var bundle api.EntryBundle
		if err := bundle.UnmarshalText(b); err != nil {
			return nil, err
		}
		var out [][]byte
		for _, leaf := range bundle.Entries {
			out = append(out, rfc6962.DefaultHasher.HashLeaf(leaf))
		}
		return out, nil
	}
	return fsck.New(o.Origin, o.Verifier, client.FileFetcher{Root: dir}, hasher, fsck.Opts{N: 16}).Check(t.Context())
}

// TestExportPassesTesserasFsck grows one log and exports it again and again
// into one directory, and each size into an empty one as well.
func TestExportPassesTesserasFsck(t *testing.T) {
	k := newKey(t)
	l := create(t, t.TempDir(), k.opts)
	grown := t.TempDir()
	for _, size := range []int{0, 1, 255, 256, 257, 70000} {
		for from := int(head(t, l).Size); from < size; from += 10000 {
			mustAppend(t, l, items("a", from, min(from+10000, size)))
		}
		for what, dir := range map[string]string{"grown": grown, "new": filepath.Join(t.TempDir(), "x")} {
			h, err := l.Export(t.Context(), dir)
			if err != nil {
				t.Fatalf("%s, size %d: %v", what, size, err)
			}
			if h.Size != int64(size) {
				t.Fatalf("%s: exported size %d, want %d", what, h.Size, size)
			}
			if err := tesseraCheck(t, dir, k.opts); err != nil {
				t.Errorf("%s, size %d: %v", what, size, err)
			}
		}
	}
}

// TestTesserasFsckCanFail keeps to few tiles: Tessera's Check hangs when its
// workers have ended on a finding and more tiles follow than it has room for.
func TestTesserasFsckCanFail(t *testing.T) {
	k := newKey(t)
	l := create(t, t.TempDir(), k.opts)
	mustAppend(t, l, items("a", 0, 257))
	dir := t.TempDir()
	for i, broken := range []bool{true, false} { // exporting again mends
		if _, err := l.Export(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		if broken {
			flipFile(t, filepath.Join(dir, "tile/entries/000"), 40)
		}
		if err := tesseraCheck(t, dir, k.opts); (err != nil) != broken {
			t.Errorf("round %d: Tessera says %v, broken is %v", i, err, broken)
		}
	}
}

func flipFile(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestExportRefusesAnotherLogsDirectory(t *testing.T) {
	k := newKey(t)
	l := create(t, t.TempDir(), k.opts)
	mustAppend(t, l, items("a", 0, 20))
	other := create(t, t.TempDir(), newKey(t).opts)
	mustAppend(t, other, items("a", 0, 10))
	fork := create(t, t.TempDir(), k.opts) // the same key, other entries
	mustAppend(t, fork, items("fork", 0, 10))
	longer := create(t, t.TempDir(), k.opts)
	mustAppend(t, longer, items("a", 0, 30))
	for name, o := range map[string]*Log{"another key": other, "a fork": fork, "longer": longer} {
		dir := t.TempDir()
		if _, err := o.Export(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		before := tree(t, dir)
		if _, err := l.Export(t.Context(), dir); err == nil {
			t.Errorf("%s: exporting over it: it was not refused", name)
		}
		if after := tree(t, dir); after != before {
			t.Errorf("%s: the refused export changed files", name)
		}
	}
}

func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %x\n", path, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
