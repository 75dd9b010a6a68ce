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
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/internal/capture/trace"
)

// The loads of the benchmark. Both come from the program itself, so that no
// interpreter's start is measured.
const (
	trainingSource = `
import hashlib, os, sys
block = bytes(1 << 20)
h = hashlib.sha256()
for i in range(400):
    h.update(block)
    if i % 40 == 39:
        with open("ckpt-%d.tmp" % i, "wb") as f:
            f.write(h.digest() * 4096)
        os.replace("ckpt-%d.tmp" % i, "ckpt.bin")
`
	stormSource = `
for i in range(8000):
    with open("in/%d" % i, "rb") as f:
        f.read()
`
)

// BenchmarkCapture prints what each back-end adds to two loads, as a ratio to
// the same load without capture, and per watched call. They are run in turn, and
// of each the fastest round counts: what else the machine does only adds.
func BenchmarkCapture(b *testing.B) {
	py := python(b)
	for _, load := range []struct{ name, source string }{{"training", trainingSource}, {"openstorm", stormSource}} {
		b.Run(load.name, func(b *testing.B) {
			dir := b.TempDir()
			if err := os.Mkdir(dir+"/in", 0o755); err != nil {
				b.Fatal(err)
			}
			for i := range 8000 {
				if err := os.WriteFile(filepath.Join(dir, "in", fmt.Sprint(i)), []byte("some small content\n"), 0o644); err != nil {
					b.Fatal(err)
				}
			}
			benchmarkLoad(b, dir, []string{py, "-SIc", load.source})
		})
	}
}

func benchmarkLoad(b *testing.B, dir string, argv []string) {
	const rounds = 5
	calls := map[string]int{}
	ways := map[string]func() error{
		"none": func() error { return plain(dir, argv...) },
	}
	order := []string{"none"}
	for _, name := range all {
		be, _ := trace.Select(context.Background(), name)
		if be == nil {
			b.Logf("%s does not work here", name)
			continue
		}
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
		b.Logf("%-15s %8.1f ms  %5.2f × %s", name, float64(m)/1e6, float64(m)/float64(none), per)
		b.ReportMetric(float64(m)/float64(none), "x-"+name)
	}
	b.ReportMetric(0, "ns/op")
}

func plain(dir string, argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, io.Discard, os.Stderr
	return cmd.Run()
}
