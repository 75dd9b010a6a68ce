package dvc

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
	"github.com/stemma-lineage/stemma/statement"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// TestFiles shows what the files in testdata/*.txtar become, in their "want".
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
			var b strings.Builder
			var files []txtar.File
			want := ""
			for _, f := range a.Files {
				if f.Name == "want" {
					want = string(f.Data)
					continue
				}
				files = append(files, f)
				fmt.Fprintf(&b, "== %s\n", f.Name)
				if !(Importer{}).Recognise(importer.NewHead(f.Name, int64(len(f.Data)), f.Data)) {
					b.WriteString("not recognised\n")
					continue
				}
				for _, it := range importertest.Read(t, Importer{}, f.Name, f.Data) {
					importertest.Show(&b, it)
				}
			}
			if *rewrite {
				a.Files = append(files, txtar.File{Name: "want", Data: []byte(b.String())})
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, b.String()); diff != "" {
				t.Errorf("(-want +got; -rewrite writes it anew):\n%s", diff)
			}
		})
	}
}

const twoStages = `schema: '2.0'
stages:
  a:
    cmd: one
    outs:
    - path: x.csv
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
  b:
    cmd: two
    deps:
    - path: x.csv
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
`

// TestOneThing shows that what one stage writes and another reads is one
// thing, and that the layout of the file does not matter.
func TestOneThing(t *testing.T) {
	items := importertest.Read(t, Importer{}, "dvc.lock", []byte(twoStages))
	a := items[0].Statements[0]
	b := items[1].Statements[0].Predicate.(*statement.Activity)
	if a.Subjects[0].Name != b.Used[0].Ref || !cmp.Equal(a.Subjects[0].Digest, b.Used[0].Digest) {
		t.Errorf("%v and %v differ", a.Subjects[0], b.Used[0])
	}
	other := importertest.Read(t, Importer{}, "dvc.lock", []byte(strings.ReplaceAll(twoStages, "  a:\n", "  # comment\n  a:\n\n")))
	if got := other[0].Statements[0].Predicate.(*statement.Activity).ID; got != a.Predicate.(*statement.Activity).ID {
		t.Errorf("a comment changes the activity to %s", got)
	}
}

func TestClaimed(t *testing.T) {
	if diff := cmp.Diff([]string(nil), importertest.Claimed(t, Importer{})); diff != "" {
		t.Errorf("files of other formats are recognised: %s", diff)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{twoStages, "outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  path: data\n", "stages:\n  a:\n    cmd: x\n    deps: [a]\n    outs: [b: {cache: false}]\n",
		"a:\n  cmd: x\n  params:\n    p.yaml:\n      x: 1\n", "deps:\n- path: x\n  repo: {url: u, rev_lock: r}\nouts:\n- path: y\n", "datasets:\n- name: d\n  type: dvc\n  url: u\n"} {
		f.Add("dvc.lock", []byte(s))
		f.Add("dvc.yaml", []byte(s))
		f.Add("x.dvc", []byte(s))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		_ = Importer{}.Recognise(importer.NewHead(name, int64(len(data)), data))
		first := importertest.Read(t, Importer{}, name, data)
		second := importertest.Read(t, Importer{}, name, data)
		if diff := cmp.Diff(first, second); diff != "" {
			t.Fatalf("reading twice differs:\n%s", diff)
		}
		if first[0].Bytes != int64(len(data)) {
			t.Fatalf("%d of %d bytes are accounted for", first[0].Bytes, len(data))
		}
	})
}
