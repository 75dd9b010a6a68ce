package bench

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// BenchmarkRestart writes the snapshot of the made history to a file, and
// begins again from it: map, decode, answer. Cold is after the system was
// told to forget the file's pages, warm is right after that. Against it
// stands folding the whole log.
func BenchmarkRestart(b *testing.B) {
	w := madeWorld(b)
	path := filepath.Join(b.TempDir(), "graph")
	start := time.Now()
	err := durable.Write(path, 0o600, func(f io.Writer) error {
		_, err := w.g.WriteTo(f)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	wrote := time.Since(start)
	st, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	want := firstAnswer(w.g, w.chain[1])
	for b.Loop() {
		forget(b, path)
		cold := restart(b, path, w.chain[1], want)
		warm := restart(b, path, w.chain[1], want)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(w.g.Things()), "things")
		b.ReportMetric(wrote.Seconds()*1000, "write-ms")
		b.ReportMetric(cold.Seconds()*1000, "cold-ms")
		b.ReportMetric(warm.Seconds()*1000, "warm-ms")
		b.ReportMetric(float64(st.Size())/float64(w.g.Relations()), "file-B/relation")
		b.ReportMetric(float64(w.g.Size())/w.folding.Seconds(), "refold/s")
		b.ReportMetric(w.folding.Seconds()/warm.Seconds(), "refold/warm")
	}
}

func firstAnswer(g *graph.Graph, last prov.Ref) int {
	v := g.At(prov.Now)
	return reach(v, v.Lookup(last), false)
}

func restart(b *testing.B, path string, last prov.Ref, want int) time.Duration {
	b.Helper()
	start := time.Now()
	data, err := durable.Map(path)
	if err != nil {
		b.Fatal(err)
	}
	g, err := graph.Decode(data)
	if err != nil {
		b.Fatal(err)
	}
	if got := firstAnswer(g, last); got != want {
		b.Fatalf("the first answer has %d things, must have %d", got, want)
	}
	took := time.Since(start)
	if err := unix.Munmap(data); err != nil {
		b.Fatal(err)
	}
	return took
}

// forget asks the system to drop the file's pages from memory.
func forget(b *testing.B, path string) {
	b.Helper()
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		b.Fatal(err)
	}
}
