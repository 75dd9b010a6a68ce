package bundle_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stemma-lineage/stemma/bundle"
	"github.com/stemma-lineage/stemma/internal/proof"
	"github.com/stemma-lineage/stemma/internal/prooftest"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// fan is a log in which a dataset is used by n activities, each of which makes
// a model; half of the models are used by the next activity.
func fan(t testing.TB, n int) *prooftest.Log {
	t.Helper()
	var contents [][]byte
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		at := begin.Add(time.Duration(i) * time.Minute)
		a := &statement.Activity{Kind: "train", ID: fmt.Sprintf("activity:a%d", i), StartedAt: statement.NewTime(at), EndedAt: statement.NewTime(at.Add(time.Second)),
			State: "completed", InputsCompleteness: statement.Observed, Used: []statement.Use{{Resource: statement.Resource{Ref: "dataset:x@1"}}}}
		if i%2 == 1 {
			a.Used = append(a.Used, statement.Use{Resource: statement.Resource{Ref: fmt.Sprintf("model:m%d@1", i-1)}})
		}
		c, err := prooftest.Content(at.Add(time.Minute), a, statement.NewSubject(prov.Ref{Kind: prov.Model, Name: fmt.Sprintf("m%d", i), Version: "1"}, nil))
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, c)
	}
	l, err := prooftest.New(contents, prooftest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func proved(t testing.TB, l *prooftest.Log, q proof.Question) []byte {
	t.Helper()
	p, err := l.Prove(q)
	if err != nil {
		t.Fatal(err)
	}
	b, _, _, err := bundle.WriteProof(p, l.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unused(ref string) proof.Question {
	return proof.Question{Verb: proof.Unused, Thing: proof.Thing{Ref: ref}, Accept: statement.Observed}
}

func TestProofOfManyEntities(t *testing.T) {
	l := fan(t, 300)
	res, err := bundle.Verify(proved(t, l, unused("dataset:x@1")), l.Verifier, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Proof.Members) != 601 || res.Proof.Verdict != proof.Used {
		t.Errorf("%d members, %s", len(res.Proof.Members), res.Proof.Verdict)
	}
}

// BenchmarkVerifyProof verifies a bundle of 2,000 entities: 1,000 activities
// and what they made.
func BenchmarkVerifyProof(b *testing.B) {
	l := fan(b, 1000)
	data := proved(b, l, unused("dataset:x@1"))
	b.ReportMetric(float64(len(data)), "bytes")
	for b.Loop() {
		if _, err := bundle.Verify(data, l.Verifier, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(data)), "bytes")
}

// FuzzVerifyProof changes what a bundle says beside its entries: question,
// lists and tree. Whatever is in them, the verifier ends, and takes only the
// bundle that it would write itself.
func FuzzVerifyProof(f *testing.F) {
	good, err := os.ReadFile(filepath.Join("..", "vectors", "good", "used.zip"))
	if err != nil {
		f.Fatal(err)
	}
	var list struct{ Key string }
	text, err := os.ReadFile(filepath.Join("..", "vectors", "vectors.json"))
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		f.Fatal(err)
	}
	v, err := note.NewVerifier(list.Key)
	if err != nil {
		f.Fatal(err)
	}
	members, err := prooftest.Members(good)
	if err != nil {
		f.Fatal(err)
	}
	at := func(name string) int {
		return slices.IndexFunc(members, func(m prooftest.Member) bool { return m.Name == name })
	}
	question, lists, tree := at("question.json"), at("index/lists.json"), at("index/proof")
	f.Add(members[question].Data, members[lists].Data, members[tree].Data)
	f.Fuzz(func(t *testing.T, q, l, p []byte) {
		changed := slices.Clone(members)
		changed[question].Data, changed[lists].Data, changed[tree].Data = q, l, p
		data, err := prooftest.Zip(changed)
		if err != nil {
			t.Skip(err)
		}
		_, err = bundle.Verify(data, v, nil)
		if err == nil && !bytes.Equal(data, good) {
			t.Errorf("another bundle verifies: %s %s", q, l)
		}
		if err != nil && !errors.Is(err, bundle.ErrVerify) {
			t.Errorf("the error is not ErrVerify: %v", err)
		}
	})
}
