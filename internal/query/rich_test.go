package query_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// rich makes random histories with statements of every kind, over few names.
// The reference does not read all of them.
func rich(t testing.TB, seed uint64) history {
	m := &maker{t: t, r: rand.New(rand.NewPCG(seed, 7))}
	for n := 3 + m.r.IntN(12); len(m.h) < n; {
		if m.is(50) {
			m.entry(true)
		} else {
			m.odd()
		}
	}
	return m.h
}

const emptyDigest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// anything names a thing of many kinds.
func (m *maker) anything() statement.Resource {
	switch m.r.IntN(8) {
	case 0:
		return statement.Resource{Ref: pick(m, "sa:etl", "person:ann", "team:t", "agent:x", "agent:x@1")}
	case 1:
		return statement.Resource{Ref: pick(m, "credential:k", "credential:l@1", "secret:s", "tool:t", "tool:t@2", "prompt:p")}
	case 2:
		return statement.Resource{Ref: pick(m, "column:dataset:a#f", "column:dataset:a#f@1", "column:dataset:b#f")}
	case 3:
		return statement.Resource{Ref: "dataset:ns/a" + pick(m, "", "@1"), Namespace: pick(m, "", "ns")}
	case 4:
		return statement.Resource{Ref: m.series(), Digest: statement.DigestSet{"sha256": emptyDigest}}
	case 5:
		return statement.Resource{Ref: pick(m, "deployment:prod/s", "deployment:d1", "approval:a1", "activity:p", "model:m@champion", "policy:g", "policy:g@1")}
	}
	return m.resource()
}

func (m *maker) column() statement.Resource {
	return statement.Resource{Ref: "column:" + pick(m, "a", "b") + "#" + pick(m, "f", "g") + pick(m, "", "", "@1")}
}

func about(r statement.Resource) statement.Subject {
	if r.Ref == "" {
		return statement.Subject{Digest: r.Digest}
	}
	ref, err := prov.ParseRef(r.Ref)
	if err == nil {
		ref, err = ref.InNamespace(r.Namespace)
	}
	if err != nil {
		panic(err)
	}
	return statement.NewSubject(ref, r.Digest)
}

// odd adds a statement that maker.entry does not make.
func (m *maker) odd() {
	switch m.r.IntN(14) {
	case 0:
		m.h.add(m.t, &statement.Delegation{Parent: pick(m, "sa:etl", "agent:x@1", "agent:x"), Child: pick(m, "subagent:c", "agent:x"), Grade: "issuer",
			OnBehalfOf: pick(m, "", "person:ann"), Credential: pick(m, "", "credential:k"), IssuedAt: m.time(50)}, subject("agent:x", nil))
	case 1, 2:
		m.columns()
	case 3, 4:
		m.full()
	case 5:
		m.h.add(m.t, &statement.Deployment{Action: pick(m, "deploy", "retire"), Environment: "env:prod", Service: pick(m, "service:s", "service:r"), At: m.time(60),
			RunsAs: []string{pick(m, "sa:etl", "agent:x")}, Credentials: []statement.Resource{m.anything()}, Secrets: []statement.Resource{{Ref: "secret:s"}},
			Tools: []statement.Resource{m.anything()}, PolicyBundle: &statement.Resource{Ref: pick(m, "policy:g", "policy:g@1")},
			Identities: []statement.Party{{Ref: "person:ann"}}, Supersedes: pick(m, "", "deployment:d1", "deployment:prod/s")}, about(m.anything()))
	case 6:
		m.h.add(m.t, &statement.Approval{Decision: "approve", ID: pick(m, "", "approval:a1"), Approver: pick(m, "person:carol", "agent:x"), Review: "risk", DecidedAt: m.time(50),
			Credential: pick(m, "", "credential:k"), Supersedes: pick(m, "", "approval:a1"),
			Evidence: []statement.Evidence{{Digest: statement.DigestSet{"sha256": hex(pick(m, "x", "y"))}}}}, about(m.anything()), about(m.anything()))
	case 7:
		m.h.add(m.t, &statement.Entity{State: "described", At: m.time(50), PartOf: []statement.Resource{m.anything()}, Owner: pick(m, "", "person:ann", "agent:x")}, about(m.anything()))
	case 8:
		m.h.add(m.t, &statement.Entity{State: "same-as", SameAs: []statement.Resource{m.anything()}}, about(m.anything()))
	case 9:
		m.h.add(m.t, &statement.Policy{Name: "g", Text: "rules: []", At: m.time(60)}, subject("policy:g"+pick(m, "", "@1"), nil))
	case 10:
		m.h.add(m.t, &statement.Registry{Mode: "snapshot", Registry: "r", Name: "model:m", Aliases: map[string]statement.Resource{"champion": m.resource(), "b": m.anything()},
			At: hour(len(m.h)), Identities: []statement.Party{{Ref: pick(m, "person:bob", "agent:x")}}}, subject("model:m", nil))
	case 11:
		m.h.add(m.t, &statement.VSA{ResourceURI: "x", VerificationResult: "PASSED"}, about(m.anything()))
	case 12:
		m.h.add(m.t, &statement.Entity{State: "described", At: m.time(60), Derived: []statement.Derivation{{To: m.anything(), Rule: statement.RuleDesignTime,
			From: []statement.DerivedInput{{Resource: m.anything()}}}}}, about(m.anything()))
	case 13:
		m.h.add(m.t, &statement.Identity{Mode: "event", Source: "x", At: m.time(50), Items: []statement.IdentityItem{{Ref: pick(m, "sa:etl", "agent:x"), Owner: "team:t",
			RunsAs: []string{"sa:other"}, Trust: []statement.TrustItem{{Principal: "sa:t", Deny: m.is(50)}}, Credentials: []statement.CredentialItem{
				{Ref: pick(m, "credential:k", "credential:z@1"), State: pick(m, "", "revoked", "expired"), IssuedAt: m.time(50)}},
			MemberOf: []string{"team:t"}, CanAssume: []string{"sa:other"}, Secrets: []string{"secret:s"}, Roles: []statement.RoleItem{{Role: "role:r"}},
			Grants: []statement.GrantItem{{Resource: m.series(), Deny: m.is(30)}}}}}, subject("sa:etl", nil))
	}
}

// columns is an activity with derivations of columns.
func (m *maker) columns() {
	id := pick(m, "activity:p", "activity:q", "activity:r")
	out := pick(m, "dataset:a", "dataset:b", "dataset:a@1")
	a := &statement.Activity{Kind: "transform", ID: id, StartedAt: m.time(60), EndedAt: statement.Time{}, State: pick(m, "", "completed", "failed"),
		Used: []statement.Use{{Resource: statement.Resource{Ref: "dataset:" + pick(m, "a", "b")}}}}
	for range 1 + m.r.IntN(2) {
		a.Derived = append(a.Derived, statement.Derivation{To: m.column(), Rule: statement.RuleColumn, From: []statement.DerivedInput{{Resource: m.column()}}})
	}
	m.h.add(m.t, a, subject(id, nil), subject(out, nil))
}

// full is an activity with all that one can have.
func (m *maker) full() {
	id := pick(m, "activity:p", "activity:q", "activity:ns/q")
	ns := ""
	if id == "activity:ns/q" {
		ns = pick(m, "", "ns")
	}
	a := &statement.Activity{Kind: "invoke", ID: id, Namespace: ns, StartedAt: m.time(50), ObservedAt: m.time(30), State: pick(m, "", "started", "other"),
		InputsCompleteness: pick(m, "", statement.Observed, statement.Declared, statement.BestEffort),
		Plan:               &statement.Resource{Ref: pick(m, "plan:l", "plan:l@1", "plan:ns/l"), Namespace: ""},
		InformedBy:         []statement.Resource{{Ref: pick(m, "activity:p", "activity:r")}},
		OnBehalfOf:         []statement.Party{{Ref: pick(m, "person:ann", "agent:x")}},
		Credentials:        []statement.Resource{{Ref: pick(m, "credential:k", "credential:l")}}, Tools: []statement.Resource{m.anything()},
		Used: []statement.Use{{Resource: m.anything(), At: m.time(30)}}}
	m.h.add(m.t, a, about(m.anything()), about(m.anything()))
	if m.is(20) {
		m.h.add(m.t, &statement.Registry{Registry: "r", Name: "model:m", Alias: "champion", Stage: m.is(50), At: hour(len(m.h))}, about(statement.Resource{Ref: fmt.Sprintf("model:m@%d", 1+m.r.IntN(2))}))
	}
}
