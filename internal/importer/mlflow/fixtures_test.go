package mlflow

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
)

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
		importertest.Check(t, it)
		out = append(out, it)
	}
	return out
}

// TestFixtures tells of each file below the fixtures whether it is recognised,
// and what comes out of it.
func TestFixtures(t *testing.T) {
	root := importertest.Fixtures(t)
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
	importertest.Golden(t, "fixtures.txt", b.String())
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
