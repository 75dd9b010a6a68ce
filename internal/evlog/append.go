package evlog

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/statement"
)

// maxBatch is how many entries a row holds at most, and maxBatchBytes how
// many bytes before another is begun.
const (
	maxBatch      = 1024
	maxBatchBytes = 4 << 20
	tileHeight    = 8
	tileWidth     = 1 << tileHeight
)

// Item is one envelope to append.
type Item struct {
	RecordedBy string // a Ref
	Envelope   []byte
}

// Appended says where an envelope stands.
type Appended struct {
	Index      uint64
	Duplicate  bool      // it stood there before
	Erased     bool      // it stood there before, and its content was erased by the entry ErasedBy
	ErasedBy   uint64    //
	RecordedAt time.Time // the entry's own; zero for a duplicate
}

// Append puts envelopes into the log and returns after they are durable,
// integrated and published. The same envelope is appended once: a retry gets
// the index of the first. All of one call are taken, or none. Calls that come
// while another is being written are written together in one transaction.
func (l *Log) Append(ctx context.Context, items []Item) ([]Appended, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("appending: %w", err)
	}
	r := &request{items: items}
	l.queueMu.Lock()
	l.queue = append(l.queue, r)
	l.queueMu.Unlock()

	l.mu.Lock()
	defer l.mu.Unlock()
	if !r.done { // else the caller before wrote it too
		l.queueMu.Lock()
		group := l.queue
		l.queue = nil
		l.queueMu.Unlock()
		l.appendGroup(context.WithoutCancel(ctx), group)
	}
	return r.out, r.err
}

// request is one call of Append; its outcome is guarded by Log.mu.
type request struct {
	items []Item
	out   []Appended
	err   error
	done  bool
}

// appendGroup writes several calls in one transaction. When that fails, each
// is tried by itself, so that one bad call fails alone.
func (l *Log) appendGroup(ctx context.Context, group []*request) {
	var items []Item
	for _, r := range group {
		items = append(items, r.items...)
	}
	out, err := l.appendNow(ctx, items)
	for _, r := range group {
		r.done = true
		switch {
		case err == nil || out != nil:
			r.out, r.err = out[:len(r.items):len(r.items)], err
			out = out[len(r.items):]
		case len(group) == 1:
			r.err = err
		default:
			r.out, r.err = l.appendNow(ctx, r.items)
		}
	}
}

func (l *Log) appendNow(ctx context.Context, items []Item) ([]Appended, error) {
	out, err := l.appendWith(ctx, items, nil)
	if err != nil {
		err = fmt.Errorf("appending: %w", err)
	}
	return out, err
}

// appendWith appends items in one transaction with what also does, which is
// left out when none of them is new. Log.mu is held.
func (l *Log) appendWith(ctx context.Context, items []Item, also func(*appender, []Appended) error) ([]Appended, error) {
	var out []Appended
	fresh := false
	err := l.tx(ctx, func(c *sql.Conn) error {
		a := &appender{l: l, c: c, tiles: map[tileKey][]byte{}}
		if err := a.begin(ctx); err != nil {
			return err
		}
		var err error
		if out, err = a.add(ctx, items); err != nil {
			return err
		}
		fresh = len(a.pending) > 0
		if !fresh {
			return nil
		}
		if a.closed.Valid {
			if err := mayAppend(a.closed.String, items); err != nil {
				return err
			}
		}
		if err := a.finish(ctx); err != nil || also == nil {
			return err
		}
		return also(a, out)
	})
	if err != nil {
		l.ids.init() // may hold what was rolled back
		return nil, err
	}
	if fresh {
		if err := l.publish(ctx); err != nil {
			return out, fmt.Errorf("the entries are recorded, but their checkpoint could not be written beside the store: %w", err)
		}
	}
	return out, nil
}

type tileKey struct{ level, n int64 }

// appender is one write transaction.
type appender struct {
	l       *Log
	c       *sql.Conn
	size    int64
	last    time.Time
	tiles   map[tileKey][]byte // read and changed in this transaction
	changed []tileKey
	pending [][]byte
	ids     []uint64
	first   int64
	closed  sql.NullString // the entry that closed the log
}

func (a *appender) begin(ctx context.Context) error {
	if err := a.c.QueryRowContext(ctx, "SELECT size, (SELECT value FROM meta WHERE key='closed') FROM checkpoint").Scan(&a.size, &a.closed); err != nil {
		return err
	}
	a.first = a.size
	var last sql.NullString
	if err := a.c.QueryRowContext(ctx, "SELECT recorded_last FROM batch ORDER BY first DESC LIMIT 1").Scan(&last); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if last.Valid {
		t, err := time.Parse(statement.TimeFormat, last.String)
		if err != nil {
			return fmt.Errorf("%w: recorded time %q", ErrCorrupt, last.String)
		}
		a.last = t
	}
	return a.l.ids.catchUp(ctx, a.c, a.size)
}

func (a *appender) add(ctx context.Context, items []Item) ([]Appended, error) {
	out := make([]Appended, len(items))
	for i, it := range items {
		d := statement.EnvelopeDigest(it.Envelope)
		id := binary.BigEndian.Uint64(d[:])
		old, dup, err := a.find(ctx, id, it.Envelope)
		if err != nil {
			return nil, err
		}
		if dup {
			out[i] = old
			continue
		}
		now := a.l.now().UTC()
		if now.Before(a.last) {
			now = a.last
		}
		a.last = now
		content, err := statement.FormatEntry(statement.Entry{RecordedAt: now, RecordedBy: it.RecordedBy, Envelope: it.Envelope})
		if err != nil {
			return nil, err
		}
		out[i] = Appended{Index: uint64(a.size), RecordedAt: now}
		a.l.ids.add(id, uint64(a.size))
		a.pending, a.ids = append(a.pending, content), append(a.ids, id)
		if err := a.leaf(ctx, a.size, tlog.RecordHash(statement.Leaf(content))); err != nil {
			return nil, err
		}
		a.size++
	}
	a.l.ids.size = uint64(a.size)
	return out, nil
}

// find looks an envelope up by the prefix of its digest and compares it whole.
// Of one that was erased only the digest is left.
func (a *appender) find(ctx context.Context, id uint64, envelope []byte) (Appended, bool, error) {
	for _, index := range a.l.ids.find(id) {
		var content []byte
		if int64(index) >= a.first {
			content = a.pending[int64(index)-a.first]
		} else {
			var first, count int64
			var blob []byte
			if err := a.c.QueryRowContext(ctx, "SELECT first, count, entries FROM batch WHERE first <= ? ORDER BY first DESC LIMIT 1", int64(index)).Scan(&first, &count, &blob); err != nil {
				return Appended{}, false, err
			}
			list, err := unframe(blob, int(count))
			if err != nil || int64(index) >= first+count {
				return Appended{}, false, fmt.Errorf("%w: batch %d: %v", ErrCorrupt, first, err)
			}
			content = list[int64(index)-first]
		}
		if statement.IsRemainder(content) {
			r, err := statement.ParseRemainder(content)
			if err != nil {
				return Appended{}, false, fmt.Errorf("%w: entry %d: %v", ErrCorrupt, index, err)
			}
			if r.Envelope == statement.EnvelopeDigest(envelope) {
				return Appended{Index: index, Duplicate: true, Erased: true, ErasedBy: r.ErasedBy}, true, nil
			}
			continue
		}
		e, err := statement.ParseEntry(content)
		if err != nil {
			return Appended{}, false, fmt.Errorf("%w: entry %d: %v", ErrCorrupt, index, err)
		}
		if string(e.Envelope) == string(envelope) {
			return Appended{Index: index, Duplicate: true}, true, nil
		}
	}
	return Appended{}, false, nil
}

// leaf adds the hash of leaf n to its tile, and full tiles' hashes upwards.
func (a *appender) leaf(ctx context.Context, n int64, h tlog.Hash) error {
	for level := int64(0); ; level++ {
		k := tileKey{level, n / tileWidth}
		t, err := a.tile(ctx, k)
		if err != nil {
			return err
		}
		if int64(len(t)) != n%tileWidth*tlog.HashSize {
			return fmt.Errorf("%w: tile %d/%d holds %d hashes, should hold %d", ErrCorrupt, level, k.n, len(t)/tlog.HashSize, n%tileWidth)
		}
		t = append(t, h[:]...)
		a.tiles[k] = t
		if len(a.changed) == 0 || a.changed[len(a.changed)-1] != k {
			a.changed = append(a.changed, k)
		}
		if n%tileWidth != tileWidth-1 {
			return nil
		}
		h = foldTile(t)
		n /= tileWidth
	}
}

// foldTile gives the hash over a full tile.
func foldTile(t []byte) tlog.Hash {
	hs := make([]tlog.Hash, len(t)/tlog.HashSize)
	for i := range hs {
		copy(hs[i][:], t[i*tlog.HashSize:])
	}
	for len(hs) > 1 {
		for i := 0; i < len(hs)/2; i++ {
			hs[i] = tlog.NodeHash(hs[2*i], hs[2*i+1])
		}
		hs = hs[:len(hs)/2]
	}
	return hs[0]
}

func (a *appender) tile(ctx context.Context, k tileKey) ([]byte, error) {
	if t, ok := a.tiles[k]; ok {
		return t, nil
	}
	var t []byte
	err := a.c.QueryRowContext(ctx, "SELECT hashes FROM tile WHERE level=? AND n=?", k.level, k.n).Scan(&t)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	a.tiles[k] = t
	return t, nil
}

func (a *appender) finish(ctx context.Context) error {
	for from := 0; from < len(a.pending); {
		to, n := from, 0
		for to < len(a.pending) && to-from < maxBatch && (to == from || n+len(a.pending[to]) <= maxBatchBytes) {
			n += len(a.pending[to])
			to++
		}
		if err := a.row(ctx, from, to); err != nil {
			return err
		}
		from = to
	}
	done := map[tileKey]bool{}
	for _, k := range a.changed {
		if done[k] {
			continue
		}
		done[k] = true
		if _, err := a.c.ExecContext(ctx, "INSERT INTO tile VALUES(?,?,?) ON CONFLICT(level,n) DO UPDATE SET hashes=excluded.hashes", k.level, k.n, a.tiles[k]); err != nil {
			return err
		}
	}
	root, err := tlog.TreeHash(a.size, hashReader(func(k tileKey) ([]byte, error) { return a.tile(ctx, k) }))
	if err != nil {
		return err
	}
	cp, err := a.l.sign(a.size, root)
	if err != nil {
		return err
	}
	_, err = a.c.ExecContext(ctx, "UPDATE checkpoint SET size=?, note=?", a.size, string(cp))
	return err
}

func (a *appender) row(ctx context.Context, from, to int) error {
	prefixes := make([]byte, 0, 8*(to-from))
	for _, id := range a.ids[from:to] {
		prefixes = binary.BigEndian.AppendUint64(prefixes, id)
	}
	var times [2]string
	for i, c := range [][]byte{a.pending[from], a.pending[to-1]} {
		e, err := statement.ParseEntry(c)
		if err != nil {
			return err
		}
		times[i] = e.RecordedAt.Format(statement.TimeFormat)
	}
	_, err := a.c.ExecContext(ctx, "INSERT INTO batch VALUES(?,?,?,?,?,?)", a.first+int64(from), to-from, times[0], times[1], prefixes, frame(a.pending[from:to]))
	return err
}

// hashReader reads stored hashes out of tiles.
func hashReader(tile func(tileKey) ([]byte, error)) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			t := tlog.TileForIndex(tileHeight, x)
			data, err := tile(tileKey{int64(t.L), t.N})
			if err != nil {
				return nil, err
			}
			if len(data) < t.W*tlog.HashSize {
				return nil, fmt.Errorf("%w: tile %d/%d holds %d hashes, %d are needed", ErrCorrupt, t.L, t.N, len(data)/tlog.HashSize, t.W)
			}
			if out[i], err = tlog.HashFromTile(t, data[:t.W*tlog.HashSize], x); err != nil {
				return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
			}
		}
		return out, nil
	})
}

// idTable finds entries by the first 8 bytes of their envelope's digest. It is
// derived from the column batch.prefixes: open addressing, no pointers.
type idTable struct {
	slots []idSlot
	used  int
	size  uint64 // entries taken in
}

type idSlot struct{ id, index uint64 } // index+1; 0 is empty

func (t *idTable) init() { *t = idTable{slots: make([]idSlot, 1024)} }

func (t *idTable) add(id, index uint64) {
	if 4*t.used > 3*len(t.slots) {
		old := t.slots
		t.slots = make([]idSlot, 2*len(old))
		for _, s := range old {
			if s.index != 0 {
				t.put(s)
			}
		}
	}
	t.put(idSlot{id, index + 1})
	t.used++
}

func (t *idTable) put(s idSlot) {
	mask := uint64(len(t.slots) - 1)
	i := s.id & mask
	for t.slots[i].index != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = s
}

func (t *idTable) find(id uint64) []uint64 {
	var out []uint64
	mask := uint64(len(t.slots) - 1)
	for i := id & mask; t.slots[i].index != 0; i = (i + 1) & mask {
		if t.slots[i].id == id {
			out = append(out, t.slots[i].index-1)
		}
	}
	return out
}

// catchUp takes in what was appended since, by this process or another.
func (t *idTable) catchUp(ctx context.Context, c *sql.Conn, size int64) error {
	if t.size == uint64(size) {
		return nil
	}
	if t.size > uint64(size) {
		return fmt.Errorf("%w: it held %d entries when it was last looked at and holds %d now; close it, and open it to learn more", ErrCorrupt, t.size, size)
	}
	rows, err := c.QueryContext(ctx, "SELECT first, count, prefixes FROM batch WHERE first >= ? ORDER BY first", int64(t.size))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var first, count int64
		var p []byte
		if err := rows.Scan(&first, &count, &p); err != nil {
			return err
		}
		if uint64(first) != t.size || int64(len(p)) != 8*count {
			return fmt.Errorf("%w: batch %d does not follow on entry %d", ErrCorrupt, first, t.size)
		}
		for i := int64(0); i < count; i++ {
			t.add(binary.BigEndian.Uint64(p[8*i:]), uint64(first+i))
		}
		t.size = uint64(first + count)
	}
	return rows.Err()
}
