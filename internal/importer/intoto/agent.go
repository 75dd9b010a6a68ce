package intoto

import (
	"bytes"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// agentAction reads the proposed predicate ai-agent-action: one call of a tool
// by an agent, on behalf of whom it worked for.
func (u *unit) agentAction() {
	p := u.predicate
	act, agent, chain := p.Get("action"), p.Get("agent"), p.Get("chain")
	at := u.time(act.Get("observedAt"), "predicate.action.observedAt")
	if at.IsZero() {
		u.refuse(BadField, "predicate.action.observedAt", "is no time; give the time of the action, for example \"2026-03-01T12:00:00Z\"")
		return
	}
	name := orElse(u.firstName(), agent.Get("sessionId").Text())
	seq := chain.Get("sequenceNumber").Text()
	if name == "" {
		seq = ""
	}
	id := u.activityID(name, seq)
	params, used := u.parameters(), u.uses()
	params.flat("", act)
	params.flat("upstream", p.Get("upstream"))
	params.flat("chain", chain)
	params.flat("metadata", p.Get("metadata"))
	params.set("sessionId", agent.Get("sessionId").Text())
	a := &statement.Activity{Kind: "invoke", ID: id.String(), ObservedAt: at, InputsCompleteness: statement.BestEffort,
		Identities: u.party(prov.Workload, name, "agent"), OnBehalfOf: u.person(agent.Get("principal").Text(), "principal")}
	switch act.Get("success").Kind() {
	case 't':
		a.State = "completed"
	case 'f':
		a.State = "failed"
	default:
		a.State = "other"
	}
	if tool := firstText(act, "toolName", "method"); tool != "" {
		if up := p.Get("upstream").Get("name").Text(); up != "" {
			tool = up + "/" + tool
		}
		if r := (prov.Ref{Kind: prov.Tool, Name: tool}); fits(r) {
			a.Tools = append(a.Tools, statement.NewResource(r, nil))
		}
	}
	if m := (prov.Ref{Kind: prov.Model, Name: agent.Get("model").Text()}); m.Name != "" && fits(m) {
		used.add(thing{ref: m}, "model")
	}
	content := p.Get("contentDigest")
	if d := u.digests(content.Get("request"), "predicate.contentDigest.request", false); !d.content().IsZero() {
		used.add(thing{digest: d.set}, "request")
	}
	subject := statement.NewSubject(id, nil)
	if d := u.digests(content.Get("response"), "predicate.contentDigest.response", false); !d.content().IsZero() {
		subject = statement.Subject{Digest: d.set}
	}
	a.Used, a.Parameters = used.list, params.done()
	u.keptOnly("predicate.", p, "action", "agent", "upstream", "chain", "contentDigest", "metadata")
	u.add(a, subject)
	if len(a.Identities) > 0 && len(a.OnBehalfOf) > 0 && u.check.Result != statement.CheckFailed {
		u.add(&statement.Delegation{Parent: a.OnBehalfOf[0].Ref, Child: a.Identities[0].Ref, IssuedAt: at, Grade: "self-reported"},
			statement.NewSubject(prov.Ref{Kind: prov.Workload, Name: strings.TrimSpace(name)}, nil))
	}
}

// firstName gives the name of the first subject, as it is written.
func (u *unit) firstName() string {
	for _, s := range elements(u.st.Get("subject")) {
		return s.Get("name").Text()
	}
	return ""
}

// maxEvents is how many events of a session are read.
const maxEvents = 200_000

// chain is what the events of a session add up to.
type chain struct {
	first, last statement.Time
	count       int
	kinds       map[string]int
	decisions   map[string]int
	tools       map[string]bool
	toolList    []string
	before      string // commit before
	after       string // commit after
	broken      string // why the hashes do not follow one another
}

// sessionChain reads a chain of events of a session with an agent, as testigo
// writes it. It checks that each event names the hash of the one before, and
// that the first and last are those that the range names; not the hashes
// themselves, which need the tool's own form of the events.
func (u *unit) sessionChain() {
	p := u.predicate
	c := u.events(p)
	if c.broken != "" {
		u.check.Result, u.check.Reason = statement.CheckFailed, c.broken
		u.note("the chain of events is broken: %s", c.broken)
	}
	head := p.Get("ledgerHead").Get("hash").Text()
	name := u.firstName()
	id := u.activityID("session-chain/"+p.Get("project").Text(), head)
	params, used := u.parameters(), u.uses()
	params.set("project", p.Get("project").Text())
	params.set("session", name)
	params.set("generator", p.Get("generator").Text())
	params.node("redactionCount", p.Get("redactionCount"))
	params.flat("range", p.Get("range"))
	params.flat("ledgerHead", p.Get("ledgerHead"))
	params.set("events", itoa(c.count))
	for k, n := range c.kinds {
		params.set("events."+k, itoa(n))
	}
	for k, n := range c.decisions {
		params.set("approvals."+k, itoa(n))
	}
	u.note("the decisions on tool calls within the session are no approvals here; they are counted in the parameters")
	u.keptOnly("predicate.", p, "project", "generator", "redactionCount", "range", "ledgerHead", "events", "caseId")
	a := &statement.Activity{Kind: "invoke", ID: id.String(), InputsCompleteness: statement.BestEffort,
		Identities: u.party(prov.Workload, "agent of "+orElse(name, "a session"), "agent")}
	for _, t := range c.toolList {
		if r := (prov.Ref{Kind: prov.Tool, Name: t}); fits(r) {
			a.Tools = append(a.Tools, statement.NewResource(r, nil))
		}
	}
	out := []statement.Subject{statement.NewSubject(id, nil)}
	if c.before != "" {
		used.add(commit(c.before), "source-code")
	}
	if c.after != "" && c.after != c.before {
		out = []statement.Subject{commit(c.after).subject()}
	}
	a.Used, a.Parameters = used.list, params.done()
	u.period(a, c.first, c.last)
	u.add(a, out...)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func commit(hash string) thing {
	d := digests{set: statement.DigestSet{"gitCommit": hash}, commit: hash}
	return thing{ref: named("", d, ""), digest: d.set}
}

func (u *unit) events(p rawjson.Node) chain {
	c := chain{kinds: map[string]int{}, decisions: map[string]int{}, tools: map[string]bool{}}
	before := p.Get("range").Get("prevHashBefore").Text()
	list := elements(p.Get("events"))
	if len(list) > maxEvents {
		u.note("%d events; those after the first %d are in the evidence only", len(list), maxEvents)
		list = list[:maxEvents]
	}
	for i, e := range list {
		ev := e.Get("stub") // an event that was left out, but for its hashes
		if ev.Kind() != '{' {
			doc, fault := single([]byte(e.Get("line").Text()), u.max)
			if fault != "" {
				c.broken = orElse(c.broken, "event "+itoa(i)+" "+fault)
				continue
			}
			ev = doc.Root()
		}
		if prev := ev.Get("prevHash").Text(); prev != before {
			c.broken = orElse(c.broken, "event "+itoa(i)+" does not name the hash of the event before it")
		}
		before = ev.Get("hash").Text()
		c.event(u, ev, i)
	}
	if head := p.Get("ledgerHead").Get("hash").Text(); head != "" && len(list) > 0 && head != before {
		c.broken = orElse(c.broken, "the last event is not the head that the statement names")
	}
	return c
}

func (c *chain) event(u *unit, ev rawjson.Node, i int) {
	c.count++
	at := u.millis(ev.Get("ts"), "predicate.events["+itoa(i)+"].ts")
	if !at.IsZero() && (c.first.IsZero() || at.Before(c.first.Time)) {
		c.first = at
	}
	if !at.IsZero() && at.After(c.last.Time) {
		c.last = at
	}
	if k := ev.Get("kind").Text(); k != "" && len(k) <= 64 && (len(c.kinds) < 50 || c.kinds[k] > 0) {
		c.kinds[k]++
	}
	body := ev.Get("payload")
	if d := body.Get("decision").Text(); d != "" && len(d) <= 64 && (len(c.decisions) < 20 || c.decisions[d] > 0) {
		c.decisions[d]++
	}
	if t := body.Get("tool").Text(); t != "" && len(t) <= 500 && !c.tools[t] && len(c.tools) < 1000 {
		c.tools[t] = true
		c.toolList = append(c.toolList, t)
	}
	if s := firstText(body, "commitSha", "preSha"); c.before == "" && isCommit(s) {
		c.before = s
	}
	if s := body.Get("postSha").Text(); isCommit(s) {
		c.after = s
	}
}

func isCommit(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// packKey checks the signature of a testigo proof pack with the key that lies
// in the pack. That makes no signature good, for anybody can put a key beside
// what he signs; but it tells a bad one.
func packKey(check statement.EvidenceCheck, raw []byte, h holder) statement.EvidenceCheck {
	root := rawjson.Parse(raw).Root()
	if !strings.HasPrefix(root.Get("format").Text(), "testigo-proofpack/") || check.Result == statement.CheckVerified || check.Result == statement.CheckFailed {
		return check
	}
	data, err := decode(root.Get("publicKey").Text())
	if err != nil {
		return check
	}
	key, err := statement.Ed25519Key(data)
	if err != nil {
		return check
	}
	env, err := statement.ParseEnvelope(bytes.Clone(h.node.Raw()))
	if err != nil {
		return check
	}
	check.By = "the key in the proof pack, " + key.KeyID()
	for _, s := range env.Signatures {
		if key.Verify(env.PAE(), s.Sig) == nil {
			check.Reason = "signed by the key that lies in the proof pack, for which nobody speaks"
			return check
		}
	}
	check.Result, check.Reason = statement.CheckFailed, "no signature holds under the key that lies in the proof pack"
	return check
}
