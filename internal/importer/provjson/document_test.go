package provjson

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/statement"
)

// TestDocuments shows what documents become, in testdata/documents/*.
func TestDocuments(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "documents"), func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var b strings.Builder
			for _, it := range readItems(t, []byte(d.Input)) {
				summarise(&b, it)
			}
			return b.String()
		})
	})
}

func summarise(b *strings.Builder, it importer.Item) {
	if it.Refusal != nil {
		fmt.Fprintf(b, "%s refused, %s\n", it.Place, it.Refusal.Error())
		return
	}
	for _, s := range said1(it) {
		fmt.Fprintf(b, "%s\n", s)
	}
	for _, n := range it.Notes {
		fmt.Fprintf(b, "note: %s\n", n)
	}
	for _, p := range statement.EvidenceOf(it.Statements[0].Predicate)[0].Redacted {
		fmt.Fprintf(b, "redacted: %s\n", p)
	}
}

// said1 gives the statements of an Item, without what all of them have.
func said1(it importer.Item) []string {
	var out []string
	for _, d := range it.Statements {
		payload, err := statement.Format(d.Subjects, d.Predicate)
		if err != nil {
			return append(out, err.Error())
		}
		_, text, _ := strings.Cut(string(payload), `"predicate":`)
		text, _, _ = strings.Cut(text, `,"evidence":`)
		var names []string
		for _, s := range d.Subjects {
			name := s.Name
			if c := s.Digest.Content(); !c.IsZero() {
				name += " " + c.String()[:16]
			}
			names = append(names, name)
		}
		typ := strings.TrimPrefix(d.Predicate.PredicateType(), statement.Base)
		out = append(out, typ+" "+strings.Join(names, ", ")+"\n  "+strings.ReplaceAll(text, `","`, "\",\n   \""))
	}
	return out
}

// TestRecognisesNoOther: none of the real inputs is PROV-JSON, so none is claimed.
func TestRecognisesNoOther(t *testing.T) {
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
	var claimed []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if (Importer{}).Recognise(importer.NewHead(filepath.ToSlash(path), int64(len(data)), data[:min(len(data), importer.HeadSize)])) {
			claimed = append(claimed, path)
		}
		return nil
	})
	if err != nil || len(claimed) > 0 {
		t.Errorf("claims %v; %v", claimed, err)
	}
}

func TestRecognise(t *testing.T) {
	for in, want := range map[string]bool{
		`{"prefix":{},"entity":{}}`:                                 true,
		`{"entity":{"e":{}},"wasGeneratedBy":{"_:1":{}}}`:           true,
		`{"wasDerivedFrom":{"_:1":{}}}`:                             true,
		`{"entity":{},"activity":{},"agent":{}}`:                    true,
		`{"used":[],"entity":{},"activity":{}}`:                     true,
		`{"entity":{}}`:                                             false,
		`{"agent":{},"entity":{}}`:                                  false,
		`{"used":{"a":1}}`:                                          false,
		`{"prefix":{}}`:                                             false,
		`{"prefix":{},"entity":"text"}`:                             false,
		`{"@context":"x","@graph":[]}`:                              false,
		`{"wasDerivedFrom":{"_:1":{}},"name":"x"}`:                  false,
		`{"$schema":"https://x/prov-json","prefix":{},"agent":{}}`:  true,
		`[{"prefix":{},"bundle":{}},{}]`:                            true,
		`{"activity":{"x":{}},"agent":{},"wasAssociatedWith":[{}]}`: true,
	} {
		if got := (Importer{}).Recognise(importer.NewHead("x.json", int64(len(in)), []byte(in))); got != want {
			t.Errorf("%s: %v, want %v", in, got, want)
		}
	}
}

// TestMany: a large document makes statements that each fit, in time that
// grows with its size, and loses nothing.
func TestMany(t *testing.T) {
	const n = 6000
	var b strings.Builder
	b.WriteString(`{"prefix":{"ex":"http://e/"},"entity":{"ex:all":[`)
	for i := range n {
		fmt.Fprintf(&b, `{"ex:a%d":%d},`, i%300, i)
	}
	b.WriteString(`{}]},"used":{`)
	for i := range n {
		fmt.Fprintf(&b, `"_:u%d":{"prov:activity":"ex:a","prov:entity":"ex:e%d"},`, i, i)
	}
	b.WriteString(`"_:u":{"prov:activity":"ex:a","prov:entity":"ex:e"}},"wasGeneratedBy":[`)
	for i := range n {
		fmt.Fprintf(&b, `{"prov:activity":"ex:a","prov:entity":"ex:o%d"},`, i)
	}
	b.WriteString(`{"prov:activity":"ex:a","prov:entity":"ex:o"}],"wasDerivedFrom":[`)
	for i := range n {
		fmt.Fprintf(&b, `{"prov:generatedEntity":"ex:all","prov:usedEntity":"ex:e%d","stemma:validFrom":"2026-01-01T00:00:00.%05dZ"},`, i, i)
	}
	b.WriteString(`{"prov:generatedEntity":"ex:all","prov:usedEntity":"ex:e"}]}`)
	used, made, derived := 0, 0, 0
	for _, it := range readItems(t, []byte(b.String())) {
		if it.Refusal != nil {
			t.Fatal(it.Refusal)
		}
		for _, d := range it.Statements {
			switch p := d.Predicate.(type) {
			case *statement.Activity:
				used += len(p.Used)
				for _, s := range d.Subjects {
					if s.Name != p.ID {
						made++
					}
				}
			case *statement.Entity:
				for _, x := range p.Derived {
					derived += len(x.From)
				}
			}
		}
	}
	if used != n+1 || made != n+1 || derived != n+1 {
		t.Errorf("%d uses, %d outputs, %d sources, want %d each", used, made, derived, n+1)
	}
}

// FuzzRead: whatever the bytes, each Item keeps the contract, and reading its
// evidence again gives the same statements.
func FuzzRead(f *testing.F) {
	if files, err := filepath.Glob(filepath.Join("testdata", "documents", "*")); err == nil {
		for _, name := range files {
			if data, err := os.ReadFile(name); err == nil {
				for _, part := range bytes.Split(data, []byte("\n----")) {
					if i := bytes.IndexByte(part, '{'); i >= 0 {
						f.Add(part[i:])
					}
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			t.Skip()
		}
		for it, err := range Read(bytes.NewReader(data), Options{MaxDocument: 1 << 14}) {
			if err != nil {
				t.Fatal(err)
			}
			importertest.Check(t, it)
			if it.Refusal != nil {
				continue
			}
			again := readItems(t, it.Evidence)
			if len(again) != 1 || again[0].Refusal != nil || !bytes.Equal(again[0].Evidence, it.Evidence) {
				t.Fatalf("%q read again gives %+v", it.Evidence, again)
			}
			a, b := said1(it), said1(again[0])
			slices.Sort(a)
			slices.Sort(b)
			if diff := cmp.Diff(a, b); diff != "" {
				t.Fatalf("%q read again gives other statements:\n%s", it.Evidence, diff)
			}
		}
	})
}
