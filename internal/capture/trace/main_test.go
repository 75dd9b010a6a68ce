package trace_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stemma-lineage/stemma/internal/capture/trace"
)

// TestMain lets the test binary stand in for the helper processes, and for
// programs that the tests run: it is a static Go binary.
func TestMain(m *testing.M) {
	if trace.Main() {
		return
	}
	if len(os.Args) > 2 && os.Args[1] == "program" {
		os.Exit(program(os.Args[2], os.Args[3:]))
	}
	os.Exit(m.Run())
}

// result is what a run gave.
type result struct {
	events []trace.Event
	out    trace.Outcome
	err    error
	stdout string
	stderr string
}

// backend returns one back-end, and skips the test where it does not work.
func backend(t testing.TB, name string) trace.Backend {
	t.Helper()
	b, tried := trace.Select(context.Background(), name)
	if b == nil {
		msg := fmt.Sprintf("%s does not work here: %v", name, tried[0].Err)
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatal(msg)
		}
		t.Skip(msg)
	}
	return b
}

// run runs a command with its output in files, as a shell would.
func run(t testing.TB, b trace.Backend, dir string, argv ...string) result {
	t.Helper()
	return runCommand(t, b, trace.Command{Argv: argv, Dir: dir, Workspace: dir})
}

func runCommand(t testing.TB, b trace.Backend, c trace.Command) (r result) {
	t.Helper()
	out, errOut := tempFile(t), tempFile(t)
	if c.Stdout == nil {
		c.Stdout = out
	}
	c.Stderr = errOut
	r = runCommandTo(t, b, c)
	r.stdout, r.stderr = readBack(t, out), readBack(t, errOut)
	return r
}

func runCommandTo(t testing.TB, b trace.Backend, c trace.Command) (r result) {
	t.Helper()
	var mu sync.Mutex
	r.out, r.err = b.Run(context.Background(), c, func(e trace.Event) {
		if !mu.TryLock() {
			t.Error("the sink was called from two goroutines at once")
			return
		}
		defer mu.Unlock()
		r.events = append(r.events, e)
	})
	return r
}

func tempFile(t testing.TB) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func readBack(t testing.TB, f *os.File) string {
	t.Helper()
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// within keeps the events below a folder and makes their paths relative.
func within(events []trace.Event, dir string) []trace.Event {
	var in []trace.Event
	for _, e := range events {
		rel, ok := strings.CutPrefix(e.Path, dir+"/")
		if !ok {
			continue
		}
		e.Path = rel
		e.To = strings.TrimPrefix(e.To, dir+"/")
		in = append(in, e)
	}
	return in
}

var kindNames = map[trace.Kind]string{
	trace.Read: "read", trace.Write: "write", trace.Rename: "rename", trace.Remove: "remove", trace.Exec: "exec",
	trace.Connect: "connect", trace.Fork: "fork", trace.Exit: "exit", trace.SubRun: "subrun",
}

// lines writes events as text, without pids and times.
func lines(events []trace.Event) []string {
	var ls []string
	for _, e := range events {
		if e.Kind == trace.Fork || e.Kind == trace.Exit {
			continue
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "%s %s", kindNames[e.Kind], e.Path)
		if e.To != "" {
			fmt.Fprintf(&b, " -> %s", e.To)
		}
		for i, f := range []string{"create", "truncate", "append", "readwrite", "directory", "hardlink", "symlink", "exchange"} {
			if e.Flags&(1<<i) != 0 {
				b.WriteString(" +" + f)
			}
		}
		if e.Kind == trace.Exec {
			fmt.Fprintf(&b, " %q", e.Argv)
		}
		if e.Addr != "" {
			b.WriteString(e.Addr)
		}
		if e.Note != "" {
			fmt.Fprintf(&b, " (%s)", e.Note)
		}
		ls = append(ls, b.String())
	}
	return ls
}

func has(t testing.TB, got []string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("no event %q in:\n%s", w, strings.Join(got, "\n"))
		}
	}
}

func real(t testing.TB, dir string) string {
	t.Helper()
	d, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
