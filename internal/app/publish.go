package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/internal/witnessing"
	"github.com/stemma-lineage/stemma/witness"
)

// ErrNoWitness says that nobody is known who could cosign.
var ErrNoWitness = errors.New("this log has no witnesses; stemma log witness add KEY URL adds one")

// ErrNotContinued says that the log does not continue a checkpoint that it had
// cosigned.
var ErrNotContinued = errors.New("the log does not continue a checkpoint that was cosigned")

// PolicyFile gives the file of the witness policy (C2SP tlog-policy).
func (w *Workspace) PolicyFile() string { return filepath.Join(w.Dir, "witnesses") }

// Policy reads the witness policy; nil: there is none.
func (w *Workspace) Policy() (*witness.Policy, error) {
	text, err := os.ReadFile(w.PolicyFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading witness policy: %w", err)
	}
	p, err := witness.ParsePolicy(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.PolicyFile(), err)
	}
	if len(p.Logs) > 0 && !slices.Contains(p.Logs, w.Log.Key()) {
		return nil, fmt.Errorf("%s: %w: it is for other logs; its lines log do not hold %s", w.PolicyFile(), witness.ErrPolicy, w.Log.Key())
	}
	return p, nil
}

// SetPolicy replaces the witness policy by a text, if that can be read.
func (w *Workspace) SetPolicy(text string) error {
	if _, err := witness.ParsePolicy([]byte(text)); err != nil {
		return err
	}
	return durable.WriteFile(w.PolicyFile(), []byte(text), 0o644)
}

// History gives the file of every cosigned checkpoint.
func (w *Workspace) History() witnessing.History {
	return witnessing.History{Path: filepath.Join(w.Dir, "cosigned")}
}

// Publication is what came of asking the witnesses.
type Publication struct {
	Checkpoint witness.Checkpoint // of the head, with all cosignatures of it
	Policy     *witness.Policy
	Replies    []witnessing.Reply
}

// Publish seals the log, so that whatever is asked of the published size can be
// proved, asks the witnesses of the policy to cosign the newest checkpoint, and
// keeps what they cosigned. A witness that fails is told in Replies and holds
// up no other.
func (w *Workspace) Publish(ctx context.Context) (*Publication, error) {
	p, err := w.Policy()
	if err != nil {
		return nil, err
	}
	if p == nil || len(p.Witnesses) == 0 {
		return nil, ErrNoWitness
	}
	if _, err := w.Seal(ctx); err != nil && !errors.Is(err, ErrUnsealed) {
		return nil, err // without the log's key it cannot be sealed, and is published as it is
	}
	h, err := w.Log.Head(ctx)
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(w.Log.Key())
	if err != nil {
		return nil, err
	}
	cp, err := witness.Open(h.Checkpoint, verifier, p)
	if err != nil {
		return nil, err
	}
	last, err := w.lastCosigned(ctx, verifier, p)
	if err != nil {
		return nil, err
	}
	a := witnessing.Asking{Checkpoint: cp, Log: verifier, Now: w.now,
		Last: func(name string) int64 { return last[name] },
		Prove: func(ctx context.Context, old int64) (tlog.TreeProof, error) {
			return w.Continuation(ctx, old, h.Size)
		}}
	out := &Publication{Policy: p, Replies: witnessing.Ask(ctx, a, p.Witnesses)}
	for _, r := range out.Replies {
		if r.Err == nil {
			cp.Cosignatures = append(cp.Cosignatures, r.Cosignature)
		}
	}
	if len(cp.Cosignatures) > 0 {
		if err := w.History().Append(cp.Note()); err != nil {
			return nil, err
		}
	}
	out.Checkpoint, err = w.Cosigned(h, p)
	return out, err
}

// Continuation proves that the tree of size continues that of old; from the empty
// tree the proof is empty.
func (w *Workspace) Continuation(ctx context.Context, old, size int64) (tlog.TreeProof, error) {
	if old == 0 || old == size {
		return nil, nil
	}
	return w.Log.Consistency(ctx, uint64(old), uint64(size))
}

// lastCosigned gives for each witness the largest size that it cosigned, and
// checks that the log continues the largest of all.
func (w *Workspace) lastCosigned(ctx context.Context, verifier note.Verifier, p *witness.Policy) (map[string]int64, error) {
	notes, err := w.History().Notes()
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for _, i := range witness.Around(notes, time.Unix(1<<40, 0), p) {
		c, err := witness.Open(notes[i], verifier, p)
		if err != nil {
			return nil, fmt.Errorf("%w: record %d: %w", witnessing.ErrHistory, i, err)
		}
		if err := w.continues(ctx, c); err != nil {
			return nil, err
		}
		for _, s := range c.Cosignatures {
			out[s.Witness] = max(out[s.Witness], c.Tree.N)
		}
	}
	return out, nil
}

// Witnessed tells how many witnesses cosigned a tree of at least size entries,
// if they meet the policy's quorum; 0 if they do not, or none is asked for.
func (w *Workspace) Witnessed(ctx context.Context, size int64) (int, error) {
	p, err := w.Policy()
	if err != nil || p == nil || p.Quorum == witness.NoQuorum {
		return 0, err
	}
	verifier, err := note.NewVerifier(w.Log.Key())
	if err != nil {
		return 0, err
	}
	last, err := w.lastCosigned(ctx, verifier, p)
	if err != nil {
		return 0, err
	}
	n := 0
	has := func(name string) bool { at, ok := last[name]; return ok && at >= size }
	for _, x := range p.Witnesses {
		if has(x.Name) {
			n++
		}
	}
	if !p.Met(has) {
		return 0, nil
	}
	return n, nil
}

// continues checks that the log continues a checkpoint of its own.
func (w *Workspace) continues(ctx context.Context, c witness.Checkpoint) error {
	h, err := w.Log.Head(ctx)
	if err != nil {
		return err
	}
	if c.Tree.N > h.Size {
		return fmt.Errorf("%w: that has %d entries, the log %d", ErrNotContinued, c.Tree.N, h.Size)
	}
	root, err := w.Log.RootAt(ctx, c.Tree.N)
	if err != nil {
		return err
	}
	if root != c.Tree.Hash {
		return fmt.Errorf("%w: at %d entries its root is %s, and %s was cosigned", ErrNotContinued, c.Tree.N, root, c.Tree.Hash)
	}
	return nil
}

// Cosigned gives the checkpoint of a head with all cosignatures of it, of each
// witness the newest.
func (w *Workspace) Cosigned(h evlog.Head, p *witness.Policy) (witness.Checkpoint, error) {
	verifier, err := note.NewVerifier(w.Log.Key())
	if err != nil {
		return witness.Checkpoint{}, err
	}
	cp, err := witness.Open(h.Checkpoint, verifier, p)
	if err != nil || p == nil {
		return cp, err
	}
	notes, err := w.History().Notes()
	if err != nil {
		return cp, err
	}
	newest := map[string]witness.Cosignature{}
	for _, n := range notes {
		if !witness.SameTree(n, cp) {
			continue
		}
		c, err := witness.Open(n, verifier, p)
		if err != nil {
			return cp, fmt.Errorf("%w: %w", witnessing.ErrHistory, err)
		}
		for _, s := range c.Cosignatures {
			newest[s.Witness] = s
		}
	}
	signed := cp.Signed()
	for _, x := range p.Witnesses {
		if s, ok := newest[x.Name]; ok {
			signed = append(signed, s.Line+"\n"...)
		}
	}
	return witness.Open(signed, verifier, p)
}

// Bounds tells how large the log was at a moment, as its witnesses saw it.
func (w *Workspace) Bounds(ctx context.Context, at time.Time) (witness.Bounds, *witness.Policy, error) {
	p, err := w.Policy()
	if err != nil {
		return witness.Bounds{}, nil, err
	}
	verifier, err := note.NewVerifier(w.Log.Key())
	if err != nil {
		return witness.Bounds{}, p, err
	}
	notes, err := w.History().Notes()
	if err != nil {
		return witness.Bounds{}, p, err
	}
	seen, err := witnessing.Around(notes, at, verifier, p)
	if err != nil {
		return witness.Bounds{}, p, err
	}
	for _, c := range seen {
		if err := w.continues(ctx, c); err != nil {
			return witness.Bounds{}, p, err
		}
	}
	stamps, err := w.stamps(ctx, at, verifier)
	if err != nil {
		return witness.Bounds{}, p, err
	}
	return witness.BoundsAt(at, seen, stamps, p), p, nil
}

// Evidence gives what a verifier needs for the bounds at a moment, under the
// tree of size entries: the cosigned checkpoints on which they can rest, with
// proofs. Checkpoints of larger trees are left out: size must be that of the
// head for an upper bound that others would find too.
func (w *Workspace) Evidence(ctx context.Context, at time.Time, size int64) ([]witness.Evidence, error) {
	p, err := w.Policy()
	if err != nil || p == nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(w.Log.Key())
	if err != nil {
		return nil, err
	}
	notes, err := w.History().Notes()
	if err != nil {
		return nil, err
	}
	seen, err := witnessing.Around(notes, at, verifier, p)
	if err != nil {
		return nil, err
	}
	var out []witness.Evidence
	for _, c := range seen {
		if c.Tree.N > size {
			continue
		}
		proof, err := w.Continuation(ctx, c.Tree.N, size)
		if err != nil {
			return nil, err
		}
		out = append(out, witness.Evidence{Signed: c.Note(), Proof: proof})
	}
	return out, nil
}

// Export writes the log as C2SP tlog-tiles, its checkpoint with the
// cosignatures of it.
func (w *Workspace) Export(ctx context.Context, dir string) (evlog.Head, error) {
	h, err := w.Log.Export(ctx, dir)
	if err != nil {
		return h, err
	}
	p, err := w.Policy()
	if err != nil || p == nil {
		return h, err
	}
	cp, err := w.Cosigned(h, p)
	if err != nil {
		return h, err
	}
	return h, durable.WriteFile(filepath.Join(dir, "checkpoint"), cp.Note(), 0o644)
}

// keptCheckpoints gives the checkpoint of a log that is kept beside the keys.
func keptCheckpoints(vkey string) (map[string][]byte, error) {
	signed, path, err := keys.KeptCheckpoint(vkey)
	if err != nil || signed == nil {
		return nil, err
	}
	return map[string][]byte{path: signed}, nil
}

// KeepCheckpoint keeps the newest checkpoint beside the log's signing key, if
// that is here, and the checkpoint is newer than the one there.
func (w *Workspace) KeepCheckpoint(ctx context.Context) error {
	h, err := w.Log.Head(ctx)
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(w.Log.Key())
	if err != nil {
		return err
	}
	signed, _, err := keys.KeptCheckpoint(w.Log.Key())
	if err != nil {
		return err
	}
	if old, err := evlog.ParseCheckpoint(signed, verifier); err == nil && old.Size >= h.Size {
		return nil
	}
	return keys.KeepCheckpoint(w.Log.Key(), h.Checkpoint)
}
