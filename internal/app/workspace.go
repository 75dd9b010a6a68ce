// Package app puts the parts together: a workspace is a directory with a log,
// its evidence, its trust list and a snapshot of its graph.
package app

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// DirName is the directory of a workspace, found from any folder below it.
const DirName = ".stemma"

// ErrUntrusted says that an envelope is not signed by a key of the trust list.
var ErrUntrusted = errors.New("the signature is not trusted")

// Workspace is an open workspace.
type Workspace struct {
	Dir   string // the .stemma directory
	Log   *evlog.Log
	Blobs evlog.Blobs
	Trust *statement.Trust

	now func() time.Time
	// progress is told how many of the entries that had to be folded are.
	progress func(done, total uint64)
	mu       sync.Mutex // held to fold, and to write the snapshot file; guards graph and loaded
	graph    *graph.Graph
	loaded   uint64 // size of the snapshot file
	kept     kept
}

// Options for Init and Open.
type Options struct {
	Origin string
	Key    keys.Key         // Init: the first key to trust
	Now    func() time.Time // nil: time.Now
	// Progress is called while entries are folded that no snapshot holds; nil:
	// nobody asks.
	Progress func(done, total uint64)
	LogKey   note.Signer // Init, with LogVKey: use this key, write none
	LogVKey  string
}

// Init makes a workspace in dir/.stemma.
func Init(ctx context.Context, dir string, o Options) (*Workspace, error) {
	dir = filepath.Join(dir, DirName)
	if _, err := os.Stat(filepath.Join(dir, "log.db")); err == nil {
		return nil, fmt.Errorf("making workspace in %s: %w", dir, evlog.ErrExists)
	}
	if o.Origin == "" {
		var r [4]byte
		if _, err := rand.Read(r[:]); err != nil {
			return nil, err
		}
		o.Origin = "stemma.local/" + hex.EncodeToString(r[:])
	}
	signer, vkey := o.LogKey, o.LogVKey
	if signer == nil {
		var err error
		if signer, vkey, err = keys.GenerateLogKey(o.Origin); err != nil {
			return nil, err
		}
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, fmt.Errorf("making workspace: origin %q: %w; use letters, digits, '.', '/' and '-'", o.Origin, err)
	}
	l, err := evlog.Create(ctx, dir, evlog.Options{Origin: o.Origin, Signer: signer, Verifier: verifier, Key: vkey, Now: o.Now})
	if err != nil {
		return nil, err
	}
	w := &Workspace{Dir: dir, Log: l, Blobs: evlog.OpenBlobs(filepath.Join(dir, "blobs")), now: o.Now, graph: graph.New()}
	k, err := o.Key.Trusted()
	if err == nil {
		w.Trust, err = statement.NewTrust()
	}
	if err == nil {
		err = w.AddTrust(k)
	}
	if err == nil {
		err = durable.WriteFile(filepath.Join(dir, "log.pub"), []byte(vkey+"\n"), 0o644)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return w, nil
}

// Find looks for a workspace in dir and above.
func Find(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for d := abs; ; d = filepath.Dir(d) {
		p := filepath.Join(d, DirName)
		if st, err := os.Stat(p); err == nil && st.IsDir() {
			return p, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("%w: neither %s nor a folder above it holds %s; stemma init makes one", evlog.ErrNotALog, abs, DirName)
		}
	}
}

// Open opens the workspace whose directory Find gave.
func Open(ctx context.Context, dir string, o Options) (*Workspace, error) {
	l, err := evlog.Open(ctx, dir, evlog.Options{Now: o.Now, SignerFor: keys.LoadLogKey, Kept: keptCheckpoints})
	if err != nil {
		return nil, err
	}
	w := &Workspace{Dir: dir, Log: l, Blobs: evlog.OpenBlobs(filepath.Join(dir, "blobs")), now: o.Now, progress: o.Progress}
	text, err := os.ReadFile(filepath.Join(dir, "trust"))
	if err == nil {
		w.Trust, err = statement.ParseTrust(text)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("reading trust list %s: %w", filepath.Join(dir, "trust"), err)
	}
	return w, nil
}

// Close closes the workspace. Where the log's signing key is, its newest
// checkpoint is kept beside that too: a failure to keep it is no failure to
// close, and stemma doctor tells of it.
func (w *Workspace) Close() error {
	_ = w.KeepCheckpoint(context.Background())
	return w.Log.Close()
}

// AddTrust puts a key into the trust list.
func (w *Workspace) AddTrust(k statement.TrustedKey) error {
	t, err := statement.NewTrust(append(w.Trust.Keys(), k)...)
	if err != nil {
		return err
	}
	w.Trust = t
	path := filepath.Join(w.Dir, "trust")
	text, err := os.ReadFile(path) // comments of people stay
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("reading trust list: %w", err)
	}
	if n := len(text); n > 0 && text[n-1] != '\n' {
		text = append(text, '\n')
	}
	return durable.WriteFile(path, append(text, k.String()+"\n"...), 0o644)
}

// Stewards gives who set up the log, by the first line of its trust list: the
// key that init was given. Whoever can write that file is trusted with it, as
// with the rest of the list.
func (w *Workspace) Stewards() []string {
	if ks := w.Trust.Keys(); len(ks) > 0 {
		return []string{ks[0].Principal}
	}
	return nil
}

// Record verifies envelopes against the trust list and appends them. One that
// is not verified refuses all. Each is read once, for its signature and for
// the graph in memory, if there is one.
func (w *Workspace) Record(ctx context.Context, by prov.Ref, envelopes ...[]byte) ([]evlog.Appended, error) {
	now := time.Now()
	if w.now != nil {
		now = w.now()
	}
	items := make([]evlog.Item, len(envelopes))
	parsed := make([]statement.Parsed, len(envelopes))
	for i, e := range envelopes {
		p := statement.Read(e)
		if p.Envelope == nil {
			return nil, p.Err
		}
		v := p.Envelope.Verify(w.Trust, now)
		if !v.Verified() {
			return nil, fmt.Errorf("%w: %s", ErrUntrusted, reasons(v))
		}
		if p.Err != nil {
			return nil, p.Err
		}
		who := by.String()
		if a, ok := p.Statement.Predicate.(*statement.Approval); ok && slices.Contains(v.Principals(), a.Approver) {
			who = a.Approver // the decision is the approver's own, whoever brought it
		}
		items[i], parsed[i] = evlog.Item{RecordedBy: who, Envelope: e}, p
	}
	out, err := w.Log.Append(ctx, items)
	if err == nil {
		w.follow(ctx, out, items, parsed)
	}
	return out, err
}

// follow folds what was just appended into the graph in memory, if there is
// one. Entries of others that stand before it are read out of the log. If that
// fails the graph is given up, and [Workspace.Graph] folds anew and says why:
// the entries are in the log all the same.
func (w *Workspace) follow(ctx context.Context, out []evlog.Appended, items []evlog.Item, parsed []statement.Parsed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.graph == nil {
		return
	}
	for i, a := range out {
		if a.Duplicate || a.Index < w.graph.Size() { // folded with those of another call
			continue
		}
		if w.fold(ctx, a.Index) != nil || w.graph.FoldParsed(a.Index, a.RecordedAt, items[i].RecordedBy, parsed[i]) != nil {
			w.graph, w.loaded = nil, 0
			return
		}
	}
}

func reasons(v statement.Verification) string {
	for _, s := range v.Signatures {
		if s.Status != statement.SignatureVerified {
			return fmt.Sprintf("%s (key %s); stemma key trust adds a key that you have checked", s.Reason, s.KeyID)
		}
	}
	return "there is no signature; stemma record --sign signs a statement"
}

// Say signs a statement with a key and records it.
func (w *Workspace) Say(ctx context.Context, k keys.Key, subjects []statement.Subject, p statement.Predicate, more ...statement.Signer) (evlog.Appended, error) {
	env, err := Envelope(ctx, k, subjects, p, more...)
	if err != nil {
		return evlog.Appended{}, err
	}
	out, err := w.Record(ctx, k.Principal, env)
	if err != nil {
		return evlog.Appended{}, err
	}
	return out[0], nil
}

// Envelope signs a statement.
func Envelope(ctx context.Context, k keys.Key, subjects []statement.Subject, p statement.Predicate, more ...statement.Signer) ([]byte, error) {
	payload, err := statement.Format(subjects, p)
	if err != nil {
		return nil, err
	}
	signers := more
	if len(signers) == 0 {
		s, err := k.Signer()
		if err != nil {
			return nil, err
		}
		signers = []statement.Signer{s}
	}
	return statement.Sign(ctx, payload, signers...)
}

// snapshotKeep is how many entries may be folded anew at each start before the
// snapshot file is written again.
const snapshotKeep = 500

// Folded tells how many entries the graph in memory holds; 0 when there is
// none.
func (w *Workspace) Folded() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.graph == nil {
		return 0
	}
	return w.graph.Size()
}

// Graph gives the graph of the whole log: out of the snapshot file where it is
// good, and folded from there. What is recorded later is folded into it too, by
// Record and by the next call of Graph: it may be read meanwhile, and must be
// folded into by nobody else. Who needs the answer at the root that the head
// tells takes a view as of the head's size, since the graph may be beyond it.
func (w *Workspace) Graph(ctx context.Context) (*graph.Graph, evlog.Head, error) {
	h, err := w.Log.Head(ctx)
	if err != nil {
		return nil, h, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.graph == nil {
		w.graph = w.load(ctx, h)
	}
	err = w.fold(ctx, uint64(h.Size))
	if errors.Is(err, graph.ErrSnapshot) { // damaged where only the fold looks: the log has it all
		w.graph, w.loaded = graph.New(), 0
		err = w.fold(ctx, uint64(h.Size))
	}
	if err != nil {
		return nil, h, err
	}
	if w.graph.Size() >= w.loaded+snapshotKeep {
		w.save(ctx)
	}
	return w.graph, h, nil
}

// fold takes the entries up to size into the graph.
func (w *Workspace) fold(ctx context.Context, size uint64) error {
	from := w.graph.Size()
	if from >= size {
		return nil
	}
	for e, err := range w.Log.Entries(ctx, from, size) {
		if err != nil {
			return err
		}
		if err := w.graph.Fold(e.Index, e.Content); err != nil {
			return err
		}
		if done := w.graph.Size(); w.progress != nil && ((done-from)%2000 == 0 || done == size) {
			w.progress(done-from, size-from)
		}
	}
	return nil
}

func (w *Workspace) path() string { return filepath.Join(w.Dir, "snapshot") }

// load reads the snapshot file. Whatever is wrong with it, the log is there.
func (w *Workspace) load(ctx context.Context, h evlog.Head) *graph.Graph {
	b, err := durable.Map(w.path())
	if err != nil || len(b) < 32 {
		return graph.New()
	}
	g, err := graph.Decode(b[32:])
	if err != nil || g.Size() > uint64(h.Size) {
		return graph.New()
	}
	root, err := w.Log.RootAt(ctx, int64(g.Size()))
	if err != nil || string(root[:]) != string(b[:32]) {
		return graph.New()
	}
	w.loaded = g.Size()
	return g
}

// save writes the snapshot file: the root of the log at its size, and the
// graph. It is derived; a failure to write it is no failure.
func (w *Workspace) save(ctx context.Context) {
	root, err := w.Log.RootAt(ctx, int64(w.graph.Size()))
	if err != nil {
		return
	}
	err = durable.Write(w.path(), 0o644, func(f io.Writer) error {
		b := bufio.NewWriterSize(f, 1<<20)
		if _, err := b.Write(root[:]); err != nil {
			return err
		}
		if _, err := w.graph.WriteTo(b); err != nil {
			return err
		}
		return b.Flush()
	})
	if err == nil {
		w.loaded = w.graph.Size()
	}
}
