// Package scim makes statements out of SCIM 2.0 resources (RFC 7643): users,
// groups and agents, alone or in a ListResponse (RFC 7644 section 3.4.2).
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-scim.md.
package scim

import (
	"bytes"
	"iter"
	"net/url"
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// NotSCIM is the class of a value that is no resource that is read.
const NotSCIM = "not-a-scim-resource"

// Importer reads SCIM resources.
type Importer struct{ Options inventory.Options }

// Name gives "scim".
func (Importer) Name() string { return "scim" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Recognise tells whether the file begins with a SCIM resource or message.
func (Importer) Recognise(h *importer.Head) bool {
	return h.Members["schemas"] == "[" && bytes.Contains(h.Bytes, []byte(`"urn:ietf:params:scim:`))
}

// Read yields an Item for each resource or response of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	rules := rawjson.Rules{Dropped: func(key []byte) bool { return string(key) == "password" || string(key) == "clientSecret" }}
	return inventory.Read(im, s, im.Options, rules, im.say)
}

type reading struct {
	s    *inventory.Statements
	o    inventory.Options
	list bool
}

func (im Importer) say(n rawjson.Node, s *inventory.Statements) {
	r := &reading{s: s, o: im.Options}
	resources := n.Get("Resources")
	if resources.Kind() != '[' {
		if !r.resource(n) {
			s.Refuse(NotSCIM, "it is no user, group or agent with an id, nor a ListResponse of such; give what the directory answers")
		}
		return
	}
	r.list = true
	count := 0
	for range resources.All() {
		count++
	}
	if total, err := strconv.Atoi(n.Get("totalResults").Text()); err != nil || total != count {
		r.o.Event = true
		s.Note("the response holds %d of %s resources, so it closes nothing", count, rawjson.Clip(or(n.Get("totalResults").Text(), "an unknown number of"), 20))
	}
	for x := range resources.All() {
		if !r.resource(x) {
			s.Note("a resource is no user, group or agent with an id; it is left out")
		}
	}
}

// typeOf tells what a resource is, from its schemas.
func typeOf(n rawjson.Node) string {
	for _, s := range inventory.Texts(n.Get("schemas")) {
		if t, ok := strings.CutPrefix(s, "urn:ietf:params:scim:schemas:core:2.0:"); ok {
			switch t {
			case "User", "Group", "Agent":
				return t
			}
		}
	}
	return ""
}

// directory names the directory by the host of a resource's location.
func directory(n rawjson.Node) string {
	if u, err := url.Parse(n.Get("meta").Get("location").Text()); err == nil && u.Host != "" {
		return u.Host
	}
	return "-"
}

// name names a resource by its id: other names are attributes of it.
func name(dir, typ, id string) string {
	switch typ {
	case "User":
		return inventory.Text(prov.Person, "scim", dir, id)
	case "Group":
		return inventory.Text(prov.Team, "scim", dir, id)
	}
	return inventory.Text(prov.Workload, "scim", dir, "agent", id)
}

func (r *reading) resource(n rawjson.Node) bool {
	typ, id, dir := typeOf(n), n.Get("id").Text(), directory(n)
	if typ == "" || id == "" {
		return false
	}
	source := inventory.Name(prov.Resource, "scim", dir, typ).Name
	l := r.s.Event(source)
	if r.list {
		l = r.s.Snapshot(r.o, source)
	}
	ref := name(dir, typ, id)
	it := l.Item(ref)
	it.CreatedAt = r.s.Time("meta.created", n.Get("meta").Get("created").Text())
	switch n.Get("active").Kind() {
	case 'f':
		it.State = "inactive"
	case 't':
		it.State = "active"
	}
	for _, k := range []string{"userName", "displayName", "name", "externalId", "agentType", "subject", "userType", "title"} {
		inventory.Set(&it.Attributes, k, n.Get(k).Text())
	}
	switch typ {
	case "User":
		it.Human = "" // a directory also holds users for machines
		r.mail(ref, n)
	case "Agent":
		it.Human = "no"
		r.agent(it, n, dir, ref)
	}
	for x := range n.Get("groups").All() {
		if v := x.Get("value").Text(); v != "" {
			inventory.Add(&it.MemberOf, name(dir, "Group", v))
		}
	}
	for x := range n.Get("roles").All() {
		if v := or(x.Get("value").Text(), x.Text()); v != "" {
			inventory.Add(&it.MemberOf, inventory.Text(prov.Role, "scim", dir, v))
		}
	}
	for x := range n.Get("entitlements").All() {
		if v := x.Get("value").Text(); v != "" {
			it.Grants = append(it.Grants, statement.GrantItem{Resource: inventory.Text(prov.Resource, "scim", dir), Scope: []string{v}})
		}
	}
	for x := range n.Get("members").All() {
		if v := x.Get("value").Text(); v != "" {
			m := l.Item(name(dir, memberType(x), v))
			inventory.Add(&m.MemberOf, ref)
		}
	}
	r.s.Rest("", n, "schemas", "id", "externalId", "meta", "active", "userName", "displayName", "name", "agentType", "subject", "userType", "title",
		"emails", "groups", "roles", "entitlements", "members", "owners", "parent", "password", "clientSecret")
	return true
}

func memberType(x rawjson.Node) string {
	ref := x.Get("$ref").Text()
	switch {
	case x.Get("type").Text() == "Group" || strings.Contains(ref, "/Groups/"):
		return "Group"
	case x.Get("type").Text() == "Agent" || strings.Contains(ref, "/Agents/"):
		return "Agent"
	}
	return "User"
}

// mail joins a user with the person of the primary e-mail address: the
// directory says that they are one.
func (r *reading) mail(ref string, n rawjson.Node) {
	mail := ""
	for e := range n.Get("emails").All() {
		if v := e.Get("value").Text(); strings.Contains(v, "@") && (mail == "" || e.Get("primary").Kind() == 't') {
			mail = v
		}
	}
	if u := n.Get("userName").Text(); mail == "" && strings.Contains(u, "@") {
		mail = u
	}
	about, err := prov.ParseRef(ref)
	if mail != "" && err == nil {
		r.s.Say(about, nil, &statement.Entity{State: "same-as", Description: "primary e-mail address in the directory",
			SameAs: []statement.Resource{statement.NewResource(inventory.Name(prov.Person, mail), nil)}})
	}
}

// agent reads the owners and the parent of an agent. The first owner is its
// owner in the inventory, the others by statements of their own.
func (r *reading) agent(it *statement.IdentityItem, n rawjson.Node, dir, ref string) {
	for o := range n.Get("owners").All() {
		v := o.Get("value").Text()
		if v == "" {
			continue
		}
		owner := name(dir, memberType(o), v)
		if it.Owner == "" {
			it.Owner = owner
		} else if about, err := prov.ParseRef(ref); err == nil {
			r.s.Say(about, nil, &statement.Entity{State: "owned", Owner: owner})
		}
	}
	if p := n.Get("parent").Get("value").Text(); p != "" {
		inventory.Set(&it.Attributes, "parent", name(dir, "Agent", p))
	}
}

func or(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}
