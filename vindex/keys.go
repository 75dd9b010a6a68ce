package vindex

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"

	"github.com/stemma-lineage/stemma/prov"
)

// Relation is what the key of a list stands for: the entries of a list are
// those that stand in this relation to one thing.
type Relation string

// The relations of version stemma-vindex/v1. Each is a list of entries of one
// thing X, by the key of its Ref (or, where it says so, of something else). A
// question that is proved reads these lists and no others.
const (
	// UsedBy: X is what the entry ties another thing to: it was used, deployed,
	// derived from, run as, authenticated with, followed as a plan, …
	UsedBy Relation = "used-by"
	// About: the entry says something of X: what it was made from, when it ran,
	// what it is.
	About Relation = "about"
	// TiedTo: the entry says that X and another thing are the same, or that one
	// is part of the other, or that a registry's name pointed at X.
	TiedTo Relation = "tied-to"
	// Writes: the entry writes or registers a version of the series X.
	Writes Relation = "writes"
	// Versions: the entry names a version of the series X, in any role.
	Versions Relation = "versions"
	// DecidedBy: the entry is a decision on X: approval, rejection, revocation
	// or request.
	DecidedBy Relation = "decided-by"
	// RevokedBy: the entry takes back the approval X.
	RevokedBy Relation = "revoked-by"
	// DeployedTo: the entry deploys to, or retires from, the place X: the key of
	// the environment, a space, and the key of the service.
	DeployedTo Relation = "deployed-to"
	// RetractedBy: the entry retracts the entry whose index is X in decimal.
	RetractedBy Relation = "retracted-by"
	// CopiedBy: the entry holds the envelope whose SHA-256 in hexadecimal is X,
	// and names something by the time of its recording.
	CopiedBy Relation = "copied-by"
	// Unreadable: the entry cannot be read, or its predicate type is not
	// understood. X is the empty text.
	Unreadable Relation = "unreadable"
)

// KeyOf gives the key of a list: SHA-256 over the version line, the relation,
// a zero byte and the text of X.
func KeyOf(rel Relation, x string) Key {
	b := make([]byte, 0, 128)
	b = append(b, "stemma-vindex/v1\n"...)
	b = append(b, rel...)
	b = append(b, 0)
	return sha256.Sum256(append(b, x...))
}

// Keys gives the keys of an entry, sorted, each once: the entry stands in the
// lists of these keys and in no others. It depends on nothing but the content.
// Bytes that are no entry have no keys; a log does not take them.
func Keys(content []byte) []Key {
	r, err := ReadEntry(content)
	if err != nil {
		return nil
	}
	return r.Keys()
}

// Keys gives the keys of the entry that was read.
func (r *Reading) Keys() []Key {
	var out []Key
	r.EachKey(func(rel Relation, x string) { out = append(out, KeyOf(rel, x)) })
	slices.SortFunc(out, func(a, b Key) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(out)
}

// EachKey calls f with what each key of the entry is made of. Some come twice.
func (r *Reading) EachKey(f func(rel Relation, x string)) {
	if r.Unread != "" {
		f(Unreadable, "")
		return
	}
	for _, t := range r.Ties {
		switch t.Type {
		case prov.SameAs, prov.PartOf, prov.NamedBy:
			f(TiedTo, t.From)
			f(TiedTo, t.To.Key)
		case prov.GeneratedBy, prov.GeneratedByStated: // of which the activity's own list tells
			f(About, t.From)
		default:
			f(About, t.From)
			f(UsedBy, t.To.Key)
		}
	}
	for _, x := range r.About {
		f(About, x)
	}
	for _, w := range r.Writes {
		f(Writes, seriesOf(w.Version))
	}
	for _, x := range r.Names {
		if s := seriesOf(x); s != "" {
			f(Versions, s)
		}
	}
	if d := r.Says; d != nil {
		for _, x := range d.Of {
			f(DecidedBy, x)
		}
		if d.Approval.Revokes != "" {
			f(RevokedBy, named(d.Approval.Revokes).Ref.Key())
		}
		if d.Approval.Supersedes != "" {
			f(RevokedBy, named(d.Approval.Supersedes).Ref.Key())
		}
	}
	if r.Placed != nil {
		f(DeployedTo, r.Placed.Place)
	}
	if r.Retracts != nil {
		f(RetractedBy, strconv.FormatUint(*r.Retracts, 10))
	}
	if r.Reused {
		f(CopiedBy, hex.EncodeToString(r.Digest[:]))
	}
}

// seriesOf gives the key of the series that a version belongs to; empty for
// what is no version.
func seriesOf(key string) string {
	r, err := prov.ParseKey(key)
	if err != nil || r.Version == "" {
		return ""
	}
	return r.Series().Key()
}
