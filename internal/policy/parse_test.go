package policy

import (
	"strconv"
	"strings"
	"testing"
)

func TestLibraryCompiles(t *testing.T) {
	for _, name := range Library() {
		text, err := FromLibrary(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.Name != name || p.Description == "" {
			t.Errorf("%s names itself %q: %q", name, p.Name, p.Description)
		}
		for _, r := range p.Rules {
			if r.Says == "" || r.Mend == "" || len(r.Controls) == 0 && r.ID != "two-people" {
				t.Errorf("%s: rule %s lacks what it says, what mends it, or its controls", name, r.ID)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"empty":          {"", "the text is empty"},
		"no name":        {"rules: [{id: a, require: 'true'}]", "name is missing"},
		"no rules":       {"name: p", "it has 0 rules"},
		"too many rules": {"name: p\nrules:\n" + strings.Repeat("  - {id: a, require: 'true'}\n", 201), "it has 201 rules"},
		"unknown field":  {"name: p\nrule: []", "field rule not found"},
		"two documents":  {"name: p\nrules: [{id: a, require: 'true'}]\n---\nname: q", "more than one document"},
		"twice":          {"name: p\nrules: [{id: a, require: 'true'}, {id: a, require: 'true'}]", "rule a is there twice"},
		"no id":          {"name: p\nrules: [{require: 'true'}]", "rules[0]: id is missing"},
		"no require":     {"name: p\nrules: [{id: a}]", "require is missing"},
		"a number":       {"name: p\nrules: [{id: a, require: '1'}]", "it gives int"},
		"applies":        {"name: p\nrules: [{id: a, require: 'true', applies: '\"x\"'}]", "applies: it gives string"},
		"clock":          {"name: p\nrules: [{id: a, require: 'now() > timestamp(\"2026-01-01T00:00:00Z\")'}]", "undeclared reference to 'now'"},
		"other types":    {"name: p\nrules: [{id: a, require: 'approved(1, 1)'}]", "no matching overload"},
		"deep":           {"name: p\nrules: [{id: a, require: '" + strings.Repeat("(", 5000) + "true" + strings.Repeat(")", 5000) + "'}]", "rule a"},
		"deep lists":     {"name: p\nparameters: " + strings.Repeat("[", 20000), "policy"},
		"aliases":        {"name: p\nparameters: &a [*a]", "policy"},
		"large":          {strings.Repeat("#", MaxText+1), "the limit is"},
	} {
		if _, err := Parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
}

// All rules together have a limit of cost too: no number of rules that are
// each within theirs takes long, and what was not evaluated is unknown.
func TestPolicyCostIsLimited(t *testing.T) {
	var text strings.Builder
	text.WriteString("name: p\nparameters: {n: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]}\nrules:\n")
	for i := range 30 {
		text.WriteString("  - {id: r" + strconv.Itoa(i) + ", require: 'param.n.all(a, param.n.all(b, param.n.all(c, param.n.all(d, a + b + c + d >= 0))))'}\n")
	}
	h := &book{t: t}
	h.record([]string{"01-01 sa:ci: entity model:m@1 origin=x:y"})
	x := h.ask("model:m@1 at=02-01")
	v, err := Evaluate(policyOf(t, text.String()), x.v, x.q)
	if err != nil {
		t.Fatal(err)
	}
	if last := v.Rules[len(v.Rules)-1]; v.Verdict != Undecided || last.Outcome != Unknown || !strings.Contains(last.Reasons[0], "costs more than is allowed") {
		t.Errorf("the verdict is %s, of the last rule %s: %v", v.Verdict, last.Outcome, last.Reasons)
	}
}

// Different questions are counted: each walks the graph, which the cost of an
// expression does not tell.
func TestQuestionsAreLimited(t *testing.T) {
	h := &book{t: t}
	h.record([]string{"01-01 sa:ci: entity model:m@1 origin=x:y"})
	names := make([]string, 300)
	for i := range names {
		names[i] = "r" + strings.Repeat("x", i)
	}
	x := h.ask("model:m@1 at=02-01")
	v, err := Evaluate(h.rules("parameters: {names: ["+strings.Join(names, ", ")+"]}\nmany: param.names.all(n, !rejected(string(n)))\nfew: param.names.all(n, unchanged())"), x.v, x.q)
	if err != nil {
		t.Fatal(err)
	}
	if o := v.Rules[0]; o.Outcome != Unknown || !strings.Contains(o.Reasons[0], "more than 256 different questions") {
		t.Errorf("the rule is %s: %v", o.Outcome, o.Reasons)
	}
}

func TestApart(t *testing.T) {
	set := func(s string) map[string]bool {
		m := map[string]bool{}
		for _, w := range strings.Fields(s) {
			m[w] = true
		}
		return m
	}
	for _, c := range []struct {
		sets []string
		want bool
	}{
		{[]string{"a"}, true}, {[]string{""}, false}, {[]string{"a", "a"}, false}, {[]string{"a b", "a"}, true}, {[]string{"a", "a b"}, true},
		{[]string{"a b", "a b", "a b"}, false}, {[]string{"a b c", "a b", "a"}, true}, {[]string{"a", "a b", "b"}, false},
	} {
		var sets []map[string]bool
		for _, s := range c.sets {
			sets = append(sets, set(s))
		}
		if got := apart(sets); got != c.want {
			t.Errorf("%q: %v", c.sets, got)
		}
	}
	// Seven large sets and one that cannot be given for: no search through all orders.
	var many []string
	for i := range 200 {
		many = append(many, string(rune('!'+i)))
	}
	sets := []map[string]bool{}
	for range 7 {
		sets = append(sets, set(strings.Join(many, " ")))
	}
	if apart(append(sets, set(""))) {
		t.Error("a set of nobody gave somebody")
	}
}

func TestMendIsSafeToPaste(t *testing.T) {
	for in, want := range map[string]string{"model:fraud@3": "model:fraud@3", "model:x;rm -rf ~@1": "'model:x;rm -rf ~@1'", "a'b": `'a'\''b'`, "": "''", "$(id)": "'$(id)'"} {
		if got := quote(in); got != want {
			t.Errorf("%q is written %s, want %s", in, got, want)
		}
	}
}

// FuzzParse wants no panic, of parsing nor of evaluating what parses, and no
// allow of a thing of which nothing is known but by what asks for nothing.
func FuzzParse(f *testing.F) {
	for _, name := range Library() {
		text, err := FromLibrary(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("name: p\nparameters: {a: [1, x], b: {c: 2026-01-01}, d: .nan}\nrules:\n  - {id: r, applies: 'env == \"prod\"', require: 'param.a.all(x, x == 1) || noticed(param.a)'}\n")
	f.Add("name: p\nrules:\n  - {id: r, require: 'ancestors.exists(a, a.kind == \"dataset\") && decisions.filter(d, d.effect == \"counts\").size() > 1 && thing.ref.matches(\"^model:\")'}\n")
	h := &book{t: &testing.T{}}
	h.record([]string{"01-01 sa:ci: act model:m@1 kind=train id=activity:t by=sa:x used=dataset:d@1", "01-02 person:a: approve model:m@1 review=risk"})
	x := h.ask("model:m@1 at=02-01")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse([]byte(text))
		if err != nil {
			return
		}
		v, err := Evaluate(p, x.v, x.q)
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Rules) != len(p.Rules) {
			t.Fatalf("%d outcomes of %d rules", len(v.Rules), len(p.Rules))
		}
		for _, o := range v.Rules {
			if (o.Outcome == Violated || o.Outcome == Unknown) && len(o.Reasons) == 0 {
				t.Errorf("%s is %s without a reason", o.Rule, o.Outcome)
			}
		}
	})
}
