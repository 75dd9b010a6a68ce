package spdx

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/stemma-lineage/stemma/internal/importer/bom/bomtest"
)

// TestCases shows what each input gives. "read" takes a document as it is,
// "v2" the members of a 2.3 document beside its head, "v3" elements.
func TestCases(t *testing.T) {
	datadriven.Walk(t, "testdata/cases", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			in := d.Input
			switch d.Cmd {
			case "v2":
				in = `{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"doc","documentNamespace":"https://lab.example/doc","creationInfo":{"created":"2026-02-01T00:00:00Z","creators":["Tool: maker"]},` + in + "}"
			case "v3":
				in = `{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[{"type":"CreationInfo","@id":"_:i","specVersion":"3.0.1","created":"2026-02-01T00:00:00Z","createdBy":["https://lab.example/a#org"]},` + in + "]}"
			}
			return bomtest.Text(bomtest.Read(t, Importer{}, []byte(in)))
		})
	})
}

// TestManyFiles: files share statements.
func TestManyFiles(t *testing.T) {
	var b strings.Builder
	b.WriteString("SPDXVersion: SPDX-2.3\nSPDXID: SPDXRef-DOCUMENT\nDocumentName: d\nDocumentNamespace: https://lab.example/many\nPackageName: p\nSPDXID: SPDXRef-p\nPackageVersion: 1\n")
	for i := range 5000 {
		fmt.Fprintf(&b, "FileName: ./f%d\nSPDXID: SPDXRef-f%d\nFileChecksum: SHA1: %040x\n", i, i, i)
	}
	items := bomtest.Read(t, Importer{}, []byte(b.String()))
	if items[0].Refusal != nil || len(items[0].Statements) > 40 {
		t.Errorf("%v, %d statements", items[0].Refusal, len(items[0].Statements))
	}
}

// FuzzRead: whatever the input, each Item keeps to the contract, and the kept
// evidence gives the same statements.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"d","documentNamespace":"https://lab.example/d","creationInfo":{"created":"2026-01-01T00:00:00Z"},"packages":[{"SPDXID":"SPDXRef-a","name":"a","versionInfo":"1","checksums":[{"algorithm":"SHA1","checksumValue":"00"}],"hasFiles":["SPDXRef-f"]}],"files":[{"SPDXID":"SPDXRef-f","fileName":"f"}],"relationships":[{"spdxElementId":"SPDXRef-a","relationshipType":"DEPENDS_ON","relatedSpdxElement":"DocumentRef-x:SPDXRef-b"}]}`))
	f.Add([]byte("SPDXVersion: SPDX-2.2\nDocumentNamespace: https://lab.example/t\nSPDXID: SPDXRef-DOCUMENT\nPackageName: a\nSPDXID: SPDXRef-a\nPackageChecksum: SHA1: da39a3ee5e6b4b0d3255bfef95601890afd80709\nPackageComment: <text>one\ntwo</text>\nRelationship: SPDXRef-a CONTAINS SPDXRef-b\nAnnotator: Person: A\nAnnotationDate: 2026-01-01T00:00:00Z\nAnnotationComment: <text>x</text>\n"))
	f.Add([]byte(`{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[{"type":"CreationInfo","@id":"_:i","created":"2026-01-01T00:00:00Z"},{"type":"ai_AIPackage","spdxId":"a:m","name":"m","ai_energyConsumption":{"a":[{"ai_energyQuantity":"1"}]}},{"type":"build_Build","spdxId":"a:b","build_parameter":[{"key":"PASSWORD","value":"x"}]},{"type":"Relationship","spdxId":"a:r","from":"a:b","relationshipType":"hasOutput","to":["a:m"]},{"type":"Relationship","from":"a:m","relationshipType":"testedOn","to":["a:q"],"startTime":"2026-01-01T00:00:00Z"},{"type":"security_Vulnerability","spdxId":"a:v"},{"type":"security_VexAffectedVulnAssessmentRelationship","from":"a:v","relationshipType":"affects","to":["a:m"]}]}`))
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
