package openlineage

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/statement"
)

// eventFiles lists the fixture files that hold events, as slash paths.
func eventFiles(t testing.TB, root string) []string {
	t.Helper()
	var out []string
	for _, dir := range []string{"events-invalid", "marquez/open_lineage", "marquez/apples", "dbt", "scenarios"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".json" {
				return err
			}
			if base := filepath.Base(path); base == "config.json" || base == "maintainers.json" {
				return nil // settings of the scenarios' runner
			}
			rel, err := filepath.Rel(root, path)
			out = append(out, filepath.ToSlash(rel))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"client-python/tests/example_full_event.json", "client-python/tests/serde_example_dataset_event.json",
		"client-python/tests/serde_example_job_event.json", "client-python/tests/serde_example_run_event.json", "spec/tests/example_full_event.json"} {
		out = append(out, f)
	}
	sort.Strings(out)
	if len(out) < 80 {
		t.Fatalf("only %d event files below %s", len(out), root)
	}
	return out
}

func readItems(t testing.TB, data []byte) []importer.Item {
	t.Helper()
	var out []importer.Item
	for it, err := range Read(bytes.NewReader(data), Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		importertest.Check(t, it)
		out = append(out, it)
	}
	return out
}

// TestFixtures accounts for every event of every fixture file: accepted or
// refused with a reason, and how many statements of each type it makes.
func TestFixtures(t *testing.T) {
	root := importertest.Fixtures(t, "openlineage")
	var out strings.Builder
	accepted, refused := 0, 0
	for _, f := range eventFiles(t, root) {
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(f)))
		if err != nil {
			t.Fatal(err)
		}
		types, reasons := map[string]int{}, map[string]int{}
		ok := 0
		for _, it := range readItems(t, data) {
			if it.Refusal != nil {
				refused++
				place := strings.SplitN(it.Refusal.Detail, ": ", 2)[0]
				reasons[it.Refusal.Reason+" "+place]++
				continue
			}
			ok++
			for _, d := range it.Statements {
				name := strings.TrimPrefix(d.Predicate.PredicateType(), statement.Base)
				if e, is := d.Predicate.(*statement.Entity); is {
					name += " " + e.State
				}
				types[name]++
			}
		}
		accepted += ok
		fmt.Fprintf(&out, "%s\n\taccepted %d%s\n", f, ok, counts(types))
		if len(reasons) > 0 {
			fmt.Fprintf(&out, "\trefused%s\n", counts(reasons))
		}
	}
	fmt.Fprintf(&out, "total: accepted %d, refused %d\n", accepted, refused)
	importertest.Golden(t, "fixtures.txt", out.String())
}

func counts(m map[string]int) string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "; %s × %d", k, m[k])
	}
	return b.String()
}
