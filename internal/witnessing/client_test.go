package witnessing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/witness"
)

func asking(t *testing.T, k logKey, h *history, size int64) Asking {
	t.Helper()
	v, err := note.NewVerifier(k.vkey)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := witness.Open(k.checkpoint(t, h.tree(t, size)), v, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Asking{Checkpoint: cp, Log: v, Last: func(string) int64 { return 0 },
		Prove: func(_ context.Context, old int64) (tlog.TreeProof, error) {
			if old == 0 || old == size {
				return nil, nil
			}
			return tlog.ProveTree(size, old, h)
		}}
}

func witnessAt(t *testing.T, d *Dir, url string) witness.Witness {
	t.Helper()
	w, err := witness.NewWitness("w", d.Key(), url)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestAsk asks a witness that knows more, less or the same as the log thinks.
func TestAsk(t *testing.T) {
	k := newLogKey(t, "example.org/log")
	d := newDir(t, k)
	s := httptest.NewServer(newServer(t, d))
	defer s.Close()
	h := &history{name: "a"}
	h.grow(t, 4)
	fork := h.fork("b")
	h.grow(t, 30)
	fork.grow(t, 30)
	for _, c := range []struct {
		name       string
		h          *history
		last, size int64
		bad        bool
	}{
		{"first", h, 0, 10, false},
		{"the log forgot", h, 0, 12, false},
		{"the log knows", h, 12, 20, false},
		{"again", h, 20, 20, false},
		{"the log thinks of too little", h, 12, 25, false},
		{"the log went back", h, 0, 15, true},
		{"the log says that it went back", h, 25, 15, true},
		{"another history", fork, 0, 30, true},
		{"another history, same size", fork, 0, 25, true},
	} {
		a := asking(t, k, c.h, c.size)
		a.Last = func(string) int64 { return c.last }
		r := Ask(t.Context(), a, []witness.Witness{witnessAt(t, d, s.URL)})[0]
		if errors.Is(r.Err, ErrContradicted) != c.bad || !c.bad && r.Err != nil {
			t.Errorf("%s: %v", c.name, r.Err)
		}
	}
}

// TestAskBadWitnesses: none of these answers is taken, none holds up the one
// good witness among them, and none is taken for a fork.
func TestAskBadWitnesses(t *testing.T) {
	k := newLogKey(t, "example.org/log")
	h := &history{name: "a"}
	h.grow(t, 10)
	d, stranger := newDir(t, k), newDir(t, k)
	good := httptest.NewServer(newServer(t, d))
	defer good.Close()
	release := make(chan struct{})
	answer := func(f http.HandlerFunc) string {
		s := httptest.NewServer(f)
		t.Cleanup(s.Close)
		return s.URL
	}
	defer close(release) // before the servers are closed
	other := asking(t, k, h, 9)
	otherLine := Ask(t.Context(), other, []witness.Witness{witnessAt(t, stranger, answer(newServer(t, stranger).ServeHTTP))})[0].Cosignature.Line
	urls := map[string]string{
		"nobody there":       "http://127.0.0.1:1",
		"no address":         "",
		"empty":              answer(func(w http.ResponseWriter, r *http.Request) {}),
		"no signature":       answer(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "thank you") }),
		"another's":          answer(newServer(t, newDir(t, k)).ServeHTTP),
		"of another size":    answer(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, otherLine) }),
		"huge":               answer(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) }),
		"elsewhere":          answer(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, good.URL, http.StatusFound) }),
		"an error":           answer(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "\x1b[31mred\x07", 500) }),
		"a size of no sense": answer(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "-4", http.StatusConflict) }),
		"never content": answer(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			if strings.HasPrefix(string(b), "old 3\n") {
				http.Error(w, "4", http.StatusConflict)
				return
			}
			http.Error(w, "3", http.StatusConflict)
		}),
		"hangs": answer(func(w http.ResponseWriter, r *http.Request) { <-release }),
	}
	list, names := []witness.Witness{}, []string{}
	for name, url := range urls {
		list, names = append(list, witnessAt(t, stranger, url)), append(names, name)
	}
	list = append(list, witnessAt(t, d, good.URL))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(2*time.Second, cancel) // those that hang
	out := Ask(ctx, asking(t, k, h, 10), list)
	for i, name := range names {
		r := out[i]
		if r.Err == nil || errors.Is(r.Err, ErrContradicted) {
			t.Errorf("%s: %v", name, r.Err)
		}
		if strings.ContainsAny(fmt.Sprint(r.Err), "\x1b\x07") {
			t.Errorf("%s: the error holds control characters: %q", name, r.Err)
		}
	}
	if r := out[len(names)]; r.Err != nil || r.Cosignature.Line == "" {
		t.Errorf("the good witness: %v", r.Err)
	}
}

// TestHistory cuts the file at every byte, as a crash does: what was whole
// stays, and the next append mends the end.
func TestHistory(t *testing.T) {
	dir := t.TempDir()
	h := History{filepath.Join(dir, "cosigned")}
	if list, err := h.Notes(); err != nil || list != nil {
		t.Fatalf("no file: %q %v", list, err)
	}
	want := []string{"one\n", "two\nend\ncheckpoint 3\n", ""}
	ends := []int{0}
	for _, s := range want {
		if err := h.Append([]byte(s)); err != nil {
			t.Fatal(err)
		}
		st, _ := os.Stat(h.Path)
		ends = append(ends, int(st.Size()))
	}
	all, err := os.ReadFile(h.Path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range all {
		if err := os.WriteFile(h.Path, all[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		whole := 0
		for whole < len(want) && ends[whole+1] <= n {
			whole++
		}
		if err := h.Append([]byte("new")); err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		list, err := h.Notes()
		if err != nil || len(list) != whole+1 || string(list[whole]) != "new" {
			t.Fatalf("cut at %d: %q %v, want %d and a new one", n, list, err, whole)
		}
	}
	for _, at := range []int{0, 12, ends[1] - 1} { // a head, its number, an end
		bad := append([]byte(nil), all...)
		bad[at] ^= 0x40
		if err := os.WriteFile(h.Path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Notes(); !errors.Is(err, ErrHistory) {
			t.Errorf("byte %d changed: %v", at, err)
		}
		if err := h.Append([]byte("x")); !errors.Is(err, ErrHistory) {
			t.Errorf("byte %d changed: it is written to: %v", at, err)
		}
	}
}

func TestHistoryAtOnce(t *testing.T) {
	h := History{filepath.Join(t.TempDir(), "cosigned")}
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			if err := h.Append(fmt.Appendf(nil, "%d\n", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	list, err := h.Notes()
	got := map[string]bool{}
	for _, n := range list {
		got[string(n)] = true
	}
	if err != nil || len(list) != 30 || len(got) != 30 {
		t.Errorf("%d records, %d of them different: %v", len(list), len(got), err)
	}
}

// TestDirIsOneProcess: a second server of the same key is refused, since two
// could sign two histories.
func TestDirIsOneProcess(t *testing.T) {
	d := newDir(t)
	release, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(); !errors.Is(err, ErrInUse) {
		t.Errorf("%v", err)
	}
	release()
	again, err := d.Lock()
	if err != nil {
		t.Error(err)
	}
	again()
}

func TestServeEnds(t *testing.T) {
	s := newServer(t, newDir(t))
	l := newListener(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	r, err := http.Get("http://" + l.Addr().String() + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func newListener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
