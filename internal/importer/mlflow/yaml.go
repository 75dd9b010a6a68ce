package mlflow

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// maxYAML is the largest YAML file that is read, in bytes, and maxYAMLNodes
// how many values it may hold once its aliases are followed.
const (
	maxYAML      = 4 << 20
	maxYAMLNodes = 200_000
	maxYAMLDepth = 100
)

var yamlKey = regexp.MustCompile(`(?m)^([A-Za-z_]+):`)

// isYAML tells whether a file is one of MLflow's in YAML: the meta.yaml and
// trace_info.yaml of a file store, an MLmodel, or a model's environment.
func isYAML(base string, head []byte) bool {
	if base == "MLmodel" || base == "registered_model_meta" {
		return true
	}
	has := func(keys ...string) bool {
		seen := map[string]bool{}
		for _, m := range yamlKey.FindAllSubmatch(head[:min(len(head), 1<<16)], 200) {
			seen[string(m[1])] = true
		}
		for _, k := range keys {
			if !seen[k] {
				return false
			}
		}
		return true
	}
	switch base {
	case "meta.yaml":
		return has("experiment_id") || has("run_id", "artifact_uri") || has("run_uuid") || has("model_id") || has("name", "last_updated_timestamp") ||
			has("source_id", "destination_id") || has("digest", "source_type")
	case "trace_info.yaml":
		return has("request_id") || has("trace_id")
	case "conda.yaml":
		return bytes.Contains(head, []byte("mlflow"))
	case "python_env.yaml":
		return has("python", "dependencies")
	}
	return false
}

// yaml yields the Item of a file in YAML.
func (r *reader) yaml(path, base string, raw []byte) {
	size := int64(len(raw))
	switch {
	case size > maxYAML:
		r.refuse(base, size, rawjson.TooLarge, "the file holds more than %d bytes; MLflow writes much smaller ones", maxYAML)
		return
	case base == "conda.yaml" || base == "python_env.yaml":
		r.refuse(base, size, Aside, "the environment that a model is loaded in; MLmodel beside it names it")
		return
	case base == "registered_model_meta":
		r.refuse(base, size, Aside, "says which version the files beside it were downloaded for; the registry says so too")
		return
	}
	clean := []byte(rawjson.Secrets(string(raw)))
	text, err := yamlToJSON(clean)
	if err != nil {
		r.refuse(base, size, BadYAML, "%v; mend the file, or leave it out", err)
		return
	}
	root := rawjson.Parse(text).Root()
	if base != "MLmodel" {
		r.storeFile(path, base, root, raw)
		return
	}
	u := &unit{Options: r.Options, kept: clean, mediaType: "application/yaml"}
	if !bytes.Equal(clean, raw) {
		u.redacted = []string{"text of the file"}
	}
	u.mlmodel(root)
	u.seal()
	it := importer.Item{Place: base, Bytes: size, Original: sha256.Sum256(raw)}
	if u.refusal != nil {
		it.Refusal = u.refusal
	} else {
		it.Evidence, it.Statements, it.Notes = u.kept, u.out, u.notes
	}
	r.item(it)
}

// yamlToJSON gives the first document of a YAML text (YAML 1.2) as JSON.
// Scalars become texts as they are written, so that an id of digits keeps
// every one of them, and null is left out.
func yamlToJSON(raw []byte) ([]byte, error) {
	var doc yaml.Node
	if err := decodeYAML(raw, &doc); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := &yamlWriter{e: jsontext.NewEncoder(&b, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))}
	if len(doc.Content) == 0 {
		return nil, errors.New("the file is empty")
	}
	if err := w.value(doc.Content[0], 0); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// decodeYAML holds the library to errors: it is written to panic on some
// texts and to recover, and a text is not worth more than a refusal.
func decodeYAML(raw []byte, doc *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("is no YAML: %v", p)
		}
	}()
	if err := yaml.Unmarshal(raw, doc); err != nil {
		return fmt.Errorf("is no YAML: %w", err)
	}
	return nil
}

type yamlWriter struct {
	e *jsontext.Encoder
	n int
}

func (w *yamlWriter) value(n *yaml.Node, depth int) error {
	if w.n++; w.n > maxYAMLNodes || depth > maxYAMLDepth {
		return fmt.Errorf("holds more than %d values, or is nested more than %d deep", maxYAMLNodes, maxYAMLDepth)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return w.value(n.Alias, depth+1)
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return w.e.WriteToken(jsontext.Null)
		}
		return w.e.WriteToken(jsontext.String(strings.ToValidUTF8(n.Value, "\uFFFD")))
	case yaml.SequenceNode:
		return w.list(n, depth)
	case yaml.MappingNode:
		return w.mapping(n, depth)
	}
	return fmt.Errorf("line %d: a value of a kind that is not read", n.Line)
}

func (w *yamlWriter) list(n *yaml.Node, depth int) error {
	if err := w.e.WriteToken(jsontext.BeginArray); err != nil {
		return err
	}
	for _, x := range n.Content {
		if err := w.value(x, depth+1); err != nil {
			return err
		}
	}
	return w.e.WriteToken(jsontext.EndArray)
}

func (w *yamlWriter) mapping(n *yaml.Node, depth int) error {
	if err := w.e.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode {
			return fmt.Errorf("line %d: a key that is no text", k.Line)
		}
		if err := w.e.WriteToken(jsontext.String(strings.ToValidUTF8(k.Value, "\uFFFD"))); err != nil {
			return err
		}
		if err := w.value(n.Content[i+1], depth+1); err != nil {
			return err
		}
	}
	return w.e.WriteToken(jsontext.EndObject)
}

func anyOf(n rawjson.Node, names ...string) bool {
	return slices.ContainsFunc(names, func(s string) bool { return n.Get(s).Given() })
}
