package query_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// TestReachRefusedForATime: over the whole history a refusal counts for as long
// as it stands, for who is refused, and not for others in the same group.
func TestReachRefusedForATime(t *testing.T) {
	var h history
	h.add(t, &statement.Identity{Mode: "event", Source: "a", At: hour(0), Items: []statement.IdentityItem{
		{Ref: "sa:aws/1/ann", MemberOf: []string{"team:aws/1/g"}},
		{Ref: "sa:aws/1/bob", MemberOf: []string{"team:aws/1/g"}},
		{Ref: "team:aws/1/g", Grants: []statement.GrantItem{{Resource: "resource:arn:aws:s3:::b/*", Scope: []string{"s3:*"}}}},
	}}, subject("resource:a", nil))
	h.add(t, &statement.Identity{Mode: "snapshot", Source: "b", At: hour(2), Items: []statement.IdentityItem{
		{Ref: "sa:aws/1/ann", Grants: []statement.GrantItem{{Resource: "resource:aws/*", Scope: []string{"s3:*"}, Deny: true}}},
	}}, subject("resource:b", nil))
	h.add(t, &statement.Identity{Mode: "snapshot", Source: "b", At: hour(4), Items: []statement.IdentityItem{}}, subject("resource:b", nil))
	g := h.fold(t, 3)
	for _, c := range []struct {
		who  string
		hour int
		want string
	}{{"ann", 1, "yes"}, {"ann", 3, "none"}, {"ann", 5, "yes"}, {"bob", 3, "yes"}} {
		a, err := query.CanReach(g.At(prov.AsOf{Valid: prov.At(hour(c.hour).Time), Known: prov.AllKnown}), "sa:aws/1/"+c.who, "arn:aws:s3:::b/x", query.Options{})
		var none *query.NoPathError
		if errors.As(err, &none) {
			a, err = none.Answer, nil
			if len(a.Refused) != 1 || a.Refused[0].Entry != 1 {
				t.Errorf("%s at %d: refused %+v", c.who, c.hour, a.Refused)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if a.Outcome != c.want {
			t.Errorf("%s at hour %d: %s, want %s", c.who, c.hour, a.Outcome, c.want)
		}
	}
	a, err := query.CanReach(g.At(prov.Now), "sa:aws/1/ann", "arn:aws:s3:::b/x", query.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []query.Period{{From: "2026-01-01T00:00:00Z", To: "2026-01-01T02:00:00Z"}, {From: "2026-01-01T04:00:00Z", To: ""}}
	if diff := cmp.Diff(want, members(a)["resource:arn:aws:s3:::b/x"].Reached); diff != "" {
		t.Errorf("periods (-want +got):\n%s", diff)
	}
	// Before the refusal was known it did not count.
	a, err = query.CanReach(g.At(prov.AsOf{Valid: prov.At(hour(3).Time), Known: 1}), "sa:aws/1/ann", "arn:aws:s3:::b/x", query.Options{})
	if err != nil || a.Outcome != "yes" {
		t.Errorf("as known before: %v", err)
	}
}

// TestReachSince: snapshots that tell the same again leave since when it stood.
func TestReachSince(t *testing.T) {
	var h history
	for i := range 3 {
		h.add(t, &statement.Identity{Mode: "snapshot", Source: "a", At: hour(i), Items: []statement.IdentityItem{
			{Ref: "sa:a", Grants: []statement.GrantItem{{Resource: "resource:x", Scope: []string{"read"}}}},
		}}, subject("resource:a", nil))
	}
	g := h.fold(t, 3)
	a, err := query.CanReach(g.At(prov.AsOf{Valid: prov.At(hour(2).Time) + 1, Known: prov.AllKnown}), "sa:a", "resource:x", query.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range a.Steps {
		if s.Since != "2026-01-01T00:00:00Z" || s.Entry != 2 {
			t.Errorf("%s: since %s, entry %d; want hour 0 and the latest entry", s.Relation, s.Since, s.Entry)
		}
	}
}
