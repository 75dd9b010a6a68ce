package sigstore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/cockroachdb/datadriven" // its flag -rewrite

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/statement"
)

// jsonFiles lists the JSON files of the fixtures, as slash paths.
func jsonFiles(t testing.TB, root string) []string {
	t.Helper()
	var out []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".json") {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// trustFor names the files that the sources of a fixture say it is checked
// with: what stands beside it under its own name, else the public-good root.
func trustFor(root, file string) []string {
	var out []string
	stem := strings.TrimSuffix(strings.TrimSuffix(file, ".json"), ".bundle")
	for _, f := range []string{stem + ".trusted_root.json", stem + ".key.pub"} {
		if _, err := os.Stat(filepath.Join(root, f)); err == nil {
			out = append(out, f)
		}
	}
	extra := map[string]string{
		"sigstore_sigstore-go/othername.sigstore.json": "sigstore_sigstore-go/trusted-root-scaffolding.json",
		"sigstore_sigstore-go/bundle-publish.json":     "sigstore_sigstore-go/publish_key.pub",
	}
	switch {
	case extra[file] != "":
		out = append(out, extra[file])
	case strings.HasPrefix(file, "sigstore_model-transparency/") && strings.Contains(file, "elliptic-key"):
		return []string{"sigstore_model-transparency/signing-key-pub.pem"}
	case strings.HasPrefix(file, "sigstore_model-transparency/") && strings.Contains(file, "certificate"):
		return []string{"sigstore_model-transparency/ca-cert.pem"}
	}
	if len(out) == 0 || !strings.HasSuffix(out[0], ".json") {
		out = append(out, "sigstore_sigstore-go/trusted-root-public-good.json")
	}
	return out
}

func loadTrust(t testing.TB, root string, names []string) *Trust {
	t.Helper()
	var files []File
	for _, n := range names {
		data, err := os.ReadFile(filepath.Join(root, n))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, File{n, data})
	}
	trust, err := NewTrust(files...)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// TestFixtures opens every signed fixture three times: with what its sources
// say it is checked with, with everything that is trust material at once, and
// with nothing. A file that begins with FAIL- must verify in none of them, one
// of Sigstore's that does not must verify in the first two, and none in the
// last.
func TestFixtures(t *testing.T) {
	root := importertest.Fixtures(t, "supplychain")
	var material []string
	for _, pattern := range []string{"*/*trusted*root*.json", "*/*.pub", "*/*pub*.pem", "*/ca-cert.pem"} {
		m, _ := filepath.Glob(filepath.Join(root, pattern))
		for _, f := range m {
			rel, _ := filepath.Rel(root, f)
			material = append(material, filepath.ToSlash(rel))
		}
	}
	everything := loadTrust(t, root, material)
	twoSignatures := map[string]bool{"sigstore_sigstore-go/dsse-2sigs.sigstore.json": true} // a bundle has one
	var out strings.Builder
	for _, f := range jsonFiles(t, root) {
		raw, err := os.ReadFile(filepath.Join(root, f))
		if err != nil {
			t.Fatal(err)
		}
		own := strings.HasPrefix(f, "sigstore_") && !strings.Contains(f, "trusted") && !strings.Contains(f, "statement")
		names := trustFor(root, f)
		o, err := loadTrust(t, root, names).Open(raw)
		if err != nil {
			if own || strings.Contains(string(raw), `"payloadType"`) {
				fmt.Fprintf(&out, "%s\n\trefused: %v\n", f, err)
			}
			continue
		}
		all, err := everything.Open(raw)
		if err != nil {
			t.Fatal(err)
		}
		none, err := (*Trust)(nil).Open(raw)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\n\twith %s\n", f, strings.Join(names, ", "))
		fmt.Fprintf(&out, "\t%s\n", describe(o))
		if a := describe(all); a != describe(o) {
			fmt.Fprintf(&out, "\twith everything: %s\n", a)
		}
		fmt.Fprintf(&out, "\twith nothing: %s\n", describe(none))
		verified := o.Check.Result == statement.CheckVerified
		if strings.Contains(f, "FAIL-") && (verified || all.Check.Result == statement.CheckVerified) {
			t.Errorf("%s must not verify", f)
		}
		if own && !strings.Contains(f, "FAIL-") && !twoSignatures[f] && !(verified && all.Check.Result == statement.CheckVerified) {
			t.Errorf("%s must verify: %+v, %+v", f, o.Check, all.Check)
		}
		if none.Check.Result == statement.CheckVerified {
			t.Errorf("%s verifies with nothing trusted", f)
		}
	}
	importertest.Golden(t, "fixtures.txt", out.String())
}

func describe(o Opened) string {
	s := o.Check.Result
	if o.Check.Identity != "" {
		s += " | " + o.Check.Identity
	}
	if !o.Time.IsZero() {
		s += " | at " + o.Time.String()
	}
	if o.Check.Reason != "" {
		s += " | " + o.Check.Reason
	}
	return s + " | " + o.Check.By
}

// TestArtifactDigest checks that a message signature gives the digest of what
// it signs.
func TestArtifactDigest(t *testing.T) {
	root := importertest.Fixtures(t, "supplychain")
	artifact, err := os.ReadFile(filepath.Join(root, "sigstore_sigstore-conformance", "a.txt"))
	if err != nil {
		t.Fatal(err)
	}
	f := "sigstore_sigstore-conformance/managed-key-ok.bundle.json"
	raw, err := os.ReadFile(filepath.Join(root, f))
	if err != nil {
		t.Fatal(err)
	}
	o, err := loadTrust(t, root, trustFor(root, f)).Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(artifact)
	if want := hex.EncodeToString(sum[:]); o.Digest["sha256"] != want || o.PayloadType != "" || !o.Bundle {
		t.Errorf("got %+v, want the digest %s", o, want)
	}
}

// TestRecognise lists the fixture files that are trust material, and holds the
// importer to claiming no other.
func TestRecognise(t *testing.T) {
	root := filepath.Dir(importertest.Fixtures(t, "supplychain"))
	var out strings.Builder
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return err
		}
		if !(Importer{}).Recognise(importer.NewHead(path, int64(len(data)), data[:min(len(data), importer.HeadSize)])) {
			return nil
		}
		for it, err := range (Importer{}).Read(importer.Source{Name: path, R: strings.NewReader(string(data))}) {
			if err != nil || it.Refusal == nil || it.Bytes != int64(len(data)) {
				t.Errorf("%s: %v, %+v", path, err, it)
				continue
			}
			fmt.Fprintf(&out, "%s\n\t%s\n", path, it.Refusal.Error())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	importertest.Golden(t, "recognise.txt", out.String())
}
