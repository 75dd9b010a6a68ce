package report

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/stemma-lineage/stemma/internal/query"
)

// outcome prints what a Reach question with a resource comes to.
func (t *texter) outcome() {
	a := t.a
	switch a.Outcome {
	case "yes":
		part := ""
		if n := len(a.Steps); n > 0 && a.Steps[n-1].Part {
			part = ", a part of it"
		}
		fmt.Fprintf(t.b, "yes%s\n", part)
	case "unknown":
		fmt.Fprintf(t.b, "unknown: a path is recorded, and whether it gives the right is not known\n")
	}
}

// source says in short how a step is known: the grade, the inventory, who
// recorded it, whether it is signed.
func source(s query.Step) string {
	var out []string
	if s.Grade != "" {
		out = append(out, s.Grade)
	}
	return strings.Join(append(out, tells(s.Told)...), " · ")
}

func tells(t *query.Told) []string {
	if t == nil {
		return nil
	}
	var out []string
	if t.Source != "" {
		s := t.Mode + " of " + clean(t.Source)
		if t.Mode == "event" {
			s = "event from " + clean(t.Source)
		}
		if t.At != "" {
			s += " at " + seconds(t.At)
		}
		out = append(out, s)
	}
	out = append(out, "recorded by "+clean(t.RecordedBy)+" at "+seconds(t.RecordedAt))
	switch len(t.SignedBy) {
	case 0:
		out = append(out, "unsigned")
	default:
		out = append(out, "signed")
	}
	if t.Evidence != "" && t.Evidence != "unsigned" {
		out = append(out, "evidence "+t.Evidence)
	}
	return out
}

// right says what a grant on the way gives.
func right(s query.Step) string {
	if s.Relation != "GrantsOn" {
		return ""
	}
	var out []string
	if len(s.Scope) > 0 {
		out = append(out, some(s.Scope))
	}
	if s.Pattern != "" && s.Pattern != s.To {
		out = append(out, "on "+clean(s.Pattern))
	}
	if len(s.Except) > 0 {
		out = append(out, "except "+some(s.Except))
	}
	for _, r := range s.Refused {
		x := fmt.Sprintf("refused %s on %s (entry %d)", some(r.Scope), clean(r.Resource), r.Entry)
		if r.Condition != "" {
			x += " if " + clean(r.Condition)
		}
		out = append(out, x)
	}
	if s.Condition != "" {
		out = append(out, "if "+clean(s.Condition))
	}
	if s.Via != "" {
		out = append(out, "by "+clean(s.Via))
	}
	return strings.Join(out, " · ")
}

// some gives the first of a list, and how many more there are; all are in JSON.
func some(list []string) string {
	const most = 8
	if len(list) > most {
		return clean(strings.Join(list[:most], ", ")) + fmt.Sprintf(" and %d more", len(list)-most)
	}
	return clean(strings.Join(list, ", "))
}

// underHop prints below a hop how it is known.
func (t *texter) underHop(i int) {
	if i >= len(t.a.Steps) {
		return
	}
	s := t.a.Steps[i]
	for _, x := range []string{right(s), source(s)} {
		if x != "" {
			fmt.Fprintf(t.b, "      %s\n", x)
		}
	}
}

// Explain gives the path of a Reach answer as a table: each step with who said
// so and since when, who approved, what governs it, and what would cut it.
func Explain(a *query.Answer) []byte {
	var b bytes.Buffer
	t := newTexter(a, &b)
	fmt.Fprintf(&b, "%s%s\n", clean(strings.Join(a.Question.Refs, " ")), clocks(a))
	t.outcome()
	w := newTable("", "step", "since", "said by", "approved, governed", "what would cut it")
	var columns []table.ColumnConfig
	for i, width := range []int{46, 20, 40, 30, 44} {
		columns = append(columns, table.ColumnConfig{Number: i + 2, WidthMax: width, WidthMaxEnforcer: wrap})
	}
	w.SetColumnConfigs(columns)
	w.Style().Options.SeparateRows = true
	at := a.Question.Refs[0]
	if len(a.Path) > 0 {
		at = a.Path[0]
	}
	n := 0
	for i, s := range a.Steps {
		arrow, to := s.Relation+" →", s.To
		if s.To == at {
			arrow, to = "← "+s.Relation, s.From
		}
		at = to
		if s.Relation == "Granted" && i+1 < len(a.Steps) && a.Steps[i+1].Relation == "GrantsOn" {
			continue // one row with what the grant is on
		}
		n++
		w.AppendRow(table.Row{n, row(s, strings.Replace(arrow, "GrantsOn", "Granted", 1)+" "+clean(to)), since(s), strings.Join(said(s), "\n"), governed(s), clean(s.Cut)})
	}
	b.WriteString(w.Render() + "\n")
	t.unknowns()
	return b.Bytes()
}

// wrap breaks each line of a cell at words.
func wrap(cell string, width int) string {
	lines := strings.Split(cell, "\n")
	for i, l := range lines {
		lines[i] = text.WrapSoft(l, width)
	}
	return strings.Join(lines, "\n")
}

func row(s query.Step, step string) string {
	if r := right(s); r != "" {
		step += "\n" + r
	}
	if s.Doubt != "" {
		step += "\n? " + clean(s.Doubt)
	}
	return step
}

func since(s query.Step) string {
	if s.Until != "" {
		return seconds(string(s.Since)) + "\nuntil " + seconds(string(s.Until))
	}
	return seconds(string(s.Since))
}

// seconds leaves out the fraction of a time. JSON has it.
func seconds(t string) string {
	head, rest, ok := strings.Cut(t, ".")
	if !ok {
		return t
	}
	return head + strings.TrimLeft(rest, "0123456789")
}

func said(s query.Step) []string {
	out := []string{fmt.Sprintf("entry %d", s.Entry)}
	if s.Grade != "" {
		out = append(out, s.Grade)
	}
	return append(out, tells(s.Told)...)
}

func governed(s query.Step) string {
	var out []string
	for _, d := range s.Approvals {
		x := clean(d.Approval)
		if d.By != "" {
			x += " by " + clean(d.By)
		}
		out = append(out, x+fmt.Sprintf(" (entry %d)", d.Entry))
	}
	for _, p := range s.Policies {
		out = append(out, "under "+clean(p))
	}
	if len(out) == 0 {
		return "none recorded"
	}
	return strings.Join(out, "\n")
}

// Covered says which inventories an answer was given from, a line each.
func Covered(a *query.Answer) string {
	var b strings.Builder
	for _, c := range a.Covers {
		fmt.Fprintf(&b, "  entry %d: %s", c.Entry, count(c.Identities, "identity", "identities"))
		if x := tells(c.Told); len(x) > 0 {
			b.WriteString(" · " + strings.Join(x, " · "))
		}
		b.WriteByte('\n')
	}
	return b.String()
}
