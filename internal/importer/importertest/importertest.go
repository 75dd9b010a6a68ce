// Package importertest helps the tests of importers: it holds an Item to its
// contract, and writes it as text for people.
package importertest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/statement"
)

// Read gives the Items of a source, each held to the contract of package
// importer.
func Read(t testing.TB, im importer.Importer, path string, data []byte) []importer.Item {
	t.Helper()
	var out []importer.Item
	for it, err := range im.Read(importer.Source{Name: path, Path: path, R: bytes.NewReader(data)}) {
		if err != nil {
			t.Fatal(err)
		}
		Check(t, it)
		out = append(out, it)
	}
	if len(out) == 0 {
		t.Fatalf("%s: no Item at all", path)
	}
	return out
}

// Check holds an Item to the contract of package importer.
func Check(t testing.TB, it importer.Item) {
	t.Helper()
	if it.Refusal != nil {
		if it.Evidence != nil || it.Statements != nil || it.Refusal.Reason == "" || it.Refusal.Detail == "" {
			t.Fatalf("%s: refused, but evidence %d bytes, %d statements, %q", it.Place, len(it.Evidence), len(it.Statements), it.Refusal.Error())
		}
		return
	}
	if len(it.Statements) == 0 || len(it.Evidence) == 0 {
		t.Fatalf("%s: accepted without statements or evidence", it.Place)
	}
	for _, d := range it.Statements {
		payload, err := statement.Format(d.Subjects, d.Predicate)
		if err != nil {
			t.Fatalf("%s: %v", it.Place, err)
		}
		if _, err := statement.Parse(payload); err != nil {
			t.Fatalf("%s: %v\n%.2000s", it.Place, err, payload)
		}
		ev := statement.EvidenceOf(d.Predicate)
		if len(ev) != 1 || ev[0].Digest["sha256"] != fmt.Sprintf("%x", sha256.Sum256(it.Evidence)) || ev[0].Size != int64(len(it.Evidence)) {
			t.Fatalf("%s: the evidence is not that of the Item", it.Place)
		}
	}
}

// Show writes an Item in short.
func Show(b *strings.Builder, it importer.Item) {
	if it.Refusal != nil {
		fmt.Fprintf(b, "%s refused, %s\n", it.Place, it.Refusal.Error())
		return
	}
	fmt.Fprintf(b, "%s accepted\n", it.Place)
	for _, d := range it.Statements {
		switch p := d.Predicate.(type) {
		case *statement.Activity:
			fmt.Fprintf(b, "  activity %s %s %s\n", p.Kind, p.ID, p.State)
			subjects(b, d.Subjects)
			if p.Plan != nil {
				fmt.Fprintf(b, "    plan %s\n", p.Plan.Ref)
			}
			for _, u := range p.Used {
				fmt.Fprintf(b, "    used %s%s %s\n", u.Ref, digests(u.Digest), u.Role)
			}
			texts(b, "parameter", p.Parameters)
		case *statement.Registry:
			fmt.Fprintf(b, "  registry %s: %s %s\n", p.Registry, p.Name, p.Alias)
			subjects(b, d.Subjects)
		case *statement.Entity:
			fmt.Fprintf(b, "  entity %s\n", p.State)
			subjects(b, d.Subjects)
			for _, x := range [][2]string{{"licence", p.Licence}, {"description", p.Description}} {
				if x[1] != "" {
					fmt.Fprintf(b, "    %s %s\n", x[0], x[1])
				}
			}
			for _, r := range p.PartOf {
				fmt.Fprintf(b, "    part of %s\n", r.Ref)
			}
			for _, x := range p.Derived {
				fmt.Fprintf(b, "    derived %s (%s)\n", x.To.Ref, x.Rule)
				for _, f := range x.From {
					fmt.Fprintf(b, "      from %s%s %s\n", f.Ref, digests(f.Digest), f.Transformation)
				}
			}
			texts(b, "attribute", p.Attributes)
		}
	}
	for _, n := range it.Notes {
		fmt.Fprintf(b, "  note: %s\n", n)
	}
	ev := statement.EvidenceOf(it.Statements[0].Predicate)[0]
	for _, p := range ev.Redacted {
		fmt.Fprintf(b, "  redacted: %s\n", p)
	}
}

func subjects(b *strings.Builder, list []statement.Subject) {
	for _, s := range list {
		fmt.Fprintf(b, "    subject %s%s\n", s.Name, digests(s.Digest))
	}
}

func digests(d statement.DigestSet) string {
	var out []string
	for alg, h := range d {
		if alg != statement.RefDigest {
			out = append(out, " ["+alg+" "+h[:min(len(h), 12)]+"]")
		}
	}
	sort.Strings(out)
	return strings.Join(out, "")
}

func texts(b *strings.Builder, name string, m map[string]string) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Fprintf(b, "    %s %s=%s\n", name, k, strings.ReplaceAll(m[k], "\n", "; "))
	}
}

// Claimed lists the files of the fixtures that the importer recognises, as
// slash paths. Without fixtures the test is skipped.
func Claimed(t testing.TB, im importer.Importer) []string {
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
	var out []string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return err
		}
		head := make([]byte, min(st.Size(), importer.HeadSize))
		if _, err := f.Read(head); err != nil && st.Size() > 0 {
			return err
		}
		if im.Recognise(importer.NewHead(filepath.ToSlash(p), st.Size(), head)) {
			rel, _ := filepath.Rel(dir, p)
			out = append(out, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
