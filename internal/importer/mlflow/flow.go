package mlflow

import (
	"bytes"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// parse reads JSON that stands in a text, such as a tag.
func parse(s string) (rawjson.Node, bool) {
	if len(s) < 2 || s[0] != '{' && s[0] != '[' {
		return rawjson.Node{}, false
	}
	for v, err := range rawjson.Split(strings.NewReader("["+s+"]"), int64(len(s))+16) {
		if err != nil || v.Fault != nil || len(v.Bytes) != len(bytes.TrimSpace([]byte(s))) {
			return rawjson.Node{}, false
		}
		return rawjson.Parse(v.Bytes).Root(), true
	}
	return rawjson.Node{}, false
}

// inputs adds the datasets and models that a run used, and tells whether it
// looks like an evaluation: a model or a dataset for evaluation went in, and
// none for training.
func (u *unit) inputs(a *statement.Activity, m rawjson.Node) (evaluated bool) {
	in := m.Get("inputs")
	datasets, models := in, m.Get("model_inputs")
	if in.Kind() == '{' {
		datasets, models = in.Get("dataset_inputs"), in.Get("model_inputs")
	}
	trained := false
	for x := range datasets.All() {
		ds := x.Get("dataset")
		if ds.Kind() != '{' || len(a.Used) >= maxOutputs {
			continue
		}
		role := pairs(x.Get("tags"))["mlflow.data.context"]
		ref, ok := u.dataset(ds)
		if !ok {
			continue
		}
		switch strings.ToLower(role) {
		case "train", "training", "fit":
			trained = true
		case "eval", "evaluation", "test", "testing", "validation", "val":
			evaluated = true
		}
		a.InputsCompleteness = statement.Declared
		a.Used = append(a.Used, statement.Use{Resource: resource(ref), Role: rawjson.Clip(role, maxValue), Rule: statement.RuleStated})
	}
	for x := range models.All() {
		if id := x.Get("model_id").Text(); id != "" && len(a.Used) < maxOutputs {
			evaluated = true
			a.Used = append(a.Used, statement.Use{Resource: resource(u.loggedID(id)), Role: "model", Rule: statement.RuleStated})
		}
	}
	if len(a.Used) >= maxOutputs {
		u.note("the run names more than %d inputs; the rest is in the evidence only", maxOutputs)
	}
	return evaluated && !trained
}

// dataset names a dataset by where it came from, or else by its name, with
// MLflow's digest as the version: it is no digest of the content (it covers a
// sample of the rows, or only the schema), so it never stands as one.
func (u *unit) dataset(ds rawjson.Node) (prov.Ref, bool) {
	name, digest := ds.Get("name").Text(), ds.Get("digest").Text()
	where, table := location(ds.Get("source"))
	if where == "" {
		where = name
	}
	if where == "" {
		u.note("a dataset has neither a name nor a source; it is in the evidence only")
		return prov.Ref{}, false
	}
	ref := u.global(prov.Dataset, where, digest)
	u.add(&statement.Entity{State: "described", Attributes: u.attributes("mlflow.name", name, "mlflow.sourceType", text(ds, "source_type"), "mlflow.tableVersion", table)}, subject(ref))
	if len(u.out[len(u.out)-1].Predicate.(*statement.Entity).Attributes) == 0 {
		u.out = u.out[:len(u.out)-1]
	}
	return ref, true
}

// location reads the source of a dataset: JSON in a text, a text or an object.
func location(n rawjson.Node) (where, table string) {
	src := n
	if n.Kind() == '"' {
		var ok bool
		if src, ok = parse(n.Text()); !ok {
			if t := n.Text(); strings.Contains(t, "://") {
				return t, ""
			}
			return "", ""
		}
	}
	where = text(src, "uri", "url", "delta_table_name", "table_name", "path", "repo_id", "name")
	return where, text(src, "delta_table_version", "table_version", "revision", "commit_hash")
}

// outputs gives the models that a run logged: MLflow 3 names them, MLflow 2
// keeps a history of them in a tag.
func (u *unit) outputs(m rawjson.Node, run string, tags map[string]string) []prov.Ref {
	var out []prov.Ref
	add := func(r prov.Ref) {
		if len(out) < maxOutputs && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	models := m.Get("outputs").Get("model_outputs")
	if m.Get("outputs").Kind() == '[' {
		models = m.Get("outputs")
	}
	for x := range models.All() {
		if id := x.Get("model_id").Text(); id != "" {
			add(u.loggedID(id))
		}
	}
	history, ok := parse(tags["mlflow.log-model.history"])
	if !ok && tags["mlflow.log-model.history"] != "" {
		u.note("the tag mlflow.log-model.history is no JSON; it is in the evidence only")
	}
	for x := range history.All() {
		if id := x.Get("model_id").Text(); id != "" {
			add(u.loggedID(id))
			continue
		}
		if by := x.Get("run_id").Text(); by != "" && by != run {
			continue // copied with the tags of another run
		}
		r := u.loggedRef(run, x.Get("artifact_path").Text())
		add(r)
		if attrs := flavours(x); len(attrs) > 0 {
			u.add(&statement.Entity{State: "described", At: u.time(x.Get("utc_time_created"), "utc_time_created"), Attributes: attrs}, subject(r))
		}
	}
	return out
}

// loggedRef names a model that a run logged before MLflow 3, by the URI that
// MLflow itself takes for it.
func (u *unit) loggedRef(run, path string) prov.Ref {
	return u.global(prov.Model, "runs:/"+strings.ToLower(run)+"/"+strings.Trim(path, "/"), logged)
}

// logged is the version of a logged model: its id names one model whose files
// do not change, so there is one.
const logged = "logged"

// loggedID names a logged model of MLflow 3 by its id.
func (u *unit) loggedID(id string) prov.Ref { return u.global(prov.Model, id, logged) }

// flavours gives what a model's description says of how it is loaded.
func flavours(x rawjson.Node) map[string]string {
	var names []string
	for f := range x.Get("flavors").All() {
		names = append(names, f.Key())
	}
	slices.Sort(names)
	out := map[string]string{}
	for k, v := range map[string]string{"mlflow.modelUUID": x.Get("model_uuid").Text(), "mlflow.flavors": strings.Join(names, ", "),
		"mlflow.version": x.Get("mlflow_version").Text()} {
		if v != "" {
			out[k] = rawjson.Clip(v, maxValue)
		}
	}
	return out
}
