package vindex

import (
	"fmt"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// identity reads an inventory.
func (r *reader) identity(p *statement.Identity) {
	at, undated := r.or(p.At)
	r.subjectKeys()
	for i := range p.Items {
		r.identityItem(&p.Items[i], at)
	}
	r.fixUndated(undated)
	r.lasting()
}

func (r *reader) identityItem(it *statement.IdentityItem, at prov.Instant) {
	id := r.place(named(it.Ref)).Key
	r.about[id] = true
	rel := func(typ prov.RelationType, to string, at prov.Instant) { r.fix(typ, id, r.place(named(to)), at) }
	if it.Owner != "" {
		rel(prov.OwnedBy, it.Owner, at)
	}
	for _, list := range []struct {
		refs []string
		typ  prov.RelationType
	}{{it.MemberOf, prov.MemberOf}, {it.CanAssume, prov.CanAssume}, {it.RunsAs, prov.RunsAs}, {it.Secrets, prov.ReadsSecret}} {
		for _, x := range list.refs {
			rel(list.typ, x, at)
		}
	}
	for _, x := range it.Roles {
		rel(prov.MemberOf, x.Role, x.From.Instant(at))
	}
	for i := range it.Credentials {
		r.credential(id, &it.Credentials[i], at)
	}
	for i, g := range it.Grants {
		grant := prov.Ref{Kind: prov.Grant, Name: fmt.Sprintf("%s/%s/%d", r.id, it.Ref, i)}.Key()
		if !g.Deny {
			r.fix(prov.Granted, id, End{Key: grant}, g.From.Instant(at))
		}
		r.fix(prov.GrantsOn, grant, r.place(named(g.Resource)), g.From.Instant(at))
	}
	for _, t := range it.Trust {
		if !t.Deny {
			r.fix(prov.CanAssume, r.place(named(t.Principal)).Key, End{Key: id}, at)
		}
	}
}

// credential reads a credential of an identity. One that is said to be expired
// or revoked, without the time of it, has ended when that was said.
func (r *reader) credential(id string, c *statement.CredentialItem, at prov.Instant) {
	k := r.place(named(c.Ref)).Key
	r.about[k] = true
	from, to := c.IssuedAt.Instant(at), c.ExpiresAt.Instant(prov.Forever)
	if c.State == "expired" || c.State == "revoked" {
		to = min(to, at)
	}
	if from < to {
		r.fix(prov.AuthenticatesWith, id, End{Key: k}, from)
	}
}
