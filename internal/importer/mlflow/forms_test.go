package mlflow

import (
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
)

// The same run, model, version and logged model in each form.
const (
	theRun = "0123456789abcdef0123456789abcdef"

	exportedRun = `{"system": {"mlflow_version": "3.1", "export_time": 1700000100}, "mlflow": {
 "info": {"run_id": "0123456789abcdef0123456789abcdef", "run_name": "first", "experiment_id": "3", "user_id": "ann", "status": "FINISHED",
   "start_time": 1700000000123, "end_time": 1700000009456, "lifecycle_stage": "active", "artifact_uri": "s3://bucket/3/a"},
 "params": {"lr": "0.1", "opt/kind": "adam"},
 "metrics": {"loss": [{"value": 0.5, "timestamp": 1700000001000, "step": 0}, {"value": 0.30000000000000004, "timestamp": 1700000002000, "step": 1}],
   "bad": [{"value": NaN, "timestamp": 1700000002000, "step": 0}], "big": [{"value": Infinity, "timestamp": 1700000002000, "step": 0}]},
 "tags": {"mlflow.user": "ann@acme.example", "mlflow.source.name": "train.py", "mlflow.source.type": "LOCAL",
   "mlflow.source.git.commit": "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd", "mlflow.parentRunId": "fedcba9876543210fedcba9876543210"},
 "inputs": [{"dataset": {"name": "tx", "digest": "1a2b3c4d", "source_type": "s3", "source": "{\"uri\": \"s3://lake/tx\"}", "schema": "{}", "profile": "{}"},
   "tags": [{"key": "mlflow.data.context", "value": "training"}]}],
 "outputs": {"model_outputs": [{"model_id": "m-1", "step": 0}]}
}}`

	servedRun = `{"runs": [{"info": {"run_uuid": "0123456789abcdef0123456789abcdef", "run_id": "0123456789abcdef0123456789abcdef", "run_name": "first",
   "experiment_id": "3", "user_id": "ann", "status": "FINISHED", "start_time": 1700000000123, "end_time": "1700000009456", "lifecycle_stage": "active", "artifact_uri": "s3://bucket/3/a"},
 "data": {"params": [{"key": "lr", "value": "0.1"}, {"key": "opt/kind", "value": "adam"}],
   "metrics": [{"key": "loss", "value": 0.30000000000000004, "timestamp": 1700000002000, "step": 1}, {"key": "bad", "value": "NaN", "timestamp": "1700000002000", "step": "0"},
     {"key": "big", "value": "Infinity", "timestamp": "1700000002000", "step": "0"}],
   "tags": [{"key": "mlflow.user", "value": "ann@acme.example"}, {"key": "mlflow.source.name", "value": "train.py"}, {"key": "mlflow.source.type", "value": "LOCAL"},
     {"key": "mlflow.source.git.commit", "value": "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd"}, {"key": "mlflow.parentRunId", "value": "fedcba9876543210fedcba9876543210"}]},
 "inputs": {"dataset_inputs": [{"tags": [{"key": "mlflow.data.context", "value": "training"}],
   "dataset": {"name": "tx", "digest": "1a2b3c4d", "source_type": "s3", "source": "{\"uri\": \"s3://lake/tx\"}", "schema": "{}", "profile": "{}"}}]},
 "outputs": {"model_outputs": [{"model_id": "m-1", "step": "0"}]}}]}`
)

// fileStore writes an mlruns folder.
func fileStore(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	run := filepath.Join(dir, "3", theRun)
	for name, text := range map[string]string{
		filepath.Join(run, "meta.yaml"): `artifact_uri: s3://bucket/3/a
end_time: 1700000009456
entry_point_name: ''
experiment_id: '3'
lifecycle_stage: active
run_id: 0123456789abcdef0123456789abcdef
run_name: first
run_uuid: 0123456789abcdef0123456789abcdef
source_name: ''
source_type: 4
source_version: ''
start_time: 1700000000123
status: 3
tags: []
user_id: ann
`,
		filepath.Join(run, "params", "lr"):                           "0.1",
		filepath.Join(run, "params", "opt", "kind"):                  "adam",
		filepath.Join(run, "metrics", "loss"):                        "1700000001000 0.5 0\n1700000002000 0.30000000000000004 1\n",
		filepath.Join(run, "metrics", "bad"):                         "1700000002000 nan 0\n",
		filepath.Join(run, "metrics", "big"):                         "1700000002000 inf 0\n",
		filepath.Join(run, "tags", "mlflow.user"):                    "ann@acme.example",
		filepath.Join(run, "tags", "mlflow.source.name"):             "train.py",
		filepath.Join(run, "tags", "mlflow.source.type"):             "LOCAL",
		filepath.Join(run, "tags", "mlflow.source.git.commit"):       "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd",
		filepath.Join(run, "tags", "mlflow.parentRunId"):             "fedcba9876543210fedcba9876543210",
		filepath.Join(run, "artifacts", "plot.png"):                  "not read",
		filepath.Join(run, "inputs", "i1", "meta.yaml"):              "destination_id: x\ndestination_type: RUN\nsource_id: d1\nsource_type: DATASET\ntags:\n  mlflow.data.context: training\n",
		filepath.Join(run, "outputs", "m-1", "meta.yaml"):            "destination_id: m-1\ndestination_type: MODEL_OUTPUT\nsource_id: " + theRun + "\nsource_type: RUN_OUTPUT\nstep: 0\ntags: {}\n",
		filepath.Join(dir, "3", "datasets", "d1", "meta.yaml"):       "digest: 1a2b3c4d\nname: tx\nprofile: '{}'\nschema: '{}'\nsource: '{\"uri\": \"s3://lake/tx\"}'\nsource_type: s3\n",
		filepath.Join(dir, "3", "meta.yaml"):                         "artifact_location: s3://bucket/3\ncreation_time: 1690000000000\nexperiment_id: '3'\nlast_update_time: 1690000000000\nlifecycle_stage: active\nname: fraud\n",
		filepath.Join(dir, "3", "models", "m-1", "meta.yaml"):        "artifact_location: s3://bucket/m\ncreation_timestamp: 1700000005000\nexperiment_id: '3'\nlast_updated_timestamp: 1700000005000\nmodel_id: m-1\nmodel_type: null\nname: clf\nsource_run_id: " + theRun + "\nstatus: 2\n",
		filepath.Join(dir, "models", "fraud", "meta.yaml"):           "creation_timestamp: 1700000010000\ndescription: null\nlast_updated_timestamp: 1700000030000\nlatest_versions: []\nname: fraud\n",
		filepath.Join(dir, "models", "fraud", "aliases", "champion"): "1",
		filepath.Join(dir, "models", "fraud", "version-1", "meta.yaml"): "creation_timestamp: 1700000010000\ncurrent_stage: Production\nlast_updated_timestamp: 1700000020000\nname: fraud\nrun_id: " + theRun +
			"\nsource: models:/m-1\nstatus: READY\nversion: 1\n",
		filepath.Join(dir, "3", "traces", "tr-1", "trace_info.yaml"):                      "request_id: tr-1\nexperiment_id: '3'\ntimestamp_ms: 1700000000000\nexecution_time_ms: 5\nstatus: OK\n",
		filepath.Join(dir, "3", "traces", "tr-1", "request_metadata", "mlflow.sourceRun"): theRun,
	} {
		write(t, name, text)
	}
	return dir
}

// databaseFile writes a tracking server's database.
func databaseFile(t testing.TB, extra ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mlflow #1.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	schema, err := os.ReadFile(filepath.Join("testdata", "database.sql"))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range append([]string{string(schema)}, extra...) {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// about gives the statements of the Item whose first one is of that type and
// about that subject.
func about(t testing.TB, items []importer.Item, first string) string {
	t.Helper()
	for _, it := range items {
		if it.Refusal == nil {
			if s := drafts(t, it.Statements); strings.HasPrefix(s, "  "+first+"\n") {
				return s
			}
		}
	}
	t.Fatalf("no Item begins with %s in\n%s", first, show(t, items))
	return ""
}

func TestFormsAgree(t *testing.T) {
	exported := readText(t, "run.json", exportedRun)
	want := drafts(t, exported[0].Statements)
	if !strings.Contains(want, `"metric.loss": "0.30000000000000004"`) || !strings.Contains(want, "activity/v1 model:m-1@logged") {
		t.Fatalf("the export gives\n%s", want)
	}
	dir, db := fileStore(t), readFile(t, Importer{}, databaseFile(t))
	run := readFile(t, Importer{}, filepath.Join(dir, "3", theRun, "meta.yaml"))
	if len(run[0].Covers) != 13 {
		t.Errorf("the run covers %d files: %v", len(run[0].Covers), run[0].Covers)
	}
	for name, got := range map[string]string{
		"REST":       drafts(t, readText(t, "runs.json", servedRun)[0].Statements),
		"file store": drafts(t, run[0].Statements),
		"database":   about(t, db, "activity/v1 model:m-1@logged"),
	} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-export +%s):\n%s", name, name, diff)
		}
	}
	for _, c := range []struct{ name, file, head string }{
		{"experiment", filepath.Join(dir, "3", "meta.yaml"), "entity/v1 plan:mlflow/experiments/3"},
		{"logged model", filepath.Join(dir, "3", "models", "m-1", "meta.yaml"), "entity/v1 model:m-1@logged"},
		{"model", filepath.Join(dir, "models", "fraud", "meta.yaml"), "entity/v1 model:fraud"},
		{"version", filepath.Join(dir, "models", "fraud", "version-1", "meta.yaml"), "entity/v1 model:fraud@1"},
		{"trace", filepath.Join(dir, "3", "traces", "tr-1", "trace_info.yaml"), "activity/v1 activity:tr-1"},
	} {
		items := readFile(t, Importer{}, c.file)
		if diff := cmp.Diff(about(t, db, c.head), about(t, items, c.head)); diff != "" {
			t.Errorf("%s (-database +file store):\n%s", c.name, diff)
		}
	}
	importertest.Golden(t, "database.txt", show(t, db))
}

// TestFolder reads every file of a file store: all are taken, or told why not.
func TestFolder(t *testing.T) {
	dir := fileStore(t)
	write(t, filepath.Join(dir, "3", "broken", "meta.yaml"), "run_id: [\n")
	var b strings.Builder
	for _, name := range []string{"3/meta.yaml", "3/" + theRun + "/meta.yaml", "3/" + theRun + "/inputs/i1/meta.yaml", "3/datasets/d1/meta.yaml",
		"3/models/m-1/meta.yaml", "models/fraud/meta.yaml", "models/fraud/version-1/meta.yaml", "models/fraud/aliases/champion", "3/traces/tr-1/trace_info.yaml", "3/broken/meta.yaml"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		for _, it := range readFile(t, Importer{}, path) {
			if name != "3/broken/meta.yaml" && !recognised(t, path, filepath.ToSlash(path)) {
				t.Errorf("%s is not recognised", name)
			}
			b.WriteString(name + " ")
			b.WriteString(show(t, []importer.Item{it}))
		}
	}
	importertest.Golden(t, "filestore.txt", b.String())
}

func TestDatabaseIsOnlyRead(t *testing.T) {
	path := databaseFile(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	readFile(t, Importer{}, path)
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) || len(entries) != 1 {
		t.Errorf("the database was changed, or something was written beside it: %v", entries)
	}
	if !recognised(t, path, "mlflow.db") {
		t.Error("the database is not recognised")
	}
	write(t, path+"-wal", "changes")
	if got := show(t, readFile(t, Importer{}, path)); !strings.Contains(got, "refused "+Unfinished) {
		t.Errorf("changes beside the database are not told:\n%s", got)
	}
}

func TestDatabaseOfAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`CREATE TABLE t (a)`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if recognised(t, path, "other.db") {
		t.Error("a database of something else is recognised")
	}
	write(t, path+"x", sqliteMagic+strings.Repeat("broken", 1000))
	for _, c := range []struct{ path, want string }{{path, NotMLflow}, {path + "x", Unreadable}} {
		if got := show(t, readFile(t, Importer{}, c.path)); !strings.Contains(got, "refused "+c.want) {
			t.Errorf("%s: want %s, got %s", c.path, c.want, got)
		}
	}
}

// TestOldDatabase has only the tables and columns of MLflow 1.0.
func TestOldDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "old.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`CREATE TABLE experiments (experiment_id INTEGER, name VARCHAR, artifact_location VARCHAR, lifecycle_stage VARCHAR);
CREATE TABLE runs (run_uuid VARCHAR(32), name VARCHAR, source_type VARCHAR, status VARCHAR, start_time BIGINT, end_time BIGINT, experiment_id INTEGER, user_id VARCHAR, lifecycle_stage VARCHAR, artifact_uri VARCHAR);
CREATE TABLE metrics (key VARCHAR, value FLOAT, timestamp BIGINT, run_uuid VARCHAR);
INSERT INTO runs (run_uuid, status, start_time, experiment_id, lifecycle_stage) VALUES ('0123456789abcdef0123456789abcdef', 'KILLED', 1550000000000, 0, 'deleted');
INSERT INTO metrics VALUES ('m', 1, 1, '0123456789abcdef0123456789abcdef'), ('m', 2, 2, '0123456789abcdef0123456789abcdef');`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	importertest.Golden(t, "old-database.txt", show(t, readFile(t, Importer{}, path)))
}
