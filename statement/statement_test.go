package statement

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/prov"
)

func ref(t *testing.T, s string) prov.Ref {
	t.Helper()
	r, err := prov.ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFormatThenParse(t *testing.T) {
	at := NewTime(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	p := &Activity{Kind: "train", ID: "activity:1", StartedAt: at, Used: []Use{{Resource: NewResource(ref(t, "dataset:tx@1"), nil)}}}
	b, err := Format([]Subject{NewSubject(ref(t, "model:fraud@7"), nil)}, p)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Format(s.Subjects, s.Predicate)
	if err != nil || !bytes.Equal(b, again) {
		t.Fatalf("written again (%v):\n%s\n%s", err, b, again)
	}
}

// What is wrong is told with its place and a mend.
func TestRefusals(t *testing.T) {
	subject := `[{"name":"model:m@1","digest":{"sha256":"` + strings.Repeat("a", 64) + `"}}]`
	wrap := func(subject, typ, predicate string) string {
		return `{"_type":"` + Type + `","subject":` + subject + `,"predicateType":"` + typ + `","predicate":` + predicate + `}`
	}
	for _, c := range []struct{ name, payload, want string }{
		{"malformed", `{"_type": }`, "line 1, column"},
		{"duplicate key", `{"_type":"x","_type":"y"}`, "duplicate"},
		{"other type", `{"_type":"x"}`, "_type"},
		{"no subject", wrap(`[]`, EntityType, `{"state":"registered"}`), "subject: is empty"},
		{"no digest", wrap(`[{"name":"model:m"}]`, EntityType, `{"state":"registered"}`), "subject[0].digest"},
		{"short digest", wrap(`[{"name":"model:m","digest":{"sha256":"abc"}}]`, EntityType, `{"state":"registered"}`), "64 lower-case"},
		{"digest of another name", wrap(`[{"name":"model:m","digest":{"stemmaRef":"`+strings.Repeat("0", 64)+`"}}]`, EntityType, `{"state":"registered"}`), "not that of the name"},
		{"no zone", wrap(subject, ActivityType, `{"kind":"train","id":"activity:1","startedAt":"2026-03-01T12:00:00"}`), "has no zone"},
		{"bad state", wrap(subject, EntityType, `{"state":"happy"}`), "must be one of registered"},
		{"ends before it begins", wrap(subject, ActivityType, `{"kind":"train","id":"activity:1","startedAt":"2026-03-02T00:00:00Z","endedAt":"2026-03-01T00:00:00Z"}`), "before it begins"},
		{"rollback of nothing", wrap(subject, DeploymentType, `{"action":"rollback","environment":"env:prod","service":"service:s"}`), "restores"},
		{"approval by a thing", wrap(subject, ApprovalType, `{"decision":"approve","review":"risk","approver":"nobody"}`), "approver"},
		{"unknown kind", wrap(subject, EntityType, `{"state":"owned","owner":"persn:ann"}`), "kind \"persn\" is not known"},
		{"waiver without end", wrap(subject, WaiverType, `{"rule":"r","reason":"x"}`), "until"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.payload))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to say %q", err, c.want)
			}
		})
	}
}

func TestUnknownPredicateIsKept(t *testing.T) {
	s, err := Parse([]byte(`{"_type":"` + Type + `","subject":[{"name":"pkg:x","digest":{"sha1":"00"}}],"predicateType":"https://example.org/x","predicate":{"a":1}}`))
	if err != nil || s.Predicate != nil || string(s.Raw) != `{"a":1}` {
		t.Errorf("got %+v, %v", s, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"_type":"` + Type + `","subject":[{"name":"model:m@1","digest":{"stemmaRef":"00"}}],"predicateType":"` + EntityType + `","predicate":{"state":"registered"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err != nil || s.Predicate == nil || s.PredicateType == VSAType {
			return
		}
		for _, sub := range s.Subjects {
			if _, err := sub.Target(); err != nil {
				t.Fatalf("a parsed statement has a bad subject: %v", err)
			}
		}
	})
}
