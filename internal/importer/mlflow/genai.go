package mlflow

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// templateDigest gives the SHA-256 of a prompt's text, which is its content.
func templateDigest(template string) statement.DigestSet {
	if template == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(template))
	return statement.DigestSet{"sha256": hex.EncodeToString(sum[:])}
}

// prompt maps a prompt version of an export.
func (u *unit) prompt(m rawjson.Node) {
	name, version := m.Get("name").Text(), m.Get("version").Text()
	if name == "" {
		u.refuse(MissingName, "prompt.name", "is missing; a prompt is known by its name and version")
		return
	}
	ref := u.ref(prov.Prompt, name, version)
	who, _ := u.identity(m.Get("user_id").Text())
	e := &statement.Entity{State: "registered", At: u.time(m.Get("creation_timestamp"), "creation_timestamp"),
		Description: rawjson.Clip(cmp.Or(m.Get("description").Text(), m.Get("commit_message").Text()), maxValue),
		Attributes:  u.attributes("mlflow.createdBy", who, "mlflow.uri", m.Get("uri").Text())}
	var digest statement.DigestSet
	if t := m.Get("template"); t.Kind() == '"' {
		digest = templateDigest(t.Text())
		if strings.Contains(t.Text(), rawjson.Redacted) {
			digest = nil
			u.note("the template held a secret, so its digest is not told")
		}
	} else if t.Given() {
		u.note("the template is no text (a chat); its digest is not told")
	}
	u.add(e, statement.NewSubject(ref, digest))
	if m.Get("tags").Given() {
		u.note("kept in the evidence only: tags, variables and the text of the template")
	}
}

// evaluationDataset maps an evaluation dataset of MLflow 3.
func (u *unit) evaluationDataset(m rawjson.Node) {
	name := m.Get("name").Text()
	if name == "" {
		u.refuse(MissingName, "name", "is missing; an evaluation dataset is known by its name")
		return
	}
	id, digest := m.Get("dataset_id").Text(), m.Get("digest").Text()
	ref := u.ref(prov.Dataset, name, cmp.Or(digest, id))
	at := u.time(m.Get("create_time"), "create_time")
	if at.IsZero() {
		at = u.time(m.Get("created_time"), "created_time")
	}
	who, _ := u.identity(m.Get("created_by").Text())
	e := &statement.Entity{State: "registered", At: at, Attributes: u.attributes("mlflow.datasetId", id, "mlflow.createdBy", who)}
	if where, _ := location(m.Get("source")); where != "" {
		from := u.global(prov.Dataset, where, "")
		e.Derived = []statement.Derivation{{To: resource(ref), From: []statement.DerivedInput{{Resource: resource(from)}}, Rule: statement.RuleStated}}
	}
	u.add(e, subject(ref))
	u.note("kept in the evidence only: records, schema, profile, tags and the list of experiments")
}

// trace maps a trace of a generative application: its identity, times and
// state. Its spans stay in the evidence.
func (u *unit) trace(m rawjson.Node) {
	info := m
	for _, name := range []string{"trace_info", "info"} {
		if x := m.Get(name); x.Kind() == '{' {
			info = x
			break
		}
	}
	id := text(info, "trace_id", "request_id")
	if id == "" {
		u.refuse(MissingID, "info.trace_id", "is missing; a trace is known by its id")
		return
	}
	meta, tags := pairs(info.Get("trace_metadata")), pairs(info.Get("tags"))
	for k, v := range pairs(info.Get("request_metadata")) {
		meta[k] = v
	}
	ref := u.global(prov.Activity, id, "")
	a := &statement.Activity{Kind: "invoke", ID: ref.String(), InputsCompleteness: statement.BestEffort,
		Parameters: u.attributes("mlflow.traceName", tags["mlflow.traceName"], "mlflow.experimentId", traceExperiment(info),
			"mlflow.clientRequestId", info.Get("client_request_id").Text(), "mlflow.trace.session", meta["mlflow.trace.session"])}
	a.StartedAt = u.time(info.Get("timestamp_ms"), "timestamp_ms")
	if a.StartedAt.IsZero() {
		a.StartedAt = u.time(info.Get("request_time"), "request_time")
	}
	if d, ok := duration(info); ok && !a.StartedAt.IsZero() {
		a.EndedAt = statement.NewTime(a.StartedAt.Add(d))
	}
	switch strings.ToUpper(strings.TrimPrefix(text(info, "status", "state"), "TRACE_STATUS_")) {
	case "OK":
		a.State = "completed"
	case "ERROR":
		a.State = "failed"
	case "IN_PROGRESS":
		a.State = "running"
	default:
		a.State = "other"
	}
	if exp := traceExperiment(info); exp != "" {
		plan := resource(u.experimentRef(exp))
		a.Plan = &plan
	}
	if run := meta["mlflow.sourceRun"]; run != "" {
		a.InformedBy = append(a.InformedBy, resource(u.activity(run)))
	}
	if who, ok := u.identity(cmp.Or(meta["mlflow.trace.user"], meta["mlflow.user"], tags["mlflow.user"])); ok {
		a.Identities = []statement.Party{{Ref: who, Role: "user"}}
	}
	if model := meta["mlflow.modelId"]; model != "" {
		a.Used = append(a.Used, statement.Use{Resource: resource(u.loggedID(model)), Role: "model", Rule: statement.RuleStated})
	}
	u.code(a, meta)
	u.linkedPrompts(a, tags["mlflow.linkedPrompts"])
	u.add(a, subject(ref))
	u.note("kept in the evidence only: spans, previews, assessments and other tags; import the spans as OpenTelemetry for what called what")
}

// tagTraceID is the attribute by which the spans of a trace name it. Its value
// is JSON in a text.
const tagTraceID = "mlflow.traceRequestId"

// traceOfSpans gives the id of the trace that the file traces.json, the
// artifact of a trace, holds the spans of.
func traceOfSpans(m rawjson.Node) string {
	for x := range m.Get("spans").All() {
		return strings.Trim(x.Get("attributes").Get(tagTraceID).Text(), "\"")
	}
	return ""
}

// spans maps the spans of a trace, as far as the trace itself goes: when it
// began and ended.
func (u *unit) spans(m rawjson.Node) {
	a := &statement.Activity{Kind: "invoke", ID: u.global(prov.Activity, traceOfSpans(m), "").String(), InputsCompleteness: statement.BestEffort}
	for x := range m.Get("spans").All() {
		for _, name := range []string{"start_time_unix_nano", "start_time"} {
			if t := u.time(x.Get(name), name); !t.IsZero() && (a.StartedAt.IsZero() || t.Before(a.StartedAt.Time)) {
				a.StartedAt = t
			}
		}
		a.EndedAt = later(a.EndedAt, u.time(x.Get("end_time_unix_nano"), "end_time_unix_nano"), u.time(x.Get("end_time"), "end_time"))
	}
	if a.EndedAt.Before(a.StartedAt.Time) {
		a.EndedAt = statement.Time{}
	}
	u.add(a, subject(u.global(prov.Activity, traceOfSpans(m), "")))
	u.note("kept in the evidence only: the spans; import them as OpenTelemetry for what called what")
}

func traceExperiment(info rawjson.Node) string {
	return cmp.Or(info.Get("experiment_id").Text(), info.Get("trace_location").Get("mlflow_experiment").Get("experiment_id").Text())
}

// duration gives how long a trace lasted: milliseconds, or text such as
// "1.25s".
func duration(info rawjson.Node) (time.Duration, bool) {
	for _, name := range []string{"execution_time_ms", "execution_duration_ms", "execution_duration"} {
		s := info.Get(name).Text()
		if ms, err := strconv.ParseInt(s, 10, 64); err == nil && ms >= 0 && ms < 1e12 {
			return time.Duration(ms) * time.Millisecond, true
		}
		if d, err := time.ParseDuration(s); s != "" && err == nil && d >= 0 {
			return d, true
		}
	}
	return 0, false
}
