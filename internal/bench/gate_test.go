package bench

import (
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/internal/gen"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/policy"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// gateTarget is what a gate on a closure of 1,000 things may take.
const gateTarget = 20 * time.Millisecond

// governed is a history of a model that is made, over steps of three inputs
// each, of things that are all known and approved, so that no rule of a policy
// ends early.
func governed(steps int) iter.Seq[gen.Said] {
	return func(yield func(gen.Said) bool) {
		n := 0
		say := func(by string, p statement.Predicate, subjects ...statement.Subject) {
			at := begin.Add(time.Duration(n) * time.Minute)
			n++
			yield(gen.Said{RecordedAt: at, RecordedBy: by, Subjects: subjects, Predicate: p})
		}
		thing := func(kind prov.Kind, name string) statement.Subject {
			return statement.NewSubject(prov.Ref{Kind: kind, Name: name, Version: "1"}, statement.DigestSet{"sha256": fmt.Sprintf("%x", sha256.Sum256([]byte(name)))})
		}
		at := statement.NewTime(begin)
		say("sa:hr", &statement.Identity{Mode: "event", Source: "hr", At: at, Items: []statement.IdentityItem{
			{Ref: "sa:trainer", Owner: "person:ann"}, {Ref: "person:rita", MemberOf: []string{"team:risk"}}, {Ref: "person:sam", MemberOf: []string{"team:security"}}}},
			statement.NewSubject(prov.Ref{Kind: prov.Team, Name: "all"}, nil))
		approve := func(who, review string, s statement.Subject) {
			a := &statement.Approval{Decision: statement.Approve, Approver: who, Review: review, Log: "bench.example/log"}
			say(who, a, s)
		}
		last := thing(prov.Dataset, "raw")
		say("sa:ci", &statement.Entity{State: "registered", Origin: "https://example.org/raw", Owner: "person:ann", Licence: "MIT", At: at}, last)
		approve("person:sam", "data", last)
		for i := range steps {
			used := []statement.Use{{Resource: statement.Resource{Ref: last.Name, Digest: last.Digest}}}
			for k := range 2 {
				d := thing(prov.Dataset, fmt.Sprintf("d-%d-%d", i, k))
				say("sa:ci", &statement.Entity{State: "registered", Origin: "https://example.org/d", Owner: "person:ann", Licence: "MIT", At: at}, d)
				approve("person:sam", "data", d)
				used = append(used, statement.Use{Resource: statement.Resource{Ref: d.Name, Digest: d.Digest}})
			}
			kind := prov.Dataset
			if i == steps-1 {
				kind = prov.Model
			}
			last = thing(kind, fmt.Sprintf("made-%d", i))
			say("sa:ci", &statement.Activity{Kind: "transform", ID: fmt.Sprintf("activity:t-%d", i), StartedAt: at, Used: used, InputsCompleteness: "observed",
				Identities: []statement.Party{{Ref: "sa:trainer"}}}, last)
			approve("person:sam", "data", last)
		}
		approve("person:sam", "security", last)
		approve("person:rita", "risk", last)
		end := statement.NewTime(begin.Add(time.Duration(n-1) * time.Minute))
		say("sa:ci", &statement.Activity{Kind: "evaluate", ID: "activity:eval", EndedAt: end, Used: []statement.Use{{Resource: statement.Resource{Ref: last.Name, Digest: last.Digest}}}},
			statement.NewSubject(prov.Ref{Kind: prov.Activity, Name: "eval"}, nil))
	}
}

// BenchmarkGate asks policies of the library about a model whose closure holds
// about 1,000 things, all of which satisfy them: the production policy, and the
// one that looks for an approval of every dataset. A policy is parsed once.
func BenchmarkGate(b *testing.B) {
	for _, name := range []string{"production", "approved-data"} {
		b.Run(name, func(b *testing.B) { gateOf(b, name) })
	}
}

func gateOf(b *testing.B, name string) {
	const steps = 142 // seven things each: three names of content, three contents, the activity
	w := once("governed", func() *world { return foldWorld(b, governed(steps)).last() })
	text, err := policy.FromLibrary(name)
	if err != nil {
		b.Fatal(err)
	}
	p, err := policy.Parse(text)
	if err != nil {
		b.Fatal(err)
	}
	v := w.g.At(prov.AsOf{Valid: w.g.At(prov.Now).Recorded(w.g.Size()-1) + 1, Known: prov.AllKnown})
	id := v.Lookup(prov.Ref{Kind: prov.Model, Name: fmt.Sprintf("made-%d", steps-1), Version: "1"})
	q := policy.Question{Thing: id, Context: policy.Context{Log: "bench.example/log", Environment: "prod", Stewards: []string{"sa:hr"}}}
	members := query.Reach(v, []graph.ID{id}, query.Up)
	var took []time.Duration
	for b.Loop() {
		took = took[:0]
		for range 50 {
			start := time.Now()
			got, err := policy.Evaluate(p, v, q)
			if err != nil {
				b.Fatal(err)
			}
			if took = append(took, time.Since(start)); got.Verdict != policy.Allow {
				b.Fatalf("the verdict is %s: %+v", got.Verdict, got.Rules)
			}
		}
	}
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(members), "things")
	b.ReportMetric(ms(took[len(took)/2]), "p50-ms")
	b.ReportMetric(ms(took[len(took)*98/100]), "p98-ms")
	b.ReportMetric(ms(gateTarget), "target-ms")
}
