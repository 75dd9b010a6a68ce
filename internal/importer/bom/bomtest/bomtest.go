// Package bomtest holds importers of bills of materials and inventories to the contract of
// package importer, and writes what they make of an input as text.
package bomtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/statement"
)

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

// Check holds an Item to the contract of package importer, and to what holds
// for documents: statements are small, and say what signatures are worth.
func Check(t testing.TB, it importer.Item) {
	t.Helper()
	importertest.Check(t, it)
	for _, d := range it.Statements {
		if payload, err := statement.Format(d.Subjects, d.Predicate); err != nil || len(payload) > statement.MaxPayload/2 {
			t.Fatalf("%s: a statement of %d bytes: %v", it.Place, len(payload), err)
		}
		if statement.EvidenceOf(d.Predicate)[0].Verified == nil {
			t.Fatalf("%s: the evidence does not say what its signatures are worth", it.Place)
		}
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
