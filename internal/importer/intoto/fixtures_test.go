package intoto

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/internal/importer/sigstore"
	"github.com/stemma-lineage/stemma/statement"
)

func readItems(t testing.TB, data []byte, o Options) []importer.Item {
	t.Helper()
	var out []importer.Item
	for it, err := range Read(bytes.NewReader(data), o) {
		if err != nil {
			t.Fatal(err)
		}
		checkItem(t, it)
		out = append(out, it)
	}
	return out
}

// TestFixtures lists every fixture file of any format that is claimed, and
// what it gives without trust: accepted with how many statements of each kind,
// or refused with the reason.
func TestFixtures(t *testing.T) {
	root := importertest.Fixtures(t)
	var out strings.Builder
	accepted, refused := 0, 0
	for _, f := range importertest.Claimed(t, Importer{}) {
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(f)))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\n", f)
		for _, it := range readItems(t, data, Options{}) {
			if it.Refusal != nil {
				refused++
				fmt.Fprintf(&out, "\trefused %s: %s\n", it.Refusal.Reason, strings.SplitN(it.Refusal.Detail, ": ", 2)[0])
				continue
			}
			accepted++
			types := map[string]int{}
			for _, d := range it.Statements {
				types[kind(d)]++
			}
			check := statement.EvidenceOf(it.Statements[0].Predicate)[0].Verified.Result
			fmt.Fprintf(&out, "\t%s%s\n", check, counts(types))
		}
	}
	fmt.Fprintf(&out, "total: accepted %d, refused %d\n", accepted, refused)
	importertest.Golden(t, "fixtures.txt", out.String())
}

func kind(d importer.Draft) string {
	name := strings.TrimPrefix(d.Predicate.PredicateType(), statement.Base)
	switch p := d.Predicate.(type) {
	case *statement.Entity:
		name += " " + p.State
	case *statement.Activity:
		name += fmt.Sprintf(" %s used=%d", p.Kind, len(p.Used))
	}
	return fmt.Sprintf("%s of %d", name, len(d.Subjects))
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

// TestVerified lists what the signatures of the fixtures are worth to one who
// trusts every root and key that lies beside them. What is named FAIL must
// never be verified.
func TestVerified(t *testing.T) {
	root := importertest.Fixtures(t)
	var files []sigstore.File
	for _, pattern := range []string{"*.pub", "*trusted_root.json", "trusted-root*.json"} {
		found, err := filepath.Glob(filepath.Join(root, "supplychain", "sigstore_sigstore-*", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, sigstore.File{Name: filepath.Base(f), Data: data})
		}
	}
	trust, err := sigstore.NewTrust(files...)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, f := range importertest.Claimed(t, Importer{}) {
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(f)))
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range readItems(t, data, Options{Trust: trust}) {
			if it.Refusal != nil {
				continue
			}
			v := statement.EvidenceOf(it.Statements[0].Predicate)[0].Verified
			if v.Result == statement.CheckUnsigned {
				continue
			}
			if v.Result == statement.CheckVerified && strings.Contains(f, "FAIL-") {
				t.Errorf("%s is verified", f)
			}
			if v.Result != statement.CheckVerified && v.Reason == "" {
				t.Errorf("%s is %s, and nobody knows why", f, v.Result)
			}
			fmt.Fprintf(&out, "%s\n\t%s\n", strings.TrimPrefix(f, "supplychain/"), strings.TrimSpace(v.Result+" "+v.Identity))
		}
	}
	importertest.Golden(t, "verified.txt", out.String())
}

// checkItem holds an Item to the contract of package importer; its evidence
// says what its signatures are worth.
func checkItem(t testing.TB, it importer.Item) {
	t.Helper()
	importertest.Check(t, it)
	for _, d := range it.Statements {
		if v := statement.EvidenceOf(d.Predicate)[0].Verified; v == nil || v.Result == "" {
			t.Fatalf("%s: the evidence does not say what its signatures are worth", it.Place)
		}
	}
}
