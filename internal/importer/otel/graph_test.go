package otel

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// ties folds what the Items say and writes the relations that it makes.
func ties(t *testing.T, items []importer.Item) []string {
	t.Helper()
	g := graph.New()
	for _, it := range items {
		for _, d := range it.Statements {
			payload, err := statement.Format(d.Subjects, d.Predicate)
			if err != nil {
				t.Fatal(err)
			}
			s, err := statement.Parse(payload)
			if err != nil {
				t.Fatal(err)
			}
			p := statement.Parsed{Digest: sha256.Sum256(payload), Statement: s}
			if err := g.FoldParsed(g.Size(), time.Unix(1800000000, 0), "importer", p); err != nil {
				t.Fatal(err)
			}
		}
	}
	v := g.At(prov.Now)
	var out []string
	for id := graph.ID(1); int(id) <= g.Things(); id++ {
		for r := range v.Out(id) {
			x := v.Relation(r)
			out = append(out, fmt.Sprintf("%s %s %s (%s)", v.Ref(x.From), x.Type, v.Ref(x.To), x.Role))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestSpansFindEachOther sends the spans of a trace in one document, and each
// in a document of its own, in both orders: what stands in the spans
// themselves is tied alike.
func TestSpansFindEachOther(t *testing.T) {
	spans := []string{
		`{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b000000000000001","name":"invoke_agent planner","startTimeUnixNano":"1790000000000000000","endTimeUnixNano":"1790000010000000000"}`,
		`{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b000000000000002","parentSpanId":"b000000000000001","name":"chat m","startTimeUnixNano":"1790000001000000000","endTimeUnixNano":"1790000002000000000","attributes":[{"key":"gen_ai.request.model","value":{"stringValue":"m"}}]}`,
		`{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b000000000000003","parentSpanId":"b000000000000002","name":"execute_tool look","startTimeUnixNano":"1790000003000000000","endTimeUnixNano":"1790000004000000000"}`,
	}
	document := func(s ...string) string {
		return `{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Join(s, ",") + `]}]}]}`
	}
	var apart []string
	for _, s := range spans {
		apart = append(apart, document(s))
	}
	forth := ties(t, readAll(t, []byte(strings.Join(apart, "\n")), Options{}))
	slices.Reverse(apart)
	back := ties(t, readAll(t, []byte(strings.Join(apart, "\n")), Options{}))
	if diff := cmp.Diff(forth, back); diff != "" {
		t.Errorf("the order of documents makes a difference:\n%s", diff)
	}
	const trace = "activity:0af7651916cd43dd8448eb211c80319c"
	for name, got := range map[string][]string{"apart": forth, "whole": ties(t, readAll(t, []byte(document(spans...)), Options{}))} {
		for _, want := range []string{
			trace + "/b000000000000001 InformedBy " + trace + " ()",
			trace + "/b000000000000002 InformedBy " + trace + "/b000000000000001 ()",
			trace + "/b000000000000003 InformedBy " + trace + "/b000000000000002 ()",
			trace + "/b000000000000003 CallsTool tool:look ()",
			trace + "/b000000000000001 AssociatedWith agent:planner (agent)",
		} {
			if !slices.Contains(got, want) {
				t.Errorf("%s: %q is not in\n%s", name, want, strings.Join(got, "\n"))
			}
		}
	}
}

// TestLongChain reads a chain of twenty thousand agents, and one that is a
// circle, without climbing it anew for each.
func TestLongChain(t *testing.T) {
	const n = 20_000
	for _, circle := range []bool{false, true} {
		u := &unit{}
		p := newProcess(attrs{"service.name": "s"})
		for i := range n {
			s := span{trace: strings.Repeat("a", 32), id: fmt.Sprintf("%016x", i+1), parent: fmt.Sprintf("%016x", i), name: "invoke_agent a", process: p}
			if i == 0 {
				s.parent = ""
				if circle {
					s.parent = fmt.Sprintf("%016x", n)
				}
			}
			u.take(s, [3]bool{true, true, true}, [3]string{})
		}
		if got := len(u.drafts()); got != n+1 {
			t.Errorf("%d statements, want %d", got, n+1)
		}
	}
}
