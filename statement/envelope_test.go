package statement

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"golang.org/x/crypto/ssh"
)

var updateEnvelopes = flag.Bool("update-envelopes", false, "write testdata/envelopes anew")

const (
	envelopePayload = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"model:fraud@7","digest":{"sha256":"` +
		`3f79bb7b435b05321651daefd374cdc681dc06faa65e374e38337b88ca046dea"}}],"predicateType":"https://stemma.dev/notice/v1",` +
		`"predicate":{"kind":"withdrawn","comment":"<é> & +/"}}`
	ann = "person:ann@acme.example"
	ben = "person:ben@acme.example"
	ci  = "sa:ci/release"
)

var envelopeTime = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// privateOf gives a key that is the same in every run, so that its signatures
// are too.
func privateOf(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func edSigner(t testing.TB, seed byte) Signer {
	t.Helper()
	s, err := NewEd25519Signer(privateOf(seed))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sshSignerOf(t testing.TB, key any) Signer {
	t.Helper()
	raw, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSSHSigner(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func trustOf(t testing.TB, keys ...TrustedKey) *Trust {
	t.Helper()
	trust, err := NewTrust(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

func signed(t testing.TB, payload string, signers ...Signer) []byte {
	t.Helper()
	env, err := Sign(context.Background(), []byte(payload), signers...)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func statuses(v Verification) string {
	var out []string
	for _, s := range v.Signatures {
		out = append(out, string(s.Status))
	}
	return strings.Join(out, ",")
}

func TestSignVerify(t *testing.T) {
	a, b := edSigner(t, 1), sshSignerOf(t, privateOf(2))
	trust := trustOf(t, TrustedKey{Principal: ann, Public: a.Public()}, TrustedKey{Principal: ben, Public: b.Public()})
	env := signed(t, envelopePayload, a, b)
	v, err := Verify(env, trust, envelopeTime)
	if err != nil {
		t.Fatal(err)
	}
	want := []SignatureResult{
		{KeyID: a.Public().KeyID(), Principal: ann, Status: SignatureVerified},
		{KeyID: b.Public().KeyID(), Principal: ben, Status: SignatureVerified},
	}
	if diff := cmp.Diff(want, v.Signatures); diff != "" {
		t.Errorf("signatures (-want +got):\n%s", diff)
	}
	if string(v.Payload) != envelopePayload || !v.Verified() {
		t.Errorf("payload %s, verified %v", v.Payload, v.Verified())
	}
	if diff := cmp.Diff([]string{ann, ben}, v.Principals()); diff != "" {
		t.Errorf("principals (-want +got):\n%s", diff)
	}
	e, err := ParseEnvelope(env)
	if err != nil {
		t.Fatal(err)
	}
	again, err := FormatEnvelope(e)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(env), string(again)); diff != "" {
		t.Errorf("format of parse (-signed +again):\n%s", diff)
	}
	wantStart := `{"payloadType":"application/vnd.in-toto+json","payload":"eyJfdHlwZSI6`
	if !strings.HasPrefix(string(env), wantStart) || bytes.ContainsAny(env, " \n\t") {
		t.Errorf("not in canonical form: %s", env)
	}
}

// The PAE is what the DSSE specification prints, protocol.md "Test Vectors".
func TestPAEIsThatOfTheSpecification(t *testing.T) {
	e, err := ParseEnvelope([]byte(`{"payload": "aGVsbG8gd29ybGQ=",
 "payloadType": "http://example.com/HelloWorld",
 "signatures": [{"sig": "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(e.PAE()), "DSSEv1 29 http://example.com/HelloWorld 11 hello world"; got != want {
		t.Errorf("PAE %q, want %q", got, want)
	}
	if v := e.Verify(nil, envelopeTime); v.Verified() || statuses(v) != "bad" {
		t.Errorf("a payload that is no statement gave %q", statuses(v))
	}
}

// An envelope of ours verifies with the DSSE library alone.
func TestOtherVerifiersAgree(t *testing.T) {
	a, b := edSigner(t, 1), sshSignerOf(t, privateOf(2))
	var e dsse.Envelope
	if err := json.Unmarshal(signed(t, envelopePayload, a, b), &e); err != nil {
		t.Fatal(err)
	}
	v, err := dsse.NewMultiEnvelopeVerifier(2, foreignVerifier{a.Public()}, foreignVerifier{b.Public()})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := v.Verify(context.Background(), &e)
	if err != nil || len(keys) != 2 {
		t.Errorf("accepted %d keys: %v", len(keys), err)
	}
}

type foreignVerifier struct{ PublicKey }

func (v foreignVerifier) Verify(_ context.Context, pae, sig []byte) error {
	return v.PublicKey.Verify(pae, sig)
}
func (v foreignVerifier) KeyID() (string, error)   { return v.PublicKey.KeyID(), nil }
func (v foreignVerifier) Public() crypto.PublicKey { return v.Crypto() }

func TestSignRefuses(t *testing.T) {
	ctx := context.Background()
	a := edSigner(t, 1)
	for name, signers := range map[string][]Signer{
		"nobody":                      nil,
		"nil":                         {nil},
		"the same key twice":          {a, edSigner(t, 1)},
		"the same key, once by SSH":   {a, sshSignerOf(t, privateOf(1))},
		"a signer whose agent is off": {failingSigner{a}},
	} {
		if _, err := Sign(ctx, []byte("{}"), signers...); err == nil {
			t.Errorf("signing by %s was allowed", name)
		}
	}
	if _, err := Sign(ctx, nil, a); err == nil {
		t.Error("an empty payload was signed")
	}
	if _, err := Sign(ctx, make([]byte, MaxEnvelope), a); err == nil {
		t.Error("an envelope over the limit was made")
	}
}

type failingSigner struct{ Signer }

func (failingSigner) Sign(context.Context, []byte) ([]byte, error) {
	return nil, errors.New("agent refused")
}

// A wrong or missing keyid never hides a good signature and never makes one.
func TestKeyIDIsOnlyAHint(t *testing.T) {
	a, b, x := edSigner(t, 1), edSigner(t, 2), edSigner(t, 9)
	trust := trustOf(t, TrustedKey{Principal: ann, Public: a.Public()}, TrustedKey{Principal: ben, Public: b.Public()})
	good, _ := a.Sign(context.Background(), dsse.PAE(PayloadType, []byte(envelopePayload)))
	foreign, _ := x.Sign(context.Background(), dsse.PAE(PayloadType, []byte(envelopePayload)))
	for _, c := range []struct {
		name, keyID string
		sig         []byte
		want        SignatureResult
	}{
		{"no keyid", "", good, SignatureResult{KeyID: a.Public().KeyID(), Principal: ann, Status: SignatureVerified}},
		{"keyid of nobody", "k1", good, SignatureResult{KeyID: a.Public().KeyID(), Principal: ann, Status: SignatureVerified}},
		{"keyid of another", b.Public().KeyID(), good, SignatureResult{KeyID: a.Public().KeyID(), Principal: ann, Status: SignatureVerified}},
		{"unknown key", x.Public().KeyID(), foreign, SignatureResult{KeyID: x.Public().KeyID(), Status: SignatureUnknownKey,
			Reason: "no key of the trust list verifies it"}},
		{"unknown key, no keyid", "", foreign, SignatureResult{Status: SignatureUnknownKey, Reason: "no key of the trust list verifies it"}},
		{"unknown key, keyid of ann", a.Public().KeyID(), foreign, SignatureResult{KeyID: a.Public().KeyID(), Status: SignatureBad,
			Reason: "it names the key of " + ann + ", which did not sign this content"}},
		{"foreign scheme", "k1", []byte("short"), SignatureResult{KeyID: "k1", Status: SignatureUnknownKey,
			Reason: "5 bytes, neither an Ed25519 signature nor an SSH signature"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &Envelope{PayloadType: PayloadType, Payload: []byte(envelopePayload), Signatures: []Signature{{c.keyID, c.sig}}}
			if diff := cmp.Diff([]SignatureResult{c.want}, e.Verify(trust, envelopeTime).Signatures); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// One key or one principal never counts as two, and one bad signature spoils
// the envelope.
func TestDistinctCounting(t *testing.T) {
	a, a2, b := edSigner(t, 1), edSigner(t, 3), edSigner(t, 2)
	trust := trustOf(t, TrustedKey{Principal: ann, Public: a.Public()}, TrustedKey{Principal: ann, Public: a2.Public()},
		TrustedKey{Principal: ben, Public: b.Public()})
	e, err := ParseEnvelope(signed(t, envelopePayload, a, a2))
	if err != nil {
		t.Fatal(err)
	}
	e.Signatures = append(e.Signatures, e.Signatures[0])
	v := e.Verify(trust, envelopeTime)
	if got := statuses(v); got != "verified,verified,verified" {
		t.Fatalf("statuses %s", got)
	}
	if diff := cmp.Diff([]string{ann}, v.Principals()); diff != "" {
		t.Errorf("principals (-want +got):\n%s", diff)
	}
	if got := len(v.Keys()); got != 2 {
		t.Errorf("%d keys, want 2", got)
	}
	e.Signatures = append(e.Signatures, Signature{KeyID: b.Public().KeyID(), Sig: e.Signatures[0].Sig[:63]})
	v = e.Verify(trust, envelopeTime)
	if v.Verified() || v.Principals() != nil || v.Keys() != nil {
		t.Errorf("with a bad signature: verified %v, principals %v, keys %v", v.Verified(), v.Principals(), v.Keys())
	}
}

func TestParseEnvelopeRefuses(t *testing.T) {
	sig := base64.StdEncoding.EncodeToString(make([]byte, 64))
	one := func(payload, sigs string) string {
		return `{"payloadType":"t","payload":` + payload + `,"signatures":` + sigs + `}`
	}
	for _, c := range []struct{ name, text, want string }{
		{"nothing", ``, "EOF"},
		{"not an object", `[]`, ""},
		{"cut off", `{"payloadType":"t","payload":"e30="`, "EOF"},
		{"bytes after it", one(`"e30="`, `[]`) + `{}`, "after top-level value"},
		{"no payload", `{"payloadType":"t","signatures":[]}`, "payload is missing"},
		{"null payload", one(`null`, `[]`), "payload is missing"},
		{"no payloadType", `{"payload":"","signatures":[]}`, "payloadType is missing"},
		{"empty payloadType", `{"payloadType":"","payload":"","signatures":[]}`, "payloadType must be"},
		{"no signatures", `{"payloadType":"t","payload":""}`, "signatures is missing"},
		{"null signatures", one(`""`, `null`), "signatures is missing"},
		{"duplicate payload", `{"payloadType":"t","payload":"e30=","payload":"e30=","signatures":[]}`, "duplicate"},
		{"duplicate by escape", `{"payloadType":"t","payload":"e30=","p\u0061yload":"e30=","signatures":[]}`, "duplicate"},
		{"duplicate unknown key", `{"x":1,"x":2,"payloadType":"t","payload":"e30=","signatures":[]}`, "duplicate"},
		{"duplicate in an unknown value", `{"x":{"a":1,"a":2},"payloadType":"t","payload":"e30=","signatures":[]}`, "duplicate"},
		{"duplicate sig", one(`""`, `[{"sig":"`+sig+`","sig":"`+sig+`"}]`), "duplicate"},
		{"payload in capitals", `{"payloadType":"t","payload":"e30=","Payload":"e31=","signatures":[]}`, `must be written "payload"`},
		{"sig in capitals", one(`""`, `[{"sig":"`+sig+`","SIG":"`+sig+`"}]`), `must be written "sig"`},
		{"no sig", one(`""`, `[{"keyid":"k"}]`), "signatures[0].sig is missing"},
		{"empty sig", one(`""`, `[{"sig":""}]`), "signatures[0].sig is 0 bytes"},
		{"no base64", one(`"e3?="`, `[]`), "decoding base64"},
		{"no padding", one(`"e30"`, `[]`), "decoding base64"},
		{"stray bits", one(`"e31="`, `[]`), "decoding base64"},
		{"both alphabets", one(`"-_+/"`, `[]`), "decoding base64"},
		{"line break", one(`"e3\n0="`, `[]`), "line break"},
		{"not UTF-8", one(`"e30="`, "[{\"keyid\":\"\xff\",\"sig\":\""+sig+"\"}]"), "UTF-8"},
		{"long keyid", one(`""`, `[{"keyid":"`+strings.Repeat("k", MaxKeyID+1)+`","sig":"`+sig+`"}]`), "longer than"},
		{"many signatures", one(`""`, `[`+strings.Repeat(`{"sig":"AA=="},`, MaxSignatures)+`{"sig":"AA=="}]`), "65 signatures"},
		{"long signature", one(`""`, `[{"sig":"`+strings.Repeat("AAAA", MaxSignature/3+1)+`"}]`), "must be 1 to"},
		{"too large", one(`"`+strings.Repeat("A", MaxEnvelope)+`"`, `[]`), "the limit is"},
		{"deep", one(`"e30="`, `[]`)[:len(one(`"e30="`, `[]`))-1] + `,"x":` + strings.Repeat("[", 20000), "depth"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := ParseEnvelope([]byte(c.text))
			if err == nil {
				t.Fatalf("accepted as %+v", e)
			}
			if !errors.Is(err, ErrEnvelope) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want it to wrap ErrEnvelope and say %q", err, c.want)
			}
		})
	}
}

func TestParseEnvelopeAcceptsForeignForms(t *testing.T) {
	want := &Envelope{PayloadType: "t", Payload: []byte{0xfb, 0xff, 0xfe}, Signatures: []Signature{{"", []byte{0xff, 0xef}}}}
	for name, text := range map[string]string{
		"standard alphabet": `{"payloadType":"t","payload":"+//+","signatures":[{"keyid":"","sig":"/+8="}]}`,
		"URL-safe alphabet": `{"payloadType":"t","payload":"-__-","signatures":[{"sig":"_-8="}]}`,
		"other order, white space, null keyid, more fields": "{ \"signatures\": [ {\"cert\":null,\"sig\":\"/+8=\",\"keyid\":null} ],\n" +
			"\t\"payload\":\"+//+\", \"x\":{\"payload\":\"1\"}, \"payloadType\":\"\\u0074\" }\n",
	} {
		got, err := ParseEnvelope([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestUnsignedNeverVerifies(t *testing.T) {
	env, err := Unsigned([]byte(envelopePayload))
	if err != nil {
		t.Fatal(err)
	}
	v, err := Verify(env, trustOf(t, TrustedKey{Principal: ann, Public: edSigner(t, 1).Public()}), envelopeTime)
	if err != nil {
		t.Fatal(err)
	}
	if v.Verified() || len(v.Signatures) != 0 || string(v.Payload) != envelopePayload {
		t.Errorf("verified %v, %d signatures, payload %s", v.Verified(), len(v.Signatures), v.Payload)
	}
	if !strings.HasSuffix(string(env), `,"signatures":[]}`) {
		t.Errorf("unsigned envelope is %s", env)
	}
}

// For every key of the list a signature that is valid for content it was not
// made for can be found without its secret: this shows that the list is right
// and that the keys must be refused.
func TestKeysOfSmallOrderAreRefused(t *testing.T) {
	identity := make([]byte, 64)
	identity[0] = 1 // R is the neutral point, S is 0
	for _, text := range lowOrder {
		raw, _ := hex.DecodeString(text)
		forged := false
		for i := range 200 {
			forged = forged || ed25519.Verify(raw, []byte{byte(i)}, identity)
		}
		if !forged {
			t.Errorf("%s: no forgery found; is it of small order?", text)
		}
		for _, sign := range []byte{0, 0x80} {
			raw[31] = raw[31]&0x7f | sign
			if _, err := Ed25519Key(raw); err == nil {
				t.Errorf("%x is accepted as a key", raw)
			}
		}
	}
	for _, text := range []string{"ed" + strings.Repeat("ff", 30) + "7f", "ee" + strings.Repeat("ff", 30) + "ff"} {
		raw, _ := hex.DecodeString(text)
		if _, err := Ed25519Key(raw); err == nil {
			t.Errorf("%s, not canonical, is accepted as a key", text)
		}
	}
}

// flipBase64 changes the lowest bit of one byte of the base64 text of a field.
func flipBase64(t *testing.T, text string, at int) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	raw[at] ^= 1
	return base64.StdEncoding.EncodeToString(raw)
}

// makeVectors gives the files of testdata/envelopes: what a verifier must
// accept and what it must not, for verifiers in any language.
func makeVectors(t *testing.T) map[string]string {
	a, b := edSigner(t, 1), sshSignerOf(t, privateOf(2))
	old, stranger := edSigner(t, 3), edSigner(t, 9)
	trust := trustOf(t,
		TrustedKey{Principal: ann, Public: a.Public()},
		TrustedKey{Principal: ben, Public: b.Public(), ValidFrom: envelopeTime},
		TrustedKey{Principal: ci, Public: old.Public(), ValidUntil: envelopeTime})
	files := map[string]string{"trust.txt": "# All secrets are 32 equal bytes: 01, 02, 03.\n" + string(FormatTrust(trust))}
	sign := func(signers ...Signer) dsse.Envelope {
		var e dsse.Envelope
		if err := json.Unmarshal(signed(t, envelopePayload, signers...), &e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	var expect []string
	add := func(name, want, text string) {
		files[name+".json"] = text
		expect = append(expect, name+".json\t"+want)
	}
	put := func(name, want string, change func(e *dsse.Envelope), signers ...Signer) {
		e := sign(signers...)
		change(&e)
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		add(name, want, string(text))
	}
	same := func(*dsse.Envelope) {}
	url := strings.NewReplacer("+", "-", "/", "_")
	plain := string(signed(t, envelopePayload, a))
	add("good-ed25519", "verified\tverified\t"+ann, plain)
	put("good-sshsig", "verified\tverified\t"+ben, same, b)
	put("good-both", "verified\tverified,verified\t"+ann+","+ben, same, a, b)
	put("good-url-safe", "verified\tverified\t"+ann, func(e *dsse.Envelope) {
		e.Payload, e.Signatures[0].Sig = url.Replace(e.Payload), url.Replace(e.Signatures[0].Sig)
	}, a)
	put("good-no-keyid", "verified\tverified\t"+ann, func(e *dsse.Envelope) { e.Signatures[0].KeyID = "" }, a)
	put("good-wrong-keyid", "verified\tverified\t"+ann, func(e *dsse.Envelope) { e.Signatures[0].KeyID = old.Public().KeyID() }, a)
	put("good-and-unknown", "verified\tverified,unknown-key\t"+ann, same, a, stranger)
	add("good-unknown-field", "verified\tverified\t"+ann, strings.Replace(plain, `{"payloadType"`, `{"x":{"payload":"e30="},"payloadType"`, 1))

	put("bad-payload-flipped", "not verified\tbad\t", func(e *dsse.Envelope) { e.Payload = flipBase64(t, e.Payload, 40) }, a)
	put("bad-payload-flipped-sshsig", "not verified\tbad\t", func(e *dsse.Envelope) { e.Payload = flipBase64(t, e.Payload, 40) }, b)
	put("bad-signature-flipped", "not verified\tbad\t", func(e *dsse.Envelope) { e.Signatures[0].Sig = flipBase64(t, e.Signatures[0].Sig, 10) }, a)
	put("bad-signature-flipped-no-keyid", "not verified\tunknown-key\t", func(e *dsse.Envelope) {
		e.Signatures[0] = dsse.Signature{Sig: flipBase64(t, e.Signatures[0].Sig, 10)}
	}, a)
	put("bad-sshsig-flipped", "not verified\tbad\t", func(e *dsse.Envelope) {
		armored, _ := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
		block, _ := pem.Decode(armored)
		block.Bytes[len(block.Bytes)-40] ^= 1
		e.Signatures[0].Sig = base64.StdEncoding.EncodeToString(pem.EncodeToMemory(block))
	}, b)
	put("bad-payload-type", "not verified\tbad\t", func(e *dsse.Envelope) { e.PayloadType = "application/json" }, a)
	put("bad-payload-type-signed", "not verified\tbad\t", func(e *dsse.Envelope) {
		e.PayloadType = "application/json"
		sig, _ := a.Sign(context.Background(), dsse.PAE(e.PayloadType, []byte(envelopePayload)))
		e.Signatures[0].Sig = base64.StdEncoding.EncodeToString(sig)
	}, a)
	put("bad-signature-of-another", "not verified\tbad\t", func(e *dsse.Envelope) {
		sig, _ := a.Sign(context.Background(), dsse.PAE(PayloadType, []byte("{}")))
		e.Signatures[0].Sig = base64.StdEncoding.EncodeToString(sig)
	}, a)
	put("bad-signature-without-pae", "not verified\tbad\t", func(e *dsse.Envelope) {
		e.Signatures[0].Sig = base64.StdEncoding.EncodeToString(ed25519.Sign(privateOf(1), []byte(envelopePayload)))
	}, a)
	put("bad-one-of-two", "not verified\tverified,bad\t", func(e *dsse.Envelope) { e.Signatures[1].Sig = flipBase64(t, e.Signatures[1].Sig, 0) }, a, old)
	put("bad-sshsig-namespace", "not verified\tbad\t", func(e *dsse.Envelope) {
		e.Signatures[0].Sig = base64.StdEncoding.EncodeToString(sshSignatureIn(t, "file", privateOf(2), []byte(envelopePayload)))
	}, b)
	put("bad-sshsig-trailing", "not verified\tbad\t", func(e *dsse.Envelope) {
		sig, _ := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
		e.Signatures[0].Sig = base64.StdEncoding.EncodeToString(append(sig, "more"...))
	}, b)
	put("bad-unknown-key", "not verified\tunknown-key\t", same, stranger)
	put("bad-unknown-ssh-key", "not verified\tunknown-key\t", same, sshSignerOf(t, privateOf(9)))
	put("bad-expired-key", "not verified\texpired-key\t", same, old)
	put("bad-no-signatures", "not verified\t\t", func(e *dsse.Envelope) { e.Signatures = []dsse.Signature{} }, a)
	add("bad-duplicate-payload", "refused\t\t", strings.Replace(plain, `{"payloadType"`, `{"payload":"e30=","payloadType"`, 1))
	add("bad-duplicate-sig", "refused\t\t", strings.Replace(plain, `{"keyid"`, `{"sig":"e30=","keyid"`, 1))
	add("bad-key-case", "refused\t\t", strings.Replace(plain, `{"payloadType"`, `{"Payload":"e30=","payloadType"`, 1))
	add("bad-trailing", "refused\t\t", plain+plain)
	add("bad-no-payload", "refused\t\t", strings.Replace(plain, `"payload":`, `"payl":`, 1))
	sort.Strings(expect)
	files["expect.txt"] = "# file, verdict, status of each signature, principals; keys are taken as of " + envelopeTime.Format(time.RFC3339) +
		"; fields apart by tabs\n" + strings.Join(expect, "\n") + "\n"
	return files
}

func TestVectors(t *testing.T) {
	dir := filepath.Join("testdata", "envelopes")
	made := makeVectors(t)
	if *updateEnvelopes {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range made {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, text := range made {
		if diff := cmp.Diff(text, string(read(name))); diff != "" {
			t.Errorf("%s is not what signing gives now (-made +file):\n%s", name, diff)
		}
	}
	trust, err := ParseTrust(read("trust.txt"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(read("expect.txt"))) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		n++
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		v, err := Verify(read(f[0]), trust, envelopeTime)
		verdict := map[bool]string{true: "verified", false: "not verified"}[v.Verified()]
		if err != nil {
			verdict = "refused"
		}
		got := []string{f[0], verdict, statuses(v), strings.Join(v.Principals(), ",")}
		if diff := cmp.Diff(f, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s%+v %v", f[0], diff, v.Signatures, err)
		}
	}
	if n != len(made)-2 {
		t.Errorf("%d vectors were checked, there are %d", n, len(made)-2)
	}
}

func FuzzParseEnvelope(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "envelopes", "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	a, b := edSigner(f, 1), sshSignerOf(f, privateOf(2))
	trust := trustOf(f, TrustedKey{Principal: ann, Public: a.Public()}, TrustedKey{Principal: ben, Public: b.Public()})
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ParseEnvelope(data)
		if err != nil {
			return
		}
		if v := e.Verify(trust, envelopeTime); v.Verified() && string(v.Payload) != envelopePayload {
			t.Fatalf("verified a payload that nobody signed: %q", v.Payload)
		}
		canonical, err := FormatEnvelope(e)
		if err != nil {
			if len(data) > MaxEnvelope/2 {
				return // escapes and short forms may grow beyond the limit
			}
			t.Fatalf("formatting what was parsed: %v", err)
		}
		again, err := ParseEnvelope(canonical)
		if err != nil {
			t.Fatalf("parsing what was formatted: %v", err)
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Fatalf("parse of format (-first +second):\n%s", diff)
		}
		// What the lenient JSON of the standard library reads must be the same.
		var d dsse.Envelope
		if err := json.Unmarshal(data, &d); err != nil {
			t.Fatalf("encoding/json refuses what we accept: %v", err)
		}
		if p, err := d.DecodeB64Payload(); err != nil || !bytes.Equal(p, e.Payload) || d.PayloadType != e.PayloadType {
			t.Fatalf("encoding/json reads another envelope: %v", err)
		}
	})
}
