package rawjson

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTree(t *testing.T) {
	d := Parse([]byte(`{"a": {"x": 1, "y": [true, {"k": null, "k": "last"}]}, "n": -1.50e2, "s": "\u0041\/\ud83d\ude00", "\u0061": 2}`))
	root := d.Root()
	if got := root.Get("a").Text(); got != "2" {
		t.Errorf("a = %q, want the last one", got)
	}
	if got := root.Get("n").Text(); got != "-1.50e2" {
		t.Errorf("n = %q, want the number as written", got)
	}
	if got := root.Get("s").Text(); got != "A/😀" {
		t.Errorf("s = %q", got)
	}
	if root.Get("none").Get("none").Given() || root.Get("none").Kind() != 0 {
		t.Error("what is not there is given")
	}
	var keys []string
	for m := range root.All() {
		keys = append(keys, m.Key())
	}
	if diff := cmp.Diff([]string{"n", "s", "a"}, keys); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a.y[1].k", "a"}, d.Repeated); diff != "" {
		t.Error(diff)
	}
	many := `{` + strings.Repeat(`"a":1,"b":2,`, 10) + `"a":3}`
	if d := Parse([]byte(many)); d.Root().Get("a").Text() != "3" || len(d.Repeated) != 19 {
		t.Errorf("a = %s, %d repeated", d.Root().Get("a").Text(), len(d.Repeated))
	}
}

// The canaries are put together here, so that no scanner of secrets takes
// this file for a leak.
var canaries = map[string]string{
	"AWS key":        "AK" + "IAABCDEFGHIJKLMNOP",
	"GitHub token":   "gh" + "p_0123456789abcdefABCDEF0123456789abcd",
	"Slack token":    "xo" + "xb-123456789012-abcdefABCDEF",
	"JSON web token": "ey" + "JhbGciOiJIUzI1NiJ9.ey" + "JzdWIiOiIxIn0.c2lnbmF0dXJl",
	"OpenAI key":     "s" + "k-proj-abcdefghijklmnopqrstuvwx",
	"private key":    "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIcanary\n-----END RSA " + "PRIVATE KEY-----",
}

func TestSecrets(t *testing.T) {
	for name, secret := range canaries {
		if got, want := Secrets("before "+secret+" after"), "before "+Redacted+" after"; got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	for in, want := range map[string]string{
		"postgres://ann:hunter2@db:5432/x":                       "postgres://[redacted]@db:5432/x",
		"jdbc:postgresql://db/x?user=ann&password=hunter2&ssl=1": "jdbc:postgresql://db/x?user=ann&password=[redacted]&ssl=1",
		"CREATE USER a WITH PASSWORD = 'hunter2'":                "CREATE USER a WITH PASSWORD = '[redacted]'",
		`{"client_secret": "hunter2"}`:                           `{"client_secret": "[redacted]"}`,
		"Authorization: Basic aHVudGVyMg==":                      "Authorization: Basic [redacted]",
		"curl -H 'authorization: bearer abcdefghijklmnop1234'":   "curl -H 'authorization: bearer [redacted]'",
		"AccountKey=aHVudGVyMg;EndpointSuffix=x":                 "AccountKey=[redacted];EndpointSuffix=x",
		// What looks alike and is no secret stays.
		"ssh://git@github.com/org/repo.git":                   "ssh://git@github.com/org/repo.git",
		"git@github.com:org/repo.git":                         "git@github.com:org/repo.git",
		"http://host:8080/path?mail=ann@acme.example":         "http://host:8080/path?mail=ann@acme.example",
		"SELECT token, password FROM t JOIN u ON t.token = u": "SELECT token, password FROM t JOIN u ON t.token = u",
		"the bearer of this letter":                           "the bearer of this letter",
		"unexpected token: foo":                               "unexpected token: foo",
		"primary_key: id":                                     "primary_key: id",
		"password=[redacted]":                                 "password=[redacted]",
	} {
		if got := Secrets(in); got != want {
			t.Errorf("%q\n got %q\nwant %q", in, got, want)
		}
	}
}

func TestRedact(t *testing.T) {
	in := `{"env": [{"name":"A","value":"v1"},{"name":"B","value":7}], "x.y": {"dbPassword":"hunter2","password":{"type":"int"}},
 "url":"pg:\/\/ann:hunter2@db", "twice":"` + canaries["AWS key"] + `", "twice":"fine", "` + canaries["Slack token"] + `": 1}`
	out, paths := Redact(Parse([]byte(in)), func(key []byte) ([]string, bool) { return []string{"name"}, string(key) == "env" })
	want := `{"env": [{"name":"A","value":"[redacted]"},{"name":"B","value":"[redacted]"}], "x.y": {"dbPassword":"[redacted]","password":{"type":"int"}},
 "url":"pg://[redacted]@db", "twice":"[redacted]", "twice":"fine", "[redacted]": 1}`
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Error(diff)
	}
	wantPaths := []string{"env[0].value", "env[1].value", `["x.y"].dbPassword`, "url", "twice", `["[redacted]"] (name)`}
	if diff := cmp.Diff(wantPaths, paths); diff != "" {
		t.Error(diff)
	}
	plain := []byte(`{"a": "b"}`)
	if out, paths := Redact(Parse(plain), func([]byte) ([]string, bool) { return nil, false }); &out[0] != &plain[0] || paths != nil {
		t.Error("bytes without secrets are not the same bytes")
	}
}
