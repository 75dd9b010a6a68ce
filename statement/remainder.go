package statement

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/stemma-lineage/stemma/prov"
)

// Remainder is what stands in the log's store in the place of an entry whose
// content was erased. It is made of the order alone: [Erasure.Remainder]. Its
// bytes are one JSON object on one line, fields in this order:
//
//	{"erasedBy":<index of the order>,"content":"<hex>","envelope":"<hex>","recordedAt":"<time>","recordedBy":"<ref>","keys":["<hex>",…],"keep":<statement>}
//
// Nothing of it but Content is bound by the leaf. What else it says is vouched
// for by the order, so whoever relies on a remainder checks the order too.
type Remainder struct {
	ErasedBy   uint64
	Content    [32]byte // SHA-256 of the bytes that were erased
	Envelope   [32]byte // EnvelopeDigest of the envelope in them
	RecordedAt time.Time
	RecordedBy string
	Keys       [][32]byte     // of the verifiable index; nil: the order leaves them out
	Keep       jsontext.Value // a payload; empty: nothing
}

type remainderJSON struct {
	ErasedBy   uint64         `json:"erasedBy"`
	Content    string         `json:"content"`
	Envelope   string         `json:"envelope"`
	RecordedAt string         `json:"recordedAt"`
	RecordedBy string         `json:"recordedBy"`
	Keys       []string       `json:"keys,omitempty"`
	Keep       jsontext.Value `json:"keep,omitzero"`
}

const remainderOpen = `{"erasedBy":`

// IsRemainder tells whether bytes of the store are what is left of an erased
// entry, and no entry.
func IsRemainder(content []byte) bool { return bytes.HasPrefix(content, []byte(remainderOpen)) }

// Remainder gives the bytes that stand in the place of entry e.Entries[i] by
// the order at index order.
func (e *Erasure) Remainder(order uint64, i int) ([]byte, error) {
	x := e.Entries[i]
	b, err := json.Marshal(remainderJSON{order, x.Content, x.Envelope, x.RecordedAt, x.RecordedBy, x.Keys, x.Keep}, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("erasing entry %d: %w", x.Entry, err)
	}
	return b, nil
}

// ParseRemainder reads the bytes of a remainder. They have one form.
func ParseRemainder(content []byte) (Remainder, error) {
	var j remainderJSON
	if err := json.Unmarshal(content, &j, json.RejectUnknownMembers(true)); err != nil {
		return Remainder{}, fmt.Errorf("parsing what is left of an erased entry: %w", err)
	}
	again, err := json.Marshal(j, json.Deterministic(true))
	if err != nil || !bytes.Equal(again, content) || !isSHA256(j.Content) || !isSHA256(j.Envelope) {
		return Remainder{}, errors.New("parsing what is left of an erased entry: its bytes are not in the one form that it has")
	}
	at, err := time.Parse(TimeFormat, j.RecordedAt)
	if err != nil {
		return Remainder{}, fmt.Errorf("parsing what is left of an erased entry: recordedAt: %w", err)
	}
	r := Remainder{j.ErasedBy, digest32(j.Content), digest32(j.Envelope), at, j.RecordedBy, nil, j.Keep}
	for _, k := range j.Keys {
		if !isSHA256(k) {
			return Remainder{}, fmt.Errorf("parsing what is left of an erased entry: keys: %q is no hash", k)
		}
		r.Keys = append(r.Keys, digest32(k))
	}
	return r, nil
}

// Parsed gives the statement that is left, as [Read] gives that of an
// envelope. Its Envelope is nil: what is left is signed by nobody but, in the
// order, by who ordered.
func (r Remainder) Parsed() Parsed {
	p := Parsed{Digest: r.Envelope}
	if len(r.Keep) == 0 {
		p.Err = errors.New("its content was erased, and nobody understood it before")
		return p
	}
	p.Statement, p.Err = Parse(r.Keep)
	return p
}

// LeafOf gives the leaf data of an entry by the SHA-256 of its content:
// [Leaf] of the content itself.
func LeafOf(sum [32]byte) []byte {
	return []byte(LeafVersion + "\n" + hex.EncodeToString(sum[:]) + "\n")
}

// StoredLeaf gives the leaf data of what a store holds: of an entry, or of
// what is left of one. For a remainder it takes the digest that it states;
// the tree tells whether it is the right one, but not whether anything else in
// the remainder is: [CheckRemainder] does.
func StoredLeaf(content []byte) ([]byte, error) {
	if !IsRemainder(content) {
		return Leaf(content), nil
	}
	r, err := ParseRemainder(content)
	if err != nil {
		return nil, err
	}
	return LeafOf(r.Content), nil
}

// CheckRemainder tells whether a remainder is what the order makes of entry
// index. The order is the content of the entry that the remainder names, which
// the caller has found in the log; whether its signer had standing to order is
// for the caller's trust list and policy.
func CheckRemainder(index uint64, remainder []byte, order []byte) error {
	r, err := ParseRemainder(remainder)
	if err != nil {
		return err
	}
	e, err := ParseEntry(order)
	if err != nil {
		return fmt.Errorf("the order, entry %d: %w", r.ErasedBy, err)
	}
	p := Read(e.Envelope)
	x, ok := (*Erasure)(nil), false
	if p.Statement != nil {
		x, ok = p.Statement.Predicate.(*Erasure)
	}
	if !ok || index >= r.ErasedBy {
		return fmt.Errorf("entry %d is said to be erased by entry %d, which is no order to erase it", index, r.ErasedBy)
	}
	for i := range x.Entries {
		if x.Entries[i].Entry != index {
			continue
		}
		want, err := x.Remainder(r.ErasedBy, i)
		if err != nil {
			return err
		}
		if !bytes.Equal(want, remainder) {
			return fmt.Errorf("what is left of entry %d is not what its order, entry %d, says", index, r.ErasedBy)
		}
		return nil
	}
	return fmt.Errorf("entry %d is said to be erased by entry %d, which does not name it", index, r.ErasedBy)
}

// Erase gives the line of an order for entry index: what the order states of
// the entry, and what is kept of it by the rule KeepCore. Its content is an
// entry's bytes.
func Erase(index uint64, content []byte, hide Hide) (ErasedEntry, error) {
	e, err := ParseEntry(content)
	if err != nil {
		return ErasedEntry{}, fmt.Errorf("erasing entry %d: %w", index, err)
	}
	sum := sha256.Sum256(content)
	p := Read(e.Envelope)
	x := ErasedEntry{Entry: index, Content: hex.EncodeToString(sum[:]), Envelope: hex.EncodeToString(p.Digest[:]),
		RecordedAt: e.RecordedAt.Format(TimeFormat), RecordedBy: hide.text(e.RecordedBy)}
	if p.Statement != nil {
		if x.Keep, err = Reduce(p.Statement, hide); err != nil {
			return ErasedEntry{}, fmt.Errorf("erasing entry %d: %w", index, err)
		}
	}
	return x, nil
}

// CheckErased tells whether the line of an order states truly what it takes
// out: the digests and the time of the entry, and what the rule KeepCore keeps
// of it, with no name of a person left, and no name replaced but by a
// pseudonym. Content is the entry's bytes.
func CheckErased(content []byte, x ErasedEntry) error {
	bad := func(what string) error {
		return fmt.Errorf("the order does not state entry %d truly: %s", x.Entry, what)
	}
	e, err := ParseEntry(content)
	if err != nil {
		return fmt.Errorf("entry %d: %w", x.Entry, err)
	}
	p := Read(e.Envelope)
	sum := sha256.Sum256(content)
	switch {
	case hex.EncodeToString(sum[:]) != x.Content:
		return bad("content is not the digest of it")
	case hex.EncodeToString(p.Digest[:]) != x.Envelope:
		return bad("envelope is not the digest of its envelope")
	case e.RecordedAt.Format(TimeFormat) != x.RecordedAt:
		return bad("recordedAt is not when it was recorded")
	case p.Statement == nil && len(x.Keep) > 0:
		return bad("it says nothing that could be kept")
	}
	h := Hide{as: map[prov.Ref]prov.Ref{}}
	if err := h.learn(nameOf(e.RecordedBy), nameOf(x.RecordedBy)); err != nil {
		return bad("recordedBy: " + err.Error())
	}
	if p.Statement == nil {
		return nil
	}
	kept, err := Parse(x.Keep)
	if err != nil {
		return bad("keep: " + err.Error())
	}
	was, is := Names(p.Statement), Names(kept)
	if len(was) != len(is) {
		return bad("keep has not the things that it ties")
	}
	names, err := Reducible(p.Statement)
	if err != nil {
		return err
	}
	for i := range was {
		if !names && was[i] != is[i] && was[i].Kind != prov.Person {
			return bad("keep: in a statement of its type only persons' names are hidden")
		}
		if err := h.learn(was[i], is[i]); err != nil {
			return bad("keep: " + err.Error())
		}
	}
	want, err := Reduce(p.Statement, h)
	if err != nil {
		return err
	}
	got, err := Reduce(kept, Hide{as: map[prov.Ref]prov.Ref{}})
	if err != nil {
		return err
	}
	if !bytes.Equal(want, got) || !bytes.Equal(want, x.Keep) {
		return bad("keep is not what the rule " + KeepCore + " keeps of it")
	}
	return nil
}

func nameOf(s string) prov.Ref {
	r, _ := prov.ParseRef(s) // a recorder that is no Ref is dropped
	return r
}

// learn notes that a name became another. Persons must, others may, become
// pseudonyms of their kind; nothing else may change.
func (h Hide) learn(was, is prov.Ref) error {
	old, known := h.as[was]
	switch {
	case known && old != is:
		return errors.New("one name has two pseudonyms")
	case was == is && was.Kind == prov.Person && !IsPseudonym(was):
		return errors.New("the name of a person is left")
	case was != is && (is.Kind != was.Kind || is.Version != was.Version || !IsPseudonym(is)):
		return fmt.Errorf("a name became %s, which is no pseudonym of its kind", is)
	}
	h.as[was] = is
	return nil
}

// Stored is what a store holds at one position, erased or not.
type Stored struct {
	RecordedAt time.Time
	RecordedBy string
	Parsed     Parsed
	Erased     bool
	ErasedBy   uint64 // if Erased
}

// ReadStored reads the bytes of an entry, or what is left of one.
func ReadStored(content []byte) (Stored, error) {
	if IsRemainder(content) {
		r, err := ParseRemainder(content)
		return Stored{r.RecordedAt, r.RecordedBy, r.Parsed(), true, r.ErasedBy}, err
	}
	e, err := ParseEntry(content)
	if err != nil {
		return Stored{}, err
	}
	return Stored{RecordedAt: e.RecordedAt, RecordedBy: e.RecordedBy, Parsed: Read(e.Envelope)}, nil
}
