package app

import (
	"context"
	"fmt"
	"time"

	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/statement"
)

// Tell adds to the steps of an answer, and to what it covers, who told each
// entry: what the graph does not hold and the log does.
func (w *Workspace) Tell(ctx context.Context, a *query.Answer) error {
	known := map[uint64]*query.Told{}
	told := func(entry uint64) (*query.Told, error) {
		if t, ok := known[entry]; ok {
			return t, nil
		}
		content, err := w.Log.Entry(ctx, entry)
		if err != nil {
			return nil, fmt.Errorf("telling who recorded entry %d: %w", entry, err)
		}
		t, err := tell(content)
		known[entry] = t
		return t, err
	}
	var err error
	for i := range a.Steps {
		if a.Steps[i].Told, err = told(a.Steps[i].Entry); err != nil {
			return err
		}
	}
	for i := range a.Covers {
		if a.Covers[i].Told, err = told(a.Covers[i].Entry); err != nil {
			return err
		}
	}
	return nil
}

func tell(content []byte) (*query.Told, error) {
	e, err := statement.ParseEntry(content)
	if err != nil {
		return nil, err
	}
	t := &query.Told{RecordedBy: e.RecordedBy, RecordedAt: e.RecordedAt.Format(time.RFC3339Nano), SignedBy: []string{}}
	p := statement.Read(e.Envelope)
	if p.Envelope != nil {
		for _, s := range p.Envelope.Signatures {
			t.SignedBy = append(t.SignedBy, s.KeyID)
		}
	}
	if p.Statement == nil {
		return t, nil
	}
	if x, ok := p.Statement.Predicate.(*statement.Identity); ok {
		t.Source, t.Mode, t.At = x.Source, x.Mode, x.At.String()
	}
	for _, ev := range statement.EvidenceOf(p.Statement.Predicate) {
		if ev.Verified != nil {
			t.Evidence = ev.Verified.Result
		}
	}
	return t, nil
}
