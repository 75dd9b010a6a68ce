package statement

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/stemma-lineage/stemma/prov"
)

// SSHNamespace is the namespace of SSH signatures over statements (OpenSSH
// PROTOCOL.sshsig, section 3): what is signed for one purpose counts for no
// other.
const SSHNamespace = "stemma-statement@v1"

// TrustedKey is one key of a trust list and the principal it speaks for.
type TrustedKey struct {
	Principal  prov.Ref
	Ed25519    ed25519.PublicKey // or
	SSH        ssh.PublicKey
	ValidFrom  time.Time // zero: no limit
	ValidUntil time.Time
}

// Trust is the list of keys that signatures are verified against.
type Trust struct{ Keys []TrustedKey }

// ParseTrust reads a trust list: a key a line, '#' begins a comment.
//
//	<principal> ed25519 <base64 of the 32 byte key> [valid-from=TIME] [valid-until=TIME]
//	<principal> <ssh key type> <base64 as in an .pub file> [valid-from=…] [valid-until=…]
func ParseTrust(text []byte) (Trust, error) {
	var t Trust
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		k, err := parseTrustLine(strings.Fields(line))
		if err != nil {
			return Trust{}, fmt.Errorf("parsing trust list: line %d: %w", i+1, err)
		}
		t.Keys = append(t.Keys, k)
	}
	return t, nil
}

func parseTrustLine(f []string) (k TrustedKey, err error) {
	if len(f) < 3 {
		return k, fmt.Errorf("expected PRINCIPAL TYPE KEY, for example the line that stemma key show prints")
	}
	if k.Principal, err = prov.ParseRef(f[0]); err != nil {
		return k, err
	}
	if k.Principal.Class() != prov.ClassIdentity {
		return k, fmt.Errorf("%s is not an identity; write person:…, sa:… or the like", k.Principal)
	}
	raw, err := base64.StdEncoding.DecodeString(f[2])
	if err != nil {
		return k, fmt.Errorf("the key is not base64")
	}
	if f[1] == "ed25519" {
		if len(raw) != ed25519.PublicKeySize {
			return k, fmt.Errorf("an ed25519 key has 32 bytes, this has %d", len(raw))
		}
		k.Ed25519 = raw
	} else if k.SSH, err = ssh.ParsePublicKey(raw); err != nil || k.SSH.Type() != f[1] {
		return k, fmt.Errorf("not an SSH key of type %s", f[1])
	}
	for _, o := range f[3:] {
		name, val, ok := strings.Cut(o, "=")
		if !ok {
			break // the comment of an .pub file
		}
		at, err := prov.ParseTime(val)
		if err != nil {
			return k, fmt.Errorf("%s: %w", name, err)
		}
		switch name {
		case "valid-from":
			k.ValidFrom = at
		case "valid-until":
			k.ValidUntil = at
		default:
			return k, fmt.Errorf("option %q is not known; use valid-from or valid-until", name)
		}
	}
	return k, nil
}

// FormatTrust gives the text of a trust list.
func FormatTrust(t Trust) []byte {
	var b bytes.Buffer
	for _, k := range t.Keys {
		typ, raw := "ed25519", []byte(k.Ed25519)
		if k.SSH != nil {
			typ, raw = k.SSH.Type(), k.SSH.Marshal()
		}
		fmt.Fprintf(&b, "%s %s %s", k.Principal, typ, base64.StdEncoding.EncodeToString(raw))
		if !k.ValidFrom.IsZero() {
			fmt.Fprintf(&b, " valid-from=%s", k.ValidFrom.UTC().Format(time.RFC3339Nano))
		}
		if !k.ValidUntil.IsZero() {
			fmt.Fprintf(&b, " valid-until=%s", k.ValidUntil.UTC().Format(time.RFC3339Nano))
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// What is known of a signature.
const (
	StatusVerified = "verified"
	StatusUnknown  = "unknown-key"
	StatusExpired  = "expired-key" // good, but the key was not valid then
)

// SignatureResult is the outcome for one signature.
type SignatureResult struct {
	KeyID     string
	Principal prov.Ref
	Status    string
}

// Verification is the outcome for an envelope.
type Verification struct {
	Signatures []SignatureResult
}

// Verified tells whether at least one signature is by a trusted key, and none
// is by a key that was not valid or not known. Unknown is never yes.
func (v Verification) Verified() bool {
	for _, s := range v.Signatures {
		if s.Status != StatusVerified {
			return false
		}
	}
	return len(v.Signatures) > 0
}

// Principals lists whom verified signatures speak for, each once.
func (v Verification) Principals() []prov.Ref {
	var out []prov.Ref
	seen := map[prov.Ref]bool{}
	for _, s := range v.Signatures {
		if s.Status == StatusVerified && !seen[s.Principal] {
			seen[s.Principal] = true
			out = append(out, s.Principal)
		}
	}
	return out
}

// Why gives the reason why an envelope is not verified, for people.
func (v Verification) Why() string {
	for _, s := range v.Signatures {
		switch s.Status {
		case StatusUnknown:
			return fmt.Sprintf("the signature with key hint %q is by no key of the trust list; add the signer's line with stemma key trust, or check who sent this", s.KeyID)
		case StatusExpired:
			return fmt.Sprintf("the key of %s was not valid at that time", s.Principal)
		}
	}
	return "there is no signature"
}

// Verify checks every signature of an envelope against the trust list, as of
// the time at.
func Verify(e Envelope, t Trust, at time.Time) Verification {
	pae := PAE(e.Payload)
	var v Verification
	for _, s := range e.Signatures {
		v.Signatures = append(v.Signatures, t.verify(pae, s, at))
	}
	return v
}

func (t Trust) verify(pae []byte, s Signature, at time.Time) SignatureResult {
	res := SignatureResult{KeyID: s.KeyID, Status: StatusUnknown}
	for _, hinted := range []bool{true, false} { // the hinted key first
		for i := range t.Keys {
			k := &t.Keys[i]
			if (k.keyID() == s.KeyID) != hinted || !k.signed(pae, s.Sig) {
				continue
			}
			res.Principal, res.Status = k.Principal, StatusVerified
			if !k.ValidFrom.IsZero() && at.Before(k.ValidFrom) || !k.ValidUntil.IsZero() && !at.Before(k.ValidUntil) {
				res.Status = StatusExpired
				continue
			}
			return res
		}
	}
	return res
}

func (k *TrustedKey) keyID() string {
	if k.SSH != nil {
		return ssh.FingerprintSHA256(k.SSH)
	}
	return Ed25519KeyID(k.Ed25519)
}

func (k *TrustedKey) signed(pae, sig []byte) bool {
	if k.SSH == nil {
		return len(sig) == ed25519.SignatureSize && ed25519.Verify(k.Ed25519, pae, sig)
	}
	s, err := sshsig.Unarmor(sig)
	if err != nil {
		return false
	}
	return sshsig.Verify(bytes.NewReader(pae), s, k.SSH, s.HashAlgorithm, SSHNamespace) == nil
}
