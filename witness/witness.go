// Package witness reads what witnesses say about a log: cosigned checkpoints,
// the policy that tells whose word counts, the request that asks for a
// cosignature, what follows about a moment in time, and the evidence of a log
// that has two histories. It is pure: an offline verifier uses it as it is.
//
// Formats: C2SP signed-note, tlog-checkpoint, tlog-cosignature (Ed25519,
// cosignature/v1), tlog-witness and tlog-policy; RFC 6962 section 2.1 for
// roots and proofs. Base64 is strict: stray bits at its end are refused.
package witness

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Errors that callers tell apart.
var (
	ErrCheckpoint = errors.New("the checkpoint does not hold")
	ErrPolicy     = errors.New("the witness policy cannot be used")
	ErrProof      = errors.New("the proof does not hold")
)

// MaxNote is how many bytes a signed checkpoint may have.
const MaxNote = 64 << 10

// Cosignature is the verified word of a witness: at Time, the largest tree of
// this log that it had seen, each continuing the one before, was that of the
// checkpoint (C2SP tlog-cosignature).
type Cosignature struct {
	Witness string    // its name in the policy
	Key     string    // its verifier key
	Time    time.Time // UTC, whole seconds, by the clock of the witness
	Line    string    // the signature line, without a newline
}

// Checkpoint is a checkpoint whose signatures have been verified.
type Checkpoint struct {
	Origin       string
	Tree         tlog.Tree
	Text         string        // what is signed
	Log          string        // the log's signature line
	Cosignatures []Cosignature // of witnesses in the policy, in the policy's order
	Quorum       bool          // whether these meet the policy's quorum
}

// Note gives the signed note: the log's signature and the cosignatures.
func (c Checkpoint) Note() []byte {
	b := []byte(c.Text + "\n" + c.Log + "\n")
	for _, s := range c.Cosignatures {
		b = append(b, s.Line+"\n"...)
	}
	return b
}

// Signed gives the note with the log's signature alone.
func (c Checkpoint) Signed() []byte { return []byte(c.Text + "\n" + c.Log + "\n") }

// Open verifies a signed checkpoint: the log's signature, and those of the
// policy's witnesses. Signatures of others are left out. One of a known key
// that is wrong refuses the whole.
func Open(signed []byte, log note.Verifier, p *Policy) (Checkpoint, error) {
	if len(signed) > MaxNote {
		return Checkpoint{}, fmt.Errorf("%w: it is larger than %d bytes", ErrCheckpoint, MaxNote)
	}
	n, err := note.Open(signed, verifiers{log, p})
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	c, err := parse(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	if c.Origin != log.Name() {
		return Checkpoint{}, fmt.Errorf("%w: it is of log %s, not of %s", ErrCheckpoint, c.Origin, log.Name())
	}
	for _, s := range n.Sigs {
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return Checkpoint{}, fmt.Errorf("%w: signature of %s: %w", ErrCheckpoint, s.Name, err)
		}
		line := "— " + s.Name + " " + s.Base64
		if s.Name == log.Name() && s.Hash == log.KeyHash() {
			c.Log = line
			continue
		}
		w := p.find(s.Name, s.Hash)
		t, err := torchwood.CosignatureTimestamp(s)
		if w == nil || err != nil {
			return Checkpoint{}, fmt.Errorf("%w: signature of %s: %v", ErrCheckpoint, s.Name, err)
		}
		c.Cosignatures = append(c.Cosignatures, Cosignature{Witness: w.Name, Key: w.Key, Time: time.Unix(t, 0).UTC(), Line: line})
	}
	if c.Log == "" {
		return Checkpoint{}, fmt.Errorf("%w: the log has not signed it", ErrCheckpoint)
	}
	slices.SortFunc(c.Cosignatures, func(a, b Cosignature) int { return p.order(a.Witness) - p.order(b.Witness) })
	c.Quorum = p != nil && p.Met(func(name string) bool {
		return slices.ContainsFunc(c.Cosignatures, func(s Cosignature) bool { return s.Witness == name })
	})
	return c, nil
}

// parse reads the text of a checkpoint (C2SP tlog-checkpoint).
func parse(text string) (Checkpoint, error) {
	t, err := torchwood.ParseCheckpoint(text)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	if t.String() != text || t.Origin == "" {
		return Checkpoint{}, fmt.Errorf("%w: it is not in its one written form", ErrCheckpoint)
	}
	if empty, _ := tlog.TreeHash(0, nil); t.N == 0 && t.Hash != empty {
		return Checkpoint{}, fmt.Errorf("%w: it is of an empty tree, and its root is another", ErrCheckpoint)
	}
	return Checkpoint{Origin: t.Origin, Tree: t.Tree, Text: text}, nil
}

// Origin gives the first line of a checkpoint, unverified.
func Origin(signed []byte) string {
	line, _, _ := strings.Cut(string(signed), "\n")
	return line
}

// verifiers knows the log's key and those of the policy.
type verifiers struct {
	log    note.Verifier
	policy *Policy
}

func (v verifiers) Verifier(name string, hash uint32) (note.Verifier, error) {
	if name == v.log.Name() && hash == v.log.KeyHash() {
		return v.log, nil
	}
	if w := v.policy.find(name, hash); w != nil {
		return w.verifier, nil
	}
	return nil, &note.UnknownVerifierError{Name: name, KeyHash: hash}
}

// Consistent checks the proof (RFC 6962 section 2.1.2) that tree b continues
// tree a. The empty tree is continued by every tree, with an empty proof.
func Consistent(a, b tlog.Tree, proof tlog.TreeProof) error {
	switch {
	case a.N > b.N:
		return fmt.Errorf("%w: a tree of %d entries does not continue one of %d", ErrProof, b.N, a.N)
	case a.N == 0 && len(proof) > 0:
		return fmt.Errorf("%w: from the empty tree it must be empty", ErrProof)
	case a.N == 0:
		if empty, _ := tlog.TreeHash(0, nil); a.Hash != empty {
			return fmt.Errorf("%w: the empty tree has another root", ErrProof)
		}
		return nil
	}
	if err := tlog.CheckTree(proof, b.N, b.Hash, a.N, a.Hash); err != nil {
		return fmt.Errorf("%w: the tree of %d entries does not continue that of %d: %w", ErrProof, b.N, a.N, err)
	}
	return nil
}

// SameTree tells whether an unverified signed checkpoint is of the same text
// as c.
func SameTree(signed []byte, c Checkpoint) bool {
	return strings.HasPrefix(string(signed), c.Text+"\n")
}
