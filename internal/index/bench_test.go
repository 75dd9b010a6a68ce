package index_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stemma-lineage/stemma/internal/index"
	"github.com/stemma-lineage/stemma/vindex"
)

// cpu is the processor time that this process has used. On a machine that does
// other work too it tells more than the clock.
func cpu() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// benchEntry has eight keys: five of its own, one of a thing that some entries
// name, one of an owner and one of the service that runs everything.
func benchEntry(r *rand.Rand, i int) []byte {
	var b []byte
	add := func(what, n int) {
		h := sha256.Sum256(binary.BigEndian.AppendUint64([]byte{byte(what)}, uint64(n)))
		b = append(b, h[:]...)
	}
	for n := range 5 {
		add(0, 5*i+n)
	}
	add(0, r.IntN(5*i+1))
	add(1, r.IntN(1000))
	add(2, 0)
	return b
}

// BenchmarkLog indexes logs with the root after each batch of 1,000 entries,
// and asks for roots of earlier sizes.
func BenchmarkLog(b *testing.B) {
	for _, entries := range []int{40_000, 200_000} {
		b.Run(fmt.Sprint(entries), func(b *testing.B) {
			for b.Loop() {
				benchLog(b, entries)
			}
		})
	}
}

func benchLog(b *testing.B, entries int) {
	r := rand.New(rand.NewPCG(1, 1))
	before, start, clock := heap(), cpu(), time.Now()
	x := index.New(keys)
	for i := range entries {
		if err := x.Apply(uint64(i), benchEntry(r, i)); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 999 {
			root(b, x, uint64(i+1))
		}
	}
	root(b, x, x.Size())
	b.ReportMetric(float64(8*entries)/(cpu()-start).Seconds(), "updates/cpu-s")
	b.ReportMetric(float64(8*entries)/time.Since(clock).Seconds(), "updates/s")
	n, err := x.Len(x.Size())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(heap()-before)/float64(n), "B/key")
	b.ReportMetric(float64(n), "keys")
	for _, back := range []int{100, entries / 2, entries - 100} {
		start = cpu()
		root(b, x, uint64(entries-back))
		b.ReportMetric(float64((cpu()-start).Microseconds())/1000, fmt.Sprintf("cpu-ms/root-%d-back", back))
	}
	path := filepath.Join(b.TempDir(), "index")
	start = cpu()
	if err := x.Save(path, vindex.Hash{}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64((cpu()-start).Microseconds())/1000, "cpu-ms/save")
	st, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(st.Size())/float64(n), "file-B/key")
	start = cpu()
	if _, _, err := index.Load(path, keys); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64((cpu()-start).Microseconds())/1000, "cpu-ms/load")
}

func root(b *testing.B, x *index.Index, size uint64) {
	if _, err := x.Root(size); err != nil {
		b.Fatal(err)
	}
}
