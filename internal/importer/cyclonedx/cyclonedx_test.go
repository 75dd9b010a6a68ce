package cyclonedx

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/stemma-lineage/stemma/internal/importer/bom"
	"github.com/stemma-lineage/stemma/internal/importer/bom/bomtest"
	"github.com/stemma-lineage/stemma/statement"
)

// TestCases shows what each input gives. "read" takes a document as it is,
// "bom" the members beside bomFormat and specVersion 1.7.
func TestCases(t *testing.T) {
	datadriven.Walk(t, "testdata/cases", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			in := d.Input
			if d.Cmd == "bom" {
				in = `{"bomFormat":"CycloneDX","specVersion":"1.7",` + in + "}"
			}
			return bomtest.Text(bomtest.Read(t, Importer{}, []byte(in)))
		})
	})
}

// many gives a document of n components in a chain.
func many(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"component":{"type":"application","bom-ref":"root","name":"big","version":"1"}},"components":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"type":"library","bom-ref":"r%d","name":"a%d","version":"1","purl":"pkg:npm/a%d@1","licenses":[{"license":{"id":"MIT"}}]}`, i, i, i)
	}
	b.WriteString(`],"dependencies":[`)
	for i := range n - 1 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"ref":"r%d","dependsOn":["r%d"]}`, i, i+1)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// TestMany: a large document gives statements that are each small, and only
// what heads the chain is tied to what the document describes.
func TestMany(t *testing.T) {
	const n = 10_000
	items := bomtest.Read(t, Importer{}, many(n))
	if len(items) != 1 || items[0].Refusal != nil {
		t.Fatalf("%d items, %v", len(items), items[0].Refusal)
	}
	subjects, derived, listed := map[string]bool{}, 0, 0
	for _, d := range items[0].Statements {
		if len(d.Subjects) > 500 {
			t.Errorf("a statement of %d subjects", len(d.Subjects))
		}
		e := d.Predicate.(*statement.Entity)
		for _, s := range d.Subjects {
			subjects[s.Name] = true
		}
		for _, x := range e.Derived {
			for _, f := range x.From {
				if derived++; f.Transformation == "listed" {
					listed++
				}
			}
		}
	}
	if len(subjects) != n+2 || derived != n || listed != 1 {
		t.Errorf("%d subjects, %d derivations, %d listed", len(subjects), derived, listed)
	}
	if len(items[0].Statements) > 60 {
		t.Errorf("%d statements", len(items[0].Statements))
	}
}

// TestLimit: what is larger than the limit is refused, whole.
func TestLimit(t *testing.T) {
	items := bomtest.Read(t, Importer{Options: bom.Options{MaxDocument: 1000}}, many(100))
	if len(items) != 1 || items[0].Refusal == nil || items[0].Refusal.Reason != "too-large" {
		t.Errorf("%+v", items)
	}
}

// TestDeep: nesting within the limit is read, beyond it refused.
func TestDeep(t *testing.T) {
	deep := func(n int) []byte {
		open, end := `{"type":"library","name":"a","version":"1","components":[`, `]}`
		return []byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[` + strings.Repeat(open, n) + strings.Repeat(end, n) + `]}`)
	}
	if items := bomtest.Read(t, Importer{}, deep(200)); items[0].Refusal != nil {
		t.Error(items[0].Refusal)
	}
	if items := bomtest.Read(t, Importer{}, deep(100_000)); items[0].Refusal == nil {
		t.Error("nesting without end is accepted")
	}
}

// FuzzRead: whatever the input, each Item keeps to the contract, and the kept
// evidence gives the same statements.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"metadata":{"component":{"type":"application","name":"a"}},"components":[{"type":"library","name":"b","purl":"pkg:npm/b@1","hashes":[{"alg":"SHA-1","content":"00"}]}],"dependencies":[{"ref":"a","dependsOn":["b"]}]}`))
	f.Add([]byte(`{"bomFormat":"CycloneDX","specVersion":"1.7","components":[{"type":"machine-learning-model","name":"m","bom-ref":"m","modelCard":{"modelParameters":{"datasets":[{"ref":"d"},{"type":"dataset","name":"x","contents":{"url":"s3://a:b@c"}}]}},"pedigree":{"ancestors":[{"type":"data","name":"d","bom-ref":"d"}]}}]}`))
	f.Add([]byte(`{"bomFormat":"CycloneDX","specVersion":"1.5","formulation":[{"workflows":[{"uid":"u","tasks":[{"bom-ref":"t","timeStart":"2026-01-01T00:00:00Z","inputs":[{"environmentVars":[{"name":"A","value":"b"},"C"]}],"outputs":[{"resource":{"ref":"q"}}]}]}]}],"vulnerabilities":[{"id":"CVE-1","affects":[{"ref":"urn:cdx:a/1#b","versions":[{"version":"1"},{"range":"vers:npm/<2"}]}]}]}`))
	f.Add([]byte(`<bom xmlns="http://cyclonedx.org/schema/bom/1.4" version="1"><components><component type="library"><name>a</name><version>1</version></component></components></bom>`))
	f.Add([]byte(`[{"bomFormat":"CycloneDX","specVersion":"1.4"},{}]`))
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
