//go:build linux && (amd64 || arm64)

package trace_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/capture/trace"
)

func TestTenThousandOpens(t *testing.T) {
	each(t, following, func(t *testing.T, name string) {
		dir := real(t, t.TempDir())
		for i := range 1000 {
			if err := os.WriteFile(fmt.Sprintf("%s/f%d", dir, i), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		r := run(t, backend(t, name), dir, python(t), "-SIc", "for i in range(10000): open('f%d' % (i % 1000)).close()")
		if r.err != nil || !r.out.State.Success() || !r.out.Complete {
			t.Fatalf("%v %+v %s", r.err, r.out, r.stderr)
		}
		seen := within(r.events, dir)
		if len(seen) != 10000 {
			t.Fatalf("%d events, want 10000", len(seen))
		}
		for i, e := range seen {
			if want := fmt.Sprintf("f%d", i%1000); e.Path != want || e.Kind != trace.Read || e.Pid != r.out.State.Pid() {
				t.Fatalf("event %d: %+v, want %s", i, e, want)
			}
		}
	})
}

// TestThreadsAtOnce: many threads and processes at once lose nothing.
func TestThreadsAtOnce(t *testing.T) {
	const script = `
import os, threading
def work(p, n):
    for i in range(50):
        with open("%d-%d-%d" % (p, n, i), "w") as f:
            f.write("x")
pids = []
for p in range(4):
    pid = os.fork()
    if pid == 0:
        ts = [threading.Thread(target=work, args=(p, n)) for n in range(4)]
        for t in ts: t.start()
        for t in ts: t.join()
        os._exit(0)
    pids.append(pid)
for pid in pids:
    assert os.waitpid(pid, 0)[1] == 0
`
	each(t, following, func(t *testing.T, name string) {
		dir := real(t, t.TempDir())
		r := run(t, backend(t, name), dir, python(t), "-SIc", script)
		if r.err != nil || !r.out.State.Success() || !r.out.Complete {
			t.Fatalf("%v %+v %s", r.err, r.out, r.stderr)
		}
		byProcess := map[int]map[string]bool{}
		for _, e := range within(r.events, dir) {
			if e.Parent != r.out.State.Pid() {
				t.Fatalf("%+v is no child of %d", e, r.out.State.Pid())
			}
			if byProcess[e.Pid] == nil {
				byProcess[e.Pid] = map[string]bool{}
			}
			byProcess[e.Pid][e.Path] = true
		}
		if len(byProcess) != 4 {
			t.Fatalf("%d processes", len(byProcess))
		}
		for pid, files := range byProcess {
			if len(files) != 200 {
				t.Errorf("process %d wrote %d files, want 200", pid, len(files))
			}
		}
		forks, exits := 0, 0
		for _, e := range r.events {
			switch e.Kind {
			case trace.Fork:
				forks++
			case trace.Exit:
				exits++
			}
		}
		if forks != 5 || exits != 5 {
			t.Errorf("%d forks and %d exits, want 5 of each", forks, exits)
		}
	})
}

func TestMake(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("make is missing")
	}
	each(t, following, func(t *testing.T, name string) {
		dir := real(t, t.TempDir())
		var all []string
		var mk strings.Builder
		for i := range 20 {
			all = append(all, fmt.Sprintf("o%d", i))
			if err := os.WriteFile(fmt.Sprintf("%s/s%d", dir, i), []byte("x\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Fprintf(&mk, "out: %s\n\tcat $^ > out\no%%: s%%\n\tcat $< > $@\n", strings.Join(all, " "))
		if err := os.WriteFile(dir+"/Makefile", []byte(mk.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		r := run(t, backend(t, name), dir, "make", "-s", "-j4")
		if r.err != nil || !r.out.State.Success() || !r.out.Complete {
			t.Fatalf("%v %+v %s", r.err, r.out, r.stderr)
		}
		// Each output was written by the process, or a child of it, that read
		// its own source and no other.
		reads, writes := map[int][]string{}, map[string]int{}
		parent := map[int]int{}
		for _, e := range within(r.events, dir) {
			parent[e.Pid] = e.Parent
			switch e.Kind {
			case trace.Read:
				reads[e.Pid] = append(reads[e.Pid], e.Path)
			case trace.Write:
				writes[e.Path] = e.Pid
			}
		}
		for i := range 20 {
			p := writes[fmt.Sprintf("o%d", i)]
			var got []string
			for pid, files := range reads {
				if pid == p || parent[pid] == p {
					got = append(got, files...)
				}
			}
			if want := []string{fmt.Sprintf("s%d", i)}; !slices.Equal(got, want) {
				t.Errorf("o%d by %d: read %v, want %v", i, p, got, want)
			}
		}
	})
}

// TestBlindSpots: what the back-ends know that they cannot see, they tell.
func TestBlindSpots(t *testing.T) {
	for what, script := range map[string]string{
		trace.BlindMemfd:    "import os; os.memfd_create('x')",
		trace.BlindIOUring:  "import ctypes; ctypes.CDLL(None).syscall(425, 0, 0)",
		trace.BlindListener: "import ctypes; ctypes.CDLL(None).syscall(317 if __import__('platform').machine() == 'x86_64' else 277, 1, 8, 0)",
		trace.BlindPtrace:   "import ctypes; ctypes.CDLL(None).ptrace(12345, 0, 0, 0)",
		trace.BlindMount:    "import ctypes; ctypes.CDLL(None).mount(0, 0, 0, 0, 0)",
	} {
		t.Run(what, func(t *testing.T) {
			each(t, following, func(t *testing.T, name string) {
				r := run(t, backend(t, name), t.TempDir(), python(t), "-Sc", script)
				if r.err != nil || len(r.out.Blind) != 1 || r.out.Blind[0].Class != what {
					t.Errorf("%v %+v %s", r.err, r.out, r.stderr)
				}
				informs := what == trace.BlindMemfd || what == trace.BlindPtrace || what == trace.BlindMount
				if r.out.Complete != informs {
					t.Errorf("complete: %v", r.out.Complete)
				}
			})
		})
	}
}

func TestSnapshotOfPython(t *testing.T) {
	dir := real(t, t.TempDir())
	for name, text := range map[string]string{
		"in": "x", "old": "x", "gone": "x", "moved": "moved", "pkg/sitecustomize.py": "import sys; sys.chained = True\n",
		"main.py": `
import os, sys, subprocess
assert sys.chained and "stemma" not in "".join(sys.path), sys.path
open("in").close()
with open("out", "w") as f:
    f.write("y")
os.rename("out", "final")
subprocess.run([sys.executable, "-c", "open('old', 'a').write('z')"], check=True)
subprocess.run(["sh", "-c", "rm gone; mv moved moved2; echo x > byshell"], check=True)
try:
    open("missing")
except FileNotFoundError:
    print("right")
`,
	} {
		if err := os.MkdirAll(filepath.Dir(dir+"/"+name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("TMPDIR", t.TempDir())
	b := backend(t, "snapshot")
	r := runCommand(t, b, trace.Command{Argv: []string{python(t), "-B", "main.py"}, Dir: dir, Workspace: dir, Env: append(os.Environ(), "PYTHONPATH="+dir+"/pkg")})
	if r.err != nil || !r.out.State.Success() || r.stdout != "right\n" || r.out.Complete {
		t.Fatalf("%v %+v %s", r.err, r.out, r.stderr)
	}
	got := lines(within(r.events, dir))
	const compared = " (seen by comparing the workspace; which process did it is not known)"
	has(t, got, "read in", "write out +create +truncate", "rename out -> final", "write old +create +append",
		"remove gone"+compared, "rename moved -> moved2"+compared, "write byshell +create"+compared, "read main.py")
	left, err := filepath.Glob(os.TempDir() + "/stemma-python-*")
	if err != nil || len(left) > 0 {
		t.Errorf("left in the temporary folder: %v %v", left, err)
	}
}
