package huggingface

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/prov"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// TestFiles shows what files become: testdata/*.txtar hold folders of files,
// and for each file.txt that is recognised, in "want", its Items.
func TestFiles(t *testing.T) {
	paths, _ := filepath.Glob("testdata/*.txtar")
	if len(paths) == 0 {
		t.Fatal("no testdata")
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			var files []txtar.File
			want := ""
			for _, f := range a.Files {
				if f.Name == "want" {
					want = string(f.Data)
					continue
				}
				files = append(files, f)
				p := filepath.Join(dir, filepath.FromSlash(f.Name))
				if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
					t.Fatal(err)
				}
				if target, ok := strings.CutPrefix(string(f.Data), "-> "); ok {
					err = os.Symlink(strings.TrimSpace(target), p)
				} else {
					err = os.WriteFile(p, f.Data, 0o644)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			got := show(t, dir, files)
			if *rewrite {
				a.Files = append(files, txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got; -rewrite writes it anew):\n%s", diff)
			}
		})
	}
}

func show(t *testing.T, dir string, files []txtar.File) string {
	var b strings.Builder
	for _, f := range files {
		p := filepath.Join(dir, filepath.FromSlash(f.Name))
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s: ", f.Name)
		if !(Importer{}).Recognise(importer.NewHead(filepath.ToSlash(p), int64(len(data)), data)) {
			b.WriteString("not recognised\n")
			continue
		}
		for _, it := range importertest.Read(t, Importer{}, p, data) {
			importertest.Show(&b, it)
		}
	}
	return b.String()
}

func TestNamed(t *testing.T) {
	for _, c := range [][3]string{
		{"org/name", "", "model:huggingface.co/org/name"},
		{"gpt2", "", "model:huggingface.co/gpt2"},
		{"org/name", "v1", "model:huggingface.co/org/name@v1"},
		{"org/name@abc", "", "model:huggingface.co/org/name@abc"},
		{"https://huggingface.co/org/name", "", "model:huggingface.co/org/name"},
		{"https://huggingface.co/org/name/", "", "model:huggingface.co/org/name"},
		{"https://huggingface.co/org/name/tree/main", "", "model:huggingface.co/org/name"},
		{"https://huggingface.co/org/name/resolve/abc123/model.gguf?download=true", "", "model:huggingface.co/org/name@abc123"},
		{"https://huggingface.co/datasets/org/data", "", "dataset:huggingface.co/org/data"},
		{"hf://datasets/org/data@v2", "", "dataset:huggingface.co/org/data@v2"},
		{"hf.co/org/name", "", "model:huggingface.co/org/name"},
		{"https://ann:pw@example.org/m.bin", "", "model:https://example.org/m.bin"},
		{"./out", "", "model:./out@named-in:0123456789abcdef"},
		{"/data/models/x", "", "model:/data/models/x@named-in:0123456789abcdef"},
		{`C:\models\x`, "", `model:C:\models\x@named-in:0123456789abcdef`},
		{"dir/model.safetensors", "", "model:dir/model.safetensors@named-in:0123456789abcdef"},
		{"a/b/c", "", "model:a/b/c@named-in:0123456789abcdef"},
		{"../x", "", "model:../x@named-in:0123456789abcdef"},
		{"", "", ":"},
	} {
		r, _ := Named(prov.Model, c[0], c[1], "0123456789abcdef0123456789abcdef")
		if got := r.String(); got != c[2] {
			t.Errorf("%q is %s, want %s", c[0], got, c[2])
		}
	}
}

func TestLocate(t *testing.T) {
	for _, c := range [][3]string{
		{"/c/hub/models--org--name/snapshots/abc/README.md", "model:huggingface.co/org/name@abc", "README.md"},
		{"models--gpt2/snapshots/abc/onnx/config.json", "model:huggingface.co/gpt2@abc", "onnx/config.json"},
		{"/c/datasets--o--d/snapshots/r1/data/x.parquet", "dataset:huggingface.co/o/d@r1", "data/x.parquet"},
		{"/c/spaces--o--s/snapshots/r1/app.py", "code:huggingface.co/spaces/o/s@r1", "app.py"},
		{"/nowhere/models--o--n/blobs/0123", "model:huggingface.co/o/n", ""},
		{"/c/models/x/README.md", ":", ""},
	} {
		p := Locate(c[0])
		if got := p.Repo.String(); got != c[1] || p.File != c[2] {
			t.Errorf("%s: %s %q, want %s %q", c[0], got, p.File, c[1], c[2])
		}
	}
}

func TestClaimed(t *testing.T) {
	if diff := cmp.Diff([]string(nil), importertest.Claimed(t, Importer{})); diff != "" {
		t.Errorf("files of other formats are recognised: %s", diff)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{"---\nlicense: mit\nbase_model: a/b\n---\n# X\n", "---\nbase_model: [a, b]\n---", "---\n---\n", `{"model_type":"x","architectures":["Y"],"_name_or_path":"gpt2"}`,
		`{"peft_type":"LORA","base_model_name_or_path":"a/b","r":8}`, "---\nsource_datasets:\n- extended|squad\n---\n# Dataset Card for x\n", "---\nco2_eq_emissions: {emissions: 1}\n---\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h := importer.NewHead("README.md", int64(len(data)), data)
		_ = Importer{}.Recognise(h)
		for _, path := range []string{"README.md", "models--o--n/snapshots/r/README.md"} {
			first := importertest.Read(t, Importer{}, path, data)
			for i, it := range importertest.Read(t, Importer{}, path, data) {
				if diff := cmp.Diff(first[i], it); diff != "" {
					t.Fatalf("reading twice differs:\n%s", diff)
				}
				if it.Refusal != nil {
					continue
				}
				// What is kept gives the same statements.
				again := importertest.Read(t, Importer{}, path, it.Evidence)[0]
				if again.Refusal != nil {
					t.Fatalf("what is kept is refused: %v", again.Refusal)
				}
				if a, b := again.Statements[0].Subjects, it.Statements[0].Subjects; !cmp.Equal(a, b) {
					t.Fatalf("what is kept is about another thing: %v, not %v", a, b)
				}
			}
		}
	})
}
