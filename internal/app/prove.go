package app

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/bundle"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/index"
	"github.com/stemma-lineage/stemma/internal/proof"
	"github.com/stemma-lineage/stemma/statement"
	"github.com/stemma-lineage/stemma/vindex"
)

// IndexKeys is how the entries of a log are indexed.
var IndexKeys = index.Keys{Version: statement.IndexVersion, Of: func(_ uint64, content []byte) []vindex.Key { return vindex.Keys(content) }}

// ErrUnsealed says that the newest entry does not tell the root of the index,
// so that nothing can be proved about the whole log.
var ErrUnsealed = errors.New("the log is not sealed: entries stand after the last that tells the root of its index; stemma log seal appends one")

// Seal appends the entry that tells the root of the index over all entries
// before it, if the newest entry is not one already. It gives that entry's
// index. It is signed with the log's own key.
func (w *Workspace) Seal(ctx context.Context) (uint64, error) {
	signer, err := w.Log.Signer()
	for range 8 { // others may append meanwhile
		at, serr := w.Sealed(ctx)
		if !errors.Is(serr, ErrUnsealed) {
			return at, serr
		}
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrUnsealed, err)
		}
		h, err := w.Log.Head(ctx)
		if err != nil {
			return 0, err
		}
		size := uint64(h.Size)
		root, n, err := w.indexRoot(ctx, size)
		if err != nil {
			return 0, err
		}
		env, err := bundle.FormatRoot(signer, &statement.Index{Version: statement.IndexVersion, Size: size, Root: hex.EncodeToString(root[:]), Keys: n})
		if err != nil {
			return 0, err
		}
		items := []evlog.Item{{RecordedBy: bundle.LogRef(w.Log.Origin()).String(), Envelope: env}}
		out, err := w.Log.Append(ctx, items)
		if err != nil {
			return 0, err
		}
		w.follow(ctx, out, items, []statement.Parsed{statement.Read(env)})
	}
	return 0, fmt.Errorf("%w: others appended entries each time before the root of the index could follow; try again when less is recorded", evlog.ErrBusy)
}

// Sealed gives the index of the newest entry if it tells the root of the index
// over all before it. The error is ErrUnsealed.
func (w *Workspace) Sealed(ctx context.Context) (uint64, error) {
	h, err := w.Log.Head(ctx)
	if err != nil {
		return 0, err
	}
	if h.Size == 0 {
		return 0, ErrUnsealed
	}
	at := uint64(h.Size) - 1
	content, err := w.Log.Entry(ctx, at)
	if err != nil {
		return 0, err
	}
	v, err := note.NewVerifier(w.Log.Key())
	if err != nil {
		return 0, err
	}
	_, root, err := bundle.Root(at, content, v)
	if err != nil {
		return 0, ErrUnsealed
	}
	if own, _, err := w.indexRoot(ctx, at); err != nil || own != root {
		return 0, errors.Join(err, fmt.Errorf("%w; its newest entry tells the root %x, and the entries before give %x", ErrUnsealed, root, own))
	}
	return at, nil
}

// indexRoot gives the root of the index over the first entries, and how many
// keys they have.
func (w *Workspace) indexRoot(ctx context.Context, size uint64) (vindex.Hash, uint64, error) {
	ix, _, err := w.Index(ctx, IndexKeys)
	if err != nil {
		return vindex.Hash{}, 0, err
	}
	n, err := ix.Len(size)
	if err != nil {
		return vindex.Hash{}, 0, err
	}
	root, err := ix.Root(size)
	return root, uint64(n), err
}

// Prove makes the bundle that proves the answer to a question over all entries
// before the one at sealed, which tells the root of the index.
func (w *Workspace) Prove(ctx context.Context, q proof.Question, sealed uint64) ([]byte, *proof.Answer, string, error) {
	h, err := w.Log.HeadAt(ctx, int64(sealed)+1)
	if err != nil {
		return nil, nil, "", err
	}
	ix, _, err := w.Index(ctx, IndexKeys)
	if err != nil {
		return nil, nil, "", err
	}
	src := &proving{ctx: ctx, w: w, ix: ix, size: sealed, p: &bundle.Proof{Question: q, Checkpoint: h.Checkpoint,
		Lists: map[bundle.ListName][]uint64{}, Entries: map[uint64][]byte{}, Proofs: map[uint64]tlog.RecordProof{}}}
	if _, err := proof.Ask(src, q, sealed); err != nil {
		return nil, nil, "", err
	}
	if _, err := src.Entry(sealed); err != nil {
		return nil, nil, "", err
	}
	prover := w.Log.Prover(ctx)
	for i := range src.p.Entries {
		if src.p.Proofs[i], err = prover.Inclusion(i, sealed+1); err != nil {
			return nil, nil, "", err
		}
	}
	_, tree, err := ix.Prove(sealed, src.keys)
	if err != nil {
		return nil, nil, "", err
	}
	if src.p.Index, err = tree.MarshalBinary(); err != nil {
		return nil, nil, "", err
	}
	v, err := note.NewVerifier(w.Log.Key())
	if err != nil {
		return nil, nil, "", err
	}
	b, a, text, err := bundle.WriteProof(src.p, v)
	if err != nil {
		return nil, nil, "", fmt.Errorf("making proof: %w; stemma log fsck tells more", err)
	}
	return b, a, text, nil
}

// SizeBefore gives how many entries were recorded before t.
func (w *Workspace) SizeBefore(ctx context.Context, t time.Time) (uint64, error) {
	return w.Log.SizeAt(ctx, t.Add(-time.Nanosecond))
}

// proving is the whole log as a source, which notes what is taken from it.
type proving struct {
	ctx  context.Context
	w    *Workspace
	ix   *index.Index
	size uint64
	p    *bundle.Proof
	keys []vindex.Key
}

func (s *proving) List(rel vindex.Relation, x string) ([]uint64, error) {
	k := vindex.KeyOf(rel, x)
	s.keys = append(s.keys, k)
	got, err := s.ix.Entries(s.size, k)
	if len(got) > 0 {
		s.p.Lists[bundle.ListName{Relation: rel, Of: x}] = got
	}
	return got, err
}

func (s *proving) Entry(i uint64) ([]byte, error) {
	if c, ok := s.p.Entries[i]; ok {
		return c, nil
	}
	c, err := s.w.Log.Entry(s.ctx, i)
	if err == nil {
		s.p.Entries[i] = c
	}
	return c, err
}
