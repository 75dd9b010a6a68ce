package bench

import (
	"cmp"
	"database/sql"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "modernc.org/sqlite"
)

// sqlite holds the rows in two tables, each clustered by one direction.
type sqlite struct {
	db   *sql.DB
	stmt map[string]*sql.Stmt
}

func startSQLite(b *testing.B, rows []row) (*sqlite, error) {
	db, err := sql.Open("sqlite", filepath.Join(b.TempDir(), "rows.db"))
	if err != nil {
		return nil, err
	}
	b.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	s := &sqlite{db, map[string]*sql.Stmt{}}
	for _, q := range []string{"PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF", "PRAGMA cache_size=-1000000", "PRAGMA temp_store=MEMORY"} {
		if _, err := db.Exec(q); err != nil {
			return nil, err
		}
	}
	for _, near := range []string{"up", "down"} {
		if err := s.fill(rows, near); err != nil {
			return nil, err
		}
	}
	_, err = db.Exec("ANALYZE")
	return s, err
}

// fill writes one table in the order of its key, many rows a statement.
func (s *sqlite) fill(rows []row, near string) error {
	order := slices.Clone(rows)
	slices.SortFunc(order, func(a, b row) int {
		if near == "up" {
			return cmp.Compare(a.up, b.up)
		}
		return cmp.Compare(a.down, b.down)
	})
	if _, err := s.db.Exec("CREATE TABLE by_" + near + ` (up INT NOT NULL, down INT NOT NULL, vf INT NOT NULL, vt INT NOT NULL,
		kf INT NOT NULL, kt INT NOT NULL, n INT NOT NULL, PRIMARY KEY (` + near + `, n)) WITHOUT ROWID`); err != nil {
		return err
	}
	const many = 200
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	insert := func(n int) string {
		return "INSERT INTO by_" + near + " VALUES " + strings.TrimSuffix(strings.Repeat("(?,?,?,?,?,?,?),", n), ",")
	}
	full, err := tx.Prepare(insert(many))
	if err != nil {
		return err
	}
	n := 0
	for part := range slices.Chunk(order, many) {
		args := make([]any, 0, 7*many)
		for _, r := range part {
			args = append(args, int64(r.up), int64(r.down), r.vf, r.vt, int64(r.kf), int64(r.kt), int64(n))
			n++
		}
		if len(part) == many {
			_, err = full.Exec(args...)
		} else {
			_, err = tx.Exec(insert(len(part)), args...)
		}
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (s *sqlite) reach(from uint32, m moment, down bool) (int, error) {
	table := "by_down"
	if down {
		table = "by_up"
	}
	q := recursive(table, down, m, "?1", "?2", "?3")
	stmt := s.stmt[q]
	if stmt == nil {
		var err error
		if stmt, err = s.db.Prepare(q); err != nil {
			return 0, err
		}
		s.stmt[q] = stmt
	}
	args := []any{int64(from)}
	if m.past() {
		args = append(args, int64(m.known), int64(m.asOf.Valid))
	}
	var n int
	err := stmt.QueryRow(args...).Scan(&n)
	return n, err
}
