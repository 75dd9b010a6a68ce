// Package bomtest holds importers of bills of materials to the contract of
// package importer, and writes what they make of an input as text.
package bomtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/statement"
)

// Fixtures gives the directory of fixtures, or skips the test.
func Fixtures(t testing.TB) string {
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

// Claimed lists the files below dir that the importer says are its own, as
// slash paths.
func Claimed(t testing.TB, im importer.Importer, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if im.Recognise(importer.NewHead(rel, int64(len(data)), data[:min(len(data), importer.HeadSize)])) {
			out = append(out, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(out)
	return out
}

// Read gives the Items of an input, each held to the contract.
func Read(t testing.TB, im importer.Importer, data []byte) []importer.Item {
	t.Helper()
	var out []importer.Item
	for it, err := range im.Read(importer.Source{Name: "input", R: bytes.NewReader(data)}) {
		if err != nil {
			t.Fatal(err)
		}
		Check(t, it)
		out = append(out, it)
	}
	if len(out) == 0 {
		t.Fatal("the input gave no Item")
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
	sum := fmt.Sprintf("%x", sha256.Sum256(it.Evidence))
	for _, d := range it.Statements {
		payload, err := statement.Format(d.Subjects, d.Predicate)
		if err != nil {
			t.Fatalf("%s: %v", it.Place, err)
		}
		if len(payload) > statement.MaxPayload/2 {
			t.Fatalf("%s: a statement of %d bytes", it.Place, len(payload))
		}
		if _, err := statement.Parse(payload); err != nil {
			t.Fatalf("%s: %v\n%.2000s", it.Place, err, payload)
		}
		ev := statement.EvidenceOf(d.Predicate)
		if len(ev) != 1 || ev[0].Digest["sha256"] != sum || ev[0].Size != int64(len(it.Evidence)) || ev[0].Verified == nil {
			t.Fatalf("%s: the evidence is not that of the Item", it.Place)
		}
	}
}

// Golden compares text with a file in testdata; -rewrite writes it anew.
func Golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if f := flag.Lookup("rewrite"); f != nil && f.Value.String() == "true" { // the flag of datadriven
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -rewrite writes it anew):\n%s", name, diff)
	}
}

// Account tells what each file gives: accepted or refused for which reason,
// and how many statements of each type.
func Account(t *testing.T, im importer.Importer, dir string, files []string) string {
	t.Helper()
	var out strings.Builder
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f)))
		if err != nil {
			t.Fatal(err)
		}
		types, reasons, ok, notes := map[string]int{}, map[string]int{}, 0, []string(nil)
		for _, it := range Read(t, im, data) {
			if it.Refusal != nil {
				reasons[it.Refusal.Error()]++
				continue
			}
			ok++
			notes = append(notes, it.Notes...)
			for _, d := range it.Statements {
				name := strings.TrimPrefix(d.Predicate.PredicateType(), statement.Base)
				if e, is := d.Predicate.(*statement.Entity); is {
					name += " " + e.State
				}
				types[name]++
			}
		}
		fmt.Fprintf(&out, "%s\n\taccepted %d%s\n", f, ok, counts(types))
		if len(reasons) > 0 {
			fmt.Fprintf(&out, "\trefused%s\n", counts(reasons))
		}
		for _, n := range notes {
			fmt.Fprintf(&out, "\tnote: %s\n", n)
		}
	}
	return out.String()
}

func counts(m map[string]int) string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "; %s × %d", k, m[k])
	}
	return b.String()
}

// Text writes Items for a reviewer: a line for what is said of each thing, and
// one for each tie.
func Text(items []importer.Item) string {
	var b strings.Builder
	for _, it := range items {
		if it.Refusal != nil {
			fmt.Fprintf(&b, "%s refused %s\n", it.Place, it.Refusal.Error())
			continue
		}
		fmt.Fprintf(&b, "%s accepted\n", it.Place)
		for i, d := range it.Statements {
			if i == 0 {
				ev := statement.EvidenceOf(d.Predicate)[0]
				fmt.Fprintf(&b, "evidence %s, %s", ev.MediaType, ev.Verified.Result)
				if ev.Verified.Reason != "" {
					fmt.Fprintf(&b, " (%s)", ev.Verified.Reason)
				}
				for _, r := range ev.Redacted {
					fmt.Fprintf(&b, ", redacted %s", r)
				}
				b.WriteByte('\n')
			}
			draft(&b, d)
		}
		for _, n := range it.Notes {
			fmt.Fprintf(&b, "note: %s\n", n)
		}
	}
	return b.String()
}

func draft(b *strings.Builder, d importer.Draft) {
	var about []string
	for _, s := range d.Subjects {
		about = append(about, name(s.Name, s.Digest))
	}
	typ := strings.TrimPrefix(d.Predicate.PredicateType(), statement.Base)
	raw, _ := json.Marshal(d.Predicate) // sorts the keys of maps
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(raw, &fields)
	delete(fields, "evidence")
	keys := make([]string, 0, len(fields))
	for k := range fields {
		if k != "attributes" && k != "parameters" && k != "derived" && !strings.HasSuffix(string(fields[k]), "0001-01-01T00:00:00Z\"") && string(fields[k]) != `""` {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	fmt.Fprintf(b, "- %s: %s\n", typ, strings.Join(about, " "))
	for _, k := range keys {
		fmt.Fprintf(b, "    %s %s\n", k, strings.Trim(string(fields[k]), `"`))
	}
	var attrs map[string]string
	for _, k := range []string{"attributes", "parameters"} {
		if json.Unmarshal(fields[k], &attrs) != nil {
			continue
		}
		names := make([]string, 0, len(attrs))
		for n := range attrs {
			names = append(names, n)
		}
		sort.Strings(names)
		for _, n := range names {
			fmt.Fprintf(b, "    %s: %s\n", n, attrs[n])
		}
		attrs = nil
	}
	if e, ok := d.Predicate.(*statement.Entity); ok {
		for _, x := range e.Derived {
			for _, f := range x.From {
				fmt.Fprintf(b, "    %s <- %s (%s)\n", name(x.To.Ref, x.To.Digest), name(f.Ref, f.Digest), f.Transformation)
			}
		}
	}
}

func name(ref string, d statement.DigestSet) string {
	if c := d.Content(); !c.IsZero() && ref != c.String() {
		return ref + "=" + string(c.Kind) + ":" + c.Name[:8] + "…"
	}
	return ref
}
