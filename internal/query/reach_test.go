package query_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// right is one relation by which a thing is reached, as the reference knows
// it; a grant counts for the two relations that it is.
type right struct {
	from, to string
	vf, vt   prov.Instant
	cost     int
}

// rights makes random inventories, delegations and deployments, and the list
// of what they say.
type rights struct {
	maker
	list        []right
	deployments []right // of a deployment: from when it is live
}

func randomRights(t testing.TB, seed uint64) *rights {
	m := &rights{maker: maker{t: t, r: rand.New(rand.NewPCG(seed, 8))}}
	for n := 3 + m.r.IntN(8); len(m.h) < n; {
		switch x := m.r.IntN(10); {
		case x < 6:
			m.item()
		case x < 8:
			m.delegated()
		default:
			m.deployed()
		}
	}
	m.list = append(m.list, m.running()...)
	return m
}

func (m *rights) who() string {
	return pick(&m.maker, "sa:a", "sa:b", "role:r", "role:s", "team:t", "subagent:c")
}

func (m *rights) says(from, to string, vf, vt statement.Time, at time.Time, cost int) {
	m.list = append(m.list, right{from, to, vf.Instant(prov.At(at)), vt.Instant(prov.Forever), cost})
}

// until gives a time after from, or none.
func (m *rights) until(from statement.Time) statement.Time {
	if from.IsZero() || m.is(40) {
		return statement.Time{}
	}
	return statement.NewTime(from.Add(time.Duration(1+m.r.IntN(4)) * time.Hour))
}

func (m *rights) item() {
	at := hour(m.r.IntN(9))
	it := statement.IdentityItem{Ref: m.who()}
	for range m.r.IntN(2) {
		to := m.who()
		it.CanAssume = append(it.CanAssume, to)
		m.says(it.Ref, to, at, statement.Time{}, at.Time, 1)
	}
	for range m.r.IntN(2) {
		to := m.who()
		it.MemberOf = append(it.MemberOf, to)
		m.says(it.Ref, to, at, statement.Time{}, at.Time, 1)
	}
	if m.is(30) {
		to := pick(&m.maker, "secret:s1", "secret:s2@1")
		it.Secrets = append(it.Secrets, to)
		m.says(it.Ref, to, at, statement.Time{}, at.Time, 1)
	}
	if m.is(30) {
		c := statement.CredentialItem{Ref: "credential:k@1", IssuedAt: m.time(60)}
		c.ExpiresAt = m.until(c.IssuedAt)
		it.Credentials = append(it.Credentials, c)
		m.says(it.Ref, c.Ref, c.IssuedAt, c.ExpiresAt, at.Time, 1)
	}
	for range m.r.IntN(3) {
		g := statement.GrantItem{Resource: pick(&m.maker, "resource:x", "resource:y", "dataset:d@1"), From: m.time(60)}
		g.Until = m.until(g.From)
		it.Grants = append(it.Grants, g)
		m.says(it.Ref, g.Resource, g.From, g.Until, at.Time, 2)
	}
	m.h.add(m.t, &statement.Identity{Mode: "event", Source: "cloud", At: at, Items: []statement.IdentityItem{it}}, subject(it.Ref, nil))
}

func (m *rights) delegated() {
	d := &statement.Delegation{Parent: m.who(), Child: m.who(), IssuedAt: hour(m.r.IntN(9)), Grade: "issuer"}
	d.ExpiresAt = m.until(d.IssuedAt)
	m.says(d.Parent, d.Child, d.IssuedAt, d.ExpiresAt, time.Time{}, 1)
	m.h.add(m.t, d, subject(d.Child, nil))
}

func (m *rights) deployed() {
	at := statement.NewTime(hour(m.r.IntN(9)).Add(time.Duration(len(m.h)) * time.Minute))
	d := &statement.Deployment{Action: pick(&m.maker, "deploy", "deploy", "retire"), ID: fmt.Sprintf("deployment:d%d", len(m.h)),
		Environment: "env:prod", Service: "service:s", At: at}
	agent := pick(&m.maker, "agent:g@1", "agent:g@2")
	x := right{from: d.ID, vf: prov.At(at.Time), to: agent}
	if d.Action == "deploy" {
		d.RunsAs = []string{m.who()}
		d.Tools = []statement.Resource{{Ref: "tool:t@1"}}
		m.says(d.ID, d.RunsAs[0], at, statement.Time{}, at.Time, 1)
		m.says(d.ID, "tool:t@1", at, statement.Time{}, at.Time, 1)
	} else {
		x.from = ""
	}
	m.deployments = append(m.deployments, x)
	m.h.add(m.t, d, subject(agent, nil))
}

// running ends what a deployment does when the next takes its place, and leads
// from the service and the agent to it.
func (m *rights) running() (out []right) {
	slices.SortFunc(m.deployments, func(a, b right) int { return int(a.vf/1e9 - b.vf/1e9) })
	for i, d := range m.deployments {
		if d.from == "" {
			continue
		}
		d.vt = prov.Forever
		if i+1 < len(m.deployments) {
			d.vt = m.deployments[i+1].vf
		}
		for j := range m.list {
			if m.list[j].from == d.from {
				m.list[j].vt = d.vt
			}
		}
		out = append(out, right{"service:s", d.from, d.vf, d.vt, 1}, right{d.to, d.from, d.vf, d.vt, 1})
	}
	return out
}

// at gives how far each thing is that start reaches at a moment, by recursion.
func (m *rights) at(start string, t prov.Instant) map[string]int {
	far := map[string]int{}
	var walk func(x string, d int)
	walk = func(x string, d int) {
		if was, ok := far[x]; ok && was <= d {
			return
		}
		far[x] = d
		for _, r := range m.list {
			if r.from == x && r.vf <= t && t < r.vt {
				walk(r.to, d+r.cost)
			}
		}
	}
	walk(start, 0)
	return far
}

func (m *rights) moments() []prov.Instant {
	out := []prov.Instant{prov.At(epoch) - 1}
	for _, r := range m.list {
		out = append(out, r.vf)
		if r.vt != prov.Forever {
			out = append(out, r.vt)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// members gives what an answer reached, without grants, and the items.
func members(a *query.Answer) map[string]query.Item {
	out := map[string]query.Item{}
	if a == nil {
		return out
	}
	for _, list := range [][]query.Item{a.Entities, a.Activities, a.Identities} {
		for _, it := range list {
			if !it.Context && it.Kind != "grant" {
				out[it.Ref] = it
			}
		}
	}
	return out
}

func askReach(t *testing.T, v graph.View, from, to string) *query.Answer {
	t.Helper()
	a, err := query.CanReach(v, from, to, query.Options{})
	if err != nil && !errors.Is(err, query.ErrNotFound) {
		t.Fatal(err)
	}
	return a
}

// TestReachReference compares what identities reach with the plain reference,
// at every moment at which something changes and over the whole history.
func TestReachReference(t *testing.T) {
	compared, paths, past := 0, 0, 0
	for seed := range uint64(400) {
		m := randomRights(t, seed)
		g := m.h.fold(t, len(m.h))
		for _, start := range []string{"sa:a", "role:r", "service:s", "agent:g@1"} {
			if g.At(prov.Now).LookupKey(start) == graph.None {
				continue
			}
			whole := members(askReach(t, g.At(prov.Now), start, ""))
			ever := map[string]bool{}
			for _, at := range m.moments() {
				want := m.at(start, at)
				v := g.At(prov.AsOf{Valid: at, Known: prov.AllKnown})
				got := map[string]int{}
				for ref, it := range members(askReach(t, v, start, "")) {
					got[ref] = *it.Distance
				}
				if len(got) == 0 {
					got[start] = 0 // it is an error that nothing is reached
				}
				where := fmt.Sprintf("seed %d: %s at %s", seed, start, at)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-reference +graph):\n%s", where, diff)
				}
				for ref := range want {
					ever[ref] = true
				}
				for ref, it := range whole {
					_, now := want[ref]
					if held := len(it.Reached) == 0 || slices.ContainsFunc(it.Reached, func(p query.Period) bool { return holds(t, p, at) }); held != now {
						t.Errorf("%s: %s is reached: %t; by the periods of the whole history %v: %t", where, ref, now, it.Reached, held)
					}
				}
				compared++
				for ref := range want {
					a := askReach(t, v, start, ref)
					if a == nil || a.Shortest.Length != want[ref] || len(a.Hops) != want[ref] {
						t.Errorf("%s: path to %s: %+v, want length %d", where, ref, a, want[ref])
						continue
					}
					paths++
				}
			}
			past += overTime(t, g.At(prov.Now), fmt.Sprintf("seed %d", seed), start, ever)
		}
		if t.Failed() {
			m.h.log(t)
			return
		}
	}
	t.Logf("%d moments, %d paths, %d over time", compared, paths, past)
	if compared < 5000 || paths < 5000 || past < 200 {
		t.Errorf("only %d moments, %d paths and %d over time; the histories say too little", compared, paths, past)
	}
}

// overTime asks for resources over the whole history. It gives how many were
// reached for a time only.
func overTime(t *testing.T, v graph.View, where, start string, ever map[string]bool) (past int) {
	t.Helper()
	for _, ref := range []string{"resource:x", "resource:y", "secret:s1", "tool:t@1", "credential:k@1"} {
		a := askReach(t, v, start, ref)
		if (a != nil) != ever[ref] {
			t.Errorf("%s: %s to %s over the whole history: found %t, want %t", where, start, ref, a != nil, ever[ref])
		}
		if a != nil && !together(t, a.Hops) {
			t.Errorf("%s: %s to %s over the whole history: the relations of the path never held together: %v", where, start, ref, a.Hops)
		}
		if a != nil && len(members(a)[ref].Reached) > 0 {
			past++
		}
	}
	return past
}

func instants(t *testing.T, from, to string) (vf, vt prov.Instant) {
	t.Helper()
	vf, vt = prov.Beginning, prov.Forever
	for s, x := range map[string]*prov.Instant{from: &vf, to: &vt} {
		if s != "" {
			at, err := prov.ParseTime(s)
			if err != nil {
				t.Fatal(err)
			}
			*x = prov.At(at)
		}
	}
	return vf, vt
}

func holds(t *testing.T, p query.Period, at prov.Instant) bool {
	vf, vt := instants(t, string(p.From), string(p.To))
	return vf <= at && at < vt
}

// together tells whether all relations held at one moment.
func together(t *testing.T, rels []query.RelationItem) bool {
	t.Helper()
	lo, hi := prov.Beginning, prov.Forever
	for _, r := range rels {
		vf, vt := instants(t, string(r.ValidFrom), string(r.ValidTo))
		lo, hi = max(lo, vf), min(hi, vt)
	}
	return lo < hi
}

func TestReachWords(t *testing.T) {
	var h history
	h.add(t, &statement.Identity{Mode: "event", Source: "cloud", At: hour(0), Items: []statement.IdentityItem{
		{Ref: "sa:a", CanAssume: []string{"role:r"}, State: "retired"},
		{Ref: "role:r", CanAssume: []string{"sa:a"}, Grants: []statement.GrantItem{{Resource: "resource:x", From: hour(1), Until: hour(2)}}},
	}}, subject("sa:a", nil))
	h.add(t, &statement.Delegation{Parent: "agent:boss@1", Child: "sa:a", IssuedAt: hour(0), Grade: "issuer"}, subject("sa:a", nil))
	g := h.fold(t, 2)
	_, err := query.CanReach(g.At(prov.AsOf{Valid: prov.At(hour(3).Time), Known: prov.AllKnown}), "sa:a", "resource:x", query.Options{})
	if !errors.Is(err, query.ErrNotFound) || !strings.Contains(err.Error(), "is recorded as of then (not that it cannot reach it") {
		t.Errorf("after the grant: %v", err)
	}
	a, err := query.CanReach(g.At(prov.Now), "sa:a", "resource:x", query.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]query.Period{{From: "2026-01-01T01:00:00Z", To: "2026-01-01T02:00:00Z"}}, members(a)["resource:x"].Reached); diff != "" {
		t.Errorf("periods (-want +got):\n%s", diff)
	}
	var unknown []string
	for _, u := range a.Unknown {
		unknown = append(unknown, u.Ref+": "+u.Reason)
	}
	if got := strings.Join(unknown, "\n"); !strings.Contains(got, "sa:a: acts on behalf of agent:boss@1 (entry 1)") || !strings.Contains(got, "sa:a: is recorded as retired") {
		t.Errorf("unknown:\n%s", got)
	}
}

// TestReachDoubts: rights under a condition and identities that are switched
// off leave the outcome unknown; what is refused is not reached.
func TestReachDoubts(t *testing.T) {
	var h history
	h.add(t, &statement.Identity{Mode: "event", Source: "cloud", At: hour(0), Items: []statement.IdentityItem{
		{Ref: "sa:a", MemberOf: []string{"role:x/r"}, State: "inactive"},
		{Ref: "role:x/r", Grants: []statement.GrantItem{{Resource: "resource:x", Condition: "c"}, {Resource: "resource:y", Deny: true}}},
	}}, subject("sa:a", nil))
	g := h.fold(t, 1)
	a, err := query.CanReach(g.At(prov.Now), "sa:a", "resource:x", query.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range a.Unknown {
		got = append(got, u.Ref+": "+u.Reason)
	}
	for _, want := range []string{"sa:a: is recorded as inactive", "holds only under a condition"} {
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
	if a.Outcome != "unknown" {
		t.Errorf("outcome %q", a.Outcome)
	}
	_, err = query.CanReach(g.At(prov.Now), "sa:a", "resource:y", query.Options{})
	var none *query.NoPathError
	if !errors.As(err, &none) || !errors.Is(err, query.ErrNotFound) || none.Answer.Outcome != "none" {
		t.Errorf("what is denied is reached: %v", err)
	}
}

// TestReachHostile asks about a long chain of roles, and about many roles that
// all assume one another, each at another time.
func TestReachHostile(t *testing.T) {
	const n = 20000
	g := foldAll(t, n, func(i int) (statement.Predicate, statement.Subject) {
		ref := fmt.Sprintf("role:r%d", i)
		it := statement.IdentityItem{Ref: ref, CanAssume: []string{fmt.Sprintf("role:r%d", i+1)}}
		return &statement.Identity{Mode: "event", Source: "cloud", At: hour(i), Items: []statement.IdentityItem{it}}, subject(ref, nil)
	})
	a, err := query.CanReach(g.At(prov.Now), "role:r0", fmt.Sprintf("role:r%d", n), query.Options{All: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Hops) != n || len(a.Paths) != 1 || a.Truncated {
		t.Errorf("chain: %d relations, %d paths, truncated %t", len(a.Hops), len(a.Paths), a.Truncated)
	}
	const ring = 100
	g = foldAll(t, ring, func(i int) (statement.Predicate, statement.Subject) {
		ref := fmt.Sprintf("role:r%d", i)
		it := statement.IdentityItem{Ref: ref}
		for j := range ring {
			it.CanAssume = append(it.CanAssume, fmt.Sprintf("role:r%d", j))
		}
		return &statement.Identity{Mode: "snapshot", Source: fmt.Sprint("cloud", i%7), At: hour(i), Items: []statement.IdentityItem{it}}, subject(ref, nil)
	})
	if a, err = query.CanReach(g.At(prov.Now), "role:r0", "", query.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := len(members(a)); got != ring {
		t.Errorf("ring: %d roles, want %d", got, ring)
	}
	if a, err = query.CanReach(g.At(prov.Now), "role:r99", "role:r98", query.Options{All: true, Limit: 5}); err != nil || len(a.Paths) != 5 || !a.HiddenAtLeast {
		t.Errorf("ring: %v, %v", err, a)
	}
	for after := range 2 {
		asked := 0
		if a, err := query.CanReach(g.At(prov.Now), "role:r0", "", query.Options{Stop: func() bool { asked++; return asked > after }}); !errors.Is(err, query.ErrStopped) || a != nil {
			t.Errorf("stopped after %d times: %v", after, err)
		}
	}
}
