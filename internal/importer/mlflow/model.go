package mlflow

import (
	"path"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// The tags by which MLflow keeps prompts in the model registry.
const (
	tagIsPrompt   = "mlflow.prompt.is_prompt"
	tagPromptText = "mlflow.prompt.text"
)

func kindOf(tags map[string]string) prov.Kind {
	if truth(tags[tagIsPrompt]) || tags[tagPromptText] != "" {
		return prov.Prompt
	}
	return prov.Model
}

// registeredModel maps a registered model with its aliases and the versions
// that are listed with it (model_registry.proto, message RegisteredModel).
func (u *unit) registeredModel(m rawjson.Node) {
	name := m.Get("name").Text()
	if name == "" {
		u.refuse(MissingName, "name", "is missing; a registered model is known by its name")
		return
	}
	tags := pairs(m.Get("tags"))
	kind := kindOf(tags)
	series := u.ref(kind, name, "")
	created, updated := u.time(m.Get("creation_timestamp"), "creation_timestamp"), u.time(m.Get("last_updated_timestamp"), "last_updated_timestamp")
	newest := later(created, updated)
	who, _ := u.identity(m.Get("user_id").Text())
	u.add(&statement.Entity{State: "described", At: newest, Description: rawjson.Clip(m.Get("description").Text(), maxValue),
		Attributes: u.attributes("mlflow.createdBy", who, "mlflow.createdAt", created.String())}, subject(series))
	state := importer.RegistryState{Registry: u.registry(), Series: series, Aliases: map[string]prov.Ref{}}
	versions := m.Get("versions")
	if versions.Kind() != '[' {
		versions = m.Get("latest_versions")
	}
	n := 0
	for v := range versions.All() {
		if n++; n > maxOutputs {
			u.note("the model lists more than %d versions; the rest is in the evidence only", maxOutputs)
			break
		}
		ref, at, ok := u.version(v, name, kind)
		if !ok {
			continue
		}
		newest = later(newest, at)
		for a := range v.Get("aliases").All() {
			if alias := a.Text(); alias != "" {
				state.Aliases[alias] = ref
			}
		}
	}
	u.aliases(m.Get("aliases"), name, kind, &state)
	u.pointed(state, newest)
	for _, k := range []string{"permissions", "permission_level", "tags"} {
		if m.Get(k).Given() {
			u.note("kept in the evidence only: %s", k)
		}
	}
}

// pointed says what the aliases pointed at: at the time of the export; else
// when somebody looked, if that is known; else at the newest time of the model.
// MLflow itself tells no time for aliases.
func (u *unit) pointed(s importer.RegistryState, newest statement.Time) {
	switch {
	case !u.observed.IsZero():
		s.At = u.observed
	case !u.ObservedAt.IsZero():
		s.At = u.ObservedAt
		u.states = append(u.states, s)
		return
	case !newest.IsZero():
		s.At = newest
	default:
		if len(s.Aliases) > 0 {
			u.note("the aliases are in the evidence only: nothing tells a time at which they stood")
		}
		return
	}
	u.out = append(u.out, s.Snapshot())
}

// aliases reads the list of a registered model: an array of {alias, version},
// or an object.
func (u *unit) aliases(n rawjson.Node, name string, kind prov.Kind, state *importer.RegistryState) {
	for a := range n.All() {
		alias, version := a.Get("alias").Text(), a.Get("version").Text()
		if n.Kind() == '{' {
			alias, version = a.Key(), a.Text()
		}
		if alias != "" && version != "" {
			state.Aliases[alias] = u.ref(kind, name, version)
		}
	}
}

// stageOf gives the stage of a version, "" for none, and whether it is told.
func stageOf(v rawjson.Node) (stage string, told bool) {
	stage = v.Get("current_stage").Text()
	if strings.EqualFold(stage, "None") {
		return "", true
	}
	return stage, stage != ""
}

// versionUnit maps a version that stands by itself.
func (u *unit) versionUnit(v rawjson.Node) {
	name := v.Get("name").Text()
	kind := kindOf(pairs(v.Get("tags")))
	ref, _, ok := u.version(v, name, kind)
	if !ok {
		if u.refusal == nil {
			u.refuse(Deleted, "current_stage", "the version was deleted; MLflow kept its number only")
		}
		return
	}
	series := ref.Series()
	for a := range v.Get("aliases").All() {
		alias := a.Text()
		switch {
		case alias == "":
		case u.observed.IsZero():
			u.note("alias %s of the version: when it pointed here is not told; it is recorded from the registered model", rawjson.Clip(alias, 100))
		default:
			u.add(&statement.Registry{Registry: u.registry(), Name: series.String(), Namespace: series.Namespace, Alias: alias, At: u.observed}, subject(ref))
		}
	}
}

// version maps a version of a registered model or prompt, and gives its newest
// time. It is not ok when the version was deleted.
func (u *unit) version(v rawjson.Node, name string, kind prov.Kind) (ref prov.Ref, at statement.Time, ok bool) {
	number := v.Get("version").Text()
	if name == "" || number == "" {
		u.refuse(MissingName, "model_version", "has no name or no version; a model version is known by both")
		return ref, at, false
	}
	stage, told := stageOf(v)
	if strings.HasPrefix(stage, "Deleted") {
		return ref, at, false
	}
	tags := pairs(v.Get("tags"))
	if kind == prov.Model {
		kind = kindOf(tags)
	}
	ref = u.ref(kind, name, number)
	created, updated := u.time(v.Get("creation_timestamp"), "creation_timestamp"), u.time(v.Get("last_updated_timestamp"), "last_updated_timestamp")
	who, _ := u.identity(v.Get("user_id").Text())
	e := &statement.Entity{State: "registered", At: created, Description: rawjson.Clip(v.Get("description").Text(), maxValue),
		Attributes: u.attributes("mlflow.status", v.Get("status").Text(), "mlflow.source", v.Get("source").Text(), "mlflow.createdBy", who,
			"mlflow.runId", v.Get("run_id").Text())}
	if status := v.Get("status").Text(); status == "FAILED_REGISTRATION" || status == "PENDING_REGISTRATION" {
		e.State = "described" // it is no version that anybody can use
	}
	var digest statement.DigestSet
	if kind == prov.Prompt {
		digest = templateDigest(tags[tagPromptText])
	}
	run := v.Get("run_id").Text()
	if same, ok := u.source(v, run); ok && same != ref {
		e.SameAs = []statement.Resource{resource(same)}
	}
	u.add(e, statement.NewSubject(ref, digest))
	if run != "" {
		u.add(&statement.Activity{Kind: "train", ID: u.activity(run).String()}, subject(ref))
	}
	if at = later(created, updated); stage != "" || told && updated.After(created.Time) {
		series := ref.Series()
		r := &statement.Registry{Registry: u.registry(), Name: series.String(), Namespace: series.Namespace, Alias: stage, Stage: true, At: at}
		if stage == "" { // changed since it was made, and in no stage now
			r.Alias, r.Removed = "None", true
		}
		u.add(r, subject(ref))
	}
	return ref, at, u.refusal == nil
}

// source gives what a version was registered from: a logged model, a model in
// the artifacts of its run, or another version.
func (u *unit) source(v rawjson.Node, run string) (prov.Ref, bool) {
	if id := v.Get("model_id").Text(); id != "" {
		return u.loggedID(id), true
	}
	src := strings.TrimRight(v.Get("source").Text(), "/")
	if rest, ok := strings.CutPrefix(src, "models:/"); ok {
		rest = strings.TrimLeft(rest, "/")
		if name, version, ok := strings.Cut(rest, "/"); ok && name != "" && version != "" && !strings.Contains(version, "/") {
			return u.ref(prov.Model, name, version), true
		}
		if strings.HasPrefix(rest, "m-") {
			return u.loggedID(rest), true
		}
		return prov.Ref{}, false
	}
	if rest, ok := strings.CutPrefix(src, "runs:/"); ok {
		id, p, _ := strings.Cut(strings.TrimLeft(rest, "/"), "/")
		return u.loggedRef(id, p), id != ""
	}
	if i := strings.LastIndex(src, "/artifacts"); i >= 0 {
		owner := path.Base(src[:i])
		switch {
		case strings.HasPrefix(owner, "m-"):
			return u.loggedID(owner), true
		case run != "" && strings.Contains(src, "/"+run+"/artifacts/"):
			_, p, _ := strings.Cut(src, "/"+run+"/artifacts/")
			return u.loggedRef(run, p), true
		}
	}
	return prov.Ref{}, false
}
