package sigstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/stemma-lineage/stemma/statement"
)

const (
	inToto  = "application/vnd.in-toto+json"
	payload = `{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"https://example.test/x","predicate":{}}`
)

// party is a key with a certificate and its authority, new in each test.
type party struct {
	key   crypto.Signer
	trust *Trust // of the key
	ca    *Trust // of the authority
	leaf  []byte
	id    string // SHA-256 of the key, in hexadecimal
	file  File
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newParty(key crypto.Signer, leaf *x509.Certificate) *party {
	der := must(x509.MarshalPKIXPublicKey(key.Public()))
	sum := sha256.Sum256(der)
	p := &party{key: key, id: hex.EncodeToString(sum[:]), file: File{"key.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}}
	p.trust = must(NewTrust(p.file))
	caKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: start, NotAfter: start.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER := must(x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey))
	p.leaf = must(x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey))
	p.ca = must(NewTrust(File{"ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})}))
	return p
}

func leafFor(mail string) *x509.Certificate {
	start := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	return &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "signer"}, EmailAddresses: []string{mail}, NotBefore: start, NotAfter: start.AddDate(0, 1, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
}

func (p *party) sign(message []byte) []byte {
	h := crypto.SHA256
	if _, ok := p.key.(ed25519.PrivateKey); ok {
		return must(p.key.Sign(rand.Reader, message, crypto.Hash(0)))
	}
	if k, ok := p.key.(*ecdsa.PrivateKey); ok && k.Curve == elliptic.P384() {
		h = crypto.SHA384
	}
	w := h.New()
	w.Write(message)
	return must(p.key.Sign(rand.Reader, w.Sum(nil), h))
}

func (p *party) signature(keyID string) map[string]any {
	return map[string]any{"keyid": keyID, "sig": p.sign(dsse.PAE(inToto, []byte(payload)))}
}

func envelope(sigs ...map[string]any) []byte {
	return must(json.Marshal(map[string]any{"payload": []byte(payload), "payloadType": inToto, "signatures": sigs}))
}

func bundleOf(material map[string]any, sig map[string]any) []byte {
	return must(json.Marshal(map[string]any{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": material,
		"dsseEnvelope": map[string]any{"payload": []byte(payload), "payloadType": inToto, "signatures": []any{sig}}}))
}

// TestEnvelope signs envelopes and bundles with keys and certificates of ours.
func TestEnvelope(t *testing.T) {
	ec := newParty(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), leafFor("ann@acme.example"))
	p384 := newParty(must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), leafFor("ann@acme.example"))
	rs := newParty(must(rsa.GenerateKey(rand.Reader, 2048)), leafFor("ann@acme.example"))
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	ed := newParty(edKey, leafFor("ann@acme.example"))
	notForSigning := leafFor("ann@acme.example")
	notForSigning.KeyUsage, notForSigning.ExtKeyUsage = x509.KeyUsageKeyEncipherment, nil
	enc := newParty(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), notForSigning)
	late := leafFor("ann@acme.example") // begins after its authority ended
	late.NotBefore, late.NotAfter = late.NotBefore.AddDate(2, 0, 0), late.NotAfter.AddDate(2, 0, 0)
	expired := newParty(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), late)
	both := must(NewTrust(ec.file, rs.file))
	policy := File{"policy.json", []byte(`{"identities":[{"subjectRegExp":".*@other\\.example"}]}`)}

	witness := func(p *party) map[string]any {
		s := p.signature("")
		s["certificate"] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.leaf})
		return s
	}
	chain := func(p *party) map[string]any {
		return map[string]any{"x509CertificateChain": map[string]any{"certificates": []any{map[string]any{"rawBytes": p.leaf}}}}
	}
	hint := func(h string) map[string]any { return map[string]any{"publicKey": map[string]any{"hint": h}} }
	strict := &Trust{anchors: ec.ca.anchors, policies: must(NewTrust(policy)).policies}

	for _, c := range []struct {
		name  string
		trust *Trust
		raw   []byte
		want  string
		says  string // part of the reason, or of the identity when it is verified
	}{
		{"P-256", ec.trust, envelope(ec.signature("")), statement.CheckVerified, ec.id},
		{"P-384", p384.trust, envelope(p384.signature("")), statement.CheckVerified, p384.id},
		{"RSA", rs.trust, envelope(rs.signature("")), statement.CheckVerified, rs.id},
		{"Ed25519", ed.trust, envelope(ed.signature("")), statement.CheckVerified, ed.id},
		{"a keyid that nobody knows", ec.trust, envelope(ec.signature("mine")), statement.CheckVerified, ec.id},
		{"nobody is trusted", nil, envelope(ec.signature("mine")), statement.CheckUnverified, "it names mine"},
		{"another key", rs.trust, envelope(ec.signature("")), statement.CheckUnverified, "none of the 1 trusted public keys"},
		{"the keyid of another", rs.trust, envelope(ec.signature(rs.id)), statement.CheckFailed, "not that of the key it names"},
		{"no signature", ec.trust, envelope(), statement.CheckUnsigned, "holds no signature"},
		{"one of two is known", ec.trust, envelope(rs.signature(""), ec.signature("")), statement.CheckVerified, ec.id},
		{"two are known", both, envelope(rs.signature(""), ec.signature("")), statement.CheckVerified, rs.id},
		{"one of two is bad", both, envelope(rs.signature(""), rs.signature(ec.id)), statement.CheckFailed, "signatures[1]: "},
		{"a certificate in the envelope", ec.ca, envelope(witness(ec)), statement.CheckVerified, "ann@acme.example"},
		{"its authority is unknown", rs.ca, envelope(witness(ec)), statement.CheckUnverified, "no trusted root or CA certificate leads"},
		{"bundle by a key", ec.trust, bundleOf(hint(""), ec.signature("")), statement.CheckVerified, ec.id},
		{"bundle by a key it names", ec.trust, bundleOf(hint(ec.id), ec.signature("")), statement.CheckVerified, ec.id},
		{"bundle that names another key", both, bundleOf(hint(rs.id), ec.signature("")), statement.CheckFailed, "not that of the key it names"},
		{"bundle by an unknown key", nil, bundleOf(hint("h"), ec.signature("")), statement.CheckUnverified, "it names h"},
		{"bundle by a certificate", ec.ca, bundleOf(chain(ec), ec.signature("")), statement.CheckVerified, "ann@acme.example"},
		{"bundle by a certificate, P-384", p384.ca, bundleOf(chain(p384), p384.signature("")), statement.CheckVerified, "ann@acme.example"},
		{"the certificate of another", ec.ca, bundleOf(chain(ec), rs.signature("")), statement.CheckFailed, "not that of the bundle's certificate"},
		{"not for signing", enc.ca, bundleOf(chain(enc), enc.signature("")), statement.CheckFailed, "not for signing"},
		{"after the authority ended", expired.ca, bundleOf(chain(expired), expired.signature("")), statement.CheckFailed, "does not hold at 2028-02-01"},
		{"not whom the policy accepts", strict, bundleOf(chain(ec), ec.signature("")), statement.CheckFailed, "none of those that the identity policy accepts"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := c.trust.Open(c.raw)
			if err != nil {
				t.Fatal(err)
			}
			says := o.Check.Reason
			if c.want == statement.CheckVerified {
				says = o.Check.Identity
			}
			if o.Check.Result != c.want || !strings.Contains(says, c.says) || string(o.Payload) != payload || o.PayloadType != inToto {
				t.Errorf("got %+v, want %s saying %q", o.Check, c.want, c.says)
			}
		})
	}
}

// TestLegacyModel checks that the encoding of model-signing 0.2 is accepted for
// its own payloads and no other.
func TestLegacyModel(t *testing.T) {
	p := newParty(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), leafFor("ann@acme.example"))
	for body, want := range map[string]string{
		`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://model_signing/Digests/v0.1","x":"é '\t"}`: statement.CheckVerified,
		`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://example.test/x"}`:                         statement.CheckUnverified,
	} {
		sig := p.sign(legacyPAE(inToto, []byte(body)))
		raw := must(json.Marshal(map[string]any{"payload": []byte(body), "payloadType": inToto, "signatures": []any{map[string]any{"sig": sig}}}))
		o := must(p.trust.Open(raw))
		if o.Check.Result != want {
			t.Errorf("%s: %+v, want %s", body, o.Check, want)
		}
	}
	// What Python prints for the bytes.
	for in, want := range map[string]string{"a\nb\\": `b'a\nb\\'`, "it's": `b"it's"`, `"it's"`: `b'"it\'s"'`, "\x00\x7f\xff": `b'\x00\x7f\xff'`} {
		if got := string(appendPythonBytes(nil, []byte(in))); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// TestOpenErrors is for what is no bundle and no envelope.
func TestOpenErrors(t *testing.T) {
	for in, want := range map[string]string{
		``:        "there is no JSON value",
		`{`:       "line 1",
		`{} {}`:   "a second value follows",
		`{"x":1}`: "neither a Sigstore bundle",
		`[{"payload":"","payloadType":"x","signatures":[{"sig":"!"}]}]`:                                                          "signatures[0].sig: is no base64",
		`{"payload":"!","payloadType":"x","signatures":[]}`:                                                                      "payload: is no base64",
		`{"payload":"","payloadType":"x","signatures":[{}]}`:                                                                     "signatures[0].sig: is missing",
		`{"payload":"","payloadType":"x","signatures":[{"sig":"AAAA","certificate":"AAAA"}]}`:                                    "signatures[0].certificate: is no X.509 certificate",
		`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`:                                                          "neither dsseEnvelope nor messageSignature",
		`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{"payload":5}}`:                             "payload",
		`{"verification_material":{"certificate":"AAAA"},"envelope":{"statement":"e30=","signature":"AAAA"}}`:                    "verification_material.certificate",
		`{"payload":"","payloadType":"x","signatures":[` + strings.Repeat(`{"sig":"AAAA"},`, maxSignatures) + `{"sig":"AAAA"}]}`: "the limit is 64 signatures",
	} {
		_, err := (*Trust)(nil).Open([]byte(in))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", in, err, want)
		}
	}
}

// TestTrustErrors is for what is no trust material.
func TestTrustErrors(t *testing.T) {
	small := must(x509.MarshalPKIXPublicKey(must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)).Public()))
	private := must(x509.MarshalPKCS8PrivateKey(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))))
	for in, want := range map[string]string{
		"":            "the file is empty",
		"hello":       "neither a Sigstore trusted root",
		`{"x":1}`:     "neither a Sigstore trusted root",
		`{"tlogs":[`:  "line 1",
		`{"tlogs":5}`: "is no trusted root that can be used",
		`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=9"}`: "unsupported TrustedRoot media type",
		`{"identities":[]}`:                                                         "would accept nobody",
		`{"identities":[{}]}`:                                                       "would accept anybody",
		`{"identities":[{"subjectRegExp":"("}]}`:                                    "subjectRegExp",
		"-----BEGIN X-----\n-----END X-----\n":                                      `is "X"`,
		"-----BEGIN PUBLIC KEY-----\nbroken":                                        "no block that can be read",
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: small})):    "P-256, P-384 and P-521 can be checked",
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})): "this is a private key",
	} {
		_, err := NewTrust(File{"f", []byte(in)})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "reading trust material f: ") {
			t.Errorf("%.60q: %v, want %q", in, err, want)
		}
	}
}

// TestAttestation reads a Python package's attestation (PEP 740).
func TestAttestation(t *testing.T) {
	p := newParty(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), leafFor("ann@acme.example"))
	raw := must(json.Marshal(map[string]any{"version": 1, "verification_material": map[string]any{"certificate": p.leaf, "transparency_entries": []any{}},
		"envelope": map[string]any{"statement": []byte(payload), "signature": p.sign(dsse.PAE(inToto, []byte(payload)))}}))
	o := must(p.ca.Open(raw))
	if o.Check.Result != statement.CheckVerified || !o.Bundle || o.PayloadType != inToto || string(o.Payload) != payload {
		t.Errorf("%+v", o)
	}
}

// FuzzOpen holds Open to not panicking, to giving the same twice, and to
// trusting nothing that was not named. The fixtures are seeds where they are.
func FuzzOpen(f *testing.F) {
	p := newParty(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), leafFor("ann@acme.example"))
	f.Add(envelope(p.signature("")))
	f.Add(bundleOf(map[string]any{"publicKey": map[string]any{"hint": p.id}}, p.signature("")))
	f.Add(bundleOf(map[string]any{"certificate": map[string]any{"rawBytes": p.leaf}, "tlogEntries": []any{map[string]any{"logIndex": "1", "logId": map[string]any{"keyId": "AAAA"},
		"kindVersion": map[string]any{"kind": "dsse", "version": "0.0.1"}, "integratedTime": "1", "inclusionPromise": map[string]any{"signedEntryTimestamp": "AAAA"},
		"canonicalizedBody": base64.StdEncoding.EncodeToString([]byte(`{"apiVersion":"0.0.1","kind":"dsse","spec":{}}`))}}}, p.signature("")))
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle+json;version=0.2","verificationMaterial":{"publicKey":{}},"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":"AAAA"},"signature":"AAAA"}}`))
	files := []File{p.file}
	if dir := os.Getenv("STEMMA_FIXTURES"); dir != "" {
		for _, pattern := range []string{"sigstore_*/*bundle*.json", "sigstore_*/*.sig*.json", "*/*attestation*.json"} {
			m, _ := filepath.Glob(filepath.Join(dir, "supplychain", pattern))
			for _, name := range m {
				f.Add(must(os.ReadFile(name)))
			}
		}
		for _, name := range []string{"sigstore_sigstore-go/trusted-root-public-good.json", "sigstore_sigstore-go/publish_key.pub"} {
			files = append(files, File{name, must(os.ReadFile(filepath.Join(dir, "supplychain", name)))})
		}
	}
	trust := must(NewTrust(files...))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := trust.Open(data)
		again, err2 := trust.Open(data)
		if (err == nil) != (err2 == nil) || describe(o) != describe(again) {
			t.Fatalf("opening twice differs: %+v %v, %+v %v", o, err, again, err2)
		}
		if err != nil {
			return
		}
		if strings.Contains(o.Check.Reason, "the verifier stopped") {
			t.Logf("a panic was caught: %s", o.Check.Reason)
		}
		if none, err := (*Trust)(nil).Open(data); err != nil || none.Check.Result == statement.CheckVerified {
			t.Fatalf("with nothing trusted: %+v %v", none, err)
		}
		if (o.Check.Result == statement.CheckVerified) != (o.Check.Reason == "") || len(o.Check.Reason) > 1000 {
			t.Fatalf("%+v", o.Check)
		}
	})
}

// FuzzNewTrust holds NewTrust to not panicking.
func FuzzNewTrust(f *testing.F) {
	p := newParty(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), leafFor("ann@acme.example"))
	f.Add(p.file.Data)
	f.Add(p.leaf)
	f.Add([]byte(`{"identities":[{"issuer":"a","subjectRegExp":"b.*"}]}`))
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[],"certificateAuthorities":[{"certChain":{"certificates":[{"rawBytes":"AAAA"}]}}],"ctlogs":[],"timestampAuthorities":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		trust, err := NewTrust(File{"f", data})
		if err == nil && trust.Empty() && len(trust.policies) == 0 {
			t.Fatal("accepted, and holds nothing")
		}
	})
}
