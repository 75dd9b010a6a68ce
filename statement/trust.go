package statement

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"github.com/stemma-lineage/stemma/prov"
)

// MaxTrust is the largest trust list, in bytes.
const MaxTrust = 4 << 20

// TrustedKey says that, from ValidFrom until before ValidUntil, signatures by
// Public are those of Principal.
type TrustedKey struct {
	Principal  string // the Ref of an identity, such as person:ann@acme.example
	Public     PublicKey
	ValidFrom  time.Time // zero: no beginning
	ValidUntil time.Time // zero: no end; the instant itself is outside
}

// String gives the key as a line of a trust list, without the newline.
func (k TrustedKey) String() string {
	s := k.Principal + " " + k.Public.String()
	if !k.ValidFrom.IsZero() {
		s += " valid-from=" + k.ValidFrom.UTC().Format(time.RFC3339Nano)
	}
	if !k.ValidUntil.IsZero() {
		s += " valid-until=" + k.ValidUntil.UTC().Format(time.RFC3339Nano)
	}
	return s
}

func (k TrustedKey) check() error {
	if err := CheckPrincipal(k.Principal); err != nil {
		return err
	}
	if k.Public.kind == "" {
		return errors.New("the public key is missing")
	}
	if !k.ValidFrom.IsZero() && !k.ValidUntil.IsZero() && !k.ValidUntil.After(k.ValidFrom) {
		return errors.New("valid-until is not after valid-from")
	}
	return nil
}

// CheckPrincipal tells whether text is the Ref of an identity in its one
// spelling.
func CheckPrincipal(text string) error {
	ref, err := prov.ParseRef(text)
	if err != nil {
		return fmt.Errorf("principal: %w", err)
	}
	if ref.Class() != prov.ClassIdentity {
		return fmt.Errorf("principal %q is not an identity; write person:NAME, team:NAME, sa:NAME or another kind of identity", text)
	}
	if ref.String() != text {
		return fmt.Errorf("principal %q must be written %q", text, ref.String())
	}
	return nil
}

// Trust is a list of keys and whose they are. It is made once and not changed,
// so any number of goroutines may verify with it; keys are parsed when it is
// made. A nil Trust knows nobody.
type Trust struct {
	keys       []TrustedKey
	byID       map[string]int // keyid to index in keys
	byMaterial map[string]int
	ed         []int // indexes of the Ed25519 keys
}

// NewTrust makes a trust list. A key may be listed once only: a key of two
// principals would let one person approve as another.
func NewTrust(keys ...TrustedKey) (*Trust, error) {
	t := newTrust()
	for i, k := range keys {
		if err := t.add(k); err != nil {
			return nil, fmt.Errorf("making trust list: key %d: %w", i, err)
		}
	}
	return t, nil
}

func newTrust() *Trust { return &Trust{byID: map[string]int{}, byMaterial: map[string]int{}} }

func (t *Trust) add(k TrustedKey) error {
	if err := k.check(); err != nil {
		return err
	}
	if i, ok := t.byMaterial[k.Public.material]; ok {
		return fmt.Errorf("the key is listed already, for %s; one key belongs to one principal", t.keys[i].Principal)
	}
	i := len(t.keys)
	t.keys = append(t.keys, k)
	t.byID[k.Public.id] = i
	t.byMaterial[k.Public.material] = i
	if k.Public.kind == KeyEd25519 {
		t.ed = append(t.ed, i)
	}
	return nil
}

// Keys gives the keys in the order of the list.
func (t *Trust) Keys() []TrustedKey {
	if t == nil {
		return nil
	}
	return append([]TrustedKey(nil), t.keys...)
}

// Find gives the key with the given keyid.
func (t *Trust) Find(keyID string) (TrustedKey, bool) {
	if t == nil {
		return TrustedKey{}, false
	}
	i, ok := t.byID[keyID]
	if !ok {
		return TrustedKey{}, false
	}
	return t.keys[i], true
}

// LineError says on which line of a text something is wrong.
type LineError struct {
	Line int // from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }

// ParseTrust reads a trust list: one key a line, fields apart by spaces,
//
//	<principal> ed25519 <base64 of the raw key> [valid-from=TIME] [valid-until=TIME] [# comment]
//	<principal> <SSH key type> <base64 as in a .pub file> [valid-from=TIME] [valid-until=TIME] [# comment]
//
// Empty lines and lines that begin with '#' are skipped. Times are RFC 3339
// with a zone. Every error is a [*LineError], or says that the whole is too
// large or not UTF-8.
func ParseTrust(text []byte) (*Trust, error) {
	if len(text) > MaxTrust {
		return nil, fmt.Errorf("reading trust list: %d bytes, the limit is %d", len(text), MaxTrust)
	}
	if !utf8.Valid(text) {
		return nil, errors.New("reading trust list: not UTF-8 text")
	}
	t := newTrust()
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		k, err := ParseTrustedKey(line)
		if err == nil {
			err = t.add(k)
		}
		if err != nil {
			return nil, fmt.Errorf("reading trust list: %w", &LineError{n, err})
		}
	}
	return t, nil
}

// FormatTrust gives the text of a trust list. Comments of a text that it was
// parsed from are not kept: to add a key to a file, append a line.
func FormatTrust(t *Trust) []byte {
	var b bytes.Buffer
	for _, k := range t.Keys() {
		b.WriteString(k.String())
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// ParseTrustedKey reads one line of a trust list.
func ParseTrustedKey(line string) (TrustedKey, error) {
	f := strings.Fields(line)
	if len(f) < 3 {
		return TrustedKey{}, errors.New("write: <principal> <key type> <key in base64>, for example person:ann@acme.example ed25519 AAAA…")
	}
	k := TrustedKey{Principal: f[0]}
	var err error
	if k.Public, err = ParsePublicKey(f[1], f[2]); err != nil {
		return TrustedKey{}, err
	}
	for _, opt := range f[3:] {
		if opt[0] == '#' {
			break
		}
		name, value, _ := strings.Cut(opt, "=")
		var to *time.Time
		switch name {
		case "valid-from":
			to = &k.ValidFrom
		case "valid-until":
			to = &k.ValidUntil
		default:
			return TrustedKey{}, fmt.Errorf("option %q is not known; the options are valid-from=TIME and valid-until=TIME, and a comment begins with #", opt)
		}
		if !to.IsZero() {
			return TrustedKey{}, fmt.Errorf("%s is given twice", name)
		}
		at, err := time.Parse(time.RFC3339Nano, value)
		if err != nil || at.IsZero() {
			return TrustedKey{}, fmt.Errorf("%s: %q is not an RFC 3339 time with a zone, such as 2026-01-31T00:00:00Z", name, value)
		}
		*to = at.UTC()
	}
	return k, k.check()
}

// ParsePublicKey reads a key type and a key in base64, as the second and third
// field of a trust list's line.
func ParsePublicKey(typ, key string) (PublicKey, error) {
	if typ != string(KeyEd25519) && !sshKeyTypes[typ] {
		return PublicKey{}, fmt.Errorf("key type %q is not known; the types are ed25519, ssh-ed25519, ecdsa-sha2-nistp256, sk-ssh-ed25519@openssh.com and ssh-rsa", typ)
	}
	raw, err := stdBase64.DecodeString(key)
	if err != nil {
		return PublicKey{}, fmt.Errorf("the %s key: decoding base64: %w", typ, err)
	}
	if typ == string(KeyEd25519) {
		if len(raw) == 51 && bytes.HasPrefix(raw, []byte("\x00\x00\x00\x0bssh-ed25519")) {
			return PublicKey{}, errors.New("this is an SSH key: write ssh-ed25519 instead of ed25519")
		}
		return Ed25519Key(raw)
	}
	pub, err := ssh.ParsePublicKey(raw)
	if err != nil {
		return PublicKey{}, fmt.Errorf("the %s key: %w", typ, err)
	}
	if pub.Type() != typ {
		return PublicKey{}, fmt.Errorf("the line says %s, the key is of type %s", typ, pub.Type())
	}
	k, err := SSHKey(pub)
	if err == nil && k.ssh.String() != typ+" "+base64.StdEncoding.EncodeToString(raw) {
		return PublicKey{}, fmt.Errorf("the %s key is not in canonical form", typ)
	}
	return k, err
}

// SignatureStatus is what became of one signature.
type SignatureStatus string

// The statuses. Only SignatureVerified is a yes.
const (
	// SignatureVerified: by a trusted key, within its validity.
	SignatureVerified SignatureStatus = "verified"
	// SignatureUnknownKey: by no trusted key. It may be good; nobody here can tell.
	SignatureUnknownKey SignatureStatus = "unknown-key"
	// SignatureBad: it names a key and is not that key's signature over this
	// content, or is no signature over a statement at all.
	SignatureBad SignatureStatus = "bad"
	// SignatureExpiredKey: by a trusted key, outside its validity.
	SignatureExpiredKey SignatureStatus = "expired-key"
)

// SignatureResult is the verification of one signature.
type SignatureResult struct {
	// KeyID is that of the trusted key when the status is verified or
	// expired-key, else the unproven hint in the envelope.
	KeyID string
	// Principal is whose key it is when the status is verified or
	// expired-key, else "".
	Principal string
	Status    SignatureStatus
	Reason    string // why it is not verified, as a clause; "" when it is
}

// Verification is the result of verifying an envelope: one result for each of
// its signatures, in order.
type Verification struct {
	// Payload is the statement, filled in whatever the results say: ask
	// Verified before relying on it.
	Payload    []byte
	Signatures []SignatureResult
}

// Verified tells whether at least one signature is verified and none is bad.
// A signature by an unknown or expired key neither helps nor harms.
func (v Verification) Verified() bool {
	yes := false
	for _, s := range v.Signatures {
		switch s.Status {
		case SignatureVerified:
			yes = true
		case SignatureBad:
			return false
		}
	}
	return yes
}

// Principals gives the distinct principals with a verified signature, sorted;
// none when a signature is bad. Two keys of one principal are one voice.
func (v Verification) Principals() []string {
	return v.distinct(func(s SignatureResult) string { return s.Principal })
}

// Keys gives the distinct keyids of the verified signatures, sorted; none when
// a signature is bad. The same key twice is one.
func (v Verification) Keys() []string {
	return v.distinct(func(s SignatureResult) string { return s.KeyID })
}

func (v Verification) distinct(of func(SignatureResult) string) []string {
	if !v.Verified() {
		return nil
	}
	var out []string
	seen := map[string]bool{}
	for _, s := range v.Signatures {
		if name := of(s); s.Status == SignatureVerified && !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	sort.Strings(out)
	return out
}

// Verify parses an envelope and verifies its signatures. The instant at is
// that at which keys must be valid; for an entry of a log it is the entry's
// RecordedAt, which the signer does not choose. An error means that the bytes
// are no envelope; what the signatures are worth is in the result.
func Verify(envelope []byte, trust *Trust, at time.Time) (Verification, error) {
	e, err := ParseEnvelope(envelope)
	if err != nil {
		return Verification{}, err
	}
	return e.Verify(trust, at), nil
}

// Verify verifies the signatures of a parsed envelope, as the function Verify.
//
// The verifier of the DSSE library is not used: it skips a key whose id is not
// the keyid of the signature, so a wrong hint hides a good signature, and it
// does not say why a signature was not accepted.
func (e *Envelope) Verify(trust *Trust, at time.Time) Verification {
	v := Verification{Payload: e.Payload, Signatures: make([]SignatureResult, len(e.Signatures))}
	if trust == nil {
		trust = &Trust{}
	}
	if e.PayloadType != PayloadType {
		for i, s := range e.Signatures {
			v.Signatures[i] = SignatureResult{KeyID: s.KeyID, Status: SignatureBad,
				Reason: fmt.Sprintf("the payload type is %q, a statement's is %q", e.PayloadType, PayloadType)}
		}
		return v
	}
	pae := e.PAE()
	for i, s := range e.Signatures {
		if isSSHSIG(s.Sig) {
			v.Signatures[i] = trust.verifySSH(pae, s, at)
		} else {
			v.Signatures[i] = trust.verifyEd25519(pae, s, at)
		}
	}
	return v
}

// verifySSH uses the key inside the signature to find the trusted one; the
// keyid is not looked at.
func (t *Trust) verifySSH(pae []byte, s Signature, at time.Time) SignatureResult {
	r := SignatureResult{KeyID: s.KeyID, Status: SignatureBad}
	sig, err := parseSSHSIG(s.Sig)
	if err != nil {
		r.Reason = err.Error()
		return r
	}
	// Checked for unknown keys too, so that a broken signature is called bad
	// by everybody.
	if err := sig.verify(pae, sig.key.ssh); err != nil {
		r.Reason = err.Error()
		return r
	}
	i, ok := t.byMaterial[sig.key.material]
	if !ok || t.keys[i].Public.kind != KeySSH {
		r.Status = SignatureUnknownKey
		r.Reason = fmt.Sprintf("SSH key %s is not in the trust list", sig.key.id)
		return r
	}
	return t.keys[i].accept(at)
}

// verifyEd25519 tries the key that the keyid names, then the others.
func (t *Trust) verifyEd25519(pae []byte, s Signature, at time.Time) SignatureResult {
	hint, named := t.byID[s.KeyID]
	if named && t.keys[hint].Public.Verify(pae, s.Sig) == nil {
		return t.keys[hint].accept(at)
	}
	r := SignatureResult{KeyID: s.KeyID, Status: SignatureUnknownKey}
	if len(s.Sig) == 64 {
		for _, i := range t.ed {
			if (!named || i != hint) && t.keys[i].Public.Verify(pae, s.Sig) == nil {
				return t.keys[i].accept(at)
			}
		}
		r.Reason = "no key of the trust list verifies it"
	} else {
		r.Reason = fmt.Sprintf("%d bytes, neither an Ed25519 signature nor an SSH signature", len(s.Sig))
	}
	if named {
		r.Status = SignatureBad
		r.Reason = fmt.Sprintf("it names the key of %s, which did not sign this content", t.keys[hint].Principal)
	}
	return r
}

func (k TrustedKey) accept(at time.Time) SignatureResult {
	r := SignatureResult{KeyID: k.Public.id, Principal: k.Principal, Status: SignatureVerified}
	switch {
	case !k.ValidFrom.IsZero() && at.Before(k.ValidFrom):
		r.Status = SignatureExpiredKey
		r.Reason = "the key is valid only from " + k.ValidFrom.Format(time.RFC3339Nano)
	case !k.ValidUntil.IsZero() && !at.Before(k.ValidUntil):
		r.Status = SignatureExpiredKey
		r.Reason = "the key was valid only until " + k.ValidUntil.Format(time.RFC3339Nano)
	}
	return r
}
