package vindex_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
	"github.com/stemma-lineage/stemma/vindex"
)

func entry(t testing.TB, at time.Time, payload []byte) []byte {
	t.Helper()
	env, err := statement.Unsigned(payload)
	if err != nil {
		t.Skip(err)
	}
	c, err := statement.FormatEntry(statement.Entry{RecordedAt: at, RecordedBy: "person:ann", Envelope: env})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// keysOf gives what the keys of a statement are made of.
func keysOf(t *testing.T, p statement.Predicate, subjects ...statement.Subject) []string {
	t.Helper()
	payload, err := statement.Format(subjects, p)
	if err != nil {
		t.Fatal(err)
	}
	r, err := vindex.ReadEntry(entry(t, time.Unix(1767225600, 0), payload))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	r.EachKey(func(rel vindex.Relation, x string) { out = append(out, string(rel)+" "+x) })
	slices.Sort(out)
	return slices.Compact(out)
}

func subject(s string) statement.Subject {
	r, err := prov.ParseRef(s)
	if err != nil {
		panic(err)
	}
	return statement.NewSubject(r, nil)
}

func TestKeysOfStatements(t *testing.T) {
	for _, x := range []struct {
		name     string
		p        statement.Predicate
		subjects []statement.Subject
		want     []string
	}{
		{"a run that reads a series and writes one", &statement.Activity{Kind: "train", ID: "activity:r", Plan: &statement.Resource{Ref: "plan:p"},
			Used: []statement.Use{{Resource: statement.Resource{Ref: "dataset:d"}}}}, []statement.Subject{subject("model:m")},
			[]string{"about activity:r", "about model:m@r", "used-by dataset:d", "used-by plan:p", "versions model:m", "writes model:m"}},
		{"a decision", &statement.Approval{Decision: "revoke", ID: "approval:2", Approver: "person:ann", Review: "risk", Revokes: "approval:1"},
			[]statement.Subject{subject("model:m@1")},
			[]string{"about approval:2", "decided-by model:m@1", "revoked-by approval:1", "used-by person:ann", "versions model:m"}},
		{"the same", &statement.Entity{State: "same-as", SameAs: []statement.Resource{{Ref: "dataset:e@1"}}}, []statement.Subject{subject("dataset:d@1")},
			[]string{"about dataset:d@1", "tied-to dataset:d@1", "tied-to dataset:e@1", "versions dataset:d", "versions dataset:e"}},
		{"a retraction", &statement.Retraction{Entry: 7, Reason: "wrong"}, []statement.Subject{subject("dataset:d")}, []string{"retracted-by 7"}},
		{"a root", &statement.Index{Version: "x", Root: "0000000000000000000000000000000000000000000000000000000000000000"}, []statement.Subject{subject("resource:log/x")}, nil},
		{"an alias", &statement.Registry{Registry: "r", Name: "model:m", Alias: "champion"}, []statement.Subject{subject("model:m@1")},
			[]string{"about model:m@1", "about registry:r/model:m#champion", "tied-to model:m@1", "tied-to model:m@champion", "tied-to registry:r/model:m#champion", "versions model:m"}},
	} {
		if diff := cmp.Diff(x.want, keysOf(t, x.p, x.subjects...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", x.name, diff)
		}
	}
}

func TestUnreadableEntryHasOneKey(t *testing.T) {
	for _, payload := range []string{`{`, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha1":"00"}}],"predicateType":"https://example.com/x","predicate":{}}`} {
		got := vindex.Keys(entry(t, time.Unix(0, 0), []byte(payload)))
		if diff := cmp.Diff([]vindex.Key{vindex.KeyOf(vindex.Unreadable, "")}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", payload, diff)
		}
	}
	if got := vindex.Keys([]byte("no entry")); got != nil {
		t.Errorf("bytes that are no entry have keys: %v", got)
	}
}

// FuzzReadEntry reads statements that anybody may have recorded.
func FuzzReadEntry(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("..", "statement", "testdata", "*", "*.json"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		if data, err := os.ReadFile(name); err == nil {
			f.Add(data)
		}
	}
	for _, p := range []statement.Predicate{
		&statement.Activity{Kind: "train", ID: "activity:r", Used: []statement.Use{{Resource: statement.Resource{Ref: "column:d#f"}}},
			Derived: []statement.Derivation{{To: statement.Resource{Ref: "column:e#g"}, Rule: statement.RuleColumn, From: []statement.DerivedInput{{Resource: statement.Resource{Ref: "dataset:n/d", Namespace: "n"}}}}}},
		&statement.Deployment{Action: "deploy", Environment: "env:p", Service: "service:s", RunsAs: []string{"sa:x"}},
		&statement.Identity{Mode: "event", Items: []statement.IdentityItem{{Ref: "sa:x", Grants: []statement.GrantItem{{Resource: "dataset:d"}}}}},
		&statement.Registry{Mode: "snapshot", Registry: "r", Name: "model:m", Aliases: map[string]statement.Resource{"a": {Ref: "model:m@1"}}},
		&statement.Approval{Decision: "approve", Approver: "person:a", Review: "risk"},
		&statement.Delegation{Parent: "sa:a", Child: "agent:b", Grade: "issuer"},
	} {
		payload, err := statement.Format([]statement.Subject{subject("model:m@1")}, p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		c := entry(t, time.Unix(1, 0), payload)
		r, err := vindex.ReadEntry(c)
		if err != nil {
			t.Fatal(err)
		}
		ks := r.Keys()
		if diff := cmp.Diff(ks, vindex.Keys(c)); diff != "" {
			t.Errorf("the keys differ:\n%s", diff)
		}
		if (r.Unread != "") != (len(ks) == 1 && ks[0] == vindex.KeyOf(vindex.Unreadable, "")) {
			t.Errorf("%q has the keys %v", r.Unread, ks)
		}
	})
}
