// Package gen makes lineage to test and measure with: histories of realistic
// shape at any size from a seed, and real graphs read from files. Both come as
// statements of our own predicate types, in the order of their recording, so
// that they pass through the same fold as everything else.
//
// # The shape of a made history
//
// Time runs from [Begin] over [Span]. What happens next is drawn from a fixed
// mix: versions of datasets, training runs with their evaluations and
// approvals, agents and deployments, identities with their credentials, tools,
// base models, notices. What an activity reads follows Simon and Yule: mostly
// what was read often before, else what is new. So a few things have very many
// dependents and most have few, as in the model hubs that have been counted
// (HuggingGraph, CIKM 2025; Anatomy of a Machine Learning Ecosystem,
// arXiv:2508.06811). No path is longer than [DepthCap] relations, but for one
// separate chain of any length.
//
// The same options give the same statements, bytes and all.
package gen

import (
	"fmt"
	"iter"
	"time"

	"github.com/stemma-lineage/stemma/statement"
)

// Begin and Span are the time in which a made history happens. Late entries
// and corrections of its last days are recorded after it.
var (
	Begin = time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)
	Span  = 3 * 365 * 24 * time.Hour
)

// DepthCap bounds the longest path outside the chain, in relations.
const DepthCap = 60

// MaxLate is by how much a late entry is recorded after what it tells.
const MaxLate = 115 * 24 * time.Hour

// Options say what to make. Percentages that are zero mean none.
type Options struct {
	Seed uint64
	// Entities is about how many things the folded graph will hold: entities,
	// activities and identities, each version and each series counted.
	Entities int
	// LatePercent of the entries are recorded up to MaxLate after the time
	// that they speak of.
	LatePercent float64
	// CorrectedPercent of the activities are retracted later and told again.
	CorrectedPercent float64
	// DuplicatePercent of the entries come twice; the second changes nothing.
	DuplicatePercent float64
	// UnversionedPercent of the reads of datasets name no version.
	UnversionedPercent float64
	// DigestPercent of the models are written under their digest too.
	DigestPercent float64
	// GovernedPercent of what happens is inventories of accounts and people,
	// runs of agents, delegations, decisions and leaks; see Governed.
	GovernedPercent float64
	// Chain is the length, in relations, of one separate chain of activities,
	// each of which reads what the one before wrote. See ChainFirst.
	Chain int
}

// Typical gives the options of the measured histories.
func Typical(seed uint64, entities int) Options {
	return Options{Seed: seed, Entities: entities, LatePercent: 5, CorrectedPercent: 1, DuplicatePercent: 1,
		UnversionedPercent: 3, DigestPercent: 5, Chain: 10000}
}

// Governed gives the options of the histories in which findings are measured:
// Typical, with a fifth of all that happens about who may do what and does it.
func Governed(seed uint64, entities int) Options {
	o := Typical(seed, entities)
	o.GovernedPercent = 20
	return o
}

// Said is one statement with the time and principal of its recording.
type Said struct {
	Subjects   []statement.Subject
	Predicate  statement.Predicate
	RecordedAt time.Time
	RecordedBy string
}

// Content gives the entry of the log that says it, in an envelope without
// signatures.
func (s Said) Content() ([]byte, error) {
	payload, err := statement.Format(s.Subjects, s.Predicate)
	if err != nil {
		return nil, err
	}
	env, err := statement.Unsigned(payload)
	if err != nil {
		return nil, err
	}
	return statement.FormatEntry(statement.Entry{RecordedAt: s.RecordedAt, RecordedBy: s.RecordedBy, Envelope: env})
}

// Statements yields a made history in the order of recording.
func Statements(o Options) iter.Seq[Said] {
	return func(yield func(Said) bool) { newHistory(o).run(yield) }
}

// Entries yields the contents of the log of a made history.
func Entries(o Options) iter.Seq[[]byte] { return Contents(Statements(o)) }

// Contents yields the entries that say the statements.
func Contents(said iter.Seq[Said]) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for s := range said {
			c, err := s.Content()
			if err != nil {
				panic(fmt.Sprintf("gen: made a statement that cannot be formatted: %v", err))
			}
			if !yield(c) {
				return
			}
		}
	}
}
