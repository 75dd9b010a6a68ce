package git

import (
	"bytes"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

// Namespace is that of the SSH signatures that git makes (gpg.format=ssh).
const Namespace = "git"

// checker verifies signatures against the keys that were given.
type checker struct {
	trust   *statement.Trust
	ring    openpgp.EntityList
	ringErr error
	ringSum string
}

func newChecker(o Options) *checker {
	c := &checker{trust: o.Trust}
	if len(o.OpenPGP) > 0 {
		sum := sha256.Sum256(o.OpenPGP)
		c.ringSum = fmt.Sprintf("sha256:%x", sum)
		if bytes.Contains(o.OpenPGP, []byte("-----BEGIN PGP")) {
			c.ring, c.ringErr = openpgp.ReadArmoredKeyRing(bytes.NewReader(o.OpenPGP))
		} else {
			c.ring, c.ringErr = openpgp.ReadKeyRing(bytes.NewReader(o.OpenPGP))
		}
	}
	return c
}

// check gives the outcome for an object's signature, nil when it has none.
func (c *checker) check(o *object) *statement.EvidenceCheck {
	if len(bytes.TrimSpace(o.signature)) == 0 {
		return nil
	}
	var out statement.EvidenceCheck
	text := string(o.signature)
	switch {
	case strings.HasPrefix(text, "-----BEGIN SSH SIGNATURE-----"):
		out = c.ssh(o)
	case strings.HasPrefix(text, "-----BEGIN PGP "):
		out = c.pgp(o)
	case strings.HasPrefix(text, "-----BEGIN SIGNED MESSAGE-----"):
		out = statement.EvidenceCheck{By: "X.509", Result: statement.CheckUnverified,
			Reason: "an X.509 signature (gitsign, gpgsm), which is not checked here"}
	default:
		out = statement.EvidenceCheck{Result: statement.CheckUnverified, Reason: "a signature of a form that is not known"}
	}
	if !o.exact && out.Result != statement.CheckUnverified {
		out.Result, out.Reason = statement.CheckUnverified, "the exact bytes that were signed are not known"
	}
	out.Reason = rawjson.Clip(strings.ReplaceAll(out.Reason, "\n", " "), 500)
	return &out
}

// when is the time at which a key must be valid: that of the commit or tag,
// which the signer chose; git takes the same.
func (o *object) when() time.Time {
	key := "committer"
	if o.typ == "tag" {
		key = "tagger"
	}
	notes := o.notes
	id, _ := o.ident(key)
	o.notes = notes
	return id.at.Time
}

// ssh checks an SSHSIG (OpenSSH PROTOCOL.sshsig) of namespace git.
func (c *checker) ssh(o *object) statement.EvidenceCheck {
	fail := func(format string, args ...any) statement.EvidenceCheck {
		return statement.EvidenceCheck{By: "SSHSIG", Result: statement.CheckFailed, Reason: fmt.Sprintf(format, args...)}
	}
	block, rest := pem.Decode(o.signature)
	if block == nil || block.Type != sshsig.PEMType || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return fail("the SSH signature is not one armored block")
	}
	sig, err := sshsig.ParseSignature(block.Bytes)
	if err != nil {
		return fail("reading SSH signature: %v", err)
	}
	id := ssh.FingerprintSHA256(sig.PublicKey)
	out := statement.EvidenceCheck{By: "SSHSIG, namespace git, key " + id, Result: statement.CheckFailed}
	if _, err := statement.SSHKey(sig.PublicKey); err != nil {
		out.Result, out.Reason = statement.CheckUnverified, err.Error()
		return out
	}
	if o.exact {
		// For keys that nobody trusts too: a broken signature is called so by
		// everybody.
		if err := sshsig.Verify(bytes.NewReader(o.payload), sig, sig.PublicKey, sig.HashAlgorithm, Namespace); err != nil {
			out.Reason = fmt.Sprintf("the SSH signature does not verify: %v", err)
			if errors.Is(err, sshsig.ErrNamespaceMismatch) {
				out.Reason = fmt.Sprintf("the SSH signature is for namespace %q, git's is %q", sig.Namespace, Namespace)
			}
			return out
		}
	}
	out.Result = statement.CheckUnverified
	k, ok := c.trust.Find(id)
	if !ok {
		out.Reason = "the SSH key is not in the trust list"
		return out
	}
	out.Identity = k.Principal
	switch at := o.when(); {
	case !k.ValidFrom.IsZero() && at.Before(k.ValidFrom):
		out.Reason = "the key is valid only from " + k.ValidFrom.Format(time.RFC3339)
	case !k.ValidUntil.IsZero() && !at.Before(k.ValidUntil):
		out.Reason = "the key was valid only until " + k.ValidUntil.Format(time.RFC3339)
	default:
		out.Result = statement.CheckVerified
	}
	return out
}

// pgp checks an OpenPGP signature (RFC 9580).
func (c *checker) pgp(o *object) statement.EvidenceCheck {
	out := statement.EvidenceCheck{By: "OpenPGP" + issuer(o.signature), Result: statement.CheckUnverified}
	switch {
	case c.ringSum == "":
		out.Reason = "no OpenPGP key to check it with was given"
		return out
	case c.ringErr != nil:
		out.Reason = fmt.Sprintf("the OpenPGP keys cannot be read: %v", c.ringErr)
		return out
	}
	out.By += ", keys " + c.ringSum
	at := o.when()
	signer, err := openpgp.CheckArmoredDetachedSignature(c.ring, bytes.NewReader(o.payload), bytes.NewReader(o.signature),
		&packet.Config{Time: func() time.Time { return at }})
	if errors.Is(err, pgperrors.ErrUnknownIssuer) {
		out.Reason = "it is by none of the OpenPGP keys that were given"
		return out
	}
	if signer != nil {
		out.Identity = fmt.Sprintf("%X", signer.PrimaryKey.Fingerprint)
		if id := signer.PrimaryIdentity(); id != nil {
			out.Identity = strings.ToValidUTF8(rawjson.Clip(id.Name, 300), "\uFFFD") + " " + out.Identity
		}
	}
	if err != nil {
		out.Result, out.Reason = statement.CheckFailed, fmt.Sprintf("the OpenPGP signature does not verify: %v", err)
		return out
	}
	out.Result = statement.CheckVerified
	return out
}

// issuer names the key that an OpenPGP signature says it is by.
func issuer(signature []byte) string {
	block, err := armor.Decode(bytes.NewReader(signature))
	if err != nil {
		return ""
	}
	p, err := packet.Read(io.LimitReader(block.Body, 1<<16))
	if err != nil {
		return ""
	}
	s, ok := p.(*packet.Signature)
	switch {
	case !ok:
	case len(s.IssuerFingerprint) > 0:
		return fmt.Sprintf(", key %X", s.IssuerFingerprint)
	case s.IssuerKeyId != nil:
		return fmt.Sprintf(", key %016X", *s.IssuerKeyId)
	}
	return ""
}
