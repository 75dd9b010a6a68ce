package gen

import (
	"strconv"
	"time"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// What governs what is deployed: inventories of accounts and people, what
// agents do at run time, delegations, decisions, and what leaks. It happens
// where Options.GovernedPercent asks for it.

// placed is a deployment of an agent, to act under.
type placed struct {
	agent, account string
	tools          []statement.Resource
}

// BenchLog is the log for which decisions are made.
const BenchLog = "bench"

// scopes are what accounts are granted and chains delegate, the wider first.
var scopes = [][]string{{"crm:*"}, {"crm:read", "crm:write"}, {"crm:read"}, {"s3:GetObject", "s3:PutObject"}, {"s3:GetObject"}, {"tickets:read"}}

// governed lets the next thing happen that governs. Most inventories are
// refreshed and most agents act as they should.
func (h *history) governed() {
	switch x := h.r.IntN(100); {
	case x < 45:
		h.invocation()
	case x < 65:
		h.inventory()
	case x < 77:
		h.chainOfDelegations()
	case x < 87:
		h.joined()
	case x < 98:
		h.decided()
	default:
		h.leak()
	}
}

// invocation is one run of a deployed agent, mostly with the tools that it was
// deployed with and for a person.
func (h *history) invocation() {
	if len(h.placed) == 0 {
		return
	}
	p := h.placed[len(h.placed)-1-h.r.IntN(min(len(h.placed), 200))]
	a := h.activity("invoke", h.now)
	a.Identities = []statement.Party{{Ref: p.account}, {Ref: p.agent}}
	if h.r.IntN(10) > 0 {
		a.OnBehalfOf = []statement.Party{{Ref: h.member("person", h.people)}}
	}
	if len(p.tools) > 0 {
		a.Tools = []statement.Resource{p.tools[h.r.IntN(len(p.tools))]}
	}
	if h.r.IntN(50) == 0 {
		a.Tools = append(a.Tools, statement.Resource{Ref: text(prov.Tool, h.tools.pick(h.r))})
	}
	h.made++
	h.say(h.now, "workload:tracer", a, subject(prov.Ref{Kind: prov.Document, Name: "answer/" + strconv.Itoa(h.number("answer")), Version: "1"}))
}

func (h *history) inventory() {
	account := h.accountName()
	it := statement.IdentityItem{Ref: account, Owner: h.member("team", h.teams),
		Credentials: []statement.CredentialItem{{Ref: h.credential(account), RotatedAt: statement.NewTime(h.now.Add(-h.within(180 * 24 * time.Hour))),
			LastUsedAt: statement.NewTime(h.now.Add(-h.within(60 * 24 * time.Hour))), ExpiresAt: statement.NewTime(h.now.Add(h.within(400 * 24 * time.Hour)))}},
		Grants: []statement.GrantItem{{Resource: "resource:" + numbered("table", h.r.IntN(500)), Scope: scopes[1+h.r.IntN(len(scopes)-1)]}},
		Trust:  []statement.TrustItem{{Principal: "x-oidc:issuer.example", Condition: "sub=" + account[len("sa:"):] + " aud=stemma"}}}
	switch h.r.IntN(60) {
	case 0:
		it.Grants[0] = statement.GrantItem{Resource: "resource:*", Scope: []string{"*"}}
	case 1:
		it.Trust[0].Condition = ""
	}
	h.made++ // the grant
	h.say(h.now, "workload:inventory", &statement.Identity{Mode: "event", Source: "iam", At: statement.NewTime(h.now), Items: []statement.IdentityItem{it}},
		subject(prov.Ref{Kind: prov.ServiceAccount, Name: account[len("sa:"):]}))
}

// chainOfDelegations is a person who lets a subagent act, and this one others.
func (h *history) chainOfDelegations() {
	root := h.member("person", h.people)
	parent, at := root, h.now
	for hop := range 1 + h.geometric(0.4, 4) {
		child := prov.Ref{Kind: prov.Subagent, Name: strconv.Itoa(h.number("subagent"))}
		h.made++
		scope := []string{"crm:read"}
		if hop > 0 && h.r.IntN(30) == 0 {
			scope = []string{"crm:write"}
		}
		h.say(at, "workload:broker", &statement.Delegation{Parent: parent, Child: child.String(), Scope: scope, OnBehalfOf: root,
			IssuedAt: statement.NewTime(at), ExpiresAt: statement.NewTime(at.Add(time.Duration(24-hop) * time.Hour)), Grade: "issuer"}, subject(child))
		parent, at = child.String(), at.Add(time.Minute)
	}
}

func (h *history) joined() {
	who := h.member("person", h.people)
	it := statement.IdentityItem{Ref: who, State: "active", MemberOf: []string{h.member("team", h.teams)}}
	if h.r.IntN(100) == 0 {
		it.State = "inactive"
	}
	h.say(h.now, "workload:hr", &statement.Identity{Mode: "event", Source: "hr", At: statement.NewTime(h.now), Items: []statement.IdentityItem{it}},
		subject(prov.Ref{Kind: prov.Person, Name: who[len("person:"):]}))
}

// decided is a decision that can count: for this log, by a person in the own
// name.
func (h *history) decided() {
	s := subject(refOf(prov.Model, h.models.pick(h.r)))
	switch h.r.IntN(3) {
	case 0:
		s = subject(refOf(prov.Tool, h.tools.pick(h.r)))
	case 1:
		s = subject(refOf(prov.Model, h.bases[h.r.IntN(len(h.bases))]))
	}
	h.made++
	p := &statement.Approval{Decision: "approve", ID: "approval:" + strconv.Itoa(h.number("approval")), Approver: h.member("person", h.people), Review: "security",
		DecidedAt: statement.NewTime(h.now), ValidUntil: statement.NewTime(h.now.Add(h.within(500 * 24 * time.Hour))), Log: BenchLog}
	h.say(h.now, p.Approver, p, s)
}

func (h *history) leak() {
	account := h.accountName()
	h.made++
	ref := prov.Ref{Kind: prov.Credential, Name: account[len("sa:"):], Version: "1"}
	h.say(h.now, "workload:scanner", &statement.Notice{Kind: "leaked", ID: "notice:" + strconv.Itoa(h.number("notice")), Severity: "high",
		Since: statement.NewTime(h.now), At: statement.NewTime(h.now)}, subject(ref))
}
