// Package arch keeps the structure: which package may import which, and which
// are pure.
package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/stemma-lineage/stemma/"

// layers lists the packages from the bottom up. A package imports only from
// layers below its own.
var layers = [][]string{
	{"prov", "witness", "internal/durable", "internal/capture/trace/shim"},
	{"statement", "witness/stamp"},
	{"vindex", "internal/access", "internal/evlog", "internal/gen", "internal/graph", "internal/keys", "internal/witnessing", "internal/monitor", "internal/importer", "internal/importer/rawjson", "internal/capture/trace"},
	{"internal/index", "internal/query", "internal/importer/importertest", "internal/importer/openlineage", "internal/importer/mlflow", "internal/importer/otel", "internal/importer/git", "internal/importer/githuboidc", "internal/importer/provjson", "internal/importer/sigstore", "internal/importer/bom", "internal/importer/rawyaml", "internal/importer/inventory", "internal/proof"},
	{"internal/importer/bom/bomtest", "internal/importer/modelsigning", "internal/importer/intoto", "internal/importer/cyclonedx", "internal/importer/spdx", "internal/importer/vex", "internal/importer/dvc", "internal/importer/huggingface", "internal/importer/kubernetes", "internal/importer/aws", "internal/importer/gcp", "internal/importer/github", "internal/importer/mcp", "internal/importer/a2a", "internal/importer/jwt", "internal/importer/spire", "internal/importer/scim", "internal/importer/vault"},
	{"internal/importer/weights"},
	{"internal/importer/inventory/inventorytest", "internal/report", "internal/importer/formats", "internal/policy", "internal/catalog", "internal/oscal"},
	{"bundle", "internal/capture", "internal/controls", "internal/finding"},
	{"internal/app", "internal/intake", "internal/webhook", "internal/prooftest"},
	{"internal/story", "internal/gate"},
	{"internal/admission"},
	{"cmd/stemma"},
	{"internal/bench", "internal/arch"},
}

// pure packages are functions of their input: no files, network, clock,
// randomness, diagnostics or goroutines.
var pure = []string{"prov", "witness", "witness/stamp", "statement", "internal/access", "vindex", "internal/graph", "internal/query", "internal/report", "internal/policy", "internal/finding", "internal/catalog", "internal/controls", "internal/oscal", "bundle", "internal/proof"}

var impure = []string{"os", "os/exec", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "log", "log/slog", "syscall", "path/filepath"}

func TestArrowsPointDown(t *testing.T) {
	level := map[string]int{}
	for i, l := range layers {
		for _, p := range l {
			level[p] = i
		}
	}
	eachFile(t, func(pkg, file string, imports []string, _ string) {
		mine, ok := level[pkg]
		if !ok {
			t.Errorf("%s: package %s is in no layer; add it to layers in internal/arch", file, pkg)
		}
		for _, im := range imports {
			if to, ours := strings.CutPrefix(im, module); ours && level[to] >= mine {
				t.Errorf("%s: %s may not import %s; move what both need to a lower package", file, pkg, to)
			}
		}
	})
}

func TestPure(t *testing.T) {
	eachFile(t, func(pkg, file string, imports []string, text string) {
		if !slices.Contains(pure, pkg) {
			return
		}
		for _, im := range imports {
			if slices.Contains(impure, im) {
				t.Errorf("%s: %s is pure and may not import %s; let the caller in internal/app do it", file, pkg, im)
			}
		}
		for _, bad := range []string{"time.Now(", "time.Since(", "\tgo func", "\tgo "} {
			if strings.Contains(text, bad) {
				t.Errorf("%s: %s is pure and may not use %q", file, pkg, strings.TrimSpace(bad))
			}
		}
	})
}

// early packages run before main, so they may import only what is initialised
// early: path/filepath or net would let some hundred packages come first, and
// each captured command waits for that.
var early = map[string][]string{
	"internal/capture/trace/shim": {"bytes", "encoding/json", "errors", "fmt", "golang.org/x/sys/unix", "maps", "os", "os/signal", "runtime", "slices", "strconv", "sync/atomic", "syscall", "time", "unsafe"},
}

func TestEarly(t *testing.T) {
	eachFile(t, func(pkg, file string, imports []string, _ string) {
		allowed, isEarly := early[pkg]
		for _, im := range imports {
			if isEarly && !slices.Contains(allowed, im) {
				t.Errorf("%s: %s runs before main and may not import %s; move what needs it to the package above", file, pkg, im)
			}
		}
	})
}

func TestNoGrabBags(t *testing.T) {
	eachFile(t, func(pkg, file string, _ []string, _ string) {
		if slices.Contains([]string{"util", "utils", "common", "helpers"}, filepath.Base(pkg)) {
			t.Errorf("%s: name the package after what it holds", file)
		}
	})
}

// eachFile visits the Go files that are no tests.
func eachFile(t *testing.T, f func(pkg, file string, imports []string, text string)) {
	t.Helper()
	root := filepath.Join("..", "..")
	n := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		src, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ImportsOnly)
		if err != nil {
			return err
		}
		var imports []string
		for _, im := range src.Imports {
			p, _ := strconv.Unquote(im.Path.Value)
			imports = append(imports, p)
		}
		rel, _ := filepath.Rel(root, path)
		n++
		f(filepath.ToSlash(filepath.Dir(rel)), rel, imports, string(text))
		return nil
	})
	if err != nil || n < 20 {
		t.Fatalf("visited %d files: %v", n, err)
	}
}
