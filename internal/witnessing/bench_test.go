package witnessing

import (
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stemma-lineage/stemma/witness"
)

// BenchmarkCosign is one add-checkpoint of a growing log, state synced.
func BenchmarkCosign(b *testing.B) {
	k := newLogKey(b, "example.org/log")
	s := newServer(b, newDir(b, k))
	h := &history{name: "a"}
	h.grow(b, b.N+1)
	list := make([]witness.Request, b.N)
	for i := range list {
		list[i] = h.request(b, k, int64(i), int64(i+1))
	}
	s.logs["example.org/log"].limit.SetLimit(1e9)
	s.all.SetLimit(1e9)
	b.ResetTimer()
	for _, r := range list {
		if status, answer := post(s, r); status != 200 {
			b.Fatal(status, answer)
		}
	}
}

// BenchmarkBounds computes the bounds of a moment from 100,000
// cosigned checkpoints: one an hour for eleven years.
func BenchmarkBounds(b *testing.B) {
	k := newLogKey(b, "example.org/log")
	d := newDir(b, k)
	v, err := note.NewVerifier(k.vkey)
	if err != nil {
		b.Fatal(err)
	}
	p, err := witness.ParsePolicy([]byte("witness w " + d.Key() + "\nquorum w\n"))
	if err != nil {
		b.Fatal(err)
	}
	t := &history{name: "a"}
	t.grow(b, 1)
	signed, err := note.Sign(&note.Note{Text: "example.org/log\n1\n" + t.tree(b, 1).Hash.String() + "\n"}, k.signer, d.signer)
	if err != nil {
		b.Fatal(err)
	}
	var all [][]byte
	for range 100_000 {
		all = append(all, signed)
	}
	for b.Loop() {
		seen, err := Around(all, time.Now().Add(time.Hour), v, p)
		if err != nil || witness.BoundsAt(time.Now().Add(time.Hour), seen, nil, p).Lower == nil {
			b.Fatal(err)
		}
	}
}
