// Package github makes statements out of the graph that GitHound collects of a
// GitHub organisation, in the OpenGraph JSON of BloodHound: users, teams,
// roles, apps, personal access tokens, secrets and repositories.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-github.md.
package github

import (
	"bytes"
	"iter"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// The classes of refusals beside those of rawjson and inventory.
const (
	NotGraph   = "not-an-opengraph"
	OtherGraph = "other-opengraph"
	Aside      = "aside"
)

// Importer reads OpenGraph JSON of GitHub.
type Importer struct{ Options inventory.Options }

// Name gives "github".
func (Importer) Name() string { return "github" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Recognise tells whether the file holds such a graph, or describes one: its
// schema, icons, saved queries and rules.
func (Importer) Recognise(h *importer.Head) bool {
	if h.Members == nil || !bytes.Contains(h.Bytes, []byte("GH_")) {
		return false
	}
	return h.Members["graph"] == "{" || h.Has("custom_types") || h.Has("node_kinds") || h.Has("name", "query") || h.Has("name", "seeds")
}

// Rules say what in a graph is a secret: beside what looks like one, the text
// of workflows, which is kept nowhere else either.
var Rules = rawjson.Rules{Dropped: func(key []byte) bool { return string(key) == "contents" || string(key) == "secret" }}

// Read yields an Item for each graph of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return inventory.Read(im, s, im.Options, Rules, im.say)
}

// thing is a node of the graph with its name here.
type thing struct {
	rawjson.Node
	kind string // the first kind, GH_…
	ref  string
}

type reading struct {
	s     *inventory.Statements
	l     *inventory.Listing
	org   string
	nodes map[string]thing
	order []string
	// grants joins the edges between two nodes to one grant.
	grants map[[2]string]*statement.GrantItem
	edges  [][2]string
	owner  map[string]string // of tokens, by node
}

func (im Importer) say(n rawjson.Node, s *inventory.Statements) {
	g := n.Get("graph")
	switch {
	case g.Get("nodes").Kind() == '[' || g.Get("edges").Kind() == '[':
	case n.Get("custom_types").Given(), n.Get("node_kinds").Given(), n.Get("query").Given(), n.Get("seeds").Given():
		s.Refuse(Aside, "it describes such graphs, or queries of them, and holds none")
		return
	default:
		s.Refuse(NotGraph, "it has no graph with nodes and edges; give what GitHound writes")
		return
	}
	r := &reading{s: s, nodes: map[string]thing{}, grants: map[[2]string]*statement.GrantItem{}, owner: map[string]string{}}
	if !r.index(g.Get("nodes")) {
		s.Refuse(OtherGraph, "no node is of a kind of GitHub's; graphs of other systems are not read")
		return
	}
	r.l = s.Snapshot(im.Options, inventory.Name(prov.Resource, "github", r.org, r.part()).Name)
	r.ties(g.Get("edges"))
	for _, id := range r.order {
		r.describe(id, r.nodes[id])
	}
	for _, e := range r.edges {
		it := r.l.Item(r.nodes[e[0]].ref)
		it.Grants = append(it.Grants, *r.grants[e])
	}
}

// part tells which of the collector's files it is: they list different things
// of one organisation, so one closes nothing of the other.
func (r *reading) part() string {
	for _, t := range r.nodes {
		if t.kind == "GH_Organization" {
			return "organization"
		}
	}
	for _, t := range r.nodes {
		if t.kind == "GH_SamlIdentityProvider" || t.kind == "GH_ExternalIdentity" {
			return "saml"
		}
	}
	return "part"
}

func kindOf(n rawjson.Node) string {
	for _, k := range inventory.Texts(n.Get("kinds")) {
		if strings.HasPrefix(k, "GH_") {
			return k
		}
	}
	return ""
}

func prop(n rawjson.Node, name string) string { return n.Get("properties").Get(name).Text() }

// index names every node.
func (r *reading) index(nodes rawjson.Node) bool {
	var all []thing
	for n := range nodes.All() {
		k := kindOf(n)
		if k == "" || n.Get("id").Text() == "" {
			r.s.Kept("nodes without an id or of other systems")
			continue
		}
		all = append(all, thing{Node: n, kind: k})
		if r.org == "" {
			r.org = prop(n, "environment_name")
		}
		if k == "GH_Organization" && prop(n, "login") != "" {
			r.org = prop(n, "login")
		}
	}
	for _, pass := range []bool{true, false} { // repositories first: others bear their names
		for _, t := range all {
			if (t.kind == "GH_Repository") != pass {
				continue
			}
			id := t.Get("id").Text()
			if _, again := r.nodes[id]; again {
				r.s.Note("node %s occurs more than once; the first one counts", rawjson.Clip(id, 100))
				continue
			}
			if t.ref = r.name(t, id); t.ref == "" {
				r.s.Kept("nodes of kind " + t.kind)
			}
			r.nodes[id] = t
			r.order = append(r.order, id)
		}
	}
	return len(all) > 0
}

// repository gives the name of the repository that a node belongs to, or its
// id where the graph does not list it.
func (r *reading) repository(n rawjson.Node) string {
	id := prop(n, "repository_id")
	if t, ok := r.nodes[id]; ok && t.ref != "" {
		return prop(t.Node, "name")
	}
	if name := prop(n, "repository_name"); name != "" {
		return name
	}
	return id
}

// name gives the Ref of a node, "" for one that is neither an identity, a
// credential, a secret nor what is granted.
func (r *reading) name(t thing, id string) string {
	label := prop(t.Node, "name")
	if label == "" {
		label = id
	}
	short := strings.TrimPrefix(label, r.org+"/")
	switch t.kind {
	case "GH_Organization":
		return inventory.Text(prov.Org, "github", r.org)
	case "GH_User":
		if l := prop(t.Node, "login"); l != "" {
			label = l
		}
		return inventory.Text(prov.Person, "github", label)
	case "GH_Team":
		if l := prop(t.Node, "slug"); l != "" {
			label = l
		}
		return inventory.Text(prov.Team, "github", r.org, label)
	case "GH_OrgRole":
		return inventory.Text(prov.Role, "github", r.org, "organization", short)
	case "GH_TeamRole":
		return inventory.Text(prov.Role, "github", r.org, "team", short)
	case "GH_RepoRole":
		return inventory.Text(prov.Role, "github", r.org, "repository", short)
	case "GH_Repository":
		return inventory.Text(prov.Resource, "github", r.org, label)
	case "GH_Environment":
		if l := prop(t.Node, "short_name"); l != "" {
			label = l
		}
		return inventory.Text(prov.Environment, "github", r.org, r.repository(t.Node), label)
	case "GH_App":
		return inventory.Text(prov.Workload, "github", "app", or(prop(t.Node, "slug"), label))
	case "GH_AppInstallation":
		return inventory.Text(prov.ServiceAccount, "github", r.org, or(prop(t.Node, "app_slug"), id))
	case "GH_PersonalAccessToken":
		return inventory.Text(prov.Credential, "github", r.org, "pat", id)
	case "GH_OrgSecret":
		return inventory.Text(prov.Secret, "github", r.org, label)
	case "GH_RepoSecret":
		return inventory.Text(prov.Secret, "github", r.org, r.repository(t.Node), label)
	case "GH_EnvironmentSecret":
		return inventory.Text(prov.Secret, "github", r.org, r.repository(t.Node), or(prop(t.Node, "deployment_environment_name"), "-"), label)
	case "GH_SecretScanningAlert":
		return inventory.Text(prov.Credential, "github", r.org, "leaked", id)
	case "GH_SamlIdentityProvider":
		return inventory.Text(prov.Workload, "github", r.org, "saml", or(prop(t.Node, "issuer"), id))
	case "GH_ExternalIdentity":
		if l := or(prop(t.Node, "saml_identity_username"), prop(t.Node, "scim_identity_username")); strings.Contains(l, "@") {
			return inventory.Person("github/"+r.org+"/external", l)
		}
	}
	return ""
}

func or(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}

// members are the edges that make what they start at a member of what they
// end at.
var members = []string{"GH_HasRole", "GH_HasBaseRole", "GH_MemberOf"}

// grantees are the kinds of nodes whose other edges are grants.
var grantees = []string{"GH_User", "GH_Team", "GH_OrgRole", "GH_TeamRole", "GH_RepoRole", "GH_App", "GH_AppInstallation", "GH_PersonalAccessToken"}

// granted are the kinds of nodes that grants are on.
var granted = []string{"GH_Organization", "GH_Repository", "GH_Team", "GH_Environment", "GH_SecretScanningAlert"}

// ties reads the edges.
func (r *reading) ties(edges rawjson.Node) {
	for e := range edges.All() {
		kind := e.Get("kind").Text()
		from, ok1 := r.nodes[e.Get("start").Get("value").Text()]
		to, ok2 := r.nodes[e.Get("end").Get("value").Text()]
		if !ok1 || !ok2 || from.ref == "" || to.ref == "" {
			r.s.Kept("edges of kind " + or(kind, "(none)") + " from or to what is not recorded")
			continue
		}
		switch {
		case slices.Contains(members, kind):
			inventory.Add(&r.l.Item(from.ref).MemberOf, to.ref)
		case kind == "GH_Owns":
			r.l.Item(to.ref).Owner = from.ref
		case kind == "GH_HasSecret" || kind == "GH_Contains" && strings.HasSuffix(to.kind, "Secret") && from.kind != "GH_Organization":
			inventory.Add(&r.l.Item(from.ref).Secrets, to.ref)
		case kind == "GH_HasPersonalAccessToken":
			r.owner[to.Get("id").Text()] = from.ref
		case kind == "GH_InstalledAs":
			inventory.Add(&r.l.Item(from.ref).CanAssume, to.ref)
		case kind == "GH_ValidToken":
			r.owner[from.Get("id").Text()] = to.ref
		case slices.Contains(grantees, from.kind) && slices.Contains(granted, to.kind):
			r.grant(e, from, to, kind)
		default:
			r.s.Kept("edges of kind " + kind)
		}
	}
}

// same joins the account at the identity provider with the one at GitHub: the
// organisation's single sign-on says that they are one person's.
func (r *reading) same(from, to string) {
	a, err1 := prov.ParseRef(from)
	b, err2 := prov.ParseRef(to)
	if err1 == nil && err2 == nil && a != b {
		r.s.Say(a, nil, &statement.Entity{State: "same-as", SameAs: []statement.Resource{statement.NewResource(b, nil)},
			Description: "single sign-on of the GitHub organisation " + rawjson.Clip(r.org, 200)})
	}
}

func (r *reading) grant(e rawjson.Node, from, to thing, kind string) {
	if (from.kind == "GH_PersonalAccessToken" || from.kind == "GH_AppInstallation") && kind == "GH_CanAccess" {
		if from.kind == "GH_PersonalAccessToken" && from.Get("properties").Get("token_expired").Kind() == 't' {
			r.s.Kept("what expired tokens could reach")
			return
		}
	}
	k := [2]string{from.Get("id").Text(), to.Get("id").Text()}
	g, ok := r.grants[k]
	if !ok {
		on := to.ref
		if !strings.HasPrefix(on, "resource:") {
			on = inventory.Text(prov.Resource, "github", r.org)
			if to.kind != "GH_Organization" {
				on = inventory.Text(prov.Resource, "github", r.org, strings.ToLower(strings.TrimPrefix(to.kind, "GH_")), to.Get("id").Text())
			}
		}
		g = &statement.GrantItem{Resource: on}
		r.grants[k], r.edges = g, append(r.edges, k)
		if kind == "GH_CanAccess" {
			g.Scope = permissions(from.Node, to.kind == "GH_Organization")
		}
	}
	if kind != "GH_CanAccess" {
		inventory.Add(&g.Scope, strings.TrimPrefix(kind, "GH_"))
	}
}

// permissions reads the permissions of a token or installation, which are JSON
// in a text: {"contents":"read"}, for tokens under repository and
// organization.
func permissions(n rawjson.Node, organization bool) []string {
	doc := inventory.Embedded(prop(n, "permissions"))
	var out []string
	add := func(o rawjson.Node, prefix string) {
		for m := range o.All() {
			if m.Kind() == '"' {
				out = append(out, prefix+m.Key()+":"+m.Text())
			}
		}
	}
	for m := range doc.All() {
		switch {
		case m.Kind() == '{' && (m.Key() == "organization") == organization:
			add(m, "")
		case m.Kind() == '"':
			out = append(out, m.Key()+":"+m.Text())
		}
	}
	return out
}
