package mlflow

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer"
)

// FuzzJSON holds each Item of any text to the contract.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(exportedRun))
	f.Add([]byte(servedRun))
	for _, name := range []string{"run", "registry", "genai", "refused"} {
		b, err := os.ReadFile(filepath.Join("testdata", "golden", name))
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range strings.Split(string(b), "import ") {
			_, text, _ := strings.Cut(part, "\n")
			text, _, _ = strings.Cut(text, "\n----")
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range []string{"x.json", "model.json"} {
			first := readAll(t, Importer{Options: Options{MaxDocument: 1 << 16}}, importer.Source{Name: name, R: bytes.NewReader(b)})
			for _, it := range first {
				if it.Refusal == nil {
					again(t, it)
				}
			}
		}
		Importer{}.Recognise(importer.NewHead("x.json", int64(len(b)), b))
	})
}

// again makes the statements of an Item out of its evidence: they are the same.
func again(t *testing.T, it importer.Item) {
	t.Helper()
	items := readAll(t, Importer{}, importer.Source{Name: "x.json", R: bytes.NewReader(it.Evidence)})
	n := len(items)
	if n != 1 || items[0].Refusal != nil {
		return // an element with more than one reading by itself; its statements were checked
	}
	if !bytes.Equal(items[0].Evidence, it.Evidence) {
		t.Errorf("what is kept holds secrets still:\n%q\n%q", it.Evidence, items[0].Evidence)
	}
	if a, b := drafts(t, it.Statements), drafts(t, items[0].Statements); a != b {
		t.Errorf("the evidence gives other statements:\n%s\n%s", a, b)
	}
}

// FuzzYAML reads any text as an MLmodel and as a meta.yaml.
func FuzzYAML(f *testing.F) {
	for _, s := range []string{"run_id: a\nmodel_uuid: b\nflavors: {a: {}}\n", "a: &x [*x]\n", "a: &a [1]\nb: &b [*a, *a]\nc: [*b, *b]\n", "? [a]\n: b\n", "<<: *x\n", "\xff: \x00\n", "--- !!binary aGVsbG8=\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range []string{"MLmodel", "meta.yaml"} {
			readAll(t, Importer{}, importer.Source{Name: name, R: bytes.NewReader(b)})
		}
		Importer{}.Recognise(importer.NewHead("meta.yaml", int64(len(b)), b))
	})
}
