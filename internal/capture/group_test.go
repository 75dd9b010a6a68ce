package capture

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/capture/trace"
)

func many(dir string, n int) []*File {
	var out []*File
	for i := range n {
		out = append(out, &File{Path: fmt.Sprintf("%s/%04d.png", dir, i), SHA256: fmt.Sprintf("%064x", i), Class: Input})
	}
	return out
}

func names(items []item) string {
	var out []string
	for _, it := range items {
		if it.file == nil {
			out = append(out, fmt.Sprintf("%s/ (%d)", it.dir, len(it.members)))
		} else {
			out = append(out, it.file.Path)
		}
	}
	return strings.Join(out, " ")
}

func TestGroup(t *testing.T) {
	files := append(many("data/img/cat", 300), many("data/img/dog", 70)...)
	files = append(files, many("data/few", 2)...)
	files = append(files, &File{Path: "train.py", SHA256: "1"}, &File{Path: "data/img/cat/unknown.png"}, &File{Path: "/mnt/x", SHA256: "2"}, &File{Path: "~/y", SHA256: "3"})
	want := "/mnt/x data/few/0000.png data/few/0001.png data/img/cat/ (300) data/img/cat/unknown.png data/img/dog/ (70) train.py ~/y"
	if got := names(group(files, asOutput)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var classes []*File
	for i := range 100 {
		classes = append(classes, many(fmt.Sprintf("imagenet/train/n%03d", i), 70)...)
	}
	if got, want := names(group(classes, asOutput)), "imagenet/train/ (7000)"; got != want {
		t.Errorf("folders of folders: %s, want %s", got, want)
	}
	var deep []*File // wide, and no folder holds many
	for i := range 5000 {
		deep = append(deep, many(fmt.Sprintf("a%02d/b%02d/c%d", i%40, i/40%40, i), 1)...)
	}
	if got := group(deep, asOutput); len(got) > maxItems {
		t.Errorf("%d items", len(got))
	}
	n := 0
	for _, it := range group(deep, asOutput) {
		n += max(1, len(it.members))
	}
	if n != len(deep) {
		t.Errorf("%d of %d files are left", n, len(deep))
	}
}

// sha256sum -c checks a manifest.
func TestManifest(t *testing.T) {
	dir := t.TempDir()
	it := item{dir: "d"}
	d := openDigests("")
	for _, n := range []string{"a.csv", `back\slash`, "line\nbreak", "sub/ü b"} {
		p := filepath.Join(dir, n)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(n), 0o644); err != nil {
			t.Fatal(err)
		}
		id, _ := identify(p)
		sum, err := d.hash(p, id)
		if err != nil {
			t.Fatal(err)
		}
		it.members = append(it.members, &File{Path: "d/" + n, SHA256: sum})
	}
	m := it.manifest(asOutput)
	if _, err := exec.LookPath("sha256sum"); err != nil {
		t.Skip("there is no sha256sum")
	}
	c := exec.Command("sha256sum", "-c", "-")
	c.Dir, c.Stdin = dir, strings.NewReader(string(m))
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, m)
	}
}

func TestDigests(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "f")
	cache := filepath.Join(dir, "cache", "digests")
	write := func(s string) identity {
		t.Helper()
		if err := os.WriteFile(p, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
		id, _ := identify(p)
		return id
	}
	old := write("a")
	d := openDigests(cache)
	if _, err := d.hash(p, old); err != nil {
		t.Fatal(err)
	}
	if _, ok := d.known(old); ok {
		t.Error("a file that was just written is in the cache")
	}
	d.racy = 0
	if _, err := d.hash(p, old); err != nil {
		t.Fatal(err)
	}
	if _, ok := d.known(old); !ok || d.save() != nil {
		t.Error("it is not in the cache")
	}
	if sum, ok := openDigests(cache).known(old); !ok || !strings.HasPrefix(sum, "ca978112") {
		t.Errorf("out of the file: %s %v", sum, ok)
	}
	b, err := os.ReadFile(cache)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(cache, b, 0o644); err != nil {
		t.Fatal(err)
	}
	damaged := openDigests(cache)
	damaged.once.Do(damaged.load)
	if n := len(damaged.kept); n != 0 {
		t.Errorf("a damaged cache gives %d digests", n)
	}
	d = openDigests("")
	write("longer")
	if _, err := d.hash(p, old); err != errChanged {
		t.Errorf("a file that changed: %v", err)
	}
	if err := os.Remove(p); err != nil {
		t.Fatal(err)
	}
	if _, err := d.hash(p, old); err == nil {
		t.Error("a file that is gone has a digest")
	}
	if id, _ := identify(dir); id.dir {
		if _, err := d.hash(dir, id); err == nil {
			t.Error("a folder has a digest")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.ctx = ctx
	if _, err := d.hash(p, write("new")); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("interrupted: %v", err)
	}
}

func TestPython(t *testing.T) {
	dir := t.TempDir()
	site := filepath.Join(dir, "lib", "python3.12", "site-packages")
	for n, text := range map[string]string{
		"numpy-2.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: numpy\nVersion: 2.0\n\nName: not this\n",
		"numpy-2.0.dist-info/RECORD":   "numpy/__init__.py,sha256=abc,12\n",
		"old.egg-info/PKG-INFO":        "Name: old\nVersion: 1\n",
		"odd-1.dist-info/x":            "",
	} {
		p := filepath.Join(site, n)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := newSurroundings(filepath.Join(dir, "w"), []string{"HOME=/nonexistent"})
	p := s.place(filepath.Join(dir, "lib", "python3.12", "os.py"))
	got := pythonOf([]*File{{Class: Environment, Rule: "python", place: p}}, openDigests(""))
	want := `python 3.12
numpy 2.0 sha256:6b7d3c5da8d8b7a1ab4a9e4d4b4c36e2f5bf3f5d0dbd8ba2d5bba9e6ff7f3f3e
odd-1  none
old 1 none
`
	if got == nil || got.Packages != 3 || got.Version != "3.12" {
		t.Fatalf("got %+v", got)
	}
	text := strings.Split(string(got.Manifest), "\n")
	for i, l := range strings.Split(want, "\n") {
		if i != 1 && text[i] != l {
			t.Errorf("line %d is %q, want %q", i, text[i], l)
		}
	}
	if !strings.HasPrefix(text[1], "numpy 2.0 sha256:") {
		t.Errorf("line 1 is %q", text[1])
	}
	if pythonOf([]*File{{Class: Absent, Rule: "python", place: p}}, openDigests("")) != nil {
		t.Error("what was looked for and not found is an environment")
	}
}

func TestMachine(t *testing.T) {
	root := t.TempDir()
	for n, text := range map[string]string{
		"etc/os-release":    "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n",
		"proc/self/cgroup":  "0::/system.slice/docker-" + strings.Repeat("ab", 32) + ".scope\n",
		"run/.containerenv": "engine=\"podman\"\nimage=\"quay.io/x/y@sha256:" + strings.Repeat("c", 64) + "\"\nimageid=\"" + strings.Repeat("d", 64) + "\"\n",
	} {
		p := filepath.Join(root, n)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	env, image := machine(root, func(string) string { return "" })
	if env["system"] != "Debian GNU/Linux 12" || env["container"] != "docker abababababab" || env["imageID"] == "" {
		t.Errorf("%v", env)
	}
	if ref, digest, ok := imageRef(image); !ok || ref.String() != "image:quay.io/x/y" || digest["sha256"] == "" {
		t.Errorf("%s gives %v %v", image, ref, digest)
	}
	if ref, _, _ := imageRef("localhost:5000/a/b:1.2"); ref.String() != "image:localhost:5000/a/b@1.2" {
		t.Errorf("%v", ref)
	}
}

// BenchmarkFinish is what a run of 8,000 small inputs costs after its end,
// with every digest in the cache.
func BenchmarkFinish(b *testing.B) {
	dir := b.TempDir()
	const n = 8000
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d.txt", i)), []byte(fmt.Sprint(i)), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	dir = real(dir)
	for b.Loop() {
		x := Begin(b.Context(), Options{Workspace: dir, Dir: dir}, trace.Command{Argv: []string{"x"}})
		x.digests.racy = 0
		for i := range n {
			x.event(trace.Event{Kind: trace.Read, Path: fmt.Sprintf("%s/%04d.txt", dir, i)})
		}
		x.Finish(b.Context())
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/file")
}
