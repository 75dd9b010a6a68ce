package evlog

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/stemma-lineage/stemma/witness"
)

// TestOpenRefusesAnotherHistory puts stores back, rewrites them and swaps
// keys, and wants each refused with evidence that a third party can check.
func TestOpenRefusesAnotherHistory(t *testing.T) {
	for name, c := range map[string]struct {
		want   witness.Contradiction
		change func(t *testing.T, dir string, k testKey)
	}{
		"an old copy was put back": {witness.WentBack, func(t *testing.T, dir string, k testKey) {
			old := filepath.Join(t.TempDir(), "old")
			mustAppend(t, create(t, old, k.opts), items("a", 0, 100))
			replaceStore(t, old, dir)
		}},
		"an old copy was put back and written to": {witness.TwoHistories, func(t *testing.T, dir string, k testKey) {
			old := filepath.Join(t.TempDir(), "old")
			l := create(t, old, k.opts)
			mustAppend(t, l, items("a", 0, 100))
			mustAppend(t, l, items("b", 0, 300))
			replaceStore(t, old, dir)
		}},
		"rewritten, as many entries": {witness.TwoHistories, func(t *testing.T, dir string, k testKey) {
			old := filepath.Join(t.TempDir(), "old")
			l := create(t, old, k.opts)
			mustAppend(t, l, items("b", 0, 200))
			replaceStore(t, old, dir)
		}},
		"another key": {witness.OtherKey, func(t *testing.T, dir string, k testKey) {
			old := filepath.Join(t.TempDir(), "old")
			other := newKey(t)
			mustAppend(t, create(t, old, other.opts), items("a", 0, 200))
			replaceStore(t, old, dir)
			if err := os.WriteFile(filepath.Join(dir, "log.pub"), []byte(k.opts.Key+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, k := t.TempDir(), newKey(t)
			l := create(t, dir, k.opts)
			mustAppend(t, l, items("a", 0, 200))
			l.Close()
			c.change(t, dir, k)
			wantFork(t, dir, k, k.opts, c.want)
		})
	}
}

// TestOpenRefusesWhatIsOlderThanKept puts the whole directory back, with the
// checkpoint in it: only a checkpoint that is kept elsewhere tells.
func TestOpenRefusesWhatIsOlderThanKept(t *testing.T) {
	dir, k := t.TempDir(), newKey(t)
	l := create(t, dir, k.opts)
	mustAppend(t, l, items("a", 0, 50))
	later := create(t, filepath.Join(t.TempDir(), "later"), k.opts)
	mustAppend(t, later, items("a", 0, 60))
	o := k.opts
	o.Kept = func(key string) (map[string][]byte, error) {
		return map[string][]byte{"elsewhere": head(t, later).Checkpoint}, nil
	}
	l.Close()
	fork := wantFork(t, dir, k, o, witness.WentBack)
	if fork != nil && fork.Place != "elsewhere" {
		t.Errorf("the place is %q", fork.Place)
	}
	open(t, dir, k.opts).Close() // nothing was changed
}

// TestOpenFindsHashesThatDoNotGiveTheRoot: no second history was signed, so
// this is damage and no fork.
func TestOpenFindsHashesThatDoNotGiveTheRoot(t *testing.T) {
	for name, behindBy := range map[string]bool{"checkpoint at the head": false, "checkpoint behind": true} {
		dir, k := t.TempDir(), newKey(t)
		l := create(t, dir, k.opts)
		mustAppend(t, l, items("a", 0, 100))
		old, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, items("b", 0, 100))
		l.Close()
		at := 1
		if behindBy {
			if err := os.WriteFile(filepath.Join(dir, "checkpoint"), old, 0o600); err != nil {
				t.Fatal(err)
			}
			at = 32*150 + 1
		}
		db := behind(t, dir)
		var tile []byte
		if err := db.QueryRow("SELECT hashes FROM tile WHERE level=0 AND n=0").Scan(&tile); err != nil {
			t.Fatal(err)
		}
		tile[at] ^= 1
		sqlExec(t, db, "UPDATE tile SET hashes=? WHERE level=0 AND n=0", tile)
		_, err = Open(t.Context(), dir, k.opts)
		var fork *ForkError
		if !errors.Is(err, ErrCorrupt) || errors.As(err, &fork) {
			t.Errorf("%s: %v, want damage", name, err)
		}
	}
}

// TestRewrittenEntryIsFound: an entry that was rewritten alone is found by
// fsck, since start-up reads hashes and not entries.
func TestRewrittenEntryIsFound(t *testing.T) {
	dir, k := t.TempDir(), newKey(t)
	l := create(t, dir, k.opts)
	mustAppend(t, l, items("a", 0, 20))
	db := behind(t, dir)
	var blob []byte
	if err := db.QueryRow("SELECT entries FROM batch WHERE first=0").Scan(&blob); err != nil {
		t.Fatal(err)
	}
	blob[len(blob)/2] ^= 1
	sqlExec(t, db, "UPDATE batch SET entries=? WHERE first=0", blob)
	r, err := l.Fsck(t.Context(), nil)
	if err != nil || len(r.Findings) == 0 {
		t.Errorf("fsck finds %q, %v", r.Findings, err)
	}
}

// replaceStore puts the store of one log in place of another's.
func replaceStore(t *testing.T, from, to string) {
	t.Helper()
	sqlExec(t, behind(t, from), "PRAGMA wal_checkpoint(TRUNCATE)")
	b, err := os.ReadFile(filepath.Join(from, "log.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{"-wal", "-shm"} {
		_ = os.Remove(filepath.Join(to, "log.db"+more))
	}
	if err := os.WriteFile(filepath.Join(to, "log.db"), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantFork opens a log that must be refused, and checks the evidence with the
// log's own key.
func wantFork(t *testing.T, dir string, k testKey, o Options, want witness.Contradiction) *ForkError {
	t.Helper()
	_, err := Open(t.Context(), dir, o)
	var fork *ForkError
	if !errors.As(err, &fork) || fork.What != want {
		t.Errorf("Open: %v, want a ForkError: %s", err, want)
		return nil
	}
	text, err := os.ReadFile(fork.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	f, err := witness.ParseFork(text)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(k.opts.Key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Check(v); err != nil || got != want || f.Key != k.opts.Key {
		t.Errorf("the evidence shows %q, %v (key %s)\n%s", got, err, f.Key, text)
	}
	return fork
}
