package inventorytest

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/bom/bomtest"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/statement"
)

// Fold takes what an importer says of a document into a graph, as recorded at
// a time.
func Fold(t testing.TB, g *graph.Graph, im importer.Importer, data []byte, at time.Time) {
	t.Helper()
	for _, it := range bomtest.Read(t, im, data) {
		if it.Refusal != nil {
			t.Fatalf("%s: %s", it.Place, it.Refusal.Error())
		}
		for _, d := range it.Statements {
			payload, err := statement.Format(d.Subjects, d.Predicate)
			if err != nil {
				t.Fatal(err)
			}
			s, err := statement.Parse(payload)
			if err != nil {
				t.Fatal(err)
			}
			p := statement.Parsed{Digest: sha256.Sum256(append(payload, at.String()...)), Statement: s}
			if err := g.FoldParsed(g.Size(), at, "sa:importer", p); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Reach gives the outcome of asking whether an identity reaches a resource.
func Reach(t testing.TB, v graph.View, from, to, action string) (string, *query.Answer) {
	t.Helper()
	a, err := query.CanReach(v, from, to, query.Options{Action: action})
	var none *query.NoPathError
	switch {
	case errors.As(err, &none):
		return none.Answer.Outcome, none.Answer
	case errors.Is(err, query.ErrNotFound):
		return "none", nil
	case err != nil:
		t.Fatal(err)
	}
	return a.Outcome, a
}
