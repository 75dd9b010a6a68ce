// Package evlog is the log: an append-only Merkle tree of entries in one
// directory, on SQLite. Bytes and tables are described in docs/format-log.md.
//
// The tree is that of RFC 6962 by golang.org/x/mod/sumdb/tlog; a checkpoint is
// a C2SP signed note. Entries, tiles and checkpoint of an append are written
// in one transaction, and an append is acknowledged only after its commit.
// Several processes may use one directory: a write begins by taking SQLite's
// write lock and reading the head anew.
package evlog

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	_ "modernc.org/sqlite" // the driver

	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/statement"
)

// FormatVersion is the version of the tables that this program writes.
const FormatVersion = 1

// Errors that callers tell apart.
var (
	ErrNotALog     = errors.New("no log here")
	ErrExists      = errors.New("a log exists here already")
	ErrNewerFormat = errors.New("the log was written by a newer version of stemma")
	ErrReadOnly    = errors.New("the log cannot be written")
	ErrFull        = errors.New("the disk is full")
	ErrNotFound    = errors.New("no such entry")
	ErrCorrupt     = errors.New("the log is damaged")
	ErrBusy        = errors.New("another process is writing to the log")
)

// Options for Create and Open.
type Options struct {
	Origin   string           // Create: the log's name, first line of its checkpoints
	Signer   note.Signer      // nil: the log is opened for reading
	Verifier note.Verifier    // Create
	Key      string           // Create: the verifier's text
	Now      func() time.Time // nil: time.Now
	// SignerFor finds the signing key of the log with this public key, when
	// Signer is nil and something is appended.
	SignerFor func(key string) (note.Signer, error)
	// Kept gives signed checkpoints of the log with this public key that are
	// kept elsewhere, by the place: the log must continue each of them.
	Kept func(key string) (map[string][]byte, error)
}

// Log is an open log. It is safe for concurrent use.
type Log struct {
	dir      string
	db       *sql.DB
	signer   note.Signer
	signerOf func(key string) (note.Signer, error)
	kept     func(key string) (map[string][]byte, error)
	verifier note.Verifier
	origin   string
	key      string
	now      func() time.Time

	mu  sync.Mutex // guards ids and the outcomes of requests; held while appending
	ids idTable

	signerMu sync.Mutex // guards signer

	queueMu sync.Mutex // guards queue
	queue   []*request // calls of Append that wait for mu
}

const schema = `
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE batch(first INTEGER PRIMARY KEY, count INTEGER NOT NULL, recorded_first TEXT NOT NULL, recorded_last TEXT NOT NULL, prefixes BLOB NOT NULL, entries BLOB NOT NULL);
CREATE TABLE tile(level INTEGER NOT NULL, n INTEGER NOT NULL, hashes BLOB NOT NULL, PRIMARY KEY(level, n)) WITHOUT ROWID;
CREATE TABLE checkpoint(id INTEGER PRIMARY KEY CHECK(id=0), size INTEGER NOT NULL, note TEXT NOT NULL);
`

// Create makes an empty log in dir, which may exist but must hold no log.
func Create(ctx context.Context, dir string, o Options) (*Log, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("creating log: %w", err)
	}
	path := filepath.Join(dir, "log.db")
	if _, err := os.Stat(path); err == nil {
		return nil, fmt.Errorf("creating log in %s: %w", dir, ErrExists)
	}
	db, err := openDB(path, "rwc")
	if err != nil {
		return nil, err
	}
	l := &Log{dir: dir, db: db, signer: o.Signer, verifier: o.Verifier, origin: o.Origin, key: o.Key, now: o.Now}
	l.ids.init()
	if l.now == nil {
		l.now = time.Now
	}
	err = l.tx(ctx, func(tx *sql.Conn) error {
		if _, err := tx.ExecContext(ctx, schema); err != nil {
			return err
		}
		for k, v := range map[string]string{"format": fmt.Sprint(FormatVersion), "origin": o.Origin, "key": o.Key} {
			if _, err := tx.ExecContext(ctx, "INSERT INTO meta VALUES(?,?)", k, v); err != nil {
				return err
			}
		}
		root, _ := tlog.TreeHash(0, nil)
		cp, err := l.sign(0, root)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO checkpoint VALUES(0,0,?)", string(cp))
		return err
	})
	if err == nil {
		err = l.publish(ctx)
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("creating log: %w", err)
	}
	return l, nil
}

// Open opens the log in dir and checks that it continues the checkpoint it
// published last.
func Open(ctx context.Context, dir string, o Options) (*Log, error) {
	path := filepath.Join(dir, "log.db")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("opening log in %s: %w; stemma init makes one", dir, ErrNotALog)
	} else if err != nil {
		return nil, fmt.Errorf("opening log: %w", err)
	}
	mode := "rw"
	if !durable.Writable(dir) {
		mode = "ro"
		if _, err := os.Stat(path + "-wal"); errors.Is(err, os.ErrNotExist) {
			mode = "ro&immutable=1"
		}
	}
	db, err := openDB(path, mode)
	if err != nil {
		return nil, err
	}
	l := &Log{dir: dir, db: db, signer: o.Signer, signerOf: o.SignerFor, kept: o.Kept, now: o.Now}
	l.ids.init()
	if l.now == nil {
		l.now = time.Now
	}
	if err := l.load(ctx, mode == "rw"); err != nil {
		db.Close()
		return nil, fmt.Errorf("opening log in %s: %w", dir, err)
	}
	return l, nil
}

func openDB(path, mode string) (*sql.DB, error) {
	dsn := "file:" + (&escaper).Replace(path) + "?mode=" + mode + "&_pragma=busy_timeout(10000)"
	if mode == "rwc" {
		dsn += "&_pragma=page_size(16384)" // rows are batches: fewer, larger pages
	}
	if strings.HasPrefix(mode, "rw") {
		dsn += "&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("opening log: %w", explain(err))
	}
	db.SetMaxIdleConns(4)
	return db, nil
}

var escaper = *strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23")

func (l *Log) load(ctx context.Context, write bool) error {
	meta := map[string]string{}
	rows, err := l.db.QueryContext(ctx, "SELECT key, value FROM meta")
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			return explain(err)
		}
		meta[k] = v
	}
	if err := rows.Err(); err != nil {
		return explain(err)
	}
	if v := meta["format"]; v != fmt.Sprint(FormatVersion) {
		return fmt.Errorf("%w (format %s, this program knows %d); use that version", ErrNewerFormat, v, FormatVersion)
	}
	l.origin, l.key = meta["origin"], meta["key"]
	if l.verifier, err = note.NewVerifier(l.key); err != nil {
		return fmt.Errorf("%w: the log's key cannot be read: %v", ErrCorrupt, err)
	}
	return l.checkPublished(ctx, write)
}

// Key gives the text of the log's public key, for verifiers.
func (l *Log) Key() string { return l.key }

// Origin gives the name of the log.
func (l *Log) Origin() string { return l.origin }

// Close closes the log.
func (l *Log) Close() error { return l.db.Close() }

// tx runs f in a transaction that holds the write lock from its begin.
func (l *Log) tx(ctx context.Context, f func(*sql.Conn) error) error {
	c, err := l.db.Conn(ctx)
	if err != nil {
		return explain(err)
	}
	defer c.Close()
	if _, err := c.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return explain(err)
	}
	if err := f(c); err != nil {
		_, _ = c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return explain(err)
	}
	if _, err := c.ExecContext(ctx, "COMMIT"); err != nil {
		_, _ = c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return explain(err)
	}
	return nil
}

// explain gives SQLite's failures our names and a mend.
func explain(err error) error {
	if err == nil {
		return nil
	}
	s := err.Error()
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(s, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("SQLITE_FULL", "disk is full", "no space left"):
		return fmt.Errorf("%w: nothing was recorded; free some space and try again (%v)", ErrFull, err)
	case has("readonly", "read-only"):
		return fmt.Errorf("%w: the directory is read-only for this user (%v)", ErrReadOnly, err)
	case has("SQLITE_BUSY", "database is locked"):
		return fmt.Errorf("%w; try again (%v)", ErrBusy, err)
	case has("not a database", "malformed", "SQLITE_CORRUPT", "no such table"):
		return fmt.Errorf("%w: restore it from a backup (%v)", ErrCorrupt, err)
	}
	return err
}

// Head is the state of the log at one moment.
type Head struct {
	Size       int64
	Root       tlog.Hash
	Checkpoint []byte // signed note
}

// Head gives the newest state.
func (l *Log) Head(ctx context.Context) (Head, error) {
	var size int64
	var text string
	if err := l.db.QueryRowContext(ctx, "SELECT size, note FROM checkpoint").Scan(&size, &text); err != nil {
		return Head{}, explain(err)
	}
	h, err := ParseCheckpoint([]byte(text), l.verifier)
	if err != nil {
		return Head{}, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if h.Size != size {
		return Head{}, fmt.Errorf("%w: the checkpoint is for %d entries, its row for %d", ErrCorrupt, h.Size, size)
	}
	return h, nil
}

// ParseCheckpoint verifies a signed checkpoint (C2SP tlog-checkpoint).
func ParseCheckpoint(text []byte, v note.Verifier) (Head, error) {
	n, err := note.Open(text, note.VerifierList(v))
	if err != nil {
		return Head{}, fmt.Errorf("reading checkpoint: %w", err)
	}
	for _, sig := range n.Sigs { // note.Open lets stray bits at the end pass
		if _, err := base64.StdEncoding.Strict().DecodeString(sig.Base64); err != nil {
			return Head{}, fmt.Errorf("reading checkpoint: signature: %w", err)
		}
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 3 || lines[0] != v.Name() {
		return Head{}, fmt.Errorf("reading checkpoint: it is not of log %s", v.Name())
	}
	var size int64
	if _, err := fmt.Sscanf(lines[1], "%d", &size); err != nil || fmt.Sprint(size) != lines[1] || size < 0 {
		return Head{}, fmt.Errorf("reading checkpoint: size %q is no number", lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return Head{}, fmt.Errorf("reading checkpoint: %w", err)
	}
	return Head{size, root, text}, nil
}

// Signer gives the log's own key. Besides checkpoints it signs what the log
// says of itself. The error is ErrReadOnly when the key is not here.
func (l *Log) Signer() (note.Signer, error) {
	l.signerMu.Lock()
	defer l.signerMu.Unlock()
	if l.signer == nil && l.signerOf != nil {
		var err error
		if l.signer, err = l.signerOf(l.key); err != nil {
			return nil, fmt.Errorf("%w: its signing key is not here: %v", ErrReadOnly, err)
		}
	}
	if l.signer == nil {
		return nil, fmt.Errorf("%w: the log's signing key is not here; it is made by stemma init and stands in the user's configuration", ErrReadOnly)
	}
	return l.signer, nil
}

func (l *Log) sign(size int64, root tlog.Hash) ([]byte, error) {
	signer, err := l.Signer()
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", l.origin, size, root)}, signer)
}

// publish writes the newest checkpoint beside the store.
func (l *Log) publish(ctx context.Context) error {
	h, err := l.Head(ctx)
	for err == nil {
		if err = durable.WriteFile(filepath.Join(l.dir, "checkpoint"), h.Checkpoint, 0o644); err != nil {
			return err
		}
		// Another process may have published a newer one in between, which
		// this one has replaced: whoever writes last looks again.
		size := h.Size
		if h, err = l.Head(ctx); err == nil && h.Size == size {
			return nil
		}
	}
	return err
}

// Indexed is an entry's bytes with its place.
type Indexed struct {
	Index   uint64
	Content []byte
}

// Entries yields the entries from <= index < to, in order.
func (l *Log) Entries(ctx context.Context, from, to uint64) iter.Seq2[Indexed, error] {
	return func(yield func(Indexed, error) bool) {
		for from < to {
			var size int64
			var begin, n sql.NullInt64
			var blob []byte
			err := l.db.QueryRowContext(ctx, "SELECT c.size, b.first, b.count, b.entries FROM checkpoint c LEFT JOIN batch b ON b.first = (SELECT max(first) FROM batch WHERE first <= ?)", int64(from)).Scan(&size, &begin, &n, &blob)
			if err != nil {
				yield(Indexed{}, explain(err))
				return
			}
			first, count := begin.Int64, n.Int64
			if from >= uint64(first+count) {
				if from < uint64(size) {
					yield(Indexed{}, fmt.Errorf("%w: entry %d is missing", ErrCorrupt, from))
				}
				return
			}
			list, err := unframe(blob, int(count))
			if err != nil {
				yield(Indexed{}, fmt.Errorf("%w: batch %d: %v", ErrCorrupt, first, err))
				return
			}
			for ; from < uint64(first+count) && from < to; from++ {
				if !yield(Indexed{from, list[from-uint64(first)]}, nil) {
					return
				}
			}
		}
	}
}

// Entry gives the bytes of one entry.
func (l *Log) Entry(ctx context.Context, index uint64) ([]byte, error) {
	for e, err := range l.Entries(ctx, index, index+1) {
		return e.Content, err
	}
	return nil, fmt.Errorf("%w: %d", ErrNotFound, index)
}

// Follow yields the entries from an index on and waits for more, until ctx
// ends. It sees the entries of other processes too.
func (l *Log) Follow(ctx context.Context, from uint64, every time.Duration) iter.Seq2[Indexed, error] {
	return func(yield func(Indexed, error) bool) {
		for {
			for e, err := range l.Entries(ctx, from, ^uint64(0)>>1) {
				if !yield(e, err) || err != nil {
					return
				}
				from = e.Index + 1
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(every):
			}
		}
	}
}

// SizeAt gives how many entries were recorded at t or before.
func (l *Log) SizeAt(ctx context.Context, t time.Time) (uint64, error) {
	text := t.UTC().Format(statement.TimeFormat)
	var first sql.NullInt64
	if err := l.db.QueryRowContext(ctx, "SELECT max(first) FROM batch WHERE recorded_first <= ?", text).Scan(&first); err != nil {
		return 0, explain(err)
	}
	if !first.Valid {
		return 0, nil
	}
	n := uint64(first.Int64)
	for e, err := range l.Entries(ctx, n, n+maxBatch) {
		if err != nil {
			return 0, err
		}
		c, err := statement.ParseEntry(e.Content)
		if err != nil {
			return 0, fmt.Errorf("%w: entry %d: %v", ErrCorrupt, e.Index, err)
		}
		if c.RecordedAt.After(t) {
			break
		}
		n = e.Index + 1
	}
	return n, nil
}

func frame(list [][]byte) []byte {
	n := 0
	for _, c := range list {
		n += len(c) + binary.MaxVarintLen64
	}
	b := make([]byte, 0, n)
	for _, c := range list {
		b = binary.AppendUvarint(b, uint64(len(c)))
		b = append(b, c...)
	}
	return b
}

func unframe(b []byte, count int) ([][]byte, error) {
	var out [][]byte
	for len(b) > 0 {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return nil, errors.New("a length does not fit")
		}
		out = append(out, b[w:w+int(n)])
		b = b[w+int(n):]
	}
	if len(out) != count {
		return nil, fmt.Errorf("%d entries, should be %d", len(out), count)
	}
	return out, nil
}

// Hex gives a hash as hexadecimal.
func Hex(h tlog.Hash) string { return hex.EncodeToString(h[:]) }
