package evlog

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// behind is a second connection to a log's store, past its rules.
func behind(t *testing.T, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "log.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func sqlExec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

func TestFsckFindsEveryFlippedByte(t *testing.T) {
	dir := t.TempDir()
	l := create(t, dir, newKey(t).opts)
	mustAppend(t, l, items("a", 0, 300))
	db := behind(t, dir)
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct{ table, column, where string }{
		{"batch", "entries", "first=0"}, {"batch", "prefixes", "first=0"},
		{"tile", "hashes", "level=0 AND n=0"}, {"tile", "hashes", "level=1 AND n=0"}, {"checkpoint", "note", "id=0"},
	} {
		var good []byte
		if err := db.QueryRow(fmt.Sprintf("SELECT CAST(%s AS BLOB) FROM %s WHERE %s", c.column, c.table, c.where)).Scan(&good); err != nil {
			t.Fatal(err)
		}
		set := fmt.Sprintf("UPDATE %s SET %s=? WHERE %s", c.table, c.column, c.where)
		value := func(b []byte) any {
			if c.column == "note" {
				return string(b)
			}
			return b
		}
		for range 60 {
			bad := append([]byte(nil), good...)
			at, bit := rnd.IntN(len(bad)), rnd.IntN(8)
			bad[at] ^= 1 << bit
			sqlExec(t, db, set, value(bad))
			if r, err := l.Fsck(t.Context(), nil); err == nil && len(r.Findings) == 0 {
				t.Errorf("%s.%s: bit %d of byte %d of %d flipped, nothing is found", c.table, c.column, bit, at, len(bad))
			}
		}
		sqlExec(t, db, set, value(good))
		clean(t, l)
	}
}

func TestOpenRefusesARolledBackStore(t *testing.T) {
	dir, k := t.TempDir(), newKey(t)
	l := create(t, dir, k.opts)
	mustAppend(t, l, items("a", 0, 100))
	db := behind(t, dir)
	sqlExec(t, db, "CREATE TABLE old_tile AS SELECT * FROM tile")
	sqlExec(t, db, "CREATE TABLE old_checkpoint AS SELECT * FROM checkpoint")
	mustAppend(t, l, items("a", 100, 200))
	l.Close()
	for _, q := range []string{"DELETE FROM batch WHERE first>=100", "DELETE FROM tile", "INSERT INTO tile SELECT * FROM old_tile", "DELETE FROM checkpoint", "INSERT INTO checkpoint SELECT * FROM old_checkpoint"} {
		sqlExec(t, db, q)
	}
	_, err := Open(t.Context(), dir, k.opts)
	var fork *ForkError
	if !errors.As(err, &fork) || fork.Size != 100 {
		t.Fatalf("Open: %v, want a ForkError at 100", err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "fork-*.txt")); len(files) != 1 {
		t.Errorf("evidence files: %q, want one", files)
	}
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		want   error
		damage func(t *testing.T, dir string)
	}{
		"no checkpoint": {ErrCorrupt, func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "checkpoint")) }},
		"newer format": {ErrNewerFormat, func(t *testing.T, dir string) {
			sqlExec(t, behind(t, dir), "UPDATE meta SET value='3' WHERE key='format'")
		}},
		"not a database": {ErrCorrupt, func(t *testing.T, dir string) { os.WriteFile(filepath.Join(dir, "log.db"), make([]byte, 5000), 0o644) }},
		"empty file":     {ErrCorrupt, func(t *testing.T, dir string) { os.WriteFile(filepath.Join(dir, "log.db"), nil, 0o644) }},
	} {
		dir, k := t.TempDir(), newKey(t)
		create(t, dir, k.opts).Close()
		c.damage(t, dir)
		if _, err := Open(t.Context(), dir, k.opts); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestFullDiskTakesNothing(t *testing.T) {
	l := create(t, t.TempDir(), newKey(t).opts)
	mustAppend(t, l, items("a", 0, 10))
	l.db.SetMaxOpenConns(1) // the limit belongs to a connection
	sqlExec(t, l.db, "PRAGMA max_page_count=1")
	if _, err := l.Append(t.Context(), items("b", 0, 5000)); !errors.Is(err, ErrFull) {
		t.Errorf("appending: %v, want ErrFull", err)
	}
	if n := clean(t, l).Entries; n != 10 {
		t.Errorf("%d entries, want 10", n)
	}
	sqlExec(t, l.db, "PRAGMA max_page_count=1000000")
	if got := mustAppend(t, l, items("b", 0, 5000)); got[0] != (Appended{Index: 10, Duplicate: false}) {
		t.Errorf("after there is room: %+v", got[0])
	}
	clean(t, l)
}
