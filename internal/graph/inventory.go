package graph

import (
	"fmt"
	"maps"
	"slices"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// RoleConditional is the role of a relation that holds only under a condition,
// which stands in an attribute.
const RoleConditional = "conditional"

// identity folds an inventory.
func (f *folder) identity(p *statement.Identity) {
	g, at := f.g, f.or(p.At)
	f.about()
	first := g.rels.end()
	for i := range p.Items {
		f.identityItem(p, &p.Items[i], at)
	}
	if p.Mode == "snapshot" {
		item := slotItem{at: at, entry: f.k}
		for r := first; r < g.rels.end(); r++ {
			item.rels, item.ends = append(item.rels, r), append(item.ends, g.rels.at(r).vt)
		}
		g.fillSlot("snapshot|"+p.Source, item, f.k)
	}
}

func (f *folder) identityItem(p *statement.Identity, it *statement.IdentityItem, at prov.Instant) {
	id := f.named(it.Ref)
	f.g.mentionOf(id, f.k)
	for _, a := range []struct{ key, val string }{{"state", it.State}, {"grade", p.Grade}, {"human", it.Human},
		{"createdAt", it.CreatedAt.String()}, {"lastUsedAt", it.LastUsedAt.String()}} {
		f.attr(id, a.key, a.val, at)
	}
	f.attributes(id, it.Attributes, at)
	if it.Owner != "" {
		f.rel(id, f.named(it.Owner), prov.OwnedBy, ruleStated, at, "owner")
	}
	for _, list := range []struct {
		refs []string
		typ  prov.RelationType
	}{{it.MemberOf, prov.MemberOf}, {it.CanAssume, prov.CanAssume}, {it.RunsAs, prov.RunsAs}, {it.Secrets, prov.ReadsSecret}} {
		for _, x := range list.refs {
			f.rel(id, f.named(x), list.typ, ruleStated, at, "")
		}
	}
	for _, x := range it.Roles {
		f.relUntil(id, f.named(x.Role), prov.MemberOf, ruleStated, x.From.Instant(at), x.Until.Instant(prov.Forever), "role")
	}
	for i := range it.Credentials {
		f.credential(id, &it.Credentials[i], at)
	}
	for i := range it.Grants {
		f.grant(id, fmt.Sprintf("%s/%s/%d", f.id, it.Ref, i), &it.Grants[i], at)
	}
	f.trust(id, it.Trust, at)
}

func (f *folder) attributes(id ID, texts map[string]string, at prov.Instant) {
	for _, k := range slices.Sorted(maps.Keys(texts)) {
		f.attr(id, k, texts[k], at)
	}
}

func (f *folder) listed(id ID, prefix string, items []string, at prov.Instant) {
	for _, s := range items {
		f.attr(id, prefix+s, "yes", at)
	}
}

// credential folds a credential of an identity. One that is said to be expired
// or revoked, without the time of it, has ended when that was said.
func (f *folder) credential(id ID, c *statement.CredentialItem, at prov.Instant) {
	cid := f.named(c.Ref)
	never := ""
	if c.NeverExpires {
		never = "yes"
	}
	for _, a := range []struct{ key, val string }{{"issuedAt", c.IssuedAt.String()}, {"expiresAt", c.ExpiresAt.String()},
		{"credential", c.Kind}, {"state", c.State}, {"rotatedAt", c.RotatedAt.String()}, {"lastUsedAt", c.LastUsedAt.String()},
		{"neverExpires", never}, {"storedIn", c.StoredIn}} {
		f.attr(cid, a.key, a.val, at)
	}
	f.listed(cid, "scope.", c.Scope, at)
	f.attributes(cid, c.Attributes, at)
	from, to := c.IssuedAt.Instant(at), c.ExpiresAt.Instant(prov.Forever)
	if c.State == "expired" || c.State == "revoked" {
		to = min(to, at)
	}
	if from < to {
		f.relUntil(id, cid, prov.AuthenticatesWith, ruleStated, from, to, "")
	}
}

// grant folds what an identity holds on a resource. What it is denied is no
// grant: the identity has it as the attribute "denied.", and only the resource
// is tied to it.
func (f *folder) grant(id ID, name string, gr *statement.GrantItem, at prov.Instant) {
	gid := f.g.intern(prov.Ref{Kind: prov.Grant, Name: name}, f.k)
	f.listed(gid, "scope.", gr.Scope, at)
	f.listed(gid, "notScope.", gr.NotScope, at)
	f.listed(gid, "notResource.", gr.NotResource, at)
	f.attr(gid, "condition", gr.Condition, at)
	f.attr(gid, "via", gr.Via, at)
	role := ""
	if gr.Condition != "" {
		role = RoleConditional
	}
	from, to := gr.From.Instant(at), gr.Until.Instant(prov.Forever)
	if gr.Deny {
		role = "deny"
		f.attr(gid, "deny", "yes", at)
		f.attr(id, "denied."+name, gr.Resource, at)
	} else {
		f.relUntil(id, gid, prov.Granted, ruleStated, from, to, role)
	}
	f.relUntil(gid, f.named(gr.Resource), prov.GrantsOn, ruleStated, from, to, role)
}

// trust folds who may act as an identity. A refusal makes no relation.
func (f *folder) trust(id ID, items []statement.TrustItem, at prov.Instant) {
	for _, t := range items {
		if t.Deny {
			f.attr(id, "trust.denied."+t.Principal, or(t.Condition, "yes"), at)
			continue
		}
		role := ""
		if t.Condition != "" {
			role = RoleConditional
		}
		f.attr(id, "trust."+t.Principal, or(t.Condition, "unconditional"), at)
		f.rel(f.named(t.Principal), id, prov.CanAssume, ruleStated, at, role)
	}
}

func or(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}
