package graph

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// TestInventory: what is denied is no grant, a condition shows on the relation,
// trust points towards the identity, and a credential that was revoked ends.
func TestInventory(t *testing.T) {
	g := New()
	add := func(at string, mode string, it statement.IdentityItem) {
		t.Helper()
		ref, err := prov.ParseRef(it.Ref)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := statement.Format([]statement.Subject{statement.NewSubject(ref, nil)}, &statement.Identity{Mode: mode, Source: "s", At: hour(at), Items: []statement.IdentityItem{it}})
		if err != nil {
			t.Fatal(err)
		}
		env, err := statement.Unsigned(payload)
		if err != nil {
			t.Fatal(err)
		}
		b, err := statement.FormatEntry(statement.Entry{RecordedAt: epoch.Add(100 * time.Hour), RecordedBy: "person:ann", Envelope: env})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Fold(g.Size(), b); err != nil {
			t.Fatal(err)
		}
	}
	add("1", "snapshot", statement.IdentityItem{Ref: "role:x/r", State: "active", Human: "no", RunsAs: []string{"sa:a"},
		Grants: []statement.GrantItem{{Resource: "resource:free", Scope: []string{"get"}}, {Resource: "resource:shut", Scope: []string{"*"}, Deny: true},
			{Resource: "resource:maybe", Scope: []string{"*"}, NotScope: []string{"put"}, Condition: "c"}},
		Trust:       []statement.TrustItem{{Principal: "sa:b"}, {Principal: "sa:c", Condition: "c"}, {Principal: "sa:d", Deny: true}},
		Credentials: []statement.CredentialItem{{Ref: "credential:k", Kind: "access-key", State: "active", IssuedAt: hour("0"), NeverExpires: true}}})
	add("5", "snapshot", statement.IdentityItem{Ref: "role:x/r", Credentials: []statement.CredentialItem{{Ref: "credential:k", State: "revoked"}}})

	ties := func(at string) []string {
		v := g.At(prov.AsOf{Valid: prov.At(hour(at).Time), Known: prov.AllKnown})
		var out []string
		for id := ID(1); int(id) < v.Len(); id++ {
			for r := range v.Out(id) {
				x := v.Relation(r)
				if x.Valid.From <= prov.At(hour(at).Time) && prov.At(hour(at).Time) < x.Valid.To {
					out = append(out, v.Ref(x.From).String()+" "+x.Type.String()+" "+v.Ref(x.To).String()+" "+x.Role)
				}
			}
		}
		return out
	}
	var shown []string
	for _, s := range ties("2") {
		shown = append(shown, hideDigest(s))
	}
	want := []string{
		"role:x/r RunsAs sa:a ", "role:x/r AuthenticatesWith credential:k ", "role:x/r Granted grant:0 ", "role:x/r Granted grant:2 conditional",
		"grant:0 GrantsOn resource:free ", "grant:1 GrantsOn resource:shut deny", "grant:2 GrantsOn resource:maybe conditional",
		"sa:b CanAssume role:x/r ", "sa:c CanAssume role:x/r conditional",
	}
	if diff := cmp.Diff(sorted(want), sorted(shown)); diff != "" {
		t.Errorf("while it was listed (-want +got):\n%s", diff)
	}
	if got := ties("6"); len(got) > 0 {
		t.Errorf("after the next snapshot: %q", got)
	}
	v := g.At(prov.Now)
	if a := v.Attributes(v.Lookup(prov.Ref{Kind: prov.Credential, Name: "k"})); a["state"] != "revoked" || a["neverExpires"] != "yes" || a["credential"] != "access-key" {
		t.Errorf("attributes of the credential: %v", a)
	}
	if a := v.Attributes(v.Lookup(prov.Ref{Kind: prov.Role, Name: "x/r"})); a["human"] != "no" || a["trust.sa:b"] != "unconditional" || a["trust.sa:c"] != "c" || a["trust.denied.sa:d"] != "yes" {
		t.Errorf("attributes of the role: %v", a)
	}
}

// hideDigest leaves of the name of a grant only its number.
func hideDigest(s string) string {
	w := strings.Split(s, " ")
	for i := range w {
		if strings.HasPrefix(w[i], "grant:") {
			w[i] = "grant:" + w[i][strings.LastIndexByte(w[i], '/')+1:]
		}
	}
	return strings.Join(w, " ")
}

func sorted(s []string) []string { slices.Sort(s); return s }
