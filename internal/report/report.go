// Package report writes answers for people and programs: text, JSON, CSV,
// DOT, Mermaid, HTML, PROV-JSON and OpenLineage. The same answer gives the same bytes.
package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html/template"
	"sort"
	"strings"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/stemma-lineage/stemma/internal/query"
)

// Formats are the names of the formats that Write knows.
var Formats = []string{"text", "json", "csv", "dot", "mermaid", "html", "prov-json", "openlineage"}

// Write gives the answer in a format.
func Write(a *query.Answer, format string) ([]byte, error) {
	switch format {
	case "text":
		return Text(a), nil
	case "json":
		return JSON(a)
	case "csv":
		return CSV(a)
	case "dot":
		return DOT(a), nil
	case "mermaid":
		return Mermaid(a), nil
	case "html":
		return HTML(a, nil)
	case "prov-json":
		return PROVJSON(a)
	case "openlineage":
		return OpenLineage(a)
	}
	return nil, fmt.Errorf("format %q is not known; use one of %s", format, strings.Join(Formats, ", "))
}

// JSON gives the contract form, indented, with a newline at the end.
func JSON(a *query.Answer) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(a); err != nil {
		return nil, fmt.Errorf("writing answer: %w", err)
	}
	return b.Bytes(), nil
}

// clean makes text from outside safe for a terminal: what does not print is
// shown as an escape.
func clean(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func short(digest string) string {
	if i := strings.IndexByte(digest, ':'); i >= 0 && len(digest) > i+13 {
		return digest[:i+13] + "…"
	}
	return digest
}

// Text gives the answer for a terminal.
func Text(a *query.Answer) []byte {
	var b bytes.Buffer
	t := newTexter(a, &b)
	fmt.Fprintf(&b, "%s %s%s\n", a.Question.Verb, clean(strings.Join(a.Question.Refs, " ")), clocks(a))
	switch {
	case a.Differences != nil:
		t.differences()
	case a.History != nil:
		t.history()
	case a.Counts != nil:
		t.counts()
	case a.Question.Verb == "search":
		t.list()
	default:
		t.paths()
		t.tree(a.Question.Verb == "blast")
	}
	for _, u := range a.Unknown {
		if u.Ref == "" {
			fmt.Fprintf(&b, "? %s\n", clean(u.Reason))
		} else {
			fmt.Fprintf(&b, "? %s: %s\n", clean(u.Ref), clean(u.Reason))
		}
	}
	if a.Truncated {
		b.WriteString(cut(a))
	}
	members := 0
	for _, list := range [][]query.Item{a.Entities, a.Activities, a.Identities} {
		for _, it := range list {
			if !it.Context {
				members++
			}
		}
	}
	if a.Counts != nil {
		fmt.Fprintf(&b, "%s counted; log of %s", count(a.Counts.Things, "thing", "things"), count(int(a.LogSize), "entry", "entries"))
	} else {
		fmt.Fprintf(&b, "%s, %s; log of %s", count(members, "thing", "things"), count(len(a.Relations), "relation", "relations"), count(int(a.LogSize), "entry", "entries"))
	}
	if a.Root != "" {
		fmt.Fprintf(&b, ", root %.12s…", a.Root)
	}
	b.WriteByte('\n')
	return b.Bytes()
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func clocks(a *query.Answer) string {
	to := clock(string(a.AsOf.Valid), a.AsOf.Known)
	if a.Differences != nil {
		if from := clock(a.Question.Valid, a.Question.Known); from != to {
			return fmt.Sprintf("  (from: %s; to: %s)", from, to)
		}
	}
	return "  (" + to + ")"
}

func clock(valid string, known uint64) string {
	if valid == "" {
		return fmt.Sprintf("all times, as known at log size %d", known)
	}
	return fmt.Sprintf("as of %s, as known at log size %d", valid, known)
}

type texter struct {
	a     *query.Answer
	b     *bytes.Buffer
	items map[string]query.Item
	out   map[string][]query.RelationItem
	in    map[string][]query.RelationItem
}

func newTexter(a *query.Answer, b *bytes.Buffer) *texter {
	t := &texter{a: a, b: b, items: map[string]query.Item{}, out: map[string][]query.RelationItem{}, in: map[string][]query.RelationItem{}}
	for _, list := range [][]query.Item{a.Entities, a.Activities, a.Identities} {
		for _, it := range list {
			t.items[it.Ref] = it
		}
	}
	for _, r := range a.Relations {
		t.out[r.From] = append(t.out[r.From], r)
		t.in[r.To] = append(t.in[r.To], r)
	}
	return t
}

type branch struct {
	ref   string
	rel   query.RelationItem
	depth int
	last  []bool
}

// tree prints what is reached from the focus, each thing once in full. It is
// a walk with its own stack: chains may be longer than any call stack.
func (t *texter) tree(down bool) {
	shown := map[string]bool{}
	var stack []branch
	starts := t.a.Focus
	if len(t.a.Path) > 0 {
		starts = t.a.Path[:1]
	}
	for i := len(starts) - 1; i >= 0; i-- {
		stack = append(stack, branch{ref: starts[i]})
	}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		t.line(n, shown[n.ref])
		if shown[n.ref] {
			continue
		}
		shown[n.ref] = true
		rels := t.out[n.ref]
		if down && !t.items[n.ref].Context {
			rels = append(append([]query.RelationItem{}, t.in[n.ref]...), contextOnly(t, rels)...)
		} else if t.a.Question.Verb == "reach" {
			rels = acting(t.in[n.ref], rels)
		}
		for i := len(rels) - 1; i >= 0; i-- {
			next := rels[i].To
			if next == n.ref {
				next = rels[i].From
			}
			stack = append(stack, branch{next, rels[i], n.depth + 1, append(append([]bool{}, n.last...), i == len(rels)-1)})
		}
	}
	for _, list := range [][]query.Item{t.a.Entities, t.a.Activities, t.a.Identities} {
		for _, it := range list {
			if !shown[it.Ref] && !it.Context {
				shown[it.Ref] = true
				t.line(branch{ref: it.Ref}, false)
			}
		}
	}
}

func contextOnly(t *texter, rels []query.RelationItem) []query.RelationItem {
	var out []query.RelationItem
	for _, r := range rels {
		if t.items[r.To].Context {
			out = append(out, r)
		}
	}
	return out
}

func (t *texter) line(n branch, again bool) {
	const maxIndent = 40 // deeper branches are numbered instead of indented
	for i, last := range n.last {
		switch {
		case i >= maxIndent && i < len(n.last)-1:
			continue
		case i == len(n.last)-1 && last:
			t.b.WriteString("└─ ")
		case i == len(n.last)-1:
			t.b.WriteString("├─ ")
		case last:
			t.b.WriteString("   ")
		default:
			t.b.WriteString("│  ")
		}
	}
	if len(n.last) > maxIndent {
		fmt.Fprintf(t.b, "[%d] ", n.depth)
	}
	if n.rel.Type != "" {
		arrow := n.rel.Type
		if n.rel.To == n.ref {
			arrow += " →"
		} else {
			arrow = "← " + arrow
		}
		if n.rel.Role != "" {
			arrow += " (" + clean(n.rel.Role) + ")"
		}
		fmt.Fprintf(t.b, "%s ", arrow)
	}
	it := t.items[n.ref]
	t.b.WriteString(clean(n.ref))
	if again {
		t.b.WriteString("  (above)\n")
		return
	}
	t.b.WriteString(t.about(it, n.rel))
	t.b.WriteByte('\n')
	for _, note := range it.Notes {
		fmt.Fprintf(t.b, "%s! %s\n", strings.Repeat("   ", min(len(n.last), maxIndent)), clean(note))
	}
}

// about gives what a reader wants to know of a thing at a glance.
func (t *texter) about(it query.Item, r query.RelationItem) string {
	var s []string
	for _, k := range []string{"activity", "action", "decision", "review", "notice", "severity", "state", "origin", "licence"} {
		if v := it.Attributes[k]; v != "" && !(k == "origin" && v == "unknown") {
			s = append(s, clean(v))
		}
	}
	for _, k := range []string{"decidedAt", "since", "startedAt", "endedAt", "at"} {
		if v := it.Attributes[k]; v != "" {
			s = append(s, k+" "+clean(v))
			break
		}
	}
	if it.Digest != "" && it.Digest != it.Ref {
		s = append(s, short(it.Digest))
	}
	if r.Type == "DeployedTo" && r.ValidTo != "" {
		s = append(s, "until "+string(r.ValidTo))
	}
	if len(it.Reached) > 0 {
		s = append(s, "reached "+periods(it.Reached))
	}
	if len(it.Entries) > 0 {
		s = append(s, "entry "+numbers(it.Entries))
	}
	if len(s) == 0 {
		return ""
	}
	return "  " + strings.Join(s, " · ")
}

func numbers(ns []uint64) string {
	var s []string
	for i, n := range ns {
		if i == 4 && len(ns) > 5 {
			return strings.Join(s, ",") + fmt.Sprintf(" and %d more", len(ns)-4)
		}
		s = append(s, fmt.Sprint(n))
	}
	return strings.Join(s, ",")
}

func newTable(header ...any) table.Writer {
	w := table.NewWriter()
	w.SetStyle(table.StyleLight)
	w.Style().Options.DrawBorder = false
	w.Style().Format.Header = 0
	w.AppendHeader(header)
	return w
}

func (t *texter) list() {
	w := newTable("ref", "kind", "digest", "entries")
	for _, list := range [][]query.Item{t.a.Entities, t.a.Activities, t.a.Identities} {
		for _, it := range list {
			w.AppendRow(table.Row{clean(it.Ref), it.Kind, short(it.Digest), numbers(it.Entries)})
		}
	}
	t.b.WriteString(w.Render() + "\n")
}

func (t *texter) history() {
	for _, c := range t.a.History {
		fmt.Fprintf(t.b, "%-20s  %-26s %s\n", c.At, clean(c.What), clean(c.Ref))
		for _, d := range c.Details {
			entry := ""
			if d.Entry != nil {
				entry = fmt.Sprintf(" (entry %d)", *d.Entry)
			}
			fmt.Fprintf(t.b, "%22s%s → %s%s\n", "", d.Relation, clean(d.Ref), entry)
		}
		for _, d := range c.Changed {
			fmt.Fprintf(t.b, "%22s%s %s: %s\n", "", d.Change, d.Area, clean(fromTo(d)))
		}
		for _, a := range c.SignedOff {
			fmt.Fprintf(t.b, "%22ssigned off%s: %s\n", "", effectWords[a.Effect], clean(a.String()))
			for _, r := range a.Reasons {
				fmt.Fprintf(t.b, "%24s%s\n", "", clean(r))
			}
		}
		if len(c.Who) > 0 {
			fmt.Fprintf(t.b, "%22sby %s\n", "", clean(strings.Join(c.Who, ", ")))
		}
		if c.Reason != "" {
			fmt.Fprintf(t.b, "%22s“%s”\n", "", clean(c.Reason))
		}
		for _, n := range c.Notes {
			fmt.Fprintf(t.b, "%22s%s\n", "", clean(n))
		}
		fmt.Fprintf(t.b, "%22sentry %d, recorded %s\n", "", c.Entry, c.RecordedAt)
	}
}

// effectWords say whether an approval counts.
var effectWords = map[string]string{"no effect": " without effect", "unknown": ", which may not count"}

// fromTo tells a difference in a line.
func fromTo(d query.Difference) string {
	from, to := strings.Join(d.From, ", "), strings.Join(d.To, ", ")
	if from != "" && to != "" {
		return from + " → " + to
	}
	return from + to
}

func (t *texter) differences() {
	if len(t.a.Differences) == 0 {
		t.b.WriteString("no differences\n")
		return
	}
	for _, d := range t.a.Differences {
		sign := map[string]string{"added": "+", "removed": "-", "changed": "~"}[d.Change]
		fmt.Fprintf(t.b, "%s %s  %s\n", sign, d.Change, clean(d.Series))
		if d.Change == "changed" {
			fmt.Fprintf(t.b, "    from %s\n      to %s\n", clean(strings.Join(d.From, ", ")), clean(strings.Join(d.To, ", ")))
		} else {
			fmt.Fprintf(t.b, "    %s\n", clean(strings.Join(append(append([]string{}, d.From...), d.To...), ", ")))
		}
		for _, a := range d.Approvals {
			fmt.Fprintf(t.b, "    approved%s: %s\n", effectWords[a.Effect], clean(a.String()))
			for _, r := range a.Reasons {
				fmt.Fprintf(t.b, "      %s\n", clean(r))
			}
		}
		if d.Covered == "no" {
			t.b.WriteString("    no approval covers it\n")
		}
		fmt.Fprintf(t.b, "    entry %s\n", numbers(d.Entries))
	}
}

// CSV gives one row a thing, or one a change or difference. A cell that a
// spreadsheet would take for a formula begins with a quote.
func CSV(a *query.Answer) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	row := func(cells ...string) {
		for i, c := range cells {
			if c != "" && strings.ContainsRune("=+-@\t\r\n", rune(c[0])) {
				cells[i] = "'" + c
			}
		}
		_ = w.Write(cells)
	}
	switch {
	case a.Differences != nil:
		row("change", "area", "kind", "series", "from", "to", "covered", "approvals", "entries")
		for _, d := range a.Differences {
			var by []string
			for _, a := range d.Approvals {
				by = append(by, strings.TrimSpace(a.Effect+" "+a.String()))
			}
			row(d.Change, d.Area, d.Kind, d.Series, strings.Join(d.From, " "), strings.Join(d.To, " "), d.Covered, strings.Join(by, "; "), ints(d.Entries))
		}
	case a.Counts != nil:
		row("by", "name", "things", "live")
		for _, k := range a.Counts.ByKind {
			row("kind", k.Kind, fmt.Sprint(k.Things), "")
		}
		for _, e := range a.Counts.ByEnvironment {
			row("environment", e.Environment, fmt.Sprint(e.Things), fmt.Sprint(e.Live))
		}
	case a.History != nil:
		row("at", "recordedAt", "entry", "what", "ref", "details", "changed", "signedOff", "who", "reason")
		for _, c := range a.History {
			var ds []string
			for _, d := range c.Details {
				ds = append(ds, d.Relation+" "+d.Ref)
			}
			var changed, signed []string
			for _, d := range c.Changed {
				changed = append(changed, d.Change+" "+d.Area+": "+fromTo(d))
			}
			for _, a := range c.SignedOff {
				signed = append(signed, strings.TrimSpace(a.Effect+" "+a.String()))
			}
			row(string(c.At), string(c.RecordedAt), fmt.Sprint(c.Entry), c.What, c.Ref, strings.Join(ds, "; "), strings.Join(changed, "; "), strings.Join(signed, "; "), strings.Join(c.Who, " "), c.Reason)
		}
	default:
		row("class", "ref", "kind", "name", "digest", "distance", "context", "entries", "startedAt", "endedAt")
		for _, l := range []struct {
			class string
			items []query.Item
		}{{"entity", a.Entities}, {"activity", a.Activities}, {"identity", a.Identities}} {
			for _, it := range l.items {
				dist := ""
				if it.Distance != nil {
					dist = fmt.Sprint(*it.Distance)
				}
				row(l.class, it.Ref, it.Kind, it.Name, it.Digest, dist, fmt.Sprint(it.Context), ints(it.Entries), it.Attributes["startedAt"], it.Attributes["endedAt"])
			}
		}
	}
	w.Flush()
	return b.Bytes(), w.Error()
}

func ints(ns []uint64) string {
	var s []string
	for _, n := range ns {
		s = append(s, fmt.Sprint(n))
	}
	return strings.Join(s, " ")
}

var shapes = map[string][2]string{"entity": {"box", "[%s]"}, "activity": {"ellipse", "([%s])"}, "identity": {"hexagon", "{{%s}}"}}

func classed(a *query.Answer) (refs []string, class map[string]string) {
	class = map[string]string{}
	for c, list := range map[string][]query.Item{"entity": a.Entities, "activity": a.Activities, "identity": a.Identities} {
		for _, it := range list {
			class[it.Ref] = c
			refs = append(refs, it.Ref)
		}
	}
	sort.Strings(refs)
	return refs, class
}

// DOT gives the graph for Graphviz. Arrows point from what depends to what it
// depends on.
func DOT(a *query.Answer) []byte {
	var b bytes.Buffer
	refs, class := classed(a)
	b.WriteString("digraph stemma {\n  rankdir=RL;\n")
	for _, r := range refs {
		fmt.Fprintf(&b, "  %s [shape=%s];\n", dotText(r), shapes[class[r]][0])
	}
	for _, r := range a.Relations {
		fmt.Fprintf(&b, "  %s -> %s [label=%s];\n", dotText(r.From), dotText(r.To), dotText(r.Type))
	}
	b.WriteString("}\n")
	return b.Bytes()
}

func dotText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(clean(s)) + `"`
}

// Mermaid gives the graph as a Mermaid flowchart.
func Mermaid(a *query.Answer) []byte {
	var b bytes.Buffer
	refs, class := classed(a)
	id := map[string]string{}
	b.WriteString("flowchart RL\n")
	for i, r := range refs {
		id[r] = fmt.Sprintf("n%d", i)
		text := `"` + strings.NewReplacer("#", "#35;", `"`, "#quot;", "<", "#lt;", ">", "#gt;").Replace(clean(r)) + `"`
		fmt.Fprintf(&b, "  %s"+shapes[class[r]][1]+"\n", id[r], text)
	}
	for _, r := range a.Relations {
		fmt.Fprintf(&b, "  %s -->|%s| %s\n", id[r.From], r.Type, id[r.To])
	}
	return b.Bytes()
}

// Facts are lines about a bundle that its page shows above the answer.
type Fact struct{ Name, Text string }

var page = template.Must(template.New("page").Funcs(template.FuncMap{"clean": clean}).Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Stemma: {{.A.Question.Verb}} {{range .A.Question.Refs}}{{clean .}} {{end}}</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
pre{background:#f4f4f2;padding:1rem;overflow:auto;font-size:13px;line-height:1.4}
table{border-collapse:collapse;width:100%;font-size:14px}td,th{border-bottom:1px solid #ddd;padding:.3rem .6rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
dt{font-weight:600;margin-top:.5rem}dd{margin:0;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}pre{background:#222}td,th{border-color:#444}}
</style>
<h1>{{.A.Question.Verb}}: {{range .A.Question.Refs}}{{clean .}} {{end}}</h1>
{{if .Facts}}<dl>{{range .Facts}}<dt>{{clean .Name}}</dt><dd>{{clean .Text}}</dd>{{end}}</dl>{{end}}
<h2>Answer</h2>
<pre>{{.Text}}</pre>
{{if .A.Unknown}}<h2>Not known</h2><ul>{{range .A.Unknown}}<li>{{if .Ref}}{{clean .Ref}}: {{end}}{{clean .Reason}}</li>{{end}}</ul>{{end}}
<h2>Relations</h2>
<table><tr><th>from</th><th>relation</th><th>to</th><th>from time</th><th>to time</th><th>entry</th></tr>
{{range .A.Relations}}<tr><td>{{clean .From}}</td><td>{{.Type}}{{if .Rule}} ({{clean .Rule}}){{end}}</td><td>{{clean .To}}</td><td>{{.ValidFrom}}</td><td>{{.ValidTo}}</td><td>{{.Entry}}</td></tr>
{{end}}</table>
</html>
`))

// HTML gives a page that stands alone: no script, nothing from elsewhere.
func HTML(a *query.Answer, facts []Fact) ([]byte, error) {
	var b bytes.Buffer
	err := page.Execute(&b, struct {
		A     *query.Answer
		Facts []Fact
		Text  string
	}{a, facts, string(Text(a))})
	if err != nil {
		return nil, fmt.Errorf("writing page: %w", err)
	}
	return b.Bytes(), nil
}
