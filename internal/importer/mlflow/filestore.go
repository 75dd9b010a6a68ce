package mlflow

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// Limits on the folder of one unit.
const (
	maxFiles     = 20_000
	maxFileBytes = 4 << 20 // of a parameter or tag
	maxMetric    = 1 << 30 // of a metric's history, which is read line by line
	maxFolder    = 64 << 20
)

// storeFile yields the Item of a meta.yaml or trace_info.yaml: the unit that
// its folder holds (MLflow's FileStore).
func (r *reader) storeFile(path, base string, meta rawjson.Node, raw []byte) {
	if path == "" {
		r.refuse(base, int64(len(raw)), NeedsFile, "what belongs to it lies beside it, so standard input is not enough; give the file's name")
		return
	}
	f := &folder{dir: filepath.Dir(path), size: int64(len(raw))}
	var w *writer
	switch {
	case base == "trace_info.yaml":
		w = f.trace(meta)
	case anyOf(meta, "source_id", "destination_id"):
		r.refuse(base, f.size, PartOf, "an input or output of a run; it is recorded with the meta.yaml of the run")
		return
	case anyOf(meta, "digest") && anyOf(meta, "source_type", "source"):
		r.refuse(base, f.size, PartOf, "a dataset of an experiment; it is recorded with each run that used it")
		return
	case anyOf(meta, "run_id", "run_uuid") && anyOf(meta, "experiment_id", "artifact_uri") && !anyOf(meta, "model_id", "version"):
		w = f.run(meta)
	case anyOf(meta, "model_id") && anyOf(meta, "artifact_location", "source_run_id", "creation_timestamp"):
		w = f.loggedModel(meta)
	case anyOf(meta, "name") && anyOf(meta, "version") && anyOf(meta, "source", "current_stage", "creation_timestamp"):
		w = f.version(meta)
	case anyOf(meta, "experiment_id") && anyOf(meta, "name", "artifact_location"):
		w = f.experiment(meta)
	case anyOf(meta, "name") && anyOf(meta, "last_updated_timestamp", "creation_timestamp"):
		w = f.registeredModel(meta)
	default:
		r.refuse(base, f.size, NotMLflow, "is of no kind that MLflow's file store holds (it has %s); leave it out", strings.Join(sortedKeys(meta), ", "))
		return
	}
	if f.err != nil {
		r.refuse(base, f.size, f.reason, "%v", f.err)
		return
	}
	r.unitOf(w, importer.Item{Place: base, Bytes: f.size, Covers: f.covers}, f.notes)
}

// unitOf yields the Item of a document that was made here.
func (r *reader) unitOf(w *writer, it importer.Item, notes []string) {
	raw, err := w.bytes()
	if err != nil {
		r.refuse(it.Place, it.Bytes, BadField, "cannot be written as JSON: %v", err)
		return
	}
	for v, err := range rawjson.Split(strings.NewReader(string(raw)), int64(len(raw))+1) { // the limits on depth and number hold here too
		if err != nil || v.Fault != nil {
			r.refuse(it.Place, it.Bytes, rawjson.TooLarge, "is too large or too deep to be read: %v", v.Fault)
			return
		}
		r.notes = notes
		r.unit(v.Bytes, "application/json", it, 0)
	}
}

// folder reads the files of one unit. It follows no symbolic link.
type folder struct {
	dir    string
	covers []string
	notes  []string
	files  int
	size   int64
	err    error
	reason string
}

func (f *folder) fail(reason string, err error) {
	if f.err == nil {
		f.reason, f.err = reason, err
	}
}

// each visits the regular files below a folder in the order of their names.
// The name is relative, with slashes: MLflow allows them in keys.
func (f *folder) each(dir string, visit func(name, path string, size int64)) {
	root := filepath.Join(f.dir, dir)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if path == root && errors.Is(err, fs.ErrNotExist) {
				return fs.SkipAll
			}
			return err
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if f.files++; f.files > maxFiles {
			return fmt.Errorf("%s holds more than %d files; no run of MLflow has so many, leave it out", f.dir, maxFiles)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f.covers = append(f.covers, path)
		visit(filepath.ToSlash(name), path, info.Size())
		return f.err
	})
	if err != nil {
		f.fail(Unreadable, fmt.Errorf("%w; make it readable, or leave the folder out", err))
	}
}

// texts reads files that each hold one value.
func (f *folder) texts(dir string) []pair {
	var out []pair
	f.each(dir, func(name, path string, size int64) {
		f.size += size
		if size > maxFileBytes || f.size > maxFolder {
			f.fail(rawjson.TooLarge, fmt.Errorf("%s: %d bytes, the limit is %d, and %d for all files of a unit", path, size, maxFileBytes, maxFolder))
			return
		}
		b, err := os.ReadFile(path)
		if err != nil {
			f.fail(Unreadable, err)
			return
		}
		out = append(out, pair{name, strings.TrimSuffix(strings.TrimSuffix(strings.ToValidUTF8(string(b), "\uFFFD"), "\n"), "\r")})
	})
	return out
}

// pair is a key with its value.
type pair struct{ key, value string }

// metrics reads the histories: lines of time, value and step. The latest value
// is kept, with the number of points.
func (f *folder) metrics() []metric {
	var out []metric
	f.each("metrics", func(name, path string, size int64) {
		f.size += size
		if size > maxMetric {
			f.fail(rawjson.TooLarge, fmt.Errorf("%s: %d bytes, the limit is %d", path, size, int64(maxMetric)))
			return
		}
		m := metric{key: name}
		if err := f.history(path, &m); err != nil {
			f.fail(Unreadable, err)
			return
		}
		if m.points > 0 {
			out = append(out, m)
		}
		if m.points > 1 {
			f.note("the history of metrics with several values stays in the files; the evidence holds the last value and the number of points")
		}
	})
	return out
}

func (f *folder) note(s string) {
	for _, n := range f.notes {
		if n == s {
			return
		}
	}
	f.notes = append(f.notes, s)
}

func (f *folder) history(path string, m *metric) error {
	h, err := os.Open(path)
	if err != nil {
		return err
	}
	defer h.Close()
	var last point
	in := bufio.NewReaderSize(h, 64<<10)
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("%s: a line of more than %d bytes; a metric's line holds a time, a value and a step", path, 64<<10)
		}
		if w := strings.Fields(string(line)); len(w) > 1 {
			at, value, step := w[0], w[1], "0"
			if len(w) > 2 {
				step = w[2]
			}
			p := newPoint(step, at, value)
			if m.points == 0 || !p.before(last) {
				last, m.at, m.value, m.step = p, at, p.text, step
			}
			m.points++
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// yaml reads a meta.yaml below the folder.
func (f *folder) yaml(path string) (rawjson.Node, bool) {
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() {
		return rawjson.Node{}, false
	}
	if f.size += st.Size(); st.Size() > maxYAML || f.size > maxFolder {
		f.fail(rawjson.TooLarge, fmt.Errorf("%s: %d bytes, the limit is %d", path, st.Size(), maxYAML))
		return rawjson.Node{}, false
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		f.fail(Unreadable, err)
		return rawjson.Node{}, false
	}
	text, err := yamlToJSON(raw)
	if err != nil {
		f.note(fmt.Sprintf("%s %v; it is passed over", filepath.Base(filepath.Dir(path))+"/"+filepath.Base(path), err))
		return rawjson.Node{}, false
	}
	f.covers = append(f.covers, path)
	return rawjson.Parse(text).Root(), true
}
