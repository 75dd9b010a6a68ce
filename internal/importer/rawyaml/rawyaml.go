// Package rawyaml reads YAML (1.2, and what YAML 1.1 writers write) as the
// tree of package rawjson, and takes secrets out of it.
package rawyaml

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// The limits of a text: its bytes, the values in it with each alias counted
// as often as it is used, how deeply they are nested, and the bytes of all of
// them as JSON.
const (
	MaxBytes  = 8 << 20
	MaxValues = 200_000
	MaxDepth  = 100
	maxJSON   = 32 << 20
)

// ErrLimit is wrapped by the error of a text that exceeds a limit.
var ErrLimit = errors.New("is too large")

// File is what a text says.
type File struct {
	// Kept is the text as it was given, or, where it held secrets, the same
	// with each replaced by rawjson.Redacted. A secret that only its name gives
	// away makes Kept the values of the text as JSON, which is YAML too.
	Kept     []byte
	Redacted []string // the paths of what was replaced
	// Root holds the values of Kept: numbers as they are written, all other
	// scalars as texts, null as null. There may be none.
	Root rawjson.Node
	// Repeated lists the names that occur twice in their mapping; the last
	// one counts.
	Repeated []string
}

// Read gives what the first document of raw says. The error is for a text
// that is no YAML or exceeds a limit.
func Read(raw []byte) (File, error) {
	if len(raw) > MaxBytes {
		return File{}, fmt.Errorf("the text %w: more than %d bytes", ErrLimit, MaxBytes)
	}
	clean := rawjson.Secrets(string(raw))
	text, err := toJSON([]byte(clean))
	if err != nil {
		return File{}, err
	}
	if text == nil {
		return File{Kept: []byte(clean)}, nil
	}
	f := File{Kept: raw}
	if clean != string(raw) {
		f.Kept, f.Redacted = []byte(clean), []string{"text"}
	}
	doc := rawjson.Parse(text)
	kept, paths := rawjson.Redact(doc, func([]byte) ([]string, bool) { return nil, false })
	if len(paths) > 0 {
		f.Kept, f.Redacted = append(kept, '\n'), append(f.Redacted, paths...)
		doc = rawjson.Parse(kept)
	}
	f.Root, f.Repeated = doc.Root(), doc.Repeated
	return f, nil
}

// decode holds the library to errors: it panics on some texts and recovers,
// and a text is worth no more than a refusal.
func decode(raw []byte, doc *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("is no YAML: %v", p)
		}
	}()
	if !utf8.Valid(raw) {
		return errors.New("is no YAML: it is not UTF-8")
	}
	if err := yaml.Unmarshal(raw, doc); err != nil {
		return fmt.Errorf("is no YAML: %s", rawjson.Clip(err.Error(), 300))
	}
	return nil
}

// toJSON gives the first document as JSON, nil when there is none.
func toJSON(raw []byte) ([]byte, error) {
	var doc yaml.Node
	if err := decode(raw, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	w := &writer{out: &b, e: jsontext.NewEncoder(&b, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))}
	if err := w.value(doc.Content[0], 0); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

type writer struct {
	out *bytes.Buffer
	e   *jsontext.Encoder
	n   int
}

var number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

func (w *writer) value(n *yaml.Node, depth int) error {
	if w.n++; w.n > MaxValues || depth > MaxDepth || w.out.Len() > maxJSON {
		return fmt.Errorf("line %d %w: more than %d values, or nested more than %d deep", n.Line, ErrLimit, MaxValues, MaxDepth)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return w.value(n.Alias, depth+1)
	case yaml.ScalarNode:
		return w.scalar(n)
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
	return fmt.Errorf("line %d is no YAML: a value of no kind", n.Line)
}

func (w *writer) scalar(n *yaml.Node) error {
	switch tag := n.ShortTag(); {
	case tag == "!!null":
		return w.e.WriteToken(jsontext.Null)
	case (tag == "!!int" || tag == "!!float") && len(n.Value) < 400 && number.MatchString(n.Value):
		return w.e.WriteValue(jsontext.Value(n.Value))
	}
	return w.e.WriteToken(jsontext.String(strings.ToValidUTF8(n.Value, "\uFFFD")))
}

func (w *writer) mapping(n *yaml.Node, depth int) error {
	if err := w.e.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			return fmt.Errorf("line %d: a name is a list or a mapping; write a text", k.Line)
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
