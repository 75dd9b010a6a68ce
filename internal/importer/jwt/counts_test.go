package jwt

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer/bom/bomtest"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/statement"
)

// TestCounts: each nested actor of RFC 8693's example is one hop.
func TestCounts(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(importertest.Fixtures(t), "nhi/spec-examples/rfc8693_nested_act.json"))
	if err != nil {
		t.Fatal(err)
	}
	type actor struct{ Act *actor }
	var doc actor
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	want, got := 0, 0
	for a := doc.Act; a != nil; a = a.Act {
		want++
	}
	for _, it := range bomtest.Read(t, Importer{}, data) {
		for _, d := range it.Statements {
			if _, ok := d.Predicate.(*statement.Delegation); ok {
				got++
			}
		}
	}
	if want == 0 || got != want {
		t.Errorf("%d hops, counted %d actors", got, want)
	}
}
