package report

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/stemma-lineage/stemma/internal/query"
)

// paths prints the shortest path, how many of its like there are, and all
// paths where the question asks for them.
func (t *texter) paths() {
	if len(t.a.Path) == 0 {
		return
	}
	if s := t.a.Shortest; s == nil {
		t.b.WriteString("one of the shortest paths:\n")
	} else {
		length := count(s.Length, "relation", "relations")
		switch {
		case s.AtLeast:
			fmt.Fprintf(t.b, "one of the shortest paths (%s; there are %d or more):\n", length, s.Count)
		case s.Count > 1:
			fmt.Fprintf(t.b, "one of the %d shortest paths (%s):\n", s.Count, length)
		default:
			fmt.Fprintf(t.b, "the shortest path (%s):\n", length)
		}
	}
	t.hops()
	for i, p := range t.a.Path {
		if len(t.a.Hops) > 0 {
			break
		}
		fmt.Fprintf(t.b, "  %s%s\n", map[bool]string{true: "→ "}[i > 0], clean(p))
	}
	if len(t.a.Paths) > 0 {
		which := "all paths"
		if t.a.Truncated {
			which = "the first paths"
		}
		fmt.Fprintf(t.b, "%s (%d), shorter ones first:\n", which, len(t.a.Paths))
		for i, p := range t.a.Paths {
			fmt.Fprintf(t.b, "%4d. %s\n", i+1, clean(strings.Join(p, " → ")))
		}
	}
	t.b.WriteString("all that lies on any path:\n")
}

// cut says what a limit left out.
func cut(a *query.Answer) string {
	what := ""
	if a.Question.All {
		what = "paths "
	}
	switch {
	case a.HiddenAtLeast && a.Hidden == 0:
		return "! cut by a limit; whether something is left out is not known\n"
	case a.HiddenAtLeast:
		return fmt.Sprintf("! cut by a limit: %d or more %sare not shown\n", a.Hidden, what)
	}
	return fmt.Sprintf("! cut by a limit: %d more %sare not shown\n", a.Hidden, what)
}

// hops prints the path with the relation and entry of each step.
func (t *texter) hops() {
	if len(t.a.Hops) == 0 {
		return
	}
	at := t.a.Path[0]
	fmt.Fprintf(t.b, "  %s\n", clean(at))
	for i, r := range t.a.Hops {
		arrow, to := r.Type+" →", r.To
		if r.To == at {
			arrow, to = "← "+r.Type, r.From
		}
		if r.Role != "" {
			arrow += " (" + clean(r.Role) + ")"
		}
		fmt.Fprintf(t.b, "  %s %s  entry %d%s\n", arrow, clean(to), r.Entry, within(query.Period{From: r.ValidFrom, To: r.ValidTo}))
		t.underHop(i)
		at = to
	}
}

func within(p query.Period) string {
	if p.From == "" && p.To == "" {
		return ""
	}
	return " · " + period(p)
}

func period(p query.Period) string {
	switch {
	case p.To == "":
		return "from " + string(p.From)
	case p.From == "":
		return "until " + string(p.To)
	}
	return "from " + string(p.From) + " until " + string(p.To)
}

func periods(ps []query.Period) string {
	var s []string
	for _, p := range ps {
		s = append(s, period(p))
	}
	return strings.Join(s, ", ")
}

// acting gives the relations by which rights are followed: an agent or service
// leads to the deployments that act for it.
func acting(in, out []query.RelationItem) []query.RelationItem {
	var rels []query.RelationItem
	deployed := func(r query.RelationItem) bool { return r.Type == "Deployed" || r.Type == "DeployedTo" }
	for _, r := range in {
		if deployed(r) {
			rels = append(rels, r)
		}
	}
	for _, r := range out {
		if !deployed(r) {
			rels = append(rels, r)
		}
	}
	return rels
}

// counts prints how many things there are by kind and by environment.
func (t *texter) counts() {
	kinds := newTable("kind", "things")
	for _, k := range t.a.Counts.ByKind {
		kinds.AppendRow(table.Row{k.Kind, k.Things})
	}
	t.b.WriteString(kinds.Render() + "\n")
	if len(t.a.Counts.ByEnvironment) == 0 {
		return
	}
	places := newTable("environment", "things", "live")
	for _, e := range t.a.Counts.ByEnvironment {
		places.AppendRow(table.Row{clean(e.Environment), e.Things, e.Live})
	}
	t.b.WriteString(places.Render() + "\n")
}
