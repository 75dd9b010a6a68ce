package formats

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/bom/bomtest"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/statement"
)

// TestOneFormat: of the real files each is recognised by one format at most,
// so that the order of the list decides nothing that a person would not expect.
func TestOneFormat(t *testing.T) {
	dir := importertest.Fixtures(t)
	var got []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		head := importer.NewHead(filepath.ToSlash(rel), int64(len(data)), data[:min(len(data), importer.HeadSize)])
		var who []string
		for _, im := range All(Options{}) {
			if im.Recognise(head) {
				who = append(who, im.Name())
			}
		}
		if len(who) > 1 {
			got = append(got, filepath.ToSlash(rel)+": "+strings.Join(who, ", "))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string(nil), got); diff != "" {
		t.Error(diff)
	}
}

// TestRolesOfInventories: no role of an import bears a name without the
// namespace of its source, so that none can make an approver.
func TestRolesOfInventories(t *testing.T) {
	dir := importertest.Fixtures(t)
	inventories := []string{"aws", "gcp", "github", "spire", "scim", "vault", "kubernetes", "mcp", "a2a", "jwt"}
	roles := 0
	for _, im := range All(Options{}) {
		if !slices.Contains(inventories, im.Name()) {
			continue
		}
		for _, f := range importertest.Claimed(t, im) {
			data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f)))
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range bomtest.Read(t, im, data) {
				for _, d := range it.Statements {
					raw, err := statement.Format(d.Subjects, d.Predicate)
					if err != nil {
						t.Fatal(err)
					}
					for _, m := range regexp.MustCompile(`"role:([^"]*)"`).FindAllSubmatch(raw, -1) {
						source, _, ok := bytes.Cut(m[1], []byte("/"))
						if roles++; !ok || !slices.Contains(inventories, string(source)) {
							t.Errorf("%s: the role %q is not named in the namespace of a source", f, m[1])
						}
					}
				}
			}
		}
	}
	if roles < 500 {
		t.Errorf("only %d roles were looked at", roles)
	}
}
