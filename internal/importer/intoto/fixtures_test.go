package intoto

import (
	"bytes"
	"crypto/sha256"
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
	"github.com/stemma-lineage/stemma/internal/importer/sigstore"
	"github.com/stemma-lineage/stemma/statement"
)

// fixtures gives the directory of all fixtures, or skips the test.
func fixtures(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("STEMMA_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "fixtures")
	}
	if _, err := os.Stat(filepath.Join(dir, "supplychain")); err != nil {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatalf("the fixtures are missing: %v; set STEMMA_FIXTURES", err)
		}
		t.Skipf("the fixtures are missing: %v; set STEMMA_FIXTURES", err)
	}
	return dir
}

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

// checkItem holds an Item to the contract of package importer.
func checkItem(t testing.TB, it importer.Item) {
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
		if ev[0].Verified == nil || ev[0].Verified.Result == "" {
			t.Fatalf("%s: the evidence does not say what its signatures are worth", it.Place)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if flag.Lookup("rewrite").Value.String() == "true" { // the flag of datadriven
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

// claimed lists the fixture files that Recognise says yes to.
func claimed(t *testing.T, root string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		head := make([]byte, importer.HeadSize)
		n, _ := f.Read(head)
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if rel = filepath.ToSlash(rel); (Importer{}).Recognise(importer.NewHead(rel, int64(n), head[:n])) {
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

// TestFixtures lists every fixture file of any format that is claimed, and
// what it gives without trust: accepted with how many statements of each kind,
// or refused with the reason.
func TestFixtures(t *testing.T) {
	root := fixtures(t)
	var out strings.Builder
	accepted, refused := 0, 0
	for _, f := range claimed(t, root) {
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
	golden(t, "fixtures.txt", out.String())
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
	root := fixtures(t)
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
	for _, f := range claimed(t, root) {
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
	golden(t, "verified.txt", out.String())
}
