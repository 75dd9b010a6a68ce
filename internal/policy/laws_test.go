package policy

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

const testLog = "example.org/log"

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// entry is one statement of a random history and who recorded it when.
type entry struct {
	subjects []statement.Subject
	pred     statement.Predicate
	by       string
	at       time.Time
	file     bool // signed by a key file, whatever the client says
}

func (e entry) content(t testing.TB) []byte {
	t.Helper()
	payload, err := statement.Format(e.subjects, e.pred)
	if err != nil {
		t.Fatal(err)
	}
	env, err := statement.Unsigned(payload)
	if a, ok := e.pred.(*statement.Approval); ok && err == nil {
		env, err = signed(payload, !e.file && (a.Assurance == statement.HardwareKey || a.Assurance == statement.PasskeyUV))
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := statement.FormatEntry(statement.Entry{RecordedAt: e.at, RecordedBy: e.by, Envelope: env})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// signed gives an envelope that looks as if it were signed, by a key file or by
// a FIDO key: the fold verifies nothing, and looks at what sort of key it was.
func signed(payload []byte, hardware bool) ([]byte, error) {
	sig := make([]byte, ed25519.SignatureSize)
	if hardware {
		public := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
		key := ssh.Marshal(struct {
			Type        string
			Key         []byte
			Application string
		}{ssh.KeyAlgoSKED25519, public, "ssh:"})
		blob := ssh.Marshal(struct {
			Version                              uint32
			Key, Namespace, Reserved, Hash, Sign string
		}{1, string(key), statement.SSHNamespace, "", "sha512", string(ssh.Marshal(struct {
			Format string
			Blob   []byte
			Rest   []byte `ssh:"rest"`
		}{ssh.KeyAlgoSKED25519, sig, []byte{1, 0, 0, 0, 1}}))})
		sig = pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: append([]byte("SSHSIG"), blob...)})
	}
	return statement.FormatEnvelope(&statement.Envelope{PayloadType: statement.PayloadType, Payload: payload, Signatures: []statement.Signature{{KeyID: "k", Sig: sig}}})
}

// fold folds a history without the entry at leave.
func fold(t testing.TB, h []entry, leave int) *graph.Graph {
	t.Helper()
	g := graph.New()
	for i, e := range h {
		if i == leave {
			continue
		}
		if uint64(i) > g.Size() {
			g.Skip(uint64(i))
		}
		if err := g.Fold(uint64(i), e.content(t)); err != nil {
			t.Fatal(err)
		}
	}
	if leave == len(h)-1 {
		g.Skip(uint64(len(h)))
	}
	return g
}

// maker makes random histories of governance: people with roles, data, models,
// evaluations, and decisions of every good and bad sort.
type maker struct {
	r     *rand.Rand
	h     []entry
	times []prov.Instant // all times that statements tell
}

func (m *maker) one(n int) bool { return m.r.IntN(n) == 0 }

func pick[T any](m *maker, xs ...T) T { return xs[m.r.IntN(len(xs))] }

func (m *maker) time() statement.Time {
	t := epoch.Add(time.Duration(m.r.IntN(200)) * time.Hour)
	m.times = append(m.times, prov.At(t))
	return statement.NewTime(t)
}

// period gives two times in order, or none.
func (m *maker) period() (from, until statement.Time) {
	if m.one(2) {
		return
	}
	from, until = m.time(), m.time()
	if until.Before(from.Time) {
		from, until = until, from
	}
	if !from.Before(until.Time) {
		return from, statement.Time{}
	}
	return from, until
}

func (m *maker) add(by string, p statement.Predicate, subjects ...statement.Subject) {
	at := epoch.Add(time.Duration(len(m.h)*7) * time.Hour)
	m.times = append(m.times, prov.At(at))
	m.h = append(m.h, entry{subjects: subjects, pred: p, by: by, at: at})
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

func (m *maker) history(n int) []entry {
	model, data := thing("model:m@1", digestOf("m")), thing("dataset:d@1", digestOf("d"))
	train := &statement.Activity{Kind: "train", ID: "activity:t", StartedAt: m.time(), Used: []statement.Use{used(data)}}
	if !m.one(4) {
		train.Identities = []statement.Party{{Ref: pick(m, "sa:trainer", "person:a")}}
	}
	start := []func(){
		func() { m.add("sa:rec", train, model) },
		func() {
			e := &statement.Entity{State: "registered", At: m.time()}
			if !m.one(3) {
				e.Origin = "https://example.org/d"
			}
			m.add("sa:rec", e, data)
		},
		func() {
			m.add("sa:rec", &statement.Identity{Mode: "event", Source: "x", At: m.time(), Items: []statement.IdentityItem{
				{Ref: "sa:trainer", Owner: pick(m, "person:a", "team:ml", "person:b")}}}, thing("sa:trainer", nil))
		},
	}
	for _, who := range []string{"person:a", "person:b", "person:c"} {
		start = append(start, func() {
			it := statement.IdentityItem{Ref: who, MemberOf: []string{pick(m, "team:ml", "team:risk")}}
			if !m.one(3) {
				from, until := m.period()
				it.Roles = []statement.RoleItem{{Role: pick(m, "role:reviewer", "role:reviewer", "role:admin"), From: from, Until: until}}
			}
			m.add("sa:rec", &statement.Identity{Mode: "event", Source: "x", At: statement.NewTime(epoch), Items: []statement.IdentityItem{it}}, thing(who, nil))
		})
	}
	start = append(start, m.apart()...)
	m.r.Shuffle(len(start), func(i, j int) { start[i], start[j] = start[j], start[i] })
	for _, f := range start {
		f()
	}
	for len(m.h) < n {
		m.happen(model, data)
	}
	return m.h
}

// apart gives statements that make somebody less free to decide, told apart
// from what lets that person decide: another role, another name, another owner,
// another team, a deputy, who else took part, what else was used.
func (m *maker) apart() (out []func()) {
	people := []string{"person:a", "person:b", "person:c"}
	inventory := func(it statement.IdentityItem) func() {
		by := pick(m, "sa:rec", "sa:rec", "person:boss", "person:mallory")
		return func() {
			m.add(by, &statement.Identity{Mode: "event", Source: "x", At: statement.NewTime(epoch), Items: []statement.IdentityItem{it}}, thing(it.Ref, nil))
		}
	}
	all := []func(){
		inventory(statement.IdentityItem{Ref: "person:boss", Roles: []statement.RoleItem{{Role: "role:admin"}}}),
		inventory(statement.IdentityItem{Ref: pick(m, people...), Roles: []statement.RoleItem{{Role: pick(m, "role:admin", "role:reviewer")}}}),
		inventory(statement.IdentityItem{Ref: pick(m, people...), MemberOf: []string{pick(m, "team:ops", "team:ml")}}),
		inventory(statement.IdentityItem{Ref: pick(m, "team:risk", "team:ops"), MemberOf: []string{pick(m, "team:ml", "role:admin")}}),
		inventory(statement.IdentityItem{Ref: "team:ops", Roles: []statement.RoleItem{{Role: "role:admin"}}}),
		inventory(statement.IdentityItem{Ref: "sa:trainer", Owner: pick(m, people...)}),
		inventory(statement.IdentityItem{Ref: "sa:helper", Owner: pick(m, people...)}),
		func() {
			m.add("sa:rec", &statement.Entity{State: "same-as", SameAs: []statement.Resource{{Ref: pick(m, "person:b", "person:c", "person:boss")}}}, thing("person:a", nil))
		},
		func() {
			m.add("sa:rec", &statement.Delegation{Parent: pick(m, people...), Child: pick(m, "sa:trainer", "sa:helper"), Grade: "issuer", IssuedAt: m.time()}, thing("sa:trainer", nil))
		},
		func() {
			m.add("sa:rec", &statement.Activity{Kind: "train", ID: "activity:t", Identities: []statement.Party{{Ref: pick(m, "sa:helper", "person:b")}}}, thing("activity:t", nil))
		},
		func() {
			m.add("sa:rec", &statement.Activity{Kind: "package", ID: "activity:p", Identities: []statement.Party{{Ref: pick(m, "sa:helper", "person:c")}}},
				thing("model:m@1", digestOf("m")))
		},
		func() {
			m.add("sa:rec", &statement.Activity{Kind: "train", ID: "activity:t", Used: []statement.Use{used(thing("dataset:e@1", digestOf("e")))}}, thing("activity:t", nil))
		},
		func() {
			m.add("sa:rec", &statement.Entity{State: "registered", Origin: "https://example.org/e", Licence: pick(m, "mit", "gpl"), At: m.time()}, thing("dataset:e@1", digestOf("e")))
		},
		func() {
			m.add("sa:rec", &statement.Entity{State: "described", Licence: pick(m, "mit", "gpl"), Owner: pick(m, people...), At: m.time()}, pick(m, thing("dataset:d@1", digestOf("d")), thing("model:m@1", digestOf("m"))))
		},
		func() {
			m.add("sa:rec", &statement.Notice{Kind: "compromised"}, thing("dataset:e@1", digestOf("e")))
		},
		func() {
			m.add("sa:rec", &statement.Entity{State: "same-as", SameAs: []statement.Resource{{Ref: "dataset:e@1", Digest: digestOf("e")}}}, thing("dataset:d@1", digestOf("d")))
		},
		func() {
			id := fmt.Sprintf("activity:e%d", m.r.IntN(20))
			m.add("sa:rec", &statement.Activity{Kind: "evaluate", ID: id, State: "failed"}, thing(id, nil))
		},
	}
	for _, f := range all {
		if m.one(3) {
			out = append(out, f)
		}
	}
	return out
}

func (m *maker) happen(model, data statement.Subject) {
	switch m.r.IntN(10) {
	case 0:
		end := m.time()
		m.add("sa:rec", &statement.Activity{Kind: "evaluate", ID: fmt.Sprintf("activity:e%d", len(m.h)), EndedAt: end, State: pick(m, "completed", "failed"),
			Used: []statement.Use{used(model)}}, thing(fmt.Sprintf("activity:e%d", len(m.h)), nil))
	case 1:
		from, until := m.period()
		m.add("sa:rec", &statement.Notice{Kind: pick(m, "compromised", "vulnerable"), Since: from, Until: until}, pick(m, model, data))
	case 2:
		m.add(pick(m, "person:a", "person:b"), &statement.Waiver{Rule: pick(m, "fresh", "clean", "risk"), Reason: "r", Until: m.time(), At: statement.NewTime(epoch)}, model)
	case 3:
		m.add("sa:rec", &statement.Retraction{Entry: uint64(m.r.IntN(len(m.h))), Reason: "wrong"}, model)
	default:
		m.decide(model)
	}
}

func (m *maker) decide(model statement.Subject) {
	who := pick(m, "person:a", "person:b", "person:c", "agent:helper")
	a := &statement.Approval{Decision: pick(m, "approve", "approve", "approve", "approve", "reject", "revoke"), Approver: who, Review: pick(m, "risk", "security"),
		Role: pick(m, "", "role:reviewer"), DecidedAt: m.time(), Log: testLog}
	a.ValidFrom, a.ValidUntil = m.period()
	if m.one(6) {
		a.Environments = []string{pick(m, "env:prod", "env:test")}
	}
	if m.one(8) {
		a.Log = pick(m, "", "other.example/log")
	}
	on := model
	if m.one(8) {
		on, a.Review = pick(m, thing("dataset:d@1", digestOf("d")), thing("dataset:e@1", digestOf("e"))), "data"
	}
	switch m.r.IntN(10) {
	case 0:
		on = thing("model:m@1", nil)
	case 1:
		on = thing("model:m@2", digestOf("other"))
	}
	a.Text = statement.ApprovalText([]statement.Subject{on}, a)
	if m.one(8) {
		a.Text = "I approve whatever it is"
	}
	by := who
	if m.one(8) {
		by = "person:mallory"
	}
	m.add(by, a, on)
}

var lawRules = []string{
	`{id: risk, require: 'approved("risk", 1) && !rejected("risk")'}`,
	`{id: two, require: 'approvedApart(["risk", "security"]) || approved("security", 2)'}`,
	`{id: clean, require: '!noticed(["compromised"])'}`,
	`{id: fresh, require: 'evaluated("30h")'}`,
	`{id: licence, require: 'licensed(["mit"])'}`,
	`{id: data, require: 'ancestorsApproved("data", ["dataset"]) || thirdPartiesReviewed("data")'}`,
	`{id: role, require: 'decisions.exists(d, d.review == "risk" && d.role == "role:reviewer" && d.effect == "counts")'}`,
	`{id: both, require: 'approved("risk", 2) && unchanged() && owned()'}`,
}

// lawPolicy gives a policy of one of the rules, or of all.
func lawPolicy(t testing.TB, seed int) *Policy {
	rules := lawRules
	if i := seed % (len(lawRules) + 1); i < len(lawRules) {
		rules = lawRules[i : i+1]
	}
	return policyOf(t, "name: law\nwaivers: {role: role:reviewer}\nrules:\n  - "+strings.Join(rules, "\n  - ")+"\n")
}

func policyOf(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func lookup(t testing.TB, g *graph.Graph, name string) graph.ID {
	t.Helper()
	r, err := prov.ParseRef(name)
	if err != nil {
		t.Fatal(err)
	}
	return g.At(prov.Now).Lookup(r)
}

func verdict(t testing.TB, p *Policy, v graph.View, q Question) string {
	t.Helper()
	x, err := Evaluate(p, v, q)
	if err != nil {
		t.Fatal(err)
	}
	return x.Verdict
}

// atLeast gives n, or more histories where STEMMA_HISTORIES asks for more.
func atLeast(t *testing.T, n int) int {
	text := os.Getenv("STEMMA_HISTORIES")
	if text == "" {
		return n
	}
	more, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("STEMMA_HISTORIES is %q; write a number", text)
	}
	return max(n, more)
}

// histories runs f over random histories, each with its own seed.
func histories(t *testing.T, n int, f func(t *testing.T, p *Policy, m *maker, h []entry)) {
	for seed := range uint64(n) {
		m := &maker{r: rand.New(rand.NewPCG(seed, 5))}
		h := m.history(10 + int(seed%20))
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { f(t, lawPolicy(t, int(seed)), m, h) })
		if !ok {
			return
		}
	}
}

// What stemma valid says equals an evaluation at every time that any statement
// tells, just before and just after, and at what the policy's own duration
// makes of them: by both clocks.
func TestValidIsWhatEvaluationsSay(t *testing.T) {
	said := map[string]int{}
	histories(t, 150, func(t *testing.T, p *Policy, m *maker, h []entry) {
		g := fold(t, h, -1)
		q := Question{Thing: lookup(t, g, "sha256:"+digestOf("m")["sha256"]), Context: Context{Log: testLog, Environment: "prod", Stewards: []string{"sa:rec"}}}
		v := g.At(prov.Now)
		got, err := Valid(p, v, q, Bounds{})
		if err != nil {
			t.Fatal(err)
		}
		var at []prov.Instant
		for _, x := range m.times {
			d := prov.Instant(30 * time.Hour)
			at = append(at, x-1, x, x+d-1, x+d)
		}
		slices.Sort(at)
		for _, x := range slices.Compact(at) {
			was, known := validity[verdict(t, p, v.When(x), q)], validity[verdict(t, p, v.AsKnownAt(x), q)]
			said[was]++
			if was != At(got.AsItWas, x) || known != At(got.AsKnown, x) {
				t.Fatalf("at %s: evaluated %s, as known %s; the intervals say %s and %s", x, was, known, At(got.AsItWas, x), At(got.AsKnown, x))
			}
		}
	})
	t.Log(said)
	for _, w := range []string{IsValid, NotValid, NotKnown} {
		if said[w] < 20 {
			t.Errorf("the histories say %q only %d times: they try too little", w, said[w])
		}
	}
}

// Leaving out a statement never turns deny into allow, unless it takes
// something back: a revocation, a rejection or a decision that takes the place
// of another, a notice, or a retraction.
func TestLessEvidenceNeverAllows(t *testing.T) {
	denied, left, undecided := 0, 0, 0
	content := "sha256:" + digestOf("m")["sha256"]
	histories(t, atLeast(t, 1000), func(t *testing.T, p *Policy, m *maker, h []entry) {
		g := fold(t, h, -1)
		q := Question{Thing: lookup(t, g, content), Context: Context{Log: testLog, Environment: "prod", Stewards: []string{"sa:rec"}}}
		var at []prov.Instant
		for range 3 {
			x := pick(m, m.times...) + 1
			switch verdict(t, p, g.At(prov.AsOf{Valid: x, Known: prov.AllKnown}), q) {
			case Deny:
				at = append(at, x)
			case Undecided:
				undecided++
			}
		}
		for i, e := range h {
			if len(at) == 0 || takesBack(e.pred) {
				continue
			}
			less := fold(t, h, i)
			lq := q
			if lq.Thing = lookup(t, less, content); lq.Thing == graph.None {
				continue // nothing is known of it any more
			}
			left++
			for _, x := range at {
				denied++
				if verdict(t, p, less.At(prov.AsOf{Valid: x, Known: prov.AllKnown}), lq) == Allow {
					t.Fatalf("at %s: denied, but allowed without entry %d (%T) by %s:\n%s", x, i, e.pred, e.by, tell(h))
				}
			}
		}
	})
	t.Logf("%d denials without one of %d entries; %d were undecided", denied, left, undecided)
	if denied < 5000 {
		t.Errorf("%d were denied: the histories try too little", denied)
	}
}

func takesBack(p statement.Predicate) bool {
	switch p := p.(type) {
	case *statement.Notice, *statement.Retraction:
		return true
	case *statement.Approval:
		return p.Decision != statement.Approve
	}
	return false
}

func tell(h []entry) string {
	var out strings.Builder
	for i, e := range h {
		b, err := json.Marshal(e.pred)
		fmt.Fprintf(&out, "%d %s %s %s: %v %s %v\n", i, e.at.Format(time.RFC3339), e.by, e.pred.PredicateType(), e.subjects[0].Name, b, err)
	}
	return out.String()
}

// A list that is cut off says the same up to there, and says that it is; one
// that is stopped is no list.
func TestValidIsCutOffAndStopped(t *testing.T) {
	cut := 0
	histories(t, 30, func(t *testing.T, p *Policy, m *maker, h []entry) {
		g := fold(t, h, -1)
		q := Question{Thing: lookup(t, g, "sha256:"+digestOf("m")["sha256"]), Context: Context{Log: testLog, Environment: "prod", Stewards: []string{"sa:rec"}}}
		all, err := Valid(p, g.At(prov.Now), q, Bounds{})
		if err != nil || all.Truncated {
			t.Fatal(all, err)
		}
		some, err := Valid(p, g.At(prov.Now), q, Bounds{Moments: 5})
		if err != nil {
			t.Fatal(err)
		}
		for _, lists := range [][2][]Interval{{some.AsItWas, all.AsItWas}, {some.AsKnown, all.AsKnown}} {
			last := lists[0][len(lists[0])-1]
			if some.Truncated && last.To == "" {
				t.Fatalf("the list is cut off, and its last interval has no end: %v", last)
			}
			for _, x := range m.times {
				if x < last.to && At(lists[0], x) != At(lists[1], x) {
					t.Fatalf("at %s: cut off it says %s, in full %s", x, At(lists[0], x), At(lists[1], x))
				}
			}
		}
		if some.Truncated {
			cut++
		}
		steps := 0
		if _, err := Valid(p, g.At(prov.Now), q, Bounds{Stop: func() bool { steps++; return steps > 3 }}); !errors.Is(err, ErrStopped) {
			t.Fatalf("stopped after three steps it gave %v", err)
		}
	})
	if cut < 20 {
		t.Errorf("only %d lists were cut off", cut)
	}
}
