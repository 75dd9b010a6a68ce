// Package mlflow makes statements out of what MLflow keeps of runs, models,
// prompts, evaluation datasets and traces, in four forms: the JSON of
// mlflow-export-import, the file store (mlruns), the SQLite database of a
// tracking server, and the REST API, saved or live.
//
// All forms are brought into the shape of the REST API's messages (MLflow
// protos service.proto and model_registry.proto, versions 1 to 3), so that the
// same run gives the same statements, whichever way it came. What maps to
// what, what is kept in the evidence only and what is refused is in
// docs/format-mlflow.md.
package mlflow

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"math"
	"path/filepath"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

// DefaultMaxDocument is the largest JSON document that is read unless told
// otherwise, in bytes.
const DefaultMaxDocument = 64 << 20

// Options of reading.
type Options struct {
	MaxDocument int64 // in bytes, at most 2 GiB; 0 means DefaultMaxDocument
	// Server tells the servers of an organisation apart: their registered
	// models, prompts and experiments are named within it, and their aliases
	// are of the registry of that name. Without it the names stand alone, and
	// the registry is "mlflow".
	Server string
	// ObservedAt is when the source was as it is, where the person knows it:
	// for the state of aliases and stages, of which MLflow tells no time.
	ObservedAt statement.Time
}

func (o Options) maxDocument() int64 {
	if o.MaxDocument <= 0 {
		return DefaultMaxDocument
	}
	return min(o.MaxDocument, math.MaxInt32) // what a tree can point into
}

// Importer reads what MLflow keeps.
type Importer struct{ Options Options }

// Name gives "mlflow".
func (Importer) Name() string { return "mlflow" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Read yields an Item for each run, experiment, registered model, model
// version, logged model, prompt, evaluation dataset and trace of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		r := &reader{Options: im.Options, yield: yield}
		if err := r.source(s); err != nil {
			yield(importer.Item{}, fmt.Errorf("reading MLflow data: %w", err))
		}
	}
}

// reader yields the Items of one source.
type reader struct {
	Options
	yield func(importer.Item, error) bool
	notes []string // what the reading of files or rows has to say of the next unit
	done  bool     // the receiver wants no more
}

func (r *reader) item(it importer.Item) bool {
	if !r.done && !r.yield(it, nil) {
		r.done = true
	}
	return !r.done
}

// refuse yields an Item that makes no statement.
func (r *reader) refuse(place string, size int64, reason, format string, args ...any) {
	r.item(importer.Item{Place: place, Bytes: size, Refusal: &importer.Refusal{Reason: reason, Detail: rawjson.Clip(fmt.Sprintf(format, args...), 1000)}})
}

// source tells the form by the name and the first bytes.
func (r *reader) source(s importer.Source) error {
	name := s.Path
	if name == "" {
		name = s.Name
	}
	head := make([]byte, len(sqliteMagic))
	n, err := io.ReadFull(s.R, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	if string(head[:n]) == sqliteMagic {
		if s.Path == "" {
			r.refuse("database", int64(n), NeedsFile, "a database cannot be read from standard input; give the file's name")
			return nil
		}
		return r.database(s.Path)
	}
	max := r.maxDocument()
	raw, err := io.ReadAll(io.LimitReader(io.MultiReader(bytes.NewReader(head[:n]), s.R), max+1))
	if err != nil {
		return err
	}
	if int64(len(raw)) > max {
		rest, err := io.Copy(io.Discard, s.R)
		if err != nil {
			return err
		}
		r.refuse("file", int64(len(raw))+rest, rawjson.TooLarge, "the file holds more than %d bytes; export fewer experiments at a time, or smaller pages", max)
		return nil
	}
	base := filepath.Base(name)
	if isYAML(base, raw) {
		r.yaml(s.Path, base, raw)
		return nil
	}
	if filepath.Base(filepath.Dir(name)) == "aliases" && len(raw) <= 20 && digits(raw) {
		r.refuse(base, int64(len(raw)), PartOf, "an alias of a registered model; it is recorded with the model's meta.yaml")
		return nil
	}
	return r.json(raw, base)
}

// json yields the Items of a JSON text: an export, or a response of the REST
// API, or several one after another.
func (r *reader) json(raw []byte, base string) error {
	text, quoted := quoteNumbers(raw)
	for v, err := range rawjson.Split(bytes.NewReader(text), r.maxDocument()+1<<20) {
		if err != nil {
			return err
		}
		if v.Fault != nil {
			r.refuse(v.Place, v.Size, v.Fault.Reason, "%s", v.Fault.Detail)
		} else {
			r.document(v, base, quoted)
		}
		if r.done {
			return nil
		}
	}
	return nil
}

// document yields the Items of one JSON value.
func (r *reader) document(v rawjson.Value, base string, quoted int) {
	doc := rawjson.Parse(v.Bytes)
	root := doc.Root()
	if k := shapeOf(root); k != shapeUnknown {
		r.unit(v.Bytes, "application/json", importer.Item{Place: v.Place, Offset: v.Offset, Bytes: v.Size}, quoted)
		return
	}
	if list := page(root); len(list) > 0 {
		r.page(v, list, quoted)
		return
	}
	if why := aside(base, root); why != "" {
		r.refuse(v.Place, v.Size, Aside, "%s", why)
		return
	}
	r.refuse(v.Place, v.Size, NotMLflow, "is no export of a run, experiment, model, version, prompt, dataset or trace, and no response of MLflow's REST API that holds any; leave it out, or import it as what it is")
}

// page yields an Item for each element of the lists of a response.
func (r *reader) page(v rawjson.Value, lists []rawjson.Node, quoted int) {
	n := 0
	for _, list := range lists {
		i := 0
		for x := range list.All() {
			place := fmt.Sprintf("%s %s[%d]", v.Place, list.Key(), i)
			if list.Kind() == '{' {
				place, x = v.Place+" "+list.Key(), list
			}
			raw := x.Raw()
			it := importer.Item{Place: place, Offset: v.Offset, Bytes: int64(len(raw))}
			if shapeOf(x) == shapeUnknown {
				r.refuse(place, int64(len(raw)), NotMLflow, "is no run, experiment, model, version, dataset or trace as MLflow writes them; save the response as the server gave it")
			} else {
				r.unit(bytes.Clone(raw), "application/json", it, quoted)
			}
			if n++; r.done || list.Kind() == '{' {
				break
			}
			i++
		}
		if r.done {
			return
		}
	}
	if n == 0 {
		r.refuse(v.Place, v.Size, Aside, "an empty page of a response; there is nothing in it")
	}
}

// unit yields the Item of one unit in JSON.
func (r *reader) unit(raw []byte, mediaType string, it importer.Item, quoted int) {
	it.Original = sha256.Sum256(raw)
	doc := rawjson.Parse(raw)
	kept, redacted := rawjson.RedactPairs(doc, rawjson.Pairs{Names: []string{"key"}, Value: "value"})
	if len(redacted) > 0 {
		doc = rawjson.Parse(kept)
	}
	kept, more := rawjson.Redact(doc, func([]byte) ([]string, bool) { return nil, false })
	if redacted = append(redacted, more...); len(more) > 0 {
		doc = rawjson.Parse(kept)
	}
	u := &unit{Options: r.Options, root: doc.Root(), doc: doc, kept: kept, mediaType: mediaType, redacted: redacted}
	if quoted > 0 && bytes.Contains(kept, []byte(`"NaN"`)) || quoted > 0 && bytes.Contains(kept, []byte(`Infinity"`)) {
		u.note("NaN and Infinity are no JSON; they are kept as text in quotes")
	}
	for _, n := range r.notes {
		u.note("%s", n)
	}
	r.notes = nil
	r.item(u.item(it))
}

// quoteNumbers puts NaN, Infinity and -Infinity, which Python writes as bare
// words, into quotes, and counts them. Text in quotes is left alone.
func quoteNumbers(raw []byte) ([]byte, int) {
	var out []byte
	n, from := 0, 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			for i++; i < len(raw) && raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
		case 'N', 'I', '-':
			for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
				if bytes.HasPrefix(raw[i:], []byte(word)) {
					out = append(out, raw[from:i]...)
					out = append(append(append(out, '"'), word...), '"')
					i += len(word) - 1
					from, n = i+1, n+1
					break
				}
			}
		}
	}
	if n == 0 {
		return raw, 0
	}
	return append(out, raw[from:]...), n
}
