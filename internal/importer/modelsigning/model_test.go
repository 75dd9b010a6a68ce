package modelsigning

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/internal/importer/sigstore"
	"github.com/stemma-lineage/stemma/statement"
)

// signer makes model signatures for tests, with a key that is new each time.
type signer struct {
	key   *ecdsa.PrivateKey
	trust *sigstore.Trust // the key
	ca    *sigstore.Trust // the authority of its certificate
	chain [][]byte
	pem   []byte
	hint  string // of the key
}

func newSigner(t testing.TB) *signer {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: start, NotAfter: start.AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "model signer"}, NotBefore: start, NotAfter: start.AddDate(1, 0, 0),
		EmailAddresses: []string{"ann@acme.example"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	must(err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	must(err)
	s := &signer{key: key, chain: [][]byte{leafDER}, pem: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}
	s.trust, err = sigstore.NewTrust(sigstore.File{Name: "key.pub", Data: s.pem})
	must(err)
	s.ca, err = sigstore.NewTrust(sigstore.File{Name: "ca.pem", Data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})})
	must(err)
	return s
}

func (s *signer) sign(t testing.TB, payload []byte, certificate bool) []byte {
	t.Helper()
	sum := sha512.Sum384(dsse.PAE("application/vnd.in-toto+json", payload))
	sig, err := s.key.Sign(rand.Reader, sum[:], crypto.SHA384)
	if err != nil {
		t.Fatal(err)
	}
	material := map[string]any{"publicKey": map[string]any{"hint": s.hint}, "tlogEntries": []any{}}
	if certificate {
		material = map[string]any{"x509CertificateChain": map[string]any{"certificates": []any{map[string]any{"rawBytes": s.chain[0]}}}}
	}
	out, err := json.Marshal(map[string]any{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": material,
		"dsseEnvelope": map[string]any{"payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": []any{map[string]any{"sig": sig, "keyid": nil}}}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func read(t testing.TB, im Importer, data []byte, path string) []importer.Item {
	t.Helper()
	var out []importer.Item
	for it, err := range im.Read(importer.Source{Name: "model.sig", Path: path, R: bytes.NewReader(data)}) {
		if err != nil {
			t.Fatal(err)
		}
		checkItem(t, it)
		out = append(out, it)
	}
	return out
}

// describe writes what an input gave, for a reviewer: the check once, then one
// line for each statement's subjects and what is said of them.
func describe(items []importer.Item, hide ...string) string {
	var b strings.Builder
	for _, it := range items {
		if it.Refusal != nil {
			fmt.Fprintf(&b, "refused %s\n", it.Refusal.Error())
			continue
		}
		v := statement.EvidenceOf(it.Statements[0].Predicate)[0].Verified
		fmt.Fprintf(&b, "%s", v.Result)
		for _, s := range []string{v.Identity, v.By, v.Reason} {
			if s != "" {
				fmt.Fprintf(&b, " | %s", s)
			}
		}
		b.WriteString("\n")
		for _, d := range it.Statements {
			describeDraft(&b, d)
		}
		for _, n := range it.Notes {
			fmt.Fprintf(&b, "note: %s\n", n)
		}
		for _, c := range it.Covers {
			fmt.Fprintf(&b, "covers %s\n", filepath.Base(c))
		}
	}
	s := b.String()
	for _, h := range hide {
		s = strings.ReplaceAll(s, h, "…")
	}
	return s
}

func describeDraft(b *strings.Builder, d importer.Draft) {
	switch p := d.Predicate.(type) {
	case *statement.Entity:
		for _, s := range d.Subjects {
			fmt.Fprintf(b, "%s %s %v\n", p.State, s.Name, map[string]string(s.Digest))
		}
		for _, r := range p.PartOf {
			fmt.Fprintf(b, "  part of %s %v\n", r.Ref, map[string]string(r.Digest))
		}
		keys := make([]string, 0, len(p.Attributes))
		for k := range p.Attributes {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			fmt.Fprintf(b, "  %s: %s\n", k, p.Attributes[k])
		}
		if !p.At.IsZero() {
			fmt.Fprintf(b, "  at %s\n", p.At)
		}
	case *statement.Activity:
		fmt.Fprintf(b, "%s %s used %s by %v with %v %v\n", p.Kind, p.State, p.Used[0].Ref, p.Identities, p.Credentials, p.Parameters)
		if !p.EndedAt.IsZero() {
			fmt.Fprintf(b, "  at %s\n", p.EndedAt)
		}
	}
}

// TestPayloads signs the payloads of testdata/payloads and shows what they
// give. DIGEST(text) in an input stands for the SHA-256 of the text, and ROOT
// for the digest over the resources in their order.
func TestPayloads(t *testing.T) {
	s := newSigner(t)
	datadriven.RunTest(t, "testdata/payloads", func(t *testing.T, d *datadriven.TestData) string {
		payload := fill(d.Input)
		im := Importer{Trust: s.trust}
		var raw []byte
		switch d.Cmd {
		case "bare":
			raw = []byte(payload)
		case "unknown-key":
			im.Trust, raw = nil, s.sign(t, []byte(payload), false)
		case "certificate":
			im.Trust, raw = s.ca, s.sign(t, []byte(payload), true)
		case "tampered", "tampered-without-hint":
			s := *s
			if d.Cmd == "tampered" {
				sum := sha256.Sum256(s.pem)
				s.hint = hex.EncodeToString(sum[:])
			}
			raw = s.sign(t, []byte(payload), false)
			raw = bytes.Replace(raw, []byte(base64.StdEncoding.EncodeToString([]byte(payload))),
				[]byte(base64.StdEncoding.EncodeToString([]byte(strings.Replace(payload, "weights", "wEights", 1)))), 1)
		default:
			raw = s.sign(t, []byte(payload), false)
		}
		_, by, _ := strings.Cut(describe(read(t, im, raw, "")), "sha256:")
		hide := []string{by[:min(64, len(by))]}
		if hide[0] == "" {
			hide = nil
		}
		return describe(read(t, im, raw, ""), hide...)
	})
}

func fill(input string) string {
	sums := sha256.New()
	for {
		before, rest, ok := strings.Cut(input, "DIGEST(")
		if !ok {
			break
		}
		text, after, _ := strings.Cut(rest, ")")
		sum := sha256.Sum256([]byte(text))
		sums.Write(sum[:])
		input = before + hex.EncodeToString(sum[:]) + after
	}
	return strings.ReplaceAll(input, "ROOT", hex.EncodeToString(sums.Sum(nil)))
}

const twoFiles = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"m","digest":{"sha256":"ROOT"}}],
"predicateType":"https://model_signing/signature/v1.0","predicate":{"serialization":{"method":"files","hash_type":"sha256","allow_symlinks":false},
"resources":[{"name":"a","algorithm":"sha256","digest":"DIGEST(one)"},{"name":"d/b","algorithm":"sha256","digest":"DIGEST(two)"}]}}`

// TestCompare looks at a model in its folder: whole, in part, changed, and with
// names that lead out of it.
func TestCompare(t *testing.T) {
	s := newSigner(t)
	raw := s.sign(t, []byte(fill(twoFiles)), false)
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string // result
		notes []string
		cover int
	}{
		{"whole", map[string]string{"a": "one", "d/b": "two"}, statement.CheckVerified, nil, 2},
		{"in part", map[string]string{"a": "one"}, statement.CheckVerified, []string{"d/b is signed, and does not lie beside the signature"}, 1},
		{"none", nil, statement.CheckVerified, []string{"none of the model's files lies beside the signature; only the signature was checked"}, 0},
		{"changed", map[string]string{"a": "one", "d/b": "three"}, statement.CheckFailed, nil, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			it := read(t, Importer{Trust: s.trust}, raw, filepath.Join(dir, "model.sig"))[0]
			v := statement.EvidenceOf(it.Statements[0].Predicate)[0].Verified
			if v.Result != c.want || len(it.Covers) != c.cover {
				t.Errorf("got %+v covering %v, want %s covering %d", v, it.Covers, c.want, c.cover)
			}
			if c.want == statement.CheckFailed {
				if !strings.Contains(v.Reason, "d/b is ") || v.Identity == "" {
					t.Errorf("the reason does not name the file, or the signer is lost: %+v", v)
				}
				return
			}
			if diff := cmp.Diff(c.notes, it.Notes); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOutside checks that no file outside of the folder is read.
func TestOutside(t *testing.T) {
	s := newSigner(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(dir, "inner")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../secret", filepath.Join(inner, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../secret", "/etc/hostname", "link", "x/../../secret"} {
		payload := fill(strings.Replace(twoFiles, `"name":"a"`, `"name":"`+name+`"`, 1))
		it := read(t, Importer{Trust: s.trust}, s.sign(t, []byte(payload), false), filepath.Join(inner, "model.sig"))[0]
		if len(it.Covers) != 0 {
			t.Errorf("%s: read %v", name, it.Covers)
		}
	}
}

// TestManyFiles checks that a large model is told in several statements.
func TestManyFiles(t *testing.T) {
	s := newSigner(t)
	var b strings.Builder
	h := sha256.New()
	for i := range 2500 {
		sum := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		h.Write(sum[:])
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `{"name":"f%04d","algorithm":"sha256","digest":"%x"}`, i, sum)
	}
	payload := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"m","digest":{"sha256":"%x"}}],"predicateType":"%s","predicate":{"serialization":{},"resources":[%s]}}`, h.Sum(nil), PredicateType, b.String())
	it := read(t, Importer{Trust: s.trust}, s.sign(t, []byte(payload), false), "")[0]
	if len(it.Statements) != 5 { // the model, three of files, the signing
		t.Errorf("%d statements", len(it.Statements))
	}
	n := 0
	for _, d := range it.Statements[1:4] {
		n += len(d.Subjects)
	}
	if n != 2500 {
		t.Errorf("%d files", n)
	}
}

func FuzzRead(f *testing.F) {
	s := newSigner(f)
	f.Add(s.sign(f, []byte(fill(twoFiles)), false))
	f.Add(s.sign(f, []byte(fill(twoFiles)), true))
	f.Add([]byte(fill(twoFiles)))
	f.Add([]byte(strings.Replace(fill(twoFiles), `"method":"files"`, `"method":"shards","shard_size":10`, 1)))
	f.Add([]byte(`{"predicateType":"https://model_signing/Digests/v0.1","subject":[{"name":"x","digest":{"sha256":"00"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		one, two := read(t, Importer{Trust: s.trust}, data, ""), read(t, Importer{Trust: s.trust}, data, "")
		if diff := cmp.Diff(describe(one), describe(two)); diff != "" {
			t.Fatalf("reading twice differs:\n%s", diff)
		}
		(Importer{}).Recognise(importer.NewHead("x", int64(len(data)), data))
	})
}

// checkItem holds an Item to the contract of package importer; its evidence
// says what its signatures are worth.
func checkItem(t testing.TB, it importer.Item) {
	t.Helper()
	importertest.Check(t, it)
	for _, d := range it.Statements {
		if v := statement.EvidenceOf(d.Predicate)[0].Verified; v == nil || v.Result == "" {
			t.Fatalf("%s: the evidence does not say what its signatures are worth", it.Place)
		}
	}
}
