package rawyaml

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

func TestRead(t *testing.T) {
	for _, c := range []struct{ name, in, want, kept string }{
		{"scalars", "a: 1\nb: 1e-5\nc: 0x10\nd: no\ne: ~\nf: 2017-01-01\ng: 12345678901234567890\nh: '1'\n",
			`{"a":1,"b":1e-5,"c":"0x10","d":"no","e":null,"f":"2017-01-01","g":12345678901234567890,"h":"1"}`, ""},
		{"alias", "a: &x [1, 2]\nb: *x\n", `{"a":[1,2],"b":[1,2]}`, ""},
		{"twice", "a: 1\na: 2\n", `{"a":1,"a":2}`, ""},
		{"named secret", "db:\n  password: hunter2\n  max_token: 512\n", `{"db":{"password":"[redacted]","max_token":512}}`, "{\"db\":{\"password\":\"[redacted]\",\"max_token\":512}}\n"},
		{"secret in text", "cmd: fetch --token=abcdefgh x\n", `{"cmd":"fetch --token=[redacted] x"}`, "cmd: fetch --token=[redacted] x\n"},
		{"nothing", "# only a comment\n", "", ""},
	} {
		f, err := Read([]byte(c.in))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, string(f.Root.Raw())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if c.kept == "" {
			c.kept = c.in
		}
		if diff := cmp.Diff(c.kept, string(f.Kept)); diff != "" {
			t.Errorf("%s: kept (-want +got):\n%s", c.name, diff)
		}
		if again, err := Read(f.Kept); err != nil || string(again.Root.Raw()) != string(f.Root.Raw()) {
			t.Errorf("%s: what is kept says something else: %s, %v", c.name, again.Root.Raw(), err)
		}
	}
}

func TestLimits(t *testing.T) {
	var laughs strings.Builder
	laughs.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&laughs, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 8), i-1)
	}
	for name, in := range map[string]string{
		"aliases": laughs.String(),
		"deep":    strings.Repeat("[", 200) + strings.Repeat("]", 200),
		"long":    strings.Repeat("#", MaxBytes+1),
	} {
		if _, err := Read([]byte(in)); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, in := range []string{"a: [", "\t- x", "? [a]\n: b\n", "\xff\xfe"} {
		if _, err := Read([]byte(in)); err == nil {
			t.Errorf("%q is read", in)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{"a: 1\n", "a: &x [1]\nb: *x\n", "x: |\n  y\n", "password: p\n", "- {a: b}\n", "a: !!float .inf\n", "? a\n: b\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		file, err := Read(in)
		if err != nil || file.Root.Kind() == 0 {
			return
		}
		for v, err := range rawjson.Split(strings.NewReader("["+string(file.Root.Raw())+"]"), 64<<20) {
			if err != nil || v.Fault != nil {
				t.Fatalf("%q became no JSON: %v %v", in, err, v.Fault)
			}
		}
		again, err := Read(file.Kept)
		if err != nil {
			t.Fatalf("%q: what is kept cannot be read: %v", in, err)
		}
		if string(again.Root.Raw()) != string(file.Root.Raw()) {
			t.Fatalf("%q: what is kept says %s instead of %s", in, again.Root.Raw(), file.Root.Raw())
		}
	})
}
