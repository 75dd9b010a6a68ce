package witnessing

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/witness"
)

// history is a tree of leaves, one of several that a dishonest log may keep.
type history struct {
	name   string
	hashes []tlog.Hash
	size   int64
}

func (h *history) grow(t testing.TB, n int) {
	t.Helper()
	for range n {
		hs, err := tlog.StoredHashes(h.size, fmt.Appendf(nil, "%s %d", h.name, h.size), h)
		if err != nil {
			t.Fatal(err)
		}
		h.hashes = append(h.hashes, hs...)
		h.size++
	}
}

func (h *history) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		out = append(out, h.hashes[i])
	}
	return out, nil
}

func (h *history) fork(name string) *history {
	return &history{name, append([]tlog.Hash(nil), h.hashes...), h.size}
}

func (h *history) tree(t testing.TB, size int64) tlog.Tree {
	t.Helper()
	root, err := tlog.TreeHash(size, h)
	if err != nil {
		t.Fatal(err)
	}
	return tlog.Tree{N: size, Hash: root}
}

// request asks to cosign size after old, with the right proof where there is
// one.
func (h *history) request(t testing.TB, k logKey, old, size int64) witness.Request {
	t.Helper()
	r := witness.Request{Old: old, Note: k.checkpoint(t, h.tree(t, size))}
	if old > 0 && old < size {
		var err error
		if r.Proof, err = tlog.ProveTree(size, old, h); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

type logKey struct {
	signer note.Signer
	vkey   string
}

func newLogKey(t testing.TB, origin string) logKey {
	t.Helper()
	private, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return logKey{s, vkey}
}

func (k logKey) checkpoint(t testing.TB, tree tlog.Tree) []byte {
	t.Helper()
	b, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", k.signer.Name(), tree.N, tree.Hash)}, k.signer)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newDir(t testing.TB, keys ...logKey) *Dir {
	t.Helper()
	d, err := InitDir(filepath.Join(t.TempDir(), "w"), "witness.example/w")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if _, err := d.AddLog(k.vkey); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func newServer(t testing.TB, d *Dir) *Server {
	t.Helper()
	s, err := NewServer(d, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range s.logs {
		k.limit.SetBurst(1 << 20)
	}
	s.all.SetBurst(1 << 20)
	return s
}

func post(s http.Handler, r witness.Request) (int, string) {
	return postBytes(s, witness.FormatRequest(r))
}

func postBytes(s http.Handler, body []byte) (int, string) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/add-checkpoint", bytes.NewReader(body)))
	return w.Code, w.Body.String()
}

// cosigned verifies an answer and gives the tree that was cosigned.
func cosigned(t testing.TB, d *Dir, k logKey, r witness.Request, answer string) tlog.Tree {
	t.Helper()
	v, err := note.NewVerifier(k.vkey)
	if err != nil {
		t.Fatal(err)
	}
	w, err := witness.NewWitness("w", d.Key(), "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := witness.Open(r.Note, v, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := witness.Add(c, v, w, []byte(answer)); err != nil {
		t.Fatalf("the answer %q does not verify: %v", answer, err)
	}
	return c.Tree
}

// TestAnswers goes through what C2SP tlog-witness asks of add-checkpoint.
func TestAnswers(t *testing.T) {
	k, foreign := newLogKey(t, "example.org/log"), newLogKey(t, "example.org/foreign")
	forger := newLogKey(t, "example.org/log")
	d := newDir(t, k)
	s := newServer(t, d)
	good := &history{name: "good"}
	good.grow(t, 40)
	evil := &history{name: "evil"}
	evil.grow(t, 40)
	long := good.request(t, k, 10, 20)
	long.Proof = append(long.Proof, make(tlog.TreeProof, 60)...)
	bad := good.request(t, k, 10, 20)
	bad.Proof[0][3] ^= 1
	first := good.request(t, k, 0, 10)
	first.Proof = tlog.TreeProof{{}}
	for _, c := range []struct {
		name   string
		status int
		body   string // for 409: exactly
		r      witness.Request
	}{
		{"unknown log", 404, "", good.request(t, foreign, 0, 10)},
		{"another key", 403, "", good.request(t, forger, 0, 10)},
		{"a size that was not cosigned", 409, "0\n", good.request(t, k, 5, 10)},
		{"a proof from nothing", 422, "", first},
		{"first", 200, "", good.request(t, k, 0, 10)},
		{"first again", 409, "10\n", good.request(t, k, 0, 10)},
		{"the same again", 200, "", good.request(t, k, 10, 10)},
		{"old above new", 400, "", witness.Request{Old: 11, Note: k.checkpoint(t, good.tree(t, 10))}},
		{"another root, same size", 409, "10\n", evil.request(t, k, 10, 10)},
		{"another history", 422, "", evil.request(t, k, 10, 20)},
		{"another history from nothing", 409, "10\n", evil.request(t, k, 0, 20)},
		{"a proof with a wrong hash", 422, "", bad},
		{"no proof", 422, "", witness.Request{Old: 10, Note: k.checkpoint(t, good.tree(t, 20))}},
		{"too long a proof", 400, "", long},
		{"next", 200, "", good.request(t, k, 10, 20)},
		{"back", 409, "20\n", good.request(t, k, 10, 15)},
		{"and on", 200, "", good.request(t, k, 20, 40)},
	} {
		status, body := post(s, c.r)
		if status != c.status || c.status == 409 && body != c.body {
			t.Errorf("%s: %d %q, want %d %q", c.name, status, body, c.status, c.body)
		}
		if status == 200 {
			cosigned(t, d, k, c.r, body)
		}
	}
	files, _ := filepath.Glob(filepath.Join(d.path, "forks", "*.txt"))
	if len(files) != 1 {
		t.Fatalf("evidence of the fork: %q, want one file", files)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	f, err := witness.ParseFork(text)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := note.NewVerifier(k.vkey)
	if got, err := f.Check(v); err != nil || got != witness.TwoHistories {
		t.Errorf("the evidence shows %q, %v", got, err)
	}
}

func TestMalformedRequests(t *testing.T) {
	k := newLogKey(t, "example.org/log")
	s := newServer(t, newDir(t, k))
	h := &history{name: "h"}
	h.grow(t, 3)
	cp := string(k.checkpoint(t, h.tree(t, 3)))
	for name, body := range map[string]string{
		"empty":             "",
		"no old line":       "\n\n" + cp,
		"old without size":  "old \n\n" + cp,
		"leading zero":      "old 00\n\n" + cp,
		"negative":          "old -1\n\n" + cp,
		"plus":              "old +0\n\n" + cp,
		"beyond 64 bits":    "old 9223372036854775808\n\n" + cp,
		"carriage return":   "old 0\r\n\r\n" + cp,
		"hash too short":    "old 0\nAAAA\n\n" + cp,
		"hash not base64":   "old 0\n*\n\n" + cp,
		"stray bits":        "old 0\n" + strings.Repeat("A", 42) + "B=\n\n" + cp,
		"no checkpoint":     "old 0\n\n",
		"text after old":    "old 0 \n\n" + cp,
		"two empty lines":   "old 0\n\n\n" + cp,
		"unsigned":          "old 0\n\nexample.org/log\n3\n" + h.tree(t, 3).Hash.String() + "\n",
		"checkpoint cut":    "old 0\n\n" + cp[:len(cp)-1],
		"size not a number": "old 0\n\n" + string(signText(t, k, "example.org/log\nx\n"+h.tree(t, 3).Hash.String()+"\n")),
		"empty, wrong root": "old 0\n\n" + string(signText(t, k, "example.org/log\n0\n"+h.tree(t, 3).Hash.String()+"\n")),
	} {
		if status, answer := postBytes(s, []byte(body)); status != 400 && status != 404 && status != 403 {
			t.Errorf("%s: %d %q", name, status, answer)
		}
	}
	if status, _ := postBytes(s, make([]byte, 1<<20)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large request: %d", status)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/add-checkpoint", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", w.Code)
	}
}

func signText(t *testing.T, k logKey, text string) []byte {
	b, err := note.Sign(&note.Note{Text: text}, k.signer)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNeverTwoHistories sends random requests of two histories, some at once,
// to a witness whose disk fails now and then, before or after the state is
// written, and which is begun anew now and then. Everything that it ever
// cosigned must be of one history.
func TestNeverTwoHistories(t *testing.T) {
	for seed := range uint64(40) {
		r := mrand.New(mrand.NewPCG(seed, 1))
		t.Run(fmt.Sprint(seed), func(t *testing.T) { neverTwo(t, r) })
	}
}

func neverTwo(t *testing.T, r *mrand.Rand) {
	k := newLogKey(t, "example.org/log")
	d := newDir(t, k)
	a := &history{name: "a"}
	a.grow(t, r.IntN(4))
	b := a.fork("b")
	a.grow(t, 12)
	b.grow(t, 12)
	var mu sync.Mutex // guards r, and seen
	seen := map[tlog.Tree]bool{}
	d.write = func(path string, data []byte) error {
		mu.Lock()
		x := r.IntN(4)
		mu.Unlock()
		if x == 0 {
			return errors.New("the disk failed and kept nothing")
		}
		err := durable.WriteFile(path, data, 0o600)
		if x == 1 {
			return errors.New("the disk failed and kept it")
		}
		return err
	}
	s := newServer(t, d)
	v, err := note.NewVerifier(k.vkey)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if r.IntN(5) == 0 {
			s = newServer(t, d)
		}
		last, _, err := s.state(v.Name())
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 1 + r.IntN(4) {
			h := a
			if r.IntN(2) == 0 {
				h = b
			}
			old := last.N
			if r.IntN(4) == 0 {
				old = r.Int64N(h.size)
			}
			req := h.request(t, k, old, min(h.size, old+r.Int64N(4)))
			wg.Go(func() {
				status, answer := post(s, req)
				if status == 200 {
					tree := cosigned(t, d, k, req, answer)
					mu.Lock()
					seen[tree] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
	}
	for _, h := range []*history{a, b} {
		all := true
		for tree := range seen {
			all = all && h.tree(t, tree.N) == tree
		}
		if all {
			return
		}
	}
	t.Errorf("it cosigned two histories: %v", seen)
}

// TestKilledBetweenWriteAndAnswer ends the process after the state is written
// and before it signs. Begun again, the witness holds to what it wrote.
func TestKilledBetweenWriteAndAnswer(t *testing.T) {
	k := newLogKey(t, "example.org/log")
	d := newDir(t, k)
	a := &history{name: "a"}
	a.grow(t, 5)
	b := a.fork("b")
	a.grow(t, 5)
	b.grow(t, 5)
	if status, answer := post(newServer(t, d), a.request(t, k, 0, 5)); status != 200 {
		t.Fatal(status, answer)
	}
	file := filepath.Join(t.TempDir(), "request")
	if err := os.WriteFile(file, witness.FormatRequest(a.request(t, k, 5, 10)), 0o600); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe)
	c.Env = append(os.Environ(), "WITNESS_CHILD="+d.path, "WITNESS_REQUEST="+file)
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended with %v: %s", err, out)
	}
	s := newServer(t, d)
	if status, answer := post(s, b.request(t, k, 5, 10)); status != 409 || answer != "10\n" {
		t.Errorf("the other history: %d %q", status, answer)
	}
	if status, answer := post(s, b.request(t, k, 10, 10)); status != 409 {
		t.Errorf("the other history at the same size: %d %q", status, answer)
	}
	r := a.request(t, k, 10, 10)
	status, answer := post(s, r)
	if status != 200 {
		t.Fatalf("the same again: %d %q", status, answer)
	}
	cosigned(t, d, k, r, answer)
}

func TestMain(m *testing.M) {
	if dir := os.Getenv("WITNESS_CHILD"); dir != "" {
		killedChild(dir, os.Getenv("WITNESS_REQUEST"))
		return
	}
	os.Exit(m.Run())
}

func killedChild(dir, file string) {
	d, err := OpenDir(dir)
	if err != nil {
		panic(err)
	}
	s, err := NewServer(d, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		panic(err)
	}
	s.written = func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }
	body, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	fmt.Println(postBytes(s, body))
}

// TestLostState: a key whose state is gone or damaged signs no more.
func TestLostState(t *testing.T) {
	k := newLogKey(t, "example.org/log")
	h := &history{name: "h"}
	h.grow(t, 9)
	for name, damage := range map[string]func(path string) error{
		"removed": os.Remove,
		"flipped": func(p string) error {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			b[len(b)/2] ^= 1
			return os.WriteFile(p, b, 0o600)
		},
		"cut":     func(p string) error { return os.Truncate(p, 20) },
		"emptied": func(p string) error { return os.Truncate(p, 0) },
	} {
		d := newDir(t, k)
		s := newServer(t, d)
		if status, answer := post(s, h.request(t, k, 0, 5)); status != 200 {
			t.Fatal(status, answer)
		}
		if err := damage(d.state("example.org/log")); err != nil {
			t.Fatal(err)
		}
		if status, _ := post(s, h.request(t, k, 5, 9)); status != 500 {
			t.Errorf("%s: a running witness answers %d", name, status)
		}
		if _, err := NewServer(d, slog.Default()); !errors.Is(err, ErrLostState) {
			t.Errorf("%s: beginning anew: %v", name, err)
		}
		if _, err := d.AddLog(k.vkey); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := NewServer(d, slog.Default()); !errors.Is(err, ErrLostState) {
			t.Errorf("%s: adding the log again made a new state: %v", name, err)
		}
	}
}

func TestRates(t *testing.T) {
	k := newLogKey(t, "example.org/log")
	d := newDir(t, k)
	s := newServer(t, d)
	h := &history{name: "h"}
	h.grow(t, 3)
	s.logs["example.org/log"].limit.SetBurst(0)
	if status, _ := post(s, h.request(t, k, 0, 3)); status != http.StatusTooManyRequests {
		t.Errorf("a log that asks too often: %d", status)
	}
	s.all.SetBurst(0)
	if status, _ := post(s, h.request(t, k, 0, 3)); status != http.StatusTooManyRequests {
		t.Errorf("too many requests: %d", status)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte("old 1\n" + strings.Repeat("A", 43) + "=\n\nexample.org\n2\n" + strings.Repeat("A", 43) + "=\n\n— a b\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := witness.ParseRequest(b)
		if err == nil && !bytes.Equal(witness.FormatRequest(r), b) {
			t.Errorf("%q reads as %q", b, witness.FormatRequest(r))
		}
	})
}
