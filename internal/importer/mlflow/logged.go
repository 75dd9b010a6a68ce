package mlflow

import (
	"cmp"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// loggedModel maps a logged model of MLflow 3 (service.proto, message
// LoggedModel), or its flat form in an export.
func (u *unit) loggedModel(m rawjson.Node) {
	info, data := m.Get("info"), m.Get("data")
	if info.Kind() != '{' || !info.Get("model_id").Given() {
		info, data = m, m
	}
	id := info.Get("model_id").Text()
	if id == "" {
		u.refuse(MissingID, "model_id", "is missing; a logged model is known by its id")
		return
	}
	ref := u.loggedID(id)
	created := u.time(info.Get("creation_timestamp"), "creation_timestamp")
	if created.IsZero() {
		created = u.time(info.Get("creation_timestamp_ms"), "creation_timestamp_ms")
	}
	run := info.Get("source_run_id").Text()
	e := &statement.Entity{State: "registered", At: created, Attributes: u.attributes(
		"mlflow.name", info.Get("name").Text(), "mlflow.modelType", info.Get("model_type").Text(),
		"mlflow.status", loggedStatus(info.Get("status").Text()), "mlflow.experimentId", info.Get("experiment_id").Text(),
		"mlflow.artifactLocation", text(info, "artifact_uri", "artifact_location"), "mlflow.runId", run)}
	if info.Get("lifecycle_stage").Text() == "deleted" {
		e.State = "retired"
	}
	u.add(e, subject(ref))
	if run != "" {
		u.add(&statement.Activity{Kind: "train", ID: u.activity(run).String()}, subject(ref))
	}
	for _, k := range []string{"params", "metrics", "tags", "registrations"} {
		if data.Get(k).Given() || info.Get(k).Given() {
			u.note("kept in the evidence only: %s of the logged model", k)
		}
	}
	if m.Get("dataset_inputs").Given() {
		u.note("kept in the evidence only: dataset_inputs, which are those of the run")
	}
}

// loggedStatus gives the name of a status (service.proto, enum
// LoggedModelStatus).
func loggedStatus(s string) string {
	switch strings.TrimPrefix(s, "LOGGED_MODEL_") {
	case "1", "PENDING":
		return "PENDING"
	case "2", "READY":
		return "READY"
	case "3", "UPLOAD_FAILED":
		return "UPLOAD_FAILED"
	}
	return s
}

// mlmodel maps an MLmodel file, which lies beside the files of a model. Text
// is the file itself with its secrets replaced, and m what it says.
func (u *unit) mlmodel(m rawjson.Node) {
	run, where := m.Get("run_id").Text(), m.Get("artifact_path").Text()
	var ref prov.Ref
	switch id, uuid := m.Get("model_id").Text(), m.Get("model_uuid").Text(); {
	case id != "":
		ref = u.loggedID(id)
	case run != "":
		ref = u.loggedRef(run, where)
	case uuid != "":
		ref = u.global(prov.Model, "mlflow/"+strings.ToLower(uuid), logged)
		u.note("the model names no run that logged it")
	default:
		u.refuse(MissingID, "MLmodel", "has no model_id, run_id or model_uuid, so the model has no name; save it with a newer MLflow, or record it by its digest")
		return
	}
	attrs := flavours(m)
	for k, v := range u.attributes("mlflow.signature.inputs", m.Get("signature").Get("inputs").Text(), "mlflow.signature.outputs", m.Get("signature").Get("outputs").Text(),
		"mlflow.modelSizeBytes", m.Get("model_size_bytes").Text(), "mlflow.databricksRuntime", m.Get("databricks_runtime").Text()) {
		attrs[k] = v
	}
	e := &statement.Entity{State: "described", At: u.time(m.Get("utc_time_created"), "utc_time_created"), Attributes: attrs}
	u.add(e, subject(ref))
	if run != "" {
		a := &statement.Activity{Kind: "train", ID: u.activity(run).String()}
		u.mlmodelPrompts(a, m)
		u.add(a, subject(ref))
	}
	for k := range m.All() {
		switch k.Key() {
		case "artifact_path", "flavors", "model_uuid", "model_id", "run_id", "mlflow_version", "signature", "utc_time_created", "model_size_bytes", "databricks_runtime", "prompts":
		default:
			u.note("kept in the evidence only: %s", rawjson.Clip(k.Key(), 100))
		}
	}
}

// mlmodelPrompts adds the prompts that a model was logged with: URIs such as
// prompts:/name/3.
func (u *unit) mlmodelPrompts(a *statement.Activity, m rawjson.Node) {
	for p := range m.Get("prompts").All() {
		rest, ok := strings.CutPrefix(p.Text(), "prompts:/")
		name, version, _ := strings.Cut(strings.Trim(rest, "/"), "/")
		if ok && name != "" && len(a.Used) < maxOutputs {
			a.Used = append(a.Used, statement.Use{Resource: resource(u.ref(prov.Prompt, name, version)), Role: "prompt", Rule: statement.RuleStated})
		}
	}
}

// experiment maps an experiment: the plan that its runs follow.
func (u *unit) experiment(m rawjson.Node) {
	id := m.Get("experiment_id").Text()
	if id == "" {
		u.refuse(MissingID, "experiment_id", "is missing; an experiment is known by its id")
		return
	}
	tags := pairs(m.Get("tags"))
	created, updated := u.time(m.Get("creation_time"), "creation_time"), u.time(m.Get("last_update_time"), "last_update_time")
	e := &statement.Entity{State: "described", At: later(created, updated), Description: rawjson.Clip(tags["mlflow.note.content"], maxValue),
		Attributes: u.attributes("mlflow.name", m.Get("name").Text(), "mlflow.artifactLocation", m.Get("artifact_location").Text(),
			"mlflow.experimentType", tags["mlflow.experimentType"], "mlflow.createdAt", created.String())}
	if who, ok := u.identity(cmp.Or(tags["mlflow.ownerEmail"], m.Get("owner_email").Text())); ok {
		e.Owner = who
	}
	if m.Get("lifecycle_stage").Text() == "deleted" {
		e.State = "retired"
	}
	u.add(e, subject(u.experimentRef(id)))
	if u.root.Get("mlflow").Get("permissions").Given() {
		u.note("kept in the evidence only: permissions")
	}
}

// sortedKeys of a YAML file's top level, for messages.
func sortedKeys(m rawjson.Node) []string {
	var out []string
	for k := range m.All() {
		out = append(out, rawjson.Clip(k.Key(), 60))
	}
	slices.Sort(out)
	return out
}
