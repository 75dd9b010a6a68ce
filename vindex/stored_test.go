package vindex_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stemma-lineage/stemma/vindex"
)

func TestStoredMap(t *testing.T) {
	r := random(t)
	for range 60 {
		p := pairs{}
		population := r.IntN(4)
		for range r.IntN(80) {
			p[randomKey(r, population)] = randomHash(r)
		}
		m := build(p, p.sorted())
		var b bytes.Buffer
		if n, err := m.WriteTo(&b); err != nil || n != int64(b.Len()) {
			t.Fatalf("%d bytes of %d: %v", n, b.Len(), err)
		}
		stored, err := vindex.ReadMap(b.Bytes(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if stored.Root() != plainRoot(p) || m.Root() != plainRoot(p) {
				t.Fatalf("root %x, want %x", stored.Root(), plainRoot(p))
			}
			checkProof(t, stored.Snapshot(), p, p.sorted())
			k := randomKey(r, population)
			p[k] = randomHash(r)
			stored.Set(k, p[k])
			m.Set(k, p[k])
		}
		var b1, b2 bytes.Buffer
		_, err1 := m.WriteTo(&b1)
		_, err2 := stored.WriteTo(&b2)
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(b1.Bytes(), b2.Bytes()) {
			t.Fatalf("a map that was stored grows differently: %v", err)
		}
		for i := range b.Len() {
			if _, err := vindex.ReadMap(b.Bytes()[:i], nil); !errors.Is(err, vindex.ErrStored) {
				t.Fatalf("cut at %d: %v", i, err)
			}
		}
	}
}
