package openlineage

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// foreignName writes a dataset as the other consumer of this scenario (Google
// Dataplex) names it: fully qualified, and a local file without its first '/'.
func foreignName(t *testing.T, r statement.Resource) string {
	t.Helper()
	x, err := r.Target()
	if err != nil {
		t.Fatal(err)
	}
	switch ns := x.Ref.Namespace; {
	case ns == "bigquery":
		return "bigquery:" + x.Ref.Name
	case strings.HasPrefix(ns, "gs://"):
		return "gcs:" + strings.TrimPrefix(ns, "gs://") + ".`" + x.Ref.Name + "`"
	case ns == "file":
		return "filesystem:localhost.`" + strings.TrimPrefix(x.Ref.Name, "/") + "`"
	}
	t.Fatalf("no name for %+v", x.Ref)
	return ""
}

// run is what the statements about one activity add up to.
type run struct {
	plan, parent          string
	started, ended, state string
	engine                string
	used, written         []string
}

type scenario struct {
	runs  map[string]*run
	links map[string]bool // "source -> target at time"
}

// readScenario reads the events of the airflow scenario and derives dataset
// links from the statements: stated derivations, else used x outputs.
func readScenario(t *testing.T, root string) scenario {
	t.Helper()
	s := scenario{runs: map[string]*run{}, links: map[string]bool{}}
	files, err := filepath.Glob(filepath.Join(root, "scenarios", "airflow", "events", "*.json"))
	if err != nil || len(files) != 32 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range readItems(t, data) {
			if it.Refusal != nil {
				t.Fatalf("%s: %v", f, it.Refusal)
			}
			for _, d := range it.Statements {
				if a, ok := d.Predicate.(*statement.Activity); ok {
					s.add(t, d.Subjects, a)
				}
			}
		}
	}
	return s
}

func (s scenario) add(t *testing.T, subjects []statement.Subject, a *statement.Activity) {
	r := s.runs[a.ID]
	if r == nil {
		r = &run{plan: a.Plan.Ref}
		s.runs[a.ID] = r
	}
	if !a.StartedAt.IsZero() {
		r.started = a.StartedAt.String()
	}
	if !a.EndedAt.IsZero() {
		r.ended, r.state = a.EndedAt.String(), a.State
	}
	if len(a.InformedBy) > 0 {
		r.parent = a.InformedBy[0].Ref
	}
	if e := a.Environment["engine"]; e != "" {
		r.engine = e
	}
	stated := map[string]bool{}
	link := func(from, to statement.Resource) {
		s.links[foreignName(t, from)+" -> "+foreignName(t, to)+" at "+a.EndedAt.String()] = true
	}
	for _, d := range a.Derived {
		if x, _ := d.To.Target(); x.Ref.Kind != prov.Dataset {
			continue
		}
		stated[d.To.Ref] = true
		for _, f := range d.From {
			if x, _ := f.Target(); x.Ref.Kind == prov.Dataset {
				link(f.Resource, d.To)
			}
		}
	}
	for _, u := range a.Used {
		r.used = append(r.used, foreignName(t, u.Resource))
	}
	for _, sub := range subjects {
		to := statement.Resource{Ref: sub.Name, Namespace: sub.Annotations["namespace"]}
		if sub.Name == a.ID {
			continue
		}
		r.written = append(r.written, foreignName(t, to))
		for _, u := range a.Used {
			if !stated[sub.Name] {
				link(u.Resource, to)
			}
		}
	}
}

func decode[T any](t *testing.T, root, name string) []T {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "scenarios-dataplex-expected", "airflow", "validation", name, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var out []T
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAirflowLinks: the dataset links of the airflow scenario, with their
// times, are those that the other consumer derived. There is no difference.
func TestAirflowLinks(t *testing.T) {
	root := importertest.Fixtures(t, "openlineage")
	s := readScenario(t, root)
	type name struct {
		FQN string `json:"fully_qualified_name"`
	}
	want := map[string]bool{}
	for _, l := range decode[struct {
		Source, Target name
		EndTime        string `json:"end_time"`
	}](t, root, "links") {
		want[l.Source.FQN+" -> "+l.Target.FQN+" at "+at(t, l.EndTime)] = true
	}
	if len(want) != 12 {
		t.Errorf("%d expected links, want 12", len(want))
	}
	if diff := cmp.Diff(want, s.links); diff != "" {
		t.Errorf("links (-theirs +ours):\n%s", diff)
	}
}

func at(t *testing.T, s string) string {
	t.Helper()
	v, err := prov.ParseTime(s)
	if err != nil {
		t.Fatal(err)
	}
	return statement.NewTime(v).String()
}

// TestAirflowRuns compares runs and processes. The other consumer keeps only
// the DAG runs, and their tasks' links hang on them; here each task's run is an
// activity of its own, informed by the DAG's. So:
//   - our activities without a parent are its runs, with the same times;
//   - the plans of those are its processes;
//   - our other 13 activities are their tasks, which it folds into them;
//   - it shows the processing engine for two of the three runs and none for
//     that of BQ, though the START of each names it; here all three have it.
func TestAirflowRuns(t *testing.T) {
	root := importertest.Fixtures(t, "openlineage")
	s := readScenario(t, root)
	type theirs struct {
		Name      string
		Display   string `json:"display_name"`
		StartTime string `json:"start_time"`
		EndTime   string `json:"end_time"`
		State     int
	}
	want := map[string]run{}
	for _, r := range decode[theirs](t, root, "runs") {
		if r.State != 2 { // COMPLETED
			t.Errorf("run %s has state %d", r.Display, r.State)
		}
		want["activity:"+r.Display] = run{started: at(t, r.StartTime), ended: at(t, r.EndTime), state: "completed"}
	}
	got := map[string]run{}
	plans, tasks := map[string]bool{}, 0
	for id, r := range s.runs {
		if r.engine != "Airflow" {
			t.Errorf("%s has the engine %q", id, r.engine)
		}
		if r.parent == "" {
			got[id] = run{started: r.started, ended: r.ended, state: r.state}
			plans["airflow:"+strings.TrimPrefix(r.plan, "plan:airflow/")] = true
			continue
		}
		tasks++
		if _, ok := want[r.parent]; !ok {
			t.Errorf("%s is informed by %s, which is no run of theirs", id, r.parent)
		}
		if r.started == "" || r.ended == "" || r.state != "completed" {
			t.Errorf("%s: %+v", id, r)
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(run{})); diff != "" {
		t.Errorf("runs (-theirs +ours):\n%s", diff)
	}
	if tasks != 13 {
		t.Errorf("%d tasks, want 13", tasks)
	}
	processes := decode[theirs](t, root, "processes")
	if len(processes) != len(plans) {
		t.Errorf("%d processes, %d plans", len(processes), len(plans))
	}
	for _, p := range processes { // "{{ match(result, 'airflow:BQ.*') }}"
		_, rest, _ := strings.Cut(p.Display, "'")
		if name, _, _ := strings.Cut(rest, ".*"); !plans[name] {
			t.Errorf("process %q is none of %v", name, plans)
		}
	}
}

// TestAirflowBeyondLinks: reads and writes that make no link, which the other
// consumer therefore does not show, are kept.
func TestAirflowBeyondLinks(t *testing.T) {
	s := readScenario(t, importertest.Fixtures(t, "openlineage"))
	var got []string
	for _, r := range s.runs {
		if (len(r.used) == 0) != (len(r.written) == 0) {
			got = append(got, strings.Join(r.used, " ")+" -> "+strings.Join(r.written, " "))
		}
	}
	sort.Strings(got)
	want := []string{" -> gcs:mock-bucket.`to_be_deleted.txt`", " -> gcs:mock-bucket.`uploaded_data.txt`",
		"gcs:mock-bucket.`to_be_deleted.txt` -> ", "gcs:mock-bucket.`uploaded_data.txt` -> "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
