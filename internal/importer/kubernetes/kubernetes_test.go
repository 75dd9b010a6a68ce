package kubernetes

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/bom/bomtest"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/internal/importer/inventory/inventorytest"
	"github.com/stemma-lineage/stemma/statement"
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

// TestCounts: what the list dumps of the fixtures hold, counted over the JSON
// itself, is what the statements say.
func TestCounts(t *testing.T) {
	dir := filepath.Join(importertest.Fixtures(t), "nhi")
	files, err := filepath.Glob(filepath.Join(dir, "k8s-kubehound/pkg/collector/testdata/test-cluster/*/*role*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	files = append(files, filepath.Join(dir, "spec-examples/k8s_list_sa_secret_rolebinding.SYNTHETIC.json"))
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Items []struct {
				Kind     string
				Subjects []any
				Rules    []struct{ APIGroups, Resources []string }
			}
		}
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		want, got := map[string]int{}, map[string]int{}
		for _, it := range doc.Items {
			want["subjects"] += len(it.Subjects)
			for _, r := range it.Rules {
				want["grants"] += len(r.APIGroups) * len(r.Resources)
			}
			if it.Kind == "ServiceAccount" {
				want["accounts"]++
			}
		}
		for _, it := range bomtest.Read(t, Importer{}, data) {
			for _, d := range it.Statements {
				p, ok := d.Predicate.(*statement.Identity)
				for _, x := range p.Items {
					if got["subjects"] += len(x.MemberOf); ok && strings.HasSuffix(p.Source, "/ServiceAccount") {
						got["accounts"]++
					}
					got["grants"] += len(x.Grants)
				}
			}
		}
		for k := range got {
			if want[k] == 0 && got[k] == 0 {
				delete(got, k)
			}
		}
		for k, n := range want {
			if n == 0 {
				delete(want, k)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-counted +said):\n%s", filepath.Base(f), diff)
		}
	}
}

// TestDocuments: a bad document of a manifest is refused, the others are not.
func TestDocuments(t *testing.T) {
	text := "kind: ServiceAccount\napiVersion: v1\nmetadata: {name: a}\n---\nx: [\n--- # next\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: b, namespace: n}\nautomountServiceAccountToken: false\n---\n"
	var got []string
	for it, err := range (Importer{}).Read(importer.Source{R: strings.NewReader(text)}) {
		if err != nil {
			t.Fatal(err)
		}
		bomtest.Check(t, it)
		s := it.Place + " accepted"
		if it.Refusal != nil {
			s = it.Place + " " + it.Refusal.Reason
		}
		got = append(got, s)
	}
	if diff := cmp.Diff([]string{"line 1 accepted", "line 4 malformed-yaml", "line 6 accepted"}, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"v1","kind":"List","items":[{"kind":"Secret","type":"kubernetes.io/service-account-token","metadata":{"name":"t","namespace":"n","annotations":{"kubernetes.io/service-account.name":"s"}},"data":{"token":"c2VjcmV0"}}]}`))
	f.Add([]byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"r/x:1","env":[{"name":"A","value":"s3cr3t"}]}]}}`))
	f.Add([]byte("apiVersion: v1\nkind: RoleBinding\nmetadata: {name: b}\nroleRef: {kind: ClusterRole, name: edit}\nsubjects: [{kind: User, name: u}]\n---\n&a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for it, err := range (Importer{}).Read(importer.Source{R: bytes.NewReader(data)}) {
			if err != nil {
				t.Fatal(err)
			}
			bomtest.Check(t, it)
		}
	})
}
