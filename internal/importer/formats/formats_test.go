package formats

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/bom/bomtest"
)

// TestOneFormat: of the real files each is recognised by one format at most,
// so that the order of the list decides nothing that a person would not expect.
func TestOneFormat(t *testing.T) {
	dir := bomtest.Fixtures(t)
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
