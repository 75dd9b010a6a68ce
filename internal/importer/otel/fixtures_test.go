package otel

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/statement"
)

// TestFixtures claims the fixtures that are traces, and no other file, and
// shows what they give.
func TestFixtures(t *testing.T) {
	root := importertest.Fixtures(t)
	var out strings.Builder
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		head := make([]byte, importer.HeadSize)
		n, _ := f.Read(head)
		st, err := f.Stat()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		rel = filepath.ToSlash(rel)
		if !(Importer{}).Recognise(importer.NewHead(rel, st.Size(), head[:n])) {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "== %s\n%s", rel, counts(readAll(t, data, Options{})))
		for _, max := range []int64{1 << 10, 64 << 10} { // in parts: nothing may be lost but by a word
			for it, err := range Read(bytes.NewReader(data), Options{MaxDocument: max}) {
				if err != nil {
					return err
				}
				importertest.Check(t, it)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	importertest.Golden(t, "fixtures.txt", out.String())
}

// counts writes how many statements of each sort Items make, and what is said
// of agents.
func counts(items []importer.Item) string {
	n := map[string]int{}
	var agents strings.Builder
	for _, it := range items {
		if it.Refusal != nil {
			n["refused "+it.Refusal.Reason]++
			continue
		}
		n["accepted"]++
		for _, d := range it.Statements {
			switch p := d.Predicate.(type) {
			case *statement.Activity:
				n["activity "+p.Kind]++
			case *statement.Entity:
				n["entity "+p.State]++
				for _, r := range p.SameAs {
					fmt.Fprintf(&agents, "  %s same as %s: %s\n", d.Subjects[0].Name, r.Ref, p.Attributes["same-as "+r.Ref])
				}
			case *statement.Delegation:
				fmt.Fprintf(&agents, "  delegation %s -> %s for %s\n", p.Parent, p.Child, p.OnBehalfOf)
			}
		}
		for _, note := range it.Notes {
			fmt.Fprintf(&agents, "  note: %s\n", note)
		}
	}
	keys := make([]string, 0, len(n))
	for k := range n {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "  %s: %d\n", k, n[k])
	}
	return b.String() + agents.String()
}
