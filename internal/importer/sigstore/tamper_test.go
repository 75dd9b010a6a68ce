package sigstore

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/statement"
)

// at gives the member of a JSON tree at a path such as a.b.0.c.
func at(t *testing.T, v any, path ...string) any {
	t.Helper()
	for _, p := range path {
		switch x := v.(type) {
		case map[string]any:
			v = x[p]
		case []any:
			v = x[p[0]-'0']
		}
		if v == nil {
			t.Fatalf("no %v", path)
		}
	}
	return v
}

// flip changes one letter in the middle of the text at a path.
func flip(t *testing.T, v any, path ...string) {
	t.Helper()
	last := path[len(path)-1]
	o := at(t, v, path[:len(path)-1]...)
	change := func(s string) string {
		const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		i := len(s) / 2
		for !strings.Contains(letters, s[i:i+1]) {
			i++
		}
		return s[:i] + letters[51-strings.IndexByte(letters, s[i]):][:1] + s[i+1:]
	}
	switch x := o.(type) {
	case map[string]any:
		x[last] = change(x[last].(string))
	case []any:
		x[last[0]-'0'] = change(x[last[0]-'0'].(string))
	}
}

// flipLine changes one letter in the last third of a line of a text.
func flipLine(t *testing.T, v any, n int, path ...string) {
	t.Helper()
	o, last := at(t, v, path[:len(path)-1]...).(map[string]any), path[len(path)-1]
	lines := strings.Split(o[last].(string), "\n")
	part := map[string]any{"x": lines[n][len(lines[n])*2/3:]}
	flip(t, part, "x")
	lines[n] = lines[n][:len(lines[n])*2/3] + part["x"].(string)
	o[last] = strings.Join(lines, "\n")
}

func drop(t *testing.T, v any, path ...string) {
	t.Helper()
	delete(at(t, v, path[:len(path)-1]...).(map[string]any), path[len(path)-1])
}

// TestTampered changes one thing at a time in bundles that verify, and holds
// every change to being failed, with the root that verifies the bundle. What a
// root does not hold is unverified instead.
func TestTampered(t *testing.T) {
	root := importertest.Fixtures(t, "supplychain")
	vm, entry := "verificationMaterial", []string{"verificationMaterial", "tlogEntries", "0"}
	in := func(path ...string) []string { return append(append([]string(nil), entry...), path...) }
	type change struct {
		name string
		do   func(t *testing.T, b map[string]any)
		want string
	}
	all := []change{
		{"nothing", func(*testing.T, map[string]any) {}, statement.CheckVerified},
		{"the signature", func(t *testing.T, b map[string]any) { flip(t, b, "dsseEnvelope", "signatures", "0", "sig") }, statement.CheckFailed},
		{"the payload", func(t *testing.T, b map[string]any) { flip(t, b, "dsseEnvelope", "payload") }, statement.CheckFailed},
		{"no log entries", func(t *testing.T, b map[string]any) { drop(t, b, vm, "tlogEntries") }, statement.CheckFailed},
		{"no signatures", func(t *testing.T, b map[string]any) { drop(t, b, "dsseEnvelope", "signatures") }, statement.CheckUnsigned},
		{"no material", func(t *testing.T, b map[string]any) { drop(t, b, vm) }, statement.CheckFailed},
		{"another payload type", func(t *testing.T, b map[string]any) { b["dsseEnvelope"].(map[string]any)["payloadType"] = "text/plain" }, statement.CheckFailed},
		{"the log entry's body", func(t *testing.T, b map[string]any) { flip(t, b, in("canonicalizedBody")...) }, statement.CheckFailed},
		{"another log", func(t *testing.T, b map[string]any) { flip(t, b, in("logId", "keyId")...) }, statement.CheckUnverified},
		{"media type 0.4", func(t *testing.T, b map[string]any) {
			b["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.4+json"
		}, statement.CheckFailed},
	}
	proof := []change{
		{"the root hash", func(t *testing.T, b map[string]any) { flip(t, b, in("inclusionProof", "rootHash")...) }, statement.CheckFailed},
		{"a hash of the proof", func(t *testing.T, b map[string]any) { flip(t, b, in("inclusionProof", "hashes", "0")...) }, statement.CheckFailed},
		{"the checkpoint", func(t *testing.T, b map[string]any) {
			flipLine(t, b, 2, in("inclusionProof", "checkpoint", "envelope")...)
		}, statement.CheckFailed},
		{"the checkpoint's signature", func(t *testing.T, b map[string]any) {
			flipLine(t, b, 4, in("inclusionProof", "checkpoint", "envelope")...)
		}, statement.CheckFailed},
		{"no proof", func(t *testing.T, b map[string]any) { drop(t, b, in("inclusionProof")...) }, statement.CheckFailed},
	}
	promise := []change{
		{"the promise", func(t *testing.T, b map[string]any) { flip(t, b, in("inclusionPromise", "signedEntryTimestamp")...) }, statement.CheckFailed},
		{"the logged time", func(t *testing.T, b map[string]any) {
			e := at(t, b, entry...).(map[string]any)
			e["integratedTime"] = e["integratedTime"].(string)[:9] + "0"
		}, statement.CheckFailed},
	}
	stamp := []change{
		{"the timestamp", func(t *testing.T, b map[string]any) {
			flip(t, b, vm, "timestampVerificationData", "rfc3161Timestamps", "0", "signedTimestamp")
		}, statement.CheckFailed},
		{"no timestamps", func(t *testing.T, b map[string]any) { drop(t, b, vm, "timestampVerificationData") }, statement.CheckFailed},
	}
	var out strings.Builder
	for _, c := range []struct {
		file    string
		changes [][]change
	}{
		{"sigstore_sigstore-conformance/intoto-dsse-v3-ok.bundle.json", [][]change{all, proof, promise}},
		{"sigstore_sigstore-conformance/rekor2-dsse-ok.bundle.json", [][]change{all, proof, stamp}},
		{"sigstore_sigstore-go/bundle-provenance.json", [][]change{all, promise}},
		{"sigstore_sigstore-go/bundle-publish.json", [][]change{all[:3], promise}},
		{"sigstore_model-transparency/v1.1.0-elliptic-key.model.sig.json", [][]change{all[:3]}},
		{"sigstore_model-transparency/v1.1.0-certificate.model.sig.json", [][]change{all[:3]}},
	} {
		raw, err := os.ReadFile(filepath.Join(root, c.file))
		if err != nil {
			t.Fatal(err)
		}
		trust := loadTrust(t, root, trustFor(root, c.file))
		fmt.Fprintf(&out, "%s\n", c.file)
		for _, list := range c.changes {
			for _, ch := range list {
				var b map[string]any
				if err := json.Unmarshal(raw, &b); err != nil {
					t.Fatal(err)
				}
				ch.do(t, b)
				data, err := json.Marshal(b)
				if err != nil {
					t.Fatal(err)
				}
				o, err := trust.Open(data)
				if err != nil {
					t.Errorf("%s, %s: %v", c.file, ch.name, err)
					continue
				}
				fmt.Fprintf(&out, "\t%s: %s %s\n", ch.name, o.Check.Result, o.Check.Reason)
				if o.Check.Result != ch.want {
					t.Errorf("%s, %s: %s (%s), want %s", c.file, ch.name, o.Check.Result, o.Check.Reason, ch.want)
				}
			}
		}
	}
	importertest.Golden(t, "tampered.txt", out.String())
}

// TestMissing takes things out of a trusted root, and holds every bundle that
// verifies with the whole of it to being unverified, with the reason.
func TestMissing(t *testing.T) {
	root := importertest.Fixtures(t, "supplychain")
	var out strings.Builder
	for _, f := range []string{"sigstore_sigstore-conformance/intoto-dsse-v3-ok.bundle.json", "sigstore_sigstore-conformance/rekor2-dsse-ok.bundle.json"} {
		raw, err := os.ReadFile(filepath.Join(root, f))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(root, trustFor(root, f)[0]))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\n", f)
		for _, part := range []string{"certificateAuthorities", "tlogs", "ctlogs", "timestampAuthorities"} {
			var r map[string]any
			if err := json.Unmarshal(text, &r); err != nil {
				t.Fatal(err)
			}
			for i, x := range r[part].([]any) { // another of the same sort stays: a wrong key or name
				if part == "certificateAuthorities" || part == "timestampAuthorities" {
					continue
				}
				x.(map[string]any)["logId"] = map[string]any{"keyId": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" + string(rune('A'+4*i)) + "="}
			}
			if part == "certificateAuthorities" || part == "timestampAuthorities" {
				r[part] = []any{}
			}
			data, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			trust, err := NewTrust(File{"root.json", data})
			if err != nil {
				t.Fatal(err)
			}
			o, err := trust.Open(raw)
			if err != nil {
				t.Fatal(err)
			}
			_, reason, _ := strings.Cut(o.Check.Reason, trust.roots[0].digest)
			fmt.Fprintf(&out, "\twithout %s: %s%s\n", part, o.Check.Result, reason)
			uses := part != "timestampAuthorities" || strings.Contains(f, "rekor2")
			if want := map[bool]string{true: statement.CheckUnverified, false: statement.CheckVerified}[uses]; o.Check.Result != want {
				t.Errorf("%s without %s: %+v, want %s", f, part, o.Check, want)
			}
		}
	}
	importertest.Golden(t, "missing.txt", out.String())
}
