package formats

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
)

// TestHostile gives each importer what nobody means well: it ends, in Items
// that keep the contract, whatever the name says that it is.
func TestHostile(t *testing.T) {
	const n = 1 << 18
	noise := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	numbered := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 30; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	inputs := []struct{ name, text string }{
		{"nothing", ""},
		{"white space", strings.Repeat(" \n", n/2)},
		{"arrays", strings.Repeat("[", n)},
		{"objects", strings.Repeat(`{"a":`, n/5)},
		{"closed objects", strings.Repeat(`{"a":`, n/8) + "1" + strings.Repeat("}", n/8)},
		{"keys", `{"a":0` + numbered(`,"%d":0`, n/10) + "}"},
		{"the same key", `{"a":0` + strings.Repeat(`,"a":0`, n/6) + "}"},
		{"a long text", `{"a":"` + strings.Repeat("x", n) + `"}`},
		{"a long name", `{"` + strings.Repeat("x", n) + `":1}`},
		{"escapes", `{"a":"` + strings.Repeat(`\u0000`, n/6) + `"}`},
		{"a text without end", `{"a":"` + strings.Repeat("password=", n/9)},
		{"a number", `{"a":` + strings.Repeat("9", n) + "}"},
		{"lines", strings.Repeat("{}\n", n/30)},
		{"broken lines", strings.Repeat("{\n", n/30)},
		{"zeros", strings.Repeat("\x00", n)},
		{"noise", string(noise)},
		{"aliases of aliases", bomb.String()},
		{"deep YAML", strings.Repeat("- ", n/2)},
		{"front matter", "---\n" + bomb.String() + "---\n"},
		{"XML", `<?xml version="1.0"?><!DOCTYPE bom [<!ENTITY a "xxxxxxxxxx">]><bom xmlns="http://cyclonedx.org/schema/bom/1.6">` + strings.Repeat("<components>", n/12)},
		{"tag-value", "SPDXVersion: SPDX-2.3\n" + strings.Repeat("PackageName: x\n", n/15)},
		{"a header that lies", "\xff\xff\xff\xff\xff\xff\xff\x7f{}"},
		{"GGUF that lies", "GGUF\x03\x00\x00\x00" + strings.Repeat("\xff", 64)},
		{"a commit that lies", "0123456789abcdef0123456789abcdef01234567 commit 9223372036854775807\n"},
		{"a pickle", "\x80\x04" + strings.Repeat("(", n)},
		{"a database", "SQLite format 3\x00" + strings.Repeat("\xff", 4096)},
	}
	names := []string{"x.json", "meta.yaml", "dvc.yaml", "dvc.lock", "README.md", "x.safetensors", "x.gguf", "x.pkl", "bom.xml", "x.spdx"}
	for _, im := range All(Options{}) {
		for _, in := range inputs {
			t.Run(im.Name()+"/"+in.name, func(t *testing.T) {
				for _, name := range names {
					head := []byte(in.text[:min(len(in.text), importer.HeadSize)])
					im.Recognise(importer.NewHead("a/"+name, int64(len(in.text)), head))
				}
				items := 0
				for it, err := range im.Read(importer.Source{Name: names[0], R: bytes.NewReader([]byte(in.text))}) {
					if err != nil {
						t.Fatal(err)
					}
					importertest.Check(t, it)
					if it.Refusal == nil && it.Evidence == nil {
						t.Errorf("%s is accepted without evidence", it.Place)
					}
					items++
				}
				if items == 0 {
					t.Error("nothing is told of it")
				}
			})
		}
	}
}
