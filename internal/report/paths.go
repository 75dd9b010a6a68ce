package report

import (
	"fmt"
	"strings"

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
	for i, p := range t.a.Path {
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
