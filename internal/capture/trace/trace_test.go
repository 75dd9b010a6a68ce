//go:build linux && (amd64 || arm64)

package trace_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/capture/trace"
)

// following names the back-ends that follow calls.
var following = []string{"seccomp-notify", "seccomp-ptrace", "ptrace"}

func python(t testing.TB) string {
	t.Helper()
	// What pyenv and the like put in its place is a shell script.
	for _, p := range []string{"/usr/bin/python3", "/usr/local/bin/python3"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	out, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatal("python3 is missing")
		}
		t.Skip("python3 is missing: sudo apt-get install python3")
	}
	return strings.TrimSpace(string(out))
}

var port = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// story writes what a run did inside its folder.
func story(events []trace.Event, dir string) string {
	var b strings.Builder
	for _, l := range lines(relevant(events, dir)) {
		l = strings.ReplaceAll(l, dir+"/", "")
		fmt.Fprintln(&b, port.ReplaceAllString(l, "127.0.0.1:PORT"))
	}
	return b.String()
}

// relevant keeps the events of a folder, and programs and connections, without
// the first: the interpreter.
func relevant(events []trace.Event, dir string) []trace.Event {
	var keep []trace.Event
	execs := 0
	for _, e := range events {
		switch e.Kind {
		case trace.Exec:
			if execs++; execs == 1 {
				continue
			}
			e.Path = filepath.Base(e.Path)
		case trace.Connect:
		default:
			if !strings.HasPrefix(e.Path, dir+"/") {
				continue
			}
		}
		keep = append(keep, e)
	}
	return keep
}

func TestFollow(t *testing.T) {
	datadriven.Walk(t, "testdata/follow", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			argv := []string{"sh", "-ec", d.Input}
			if d.Cmd == "python" {
				argv = []string{python(t), "-SIc", d.Input}
			}
			first := ""
			for _, name := range following {
				dir := real(t, t.TempDir())
				if err := os.WriteFile(dir+"/a", []byte("xax\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				r := run(t, backend(t, name), dir, argv...)
				if r.err != nil || !r.out.State.Success() {
					t.Fatalf("%s: %v %v %s", name, r.err, r.out, r.stderr)
				}
				if !r.out.Complete || len(r.out.Blind) > 0 {
					d.Fatalf(t, "%s: %+v", name, r.out)
				}
				got := story(r.events, dir)
				if d.HasArg("sorted") {
					ls := strings.SplitAfter(got, "\n")
					slices.Sort(ls)
					got = strings.Join(ls, "")
				}
				if first == "" {
					first = got
				}
				if diff := cmp.Diff(first, got); diff != "" {
					d.Fatalf(t, "%s differs from %s:\n%s", name, following[0], diff)
				}
			}
			return first
		})
	})
}
