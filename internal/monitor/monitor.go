// Package monitor follows another log by its tiles (C2SP tlog-tiles): each new
// checkpoint must continue the one seen before, and every entry must hash to
// it. It keeps the last checkpoint, and evidence when a log has two histories.
package monitor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/witness"
)

// ErrTiles says that tiles or entries do not hash to the signed checkpoint.
// They may be damaged on the way; no second history was signed.
var ErrTiles = errors.New("the log's tiles do not give its checkpoint")

// ForkError says that the log does not continue what it showed before.
type ForkError struct {
	What         witness.Contradiction
	Known, Shown int64  // sizes; Shown is -1 where the signature is another's
	Evidence     string // the file about it
}

func (e *ForkError) Error() string {
	shows := fmt.Sprintf("shows %d now", e.Shown)
	if e.Shown < 0 {
		shows = "shows another key's checkpoint now"
	}
	return fmt.Sprintf("the log showed %d entries before and %s, and does not continue: %s. Evidence is in %s; "+
		"keep it and ask the operator. The last checkpoint that held stays kept", e.Known, shows, e.What.Explain(), e.Evidence)
}

// Monitor follows one log.
type Monitor struct {
	Source Source
	Key    string          // the log's verifier key
	Policy *witness.Policy // nil: cosignatures are not looked at
	State  string          // the file of the last checkpoint that held; evidence is written beside it
	Now    func() time.Time
	// Leaf is told every new leaf, in order, before the checkpoint is kept; an
	// error of it refuses the checkpoint. Here the verifiable index is computed
	// anew where the contents of the entries can be had: the leaves of a Stemma
	// log are commitments (docs/format-log.md).
	Leaf func(index int64, leaf []byte) error
}

// Seen is what a look at the log found.
type Seen struct {
	Checkpoint witness.Checkpoint
	Before     int64 // size of the last checkpoint
	First      bool  // there was none
}

// Look reads the newest checkpoint, checks it against the last, and all
// entries since then against it, and keeps it.
func (m *Monitor) Look(ctx context.Context) (Seen, error) {
	log, err := note.NewVerifier(m.Key)
	if err != nil {
		return Seen{}, fmt.Errorf("the log's key: %w", err)
	}
	last, known, err := m.last(log)
	if err != nil {
		return Seen{}, err
	}
	signed, err := m.Source.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return Seen{}, err
	}
	cp, err := witness.Open(signed, log, m.Policy)
	if err != nil {
		f := witness.Fork{Known: known, Shown: signed}
		if what, ferr := f.Check(log); known != nil && ferr == nil && what == witness.OtherKey {
			return Seen{}, m.forked(f, what, last.N, -1)
		}
		return Seen{}, err
	}
	seen := Seen{Checkpoint: cp, Before: last.N, First: known == nil}
	if known != nil {
		if err := m.continues(ctx, last, known, cp, log); err != nil {
			return seen, err
		}
	}
	if err := m.leaves(ctx, cp.Tree, last.N); err != nil {
		return seen, err
	}
	if known != nil && last == cp.Tree && len(cp.Cosignatures) == 0 {
		return seen, nil
	}
	if err := os.MkdirAll(filepath.Dir(m.State), 0o755); err != nil {
		return seen, fmt.Errorf("keeping the checkpoint: %w", err)
	}
	if err := durable.WriteFile(m.State, cp.Note(), 0o644); err != nil {
		return seen, fmt.Errorf("keeping the checkpoint: %w", err)
	}
	return seen, nil
}

// last gives the tree that was seen last and its signed checkpoint; nil: none.
func (m *Monitor) last(log note.Verifier) (tlog.Tree, []byte, error) {
	b, err := os.ReadFile(m.State)
	if errors.Is(err, os.ErrNotExist) {
		return tlog.Tree{}, nil, nil
	} else if err != nil {
		return tlog.Tree{}, nil, fmt.Errorf("reading the last checkpoint: %w", err)
	}
	c, err := witness.Open(b, log, nil)
	if err != nil {
		return tlog.Tree{}, nil, fmt.Errorf("reading the last checkpoint from %s: %w; restore it from a copy, or name another file with --state to begin anew", m.State, err)
	}
	return c.Tree, c.Signed(), nil
}

// continues checks that a checkpoint continues the last one.
func (m *Monitor) continues(ctx context.Context, last tlog.Tree, known []byte, cp witness.Checkpoint, log note.Verifier) error {
	f := witness.Fork{Known: known, Shown: cp.Signed()}
	if cp.Tree.N > last.N && last.N > 0 {
		r := torchwood.TileHashReaderWithContext(ctx, cp.Tree, m.Source)
		root, err := tlog.TreeHash(last.N, r)
		if err == nil && root != last.Hash {
			f.Root = &root
			f.Proof, err = tlog.ProveTree(cp.Tree.N, last.N, r)
		}
		if err != nil {
			return explain(err)
		}
		if f.Root == nil {
			return nil
		}
	} else if cp.Tree == last || cp.Tree.N > 0 && last.N == 0 {
		return nil
	}
	what, err := f.Check(log)
	if err != nil {
		return err
	}
	return m.forked(f, what, last.N, cp.Tree.N)
}

// forked writes the evidence and gives the error.
func (m *Monitor) forked(f witness.Fork, what witness.Contradiction, known, shown int64) error {
	now := time.Now
	if m.Now != nil {
		now = m.Now
	}
	f.Key, f.By, f.Found = m.Key, "monitor", now()
	e := &ForkError{what, known, shown, filepath.Join(filepath.Dir(m.State), f.FileName())}
	if _, err := os.Stat(e.Evidence); err == nil {
		return e // found before
	}
	if err := durable.WriteFile(e.Evidence, witness.FormatFork(f), 0o644); err != nil {
		e.Evidence = "no file, since it could not be written"
		return errors.Join(e, err)
	}
	return e
}

// leaves checks every entry from an index on against the tree.
func (m *Monitor) leaves(ctx context.Context, tree tlog.Tree, from int64) error {
	c, err := torchwood.NewClient(m.Source)
	if err != nil {
		return err
	}
	next := from
	for i, leaf := range c.AllEntries(ctx, tree, from) {
		if m.Leaf != nil {
			if err := m.Leaf(i, leaf); err != nil {
				return err
			}
		}
		next = i + 1
	}
	if err := c.Err(); err != nil {
		return explain(err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if next != tree.N {
		return fmt.Errorf("%w: entries up to %d of %d could be read", ErrTiles, next, tree.N)
	}
	return nil
}

// explain tells files that could not be had from such as do not hash.
func explain(err error) error {
	if errors.Is(err, ErrUnreadable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrTiles, err)
}
