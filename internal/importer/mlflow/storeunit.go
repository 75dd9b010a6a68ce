package mlflow

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// writer makes a document in the shape of the REST API's messages, which is
// the evidence of what comes out of several files or rows. The same data give
// the same bytes.
type writer struct {
	b   bytes.Buffer
	e   *jsontext.Encoder
	err error
}

func newWriter() *writer {
	w := &writer{}
	w.e = jsontext.NewEncoder(&w.b, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	return w
}

func (w *writer) token(t jsontext.Token) {
	if w.err == nil {
		w.err = w.e.WriteToken(t)
	}
}

func (w *writer) text(s string) { w.token(jsontext.String(strings.ToValidUTF8(s, "\uFFFD"))) }

// field writes a member, or nothing when it is empty.
func (w *writer) field(name, value string) {
	if value != "" {
		w.text(name)
		w.text(value)
	}
}

// fields writes those of the members of n that are named.
func (w *writer) fields(n rawjson.Node, names ...string) {
	for _, name := range names {
		w.field(name, n.Get(name).Text())
	}
}

func (w *writer) object(name string, in func()) {
	w.nest(name, jsontext.BeginObject, jsontext.EndObject, in)
}
func (w *writer) array(name string, in func()) {
	w.nest(name, jsontext.BeginArray, jsontext.EndArray, in)
}

func (w *writer) nest(name string, begin, end jsontext.Token, in func()) {
	if name != "" {
		w.text(name)
	}
	w.token(begin)
	in()
	w.token(end)
}

// pairs writes an array of {key, value}.
func (w *writer) pairs(name string, list []pair) {
	w.array(name, func() {
		for _, p := range list {
			w.object("", func() {
				w.text("key")
				w.text(p.key)
				w.text("value")
				w.text(p.value)
			})
		}
	})
}

func (w *writer) bytes() ([]byte, error) { return bytes.TrimSpace(w.b.Bytes()), w.err }

// metric is the latest value of a metric, with the number of its points.
type metric struct {
	key, value, at, step string
	points               int
}

func (w *writer) metrics(list []metric) {
	w.array("metrics", func() {
		for _, m := range list {
			w.object("", func() {
				w.text("key")
				w.text(m.key)
				w.field("value", m.value)
				w.field("timestamp", m.at)
				w.field("step", m.step)
				if m.points > 0 {
					w.text("points")
					w.token(jsontext.Int(int64(m.points)))
				}
			})
		}
	})
}

var infoFields = []string{"run_name", "experiment_id", "user_id", "start_time", "end_time", "artifact_uri", "lifecycle_stage"}

// statusNames of a run (service.proto, enum RunStatus).
var statusNames = map[string]string{"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}

// run reads the folder of a run.
func (f *folder) run(meta rawjson.Node) *writer {
	w := newWriter()
	params, tags, metrics := f.texts("params"), f.texts("tags"), f.metrics()
	tags = f.oldSource(meta, tags)
	w.object("", func() {
		w.object("info", func() {
			w.field("run_id", text(meta, "run_id", "run_uuid"))
			w.fields(meta, infoFields...)
			status := meta.Get("status").Text()
			w.field("status", cmp.Or(statusNames[status], status))
		})
		w.object("data", func() {
			w.pairs("params", params)
			w.metrics(metrics)
			w.pairs("tags", tags)
		})
		f.inputs(w)
		f.outputs(w)
	})
	return w
}

// oldSource gives the source that MLflow before 1.0 kept in meta.yaml as the
// tags that later versions write.
func (f *folder) oldSource(meta rawjson.Node, tags []pair) []pair {
	for _, p := range []pair{{"mlflow.source.name", meta.Get("source_name").Text()}, {"mlflow.source.git.commit", meta.Get("source_version").Text()}} {
		has := p.value == ""
		for _, t := range tags {
			has = has || t.key == p.key
		}
		if !has {
			tags = append(tags, p)
		}
	}
	return tags
}

// inputs reads the folder inputs, and the datasets of the experiment that it
// points to.
func (f *folder) inputs(w *writer) {
	var datasets, models []func()
	f.metas("inputs", func(meta rawjson.Node, dir string) {
		id := meta.Get("source_id").Text()
		if strings.Contains(meta.Get("destination_type").Text(), "MODEL") {
			if model := meta.Get("destination_id").Text(); model != "" {
				models = append(models, func() { w.object("", func() { w.field("model_id", model) }) })
			}
			return
		}
		if id == "" || id != filepath.Base(id) {
			f.note("inputs/" + dir + " names no dataset; it is passed over")
			return
		}
		ds, ok := f.yaml(filepath.Join(filepath.Dir(f.dir), "datasets", id, "meta.yaml"))
		if !ok {
			f.note("the dataset " + id + " of an input is not in the experiment's folder datasets")
			return
		}
		tags := pairs(meta.Get("tags"))
		datasets = append(datasets, func() {
			w.object("", func() {
				w.object("dataset", func() { w.fields(ds, "name", "digest", "source_type", "source", "schema", "profile") })
				w.pairs("tags", sortedPairs(tags))
			})
		})
	})
	w.object("inputs", func() { w.list("dataset_inputs", datasets); w.list("model_inputs", models) })
}

func (f *folder) outputs(w *writer) {
	var models []func()
	f.metas("outputs", func(meta rawjson.Node, dir string) {
		model := cmp.Or(meta.Get("destination_id").Text(), dir)
		models = append(models, func() { w.object("", func() { w.field("model_id", model); w.fields(meta, "step") }) })
	})
	w.object("outputs", func() { w.list("model_outputs", models) })
}

// list writes an array, or nothing when it is empty.
func (w *writer) list(name string, items []func()) {
	if len(items) > 0 {
		w.array(name, func() {
			for _, x := range items {
				x()
			}
		})
	}
}

// metas visits the meta.yaml of each folder below dir.
func (f *folder) metas(dir string, visit func(meta rawjson.Node, name string)) {
	entries, err := os.ReadDir(filepath.Join(f.dir, dir))
	if err != nil {
		return
	}
	for i, e := range entries {
		if i >= maxOutputs {
			f.note(dir + " holds more entries than are read")
			return
		}
		if meta, ok := f.yaml(filepath.Join(f.dir, dir, e.Name(), "meta.yaml")); ok && e.IsDir() {
			visit(meta, e.Name())
		}
	}
}

func (f *folder) experiment(meta rawjson.Node) *writer {
	w := newWriter()
	tags := f.texts("tags")
	w.object("", func() {
		w.fields(meta, "experiment_id", "name", "artifact_location", "lifecycle_stage", "creation_time", "last_update_time")
		w.pairs("tags", tags)
	})
	return w
}

// registeredModel reads the folder models/NAME. Its versions have their own.
func (f *folder) registeredModel(meta rawjson.Node) *writer {
	w := newWriter()
	tags, aliases := f.texts("tags"), f.texts("aliases")
	w.object("", func() {
		w.fields(meta, "name", "creation_timestamp", "last_updated_timestamp", "description")
		w.pairs("tags", tags)
		w.array("aliases", func() {
			for _, a := range aliases {
				w.object("", func() { w.field("alias", a.key); w.field("version", strings.TrimSpace(a.value)) })
			}
		})
	})
	return w
}

var versionFields = []string{"name", "version", "creation_timestamp", "last_updated_timestamp", "user_id", "current_stage", "description",
	"source", "run_id", "run_link", "status", "status_message", "model_id"}

func (f *folder) version(meta rawjson.Node) *writer {
	w := newWriter()
	tags := f.texts("tags")
	w.object("", func() {
		for _, name := range versionFields {
			v := meta.Get(name).Text()
			if name == "status" {
				v = cmp.Or(versionStatus[v], v)
			}
			w.field(name, v)
		}
		w.pairs("tags", tags)
	})
	return w
}

// versionStatus names the numbers that file stores keep (model_registry.proto,
// enum ModelVersionStatus).
var versionStatus = map[string]string{"1": "PENDING_REGISTRATION", "2": "FAILED_REGISTRATION", "3": "READY"}

var loggedFields = []string{"model_id", "experiment_id", "name", "creation_timestamp", "last_updated_timestamp", "artifact_location", "status",
	"model_type", "source_run_id", "status_message", "lifecycle_stage"}

func (f *folder) loggedModel(meta rawjson.Node) *writer {
	w := newWriter()
	params, tags, metrics := f.texts("params"), f.texts("tags"), f.metrics()
	w.object("", func() {
		w.object("info", func() { w.fields(meta, loggedFields...) })
		w.object("data", func() {
			w.pairs("params", params)
			w.metrics(metrics)
			w.pairs("tags", tags)
		})
	})
	return w
}

// trace reads the folder traces/ID of an experiment.
func (f *folder) trace(meta rawjson.Node) *writer {
	w := newWriter()
	tags, v2, v3 := f.texts("tags"), f.texts("request_metadata"), f.texts("trace_metadata")
	w.object("", func() {
		for m := range meta.All() {
			if k := m.Key(); k != "tags" && k != "request_metadata" && k != "trace_metadata" && m.Given() {
				w.text(k)
				if w.err == nil {
					w.err = w.e.WriteValue(jsontext.Value(m.Raw()))
				}
			}
		}
		w.pairs("tags", tags)
		w.pairs("request_metadata", v2)
		w.pairs("trace_metadata", v3)
	})
	return w
}
