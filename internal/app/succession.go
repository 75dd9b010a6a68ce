package app

import (
	"context"
	"fmt"

	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/statement"
)

// CloseLog closes the log: its last entry says so.
func (w *Workspace) CloseLog(ctx context.Context, k keys.Key, reason string, more ...statement.Signer) (evlog.Appended, error) {
	l := &statement.LogState{State: statement.LogClosed, Origin: w.Log.Origin(), Reason: reason, At: statement.NewTime(w.clock())}
	return w.Say(ctx, k, w.itself(), l, more...)
}

// itself gives the subject of a statement about the log.
func (w *Workspace) itself() []statement.Subject {
	return []statement.Subject{statement.NewSubject(graph.LogRef(w.Log.Origin()), nil)}
}

// logState appends what is said of the log itself.
func (w *Workspace) logState(ctx context.Context, it evlog.Item, l *statement.LogState) (evlog.Appended, error) {
	if l.Origin != w.Log.Origin() {
		return evlog.Appended{}, fmt.Errorf("it is of the log %s, this is %s", l.Origin, w.Log.Origin())
	}
	if l.State == statement.LogClosed {
		return w.Log.End(ctx, it)
	}
	h, err := w.Log.Head(ctx)
	if err != nil {
		return evlog.Appended{}, err
	}
	if h.Size > 0 {
		return evlog.Appended{}, fmt.Errorf("that a log continues another is said by its first entry, and this one has %d; make a new log with stemma init --successor-of", h.Size)
	}
	out, err := w.Log.Append(ctx, []evlog.Item{it})
	if err != nil {
		return evlog.Appended{}, err
	}
	return out[0], nil
}
