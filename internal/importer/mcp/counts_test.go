package mcp

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer/bom/bomtest"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/statement"
)

// TestCounts: the servers of the registry, those without a name, and the
// packages of npm and PyPI, counted over the JSON itself, are what the
// statements say.
func TestCounts(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(importertest.Fixtures(t), "nhi/mcp-registry/seed_2025_05_16.json"))
	if err != nil {
		t.Fatal(err)
	}
	var servers []struct {
		Name     string
		Packages []struct {
			RegistryName string `json:"registry_name"`
			Name         string
		}
	}
	if err := json.Unmarshal(data, &servers); err != nil {
		t.Fatal(err)
	}
	want, got := map[string]int{}, map[string]int{}
	for _, s := range servers {
		if s.Name == "" {
			want["without a name"]++
			continue
		}
		want["servers"]++
		have := map[string]bool{}
		for _, p := range s.Packages {
			if k := p.RegistryName + " " + p.Name; (p.RegistryName == "npm" || p.RegistryName == "pypi") && p.Name != "" && !have[k] {
				have[k] = true
				want[p.RegistryName]++
			}
		}
	}
	for _, it := range bomtest.Read(t, Importer{}, data) {
		if it.Refusal != nil {
			if it.Refusal.Reason == "missing-name" {
				got["without a name"]++
			}
			continue
		}
		for _, d := range it.Statements {
			got["servers"]++
			for _, x := range d.Predicate.(*statement.Entity).Derived {
				for _, f := range x.From {
					kind, _, _ := strings.Cut(strings.TrimPrefix(f.Ref, "pkg:"), "/")
					if kind == "npm" || kind == "pypi" {
						got[kind]++
					}
				}
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-counted +said):\n%s", diff)
	}
	t.Log(want)
}
