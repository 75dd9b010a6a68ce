package statement

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// PayloadType is the payloadType of every envelope: an in-toto statement.
const PayloadType = "application/vnd.in-toto+json"

// MaxEnvelope is the largest envelope, in bytes.
const MaxEnvelope = 16 << 20

// Envelope is a DSSE envelope (DSSE protocol v1.0.0): a payload and
// signatures over its pre-authentication encoding.
type Envelope struct {
	PayloadType string
	Payload     []byte
	Signatures  []Signature
}

// Signature is one signature of an envelope. KeyID is a hint and never
// trusted.
type Signature struct {
	KeyID string
	Sig   []byte
}

type envelopeJSON struct {
	PayloadType string          `json:"payloadType"`
	Payload     string          `json:"payload"`
	Signatures  []signatureJSON `json:"signatures"`
}

type signatureJSON struct {
	KeyID string `json:"keyid,omitempty"`
	Sig   string `json:"sig"`
}

// FormatEnvelope gives the bytes of an envelope: compact JSON, fields in the
// order payloadType, payload, signatures; standard base64 with padding.
func FormatEnvelope(e Envelope) ([]byte, error) {
	j := envelopeJSON{PayloadType: e.PayloadType, Payload: base64.StdEncoding.EncodeToString(e.Payload)}
	for _, s := range e.Signatures {
		j.Signatures = append(j.Signatures, signatureJSON{s.KeyID, base64.StdEncoding.EncodeToString(s.Sig)})
	}
	out, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("formatting envelope: %w", err)
	}
	return out, nil
}

// ParseEnvelope reads an envelope. Duplicate keys are refused; base64 may be
// standard or URL-safe, as DSSE allows; other fields are ignored.
func ParseEnvelope(b []byte) (Envelope, error) {
	if len(b) > MaxEnvelope {
		return Envelope{}, fmt.Errorf("parsing envelope: %d bytes, the limit is %d", len(b), MaxEnvelope)
	}
	var j envelopeJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return Envelope{}, fmt.Errorf("parsing envelope: %w", jsonPlace(err, b))
	}
	if j.PayloadType != PayloadType {
		return Envelope{}, fmt.Errorf("parsing envelope: payloadType is %q, must be %q", j.PayloadType, PayloadType)
	}
	if len(j.Signatures) == 0 {
		return Envelope{}, errors.New("parsing envelope: signatures is empty; sign the statement, for example with stemma record")
	}
	e := Envelope{PayloadType: j.PayloadType}
	var err error
	if e.Payload, err = decode64(j.Payload); err != nil {
		return Envelope{}, fmt.Errorf("parsing envelope: payload: %w", err)
	}
	for i, s := range j.Signatures {
		sig, err := decode64(s.Sig)
		if err != nil {
			return Envelope{}, fmt.Errorf("parsing envelope: signatures[%d]: %w", i, err)
		}
		e.Signatures = append(e.Signatures, Signature{s.KeyID, sig})
	}
	return e, nil
}

func decode64(s string) ([]byte, error) {
	if b, err := base64.StdEncoding.DecodeString(s); err == nil {
		return b, nil
	}
	b, err := base64.URLEncoding.DecodeString(s)
	if err != nil {
		return nil, errors.New("not base64")
	}
	return b, nil
}

// PAE gives the pre-authentication encoding that signatures are made over.
func PAE(payload []byte) []byte { return dsse.PAE(PayloadType, payload) }

// Signer signs pre-authentication encodings.
type Signer interface {
	KeyID() (string, error)
	Sign(ctx context.Context, pae []byte) ([]byte, error)
}

// Ed25519Signer signs with an Ed25519 key (RFC 8032).
type Ed25519Signer struct{ Key ed25519.PrivateKey }

// KeyID gives "ed25519:" and the SHA-256 of the public key in hexadecimal.
func (s Ed25519Signer) KeyID() (string, error) {
	return Ed25519KeyID(s.Key.Public().(ed25519.PublicKey)), nil
}

// Sign signs pae.
func (s Ed25519Signer) Sign(_ context.Context, pae []byte) ([]byte, error) {
	return ed25519.Sign(s.Key, pae), nil
}

// Ed25519KeyID names a public key.
func Ed25519KeyID(pub ed25519.PublicKey) string {
	sum := sha256.Sum256(pub)
	return "ed25519:" + hex.EncodeToString(sum[:])
}

// Sign puts a payload into an envelope signed by every signer.
func Sign(ctx context.Context, payload []byte, signers ...Signer) ([]byte, error) {
	if len(signers) == 0 {
		return nil, errors.New("signing statement: no key is given")
	}
	e := Envelope{PayloadType: PayloadType, Payload: payload}
	pae := PAE(payload)
	for _, s := range signers {
		id, err := s.KeyID()
		if err != nil {
			return nil, fmt.Errorf("signing statement: %w", err)
		}
		sig, err := s.Sign(ctx, pae)
		if err != nil {
			return nil, fmt.Errorf("signing statement with %s: %w", id, err)
		}
		e.Signatures = append(e.Signatures, Signature{id, sig})
	}
	return FormatEnvelope(e)
}
