package evlog

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/statement"
)

// Erased content is replaced, in the transaction that appends the order, by
// what the order leaves of it. So at no moment is content gone without an order
// in the log, or an order there whose content is not gone. What is outside of
// that transaction (evidence, pages that SQLite has freed, snapshots) is noted
// in the table unfinished until it is done: a process that is killed in
// between leaves the rest to the next that opens the log.

// formatErased is the version of the tables of a log in which something was
// erased, so that programs that do not know of it leave the log alone.
const formatErased = 2

const erasedSchema = `
CREATE TABLE IF NOT EXISTS erased(entry INTEGER PRIMARY KEY, erased_by INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unfinished(erased_by INTEGER PRIMARY KEY, blobs TEXT NOT NULL) WITHOUT ROWID;
`

// Errors of erasing and closing that callers tell apart.
var (
	ErrErased    = errors.New("it was erased")
	ErrClosed    = errors.New("the log is closed")
	ErrNotErased = errors.New("the order cannot be carried out")
	ErrGrew      = errors.New("the log grew in between")
)

// Unfinished is an order whose content is gone from the log, while something
// else that it erases may still be there.
type Unfinished struct {
	By    uint64   // the order
	Blobs []string // the evidence that it erases, by SHA-256
}

// Erase appends an order (erasure/v1) and replaces the content that it erases,
// in one transaction. The order must state truly what it takes out: each of
// its lines is compared with the entry. The caller has checked that who signed
// may order it, and that no hold stood in the way when the log had size
// entries: if it has more now, nothing is done and ErrGrew given. Afterwards
// the caller carries out the rest, with Unfinished, Scrub and Finish.
func (l *Log) Erase(ctx context.Context, it Item, size uint64) (Appended, error) {
	order, err := orderOf(it.Envelope)
	if err != nil {
		return Appended{}, fmt.Errorf("erasing: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	out, err := l.appendWith(ctx, []Item{it}, func(a *appender, out []Appended) error {
		if uint64(a.first) != size {
			return ErrGrew
		}
		if _, err := a.c.ExecContext(ctx, "PRAGMA secure_delete=ON"); err != nil {
			return err
		}
		if _, err := a.c.ExecContext(ctx, erasedSchema); err != nil {
			return err
		}
		if _, err := a.c.ExecContext(ctx, "UPDATE meta SET value=? WHERE key='format'", fmt.Sprint(formatErased)); err != nil {
			return err
		}
		return a.erase(ctx, order, out[0].Index)
	})
	switch {
	case err == nil:
		return out[0], nil
	case out != nil: // it is committed
		return out[0], fmt.Errorf("erasing: %w", err)
	}
	return Appended{}, fmt.Errorf("erasing: nothing was erased: %w", err)
}

func orderOf(envelope []byte) (*statement.Erasure, error) {
	p := statement.Read(envelope)
	if p.Err != nil {
		return nil, p.Err
	}
	e, ok := p.Statement.Predicate.(*statement.Erasure)
	if !ok {
		return nil, fmt.Errorf("%w: it is a statement of type %s, not %s", ErrNotErased, p.Statement.PredicateType, statement.ErasureType)
	}
	return e, nil
}

// erase replaces the entries of an order that stands at index by.
func (a *appender) erase(ctx context.Context, order *statement.Erasure, by uint64) error {
	for i := 0; i < len(order.Entries); {
		var first, count int64
		var blob []byte
		err := a.c.QueryRowContext(ctx, "SELECT first, count, entries FROM batch WHERE first <= ? ORDER BY first DESC LIMIT 1", int64(order.Entries[i].Entry)).Scan(&first, &count, &blob)
		if err != nil {
			return err
		}
		list, err := unframe(blob, int(count))
		if err != nil {
			return fmt.Errorf("%w: batch %d: %v", ErrCorrupt, first, err)
		}
		begin := i
		for ; i < len(order.Entries) && order.Entries[i].Entry < uint64(first+count); i++ {
			x := order.Entries[i]
			if x.Entry >= by {
				return fmt.Errorf("%w: %d is not an entry before the order", ErrNotFound, x.Entry)
			}
			at := &list[x.Entry-uint64(first)]
			if statement.IsRemainder(*at) {
				return fmt.Errorf("entry %d: %w already", x.Entry, ErrErased)
			}
			if err := statement.CheckErased(*at, x); err != nil {
				return fmt.Errorf("%w: %v", ErrNotErased, err)
			}
			if *at, err = order.Remainder(by, i); err != nil {
				return err
			}
			if _, err := a.c.ExecContext(ctx, "INSERT INTO erased VALUES(?,?)", int64(x.Entry), int64(by)); err != nil {
				return err
			}
		}
		if i == begin {
			return fmt.Errorf("%w: %d", ErrNotFound, order.Entries[i].Entry)
		}
		if _, err := a.c.ExecContext(ctx, "UPDATE batch SET entries=? WHERE first=?", frame(list), first); err != nil {
			return err
		}
	}
	_, err := a.c.ExecContext(ctx, "INSERT INTO unfinished VALUES(?,?)", int64(by), strings.Join(order.Blobs, " "))
	return err
}

// hasErased tells whether anything was ever erased from this log.
func (l *Log) hasErased(ctx context.Context) (bool, error) {
	var n int
	err := l.db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE type='table' AND name='erased'").Scan(&n)
	return n > 0, explain(err)
}

// ErasedEntries gives how many of the first size entries were erased. A graph
// that was folded when there were fewer holds what is not to be told any more.
func (l *Log) ErasedEntries(ctx context.Context, size uint64) (n int, err error) {
	if has, err := l.hasErased(ctx); err != nil || !has {
		return 0, err
	}
	err = l.db.QueryRowContext(ctx, "SELECT count(*) FROM erased WHERE entry < ?", int64(size)).Scan(&n)
	return n, explain(err)
}

// Unfinished gives the orders that are not carried out in full.
func (l *Log) Unfinished(ctx context.Context) ([]Unfinished, error) {
	if has, err := l.hasErased(ctx); err != nil || !has {
		return nil, err
	}
	rows, err := l.db.QueryContext(ctx, "SELECT erased_by, blobs FROM unfinished ORDER BY erased_by")
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var out []Unfinished
	for rows.Next() {
		var by int64
		var blobs string
		if err := rows.Scan(&by, &blobs); err != nil {
			return nil, explain(err)
		}
		out = append(out, Unfinished{uint64(by), strings.Fields(blobs)})
	}
	return out, explain(rows.Err())
}

// Scrub writes the store anew, so that no page of it and nothing in its
// write-ahead log holds bytes that were erased. Another process that is reading
// at the same time makes it give ErrBusy.
func (l *Log) Scrub(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.db.ExecContext(ctx, "VACUUM"); err != nil {
		return fmt.Errorf("writing the store anew: %w", explain(err))
	}
	var busy, pages, done int
	if err := l.db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &done); err != nil {
		return fmt.Errorf("writing the store anew: %w", explain(err))
	}
	if busy != 0 {
		return fmt.Errorf("writing the store anew: another process reads the log, and the write-ahead log still holds what was erased: %w", ErrBusy)
	}
	return nil
}

// Finish notes that nothing is left to do for an order.
func (l *Log) Finish(ctx context.Context, by uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tx(ctx, func(c *sql.Conn) error {
		_, err := c.ExecContext(ctx, "DELETE FROM unfinished WHERE erased_by=?", int64(by))
		return err
	})
}

// End appends the statement that closes the log. Afterwards it takes only
// orders of erasure, and holds.
func (l *Log) End(ctx context.Context, it Item) (Appended, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out, err := l.appendWith(ctx, []Item{it}, func(a *appender, out []Appended) error {
		_, err := a.c.ExecContext(ctx, "INSERT INTO meta VALUES('closed',?)", fmt.Sprint(out[0].Index))
		return err
	})
	if out == nil {
		return Appended{}, fmt.Errorf("closing the log: %w", err)
	}
	return out[0], err
}

// Closed gives the entry that closed the log, if it is closed.
func (l *Log) Closed(ctx context.Context) (by uint64, ok bool, err error) {
	var s string
	err = l.db.QueryRowContext(ctx, "SELECT value FROM meta WHERE key='closed'").Scan(&s)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err == nil {
		_, err = fmt.Sscan(s, &by)
	}
	return by, err == nil, explain(err)
}

// mayAppend refuses what a closed log does not take.
func mayAppend(closed string, items []Item) error {
	for _, it := range items {
		p := statement.Read(it.Envelope)
		if p.Statement != nil {
			switch p.Statement.Predicate.(type) {
			case *statement.Erasure, *statement.Hold, *statement.Index:
				continue
			}
		}
		return fmt.Errorf("%w by entry %s, and takes only orders of erasure, holds and roots of its index; begin its successor in another folder with stemma init --successor-of DIR", ErrClosed, closed)
	}
	return nil
}

// erasureMarks are the pieces of base64 one of which is in every envelope of
// an order: its predicate type, at each of three places within a group.
var erasureMarks = func() (out [][]byte) {
	for i := range 3 {
		s := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", i) + statement.ErasureType + "\""))
		out = append(out, []byte(s[4:len(s)-4]))
	}
	return out
}()

// fsckErased compares what is left of erased entries with the orders.
type fsckErased struct {
	left   map[uint64][]byte // remainders
	orders map[uint64][]byte // entries that may be orders
}

func (f *fsckErased) see(index uint64, content []byte) {
	if statement.IsRemainder(content) {
		f.left[index] = bytes.Clone(content)
		return
	}
	for _, m := range erasureMarks {
		if bytes.Contains(content, m) {
			f.orders[index] = bytes.Clone(content)
			return
		}
	}
}

func (f *fsckErased) check(ctx context.Context, l *Log, r *Report) error {
	rows := map[uint64]uint64{}
	has, err := l.hasErased(ctx)
	if err != nil {
		return err
	}
	if has {
		if err := l.erasedRows(ctx, rows); err != nil {
			return err
		}
	}
	for n, b := range f.left {
		x, err := statement.ParseRemainder(b)
		if err == nil {
			order, ok := f.orders[x.ErasedBy]
			if !ok {
				r.find("entry %d: its content is gone, and entry %d, which is said to have erased it, is no order", n, x.ErasedBy)
				continue
			}
			err = statement.CheckRemainder(n, b, order)
		}
		if err != nil {
			r.find("entry %d: its content is gone without an order: %v", n, err)
		} else if by, ok := rows[n]; !ok || by != x.ErasedBy {
			r.find("entry %d: it was erased by entry %d, and the list of what was erased does not say so", n, x.ErasedBy)
		}
		r.Erased++
	}
	for n := range rows {
		if _, ok := f.left[n]; !ok {
			r.find("entry %d: it is listed as erased, and its content is there", n)
		}
	}
	for m, b := range f.orders {
		e, err := statement.ParseEntry(b)
		if err != nil {
			continue // told already
		}
		order, err := orderOf(e.Envelope)
		if err != nil {
			continue // only looked like one
		}
		for _, x := range order.Entries {
			if _, ok := f.left[x.Entry]; !ok {
				r.find("entry %d: entry %d orders that it be erased, and its content is there", x.Entry, m)
			}
		}
	}
	left, err := l.Unfinished(ctx)
	for _, u := range left {
		r.find("entry %d: what it erases is gone from the log, but evidence or traces in the store may be left; any command that writes finishes it", u.By)
	}
	return err
}

func (l *Log) erasedRows(ctx context.Context, into map[uint64]uint64) error {
	rows, err := l.db.QueryContext(ctx, "SELECT entry, erased_by FROM erased")
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var n, by int64
		if err := rows.Scan(&n, &by); err != nil {
			return explain(err)
		}
		into[uint64(n)] = uint64(by)
	}
	return explain(rows.Err())
}

// leafHash gives the hash of the leaf of what the store holds.
func leafHash(content []byte) (tlog.Hash, error) {
	leaf, err := statement.StoredLeaf(content)
	if err != nil {
		return tlog.Hash{}, err
	}
	return tlog.RecordHash(leaf), nil
}
