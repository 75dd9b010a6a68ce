package vindex_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stemma-lineage/stemma/vindex"
)

// The benchmarks of maps of 10 million keys need 1 GB and half a minute; they
// run without -short.
var benchSizes = []int{200_000, 1_000_000, 10_000_000}

func bench(b *testing.B, f func(b *testing.B, m *vindex.Map, r *rand.Rand, n int)) {
	for _, n := range benchSizes {
		if n > 1_000_000 && testing.Short() {
			continue
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, uint64(n)))
			f(b, benchMap(r, n), r, n)
		})
	}
}

// benchMap makes a map of n random keys; it keeps the last that it made.
func benchMap(r *rand.Rand, n int) *vindex.Map {
	if lastMap == nil || lastMap.Len() != n {
		lastMap = nil
		m := vindex.NewMap(nil)
		for range n {
			m.Set(fastKey(r), vindex.Hash{1})
		}
		m.Root()
		lastMap = m
	}
	return lastMap
}

var lastMap *vindex.Map

// fastKey is a random key.
func fastKey(r *rand.Rand) (k vindex.Key) {
	for i := 0; i < 32; i += 8 {
		binary.BigEndian.PutUint64(k[i:], r.Uint64())
	}
	return k
}

// cpu is the processor time that this process has used. On a machine that does
// other work too it tells more than the clock.
func cpu() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rate reports how many things were done a second, by the clock and by the
// processor time since before.
func rate(b *testing.B, n int, what string, before time.Duration) {
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), what+"/s")
	b.ReportMetric(float64(n)/(cpu()-before).Seconds(), what+"/cpu-s")
}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// BenchmarkBuild makes a map of new keys, and its root after each batch of
// 10,000: updates/s and the memory that it takes.
func BenchmarkBuild(b *testing.B) {
	for _, n := range benchSizes {
		if n > 1_000_000 && testing.Short() {
			continue
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			lastMap = nil
			start := cpu()
			for b.Loop() {
				r := rand.New(rand.NewPCG(1, uint64(n)))
				before := heap()
				m := vindex.NewMap(nil)
				for i := range n {
					m.Set(fastKey(r), vindex.Hash{1})
					if i%10_000 == 9_999 {
						m.Root()
					}
				}
				m.Root()
				b.StopTimer()
				b.ReportMetric(float64(heap()-before)/float64(n), "B/key")
				b.StartTimer()
				runtime.KeepAlive(m)
			}
			rate(b, n*b.N, "updates", start)
		})
	}
}

// BenchmarkHash is the hash of an inner node, of which all else is made.
func BenchmarkHash(b *testing.B) {
	var x [67]byte
	start := cpu()
	for b.Loop() {
		h := sha256.Sum256(x[:])
		x[0] = h[0]
	}
	rate(b, b.N, "hashes", start)
}

// BenchmarkUpdate gives keys of a large map new values, with the root after
// each batch.
func BenchmarkUpdate(b *testing.B) {
	for _, batch := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprint("batch", batch), func(b *testing.B) {
			bench(b, func(b *testing.B, m *vindex.Map, r *rand.Rand, n int) {
				start := cpu()
				keys := make([]vindex.Key, batch)
				for b.Loop() {
					for i := range keys {
						keys[i] = m.Key(r.Uint32N(uint32(n)))
					}
					for _, k := range keys {
						m.Set(k, vindex.Hash{2, byte(b.N)})
					}
					m.Root()
				}
				rate(b, batch*b.N, "updates", start)
			})
		})
	}
}

// BenchmarkPointProof proves and verifies a present and an absent key.
func BenchmarkPointProof(b *testing.B) {
	bench(b, func(b *testing.B, m *vindex.Map, r *rand.Rand, n int) {
		s := m.Snapshot()
		root := s.Root()
		var in, out int
		start := cpu()
		for b.Loop() {
			k := m.Key(r.Uint32N(uint32(n)))
			v, present, err := s.ProvePresent(k)
			if err == nil {
				err = vindex.VerifyPresent(root, k, v, present)
			}
			if err != nil {
				b.Fatal(err)
			}
			k = fastKey(r)
			absent, err := s.ProveAbsent(k)
			if err == nil {
				err = vindex.VerifyAbsent(root, k, absent)
			}
			if err != nil {
				b.Fatal(err)
			}
			in, out = in+len(present), out+len(absent)
		}
		rate(b, 2*b.N, "proofs", start)
		b.ReportMetric(float64(in)/float64(b.N), "B/present")
		b.ReportMetric(float64(out)/float64(b.N), "B/absent")
	})
}

// BenchmarkProof proves and verifies 1 and 1,000 keys at once, half of them
// absent.
func BenchmarkProof(b *testing.B) {
	for _, asked := range []int{1, 1_000} {
		b.Run(fmt.Sprint("asked", asked), func(b *testing.B) {
			bench(b, func(b *testing.B, m *vindex.Map, r *rand.Rand, n int) {
				s := m.Snapshot()
				root := s.Root()
				size := 0
				start := cpu()
				for b.Loop() {
					var keys []vindex.Key
					for i := range asked {
						if i%2 == 0 {
							keys = append(keys, m.Key(r.Uint32N(uint32(n))))
						} else {
							keys = append(keys, fastKey(r))
						}
					}
					p := s.Prove(keys)
					if _, err := p.Verify(root); err != nil {
						b.Fatal(err)
					}
					size += p.Size()
				}
				rate(b, asked*b.N, "keys", start)
				b.ReportMetric(float64(size)/float64(b.N*asked), "B/asked")
			})
		})
	}
}

// BenchmarkPast makes the version before 1,000 of the keys were added or
// changed.
func BenchmarkPast(b *testing.B) {
	bench(b, func(b *testing.B, m *vindex.Map, r *rand.Rand, n int) {
		start := cpu()
		for b.Loop() {
			var changed []uint32
			for i := range 1_000 {
				changed = append(changed, uint32(i*(n/1_000)))
			}
			m.Past(changed, func(i uint32) (vindex.Hash, bool) { return vindex.Hash{3}, i%2 == 0 })
		}
		rate(b, 1_000*b.N, "changed", start)
	})
}
