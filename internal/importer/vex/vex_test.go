package vex

import (
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/stemma-lineage/stemma/internal/importer/bom/bomtest"
)

// TestCases shows what each input gives.
func TestCases(t *testing.T) {
	datadriven.Walk(t, "testdata/cases", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			return bomtest.Text(bomtest.Read(t, Importer{}, []byte(d.Input)))
		})
	})
}

// FuzzRead: whatever the input, each Item keeps to the contract, and the kept
// evidence gives the same statements.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://lab.example/v","author":"a","timestamp":"2026-01-01T00:00:00Z","version":1,"statements":[{"vulnerability":{"name":"CVE-1"},"products":[{"@id":"pkg:npm/a@1","subcomponents":[{"@id":"pkg:npm/b@1"}]}],"status":"affected","action_statement":"x"},{"vulnerability":"CVE-2","products":["x"],"status":"fixed"}]}`))
	f.Add([]byte(`{"document":{"csaf_version":"2.0","category":"csaf_vex","publisher":{"namespace":"https://lab.example"},"tracking":{"id":"X-1","version":"1"}},"product_tree":{"branches":[{"branches":[{"product":{"name":"a","product_id":"A","product_identification_helper":{"purl":"pkg:npm/a@1"}}}]}],"relationships":[{"category":"default_component_of","full_product_name":{"name":"c","product_id":"C"},"product_reference":"A","relates_to_product_reference":"B"}]},"vulnerabilities":[{"cve":"CVE-1","product_status":{"known_affected":["C"],"fixed":["A","Z"]},"threats":[{"category":"impact","details":"Important"}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, it := range bomtest.Read(t, Importer{}, data) {
			if it.Refusal != nil {
				continue
			}
			again := bomtest.Read(t, Importer{}, it.Evidence)
			if len(again) != 1 || again[0].Refusal != nil || len(again[0].Statements) != len(it.Statements) {
				t.Fatalf("the evidence gives other statements: %s", bomtest.Text(again))
			}
		}
	})
}
