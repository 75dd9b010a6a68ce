// Package mcp makes statements out of what the Model Context Protocol tells of
// tools: answers to tools/list, single tools, servers of a registry, and the
// configuration of clients.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-mcp.md.
package mcp

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// The classes of refusals beside those of rawjson and inventory.
const (
	NotMCP  = "not-mcp"
	Request = "request"
	NoTools = "no-tools"
	NoName  = "missing-name"
)

// Importer reads what MCP tells of tools.
type Importer struct{ Options inventory.Options }

// Name gives "mcp".
func (Importer) Name() string { return "mcp" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Recognise tells whether the file begins with a message of MCP, a tool, a
// server of a registry or a client's configuration.
func (Importer) Recognise(h *importer.Head) bool {
	has := func(text string) bool { return bytes.Contains(h.Bytes, []byte(text)) }
	switch {
	case h.Members == nil:
		return false
	case h.Has("jsonrpc"):
		return has("io.modelcontextprotocol/") || has(`"tools/list"`) || has(`"inputSchema"`) && has(`"tools"`) || has(`"protocolVersion"`)
	case h.Members["tools"] == "[":
		return has(`"inputSchema"`) || h.Has("nextCursor") || h.Has("resultType")
	case h.Has("name", "inputSchema"), h.Has("mcpServers"), h.Has("name", "version_detail"), h.Has("supportedVersions", "capabilities"):
		return true
	}
	return strings.Contains(h.Members["$schema"], "modelcontextprotocol.io") || h.Members["servers"] == "[" && has("modelcontextprotocol")
}

// Rules: what a server is started with, and the values of its variables, are
// taken out; their names stay.
var Rules = rawjson.Rules{Wholly: func(key []byte) ([]string, bool) {
	switch string(key) {
	case "environment_variables", "environmentVariables", "headers", "package_arguments", "packageArguments", "runtime_arguments", "runtimeArguments":
		return []string{"name", "description", "is_required", "isRequired", "is_secret", "isSecret", "format", "type"}, true
	case "env", "args":
		return nil, true
	}
	return nil, false
}}

// Read yields an Item for each message, tool, server or configuration of the
// source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return inventory.Read(im, s, im.Options, Rules, say)
}

func say(n rawjson.Node, s *inventory.Statements) {
	if n.Get("method").Given() {
		s.Refuse(Request, "it asks a server and tells nothing of it; give the answer")
		return
	}
	if res := n.Get("result"); n.Get("jsonrpc").Given() && res.Kind() == '{' {
		n = res
	}
	r := &reading{s}
	switch {
	case n.Get("tools").Kind() == '[':
		r.tools(n)
	case n.Get("inputSchema").Given() && n.Get("name").Given():
		s.Note("the tool does not name its server")
		r.tool(n, "-")
	case n.Get("mcpServers").Kind() == '{':
		r.config(n.Get("mcpServers"))
	case n.Get("servers").Kind() == '[':
		for x := range n.Get("servers").All() {
			r.server(x)
		}
	case n.Get("supportedVersions").Given():
		s.Refuse(NoTools, "it tells what a server can do, and lists no tools")
	case n.Get("server").Kind() == '{', n.Get("name").Given():
		if r.server(n); n.Get("name").Given() && n.Get("name").Text() == "" {
			s.Refuse(NoName, "the server has no name, so nothing can be said of it; leave it out")
		}
	default:
		s.Refuse(NotMCP, "it is no list of tools, tool, server or configuration; give an answer to tools/list, a server.json or a client's configuration")
	}
}

type reading struct{ s *inventory.Statements }

// tools reads an answer to tools/list. The name of the server is what the
// server says of itself.
func (r *reading) tools(n rawjson.Node) {
	server := "-"
	if i := n.Get("_meta").Get("io.modelcontextprotocol/serverInfo").Get("name").Text(); i != "" {
		server = i
	} else {
		r.s.Note("the answer does not name its server")
	}
	if n.Get("nextCursor").Text() != "" {
		r.s.Note("the answer is one page of several")
	}
	for t := range n.Get("tools").All() {
		r.tool(t, server)
	}
}

// defining are the members that make a tool what it is. MCP gives tools
// neither a version nor a digest, so the digest of their canonical form (RFC
// 8785) identifies a tool's definition, whatever server lists it in which
// order.
var defining = []string{"name", "description", "inputSchema", "outputSchema", "annotations"}

func digest(t rawjson.Node) (string, bool) {
	var b bytes.Buffer
	b.WriteByte('{')
	for _, k := range defining {
		if v := t.Get(k); v.Given() {
			if b.Len() > 1 {
				b.WriteByte(',')
			}
			b.WriteString(`"` + k + `":`)
			b.Write(v.Raw())
		}
	}
	b.WriteByte('}')
	v := jsontext.Value(b.Bytes())
	if v.Canonicalize() != nil {
		return "", false
	}
	sum := sha256.Sum256(v)
	return hex.EncodeToString(sum[:]), true
}

func (r *reading) tool(t rawjson.Node, server string) {
	name := t.Get("name").Text()
	sum, ok := digest(t)
	if name == "" || !ok {
		r.s.Note("a tool has no name, or a name twice in an object of its definition; it is left out")
		return
	}
	ref := inventory.Name(prov.Tool, "mcp", server, name)
	ref.Version = sum[:16]
	e := &statement.Entity{State: "registered", Description: inventory.Short(t.Get("description").Text()),
		PartOf: []statement.Resource{statement.NewResource(inventory.Name(prov.Tool, "mcp", server), nil)}}
	inventory.Set(&e.Attributes, "title", t.Get("title").Text())
	for _, h := range []string{"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"} {
		if k := t.Get("annotations").Get(h).Kind(); k == 't' || k == 'f' {
			inventory.Set(&e.Attributes, h, string(t.Get("annotations").Get(h).Raw()))
		}
	}
	r.s.Say(ref, statement.DigestSet{"sha256": sum}, e)
	r.s.Rest("", t, append(slices.Clone(defining), "title")...)
}

// server reads a server of a registry, in the first form of the registry and
// in that of server.json.
func (r *reading) server(x rawjson.Node) {
	if w := x.Get("server"); w.Kind() == '{' {
		x = w
	}
	name := x.Get("name").Text()
	if name == "" {
		r.s.Note("a server has no name; it is left out")
		return
	}
	version := x.Get("version").Text()
	if version == "" {
		version = x.Get("version_detail").Get("version").Text()
	}
	ref := inventory.Name(prov.Tool, "mcp", name)
	ref.Version = rawjson.Clip(version, 200)
	e := &statement.Entity{State: "registered", Description: inventory.Short(x.Get("description").Text()), Origin: "unknown",
		At: r.s.Time("release_date", x.Get("version_detail").Get("release_date").Text())}
	if u := x.Get("repository").Get("url").Text(); u != "" {
		e.Origin = inventory.Short(u)
	}
	inventory.Set(&e.Attributes, "id", x.Get("id").Text())
	inventory.Set(&e.Attributes, "repositoryId", x.Get("repository").Get("id").Text())
	inventory.Set(&e.Attributes, "status", x.Get("status").Text())
	var from []statement.DerivedInput
	for p := range x.Get("packages").All() {
		r.wants(e, p)
		if pkg, ok := pkgOf(p); ok {
			from = append(from, statement.DerivedInput{Resource: pkg})
		} else {
			r.s.Kept("packages of registries without a package URL")
		}
	}
	for m := range x.Get("remotes").All() {
		inventory.Set(&e.Attributes, "remote."+rawjson.Secrets(m.Get("url").Text()), first(m.Get("type").Text(), m.Get("transport_type").Text(), "-"))
		r.wants(e, m)
	}
	if len(from) > 0 {
		e.Derived = []statement.Derivation{{To: statement.NewResource(ref, nil), From: from, Rule: statement.RuleStated}}
	}
	r.s.Say(ref, nil, e)
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// wants tells which variables and headers must be given, and which of them are
// secrets; never what they are.
func (r *reading) wants(e *statement.Entity, p rawjson.Node) {
	for _, k := range []string{"environment_variables", "environmentVariables", "headers"} {
		for v := range p.Get(k).All() {
			if n := v.Get("name").Text(); n != "" {
				what := "variable"
				if v.Get("is_secret").Kind() == 't' || v.Get("isSecret").Kind() == 't' {
					what = "secret"
				}
				inventory.Set(&e.Attributes, "needs."+n, what)
			}
		}
	}
}

// pkgOf names the package that a server is shipped as by its package URL.
func pkgOf(p rawjson.Node) (statement.Resource, bool) {
	name, version := first(p.Get("identifier").Text(), p.Get("name").Text()), p.Get("version").Text()
	typ := map[string]string{"npm": "npm", "pypi": "pypi", "nuget": "nuget"}[first(p.Get("registryType").Text(), p.Get("registry_type").Text(), p.Get("registry_name").Text())]
	if typ == "" || name == "" {
		return statement.Resource{}, false
	}
	if typ == "pypi" {
		name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	}
	purl := typ + "/" + strings.Replace(name, "@", "%40", 1)
	if version != "" {
		purl += "@" + version
	}
	ref, err := prov.ParseRef("pkg:" + purl)
	if err != nil || len(purl) > 500 {
		return statement.Resource{}, false
	}
	res := statement.NewResource(ref, nil)
	if h := first(p.Get("fileSha256").Text(), p.Get("file_sha256").Text()); len(h) == 64 && strings.Trim(h, "0123456789abcdef") == "" {
		res.Digest = statement.DigestSet{"sha256": h}
	}
	return res, true
}

// config reads which servers a client starts or calls. What they are given is
// taken out, all but the names of variables.
func (r *reading) config(servers rawjson.Node) {
	for x := range servers.All() {
		e := &statement.Entity{State: "described", Origin: "unknown"}
		inventory.Set(&e.Attributes, "command", x.Get("command").Text())
		inventory.Set(&e.Attributes, "url", x.Get("url").Text())
		for _, k := range []string{"env", "headers"} {
			for v := range x.Get(k).All() {
				inventory.Set(&e.Attributes, "needs."+v.Key(), "variable")
			}
		}
		r.s.Say(inventory.Name(prov.Tool, "mcp", "configured", x.Key()), nil, e)
	}
}
