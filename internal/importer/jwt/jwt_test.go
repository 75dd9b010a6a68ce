package jwt

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
	`{"iss":"https://i.example","sub":"a@b.example","exp":1786003600,"iat":1786000000,"jti":"j","scope":"x y","act":{"sub":"spiffe://e.example/a","act":{"sub":"b"}}}`,
	"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIiwiZXhwIjoxNzg2MDAzNjAwfQ.",
}
