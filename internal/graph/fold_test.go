package graph

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// hour parses "" as no time and a number as hours after the epoch.
func hour(s string) statement.Time {
	if s == "" {
		return statement.Time{}
	}
	d, err := time.ParseDuration(s + "h")
	if err != nil {
		panic(err)
	}
	return statement.NewTime(epoch.Add(d))
}

// say folds lines such as these, and gives the graph:
//
//	write r1 3 dataset:d       activity r1, which ended at 3, wrote the dataset
//	fail r1 3 dataset:d        the same, but it failed
//	read r2 5 dataset:d        activity r2, which began at 5, used the dataset
//	end r1 4                   activity r1 ended at 4
//	register dataset:d@1 2     the version was registered at 2
//	same dataset:d dataset:e   two names of one series
//	deploy d1 3 model:m@1      deployment d1 of env:prod and service:s at 3
//	retire d2 5                nothing is deployed there any more
//	retract 0                  the entry was wrong
func say(t testing.TB, lines string) *Graph {
	t.Helper()
	g := New()
	for _, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		w := append(strings.Fields(line), "", "", "")
		p, name := predicate(t, w)
		ref, err := prov.ParseRef(name)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := statement.Format([]statement.Subject{statement.NewSubject(ref, nil)}, p)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		env, err := statement.Unsigned(payload)
		if err != nil {
			t.Fatal(err)
		}
		b, err := statement.FormatEntry(statement.Entry{RecordedAt: epoch.Add(time.Duration(100+g.Size()) * time.Hour),
			RecordedBy: "person:ann", Envelope: env})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Fold(g.Size(), b); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return g
}

func predicate(t testing.TB, w []string) (p statement.Predicate, subject string) {
	switch w[0] {
	case "write":
		return &statement.Activity{Kind: "transform", ID: "activity:" + w[1], EndedAt: hour(w[2])}, w[3]
	case "fail":
		return &statement.Activity{Kind: "transform", ID: "activity:" + w[1], EndedAt: hour(w[2]), State: "failed"}, w[3]
	case "end":
		return &statement.Activity{Kind: "transform", ID: "activity:" + w[1], EndedAt: hour(w[2])}, "activity:" + w[1]
	case "read":
		return &statement.Activity{Kind: "transform", ID: "activity:" + w[1], StartedAt: hour(w[2]),
			Used: []statement.Use{{Resource: statement.Resource{Ref: w[3]}}}}, "activity:" + w[1]
	case "register":
		return &statement.Entity{State: "registered", At: hour(w[2])}, w[1]
	case "same":
		return &statement.Entity{State: "same-as", SameAs: []statement.Resource{{Ref: w[2]}}}, w[1]
	case "deploy":
		return &statement.Deployment{Action: "deploy", ID: "deployment:" + w[1], Environment: "env:prod", Service: "service:s", At: hour(w[2])}, w[3]
	case "retire":
		return &statement.Deployment{Action: "retire", ID: "deployment:" + w[1], Environment: "env:prod", Service: "service:s", At: hour(w[2])}, "service:s"
	case "retract":
		var n uint64
		if _, err := fmt.Sscan(w[1], &n); err != nil {
			t.Fatal(err)
		}
		return &statement.Retraction{Entry: n, Reason: "wrong"}, "service:s"
	}
	t.Fatalf("%q is no word of say", w[0])
	return nil, ""
}

func small(t testing.TB) *Graph {
	return say(t, `
		write r1 3 dataset:d
		read r2 5 dataset:d
		same dataset:d dataset:e
		deploy d1 6 model:m@1
		retract 0
		retract 0`)
}

// seen gives the sorted targets of relations of a type from a thing.
func seen(v View, key string, typ prov.RelationType) string {
	var out []string
	for r := range v.Out(v.LookupKey(key)) {
		if r.Type() == typ {
			out = append(out, string(v.Key(r.To())))
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestBinding tells at each log size what activity r read.
func TestBinding(t *testing.T) {
	for _, c := range []struct{ name, lines, want string }{
		{"the last before the read", "write a 1 dataset:d\nwrite b 3 dataset:d\nwrite c 6 dataset:d\nread r 5 dataset:d", "- - - d@b"},
		{"a writer that is learned of later", "read r 5 dataset:d\nwrite a 1 dataset:d\nwrite b 3 dataset:d", "d d@a d@b"},
		{"a later version changes nothing", "write a 1 dataset:d\nread r 5 dataset:d\nwrite b 6 dataset:d", "- d@a d@a"},
		{"written at the moment of the read", "read r 5 dataset:d\nwrite a 5 dataset:d", "d d@a"},
		{"not what one writes at that moment", "write r 5 dataset:d\nwrite a 3 dataset:d\nread r 5 dataset:d", "- - d@a"},
		{"nor alone", "read r 5 dataset:d\nwrite r 5 dataset:d", "d d"},
		{"two writers of one version", "write r 5 dataset:d@1\nwrite a 5 dataset:d@1\nread r 5 dataset:d", "- - d@1"},
		{"two writers, the other way round", "write a 5 dataset:d@1\nwrite r 5 dataset:d@1\nread r 5 dataset:d", "- - d@1"},
		{"a failed writer", "read r 5 dataset:d\nwrite a 1 dataset:d\nfail b 3 dataset:d", "d d@a d@a"},
		{"that it failed is learned later", "read r 5 dataset:d\nwrite a 1 dataset:d\nwrite b 3 dataset:d\nfail b 3 dataset:d", "d d@a d@b d@a"},
		{"the end moves past the read", "read r 5 dataset:d\nwrite a 1 dataset:d\nend a 6", "d d@a d"},
		{"registered", "read r 5 dataset:d\nregister dataset:d@1 2\nregister dataset:d@2 4\nregister dataset:d@3 6", "d d@1 d@2 d@2"},
		{"written outweighs registered", "register dataset:d@1 2\nread r 5 dataset:d\nwrite a 6 dataset:d@1", "- d@1 d"},
		{"a series that is registered has no version", "read r 5 dataset:d\nregister dataset:d 2", "d d"},
		{"the same series", "read r 5 dataset:d\nwrite a 1 dataset:e\nsame dataset:d dataset:e", "d d e@a"},
		{"a join that is retracted", "read r 5 dataset:d\nwrite a 1 dataset:e\nsame dataset:d dataset:e\nretract 2", "d d e@a d"},
		{"a ring that still holds", "read r 5 dataset:d\nwrite a 1 dataset:e\nsame dataset:d dataset:e\nsame dataset:e dataset:d\nretract 2", "d d e@a e@a e@a"},
		{"a write that is retracted", "write a 1 dataset:d\nwrite b 3 dataset:d\nread r 5 dataset:d\nretract 1", "- - d@b d@a"},
		{"a read that is retracted", "write a 1 dataset:d\nread r 5 dataset:d\nretract 1", "- d@a -"},
	} {
		g := say(t, c.lines)
		var got []string
		for n := uint64(1); n <= g.Size(); n++ {
			v := g.At(prov.AsOf{Valid: prov.Forever, Known: n})
			s := strings.ReplaceAll(seen(v, "activity:r", prov.Used), "dataset:", "")
			if s == "" {
				s = "-"
			}
			got = append(got, s)
		}
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s: what r read at sizes 1, 2, … (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestSlots tells which deployments are live at hours 1 to 7.
func TestSlots(t *testing.T) {
	for _, c := range []struct{ name, lines, want string }{
		{"one after the other", "deploy a 2 model:m@1\ndeploy b 5 model:m@2", "- a a a b b b"},
		{"recorded the other way round", "deploy b 5 model:m@2\ndeploy a 2 model:m@1", "- a a a b b b"},
		{"one in between", "deploy a 2 model:m@1\ndeploy c 6 model:m@3\ndeploy b 4 model:m@2", "- a a b b c c"},
		{"taken down", "deploy a 2 model:m@1\nretire x 4", "- a a - - - -"},
		{"the later is retracted", "deploy a 2 model:m@1\ndeploy b 5 model:m@2\nretract 1", "- a a a a a a"},
		{"the earlier is retracted", "deploy a 2 model:m@1\ndeploy b 5 model:m@2\nretract 0", "- - - - b b b"},
		{"the middle is retracted", "deploy a 2 model:m@1\ndeploy b 4 model:m@2\ndeploy c 6 model:m@3\nretract 1", "- a a a a c c"},
	} {
		g := say(t, c.lines)
		var got []string
		for h := range 7 {
			v := g.At(prov.AsOf{Valid: prov.At(hour(fmt.Sprint(h + 1)).Time), Known: prov.AllKnown})
			live := "-"
			for r := range v.In(v.LookupKey("service:s")) {
				if r.Type() == prov.DeployedTo {
					live = strings.TrimPrefix(strings.TrimPrefix(live, "-")+string(v.Key(r.From())), "deployment:")
				}
			}
			got = append(got, live)
		}
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestRetraction checks that history keeps what was said, and that what cannot
// be retracted is reported.
func TestRetraction(t *testing.T) {
	g := say(t, "write a 1 dataset:d\nretract 0\nretract 1\nretract 9")
	for n, want := range map[uint64]string{1: "activity:a", 2: "", 4: ""} {
		if got := seen(g.At(prov.AsOf{Valid: prov.Forever, Known: n}), "dataset:d@a", prov.GeneratedBy); got != want {
			t.Errorf("at size %d the dataset comes from %q, want %q", n, got, want)
		}
	}
	v := g.At(prov.Now)
	if by, ok := v.RetractedBy(0); !ok || by != 1 {
		t.Errorf("entry 0 is retracted by %d, %t; want 1, true", by, ok)
	}
	var got []uint64
	for _, p := range v.Problems() {
		got = append(got, p.Entry)
	}
	if diff := cmp.Diff([]uint64{2, 3}, got); diff != "" {
		t.Errorf("entries that could not be used (-want +got):\n%s", diff)
	}
}

// A version that the graph names itself may be longer than what anybody may
// write: it is read back all the same.
func TestLongNamesOfItsOwn(t *testing.T) {
	long := strings.Repeat("n", prov.MaxRef-20)
	g := say(t, "write "+long+" 3 dataset:"+long)
	v := g.At(prov.Now)
	for id := ID(1); int(id) < v.Len(); id++ {
		if got := v.Ref(id); got.Key() != string(v.Key(id)) {
			t.Errorf("%d bytes were read back as %d", len(v.Key(id)), len(got.Key()))
		}
	}
}
