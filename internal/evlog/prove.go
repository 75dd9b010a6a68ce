package evlog

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/statement"
)

func (l *Log) tile(ctx context.Context, k tileKey) ([]byte, error) {
	var t []byte
	err := l.db.QueryRowContext(ctx, "SELECT hashes FROM tile WHERE level=? AND n=?", k.level, k.n).Scan(&t)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: tile %d/%d is missing", ErrCorrupt, k.level, k.n)
	}
	return t, explain(err)
}

// hashes reads stored hashes; tiles are kept while the reader lives.
func (l *Log) hashes(ctx context.Context) tlog.HashReader {
	cache := map[tileKey][]byte{}
	return hashReader(func(k tileKey) ([]byte, error) {
		if t, ok := cache[k]; ok {
			return t, nil
		}
		t, err := l.tile(ctx, k)
		if err == nil {
			cache[k] = t
		}
		return t, err
	})
}

// RootAt gives the root hash of the tree over the first size entries.
func (l *Log) RootAt(ctx context.Context, size int64) (tlog.Hash, error) {
	return tlog.TreeHash(size, l.hashes(ctx))
}

// Prover gives inclusion proofs that share the tiles they read.
type Prover struct{ r tlog.HashReader }

// Prover makes a Prover.
func (l *Log) Prover(ctx context.Context) Prover { return Prover{l.hashes(ctx)} }

// Inclusion proves that entry index is in the tree of the first size entries
// (RFC 6962 section 2.1.1).
func (p Prover) Inclusion(index, size uint64) (tlog.RecordProof, error) {
	return tlog.ProveRecord(int64(size), int64(index), p.r)
}

// Consistency proves that the tree of newSize continues that of oldSize
// (RFC 6962 section 2.1.2).
func (l *Log) Consistency(ctx context.Context, oldSize, newSize uint64) (tlog.TreeProof, error) {
	return tlog.ProveTree(int64(newSize), int64(oldSize), l.hashes(ctx))
}

// Export writes the log's leaves, tiles and checkpoint into dir in the layout
// of C2SP tlog-tiles. What is there already is not written anew; a directory
// that holds another log is refused. The checkpoint is written last.
func (l *Log) Export(ctx context.Context, dir string) (Head, error) {
	h, err := l.Head(ctx)
	if err != nil {
		return h, err
	}
	if old, err := os.ReadFile(filepath.Join(dir, "checkpoint")); err == nil {
		p, err := ParseCheckpoint(old, l.verifier)
		if err != nil {
			return h, fmt.Errorf("exporting into %s: another log stands there: %w", dir, err)
		}
		root, err := l.RootAt(ctx, min(p.Size, h.Size))
		if err != nil {
			return h, err
		}
		if p.Size > h.Size || root != p.Root {
			return h, fmt.Errorf("exporting into %s: the log there is not a beginning of this one; choose an empty directory", dir)
		}
	}
	for _, t := range tlog.NewTiles(tileHeight, 0, h.Size) {
		if err := l.exportTile(ctx, dir, t); err != nil {
			return h, fmt.Errorf("exporting tile %s: %w", t.Path(), err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return h, err
	}
	return h, durable.WriteFile(filepath.Join(dir, "checkpoint"), h.Checkpoint, 0o644)
}

func (l *Log) exportTile(ctx context.Context, dir string, t tlog.Tile) error {
	data, err := l.tile(ctx, tileKey{int64(t.L), t.N})
	if err != nil {
		return err
	}
	if len(data) < t.W*tlog.HashSize {
		return fmt.Errorf("%w: it holds %d hashes, %d are needed", ErrCorrupt, len(data)/tlog.HashSize, t.W)
	}
	if err := writeNew(filepath.Join(dir, tilePath(fmt.Sprint(t.L), t)), data[:t.W*tlog.HashSize]); err != nil || t.L > 0 {
		return err
	}
	var bundle []byte // C2SP tlog-tiles, "Log entries"
	from := uint64(t.N) * tileWidth
	for e, err := range l.Entries(ctx, from, from+uint64(t.W)) {
		if err != nil {
			return err
		}
		leaf := statement.Leaf(e.Content)
		bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(leaf)))
		bundle = append(bundle, leaf...)
	}
	return writeNew(filepath.Join(dir, tilePath("entries", t)), bundle)
}

// tilePath gives the path of C2SP tlog-tiles: groups of three digits, all but
// the last with an x, and .p/W for a tile that is not full.
func tilePath(level string, t tlog.Tile) string {
	n := fmt.Sprintf("%03d", t.N%1000)
	for m := t.N / 1000; m > 0; m /= 1000 {
		n = fmt.Sprintf("x%03d/%s", m%1000, n)
	}
	if t.W < tileWidth {
		n += fmt.Sprintf(".p/%d", t.W)
	}
	return filepath.Join("tile", level, n)
}

func writeNew(path string, data []byte) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == string(data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return durable.WriteFile(path, data, 0o644)
}

// Report is the outcome of Fsck.
type Report struct {
	Entries  int64
	Tiles    int
	Findings []string // empty: all is well
}

func (r *Report) find(format string, args ...any) {
	r.Findings = append(r.Findings, fmt.Sprintf(format, args...))
}

// Fsck computes all that is derived from the entries anew and compares it with
// what the store holds. It goes on after a finding as far as it can.
func (l *Log) Fsck(ctx context.Context, progress func(done, total int64)) (Report, error) {
	var r Report
	h, err := l.Head(ctx)
	if err != nil {
		r.find("checkpoint: %v", err)
		return r, nil
	}
	want := map[tileKey][]byte{}
	next, err := l.fsckBatches(ctx, &r, h.Size, want, progress)
	if err != nil {
		return r, err
	}
	r.Entries = next
	if next != h.Size {
		r.find("the store holds %d entries, the checkpoint is for %d", next, h.Size)
	}
	if err := l.fsckTiles(ctx, &r, want); err != nil {
		return r, err
	}
	root, err := tlog.TreeHash(next, hashReader(func(k tileKey) ([]byte, error) { return want[k], nil }))
	if err != nil {
		return r, err
	}
	if next == h.Size && root != h.Root {
		r.find("the root over the entries is %s, the checkpoint says %s", Hex(root), Hex(h.Root))
	}
	return r, nil
}

func (l *Log) fsckBatches(ctx context.Context, r *Report, size int64, want map[tileKey][]byte, progress func(done, total int64)) (int64, error) {
	rows, err := l.db.QueryContext(ctx, "SELECT first, count, recorded_first, recorded_last, prefixes, entries FROM batch ORDER BY first")
	if err != nil {
		return 0, explain(err)
	}
	defer rows.Close()
	next, last := int64(0), time.Time{}
	for rows.Next() {
		var first, count int64
		var t0, t1 string
		var prefixes, blob []byte
		if err := rows.Scan(&first, &count, &t0, &t1, &prefixes, &blob); err != nil {
			return next, explain(err)
		}
		if first != next {
			r.find("batch %d: it should begin at entry %d", first, next)
			return next, nil
		}
		list, err := unframe(blob, int(count))
		if err != nil {
			r.find("batch %d: %v", first, err)
			return next, nil
		}
		if int64(len(prefixes)) != 8*count {
			r.find("batch %d: %d bytes of digests, should be %d", first, len(prefixes), 8*count)
			prefixes = make([]byte, 8*count)
		}
		for i, c := range list {
			index := first + int64(i)
			e, err := statement.ParseEntry(c)
			if err != nil {
				r.find("entry %d: %v", index, err)
			} else {
				if e.RecordedAt.Before(last) {
					r.find("entry %d: it was recorded before the entry before it", index)
				}
				last = e.RecordedAt
				at := e.RecordedAt.Format(statement.TimeFormat)
				if i == 0 && at != t0 || i == len(list)-1 && at != t1 {
					r.find("batch %d: its times are not those of its entries", first)
				}
				d := statement.EnvelopeDigest(e.Envelope)
				if string(d[:8]) != string(prefixes[8*i:8*i+8]) {
					r.find("entry %d: the digest kept for finding it is wrong", index)
				}
			}
			addLeaf(want, index, tlog.RecordHash(statement.Leaf(c)))
		}
		next = first + count
		if progress != nil {
			progress(next, size)
		}
	}
	return next, explain(rows.Err())
}

func addLeaf(tiles map[tileKey][]byte, n int64, h tlog.Hash) {
	for level := int64(0); ; level++ {
		k := tileKey{level, n / tileWidth}
		tiles[k] = append(tiles[k], h[:]...)
		if n%tileWidth != tileWidth-1 {
			return
		}
		h = foldTile(tiles[k])
		n /= tileWidth
	}
}

func (l *Log) fsckTiles(ctx context.Context, r *Report, want map[tileKey][]byte) error {
	rows, err := l.db.QueryContext(ctx, "SELECT level, n, hashes FROM tile ORDER BY level, n")
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	have := map[tileKey]bool{}
	for rows.Next() {
		var k tileKey
		var data []byte
		if err := rows.Scan(&k.level, &k.n, &data); err != nil {
			return explain(err)
		}
		have[k] = true
		r.Tiles++
		if string(want[k]) != string(data) {
			r.find("tile %d/%d: its hashes are not those of the entries", k.level, k.n)
		}
	}
	var missing []tileKey
	for k := range want {
		if !have[k] {
			missing = append(missing, k)
		}
	}
	slices.SortFunc(missing, func(a, b tileKey) int { return int(1000000*(a.level-b.level) + (a.n - b.n)) })
	for _, k := range missing {
		r.find("tile %d/%d: it is missing", k.level, k.n)
	}
	return explain(rows.Err())
}

// HeadAt gives the state that the log had at an earlier size, with a
// checkpoint for it. The tree of the first size entries never changes, so a
// checkpoint that is signed later says the same.
func (l *Log) HeadAt(ctx context.Context, size int64) (Head, error) {
	h, err := l.Head(ctx)
	if err != nil || h.Size == size {
		return h, err
	}
	if size > h.Size || size < 0 {
		return Head{}, fmt.Errorf("%w: %d entries; the log has %d", ErrNotFound, size, h.Size)
	}
	root, err := l.RootAt(ctx, size)
	if err != nil {
		return Head{}, err
	}
	text, err := l.sign(size, root)
	return Head{size, root, text}, err
}
