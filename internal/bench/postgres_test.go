package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgres is a PostgreSQL server of our own: in a temporary directory, on a
// socket in it, not on the network, stopped when the benchmark ends.
type postgres struct {
	dir    string
	server *exec.Cmd
	conn   *pgx.Conn
}

var errNoPostgres = errors.New("PostgreSQL is not installed (Debian package postgresql)")

// postgresBin gives the directory of the newest server.
func postgresBin() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errNoPostgres
	}
	return filepath.Dir(path), nil
}

// startPostgres starts a server. It refuses to run as root, so then it runs
// as the user that Debian's package made for it.
func startPostgres(b *testing.B) (*postgres, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "stemma-pg-")
	if err != nil {
		return nil, err
	}
	p := &postgres{dir: dir}
	b.Cleanup(p.stop)
	attr := &syscall.SysProcAttr{}
	if os.Getuid() == 0 {
		if attr.Credential, err = owner(dir, "postgres"); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(dir, "data")
	init := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "stemma", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	init.SysProcAttr, init.Dir = attr, dir
	if out, err := init.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	// Settings that favour it: all in memory, nothing waits for a disk.
	args := []string{"-D", data, "-k", dir}
	for _, s := range []string{"listen_addresses=", "shared_buffers=2GB", "work_mem=256MB", "maintenance_work_mem=512MB", "jit=off",
		"fsync=off", "synchronous_commit=off", "max_wal_size=16GB", "wal_level=minimal", "max_wal_senders=0", "autovacuum=off",
		"dynamic_shared_memory_type=mmap"} {
		args = append(args, "-c", s)
	}
	p.server = exec.Command(filepath.Join(bin, "postgres"), args...)
	p.server.SysProcAttr, p.server.Dir = attr, dir
	var log bytes.Buffer
	p.server.Stderr = &log
	if err := p.server.Start(); err != nil {
		return nil, err
	}
	for range 200 {
		if p.conn, err = pgx.Connect(context.Background(), "host="+dir+" user=stemma dbname=postgres"); err == nil {
			return p, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, fmt.Errorf("connecting: %w\n%s", err, log.String())
}

// owner gives dir to a user and tells how to run as that user.
func owner(dir, name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2, os.Chown(dir, uid, gid)); err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

func (p *postgres) stop() {
	if p.conn != nil {
		p.conn.Close(context.Background())
	}
	if p.server != nil && p.server.Process != nil {
		p.server.Process.Signal(syscall.SIGINT) // fast shutdown
		p.server.Wait()
	}
	os.RemoveAll(p.dir)
}

// load copies the rows into a table with a covering index each way.
func (p *postgres) load(rows []row) error {
	ctx := context.Background()
	if _, err := p.conn.Exec(ctx, `CREATE UNLOGGED TABLE relation (up int NOT NULL, down int NOT NULL, vf bigint NOT NULL, vt bigint NOT NULL, kf int NOT NULL, kt int NOT NULL)`); err != nil {
		return err
	}
	_, err := p.conn.CopyFrom(ctx, pgx.Identifier{"relation"}, []string{"up", "down", "vf", "vt", "kf", "kt"},
		pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
			r := rows[i]
			return []any{int32(r.up), int32(r.down), r.vf, r.vt, r.kf, r.kt}, nil
		}))
	if err != nil {
		return err
	}
	for _, q := range []string{`CREATE INDEX ON relation (up) INCLUDE (down, vf, vt, kf, kt)`,
		`CREATE INDEX ON relation (down) INCLUDE (up, vf, vt, kf, kt)`, `VACUUM ANALYZE relation`} {
		if _, err := p.conn.Exec(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// size gives the bytes of the table with its indexes.
func (p *postgres) size(b *testing.B) (n int64) {
	b.Helper()
	if err := p.conn.QueryRow(context.Background(), "SELECT pg_total_relation_size('relation')").Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

func (p *postgres) reach(from uint32, m moment, down bool) (int, error) {
	var n int
	args := []any{int32(from)}
	if m.past() {
		args = append(args, m.known, int64(m.asOf.Valid))
	}
	err := p.conn.QueryRow(context.Background(), recursive("relation", down, m, "$1::int", "$2", "$3"), args...).Scan(&n)
	return n, err
}

// recursive is the query of a closure, in the words of both databases. It
// counts, so that no rows travel.
func recursive(table string, down bool, m moment, start, known, valid string) string {
	near, far := "up", "down"
	if !down {
		near, far = "down", "up"
	}
	where := fmt.Sprintf("r.kt = %d", openKnown)
	if m.past() {
		where = fmt.Sprintf("r.kf < %s AND %s <= r.kt AND r.vf <= %s AND %s < r.vt", known, known, valid, valid)
	}
	return fmt.Sprintf(`WITH RECURSIVE d(n) AS (SELECT %s UNION SELECT r.%s FROM d JOIN %s r ON r.%s = d.n WHERE %s) SELECT count(*) FROM d`,
		start, far, table, near, where)
}

// timed measures f in microseconds, once for each start; counts must be want.
func timed(b *testing.B, what string, starts []uint32, want []int, f func(uint32) int) []float64 {
	b.Helper()
	var out []float64
	for i, s := range starts {
		begin := time.Now()
		got := f(s)
		out = append(out, float64(time.Since(begin).Nanoseconds())/1000)
		if want[i] != 0 && got != want[i] {
			b.Fatalf("%s reaches %d things from %d, the engine %d", what, got, s, want[i])
		}
		want[i] = got
	}
	return out
}

// rank gives the value below which the share of all lies.
func rank(times []float64, share float64) float64 {
	s := slices.Sorted(slices.Values(times))
	return s[min(int(share*float64(len(s))), len(s)-1)]
}
