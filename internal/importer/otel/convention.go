package otel

import (
	"crypto/sha256"
	"encoding/hex"
	"sort"
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// The kinds of activities that spans are recorded as. A span of no such kind
// is kept in the evidence only.
const (
	invoke   = "invoke"    // an agent or workflow runs
	create   = "create"    // an agent is created
	callTool = "call-tool" // a tool runs
	infer    = "infer"     // a model answers
	embed    = "embed"
	retrieve = "retrieve"
	rerank   = "rerank"
	evaluate = "evaluate"
	guard    = "guard"
	plan     = "plan"
)

// operations maps gen_ai.operation.name to kinds: the values of the GenAI
// conventions, and those that are met besides.
var operations = map[string]string{
	"invoke_agent": invoke, "invoke_workflow": invoke, "create_agent": create, "execute_tool": callTool,
	"chat": infer, "generate_content": infer, "text_completion": infer, "completion": infer, "completions": infer, "call_llm": infer,
	"responses": infer, "generate": infer, "messages": infer, "embeddings": embed, "embedding": embed, "retrieval": retrieve,
	"rerank": rerank, "evaluate": evaluate, "plan": plan, "agent": invoke, "tool": callTool, "llm": infer, "invoke": invoke,
	"handoff": callTool, "conversation": invoke, "workflow": invoke, "image_generation": infer, "speech": infer, "transcription": infer,
}

// spanKinds maps the span kinds of OpenInference, OpenLLMetry, MLflow,
// LangSmith and Langfuse. Steps between (chain, task, parser …) are not
// recorded: what happens in them is tied to what is around them.
var spanKinds = map[string]string{
	"agent": invoke, "workflow": invoke, "tool": callTool, "llm": infer, "chat_model": infer, "generation": infer,
	"embedding": embed, "retriever": retrieve, "reranker": rerank, "evaluator": evaluate, "guardrail": guard,
}

var kindAttributes = []string{"openinference.span.kind", "traceloop.span.kind", "mlflow.spanType", "langsmith.span.kind",
	"langfuse.observation.type", "gen_ai.span.kind"}

// classify tells which kind of activity the span is, by the first convention
// that says so, and the convention's own word; kind is empty for other spans.
func (s *span) classify() (kind, word string) {
	a := s.attrs
	if op := a["gen_ai.operation.name"]; operations[strings.ToLower(op)] != "" {
		return operations[strings.ToLower(op)], op
	}
	switch m := a["mcp.method.name"]; m {
	case "tools/call":
		return callTool, m
	case "resources/read", "prompts/get":
		return retrieve, m
	}
	for _, k := range kindAttributes {
		if w := unquoted(a[k]); w != "" {
			if kind := spanKinds[strings.ToLower(w)]; kind != "" {
				return kind, w
			}
		}
	}
	if op := a.first("ai.operationId", "operation.name"); strings.HasPrefix(op, "ai.") {
		op, _, _ = strings.Cut(op, " ") // operation.name has the function's id after it
		switch {
		case op == "ai.toolCall":
			return callTool, op
		case strings.HasPrefix(op, "ai.embed"):
			return embed, op
		case op == "ai.rerank" || strings.HasPrefix(op, "ai.rerank."):
			return rerank, op
		}
		return infer, op
	}
	if w := a["llm.request.type"]; w != "" {
		kind := map[string]string{"chat": infer, "completion": infer, "embedding": embed, "rerank": rerank}[w]
		return kind, w
	}
	for _, p := range []string{"invoke_agent", "execute_tool", "create_agent"} {
		if s.name == p || strings.HasPrefix(s.name, p+" ") {
			return operations[p], p
		}
	}
	switch {
	case s.name == "agent run" && a["agent_name"] != "": // pydantic-ai before it set an operation
		return invoke, s.name
	case a["gen_ai.tool.name"] != "" && a["gen_ai.request.model"] == "":
		return callTool, ""
	case a.first(modelAttributes...) != "":
		return infer, ""
	}
	return "", ""
}

// unquoted takes the quotes off that MLflow writes around attributes.
func unquoted(s string) string { return strings.Trim(s, `"`) }

var modelAttributes = []string{"gen_ai.request.model", "gen_ai.response.model", "llm.model_name", "embedding.model_name", "ai.model.id", "llm.request.model"}

// The requested and the answering model differ where an alias was resolved.
func (s *span) models() (requested, answered string) {
	return s.attrs.first("gen_ai.request.model", "llm.model_name", "embedding.model_name", "reranker.model_name", "ai.model.id", "llm.request.model", "model_name"),
		s.attrs.first("gen_ai.response.model", "ai.response.model", "llm.response.model")
}

// agent gives the agent that the span names, which on an invocation is the one
// that is invoked, with its version and id.
func (s *span) agent(kind string) (name, version, id string) {
	a := s.attrs
	name = a.first("gen_ai.agent.name", "agent.name", "agent_name", "ai.agent.name")
	id, version = a["gen_ai.agent.id"], a.first("gen_ai.agent.version", "agent.version")
	if name == "" && (kind == invoke || kind == create) {
		name = a["graph.node.id"]
		for _, p := range []string{"invoke_agent ", "create_agent "} {
			if rest, ok := strings.CutPrefix(s.name, p); ok {
				name = strings.TrimSuffix(strings.TrimPrefix(rest, "["), "]")
			}
		}
		switch strings.ToLower(unquoted(a.first(kindAttributes...))) {
		case "agent":
			if e := a["traceloop.entity.name"]; e != "" {
				name = e
			} else if name == "" {
				name = strings.TrimSuffix(s.name, ".agent")
			}
		}
	}
	if name == "" {
		name = id
	}
	if name == "" {
		version = ""
	}
	return name, version, id
}

// workflow gives the plan that an invocation follows.
func (s *span) workflow() string {
	return s.attrs.first("gen_ai.workflow.name", "traceloop.workflow.name", "ai.telemetry.functionId")
}

func (s *span) tool() string {
	a := s.attrs
	if t := a.first("gen_ai.tool.name", "tool.name", "ai.toolCall.name", "mcp.tool.name", "tool_name"); t != "" {
		return t
	}
	if rest, ok := strings.CutPrefix(s.name, "execute_tool "); ok {
		return rest
	}
	if rest, ok := strings.CutPrefix(s.name, "tools/call "); ok {
		return rest
	}
	if a["traceloop.span.kind"] == "tool" && a["traceloop.entity.name"] != "" {
		return a["traceloop.entity.name"]
	}
	return s.name
}

// user gives who the work is done for, as the producer says.
func (s *span) user() string {
	if id := s.attrs.first("user.id", "enduser.id", "kagent.user_id", "traceloop.association.properties.user_id",
		"langfuse.user.id", "ai.telemetry.metadata.userId", "langsmith.metadata.user_id", "gen_ai.user.id", "metadata.user_id", "user.email"); id != "" {
		return id
	}
	return s.process.attrs.first("user.id", "enduser.id", "user.email") // a program that one person runs
}

// conversation gives the session or thread that the span belongs to.
func (s *span) conversation() string {
	return s.attrs.first("gen_ai.conversation.id", "session.id", "traceloop.association.properties.session_id",
		"langfuse.session.id", "ai.telemetry.metadata.sessionId", "langsmith.trace.session_id", "gcp.vertex.agent.session_id")
}

// maxListed is how many offered tools or retrieved documents of one span are
// written out.
const maxListed = 128

// offered gives the names of the tools that a model was told of, sorted.
func (s *span) offered() []string {
	found := map[string]bool{}
	for k, v := range s.attrs {
		switch {
		case strings.HasPrefix(k, "llm.request.functions.") && strings.HasSuffix(k, ".name"),
			strings.HasPrefix(k, "gen_ai.tool.definitions.") && strings.HasSuffix(k, ".name"),
			strings.HasPrefix(k, "gen_ai.request.tools.") && strings.HasSuffix(k, ".name"):
			found[v] = true
		case strings.HasPrefix(k, "llm.tools.") && strings.HasSuffix(k, "json_schema"),
			strings.HasPrefix(k, "ai.prompt.tools."):
			toolNames(v, found)
		case k == "gen_ai.tool.definitions" || k == "gen_ai.request.tools":
			toolNames(v, found)
		}
	}
	delete(found, "")
	return sorted(found)
}

// toolNames takes the names out of a JSON text of definitions.
func toolNames(text string, found map[string]bool) {
	root, ok := jsonText(text)
	if !ok {
		return
	}
	one := func(n rawjson.Node) {
		if f := n.Get("function"); f.Kind() == '{' {
			n = f
		}
		found[n.Get("name").Text()] = true
	}
	if root.Kind() == '{' {
		one(root)
		return
	}
	for x := range root.All() {
		one(x)
	}
}

func sorted(set map[string]bool) []string {
	out := make([]string, 0, len(set))
	for k := range set {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// jsonText reads an attribute whose text is JSON, an object or array.
func jsonText(text string) (rawjson.Node, bool) {
	text = strings.TrimSpace(text)
	if text == "" || text[0] != '{' && text[0] != '[' {
		return rawjson.Node{}, false
	}
	for v, err := range rawjson.Split(strings.NewReader("["+text+"]"), int64(len(text))) {
		if err != nil || v.Fault != nil {
			return rawjson.Node{}, false
		}
		return rawjson.Parse(v.Bytes).Root(), true
	}
	return rawjson.Node{}, false
}

// retrieved gives the ids of the documents that a retrieval returned, sorted.
func (s *span) retrieved() []string {
	found := map[string]bool{}
	for k, v := range s.attrs {
		if strings.HasSuffix(k, ".document.id") && (strings.HasPrefix(k, "retrieval.documents.") || strings.HasPrefix(k, "reranker.output_documents.")) {
			found[v] = true
		}
	}
	if root, ok := jsonText(s.attrs["gen_ai.retrieval.documents"]); ok {
		for x := range root.All() {
			found[x.Get("id").Text()] = true
		}
	}
	delete(found, "")
	return sorted(found)
}

// systemPrompt gives the SHA-256 of the text of the system instructions, if
// they are in the span. The text itself goes into no statement.
func (s *span) systemPrompt() string {
	text := s.systemText()
	if strings.TrimSpace(text) == "" || strings.TrimSpace(text) == rawjson.Redacted {
		return ""
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func (s *span) systemText() string {
	a := s.attrs
	if t := a["gen_ai.system_instructions"]; t != "" {
		if root, ok := jsonText(t); ok {
			return content(root)
		}
		return t
	}
	for _, p := range []struct{ before, role, text string }{
		{"gen_ai.prompt.", ".role", ".content"},
		{"llm.input_messages.", ".message.role", ".message.content"},
	} {
		for i := range 4 { // it is the first message, or soon after it
			if r := a[p.before+strconv.Itoa(i)+p.role]; r == "system" || r == "developer" {
				return a[p.before+strconv.Itoa(i)+p.text]
			}
		}
	}
	for _, k := range []string{"gen_ai.input.messages", "ai.prompt.messages", "gen_ai.prompt"} {
		if t := systemMessage(a[k]); t != "" {
			return t
		}
	}
	for _, k := range []string{"ai.prompt", "gcp.vertex.agent.llm_request"} {
		if root, ok := jsonText(a[k]); ok {
			for _, x := range []rawjson.Node{root.Get("system"), root.Get("config").Get("system_instruction")} {
				if t := content(x); t != "" {
					return t
				}
			}
		}
	}
	return ""
}

func systemMessage(text string) string {
	root, ok := jsonText(text)
	if !ok {
		return ""
	}
	for m := range root.All() {
		if r := m.Get("role").Text(); r == "system" || r == "developer" {
			if c := content(m.Get("content")); c != "" {
				return c
			}
			return content(m.Get("parts"))
		}
	}
	return ""
}

// content gives the text of a message: a text, or parts that hold text.
func content(n rawjson.Node) string {
	switch n.Kind() {
	case '"':
		return n.Text()
	case '{':
		return content1(n)
	}
	var parts []string
	for x := range n.All() {
		if t := content1(x); t != "" {
			parts = append(parts, t)
		}
	}
	return strings.Join(parts, "\n")
}

func content1(n rawjson.Node) string {
	if n.Kind() == '"' {
		return n.Text()
	}
	return get(n, "text", "content").Text()
}
