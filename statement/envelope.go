package statement

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// PayloadType is the DSSE payload type of every statement (in-toto attestation
// spec v1, "Envelope").
const PayloadType = "application/vnd.in-toto+json"

// Limits of an envelope. What is larger is refused, never cut.
const (
	// MaxEnvelope is the largest envelope, in bytes of JSON.
	MaxEnvelope = 16 << 20
	// MaxSignatures is the largest number of signatures of one envelope. It
	// bounds the work that an unknown sender can ask of a verifier.
	MaxSignatures = 64
	// MaxSignature is the largest signature, in bytes after base64 decoding.
	MaxSignature = 64 << 10
	// MaxKeyID is the longest keyid and the longest payload type, in bytes.
	MaxKeyID = 1024
)

// ErrEnvelope is wrapped by every error of [ParseEnvelope].
var ErrEnvelope = errors.New("not a DSSE envelope")

// Envelope is a parsed DSSE envelope (DSSE v1.0.2, envelope.md). The bytes
// that it was parsed from stay what is stored, hashed and handed on; this is a
// reading of them.
type Envelope struct {
	PayloadType string
	Payload     []byte // decoded
	// Signatures may be empty: an unsigned statement travels in an envelope
	// without signatures and never verifies.
	Signatures []Signature
}

// Signature is one signature of an envelope, over its [Envelope.PAE].
type Signature struct {
	KeyID string // a hint for finding the key; nobody vouches for it
	Sig   []byte // decoded: 64 bytes of Ed25519, or an armored SSHSIG
}

// PAE gives the bytes that are signed: the pre-authentication encoding of
// payload type and payload (DSSE v1.0.2, protocol.md, "Signature Definition").
func (e *Envelope) PAE() []byte {
	b := make([]byte, 0, 64+len(e.PayloadType)+len(e.Payload))
	b = append(strconv.AppendInt(append(b, "DSSEv1 "...), int64(len(e.PayloadType)), 10), ' ')
	b = append(append(b, e.PayloadType...), ' ')
	b = append(strconv.AppendInt(b, int64(len(e.Payload)), 10), ' ')
	return append(b, e.Payload...)
}

// FormatEnvelope gives the canonical bytes of an envelope: compact JSON, the
// fields in the order payloadType, payload, signatures (keyid, sig), standard
// base64 with padding, no character escaped that JSON does not ask for.
func FormatEnvelope(e *Envelope) ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("formatting envelope: %w", err)
	}
	size := 64 + len(e.PayloadType) + base64.StdEncoding.EncodedLen(len(e.Payload))
	for _, s := range e.Signatures {
		size += 32 + len(s.KeyID) + base64.StdEncoding.EncodedLen(len(s.Sig))
	}
	b := make([]byte, 0, size)
	b = append(b, `{"payloadType":`...)
	b, err := jsontext.AppendQuote(b, e.PayloadType)
	if err != nil {
		return nil, fmt.Errorf("formatting envelope: payloadType: %w", err)
	}
	b = append(b, `,"payload":"`...)
	b = base64.StdEncoding.AppendEncode(b, e.Payload)
	b = append(b, `","signatures":[`...)
	for i, s := range e.Signatures {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"keyid":`...)
		if b, err = jsontext.AppendQuote(b, s.KeyID); err != nil {
			return nil, fmt.Errorf("formatting envelope: signatures[%d].keyid: %w", i, err)
		}
		b = append(b, `,"sig":"`...)
		b = base64.StdEncoding.AppendEncode(b, s.Sig)
		b = append(b, `"}`...)
	}
	b = append(b, `]}`...)
	if len(b) > MaxEnvelope {
		return nil, fmt.Errorf("formatting envelope: %d bytes, the limit is %d; keep large content as evidence", len(b), MaxEnvelope)
	}
	return b, nil
}

func (e *Envelope) check() error {
	if e.PayloadType == "" || len(e.PayloadType) > MaxKeyID || !utf8.ValidString(e.PayloadType) {
		return fmt.Errorf("payloadType must be 1 to %d bytes of UTF-8", MaxKeyID)
	}
	if len(e.Signatures) > MaxSignatures {
		return fmt.Errorf("%d signatures, the limit is %d", len(e.Signatures), MaxSignatures)
	}
	for i, s := range e.Signatures {
		if len(s.Sig) == 0 || len(s.Sig) > MaxSignature {
			return fmt.Errorf("signatures[%d].sig is %d bytes, must be 1 to %d", i, len(s.Sig), MaxSignature)
		}
		if len(s.KeyID) > MaxKeyID {
			return fmt.Errorf("signatures[%d].keyid is longer than %d bytes", i, MaxKeyID)
		}
	}
	return nil
}

// Pointers and the rest, because a field that is missing, null or written in
// another case must not read as an empty one.
type envelopeJSON struct {
	PayloadType *string                   `json:"payloadType"`
	Payload     *string                   `json:"payload"`
	Signatures  *[]signatureJSON          `json:"signatures"`
	Rest        map[string]jsontext.Value `json:",embed"`
}

type signatureJSON struct {
	KeyID string                    `json:"keyid"`
	Sig   *string                   `json:"sig"`
	Rest  map[string]jsontext.Value `json:",embed"`
}

// ParseEnvelope reads an envelope of ours or of others. It refuses what two
// readers could understand differently: duplicate keys, keys that differ from
// the known ones in case only, invalid UTF-8, anything after the object,
// base64 with line breaks, missing padding or stray bits. Both base64
// alphabets are read, and other unknown fields are ignored (DSSE v1.0.2,
// envelope.md, "Parsing rules"). It verifies nothing.
func ParseEnvelope(data []byte) (*Envelope, error) {
	e, err := parseEnvelope(data)
	if err != nil {
		return nil, fmt.Errorf("parsing envelope: %w: %w", ErrEnvelope, jsonPlace(err, data))
	}
	return e, nil
}

func parseEnvelope(data []byte) (*Envelope, error) {
	if len(data) > MaxEnvelope {
		return nil, fmt.Errorf("%d bytes, the limit is %d; keep large content as evidence", len(data), MaxEnvelope)
	}
	e, ok := envelopePlain(data)
	if !ok {
		var err error
		if e, err = envelopeLibrary(data); err != nil {
			return nil, err
		}
	}
	return e, e.check()
}

// envelopeLibrary reads any JSON that says an envelope; it does not check it.
func envelopeLibrary(data []byte) (*Envelope, error) {
	var j envelopeJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, err
	}
	if err := sameButForCase(j.Rest, "payloadType", "payload", "signatures"); err != nil {
		return nil, err
	}
	switch {
	case j.PayloadType == nil:
		return nil, errors.New("payloadType is missing")
	case j.Payload == nil:
		return nil, errors.New("payload is missing")
	case j.Signatures == nil:
		return nil, errors.New("signatures is missing; an unsigned envelope has an empty list")
	}
	e := &Envelope{PayloadType: *j.PayloadType}
	var err error
	if e.Payload, err = decodeBase64(*j.Payload); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	if len(*j.Signatures) > 0 {
		e.Signatures = make([]Signature, len(*j.Signatures))
	}
	for i, s := range *j.Signatures {
		if err := sameButForCase(s.Rest, "keyid", "sig"); err != nil {
			return nil, fmt.Errorf("signatures[%d]: %w", i, err)
		}
		if s.Sig == nil {
			return nil, fmt.Errorf("signatures[%d].sig is missing", i)
		}
		sig, err := decodeBase64(*s.Sig)
		if err != nil {
			return nil, fmt.Errorf("signatures[%d].sig: %w", i, err)
		}
		e.Signatures[i] = Signature{KeyID: s.KeyID, Sig: sig}
	}
	return e, nil
}

// sameButForCase refuses a key that a lenient reader takes for a known one.
func sameButForCase(rest map[string]jsontext.Value, known ...string) error {
	for k := range rest {
		for _, name := range known {
			if strings.EqualFold(k, name) {
				return fmt.Errorf("key %q must be written %q", k, name)
			}
		}
	}
	return nil
}

var (
	stdBase64 = base64.StdEncoding.Strict()
	urlBase64 = base64.URLEncoding.Strict()
)

func decodeBase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("base64 has a line break") // the decoder would skip it
	}
	enc := stdBase64
	if strings.ContainsAny(s, "-_") {
		enc = urlBase64
	}
	b, err := enc.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("decoding base64: %w", err)
	}
	return b, nil
}

// Signer signs the PAE of an envelope. Every Signer is a dsse.Signer too. Its
// KeyID is a hint for verifiers and is never trusted.
type Signer interface {
	// Sign returns the bytes for the sig field. Hashing is its own affair.
	Sign(ctx context.Context, pae []byte) ([]byte, error)
	KeyID() (string, error)
	Public() PublicKey
}

// Sign puts the payload of a statement into an envelope, signs it with every
// signer, and returns the envelope's canonical bytes.
func Sign(ctx context.Context, payload []byte, signers ...Signer) ([]byte, error) {
	if len(payload) == 0 {
		return nil, errors.New("signing statement: the payload is empty")
	}
	seen := map[string]bool{}
	list := make([]dsse.Signer, len(signers))
	for i, s := range signers {
		if s == nil {
			return nil, fmt.Errorf("signing statement: signer %d is nil", i)
		}
		if m := s.Public().material; m == "" || seen[m] {
			return nil, fmt.Errorf("signing statement: the key of signer %d is missing or given twice", i)
		} else {
			seen[m] = true
		}
		list[i] = s
	}
	es, err := dsse.NewEnvelopeSigner(list...)
	if err != nil {
		return nil, fmt.Errorf("signing statement: %w", err)
	}
	d, err := es.SignPayload(ctx, PayloadType, payload)
	if err != nil {
		return nil, fmt.Errorf("signing statement: %w", err)
	}
	e := &Envelope{PayloadType: d.PayloadType, Payload: payload}
	for _, s := range d.Signatures {
		sig, err := decodeBase64(s.Sig)
		if err != nil {
			return nil, fmt.Errorf("signing statement: %w", err)
		}
		e.Signatures = append(e.Signatures, Signature{KeyID: s.KeyID, Sig: sig})
	}
	return FormatEnvelope(e)
}

// Unsigned puts the payload of a statement into an envelope without
// signatures. It never verifies; it exists so that what is imported without a
// signature is kept in the same form as all else.
func Unsigned(payload []byte) ([]byte, error) {
	return FormatEnvelope(&Envelope{PayloadType: PayloadType, Payload: payload})
}

// KeyKind tells how a key signs.
type KeyKind string

// The kinds of keys.
const (
	// KeyEd25519 signs the PAE itself: pure Ed25519 (RFC 8032 section 5.1).
	KeyEd25519 KeyKind = "ed25519"
	// KeySSH signs by SSHSIG (OpenSSH PROTOCOL.sshsig) in [SSHNamespace].
	KeySSH KeyKind = "ssh"
)

// PublicKey is a key that signatures are verified with. The zero value
// verifies nothing.
type PublicKey struct {
	kind KeyKind
	ed   ed25519.PublicKey
	ssh  sshPublicKey
	id   string
	// material is equal for keys that one secret answers to, whatever their
	// form: the same Ed25519 key as "ed25519" and as "ssh-ed25519" is one key.
	material string
}

// Ed25519Key makes a PublicKey of the 32 raw bytes. It refuses points of small
// order and encodings that are not canonical, because with those anybody, or
// some verifiers and not others, would find signatures that verify.
func Ed25519Key(raw []byte) (PublicKey, error) {
	if err := checkEd25519(raw); err != nil {
		return PublicKey{}, err
	}
	raw = append([]byte(nil), raw...)
	sum := sha256.Sum256(raw)
	return PublicKey{
		kind: KeyEd25519, ed: raw,
		id:       "ed25519:" + hex.EncodeToString(sum[:]),
		material: "ed25519:" + string(raw),
	}, nil
}

// Kind tells how the key signs; "" for the zero value.
func (k PublicKey) Kind() KeyKind { return k.kind }

// KeyID gives the keyid that signatures of the key carry: "ed25519:" and the
// SHA-256 of the raw key in hexadecimal, or for an SSH key its OpenSSH
// fingerprint ("SHA256:…").
func (k PublicKey) KeyID() string { return k.id }

// Same tells whether one secret answers to both keys.
func (k PublicKey) Same(o PublicKey) bool { return k.material != "" && k.material == o.material }

// Crypto gives the key in the types of the standard library.
func (k PublicKey) Crypto() crypto.PublicKey {
	switch k.kind {
	case KeyEd25519:
		return k.ed
	case KeySSH:
		return k.ssh.crypto()
	}
	return nil
}

// String gives the key as a trust list writes it: "ed25519 <base64>" or
// "ssh-… <base64>".
func (k PublicKey) String() string {
	switch k.kind {
	case KeyEd25519:
		return "ed25519 " + base64.StdEncoding.EncodeToString(k.ed)
	case KeySSH:
		return k.ssh.String()
	}
	return ""
}

// Verify checks one signature over a PAE.
func (k PublicKey) Verify(pae, sig []byte) error {
	switch k.kind {
	case KeyEd25519:
		if len(sig) != ed25519.SignatureSize || !ed25519.Verify(k.ed, pae, sig) {
			return errors.New("the Ed25519 signature does not verify")
		}
		return nil
	case KeySSH:
		s, err := parseSSHSIG(sig)
		if err != nil {
			return err
		}
		return s.verify(pae, k.ssh)
	}
	return errors.New("there is no key to verify with")
}

// lowOrder lists the canonical encodings of the points whose order divides 8,
// without the sign bit.
var lowOrder = [...]string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

func checkEd25519(raw []byte) error {
	if len(raw) != ed25519.PublicKeySize {
		return fmt.Errorf("an Ed25519 key is %d bytes, this has %d", ed25519.PublicKeySize, len(raw))
	}
	y := append([]byte(nil), raw...)
	y[31] &= 0x7f
	text := hex.EncodeToString(y)
	for _, l := range lowOrder {
		if text == l {
			return errors.New("the Ed25519 key is a point of small order, for which anybody can sign")
		}
	}
	// y >= p = 2^255 - 19 is an encoding that RFC 8032 section 5.1.3 refuses.
	if y[0] >= 0xed && y[31] == 0x7f && strings.Trim(text[2:62], "f") == "" {
		return errors.New("the Ed25519 key is not in canonical form")
	}
	return nil
}

type ed25519Signer struct {
	private ed25519.PrivateKey
	public  PublicKey
}

// NewEd25519Signer signs with an Ed25519 private key.
func NewEd25519Signer(private ed25519.PrivateKey) (Signer, error) {
	if len(private) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("making signer: an Ed25519 private key is %d bytes, this has %d", ed25519.PrivateKeySize, len(private))
	}
	public, err := Ed25519Key(private[32:])
	if err != nil {
		return nil, fmt.Errorf("making signer: %w", err)
	}
	return &ed25519Signer{private, public}, nil
}

func (s *ed25519Signer) KeyID() (string, error) { return s.public.id, nil }
func (s *ed25519Signer) Public() PublicKey      { return s.public }

func (s *ed25519Signer) Sign(_ context.Context, pae []byte) ([]byte, error) {
	return ed25519.Sign(s.private, pae), nil
}
