// Package prooftest makes logs in memory, honest and dishonest ones, and
// proofs over them. It is for tests: what its keys sign protects nothing.
package prooftest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/bundle"
	"github.com/stemma-lineage/stemma/internal/proof"
	"github.com/stemma-lineage/stemma/statement"
	"github.com/stemma-lineage/stemma/vindex"
)

// Origin is the name of the logs.
const Origin = "stemma.example/proof"

// Options say how a log lies. The zero value is honest.
type Options struct {
	// Keys gives the keys of an entry; nil: vindex.Keys.
	Keys func(i uint64, content []byte) []vindex.Key
	// Order may change a list before it is hashed.
	Order func(list []uint64)
	// Covers is how many entries the root entry says that it covers, and does
	// cover; 0: all.
	Covers uint64
	// Tail is appended after the root entry.
	Tail [][]byte
	// Seed makes another key for the log.
	Seed byte
	// Unsigned leaves the root entry without the log's signature.
	Unsigned bool
}

// Log is a log whose index is sealed.
type Log struct {
	Entries  [][]byte
	Sealed   uint64 // the entry with the root of the index
	Key      string
	Verifier note.Verifier

	signer note.Signer
	hashes hashes
	lists  map[vindex.Key][]uint64
	index  *vindex.Map
}

type hashes []tlog.Hash

// ReadHashes gives stored hashes.
func (h hashes) ReadHashes(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, x := range at {
		out[i] = h[x]
	}
	return out, nil
}

// New makes a log of entries and of the entry with the root of their index.
func New(contents [][]byte, o Options) (*Log, error) {
	skey, vkey, err := note.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{9 + o.Seed}, 64)), Origin)
	if err != nil {
		return nil, err
	}
	l := &Log{Key: vkey, lists: map[vindex.Key][]uint64{}, index: vindex.NewMap(nil)}
	if l.signer, err = note.NewSigner(skey); err == nil {
		l.Verifier, err = note.NewVerifier(vkey)
	}
	if err != nil {
		return nil, err
	}
	covers := uint64(len(contents))
	if o.Covers > 0 {
		covers = o.Covers
	}
	keys := o.Keys
	if keys == nil {
		keys = func(_ uint64, content []byte) []vindex.Key { return vindex.Keys(content) }
	}
	for i, c := range contents {
		if uint64(i) < covers {
			for _, k := range keys(uint64(i), c) {
				l.lists[k] = append(l.lists[k], uint64(i))
			}
		}
	}
	for k, list := range l.lists {
		if o.Order != nil {
			o.Order(list)
		}
		l.index.Set(k, vindex.ListHash(list))
	}
	l.Sealed = uint64(len(contents))
	seal, err := l.seal(contents, covers, o.Unsigned)
	if err != nil {
		return nil, err
	}
	for _, c := range slices.Concat(contents, [][]byte{seal}, o.Tail) {
		if err := l.append(c); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *Log) seal(contents [][]byte, covers uint64, unsigned bool) ([]byte, error) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if n := len(contents); n > 0 {
		e, err := statement.ParseEntry(contents[n-1])
		if err != nil {
			return nil, err
		}
		at = e.RecordedAt
	}
	root := l.index.Root()
	x := &statement.Index{Version: statement.IndexVersion, Size: covers, Root: hex.EncodeToString(root[:]), Keys: uint64(l.index.Len())}
	if unsigned {
		return Content(at, x, statement.NewSubject(bundle.LogRef(Origin), nil))
	}
	env, err := bundle.FormatRoot(l.signer, x)
	if err != nil {
		return nil, err
	}
	return statement.FormatEntry(statement.Entry{RecordedAt: at, RecordedBy: bundle.LogRef(Origin).String(), Envelope: env})
}

// Content gives the content of an unsigned entry.
func Content(at time.Time, p statement.Predicate, subjects ...statement.Subject) ([]byte, error) {
	payload, err := statement.Format(subjects, p)
	if err != nil {
		return nil, err
	}
	env, err := statement.Unsigned(payload)
	if err != nil {
		return nil, err
	}
	return statement.FormatEntry(statement.Entry{RecordedAt: at, RecordedBy: "person:ann", Envelope: env})
}

func (l *Log) append(content []byte) error {
	h, err := tlog.StoredHashes(int64(len(l.Entries)), statement.Leaf(content), l.hashes)
	l.Entries, l.hashes = append(l.Entries, content), append(l.hashes, h...)
	return err
}

// Checkpoint gives the signed checkpoint at a size.
func (l *Log) Checkpoint(size uint64) ([]byte, error) {
	root, err := tlog.TreeHash(int64(size), l.hashes)
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", Origin, size, root)}, l.signer)
}

// List gives a list of the index.
func (l *Log) List(rel vindex.Relation, x string) ([]uint64, error) {
	return slices.Clone(l.lists[vindex.KeyOf(rel, x)]), nil
}

// Entry gives an entry.
func (l *Log) Entry(i uint64) ([]byte, error) {
	if i >= uint64(len(l.Entries)) {
		return nil, fmt.Errorf("there is no entry %d", i)
	}
	return l.Entries[i], nil
}

// Prove gives the proof of an answer, without verifying it. What a dishonest
// log makes the walk stumble over is left out of it.
func (l *Log) Prove(q proof.Question) (*bundle.Proof, error) {
	return l.ProveAt(q, uint64(len(l.Entries)))
}

// ProveAt is Prove under a checkpoint of another size.
func (l *Log) ProveAt(q proof.Question, size uint64) (*bundle.Proof, error) {
	t := &taken{l: l, p: &bundle.Proof{Question: q, Lists: map[bundle.ListName][]uint64{}, Entries: map[uint64][]byte{}, Proofs: map[uint64]tlog.RecordProof{}}}
	if _, err := proof.Ask(t, q, l.Sealed); err != nil && !errors.Is(err, proof.ErrSource) {
		return nil, err
	}
	var err error
	if t.p.Checkpoint, err = l.Checkpoint(size); err != nil {
		return nil, err
	}
	t.p.Entries[size-1] = l.Entries[size-1]
	for i := range t.p.Entries {
		if t.p.Proofs[i], err = tlog.ProveRecord(int64(size), int64(i), l.hashes); err != nil {
			return nil, err
		}
	}
	t.p.Index, err = l.index.Snapshot().Prove(t.keys).MarshalBinary()
	return t.p, err
}

type taken struct {
	l    *Log
	p    *bundle.Proof
	keys []vindex.Key
}

func (t *taken) List(rel vindex.Relation, x string) ([]uint64, error) {
	got, err := t.l.List(rel, x)
	t.keys = append(t.keys, vindex.KeyOf(rel, x))
	if len(got) > 0 {
		t.p.Lists[bundle.ListName{Relation: rel, Of: x}] = got
	}
	return got, err
}

func (t *taken) Entry(i uint64) ([]byte, error) {
	c, err := t.l.Entry(i)
	if err == nil {
		t.p.Entries[i] = c
	}
	return c, err
}
