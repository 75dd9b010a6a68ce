package evlog

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

const planted = "PLANTED-7c1e"

// spoken gives envelopes of entities that tell of a person.
func spoken(t testing.TB, from, to int) (out []Item) {
	t.Helper()
	for i := from; i < to; i++ {
		out = append(out, unsigned(t, []statement.Subject{statement.NewSubject(prov.Ref{Kind: prov.Dataset, Name: "d", Version: fmt.Sprint(i)}, nil)},
			&statement.Entity{State: "registered", Owner: "person:" + planted, Description: planted + strings.Repeat(" of many words", i%90)}))
	}
	return out
}

func unsigned(t testing.TB, s []statement.Subject, p statement.Predicate) Item {
	t.Helper()
	payload, err := statement.Format(s, p)
	if err != nil {
		t.Fatal(err)
	}
	env, err := statement.Unsigned(payload)
	if err != nil {
		t.Fatal(err)
	}
	return Item{RecordedBy: "person:" + planted, Envelope: env}
}

// order makes an order that erases entries and evidence.
func order(t testing.TB, l *Log, entries []uint64, blobs ...string) *statement.Erasure {
	t.Helper()
	e := &statement.Erasure{Rule: statement.KeepCore, Reason: "request 7", LegalBasis: "law", Role: "role:privacy", Blobs: blobs}
	for _, n := range entries {
		content, err := l.Entry(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		x, err := statement.Erase(n, content, statement.Hide{Salt: []byte("0123456789abcdef")})
		if err != nil {
			t.Fatal(err)
		}
		e.Entries = append(e.Entries, x)
	}
	return e
}

func item(t testing.TB, e *statement.Erasure) Item {
	it := unsigned(t, []statement.Subject{{Digest: statement.DigestSet{"sha256": strings.Repeat("0", 64)}}}, e)
	it.RecordedBy = "person:officer"
	return it
}

func mustErase(t testing.TB, l *Log, entries ...uint64) Appended {
	t.Helper()
	a, err := l.Erase(t.Context(), item(t, order(t, l, entries)), uint64(head(t, l).Size))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func onDisk(t testing.TB, dir, text string) (found []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(text)) || bytes.Contains(b, []byte("UExBTlRFRC03YzFl")) { // in base64, where it begins a group
			found = append(found, filepath.Base(n))
		}
	}
	return found
}

// TestErase erases entries of several batches: every proof stands, what is
// left says what the order says, and no file holds what was erased.
func TestErase(t *testing.T) {
	dir := t.TempDir()
	k := newKey(t)
	l := create(t, dir, k.opts)
	for i := 0; i < 300; i += 50 {
		mustAppend(t, l, spoken(t, i, i+50))
	}
	before := head(t, l)
	old := contents(t, l)
	if _, err := l.Export(t.Context(), filepath.Join(t.TempDir(), "a")); err != nil {
		t.Fatal(err)
	}
	var all []uint64
	for i := range uint64(300) {
		all = append(all, i)
	}
	some := []uint64{0, 3, 4, 5, 99, 100, 150, 299}
	first := mustErase(t, l, some...)
	left := slices.DeleteFunc(slices.Clone(all), func(n uint64) bool { return slices.Contains(some, n) })
	second := mustErase(t, l, left...)
	if n, err := l.ErasedEntries(t.Context(), 1000); err != nil || n != 300 {
		t.Fatalf("%d entries are said to be erased: %v", n, err)
	}
	if err := l.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found := onDisk(t, dir, planted); found != nil {
		t.Errorf("the erased text is in %v", found)
	}
	for _, u := range []uint64{first.Index, second.Index} {
		if err := l.Finish(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	if r := clean(t, l); r.Erased != 300 {
		t.Errorf("fsck tells of %d erased entries", r.Erased)
	}
	l.Close()
	l = open(t, dir, k.opts)
	h := head(t, l)
	now := contents(t, l)
	p := l.Prover(t.Context())
	for n := range now {
		proof, err := p.Inclusion(uint64(n), uint64(h.Size))
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := statement.StoredLeaf(now[n])
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(proof, h.Size, h.Root, int64(n), tlog.RecordHash(leaf)); err != nil {
			t.Fatalf("entry %d: %v", n, err)
		}
		if n < len(old) && !bytes.Equal(leaf, statement.Leaf(old[n])) {
			t.Fatalf("entry %d has another leaf than before", n)
		}
	}
	c, err := l.Consistency(t.Context(), uint64(before.Size), uint64(h.Size))
	if err == nil {
		err = tlog.CheckTree(c, h.Size, h.Root, before.Size, before.Root)
	}
	if err != nil {
		t.Errorf("the log does not continue what it was: %v", err)
	}
	if _, err := l.Export(t.Context(), filepath.Join(t.TempDir(), "b")); err != nil {
		t.Error(err)
	}
	again := mustAppend(t, l, spoken(t, 4, 5))
	if a := again[0]; !a.Duplicate || !a.Erased || a.Index != 4 || a.ErasedBy != first.Index {
		t.Errorf("recording an erased envelope again gives %+v", a)
	}
	e, err := statement.ParseEntry(old[7])
	if err != nil {
		t.Fatal(err)
	}
	if n, err := l.SizeAt(t.Context(), e.RecordedAt); err != nil || n < 8 {
		t.Errorf("%d entries had been recorded by then: %v", n, err)
	}
}

// TestFsckTellsErasedFromLost takes content away, or puts it back, behind the
// log's back.
func TestFsckTellsErasedFromLost(t *testing.T) {
	for name, c := range map[string]struct {
		tamper func(t *testing.T, db *sql.DB, set func(func([][]byte)), keep [][]byte)
		want   string
	}{
		"no order": {func(t *testing.T, _ *sql.DB, set func(func([][]byte)), old [][]byte) {
			set(func(list [][]byte) {
				list[5] = bytes.Replace(list[2], []byte(`"erasedBy":10`), []byte(`"erasedBy":7`), 1)
			})
		}, "entry 5: its content is gone, and entry 7"},
		"another's remainder": {func(t *testing.T, _ *sql.DB, set func(func([][]byte)), _ [][]byte) {
			set(func(list [][]byte) { list[5] = list[2] })
		}, "entry 5: its content is gone without an order"},
		"another keep": {func(t *testing.T, _ *sql.DB, set func(func([][]byte)), _ [][]byte) {
			set(func(list [][]byte) {
				list[2] = bytes.Replace(list[2], []byte(`"state":"registered"`), []byte(`"state":"described"`), 1)
			})
		}, "what is left of entry 2 is not what its order"},
		"content put back": {func(t *testing.T, _ *sql.DB, set func(func([][]byte)), old [][]byte) {
			set(func(list [][]byte) { list[2] = old[2] })
		}, "entry 10 orders that it be erased, and its content is there"},
		"not listed": {func(t *testing.T, db *sql.DB, _ func(func([][]byte)), _ [][]byte) {
			sqlExec(t, db, "DELETE FROM erased WHERE entry=2")
		}, "the list of what was erased does not say so"},
		"listed": {func(t *testing.T, db *sql.DB, _ func(func([][]byte)), _ [][]byte) {
			sqlExec(t, db, "INSERT INTO erased VALUES(6,10)")
		}, "entry 6: it is listed as erased, and its content is there"},
		"unfinished": {func(t *testing.T, db *sql.DB, _ func(func([][]byte)), _ [][]byte) {
			sqlExec(t, db, "INSERT INTO unfinished VALUES(10,'')")
		}, "entry 10: what it erases is gone from the log, but"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := create(t, dir, newKey(t).opts)
			mustAppend(t, l, spoken(t, 0, 10))
			old := contents(t, l)
			if err := l.Finish(t.Context(), mustErase(t, l, 2, 3).Index); err != nil {
				t.Fatal(err)
			}
			db := behind(t, dir)
			c.tamper(t, db, func(change func([][]byte)) {
				var blob []byte
				if err := db.QueryRow("SELECT entries FROM batch WHERE first=0").Scan(&blob); err != nil {
					t.Fatal(err)
				}
				list, err := unframe(blob, 10)
				if err != nil {
					t.Fatal(err)
				}
				change(list)
				sqlExec(t, db, "UPDATE batch SET entries=? WHERE first=0", frame(list))
			}, old)
			r, err := l.Fsck(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(r.Findings, func(f string) bool { return strings.Contains(f, c.want) }) {
				t.Errorf("fsck finds %q, and not %q", r.Findings, c.want)
			}
		})
	}
}

// TestEraseRefuses gives orders that do not state truly what they take out:
// nothing is erased, and no order is recorded.
func TestEraseRefuses(t *testing.T) {
	l := create(t, t.TempDir(), newKey(t).opts)
	mustAppend(t, l, spoken(t, 0, 10))
	done := mustErase(t, l, 9)
	size, old := head(t, l).Size, contents(t, l)
	zeros := strings.Repeat("0", 64)
	for name, change := range map[string]func(e *statement.Erasure){
		"content":       func(e *statement.Erasure) { e.Entries[0].Content = zeros },
		"envelope":      func(e *statement.Erasure) { e.Entries[0].Envelope = zeros },
		"time":          func(e *statement.Erasure) { e.Entries[0].RecordedAt = "2020-01-01T00:00:00.000000000Z" },
		"recorder":      func(e *statement.Erasure) { e.Entries[0].RecordedBy = "person:other" },
		"recorder left": func(e *statement.Erasure) { e.Entries[0].RecordedBy = "person:" + planted },
		"no keep":       func(e *statement.Erasure) { e.Entries[0].Keep = nil },
		"more kept": func(e *statement.Erasure) {
			e.Entries[0].Keep = bytes.Replace(e.Entries[0].Keep, []byte(`"state":"registered"`), []byte(`"state":"registered","description":"x"`), 1)
		},
		"other state": func(e *statement.Erasure) {
			e.Entries[0].Keep = bytes.Replace(e.Entries[0].Keep, []byte(`"state":"registered"`), []byte(`"state":"retired"`), 1)
		},
		"other subject":  func(e *statement.Erasure) { e.Entries[0].Keep = e.Entries[1].Keep },
		"no such entry":  func(e *statement.Erasure) { e.Entries[1].Entry = 500 },
		"the order":      func(e *statement.Erasure) { e.Entries[1].Entry = uint64(size) },
		"erased already": func(e *statement.Erasure) { e.Entries[1].Entry = 9 },
	} {
		e := order(t, l, []uint64{1, 4})
		change(e)
		a, err := l.Erase(t.Context(), item(t, e), uint64(size))
		if err == nil {
			t.Errorf("%s: the order is taken: %+v", name, a)
		}
	}
	if _, err := l.Erase(t.Context(), item(t, order(t, l, []uint64{1})), uint64(size)-1); !errors.Is(err, ErrGrew) {
		t.Errorf("an order for an earlier size gives %v", err)
	}
	if head(t, l).Size != size || !slices.EqualFunc(old, contents(t, l), bytes.Equal) {
		t.Error("a refused order changed the log")
	}
	if err := l.Finish(t.Context(), done.Index); err != nil {
		t.Fatal(err)
	}
	clean(t, l)
}

// TestEraseRandom erases at random between appends and reopenings, and wants
// the tree of all contents as they were.
func TestEraseRandom(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 9))
		dir, k := t.TempDir(), newKey(t)
		l := create(t, dir, k.opts)
		var was [][]byte
		erased := map[uint64]bool{}
		for range 15 {
			mustAppend(t, l, spoken(t, len(was), len(was)+1+r.IntN(40)))
			was = append(was, contents(t, l)[len(was):]...)
			var entries []uint64
			for n := range was {
				if r.IntN(12) == 0 && !erased[uint64(n)] && !statement.IsRemainder(was[n]) && bytes.Contains(was[n], []byte(planted)) {
					entries, erased[uint64(n)] = append(entries, uint64(n)), true
				}
			}
			if len(entries) == 0 {
				continue
			}
			a := mustErase(t, l, entries...)
			was = append(was, contents(t, l)[len(was):]...)
			if err := l.Finish(t.Context(), a.Index); err != nil {
				t.Fatal(err)
			}
			if r.IntN(3) == 0 {
				l.Close()
				l = open(t, dir, k.opts)
			}
		}
		if got, want := head(t, l).Root, naive(leavesOf(was)); got != want {
			t.Errorf("seed %d: the root is %v, over the contents as they were %v", seed, got, want)
		}
		if rep := clean(t, l); rep.Erased != len(erased) {
			t.Errorf("seed %d: fsck tells of %d erased entries, not %d", seed, rep.Erased, len(erased))
		}
		l.Close()
	}
}

// TestClosed wants a closed log to take orders and holds, and nothing else.
func TestClosed(t *testing.T) {
	l := create(t, t.TempDir(), newKey(t).opts)
	mustAppend(t, l, spoken(t, 0, 3))
	subject := []statement.Subject{statement.NewSubject(prov.Ref{Kind: prov.Resource, Name: "log/x"}, nil)}
	end, err := l.End(t.Context(), unsigned(t, subject, &statement.LogState{State: "closed", Origin: "x"}))
	if err != nil {
		t.Fatal(err)
	}
	if by, ok, err := l.Closed(t.Context()); err != nil || !ok || by != end.Index {
		t.Errorf("closed by %d: %t, %v", by, ok, err)
	}
	if _, err := l.Append(t.Context(), spoken(t, 3, 4)); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "--successor-of") {
		t.Errorf("an append to a closed log gives %v", err)
	}
	if a := mustAppend(t, l, spoken(t, 1, 2)); !a[0].Duplicate {
		t.Error("a retry of what was recorded before is refused")
	}
	mustErase(t, l, 1)
	mustAppend(t, l, []Item{unsigned(t, subject, &statement.Hold{State: "set", ID: "h", All: true, Reason: "r", Role: "role:legal"})})
}

func TestErasedBlob(t *testing.T) {
	b := OpenBlobs(t.TempDir())
	digest, err := b.PutBytes([]byte("jane"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Erase(digest, "by entry 4 of x"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.PutBytes([]byte("jane")); !errors.Is(err, ErrErased) || !strings.Contains(err.Error(), "by entry 4 of x") {
		t.Errorf("keeping it again gives %v", err)
	}
	batch := b.Batch()
	defer batch.Drop()
	if _, err := batch.Put([]byte("jane")); !errors.Is(err, ErrErased) {
		t.Errorf("keeping it again in a batch gives %v", err)
	}
	if _, err := b.Open(digest); !errors.Is(err, ErrErased) {
		t.Errorf("opening it gives %v", err)
	}
	if _, bad, err := b.Fsck(); err != nil || len(bad) != 0 {
		t.Errorf("fsck: %q, %v", bad, err)
	}
	if err := os.WriteFile(b.path(digest), []byte("jane"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, bad, _ := b.Fsck(); len(bad) != 1 || !strings.Contains(bad[0], "it was erased, and is here") {
		t.Errorf("fsck of one that was put back: %q", bad)
	}
	if b.Erase("../../etc", "x") == nil {
		t.Error("a digest that is a path is taken")
	}
}
