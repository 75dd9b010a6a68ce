package evlog

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/internal/durable"
)

// maxOpenBlobs is how many files a BlobBatch holds open.
const maxOpenBlobs = 256

// BlobBatch keeps many blobs with few waits for the disk: each is written to
// a temporary file, and Sync makes all of them durable together. Before Sync
// returns, none may be named by an entry; after it, all may.
type BlobBatch struct {
	blobs   Blobs
	pending []durable.Pending
	digests map[string]bool // of pending
}

// Batch begins a batch. Drop must be called when it is over.
func (b Blobs) Batch() *BlobBatch {
	b.sweep()
	return &BlobBatch{blobs: b, digests: map[string]bool{}}
}

// sweep removes temporary files that a killed process left a day ago or
// longer.
func (b Blobs) sweep() {
	list, _ := os.ReadDir(b.dir) // there may be none yet
	for _, e := range list {
		st, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), ".new-") && time.Since(st.ModTime()) > 24*time.Hour {
			_ = os.Remove(filepath.Join(b.dir, e.Name()))
		}
	}
}

// Put writes data, which costs nothing when it is kept already.
func (t *BlobBatch) Put(data []byte) (digest string, err error) {
	sum := sha256.Sum256(data)
	if digest = hex.EncodeToString(sum[:]); t.digests[digest] || t.blobs.Has(digest) {
		return digest, nil
	}
	if why := t.blobs.Erased(digest); why != nil {
		return "", fmt.Errorf("keeping evidence: %w", why)
	}
	if len(t.pending) >= maxOpenBlobs {
		if err := t.Sync(); err != nil {
			return "", err
		}
	}
	path := t.blobs.path(digest)
	if err = durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("keeping evidence: %w", explain(err))
	}
	f, err := os.CreateTemp(t.blobs.dir, ".new-*")
	if err != nil {
		return "", fmt.Errorf("keeping evidence: %w", explain(err))
	}
	if _, err = f.Write(data); err != nil {
		f.Close()
		_ = os.Remove(f.Name())
		return "", fmt.Errorf("keeping evidence: %w", explain(err))
	}
	t.pending = append(t.pending, durable.Pending{File: f, Path: path})
	t.digests[digest] = true
	return digest, nil
}

// Sync makes everything that was put durable, under its name.
func (t *BlobBatch) Sync() error {
	err := durable.FinishAll(t.pending)
	t.pending = t.pending[:0]
	clear(t.digests)
	if err != nil {
		return fmt.Errorf("keeping evidence: %w", explain(err))
	}
	return nil
}

// Drop removes what was put and not synced.
func (t *BlobBatch) Drop() {
	for _, p := range t.pending {
		p.File.Close()
		_ = os.Remove(p.File.Name())
	}
	t.pending = t.pending[:0]
	clear(t.digests)
}
