package intoto

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// TestNoSecretIsKept looks for the secrets that real fixtures hold, in the
// evidence, in the payload within it, and in the statements.
func TestNoSecretIsKept(t *testing.T) {
	root := importertest.Fixtures(t)
	secrets := [][]byte{[]byte("glcbt-65"), []byte("sk-conformance000")}
	found := 0
	err := filepath.WalkDir(filepath.Join(root, "supplychain"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, it := range readItems(t, data, Options{}) {
			if it.Refusal != nil {
				continue
			}
			texts := [][]byte{it.Evidence}
			if n, _ := hold(rawjson.Parse(it.Evidence).Root()).payload(); n.Given() {
				p, err := decode(n.Text())
				if err != nil {
					t.Errorf("%s: %v", path, err)
				}
				texts = append(texts, p)
			}
			for _, d := range it.Statements {
				p, _ := statement.Format(d.Subjects, d.Predicate)
				texts = append(texts, p)
			}
			for _, text := range texts {
				for _, s := range secrets {
					if bytes.Contains(text, s) {
						t.Errorf("%s: %s… is kept", path, s)
					}
				}
				found += bytes.Count(text, []byte("[redacted]"))
			}
		}
		return nil
	})
	if err != nil || found == 0 {
		t.Errorf("redacted %d: %v", found, err)
	}
}

// TestOffsets checks that an Item of a list tells which bytes it covers.
func TestOffsets(t *testing.T) {
	st := func(name string) string {
		return fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":%q,"digest":{"sha256":%q}}],"predicateType":"x","predicate":{}}`, name, digest)
	}
	in := "\n [" + st("a") + ", {\"attestations\": [ " + st("b") + " ,\n" + st("c") + "]}]"
	names := ""
	for _, it := range readItems(t, []byte(in), Options{}) {
		if got := in[it.Offset : it.Offset+it.Bytes]; got != string(it.Evidence) {
			t.Errorf("%s covers %q, but keeps %q", it.Place, got, it.Evidence)
		}
		names += it.Statements[0].Subjects[0].Name + " "
	}
	if names != "file:a file:b file:c " {
		t.Errorf("read %s", names)
	}
}

// TestModelSigningIsLeft checks that what another importer claims is left to
// it, also where the mark is in the payload.
func TestModelSigningIsLeft(t *testing.T) {
	st := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"m","digest":{"sha256":"` + digest + `"}}],"predicate":{"x":"` + strings.Repeat("y", 3000) + `"},"predicateType":"https://model_signing/signature/v1.0"}`
	for name, want := range map[string]bool{st: false, string(envelope(st)): false, strings.ReplaceAll(st, "model_signing", "other"): true,
		string(envelope(strings.ReplaceAll(st, "model_signing", "other"))): true, `{"bundle":` + string(envelope("{}")) + `}`: true, `{"bundle":{"a":1}}`: false} {
		if got := (Importer{}).Recognise(importer.NewHead("x", int64(len(name)), []byte(name))); got != want {
			t.Errorf("%.80s: %v", name, got)
		}
	}
}

func TestNames(t *testing.T) {
	content := digests{set: statement.DigestSet{"sha256": digest}}
	commit := digests{set: statement.DigestSet{"gitCommit": "ab"}, commit: "ab"}
	for _, x := range []struct {
		name string
		d    digests
		want string
	}{
		{"pkg:npm/%40acme/x@1", content, "pkg:npm/@acme/x@1"},
		{"purl+pkg:pypi/x@1", content, "pkg:pypi/x@1"},
		{"pkg:bad/%zz", content, "pkg:bad/%25zz"},
		{"git+https://user:pw@GitHub.com/acme/x.git@refs/heads/main", digests{}, "code:https://github.com/acme/x@refs/heads/main"},
		{"git@github.com:acme/x.git", commit, "code:https://github.com/acme/x@ab"},
		{"ssh://git@git.example/a/b/c.git", commit, "code:https://git.example/a/b/c@ab"},
		{"https://github.com/acme/x/commit/ab", commit, "code:https://github.com/acme/x@ab"},
		{"https://github.com/acme/x/releases/download/v1/x.tgz", content, "file:https://github.com/acme/x/releases/download/v1/x.tgz"},
		{"refs/heads/main", commit, "code:git@ab"},
		{"", commit, "code:git@ab"},
		{"ghcr.io/acme/x:1.2", content, "image:ghcr.io/acme/x"},
		{"localhost:5000/x", content, "image:localhost:5000/x"},
		{"docker://alpine:3", content, "image:alpine"},
		{"ghcr.io/acme/x@sha256:" + digest, digests{}, "image:ghcr.io/acme/x"},
		{"ghcr.io/acme/x", digests{}, "file:ghcr.io/acme/x"},
		{"example.com/x/y.tgz", content, "file:example.com/x/y.tgz"},
		{"github.com/acme/x", content, "file:github.com/acme/x"},
		{"dist.d/x", content, "file:dist.d/x"},
		{"https://u:p@example.com/a?b#c", content, "file:https://example.com/a?b#c"},
		{"weights/m.safetensors", content, "model:weights/m.safetensors"},
		{"s3://lake/a b@c.parquet", content, "dataset:s3://lake/a%20b%40c.parquet"},
		{"", content, ":"},
	} {
		if got := named(x.name, x.d, "").String(); got != x.want {
			t.Errorf("%q is %s, not %s", x.name, got, x.want)
		} else if x.name != "" {
			if _, err := prov.ParseRef(got); err != nil {
				t.Error(err)
			}
		}
	}
}
