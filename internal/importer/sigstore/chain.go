package sigstore

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"time"

	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/stemma-lineage/stemma/statement"
)

// maxChain is how many certificates a bundle or signature may bring.
const maxChain = 16

// sanOID is that of the subject alternative name, which Go does not read when
// it is an OtherName.
var sanOID = asn1.ObjectIdentifier{2, 5, 29, 17}

// signerOf reads who a certificate was issued to.
func signerOf(cert *x509.Certificate) Signer {
	s := Signer{Name: cert.Subject.String(), Kind: "subject", Key: digestOf(cert.RawSubjectPublicKeyInfo)}
	sum, err := certificate.SummarizeCertificate(cert)
	if err != nil {
		if len(cert.DNSNames) > 0 {
			s.Name, s.Kind = cert.DNSNames[0], "other"
		}
		return s
	}
	s.Name, s.Issuer, s.Kind = sum.SubjectAlternativeName, sum.Issuer, "other"
	switch {
	case len(cert.URIs) > 0:
		s.Kind = "uri"
	case len(cert.EmailAddresses) > 0:
		s.Kind = "email"
	}
	return s
}

func withSigner(o outcome, s Signer) outcome {
	o.signer = s
	return o
}

// keyOf gives the trusted key that a certificate holds.
func (t *Trust) keyOf(cert *x509.Certificate) *publicKey {
	digest := digestOf(cert.RawSubjectPublicKeyInfo)
	for _, k := range t.keys {
		if k.digest == digest {
			return k
		}
	}
	return nil
}

// issued tells whether an authority of the root signed the certificate,
// whatever the time.
func (r *trustedRoot) issued(leaf *x509.Certificate) bool {
	for _, ca := range r.FulcioCertificateAuthorities() {
		f, ok := ca.(*root.FulcioCertificateAuthority)
		if !ok {
			continue
		}
		for _, parent := range append([]*x509.Certificate{f.Root}, f.Intermediates...) {
			if bytes.Equal(parent.RawSubject, leaf.RawIssuer) && leaf.CheckSignatureFrom(parent) == nil {
				return true
			}
		}
	}
	return false
}

// checkChain looks for a chain from the certificate to a CA certificate that a
// person named, by RFC 5280 section 6. Where no time is proven, that of the
// certificate's own start is taken, as OpenSSF model signing does; it says only
// that the chain was good then.
func (t *Trust) checkChain(leaf *x509.Certificate, intermediates []*x509.Certificate, at statement.Time, by string) outcome {
	signer := signerOf(leaf)
	if len(intermediates) > maxChain {
		return withSigner(failed("%d certificates in the chain, the limit is %d", len(intermediates), maxChain), signer)
	}
	when, proven := leaf.NotBefore, !at.IsZero()
	if proven {
		when = at.Time
		for _, r := range t.roots {
			if o, ok := r.chain(leaf, when); ok {
				return t.accepted(withSigner(o, signer), at)
			}
		}
	}
	chains, err := t.anchored(leaf, intermediates, when)
	switch {
	case err == nil && !signs(leaf):
		return withSigner(failed("the certificate is not for signing: neither digitalSignature nor codeSigning is among its usages"), signer)
	case err == nil:
		top := chains[0][len(chains[0])-1]
		o := outcome{result: statement.CheckVerified, by: "CA certificate " + digestOf(top.Raw), signer: signer}
		if proven {
			o.by += ", " + by
		} else {
			o.by += ", taken at the certificate's own start"
		}
		return t.accepted(o, at)
	case unknownAuthority(err):
		return withSigner(unverified("no trusted root or CA certificate leads to the signing certificate, issued by %q; give the trusted_root.json or the CA certificate", leaf.Issuer), signer)
	}
	return withSigner(failed("the certificate does not hold at %s: %v", when.UTC().Format(time.RFC3339), oneLine(err)), signer)
}

func (r *trustedRoot) chain(leaf *x509.Certificate, when time.Time) (outcome, bool) {
	for _, ca := range r.FulcioCertificateAuthorities() {
		if _, err := ca.Verify(leaf, when); err == nil {
			return outcome{result: statement.CheckVerified, by: "trusted root " + r.digest}, true
		}
	}
	return outcome{}, false
}

// accepted applies the identity policies to what is verified.
func (t *Trust) accepted(o outcome, at statement.Time) outcome {
	o.time = at
	if o.result == statement.CheckVerified && !t.accepts(o.signer) {
		o.result, o.reason = statement.CheckFailed, "the signature holds, but its signer is none of those that the identity policy accepts"
	}
	return o
}

func (t *Trust) anchored(leaf *x509.Certificate, intermediates []*x509.Certificate, when time.Time) ([][]*x509.Certificate, error) {
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: when,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, a := range t.anchors {
		o.Roots.AddCert(a.cert)
	}
	for _, c := range intermediates {
		o.Intermediates.AddCert(c)
	}
	c := *leaf
	c.UnhandledCriticalExtensions = nil
	for _, id := range leaf.UnhandledCriticalExtensions {
		if !id.Equal(sanOID) {
			c.UnhandledCriticalExtensions = append(c.UnhandledCriticalExtensions, id)
		}
	}
	return c.Verify(o)
}

func unknownAuthority(err error) bool {
	var u x509.UnknownAuthorityError
	return errors.As(err, &u)
}

// signs tells whether a certificate's usages allow signing of content.
func signs(cert *x509.Certificate) bool {
	if cert.KeyUsage&x509.KeyUsageDigitalSignature != 0 {
		return true
	}
	for _, u := range cert.ExtKeyUsage {
		if u == x509.ExtKeyUsageCodeSigning {
			return true
		}
	}
	return false
}
