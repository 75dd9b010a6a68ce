package intoto

import (
	"path"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// chainloop reads the predicate of a Chainloop workflow run. Its subjects are
// the workflow itself, the commit that it ran on, and the materials that are
// marked as outputs.
func (u *unit) chainloop() {
	p := u.predicate
	meta := p.Get("metadata")
	used, params, env := u.uses(), u.parameters(), u.texts()
	outputs := map[string]bool{}
	var out []statement.Subject
	for i, s := range u.subjects {
		name := s.node.Get("name").Text()
		switch {
		case strings.HasPrefix(name, "chainloop.workflow.") || strings.HasPrefix(name, "chainloop.dev/workflow/"):
			params.set("workflow", name)
			params.set("workflow.digest", s.label())
		case name == "git.head":
			used.add(u.gitHead(s, params, i), "source-code")
		default:
			outputs[s.label()] = true
			out = append(out, s.subject())
		}
	}
	builder := p.Get("builder").Get("id").Text()
	id := u.activityID("chainloop", meta.Get("workflowRunID").Text())
	used.pieces(p.Get("materials"), outputs)
	params.set("buildType", p.Get("buildType").Text())
	params.flat("", meta)
	params.flat("annotations", p.Get("annotations"))
	for _, m := range []string{"policyHasViolations", "policyAttBlocked", "policyBlockBypassEnabled", "policyCheckBlockingStrategy", "signingCA"} {
		params.node(m, p.Get(m))
	}
	params.flat("policyEvaluationsRef", p.Get("policyEvaluationsRef"))
	u.policies(params, p.Get("policyEvaluations"))
	for _, m := range []string{"runnerType", "runnerURL", "runnerEnvironment"} {
		env.set(m, p.Get(m).Text())
	}
	env.flat("env", p.Get("env"))
	u.keptOnly("predicate.", p, "metadata", "builder", "buildType", "materials", "annotations", "env", "runnerType", "runnerURL", "runnerEnvironment",
		"policyHasViolations", "policyAttBlocked", "policyBlockBypassEnabled", "policyCheckBlockingStrategy", "signingCA", "policyEvaluations", "policyEvaluationsRef")
	a := &statement.Activity{Kind: "build", ID: id.String(), Used: used.list, Parameters: params.done(), Environment: env.done(),
		InputsCompleteness: statement.Declared, Identities: u.party(prov.Workload, builder, "builder")}
	name := path.Join("chainloop", meta.Get("organization").Text(), meta.Get("project").Text(), meta.Get("name").Text())
	if r := (prov.Ref{Kind: prov.Plan, Name: name}); meta.Get("name").Text() != "" && fits(r) {
		plan := statement.NewResource(r, nil)
		a.Plan = &plan
	}
	u.period(a, u.time(meta.Get("initializedAt"), "predicate.metadata.initializedAt"), u.time(meta.Get("finishedAt"), "predicate.metadata.finishedAt"))
	if len(out) == 0 {
		out = append(out, statement.NewSubject(id, nil))
	}
	u.add(a, out...)
}

// pieces adds the materials that are no outputs, with their type as role.
func (x *uses) pieces(list rawjson.Node, outputs map[string]bool) {
	for i, n := range elements(list) {
		place := "predicate.materials[" + itoa(i) + "]"
		t, ok := x.u.descriptor(n, place)
		if !ok {
			x.u.note("%s names nothing; it is in the evidence only", place)
			continue
		}
		if !outputs[t.label()] {
			role := n.Get("annotations").Get("chainloop.material.type").Text()
			x.add(t, orElse(rawjson.Clip(role, 100), "material"))
		}
	}
}

// gitHead gives the commit that the workflow ran on, in the repository that
// its remote "origin", else the first, names.
func (u *unit) gitHead(s thing, params *texts, i int) thing {
	d := u.digests(s.node.Get("digest"), "subject["+itoa(i)+"].digest", true)
	notes := s.node.Get("annotations")
	name := ""
	for _, r := range elements(notes.Get("remotes")) {
		if repo, _, ok := prov.Repository(r.Get("url").Text(), true); ok && (name == "" || r.Get("name").Text() == "origin") {
			name = repo
		}
	}
	for _, m := range []string{"author.email", "author.name", "date"} {
		params.set("git."+m, notes.Get(m).Text())
	}
	u.keptOnly("subject["+itoa(i)+"].annotations.", notes, "author.email", "author.name", "date", "remotes")
	t := thing{ref: named(name, d, ""), digest: d.set, node: s.node}
	if t.ref.IsZero() || !fits(t.ref) {
		return s
	}
	return t
}

// policies counts the violations of each policy.
func (u *unit) policies(params *texts, n rawjson.Node) {
	lists := []rawjson.Node{}
	if n.Kind() == '{' {
		for m := range n.All() {
			lists = append(lists, m)
		}
	}
	for _, list := range lists {
		for _, e := range elements(list) {
			name := e.Get("name").Text()
			if name == "" {
				continue
			}
			params.set("policy."+rawjson.Clip(name, 150)+".violations", itoa(len(elements(e.Get("violations")))))
			params.node("policy."+rawjson.Clip(name, 150)+".skipped", e.Get("skipped"))
		}
	}
	if len(lists) > 0 {
		u.note("kept in the evidence only: what the violations in predicate.policyEvaluations say")
	}
}

// agentConfig reads Chainloop's description of how a coding agent is set up:
// the agent, and the files that instruct it.
func (u *unit) agentConfig(root rawjson.Node) {
	data := root.Get("data")
	name := data.Get("agent").Get("name").Text()
	if name == "" {
		u.refuse(MissingSubject, "data.agent.name", "is missing; name the agent that the configuration is of")
		return
	}
	agent := prov.Ref{Kind: prov.Agent, Name: name, Version: firstText(data, "config_hash", "configHash")}
	if !fits(agent) {
		u.refuse(BadField, "data.agent.name", "is too long for a Ref")
		return
	}
	t := u.texts()
	t.set("schema", root.Get("schema").Text())
	t.set("agent.version", data.Get("agent").Get("version").Text())
	t.set("capturedAt", firstText(data, "captured_at", "capturedAt"))
	t.flat("git", firstNode(data, "git_context", "gitContext"))
	at := u.time(firstNode(data, "captured_at", "capturedAt"), "data.captured_at")
	u.keptOnly("", root, "chainloop.material.evidence.id", "schema", "data")
	u.keptOnly("data.", data, "agent", "config_hash", "configHash", "config_files", "captured_at", "capturedAt", "git_context", "gitContext", "schema_version")
	u.add(&statement.Entity{State: "described", At: at, Attributes: t.done()}, statement.NewSubject(agent, nil))
	for i, f := range elements(data.Get("config_files")) {
		u.configFile(f, "data.config_files["+itoa(i)+"]", agent, at)
	}
}

func firstNode(n rawjson.Node, names ...string) rawjson.Node {
	for _, m := range names {
		if x := n.Get(m); x.Given() {
			return x
		}
	}
	return rawjson.Node{}
}

func (u *unit) configFile(f rawjson.Node, place string, agent prov.Ref, at statement.Time) {
	kind := prov.Document
	what := f.Get("kind").Text()
	switch what {
	case "instruction", "rule", "prompt", "command", "skill", "subagent", "agent":
		kind = prov.Prompt
	}
	d := digests{set: statement.DigestSet{}}
	if h := f.Get("sha256"); h.Given() {
		if v := strings.ToLower(h.Text()); len(v) == 64 && strings.Trim(v, "0123456789abcdef") == "" {
			d.set["sha256"] = v
		} else {
			u.note("%s.sha256 is no SHA-256; it is in the evidence only", place)
		}
	}
	r := prov.Ref{Kind: kind, Name: f.Get("path").Text()}
	if r.Name == "" || !fits(r) {
		u.note("%s has no path that can be a name; it is in the evidence only", place)
		return
	}
	part := []statement.Resource{statement.NewResource(agent, nil)}
	t := u.texts()
	t.set("configKind", what)
	t.node("size", f.Get("size"))
	u.add(&statement.Entity{State: "described", At: at, PartOf: part, Attributes: t.done()}, statement.NewSubject(r, d.set))
	data, err := decode(f.Get("content").Text())
	if err != nil || len(data) == 0 {
		return
	}
	if doc, fault := single(data, u.max); fault == "" {
		for s := range doc.Root().Get("mcpServers").All() {
			tool := prov.Ref{Kind: prov.Tool, Name: "mcp/" + s.Key()}
			if s.Key() == "" || !fits(tool) {
				continue
			}
			t := u.texts()
			t.set("command", s.Get("command").Text())
			t.set("url", bare(s.Get("url").Text()))
			t.set("transport", s.Get("type").Text())
			u.add(&statement.Entity{State: "described", At: at, PartOf: part, Attributes: t.done()}, statement.NewSubject(tool, nil))
		}
	}
}

// codingSession reads Chainloop's summary of a session with a coding agent.
func (u *unit) codingSession(root rawjson.Node) {
	data := root.Get("data")
	session, agent, git := data.Get("session"), data.Get("agent"), data.Get("git_context")
	if session.Get("id").Text() == "" {
		u.refuse(BadField, "data.session.id", "is missing; name the session")
		return
	}
	who, sessionID := agent.Get("name").Text(), session.Get("id").Text()
	if isUUID(sessionID) {
		sessionID = strings.ToLower(sessionID)
	}
	id := u.activityID(orElse(who, "agent"), sessionID)
	used, params, env := u.uses(), u.texts(), u.texts()
	a := &statement.Activity{Kind: "invoke", ID: id.String(), InputsCompleteness: statement.BestEffort}
	if r := (prov.Ref{Kind: prov.Agent, Name: who, Version: agent.Get("version").Text()}); who != "" && fits(r) {
		used.add(thing{ref: r}, "agent")
	}
	used.models(data.Get("model"))
	for _, t := range elements(data.Get("tools_used").Get("summary")) {
		r := prov.Ref{Kind: prov.Tool, Name: orElse(who, "agent") + "/" + t.Get("tool_name").Text()}
		if t.Get("tool_name").Text() != "" && fits(r) {
			a.Tools = append(a.Tools, statement.NewResource(r, nil))
			params.node("tool."+rawjson.Clip(t.Get("tool_name").Text(), 100)+".calls", t.Get("invocation_count"))
		}
	}
	out := []statement.Subject{statement.NewSubject(id, nil)}
	if c := git.Get("commit_start").Text(); isCommit(c) {
		used.add(u.commitIn(git, c), "source-code")
	}
	if c := git.Get("commit_end").Text(); isCommit(c) && c != git.Get("commit_start").Text() {
		out = []statement.Subject{u.commitIn(git, c).subject()}
	}
	params.flat("session", session)
	params.flat("usage", data.Get("usage"))
	params.flat("conversation", data.Get("conversation"))
	params.set("git.branch", git.Get("branch").Text())
	for m := range data.Get("code_changes").All() {
		if m.Kind() == '0' {
			params.node("code_changes."+m.Key(), m)
		}
	}
	params.flat("attribution", firstNode(data.Get("attribution"), "summary"))
	env.set("work_dir", git.Get("work_dir").Text())
	if n := len(elements(data.Get("subagents"))); n > 0 {
		params.set("subagents", itoa(n))
		a.Identities = u.party(prov.Workload, orElse(who, "agent")+"/"+sessionID, "agent")
	}
	u.keptOnly("", root, "chainloop.material.evidence.id", "schema", "data")
	u.keptOnly("data.", data, "schema_version", "agent", "session", "git_context", "code_changes", "model", "usage", "tools_used", "conversation", "subagents")
	a.Used, a.Parameters, a.Environment = used.list, params.done(), env.done()
	u.period(a, u.time(session.Get("started_at"), "data.session.started_at"), u.time(session.Get("ended_at"), "data.session.ended_at"))
	u.add(a, out...)
	u.subagents(data, who, sessionID, a)
}

// models adds the models of a session: the primary one and all that were used.
func (x *uses) models(model rawjson.Node) {
	for _, m := range append([]rawjson.Node{model.Get("primary")}, elements(model.Get("models_used"))...) {
		name := m.Text()
		if p := model.Get("provider").Text(); p != "" && name != "" {
			name = p + "/" + name
		}
		if r := (prov.Ref{Kind: prov.Model, Name: name}); name != "" && fits(r) {
			x.add(thing{ref: r}, "model")
		}
	}
}

// subagents gives a delegation for each subagent that has an id or a name.
func (u *unit) subagents(data rawjson.Node, who, session string, a *statement.Activity) {
	for i, s := range elements(data.Get("subagents")) {
		name := firstText(s, "id", "agent_id", "name", "type", "agent_type", "subagent_type")
		child := prov.Ref{Kind: prov.Subagent, Name: orElse(who, "agent") + "/" + session + "/" + name}
		if name == "" || !fits(child) || len(a.Identities) == 0 {
			u.note("data.subagents[%d] has no id; it is in the evidence only", i)
			continue
		}
		u.keptOnly("data.subagents["+itoa(i)+"].", s, "id", "agent_id", "name", "type", "agent_type", "subagent_type", "started_at", "startedAt")
		u.add(&statement.Delegation{Parent: a.Identities[0].Ref, Child: child.String(), Grade: "self-reported",
			IssuedAt: u.time(firstNode(s, "started_at", "startedAt"), "data.subagents["+itoa(i)+"].started_at")}, statement.NewSubject(child, nil))
	}
}

// commitIn gives a commit of the repository that the session worked in.
func (u *unit) commitIn(git rawjson.Node, hash string) thing {
	d := digests{set: statement.DigestSet{"gitCommit": hash}, commit: hash}
	r := named(git.Get("repository").Text(), d, "")
	if r.Kind != prov.Code || !fits(r) {
		r = named("", d, "")
	}
	return thing{ref: r, digest: d.set}
}
