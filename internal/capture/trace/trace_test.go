//go:build linux && (amd64 || arm64)

package trace_test

import (
	"os"
	"testing"
)

var following = []string{"seccomp-notify", "seccomp-ptrace", "ptrace"}

func TestStaticBinary(t *testing.T) {
	for _, name := range following {
		t.Run(name, func(t *testing.T) {
			dir := real(t, t.TempDir())
			if err := os.WriteFile(dir+"/in", []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
			r := run(t, backend(t, name), dir, os.Args[0], "program", "copy", "in", "out")
			if r.err != nil || r.out.State.ExitCode() != 0 {
				t.Fatalf("%v %v %s", r.err, r.out, r.stderr)
			}
			got := lines(within(r.events, dir))
			has(t, got, "read in", "write out +create +truncate")
			t.Logf("%+v\n%v", r.out, lines(r.events))
		})
	}
}
