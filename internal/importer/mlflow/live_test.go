package mlflow

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
)

// server answers as a tracking server does, in pages of one element.
func server(t *testing.T, override map[string]http.HandlerFunc) *url.URL {
	t.Helper()
	run := strings.TrimSuffix(strings.TrimPrefix(servedRun, `{"runs": [`), "]}")
	lists := map[string][]string{
		"/api/2.0/mlflow/experiments/search": {`{"experiment_id": "3", "name": "fraud", "artifact_location": "s3://b/3", "lifecycle_stage": "active"}`,
			`{"experiment_id": "4", "name": "empty", "artifact_location": "s3://b/4", "lifecycle_stage": "deleted"}`},
		"/api/2.0/mlflow/runs/search":              {run, strings.ReplaceAll(run, theRun, strings.Repeat("9", 32))},
		"/api/2.0/mlflow/registered-models/search": {`{"name": "fraud", "creation_timestamp": 1700000000000, "aliases": [{"alias": "champion", "version": "1"}]}`},
		"/api/2.0/mlflow/model-versions/search":    {`{"name": "fraud", "version": "1", "creation_timestamp": 1700000000000, "current_stage": "Staging"}`},
	}
	names := map[string]string{"experiments": "experiments", "runs": "runs", "registered-models": "registered_models", "model-versions": "model_versions"}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := override[r.URL.Path]; h != nil {
			h(w, r)
			return
		}
		list, ok := lists[r.URL.Path]
		if !ok {
			http.Error(w, `{"error_code": "ENDPOINT_NOT_FOUND"}`, http.StatusNotFound)
			return
		}
		token, body := r.URL.Query().Get("page_token"), struct {
			Token       string   `json:"page_token"`
			Experiments []string `json:"experiment_ids"`
		}{}
		if r.Method == http.MethodPost {
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			token = body.Token
		}
		if len(body.Experiments) == 1 && body.Experiments[0] == "4" || r.URL.Query().Get("filter") != "" {
			fmt.Fprint(w, "{}")
			return
		}
		i := 0
		fmt.Sscan(token, &i)
		next := ""
		if i+1 < len(list) {
			next = fmt.Sprintf(`, "next_page_token": "%d"`, i+1)
		}
		w.Header().Set("Date", "Wed, 15 Nov 2023 00:00:00 GMT")
		fmt.Fprintf(w, `{"%s": [%s]%s}`, names[strings.Split(r.URL.Path, "/")[4]], list[i], next)
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestLive(t *testing.T) {
	var items []importer.Item
	for it, err := range (Importer{}).Live(context.Background(), server(t, nil), http.DefaultClient) {
		if err != nil {
			t.Fatal(err)
		}
		importertest.Check(t, it)
		items = append(items, it)
	}
	importertest.Golden(t, "live.txt", show(t, items))
	saved := readText(t, "runs.json", servedRun)
	if string(saved[0].Evidence) != string(items[2].Evidence) {
		t.Errorf("a run that is read live and one that was saved give different evidence:\n%s\n%s", items[2].Evidence, saved[0].Evidence)
	}
}

func TestLiveFails(t *testing.T) {
	status := func(code int, text string) map[string]http.HandlerFunc {
		return map[string]http.HandlerFunc{"/api/2.0/mlflow/runs/search": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, text, code) }}
	}
	for _, c := range []struct {
		name     string
		override map[string]http.HandlerFunc
		want     string
	}{
		{"denied", status(403, "no"), "give a token"},
		{"gone", status(404, "nothing"), "check the address"},
		{"broken", status(500, "password=hunter2"), "password=[redacted]"},
		{"sign-in page", status(200, "<html>"), "a page to sign in"},
		{"repeats", status(200, `{"runs": [], "next_page_token": "same"}`), "names itself as the next"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got error
			for _, err := range (Importer{}).Live(context.Background(), server(t, c.override), http.DefaultClient) {
				if err != nil {
					got = err
				}
			}
			if got == nil || !strings.Contains(got.Error(), c.want) {
				t.Errorf("want an error with %q, got %v", c.want, got)
			}
		})
	}
	t.Run("unreachable", func(t *testing.T) {
		u, _ := url.Parse("http://ann:hunter2@127.0.0.1:1/")
		for _, err := range (Importer{}).Live(context.Background(), u, http.DefaultClient) {
			if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "check that the server runs") {
				t.Errorf("got %v", err)
			}
		}
	})
	t.Run("stopped", func(t *testing.T) {
		n := 0
		for range (Importer{}).Live(context.Background(), server(t, nil), http.DefaultClient) {
			if n++; n == 2 {
				break
			}
		}
	})
}
