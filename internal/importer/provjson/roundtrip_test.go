package provjson

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/internal/report"
	"github.com/stemma-lineage/stemma/internal/story"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// folding is a graph that statements are folded into.
type folding struct {
	t testing.TB
	g *graph.Graph
	n uint64
}

func (f *folding) add(at time.Time, subjects []statement.Subject, p statement.Predicate) {
	f.t.Helper()
	payload, err := statement.Format(subjects, p)
	if err != nil {
		f.t.Fatal(err)
	}
	s, err := statement.Parse(payload)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.g.FoldParsed(f.n, at, "sa:acme/recorder", statement.Parsed{Digest: sha256.Sum256(payload), Statement: s}); err != nil {
		f.t.Fatal(err)
	}
	f.n++
}

// told gives the graph of the reference history, with a derivation that cuts
// the way through its activity and one by no activity beside.
func told(t testing.TB) *graph.Graph {
	f := &folding{t: t, g: graph.New()}
	for _, s := range story.Steps() {
		f.add(s.Recorded, s.Subjects, s.Predicate)
	}
	at := time.Date(2026, 3, 20, 12, 0, 0, 0, time.UTC)
	name := func(s string) prov.Ref {
		r, err := prov.ParseRef(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	res := func(s string) statement.Resource { return statement.NewResource(name(s), nil) }
	f.add(at, []statement.Subject{statement.NewSubject(name("dataset:lake/joined@1"), nil)}, &statement.Activity{Kind: "transform", ID: "activity:join/1",
		StartedAt: statement.NewTime(at.Add(-time.Hour)), EndedAt: statement.NewTime(at), Rule: statement.RuleLineage,
		Used:       []statement.Use{{Resource: res("dataset:lake/a@1")}, {Resource: res("dataset:lake/b@1")}},
		InformedBy: []statement.Resource{res("activity:dag/7")},
		Parameters: map[string]string{"l r": "0.1"}, Environment: map[string]string{"engine": "x"},
		Derived: []statement.Derivation{{To: res("dataset:lake/joined@1"), From: []statement.DerivedInput{{Resource: res("dataset:lake/a@1"), Transformation: "JOIN"}}, Rule: statement.RuleLineage}}})
	f.add(at, []statement.Subject{statement.NewSubject(name("model:tuned@1"), nil)}, &statement.Entity{State: "registered", At: statement.NewTime(at),
		Owner: "team:ml", PartOf: []statement.Resource{res("model:family@1")}, SameAs: []statement.Resource{res("model:hub/tuned@v1")},
		Derived:    []statement.Derivation{{To: res("model:tuned@1"), From: []statement.DerivedInput{{Resource: res("model:base@1"), Transformation: "finetune"}, {Resource: res("dataset:lake/joined@1")}}, Rule: statement.RuleStated}},
		Attributes: map[string]string{"a:b/ü %": "odd"}})
	return f.g
}

// imported gives the graph of what a document says.
func imported(t testing.TB, doc []byte) *graph.Graph {
	f := &folding{t: t, g: graph.New()}
	for _, it := range readItems(t, doc) {
		if it.Refusal != nil {
			t.Fatal(it.Refusal)
		}
		for _, d := range it.Statements {
			f.add(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), d.Subjects, d.Predicate)
		}
	}
	return f.g
}

// said puts an answer into words, without the entries of the log and without
// decisions, which are not imported, and their reviewers. A deployment beside the answer is left out, since what it deployed is not in it; so is
// when a deployment ended, which only the next one tells.
func said(a *query.Answer) []string {
	var out []string
	beside := map[string]bool{}
	for _, list := range [][]query.Item{a.Entities, a.Activities, a.Identities} {
		for _, it := range list {
			d := "context"
			if it.Distance != nil {
				d = fmt.Sprint(*it.Distance)
			}
			reviewer := it.Context && (strings.HasPrefix(it.Ref, "person:sam@") || strings.HasPrefix(it.Ref, "person:rita@"))
			if beside[it.Ref] = it.Kind == "deployment" && it.Context || it.Kind == "approval" || reviewer; beside[it.Ref] {
				continue
			}
			line := fmt.Sprintf("%s %s %s %v", it.Ref, it.Digest, d, it.Aliases)
			for _, k := range slices.Sorted(func(yield func(string) bool) {
				for k := range it.Attributes {
					if !yield(k) {
						return
					}
				}
			}) {
				if v := it.Attributes[k]; k != "state" || v != "described" && v != "owned" { // something must be said for anything to be
					line += fmt.Sprintf(" %s=%s", k, v)
				}
			}
			out = append(out, line)
		}
	}
	for _, r := range a.Relations {
		if beside[r.From] || beside[r.To] {
			continue
		}
		if r.Type == "DeployedTo" {
			r.ValidTo = ""
		}
		out = append(out, fmt.Sprintf("%s %s %s %s %s %s", r.From, r.Type, r.To, r.ValidFrom, r.ValidTo, r.Role))
	}
	slices.Sort(out)
	return out
}

// TestRoundTrip: the answer that went out as PROV-JSON, and the same question
// of what comes in from it again, say the same.
func TestRoundTrip(t *testing.T) {
	g := told(t)
	for _, q := range []struct{ verb, ref string }{
		{"why", story.Model2}, {"why", story.Deployment2}, {"blast", story.Dataset2}, {"blast", "dataset:lake/b@1"},
		{"why", "dataset:lake/joined@1"}, {"why", "model:tuned@1"}, {"why", story.Rollback},
	} {
		t.Run(q.verb+" "+strings.ReplaceAll(q.ref, "/", "_"), func(t *testing.T) {
			ask := query.Why
			if q.verb == "blast" {
				ask = query.Blast
			}
			a, err := ask(g.At(prov.Now), q.ref, query.Options{})
			if err != nil {
				t.Fatal(err)
			}
			doc, err := report.Write(a, "prov-json")
			if err != nil {
				t.Fatal(err)
			}
			checkDocument(t, doc)
			b, err := ask(imported(t, doc).At(prov.Now), q.ref, query.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(said(a), said(b)); diff != "" {
				t.Errorf("%s", diff)
			}
		})
	}
}

// checkDocument holds a document to the rules of the submission's schema: its
// sections, what each relation must have, declared prefixes, literals.
func checkDocument(t testing.TB, doc []byte) {
	t.Helper()
	var d map[string]map[string]map[string]any
	var prefix struct{ Prefix map[string]string }
	if err := json.Unmarshal(doc, &prefix); err != nil {
		t.Fatal(err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(doc, &raw); err != nil {
		t.Fatal(err)
	}
	delete(raw, "prefix")
	rest, err := json.Marshal(raw)
	if err == nil {
		err = json.Unmarshal(rest, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	name := func(place, s string) {
		p, local, ok := strings.Cut(s, ":")
		if !ok || local == "" || prefix.Prefix[p] == "" && p != "prov" && p != "xsd" && p != "_" {
			t.Errorf("%s: %q is no qualified name with a declared prefix", place, s)
		}
		if strings.ContainsAny(local, " :()[]{}'\",;=<>\\^`|") {
			t.Errorf("%s: the local part of %q holds a character that it may not", place, s)
		}
	}
	for section, records := range d {
		s, ok := sections[section]
		if !ok {
			t.Errorf("section %s is not of PROV-JSON", section)
		}
		for id, r := range records {
			name(section, id)
			for i, a := range s.ends {
				if v, ok := r[a].(string); ok {
					name(section+" "+a, v)
				} else if i < s.needs && len(r) > 0 && section != "wasAssociatedWith" {
					t.Errorf("%s %s has no %s", section, id, a)
				}
			}
			for k, v := range r {
				name(section, k)
				if strings.HasSuffix(k, "Time") || k == "prov:time" {
					if _, err := time.Parse(time.RFC3339Nano, v.(string)); err != nil {
						t.Errorf("%s %s: %s is no xsd:dateTime", section, id, v)
					}
				}
			}
		}
	}
}

func readItems(t testing.TB, data []byte) []importer.Item {
	t.Helper()
	var out []importer.Item
	for it, err := range Read(bytes.NewReader(data), Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		importertest.Check(t, it)
		out = append(out, it)
	}
	return out
}
