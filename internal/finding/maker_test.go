package finding

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

const testLog = "example.org/log"

var (
	epoch       = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	testOptions = Options{Log: testLog, Stewards: []string{"sa:rec", "sa:hr"}}
)

// content makes the bytes of an entry.
type content func(t testing.TB) []byte

func entry(by string, at time.Time, p statement.Predicate, subjects ...statement.Subject) content {
	return func(t testing.TB) []byte {
		t.Helper()
		payload, err := statement.Format(subjects, p)
		if err != nil {
			t.Fatal(err)
		}
		env, err := statement.Unsigned(payload)
		if err != nil {
			t.Fatal(err)
		}
		b, err := statement.FormatEntry(statement.Entry{RecordedAt: at, RecordedBy: by, Envelope: env})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

func digestOf(name string) statement.DigestSet {
	return statement.DigestSet{"sha256": fmt.Sprintf("%x", sha256.Sum256([]byte(name)))}
}

func thing(name string, digest statement.DigestSet) statement.Subject {
	r, err := prov.ParseRef(name)
	if err != nil {
		panic(err)
	}
	return statement.NewSubject(r, digest)
}

func used(s statement.Subject) statement.Use {
	return statement.Use{Resource: statement.Resource{Ref: s.Name, Digest: s.Digest}}
}

// maker makes random histories in which everything that the detectors look at
// happens, well and badly.
type maker struct {
	r   *rand.Rand
	odd bool // names stand for several contents, and decisions are signed by others
	h   []content
}

func (m *maker) one(n int) bool { return m.r.IntN(n) == 0 }

func pick[T any](m *maker, xs ...T) T { return xs[m.r.IntN(len(xs))] }

func (m *maker) time() statement.Time {
	return statement.NewTime(epoch.Add(time.Duration(m.r.IntN(4000)) * time.Hour))
}

func (m *maker) maybe() statement.Time {
	if m.one(3) {
		return statement.Time{}
	}
	return m.time()
}

func (m *maker) period() (from, until statement.Time) {
	from, until = m.maybe(), m.maybe()
	if !from.IsZero() && !until.IsZero() && until.Before(from.Time) {
		from, until = until, from
	}
	return
}

func (m *maker) add(by string, p statement.Predicate, subjects ...statement.Subject) {
	at := epoch.Add(time.Duration(len(m.h)*60+m.r.IntN(50)) * time.Hour)
	m.h = append(m.h, entry(by, at, p, subjects...))
}

func (m *maker) history(n int) []content {
	if !m.odd { // what decisions need to count is there from the beginning
		for _, who := range []string{"person:a", "person:b", "person:c"} {
			m.add("sa:rec", &statement.Identity{Mode: "event", Source: "hr", At: statement.NewTime(epoch), Items: []statement.IdentityItem{
				{Ref: who, State: "active", MemberOf: []string{"team:" + who[len("person:"):]}}}}, thing(who, nil))
		}
		for _, who := range []string{"sa:x", "sa:y", "workload:w", "tool:t@1"} {
			m.add("sa:rec", &statement.Identity{Mode: "event", Source: "cmdb", At: statement.NewTime(epoch), Items: []statement.IdentityItem{{Ref: who, Owner: "person:a"}}}, thing(who, nil))
		}
	}
	steps := []func(){m.people, m.accounts, m.data, m.train, m.deploy, m.decide, m.decide, m.deploy, m.notice, m.delegate, m.act, m.waive, m.retract, m.trustees}
	for _, f := range steps[:5] {
		f()
	}
	for len(m.h) < n {
		steps[m.r.IntN(len(steps))]()
	}
	return m.h
}

func (m *maker) model() statement.Subject {
	n := pick(m, "1", "2")
	digest := digestOf("m" + n)
	switch {
	case m.odd && m.one(8): // the name stands for other content too
		digest = digestOf("m1")
	case m.one(6):
		digest = nil
	}
	return thing("model:m@"+n, digest)
}

func (m *maker) dataset() statement.Subject {
	n := pick(m, "1", "2", "2")
	return thing("dataset:d@"+n, pick(m, digestOf("d"+n), nil))
}

func (m *maker) person() string { return pick(m, "person:a", "person:b", "person:c") }

func (m *maker) account() string { return pick(m, "sa:x", "sa:y", "workload:w") }

func (m *maker) credential() string {
	return pick(m, "credential:k@1", "credential:k@2", "credential:j@1")
}

func (m *maker) people() {
	who := m.person()
	it := statement.IdentityItem{Ref: who, State: pick(m, "", "active", "inactive", "retired"), MemberOf: []string{pick(m, "team:ml", "team:risk")}}
	from, until := m.period()
	it.Roles = []statement.RoleItem{{Role: pick(m, "role:reviewer", "role:risk-owner", "role:admin"), From: from, Until: until}}
	m.add("sa:rec", &statement.Identity{Mode: pick(m, "event", "event", "snapshot"), Source: "hr", At: m.maybe(), Items: []statement.IdentityItem{it}}, thing(who, nil))
}

func (m *maker) accounts() {
	who := m.account()
	it := statement.IdentityItem{Ref: who, Owner: pick(m, "", "person:a", "team:ml", "person:b")}
	if !m.odd {
		it.Owner = "person:a"
	}
	from, until := m.period()
	it.Credentials = []statement.CredentialItem{{Ref: m.credential(), IssuedAt: from, ExpiresAt: until, LastUsedAt: m.maybe(), RotatedAt: m.maybe(),
		State: pick(m, "", "", "active", "revoked")}}
	it.Grants = []statement.GrantItem{{Resource: pick(m, "resource:b", "resource:*"), Scope: []string{pick(m, "s3:get", "s3:*", "*", "crm:read")}, Condition: pick(m, "", "", "ip")}}
	m.add("sa:rec", &statement.Identity{Mode: pick(m, "event", "snapshot"), Source: "iam", At: m.maybe(), Items: []statement.IdentityItem{it}}, thing(who, nil))
}

func (m *maker) trustees() {
	who := m.account()
	it := statement.IdentityItem{Ref: who, Trust: []statement.TrustItem{{Principal: pick(m, "x-any:*", "x-oidc:oidc/p", "sa:z"), Condition: pick(m, "", "sub=a", "aud=b", "sub=*")}}}
	m.add("sa:rec", &statement.Identity{Mode: "event", Source: "iam", At: m.maybe(), Items: []statement.IdentityItem{it}}, thing(who, nil))
}

func (m *maker) data() {
	m.add("sa:rec", &statement.Entity{State: pick(m, "registered", "described"), At: m.maybe(), Origin: pick(m, "", "unknown", "https://example.org"),
		Owner: pick(m, "", "person:a", "person:a", "team:ml")}, pick(m, m.dataset(), m.model(), thing("tool:t@1", digestOf("t1"))))
}

func (m *maker) train() {
	a := &statement.Activity{Kind: pick(m, "train", "transform"), ID: fmt.Sprintf("activity:t%d", m.r.IntN(6)), InputsCompleteness: pick(m, "", "best-effort", "observed")}
	a.StartedAt, a.EndedAt = m.period()
	if !m.one(4) {
		a.Used = []statement.Use{used(pick(m, m.dataset(), m.dataset(), thing("dataset:d", nil), m.model()))}
	}
	a.Identities = []statement.Party{{Ref: pick(m, m.account(), m.person())}}
	if !m.odd {
		a.Identities[0].Ref = pick(m, m.account(), "person:a")
	}
	m.add("sa:rec", a, pick(m, m.model(), m.dataset()))
}

func (m *maker) deploy() {
	n := m.r.IntN(5)
	d := &statement.Deployment{Action: pick(m, "deploy", "deploy", "retire"), ID: fmt.Sprintf("deployment:d%d", n), Environment: pick(m, "env:prod", "env:test"),
		Service: pick(m, "service:s", "service:r"), At: m.maybe(), RunsAs: []string{m.account()}, Credentials: []statement.Resource{{Ref: m.credential()}},
		Tools: []statement.Resource{{Ref: "tool:t@1", Digest: pick(m, digestOf("t1"), nil)}}, Identities: []statement.Party{{Ref: m.person()}}}
	if m.one(3) {
		d.Action, d.Restores = "rollback", fmt.Sprintf("deployment:d%d", m.r.IntN(5))
	}
	if m.one(2) {
		d.Supersedes = fmt.Sprintf("deployment:d%d", m.r.IntN(5))
	}
	m.add("sa:rec", d, m.model())
}

func (m *maker) decide() {
	who := pick(m, m.person(), m.person(), "agent:helper")
	if !m.odd {
		who = pick(m, "person:b", "person:c", "person:c", "person:a")
	}
	a := &statement.Approval{Decision: pick(m, "approve", "approve", "approve", "reject", "revoke"), Approver: who, Review: pick(m, "risk", "security"),
		Role: pick(m, "", "role:reviewer"), DecidedAt: m.maybe(), Log: testLog}
	if m.odd || m.one(2) { // without a period it ends never
		a.ValidFrom, a.ValidUntil = m.period()
	}
	if !m.odd {
		a.Role, a.DecidedAt = "", statement.Time{}
	}
	if m.one(4) {
		a.Environments = []string{pick(m, "env:prod", "env:test")}
	}
	by := who
	if m.odd && m.one(4) {
		by = "person:mallory"
	}
	m.add(by, a, pick(m, m.model(), m.model(), m.dataset(), thing("tool:t@1", digestOf("t1"))))
}

func (m *maker) notice() {
	from, until := m.period()
	m.add("sa:rec", &statement.Notice{Kind: pick(m, "compromised", "vulnerable", "leaked", "withdrawn"), Since: from, Until: until},
		pick(m, m.dataset(), m.model(), thing(m.credential(), nil)))
}

func (m *maker) delegate() {
	actors := []string{"person:a", "agent:p", "subagent:q", "subagent:r", "tool:t"}
	d := &statement.Delegation{Parent: pick(m, actors...), Child: pick(m, actors[1:]...), Grade: pick(m, "issuer", "self-reported", "resource-side"),
		Credential: pick(m, "", "credential:c@1", "credential:c@2"), OnBehalfOf: pick(m, "", "person:a")}
	for range m.r.IntN(3) {
		d.Scope = append(d.Scope, pick(m, "crm:read", "crm:write", "crm:*", "admin"))
	}
	d.IssuedAt, d.ExpiresAt = m.period()
	m.add("sa:rec", d, thing(d.Child, nil))
}

func (m *maker) act() {
	a := &statement.Activity{Kind: pick(m, "invoke", "evaluate"), ID: fmt.Sprintf("activity:i%d", m.r.IntN(5)), StartedAt: m.maybe(),
		Identities: []statement.Party{{Ref: pick(m, "agent:p", m.account(), m.person())}, {Ref: pick(m, m.account(), m.person())}},
		Tools:      []statement.Resource{{Ref: pick(m, "tool:t@1", "tool:t@2", "tool:u@1"), Digest: pick(m, digestOf("t1"), digestOf("t2"), nil)}},
		Parameters: map[string]string{"session": pick(m, "human", "none")}, Credentials: []statement.Resource{{Ref: m.credential()}}}
	if m.one(2) {
		a.OnBehalfOf = []statement.Party{{Ref: m.person()}}
	}
	m.add("sa:rec", a, thing(a.ID, nil))
}

func (m *maker) waive() {
	d := pick(m, Detectors()...)
	m.add(m.person(), &statement.Waiver{Rule: pick(m, d.ID, d.Name), Reason: "r", Until: m.time(), At: m.maybe()},
		pick(m, m.model(), thing(m.credential(), nil), thing(m.account(), nil), thing(fmt.Sprintf("deployment:d%d", m.r.IntN(5)), nil)))
}

func (m *maker) retract() {
	m.add("sa:rec", &statement.Retraction{Entry: uint64(m.r.IntN(len(m.h))), Reason: "wrong"}, thing("model:m@1", nil))
}
