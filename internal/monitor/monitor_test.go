package monitor

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	mrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/witness"
)

type logOf struct {
	t    *testing.T
	log  *evlog.Log
	opts evlog.Options
	out  string // where it is exported to
}

func newOptions(t *testing.T) evlog.Options {
	t.Helper()
	private, key, err := note.GenerateKey(rand.Reader, "test.example/log")
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	return evlog.Options{Origin: "test.example/log", Signer: s, Verifier: v, Key: key}
}

func newLog(t *testing.T, o evlog.Options, out string) *logOf {
	t.Helper()
	l, err := evlog.Create(t.Context(), filepath.Join(t.TempDir(), "log"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &logOf{t, l, o, out}
}

// grow appends entries up to a size and exports.
func (l *logOf) grow(run string, size int) {
	l.t.Helper()
	h, err := l.log.Head(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	var items []evlog.Item
	for i := int(h.Size); i < size; i++ {
		items = append(items, evlog.Item{RecordedBy: "person:ann@example.org", Envelope: fmt.Appendf(nil, `{"payload":"%s%d"}`, run, i)})
	}
	if len(items) > 0 {
		if _, err := l.log.Append(l.t.Context(), items); err != nil {
			l.t.Fatal(err)
		}
	}
	if _, err := l.log.Export(l.t.Context(), l.out); err != nil {
		l.t.Fatal(err)
	}
}

func (l *logOf) monitor(where string) *Monitor {
	return &Monitor{Source: OpenSource(where), Key: l.opts.Key, State: filepath.Join(l.t.TempDir(), "state", "last.txt")}
}

// TestFollows grows a log and follows it, in its folder and over HTTP; partial
// tiles that a full one has replaced are taken away.
func TestFollows(t *testing.T) {
	l := newLog(t, newOptions(t), t.TempDir())
	s := httptest.NewServer(http.FileServer(http.Dir(l.out)))
	defer s.Close()
	for _, where := range []string{l.out, s.URL, s.URL + "/"} {
		l := newLog(t, l.opts, l.out)
		if err := os.RemoveAll(l.out); err != nil {
			t.Fatal(err)
		}
		m, leaves := l.monitor(where), int64(0)
		m.Leaf = func(i int64, leaf []byte) error {
			if i != leaves || len(leaf) != 81 {
				t.Errorf("leaf %d: %q, want leaf %d", i, leaf, leaves)
			}
			leaves++
			return nil
		}
		before := int64(0)
		for i, size := range []int{0, 1, 2, 255, 256, 257, 257, 700} {
			l.grow("a", size)
			seen, err := m.Look(t.Context())
			if err != nil {
				t.Fatalf("%s, size %d: %v", where, size, err)
			}
			if seen.First != (i == 0) || seen.Before != before || seen.Checkpoint.Tree.N != int64(size) || leaves != int64(size) {
				t.Errorf("%s, size %d: %+v, %d leaves", where, size, seen, leaves)
			}
			before = int64(size)
		}
	}
}

// TestFullTileStandsForItsParts: a log may take the parts of a tile away when
// it is full, also while a monitor reads an older checkpoint.
func TestFullTileStandsForItsParts(t *testing.T) {
	l := newLog(t, newOptions(t), t.TempDir())
	l.grow("a", 250)
	old, err := os.ReadFile(filepath.Join(l.out, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	l.grow("a", 300)
	for _, p := range []string{"tile/0/000.p", "tile/entries/000.p"} {
		if err := os.RemoveAll(filepath.Join(l.out, p)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(l.out, "checkpoint"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	if seen, err := l.monitor(l.out).Look(t.Context()); err != nil || seen.Checkpoint.Tree.N != 250 {
		t.Errorf("%+v, %v", seen, err)
	}
}

// TestForks shows another history to a monitor, and wants evidence that a
// third party can check, a state that did not move, and the same again.
func TestForks(t *testing.T) {
	for name, c := range map[string]struct {
		sizes [2]int
		run   string
		key   bool // another key
		want  witness.Contradiction
	}{
		"larger":            {[2]int{100, 300}, "b", false, witness.TwoHistories},
		"as large":          {[2]int{100, 100}, "b", false, witness.TwoHistories},
		"smaller":           {[2]int{100, 60}, "b", false, witness.WentBack},
		"back to the empty": {[2]int{100, 0}, "b", false, witness.WentBack},
		"another key":       {[2]int{100, 100}, "a", true, witness.OtherKey},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t, newOptions(t), t.TempDir())
			l.grow("a", c.sizes[0])
			m := l.monitor(l.out)
			if _, err := m.Look(t.Context()); err != nil {
				t.Fatal(err)
			}
			state, err := os.ReadFile(m.State)
			if err != nil {
				t.Fatal(err)
			}
			o := l.opts
			if c.key {
				o = newOptions(t)
			}
			fork := newLog(t, o, filepath.Join(t.TempDir(), "fork"))
			fork.grow(c.run, c.sizes[1])
			m.Source = OpenSource(fork.out)
			for range 2 {
				_, err = m.Look(t.Context())
				var f *ForkError
				if !errors.As(err, &f) || f.What != c.want {
					t.Fatalf("%v, want a fork: %s", err, c.want)
				}
				text, err := os.ReadFile(f.Evidence)
				if err != nil {
					t.Fatal(err)
				}
				e, err := witness.ParseFork(text)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := e.Check(l.opts.Verifier); err != nil || got != c.want {
					t.Errorf("the evidence shows %q, %v", got, err)
				}
			}
			if now, err := os.ReadFile(m.State); err != nil || string(now) != string(state) {
				t.Errorf("the state moved: %s %v", now, err)
			}
			m.Source = OpenSource(l.out)
			if _, err := m.Look(t.Context()); err != nil {
				t.Errorf("the true log again: %v", err)
			}
		})
	}
}

// TestRefusesWhatDoesNotHash flips a byte of every file of a log in turn.
func TestRefusesWhatDoesNotHash(t *testing.T) {
	l := newLog(t, newOptions(t), t.TempDir())
	l.grow("a", 300)
	r := mrand.New(mrand.NewPCG(7, 7))
	n := 0
	err := filepath.WalkDir(l.out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		good, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for range 3 {
			bad := append([]byte(nil), good...)
			bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
			for what, b := range map[string][]byte{"flipped": bad, "cut": good[:len(good)-1], "longer": append(append([]byte(nil), good...), 'x')} {
				if err := os.WriteFile(path, b, 0o600); err != nil {
					return err
				}
				m := l.monitor(l.out)
				_, err := m.Look(t.Context())
				if !errors.Is(err, ErrTiles) && !errors.Is(err, witness.ErrCheckpoint) && !errors.Is(err, ErrUnreadable) {
					t.Errorf("%s %s: %v", path, what, err)
				}
				if _, err := os.Stat(m.State); err == nil {
					t.Errorf("%s %s: the checkpoint was kept", path, what)
				}
			}
		}
		return os.WriteFile(path, good, 0o600)
	})
	if err != nil || n < 6 {
		t.Fatalf("%d files, %v", n, err)
	}
	if _, err := l.monitor(l.out).Look(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestUnreadable: what cannot be had is neither a fork nor damage.
func TestUnreadable(t *testing.T) {
	l := newLog(t, newOptions(t), t.TempDir())
	l.grow("a", 300)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/tile/") {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		http.FileServer(http.Dir(l.out)).ServeHTTP(w, r)
	}))
	defer s.Close()
	huge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) }))
	defer huge.Close()
	for name, where := range map[string]string{"server errors": s.URL, "nobody": "http://127.0.0.1:1", "no folder": filepath.Join(l.out, "none"), "too large": huge.URL} {
		if _, err := l.monitor(where).Look(t.Context()); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLeafRefuses: what the caller finds wrong with a leaf refuses the
// checkpoint.
func TestLeafRefuses(t *testing.T) {
	l := newLog(t, newOptions(t), t.TempDir())
	l.grow("a", 10)
	m := l.monitor(l.out)
	wrong := errors.New("the map is wrong")
	m.Leaf = func(i int64, _ []byte) error {
		if i == 7 {
			return wrong
		}
		return nil
	}
	if _, err := m.Look(t.Context()); !errors.Is(err, wrong) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(m.State); err == nil {
		t.Error("the checkpoint was kept")
	}
}
