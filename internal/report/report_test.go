package report

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/query"
)

// nasty is what somebody might name a thing, to harm those who look at it.
const nasty = "model:x\x1b[2J\x1b]0;owned\x07\r\u202e\u200b\n\"];<script>alert('1')</script>|`#"

func answer(ref string) *query.Answer {
	return &query.Answer{
		Question: query.Question{Verb: "why", Refs: []string{ref}},
		Focus:    []string{ref},
		Entities: []query.Item{
			{Ref: ref, Kind: "model", Name: ref, Entries: []uint64{1}, Notes: []string{ref}, Attributes: map[string]string{
				"activity": ref, "state": ref, "origin": ref, "licence": ref, "at": ref}},
			{Ref: "dataset:d@1", Kind: "dataset", Name: "d", Entries: []uint64{2}},
		},
		Relations: []query.RelationItem{{Type: "DerivedFrom", From: ref, To: "dataset:d@1", Role: ref, Entry: 1}},
		Unknown:   []query.Unknown{{Ref: ref, Reason: ref}},
		Path:      []string{ref, "dataset:d@1"},
		LogSize:   3,
	}
}

func variants(ref string) map[string]*query.Answer {
	history := answer(ref)
	history.History = []query.Change{{At: "2026-03-01T00:00:00Z", RecordedAt: "2026-03-01T00:00:00Z", Entry: 1, What: ref, Ref: ref,
		Details: []query.Detail{{Relation: "Used", Ref: ref}}, Who: []string{ref}, Reason: ref, Notes: []string{ref}}}
	diff := answer(ref)
	diff.Differences = []query.Difference{
		{Change: "changed", Kind: "model", Series: ref, From: []string{ref}, To: []string{ref}, Approvals: []query.Approval{{Ref: ref, Of: ref, Review: ref, Approver: ref, Effect: "no effect", Reasons: []string{ref}}}, Entries: []uint64{1}},
		{Change: "added", Kind: "model", Series: ref, To: []string{ref}, Entries: []uint64{1}}}
	search := answer(ref)
	search.Question.Verb = "search"
	return map[string]*query.Answer{"why": answer(ref), "history": history, "diff": diff, "search": search}
}

func TestTextIsSafeForATerminal(t *testing.T) {
	for name, a := range variants(nasty) {
		for _, r := range string(Text(a)) {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%s: text holds %U", name, r)
			}
		}
		if text := string(Text(a)); !strings.Contains(text, `\u001b[2J`) {
			t.Errorf("%s: the escape is not shown:\n%s", name, text)
		}
		for i, line := range strings.Split(string(Text(a)), "\n") {
			if strings.HasPrefix(line, `"];`) {
				t.Errorf("%s: line %d begins where a name has a new line", name, i)
			}
		}
	}
}

func TestCSVIsNoFormula(t *testing.T) {
	for _, start := range []string{"=", "+", "-", "@", "\t", "\r", "\n"} {
		for name, a := range variants(start + `cmd|' /C calc'!A0`) {
			b, err := CSV(a)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := csv.NewReader(strings.NewReader(string(b))).ReadAll()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			found := false
			for _, cells := range rows {
				for _, c := range cells {
					found = found || strings.Contains(c, "calc")
					if c != "" && strings.ContainsRune("=+-@\t\r\n", rune(c[0])) {
						t.Errorf("%s: the cell %q is a formula for a spreadsheet", name, c)
					}
				}
			}
			if !found {
				t.Errorf("%s: the name is not in the rows", name)
			}
		}
	}
}

func TestDOT(t *testing.T) {
	got := string(DOT(answer(`model:a"b\c`)))
	want := `digraph stemma {
  rankdir=RL;
  "dataset:d@1" [shape=box];
  "model:a\"b\\c" [shape=box];
  "model:a\"b\\c" -> "dataset:d@1" [label="DerivedFrom"];
}
`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(DOT(answer(nasty)))), "\n") {
		if i > 1 && line != "}" && !strings.HasPrefix(line, `  "`) {
			t.Errorf("a name broke out of its string: %q", line)
		}
	}
}

func TestMermaid(t *testing.T) {
	got := string(Mermaid(answer(`model:a"]; click n0 "javascript:x" <b>#quot;`)))
	want := `flowchart RL
  n0["dataset:d@1"]
  n1["model:a#quot;]; click n0 #quot;javascript:x#quot; #lt;b#gt;#35;quot;"]
  n1 -->|DerivedFrom| n0
`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if lines := strings.Split(strings.TrimSpace(string(Mermaid(answer(nasty)))), "\n"); len(lines) != 4 {
		t.Errorf("%d lines, want 4: %q", len(lines), lines)
	}
}

func TestHTML(t *testing.T) {
	for name, a := range variants(nasty) {
		b, err := HTML(a, []Fact{{Name: nasty, Text: nasty}})
		if err != nil {
			t.Fatal(err)
		}
		page := string(b)
		if strings.Contains(page, "<script") || strings.Contains(page, "alert('1')") {
			t.Errorf("%s: a name is markup", name)
		}
		if !strings.Contains(page, "&lt;script&gt;") {
			t.Errorf("%s: the name is not shown", name)
		}
		if !strings.Contains(page, "default-src 'none'") {
			t.Errorf("%s: no content security policy", name)
		}
		if strings.ContainsRune(page, '\x1b') || strings.ContainsRune(page, '\u202e') {
			t.Errorf("%s: control characters are in the page", name)
		}
	}
}

func TestJSONKeepsTheName(t *testing.T) {
	b, err := JSON(answer(nasty))
	if err != nil {
		t.Fatal(err)
	}
	var got query.Answer
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.Focus[0] != nasty {
		t.Errorf("the name is %q, want %q", got.Focus[0], nasty)
	}
}

func TestWriteUnknownFormat(t *testing.T) {
	if _, err := Write(answer("model:a@1"), "yaml"); err == nil || !strings.Contains(err.Error(), "mermaid") {
		t.Errorf("error %v does not list the formats", err)
	}
}

func TestSameAnswerSameBytes(t *testing.T) {
	for name := range variants(nasty) {
		for _, f := range Formats {
			if f == "openlineage" || f == "prov-json" {
				if name != "why" {
					continue // a history and differences have no form there
				}
			}
			one, err := Write(variants(nasty)[name], f)
			if err != nil {
				t.Fatal(err)
			}
			two, err := Write(variants(nasty)[name], f)
			if err != nil {
				t.Fatal(err)
			}
			if string(one) != string(two) {
				t.Errorf("%s as %s: two writings differ", name, f)
			}
		}
	}
}
