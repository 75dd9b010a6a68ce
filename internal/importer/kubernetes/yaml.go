package kubernetes

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// The limits of a document in YAML: bytes, values once its aliases are
// followed, and nesting.
const (
	maxYAML      = 16 << 20
	maxYAMLNodes = 500_000
	maxYAMLDepth = 100
)

// separator begins a document (YAML 1.2.2 section 9.2).
var separator = regexp.MustCompile(`(?m)^---(?:[ \t].*)?\r?$`)

// yaml yields an Item for each document of a manifest. A document is kept as
// the JSON that it stands for: in YAML, where a secret ends cannot be told
// from its bytes alone, and comments may hold any.
func (im Importer) yaml(s importer.Source) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		data, refusal, err := inventory.All(s.R, min(im.Options.Limit(), maxYAML))
		switch {
		case err != nil:
			yield(importer.Item{}, fmt.Errorf("reading kubernetes: %w", err))
			return
		case refusal != nil:
			yield(importer.Item{Place: "line 1", Refusal: refusal}, nil)
			return
		}
		n := 0
		for _, d := range documents(data) {
			if it, ok := im.document(data[d[0]:d[1]]); ok {
				it.Offset, it.Bytes = int64(d[0]), int64(d[1]-d[0])
				it.Place = fmt.Sprintf("line %d", 1+bytes.Count(data[:d[0]], []byte("\n")))
				n++
				if !yield(it, nil) {
					return
				}
			}
		}
		if n == 0 {
			yield(importer.Item{Place: "line 1", Bytes: int64(len(data)), Refusal: &importer.Refusal{Reason: rawjson.Empty,
				Detail: "there is no object in the input; give a manifest"}}, nil)
		}
	}
}

// documents gives where each document of a stream stands.
func documents(data []byte) [][2]int {
	var out [][2]int
	from := 0
	for _, m := range separator.FindAllIndex(data, -1) {
		out = append(out, [2]int{from, m[0]})
		from = m[1]
	}
	return append(out, [2]int{from, len(data)})
}

// document gives the Item of one document, and whether there is any.
func (im Importer) document(raw []byte) (importer.Item, bool) {
	text, err := toJSON(raw)
	switch {
	case err != nil:
		return importer.Item{Refusal: &importer.Refusal{Reason: BadYAML, Detail: rawjson.Secrets(err.Error()) + "; mend the document"}}, true
	case text == nil:
		return importer.Item{}, false
	case text[0] != '{':
		return importer.Item{Refusal: &importer.Refusal{Reason: NoObject, Detail: "the document is no mapping; give one with apiVersion and kind"}}, true
	}
	it := inventory.Finish(im, inventory.Unit{Raw: text}, Rules, im.say)
	it.Original = sha256.Sum256(raw)
	if it.Refusal == nil {
		it.Notes = append(it.Notes, "the document is kept as the JSON that it stands for, without comments")
	}
	return it, true
}

// toJSON gives the JSON that one document stands for, nil for an empty one.
func toJSON(raw []byte) ([]byte, error) {
	doc, err := decode(raw)
	if err != nil || len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return nil, err
	}
	var b bytes.Buffer
	w := &writer{e: jsontext.NewEncoder(&b, jsontext.AllowDuplicateNames(true))}
	if err := w.value(doc.Content[0], 0); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// decode holds the library to errors: it is written to panic on some texts and
// to recover.
func decode(raw []byte) (doc *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the document is no YAML")
		}
	}()
	doc = &yaml.Node{}
	if err := yaml.Unmarshal(raw, doc); err != nil {
		return nil, fmt.Errorf("the document is no YAML: %w", err)
	}
	return doc, nil
}

type writer struct {
	e *jsontext.Encoder
	n int
}

var number = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,30})$`)

func (w *writer) value(n *yaml.Node, depth int) error {
	if w.n++; w.n > maxYAMLNodes || depth > maxYAMLDepth {
		return fmt.Errorf("the document holds more than %d values, or is nested more than %d deep", maxYAMLNodes, maxYAMLDepth)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return w.value(n.Alias, depth+1)
	case yaml.ScalarNode:
		return w.e.WriteValue(scalar(n))
	case yaml.SequenceNode:
		if err := w.e.WriteToken(jsontext.BeginArray); err != nil {
			return err
		}
		for _, x := range n.Content {
			if err := w.value(x, depth+1); err != nil {
				return err
			}
		}
		return w.e.WriteToken(jsontext.EndArray)
	case yaml.MappingNode:
		return w.mapping(n, depth)
	}
	return fmt.Errorf("line %d: a value of a kind that is not read", n.Line)
}

func (w *writer) mapping(n *yaml.Node, depth int) error {
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

func scalar(n *yaml.Node) jsontext.Value {
	switch {
	case n.Tag == "!!null":
		return jsontext.Value("null")
	case n.Tag == "!!bool" && (n.Value == "true" || n.Value == "false"):
		return jsontext.Value(n.Value)
	case n.Tag == "!!int" && number.MatchString(n.Value):
		return jsontext.Value(n.Value)
	}
	b, err := jsontext.AppendQuote(nil, strings.ToValidUTF8(n.Value, "\uFFFD"))
	if err != nil {
		return jsontext.Value(`""`)
	}
	return b
}
