package evlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBlobs(t *testing.T) {
	b := OpenBlobs(filepath.Join(t.TempDir(), "evidence"))
	if n, f, err := b.Fsck(); n != 0 || f != nil || err != nil {
		t.Errorf("Fsck before the first blob: %d %q %v", n, f, err)
	}
	want := "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" // SHA-256 of "hello"
	for range 2 {
		d, n, err := b.Put(strings.NewReader("hello"))
		if d != want || n != 5 || err != nil {
			t.Fatalf("Put gives %s, %d, %v", d, n, err)
		}
	}
	if n, f, err := b.Fsck(); n != 1 || f != nil || err != nil {
		t.Errorf("Fsck: %d blobs, findings %q, %v; want 1 blob", n, f, err)
	}
	r, err := b.Open(want)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); string(got) != "hello" || err != nil {
		t.Errorf("read %q (%v)", got, err)
	}
	for _, name := range []string{strings.Repeat("0", 64), "", "ab", "../../../../etc/passwd", strings.Repeat("/", 64), strings.ToUpper(want)} {
		if _, err := b.Open(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("Open %q: %v, want ErrNotFound", name, err)
		}
	}
	flipFile(t, b.path(want), 3)
	if n, f, err := b.Fsck(); n != 1 || len(f) != 1 || !strings.Contains(f[0], want) || err != nil {
		t.Errorf("Fsck after a flipped byte: %d %q %v, want one finding about %s", n, f, err, want)
	}
}

func TestBlobThatCannotBeReadLeavesNothing(t *testing.T) {
	b := OpenBlobs(t.TempDir())
	broken := io.MultiReader(strings.NewReader("half"), iotestErr{})
	if _, _, err := b.Put(broken); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Put of a broken stream: %v", err)
	}
	if list, _ := os.ReadDir(b.dir); len(list) != 0 {
		t.Errorf("files are left: %v", list)
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestBlobStreams64MB(t *testing.T) {
	const size = 64 << 20
	var seed [32]byte
	h := sha256.New()
	b := OpenBlobs(t.TempDir())
	d, n, err := b.Put(io.TeeReader(io.LimitReader(rand.NewChaCha8(seed), size), h))
	if err != nil || n != size || d != hex.EncodeToString(h.Sum(nil)) {
		t.Fatalf("Put gives %s, %d, %v", d, n, err)
	}
	r, err := b.Open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	back := sha256.New()
	if n, err := io.Copy(back, r); n != size || err != nil || !bytes.Equal(back.Sum(nil), h.Sum(nil)) {
		t.Errorf("%d bytes came back (%v), or other ones", n, err)
	}
}

func TestBlobBatch(t *testing.T) {
	b := OpenBlobs(filepath.Join(t.TempDir(), "evidence"))
	batch := b.Batch()
	defer batch.Drop()
	want := map[string][]byte{}
	for i := range 2*maxOpenBlobs + 10 {
		data := []byte(strings.Repeat("x", i/2)) // each twice
		d, err := batch.Put(data)
		if err != nil {
			t.Fatal(err)
		}
		want[d] = data
	}
	if err := batch.Sync(); err != nil {
		t.Fatal(err)
	}
	for d, data := range want {
		r, err := b.Open(d)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		r.Close()
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%s: %d bytes came back (%v), want %d", d, len(got), err, len(data))
		}
	}
	if n, f, err := b.Fsck(); n != len(want) || f != nil || err != nil {
		t.Errorf("Fsck: %d blobs, findings %q, %v; want %d blobs", n, f, err, len(want))
	}
	d, err := batch.Put([]byte("not synced"))
	if err != nil || b.Has(d) {
		t.Errorf("a blob has its name before it is synced (%v)", err)
	}
	batch.Drop()
	old := filepath.Join(b.dir, ".new-old")
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	b.Batch()
	if list, _ := filepath.Glob(filepath.Join(b.dir, ".new-*")); len(list) != 0 {
		t.Errorf("temporary files are left: %v", list)
	}
}

func TestBlobBatchThatCannotBeSynced(t *testing.T) {
	b := OpenBlobs(t.TempDir())
	batch := b.Batch()
	for _, s := range []string{"one", "two"} {
		if _, err := batch.Put([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	batch.pending[1].File.Close() // as a disk that fails
	if err := batch.Sync(); err == nil {
		t.Error("Sync says that all is well")
	}
	if n, _, err := b.Fsck(); n != 0 || err != nil {
		t.Errorf("%d blobs have their names (%v), want none", n, err)
	}
	if list, _ := filepath.Glob(filepath.Join(b.dir, ".new-*")); len(list) != 0 {
		t.Errorf("temporary files are left: %v", list)
	}
}
