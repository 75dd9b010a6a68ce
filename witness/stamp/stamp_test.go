package stamp_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/stemma-lineage/stemma/witness/stamp"
)

var base = time.Now().UTC().Truncate(time.Second) // the library signs its own time too

type certificate struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate; a nil issuer makes a root.
func issue(t *testing.T, name string, by *certificate, change func(*x509.Certificate)) *certificate {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(base.Unix()), Subject: pkix.Name{CommonName: name}, NotBefore: base.Add(-time.Hour), NotAfter: base.Add(time.Hour)}
	if by == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		by = &certificate{c, k}
	} else {
		c.ExtraExtensions = []pkix.Extension{usage(t, true, timeStamping)}
	}
	if change != nil {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by.cert, &k.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &certificate{got, k}
}

var (
	timeStamping = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
	serverAuth   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}
)

func usage(t *testing.T, critical bool, ids ...asn1.ObjectIdentifier) pkix.Extension {
	b, err := asn1.Marshal(ids)
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: critical, Value: b}
}

func respond(t *testing.T, by *certificate, signed []byte, change func(*timestamp.Timestamp)) []byte {
	t.Helper()
	sum := sha256.Sum256(signed)
	ts := &timestamp.Timestamp{HashAlgorithm: crypto.SHA256, HashedMessage: sum[:], Time: base, Accuracy: 2 * time.Second, Nonce: big.NewInt(7), Policy: asn1.ObjectIdentifier{1, 2, 3}, AddTSACertificate: true}
	if change != nil {
		change(ts)
	}
	b, err := ts.CreateResponseWithOpts(by.cert, by.key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func trusted(t *testing.T, list ...*certificate) *stamp.Authorities {
	t.Helper()
	var text []byte
	for _, c := range list {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})...)
	}
	a, err := stamp.ParseAuthorities(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestOpen(t *testing.T) {
	root, stranger := issue(t, "root", nil, nil), issue(t, "root", nil, nil)
	leaf := issue(t, "authority one", root, nil)
	signed := []byte("example.org/log\n9\nroot\n\n— sig\n")
	a := trusted(t, root)
	good := respond(t, leaf, signed, nil)
	w, err := a.Open(stamp.Stamped{Signed: signed, Response: good}, 9, big.NewInt(7))
	if err != nil || w.Who != "timestamp authority authority one" || w.Size != 9 || !w.Time.Equal(base.Add(2*time.Second)) {
		t.Fatalf("%+v %v", w, err)
	}
	s, err := stamp.Parse(stamp.Format(stamp.Stamped{Signed: signed, Response: good}))
	if err != nil || !bytes.Equal(s.Signed, signed) || !bytes.Equal(s.Response, good) {
		t.Fatalf("written and read it is another: %v", err)
	}
	tampered := bytes.Clone(good)
	tampered[len(tampered)-3] ^= 1
	refused, err := timestamp.CreateErrorResponse(timestamp.Rejection, timestamp.BadRequest)
	if err != nil {
		t.Fatal(err)
	}
	leafWith := func(change func(*x509.Certificate)) []byte {
		return respond(t, issue(t, "leaf", root, change), signed, nil)
	}
	for name, c := range map[string]struct {
		a        *stamp.Authorities
		signed   []byte
		response []byte
		nonce    *big.Int
	}{
		"another checkpoint":      {a, []byte("example.org/log\n8\n"), good, nil},
		"another nonce":           {a, signed, good, big.NewInt(8)},
		"no nonce":                {a, signed, respond(t, leaf, signed, func(ts *timestamp.Timestamp) { ts.Nonce = nil }), big.NewInt(7)},
		"another root":            {trusted(t, stranger), signed, good, nil},
		"tampered":                {a, signed, tampered, nil},
		"cut":                     {a, signed, good[:len(good)-1], nil},
		"empty":                   {a, signed, nil, nil},
		"refused":                 {a, signed, refused, nil},
		"without its certificate": {a, signed, respond(t, leaf, signed, func(ts *timestamp.Timestamp) { ts.AddTSACertificate = false }), nil},
		"before the certificate":  {a, signed, respond(t, leaf, signed, func(ts *timestamp.Timestamp) { ts.Time = base.Add(-2 * time.Hour) }), nil},
		"after the certificate":   {a, signed, respond(t, leaf, signed, func(ts *timestamp.Timestamp) { ts.Time = base.Add(2 * time.Hour) }), nil},
		"for servers":             {a, signed, leafWith(func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{usage(t, true, serverAuth)} }), nil},
		"for servers too": {a, signed, leafWith(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{usage(t, true, timeStamping, serverAuth)}
		}), nil},
		"usage not critical": {a, signed, leafWith(func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{usage(t, false, timeStamping)} }), nil},
		"an authority's own": {a, signed, leafWith(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), nil},
	} {
		if w, err := c.a.Open(stamp.Stamped{Signed: c.signed, Response: c.response}, 9, c.nonce); !errors.Is(err, stamp.ErrTimestamp) {
			t.Errorf("%s: %+v %v", name, w, err)
		}
	}
}

func TestParseAuthorities(t *testing.T) {
	root := issue(t, "root", nil, nil)
	leaf := issue(t, "leaf", root, nil)
	cert := func(c *certificate) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw}))
	}
	for name, text := range map[string]string{
		"empty":         "",
		"no root":       cert(leaf),
		"a private key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})) + cert(root),
		"text after it": cert(root) + "more",
		"damaged":       string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.cert.Raw[:50]})),
	} {
		if _, err := stamp.ParseAuthorities([]byte(text)); !errors.Is(err, stamp.ErrTimestamp) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("example.org\n1\n-- timestamp --\nMAA=\n"))
	a := &stamp.Authorities{}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := stamp.Parse(b); err == nil {
			if _, err := a.Open(s, 1, nil); err == nil {
				t.Error("it holds without an authority")
			}
		}
	})
}
