package capture

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/stemma-lineage/stemma/internal/capture/trace"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// acting is a back-end that does what lines of text say, and tells of it as
// one does that sees each call before it takes place.
type acting struct {
	t     *testing.T
	dirs  map[string]string
	lines []string
	out   trace.Outcome
	late  bool // events are told after the call
}

func (*acting) Name() string                { return "acting" }
func (*acting) Probe(context.Context) error { return nil }
func (a *acting) path(s string) string      { return expand(a.dirs, s) }

// expand reads "home:x", "tmp:x" and "data:x" as folders beside the workspace,
// "/x" as it stands, and all else as below the workspace.
func expand(dirs map[string]string, s string) string {
	if dir, rest, ok := strings.Cut(s, ":"); ok && dirs[dir] != "" {
		return filepath.Join(dirs[dir], rest)
	}
	if filepath.IsAbs(s) {
		return s
	}
	return filepath.Join(dirs["work"], s)
}

func (a *acting) Run(_ context.Context, c trace.Command, sink func(trace.Event)) (trace.Outcome, error) {
	for _, l := range a.lines {
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		e := trace.Event{Pid: 7, At: time.Now(), Path: a.path(f[1])}
		if f[0] == "sub" {
			e.Sub, f = f[1], f[2:]
			e.Path = a.path(f[1])
		}
		act := a.action(f, &e)
		if !a.late && e.Kind != 0 {
			sink(e)
		}
		if err := act(); err != nil {
			a.t.Errorf("%s: %v", l, err)
		}
		if a.late && e.Kind != 0 {
			sink(e)
		}
	}
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		return trace.Outcome{}, err
	}
	a.out.State, a.out.Backend = cmd.ProcessState, a.Name()
	return a.out, nil
}

// action gives what to do, and completes the event.
func (a *acting) action(f []string, e *trace.Event) func() error {
	text := strings.Join(f[2:], " ")
	put := func(flag int) func() error {
		return func() error {
			if err := os.MkdirAll(filepath.Dir(e.Path), 0o755); err != nil {
				return err
			}
			w, err := os.OpenFile(e.Path, flag, 0o644)
			if err != nil {
				return err
			}
			defer w.Close()
			_, err = w.WriteString(text)
			return err
		}
	}
	switch f[0] {
	case "read":
		e.Kind = trace.Read
	case "list":
		e.Kind, e.Flags = trace.Read, trace.Directory
	case "write":
		e.Kind, e.Flags = trace.Write, trace.Create|trace.Truncate
		return put(os.O_CREATE | os.O_TRUNC | os.O_WRONLY)
	case "append":
		e.Kind, e.Flags = trace.Write, trace.Create|trace.Append
		return put(os.O_CREATE | os.O_APPEND | os.O_WRONLY)
	case "both":
		e.Kind, e.Flags = trace.Write, trace.Create|trace.ReadWrite
		return put(os.O_CREATE | os.O_RDWR)
	case "lock": // opened for both, not changed
		e.Kind, e.Flags = trace.Write, trace.ReadWrite
	case "rename":
		e.Kind, e.To = trace.Rename, a.path(f[2])
		return func() error { return os.Rename(a.path(f[1]), e.To) }
	case "hardlink":
		e.Kind, e.To, e.Flags = trace.Rename, a.path(f[2]), trace.HardLink
		return func() error { return os.Link(a.path(f[1]), e.To) }
	case "symlink":
		e.Kind, e.To, e.Flags = trace.Write, f[2], trace.Symlink
		return func() error { return os.Symlink(f[2], a.path(f[1])) }
	case "rm":
		e.Kind = trace.Remove
		return func() error { return os.Remove(a.path(f[1])) }
	case "exec":
		e.Kind, e.Argv = trace.Exec, f[1:]
	case "connect":
		e.Kind, e.Path, e.Addr = trace.Connect, "", strings.Join(f[1:], " ")
	case "other": // another process changes a file, unseen
		return put(os.O_CREATE | os.O_TRUNC | os.O_WRONLY)
	default:
		a.t.Errorf("no such action: %s", f[0])
	}
	return func() error { return nil }
}

// TestRuns does what testdata/runs says and compares what each file came to,
// and the statement.
func TestRuns(t *testing.T) {
	if _, err := exec.LookPath("true"); err != nil {
		t.Fatal("true(1) is missing; it is in coreutils")
	}
	datadriven.Walk(t, filepath.Join("testdata", "runs"), func(t *testing.T, path string) {
		root, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		dirs := map[string]string{}
		for _, d := range []string{"work", "home", "tmp", "data"} {
			dirs[d] = filepath.Join(root, d)
			if err := os.MkdirAll(dirs[d], 0o755); err != nil {
				t.Fatal(err)
			}
		}
		var last *Result
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "files":
				for l := range strings.Lines(d.Input) {
					name, text, _ := strings.Cut(strings.TrimSuffix(l, "\n"), " ")
					p := expand(dirs, name)
					if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(p, []byte(strings.ReplaceAll(text, "\\n", "\n")), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(3 * tick) // so that they are older than the run
				return ""
			case "run":
				last = act(t, dirs, d)
				return strings.ReplaceAll(files(last, d.HasArg("all")), root, "ROOT")
			case "statement":
				return strings.ReplaceAll(said(t, last), root, "ROOT")
			}
			d.Fatalf(t, "no such command")
			return ""
		})
	})
}

func act(t *testing.T, dirs map[string]string, d *datadriven.TestData) *Result {
	a := &acting{t: t, dirs: dirs, lines: strings.Split(d.Input, "\n"), late: d.HasArg("late"), out: trace.Outcome{Complete: true}}
	var argv string
	d.MaybeScanArgs(t, "argv", &argv)
	if argv == "" {
		argv = "cmd"
	}
	o := Options{Workspace: dirs["work"], Dir: filepath.Join(dirs["work"], ".stemma"), ID: "r-test", Principal: prov.Ref{Kind: prov.Person, Name: "ann@acme.example"}}
	x := Begin(t.Context(), o, trace.Command{Argv: strings.Split(argv, ","), Env: []string{"HOME=" + dirs["home"], "TMPDIR=" + dirs["tmp"]}})
	x.tracker.home.temps = []string{dirs["tmp"]}
	x.digests.racy = 0
	if _, err := x.Run(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	return x.Finish(t.Context())
}

func files(r *Result, all bool) string {
	var b strings.Builder
	for _, f := range r.Files {
		if !all && f.Class == Folder {
			continue
		}
		fmt.Fprintf(&b, "%-16s %-10s %s", f.Class, f.Rule, f.Path)
		if f.Before != "" {
			fmt.Fprintf(&b, " before=%.6s", f.Before)
		}
		if f.SHA256 != "" {
			fmt.Fprintf(&b, " %.6s", f.SHA256)
		}
		if f.Role != "" {
			fmt.Fprintf(&b, " (%s)", f.Role)
		}
		if f.To != "" {
			fmt.Fprintf(&b, " → %s", f.To)
		}
		if f.Note != "" {
			fmt.Fprintf(&b, " ! %s", f.Note)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// said gives what the statements of a run say, without times and evidence.
func said(t *testing.T, r *Result) string {
	var b strings.Builder
	for _, d := range r.Drafts {
		if _, err := statement.Format(d.Subjects, d.Predicate); err != nil {
			t.Errorf("a statement that cannot be made: %v", err)
		}
		switch p := d.Predicate.(type) {
		case *statement.Activity:
			fmt.Fprintf(&b, "activity %s %s %s, inputs %s\n", p.Kind, p.ID, p.State, p.InputsCompleteness)
			fmt.Fprintf(&b, "plan %s\n", p.Plan.Ref)
			for _, u := range p.Used {
				if u.Role != "environment" && u.Role != "source-code" {
					fmt.Fprintf(&b, "used %s %.6s (%s)\n", u.Ref, u.Digest["sha256"], u.Role)
				}
			}
			for _, c := range p.Credentials {
				fmt.Fprintf(&b, "credential %s\n", c.Ref)
			}
			for _, k := range []string{"command", "capture.unknownContent", "capture.blind"} {
				if v := p.Parameters[k]; v != "" {
					fmt.Fprintf(&b, "%s: %s\n", k, v)
				}
			}
		case *statement.Entity:
			if strings.HasPrefix(d.Subjects[0].Name, string(EnvironmentKind)) {
				continue
			}
			fmt.Fprintf(&b, "entity %s, part of %d, derived %d\n", p.State, len(p.PartOf), len(p.Derived))
		}
		for i, s := range d.Subjects {
			if i == 5 {
				fmt.Fprintf(&b, "  … %d in all\n", len(d.Subjects))
				break
			}
			fmt.Fprintf(&b, "  %s %.6s\n", s.Name, s.Digest["sha256"])
		}
	}
	return b.String()
}

// A mistake of ours while events come in is told, and the run goes on.
func TestTrackerFails(t *testing.T) {
	x := Begin(t.Context(), Options{Workspace: t.TempDir()}, trace.Command{Argv: []string{"x"}})
	x.tracker.files = nil // so that the next event panics
	x.event(trace.Event{Kind: trace.Read, Path: "/a"})
	x.event(trace.Event{Kind: trace.Read, Path: "/b"})
	x.tracker.files = map[string]*file{}
	if r := x.Finish(t.Context()); r.Failed == "" || r.Complete {
		t.Errorf("failed %q, complete %v", r.Failed, r.Complete)
	}
}

// A file of an input that changes between reading and hashing is unknown, and
// never hashed as if it were what was read; a script is hashed meanwhile.
func TestEarly(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"train.py", "data.csv"} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	x := Begin(t.Context(), Options{Workspace: dir}, trace.Command{Argv: []string{"x"}})
	for _, n := range []string{"train.py", "data.csv"} {
		x.event(trace.Event{Kind: trace.Read, Path: filepath.Join(x.tracker.home.workspace, n)})
	}
	x.early <- &file{path: "/nonexistent"} // the one goroutine took what came before this
	for len(x.early) > 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(3 * tick)
	for _, n := range []string{"train.py", "data.csv"} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("newer"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := x.Finish(t.Context())
	got := strings.Split(strings.TrimSpace(files(r, false)), "\n")
	want := []string{
		"input            workspace  data.csv (dataset) ! what was read is not known: it changed during or after the run, before it could be hashed",
		"input            workspace  train.py cba06b (script)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}
