package report

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/stemma-lineage/stemma/internal/query"
)

// rotation prints what hangs on a credential and the plan to rotate it.
func (t *texter) rotation() {
	r := t.a.Rotation
	if r == nil {
		return
	}
	exposed := ""
	if r.Since != "" {
		exposed = " since " + seconds(string(r.Since))
	}
	fmt.Fprintf(t.b, "\nif %s is exposed%s:\n", clean(r.Credential), exposed)
	t.part("authenticates", "nobody recorded", len(r.Authenticates), func(i int) string {
		h := r.Authenticates[i]
		return clean(h.Ref) + within(query.Period{From: h.From, To: h.Until}) + fmt.Sprintf(" · entry %d", h.Entry)
	})
	t.part("live with it", "no deployment recorded", len(r.Live), func(i int) string { return consumer(r.Live[i]) })
	t.part("reaches", "nothing recorded", len(r.Reaches), func(i int) string {
		x := r.Reaches[i]
		s := clean(x.Ref) + "  by " + clean(x.By)
		if x.Outcome != "yes" {
			s += " (" + x.Outcome + ")"
		}
		return s
	})
	t.part("activities", "none recorded", len(r.Activities), func(i int) string {
		x := r.Activities[i]
		s := clean(x.Activity)
		if x.At != "" {
			s += " at " + seconds(string(x.At))
		}
		if x.By == "identity" {
			s += " (by its holder; no entry says with which credential)"
		}
		return s + fmt.Sprintf(" · entry %d", x.Entry)
	})
	t.part("made with it", "nothing recorded", len(r.Made), func(i int) string { return clean(r.Made[i]) })
	t.plan(r)
	for _, c := range r.Cycles {
		fmt.Fprintf(t.b, "! a cycle, each gives the next: %s → %s; the plan begins it at the first\n", clean(strings.Join(c, " → ")), clean(c[0]))
	}
	for _, u := range r.Unknown {
		fmt.Fprintf(t.b, "? %s\n", clean(strings.TrimPrefix(u.Ref+": "+u.Reason, ": ")))
	}
	t.b.WriteByte('\n')
}

// part prints a heading and lines below it.
func (t *texter) part(head, none string, n int, line func(int) string) {
	const most = 20
	if n == 0 {
		fmt.Fprintf(t.b, "  %s: %s\n", head, none)
		return
	}
	fmt.Fprintf(t.b, "  %s (%d):\n", head, n)
	for i := range min(n, most) {
		fmt.Fprintf(t.b, "    %s\n", line(i))
	}
	if n > most {
		fmt.Fprintf(t.b, "    and %d more; -o json lists all\n", n-most)
	}
}

func consumer(c query.Consumer) string {
	s := clean(c.Deployment)
	if c.Environment != "" {
		s += " in " + clean(c.Environment)
	}
	return s + "  " + clean(c.How) + fmt.Sprintf(" · entry %d", c.Entry)
}

// plan prints in which order to rotate.
func (t *texter) plan(r *query.Rotation) {
	w := newTable("", "rotate", "because", "after", "expires", "live with it", "what breaks")
	var columns []table.ColumnConfig
	for i, width := range []int{40, 36, 30, 20, 40, 30} {
		columns = append(columns, table.ColumnConfig{Number: i + 2, WidthMax: width, WidthMaxEnforcer: wrap})
	}
	w.SetColumnConfigs(columns)
	for _, s := range r.Plan {
		ref := clean(s.Ref)
		if s.StoredIn != "" {
			ref += "\nin " + clean(s.StoredIn)
		}
		var live []string
		for _, c := range s.Live {
			live = append(live, clean(strings.TrimSuffix(c.Deployment+" in "+c.Environment, " in ")))
		}
		w.AppendRow(table.Row{s.N, ref, clean(s.Why), cleaned(s.After), seconds(s.Expires), some3(live), clean(s.Breaks)})
	}
	t.b.WriteString("  rotate in this order:\n" + w.Render() + "\n")
}

func cleaned(list []string) string {
	var out []string
	for _, x := range list {
		out = append(out, clean(x))
	}
	return some3(out)
}

// some3 gives the first three lines, and how many more there are.
func some3(list []string) string {
	if len(list) <= 4 {
		return strings.Join(list, "\n")
	}
	return strings.Join(list[:3], "\n") + fmt.Sprintf("\nand %d more", len(list)-3)
}
