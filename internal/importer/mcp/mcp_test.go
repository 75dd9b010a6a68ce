package mcp

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/bom/bomtest"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/internal/importer/inventory/inventorytest"
)

func TestMapping(t *testing.T) {
	datadriven.RunTest(t, "testdata/mapping", func(t *testing.T, d *datadriven.TestData) string {
		return inventorytest.Show(t, Importer{}, []byte(d.Input))
	})
}

// TestFixtures: which files are recognised, and what each gives.
func TestFixtures(t *testing.T) {
	dir := importertest.Fixtures(t)
	importertest.Golden(t, "fixtures.txt", bomtest.Account(t, Importer{}, dir, importertest.Claimed(t, Importer{})))
}

func FuzzRead(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for it, err := range (Importer{}).Read(importer.Source{R: bytes.NewReader(data)}) {
			if err != nil {
				t.Fatal(err)
			}
			bomtest.Check(t, it)
		}
	})
}

var seeds = []string{
	`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"t","description":"d","inputSchema":{"type":"object"},"annotations":{"destructiveHint":true}}],"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}}}`,
	`{"name":"io.example/x","version_detail":{"version":"1","release_date":"2026-01-01T00:00:00Z"},"packages":[{"registry_name":"npm","name":"@a/b","version":"1","environment_variables":[{"name":"K","value":"v"}]}]}`,
	`{"mcpServers":{"a":{"command":"npx","args":["--key","v"],"env":{"K":"v"}}}}`,
}
