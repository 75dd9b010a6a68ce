package otel

import (
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// drafts makes the statements of the unit: the traces, then the recorded spans
// in their order, then what they show about agents.
func (u *unit) drafts() []importer.Draft {
	u.order()
	out := u.traces()
	for i := range u.spans {
		if u.kinds[i] != "" {
			out = append(out, u.activity(i))
		}
	}
	if len(out) == 0 {
		return nil
	}
	j := u.joins()
	out = append(out, u.descriptions()...)
	out = append(out, j.drafts()...)
	out = append(out, u.delegations(j)...)
	if n := len(u.spans) - recorded(u.kinds); n > 0 {
		u.note("kept in the evidence only: %d of %d spans, which are of no agent, tool or model", n, len(u.spans))
	}
	return out
}

func recorded(kinds []string) (n int) {
	for _, k := range kinds {
		if k != "" {
			n++
		}
	}
	return n
}

func activityRef(name string) prov.Ref { return prov.Ref{Kind: prov.Activity, Name: name} }

// traces gives an activity for each trace that a recorded span belongs to, so
// that spans whose parents come in other units are tied together all the same.
func (u *unit) traces() []importer.Draft {
	var out []importer.Draft
	at := map[string]*statement.Activity{}
	for i := range u.spans {
		if id := u.spans[i].trace; u.kinds[i] != "" && at[id] == nil {
			r := activityRef(id)
			a := &statement.Activity{Kind: "trace", ID: r.String(), InputsCompleteness: statement.BestEffort}
			at[id] = a
			out = append(out, importer.Draft{Subjects: []statement.Subject{statement.NewSubject(r, nil)}, Predicate: a})
		}
	}
	for i := range u.spans {
		s := &u.spans[i]
		a := at[s.trace]
		if a == nil {
			continue
		}
		if s.parent == "" && a.StartedAt.IsZero() { // the root
			a.StartedAt, a.EndedAt = s.start, s.end
			a.Parameters = map[string]string{"rootSpan": s.id}
			put(a.Parameters, "rootName", s.name)
			u.parties(a, s)
		}
	}
	for i := range u.spans { // without a root, it was seen alive when its spans began
		a := at[u.spans[i].trace]
		if a == nil || !a.StartedAt.IsZero() || u.spans[i].start.IsZero() {
			continue
		}
		if t := u.spans[i].start; a.ObservedAt.IsZero() || t.Before(a.ObservedAt.Time) {
			a.ObservedAt = t
		}
	}
	return out
}

// maxValue is how much of an attribute's text goes into a statement, in bytes.
const maxValue = 256

func put(m map[string]string, key, value string) {
	if value != "" {
		m[key] = rawjson.Clip(value, maxValue)
	}
}

// ref gives the Ref, unless it is too long for one.
func (u *unit) ref(s *span, kind prov.Kind, name, version string) (prov.Ref, bool) {
	r := prov.Ref{Kind: kind, Name: name, Version: version}
	if name == "" {
		return r, false
	}
	if len(r.String()) > prov.MaxRef {
		u.note("%s: the name of its %s is longer than %d bytes as a Ref; it is in the evidence only", s.place, kind, prov.MaxRef)
		return r, false
	}
	return r, true
}

// activity gives what is said of span i.
func (u *unit) activity(i int) importer.Draft {
	s := &u.spans[i]
	id := activityRef(s.ref())
	a := &statement.Activity{Kind: u.kinds[i], ID: id.String(), StartedAt: s.start, EndedAt: s.end, State: s.state(),
		InputsCompleteness: statement.BestEffort, Parameters: s.parameters(u.words[i]), Environment: s.environment()}
	u.informed(a, i)
	u.used(a, s)
	if w, ok := u.ref(s, prov.Plan, s.workflow(), ""); ok && u.kinds[i] == invoke {
		p := statement.NewResource(w, nil)
		a.Plan = &p
	}
	if u.kinds[i] == callTool {
		if t, ok := u.ref(s, prov.Tool, s.tool(), s.attrs["gen_ai.tool.version"]); ok {
			a.Tools = append(a.Tools, statement.NewResource(t, nil))
		}
	}
	agent, has := u.agentOf(i)
	if has {
		a.Identities = append(a.Identities, statement.Party{Ref: agent.String(), Role: "agent"})
	}
	u.parties(a, s)
	if id := s.attrs.first("gen_ai.agent.identity.id", "spiffe.id"); id != "" {
		if r, ok := u.principal(s, id, prov.Workload); ok {
			a.Identities = append(a.Identities, statement.Party{Ref: r.String(), Role: "acts-as"})
		}
	}
	u.behalf(a, i, agent)
	subject := statement.NewSubject(id, nil)
	if has && u.kinds[i] == create {
		subject = statement.NewSubject(agent, nil)
		a.Identities = a.Identities[1:]
	}
	return importer.Draft{Subjects: []statement.Subject{subject}, Predicate: a}
}

func (s *span) state() string {
	switch {
	case s.failed:
		return "failed"
	case !s.end.IsZero():
		return "completed"
	case !s.start.IsZero():
		return "started"
	}
	return ""
}

// informed ties the activity to the nearest recorded span above it. Spans
// between that are in the unit and not recorded are passed over; beyond the
// unit the direct parent and the trace are named.
func (u *unit) informed(a *statement.Activity, i int) {
	s, up := &u.spans[i], u.up[i]
	add := func(name string) { a.InformedBy = append(a.InformedBy, statement.NewResource(activityRef(name), nil)) }
	switch {
	case up.span >= 0:
		add(u.spans[up.span].ref())
	case up.outside != "":
		add(s.trace + "/" + up.outside)
		u.note("the parent span %s of trace %s is not in this document; it may have been sampled away, or come in another", up.outside, s.trace)
		add(s.trace)
	default:
		add(s.trace)
	}
	for _, l := range s.links {
		if l.trace != s.trace || l.id != s.id && l.id != s.parent {
			add(l.trace + "/" + l.id)
		}
	}
}

// used names the models, prompts, data and servers.
func (u *unit) used(a *statement.Activity, s *span) {
	add := func(kind prov.Kind, name, version, role string) {
		if r, ok := u.ref(s, kind, name, version); ok {
			a.Used = append(a.Used, statement.Use{Resource: statement.NewResource(r, nil), Role: role, Rule: statement.RuleStated})
		}
	}
	requested, answered := s.models()
	add(prov.Model, requested, "", "model")
	if answered != requested {
		role := "answering-model"
		if requested == "" {
			role = "model"
		}
		add(prov.Model, answered, "", role)
	}
	at := s.attrs
	add(prov.Prompt, at.first("gen_ai.prompt.name", "traceloop.prompt.key", "langfuse.observation.prompt.name", "prompt.id"),
		at.first("gen_ai.prompt.version", "traceloop.prompt.version", "langfuse.observation.prompt.version", "prompt.version"), "prompt-template")
	if sum := s.systemPrompt(); sum != "" {
		r := statement.Resource{Ref: "sha256:" + sum, Digest: statement.DigestSet{"sha256": sum}}
		a.Used = append(a.Used, statement.Use{Resource: r, Role: "system-prompt", Rule: statement.RuleStated})
	}
	add(prov.Dataset, at["gen_ai.data_source.id"], "", "data-source")
	add(prov.Resource, at["mcp.resource.uri"], "", "mcp-resource")
	if server := s.mcpServer(); server != "" {
		add(prov.Service, server, "", "mcp-server")
	}
	for _, l := range []struct {
		kind  prov.Kind
		role  string
		names []string
	}{{prov.Document, "retrieved", s.retrieved()}, {prov.Tool, "offered-tool", s.offered()}} {
		for n, name := range l.names {
			if n == maxListed {
				u.note("%s: names of role %s beyond the first %d are in the evidence only", s.place, l.role, maxListed)
				break
			}
			add(l.kind, name, "", l.role)
		}
	}
}

// mcpServer gives the name or address of the server of an MCP call.
func (s *span) mcpServer() string {
	a := s.attrs
	if name := a.first("mcp.server.name", "gen_ai.mcp.server.name"); name != "" {
		return name
	}
	if a["mcp.method.name"] == "" || s.kind == "SERVER" && a["server.address"] == "" {
		return ""
	}
	host := a["server.address"]
	if host != "" && a["server.port"] != "" {
		host += ":" + a["server.port"]
	}
	return host
}

// agentOf gives the agent of span i: the one that it names, else that of the
// invocation around it.
func (u *unit) agentOf(i int) (prov.Ref, bool) {
	s := &u.spans[i]
	if name, version, _ := s.agent(u.kinds[i]); name != "" {
		return u.ref(s, prov.Agent, name, version)
	}
	if u.kinds[i] == invoke {
		return prov.Ref{}, false
	}
	if p := u.agentAbove(i); p >= 0 {
		name, version, _ := u.spans[p].agent(invoke)
		return u.ref(&u.spans[p], prov.Agent, name, version)
	}
	return prov.Ref{}, false
}

// parties names the workload and service account of the process.
func (u *unit) parties(a *statement.Activity, s *span) {
	add := func(r prov.Ref, ok bool, role string) {
		if ok {
			a.Identities = append(a.Identities, statement.Party{Ref: r.String(), Role: role})
		}
	}
	if name := workload(s.process); name != "" {
		r, ok := u.ref(s, prov.Workload, name, "")
		add(r, ok, "workload")
	}
	p := s.process.attrs
	if sa := p.first("k8s.service_account.name", "k8s.serviceaccount.name", "k8s.pod.service_account.name"); sa != "" {
		if ns := p["k8s.namespace.name"]; ns != "" {
			sa = ns + "/" + sa
		}
		r, ok := u.ref(s, prov.ServiceAccount, sa, "")
		add(r, ok, "service-account")
	}
}

// workload names a process by its service: namespace/name, or name.
func workload(p *process) string {
	name := p.attrs["service.name"]
	if name == "" || strings.HasPrefix(name, "unknown_service") || name == "OTLPResourceNoServiceName" {
		return ""
	}
	if ns := p.attrs.first("service.namespace", "k8s.namespace.name"); ns != "" {
		return ns + "/" + name
	}
	return name
}

// principal reads an identity: a SPIFFE ID names a workload, a Kubernetes user
// name a service account; else it is of the kind given.
func (u *unit) principal(s *span, id string, kind prov.Kind) (prov.Ref, bool) {
	if strings.HasPrefix(id, "spiffe://") {
		kind = prov.Workload
	} else if rest, ok := strings.CutPrefix(id, "system:serviceaccount:"); ok {
		kind, id = prov.ServiceAccount, strings.Replace(rest, ":", "/", 1)
	}
	return u.ref(s, kind, id, "")
}

// userOf gives who span i works for, as it or a recorded span above it says.
func (u *unit) userOf(i int) (prov.Ref, bool) {
	if i = u.users[i]; i < 0 {
		return prov.Ref{}, false
	}
	return u.principal(&u.spans[i], u.spans[i].user(), prov.Person)
}

// behalf names the user and the agent that called this one.
func (u *unit) behalf(a *statement.Activity, i int, agent prov.Ref) {
	if r, ok := u.userOf(i); ok {
		a.OnBehalfOf = append(a.OnBehalfOf, statement.Party{Ref: r.String(), Role: "user"})
	}
	if u.kinds[i] != invoke {
		return
	}
	if c, ok := u.caller(i); ok && c.Series() != agent.Series() && !alike(c.Name, agent.Name) {
		a.OnBehalfOf = append(a.OnBehalfOf, statement.Party{Ref: c.String(), Role: "caller"})
	}
}

// caller gives the agent that invoked that of span i.
func (u *unit) caller(i int) (prov.Ref, bool) {
	s := &u.spans[i]
	p := u.agentAbove(i)
	if name := s.attrs.first("gen_ai.caller.name", "gen_ai.caller.agent.name"); name != "" {
		if t := s.attrs["gen_ai.caller.type"]; t != "" && t != "agent" {
			return prov.Ref{}, false
		}
		if p >= 0 { // the version is known if the caller's span is that above
			if above, ok := u.agentOf(p); ok && above.Name == name {
				return above, true
			}
		}
		return u.ref(s, prov.Agent, name, "")
	}
	if p < 0 {
		return prov.Ref{}, false
	}
	return u.agentOf(p)
}

// parameterNames are the attributes that go into a statement, by what they are
// called there. Messages, arguments and results are in the evidence only.
var parameterNames = []struct {
	key   string
	names []string
}{
	{"provider", []string{"gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider"}},
	{"task", []string{"gen_ai.task.id", "a2a.task.id"}},
	{"responseId", []string{"gen_ai.response.id", "ai.response.id"}},
	{"toolCallId", []string{"gen_ai.tool.call.id", "ai.toolCall.id", "tool_call.id"}},
	{"toolType", []string{"gen_ai.tool.type"}},
	{"inputTokens", []string{"gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt", "ai.usage.promptTokens", "ai.usage.inputTokens"}},
	{"outputTokens", []string{"gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion", "ai.usage.completionTokens", "ai.usage.outputTokens"}},
	{"finishReason", []string{"gen_ai.response.finish_reasons.0", "gen_ai.response.finish_reasons", "gen_ai.completion.0.finish_reason", "ai.response.finishReason"}},
	{"temperature", []string{"gen_ai.request.temperature", "ai.settings.temperature"}},
	{"maxTokens", []string{"gen_ai.request.max_tokens", "ai.settings.maxTokens"}},
	{"seed", []string{"gen_ai.request.seed"}},
	{"errorType", []string{"error.type"}},
	{"agentId", []string{"gen_ai.agent.id"}},
	{"mcpProtocol", []string{"mcp.protocol.version"}},
	{"callerType", []string{"gen_ai.caller.type"}},
}

func (s *span) parameters(word string) map[string]string {
	m := map[string]string{}
	put(m, "operation", word)
	put(m, "span", s.name)
	put(m, "spanKind", s.kind)
	put(m, "scope", s.scope)
	for _, p := range parameterNames {
		put(m, p.key, s.attrs.first(p.names...))
	}
	put(m, "conversation", s.conversation())
	if f := m["finishReason"]; f != "" {
		m["finishReason"] = strings.Trim(f, `["]`) // an array that was written as text
	}
	if m["errorType"] == "" {
		put(m, "errorType", s.thrown)
	}
	return m
}

var environmentNames = []string{"deployment.environment.name", "deployment.environment", "service.version", "service.instance.id",
	"k8s.cluster.name", "k8s.namespace.name", "k8s.deployment.name", "k8s.statefulset.name", "k8s.job.name", "k8s.pod.name", "k8s.node.name",
	"container.image.name", "container.image.tag", "container.image.id", "cloud.provider", "cloud.account.id", "cloud.region", "cloud.resource_id",
	"host.name", "faas.name", "telemetry.sdk.language", "telemetry.sdk.version"}

func (s *span) environment() map[string]string {
	m := map[string]string{}
	for _, n := range environmentNames {
		put(m, n, s.process.attrs[n])
	}
	return m
}
