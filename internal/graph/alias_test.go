package graph

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// registryLog folds lines such as these, in that order, and gives the graph:
//
//	set champion 1 3       the alias points at version 1 from hour 3 on
//	remove champion 1 5    it no longer points there
//	stage Production 1 3   version 1 is in the stage
//	unstage 1 5            version 1 is in no stage
//	all 7 champion=2       a snapshot
//	retract 0              the entry was wrong
func registryLog(t *testing.T, lines ...string) *Graph {
	t.Helper()
	g := New()
	for k, b := range registryEntries(t, lines) {
		if err := g.Fold(uint64(k), b); err != nil {
			t.Fatalf("%s: %v", lines[k], err)
		}
	}
	return g
}

func registryEntries(t *testing.T, lines []string) (out [][]byte) {
	t.Helper()
	for k, line := range lines {
		w := strings.Fields(line)
		p := &statement.Registry{Registry: "hub", Name: "model:m"}
		var pred statement.Predicate = p
		name := "model:m"
		switch w[0] {
		case "set", "remove", "stage":
			p.Alias, p.At, p.Stage, p.Removed, name = w[1], hour(w[3]), w[0] == "stage", w[0] == "remove", "model:m@"+w[2]
		case "unstage":
			p.Alias, p.At, p.Stage, p.Removed, name = "None", hour(w[2]), true, true, "model:m@"+w[1]
		case "all":
			p.Mode, p.At, p.Aliases = "snapshot", hour(w[1]), map[string]statement.Resource{}
			for _, a := range w[2:] {
				alias, v, _ := strings.Cut(a, "=")
				p.Aliases[alias] = statement.Resource{Ref: "model:m@" + v}
			}
		case "retract":
			var n uint64
			fmt.Sscan(w[1], &n)
			pred = &statement.Retraction{Entry: n, Reason: "wrong"}
		}
		ref, err := prov.ParseRef(name)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := statement.Format([]statement.Subject{statement.NewSubject(ref, nil)}, pred)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		env, err := statement.Unsigned(payload)
		if err != nil {
			t.Fatal(err)
		}
		b, err := statement.FormatEntry(statement.Entry{RecordedAt: epoch.AddDate(1, 0, k), RecordedBy: "person:ann", Envelope: env})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// named writes what the aliases and stages of model:m pointed at, hour by hour.
func named(g *Graph, hours ...string) string {
	var b strings.Builder
	for _, h := range hours {
		v := g.At(prov.AsOf{Valid: hour(h).Instant(0), Known: prov.AllKnown})
		var out []string
		for _, a := range v.Aliases("hub", prov.Ref{Kind: prov.Model, Name: "m"}) {
			out = append(out, a.Name+"="+v.Ref(a.To).Version)
		}
		fmt.Fprintf(&b, "%s: %s\n", h, strings.Join(out, " "))
	}
	return b.String()
}

func TestAliases(t *testing.T) {
	for _, c := range []struct {
		name, want string
		lines      []string
	}{
		{"removed", "2: \n4: champion=1\n6: \n8: champion=2\n", []string{"set champion 1 3", "remove champion 1 5", "set champion 2 7"}},
		{"removed at once", "2: \n4: \n6: \n8: \n", []string{"set champion 1 3", "remove champion 1 3"}},
		{"stages", "2: \n4: Production=1 Production=2\n6: Archived=1 Production=2\n8: Archived=1\n",
			[]string{"stage Production 1 3", "stage Production 2 3", "stage Archived 1 5", "unstage 2 7"}},
		{"snapshots", "2: \n4: canary=2 champion=1\n6: champion=2\n8: canary=2 champion=2\n", []string{"all 3 champion=1 canary=2", "all 5 champion=2", "all 7 champion=2 canary=2"}},
		{"a snapshot ends what was set", "2: \n4: champion=1\n6: \n8: \n", []string{"set champion 1 3", "all 5"}},
		{"set after a snapshot", "2: \n4: \n6: champion=1\n8: champion=1\n", []string{"all 3", "set champion 1 5"}},
		{"two snapshots of one moment", "2: \n4: champion=1\n6: champion=1\n8: champion=1\n", []string{"all 3 champion=1 canary=1", "all 3 champion=1"}},
		{"a stage is in no snapshot", "2: \n4: Production=1\n6: Production=1\n8: Production=1\n", []string{"stage Production 1 3", "all 5"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			hours := []string{"2", "4", "6", "8"}
			orders(len(c.lines), func(order []int) {
				var lines []string
				for _, i := range order {
					lines = append(lines, c.lines[i])
				}
				g := registryLog(t, lines...)
				if got := named(g, hours...); got != c.want {
					t.Errorf("%v:\n%swant\n%s", lines, got, c.want)
				}
				// Half of it, written and read again, and the rest.
				n := len(lines) / 2
				h, err := Decode(registryLog(t, lines[:n]...).Encode())
				if err != nil {
					t.Fatal(err)
				}
				for _, entry := range registryEntries(t, lines)[n:] {
					if err := h.Fold(h.Size(), entry); err != nil {
						t.Fatal(err)
					}
				}
				if !slices.Equal(h.Encode(), g.Encode()) {
					t.Errorf("%v: read and folded further, the graph is another", lines)
				}
			})
		})
	}
}

func TestSnapshotRetracted(t *testing.T) {
	g := registryLog(t, "set champion 1 3", "all 5", "retract 1")
	if got, want := named(g, "4", "6"), "4: champion=1\n6: champion=1\n"; got != want {
		t.Errorf("without the snapshot:\n%swant\n%s", got, want)
	}
	g = registryLog(t, "all 3 champion=1", "all 5 champion=2", "retract 1")
	if got, want := named(g, "4", "6"), "4: champion=1\n6: champion=1\n"; got != want {
		t.Errorf("without the second snapshot:\n%swant\n%s", got, want)
	}
}

// orders gives every order of n things.
func orders(n int, f func([]int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	var permute func(int)
	permute = func(k int) {
		if k == n {
			f(order)
			return
		}
		for i := k; i < n; i++ {
			order[k], order[i] = order[i], order[k]
			permute(k + 1)
			order[k], order[i] = order[i], order[k]
		}
	}
	permute(0)
}
