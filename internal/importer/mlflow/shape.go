package mlflow

import (
	"bytes"
	"path"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// The classes of refusals beside those of rawjson.
const (
	NotMLflow   = "not-mlflow"
	Aside       = "nothing-to-record" // an index, an environment, an example
	PartOf      = "part-of-another-unit"
	NeedsFile   = "needs-file"
	Unreadable  = "unreadable-file"
	BadYAML     = "malformed-yaml"
	BadField    = "bad-field"
	MissingID   = "missing-id"
	MissingName = "missing-name"
	NameTooLong = "name-too-long"
	Deleted     = "deleted"
	NotServed   = "not-served"
	Unfinished  = "unsaved-changes"
)

// shape is what a unit is.
type shape int

const (
	shapeUnknown shape = iota
	shapeRun
	shapeExperiment
	shapeModel
	shapeVersion
	shapeLogged
	shapePrompt
	shapeDataset
	shapeTrace
	shapeSpans
)

// shapeOf tells what a JSON object is: an export (system and mlflow), or an
// element of a response.
func shapeOf(n rawjson.Node) shape {
	m, exported := body(n)
	switch {
	case m.Kind() != '{':
	case m.Get("registered_model").Kind() == '{' && exported:
		return shapeModel
	case m.Get("model_version").Kind() == '{' && exported:
		return shapeVersion
	case m.Get("experiment").Kind() == '{' && exported:
		return shapeExperiment
	case m.Get("prompt").Kind() == '{' && exported:
		return shapePrompt
	case m.Get("evaluation_dataset").Kind() == '{' && exported:
		return shapeDataset
	default:
		return shapeOfElement(m, exported)
	}
	return shapeUnknown
}

func shapeOfElement(m rawjson.Node, exported bool) shape {
	info := m.Get("info")
	has := func(n rawjson.Node, names ...string) bool {
		for _, name := range names {
			if n.Get(name).Given() {
				return true
			}
		}
		return false
	}
	switch {
	case has(info, "run_id", "run_uuid") && has(info, "experiment_id", "artifact_uri", "status", "lifecycle_stage"):
		return shapeRun
	case has(info, "model_id"), has(m, "model_id") && (exported || has(m, "source_run_id", "artifact_location", "creation_timestamp_ms")):
		return shapeLogged
	case has(info, "request_id", "trace_id", "client_request_id"), has(m.Get("trace_info"), "request_id", "trace_id"):
		return shapeTrace
	case has(m, "request_id", "trace_id") && has(m, "experiment_id", "trace_location", "timestamp_ms", "request_time") && !has(m, "spans", "span_id"):
		return shapeTrace
	case traceOfSpans(m) != "":
		return shapeSpans
	case has(m, "dataset_id") && has(m, "name"):
		return shapeDataset
	case has(m, "experiment_id") && has(m, "name") && has(m, "artifact_location", "lifecycle_stage"):
		return shapeExperiment
	case has(m, "name") && has(m, "version") && has(m, "creation_timestamp", "current_stage", "source", "run_id"):
		return shapeVersion
	case has(m, "name") && has(m, "creation_timestamp", "last_updated_timestamp") && !has(m, "experiment_id", "artifact_location"):
		return shapeModel
	}
	return shapeUnknown
}

// body gives what an export wraps, or the element itself.
func body(n rawjson.Node) (m rawjson.Node, exported bool) {
	if m := n.Get("mlflow"); m.Kind() == '{' && n.Get("system").Kind() == '{' {
		return m, true
	}
	if n.Get("export_info").Kind() == '{' { // mlflow-export-import before 1.1
		return n, true
	}
	return n, false
}

// lists are the members of the REST API's responses that hold units, one or
// many.
var lists = []string{"experiments", "experiment", "runs", "run", "registered_models", "registered_model",
	"model_versions", "model_version", "models", "model", "traces", "trace", "trace_info", "datasets", "dataset"}

// page gives the members of a response that hold units.
func page(n rawjson.Node) []rawjson.Node {
	if n.Kind() != '{' || n.Get("system").Given() {
		return nil
	}
	var out []rawjson.Node
	for _, name := range lists {
		m := n.Get(name)
		switch m.Kind() {
		case '{':
			if shapeOf(m) != shapeUnknown {
				out = append(out, m)
			}
		case '[':
			first, any := rawjson.Node{}, false
			for x := range m.All() {
				first, any = x, true
				break
			}
			if !any || shapeOf(first) != shapeUnknown {
				out = append(out, m)
			}
		}
	}
	return out
}

// aside says what a file of MLflow's surroundings is that holds nothing to
// record.
func aside(base string, n rawjson.Node) string {
	m, exported := body(n)
	switch {
	case exported && (base == "manifest.json" || n.Get("info").Given() && !m.Get("info").Given()):
		return "a list of what was exported, with counts; what it lists is recorded from its own files"
	case exported && anyOf(m, "experiments", "models", "runs", "datasets", "prompts", "traces", "total_prompts", "total_datasets", "successful_exports"):
		return "an export's list or summary; what it lists is recorded from its own files"
	case isExample(base, n):
		return "an example of a model's input; it says nothing of lineage"
	}
	return ""
}

func isExample(base string, n rawjson.Node) bool {
	return strings.HasSuffix(base, "input_example.json") && (n.Kind() == '[' || n.Kind() == '{') ||
		base == "serving_input_example.json" || base == "registered_model_meta"
}

// Recognise tells whether the file is one of MLflow's: an export, a saved
// response, a file of a file store, an MLmodel with its environment, or a
// tracking server's database.
func (Importer) Recognise(h *importer.Head) bool {
	base := h.Base()
	switch {
	case bytes.HasPrefix(h.Bytes, []byte(sqliteMagic)):
		for _, word := range []string{"latest_metrics", "registered_model", "run_uuid"} {
			if bytes.Contains(h.Bytes, []byte(word)) {
				return true
			}
		}
		return false
	case base == "MLmodel" || base == "registered_model_meta":
		return true
	case base == "input_example.json" || base == "serving_input_example.json":
		return h.Has("columns", "data") || h.Has("inputs") || h.Has("dataframe_split") || h.Has("dataframe_records") || h.Has("instances") || h.Array
	case h.Ext() == ".yaml" && isYAML(base, h.Bytes):
		return true
	}
	if h.Members == nil || h.Array {
		return isAliasFile(h)
	}
	if h.Has("system", "mlflow") {
		return bytes.Contains(h.Bytes, []byte("mlflow_version")) || bytes.Contains(h.Bytes, []byte("package_version"))
	}
	if h.Has("export_info") {
		return bytes.Contains(h.Bytes, []byte("mlflow"))
	}
	return recogniseResponse(h)
}

// recogniseResponse looks for the members that only MLflow's messages have.
func recogniseResponse(h *importer.Head) bool {
	any := func(words ...string) bool {
		for _, w := range words {
			if bytes.Contains(h.Bytes, []byte(`"`+w+`"`)) {
				return true
			}
		}
		return false
	}
	given := func(names ...string) bool {
		for _, n := range names {
			if k := h.Members[n]; k == "[" || k == "{" {
				return true
			}
		}
		return false
	}
	switch {
	case given("runs", "run"):
		return any("run_id", "run_uuid") && any("experiment_id", "lifecycle_stage")
	case given("experiments", "experiment"):
		return any("experiment_id") && any("artifact_location", "lifecycle_stage")
	case given("registered_models", "registered_model", "model_versions", "model_version"):
		return any("creation_timestamp", "last_updated_timestamp")
	case given("models", "model"):
		return any("model_id") && any("source_run_id", "artifact_uri") && any("experiment_id")
	case given("traces", "trace", "trace_info"):
		return any("experiment_id", "mlflow_experiment") && any("request_metadata", "trace_metadata", "execution_time_ms", "trace_location")
	case given("datasets", "dataset"):
		return any("dataset_id") && any("experiment_ids", "created_by", "last_update_time")
	case h.Members["spans"] == "[":
		return any(tagTraceID)
	case given("info"):
		return any("run_id", "run_uuid") && any("artifact_uri", "lifecycle_stage")
	}
	return false
}

// isAliasFile tells whether the file is models/NAME/aliases/ALIAS of a file
// store, which holds the number of a version.
func isAliasFile(h *importer.Head) bool {
	parts := strings.Split(path.Clean(h.Path), "/")
	if n := len(parts); n < 4 || parts[n-2] != "aliases" || parts[n-4] != "models" || h.Size > 20 {
		return false
	}
	return digits(h.Bytes)
}

func digits(b []byte) bool { return strings.Trim(strings.TrimSpace(string(b)), "0123456789") == "" }
