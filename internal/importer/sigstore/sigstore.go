// Package sigstore checks the signatures of foreign evidence, offline: Sigstore
// bundles v0.1 to v0.3 (docs.sigstore.dev/about/bundle), DSSE envelopes
// (DSSE v1.0.2) and what wraps them, against roots, keys and certificates that
// a person names. It asks nothing of the network and of the clock, and nothing
// is trusted because it lies beside what it would speak for.
//
// What each result means is in docs/format-sigstore.md.
package sigstore

import (
	"strings"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

const (
	// MaxBundle is the largest bundle or envelope that is opened, in bytes.
	MaxBundle = 32 << 20
	// MaxTrustFile is the largest file of trust material, in bytes.
	MaxTrustFile = 4 << 20
	// maxSignatures is how many signatures of one envelope are looked at.
	maxSignatures = 64
)

// checker is written into the By of every check, so that a reader knows which
// rules were applied.
const checker = "stemma sigstore/1"

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

	// Signer is who the certificate or key says signed; the zero Signer when
	// it says nothing. It is a claim unless Check is verified.
	Signer Signer
	// Time is when the signature existed at the latest, as a transparency log
	// or timestamp authority under a trusted root says; zero when none does.
	Time statement.Time
}

// Signer is who made a signature, as a certificate or key says.
type Signer struct {
	Name   string // subject alternative name, else the certificate's subject
	Kind   string // "email", "uri", "other" or "subject"; "" for a bare key
	Issuer string // who authenticated it (Fulcio OID 1.3.6.1.4.1.57264.1.8)
	Key    string // "sha256:…" of the public key's DER (SubjectPublicKeyInfo)
}

// String gives the signer in one line.
func (s Signer) String() string {
	switch {
	case s.Name != "" && s.Issuer != "":
		return s.Name + " (" + s.Issuer + ")"
	case s.Name != "":
		return s.Name
	case s.Key != "":
		return "public key " + s.Key
	}
	return ""
}

// Ref gives the identity that the name stands for: a person or service account
// for a mail address, a workload for a URI. A bare key and the subject of a
// certificate are credentials, and say nothing of who holds them.
func (s Signer) Ref() prov.Ref {
	switch {
	case s.Kind == "email" && strings.HasSuffix(s.Name, ".gserviceaccount.com"):
		return prov.Ref{Kind: prov.ServiceAccount, Name: s.Name}
	case s.Kind == "email":
		return prov.Ref{Kind: prov.Person, Name: s.Name}
	case s.Kind == "uri" || s.Kind == "other":
		return prov.Ref{Kind: prov.Workload, Name: s.Name}
	case s.Kind == "subject" && s.Name != "":
		return prov.Ref{Kind: prov.Credential, Name: "x509/" + s.Name}
	case s.Key != "":
		return prov.Ref{Kind: prov.Credential, Name: "public-key/" + s.Key}
	}
	return prov.Ref{}
}
