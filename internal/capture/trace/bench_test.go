//go:build linux && (amd64 || arm64)

package trace_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/internal/capture/trace"
)

// BenchmarkCapture prints what each back-end adds to loads, against the same
// load without capture, and per watched call. bare and bare-reading are the
// floor of seccomp-notify: the same calls, asked about and let go on at once.
// They are run in turn, and of each the fastest round counts: what else the
// machine does only adds.
func BenchmarkCapture(b *testing.B) {
	py := python(b)
	load := func(name string) string {
		path, err := filepath.Abs(filepath.Join("..", "testdata", "load", name))
		if err != nil {
			b.Fatal(err)
		}
		return path
	}
	dir := b.TempDir()
	writeLoad(b, dir)
	for _, l := range []struct {
		name   string
		rounds int
		argv   []string
	}{
		{"start", 20, []string{"true"}},
		{"training", 3, []string{py, "-SI", load("training.py")}},
		{"openstorm", 5, []string{py, "-SI", load("storm.py")}},
	} {
		b.Run(l.name, func(b *testing.B) { benchmarkLoad(b, dir, l.rounds, l.argv) })
	}
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

func benchmarkLoad(b *testing.B, dir string, rounds int, argv []string) {
	calls := map[string]int{}
	ways := map[string]func() error{
		"none": func() error { return plain(dir, argv...) },
	}
	order := []string{"none"}
	var backends []trace.Backend
	for _, name := range all {
		be, _ := trace.Select(context.Background(), name)
		if be == nil {
			b.Logf("%s does not work here", name)
			continue
		}
		if backends = append(backends, be); name == "seccomp-notify" {
			backends = append(backends, trace.Bare(true), trace.Bare(false))
		}
	}
	for _, be := range backends {
		name := be.Name()
		order = append(order, name)
		ways[name] = func() error {
			out, err := be.Run(context.Background(), trace.Command{Argv: argv, Dir: dir, Workspace: dir}, func(trace.Event) {})
			calls[name] = out.Calls
			return err
		}
	}
	if strace, err := exec.LookPath("strace"); err == nil {
		order = append(order, "strace")
		ways["strace"] = func() error {
			return plain(dir, append([]string{strace, "-f", "-e", "trace=%file", "-o", os.DevNull}, argv...)...)
		}
	} else {
		b.Log("strace is missing: sudo apt-get install strace")
	}
	times := map[string][]time.Duration{}
	for b.Loop() {
		for range rounds {
			for _, name := range order {
				began := time.Now()
				if err := ways[name](); err != nil {
					b.Fatal(name, err)
				}
				times[name] = append(times[name], time.Since(began))
			}
		}
	}
	none := slices.Min(times["none"])
	for _, name := range order {
		m := slices.Min(times[name])
		per := ""
		if n := calls[name]; n > 0 {
			per = fmt.Sprintf(", %.1f µs a watched call (%d)", float64(m-none)/float64(n)/1e3, n)
		}
		b.Logf("%-15s %8.1f ms  %+8.1f ms  %5.2f ×%s", name, float64(m)/1e6, float64(m-none)/1e6, float64(m)/float64(none), per)
		b.ReportMetric(float64(m)/float64(none), "x-"+name)
	}
	b.ReportMetric(0, "ns/op")
}

func plain(dir string, argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, io.Discard, os.Stderr
	return cmd.Run()
}
