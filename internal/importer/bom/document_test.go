package bom

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
)

func TestUnits(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"a":1}`, `line 1 {"a":1}`},
		{"\xef\xbb\xbf {\"a\":[1, {\"b\":2}]} \n{\"c\":\"}\"}", "line 1 {\"a\":[1, {\"b\":2}]}\nline 2 {\"c\":\"}\"}"},
		{`[{"a":1},{}]`, "[0] {\"a\":1}\n[1] {}"},
		{`[]`, "line 1 empty"},
		{``, "line 1 empty"},
		{`{"a":1`, "line 1 truncated-json"},
		{`{"a":1} x`, "line 1 {\"a\":1}\nline 1 malformed-json"},
		{`[1]`, "line 1 malformed-json"},
		{"\xff\xfe{", "line 1 not-json"},
		{`{"a":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`, "line 1 too-deep"},
	} {
		var got []string
		for _, u := range Units([]byte(c.in)) {
			if u.Refusal != nil {
				got = append(got, u.Place+" "+u.Refusal.Reason)
			} else {
				got = append(got, u.Place+" "+string(u.Doc.Raw()))
			}
		}
		if diff := cmp.Diff(c.want, strings.Join(got, "\n")); diff != "" {
			t.Errorf("%.60s (-want +got):\n%s", c.in, diff)
		}
	}
}

func TestRedacted(t *testing.T) {
	in := `{"a":[{"name":"TOKEN","value":"abc"},"x"],"environmentVars":[{"name":"A","value":"b"}], "b":{"password":"p", "q":[{"key":"api_key","value":"v"}]},"c":1}`
	want := `{"a":[{"name":"TOKEN","value":"[redacted]"},"x"],"environmentVars":[{"name":"A","value":"[redacted]"}], "b":{"password":"[redacted]", "q":[{"key":"api_key","value":"[redacted]"}]},"c":1}`
	kept, paths := Units([]byte(in))[0].Doc.Redacted()
	if diff := cmp.Diff(want, string(kept.Raw())); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a[0].value", "environmentVars[0].value", "b.password", "b.q[0].value"}, paths); diff != "" {
		t.Error(diff)
	}
}

func TestPurl(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"pkg:npm/%40scope/a@1.0.0", "pkg:npm/@scope/a@1.0.0"},
		{"PKG:NPM/a@1", "pkg:npm/a@1"},
		{"pkg://pypi/x@1?y=%zz", "pkg:pypi/x@1?y=%25zz"},
		{"pkg:npm", ""},
		{"npm/a", ""},
	} {
		r, ok := PurlRef(c.in)
		if got := r.String(); ok && got != c.want || ok != (c.want != "") {
			t.Errorf("%s gives %s, want %s", c.in, got, c.want)
		}
	}
	var oci Thing
	r, _ := PurlRef("pkg:oci/app@sha256%3A" + strings.Repeat("a", 64) + "?arch=amd64")
	if oci.Purl(r); oci.Digest.Content() != prov.DigestRef("sha256", strings.Repeat("a", 64)) {
		t.Errorf("%v", oci)
	}
}

// FuzzUnits: a document is JSON, its members are found as a JSON library finds
// them, and what is kept of it is JSON.
func FuzzUnits(f *testing.F) {
	f.Add([]byte(`{"a":[1,[2],{"b":"]"},"\""],"c":{"name":"PASSWORD","value":"x"},"c":2}`))
	f.Add([]byte(`[{"a":[]},{"a":[ ]}] {"b":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, u := range Units(data) {
			if u.Refusal != nil {
				continue
			}
			if !json.Valid(u.Doc.Raw()) {
				t.Fatalf("%q is no JSON", u.Doc.Raw())
			}
			for _, name := range u.Doc.Names() {
				n, whole := 0, rawjson.Parse(u.Doc.Raw()).Root().Get(name)
				for i, e := range u.Doc.Each(name) {
					if i != n || !json.Valid(e.Raw()) {
						t.Fatalf("%s[%d]: %q", name, i, e.Raw())
					}
					n++
				}
				want := 0
				if whole.Kind() == '[' {
					for range whole.All() {
						want++
					}
				}
				if n != want || u.Doc.Kind(name) != whole.Kind() {
					t.Fatalf("%q has %d elements, want %d", name, n, want)
				}
			}
			if kept, _ := u.Doc.Redacted(); !json.Valid(kept.Raw()) {
				t.Fatalf("what is kept is no JSON: %q", kept.Raw())
			}
		}
	})
}
