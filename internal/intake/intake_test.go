//go:build linux

package intake

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/formats"
	"github.com/stemma-lineage/stemma/internal/importer/git"
)

// TestFind lists what is below a folder, what cannot be read included.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write("a/bom.json", `{"bomFormat":"CycloneDX","specVersion":"1.6"}`)
	write("a/notes.txt", "x")
	write("a/empty", "")
	write("a/shut.json", `{"bomFormat":"CycloneDX"}`)
	write("a/shut/in.json", `{"bomFormat":"CycloneDX"}`)
	write("a/.git/HEAD", "ref: refs/heads/main\n")
	write("a/.git/objects/x", "x")
	write("a/.git/refs/x", "x")
	write("a/.stemma/log", "x")
	write("a/bare/HEAD", "0123456789abcdef0123456789abcdef01234567\n")
	write("a/bare/objects/x", "x")
	write("a/bare/refs/x", "x")
	write("a/tree/.git", "gitdir: ../.git/worktrees/tree\n")
	write("a/.git/worktrees/tree/HEAD", "ref: refs/heads/w\n")
	write("a/.git/worktrees/tree/commondir", "../..\n")
	must(os.Symlink("bom.json", filepath.Join(dir, "a", "link")))
	must(os.Symlink(".", filepath.Join(dir, "a", "round")))
	must(syscall.Mkfifo(filepath.Join(dir, "a", "pipe"), 0o644))
	must(os.Chmod(filepath.Join(dir, "a", "shut.json"), 0))
	must(os.Chmod(filepath.Join(dir, "a", "shut"), 0))
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "a", "shut"), 0o755) })

	must(os.Chmod(dir, 0o755))
	must(os.Chmod(filepath.Dir(dir), 0o755))
	find := func(path string, ims []importer.Importer, sure bool) string {
		t.Helper()
		got, err := Find(path, ims, sure)
		if err != nil {
			t.Error(err)
		}
		var b strings.Builder
		for _, f := range got {
			rel := strings.TrimPrefix(f.Path, dir+"/")
			what := string(f.Why)
			if f.Format != nil {
				what = f.Format.Name()
			}
			fmt.Fprintf(&b, "%s: %s\n", rel, what)
			if (f.Why == CannotRead) != (f.Err != nil) {
				t.Errorf("%s: %q, and the error %v", rel, f.Why, f.Err)
			}
		}
		return b.String()
	}
	all := formats.All(formats.Options{})
	var auto, named, one string
	// Another user's eyes, for whoever may read everything.
	done := make(chan bool)
	go func() {
		defer close(done)
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // and never let go: the thread ends with the goroutine
			if err := syscall.Setfsuid(65534); err != nil {
				t.Error(err)
				return
			}
		}
		auto = find(filepath.Join(dir, "a"), all, false)
		named = find(filepath.Join(dir, "a"), []importer.Importer{git.Importer{}}, true)
		one = find(filepath.Join(dir, "a", "tree"), []importer.Importer{git.Importer{}}, true)
	}()
	<-done
	want := `a/.git: folder of Stemma's or git's own, not entered
a/.stemma: folder of Stemma's or git's own, not entered
a/bare/HEAD: not recognised
a/bare/objects/x: not recognised
a/bare/refs/x: not recognised
a/bom.json: cyclonedx
a/empty: empty file
a/link: symbolic link, not followed
a/notes.txt: not recognised
a/pipe: not a regular file
a/round: symbolic link, not followed
a/shut: cannot be read
a/shut.json: cannot be read
a/tree/.git: not recognised
`
	if diff := cmp.Diff(want, auto); diff != "" {
		t.Errorf("auto (-want +got):\n%s", diff)
	}
	if want := "a/.git/HEAD: git\n"; named != want {
		t.Errorf("a repository gives\n%swant\n%s", named, want)
	}
	if want := "a/.git/worktrees/tree/HEAD: git\n"; one != want {
		t.Errorf("a working tree gives\n%swant\n%s", one, want)
	}
	must(os.Remove(filepath.Join(dir, "a", ".git", "HEAD")))
	if got := find(filepath.Join(dir, "a", "bare"), []importer.Importer{git.Importer{}}, true); got != "a/bare/HEAD: git\n" {
		t.Errorf("a bare repository gives\n%s", got)
	}
}
