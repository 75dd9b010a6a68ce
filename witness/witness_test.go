package witness_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/witness"
)

// cosigner is C2SP tlog-cosignature (Ed25519) written anew, with a clock of
// its own.
type cosigner struct {
	name    string
	private ed25519.PrivateKey
	at      int64
}

func newCosigner(t testing.TB, name string) *cosigner {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &cosigner{name: name, private: private}
}

func (c *cosigner) public() []byte { return append([]byte{4}, c.private[32:]...) }

func (c *cosigner) Name() string { return c.name }

func (c *cosigner) KeyHash() uint32 {
	sum := sha256.Sum256([]byte(c.name + "\n" + string(c.public())))
	return binary.BigEndian.Uint32(sum[:])
}

func (c *cosigner) Sign(text []byte) ([]byte, error) {
	sig := ed25519.Sign(c.private, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", c.at, text))
	return append(binary.BigEndian.AppendUint64(nil, uint64(c.at)), sig...), nil
}

func (c *cosigner) key() string {
	return fmt.Sprintf("%s+%08x+%s", c.name, c.KeyHash(), base64.StdEncoding.EncodeToString(c.public()))
}

// logOf is a log of which only trees are known.
type logOf struct {
	t      testing.TB
	signer note.Signer
	v      note.Verifier
	key    string
	hashes []tlog.Hash
	size   int64
}

func newLog(t testing.TB, origin string) *logOf {
	t.Helper()
	private, key, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	l := &logOf{t: t, key: key}
	if l.signer, err = note.NewSigner(private); err != nil {
		t.Fatal(err)
	}
	if l.v, err = note.NewVerifier(key); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *logOf) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		out = append(out, l.hashes[i])
	}
	return out, nil
}

func (l *logOf) grow(run string, size int64) *logOf {
	l.t.Helper()
	for l.size < size {
		hs, err := tlog.StoredHashes(l.size, fmt.Appendf(nil, "%s %d", run, l.size), l)
		if err != nil {
			l.t.Fatal(err)
		}
		l.hashes, l.size = append(l.hashes, hs...), l.size+1
	}
	return l
}

// other gives a log with the same key and entries of its own.
func (l *logOf) other(run string, same, size int64) *logOf {
	o := &logOf{t: l.t, signer: l.signer, v: l.v, key: l.key}
	return o.grow("a", same).grow(run, size)
}

func (l *logOf) tree(size int64) tlog.Tree {
	l.t.Helper()
	root, err := tlog.TreeHash(size, l)
	if err != nil {
		l.t.Fatal(err)
	}
	return tlog.Tree{N: size, Hash: root}
}

func (l *logOf) proof(old, size int64) tlog.TreeProof {
	l.t.Helper()
	p, err := tlog.ProveTree(size, old, l)
	if err != nil {
		l.t.Fatal(err)
	}
	return p
}

// signed gives the checkpoint of a size with cosignatures.
func (l *logOf) signed(size int64, by ...note.Signer) []byte {
	l.t.Helper()
	tree := l.tree(size)
	b, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", l.signer.Name(), tree.N, tree.Hash)}, append([]note.Signer{l.signer}, by...)...)
	if err != nil {
		l.t.Fatal(err)
	}
	return b
}

func policy(t testing.TB, text string) *witness.Policy {
	t.Helper()
	p, err := witness.ParsePolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOpen(t *testing.T) {
	l := newLog(t, "example.org/log").grow("a", 9)
	w, stranger := newCosigner(t, "witness.example/w"), newCosigner(t, "witness.example/stranger")
	p := policy(t, "witness w "+w.key()+"\nquorum w\n")
	w.at, stranger.at = 1770000000, 1770000001
	c, err := witness.Open(l.signed(9, w, stranger), l.v, p)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Quorum || c.Tree != l.tree(9) || len(c.Cosignatures) != 1 || c.Cosignatures[0].Witness != "w" || !c.Cosignatures[0].Time.Equal(time.Unix(1770000000, 0)) {
		t.Errorf("%+v", c)
	}
	if strings.Contains(string(c.Note()), "stranger") {
		t.Error("a signature that was not verified is in the note")
	}
	if again, err := witness.Open(c.Note(), l.v, p); err != nil || !cmp.Equal(again, c) {
		t.Errorf("what was opened opens to something else: %v", err)
	}
	if c, err := witness.Open(l.signed(9), l.v, p); err != nil || c.Quorum {
		t.Errorf("without a cosignature: quorum %v, %v", c.Quorum, err)
	}
	good := string(l.signed(9, w))
	line := strings.SplitAfter(good, "\n")[5]
	raw, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(strings.SplitN(line, " ", 3)[2]))
	raw[11]++ // another second
	for name, bad := range map[string]string{
		"another time":           strings.Replace(good, line, "— "+w.name+" "+base64.StdEncoding.EncodeToString(raw)+"\n", 1),
		"another size":           strings.Replace(good, "\n9\n", "\n8\n", 1),
		"not signed by log":      strings.Replace(good, strings.SplitAfter(good, "\n")[4], "", 1),
		"another origin":         string(newLog(t, "example.org/other").grow("a", 3).signed(3)),
		"cut":                    good[:len(good)-2],
		"empty":                  "",
		"cosignature as a log's": "x\n1\n" + l.tree(1).Hash.String() + "\n\n" + line,
		"size with a zero":       string(note1(t, l.signer, "example.org/log\n09\n"+l.tree(9).Hash.String()+"\n")),
		"no root":                string(note1(t, l.signer, "example.org/log\n9\n")),
		"root of no size":        string(note1(t, l.signer, "example.org/log\n9\nAAAA\n")),
		"root, stray bits":       string(note1(t, l.signer, "example.org/log\n9\n"+strings.Repeat("A", 42)+"B=\n")),
	} {
		if _, err := witness.Open([]byte(bad), l.v, p); !errors.Is(err, witness.ErrCheckpoint) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func note1(t *testing.T, s note.Signer, text string) []byte {
	b, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConsistent(t *testing.T) {
	l := newLog(t, "example.org/log").grow("a", 20)
	f := l.other("b", 7, 20)
	for old := int64(0); old <= 20; old++ {
		for size := old; size <= 20; size++ {
			var p tlog.TreeProof
			if old > 0 {
				p = l.proof(old, size)
			}
			if err := witness.Consistent(l.tree(old), l.tree(size), p); err != nil {
				t.Errorf("%d to %d: %v", old, size, err)
			}
			if err := witness.Consistent(f.tree(old), l.tree(size), p); (err == nil) != (old <= 7) {
				t.Errorf("from another history, %d to %d: %v", old, size, err)
			}
			if err := witness.Consistent(l.tree(old), l.tree(size), append(p, tlog.Hash{})); err == nil {
				t.Errorf("%d to %d: a hash too many is taken", old, size)
			}
			if old < size {
				if err := witness.Consistent(l.tree(size), l.tree(old), p); err == nil {
					t.Errorf("back from %d to %d is taken", size, old)
				}
			}
		}
	}
}

// TestForkEvidence: what each kind of evidence shows, through its text form.
func TestForkEvidence(t *testing.T) {
	l := newLog(t, "example.org/log").grow("a", 30)
	f := l.other("b", 7, 30)
	stranger := newLog(t, "example.org/log").grow("a", 30)
	root := func(l *logOf, n int64) *tlog.Hash { h := l.tree(n).Hash; return &h }
	wrong := tlog.Hash{1}
	for _, c := range []struct {
		name string
		fork witness.Fork
		want witness.Contradiction // "": none
	}{
		{"same size", witness.Fork{Known: l.signed(20), Shown: f.signed(20)}, witness.TwoHistories},
		{"larger", witness.Fork{Known: l.signed(20), Shown: f.signed(25), Root: root(f, 20), Proof: f.proof(20, 25)}, witness.TwoHistories},
		{"smaller, with a proof", witness.Fork{Known: l.signed(25), Shown: f.signed(20), Root: root(l, 20), Proof: l.proof(20, 25)}, witness.TwoHistories},
		{"smaller", witness.Fork{Known: l.signed(25), Shown: l.signed(20)}, witness.WentBack},
		{"hashes of nothing", witness.Fork{Known: l.signed(20), Shown: l.signed(25), Root: &wrong, Proof: l.proof(20, 25)}, witness.Damaged},
		{"hashes of nothing, same size", witness.Fork{Known: l.signed(20), Shown: l.signed(20), Root: &wrong}, witness.Damaged},
		{"another key", witness.Fork{Known: l.signed(20), Shown: stranger.signed(20)}, witness.OtherKey},
		{"nothing, with a root of its own", witness.Fork{Known: l.signed(0), Shown: l.signed(25), Root: &wrong}, witness.Damaged},
		{"nothing after something", witness.Fork{Known: l.signed(25), Shown: l.signed(0), Root: &wrong}, witness.WentBack},
		{"one history", witness.Fork{Known: l.signed(20), Shown: l.signed(25), Root: root(l, 20), Proof: l.proof(20, 25)}, ""},
		{"two histories that meet before they part", witness.Fork{Known: l.signed(7), Shown: f.signed(25), Root: root(f, 7), Proof: f.proof(7, 25)}, ""},
		{"the same", witness.Fork{Known: l.signed(20), Shown: l.signed(20)}, ""},
		{"larger, without a proof", witness.Fork{Known: l.signed(20), Shown: f.signed(25)}, ""},
		{"a proof of another size", witness.Fork{Known: l.signed(20), Shown: l.signed(25), Root: root(f, 20), Proof: l.proof(19, 25)}, witness.Damaged},
	} {
		c.fork.Key, c.fork.By, c.fork.Found = l.key, "a test\nwith two lines", time.Unix(1770000000, 0).UTC()
		text := witness.FormatFork(c.fork)
		got, err := witness.ParseFork(text)
		if err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, text)
			continue
		}
		if string(witness.FormatFork(got)) != string(text) {
			t.Errorf("%s: it is written anew as\n%s\nand was\n%s", c.name, witness.FormatFork(got), text)
		}
		what, err := got.Check(l.v)
		if what != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q %v, want %q", c.name, what, err, c.want)
		}
		if _, err := got.Check(newLog(t, "example.org/log").v); err == nil {
			t.Errorf("%s: it holds under another key", c.name)
		}
	}
}

func FuzzParseFork(f *testing.F) {
	l := newLog(f, "example.org/log").grow("a", 9)
	f.Add(witness.FormatFork(witness.Fork{Key: l.key, By: "x", Known: l.signed(4), Shown: l.signed(9), Proof: l.proof(4, 9)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := witness.ParseFork(b); err == nil {
			_, _ = e.Check(l.v)
		}
	})
}

func FuzzOpen(f *testing.F) {
	l := newLog(f, "example.org/log").grow("a", 9)
	w := newCosigner(f, "w")
	p := policy(f, "witness w "+w.key()+"\nquorum w\n")
	tree := l.tree(9)
	f.Add(l.signed(9, w))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := witness.Open(b, l.v, p)
		if err == nil && c.Tree != tree {
			t.Errorf("a checkpoint that was never signed: %q", b)
		}
		if err == nil && !slices.Contains([]int{0, 1}, len(c.Cosignatures)) {
			t.Errorf("%d cosignatures", len(c.Cosignatures))
		}
	})
}
