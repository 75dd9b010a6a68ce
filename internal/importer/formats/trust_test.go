package formats

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/stemma-lineage/stemma/internal/importer/sigstore"
)

const (
	publicJWK  = `{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	privateJWK = `{"kty":"OKP","crv":"Ed25519","kid":"1","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	publicPEM  = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n"
)

// ring gives a new key in binary and armored form, and its private key.
func ring(t *testing.T, name string) (binary, armored, private []byte) {
	t.Helper()
	e, err := openpgp.NewEntity(name, "", name+"@acme.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	var b, a, p bytes.Buffer
	w, err := armor.Encode(&a, openpgp.PublicKeyType, nil)
	if err == nil {
		err = e.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = e.Serialize(&b)
	}
	if err == nil {
		err = e.SerializePrivate(&p, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), append(a.Bytes(), '\n'), p.Bytes()
}

// TestAddTrust tells files of trust apart by their content, and adds up those
// of a kind.
func TestAddTrust(t *testing.T) {
	ann, annText, annPrivate := ring(t, "ann")
	_, benText, _ := ring(t, "ben")
	_, cleText, _ := ring(t, "cle")
	set := `{"keys":[` + publicJWK + `]}`
	for _, c := range []struct {
		name, err      string
		pgp, jwks, pem int
		files          []string
	}{
		{name: "nothing"},
		{name: "a key", files: []string{publicPEM}, pem: 1},
		{name: "rings", files: []string{string(ann), string(benText) + "and\n" + string(cleText)}, pgp: 3},
		{name: "one of each", files: []string{string(annText), set, publicPEM}, pgp: 1, jwks: 1, pem: 1},
		{name: "key sets", files: []string{set, "\n" + set}, jwks: 2},
		{name: "a private ring", files: []string{string(annPrivate)}, err: "private key"},
		{name: "a private key in a set", files: []string{`{"keys":[` + privateJWK + `]}`}, err: "keys[0] holds a private"},
		{name: "a set of no known key", files: []string{`{"keys":[{"kty":"zork"}]}`}, err: "no key set that can be used"},
		{name: "broken armor", files: []string{"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nzork"}, err: "are no OpenPGP keys"},
		{name: "a text", files: []string{"hello"}, err: "neither"},
		{name: "an empty file", files: []string{""}, err: "empty"},
	} {
		var files []sigstore.File
		for _, f := range c.files {
			files = append(files, sigstore.File{Name: "f", Data: []byte(f)})
		}
		var o Options
		err := o.AddTrust(files...)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "f: ") {
				t.Errorf("%s: %v, want %s", c.name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		keys := 0
		if len(o.OpenPGP) > 0 {
			list, err := openpgp.ReadKeyRing(bytes.NewReader(o.OpenPGP))
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			keys = len(list)
		}
		if got := strings.Count(string(o.JWKS), `"kid"`); keys != c.pgp || got != c.jwks || o.Trust.Empty() != (c.pem == 0) {
			t.Errorf("%s: %d OpenPGP keys, %d of sets, others %v", c.name, keys, got, !o.Trust.Empty())
		}
	}
}
