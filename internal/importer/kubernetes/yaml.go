package kubernetes

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"regexp"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/internal/importer/rawyaml"
)

// maxYAML is the largest manifest that is read, in bytes. Each document has
// the limits of package rawyaml.
const maxYAML = 32 << 20

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
	f, err := rawyaml.Read(raw)
	switch k := f.Root.Kind(); {
	case errors.Is(err, rawyaml.ErrLimit):
		return importer.Item{Refusal: &importer.Refusal{Reason: rawjson.TooLarge, Detail: err.Error() + ". Split the document"}}, true
	case err != nil:
		return importer.Item{Refusal: &importer.Refusal{Reason: BadYAML, Detail: rawjson.Secrets(err.Error()) + "; mend the document"}}, true
	case k == 0 || k == 'n':
		return importer.Item{}, false
	case k != '{':
		return importer.Item{Refusal: &importer.Refusal{Reason: NoObject, Detail: "the document is no mapping; give one with apiVersion and kind"}}, true
	}
	it := inventory.Finish(im, inventory.Unit{Raw: f.Root.Raw(), Redacted: f.Redacted}, Rules, im.say)
	it.Original = sha256.Sum256(raw)
	if it.Refusal == nil {
		it.Notes = append(it.Notes, "the document is kept as the JSON that it stands for, without comments")
	}
	return it, true
}
