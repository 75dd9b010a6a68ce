package modelsigning

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/sigstore"
)

func fixtures(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("STEMMA_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "fixtures")
	}
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatalf("the fixtures are missing: %v; set STEMMA_FIXTURES", err)
		}
		t.Skipf("the fixtures are missing: %v; set STEMMA_FIXTURES", err)
	}
	return dir
}

// TestFixtures shows what each model signature among the fixtures gives, with
// the root, key and authority of their sources, and that no other file is
// claimed.
func TestFixtures(t *testing.T) {
	root := fixtures(t)
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
	golden(t, "fixtures.txt", out.String())
}
