package query_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// said is one entry of a history, as the reference reads it and as the graph
// folds it.
type said struct {
	subjects []statement.Subject
	pred     statement.Predicate
	at       time.Time
	content  []byte
	copyOf   int // the entry whose envelope this one repeats; -1: none
}

type history []said

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func hour(h int) statement.Time { return statement.NewTime(epoch.Add(time.Duration(h) * time.Hour)) }

// recorded interleaves the times of recording with those that are claimed.
func recorded(i int) time.Time { return epoch.Add(4*time.Hour + time.Duration(i)*7*time.Minute) }

func hex(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

func content(t testing.TB, subjects []statement.Subject, p statement.Predicate, at time.Time) []byte {
	t.Helper()
	payload, err := statement.Format(subjects, p)
	if err != nil {
		t.Fatal(err)
	}
	env, err := statement.Unsigned(payload)
	if err != nil {
		t.Fatal(err)
	}
	b, err := statement.FormatEntry(statement.Entry{RecordedAt: at, RecordedBy: "person:ann", Envelope: env})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// envelope gives the bytes of an entry after its time.
func envelope(content []byte) []byte { return content[bytes.Index(content, []byte(`"envelope"`)):] }

func (h *history) add(t testing.TB, p statement.Predicate, subjects ...statement.Subject) {
	t.Helper()
	at := recorded(len(*h))
	s := said{subjects, p, at, content(t, subjects, p, at), -1}
	for i, o := range *h {
		if o.copyOf < 0 && bytes.Equal(envelope(o.content), envelope(s.content)) {
			s.copyOf = i
		}
	}
	*h = append(*h, s)
}

// repeat appends the envelope of entry i once more.
func (h *history) repeat(t testing.TB, i int) {
	t.Helper()
	s := (*h)[i]
	s.at, s.copyOf = recorded(len(*h)), i
	s.content = content(t, s.subjects, s.pred, s.at)
	*h = append(*h, s)
}

// fold folds the first n entries.
func (h history) fold(t testing.TB, n int) *graph.Graph {
	t.Helper()
	g := graph.New()
	h.foldInto(t, g, n)
	return g
}

func (h history) foldInto(t testing.TB, g *graph.Graph, n int) {
	t.Helper()
	for i := int(g.Size()); i < n; i++ {
		if err := g.Fold(uint64(i), h[i].content); err != nil {
			t.Fatal(err)
		}
		if i%3 == 2 { // so that rows and lists both have a part
			g.Compact()
		}
	}
}

func subject(ref string, digest statement.DigestSet) statement.Subject {
	r, err := prov.ParseRef(ref)
	if err != nil {
		panic(err)
	}
	return statement.NewSubject(r, digest)
}

// maker makes random histories over few names and few times, so that they
// meet often.
type maker struct {
	t testing.TB
	r *rand.Rand
	h history
}

func random(t testing.TB, seed uint64, retractions bool) history {
	m := &maker{t: t, r: rand.New(rand.NewPCG(seed, 0))}
	for n := 3 + m.r.IntN(10); len(m.h) < n; {
		m.entry(retractions)
	}
	return m.h
}

func (m *maker) is(percent int) bool { return m.r.IntN(100) < percent }

func pick[T any](m *maker, xs ...T) T { return xs[m.r.IntN(len(xs))] }

func (m *maker) time(percent int) statement.Time {
	if !m.is(percent) {
		return statement.Time{}
	}
	return hour(m.r.IntN(9))
}

func (m *maker) series() string { return pick(m, "dataset:a", "dataset:b", "dataset:c", "model:m") }

func (m *maker) entry(retractions bool) {
	switch x := m.r.IntN(100); {
	case x < 50:
		m.activity()
	case x < 60:
		m.registered()
	case x < 67:
		m.sameAs()
	case x < 72:
		m.derived()
	case x < 77:
		m.approval()
	case x < 83:
		m.deployment()
	case x < 86:
		m.h.add(m.t, &statement.Notice{Kind: "compromised", ID: fmt.Sprintf("notice:n%d", len(m.h)), Since: m.time(50)}, m.subject())
	case x < 89:
		m.h.add(m.t, &statement.Registry{Registry: "r", Name: "model:m", Alias: "champion", At: hour(len(m.h)),
			Identities: []statement.Party{{Ref: "person:bob"}}}, subject("model:m@1", nil))
	case x < 93:
		m.inventory()
	case retractions && len(m.h) > 0 && x < 98:
		m.h.add(m.t, &statement.Retraction{Entry: uint64(m.r.IntN(len(m.h))), Reason: "wrong"}, subject("dataset:a", nil))
	case retractions && len(m.h) > 0:
		if i := m.r.IntN(len(m.h)); m.h[i].copyOf < 0 {
			m.h.repeat(m.t, i)
		}
	}
}

// named gives a name: of a series, of a version, or with a digest.
func (m *maker) named() (string, statement.DigestSet) {
	name := m.series()
	if m.is(40) {
		name += pick(m, "@1", "@2")
	}
	if m.is(20) {
		return name, statement.DigestSet{"sha256": hex(pick(m, "x", "y", "z"))}
	}
	return name, nil
}

func (m *maker) resource() statement.Resource {
	name, d := m.named()
	if d != nil && m.is(30) {
		name = ""
	}
	return statement.Resource{Ref: name, Digest: d}
}

func (m *maker) subject() statement.Subject {
	name, d := m.named()
	return subject(name, d)
}

func (m *maker) activity() {
	id := pick(m, "activity:p", "activity:q", "activity:r", "activity:s", "activity:t")
	a := &statement.Activity{Kind: "transform", ID: id, StartedAt: m.time(60), ObservedAt: m.time(20),
		State: pick(m, "", "", "completed", "started", "failed", "aborted")}
	if m.is(60) {
		a.EndedAt = hour(m.r.IntN(9))
		if a.EndedAt.Before(a.StartedAt.Time) {
			a.EndedAt = a.StartedAt
		}
	}
	for range m.r.IntN(3) {
		a.Used = append(a.Used, statement.Use{Resource: m.resource(), At: m.time(10)})
	}
	subjects := []statement.Subject{subject(id, nil)}
	for range m.r.IntN(3) {
		subjects = append(subjects, m.subject())
	}
	for range m.r.IntN(8) / 6 {
		to := m.resource()
		if m.is(50) && len(subjects) > 1 {
			s := subjects[1]
			to = statement.Resource{Ref: s.Name}
			if s.Digest["sha256"] != "" {
				to.Digest = s.Digest
			}
		}
		a.Derived = append(a.Derived, statement.Derivation{To: to, Rule: statement.RuleStated,
			From: []statement.DerivedInput{{Resource: m.resource()}}})
	}
	if m.is(30) {
		a.Plan = &statement.Resource{Ref: "code:c" + pick(m, "", "@1")}
	}
	if m.is(30) {
		a.Identities = []statement.Party{{Ref: pick(m, "person:ann", "sa:etl")}}
	}
	m.h.add(m.t, a, subjects...)
}

func (m *maker) registered() {
	name, d := m.named()
	m.h.add(m.t, &statement.Entity{State: "registered", At: m.time(70), Owner: pick(m, "", "person:ann", "team:t")}, subject(name, d))
}

func (m *maker) sameAs() {
	m.h.add(m.t, &statement.Entity{State: "same-as", SameAs: []statement.Resource{{Ref: m.series()}}}, subject(m.series(), nil))
}

func (m *maker) derived() {
	m.h.add(m.t, &statement.Entity{State: "described", At: m.time(70), Derived: []statement.Derivation{{To: m.resource(),
		Rule: statement.RuleDesignTime, From: []statement.DerivedInput{{Resource: m.resource()}}}}}, subject("dataset:a", nil))
}

func (m *maker) approval() {
	m.h.add(m.t, &statement.Approval{Decision: pick(m, "approve", "reject"), ID: fmt.Sprintf("approval:a%d", len(m.h)),
		Approver: "person:carol", Review: "risk", DecidedAt: m.time(50)}, m.subject())
}

func (m *maker) deployment() {
	d := &statement.Deployment{Action: pick(m, "deploy", "deploy", "retire"), ID: fmt.Sprintf("deployment:d%d", len(m.h)),
		Environment: "env:prod", Service: "service:s", At: m.time(80), RunsAs: []string{"sa:etl"}}
	if m.is(30) {
		d.Prompts = []statement.Resource{m.resource()}
	}
	m.h.add(m.t, d, m.subject())
}

func (m *maker) inventory() {
	c := statement.CredentialItem{Ref: pick(m, "credential:k", "credential:l@1")}
	if m.is(40) {
		c.IssuedAt, c.ExpiresAt = hour(2), hour(6)
	}
	// Two inventories of one source at one time contradict each other: the
	// time is told by the position.
	m.h.add(m.t, &statement.Identity{Mode: pick(m, "event", "snapshot"), Source: pick(m, "vault", "cloud"), At: hour(len(m.h)),
		Items: []statement.IdentityItem{{Ref: "sa:etl", Credentials: []statement.CredentialItem{c}}}}, subject("sa:etl", nil))
}
