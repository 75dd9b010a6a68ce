package sigstore

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

// dsseSignature is one of a bare envelope's. Certificate, intermediates and
// timestamps are an extension of DSSE that witness writes.
type dsseSignature struct {
	keyID         string
	sig           []byte
	certificate   *x509.Certificate
	intermediates []*x509.Certificate
	timestamps    [][]byte
	place         string
}

func (t *Trust) openEnvelope(n rawjson.Node) (Opened, error) {
	payload, err := anyBase64(n.Get("payload").Text())
	if err != nil {
		return Opened{}, fmt.Errorf("opening DSSE envelope: payload: %w", err)
	}
	o := Opened{PayloadType: n.Get("payloadType").Text(), Payload: payload}
	sigs, err := signatures(n.Get("signatures"))
	if err != nil {
		return Opened{}, fmt.Errorf("opening DSSE envelope: %w", err)
	}
	o.write(guard(func() outcome { return t.checkEnvelope(envelopeContent(o.PayloadType, payload), sigs) }))
	return o, nil
}

// anyBase64 reads base64 in the standard or URL alphabet, as DSSE asks of
// consumers, with or without padding and line breaks.
func anyBase64(s string) ([]byte, error) {
	s = strings.TrimRight(strings.NewReplacer("\n", "", "\r", "", "-", "+", "_", "/").Replace(s), "=")
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("is no base64: %w", err)
	}
	return b, nil
}

func signatures(list rawjson.Node) ([]dsseSignature, error) {
	var out []dsseSignature
	for n := range list.All() {
		s := dsseSignature{keyID: n.Get("keyid").Text(), place: fmt.Sprintf("signatures[%d]", len(out))}
		if len(out) == maxSignatures {
			return nil, fmt.Errorf("%s: the limit is %d signatures", s.place, maxSignatures)
		}
		var err error
		if s.sig, err = anyBase64(n.Get("sig").Text()); err != nil {
			return nil, fmt.Errorf("%s.sig: %w", s.place, err)
		}
		if len(s.sig) == 0 {
			return nil, fmt.Errorf("%s.sig: is missing", s.place)
		}
		if c := n.Get("certificate"); c.Given() {
			if s.certificate, err = pemCertificate(c); err != nil {
				return nil, fmt.Errorf("%s.certificate: %w", s.place, err)
			}
		}
		for c := range n.Get("intermediates").All() {
			cert, err := pemCertificate(c)
			if err != nil {
				return nil, fmt.Errorf("%s.intermediates[%d]: %w", s.place, len(s.intermediates), err)
			}
			s.intermediates = append(s.intermediates, cert)
		}
		for ts := range n.Get("timestamps").All() {
			b, err := anyBase64(ts.Get("data").Text())
			if err != nil {
				return nil, fmt.Errorf("%s.timestamps[%d].data: %w", s.place, len(s.timestamps), err)
			}
			s.timestamps = append(s.timestamps, b)
		}
		out = append(out, s)
	}
	return out, nil
}

func pemCertificate(n rawjson.Node) (*x509.Certificate, error) {
	b, err := anyBase64(n.Text())
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
	}
	cert, err := x509.ParseCertificate(b)
	if err != nil {
		return nil, fmt.Errorf("is no X.509 certificate: %w", oneLine(err))
	}
	return cert, nil
}

// checkEnvelope checks every signature. The envelope is verified when one of
// them is and none failed: a signature by nobody known neither helps nor harms.
func (t *Trust) checkEnvelope(c content, sigs []dsseSignature) outcome {
	if len(sigs) == 0 {
		return outcome{result: statement.CheckUnsigned, reason: "the envelope holds no signature"}
	}
	var all outcome
	for _, s := range sigs {
		var o outcome
		if s.certificate != nil {
			o = t.checkWitness(c, s)
		} else {
			o = t.checkKeys(c, s.sig, s.keyID)
		}
		if o.result != statement.CheckVerified && len(sigs) > 1 {
			o.reason = s.place + ": " + o.reason
		}
		if o.result == statement.CheckFailed {
			return o
		}
		if o.result == statement.CheckVerified && all.result == statement.CheckVerified {
			if !strings.Contains(all.by, o.by) {
				all.by += ", " + o.by
			}
			continue
		}
		all = heavier(all, o)
	}
	return all
}

// checkKeys looks for the trusted key that made a signature: one that an id
// names, else any.
func (t *Trust) checkKeys(c content, sig []byte, ids ...string) outcome {
	named, _ := t.named(ids)
	if named != nil {
		if o, ok := keyOutcome(named, c, sig); ok {
			return o
		}
		o := failed("the signature is not that of the key it names, %s, over this content", named.digest)
		o.signer = Signer{Key: named.digest}
		return o
	}
	for _, k := range t.keys {
		if o, ok := keyOutcome(k, c, sig); ok {
			return o
		}
	}
	hint := ""
	if s := strings.Join(nonEmpty(ids), ", "); s != "" {
		hint = ", it names " + rawjson.Clip(s, 200)
	}
	if len(t.keys) == 0 {
		return unverified("signed by a key, and no public key was given to check it with%s", hint)
	}
	return unverified("none of the %d trusted public keys made the signature%s", len(t.keys), hint)
}

func (t *Trust) named(ids []string) (*publicKey, string) {
	for _, id := range ids {
		for _, k := range t.keys {
			if k.ids[id] {
				return k, id
			}
		}
	}
	return nil, ""
}

func keyOutcome(k *publicKey, c content, sig []byte) (outcome, bool) {
	_, legacy, ok := c.verifiedBy(k.pub, sig)
	o := outcome{result: statement.CheckVerified, by: "public key " + k.digest, signer: Signer{Key: k.digest}}
	if legacy {
		o.by += ", over the encoding of model-signing 0.2"
	}
	return o, ok
}

func nonEmpty(ids []string) []string {
	var out []string
	for _, id := range ids {
		if id != "" && (len(out) == 0 || out[len(out)-1] != id) {
			out = append(out, id)
		}
	}
	return out
}

// checkWitness checks a signature that brings its certificate. The time is
// that of the timestamps, if there are any, else the certificate's start.
func (t *Trust) checkWitness(c content, s dsseSignature) outcome {
	signer := signerOf(s.certificate)
	if _, _, ok := c.verifiedBy(s.certificate.PublicKey, s.sig); !ok {
		if err := supported(s.certificate.PublicKey); err != nil {
			return withSigner(unverified("the certificate holds %v", err), signer)
		}
		return withSigner(failed("the signature is not that of its certificate's key over this content"), signer)
	}
	if k := t.keyOf(s.certificate); k != nil {
		return outcome{result: statement.CheckVerified, by: "public key " + k.digest, signer: signer}
	}
	at, by, err := t.timestamped(s.timestamps, s.sig)
	if err != nil {
		return withSigner(unverified("%v", err), signer)
	}
	return t.checkChain(s.certificate, s.intermediates, at, by)
}

// timestamped finds the time that an authority of a trusted root gave.
func (t *Trust) timestamped(timestamps [][]byte, sig []byte) (at statement.Time, by string, err error) {
	if len(timestamps) == 0 {
		return at, "", nil
	}
	if len(timestamps) > maxSignatures {
		return at, "", fmt.Errorf("%d timestamps, the limit is %d", len(timestamps), maxSignatures)
	}
	for _, ts := range timestamps {
		for _, r := range t.roots {
			for _, tsa := range r.TimestampingAuthorities() {
				if got, err := tsa.Verify(ts, sig); err == nil {
					return statement.NewTime(got.Time), "timestamp authority of trusted root " + r.digest, nil
				}
			}
		}
	}
	return at, "", errors.New("no trusted root holds the timestamp authority that dated the signature")
}
