package mlflow

import (
	"cmp"
	"database/sql"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	_ "modernc.org/sqlite" // the driver

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

const sqliteMagic = "SQLite format 3\x00"

// maxRows is how many rows of one table belong to one unit at most.
const maxRows = 200_000

// database yields the Items of a tracking server's SQLite database. The file
// is opened for reading only, and as one that nobody changes meanwhile, so
// that nothing is written beside it.
func (r *reader) database(path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	dsn := (&url.URL{Scheme: "file", Path: abs, RawQuery: "mode=ro&immutable=1&_pragma=query_only(1)&_pragma=trusted_schema(0)"}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(4) // one for the units, one for the rows of each
	d := &database{db: db, r: r, tables: map[string]map[string]bool{}}
	if err := d.schema(); err != nil {
		r.refuse("database", 0, Unreadable, "cannot be read as an SQLite database: %v; copy it with sqlite3's .backup while the server stands still", err)
		return nil
	}
	if !d.has("runs") && !d.has("registered_models") {
		r.refuse("database", 0, NotMLflow, "has neither a table runs nor registered_models, so it is no database of an MLflow tracking server")
		return nil
	}
	if st, err := os.Stat(path + "-wal"); err == nil && st.Size() > 0 {
		r.refuse("database", 0, Unfinished, "%s-wal holds changes that are not in the database yet, and they are not read; stop the server or run PRAGMA wal_checkpoint(TRUNCATE), then import again", filepath.Base(path))
	}
	for _, t := range []struct {
		table, order string
		unit         func(row) *writer
	}{
		{"experiments", "experiment_id", d.experiment}, {"runs", "run_uuid", d.run}, {"logged_models", "model_id", d.loggedModel},
		{"registered_models", "name", d.registeredModel}, {"model_versions", "name, version", d.version},
		{"evaluation_datasets", "dataset_id", d.evaluationDataset}, {"trace_info", "request_id", d.trace},
	} {
		if err := d.units(t.table, t.order, t.unit); err != nil {
			r.refuse("table "+t.table, 0, Unreadable, "%v; check the database with PRAGMA integrity_check", err)
		}
		if r.done {
			return nil
		}
	}
	return nil
}

type database struct {
	db     *sql.DB
	r      *reader
	tables map[string]map[string]bool // the columns of each table
	size   int64                      // of the unit's rows
	err    error
	notes  []string
}

func (d *database) schema() error {
	rows, err := d.db.Query(`SELECT m.name, p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table'`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			return err
		}
		if d.tables[table] == nil {
			d.tables[table] = map[string]bool{}
		}
		d.tables[table][column] = true
	}
	return rows.Err()
}

// has tells whether the table has all the columns.
func (d *database) has(table string, columns ...string) bool {
	for _, c := range columns {
		if !d.tables[table][c] {
			return false
		}
	}
	return d.tables[table] != nil
}

// row holds the values of a row as texts, without those that are null.
type row map[string]string

func scan(rows *sql.Rows) (row, error) {
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, at := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		at[i] = &values[i]
	}
	if err := rows.Scan(at...); err != nil {
		return nil, err
	}
	out := row{}
	for i, v := range values {
		switch x := v.(type) {
		case nil:
		case int64:
			out[names[i]] = strconv.FormatInt(x, 10)
		case float64:
			out[names[i]] = number(x)
		case []byte:
			out[names[i]] = string(x)
		default:
			out[names[i]] = fmt.Sprint(x)
		}
	}
	return out, nil
}

func number(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "Infinity"
	case math.IsInf(v, -1):
		return "-Infinity"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// units yields an Item for each row of a table.
func (d *database) units(table, order string, unit func(row) *writer) error {
	first, _, _ := strings.Cut(order, ",")
	if !d.has(table, first) {
		return nil
	}
	rows, err := d.db.Query("SELECT * FROM " + table + " ORDER BY " + order)
	if err != nil {
		return err
	}
	defer rows.Close()
	for n := 1; rows.Next(); n++ {
		x, err := scan(rows)
		if err != nil {
			return err
		}
		place := "table " + table + " row " + strconv.Itoa(n)
		if key := x[first]; key != "" {
			place = "table " + table + " " + first + "=" + rawjson.Clip(key, 100)
		}
		d.err, d.notes, d.size = nil, nil, 0
		w := unit(x)
		switch {
		case d.err != nil:
			d.r.refuse(place, d.size, Unreadable, "%v", d.err)
		case w != nil:
			d.r.unitOf(w, importer.Item{Place: place, Bytes: d.size}, d.notes)
		}
		if d.r.done {
			return nil
		}
	}
	return rows.Err()
}

// rows gives the rows of a table that belong to a unit.
func (d *database) rows(table, where, order string, args ...any) []row {
	rows, err := d.db.Query("SELECT * FROM "+table+" WHERE "+where+" ORDER BY "+order, args...)
	if err != nil {
		d.err = cmp.Or(d.err, err)
		return nil
	}
	defer rows.Close()
	var out []row
	for rows.Next() {
		x, err := scan(rows)
		if err != nil {
			d.err = cmp.Or(d.err, err)
			return out
		}
		for _, v := range x {
			d.size += int64(len(v))
		}
		if len(out) >= maxRows || d.size > maxFolder {
			d.err = cmp.Or(d.err, fmt.Errorf("table %s holds more than %d rows or %d bytes of one unit; export it in parts", table, maxRows, maxFolder))
			return out
		}
		out = append(out, x)
	}
	d.err = cmp.Or(d.err, rows.Err())
	return out
}

// pairs reads a table of keys and values; a database of an older MLflow may
// have none.
func (d *database) pairs(table, keyCol, valCol, where string, args ...any) []pair {
	if !d.has(table, keyCol, valCol) {
		return nil
	}
	var out []pair
	for _, x := range d.rows(table, where, keyCol, args...) {
		out = append(out, pair{x[keyCol], x[valCol]})
	}
	return out
}

func (w *writer) row(x row, names ...string) {
	for _, n := range names {
		w.field(n, x[n])
	}
}

func (d *database) experiment(x row) *writer {
	w := newWriter()
	tags := d.pairs("experiment_tags", "key", "value", "experiment_id = ?", x["experiment_id"])
	w.object("", func() {
		w.row(x, "experiment_id", "name", "artifact_location", "lifecycle_stage", "creation_time", "last_update_time", "workspace")
		w.pairs("tags", tags)
	})
	return w
}

func (d *database) run(x row) *writer {
	w := newWriter()
	id := x["run_uuid"]
	params := d.pairs("params", "key", "value", "run_uuid = ?", id)
	tags := d.pairs("tags", "key", "value", "run_uuid = ?", id)
	metrics := d.metrics(id)
	if x["run_name"] = x["name"]; x["run_name"] == "" {
		delete(x, "run_name")
	}
	w.object("", func() {
		w.object("info", func() {
			w.field("run_id", id)
			w.row(x, infoFields...)
			w.row(x, "status")
		})
		w.object("data", func() {
			w.pairs("params", params)
			w.metrics(metrics)
			w.pairs("tags", tags)
		})
		d.inputs(w, id)
	})
	return w
}

// metrics gives the latest values: from their own table, or from the whole
// history in a database that has none.
func (d *database) metrics(run string) []metric {
	table := "latest_metrics"
	if !d.has(table) {
		table = "metrics"
	}
	if !d.has(table, "key", "value") {
		return nil
	}
	var out []metric
	var last point
	for _, x := range d.rows(table, "run_uuid = ?", "key", run) {
		value := x["value"]
		if nan := x["is_nan"]; nan == "1" || truth(nan) {
			value = "NaN"
		}
		p := newPoint(x["step"], x["timestamp"], value)
		if n := len(out); n > 0 && out[n-1].key == x["key"] {
			if p.before(last) {
				continue
			}
			out = out[:n-1]
		}
		last = p
		out = append(out, metric{key: x["key"], value: p.text, at: x["timestamp"], step: x["step"]})
	}
	if len(out) > 0 {
		d.notes = append(d.notes, "the history of the metrics stays in the database; the evidence holds the last values")
	}
	return out
}

// inputs writes the datasets and models that went in and out. The table inputs
// ties them: a dataset is the source of a run, a run the source of a model.
func (d *database) inputs(w *writer, run string) {
	var datasets, in, out []func()
	if d.has("inputs", "source_id", "destination_id") && d.has("datasets", "dataset_uuid") {
		for _, x := range d.rows("inputs", "destination_type = 'RUN' AND destination_id = ?", "source_id", run) {
			for _, ds := range d.rows("datasets", "dataset_uuid = ?", "dataset_uuid", x["source_id"]) {
				tags := d.pairs("input_tags", "name", "value", "input_uuid = ?", x["input_uuid"])
				datasets = append(datasets, func() {
					w.object("", func() {
						w.object("dataset", func() {
							w.row(ds, "name", "digest")
							for _, n := range []string{"source_type", "source", "schema", "profile"} {
								w.field(n, ds["dataset_"+n])
							}
						})
						w.pairs("tags", tags)
					})
				})
			}
		}
		for _, x := range d.rows("inputs", "source_id = ? AND destination_type LIKE '%MODEL%'", "destination_type, destination_id", run) {
			write := func() { w.object("", func() { w.field("model_id", x["destination_id"]); w.row(x, "step") }) }
			if strings.Contains(x["destination_type"], "OUTPUT") {
				out = append(out, write)
			} else {
				in = append(in, write)
			}
		}
	}
	w.object("inputs", func() { w.list("dataset_inputs", datasets); w.list("model_inputs", in) })
	w.object("outputs", func() { w.list("model_outputs", out) })
}

func (d *database) loggedModel(x row) *writer {
	w := newWriter()
	id := x["model_id"]
	x["creation_timestamp"], x["last_updated_timestamp"] = x["creation_timestamp_ms"], x["last_updated_timestamp_ms"]
	params := d.pairs("logged_model_params", "param_key", "param_value", "model_id = ?", id)
	tags := d.pairs("logged_model_tags", "tag_key", "tag_value", "model_id = ?", id)
	w.object("", func() {
		w.object("info", func() { w.row(x, loggedFields...) })
		w.object("data", func() { w.pairs("params", params); w.pairs("tags", tags) })
	})
	return w
}

func (d *database) registeredModel(x row) *writer {
	w := newWriter()
	name := x["name"]
	x["creation_timestamp"], x["last_updated_timestamp"] = x["creation_time"], x["last_updated_time"]
	tags := d.pairs("registered_model_tags", "key", "value", "name = ?", name)
	aliases := d.pairs("registered_model_aliases", "alias", "version", "name = ?", name)
	w.object("", func() {
		w.row(x, "name", "creation_timestamp", "last_updated_timestamp", "description")
		w.pairs("tags", tags)
		w.array("aliases", func() {
			for _, a := range aliases {
				w.object("", func() { w.field("alias", a.key); w.field("version", a.value) })
			}
		})
	})
	return w
}

func (d *database) version(x row) *writer {
	w := newWriter()
	x["creation_timestamp"], x["last_updated_timestamp"] = x["creation_time"], x["last_updated_time"]
	tags := d.pairs("model_version_tags", "key", "value", "name = ? AND version = ?", x["name"], x["version"])
	w.object("", func() {
		w.row(x, versionFields...)
		w.pairs("tags", tags)
	})
	return w
}

func (d *database) evaluationDataset(x row) *writer {
	w := newWriter()
	x["create_time"] = x["created_time"]
	tags := d.pairs("evaluation_dataset_tags", "key", "value", "dataset_id = ?", x["dataset_id"])
	w.object("", func() {
		w.row(x, "dataset_id", "name", "digest", "create_time", "last_update_time", "created_by", "last_updated_by", "schema", "profile")
		w.pairs("tags", tags)
	})
	d.notes = append(d.notes, "the records of the dataset stay in the database")
	return w
}

func (d *database) trace(x row) *writer {
	w := newWriter()
	id := x["request_id"]
	tags := d.pairs("trace_tags", "key", "value", "request_id = ?", id)
	meta := d.pairs("trace_request_metadata", "key", "value", "request_id = ?", id)
	w.object("", func() {
		w.row(x, "request_id", "experiment_id", "timestamp_ms", "execution_time_ms", "status", "client_request_id", "request_preview", "response_preview")
		w.pairs("tags", tags)
		w.pairs("request_metadata", meta)
	})
	d.notes = append(d.notes, "the spans of the trace stay where the server keeps them")
	return w
}
