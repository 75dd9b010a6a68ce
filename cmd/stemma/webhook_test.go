package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is violated is told once, and again what has changed; narrowed
// otherwise it is another subscription. Nothing shows the secret.
func TestFindingsWebhook(t *testing.T) {
	dir := t.TempDir()
	secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte(canary(9001)))
	var got []string
	refuse := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("webhook-signature") == "" || bytes.Contains(b, []byte(canary(9001))) {
			t.Errorf("%v, headers %v, body %s", err, r.Header, b)
		}
		if refuse {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		var m struct {
			Type string
			Data struct {
				Finding struct{ Detector, Subject string }
			}
		}
		if err := json.Unmarshal(b, &m); err != nil {
			t.Error(err)
		}
		got = append(got, m.Type+" "+m.Data.Finding.Detector)
	}))
	defer server.Close()
	file := filepath.Join(dir, "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := server.URL + "/" + canary(9002)
	ask := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		args = append([]string{"--dir", filepath.Join(dir, "demo"), "findings", "--webhook", url, "--webhook-secret-file", file}, args...)
		if code := run(t.Context(), args, nil, &out, &out); code != want {
			t.Fatalf("%v: exit %d, want %d: %s", args, code, want, &out)
		}
		for _, s := range []string{secret, canary(9001), canary(9002)} {
			if strings.Contains(out.String(), s) {
				t.Errorf("the output shows %s:\n%s", s, &out)
			}
		}
		return out.String()
	}
	var out bytes.Buffer
	t.Chdir(dir)
	if code := run(t.Context(), []string{"demo", "--keep", "demo"}, nil, &out, &out); code != 0 {
		t.Fatal(out.String())
	}
	refuse = true
	if says := ask(1); !strings.Contains(says, "403 Forbidden") || !strings.Contains(says, "wait") {
		t.Errorf("refused: %s", says)
	}
	refuse = false
	ask(0)
	first := len(got)
	if first == 0 || got[0][:12] != "finding.new " {
		t.Fatalf("told %v", got)
	}
	if says := ask(0); len(got) != first || !strings.Contains(says, "was told of 0") {
		t.Errorf("told again %v: %s", got[first:], says)
	}
	ask(0, "--detector", "L05")
	if len(got) != first+1 || got[first] != "finding.new L05" {
		t.Errorf("of L05 alone: %v", got[first:])
	}
	err := filepath.WalkDir(filepath.Join(dir, "demo"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, s := range []string{secret, canary(9001), canary(9002)} {
			if bytes.Contains(b, []byte(s)) {
				t.Errorf("%s holds %s", path, s)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
