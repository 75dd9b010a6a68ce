package vindex_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/vindex"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random histories; 0: another one each time")

// random gives a source of randomness and prints its seed.
func random(t testing.TB) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 7))
}

func randomHash(r *rand.Rand) (h vindex.Hash) {
	for i := 0; i < 32; i += 8 {
		binary.BigEndian.PutUint64(h[i:], r.Uint64())
	}
	return h
}

// randomKey gives a key out of one of several populations: hashes, keys that
// differ in few bits, keys with a long prefix in common.
func randomKey(r *rand.Rand, population int) (k vindex.Key) {
	switch population {
	case 0:
		return vindex.Key(randomHash(r))
	case 1:
		for range r.IntN(4) {
			b := r.IntN(256)
			k[b/8] ^= 0x80 >> (b % 8)
		}
	case 2:
		for i := range k {
			k[i] = 0xaa
		}
		binary.BigEndian.PutUint16(k[r.IntN(2)*30:], uint16(r.IntN(64)))
	default:
		k[31] = byte(r.IntN(256))
		k[0] = byte(r.IntN(4))
	}
	return k
}

type pairs map[vindex.Key]vindex.Hash

func (p pairs) sorted() []vindex.Key {
	return slices.SortedFunc(maps.Keys(p), vindex.Key.Compare)
}

func (p pairs) seq() iter.Seq2[vindex.Key, vindex.Hash] {
	return func(yield func(vindex.Key, vindex.Hash) bool) {
		for _, k := range p.sorted() {
			if !yield(k, p[k]) {
				return
			}
		}
	}
}

// plainRoot is the definition of the root, written down as it is told in the
// package comment.
func plainRoot(p pairs) vindex.Hash {
	if len(p) == 0 {
		return sha256.Sum256(nil)
	}
	return plainNode(p, p.sorted())
}

func plainNode(p pairs, keys []vindex.Key) vindex.Hash {
	if len(keys) == 1 {
		v := p[keys[0]]
		return sha256.Sum256(slices.Concat([]byte{0, 32}, keys[0][:], []byte{32}, v[:]))
	}
	for b := range 256 {
		split := slices.IndexFunc(keys, func(k vindex.Key) bool { return k[b/8]&(0x80>>(b%8)) != 0 })
		if split > 0 {
			l, r := plainNode(p, keys[:split]), plainNode(p, keys[split:])
			return sha256.Sum256(slices.Concat([]byte{1}, binary.AppendUvarint(nil, uint64(b)), l[:], r[:]))
		}
	}
	panic("a key stands twice")
}

func build(p pairs, order []vindex.Key) *vindex.Map {
	m := vindex.NewMap(nil)
	for _, k := range order {
		m.Set(k, p[k])
	}
	return m
}

func treeHash(t *testing.T, p pairs) vindex.Hash {
	h, err := vindex.TreeHash(p.seq())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestRootIsThatOfTheDefinition(t *testing.T) {
	r := random(t)
	for range 400 {
		p := pairs{}
		population := r.IntN(4)
		m := vindex.NewMap(nil)
		for range r.IntN(70) {
			k, v := randomKey(r, population), randomHash(r)
			p[k] = v
			m.Set(k, v)
			if r.IntN(8) == 0 && m.Root() != plainRoot(p) {
				t.Fatalf("after %d keys the root is %x, by definition %x", len(p), m.Root(), plainRoot(p))
			}
		}
		want := plainRoot(p)
		order := p.sorted()
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		if got := m.Root(); got != want {
			t.Fatalf("root %x, want %x", got, want)
		}
		if got := build(p, order).Root(); got != want {
			t.Fatalf("in another order the root is %x, want %x", got, want)
		}
		if got := treeHash(t, p); got != want {
			t.Fatalf("TreeHash %x, want %x", got, want)
		}
		if m.Len() != len(p) {
			t.Fatalf("%d keys, want %d", m.Len(), len(p))
		}
		for k, v := range p {
			if got, ok := m.Get(k); !ok || got != v {
				t.Fatalf("Get %s: %x %t, want %x", k, got, ok, v)
			}
		}
	}
}

func TestAllMapsOfEightKeys(t *testing.T) {
	keys := make([]vindex.Key, 8)
	for i := range keys {
		keys[i][0], keys[i][31] = byte(i&4)<<5, byte(i&3)
	}
	for set := range 256 {
		p := pairs{}
		for i, k := range keys {
			if set>>i&1 == 1 {
				p[k] = sha256.Sum256(k[:])
			}
		}
		m := build(p, p.sorted())
		if m.Root() != plainRoot(p) || treeHash(t, p) != plainRoot(p) {
			t.Fatalf("set %08b: root %x, TreeHash %x, want %x", set, m.Root(), treeHash(t, p), plainRoot(p))
		}
		s := m.Snapshot()
		for asked := range 256 {
			var ask []vindex.Key
			for i, k := range keys {
				if asked>>i&1 == 1 {
					ask = append(ask, k)
				}
			}
			checkProof(t, s, p, ask)
		}
		for _, k := range keys {
			checkPoint(t, s, p, k)
		}
	}
}

// checkProof proves the keys and looks each up in what the proof gives.
func checkProof(t *testing.T, s vindex.Snapshot, p pairs, ask []vindex.Key) vindex.Found {
	t.Helper()
	b, err := s.Prove(ask).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	proof, err := vindex.ParseProof(b)
	if err != nil {
		t.Fatalf("proof of %d keys: %v", len(ask), err)
	}
	f, err := proof.Verify(plainRoot(p))
	if err != nil {
		t.Fatalf("proof of %d keys: %v", len(ask), err)
	}
	for _, k := range ask {
		want, in := p[k]
		if v, present, covered := f.Lookup(k); !covered || present != in || v != want {
			t.Fatalf("Lookup %s: %x present %t covered %t, want %x %t true", k, v, present, covered, want, in)
		}
	}
	return f
}

// checkPoint proves that a key is present or absent, and that the other cannot
// be proved.
func checkPoint(t *testing.T, s vindex.Snapshot, p pairs, k vindex.Key) {
	t.Helper()
	root := plainRoot(p)
	v, present, err1 := s.ProvePresent(k)
	absent, err2 := s.ProveAbsent(k)
	want, in := p[k]
	switch {
	case in && (err1 != nil || v != want || !errors.Is(err2, vindex.ErrPresent)):
		t.Fatalf("present key %s: %x %v, %v", k, v, err1, err2)
	case !in && (err2 != nil || !errors.Is(err1, vindex.ErrAbsent)):
		t.Fatalf("absent key %s: %v, %v", k, err1, err2)
	case in:
		if err := vindex.VerifyPresent(root, k, v, present); err != nil {
			t.Fatalf("present key %s: %v", k, err)
		}
		leaf := slices.Concat([]byte{32}, k[:], []byte{32}, v[:])
		for _, forged := range []vindex.AbsentProof{vindex.AbsentProof(present), append(vindex.AbsentProof(leaf), present...), {}} {
			if err := vindex.VerifyAbsent(root, k, forged); !errors.Is(err, vindex.ErrProof) {
				t.Fatalf("absence of present key %s: %v", k, err)
			}
		}
	default:
		if err := vindex.VerifyAbsent(root, k, absent); err != nil {
			t.Fatalf("absent key %s: %v", k, err)
		}
		if len(absent) == 0 {
			return
		}
		if err := vindex.VerifyPresent(root, k, vindex.Hash(absent[34:66]), vindex.PresentProof(absent[66:])); !errors.Is(err, vindex.ErrProof) {
			t.Fatalf("presence of absent key %s: %v", k, err)
		}
	}
}

func TestProofsOfRandomMaps(t *testing.T) {
	r := random(t)
	for range 150 {
		p := pairs{}
		population := r.IntN(4)
		for range r.IntN(60) {
			p[randomKey(r, population)] = randomHash(r)
		}
		m := build(p, p.sorted())
		s := m.Snapshot()
		ask := p.sorted()
		r.Shuffle(len(ask), func(i, j int) { ask[i], ask[j] = ask[j], ask[i] })
		ask = ask[:r.IntN(len(ask)+1)]
		for range r.IntN(10) {
			ask = append(ask, randomKey(r, population))
		}
		f := checkProof(t, s, p, ask)
		for k := range p { // what was not asked for is unknown or right
			if v, present, covered := f.Lookup(k); covered && (!present || v != p[k]) {
				t.Fatalf("Lookup %s: %x %t", k, v, present)
			}
		}
		for _, k := range ask {
			checkPoint(t, s, p, k)
		}
		b1, _ := s.Prove(ask).MarshalBinary()
		r.Shuffle(len(ask), func(i, j int) { ask[i], ask[j] = ask[j], ask[i] })
		b2, _ := s.Prove(append(ask, ask...)).MarshalBinary()
		if !bytes.Equal(b1, b2) {
			t.Fatal("the proof depends on the order of the keys")
		}
	}
}

func TestProofOfAnotherRootFails(t *testing.T) {
	r := random(t)
	p := pairs{}
	for range 40 {
		p[randomKey(r, 0)] = randomHash(r)
	}
	ask := append(p.sorted()[:5], randomKey(r, 0))
	m := build(p, p.sorted())
	proof := m.Snapshot().Prove(ask)
	v, present, _ := m.Snapshot().ProvePresent(ask[0])
	absent, _ := m.Snapshot().ProveAbsent(ask[5])
	m.Set(randomKey(r, 0), randomHash(r))
	for _, root := range []vindex.Hash{m.Root(), vindex.EmptyRoot, {}, randomHash(r)} {
		if _, err := proof.Verify(root); !errors.Is(err, vindex.ErrProof) {
			t.Errorf("proof under root %x: %v", root, err)
		}
		if err := vindex.VerifyPresent(root, ask[0], v, present); !errors.Is(err, vindex.ErrProof) {
			t.Errorf("present proof under root %x: %v", root, err)
		}
		if err := vindex.VerifyAbsent(root, ask[5], absent); !errors.Is(err, vindex.ErrProof) {
			t.Errorf("absent proof under root %x: %v", root, err)
		}
	}
}

func TestEveryMutatedByteFails(t *testing.T) {
	r := random(t)
	for population := range 4 {
		p := pairs{}
		for range 20 {
			p[randomKey(r, population)] = randomHash(r)
		}
		root := plainRoot(p)
		s := build(p, p.sorted()).Snapshot()
		in, out := p.sorted()[r.IntN(len(p))], randomKey(r, 0)
		b, _ := s.Prove([]vindex.Key{in, out, randomKey(r, population)}).MarshalBinary()
		v, present, _ := s.ProvePresent(in)
		absent, _ := s.ProveAbsent(out)
		each(t, b, func(b []byte) error {
			proof, err := vindex.ParseProof(b)
			if err == nil {
				_, err = proof.Verify(root)
			}
			return err
		})
		each(t, present, func(b []byte) error { return vindex.VerifyPresent(root, in, v, b) })
		each(t, absent, func(b []byte) error { return vindex.VerifyAbsent(root, out, b) })
	}
}

// each changes every byte to every other value, leaves out and adds bytes, and
// wants each of that to be refused.
func each(t *testing.T, good []byte, verify func([]byte) error) {
	t.Helper()
	if err := verify(good); err != nil {
		t.Fatal(err)
	}
	want := func(b []byte, what string, i int) {
		if err := verify(b); !errors.Is(err, vindex.ErrProof) {
			t.Fatalf("%s at byte %d of %d: %v", what, i, len(good), err)
		}
	}
	for i := range good {
		for x := 1; x < 256; x += 1 + x/8 { // small changes all, of the others some
			b := bytes.Clone(good)
			b[i] ^= byte(x)
			want(b, "a change", i)
		}
		want(good[:i], "a cut", i)
		want(slices.Delete(bytes.Clone(good), i, i+1), "a byte left out", i)
		want(slices.Insert(bytes.Clone(good), i, 0), "a byte added", i)
	}
	want(append(bytes.Clone(good), 0), "a byte added", len(good))
}

func TestZeroProof(t *testing.T) {
	if _, err := (vindex.Proof{}).Verify(vindex.EmptyRoot); !errors.Is(err, vindex.ErrProof) {
		t.Errorf("zero proof: %v", err)
	}
	if _, present, covered := (vindex.Found{}).Lookup(vindex.Key{}); present || covered {
		t.Error("the zero Found tells something")
	}
}

// TestPast keeps all versions of random maps, and compares the past of the
// newest map with each.
func TestPast(t *testing.T) {
	r := random(t)
	for range 60 {
		population := r.IntN(4)
		type version struct {
			p pairs
			n uint32
		}
		now := pairs{}
		var order []vindex.Key
		m := vindex.NewMap(func(n uint32) vindex.Hash { return now[order[n]] })
		var versions []version
		for range r.IntN(12) {
			versions = append(versions, version{maps.Clone(now), uint32(len(order))})
			for range r.IntN(12) {
				k := randomKey(r, population)
				if _, ok := now[k]; !ok {
					order = append(order, k)
				}
				now[k] = randomHash(r)
				if n := m.Touch(k); order[n] != k || m.Key(n) != k {
					t.Fatalf("number %d is %s, want %s", n, m.Key(n), k)
				}
			}
			if r.IntN(3) == 0 && m.Root() != plainRoot(now) {
				t.Fatalf("root %x, want %x", m.Root(), plainRoot(now))
			}
		}
		versions = append(versions, version{now, uint32(len(order))})
		for _, v := range versions {
			var changed []uint32
			for n, k := range order {
				if old, ok := v.p[k]; !ok || old != now[k] || r.IntN(4) == 0 {
					changed = append(changed, uint32(n))
				}
			}
			r.Shuffle(len(changed), func(i, j int) { changed[i], changed[j] = changed[j], changed[i] })
			s := m.Past(changed, func(n uint32) (vindex.Hash, bool) {
				h, ok := v.p[order[n]]
				return h, ok
			})
			if s.Root() != plainRoot(v.p) {
				t.Fatalf("past root of %d of %d keys: %x, want %x", len(v.p), len(now), s.Root(), plainRoot(v.p))
			}
			ask := append(slices.Clone(order), randomKey(r, population), randomKey(r, 0))
			checkProof(t, s, v.p, ask)
			checkProof(t, s, v.p, ask[:r.IntN(len(ask))])
			for _, k := range ask {
				checkPoint(t, s, v.p, k)
			}
			again, _ := build(v.p, v.p.sorted()).Snapshot().Prove(ask).MarshalBinary()
			if b, _ := s.Prove(ask).MarshalBinary(); !bytes.Equal(b, again) {
				t.Fatal("the proof of the past is not that of a map which is built anew")
			}
		}
		if m.Root() != plainRoot(now) {
			t.Fatal("to look at the past has changed the map")
		}
	}
}

func TestSnapshotAfterAChangePanics(t *testing.T) {
	m := vindex.NewMap(nil)
	s := m.Snapshot()
	m.Set(vindex.Key{1}, vindex.Hash{2})
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	s.Root()
}

func TestTreeHashRefusesDisorder(t *testing.T) {
	for _, keys := range [][]vindex.Key{{{1}, {1}}, {{2}, {1}}, {{1}, {3}, {2}}} {
		_, err := vindex.TreeHash(func(yield func(vindex.Key, vindex.Hash) bool) {
			for _, k := range keys {
				if !yield(k, vindex.Hash{}) {
					return
				}
			}
		})
		if err == nil {
			t.Errorf("%v: no error", keys)
		}
	}
}

func TestListHash(t *testing.T) {
	text := "stemma-vindex/v1 list\n\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02"
	if diff := cmp.Diff(vindex.Hash(sha256.Sum256([]byte(text))), vindex.ListHash([]uint64{7, 65536})); diff != "" {
		t.Error(diff)
	}
	s := vindex.NewListState([]uint64{7})
	if s = s.Append(65536); s.Hash() != vindex.ListHash([]uint64{7, 65536}) {
		t.Error("a list that grows has another hash")
	}
}
