package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkRun prints what `stemma run` adds to a command from beginning to end:
// starting, following, hashing, signing and recording. Each load runs with and
// without in turn, and of each the fastest round counts.
func BenchmarkRun(b *testing.B) {
	python, err := exec.LookPath("python3")
	if err != nil {
		b.Skip("missing: python3; sudo apt-get install python3")
	}
	if out, err := exec.Command(python, "-c", "import sys; print(sys.executable)").Output(); err == nil {
		python = strings.TrimSpace(string(out)) // what pyenv puts in its place is a shell script
	}
	loads, err := filepath.Abs(filepath.Join("..", "..", "internal", "capture", "testdata", "load"))
	if err != nil {
		b.Fatal(err)
	}
	b.Setenv("STEMMA_CONFIG", b.TempDir())
	b.Setenv("STEMMA_PRINCIPAL", "person:test@example.org")
	dir := b.TempDir()
	if out, err := inDir(dir, "stemma", "init").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	writeLoad(b, dir)
	for _, l := range []struct {
		name   string
		rounds int
		argv   []string
	}{
		{"start", 20, []string{"true"}},
		{"training", 3, []string{python, "-SI", filepath.Join(loads, "training.py")}},
		{"openstorm", 5, []string{python, "-SI", filepath.Join(loads, "storm.py")}},
	} {
		b.Run(l.name, func(b *testing.B) {
			var plain, run []time.Duration
			for b.Loop() {
				for range l.rounds {
					plain = append(plain, timed(b, dir, l.argv...))
					run = append(run, timed(b, dir, append([]string{"stemma", "run", "--quiet", "--"}, l.argv...)...))
				}
			}
			p, r := slices.Min(plain), slices.Min(run)
			b.Logf("none %.1f ms, stemma run %.1f ms: %+.1f ms, %.2f ×", float64(p)/1e6, float64(r)/1e6, float64(r-p)/1e6, float64(r)/float64(p))
			b.ReportMetric(float64(r-p)/1e6, "ms-more")
			b.ReportMetric(float64(r)/float64(p), "x-none")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func inDir(dir string, argv ...string) *exec.Cmd {
	c := exec.Command(argv[0], argv[1:]...)
	c.Dir = dir
	return c
}

func timed(b *testing.B, dir string, argv ...string) time.Duration {
	b.Helper()
	c := inDir(dir, argv...)
	began := time.Now()
	if out, err := c.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v: %s", argv[0], err, out)
	}
	return time.Since(began)
}

// writeLoad writes what the loads read.
func writeLoad(b *testing.B, dir string) {
	b.Helper()
	line := strings.Repeat("0.1250 ", 17) + "\n"
	for _, d := range []struct {
		name, text string
		n          int
	}{{"in", "some small content\n", 8000}, {"shards", strings.Repeat(line, 3000), 24}} {
		if err := os.Mkdir(filepath.Join(dir, d.name), 0o755); err != nil {
			b.Fatal(err)
		}
		for i := range d.n {
			if err := os.WriteFile(filepath.Join(dir, d.name, fmt.Sprint(i)), []byte(d.text), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
}
