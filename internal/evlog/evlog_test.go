package evlog

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/statement"
)

// TestMain lets the test binary stand in for another process on a log.
func TestMain(m *testing.M) {
	if do := os.Getenv("EVLOG_CHILD"); do != "" {
		if err := child(do); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child appends batches of 64 to the log in EVLOG_DIR and prints a line for
// each entry that was acknowledged: its index and its envelope.
func child(do string) error {
	ctx := context.Background()
	s, err := note.NewSigner(os.Getenv("EVLOG_KEY"))
	if err != nil {
		return err
	}
	l, err := Open(ctx, os.Getenv("EVLOG_DIR"), Options{Signer: s})
	if err != nil {
		return err
	}
	run := os.Getenv("EVLOG_RUN")
	if do == "readonly" {
		_, err := l.Append(ctx, items(run, 0, 1))
		h, herr := l.Head(ctx)
		fmt.Println(h.Size, herr, errors.Is(err, ErrReadOnly))
		return l.Close()
	}
	batches, _ := strconv.Atoi(do)
	out := bufio.NewWriter(os.Stdout)
	for b := 0; b < batches; b++ {
		list := items(run, 64*b, 64*b+64)
		done, err := l.Append(ctx, list)
		if err != nil {
			return err
		}
		for i, a := range done {
			fmt.Fprintf(out, "%d %s\n", a.Index, list[i].Envelope)
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
	return l.Close()
}

// items makes envelopes from to to-1; a log looks into none.
func items(run string, from, to int) []Item {
	var out []Item
	for i := from; i < to; i++ {
		out = append(out, Item{"user:test", []byte(fmt.Sprintf(`{"run":%q,"n":%d}`, run, i))})
	}
	return out
}

type testKey struct {
	private string
	opts    Options
}

func newKey(t testing.TB) testKey {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, "test.example/log")
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return testKey{skey, Options{Origin: "test.example/log", Signer: s, Verifier: v, Key: vkey}}
}

func create(t testing.TB, dir string, o Options) *Log {
	t.Helper()
	l, err := Create(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func open(t testing.TB, dir string, o Options) *Log {
	t.Helper()
	l, err := Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// mustAppend appends, holds the times of the outcome against the log, and
// leaves them out, so that outcomes can be compared.
func mustAppend(t testing.TB, l *Log, list []Item) []Appended {
	t.Helper()
	out, err := l.Append(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range out {
		if a.RecordedAt.IsZero() != a.Duplicate {
			t.Fatalf("item %d: %+v has a time, or has none", i, a)
		}
		if !a.Duplicate && (i == 0 || i == len(out)-1) {
			b, err := l.Entry(t.Context(), a.Index)
			if err != nil {
				t.Fatal(err)
			}
			if e, err := statement.ParseEntry(b); err != nil || !e.RecordedAt.Equal(a.RecordedAt) {
				t.Fatalf("item %d: the entry was recorded at %s (%v), the outcome says %s", i, e.RecordedAt, err, a.RecordedAt)
			}
		}
		out[i].RecordedAt = time.Time{}
	}
	return out
}

func head(t testing.TB, l *Log) Head {
	t.Helper()
	h, err := l.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func clean(t testing.TB, l *Log) Report {
	t.Helper()
	r, err := l.Fsck(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Findings) != 0 {
		t.Fatalf("Fsck found %q", r.Findings)
	}
	return r
}

// contents reads all entries.
func contents(t testing.TB, l *Log) [][]byte {
	t.Helper()
	var out [][]byte
	for e, err := range l.Entries(t.Context(), 0, uint64(head(t, l).Size)) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Index != uint64(len(out)) {
			t.Fatalf("entry %d comes after %d entries", e.Index, len(out))
		}
		out = append(out, e.Content)
	}
	return out
}

// naive is RFC 6962 section 2.1 as it is written there, without tiles.
func naive(leaves []tlog.Hash) tlog.Hash {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for 2*k < len(leaves) {
		k *= 2
	}
	return tlog.NodeHash(naive(leaves[:k]), naive(leaves[k:]))
}

func leavesOf(list [][]byte) []tlog.Hash {
	var out []tlog.Hash
	for _, c := range list {
		out = append(out, tlog.RecordHash(statement.Leaf(c)))
	}
	return out
}

func fixedClock() func() time.Time {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return func() time.Time { return at }
}

func TestRootIsThatOfAllLeavesHoweverBatched(t *testing.T) {
	const total = 1700 // more than a row, and several tiles
	k := newKey(t)
	k.opts.Now = fixedClock()
	var want tlog.Hash
	for _, step := range []int{total, 1, 7, 256, 1025} {
		n := total
		if step == 1 {
			n = 300 // one transaction each
		}
		l := create(t, t.TempDir(), k.opts)
		for from := 0; from < n; from += step {
			mustAppend(t, l, items("a", from, min(from+step, n)))
		}
		leaves := leavesOf(contents(t, l))
		if len(leaves) != n {
			t.Fatalf("step %d: %d entries, want %d", step, len(leaves), n)
		}
		for _, size := range []int{1, 2, 255, 256, 257, n} {
			root, err := l.RootAt(t.Context(), int64(size))
			if err != nil || root != naive(leaves[:size]) {
				t.Errorf("step %d: root at %d is %v (%v), want %v", step, size, root, err, naive(leaves[:size]))
			}
		}
		root := head(t, l).Root
		if root != naive(leaves) {
			t.Errorf("step %d: the checkpoint's root is not that of the leaves", step)
		}
		if step == total {
			want = root
		} else if n == total && root != want {
			t.Errorf("step %d: root %v, in one batch it is %v", step, root, want)
		}
		clean(t, l)
	}
}

func TestProofsForAllPairs(t *testing.T) {
	const total = 70
	l := create(t, t.TempDir(), newKey(t).opts)
	mustAppend(t, l, items("a", 0, total))
	leaves := leavesOf(contents(t, l))
	p := l.Prover(t.Context())
	for size := 1; size <= total; size++ {
		root := naive(leaves[:size])
		for i := 0; i < size; i++ {
			proof, err := p.Inclusion(uint64(i), uint64(size))
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckRecord(proof, int64(size), root, int64(i), leaves[i]); err != nil {
				t.Errorf("entry %d of %d: %v", i, size, err)
			}
			if size > 1 && tlog.CheckRecord(proof, int64(size), root, int64(i), leaves[(i+1)%size]) == nil {
				t.Errorf("entry %d of %d: its proof is good for another leaf", i, size)
			}
		}
		for old := 1; old <= size; old++ {
			proof, err := l.Consistency(t.Context(), uint64(old), uint64(size))
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckTree(proof, int64(size), root, int64(old), naive(leaves[:old])); err != nil {
				t.Errorf("%d continues %d: %v", size, old, err)
			}
		}
	}
}

func TestRetryGetsTheFirstIndex(t *testing.T) {
	dir, k := t.TempDir(), newKey(t)
	l := create(t, dir, k.opts)
	list := items("a", 0, 3)
	got := mustAppend(t, l, append(list[:3:3], list[1]))
	check := func(when string, got []Appended, want ...Appended) {
		t.Helper()
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: item %d is at %+v, want %+v", when, i, got[i], want[i])
			}
		}
	}
	check("within a call", got, Appended{Index: 0, Duplicate: false}, Appended{Index: 1, Duplicate: false}, Appended{Index: 2, Duplicate: false}, Appended{Index: 1, Duplicate: true})
	check("across calls", mustAppend(t, l, append(items("b", 0, 1), list...)), Appended{Index: 3, Duplicate: false}, Appended{Index: 0, Duplicate: true}, Appended{Index: 1, Duplicate: true}, Appended{Index: 2, Duplicate: true})
	other := open(t, dir, k.opts)
	check("after reopening", mustAppend(t, other, append(items("c", 0, 1), list...)), Appended{Index: 4, Duplicate: false}, Appended{Index: 0, Duplicate: true}, Appended{Index: 1, Duplicate: true}, Appended{Index: 2, Duplicate: true})
	check("of another's", mustAppend(t, l, items("c", 0, 1)), Appended{Index: 4, Duplicate: true})
	if n := head(t, l).Size; n != 5 {
		t.Errorf("the log holds %d entries, want 5", n)
	}
	clean(t, l)
}

func TestRefusedItemLeavesNothingBehind(t *testing.T) {
	l := create(t, t.TempDir(), newKey(t).opts)
	list := items("a", 0, 2)
	if _, err := l.Append(t.Context(), append(list[:2:2], Item{"user:test", []byte("no object")})); err == nil {
		t.Fatal("an envelope that is no object was taken")
	}
	if n := head(t, l).Size; n != 0 {
		t.Fatalf("%d entries of the refused call stand in the log", n)
	}
	if got := mustAppend(t, l, list); got[0].Duplicate || got[1] != (Appended{Index: 1, Duplicate: false}) {
		t.Errorf("the retry got %+v, want new entries 0 and 1", got)
	}
	clean(t, l)
}

func TestRecordedTimeNeverDecreasesAndSizeAt(t *testing.T) {
	base := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	now := base
	k := newKey(t)
	k.opts.Now = func() time.Time { return now }
	dir := t.TempDir()
	l := create(t, dir, k.opts)
	// What the clock says in minutes, for two entries each; it goes back twice.
	for i, minute := range []int{0, 10, 5, 10, 20, 0, 30} {
		now = base.Add(time.Duration(minute) * time.Minute)
		if i == 5 {
			l = open(t, dir, k.opts)
		}
		mustAppend(t, l, items("a", 2*i, 2*i+2))
	}
	wantMinutes := []int{0, 10, 10, 10, 20, 20, 30}
	for i, c := range contents(t, l) {
		e, err := statement.ParseEntry(c)
		if err != nil {
			t.Fatal(err)
		}
		if want := base.Add(time.Duration(wantMinutes[i/2]) * time.Minute); !e.RecordedAt.Equal(want) {
			t.Errorf("entry %d was recorded at %v, want %v", i, e.RecordedAt, want)
		}
	}
	for _, c := range []struct {
		at   time.Duration
		want uint64
	}{{-time.Nanosecond, 0}, {0, 2}, {time.Minute, 2}, {10*time.Minute - 1, 2}, {10 * time.Minute, 8}, {20 * time.Minute, 12}, {30*time.Minute - 1, 12}, {time.Hour, 14}} {
		if n, err := l.SizeAt(t.Context(), base.Add(c.at)); err != nil || n != c.want {
			t.Errorf("SizeAt %v is %d (%v), want %d", c.at, n, err, c.want)
		}
	}
	clean(t, l)
}

func TestSizeAtWithinABatch(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	start := at
	k := newKey(t)
	k.opts.Now = func() time.Time { at = at.Add(time.Second); return at }
	l := create(t, t.TempDir(), k.opts)
	mustAppend(t, l, items("a", 0, 1500)) // two rows
	for _, n := range []uint64{0, 1, 700, 1024, 1025, 1500} {
		if got, err := l.SizeAt(t.Context(), start.Add(time.Duration(n)*time.Second)); err != nil || got != n {
			t.Errorf("SizeAt second %d is %d (%v)", n, got, err)
		}
	}
}

func TestFollowSeesAnotherWriter(t *testing.T) {
	dir, k := t.TempDir(), newKey(t)
	l := create(t, dir, k.opts)
	mustAppend(t, l, items("a", 0, 5))
	other := open(t, dir, k.opts)
	n := uint64(0)
	for e, err := range l.Follow(t.Context(), 0, time.Millisecond) {
		if err != nil || e.Index != n {
			t.Fatalf("entry %d (%v), want %d", e.Index, err, n)
		}
		if n++; n == 5 {
			mustAppend(t, other, items("b", 0, 5))
		}
		if n == 10 {
			break
		}
	}
}

func TestCreateRefusesALog(t *testing.T) {
	dir, k := t.TempDir(), newKey(t)
	create(t, dir, k.opts)
	if _, err := Create(t.Context(), dir, k.opts); !errors.Is(err, ErrExists) {
		t.Errorf("creating twice: %v, want ErrExists", err)
	}
	if _, err := Open(t.Context(), t.TempDir(), k.opts); !errors.Is(err, ErrNotALog) {
		t.Errorf("opening an empty directory: %v, want ErrNotALog", err)
	}
	if _, err := open(t, dir, Options{}).Append(t.Context(), items("a", 0, 1)); !errors.Is(err, ErrReadOnly) {
		t.Errorf("appending without the key: %v, want ErrReadOnly", err)
	}
}

func TestDirectoryNamesOfEveryKind(t *testing.T) {
	dir, k := filepath.Join(t.TempDir(), "a b%41?c#d"), newKey(t)
	mustAppend(t, create(t, dir, k.opts), items("a", 0, 1))
	clean(t, open(t, dir, k.opts))
	if list, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), "*")); len(list) != 1 || !strings.HasSuffix(list[0], "c#d") {
		t.Errorf("files beside the directory: %q", list)
	}
}

func BenchmarkAppend1000(b *testing.B) {
	l := create(b, b.TempDir(), newKey(b).opts)
	n := 0
	for b.Loop() {
		if _, err := l.Append(b.Context(), items("bench", n, n+1000)); err != nil {
			b.Fatal(err)
		}
		n += 1000
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "entries/s")
}

func BenchmarkAppendOne(b *testing.B) {
	l := create(b, b.TempDir(), newKey(b).opts)
	n := 0
	for b.Loop() {
		if _, err := l.Append(b.Context(), items("bench", n, n+1)); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "entries/s")
}
