// Package capture makes statements out of what a command really did: which
// files its processes read and wrote, what they executed and where they
// connected, as a back-end of package trace saw it. It decides by rules that
// people can read what is an input, an output, or part of the environment;
// hashes what counts; and says what it does not know. docs/capture.md tells
// the whole of it.
//
// Nothing here may harm the command: it runs and ends as it would without.
package capture

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stemma-lineage/stemma/internal/capture/trace"
	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/prov"
)

// Name and Version stand in the evidence of each statement. The version
// changes whenever the same events and files give other statements.
const (
	Name    = "capture"
	Version = "1"
)

// Options of one run.
type Options struct {
	Workspace string   // the folder that paths are relative to
	Dir       string   // its .stemma folder, for the cache of digests
	Kind      string   // of the activity; empty: run
	Env       []string // names of variables whose values are recorded
	Principal prov.Ref // who runs it; zero: not known
	ID        string   // of the run; empty: a new one
}

// Capture is one run that is watched.
type Capture struct {
	o       Options
	command trace.Command
	outer   string // the run that this one lies in
	started time.Time
	ended   time.Time
	tracker *Tracker
	digests *digests
	outcome trace.Outcome
	failed  string // what of the tracker failed; the command went on

	revision <-chan *Revision
	early    chan *file
	earlyEnd sync.WaitGroup
}

// NewID gives a new identifier of a run: r- and ten letters of 5 bits.
func NewID() string {
	const letters = "0123456789abcdefghjkmnpqrstvwxyz"
	var b [10]byte
	_, _ = rand.Read(b[:]) // it never fails (crypto/rand)
	for i := range b {
		b[i] = letters[b[i]&31]
	}
	return "r-" + string(b[:])
}

// ActivityRef names the activity of a run.
func ActivityRef(id string) prov.Ref { return prov.Ref{Kind: prov.Activity, Name: id} }

// Begin prepares to watch a command. It starts what can be found out while the
// command runs.
func Begin(ctx context.Context, o Options, c trace.Command) *Capture {
	if o.ID == "" {
		o.ID = NewID()
	}
	if o.Kind == "" {
		o.Kind = "run"
	}
	if c.Env == nil {
		c.Env = os.Environ()
	}
	c.ID, c.Workspace = o.ID, o.Workspace
	x := &Capture{o: o, command: c, outer: outerRun(c.Env), started: time.Now(), early: make(chan *file, 256)}
	x.digests = openDigests(filepath.Join(o.Dir, "cache", "digests"))
	x.tracker = newTracker(x.started, newSurroundings(o.Workspace, c.Env), x.early)
	revision := make(chan *Revision, 1)
	x.revision = revision
	go func() { revision <- revisionOf(context.WithoutCancel(ctx), o.Workspace) }()
	x.earlyEnd.Go(func() {
		for f := range x.early {
			if sum, err := x.digests.hash(f.path, f.first); err == nil {
				f.early = &content{sum, f.first}
			}
		}
	})
	return x
}

// ID gives the run's identifier.
func (x *Capture) ID() string { return x.o.ID }

// outerRun gives the identifier of the run that this one lies in: it is the
// name of the outer run's socket.
func outerRun(env []string) string {
	for _, v := range slices.Backward(env) {
		if p, ok := strings.CutPrefix(v, trace.SocketEnv+"="); ok {
			id, isSocket := strings.CutSuffix(filepath.Base(p), socketExt)
			if isSocket && strings.HasPrefix(id, "r-") && exists(p) {
				return id
			}
			return ""
		}
	}
	return ""
}

const socketExt = ".sock"

// Run runs the command under a back-end. The error is that of the back-end:
// the command was not started.
func (x *Capture) Run(ctx context.Context, b trace.Backend) (trace.Outcome, error) {
	if dir, err := os.MkdirTemp("", "stemma-"); err == nil { // mode 0700
		defer os.RemoveAll(dir)
		if s := filepath.Join(dir, x.o.ID+socketExt); len(s) <= 100 {
			x.command.Socket = s
		}
		x.tracker.home.stemma = append(x.tracker.home.stemma, real(dir))
	}
	x.started = time.Now()
	x.tracker.start = x.started
	in, to, diagnostics := standardOf(x.command.Stdin), standardOf(x.command.Stdout), standardOf(x.command.Stderr)
	out, err := b.Run(ctx, x.command, x.event)
	x.ended = time.Now()
	if in != nil && in.moved() {
		x.given(in, trace.Event{Kind: trace.Read})
	}
	// What goes to standard error is of this program too, which is not done.
	if to != nil && to.moved() && !to.shared() && !to.is(diagnostics) {
		e := trace.Event{Kind: trace.Write, Flags: trace.Truncate}
		if to.adds {
			e.Flags = trace.Append
		}
		x.given(to, e)
	}
	x.outcome = out
	return out, err
}

// event hands an event on. A mistake of ours must not end the command.
func (x *Capture) event(e trace.Event) {
	if x.failed != "" {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			x.failed = fmt.Sprint(p)
		}
	}()
	x.tracker.Event(e)
}

// given tells of a file that the command got as standard input or output.
func (x *Capture) given(s *standard, e trace.Event) {
	e.Path, e.At = s.path, x.ended
	x.tracker.stood(s.path, s.state)
	x.event(e)
}

// Result is what a run came to.
type Result struct {
	ID         string
	Files      []*File // all of them, in the order of their names
	Programs   []Program
	Endpoints  []*Endpoint
	Python     *Installed
	Revision   *Revision
	Image      string
	Machine    map[string]string
	Dirty      []*File // used, and not as in the commit
	Outcome    trace.Outcome
	Tried      []trace.Attempt
	Inner      []string
	Outer      string
	Complete   bool // every read of a file was seen, its content is known, and nothing came over the network
	Hashing    time.Duration
	HashBytes  int64
	Took       time.Duration // of the command
	After      time.Duration // from the command's end to the statements
	Overflow   int           // events of which nothing could be kept
	Failed     string
	Drafts     []importer.Draft
	Blobs      [][]byte // evidence, to be kept before the drafts are recorded
	inputs     []item
	outputs    []item
	Truncated  []string // what the statement leaves to the evidence
	started    time.Time
	ended      time.Time
	kind       string
	principal  prov.Ref
	argv       []string
	parameters map[string]string
	env        map[string]string
}

// Finish decides, hashes, and makes the statements. The end of ctx stops the
// hashing: what is not hashed then is not known, and the statements say so.
func (x *Capture) Finish(ctx context.Context) *Result {
	began := time.Now()
	close(x.early)
	x.earlyEnd.Wait()
	x.digests.ctx = ctx
	t := x.tracker
	r := &Result{ID: x.o.ID, Outcome: x.outcome, Tried: x.outcome.Tried, Inner: t.inner, Outer: x.outer, Programs: t.programs,
		Overflow: t.dropped, Failed: x.failed, started: x.started, ended: x.ended, Took: x.ended.Sub(x.started),
		kind: x.o.Kind, principal: x.o.Principal, argv: x.command.Argv}
	r.Files = t.decide()
	r.Hashing = t.fill(r.Files, x.digests)
	r.Python = pythonOf(r.Files, x.digests)
	r.HashBytes = x.digests.bytes
	_ = x.digests.save() // derived: without it the next run hashes more
	for _, e := range t.endpoints {
		r.Endpoints = append(r.Endpoints, e)
	}
	slices.SortFunc(r.Endpoints, func(a, b *Endpoint) int { return strings.Compare(a.Addr, b.Addr) })
	select {
	case r.Revision = <-x.revision:
	case <-time.After(gitTime):
		r.Revision = &Revision{Unknown: "git did not answer in time"}
	}
	r.Dirty = r.Revision.mark(ctx, r.Files)
	r.Machine, r.Image = machine("", x.getenv)
	r.env = x.allowed()
	r.draft()
	r.After = time.Since(began)
	return r
}

func (x *Capture) getenv(name string) string {
	for _, v := range slices.Backward(x.command.Env) {
		if s, ok := strings.CutPrefix(v, name+"="); ok {
			return s
		}
	}
	return ""
}

// allowed gives the variables that the user asked to record.
func (x *Capture) allowed() map[string]string {
	m := map[string]string{}
	for _, n := range x.o.Env {
		for _, v := range slices.Backward(x.command.Env) {
			if s, ok := strings.CutPrefix(v, n+"="); ok {
				m[n] = strings.TrimPrefix(Redact([]string{"env", n + "=" + s})[1], n+"=")
				break
			}
		}
	}
	return m
}
