package statement

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const told = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"model:m@1","digest":{"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}],"predicateType":"https://stemma.dev/approval/v1","predicate":{"approver":"person:ann","comment":"GONE one","decision":"approve","evidence":[{"digest":{"sha256":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"},"name":"GONE two","notes":["GONE three"]}],"review":"risk","text":"GONE four","validUntil":"2027-01-01T00:00:00Z"}}`

func saltsFrom(seed uint64) func() ([]byte, error) {
	r := rand.New(rand.NewPCG(seed, 1))
	return func() ([]byte, error) {
		b := make([]byte, 16)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b, nil
	}
}

// TestDisclosureOfRFC9901 takes the example of RFC 9901 section 4.2.1 and the
// digest that section 4.2.3 gives of it.
func TestDisclosureOfRFC9901(t *testing.T) {
	const d = "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0"
	if got, want := disclosureDigest(d), "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"; got != want {
		t.Errorf("the digest is %s, RFC 9901 has %s", got, want)
	}
	if name, value, err := openDisclosure(d); err != nil || name != "family_name" || string(value) != `"Möbius"` {
		t.Errorf("it discloses %s = %s: %v", name, value, err)
	}
}

// TestWithhold withholds every set of fields, and wants any part of them to be
// put back, and the whole to be the statement that there was.
func TestWithhold(t *testing.T) {
	fields := []string{"comment", "evidence[0].name", "evidence[0].notes", "text"}
	for set := range 1 << len(fields) {
		var some []string
		for i, f := range fields {
			if set>>i&1 == 1 {
				some = append(some, f)
			}
		}
		out, ds, err := Withhold([]byte(told), some, saltsFrom(uint64(set)))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(out), "GONE"); n != len(fields)-len(some) {
			t.Errorf("%v: %d fields are left: %s", some, n, out)
		}
		s, err := Parse(out)
		if err != nil {
			t.Fatal(err)
		}
		if n := Withheld(s); n != len(some) {
			t.Errorf("%v: %d fields are said to be withheld", some, n)
		}
		for part := range 1 << len(ds) {
			var give []string
			for i, d := range ds {
				if part>>i&1 == 1 {
					give = append(give, d)
				}
			}
			back, left, err := Reveal(out, give)
			if err != nil || left != len(ds)-len(give) {
				t.Fatalf("%v, %d of them: %d are left: %v", some, len(give), left, err)
			}
			if left == 0 {
				if d := cmp.Diff(told, string(back)); d != "" {
					t.Errorf("%v: %s", some, d)
				}
			}
		}
	}
}

// TestWithholdRefuses wants nothing to be withheld that ties or decides
// something, and nothing that is not there.
func TestWithholdRefuses(t *testing.T) {
	activity := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}],"predicateType":"https://stemma.dev/activity/v1","predicate":{"id":"activity:a","kind":"train","used":[{"ref":"dataset:d"}],"state":"completed","parameters":{"a":"b"}}}`
	for payload, fields := range map[string][]string{
		told: {"decision", "review", "approver", "validUntil", "evidence", "evidence[0].digest", "evidence[1].name", "evidence[x].name", "evidence[0]",
			"none", "_sd", "", ".", "comment.x", "a.b.c", "[0]"},
		activity: {"id", "kind", "used", "used[0].ref", "state", "parameters.a"},
	} {
		for _, f := range fields {
			if out, _, err := Withhold([]byte(payload), []string{f}, saltsFrom(1)); !errors.Is(err, ErrWithheld) {
				t.Errorf("%q is withheld: %s, %v", f, out, err)
			}
		}
	}
	if _, _, err := Withhold([]byte(told), []string{"comment", "comment"}, saltsFrom(1)); !errors.Is(err, ErrWithheld) {
		t.Errorf("a field is withheld twice: %v", err)
	}
	if _, _, err := Withhold([]byte(told), []string{"comment"}, func() ([]byte, error) { return []byte("short"), nil }); err == nil {
		t.Error("a short salt is taken")
	}
	if _, _, err := Withhold([]byte(activity), []string{"parameters"}, saltsFrom(1)); err != nil {
		t.Errorf("parameters are not withheld: %v", err)
	}
}

// TestRevealRefuses gives disclosures that are not those of the statement.
func TestRevealRefuses(t *testing.T) {
	out, ds, err := Withhold([]byte(told), []string{"comment"}, saltsFrom(1))
	if err != nil {
		t.Fatal(err)
	}
	enc := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for name, list := range map[string][]string{
		"another value": {enc(`["salt","comment","other"]`)},
		"twice":         {ds[0], ds[0]},
		"one more":      {ds[0], enc(`["salt","text","x"]`)},
		"padded":        {ds[0] + "="},
		"none":          {""},
	} {
		if back, _, err := Reveal(out, list); !errors.Is(err, ErrWithheld) {
			t.Errorf("%s: %s, %v", name, back, err)
		}
	}
	// What was signed may itself be made to deceive.
	for name, d := range map[string]string{
		"a field that is there":  `["0123456789abcdef01234","review","security"]`,
		"one that decides":       `["0123456789abcdef01234","decision2"]`,
		"the list of digests":    `["0123456789abcdef01234","_sd",["x"]]`,
		"one of the wrong type":  `["0123456789abcdef01234","comment",{"a":1}]`,
		"what is no disclosure":  `{}`,
		"a name that is no name": `["0123456789abcdef01234",7,"x"]`,
	} {
		bad := strings.Replace(told, `"comment":"GONE one"`, fmt.Sprintf(`"_sd":[%q]`, disclosureDigest(enc(d))), 1)
		if back, _, err := Reveal([]byte(bad), []string{enc(d)}); !errors.Is(err, ErrWithheld) {
			t.Errorf("%s: %s, %v", name, back, err)
		}
	}
}

func FuzzReveal(f *testing.F) {
	out, ds, err := Withhold([]byte(told), []string{"comment", "evidence[0].name"}, saltsFrom(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(out, strings.Join(ds, " "))
	f.Add([]byte(told), "")
	f.Fuzz(func(t *testing.T, payload []byte, list string) {
		ds := strings.Fields(list)
		back, left, err := Reveal(payload, ds)
		if err != nil {
			return
		}
		s, err := Parse(payload)
		if err != nil {
			t.Fatal("a payload that is none was revealed")
		}
		if n := Withheld(s); n < left {
			t.Errorf("%d fields were withheld, and %d still are", n, left)
		}
		again, left2, err := Reveal(back, nil)
		if err != nil || left2 != left || !bytes.Equal(again, back) {
			t.Errorf("revealing nothing more changes it: %v\n%s\n%s", err, back, again)
		}
		slices.Reverse(ds)
		if other, _, err := Reveal(payload, ds); err != nil || !bytes.Equal(other, back) {
			t.Errorf("the order of disclosures matters: %v", err)
		}
	})
}
