// Package inventorytest writes what importers of inventories make of an input
// as text, for tests.
package inventorytest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/bom/bomtest"
	"github.com/stemma-lineage/stemma/statement"
)

// Show writes the Items of an input, each held to the contract of package
// importer: its refusal, or what was redacted, its notes and its statements
// without their evidence.
func Show(t *testing.T, im importer.Importer, data []byte) string {
	t.Helper()
	var b strings.Builder
	for _, it := range bomtest.Read(t, im, data) {
		if it.Refusal != nil {
			fmt.Fprintf(&b, "%s: refused: %s\n", it.Place, it.Refusal.Error())
			continue
		}
		fmt.Fprintf(&b, "%s: accepted\n", it.Place)
		for i, d := range it.Statements {
			ev := statement.EvidenceOf(d.Predicate)
			if i == 0 && len(ev) > 0 && len(ev[0].Redacted) > 0 {
				fmt.Fprintf(&b, "  redacted %s\n", strings.Join(ev[0].Redacted, ", "))
			}
			show(t, &b, d)
		}
		for _, n := range it.Notes {
			fmt.Fprintf(&b, "  note: %s\n", n)
		}
	}
	return b.String()
}

func show(t *testing.T, b *strings.Builder, d importer.Draft) {
	t.Helper()
	var names []string
	for _, s := range d.Subjects {
		name := s.Name
		if h := s.Digest["sha256"]; h != "" {
			name += " sha256:" + h
		}
		names = append(names, name)
	}
	raw, err := statement.Format(d.Subjects, d.Predicate)
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		PredicateType string
		Predicate     map[string]any
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	delete(s.Predicate, "evidence")
	items, _ := s.Predicate["items"].([]any)
	delete(s.Predicate, "items")
	fmt.Fprintf(b, "  %s about %s\n", strings.TrimPrefix(s.PredicateType, statement.Base), strings.Join(names, ", "))
	fmt.Fprintf(b, "    %s\n", text(t, s.Predicate))
	for _, it := range items {
		fmt.Fprintf(b, "    - %s\n", text(t, it))
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}
