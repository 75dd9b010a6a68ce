package mlflow

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// history is a log in memory that imports as `stemma import` does: the
// statements of an Item first, then what they change in a registry.
type history struct {
	t    *testing.T
	g    *graph.Graph
	seen map[string]bool
}

func (h *history) record(d importer.Draft) {
	h.t.Helper()
	payload, err := statement.Format(d.Subjects, d.Predicate)
	if err != nil {
		h.t.Fatal(err)
	}
	if h.seen[string(payload)] {
		return
	}
	h.seen[string(payload)] = true
	env, err := statement.Unsigned(payload)
	if err != nil {
		h.t.Fatal(err)
	}
	at := time.Date(2027, 1, 1, 0, 0, int(h.g.Size()), 0, time.UTC)
	b, err := statement.FormatEntry(statement.Entry{RecordedAt: at, RecordedBy: "person:ann", Envelope: env})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.g.Fold(h.g.Size(), b); err != nil {
		h.t.Fatal(err)
	}
}

func (h *history) load(items []importer.Item) (added int) {
	h.t.Helper()
	before := h.g.Size()
	for _, it := range items {
		for _, d := range it.Statements {
			h.record(d)
		}
		for _, s := range it.Registries {
			for _, d := range s.Changes(h.known) {
				h.record(d)
			}
		}
	}
	return int(h.g.Size() - before)
}

// known is the function that the caller of Changes provides.
func (h *history) known(registry string, series prov.Ref, at prov.Instant) map[string]prov.Ref {
	v := h.g.At(prov.AsOf{Valid: at, Known: prov.AllKnown})
	out := map[string]prov.Ref{}
	for _, a := range v.Aliases(registry, series) {
		if !a.Stage {
			out[a.Name] = v.Ref(a.To)
		}
	}
	return out
}

// at tells what the aliases and stages pointed at, at seconds after the epoch
// of the exports.
func (h *history) at(seconds int64) string {
	var out []string
	v := h.g.At(prov.AsOf{Valid: prov.At(time.Unix(1700000000+seconds, 0)), Known: prov.AllKnown})
	for _, a := range v.Aliases("mlflow", prov.Ref{Kind: prov.Model, Name: "fraud"}) {
		out = append(out, a.Name+"="+v.Ref(a.To).Version)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// export gives a model.json that was made at a time, with aliases such as
// "champion=1" and stages such as "1:Production".
func export(t *testing.T, seconds int64, aliases, stages string) []importer.Item {
	t.Helper()
	var a, v []string
	for _, w := range strings.Fields(aliases) {
		name, version, _ := strings.Cut(w, "=")
		a = append(a, fmt.Sprintf(`{"alias": %q, "version": %q}`, name, version))
	}
	for _, w := range strings.Fields(stages) {
		version, stage, _ := strings.Cut(w, ":")
		v = append(v, fmt.Sprintf(`{"name": "fraud", "version": %q, "creation_timestamp": 1700000000000, "last_updated_timestamp": %d, "current_stage": %q}`, version, 1700000000000+1000*seconds, stage))
	}
	return readText(t, "model.json", fmt.Sprintf(`{"system": {"export_time": %d}, "mlflow": {"registered_model": {"name": "fraud", "creation_timestamp": 1700000000000, "aliases": [%s], "versions": [%s]}}}`,
		1700000000+seconds, strings.Join(a, ","), strings.Join(v, ",")))
}

// TestAliasHistory imports three exports in every order: the history is the
// same, and an old export undoes nothing.
func TestAliasHistory(t *testing.T) {
	exports := [][]importer.Item{
		export(t, 100, "champion=1 canary=2", "1:Production 2:Staging"),
		export(t, 200, "champion=2", "1:Archived 2:Production 3:Production"),
		export(t, 300, "champion=1 canary=3", "1:Production 2:None 3:Production"),
	}
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}, {2, 0, 1}, {0, 2, 1}, {1, 2, 0}} {
		h := &history{t, graph.New(), map[string]bool{}}
		for _, i := range order {
			h.load(exports[i])
		}
		if got, want := h.at(350), "Production=1 Production=3 canary=3 champion=1"; got != want {
			t.Errorf("in the order %v, at the end: %s, want %s", order, got, want)
		}
		if got, want := h.at(150), "Production=1 Staging=2 canary=2 champion=1"; got != want {
			t.Errorf("in the order %v, after the first: %s, want %s", order, got, want)
		}
		if got, want := h.at(250), "Archived=1 Production=2 Production=3 champion=2"; got != want {
			t.Errorf("in the order %v, after the second: %s, want %s", order, got, want)
		}
		for _, e := range exports {
			if n := h.load(e); n != 0 {
				t.Errorf("in the order %v: importing again adds %d statements", order, n)
			}
		}
	}
}

// TestAliasBack moves an alias back in a database, which changes no time in
// it: the person says when it was so.
func TestAliasBack(t *testing.T) {
	h := &history{t, graph.New(), map[string]bool{}}
	load := func(version string, seconds int64) {
		path := databaseFile(t, `INSERT INTO model_versions (name, version, creation_time, last_updated_time, current_stage) VALUES ('fraud', 2, 1700000020000, 1700000020000, 'None')`,
			`UPDATE registered_model_aliases SET version = `+version)
		im := Importer{}
		if seconds > 0 {
			im.Options.ObservedAt = statement.NewTime(time.Unix(1700000000+seconds, 0))
		}
		h.load(readFile(t, im, path))
	}
	load("1", 100)
	load("2", 200)
	load("1", 300)
	for _, c := range []struct {
		at   int64
		want string
	}{{150, "Production=1 champion=1"}, {250, "Production=1 champion=2"}, {350, "Production=1 champion=1"}} {
		if got := h.at(c.at); got != c.want {
			t.Errorf("after %d seconds: %s, want %s", c.at, got, c.want)
		}
	}
}

// TestServer names things within a server, so that equal names of two servers
// stay apart.
func TestServer(t *testing.T) {
	im := Importer{Options: Options{Server: "mlflow.acme.example"}}
	items := readAll(t, im, importer.Source{Name: "x.json", R: strings.NewReader(
		`{"registered_models": [{"name": "fraud", "creation_timestamp": 1700000000000, "aliases": [{"alias": "champion", "version": "1"}]}]}`)})
	d := items[0].Statements[1]
	p := d.Predicate.(*statement.Registry)
	want := prov.Ref{Kind: prov.Model, Namespace: "mlflow.acme.example", Name: "fraud"}
	if got, err := d.Subjects[0].Target(); err != nil || got.Ref != want || p.Registry != "mlflow.acme.example" {
		t.Errorf("the subject is %v in the registry %s (%v), want %v", got, p.Registry, err, want)
	}
	if got, err := p.Aliases["champion"].Target(); err != nil || got.Ref != want.WithVersion("1") {
		t.Errorf("champion is %v (%v)", got, err)
	}
}
