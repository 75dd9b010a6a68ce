package trace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"time"
)

// snapshot follows no calls. It compares the workspace before and after, and
// asks Python programs to tell what they open. It works on every system, and
// never tells all: its outcomes are never complete.
type snapshot struct{}

func (*snapshot) Name() string { return "snapshot" }

// Probe succeeds: there is nothing that a system could refuse.
func (*snapshot) Probe(ctx context.Context) error { return ctx.Err() }

func (s *snapshot) Run(ctx context.Context, c Command, sink func(Event)) (out Outcome, err error) {
	out.Backend = s.Name()
	if err := ctx.Err(); err != nil {
		return out, err
	}
	if len(c.Argv) == 0 {
		return out, &CommandError{errors.New("no command was given; put it after --")}
	}
	r := newSnapshotRun(c, sink)
	defer r.close()
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	cmd.Dir, cmd.Env = c.Dir, r.env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	announce(c.ID)
	began := time.Now()
	signals := catch()
	defer signals.stop()
	if err := cmd.Start(); err != nil {
		return out, &CommandError{err}
	}
	signals.passTo(cmd.Process)
	go r.col.run()
	pid := cmd.Process.Pid
	r.push(Event{Kind: Fork, Pid: pid, At: began})
	r.push(Event{Kind: Exec, Pid: pid, At: began, Path: cmd.Path, Argv: c.Argv})
	werr := cmd.Wait()
	out.State = cmd.ProcessState
	var exit *exec.ExitError
	if werr != nil && !errors.As(werr, &exit) {
		r.blind(BlindRecorder, "passing on input or output: "+werr.Error())
	}
	r.after(pid)
	r.push(Event{Kind: Exit, Pid: pid, At: time.Now()})
	r.col.q.close()
	<-r.col.done
	r.col.outcome(&out)
	return out, nil
}

// snapshotRun is what a run of the snapshot back-end holds.
type snapshotRun struct {
	col       *collector
	hook      *pythonHook // nil when it could not be made
	env       []string
	workspace string
	before    map[string]state
}

func newSnapshotRun(c Command, sink func(Event)) *snapshotRun {
	r := &snapshotRun{col: newCollector(sink, nil, ""), env: c.Env}
	r.col.started.Store(true)
	if r.env == nil {
		r.env = os.Environ()
	}
	detail := "calls were not followed: only changes in the workspace are seen, and what Python code opens"
	if c.Workspace == "" {
		detail = "calls were not followed: only what Python code opens is seen, because no workspace is known"
	} else if abs, err := filepath.Abs(c.Workspace); err == nil {
		r.workspace = abs
	}
	r.blind(BlindSnapshot, detail)
	if c.Socket != "" {
		if h, err := listen(c.Socket, ""); err != nil {
			r.blind(BlindOuter, err.Error()+"; runs nested in this one are not told apart")
		} else {
			h.c, r.col.hub = r.col, h
			r.env = withEnv(r.env, SocketEnv, c.Socket)
			go h.serve()
		}
	}
	var err error
	if r.hook, err = newPythonHook(); err != nil {
		r.blind(BlindSnapshot, "what Python code opens is not seen: "+err.Error())
	} else {
		r.env = r.hook.environ(r.env)
	}
	r.before = r.survey()
	return r
}

func (r *snapshotRun) push(e Event) {
	if e.Parent == 0 && e.Kind != SubRun {
		e.Parent = os.Getpid()
	}
	r.col.q.push(e)
}

func (r *snapshotRun) blind(class, detail string) {
	r.col.q.push(Event{Kind: kindBlind, Path: class, Note: detail})
}

func (r *snapshotRun) close() {
	if r.col.hub != nil {
		r.col.hub.close()
	}
	if r.hook != nil {
		r.hook.remove()
	}
}

func (r *snapshotRun) survey() map[string]state {
	m, err := survey(r.workspace)
	if err != nil {
		r.blind(BlindSnapshot, err.Error())
	}
	return m
}

// after tells what Python code told, and the changes that it did not tell.
func (r *snapshotRun) after(pid int) {
	now := r.survey()
	told := map[string]bool{}
	if r.hook != nil {
		known := map[int]bool{pid: true}
		err := r.hook.read(func(e Event) {
			if !known[e.Pid] {
				known[e.Pid] = true
				r.push(Event{Kind: Fork, Pid: e.Pid, Parent: e.Parent, At: e.At})
			}
			if e.Kind == Write || e.Kind == Remove || e.Kind == Rename {
				told[e.Path], told[e.To] = true, true
			}
			if e.Kind != Fork {
				r.push(e)
			}
		})
		if err != nil {
			r.blind(BlindSnapshot, "reading what Python code told: "+err.Error())
		}
	}
	for _, e := range changes(r.before, now) {
		if told[e.Path] || e.To != "" && told[e.To] {
			continue
		}
		e.Pid, e.Note = pid, "seen by comparing the workspace; which process did it is not known"
		r.push(e)
	}
}

// maxSurvey bounds the files of a workspace that are compared.
const maxSurvey = 1 << 20

// state is what tells whether a file has changed.
type state struct {
	size  int64
	mtime int64 // nanoseconds
	inode uint64
	dir   bool
}

// survey lists the files below a folder, except those of .git and .stemma. The
// error says what is missing in an answer that can still be used.
func survey(root string) (map[string]state, error) {
	found := map[string]state{}
	if root == "" {
		return found, nil
	}
	var missing error
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			missing = fmt.Errorf("comparing the workspace: %w", err)
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == ".stemma") {
			return fs.SkipDir
		}
		if len(found) >= maxSurvey {
			missing = fmt.Errorf("comparing the workspace: %s has more than %d files, and only as many were compared", root, maxSurvey)
			return fs.SkipAll
		}
		info, err := d.Info()
		if err != nil {
			return nil // gone meanwhile
		}
		found[path] = state{size: info.Size(), mtime: info.ModTime().UnixNano(), inode: inode(info), dir: d.IsDir()}
		return nil
	})
	if err != nil {
		missing = fmt.Errorf("comparing the workspace: %w", err)
	}
	return found, missing
}

// changes tells what happened between two surveys, in the order of paths. A
// file whose inode, size and time are found at another path was renamed.
func changes(before, after map[string]state) []Event {
	var events []Event
	gone := map[state]string{}
	for path, b := range before {
		if _, ok := after[path]; !ok && !b.dir {
			if b.inode != 0 {
				if _, twice := gone[b]; !twice {
					gone[b] = path
					continue
				}
			}
			events = append(events, Event{Kind: Remove, Path: path})
		}
	}
	for path, a := range after {
		b, was := before[path]
		switch from, moved := gone[a]; {
		case a.dir || was && a == b:
		case !was && moved:
			delete(gone, a)
			events = append(events, Event{Kind: Rename, Path: from, To: path, At: time.Unix(0, a.mtime)})
		case was:
			events = append(events, Event{Kind: Write, Path: path, At: time.Unix(0, a.mtime)})
		default:
			events = append(events, Event{Kind: Write, Flags: Create, Path: path, At: time.Unix(0, a.mtime)})
		}
	}
	for _, path := range gone {
		events = append(events, Event{Kind: Remove, Path: path})
	}
	sort.Slice(events, func(i, j int) bool { return events[i].Path < events[j].Path })
	now := time.Now()
	for i := range events {
		if events[i].At.IsZero() {
			events[i].At = now
		}
	}
	return events
}
