package gcp

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

// TestCounts: the members of bindings, the accounts, the keys and those of
// them that never expire, and the permissions of roles, counted over the JSON
// itself, are what the statements say.
func TestCounts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(importertest.Fixtures(t), "nhi/gcp-iam-policylibrary/*/assets/data.json"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	all := map[string]int{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var assets []struct {
			AssetType string                                          `json:"asset_type"`
			IAMPolicy struct{ Bindings []struct{ Members []string } } `json:"iam_policy"`
			Resource  struct {
				Data struct {
					Email, ValidBeforeTime           string
					IncludedPermissions, Permissions []string
				}
			}
		}
		if err := json.Unmarshal(data, &assets); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		want, got := map[string]int{}, map[string]int{}
		for _, a := range assets {
			for _, b := range a.IAMPolicy.Bindings {
				want["members of bindings"] += len(b.Members)
			}
			switch a.AssetType[strings.LastIndexByte(a.AssetType, '/')+1:] {
			case "ServiceAccount":
				if a.Resource.Data.Email != "" {
					want["accounts"]++
				}
			case "ServiceAccountKey":
				want["keys"]++
				if strings.HasPrefix(a.Resource.Data.ValidBeforeTime, "9999") {
					want["keys that never expire"]++
				}
			case "Role":
				want["permissions"] += len(a.Resource.Data.IncludedPermissions)
			}
		}
		for _, it := range bomtest.Read(t, Importer{}, data) {
			for _, d := range it.Statements {
				p := d.Predicate.(*statement.Identity)
				for _, x := range p.Items {
					got["members of bindings"] += len(x.Grants)
					got["keys"] += len(x.Credentials)
					if x.Human == "no" {
						got["accounts"]++
					}
					for _, c := range x.Credentials {
						if c.NeverExpires {
							got["keys that never expire"]++
						}
					}
					for k := range x.Attributes {
						if strings.HasPrefix(k, "permission.") {
							got["permissions"]++
						}
					}
				}
			}
		}
		for _, m := range []map[string]int{want, got} {
			for k, n := range m {
				if n == 0 {
					delete(m, k)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-counted +said):\n%s", f, diff)
		}
		for k, n := range want {
			all[k] += n
		}
	}
	for _, k := range []string{"members of bindings", "accounts", "keys", "permissions"} {
		if all[k] == 0 {
			t.Errorf("the fixtures hold no %s", k)
		}
	}
	t.Log(all)
}
