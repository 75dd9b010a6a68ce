package app

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/bundle"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/internal/report"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Bundle makes the bundle of a question. It holds the fewest entries, in three
// steps, from which the same answer follows as from the whole log: those that
// the answer cites, those too that speak of other versions of what is in it,
// or all.
func (w *Workspace) Bundle(ctx context.Context, q query.Question) ([]byte, *query.Answer, error) {
	g, h, err := w.Graph(ctx)
	if err != nil {
		return nil, nil, err
	}
	full, err := bundle.Ask(g, q, uint64(h.Size), h.Root)
	if err != nil {
		return nil, nil, err
	}
	// The bundle stands under the newest checkpoint, so its answer names that
	// root whatever size the question is as of.
	want, err := report.JSON(full)
	if err != nil {
		return nil, nil, err
	}
	verifier, err := note.NewVerifier(w.Log.Key())
	if err != nil {
		return nil, nil, err
	}
	prover := w.Log.Prover(ctx)
	for _, pick := range []func() map[uint64]bool{
		func() map[uint64]bool { return cited(full) },
		func() map[uint64]bool {
			return related(g.At(prov.AsOf{Valid: prov.Forever, Known: uint64(h.Size)}), full)
		},
		func() map[uint64]bool { return all(uint64(h.Size)) },
	} {
		c := bundle.Contents{Question: q, Checkpoint: h.Checkpoint, Trust: statement.FormatTrust(w.Trust),
			Entries: map[uint64][]byte{}, Proofs: map[uint64]tlog.RecordProof{}}
		for _, i := range slices.Sorted(maps.Keys(pick())) {
			if c.Entries[i], err = w.Log.Entry(ctx, i); err != nil {
				return nil, nil, err
			}
			if s, err := statement.ReadStored(c.Entries[i]); err == nil && s.Erased {
				return nil, nil, fmt.Errorf("making bundle: it would hold entry %d, whose content entry %d erased: %w; no bundle can be made of that yet", i, s.ErasedBy, evlog.ErrErased)
			}
			if c.Proofs[i], err = prover.Inclusion(i, uint64(h.Size)); err != nil {
				return nil, nil, err
			}
		}
		b, a, err := bundle.Write(c, verifier)
		if err != nil {
			continue // too few entries even to find what the question names
		}
		got, err := report.JSON(a)
		if err != nil {
			return nil, nil, err
		}
		if bytes.Equal(got, want) {
			return b, a, nil
		}
	}
	return nil, nil, fmt.Errorf("making bundle: the answer does not follow from the entries of the log; stemma log fsck tells more")
}

func cited(a *query.Answer) map[uint64]bool {
	out := map[uint64]bool{}
	for _, list := range [][]query.Item{a.Entities, a.Activities, a.Identities} {
		for _, it := range list {
			for _, e := range it.Entries {
				out[e] = true
			}
		}
	}
	for _, r := range a.Relations {
		out[r.Entry] = true
		if r.KnownFrom != 0 {
			out[r.KnownFrom] = true
		}
	}
	for _, c := range a.History {
		out[c.Entry] = true
	}
	return out
}

// related adds every entry that touches a thing which the answer's entries
// touch: other versions, other names, what could not be used.
func related(v graph.View, a *query.Answer) map[uint64]bool {
	out := cited(a)
	for e := range v.Touching(slices.Sorted(maps.Keys(out))) {
		out[e] = true
	}
	return out
}

func all(size uint64) map[uint64]bool {
	out := map[uint64]bool{}
	for i := uint64(0); i < size; i++ {
		out[i] = true
	}
	return out
}

// CheckSnapshot folds the whole log anew and compares the snapshot file.
func (w *Workspace) CheckSnapshot(ctx context.Context) ([]string, error) {
	h, err := w.Log.Head(ctx)
	if err != nil {
		return nil, err
	}
	kept := w.load(ctx, h)
	if kept.Size() == 0 {
		return nil, nil // none, or one that is not used
	}
	again := graph.New()
	for e, err := range w.Log.Entries(ctx, 0, kept.Size()) {
		if err != nil {
			return nil, err
		}
		if err := again.Fold(e.Index, e.Content); err != nil {
			return []string{err.Error()}, nil
		}
	}
	if !bytes.Equal(again.Encode(), kept.Encode()) {
		return []string{fmt.Sprintf("snapshot: it is not what the first %d entries fold to; delete %s, it is made anew", kept.Size(), w.path())}, nil
	}
	return nil, nil
}
