// Package bench measures whole capabilities and prints ratios within one run
// on one machine. Nothing here passes or fails by time.
package bench

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// training is one activity of a plain history: it reads two earlier outputs,
// recent ones more often, and writes one.
func training(r *mrand.Rand, i int) ([]statement.Subject, *statement.Activity) {
	name := func(n int) prov.Ref { return prov.Ref{Kind: prov.Model, Name: fmt.Sprintf("m%d", n), Version: "1"} }
	at := statement.NewTime(begin.Add(time.Duration(i) * time.Second))
	a := &statement.Activity{Kind: "train", ID: fmt.Sprintf("activity:run-%d", i), StartedAt: at, EndedAt: at, State: "completed",
		Identities: []statement.Party{{Ref: "sa:trainer"}}, InputsCompleteness: statement.Declared}
	for k := 0; k < 2 && i > 0; k++ {
		in := i - 1 - min(i-1, int(float64(i)*r.Float64()*r.Float64()))
		a.Used = append(a.Used, statement.Use{Resource: statement.NewResource(name(in), nil), Role: "training"})
	}
	return []statement.Subject{statement.NewSubject(name(i), nil)}, a
}

func envelopes(b *testing.B, n int) ([][]byte, keys.Key) {
	b.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	k := keys.Key{Name: "bench", Principal: prov.Ref{Kind: prov.ServiceAccount, Name: "bench"}, Private: priv}
	r := mrand.New(mrand.NewPCG(1, 2))
	out := make([][]byte, n)
	for i := range out {
		s, p := training(r, i)
		if out[i], err = app.Envelope(context.Background(), k, s, p); err != nil {
			b.Fatal(err)
		}
	}
	return out, k
}

func workspace(b *testing.B, dir string, k keys.Key) *app.Workspace {
	b.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, "bench.example/log")
	if err != nil {
		b.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		b.Fatal(err)
	}
	w, err := app.Init(context.Background(), dir, app.Options{Origin: "bench.example/log", Key: k, LogKey: signer, LogVKey: vkey})
	if err != nil {
		b.Fatal(err)
	}
	return w
}

func record(b *testing.B, w *app.Workspace, k keys.Key, envs [][]byte) {
	b.Helper()
	for part := range slices.Chunk(envs, 1000) {
		if _, err := w.Record(context.Background(), k.Principal, part...); err != nil {
			b.Fatal(err)
		}
	}
	if _, _, err := w.Graph(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkFold refolds a log in memory.
func BenchmarkFold(b *testing.B) {
	envs, _ := envelopes(b, 20000)
	contents := contentsOf(b, envs)
	for b.Loop() {
		start := time.Now()
		g := fold(b, contents)
		b.ReportMetric(float64(len(contents))/time.Since(start).Seconds(), "entries/s")
		b.ReportMetric(float64(g.Relations())/float64(len(contents)), "relations/entry")
	}
}

func contentsOf(b *testing.B, envs [][]byte) [][]byte {
	b.Helper()
	out := make([][]byte, len(envs))
	for i, e := range envs {
		c, err := statement.FormatEntry(statement.Entry{RecordedAt: begin.Add(time.Duration(i) * time.Millisecond), RecordedBy: "sa:bench", Envelope: e})
		if err != nil {
			b.Fatal(err)
		}
		out[i] = c
	}
	return out
}

func fold(b *testing.B, contents [][]byte) *graph.Graph {
	b.Helper()
	g := graph.New()
	for i, c := range contents {
		if err := g.Fold(uint64(i), c); err != nil {
			b.Fatal(err)
		}
	}
	return g
}

// BenchmarkReaches asks of pairs of random things whether one is behind the
// other: from any thing, and from the one with the most behind it.
func BenchmarkReaches(b *testing.B) {
	w := madeWorld(b)
	v := w.g.At(prov.Now)
	r := mrand.New(mrand.NewPCG(1, 2))
	random := func() graph.ID { return graph.ID(1 + r.IntN(v.Len()-1)) }
	hub, most := graph.None, 0
	for range 2000 {
		if id := random(); reach(v, id, true) > most {
			hub, most = id, reach(v, id, true)
		}
	}
	for name, from := range map[string]func() graph.ID{"random": random, "hub": func() graph.ID { return hub }} {
		b.Run(name, func(b *testing.B) {
			const pairs = 20000
			yes := 0
			start := time.Now()
			for b.Loop() {
				for range pairs {
					if query.Reaches(v, from(), random()) {
						yes++
					}
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(time.Since(start).Microseconds())/float64(b.N*pairs), "us-mean")
			b.ReportMetric(100*float64(yes)/float64(b.N*pairs), "%yes")
		})
	}
}

// BenchmarkSearch looks for a part of a name, and for the first digits of a
// digest, among all names of the made history.
func BenchmarkSearch(b *testing.B) {
	w := madeWorld(b)
	v := w.g.At(prov.Now)
	b.Run("name", func(b *testing.B) {
		for b.Loop() {
			if _, more := v.Search("no-such-name-7", 10); more > 0 {
				b.Fatal("found")
			}
		}
	})
	b.Run("digest", func(b *testing.B) {
		for b.Loop() {
			v.DigestPrefix("00000000")
		}
	})
}

// BenchmarkWhyCold runs the program itself on a log of 100,000 entries: start,
// open, load the snapshot, answer, exit.
func BenchmarkWhyCold(b *testing.B) {
	dir := b.TempDir()
	bin := filepath.Join(dir, "stemma")
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/stemma").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	const n = 100000
	envs, k := envelopes(b, n)
	w := workspace(b, dir, k)
	record(b, w, k, envs)
	w.Close()
	var times []time.Duration
	for b.Loop() {
		start := time.Now()
		// Of a thing near the beginning: what is measured is the start, not the
		// printing of a long answer.
		if out, err := exec.Command(bin, "why", "model:m20@1", "--dir", dir).CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "ms-p50")
	b.ReportMetric(n, "entries")
}
