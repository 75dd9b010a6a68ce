package modelsigning

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/internal/importer/sigstore"
)

// TestFixtures shows what each model signature among the fixtures gives, with
// the root, key and authority of their sources, and that no other file is
// claimed.
func TestFixtures(t *testing.T) {
	root := importertest.Fixtures(t)
	var files []sigstore.File
	for _, f := range []string{"sigstore_sigstore-go/trusted-root-public-good.json", "sigstore_model-transparency/ca-cert.pem", "sigstore_model-transparency/signing-key-pub.pem"} {
		data, err := os.ReadFile(filepath.Join(root, "supplychain", f))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, sigstore.File{Name: f, Data: data})
	}
	trust, err := sigstore.NewTrust(files...)
	if err != nil {
		t.Fatal(err)
	}
	im := Importer{Trust: trust}
	var out strings.Builder
	err = fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		full := filepath.Join(root, path)
		data, err := os.ReadFile(full)
		if err != nil {
			return err
		}
		if !im.Recognise(importer.NewHead(path, int64(len(data)), data[:min(len(data), importer.HeadSize)])) {
			return nil
		}
		fmt.Fprintf(&out, "== %s\n%s\n", path, describe(read(t, im, data, full)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	importertest.Golden(t, "fixtures.txt", out.String())
}
