package spire

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer/bom/bomtest"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/statement"
)

// TestCounts: the SPIFFE IDs and parents of the entries, counted over the JSON
// itself, are what the statements say.
func TestCounts(t *testing.T) {
	for _, name := range []string{"entries.json", "good.json", "good-for-update.json", "manager_test_entries.json"} {
		data, err := os.ReadFile(filepath.Join(importertest.Fixtures(t, "nhi", "spire"), name))
		if err != nil {
			t.Fatal(err)
		}
		ids, entries := map[string]bool{}, 0
		var walk func(v any)
		walk = func(v any) {
			switch v := v.(type) {
			case map[string]any:
				if id, ok := v["spiffe_id"]; ok {
					text, _ := json.Marshal(id)
					if m, ok := id.(map[string]any); ok {
						text, _ = json.Marshal("spiffe://" + m["trust_domain"].(string) + m["path"].(string))
					}
					ids[string(text)] = true
					if p, ok := v["parent_id"]; ok && p != "" {
						entries++
					}
				}
				for _, x := range v {
					walk(x)
				}
			case []any:
				for _, x := range v {
					walk(x)
				}
			}
		}
		var doc any
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		walk(doc)
		want, got := map[string]int{"identities": len(ids), "parents": entries}, map[string]int{}
		seen := map[string]bool{}
		for _, it := range bomtest.Read(t, Importer{}, data) {
			for _, d := range it.Statements {
				for _, x := range d.Predicate.(*statement.Identity).Items {
					seen[x.Ref] = true
					got["parents"] += len(x.Trust)
				}
			}
		}
		got["identities"] = len(seen)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-counted +said):\n%s", name, diff)
		}
		t.Log(name, want)
	}
}
