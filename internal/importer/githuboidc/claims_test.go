package githuboidc

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/statement"
)

func readItems(t testing.TB, data []byte, o Options) []importer.Item {
	t.Helper()
	var out []importer.Item
	for it, err := range (Importer{o}).Read(importer.Source{Name: "-", R: bytes.NewReader(data)}) {
		if err != nil {
			t.Fatal(err)
		}
		importertest.Check(t, it)
		out = append(out, it)
	}
	return out
}

// said gives the statements of an Item without their evidence.
func said(it importer.Item) string {
	if it.Refusal != nil {
		return "refused, " + it.Refusal.Error() + "\n"
	}
	var b strings.Builder
	for _, d := range it.Statements {
		payload, err := statement.Format(d.Subjects, d.Predicate)
		if err != nil {
			return err.Error()
		}
		_, text, _ := strings.Cut(string(payload), `"predicate":`)
		text, _, _ = strings.Cut(text, `,"evidence":`)
		fmt.Fprintf(&b, "%s %s\n  %s\n", strings.TrimPrefix(d.Predicate.PredicateType(), statement.Base), d.Subjects[0].Name,
			strings.NewReplacer(`","`, "\",\n   \"", `},{`, "},\n   {").Replace(text))
	}
	return b.String()
}

func summarise(b *strings.Builder, it importer.Item) {
	fmt.Fprintf(b, "%s: %s", it.Place, said(it))
	for _, n := range it.Notes {
		fmt.Fprintf(b, "note: %s\n", n)
	}
	if it.Refusal == nil {
		v := statement.EvidenceOf(it.Statements[0].Predicate)[0].Verified
		fmt.Fprintf(b, "%s by %s (%s) %s\nevidence: %s\n", v.Result, v.By, v.Identity, v.Reason, it.Evidence)
	}
}

// TestTokens shows what tokens and claims become, in testdata/tokens/*. The
// command token makes an unsigned token of the claims.
func TestTokens(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "tokens"), func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			in := d.Input
			if d.Cmd == "token" {
				in = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"k","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(in)) + ".c2lnbmF0dXJl"
			}
			var b strings.Builder
			for _, it := range readItems(t, []byte(in), Options{}) {
				summarise(&b, it)
			}
			return b.String()
		})
	})
}

const someClaims = `{"iss":"https://token.actions.githubusercontent.com","sub":"repo:a/b:ref:refs/heads/main","jti":"j1","repository":"a/b","run_id":"7","iat":1632493567,"exp":1632493867,"sha":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}`

// TestSignature: a token is verified by the key set that was given and by no
// other, and neither it nor its signature leaves the importer.
func TestSignature(t *testing.T) {
	set := func(kid string) (sign func(string) string, jwks []byte) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		jwks, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: kid, Algorithm: "ES256", Use: "sig"}}})
		if err != nil {
			t.Fatal(err)
		}
		return func(claims string) string {
			x, err := s.Sign([]byte(claims))
			if err != nil {
				t.Fatal(err)
			}
			token, err := x.CompactSerialize()
			if err != nil {
				t.Fatal(err)
			}
			return token
		}, jwks
	}
	sign, jwks := set("k1")
	_, sameName := set("k1")
	_, other := set("k2")
	token := sign(someClaims)
	parts := strings.Split(token, ".")
	forged := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(someClaims, "a/b", "a/c", 1))) + "." + parts[2]
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	for _, c := range []struct {
		name, token string
		jwks        []byte
		result      string
	}{
		{"good", token, jwks, "verified"},
		{"answer of the runner", `{"count":1,"value":"` + token + `"}`, jwks, "verified"},
		{"no keys", token, nil, "unverified"},
		{"other keys", token, other, "unverified"},
		{"another key of that name", token, sameName, "failed"},
		{"keys that are none", token, []byte("{"), "unverified"},
		{"forged", forged, jwks, "failed"},
		{"algorithm none", none, jwks, "unverified"},
	} {
		it := readItems(t, []byte(c.token), Options{JWKS: c.jwks})[0]
		if it.Refusal != nil {
			t.Fatal(c.name, it.Refusal)
		}
		v := statement.EvidenceOf(it.Statements[0].Predicate)[0].Verified
		if v.Result != c.result || (v.Reason == "") != (c.result == "verified") || (v.Identity != "") != (c.result == "verified") {
			t.Errorf("%s: %+v", c.name, v)
		}
		payload, err := statement.Format(it.Statements[0].Subjects, it.Statements[0].Predicate)
		if err != nil {
			t.Fatal(err)
		}
		all := string(payload) + string(it.Evidence) + strings.Join(it.Notes, "")
		if strings.Contains(all, parts[2]) || strings.Contains(all, parts[1]) {
			t.Errorf("%s: the token leaves", c.name)
		}
	}
}

func TestRecognise(t *testing.T) {
	token := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(someClaims)) + ".AA"
	foreign := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://accounts.example"}`)) + ".AA"
	for in, want := range map[string]bool{
		someClaims: true,
		`{"alg":"x","claims":` + someClaims + `}`:   true,
		`{"header":{},"claims":` + someClaims + `}`: true,
		token:                                 true,
		token + "\n" + token:                  true,
		`{"count":9,"value":"` + token + `"}`: true,
		foreign:                               false,
		`{"value":"` + foreign + `"}`:         false,
		`{"iss":"https://accounts.example"}`:  false,
		`{"claims":{"iss":"https://x"}}`:      false,
		"eyJ":                                 false,
		"":                                    false,
	} {
		if got := (Importer{}).Recognise(importer.NewHead("x", int64(len(in)), []byte(in))); got != want {
			t.Errorf("%s: %v, want %v", in, got, want)
		}
	}
}

// TestFixtures: of the real inputs, the one object of claims is ours.
func TestFixtures(t *testing.T) {
	dir := os.Getenv("STEMMA_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "fixtures")
	}
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatalf("the fixtures are missing: %v; set STEMMA_FIXTURES", err)
		}
		t.Skipf("the fixtures are missing: %v; set STEMMA_FIXTURES", err)
	}
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || !(Importer{}).Recognise(importer.NewHead(filepath.ToSlash(path), int64(len(data)), data[:min(len(data), importer.HeadSize)])) {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		fmt.Fprintln(&out, filepath.ToSlash(rel))
		for _, it := range readItems(t, data, Options{}) {
			out.WriteString(said(it))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `nhi/spec-examples/github_actions_oidc_claims.json
activity/v1 activity:github.com/octo-org/octo-repo/actions/runs/example-run-id/attempts/2
`
	if got := out.String(); !strings.HasPrefix(got, want) || strings.Count(got, "activity/v1") != 1 || strings.Count(got, "identity/v1") != 1 {
		t.Errorf("got %s", got)
	}
}

// FuzzRead: whatever the bytes, each Item keeps the contract, and reading its
// evidence again gives the same statements.
func FuzzRead(f *testing.F) {
	f.Add([]byte(someClaims))
	f.Add([]byte(`{"header":{"alg":"RS256"},"claims":` + someClaims + `}`))
	f.Add([]byte(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(someClaims)) + ".AA"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			t.Skip()
		}
		for _, it := range readItems(t, data, Options{}) {
			if it.Refusal != nil {
				continue
			}
			again := readItems(t, it.Evidence, Options{})
			if len(again) != 1 || again[0].Refusal != nil {
				t.Fatalf("%q read again gives %+v", it.Evidence, again)
			}
			if diff := cmp.Diff(said(it), said(again[0])); diff != "" {
				t.Fatalf("%q read again gives other statements:\n%s", it.Evidence, diff)
			}
		}
	})
}
