package statement

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The predicate types that order what is kept, and for how long.
const (
	ErasureType = Base + "erasure/v1"
	HoldType    = Base + "hold/v1"
	LogType     = Base + "log/v1"
)

// KeepCore names the rule by which [Reduce] finds what is kept of an entry.
const KeepCore = "core/v1"

// Erasure (erasure/v1) orders that the content of entries, or pieces of
// evidence, be erased for good. The subjects are what is erased, by digest:
// the contents of the entries, then the evidence, in the order of the lists.
//
// The leaf of an erased entry stays in the log, so every proof stands. From
// the order on, and for every earlier log size too, the entry says what Keep
// says and nothing else. The order itself cannot be erased: it must hold no
// personal data.
type Erasure struct {
	Entries []ErasedEntry `json:"entries,omitempty"`
	Blobs   []string      `json:"blobs,omitempty"` // SHA-256 in hexadecimal
	// Rule is how what is kept was found: KeepCore.
	Rule        string     `json:"rule"`
	Reason      string     `json:"reason"`
	LegalBasis  string     `json:"legalBasis"`            // such as "GDPR Art. 17(1)(b)"
	RequestedBy string     `json:"requestedBy,omitempty"` // a reference of the request, no name
	Role        string     `json:"role"`                  // under which the signer orders it
	At          Time       `json:"at,omitzero"`
	Evidence    []Evidence `json:"evidence,omitempty"`
}

// ErasedEntry is one entry that an Erasure takes out, and what is kept of it.
// What it states of the entry can be checked against the log as long as the
// content is there; afterwards Content alone can, by the leaf.
type ErasedEntry struct {
	Entry   uint64 `json:"entry"`
	Content string `json:"content"` // SHA-256 of the entry's bytes, which the leaf commits to
	// Envelope is the SHA-256 of the envelope, by which a copy that is recorded
	// again is known.
	Envelope   string `json:"envelope"`
	RecordedAt string `json:"recordedAt"` // as in the entry
	// RecordedBy is the recorder, a person's name replaced as in Keep.
	RecordedBy string `json:"recordedBy"`
	// Keys are those under which the verifiable index lists the entry, in
	// hexadecimal, ascending, so that roots of the index that were given out stay
	// provable. They are hashes of names: who guesses a name can confirm it.
	Keys []string `json:"keys,omitempty"`
	// Keep is a statement: what the graph may keep. Its form is that of a
	// payload. Without it the entry says nothing, as before: its statement was
	// one that nobody understood.
	Keep jsontext.Value `json:"keep,omitzero"`
}

// PredicateType gives ErasureType.
func (*Erasure) PredicateType() string { return ErasureType }

func (e *Erasure) check(c *checker) {
	if len(e.Entries)+len(e.Blobs) == 0 {
		c.fail("entries", "is empty, and so is blobs; name what is to be erased")
	}
	for _, f := range []struct{ place, text, mend string }{{"reason", e.Reason, "say why it is erased"},
		{"legalBasis", e.LegalBasis, "say on what legal ground"}, {"role", e.Role, "say in which role it is ordered"}} {
		if f.text == "" {
			c.fail(f.place, "is missing; %s", f.mend)
		}
	}
	c.oneOf("rule", e.Rule, KeepCore)
	for i := range e.Entries {
		if i > 0 && e.Entries[i].Entry <= e.Entries[i-1].Entry {
			c.fail(fmt.Sprintf("entries[%d].entry", i), "is %d, after %d; they must ascend", e.Entries[i].Entry, e.Entries[i-1].Entry)
		}
		e.Entries[i].check(c, fmt.Sprintf("entries[%d].", i))
	}
	for i, b := range e.Blobs {
		if !isSHA256(b) || i > 0 && b <= e.Blobs[i-1] {
			c.fail(fmt.Sprintf("blobs[%d]", i), "is %q; SHA-256 digests in hexadecimal must ascend", b)
		}
	}
	c.evidence(e.Evidence)
}

func (e *ErasedEntry) check(c *checker, at string) {
	if !isSHA256(e.Content) {
		c.fail(at+"content", "is %q, no SHA-256 in hexadecimal", e.Content)
	}
	if !isSHA256(e.Envelope) {
		c.fail(at+"envelope", "is %q, no SHA-256 in hexadecimal", e.Envelope)
	}
	if t, err := time.Parse(TimeFormat, e.RecordedAt); err != nil || t.Format(TimeFormat) != e.RecordedAt {
		c.fail(at+"recordedAt", "is %q; it must be written as entries write it", e.RecordedAt)
	}
	for i, k := range e.Keys {
		if !isSHA256(k) || i > 0 && k <= e.Keys[i-1] {
			c.fail(at+"keys", "holds %q; hashes in hexadecimal must ascend", k)
		}
	}
	if len(e.Keep) == 0 || c.err != nil {
		return
	}
	// The type is looked at first: orders within orders are not opened.
	var j statementJSON
	if err := json.Unmarshal(e.Keep, &j); err != nil {
		c.fail(at+"keep", "%w", err)
	} else if j.PredicateType == ErasureType || j.PredicateType == HoldType || j.PredicateType == LogType {
		c.fail(at+"keep.predicateType", "is %s, which cannot be erased", j.PredicateType)
	} else if _, err := Parse(e.Keep); err != nil {
		c.fail(at+"keep", "%w", err)
	}
}

func isSHA256(s string) bool { return len(s) == 64 && isHex(s) }

// States of a Hold.
const (
	HoldSet  = "set"
	HoldLift = "lift"
)

// Hold (hold/v1) sets or lifts a legal hold. While a hold covers an entry or a
// piece of evidence, no order erases it. The subjects are what is held, or the
// log where all is.
type Hold struct {
	State string `json:"state"` // set, lift
	ID    string `json:"id"`    // such as case-17: letters, digits, '-', '.' and '_'
	// All, Entries and Refs say what a hold that is set covers: everything,
	// these entries, and every entry that speaks of one of these things. A Ref
	// without a version covers all versions; one of content covers its names.
	All     bool     `json:"all,omitzero"`
	Entries []uint64 `json:"entries,omitempty"`
	Refs    []string `json:"refs,omitempty"`
	// Blobs are pieces of evidence that are covered, by SHA-256. The evidence
	// of an entry that is covered is covered too.
	Blobs    []string   `json:"blobs,omitempty"`
	Reason   string     `json:"reason"`
	Role     string     `json:"role"`
	At       Time       `json:"at,omitzero"`
	Evidence []Evidence `json:"evidence,omitempty"`
}

// PredicateType gives HoldType.
func (*Hold) PredicateType() string { return HoldType }

func (h *Hold) check(c *checker) {
	c.oneOf("state", h.State, HoldSet, HoldLift)
	if h.ID == "" || len(h.ID) > 100 || strings.Trim(h.ID, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") != "" {
		c.fail("id", "is %q; name the hold with letters, digits, '-', '.' and '_', such as case-17", h.ID)
	}
	if h.Reason == "" {
		c.fail("reason", "is missing; say why it is held, or why no longer")
	}
	if h.Role == "" {
		c.fail("role", "is missing; say in which role it is ordered")
	}
	scope := len(h.Entries) + len(h.Refs) + len(h.Blobs)
	switch {
	case h.State == HoldLift && (h.All || scope > 0):
		c.fail("refs", "a hold is lifted as a whole; name what stays held in a new one first")
	case h.State == HoldSet && !h.All && scope == 0:
		c.fail("refs", "is empty; say what is held, or all")
	case h.All && scope > 0:
		c.fail("refs", "is given, but all is held")
	}
	for i, r := range h.Refs {
		c.resource(fmt.Sprintf("refs[%d]", i), Resource{Ref: r})
	}
	for i, b := range h.Blobs {
		if !isSHA256(b) {
			c.fail(fmt.Sprintf("blobs[%d]", i), "is %q, no SHA-256 in hexadecimal", b)
		}
	}
	c.evidence(h.Evidence)
}

// States of a LogState.
const (
	LogClosed = "closed"
	LogOpened = "opened"
)

// LogState (log/v1) says something of the log that it stands in. Closed: it is
// the last entry, but for orders of erasure and holds. Opened: it is the first
// entry, and the log continues another, the predecessor.
type LogState struct {
	State       string       `json:"state"` // closed, opened
	Origin      string       `json:"origin"`
	Predecessor *Predecessor `json:"predecessor,omitempty"`
	Reason      string       `json:"reason,omitempty"`
	At          Time         `json:"at,omitzero"`
	Evidence    []Evidence   `json:"evidence,omitempty"`
}

// Predecessor names a log as it stood when its successor began.
type Predecessor struct {
	Origin     string `json:"origin"`
	Size       uint64 `json:"size"`
	Root       string `json:"root"`       // hexadecimal, of the tree of that size
	Key        string `json:"key"`        // the log's public key, as verifiers take it
	Checkpoint string `json:"checkpoint"` // C2SP tlog-checkpoint of that size, signed by the key
}

// PredicateType gives LogType.
func (*LogState) PredicateType() string { return LogType }

func (l *LogState) check(c *checker) {
	c.oneOf("state", l.State, LogClosed, LogOpened)
	if l.Origin == "" {
		c.fail("origin", "is missing; name the log")
	}
	p := l.Predecessor
	switch {
	case l.State == LogClosed && p != nil:
		c.fail("predecessor", "is given, but the log is closed")
	case l.State == LogOpened && p == nil:
		c.fail("predecessor", "is missing; name the log that this one continues")
	case p == nil:
	case p.Origin == "" || p.Key == "" || p.Checkpoint == "":
		c.fail("predecessor", "its origin, key and checkpoint must all be given")
	case !isSHA256(p.Root):
		c.fail("predecessor.root", "is %q, no hash in hexadecimal", p.Root)
	}
	c.evidence(l.Evidence)
}

func digest32(s string) (d [32]byte) {
	_, _ = hex.Decode(d[:], []byte(s)) // checked by isSHA256
	return d
}
