//go:build linux && (amd64 || arm64)

package trace_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/capture/trace"
)

// socketDir is short, because the path of a socket must be.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "st")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// inner is the command line of a recorder.
func inner(method, socket, id, report string, argv ...string) []string {
	return append([]string{os.Args[0], "program", "record", method, socket, id, report}, argv...)
}

func TestNested(t *testing.T) {
	each(t, following, func(t *testing.T, name string) {
		dir, sock, rep := real(t, t.TempDir()), socketDir(t), t.TempDir()
		if err := os.WriteFile(dir+"/a", []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		script := "cat a; " + quote(inner("auto", sock+"/2", "second", rep+"/2", "sh", "-c", "cat a > b; "+quote(inner("auto", "", "third", rep+"/3", "sh", "-c", "cat b > c"))+"; cat c > d")) + "; cat d > e"
		cmd, report := recorder(t, dir, name, sock+"/1", "first", "sh", "-c", script)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		first, second, third := report(), readReport(t, rep+"/2"), readReport(t, rep+"/3")
		for _, r := range []recorded{second, third} {
			if r.Backend != "outer" || !r.Complete || len(r.Blind) > 0 {
				t.Errorf("%+v", r)
			}
		}
		if first.Backend != name || !first.Complete {
			t.Errorf("%+v", first)
		}
		cmpLines(t, "third", third.Lines, "write c +create +truncate", "read b")
		cmpLines(t, "second", second.Lines, "write b +create +truncate", "read a", "write d +create +truncate", "read c")
		cmpLines(t, "third in second", second.InSub, "third: write c +create +truncate", "third: read b")
		cmpLines(t, "first", first.Lines, "read a", "write e +create +truncate", "read d")
		// The first knows the second, and the second knows the third.
		cmpLines(t, "second in first", first.InSub, "second: write b +create +truncate", "second: read a", "second: write d +create +truncate", "second: read c",
			"second: write c +create +truncate", "second: read b")
		if diff := cmp.Diff([]string{"second"}, first.Subs); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"third"}, second.Subs); diff != "" {
			t.Error(diff)
		}
	})
}

func cmpLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	got = slices.Sorted(slices.Values(got))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

func readReport(t testing.TB, path string) recorded {
	t.Helper()
	b, err := os.ReadFile(path)
	var r recorded
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func quote(argv []string) string {
	q := make([]string, len(argv))
	for i, a := range argv {
		q[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return strings.Join(q, " ")
}

// TestForeignFilter: below a tool that already answers system calls, which is
// what a recorder is to one that does not know of it, the ways that would see
// nothing are found out and another is taken.
func TestForeignFilter(t *testing.T) {
	want := map[string]string{"seccomp-notify": "ptrace", "seccomp-ptrace": "seccomp-notify", "ptrace": "seccomp-notify"}
	each(t, following, func(t *testing.T, name string) {
		dir, rep := real(t, t.TempDir()), t.TempDir()
		argv := inner("auto", "", "inner", rep+"/inner", os.Args[0], "program", "slow", dir, "3", "0")
		cmd, _ := recorder(t, dir, name, "", "outer", argv...)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		r := readReport(t, rep+"/inner")
		if r.Backend != want[name] {
			t.Errorf("%+v", r)
		}
		has(t, r.Lines, "write f2 +create +truncate", "read f2")
	})
}

// TestEveryWayWithinEveryOther: whatever is nested in whatever, without one
// knowing of the other, the command does its work.
func TestEveryWayWithinEveryOther(t *testing.T) {
	for _, out := range all {
		for _, in := range all {
			t.Run(in+" in "+out, func(t *testing.T) {
				dir, rep := real(t, t.TempDir()), t.TempDir()
				argv := inner(in, "", "inner", rep+"/inner", os.Args[0], "program", "slow", dir, "3", "0")
				cmd, report := recorder(t, dir, out, "", "outer", argv...)
				errOut := tempFile(t)
				cmd.Stderr = errOut
				err := cmd.Run()
				if cmd.ProcessState.ExitCode() == 99 {
					t.Logf("refused: %s", readBack(t, errOut))
					return
				}
				if err != nil || !exists(dir+"/done") {
					t.Fatal(err, readBack(t, errOut))
				}
				if r := report(); out != "snapshot" && r.Complete && !slices.Contains(r.Lines, "write f2 +create +truncate") {
					t.Errorf("complete without what happened: %+v", r)
				}
			})
		}
	}
}

func TestOuterRunGone(t *testing.T) {
	backend(t, "seccomp-notify")
	dir, sock, rep := real(t, t.TempDir()), socketDir(t), t.TempDir()
	argv := inner("auto", "", "inner", rep+"/inner", os.Args[0], "program", "slow", dir, "500", "1")
	cmd, _ := recorder(t, dir, "seccomp-notify", sock+"/1", "outer", argv...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command's 10th file", func() bool { return exists(dir + "/f10") })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	eventually(t, "the command's end", func() bool { return exists(dir + "/done") })
	eventually(t, "the inner recorder's end", func() bool { return exists(rep + "/inner") })
	r := readReport(t, rep+"/inner")
	if r.Complete || !slices.ContainsFunc(r.Blind, func(b trace.Blind) bool { return b.Class == trace.BlindOuter }) {
		t.Errorf("%+v", r.Blind)
	}
}

// TestSubRunOfSnapshot: an outer run that follows no calls is told all the same.
func TestSubRunOfSnapshot(t *testing.T) {
	dir, sock, rep := real(t, t.TempDir()), socketDir(t), t.TempDir()
	argv := inner("auto", "", "inner", rep+"/inner", os.Args[0], "program", "slow", dir, "3", "0")
	cmd, report := recorder(t, dir, "snapshot", sock+"/1", "outer", argv...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if r := report(); !slices.Contains(r.Subs, "inner") {
		t.Errorf("%+v", r)
	}
	if r := readReport(t, rep+"/inner"); r.Backend == "outer" || r.Backend == "snapshot" {
		t.Errorf("%+v", r)
	}
}

func TestFallbackOrder(t *testing.T) {
	want := append([]string{"outer"}, all...)
	if diff := cmp.Diff(want, trace.Methods()); diff != "" {
		t.Fatal(diff)
	}
	t.Setenv(trace.SocketEnv, filepath.Join(t.TempDir(), "dead"))
	for i := range all {
		t.Run(all[i], func(t *testing.T) {
			t.Setenv(trace.DisableEnv, strings.Join(all[:i], ","))
			b, tried := trace.Select(t.Context(), "auto")
			if b == nil || b.Name() != all[i] || len(tried) != i+2 {
				t.Errorf("%v %v", b, tried)
			}
		})
	}
	if b, tried := trace.Select(t.Context(), "magic"); b != nil || len(tried) != 1 || !strings.Contains(fmt.Sprint(tried[0].Err), "seccomp-notify") {
		t.Errorf("%v %v", b, tried)
	}
}
