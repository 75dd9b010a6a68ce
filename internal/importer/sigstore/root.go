package sigstore

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/digitorus/pkcs7"
	"github.com/digitorus/timestamp"
	"github.com/google/certificate-transparency-go/x509util"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"github.com/stemma-lineage/stemma/statement"
)

// checkCertificate asks the trusted roots whose authority issued the
// certificate, then the CA certificates.
func (x *bundled) checkCertificate() outcome {
	if k := x.t.keyOf(x.leaf); k != nil {
		return outcome{result: statement.CheckVerified, by: "public key " + k.digest}
	}
	var best outcome
	for _, r := range x.t.roots {
		if r.issued(x.leaf) {
			best = heavier(best, x.checkRoot(r, r))
		}
		if best.result == statement.CheckVerified {
			return best
		}
	}
	if o := x.checkAnchors(); o.weight() > best.weight() || best.result == "" {
		best = o
	}
	return best
}

// checkRoot verifies the bundle against a root. What the root holds decides
// what is asked for, as Sigstore clients do: signed certificate timestamps if
// it has CT logs, a log entry if it has logs, and else a signed timestamp.
func (x *bundled) checkRoot(r *trustedRoot, material root.TrustedMaterial) outcome {
	var o []verify.VerifierOption
	if len(material.CTLogs()) > 0 {
		o = append(o, verify.WithSignedCertificateTimestamps(1))
	}
	if len(material.RekorLogs()) > 0 {
		o = append(o, verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1))
	} else {
		o = append(o, verify.WithSignedTimestamps(1))
	}
	v, err := verify.NewVerifier(material, o...)
	if err != nil {
		return failed("the verifier cannot be set up: %v", err)
	}
	res, err := v.Verify(x.entity(), x.policy(verify.WithoutIdentitiesUnsafe()))
	if err != nil {
		if what := x.missing(r, material); what != "" {
			return unverified("trusted root %s %s", r.digest, what)
		}
		return failed("%v", x.explain(err, len(material.RekorLogs()) > 0))
	}
	return x.t.accepted(outcome{result: statement.CheckVerified, by: "trusted root " + r.digest, signer: x.signer}, earliest(res))
}

// explain puts a failure of the verifier into words a reader can act on.
func (x *bundled) explain(err error, logs bool) error {
	switch {
	case logs && len(x.entries) == 0:
		return fmt.Errorf("the bundle holds no transparency log entry, which the trusted root asks for (%w)", oneLine(err))
	case !logs && len(x.timestamps) == 0:
		return fmt.Errorf("the bundle holds no signed timestamp, which a trusted root without logs asks for (%w)", oneLine(err))
	}
	return oneLine(err)
}

// missing tells what the bundle was made with and the root does not hold, so
// that a failure may be the root's and not the bundle's.
func (x *bundled) missing(r *trustedRoot, material root.TrustedMaterial) string {
	dated := false
	if logs := material.RekorLogs(); len(logs) > 0 && len(x.entries) > 0 {
		known := false
		for _, e := range x.entries {
			if logs[hex.EncodeToString([]byte(e.LogKeyID()))] != nil {
				known, dated = true, dated || e.HasInclusionPromise()
			}
		}
		if !known {
			return "does not hold the transparency log " + x.logNames()
		}
	}
	if logs := material.CTLogs(); len(logs) > 0 {
		if scts, err := x509util.ParseSCTsFromCertificate(x.leaf.Raw); err == nil && len(scts) > 0 {
			known, names := false, ""
			for _, s := range scts {
				known = known || logs[hex.EncodeToString(s.LogID.KeyID[:])] != nil
				names += " " + base64.StdEncoding.EncodeToString(s.LogID.KeyID[:])
			}
			if !known {
				return "does not hold the certificate transparency log" + names
			}
		}
	}
	if !dated && len(x.timestamps) > 0 {
		for _, ts := range x.timestamps {
			if r.dates(ts) {
				return ""
			}
		}
		return "does not hold the timestamp authority that dated the signature"
	}
	return ""
}

// dates tells whether an authority of the root made the timestamp, by name.
func (r *trustedRoot) dates(raw []byte) bool {
	ts, err := timestamp.ParseResponse(raw)
	if err != nil {
		return true // malformed, and no root could mend it
	}
	p7, err := pkcs7.Parse(ts.RawToken)
	if err != nil || len(p7.Signers) == 0 {
		return true
	}
	id := p7.Signers[0].IssuerAndSerialNumber
	for _, a := range r.TimestampingAuthorities() {
		tsa, ok := a.(*root.SigstoreTimestampingAuthority)
		if !ok {
			continue
		}
		if tsa.Leaf != nil {
			if bytes.Equal(tsa.Leaf.RawIssuer, id.IssuerName.FullBytes) && tsa.Leaf.SerialNumber.Cmp(id.SerialNumber) == 0 {
				return true
			}
			continue
		}
		for _, ca := range append([]*x509.Certificate{tsa.Root}, tsa.Intermediates...) {
			if ca != nil && bytes.Equal(ca.RawSubject, id.IssuerName.FullBytes) {
				return true
			}
		}
	}
	return false
}

// checkAnchors checks a certificate against the CA certificates. Log entries
// and timestamps that the bundle holds must be those of a trusted root.
func (x *bundled) checkAnchors() outcome {
	if len(x.entries)+len(x.timestamps) == 0 || len(x.t.anchors) == 0 {
		return x.t.checkChain(x.leaf, x.chain, statement.Time{}, "")
	}
	if o := x.t.checkChain(x.leaf, x.chain, statement.Time{}, ""); o.result != statement.CheckVerified {
		return o
	}
	best := unverified("a CA certificate leads to the signing certificate, but no trusted root holds the transparency log %s or timestamp authority of the bundle", x.logNames())
	for _, r := range x.t.roots {
		m := anchoredMaterial{r.TrustedRoot, x}
		if o := x.checkRoot(r, m); o.result == statement.CheckVerified {
			o.by = "CA certificate, with the logs of " + o.by
			return o
		} else if o.result == statement.CheckFailed {
			best = heavier(best, o)
		}
	}
	return best
}

// anchoredMaterial is a root's logs with the CA certificates of a person in
// place of its own.
type anchoredMaterial struct {
	*root.TrustedRoot
	x *bundled
}

func (m anchoredMaterial) FulcioCertificateAuthorities() []root.CertificateAuthority {
	var out []root.CertificateAuthority
	for _, a := range m.x.t.anchors {
		out = append(out, &root.FulcioCertificateAuthority{Root: a.cert, Intermediates: m.x.chain})
	}
	return out
}

func (anchoredMaterial) CTLogs() map[string]*root.TransparencyLog { return nil }

// checkKey checks a bundle that was signed by a key. Its log entries are
// checked where a trusted root holds their log; the key alone is enough, since
// a person trusts it by itself.
func (x *bundled) checkKey() outcome {
	hint := x.pb.GetVerificationMaterial().GetPublicKey().GetHint()
	ids := append([]string{hint}, x.hints...)
	if logged := x.loggedKey(); logged != "" {
		ids = append(ids, logged)
	}
	o := x.t.checkKeys(x.content, x.sig, ids...)
	if o.result != statement.CheckVerified || len(x.entries) == 0 {
		return o
	}
	known := false
	for _, r := range x.t.roots {
		if x.missingLogs(r) {
			continue
		}
		known = true
		at, err := x.checkLogged(r, o.signer.Key)
		if err == nil {
			o.by, o.time = o.by+", trusted root "+r.digest, at
			return o
		}
		o.reason = oneLine(err).Error()
	}
	if known {
		o.result = statement.CheckFailed
		return o
	}
	o.by += ", transparency log not checked: no trusted root holds " + x.logNames()
	return o
}

func (x *bundled) missingLogs(r *trustedRoot) bool {
	for _, e := range x.entries {
		if r.RekorLogs()[hex.EncodeToString([]byte(e.LogKeyID()))] != nil {
			return false
		}
	}
	return true
}

// loggedKey gives the digest of the key that the first log entry names.
func (x *bundled) loggedKey() string {
	if len(x.entries) == 0 {
		return ""
	}
	pub := x.entries[0].PublicKey()
	if pub == nil {
		return ""
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return ""
	}
	return digestOf(der)
}

// checkLogged verifies signature and log entries together.
func (x *bundled) checkLogged(r *trustedRoot, key string) (statement.Time, error) {
	var k *publicKey
	for _, have := range x.t.keys {
		if have.digest == key {
			k = have
		}
	}
	if k == nil {
		return statement.Time{}, errors.New("the key is not known")
	}
	hash, _, _ := x.content.verifiedBy(k.pub, x.sig)
	load := []signature.LoadOption{options.WithHash(hash)}
	if x.content.message == nil {
		load = append(load, options.WithED25519ph())
	}
	sv, err := signature.LoadVerifierWithOpts(k.pub, load...)
	if err != nil {
		return statement.Time{}, err
	}
	one := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(sv, time.Time{}, time.Time{}), nil
	})
	material := root.TrustedMaterialCollection{r.TrustedRoot, one}
	var last error
	for _, o := range [][]verify.VerifierOption{
		{verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1)},
		{verify.WithTransparencyLog(1), verify.WithNoObserverTimestamps()},
	} {
		v, err := verify.NewVerifier(material, o...)
		if err != nil {
			return statement.Time{}, err
		}
		res, err := v.Verify(x.entity(), x.policy(verify.WithKey()))
		if err == nil {
			return earliest(res), nil
		}
		last = err
	}
	return statement.Time{}, last
}
