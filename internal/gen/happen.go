package gen

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

var (
	areas  = []string{"payments", "search", "support", "risk", "catalog", "vision", "speech", "fleet", "growth", "health"}
	topics = []string{"events", "labels", "ranker", "scorer", "features", "notes", "intent", "routes", "churn", "claims", "images"}
)

func numbered(prefix string, n int) string { return prefix + "-" + strconv.Itoa(n) }

// nameOf names a series in words and its number.
func nameOf(n uint32) string {
	return areas[n%uint32(len(areas))] + "/" + topics[n%uint32(len(topics))] + "-" + strconv.FormatUint(uint64(n), 10)
}

func refOf(k prov.Kind, m made) prov.Ref {
	return prov.Ref{Kind: k, Name: nameOf(m.series), Version: strconv.Itoa(int(m.version))}
}

func text(k prov.Kind, m made) string {
	return string(k) + ":" + nameOf(m.series) + "@" + strconv.Itoa(int(m.version))
}

func subject(r prov.Ref) statement.Subject { return statement.NewSubject(r, nil) }

// version makes the next version of a series of the line.
func (h *history) version(l *line, depth uint8) made {
	s, v, begun := l.next(h.r)
	h.made++
	if begun {
		h.made++
	}
	return made{s, v, depth}
}

// account gives the name of a service account that acts.
func (h *history) accountName() string {
	return "sa:" + nameOf(h.accounts.pick(h.r).series)
}

// code gives a plan's version, sometimes a new one.
func (h *history) code() *statement.Resource {
	if len(h.codes.items) == 0 || h.r.IntN(40) == 0 {
		h.codes.add(h.version(&h.codeLine, 0))
	}
	return &statement.Resource{Ref: text(prov.Code, h.codes.pick(h.r))}
}

// activity begins a statement about an activity that ended at end.
func (h *history) activity(kind string, end time.Time) *statement.Activity {
	h.made++
	a := &statement.Activity{Kind: kind, ID: "activity:" + kind + "/" + strconv.Itoa(h.number("activity")),
		StartedAt: statement.NewTime(end.Add(-time.Minute - h.within(4*time.Hour))), EndedAt: statement.NewTime(end), State: "completed",
		Identities: []statement.Party{{Ref: h.accountName()}}, InputsCompleteness: statement.Observed}
	return a
}

func (h *history) use(a *statement.Activity, k prov.Kind, m made, role string) {
	ref := text(k, m)
	if k == prov.Dataset && h.percent(h.o.UnversionedPercent) {
		ref = "dataset:" + nameOf(m.series)
	}
	a.Used = append(a.Used, statement.Use{Resource: statement.Resource{Ref: ref}, Role: role})
}

// reads makes the activity read n datasets and gives how deep they lie. A
// dataset that is drawn twice is read once.
func (h *history) reads(a *statement.Activity, n int, role string) (depth uint8) {
	have := map[uint64]bool{}
	for range n {
		m, ok := h.datasets.shallow(h.r, DepthCap-2)
		key := uint64(m.series)<<16 | uint64(m.version)
		if !ok || have[key] {
			continue
		}
		have[key] = true
		h.use(a, prov.Dataset, m, role)
		depth = max(depth, m.depth)
	}
	return depth
}

func (h *history) dataset() {
	a := h.activity("transform", h.now)
	depth := uint8(0)
	if len(h.datasets.items) > 0 {
		depth = h.reads(a, 1+h.geometric(0.6, 8), "source")
	}
	a.Plan = h.code()
	m := h.version(&h.datasetLine, depth+2)
	h.datasets.add(m)
	h.say(h.now, "workload:etl", a, subject(refOf(prov.Dataset, m)))
}

func (h *history) training() {
	a := h.activity("train", h.now)
	depth := h.reads(a, 1+h.geometric(0.66, 20), "training")
	parents := 1
	if h.r.IntN(50) == 0 {
		parents += 1 + h.geometric(0.5, 4)
	}
	seen := map[string]bool{}
	for range parents {
		m, ok := h.models.shallow(h.r, DepthCap-2)
		if !ok {
			m = h.bases[h.r.IntN(len(h.bases))]
		}
		if ref := text(prov.Model, m); !seen[ref] {
			seen[ref] = true
			h.use(a, prov.Model, m, "base")
			depth = max(depth, m.depth)
		}
	}
	a.Plan = h.code()
	a.Credentials = []statement.Resource{{Ref: h.credential(a.Identities[0].Ref)}}
	for range h.geometric(0.5, 3) {
		a.Tools = append(a.Tools, statement.Resource{Ref: text(prov.Tool, h.tools.pick(h.r))})
	}
	m := h.version(&h.modelLine, depth+2)
	h.models.add(m)
	s := subject(refOf(prov.Model, m))
	if h.percent(h.o.DigestPercent) {
		h.made++
		s.Digest = statement.DigestSet{"sha256": statement.KeyDigest(refOf(prov.Model, m))}
	}
	h.say(h.now, "workload:trainer", a, s)
	if h.r.IntN(2) == 0 {
		h.evaluation(m)
	}
}

func (h *history) evaluation(m made) {
	at := h.now.Add(time.Hour + h.within(time.Hour))
	a := h.activity("evaluate", at)
	h.use(a, prov.Model, m, "evaluated")
	h.reads(a, 1+h.geometric(0.3, 3), "evaluation")
	a.Plan = h.code()
	h.made += 2
	report := prov.Ref{Kind: prov.Document, Name: "evaluation/" + strconv.Itoa(h.number("report")), Version: "1"}
	h.say(at, "workload:trainer", a, subject(report))
	if h.r.IntN(5) < 3 {
		h.approval(m, at.Add(time.Hour+h.within(48*time.Hour)))
	}
}

func (h *history) approval(m made, at time.Time) {
	h.made++
	p := &statement.Approval{Decision: "approve", ID: "approval:" + strconv.Itoa(h.number("approval")), Approver: h.member("person", h.people),
		Review: []string{"risk", "security", "data"}[h.r.IntN(3)], Role: "approver", DecidedAt: statement.NewTime(at),
		ValidUntil: statement.NewTime(at.Add(365 * 24 * time.Hour))}
	if h.r.IntN(12) == 0 {
		p.Decision = "reject"
	}
	h.say(at, p.Approver, p, subject(refOf(prov.Model, m)))
}

func (h *history) deployment() {
	m := h.models.pick(h.r)
	h.deploy(h.now, subject(refOf(prov.Model, m)), nil)
}

func (h *history) deploy(at time.Time, s statement.Subject, prompts []statement.Resource) {
	h.made++
	account := h.accountName()
	d := &statement.Deployment{Action: "deploy", ID: "deployment:" + strconv.Itoa(h.number("deployment")),
		Environment: "env:" + []string{"dev", "staging", "prod", "prod"}[h.r.IntN(4)], Service: h.member("service", h.services),
		At: statement.NewTime(at), RunsAs: []string{account}, Credentials: []statement.Resource{{Ref: h.credential(account)}}, Prompts: prompts,
		Identities: []statement.Party{{Ref: h.member("person", h.people), Role: "deployer"}}}
	for range 1 + h.geometric(0.66, 10) {
		d.Tools = append(d.Tools, statement.Resource{Ref: text(prov.Tool, h.tools.pick(h.r))})
	}
	if h.o.GovernedPercent > 0 && strings.HasPrefix(s.Name, "agent:") {
		h.placed = append(h.placed, placed{s.Name, account, d.Tools})
	}
	h.say(at, "workload:deployer", d, s)
}

func (h *history) agent() {
	a := h.activity("package", h.now)
	m, ok := h.models.shallow(h.r, DepthCap-4)
	if !ok {
		m = h.bases[h.r.IntN(len(h.bases))]
	}
	h.use(a, prov.Model, m, "model")
	if len(h.prompts.items) == 0 || h.r.IntN(3) == 0 {
		h.prompts.add(h.version(&h.promptLine, 0))
	}
	p := h.prompts.pick(h.r)
	h.use(a, prov.Prompt, p, "prompt")
	for range 1 + h.geometric(0.6, 8) {
		h.use(a, prov.Tool, h.tools.pick(h.r), "tool")
	}
	g := h.version(&h.agentLine, m.depth+2)
	h.agents.add(g)
	h.say(h.now, "workload:packager", a, subject(refOf(prov.Agent, g)))
	h.deploy(h.now.Add(time.Hour), subject(refOf(prov.Agent, g)), []statement.Resource{{Ref: text(prov.Prompt, p)}})
}

// credential names the credential that an account has in these months.
func (h *history) credential(account string) string {
	return "credential:" + account[len("sa:"):] + "@1"
}

func (h *history) account() {
	n := uint32(h.number("account") - 1)
	h.made += 3 // the account, its credential and the series of that
	ref := prov.Ref{Kind: prov.ServiceAccount, Name: nameOf(n)}
	p := &statement.Identity{Mode: "event", Source: "vault", At: statement.NewTime(h.now), Items: []statement.IdentityItem{{
		Ref: ref.String(), Owner: h.member("team", h.teams), MemberOf: []string{"role:trainer"},
		Credentials: []statement.CredentialItem{{Ref: h.credential(ref.String()), IssuedAt: statement.NewTime(h.now),
			ExpiresAt: statement.NewTime(h.now.Add(30*24*time.Hour + h.within(720*24*time.Hour)))}}}}}
	h.accounts.add(made{series: n})
	h.say(h.now, "workload:inventory", p, subject(ref))
}

func (h *history) tool() {
	m := made{series: uint32(h.number("tool") - 1), version: 1}
	h.made += 2
	h.tools.add(m)
	h.say(h.now, h.member("person", h.people), &statement.Entity{State: "registered", At: statement.NewTime(h.now),
		Description: "a tool that agents call"}, subject(refOf(prov.Tool, m)))
}

func (h *history) base() {
	m := h.version(&h.modelLine, 0)
	h.models.add(m)
	h.bases = append(h.bases, m)
	h.say(h.now, h.member("person", h.people), &statement.Entity{State: "registered", At: statement.NewTime(h.now),
		Origin: "https://hub.example/" + nameOf(m.series), Licence: "apache-2.0"}, subject(refOf(prov.Model, m)))
}

func (h *history) described() {
	m := h.datasets.items[h.r.IntN(len(h.datasets.items))]
	h.say(h.now, "workload:catalog", &statement.Entity{State: "labelled", At: statement.NewTime(h.now),
		Sensitivity: []string{"public", "internal", "personal"}[h.r.IntN(3)]}, subject(refOf(prov.Dataset, m)))
}

func (h *history) registered() {
	m := h.models.pick(h.r)
	name := prov.Ref{Kind: prov.Model, Name: nameOf(m.series)}
	h.made++
	h.say(h.now, "workload:registry", &statement.Registry{Registry: "hub", Name: name.String(), Alias: "champion",
		At: statement.NewTime(h.now)}, subject(refOf(prov.Model, m)))
}

func (h *history) delegation() {
	parent, n := h.member("person", h.people), h.number("subagent")
	child := prov.Ref{Kind: prov.Subagent, Name: strconv.Itoa(n)}
	h.made++
	h.say(h.now, "workload:broker", &statement.Delegation{Parent: parent, Child: child.String(), Scope: []string{"read"},
		IssuedAt: statement.NewTime(h.now), ExpiresAt: statement.NewTime(h.now.Add(24 * time.Hour)), Grade: "issuer"}, subject(child))
}

func (h *history) notice() {
	m := h.datasets.items[h.r.IntN(len(h.datasets.items))]
	h.made++
	h.say(h.now, "workload:scanner", &statement.Notice{Kind: "withdrawn", ID: fmt.Sprintf("notice:%d", h.number("notice")), Severity: "high",
		Since: statement.NewTime(h.now), At: statement.NewTime(h.now)}, subject(refOf(prov.Dataset, m)))
}

// chainLink adds one activity to the chain, unless it is long enough.
func (h *history) chainLink() bool {
	if h.chain >= h.o.Chain/2 {
		return false
	}
	h.chain++
	a := h.activity("append", h.now)
	a.Identities = nil
	if h.chain > 1 {
		a.Used = []statement.Use{{Resource: statement.Resource{Ref: chainRef(h.chain - 1).String()}}}
	}
	h.made += 2
	h.say(h.now, "workload:ledger", a, subject(chainRef(h.chain)))
	return true
}

func chainRef(n int) prov.Ref {
	return prov.Ref{Kind: prov.Dataset, Name: numbered("ledger/day", n), Version: "1"}
}

// ChainFirst and ChainLast name the ends of the chain.
func ChainFirst() prov.Ref { return chainRef(1) }

// ChainLast names the end of the chain that the options ask for.
func ChainLast(o Options) prov.Ref { return chainRef(o.Chain / 2) }
