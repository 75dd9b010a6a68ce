package vindex_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/vindex"
)

var update = flag.Bool("update", false, "write testdata/vectors anew")

// The vectors are read by other implementations too; testdata/vectors/README.md
// tells what is in them.
type (
	listVector struct {
		Name    string   `json:"name"`
		Entries []uint64 `json:"entries"`
		Hash    string   `json:"hash"`
	}
	treeVector struct {
		Name  string      `json:"name"`
		Pairs [][2]string `json:"pairs"`
		Root  string      `json:"root"`
	}
	lookup struct {
		Key   string `json:"key"`
		Found string `json:"found"` // present, absent, unknown
		Value string `json:"value,omitempty"`
	}
	proofVector struct {
		Name    string   `json:"name"`
		Root    string   `json:"root"`
		Proof   string   `json:"proof"`
		Holds   bool     `json:"holds"`
		Lookups []lookup `json:"lookups,omitempty"`
	}
	pointVector struct {
		Name  string `json:"name"`
		Claim string `json:"claim"` // present, absent
		Root  string `json:"root"`
		Key   string `json:"key"`
		Value string `json:"value,omitempty"`
		Proof string `json:"proof"`
		Holds bool   `json:"holds"`
	}
)

func x(b []byte) string { return hex.EncodeToString(b) }

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func key(s string) (k vindex.Key) { return sha256.Sum256([]byte(s)) }

// near gives a key of zeros but for these bits.
func near(bits ...int) (k vindex.Key) {
	for _, b := range bits {
		k[b/8] |= 0x80 >> (b % 8)
	}
	return k
}

func val(s string) vindex.Hash { return sha256.Sum256([]byte("value of " + s)) }

func plainLeaf(k vindex.Key, v vindex.Hash) []byte {
	h := sha256.Sum256(slices.Concat([]byte{0, 32}, k[:], []byte{32}, v[:]))
	return h[:]
}

func plainInner(bit int, l, r []byte) []byte {
	h := sha256.Sum256(slices.Concat([]byte{1}, binary.AppendUvarint(nil, uint64(bit)), l, r))
	return h[:]
}

const line = "stemma-vindex/v1 proof\n"

func leafNode(k vindex.Key, v vindex.Hash) []byte { return slices.Concat([]byte{1}, k[:], v[:]) }

// words is a map of keys of eight words.
func words() pairs {
	p := pairs{}
	for _, w := range strings.Fields("alpha beta gamma delta epsilon zeta eta theta") {
		p[key(w)] = val(w)
	}
	return p
}

// deep is a map of keys that part late, and in bits above 127.
func deep() pairs {
	return pairs{near(): val("0"), near(3): val("3"), near(3, 130): val("3 130"), near(3, 255): val("3 255"), near(127): val("127"), near(128): val("128")}
}

func listVectors() (out []listVector) {
	for _, l := range []listVector{
		{Name: "one entry", Entries: []uint64{0}},
		{Name: "three entries", Entries: []uint64{1, 2, 300}},
		{Name: "large indices", Entries: []uint64{7, 1 << 32, 1<<53 - 1}},
		{Name: "over several blocks of the hash", Entries: []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}},
	} {
		h := vindex.ListHash(l.Entries)
		l.Hash = x(h[:])
		out = append(out, l)
	}
	return out
}

func treeVectors() (out []treeVector) {
	for _, c := range []struct {
		name string
		p    pairs
	}{
		{"empty", pairs{}},
		{"one key", pairs{key("alpha"): val("alpha")}},
		{"two keys that part at bit 0", pairs{near(): val("a"), near(0): val("b")}},
		{"two keys that part at bit 7", pairs{near(): val("a"), near(7): val("b")}},
		{"two keys that part at bit 8", pairs{near(): val("a"), near(8): val("b")}},
		{"two keys that part at bit 127", pairs{near(): val("a"), near(127): val("b")}},
		{"two keys that part at bit 128, two bytes as uvarint", pairs{near(): val("a"), near(128): val("b")}},
		{"two keys that part at bit 255", pairs{near(): val("a"), near(255): val("b")}},
		{"eight hashes", words()},
		{"keys that part late", deep()},
	} {
		v := treeVector{Name: c.name, Pairs: [][2]string{}}
		for k, h := range c.p.seq() {
			v.Pairs = append(v.Pairs, [2]string{x(k[:]), x(h[:])})
		}
		root := plainRoot(c.p)
		v.Root = x(root[:])
		out = append(out, v)
	}
	return out
}

func proofVectors() (out []proofVector) {
	good := func(name string, p pairs, ask []vindex.Key, more ...vindex.Key) []byte {
		root := plainRoot(p)
		b, _ := build(p, p.sorted()).Snapshot().Prove(ask).MarshalBinary()
		v := proofVector{Name: name, Root: x(root[:]), Proof: x(b), Holds: true}
		for i, k := range append(slices.Clone(ask), more...) {
			l := lookup{Key: x(k[:]), Found: "absent"}
			if h, ok := p[k]; i >= len(ask) {
				l.Found = "unknown"
			} else if ok {
				l.Found, l.Value = "present", x(h[:])
			}
			v.Lookups = append(v.Lookups, l)
		}
		out = append(out, v)
		return b
	}
	bad := func(name string, root []byte, proof ...[]byte) {
		out = append(out, proofVector{Name: name, Root: x(root), Proof: x(slices.Concat(proof...))})
	}
	w := words()
	root := plainRoot(w)
	empty := vindex.EmptyRoot
	good("the empty map", pairs{}, []vindex.Key{key("alpha")})
	good("a map of one key", pairs{key("alpha"): val("alpha")}, []vindex.Key{key("alpha"), key("iota")})
	good("nothing asked for", w, nil, key("alpha"), key("iota"))
	one := good("one key present", w, []vindex.Key{key("alpha")}, key("beta"))
	good("one key absent", w, []vindex.Key{key("iota")}, key("alpha"))
	good("some of each", w, []vindex.Key{key("alpha"), key("theta"), key("iota"), key("kappa")})
	good("all keys", w, w.sorted())
	good("keys that part late", deep(), append(deep().sorted(), near(3, 129), near(3, 130, 255), near(0)))

	bad("of another root", empty[:], one)
	bad("a value changed", root[:], one[:len(one)-1], []byte{one[len(one)-1] ^ 1})
	bad("cut", root[:], one[:len(one)-1])
	bad("a byte too many", root[:], one, []byte{0})
	bad("without its first line", root[:], one[len(line):])
	bad("of another version", root[:], []byte(strings.Replace(line, "v1", "v2", 1)), one[len(line):])
	bad("no node", root[:], []byte(line))
	bad("no bytes", root[:])
	bad("the empty map under another root", root[:], []byte(line), []byte{0})
	bad("a node of kind 6", root[:], []byte(line), []byte{6}, root[:])

	// What follows leads to the root that stands beside it. Only the rules of
	// the tree refuse it.
	a, b := near(), near(5)
	la, lb := plainLeaf(a, val("a")), plainLeaf(b, val("b"))
	na, nb := leafNode(a, val("a")), leafNode(b, val("b"))
	bad("a leaf on the wrong side", plainInner(5, lb, la), []byte(line), []byte{2, 5}, nb, na)
	bad("a leaf on the wrong side of a hash", plainInner(5, lb, la), []byte(line), []byte{3, 5}, la, nb)
	c := near(2, 5)
	lc, nc := plainLeaf(c, val("c")), leafNode(c, val("c"))
	bad("keys that part before the bit of their node", plainInner(5, la, lc), []byte(line), []byte{2, 5}, na, nc)
	bad("a bit that stands twice on a path", plainInner(5, plainInner(5, la, empty[:]), lb), []byte(line), []byte{2, 5}, []byte{3, 5}, empty[:], na, nb)
	d := near(3)
	ld, nd := plainLeaf(d, val("d")), leafNode(d, val("d"))
	bad("a lower bit below a higher one", plainInner(5, plainInner(3, la, ld), lb), []byte(line), []byte{2, 5}, []byte{2, 3}, na, nd, nb)
	bad("an empty map below a node", plainInner(5, la, empty[:]), []byte(line), []byte{2, 5}, na, []byte{0})
	bad("a lone hash below a node", plainInner(5, la, lb), []byte(line), []byte{2, 5}, na, []byte{5}, lb)
	return out
}

func pointVectors() (out []pointVector) {
	add := func(name, claim string, root []byte, k vindex.Key, v *vindex.Hash, proof []byte, holds bool) {
		p := pointVector{Name: name, Claim: claim, Root: x(root), Key: x(k[:]), Proof: x(proof), Holds: holds}
		if v != nil {
			p.Value = x(v[:])
		}
		out = append(out, p)
	}
	for _, c := range []struct {
		name string
		p    pairs
		keys []vindex.Key
	}{
		{"hashes", words(), []vindex.Key{key("alpha"), key("theta"), key("iota"), key("kappa")}},
		{"keys that part late", deep(), []vindex.Key{near(3, 130), near(3, 130, 255), near(0)}},
		{"one key", pairs{key("alpha"): val("alpha")}, []vindex.Key{key("alpha"), key("iota")}},
		{"no key", pairs{}, []vindex.Key{key("alpha")}},
	} {
		root := plainRoot(c.p)
		s := build(c.p, c.p.sorted()).Snapshot()
		for _, k := range c.keys {
			if v, proof, err := s.ProvePresent(k); err == nil {
				add(c.name+", a key that is there", "present", root[:], k, &v, proof, true)
			} else {
				proof, _ := s.ProveAbsent(k)
				add(c.name+", a key that is not there", "absent", root[:], k, nil, proof, true)
			}
		}
	}
	w := words()
	root, alpha, beta, iota := plainRoot(w), key("alpha"), key("beta"), key("iota")
	va, vb := w[alpha], w[beta]
	s := build(w, w.sorted()).Snapshot()
	_, pa, _ := s.ProvePresent(alpha)
	_, pb, _ := s.ProvePresent(beta)
	pi, _ := s.ProveAbsent(iota)
	empty := vindex.EmptyRoot

	add("another value", "present", root[:], alpha, &vb, pa, false)
	add("the way of another key", "present", root[:], alpha, &va, pb, false)
	add("no way", "present", root[:], alpha, &va, nil, false)
	add("a hash cut", "present", root[:], alpha, &va, pa[:len(pa)-1], false)
	add("another root", "present", empty[:], alpha, &va, pa, false)
	add("the proof that another key is absent", "present", root[:], iota, &va, pi, false)
	add("a bit in two bytes that fits one", "present", root[:], alpha, &va, append([]byte{pa[0] | 0x80, 0}, pa[1:]...), false)
	n, la, lb := near(), plainLeaf(near(), va), plainLeaf(near(5), vb)
	add("bits that grow on the way up", "present", plainInner(5, plainInner(3, la, lb), lb), n, &va, slices.Concat([]byte{3}, lb, []byte{5}, lb), false)
	add("a bit beyond the key", "present", plainInner(256, la, lb), n, &va, slices.Concat([]byte{0x80, 2}, lb), false)

	own := slices.Concat([]byte{32}, alpha[:], []byte{32}, va[:], pa)
	other := slices.Concat([]byte{32}, beta[:], []byte{32}, vb[:], pb)
	add("the key's own leaf", "absent", root[:], alpha, nil, own, false)
	add("a leaf to which the key does not lead", "absent", root[:], alpha, nil, other, false)
	add("the way of a present key", "absent", root[:], alpha, nil, pa, false)
	add("nothing, for a map that is not empty", "absent", root[:], iota, nil, nil, false)
	add("a leaf, for the empty map", "absent", empty[:], iota, nil, pi, false)
	add("another root", "absent", empty[:], iota, nil, pi, false)
	add("a key of another length", "absent", root[:], iota, nil, append([]byte{31}, pi[1:]...), false)
	add("a leaf cut", "absent", root[:], iota, nil, pi[:65], false)
	add("a hash cut", "absent", root[:], iota, nil, pi[:len(pi)-1], false)
	return out
}

// vectors reads a file, after writing it when -update is given, and wants what
// is generated.
func vectors[T any](t *testing.T, name string, generated []T) []T {
	t.Helper()
	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetIndent("", " ")
	if err := e.Encode(generated); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "vectors", name)
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what the format gives; a format that has changed needs a new version. go test -run Vectors -update writes the file", path)
	}
	var out []T
	if err := json.Unmarshal(got, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestListVectors(t *testing.T) {
	for _, v := range vectors(t, "lists.json", listVectors()) {
		if h := vindex.ListHash(v.Entries); x(h[:]) != v.Hash {
			t.Errorf("%s: %x, want %s", v.Name, h, v.Hash)
		}
	}
}

func TestTreeVectors(t *testing.T) {
	for _, v := range vectors(t, "trees.json", treeVectors()) {
		m := vindex.NewMap(nil)
		for _, p := range v.Pairs {
			m.Set(vindex.Key(unhex(t, p[0])), vindex.Hash(unhex(t, p[1])))
		}
		if h := m.Root(); x(h[:]) != v.Root {
			t.Errorf("%s: %x, want %s", v.Name, h, v.Root)
		}
	}
}

func TestProofVectors(t *testing.T) {
	for _, v := range vectors(t, "proofs.json", proofVectors()) {
		var f vindex.Found
		p, err := vindex.ParseProof(unhex(t, v.Proof))
		if err == nil {
			f, err = p.Verify(vindex.Hash(unhex(t, v.Root)))
		}
		if (err == nil) != v.Holds || err != nil && !errors.Is(err, vindex.ErrProof) {
			t.Errorf("%s: %v", v.Name, err)
		}
		for _, l := range v.Lookups {
			h, present, covered := f.Lookup(vindex.Key(unhex(t, l.Key)))
			got := lookup{Key: l.Key, Found: "unknown"}
			if present {
				got.Found, got.Value = "present", x(h[:])
			} else if covered {
				got.Found = "absent"
			}
			if got != l {
				t.Errorf("%s: %+v, want %+v", v.Name, got, l)
			}
		}
	}
}

func TestPointVectors(t *testing.T) {
	for _, v := range vectors(t, "points.json", pointVectors()) {
		root, k := vindex.Hash(unhex(t, v.Root)), vindex.Key(unhex(t, v.Key))
		var err error
		if v.Claim == "present" {
			err = vindex.VerifyPresent(root, k, vindex.Hash(unhex(t, v.Value)), unhex(t, v.Proof))
		} else {
			err = vindex.VerifyAbsent(root, k, unhex(t, v.Proof))
		}
		if (err == nil) != v.Holds || err != nil && !errors.Is(err, vindex.ErrProof) {
			t.Errorf("%s, %s: %v", v.Claim, v.Name, err)
		}
	}
}

// TestVectorsInPython: an implementation that shares no code with this one
// agrees on every vector.
func TestVectorsInPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatal("STEMMA_TEST_REQUIRE=all, but there is no python3; sudo apt-get install python3-minimal")
		}
		t.Skip("there is no python3; sudo apt-get install python3-minimal")
	}
	out, err := exec.Command(python, filepath.Join("testdata", "vectors", "check.py")).CombinedOutput()
	if err != nil || !bytes.HasSuffix(out, []byte(" checks\n")) {
		t.Fatalf("%v\n%s", err, out)
	}
}
