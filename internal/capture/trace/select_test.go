//go:build linux && (amd64 || arm64)

package trace_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/capture/trace"
)

// TestFirst: a run itself finds the back-end that works, starts the command
// once, and says what it tried.
func TestFirst(t *testing.T) {
	tried := func(attempts []trace.Attempt) (names []string) {
		for _, a := range attempts {
			name := a.Name
			if a.Err == nil {
				name += " works"
			}
			names = append(names, name)
		}
		return names
	}
	for _, c := range []struct {
		method, disabled string
		want             []string
	}{
		{"auto", "", []string{"outer", "seccomp-notify works"}},
		{"", "seccomp-notify", []string{"outer", "seccomp-notify", "seccomp-ptrace works"}},
		{"", "seccomp-notify,seccomp-ptrace,ptrace", []string{"outer", "seccomp-notify", "seccomp-ptrace", "ptrace", "snapshot works"}},
		{"ptrace", "seccomp-notify", []string{"ptrace works"}},
	} {
		t.Run(c.method+" without "+c.disabled, func(t *testing.T) {
			for _, name := range all {
				backend(t, name)
			}
			t.Setenv(trace.DisableEnv, c.disabled)
			dir := real(t, t.TempDir())
			r := run(t, trace.First(c.method), dir, "sh", "-c", "echo x >> once; exit 3")
			if r.err != nil || r.out.State.ExitCode() != 3 {
				t.Fatalf("%v %+v", r.err, r.out)
			}
			if diff := cmp.Diff(c.want, tried(r.out.Tried)); diff != "" {
				t.Error(diff)
			}
			if b, err := os.ReadFile(dir + "/once"); err != nil || string(b) != "x\n" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
	t.Run("what the command itself lacks is tried once", func(t *testing.T) {
		r := run(t, trace.First(""), t.TempDir(), "./missing")
		var own *trace.CommandError
		if !errors.As(r.err, &own) || !errors.Is(r.err, fs.ErrNotExist) || r.out.State != nil {
			t.Errorf("%v %+v", r.err, r.out)
		}
	})
	t.Run("none", func(t *testing.T) {
		t.Setenv(trace.DisableEnv, "seccomp-notify,seccomp-ptrace,ptrace,snapshot")
		_, err := trace.First("").Run(context.Background(), trace.Command{Argv: []string{"true"}}, nil)
		var none *trace.NoneError
		if !errors.As(err, &none) || len(none.Tried) != 5 || none.Tried[4].Err == nil {
			t.Errorf("%v", err)
		}
	})
}
