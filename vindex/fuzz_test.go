package vindex_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stemma-lineage/stemma/vindex"
)

// FuzzParseProof: what is taken has these bytes and no others, verifies under
// one root at most, and answers at once.
func FuzzParseProof(f *testing.F) {
	for _, v := range proofVectors() {
		f.Add(unhex(f, v.Proof), unhex(f, v.Root))
	}
	f.Fuzz(func(t *testing.T, b, rootBytes []byte) {
		p, err := vindex.ParseProof(b)
		if err != nil {
			return
		}
		if again, _ := p.MarshalBinary(); !bytes.Equal(again, b) {
			t.Fatal("written anew it has other bytes")
		}
		var root vindex.Hash
		copy(root[:], rootBytes)
		found, err := p.Verify(root)
		if err != nil {
			return
		}
		for k := range slices.Chunk(b, 32) {
			if len(k) == 32 {
				found.Lookup(vindex.Key(k))
			}
		}
		root[0] ^= 1
		if _, err := p.Verify(root); err == nil {
			t.Fatal("it holds under two roots")
		}
	})
}

// FuzzPoint: nothing proves of one of the maps what is not so.
func FuzzPoint(f *testing.F) {
	for _, v := range pointVectors() {
		f.Add(unhex(f, v.Key), unhex(f, v.Value), unhex(f, v.Proof))
	}
	maps := []pairs{{}, {key("alpha"): val("alpha")}, words(), deep()}
	f.Fuzz(func(t *testing.T, keyBytes, valueBytes, proof []byte) {
		var k vindex.Key
		var v vindex.Hash
		copy(k[:], keyBytes)
		copy(v[:], valueBytes)
		for _, m := range maps {
			root := plainRoot(m)
			is, in := m[k]
			if err := vindex.VerifyPresent(root, k, v, proof); err == nil && (!in || is != v) {
				t.Fatalf("proved that %s has %x", k, v)
			}
			if err := vindex.VerifyAbsent(root, k, proof); err == nil && in {
				t.Fatalf("proved that %s is absent", k)
			}
		}
	})
}

// FuzzReadMap: what is taken as a stored map can be used.
func FuzzReadMap(f *testing.F) {
	for _, p := range []pairs{{}, words(), deep()} {
		var b bytes.Buffer
		if _, err := build(p, p.sorted()).WriteTo(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := vindex.ReadMap(b, nil)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if _, err := m.WriteTo(&again); err != nil {
			t.Fatal(err)
		}
		ask := []vindex.Key{key("alpha"), near(3, 130), {}}
		for _, k := range ask {
			s := m.Snapshot()
			s.Prove(ask)
			_, _, _ = s.ProvePresent(k)
			m.Set(k, vindex.Hash{1})
			m.Root()
		}
	})
}
