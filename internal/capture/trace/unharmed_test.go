//go:build linux && (amd64 || arm64)

package trace_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/capture/trace"
)

// all names every back-end that can be asked for outside of another run.
var all = append(slices.Clone(following), "snapshot")

// eventually waits for a condition that another process brings about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s did not happen in 20 s", what)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// recorder starts a recorder of its own process.
func recorder(t testing.TB, dir, method, socket, id string, argv ...string) (*exec.Cmd, func() recorded) {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report")
	cmd := exec.Command(os.Args[0], append([]string{"program", "record", method, socket, id, report}, argv...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir()) // one that is killed cannot clear up
	return cmd, func() recorded {
		t.Helper()
		return readReport(t, report)
	}
}

func each(t *testing.T, names []string, f func(t *testing.T, name string)) {
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			backend(t, name)
			f(t, name)
		})
	}
}

func TestExitStatus(t *testing.T) {
	each(t, all, func(t *testing.T, name string) {
		r := run(t, backend(t, name), t.TempDir(), "sh", "-c", "exit 42")
		if r.err != nil || r.out.State.ExitCode() != 42 {
			t.Errorf("exit 42: %v, %v", r.err, r.out.State)
		}
		r = run(t, backend(t, name), t.TempDir(), "sh", "-c", "kill -SEGV $$")
		ws, _ := r.out.State.Sys().(syscall.WaitStatus)
		if r.err != nil || ws.Signal() != syscall.SIGSEGV {
			t.Errorf("killed by SIGSEGV: %v, %v", r.err, r.out.State)
		}
	})
}

func TestCommandThatCannotStart(t *testing.T) {
	each(t, all, func(t *testing.T, name string) {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/text", []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		for cmd, want := range map[string]error{"./missing": fs.ErrNotExist, "no-such-command-anywhere": exec.ErrNotFound, "./text": fs.ErrPermission} {
			if r := run(t, backend(t, name), dir, cmd); !errors.Is(r.err, want) || r.out.State != nil {
				t.Errorf("%s: %v, want %v", cmd, r.err, want)
			}
		}
	})
}

func TestFailedCalls(t *testing.T) {
	each(t, following, func(t *testing.T, name string) {
		dir := real(t, t.TempDir())
		r := run(t, backend(t, name), dir, "sh", "-c", "cat missing; no/such/program; ./text; echo $?")
		if r.stdout != "127\n" || !r.out.Complete {
			t.Errorf("%q %q %+v", r.stdout, r.stderr, r.out)
		}
	})
}

// TestWorldOfTheCommand compares what a command finds with and without us.
func TestWorldOfTheCommand(t *testing.T) {
	const script = `echo "$0 $@"; pwd; umask; ulimit -Sn; ulimit -Hn; ulimit -c; env | grep -v -e ^_= -e ^PYTHONPATH= -e ^STEMMA_TRACE_PYTHON= | sort; ls -l /proc/self/fd | sed 's/.* \([0-9]*\) -> \(.*\)/\1 \2/' | grep -v -e /proc/ -e pipe: | sort; grep -e SigIgn -e SigBlk -e SigPnd /proc/self/status; cat /proc/self/fd/777; ps -o pgid= -p $$ >/dev/null; cat`
	dir := real(t, t.TempDir())
	fd7, err := os.Create(dir + "/seven")
	if err != nil {
		t.Fatal(err)
	}
	defer fd7.Close()
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	do := func(t *testing.T, f func(in, out *os.File)) string {
		t.Helper()
		if err := os.WriteFile(dir+"/stdin", []byte("from stdin\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		in, err := os.Open(dir + "/stdin")
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		out, err := os.Create(dir + "/stdout")
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		// An inherited descriptor, as from <(…) of a shell.
		if err := syscall.Dup3(int(fd7.Fd()), 777, 0); err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(777)
		f(in, out)
		b, err := os.ReadFile(dir + "/stdout")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	env := append(os.Environ(), "ODD=a b\tc", "GOMAXPROCS=3")
	argv := []string{"sh", "-c", script, "zero", "one two", ""}
	want := do(t, func(in, out *os.File) {
		cmd := exec.Command("sh", argv[1:]...)
		cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, env, in, out, out
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
	})
	if !strings.Contains(want, "from stdin") || !strings.Contains(want, "777 "+dir+"/seven") {
		t.Fatalf("the test itself: %s", want)
	}
	each(t, all, func(t *testing.T, name string) {
		got := do(t, func(in, out *os.File) {
			r := runCommandTo(t, backend(t, name), trace.Command{Argv: argv, Dir: dir, Env: env, Stdin: in, Stdout: out, Stderr: out})
			if r.err != nil || !r.out.State.Success() {
				t.Fatal(r.err, r.out.State)
			}
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// TestRecorderKilled: the command goes on and ends well when its recorder is
// killed in the middle.
func TestRecorderKilled(t *testing.T) {
	each(t, all, func(t *testing.T, name string) {
		dir := real(t, t.TempDir())
		cmd, _ := recorder(t, dir, name, "", "", os.Args[0], "program", "slow", dir, "2000", "0")
		errOut := tempFile(t)
		cmd.Stderr = errOut
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the command's 100th file", func() bool { return exists(dir + "/f100") })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		if exists(dir + "/done") {
			t.Fatal("the command ended before its recorder was killed")
		}
		eventually(t, "the command's end", func() bool { return exists(dir + "/done") })
		for i := range 2000 {
			want := fmt.Sprintf("%s/f%d", dir, i)
			if b, err := os.ReadFile(want); err != nil || string(b) != want {
				t.Fatalf("%v %q", err, b)
			}
		}
		if s := readBack(t, errOut); s != "" {
			t.Errorf("the command complained: %s", s)
		}
	})
}

// TestRecorderStopped: a recorder that stands still holds nothing up for long.
func TestRecorderStopped(t *testing.T) {
	each(t, following, func(t *testing.T, name string) {
		dir := real(t, t.TempDir())
		cmd, report := recorder(t, dir, name, "", "", os.Args[0], "program", "slow", dir, "300", "1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the command's 10th file", func() bool { return exists(dir + "/f10") })
		if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the command's end", func() bool { return exists(dir + "/done") })
		if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		r := report()
		if name == "seccomp-notify" {
			if r.Complete || len(r.Blind) != 1 || r.Blind[0].Class != trace.BlindStalled {
				t.Errorf("%+v", r.Blind)
			}
		} else if !r.Complete {
			t.Errorf("%+v", r.Blind)
		}
	})
}

// TestLeftBehind: what goes on after the command has ended is told, and lives.
func TestLeftBehind(t *testing.T) {
	each(t, following, func(t *testing.T, name string) {
		dir := real(t, t.TempDir())
		r := run(t, backend(t, name), dir, "sh", "-c", os.Args[0]+" program slow "+dir+" 100 10 >/dev/null 2>&1 & echo started")
		if r.err != nil || r.stdout != "started\n" {
			t.Fatalf("%v %q", r.err, r.stdout)
		}
		if exists(dir + "/done") {
			t.Fatal("Run waited for what was left behind")
		}
		if r.out.Complete || !slices.ContainsFunc(r.out.Blind, func(b trace.Blind) bool { return b.Class == trace.BlindLeft }) {
			t.Errorf("%+v", r.out)
		}
		eventually(t, "the end of what was left behind", func() bool { return exists(dir + "/done") })
	})
}

// TestTracerKilled: without a filter, even the death of the tracer does no harm.
func TestTracerKilled(t *testing.T) {
	backend(t, "ptrace")
	dir := real(t, t.TempDir())
	cmd, report := recorder(t, dir, "ptrace", "", "", os.Args[0], "program", "slow", dir, "500", "1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command's 10th file", func() bool { return exists(dir + "/f10") })
	killHelper(t, cmd.Process.Pid, "__stemma-trace-tracer")
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if r := report(); !exists(dir+"/done") || r.Complete || r.Blind[0].Class != trace.BlindRecorder {
		t.Errorf("%+v", r)
	}
}

// TestKeeperKilled: the recorder answers alone.
func TestKeeperKilled(t *testing.T) {
	backend(t, "seccomp-notify")
	dir := real(t, t.TempDir())
	cmd, report := recorder(t, dir, "seccomp-notify", "", "", os.Args[0], "program", "slow", dir, "500", "1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command's 10th file", func() bool { return exists(dir + "/f10") })
	killHelper(t, cmd.Process.Pid, "__stemma-trace-keeper")
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if r := report(); !exists(dir+"/done") || !r.Complete {
		t.Errorf("%+v", r)
	}
}

// TestNothingIsKept: a run leaves no descriptor, thread or process behind.
func TestNothingIsKept(t *testing.T) {
	each(t, all, func(t *testing.T, name string) {
		b := backend(t, name)
		count := func() int {
			d, err := os.ReadDir("/proc/self/fd")
			if err != nil {
				t.Fatal(err)
			}
			return len(d)
		}
		dir := t.TempDir()
		do := func() {
			if _, err := b.Run(t.Context(), trace.Command{Argv: []string{"true"}, Dir: dir, Workspace: dir, Socket: dir + "/s"}, nil); err != nil {
				t.Fatal(err)
			}
		}
		do()
		before := count()
		for range 5 {
			do()
			if _, err := b.Run(t.Context(), trace.Command{Argv: []string{"./missing"}, Dir: dir}, nil); err == nil {
				t.Fatal("no error")
			}
		}
		eventually(t, "the end of the helper processes", func() bool {
			tasks, _ := filepath.Glob("/proc/self/task/*/children")
			for _, task := range tasks {
				if b, _ := os.ReadFile(task); len(b) > 0 {
					return false
				}
			}
			return true
		})
		if after := count(); after > before {
			t.Errorf("%d descriptors, were %d", after, before)
		}
	})
}

// killHelper kills a helper process of one recorder.
func killHelper(t testing.TB, recorder int, arg string) {
	t.Helper()
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", recorder, recorder))
	if err != nil {
		t.Fatal(err)
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", recorder))
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		children = append(children, b...)
	}
	for _, f := range strings.Fields(string(children)) {
		line, _ := os.ReadFile("/proc/" + f + "/cmdline")
		if strings.Contains(string(line), arg) {
			var pid int
			fmt.Sscan(f, &pid)
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no helper %s among %s", arg, children)
}
