package prov

import (
	"strings"
	"testing"
)

func TestRefs(t *testing.T) {
	for _, c := range []struct {
		text string
		want Ref
	}{
		{"model:fraud@7", Ref{Kind: Model, Name: "fraud", Version: "7"}},
		{"dataset:s3://lake/tx@2026-03", Ref{Kind: Dataset, Name: "s3://lake/tx", Version: "2026-03"}},
		{"sa:prod/scorer", Ref{Kind: ServiceAccount, Name: "prod/scorer"}},
		{"person:ann@acme.example", Ref{Kind: Person, Name: "ann@acme.example"}},
		{"dataset:a%40b%20c@1", Ref{Kind: Dataset, Name: "a@b c", Version: "1"}},
		{"pkg:npm/left-pad@1.3.0", Ref{Kind: Package, Name: "npm/left-pad@1.3.0"}},
		{"x-robot:r2@d2", Ref{Kind: "x-robot", Name: "r2", Version: "d2"}},
		{"model:日本語", Ref{Kind: Model, Name: "日本語"}},
		{"sha256:" + strings.Repeat("ab", 32), DigestRef("sha256", strings.Repeat("ab", 32))},
	} {
		got, err := ParseRef(c.text)
		if err != nil || got != c.want || got.String() != c.text {
			t.Errorf("ParseRef(%q) = %+v, %v, written again %q", c.text, got, err, got)
		}
	}
	for _, bad := range []string{"", "model", "model:", "model:@1", "model:a@", "modle:a", "sha256:ab", "model:%zz", "model:a%4", "x-:a", "X-a:b", "model:\xff", "model:" + strings.Repeat("a", MaxRef), "model:" + strings.Repeat("\x16", MaxRef/2)} {
		if r, err := ParseRef(bad); err == nil {
			t.Errorf("ParseRef(%q) = %+v, should be refused", bad, r)
		}
	}
}

// Two pairs may share a text, never a key.
func TestKeysDiffer(t *testing.T) {
	a := Ref{Kind: Dataset, Namespace: "a/b", Name: "c"}
	b := Ref{Kind: Dataset, Namespace: "a", Name: "b/c"}
	if a.String() != b.String() || a.Key() == b.Key() {
		t.Errorf("texts %q %q, keys %q %q", a, b, a.Key(), b.Key())
	}
	for _, r := range []Ref{a, b, {Kind: Dataset, Name: "a/b/c"}, {Kind: Column, Namespace: "n@%", Name: "x#y", Version: "1"}} {
		if got, err := ParseKey(r.Key()); err != nil || got != r {
			t.Errorf("ParseKey(%q) = %+v, %v", r.Key(), got, err)
		}
	}
}

func TestColumns(t *testing.T) {
	d := Ref{Kind: Dataset, Namespace: "n", Name: "a#b", Version: "3"}
	got, field, ok := ColumnOf(d, "f#g%").SplitColumn()
	if !ok || got != d || field != "f#g%" {
		t.Errorf("got %+v %q %v", got, field, ok)
	}
}

func FuzzParseRef(f *testing.F) {
	f.Add("model:fraud@7")
	f.Add("dataset:a%40b@1")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRef(s)
		if err != nil {
			return
		}
		again, err := ParseRef(r.String())
		if err != nil || again != r {
			t.Fatalf("%q gives %+v, written %q, read again %+v, %v", s, r, r, again, err)
		}
		if k, err := ParseKey(r.Key()); err != nil || k != r {
			t.Fatalf("key of %q: %+v, %v", s, k, err)
		}
	})
}
