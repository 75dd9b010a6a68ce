package github

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

// TestCounts: what the organisation's graph holds, counted over the JSON
// itself, is what the statements say; three of its six tokens have expired
// without a time of it.
func TestCounts(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(importertest.Fixtures(t), "nhi/github-opengraph-githound/githound_O_kgDOCoV2OQ.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Graph struct {
			Nodes []struct {
				ID         string
				Kinds      []string
				Properties map[string]any
			}
			Edges []struct {
				Kind       string
				Start, End struct{ Value string }
			}
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	want, got := map[string]int{}, map[string]int{}
	kind := map[string]string{}
	for _, n := range doc.Graph.Nodes {
		kind[n.ID] = n.Kinds[0]
		switch k := n.Kinds[0]; k {
		case "GH_User", "GH_Team", "GH_AppInstallation", "GH_App", "GH_OrgSecret", "GH_RepoSecret", "GH_EnvironmentSecret", "GH_Repository":
			want[k]++
		case "GH_PersonalAccessToken":
			want["tokens"]++
			if n.Properties["token_expired"] == true {
				want["expired tokens"]++
				if n.Properties["token_expires_at"] == "" {
					want["without a time"]++
				}
			}
		}
	}
	for _, e := range doc.Graph.Edges {
		switch e.Kind {
		case "GH_HasRole", "GH_HasBaseRole", "GH_MemberOf":
			want["memberships"]++
		}
	}
	prefix := map[string]string{"person:": "GH_User", "team:": "GH_Team", "sa:": "GH_AppInstallation", "workload:": "GH_App"}
	for _, it := range bomtest.Read(t, Importer{}, data) {
		for _, d := range it.Statements {
			p, ok := d.Predicate.(*statement.Identity)
			if !ok {
				continue
			}
			for _, x := range p.Items {
				for pre, k := range prefix {
					if strings.HasPrefix(x.Ref, pre) {
						got[k]++
					}
				}
				if strings.HasPrefix(x.Ref, "secret:") {
					got[[]string{"GH_OrgSecret", "GH_RepoSecret", "GH_EnvironmentSecret"}[strings.Count(x.Ref, "/")-2]]++
				}
				if x.Attributes["default_branch"] != "" {
					got["GH_Repository"]++
				}
				got["memberships"] += len(x.MemberOf)
				for _, c := range x.Credentials {
					if c.Kind != "personal-access-token" {
						continue
					}
					got["tokens"]++
					if c.State == "expired" {
						got["expired tokens"]++
						if c.ExpiresAt.IsZero() {
							got["without a time"]++
						}
					}
				}
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-counted +said):\n%s", diff)
	}
	if want["tokens"] != 6 || want["expired tokens"] != 3 || want["without a time"] != 3 {
		t.Errorf("the fixture holds %v", want)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"graph":{"nodes":[{"id":"u","kinds":["GH_User"],"properties":{"login":"ann"}},{"id":"t","kinds":["GH_PersonalAccessToken"],"properties":{"token_expired":true,"permissions":"{\"repository\":{\"contents\":\"write\"}}","access_granted_at":"2026-01-01T00:00:00Z","repository_selection":"all"}}],"edges":[{"kind":"GH_HasPersonalAccessToken","start":{"value":"u"},"end":{"value":"t"}}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for it, err := range (Importer{}).Read(importer.Source{R: bytes.NewReader(data)}) {
			if err != nil {
				t.Fatal(err)
			}
			bomtest.Check(t, it)
		}
	})
}
