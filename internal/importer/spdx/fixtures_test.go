package spdx

import (
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer/bom/bomtest"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
)

// TestFixtures accounts for every SPDX document among the fixtures.
func TestFixtures(t *testing.T) {
	dir := importertest.Fixtures(t)
	files := importertest.Claimed(t, Importer{})
	importertest.Golden(t, "fixtures.txt", bomtest.Account(t, Importer{}, dir, files))
}
