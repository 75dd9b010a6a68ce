package app

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/index"
)

// kept is the verifiable index that a workspace keeps in memory.
type kept struct {
	mu    sync.Mutex // held to apply entries, and to write the file; guards the rest
	index *index.Index
	saved uint64 // size of the index file
}

// indexKeep is how many entries may be indexed anew at each start before the
// index file is written again.
const indexKeep = 500

// Index gives the verifiable index of the whole log: out of the index file
// where that is good and of this log, and applied from there. What is recorded
// later is applied by the next call. All calls must name the same keys.
func (w *Workspace) Index(ctx context.Context, keys index.Keys) (*index.Index, evlog.Head, error) {
	h, err := w.Log.Head(ctx)
	if err != nil {
		return nil, h, err
	}
	w.kept.mu.Lock()
	defer w.kept.mu.Unlock()
	if w.kept.index == nil {
		w.kept.index, w.kept.saved = w.loadIndex(ctx, h, keys)
	}
	x := w.kept.index
	if size := uint64(h.Size); x.Size() < size {
		if err := applyAll(ctx, w.Log, x, size, w.progress); err != nil {
			return nil, h, err
		}
	}
	if x.Size() >= w.kept.saved+indexKeep {
		w.saveIndex(ctx, x)
	}
	return x, h, nil
}

// applyAll takes the entries of a log up to size into an index.
func applyAll(ctx context.Context, l *evlog.Log, x *index.Index, size uint64, progress func(done, total uint64)) error {
	from := x.Size()
	for e, err := range l.Entries(ctx, from, size) {
		if err == nil {
			err = x.Apply(e.Index, e.Content)
		}
		if err != nil {
			return fmt.Errorf("indexing the log: %w", err)
		}
		if done := e.Index + 1; progress != nil && ((done-from)%2000 == 0 || done == size) {
			progress(done-from, size-from)
		}
	}
	return nil
}

func (w *Workspace) indexPath() string { return filepath.Join(w.Dir, "index") }

// loadIndex reads the index file. Whatever is wrong with it, the log is there.
func (w *Workspace) loadIndex(ctx context.Context, h evlog.Head, keys index.Keys) (*index.Index, uint64) {
	x, logRoot, err := index.Load(w.indexPath(), keys)
	if err != nil || x.Size() > uint64(h.Size) {
		return index.New(keys), 0
	}
	root, err := w.Log.RootAt(ctx, int64(x.Size()))
	if err != nil || root != logRoot {
		return index.New(keys), 0
	}
	return x, x.Size()
}

// saveIndex writes the index file. It is derived; a failure to write it is no
// failure.
func (w *Workspace) saveIndex(ctx context.Context, x *index.Index) {
	root, err := w.Log.RootAt(ctx, int64(x.Size()))
	if err == nil && x.Save(w.indexPath(), root) == nil {
		w.kept.saved = x.Size()
	}
}

// CheckIndex builds the index anew from the log and compares the roots, and the
// lists of the index with its root. It tells the first thing that differs.
func (w *Workspace) CheckIndex(ctx context.Context, keys index.Keys) error {
	x, h, err := w.Index(ctx, keys)
	if err != nil {
		return err
	}
	size := uint64(h.Size)
	anew := index.New(keys)
	if err := applyAll(ctx, w.Log, anew, size, w.progress); err != nil {
		return err
	}
	want, err := anew.Root(size)
	if err != nil {
		return err
	}
	got, err := x.Root(size)
	if err == nil && got != want {
		err = fmt.Errorf("the index has at %d entries the root %x, and the log gives %x; remove %s, it is built again", size, got, want, w.indexPath())
	}
	if err == nil {
		err = x.Check()
	}
	return err
}
