package mlflow

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/statement"
)

// fixtures gives the directory of all fixtures, or skips the test.
func fixtures(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("STEMMA_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "fixtures")
	}
	if _, err := os.Stat(filepath.Join(dir, "mlflow")); err != nil {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatalf("the fixtures are missing: %v; set STEMMA_FIXTURES", err)
		}
		t.Skipf("the fixtures are missing: %v; set STEMMA_FIXTURES", err)
	}
	return dir
}

// readFile imports one file as it lies on disk.
func readFile(t testing.TB, im Importer, path string) []importer.Item {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return readAll(t, im, importer.Source{Name: path, Path: path, R: bytes.NewReader(b)})
}

func readText(t testing.TB, name, text string) []importer.Item {
	t.Helper()
	return readAll(t, Importer{}, importer.Source{Name: name, R: strings.NewReader(text)})
}

func readAll(t testing.TB, im Importer, s importer.Source) []importer.Item {
	t.Helper()
	var out []importer.Item
	for it, err := range im.Read(s) {
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
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// TestFixtures tells of each file below the fixtures whether it is recognised,
// and what comes out of it.
func TestFixtures(t *testing.T) {
	root := fixtures(t)
	var b strings.Builder
	accepted, statements := 0, 0
	reasons := map[string]int{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if !recognised(t, path, rel) {
			if strings.HasPrefix(rel, "mlflow/") {
				fmt.Fprintf(&b, "%s: not recognised\n", rel)
			}
			return nil
		}
		for _, it := range readFile(t, Importer{}, path) {
			if it.Refusal != nil {
				reasons[it.Refusal.Reason]++
				fmt.Fprintf(&b, "%s: %s: %s\n", rel, it.Refusal.Reason, it.Refusal.Detail)
				continue
			}
			accepted++
			statements += len(it.Statements)
			fmt.Fprintf(&b, "%s: %d statements, %d notes, %d registry states\n", rel, len(it.Statements), len(it.Notes), len(it.Registries))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "accepted %d, statements %d\n", accepted, statements)
	var names []string
	for r := range reasons {
		names = append(names, r)
	}
	sort.Strings(names)
	for _, r := range names {
		fmt.Fprintf(&b, "refused %s %d\n", r, reasons[r])
	}
	golden(t, "fixtures.txt", b.String())
}

func recognised(t *testing.T, path, rel string) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, importer.HeadSize))
	if err != nil {
		t.Fatal(err)
	}
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return Importer{}.Recognise(importer.NewHead(rel, st.Size(), head))
}
