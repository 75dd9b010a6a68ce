package app

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/statement"
)

// ErrSuccession says that a log does not continue another as it should.
var ErrSuccession = errors.New("the chain of logs does not hold")

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
	if _, err := CheckPredecessor(*l.Predecessor); err != nil {
		return evlog.Appended{}, err
	}
	out, err := w.Log.Append(ctx, []evlog.Item{it})
	if err != nil {
		return evlog.Appended{}, err
	}
	return out[0], nil
}

// CheckPredecessor tells whether what a log says of its predecessor agrees with
// itself: the checkpoint is signed by the key, and is of that origin, size and
// root.
func CheckPredecessor(p statement.Predecessor) (evlog.Head, error) {
	v, err := note.NewVerifier(p.Key)
	if err != nil {
		return evlog.Head{}, fmt.Errorf("%w: the predecessor's key: %v", ErrSuccession, err)
	}
	h, err := evlog.ParseCheckpoint([]byte(p.Checkpoint), v)
	if err != nil {
		return h, fmt.Errorf("%w: the predecessor's checkpoint: %v", ErrSuccession, err)
	}
	if v.Name() != p.Origin || uint64(h.Size) != p.Size || evlog.Hex(h.Root) != p.Root {
		return h, fmt.Errorf("%w: the predecessor's checkpoint is of %s, %d entries, root %x, and not of what stands beside it", ErrSuccession, v.Name(), h.Size, h.Root[:])
	}
	return h, nil
}

// PredecessorAt describes a closed log as its successor names it: as it stood
// with the entry that closed it.
func PredecessorAt(ctx context.Context, w *Workspace) (statement.Predecessor, error) {
	p := statement.Predecessor{Origin: w.Log.Origin(), Key: w.Log.Key()}
	by, closed, err := w.Log.Closed(ctx)
	if err != nil {
		return p, err
	}
	if !closed {
		return p, fmt.Errorf("the log %s is not closed, and what is recorded there later would stand in neither; stemma log close closes it", p.Origin)
	}
	h, err := w.Log.Head(ctx)
	if err != nil {
		return p, err
	}
	p.Size, p.Root, p.Checkpoint = uint64(h.Size), evlog.Hex(h.Root), string(h.Checkpoint)
	if by >= p.Size {
		return p, fmt.Errorf("%w: entry %d of %s is said to close it, and it has %d", evlog.ErrCorrupt, by, p.Origin, p.Size)
	}
	return p, nil
}

// Succeed records, as the first entry, that this log continues another, and
// notes where that is kept; dir may be empty.
func (w *Workspace) Succeed(ctx context.Context, k keys.Key, p statement.Predecessor, dir string, more ...statement.Signer) (evlog.Appended, error) {
	if _, err := CheckPredecessor(p); err != nil {
		return evlog.Appended{}, err
	}
	l := &statement.LogState{State: statement.LogOpened, Origin: w.Log.Origin(), Predecessor: &p, At: statement.NewTime(w.clock())}
	a, err := w.Say(ctx, k, w.itself(), l, more...)
	if err != nil || dir == "" {
		return a, err
	}
	return a, durable.WriteFile(filepath.Join(w.Dir, "predecessor"), []byte(dir+"\n"), 0o644)
}

// Predecessor gives what the log says of the one that it continues; nil: it
// continues none.
func (w *Workspace) Predecessor(ctx context.Context) (*statement.Predecessor, error) {
	content, err := w.Log.Entry(ctx, 0)
	if errors.Is(err, evlog.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := statement.ReadStored(content)
	if err != nil || s.Parsed.Statement == nil {
		return nil, err
	}
	if l, ok := s.Parsed.Statement.Predicate.(*statement.LogState); ok {
		return l.Predecessor, nil
	}
	return nil, nil
}

// Link is one log of a chain, newest first.
type Link struct {
	Origin string
	Dir    string // where it was read; empty: it is not here
	Size   uint64 // as its successor names it; of the newest log all of it
	Root   string
	Closed bool   // an entry closes it
	Orders uint64 // entries that were added after its successor began: orders of erasure, and holds
}

// Chain follows a log to its predecessors, and checks each that is here: that
// it is the log whose key its successor names, that it holds what it held then,
// and that it was closed. dirs are further places to look; a log that is not
// found ends the chain, with what its successor says of it.
func (w *Workspace) Chain(ctx context.Context, dirs ...string) ([]Link, error) {
	h, err := w.Log.Head(ctx)
	if err != nil {
		return nil, err
	}
	_, closed, err := w.Log.Closed(ctx)
	if err != nil {
		return nil, err
	}
	out := []Link{{Origin: w.Log.Origin(), Dir: w.Dir, Size: uint64(h.Size), Root: evlog.Hex(h.Root), Closed: closed}}
	seen := map[string]bool{w.Log.Key(): true}
	for at := w; at != nil; {
		p, next, err := at.before(ctx, seen, dirs)
		if at != w {
			at.Close()
		}
		if err != nil {
			return out, err
		}
		if p == nil {
			break
		}
		l := Link{Origin: p.Origin, Size: p.Size, Root: p.Root}
		if next != nil {
			if err := next.link(ctx, p, &l); err != nil {
				next.Close()
				return append(out, l), err
			}
		}
		out = append(out, l)
		at = next
	}
	return out, nil
}

// before gives what a log says of its predecessor, and the log, if it is here.
func (w *Workspace) before(ctx context.Context, seen map[string]bool, dirs []string) (*statement.Predecessor, *Workspace, error) {
	p, err := w.Predecessor(ctx)
	if err != nil || p == nil {
		return nil, nil, err
	}
	if _, err := CheckPredecessor(*p); err != nil {
		return nil, nil, fmt.Errorf("log %s: %w", w.Log.Origin(), err)
	}
	if seen[p.Key] {
		return nil, nil, fmt.Errorf("%w: log %s comes before itself", ErrSuccession, p.Origin)
	}
	seen[p.Key] = true
	next, err := w.openPredecessor(ctx, p, dirs)
	return p, next, err
}

// openPredecessor looks for a log by its key; nil: it is not here.
func (w *Workspace) openPredecessor(ctx context.Context, p *statement.Predecessor, dirs []string) (*Workspace, error) {
	if b, err := os.ReadFile(filepath.Join(w.Dir, "predecessor")); err == nil {
		d := strings.TrimSpace(string(b))
		if !filepath.IsAbs(d) {
			d = filepath.Join(w.Dir, d)
		}
		dirs = append([]string{d}, dirs...)
	}
	for _, d := range dirs {
		dir, err := workspaceIn(d)
		if err != nil {
			continue
		}
		o, err := Open(ctx, dir, Options{Now: w.now})
		if err != nil {
			return nil, fmt.Errorf("predecessor in %s: %w", d, err)
		}
		if o.Log.Key() == p.Key {
			return o, nil
		}
		o.Close()
	}
	return nil, nil
}

// workspaceIn gives the workspace in a folder, or that is the folder.
func workspaceIn(dir string) (string, error) {
	for _, d := range []string{filepath.Join(dir, DirName), dir} {
		if _, err := os.Stat(filepath.Join(d, "log.db")); err == nil {
			return d, nil
		}
	}
	return "", fmt.Errorf("%w in %s", evlog.ErrNotALog, dir)
}

// OpenIn opens the workspace in a folder, or that is the folder; unlike with
// Find, folders above do not count.
func OpenIn(ctx context.Context, dir string, o Options) (*Workspace, error) {
	d, err := workspaceIn(dir)
	if err != nil {
		return nil, err
	}
	return Open(ctx, d, o)
}

// link compares a log with what its successor says of it.
func (w *Workspace) link(ctx context.Context, p *statement.Predecessor, l *Link) error {
	l.Dir = w.Dir
	h, err := w.Log.Head(ctx)
	if err != nil {
		return err
	}
	if uint64(h.Size) < p.Size {
		return fmt.Errorf("%w: log %s in %s holds %d entries, its successor began when it held %d", ErrSuccession, p.Origin, w.Dir, h.Size, p.Size)
	}
	root, err := w.Log.RootAt(ctx, int64(p.Size))
	if err != nil {
		return err
	}
	if hex.EncodeToString(root[:]) != p.Root {
		return fmt.Errorf("%w: log %s in %s is not what it was when its successor began: its root at %d entries is another", ErrSuccession, p.Origin, w.Dir, p.Size)
	}
	by, closed, err := w.Log.Closed(ctx)
	if err != nil {
		return err
	}
	if !closed || by >= p.Size {
		return fmt.Errorf("%w: log %s in %s was not closed when its successor began", ErrSuccession, p.Origin, w.Dir)
	}
	content, err := w.Log.Entry(ctx, by)
	if err != nil {
		return err
	}
	s, err := statement.ReadStored(content)
	if err != nil {
		return err
	}
	ls, ok := (*statement.LogState)(nil), false
	if s.Parsed.Statement != nil {
		ls, ok = s.Parsed.Statement.Predicate.(*statement.LogState)
	}
	if !ok || ls.State != statement.LogClosed || ls.Origin != p.Origin {
		return fmt.Errorf("%w: entry %d of log %s does not close it", ErrSuccession, by, p.Origin)
	}
	l.Closed, l.Orders = true, uint64(h.Size)-p.Size
	return nil
}
