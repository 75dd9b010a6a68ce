package aws

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

// TestDetailsCounts: what the account details hold, counted over the JSON
// itself, is what the statements say.
func TestDetailsCounts(t *testing.T) {
	for _, f := range []string{"example-authz-details.json", "example_authz_v2.json"} {
		data, err := os.ReadFile(filepath.Join(importertest.Fixtures(t), "nhi/aws-authz-cloudsplaining", f))
		if err != nil {
			t.Fatal(err)
		}
		type entry struct {
			Arn                     string
			GroupList               []string
			AttachedManagedPolicies []any
		}
		var doc struct{ UserDetailList, GroupDetailList, RoleDetailList, Policies []entry }
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		want := map[string]int{"users": len(doc.UserDetailList), "groups": len(doc.GroupDetailList), "roles": len(doc.RoleDetailList), "policies": len(doc.Policies)}
		for _, e := range append(append(doc.UserDetailList, doc.GroupDetailList...), doc.RoleDetailList...) {
			want["memberships"] += len(e.GroupList) + len(e.AttachedManagedPolicies)
		}
		got := map[string]int{}
		for _, it := range bomtest.Read(t, Importer{}, data) {
			for _, d := range it.Statements {
				p := d.Predicate.(*statement.Identity)
				got[p.Source[strings.LastIndexByte(p.Source, '/')+1:]] += len(p.Items)
				for _, x := range p.Items {
					got["memberships"] += len(x.MemberOf)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-counted +said):\n%s", f, diff)
		}
	}
}

// TestTrailCounts: how many keys were made and deleted, sessions handed over
// and secrets read, counted over the records themselves.
func TestTrailCounts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(importertest.Fixtures(t), "nhi/aws-cloudtrail-invictus/*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	want, got := map[string]int{}, map[string]int{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Records []struct{ EventName, ErrorCode string }
		}
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		want["records"] += len(doc.Records)
		for _, r := range doc.Records {
			switch {
			case r.ErrorCode != "":
				want["failed"]++
			case r.EventName == "AssumeRole":
				want["delegations"]++
			case r.EventName == "CreateAccessKey":
				want["keys made"]++
			case r.EventName == "DeleteAccessKey":
				want["keys deleted"]++
			case r.EventName == "GetSecretValue":
				want["secrets read"]++
			}
		}
		for _, it := range bomtest.Read(t, Importer{}, data) {
			got["records"]++
			if it.Refusal != nil && it.Refusal.Reason == FailedCall {
				got["failed"]++
			}
			for _, d := range it.Statements {
				switch p := d.Predicate.(type) {
				case *statement.Delegation:
					got["delegations"]++
				case *statement.Identity:
					for _, x := range p.Items {
						got["secrets read"] += len(x.Secrets)
						for _, c := range x.Credentials {
							switch {
							case c.Kind == "access-key" && !c.IssuedAt.IsZero():
								got["keys made"]++
							case c.Kind == "access-key" && c.State == "revoked":
								got["keys deleted"]++
							}
						}
					}
				}
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-counted +said):\n%s", diff)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"UserDetailList":[{"Arn":"arn:aws:iam::123456789012:user/a","UserPolicyList":[{"PolicyName":"p","PolicyDocument":"%7B%22Statement%22:%7B%22Effect%22:%22Deny%22,%22NotAction%22:%22s3:*%22,%22Resource%22:%22*%22%7D%7D"}]}]}`))
	f.Add([]byte(`{"Records":[{"eventVersion":"1.08","eventTime":"2026-01-01T00:00:00Z","eventSource":"sts.amazonaws.com","eventName":"AssumeRole","userIdentity":{"type":"IAMUser","userName":"u","accountId":"1"},"requestParameters":{"roleArn":"arn:aws:iam::1:role/r","roleSessionName":"s"},"responseElements":{"credentials":{"accessKeyId":"ASIAAAAAAAAAAAAAAAAA","sessionToken":"x","expiration":"Jul 10, 2026, 6:30:22 PM"}}}]}`))
	f.Add([]byte("user,arn,user_creation_time,password_enabled,access_key_1_active,access_key_1_last_rotated\nu,arn:aws:iam::1:user/u,2026-01-01T00:00:00Z,true,true,N/A\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for it, err := range (Importer{}).Read(importer.Source{R: bytes.NewReader(data)}) {
			if err != nil {
				t.Fatal(err)
			}
			bomtest.Check(t, it)
		}
	})
}
