package mlflow

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/statement"
)

// TestGolden shows what small inputs give. The argument of "import" is the
// file's name.
func TestGolden(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "golden"), func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if len(d.CmdArgs) == 0 {
				t.Fatalf("%s: name the file", d.Pos)
			}
			return show(t, readText(t, d.CmdArgs[0].Key, d.Input))
		})
	})
}

// show writes Items as a reviewer reads them.
func show(t testing.TB, items []importer.Item) string {
	var b strings.Builder
	for _, it := range items {
		if it.Refusal != nil {
			fmt.Fprintf(&b, "%s: refused %s\n", it.Place, it.Refusal.Error())
			continue
		}
		fmt.Fprintf(&b, "%s: %d bytes\n", it.Place, it.Bytes)
		b.WriteString(drafts(t, it.Statements))
		for _, n := range it.Notes {
			fmt.Fprintf(&b, "  note: %s\n", n)
		}
		for _, s := range it.Registries {
			fmt.Fprintf(&b, "  state of %s in %s at %s: aliases %v\n", s.Series, s.Registry, s.At, s.Aliases)
		}
	}
	return b.String()
}

// drafts writes statements without their evidence, which depends on the form.
func drafts(t testing.TB, list []importer.Draft) string {
	t.Helper()
	var b strings.Builder
	for _, d := range list {
		var names []string
		for _, s := range d.Subjects {
			name := s.Name
			if h := s.Digest["sha256"]; h != "" {
				name += " sha256:" + h[:12]
			}
			names = append(names, name)
		}
		ev := statement.EvidenceOf(d.Predicate)
		set(d.Predicate, nil)
		payload, err := statement.Format(d.Subjects, d.Predicate)
		set(d.Predicate, ev)
		if err != nil {
			t.Fatal(err)
		}
		s, err := statement.Parse(payload)
		if err != nil {
			t.Fatal(err)
		}
		raw := slices.Clone(s.Raw)
		v := jsontext.Value(raw)
		if err := v.Indent(jsontext.WithIndentPrefix("    "), jsontext.WithIndent("  ")); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "  %s %s\n    %s\n", strings.TrimPrefix(d.Predicate.PredicateType(), statement.Base), strings.Join(names, ", "), v)
	}
	return b.String()
}

func set(p statement.Predicate, ev []statement.Evidence) {
	switch p := p.(type) {
	case *statement.Activity:
		p.Evidence = ev
	case *statement.Entity:
		p.Evidence = ev
	case *statement.Registry:
		p.Evidence = ev
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
