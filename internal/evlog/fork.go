package evlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/witness"
)

// ForkError says that the store does not continue a checkpoint that was
// published: entries were removed or rewritten behind our back, or an old copy
// was put back.
type ForkError struct {
	What      witness.Contradiction
	Published string // the signed checkpoint that was kept
	Place     string // where it was kept
	Size      int64  // what the store holds
	Evidence  string // the file that was written about it, "" if none could be
}

func (e *ForkError) Error() string {
	text := fmt.Sprintf("the store holds %d entries and does not continue the checkpoint in %s: %s. Nothing was changed. ", e.Size, e.Place, e.What.Explain())
	if e.Evidence != "" {
		text += fmt.Sprintf("Evidence is in %s (stemma log fork tells what it proves). ", e.Evidence)
	} else {
		text += "No evidence file could be written. "
	}
	return text + "Keep all of it for the inquiry, and restore a store that holds the checkpoint; docs/witness.md tells what to do if there is none"
}

// checkPublished refuses a store that does not continue the checkpoint beside
// it and those kept elsewhere, or whose hashes do not give its own checkpoint.
func (l *Log) checkPublished(ctx context.Context, write bool) error {
	// The files first: they are written after the store, so the store read
	// after them is never behind them while another process appends.
	beside := filepath.Join(l.dir, "checkpoint")
	text, rerr := os.ReadFile(beside)
	kept := map[string][]byte{}
	if l.kept != nil {
		var err error
		if kept, err = l.kept(l.key); err != nil {
			return err
		}
	}
	h, err := l.Head(ctx)
	if err != nil {
		return err
	}
	if err = rerr; errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: the file checkpoint beside log.db is missing, so it cannot be told whether entries were removed; restore it, or put the last checkpoint that you gave out in its place", ErrCorrupt)
	} else if err != nil {
		return err
	}
	size, err := l.continues(ctx, h, text, beside, write)
	if err != nil {
		return err
	}
	for place, text := range kept {
		if _, err := l.continues(ctx, h, text, place, write); err != nil {
			return err
		}
	}
	if size < h.Size {
		if root, err := l.RootAt(ctx, h.Size); err != nil {
			return err
		} else if root != h.Root {
			return l.damaged(h, root)
		}
		if write {
			return l.publish(ctx)
		}
	}
	return nil
}

func (l *Log) damaged(h Head, root tlog.Hash) error {
	return fmt.Errorf("%w: its hashes give the root %s for %d entries, and %s was signed; stemma log fsck cannot be run on it, restore it from a backup", ErrCorrupt, root, h.Size, h.Root)
}

// continues checks the store against one published checkpoint, and gives the
// size of that.
func (l *Log) continues(ctx context.Context, h Head, text []byte, place string, write bool) (int64, error) {
	p, err := ParseCheckpoint(text, l.verifier)
	var unknown *note.UnverifiedNoteError
	switch {
	case errors.As(err, &unknown) && strings.HasPrefix(string(text), l.origin+"\n"):
		f := witness.Fork{Key: l.publicKey(text), Known: text, Shown: h.Checkpoint}
		return 0, l.forked(f, witness.OtherKey, h, place, write)
	case err != nil:
		return 0, fmt.Errorf("%w: the published checkpoint in %s: %v", ErrCorrupt, place, err)
	}
	f := witness.Fork{Key: l.key, Known: text, Shown: h.Checkpoint}
	if p.Size > h.Size {
		return p.Size, l.forked(f, witness.WentBack, h, place, write)
	}
	root, err := l.RootAt(ctx, p.Size)
	if err != nil || root == p.Root {
		return p.Size, err
	}
	f.Root = &root
	if p.Size > 0 && p.Size < h.Size {
		if f.Proof, err = l.Consistency(ctx, uint64(p.Size), uint64(h.Size)); err != nil {
			return p.Size, err
		}
	}
	what, err := f.Check(l.verifier)
	if err != nil {
		return p.Size, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if what == witness.Damaged {
		return p.Size, l.damaged(Head{Size: p.Size, Root: p.Root}, root)
	}
	return p.Size, l.forked(f, what, h, place, write)
}

// publicKey finds the key that signed a checkpoint in log.pub, which is kept
// beside the store; else the store's own.
func (l *Log) publicKey(signed []byte) string {
	b, err := os.ReadFile(filepath.Join(l.dir, "log.pub"))
	key := strings.TrimSpace(string(b))
	if v, verr := note.NewVerifier(key); err == nil && verr == nil {
		if _, err := ParseCheckpoint(signed, v); err == nil {
			return key
		}
	}
	return l.key
}

// forked writes the evidence and gives the error.
func (l *Log) forked(f witness.Fork, what witness.Contradiction, h Head, place string, write bool) error {
	fe := &ForkError{What: what, Published: string(f.Known), Place: place, Size: h.Size}
	f.Found, f.By = l.now(), "start-up"
	name := filepath.Join(l.dir, f.FileName())
	_, err := os.Stat(name) // written before: found anew by every start
	if err == nil || write && durable.WriteFile(name, witness.FormatFork(f), 0o644) == nil {
		fe.Evidence = name
	}
	return fe
}
