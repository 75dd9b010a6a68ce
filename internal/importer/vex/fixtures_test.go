package vex

import (
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer/bom/bomtest"
)

// TestFixtures accounts for every OpenVEX and CSAF document among the fixtures.
func TestFixtures(t *testing.T) {
	dir := bomtest.Fixtures(t)
	files := bomtest.Claimed(t, Importer{}, dir)
	bomtest.Golden(t, "fixtures.txt", bomtest.Account(t, Importer{}, dir, files))
}
