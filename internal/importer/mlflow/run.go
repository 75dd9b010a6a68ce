package mlflow

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// run maps a run (service.proto, message Run).
func (u *unit) run(m rawjson.Node) {
	info, data := m.Get("info"), m.Get("data")
	if !data.Given() {
		data = m // exports keep the parts of the data beside the info
	}
	id := text(info, "run_id", "run_uuid")
	if id == "" {
		u.refuse(MissingID, "info.run_id", "is missing; a run is known by its id")
		return
	}
	tags := pairs(data.Get("tags"))
	ref := u.activity(id)
	a := &statement.Activity{ID: ref.String(), InputsCompleteness: statement.BestEffort}
	u.dates(a, info)
	if exp := text(info, "experiment_id"); exp != "" {
		plan := resource(u.experimentRef(exp))
		a.Plan = &plan
	}
	if parent := tags["mlflow.parentRunId"]; parent != "" && parent != id {
		a.InformedBy = append(a.InformedBy, resource(u.activity(parent)))
	}
	if who, ok := u.identity(cmp.Or(tags["mlflow.user"], info.Get("user_id").Text())); ok {
		a.Identities = []statement.Party{{Ref: who, Role: "user"}}
	}
	a.Parameters = u.parameters(info, data, tags)
	a.Environment = environment(tags)
	u.code(a, tags)
	evaluated := u.inputs(a, m)
	u.linkedPrompts(a, tags["mlflow.linkedPrompts"])
	outputs := u.outputs(m, id, tags)
	a.Kind = runKind(a, tags, outputs, evaluated)
	u.untold(m, data, tags)
	subjects := make([]statement.Subject, 0, len(outputs))
	for _, r := range outputs {
		subjects = append(subjects, subject(r))
	}
	if len(subjects) == 0 {
		subjects = append(subjects, subject(ref))
	}
	// The activity comes first: its statement carries the notes.
	rest := u.out
	u.out = nil
	u.add(a, subjects...)
	u.out = append(u.out, rest...)
}

// runKind tells what sort of activity a run was, as far as it shows.
func runKind(a *statement.Activity, tags map[string]string, outputs []prov.Ref, evaluated bool) string {
	switch {
	case strings.Contains(strings.ToLower(tags["mlflow.runType"]), "eval"):
		return "evaluate"
	case len(outputs) > 0:
		return "train"
	case evaluated:
		return "evaluate"
	}
	for _, x := range a.Used {
		if x.Role == "training" || x.Role == "train" {
			return "train"
		}
	}
	return "run"
}

// states of a run: the names, and the numbers that file stores keep
// (service.proto, enum RunStatus).
var states = map[string]string{"RUNNING": "running", "SCHEDULED": "other", "FINISHED": "completed", "FAILED": "failed", "KILLED": "aborted",
	"1": "running", "2": "other", "3": "completed", "4": "failed", "5": "aborted"}

func (u *unit) dates(a *statement.Activity, info rawjson.Node) {
	a.StartedAt, a.EndedAt = u.time(info.Get("start_time"), "info.start_time"), u.time(info.Get("end_time"), "info.end_time")
	if !a.EndedAt.IsZero() && a.EndedAt.Before(a.StartedAt.Time) {
		u.note("info.end_time lies before info.start_time; the end is in the evidence only")
		a.EndedAt = statement.Time{}
	}
	status := text(info, "status")
	state, ok := states[strings.ToUpper(status)]
	switch {
	case ok:
		a.State = state
	case status != "":
		u.note("info.status %q is not known", rawjson.Clip(status, 60))
		a.State = "other"
	}
}

func (u *unit) experimentRef(id string) prov.Ref {
	return u.ref(prov.Plan, "mlflow/experiments/"+id, "")
}

// parameters gives the parameters, the latest value of each metric, and what
// identifies the run to its people.
func (u *unit) parameters(info, data rawjson.Node, tags map[string]string) map[string]string {
	out := map[string]string{}
	params := pairs(data.Get("params"))
	for i, k := range slices.Sorted(maps.Keys(params)) {
		if i == maxParameters {
			u.note("%d of %d parameters are in the evidence only", len(params)-i, len(params))
			break
		}
		if len(params[k]) > maxValue {
			u.note("parameter %s is shortened; it is whole in the evidence", rawjson.Clip(k, 100))
		}
		out[rawjson.Clip(k, maxValue)] = rawjson.Clip(params[k], maxValue)
	}
	metrics := latest(data.Get("metrics"))
	for i, k := range slices.Sorted(maps.Keys(metrics)) {
		if i == maxParameters {
			u.note("%d of %d metrics are in the evidence only", len(metrics)-i, len(metrics))
			break
		}
		out["metric."+rawjson.Clip(k, maxValue)] = metrics[k].text
	}
	for k, v := range u.attributes("mlflow.runName", cmp.Or(tags["mlflow.runName"], info.Get("run_name").Text()),
		"mlflow.experimentId", info.Get("experiment_id").Text(),
		"mlflow.source.name", tags["mlflow.source.name"], "mlflow.source.type", tags["mlflow.source.type"]) {
		out[k] = v
	}
	if stage := info.Get("lifecycle_stage").Text(); stage != "" && stage != "active" {
		out["mlflow.lifecycleStage"] = rawjson.Clip(stage, maxValue)
		u.note("the run is marked as %s in MLflow; what it did stays recorded", rawjson.Clip(stage, 60))
	}
	return out
}

// point is a value of a metric.
type point struct {
	step, at int64
	value    float64
	text     string
}

// latest gives, as MLflow does, the value of each metric with the highest
// step, then time, then value.
func latest(n rawjson.Node) map[string]point {
	out := map[string]point{}
	add := func(key string, x rawjson.Node) {
		if key == "" || !x.Get("value").Given() {
			return
		}
		p := newPoint(x.Get("step").Text(), x.Get("timestamp").Text(), x.Get("value").Text())
		if old, ok := out[key]; !ok || !p.before(old) {
			out[key] = p
		}
	}
	for m := range n.All() {
		switch {
		case n.Kind() == '[':
			add(m.Get("key").Text(), m)
		case m.Kind() == '[':
			for x := range m.All() {
				add(m.Key(), x)
			}
		default: // a name and its value, as some tools write it
			if t := m.Text(); t != "" {
				out[m.Key()] = newPoint("", "", t)
			}
		}
	}
	return out
}

// newPoint reads a value. Numbers are written in the shortest form that gives
// the same 64-bit value, so that it does not matter who printed them.
func newPoint(step, at, value string) point {
	p := point{text: rawjson.Clip(value, maxValue)}
	p.step, _ = strconv.ParseInt(step, 10, 64)
	p.at, _ = strconv.ParseInt(at, 10, 64)
	v, err := strconv.ParseFloat(value, 64)
	if err != nil && !math.IsInf(v, 0) {
		return p
	}
	p.value = v
	switch {
	case math.IsNaN(v):
		p.text = "NaN"
	case math.IsInf(v, 1):
		p.text = "Infinity"
	case math.IsInf(v, -1):
		p.text = "-Infinity"
	default:
		p.text = strconv.FormatFloat(v, 'g', -1, 64)
	}
	return p
}

func (p point) before(q point) bool {
	return cmp.Or(cmp.Compare(p.step, q.step), cmp.Compare(p.at, q.at), cmp.Compare(p.value, q.value)) < 0
}

// environment gives where a run ran.
func environment(tags map[string]string) map[string]string {
	var out map[string]string
	for _, k := range []string{"mlflow.databricks.workspaceURL", "mlflow.databricks.workspaceID", "mlflow.databricks.cluster.id",
		"mlflow.databricks.jobID", "mlflow.databricks.jobRunID", "mlflow.databricks.runtime", "mlflow.docker.image.uri", "mlflow.docker.image.id",
		"mlflow.project.backend", "mlflow.project.entryPoint"} {
		if v := tags[k]; v != "" {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = rawjson.Clip(v, maxValue)
		}
	}
	return out
}

// code adds the source that the run followed, at its commit or revision where
// they are told.
func (u *unit) code(a *statement.Activity, tags map[string]string) {
	repo := cmp.Or(tags["mlflow.source.git.repoURL"], tags["mlflow.databricks.gitRepoUrl"], tags["mlflow.gitRepoURL"])
	commit := cmp.Or(tags["mlflow.source.git.commit"], tags["mlflow.databricks.gitRepoCommit"], tags["mlflow.gitCommit"])
	name := cmp.Or(repo, tags["mlflow.databricks.notebookPath"], tags["mlflow.source.name"], tags["mlflow.project.uri"])
	version := cmp.Or(commit, tags["mlflow.databricks.notebookRevisionID"])
	if name == "" && commit != "" {
		name = "git"
	}
	if name == "" {
		return
	}
	if r, revision, ok := prov.Repository(name, repo != ""); ok {
		name, version = r, cmp.Or(version, revision)
	}
	var digest statement.DigestSet
	if isHex(commit, 40) {
		digest = statement.DigestSet{"gitCommit": strings.ToLower(commit)}
	}
	a.Used = append(a.Used, statement.Use{Resource: statement.NewResource(u.global(prov.Code, name, version), digest), Role: "source-code", Rule: statement.RuleStated})
}

// linkedPrompts adds the prompts that were loaded or logged within the run.
func (u *unit) linkedPrompts(a *statement.Activity, list string) {
	root, ok := parse(list)
	if !ok {
		return
	}
	for x := range root.All() {
		if name := x.Get("name").Text(); name != "" && len(a.Used) < maxOutputs {
			a.Used = append(a.Used, statement.Use{Resource: resource(u.ref(prov.Prompt, name, x.Get("version").Text())), Role: "prompt", Rule: statement.RuleStated})
		}
	}
}

// untold notes what a run says beyond its statements.
func (u *unit) untold(m, data rawjson.Node, tags map[string]string) {
	if len(tags) > 0 {
		u.note("kept in the evidence only: tags that are not named in docs/format-mlflow.md")
	}
	if data.Get("metrics").Kind() == '{' {
		u.note("kept in the evidence only: the history of the metrics before their last value")
	}
	if m.Get("traces").Kind() == '[' {
		u.note("kept in the evidence only: the list of traces; each trace names its run")
	}
}
