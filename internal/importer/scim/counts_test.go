package scim

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

// TestCounts: the roles and entitlements of the draft's agent, counted over
// the JSON itself, are what the statements say.
func TestCounts(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(importertest.Fixtures(t), "nhi/spec-examples/scim_agent_full.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Entitlements, Roles []any }
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	want, got := map[string]int{"entitlements": len(doc.Entitlements), "roles": len(doc.Roles)}, map[string]int{"entitlements": 0, "roles": 0}
	for _, it := range bomtest.Read(t, Importer{}, data) {
		for _, d := range it.Statements {
			if p, ok := d.Predicate.(*statement.Identity); ok {
				for _, x := range p.Items {
					got["entitlements"] += len(x.Grants)
					got["roles"] += len(x.MemberOf)
				}
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-counted +said):\n%s", diff)
	}
	t.Log(want)
}
