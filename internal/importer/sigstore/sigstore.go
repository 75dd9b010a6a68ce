// Package sigstore checks the signatures of foreign evidence, offline: Sigstore
// bundles v0.1 to v0.3 and DSSE envelopes, against roots, keys and certificates
// that a person names. It asks nothing of the network, and nothing is trusted
// because it lies beside what it would speak for.
package sigstore

import (
	"errors"

	"github.com/stemma-lineage/stemma/statement"
)

// File is a file of trust material: its name, for messages, and its bytes.
type File struct {
	Name string
	Data []byte
}

// Trust is what signatures are checked against. It is made once and not
// changed. A nil Trust works and trusts nothing.
type Trust struct{}

// NewTrust reads trust material.
func NewTrust(files ...File) (*Trust, error) {
	return nil, errors.New("not built yet")
}

// Opened is what a bundle or envelope holds, and what its signatures are worth.
// Payload is filled in whatever Check says: ask Check before relying on it.
type Opened struct {
	// PayloadType is the DSSE payload type; "" when the bundle signs an
	// artifact that it does not hold.
	PayloadType string
	Payload     []byte
	// Digest is that of the signed artifact, where there is no payload.
	Digest statement.DigestSet
	Check  statement.EvidenceCheck
	Bundle bool // a Sigstore bundle, not a bare envelope
}

// Open reads one Sigstore bundle or DSSE envelope and checks its signatures.
// The error is for what is neither, or malformed; it names the place and the
// mend. What the signatures are worth is in the Check.
func (t *Trust) Open(raw []byte) (Opened, error) {
	return Opened{}, errors.New("not built yet")
}
