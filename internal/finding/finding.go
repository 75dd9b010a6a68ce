// Package finding says what is wrong with what a log tells: detectors L01 to
// L23 look at deployments, approvals, identities, credentials, delegations and
// lineage, and say of each subject that it is violated, clear, or unknown with
// the reason. All of it is a pure function of a view of the graph at a moment.
//
// Unknown is never clear: a detector says clear only where the log tells all
// that it asks for.
package finding

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// Outcome is what a detector says of a subject.
type Outcome string

// The outcomes.
const (
	Violated Outcome = "violated"
	Clear    Outcome = "clear"
	Unknown  Outcome = "unknown"
)

// Severity says how bad a finding is.
type Severity string

// The severities, in order.
const (
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

var severities = []Severity{Low, Medium, High, Critical}

// Rank gives the place of a severity in their order, from 1; 0: none.
func (s Severity) Rank() int { return slices.Index(severities, s) + 1 }

// Severities lists the severities, the least first.
func Severities() []Severity { return slices.Clone(severities) }

// Inputs are what a severity is made of: the base of the detector, one less
// when nothing of it is live in production, one more when ten or more live
// deployments depend on it.
type Inputs struct {
	Base        Severity `json:"base"`
	Environment string   `json:"environment,omitempty"`
	Live        bool     `json:"live"`
	Blast       int      `json:"blast"` // live deployments that depend on the subject, as far as the detector looked
}

// Severity gives the severity that the inputs make.
func (i Inputs) Severity() Severity {
	n := i.Base.Rank()
	if !i.Live || i.Environment != "" && !production(i.Environment) {
		n--
	}
	if i.Blast >= 10 {
		n++
	}
	return severities[min(max(n, 1), len(severities))-1]
}

// Reason is why an outcome is not clear. Class is stable, Detail is for people.
type Reason struct {
	Class  string `json:"class"`
	Detail string `json:"detail"`
}

// Hop is one step of a witness: a relation that an entry tells.
type Hop struct {
	From     string `json:"from"`
	Relation string `json:"relation"`
	To       string `json:"to"`
	Entry    uint64 `json:"entry"`
	Grade    string `json:"grade,omitempty"` // how its source knows, where the entry says

	from, to         graph.ID // what From and To are named after, unless they are given
	fromKind, toKind prov.Kind
}

// Seen is when a finding could first be seen, by the earliest of its causes: At
// is the moment from which the condition held, Entry the last entry that is
// needed to say so, RecordedAt when that one was recorded. Nobody could have
// known before RecordedAt.
type Seen struct {
	At         string `json:"at,omitempty"`
	Entry      uint64 `json:"entry"`
	RecordedAt string `json:"recordedAt"`
}

// Waiver is an exception that counts.
type Waiver struct {
	By     string `json:"by"`
	Until  string `json:"until"`
	Reason string `json:"reason"`
	Entry  uint64 `json:"entry"`
}

// Finding is the outcome of one detector on one subject.
type Finding struct {
	Detector string   `json:"detector"`
	Name     string   `json:"name"`
	Subject  string   `json:"subject"`
	Digest   string   `json:"digest,omitempty"`
	Outcome  Outcome  `json:"outcome"`
	Reasons  []Reason `json:"reasons,omitempty"`
	Witness  []Hop    `json:"witness"`
	Hidden   int      `json:"hidden,omitempty"` // hops and reasons beyond those listed
	Entries  []uint64 `json:"entries"`
	First    *Seen    `json:"firstSeen,omitempty"`
	// Last is the moment at which it was found, RFC 3339: whoever asks fills it
	// in.
	Last        string   `json:"lastSeen,omitempty"`
	Known       string   `json:"known,omitempty"` // of L10: before or after the notice was recorded
	Severity    Severity `json:"severity,omitempty"`
	Inputs      *Inputs  `json:"severityInputs,omitempty"`
	Grade       string   `json:"weakestGrade,omitempty"`
	Owner       string   `json:"owner,omitempty"`
	Waiver      *Waiver  `json:"waiver,omitempty"`
	NotWaived   []string `json:"notWaived,omitempty"` // why waivers do not count
	Controls    []string `json:"controls,omitempty"`
	Fingerprint string   `json:"fingerprint"`

	// Environment is where it matters: of a live deployment in production, if
	// there is one.
	Environment string `json:"environment,omitempty"`
	// ID is the subject in the graph that was asked, and Under what it is about
	// and which live deployments rest on it.
	ID    graph.ID   `json:"-"`
	Under []graph.ID `json:"-"`
}

// maxHops bounds the hops and the reasons of a finding.
const maxHops = 40

// Open tells whether the finding is violated and no waiver for it counts.
func (f *Finding) Open() bool { return f.Outcome == Violated && f.Waiver == nil }

// result is what a check gives. A zero result says that the detector has
// nothing to say of the subject.
type result struct {
	outcome Outcome
	reasons []Reason
	hops    []Hop
	hidden  int
	entries []uint64
	causes  []cause
	known   string
	base    Severity // "": the detector's
	env     string
	live    bool
	blast   int
	about   []graph.ID // on what else a waiver may stand
	under   []graph.ID // the deployments that rest on it
}

func (r *result) add(class, detail string) {
	if len(r.reasons) >= maxHops {
		r.hidden++
		return
	}
	if x := (Reason{class, detail}); !slices.Contains(r.reasons, x) {
		r.reasons = append(r.reasons, x)
	}
}

// bad makes the result violated.
func (r *result) bad(class, detail string) *result {
	r.outcome = Violated
	r.add(class, detail)
	return r
}

// unsure makes the result unknown, unless it is violated.
func (r *result) unsure(class, detail string) *result {
	if r.outcome != Violated {
		r.outcome = Unknown
	}
	r.add(class, detail)
	return r
}

// clear makes the result clear, unless it is anything already.
func (r *result) clear() *result {
	if r.outcome == "" {
		r.outcome = Clear
	}
	return r
}

func (r *result) say(hops ...Hop) {
	for _, h := range hops {
		r.entries = append(r.entries, h.Entry)
		if len(r.hops) >= maxHops {
			r.hidden++
		} else if !slices.Contains(r.hops, h) {
			r.hops = append(r.hops, h)
		}
	}
}

// cause is since when something is wrong, and the last entry that says so; 0:
// the last of all entries of the result.
type cause struct {
	at    prov.Instant
	entry uint64
}

func (r *result) from(t prov.Instant, entries ...uint64) {
	c := cause{at: t}
	for _, e := range entries {
		c.entry = max(c.entry, e)
	}
	r.causes = append(r.causes, c)
}

// fingerprint is the same for a finding as long as the same detector says of
// the same subject that it is wrong in the same way: times and entries do not
// go into it.
func fingerprint(detector string, key []byte, r *result) string {
	var kinds []string
	for _, h := range r.hops {
		kinds = append(kinds, string(h.fromKind)+" "+h.Relation+" "+string(h.toKind))
	}
	slices.Sort(kinds)
	h := sha256.New()
	for _, s := range append([]string{"stemma-finding-1", detector, string(key)}, slices.Compact(kinds)...) {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
