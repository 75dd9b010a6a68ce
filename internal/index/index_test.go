package index_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/index"
	"github.com/stemma-lineage/stemma/vindex"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random histories; 0: another one each time")

func random(t testing.TB) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 7))
}

// keys reads the keys out of an entry of the tests, which is nothing but them.
var keys = index.Keys{Version: "test/v1", Of: func(_ uint64, content []byte) (out []vindex.Key) {
	for k := range slices.Chunk(content, 32) {
		out = append(out, vindex.Key(k))
	}
	return out
}}

func number(n int) (k vindex.Key) {
	binary.BigEndian.PutUint64(k[:], uint64(n)*0x9E3779B97F4A7C15) // spread
	return k
}

// entry makes an entry with some of the first n keys; key 0 is in most, and some
// stand in it twice.
func entry(r *rand.Rand, n int) (content []byte) {
	for range r.IntN(6) {
		k := number(int(float64(n) * r.Float64() * r.Float64() * r.Float64()))
		content = append(content, k[:]...)
	}
	return content
}

func apply(t testing.TB, x *index.Index, entries [][]byte) {
	t.Helper()
	for _, e := range entries {
		if err := x.Apply(x.Size(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// plain is the index of some entries by its definition.
type plain struct {
	order []vindex.Key
	lists map[vindex.Key][]uint64
	root  vindex.Hash
}

func plainIndex(t testing.TB, entries [][]byte) plain {
	p := plain{lists: map[vindex.Key][]uint64{}}
	for i, e := range entries {
		for _, k := range keys.Of(uint64(i), e) {
			if l := p.lists[k]; len(l) == 0 || l[len(l)-1] != uint64(i) {
				p.lists[k] = append(l, uint64(i))
			}
		}
	}
	for k := range p.lists {
		p.order = append(p.order, k)
	}
	slices.SortFunc(p.order, vindex.Key.Compare)
	var err error
	if p.root, err = vindex.TreeHash(func(yield func(vindex.Key, vindex.Hash) bool) {
		for _, k := range p.order {
			if !yield(k, vindex.ListHash(p.lists[k])) {
				return
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	return p
}

// compare asks the index all about a size.
func compare(t testing.TB, x *index.Index, entries [][]byte, size, n int) {
	t.Helper()
	p := plainIndex(t, entries[:size])
	root, err := x.Root(uint64(size))
	if err != nil || root != p.root {
		t.Fatalf("root at %d of %d: %x %v, want %x", size, len(entries), root, err, p.root)
	}
	if got, err := x.Len(uint64(size)); err != nil || got != len(p.order) {
		t.Fatalf("%d keys at %d: %v, want %d", got, size, err, len(p.order))
	}
	ask := append(slices.Clone(p.order), number(n+1), vindex.Key{0xff})
	for i := range n {
		ask = append(ask, number(i))
	}
	root, proof, err := x.Prove(uint64(size), ask)
	if err != nil || root != p.root {
		t.Fatalf("root proved at %d: %x %v, want %x", size, root, err, p.root)
	}
	f, err := proof.Verify(p.root)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range ask {
		got, err := x.Entries(uint64(size), k)
		if diff := cmp.Diff(p.lists[k], got); diff != "" || err != nil {
			t.Fatalf("entries of %s at %d of %d: %v\n%s", k, size, len(entries), err, diff)
		}
		v, present, covered := f.Lookup(k)
		if !covered || present != (len(got) > 0) || present && v != vindex.ListHash(got) {
			t.Fatalf("key %s at %d: present %t covered %t, and it has %d entries", k, size, present, covered, len(got))
		}
	}
}

func TestRandomHistories(t *testing.T) {
	r := random(t)
	for range 25 {
		x := index.New(keys)
		n := 1 + r.IntN(80)
		var entries [][]byte
		for range 1 + r.IntN(6) {
			first := len(entries)
			for range r.IntN(120) {
				entries = append(entries, entry(r, n))
			}
			apply(t, x, entries[first:])
			if r.IntN(3) == 0 { // through the file and back
				y, root, err := index.Decode(x.Bytes(t, vindex.Hash{9}), keys)
				if err != nil || root != (vindex.Hash{9}) {
					t.Fatalf("log root %x: %v", root, err)
				}
				x = y
			}
			for range 2 {
				compare(t, x, entries, r.IntN(len(entries)+1), n)
			}
		}
		compare(t, x, entries, len(entries), n)
		compare(t, x, entries, 0, n)
		if err := x.Check(); err != nil {
			t.Fatal(err)
		}
		anew := index.New(keys)
		apply(t, anew, entries)
		if !bytes.Equal(anew.Bytes(t, vindex.Hash{}), x.Bytes(t, vindex.Hash{})) {
			t.Fatal("the file of an index that grew is not that of one which is built at once")
		}
	}
}

// TestLongLists has lists over many blocks and pieces of the arena, hashed
// again after each few entries.
func TestLongLists(t *testing.T) {
	r := random(t)
	x := index.New(keys)
	var entries [][]byte
	for len(entries) < 4000 {
		first := len(entries)
		for range 1 + r.IntN(300) {
			var e []byte
			for k := range 12 {
				if k == 0 || r.IntN(1<<k) == 0 {
					key := number(k)
					e = append(e, key[:]...)
				}
			}
			entries = append(entries, e)
		}
		apply(t, x, entries[first:])
		if _, err := x.Root(x.Size()); err != nil {
			t.Fatal(err)
		}
		if r.IntN(8) == 0 {
			var err error
			if x, _, err = index.Decode(x.Bytes(t, vindex.Hash{}), keys); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, size := range []int{len(entries), len(entries) - 1, r.IntN(len(entries)), 65, 64, 63, 1} {
		compare(t, x, entries, size, 14)
	}
}

func TestSizesThatAreNot(t *testing.T) {
	x := index.New(keys)
	apply(t, x, [][]byte{nil, nil})
	if _, err := x.Root(3); err == nil {
		t.Error("a root beyond the end")
	}
	if _, _, err := x.Prove(3, nil); err == nil {
		t.Error("a proof beyond the end")
	}
	if _, err := x.Entries(3, vindex.Key{}); err == nil {
		t.Error("entries beyond the end")
	}
	if _, err := x.Len(3); err == nil {
		t.Error("a number of keys beyond the end")
	}
	for _, i := range []uint64{0, 1, 3} {
		if err := x.Apply(i, nil); err == nil {
			t.Errorf("entry %d was taken after entry 1", i)
		}
	}
	compare(t, x, [][]byte{nil, nil}, 2, 3)
}

func saved(t testing.TB) (entries [][]byte, path string, file []byte) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		entries = append(entries, entry(r, 20))
	}
	x := index.New(keys)
	apply(t, x, entries)
	path = filepath.Join(t.TempDir(), "index")
	if err := x.Save(path, vindex.Hash{7}); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return entries, path, file
}

func TestFile(t *testing.T) {
	entries, path, _ := saved(t)
	x, root, err := index.Load(path, keys)
	if err != nil || root != (vindex.Hash{7}) {
		t.Fatalf("log root %x: %v", root, err)
	}
	compare(t, x, entries, 60, 20)
	compare(t, x, entries, 31, 20)
	if _, _, err := index.Load(path, index.Keys{Version: "test/v2", Of: keys.Of}); !errors.Is(err, index.ErrFile) {
		t.Errorf("a file of other keys: %v", err)
	}
	if _, _, err := index.Load(path+"-none", keys); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestDamagedFile flips every bit of every byte, cuts the file at every place,
// and swaps and repeats parts. Nothing of that is taken for an index.
func TestDamagedFile(t *testing.T) {
	_, path, file := saved(t)
	refuse := func(b []byte, what string, i int) {
		if _, _, err := index.Decode(b, keys); err == nil {
			t.Fatalf("%s at byte %d of %d was not noticed", what, i, len(file))
		}
	}
	for i := range file {
		for bit := range 8 {
			b := bytes.Clone(file)
			b[i] ^= 1 << bit
			refuse(b, "a bit flipped", i)
		}
		refuse(file[:i], "a cut", i)
	}
	refuse(append(bytes.Clone(file), 0), "a byte added", len(file))
	refuse(append(bytes.Clone(file), file...), "the file twice", len(file))
	for i := 0; i+512 <= len(file); i += 512 { // a sector that was not written
		b := bytes.Clone(file)
		clear(b[i : i+512])
		refuse(b, "a sector of zeros", i)
	}
	if err := os.WriteFile(path, file[:len(file)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := index.Load(path, keys); !errors.Is(err, index.ErrFile) {
		t.Errorf("half a file: %v", err)
	}
}

// use calls all there is, and grows it.
func use(x *index.Index) {
	ask := []vindex.Key{number(0), number(1), number(5), {}, {0xff}}
	size := x.Size()
	for _, s := range []uint64{size, size / 2, 0} {
		_, _, _ = x.Prove(s, ask)
		_, _ = x.Len(s)
		for _, k := range ask {
			_, _ = x.Entries(s, k)
		}
	}
	_ = x.Apply(size, append(ask[1][:], ask[2][:]...))
	_, _ = x.Root(x.Size())
	_ = x.Check()
}

// TestForgedFile changes files and puts their checksums right. What is taken
// may be a wrong index; it does not fail and does not run for ever.
func TestForgedFile(t *testing.T) {
	_, _, file := saved(t)
	r := random(t)
	for i := range file {
		for range 3 {
			b := bytes.Clone(file)
			b[i] = byte(r.Uint32())
			if r.IntN(2) == 0 {
				b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			}
			index.Resum(b)
			if x, _, err := index.Decode(b, keys); err == nil {
				use(x)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	_, _, file := saved(f)
	f.Add(file)
	f.Add(file[:100])
	f.Add(index.New(keys).Bytes(f, vindex.Hash{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		index.Resum(b)
		if x, _, err := index.Decode(b, keys); err == nil && x.Size() < 1<<20 {
			use(x)
		}
	})
}

// TestReadersWhileApplying asks for what is fixed while entries come.
func TestReadersWhileApplying(t *testing.T) {
	r := random(t)
	var entries [][]byte
	for range 600 {
		entries = append(entries, entry(r, 50))
	}
	x := index.New(keys)
	apply(t, x, entries[:200])
	want := plainIndex(t, entries[:150])
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 30 {
				root, proof, err := x.Prove(150, want.order)
				if err == nil {
					_, err = proof.Verify(want.root)
				}
				if err != nil || root != want.root {
					t.Errorf("root %x %v, want %x", root, err, want.root)
				}
				if got, err := x.Entries(150, want.order[0]); err != nil || !slices.Equal(got, want.lists[want.order[0]]) {
					t.Errorf("entries %v %v", got, err)
				}
			}
		})
	}
	apply(t, x, entries[200:])
	wg.Wait()
	compare(t, x, entries, 600, 50)
}
