package aws

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer/bom/bomtest"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/statement"
)

// TestReportCounts: the users, passwords and keys of the credential report,
// counted over its cells, are what the statements say.
func TestReportCounts(t *testing.T) {
	path := filepath.Join(importertest.Fixtures(t), "nhi/spec-examples/aws_credential_report.SYNTHETIC.csv")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	want, got := map[string]int{}, map[string]int{}
	for _, r := range rows[1:] {
		want["users"]++
		for _, n := range []string{"1", "2"} {
			if r[column["access_key_"+n+"_active"]] == "true" {
				want["active keys"]++
			}
			if v := r[column["access_key_"+n+"_last_used_date"]]; len(v) > 4 && v[4] == '-' {
				want["keys with a last use"]++
			}
		}
	}
	for _, it := range bomtest.Read(t, Importer{}, data) {
		for _, d := range it.Statements {
			for _, x := range d.Predicate.(*statement.Identity).Items {
				got["users"]++
				for _, c := range x.Credentials {
					if c.Kind == "access-key" && c.State == "active" {
						got["active keys"]++
					}
					if c.Kind == "access-key" && !c.LastUsedAt.IsZero() {
						got["keys with a last use"]++
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
