package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// registry is an MLflow server with one model, whose alias moves. It wants a
// token, and sends whoever asks for a prompt elsewhere.
type registry struct {
	mu       sync.Mutex
	champion string
	day      int
	leaked   []string // what another host was told
}

func (r *registry) serve(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q.Header.Get("Authorization") != "Bearer tok-hunter2hunter2" {
		http.Error(w, `{"error_code": "UNAUTHENTICATED"}`, http.StatusUnauthorized)
		return
	}
	w.Header().Set("Date", fmt.Sprintf("Wed, %02d Nov 2023 00:00:00 GMT", r.day))
	switch list := strings.TrimPrefix(q.URL.Path, "/api/2.0/mlflow/"); {
	case q.URL.Query().Get("filter") != "":
		fmt.Fprint(w, "{}")
	case list == "registered-models/search":
		fmt.Fprintf(w, `{"registered_models": [{"name": "fraud", "creation_timestamp": 1600000000000, "aliases": [{"alias": "champion", "version": %q}]}]}`, r.champion)
	case list == "model-versions/search":
		fmt.Fprint(w, `{"model_versions": [{"name": "fraud", "version": "1", "creation_timestamp": 1600000000000}, {"name": "fraud", "version": "2", "creation_timestamp": 1600000001000}]}`)
	case list == "experiments/search":
		fmt.Fprint(w, `{"experiments": []}`)
	default:
		http.NotFound(w, q)
	}
}

// TestImportServer reads a server that changes: what did not change is not
// recorded again, and what an alias pointed at is known for every time at which
// somebody looked.
func TestImportServer(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("STEMMA_CONFIG", filepath.Join(dir, "config"))
	t.Setenv("STEMMA_PRINCIPAL", "person:test@example.org")
	t.Setenv("MLFLOW_TRACKING_TOKEN", "")
	t.Setenv("FRAUD_TOKEN", "tok-hunter2hunter2")
	r := &registry{champion: "1", day: 10}
	s := httptest.NewServer(http.HandlerFunc(r.serve))
	defer s.Close()
	stemma(t, "init", "--dir", dir)
	look := func(day int, champion string) {
		t.Helper()
		r.mu.Lock()
		r.day, r.champion = day, champion
		r.mu.Unlock()
		stemma(t, "import", "mlflow", s.URL, "--token-env", "FRAUD_TOKEN", "--dir", dir)
	}
	look(10, "1")
	first := size(t, dir)
	look(11, "1")
	if got := size(t, dir); got != first {
		t.Errorf("nothing changed at the server, and the log went from %s to %s entries", first, got)
	}
	look(12, "2")
	for _, c := range []struct{ at, want string }{{"2023-11-10T12:00:00Z", "model:fraud@1"}, {"2023-11-11T12:00:00Z", "model:fraud@1"}, {"2023-11-12T12:00:00Z", "model:fraud@2"}} {
		if out := stemma(t, "show", "model:fraud@champion", "--at", c.at, "--dir", dir); !strings.Contains(out, c.want) {
			t.Errorf("at %s champion is not %s:\n%s", c.at, c.want, out)
		}
	}
	stemma(t, "log", "fsck", "--dir", dir)

	// Without the token the server says no, and the token is told to nobody else.
	out, err := exec.Command("stemma", "import", "mlflow", s.URL, "--dir", dir).CombinedOutput()
	if err == nil || strings.Contains(string(out), "hunter2") {
		t.Errorf("without a token: %v\n%s", err, out)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		r.leaked = append(r.leaked, q.Header.Get("Authorization"))
		r.mu.Unlock()
		http.NotFound(w, q)
	}))
	defer other.Close()
	leads := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer leads.Close()
	if out, err := exec.Command("stemma", "import", "mlflow", leads.URL, "--token-env", "FRAUD_TOKEN", "--dir", dir).CombinedOutput(); err == nil {
		t.Errorf("a server that leads elsewhere was read:\n%s", out)
	}
	if r.mu.Lock(); len(r.leaked) == 0 || strings.Join(r.leaked, "") != "" {
		t.Errorf("another host was told %q", r.leaked)
	}
	r.mu.Unlock()
}
