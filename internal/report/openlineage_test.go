package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/importer/openlineage"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/internal/report"
	"github.com/stemma-lineage/stemma/internal/story"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

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
// the way through its activity, one by no activity, and a run that goes on.
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
	out := []statement.Subject{statement.NewSubject(name("dataset:s3://lake/joined@1"), nil)}
	plan := res("plan:airflow/joins")
	f.add(at, out, &statement.Activity{Kind: "transform", ID: "activity:0190a1b2-0000-7000-8000-000000000001", Plan: &plan,
		StartedAt: statement.NewTime(at.Add(-time.Hour)), EndedAt: statement.NewTime(at), Rule: statement.RuleLineage, State: "failed",
		Used:       []statement.Use{{Resource: res("dataset:lake/a@1")}, {Resource: res("dataset:lake/b@1")}},
		InformedBy: []statement.Resource{res("activity:dag-7")},
		Derived:    []statement.Derivation{{To: res("dataset:s3://lake/joined@1"), From: []statement.DerivedInput{{Resource: res("dataset:lake/a@1")}}, Rule: statement.RuleLineage}}})
	f.add(at, []statement.Subject{statement.NewSubject(name("model:tuned@1"), nil)}, &statement.Entity{State: "registered", At: statement.NewTime(at),
		Derived: []statement.Derivation{{To: res("model:tuned@1"), From: []statement.DerivedInput{{Resource: res("model:base@1")}, {Resource: res("dataset:s3://lake/joined@1")}}, Rule: statement.RuleStated}}})
	f.add(at, []statement.Subject{statement.NewSubject(name("model:live@1"), nil)}, &statement.Activity{Kind: "train", ID: "activity:live", State: "running",
		StartedAt: statement.NewTime(at), Used: []statement.Use{{Resource: res("dataset:s3://lake/joined@1")}}})
	return f.g
}

// lineage gives the relations of an answer that OpenLineage has words for. With
// foreign, things are named as OpenLineage names them.
func lineage(a *query.Answer, foreign bool) []string {
	name := func(s string) string {
		r, err := prov.ParseRef(s)
		if err != nil || !foreign {
			return s
		}
		if r.Kind == prov.Activity {
			return "activity:" + report.OLRunID(s)
		}
		kind := prov.Dataset
		if r.Kind == prov.Plan {
			kind = prov.Plan
		}
		ns, n := report.OLPair(r)
		return prov.Ref{Kind: kind, Namespace: ns, Name: n, Version: r.Version}.String()
	}
	var out []string
	for _, r := range a.Relations {
		switch r.Type {
		case "Used", "GeneratedBy", "DerivedFrom", "HadPlan":
			if strings.HasPrefix(r.From, "approval:") || strings.HasPrefix(r.To, "plan:") && foreign && r.Type != "HadPlan" {
				continue
			}
			out = append(out, name(r.From)+" "+r.Type+" "+name(r.To))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestOpenLineageRoundTrip: what goes out is valid and, read again, gives the
// same lineage under the names of OpenLineage.
func TestOpenLineageRoundTrip(t *testing.T) {
	g := told(t)
	for _, ref := range []string{story.Model2, story.Deployment1, "dataset:s3://lake/joined@1", "model:live@1"} {
		a, err := query.Why(g.At(prov.Now), ref, query.Options{})
		if err != nil {
			t.Fatal(err)
		}
		out, err := report.Write(a, "openlineage")
		if err != nil {
			t.Fatal(err)
		}
		checkSchemas(t, out)
		f := &folding{t: t, g: graph.New()}
		for it, err := range openlineage.Read(bytes.NewReader(out), openlineage.Options{}) {
			if err != nil || it.Refusal != nil {
				t.Fatal(err, it.Refusal)
			}
			for _, d := range it.Statements {
				f.add(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), d.Subjects, d.Predicate)
			}
		}
		focus := ref
		if strings.HasPrefix(ref, "deployment:") {
			focus = story.Model1
		}
		r, err := prov.ParseRef(focus)
		if err != nil {
			t.Fatal(err)
		}
		ns, n := report.OLPair(r)
		b, err := query.Why(f.g.At(prov.Now), prov.Ref{Kind: prov.Dataset, Namespace: ns, Name: n, Version: r.Version}.String(), query.Options{})
		if err != nil {
			t.Fatalf("%s: %v\n%s", ref, err, out)
		}
		// Jobs without a plan are named after the sort of activity.
		want, got := lineage(a, true), slices.DeleteFunc(lineage(b, false), func(s string) bool {
			return strings.HasSuffix(s, "HadPlan plan:stemma/collect") || strings.HasSuffix(s, "HadPlan plan:stemma/train")
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s\n%s", ref, diff, out)
		}
	}
}

// TestOpenLineageStated: a derivation by no activity goes out as a
// DatasetEvent. OpenLineage names its sources without their versions.
func TestOpenLineageStated(t *testing.T) {
	g := told(t)
	a, err := query.Why(g.At(prov.Now), "model:tuned@1", query.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := report.Write(a, "openlineage")
	if err != nil {
		t.Fatal(err)
	}
	checkSchemas(t, out)
	var got []string
	for it, err := range openlineage.Read(bytes.NewReader(out), openlineage.Options{}) {
		if err != nil || it.Refusal != nil {
			t.Fatal(err, it.Refusal)
		}
		for _, d := range it.Statements {
			if e, ok := d.Predicate.(*statement.Entity); ok {
				for _, x := range e.Derived {
					for _, f := range x.From {
						got = append(got, x.To.Ref+" from "+f.Ref)
					}
				}
			}
		}
	}
	want := []string{"dataset:stemma:model/tuned@1 from dataset:s3://lake/joined", "dataset:stemma:model/tuned@1 from dataset:stemma:model/base"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n%s", diff, out)
	}
}

// TestOpenLineageForms: only closures have activities to tell.
func TestOpenLineageForms(t *testing.T) {
	g := told(t)
	a, err := query.Show(g.At(prov.Now), story.Model1, query.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := report.Write(a, "openlineage"); err == nil || !strings.Contains(err.Error(), "show") {
		t.Errorf("%v", err)
	}
}

// checkSchemas validates events and their facets by the schemas of the
// OpenLineage specification.
func checkSchemas(t testing.TB, events []byte) {
	t.Helper()
	dir := os.Getenv("STEMMA_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "fixtures")
	}
	dir = filepath.Join(dir, "openlineage", "spec")
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatalf("the fixtures are missing: %v; set STEMMA_FIXTURES", err)
		}
		t.Logf("the fixtures are missing: %v; set STEMMA_FIXTURES. The events are not validated", err)
		return
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	files, err := filepath.Glob(filepath.Join(dir, "facets", "*.json"))
	if err != nil || len(files) < 30 {
		t.Fatal(len(files), err)
	}
	for _, file := range append(files, filepath.Join(dir, "OpenLineage.json")) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(file, err)
		}
		if err := c.AddResource(doc.(map[string]any)["$id"].(string), doc); err != nil {
			t.Fatal(file, err)
		}
	}
	for line := range bytes.Lines(events) {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
		if err != nil {
			t.Fatal(err)
		}
		var schema struct{ SchemaURL string }
		if err := json.Unmarshal(line, &schema); err != nil {
			t.Fatal(err)
		}
		validate(t, c, schema.SchemaURL, doc, line)
		facets(doc, func(url string, facet any) {
			if strings.HasPrefix(url, "https://openlineage.io/") {
				validate(t, c, url, facet, line)
			}
		})
	}
}

func validate(t testing.TB, c *jsonschema.Compiler, url string, doc any, line []byte) {
	t.Helper()
	s, err := c.Compile(url)
	if err == nil {
		err = s.Validate(doc)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, line)
	}
}

// facets visits every object with a _schemaURL.
func facets(doc any, visit func(url string, facet any)) {
	switch x := doc.(type) {
	case map[string]any:
		if url, ok := x["_schemaURL"].(string); ok {
			visit(url, x)
		}
		for _, v := range x {
			facets(v, visit)
		}
	case []any:
		for _, v := range x {
			facets(v, visit)
		}
	}
}
