package statement

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/prov"
)

var testHide = Hide{Salt: []byte("0123456789abcdef"), Refs: []prov.Ref{{Kind: prov.Dataset, Name: "GONE"}}}

// TestReduce reads statements and what is kept of them: in testdata/reduce a
// file for each type, with an input and the result in two lines. Whatever is to
// go has GONE in it.
func TestReduce(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "reduce", "*.txt"))
	if err != nil || len(files) < 13 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		in, want, _ := strings.Cut(string(text), "\n----\n")
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(in)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s, err := Parse(compact.Bytes())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := Reduce(s, testHide)
		text2 := string(got)
		if err != nil {
			text2 = "error: " + err.Error()
		}
		if os.Getenv("REWRITE") != "" {
			if err := os.WriteFile(name, []byte(in+"\n----\n"+text2+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if d := cmp.Diff(strings.TrimSpace(want), text2); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if err != nil {
			continue
		}
		if strings.Contains(text2, "GONE") {
			t.Errorf("%s: something is left of what was to go: %s", name, got)
		}
		checkReduced(t, name, s, compact.Bytes(), got)
	}
}

// checkReduced wants what is kept to be a statement that ties as many things as
// before, and an order with it to be true of its entry.
func checkReduced(t *testing.T, name string, s *Statement, payload, kept []byte) {
	k, err := Parse(kept)
	if err != nil {
		t.Errorf("%s: what is kept is no statement: %v", name, err)
		return
	}
	was, is := Names(s), Names(k)
	if len(was) != len(is) {
		t.Errorf("%s: it tied %d things, and ties %d: %v, %v", name, len(was), len(is), was, is)
	}
	env, err := Unsigned(payload)
	if err != nil {
		t.Fatal(err)
	}
	content, err := FormatEntry(Entry{RecordedAt: time.Unix(1, 0), RecordedBy: "person:GONE", Envelope: env})
	if err != nil {
		t.Fatal(err)
	}
	x, err := Erase(3, content, testHide)
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckErased(content, x); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	order := &Erasure{Entries: []ErasedEntry{x}, Rule: KeepCore, Reason: "r", LegalBasis: "l", Role: "role:privacy"}
	b, err := Format([]Subject{{Digest: DigestSet{"sha256": x.Content}}}, order)
	if err != nil {
		t.Errorf("%s: the order: %v", name, err)
		return
	}
	again, err := Parse(b)
	if err != nil {
		t.Errorf("%s: the order: %v", name, err)
		return
	}
	one, err1 := order.Remainder(9, 0)
	two, err2 := again.Predicate.(*Erasure).Remainder(9, 0)
	if err1 != nil || err2 != nil || !bytes.Equal(one, two) {
		t.Errorf("%s: what is left depends on how the order was read: %v, %v\n%s\n%s", name, err1, err2, one, two)
	}
	if r, err := ParseRemainder(one); err != nil || !bytes.Equal(r.Keep, kept) {
		t.Errorf("%s: what is left cannot be read: %v", name, err)
	}
}

func TestPseudonyms(t *testing.T) {
	ann := prov.Ref{Kind: prov.Person, Name: "ann"}
	one, two := testHide.Ref(ann), Hide{Salt: []byte("fedcba9876543210")}.Ref(ann)
	if one == two || !IsPseudonym(one) || one != testHide.Ref(ann) {
		t.Errorf("pseudonyms %s and %s", one, two)
	}
	if testHide.Ref(one) != one {
		t.Error("a pseudonym got another")
	}
	for _, r := range []prov.Ref{{Kind: prov.ServiceAccount, Name: "ann"}, {Kind: prov.Dataset, Name: "d", Version: "1"}, prov.DigestRef("sha256", strings.Repeat("a", 64))} {
		if testHide.Ref(r) != r {
			t.Errorf("%s was hidden", r)
		}
	}
	d := prov.Ref{Kind: prov.Dataset, Namespace: "n", Name: "GONE", Version: "3"}
	h := Hide{Salt: testHide.Salt, Refs: []prov.Ref{{Kind: prov.Dataset, Name: "n/GONE"}}}
	x, c := h.Ref(d), h.Ref(prov.ColumnOf(d, "f"))
	if !IsPseudonym(x) || x.Version != "3" || x.Namespace != "" || !IsPseudonym(c) {
		t.Errorf("pseudonyms %v and %v", x, c)
	}
	if whole, field, ok := c.SplitColumn(); !ok || field != "f" || whole.Series() != x.Series() {
		t.Errorf("the column is %v, the dataset %v", c, x)
	}
}

// TestOrdersWithinOrders wants an order that keeps orders to be refused at
// once, however deep.
func TestOrdersWithinOrders(t *testing.T) {
	keep := `{}`
	for range 200 {
		keep = fmt.Sprintf(`{"_type":%q,"subject":[{"digest":{"sha256":%q}}],"predicateType":%q,"predicate":{"entries":[{"entry":1,"content":%q,"envelope":%q,"recordedAt":"2026-01-01T00:00:00.000000000Z","recordedBy":"","keep":%s}],"rule":"core/v1","reason":"r","legalBasis":"l","role":"r"}}`,
			Type, strings.Repeat("0", 64), ErasureType, strings.Repeat("0", 64), strings.Repeat("0", 64), keep)
	}
	if _, err := Parse([]byte(keep)); err == nil || !strings.Contains(err.Error(), "cannot be erased") {
		t.Errorf("it gives %v", err)
	}
}

func FuzzRemainder(f *testing.F) {
	f.Add([]byte(`{"erasedBy":9,"content":"` + strings.Repeat("0", 64) + `","envelope":"` + strings.Repeat("1", 64) + `","recordedAt":"2026-01-01T00:00:00.000000000Z","recordedBy":"person:x","keep":{"_type":"a"}}`))
	f.Add([]byte(`{"erasedBy":9}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRemainder(b)
		if err != nil {
			return
		}
		_ = r.Parsed()
		if !IsRemainder(b) {
			t.Errorf("%q is read as what is left of an entry, and does not look so", b)
		}
		if _, err := ParseEntry(b); err == nil {
			t.Errorf("%q is an entry too", b)
		}
	})
}
