package openlineage

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/statement"
)

// fixtures gives the directory of OpenLineage fixtures, or skips the test.
func fixtures(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("STEMMA_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "fixtures")
	}
	dir = filepath.Join(dir, "openlineage")
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatalf("the fixtures are missing: %v; set STEMMA_FIXTURES", err)
		}
		t.Skipf("the fixtures are missing: %v; set STEMMA_FIXTURES", err)
	}
	return dir
}

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
		checkItem(t, it)
		out = append(out, it)
	}
	return out
}

// checkItem holds an Item to the contract of package importer.
func checkItem(t testing.TB, it importer.Item) {
	t.Helper()
	if it.Refusal != nil {
		if it.Evidence != nil || it.Statements != nil || it.Refusal.Reason == "" || it.Refusal.Detail == "" {
			t.Fatalf("%s: refused, but evidence %d bytes, %d statements, %q", it.Place, len(it.Evidence), len(it.Statements), it.Refusal.Error())
		}
		return
	}
	if len(it.Statements) == 0 || len(it.Evidence) == 0 {
		t.Fatalf("%s: accepted without statements or evidence", it.Place)
	}
	for _, d := range it.Statements {
		payload, err := statement.Format(d.Subjects, d.Predicate)
		if err != nil {
			t.Fatalf("%s: %v", it.Place, err)
		}
		if _, err := statement.Parse(payload); err != nil {
			t.Fatalf("%s: %v\n%.2000s", it.Place, err, payload)
		}
		ev := statement.EvidenceOf(d.Predicate)
		if len(ev) != 1 || ev[0].Digest["sha256"] != fmt.Sprintf("%x", sha256.Sum256(it.Evidence)) || ev[0].Size != int64(len(it.Evidence)) {
			t.Fatalf("%s: the evidence is not that of the Item", it.Place)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if flag.Lookup("rewrite").Value.String() == "true" { // the flag of datadriven
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -rewrite writes it anew):\n%s", name, diff)
	}
}

// TestFixtures accounts for every event of every fixture file: accepted or
// refused with a reason, and how many statements of each type it makes.
func TestFixtures(t *testing.T) {
	root := fixtures(t)
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
	golden(t, "fixtures.txt", out.String())
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
