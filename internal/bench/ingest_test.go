package bench

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sys/unix"

	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/statement"
)

// ingestBatch is how many statements are recorded in one transaction.
const ingestBatch = 1000

// BenchmarkIngest records statements on one core: read, appended durably, and
// folded into the graph in memory. Signed ones are verified against a trust
// list and held against the bare verification of the same signatures, whose
// batches take turns with theirs; the writing of the snapshot file, which
// comes after, is timed by itself. Unsigned ones go to log and graph alone.
func BenchmarkIngest(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const n = 10000
	envs, k := envelopes(b, n)
	pub := k.Private.Public().(ed25519.PublicKey)
	paes, sigs := make([][]byte, n), make([][]byte, n)
	unsigned := make([][]byte, n)
	for i, e := range envs {
		env, err := statement.ParseEnvelope(e)
		if err == nil {
			unsigned[i], err = statement.Unsigned(env.Payload)
		}
		if err != nil {
			b.Fatal(err)
		}
		paes[i], sigs[i] = env.PAE(), env.Signatures[0].Sig
	}
	var limit, signed, snapshot, bare span
	runs := 0
	for b.Loop() {
		runs++
		w := workspace(b, b.TempDir(), k)
		for from := 0; from < n; from += ingestBatch {
			start := now()
			for i := from; i < from+ingestBatch; i++ {
				if !ed25519.Verify(pub, paes[i], sigs[i]) {
					b.Fatal("not verified")
				}
			}
			limit.add(start)
			start = now()
			if _, err := w.Record(b.Context(), k.Principal, envs[from:from+ingestBatch]...); err != nil {
				b.Fatal(err)
			}
			signed.add(start)
			if w.Folded() != uint64(from+ingestBatch) {
				b.Fatal("the graph is behind")
			}
		}
		start := now()
		if _, _, err := w.Graph(b.Context()); err != nil {
			b.Fatal(err)
		}
		snapshot.add(start)
		w.Close()
		recordUnsigned(b, unsigned, &bare)
	}
	count := float64(n * runs)
	b.ReportMetric(count/limit.wall.Seconds(), "verify-limit/s")
	b.ReportMetric(count/signed.wall.Seconds(), "ingest/s")
	b.ReportMetric(limit.wall.Seconds()/signed.wall.Seconds(), "of-limit")
	b.ReportMetric(limit.cpu.Seconds()/signed.cpu.Seconds(), "of-limit-cpu")
	b.ReportMetric(count/bare.wall.Seconds(), "unsigned/s")
	b.ReportMetric(limit.wall.Seconds()/bare.wall.Seconds(), "unsigned-of-limit")
	b.ReportMetric(limit.cpu.Seconds()/bare.cpu.Seconds(), "unsigned-of-limit-cpu")
	b.ReportMetric(snapshot.wall.Seconds()*1e6/count, "snapshot-us/entry")
}

// span is time by the clock, and the processor time of this process within
// it: on a machine shared with others the second says more.
type span struct{ wall, cpu time.Duration }

func now() span {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return span{time.Duration(time.Now().UnixNano()), time.Duration(u.Utime.Nano() + u.Stime.Nano())}
}

func (s *span) add(since span) {
	n := now()
	s.wall += n.wall - since.wall
	s.cpu += n.cpu - since.cpu
}

// recordUnsigned appends unsigned statements to a log of their own, folds
// them, and adds the time that it took.
func recordUnsigned(b *testing.B, envs [][]byte, took *span) {
	b.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, "bench.example/log")
	if err != nil {
		b.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		b.Fatal(err)
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		b.Fatal(err)
	}
	l, err := evlog.Create(b.Context(), b.TempDir(), evlog.Options{Origin: "bench.example/log", Signer: signer, Verifier: verifier, Key: vkey})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	g := graph.New()
	start := now()
	for part := range slices.Chunk(envs, ingestBatch) {
		appendUnsigned(b, l, g, part)
	}
	took.add(start)
	if g.Size() != uint64(len(envs)) {
		b.Fatalf("the graph holds %d entries of %d", g.Size(), len(envs))
	}
}

func appendUnsigned(b *testing.B, l *evlog.Log, g *graph.Graph, envs [][]byte) {
	items := make([]evlog.Item, len(envs))
	parsed := make([]statement.Parsed, len(envs))
	for i, e := range envs {
		if parsed[i] = statement.Read(e); parsed[i].Err != nil {
			b.Fatal(parsed[i].Err)
		}
		items[i] = evlog.Item{RecordedBy: "sa:bench", Envelope: e}
	}
	out, err := l.Append(context.Background(), items)
	if err != nil {
		b.Fatal(err)
	}
	for i, a := range out {
		if err := g.FoldParsed(a.Index, a.RecordedAt, items[i].RecordedBy, parsed[i]); err != nil {
			b.Fatal(err)
		}
	}
}
