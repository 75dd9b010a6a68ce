package github

import (
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// shown are the properties that are told of a kind of node, as attributes.
var shown = map[string][]string{
	"GH_User":              {"node_id", "full_name", "email", "company", "site_admin"},
	"GH_Organization":      {"node_id", "two_factor_requirement_enabled", "default_repository_permission", "members_can_create_public_repositories"},
	"GH_Team":              {"node_id", "privacy"},
	"GH_OrgRole":           {"node_id", "type"},
	"GH_TeamRole":          {"node_id", "type"},
	"GH_RepoRole":          {"node_id", "type"},
	"GH_Repository":        {"node_id", "visibility", "archived", "default_branch"},
	"GH_Environment":       {"node_id", "can_admins_bypass"},
	"GH_App":               {"node_id", "client_id", "external_url", "owner_type"},
	"GH_AppInstallation":   {"node_id", "client_id", "repository_selection", "suspended_at", "target_type"},
	"GH_OrgSecret":         {"visibility", "updated_at"},
	"GH_RepoSecret":        {"visibility", "updated_at"},
	"GH_EnvironmentSecret": {"updated_at"},
}

func scalar(n rawjson.Node) string {
	switch n.Kind() {
	case 't', 'f':
		return string(n.Raw())
	}
	return n.Text()
}

// describe says what a node is.
func (r *reading) describe(id string, t thing) {
	switch {
	case t.ref == "":
		return
	case t.kind == "GH_PersonalAccessToken":
		r.token(id, t)
		return
	case t.kind == "GH_SecretScanningAlert":
		r.alert(id, t)
		return
	}
	it := r.l.Item(t.ref)
	p := t.Get("properties")
	it.CreatedAt = r.s.Time(t.ref, p.Get("created_at").Text())
	for _, k := range shown[t.kind] {
		inventory.Set(&it.Attributes, k, scalar(p.Get(k)))
	}
	switch t.kind {
	case "GH_App", "GH_AppInstallation":
		it.Human = "no"
	case "GH_User":
		if strings.HasSuffix(t.ref, "[bot]") {
			it.Human = "no"
		}
	}
	if login := p.Get("github_username").Text(); t.kind == "GH_ExternalIdentity" && login != "" {
		r.same(t.ref, inventory.Text(prov.Person, "github", login))
	}
	if t.kind == "GH_AppInstallation" {
		if p.Get("suspended_at").Text() != "" {
			it.State = "inactive"
		}
		r.wide(it, t)
	}
}

// wide says what an installation or token may do in all repositories, present
// and future. The graph also ties it to each present one.
func (r *reading) wide(it *statement.IdentityItem, t thing) {
	if prop(t.Node, "repository_selection") != "all" {
		return
	}
	if scope := permissions(t.Node, false); len(scope) > 0 {
		it.Grants = append(it.Grants, statement.GrantItem{Resource: inventory.Text(prov.Resource, "github", r.org, "*"), Scope: scope, Via: "repository_selection: all"})
	}
}

// token says what is known of a personal access token. The graph does not tell
// when it was issued, only when it was let into the organisation; and of an
// expired one not when it expired.
func (r *reading) token(id string, t thing) {
	p := t.Get("properties")
	c := statement.CredentialItem{Ref: t.ref, Kind: "personal-access-token", LastUsedAt: r.s.Time(t.ref, p.Get("token_last_used_at").Text()),
		ExpiresAt: r.s.Time(t.ref, p.Get("token_expires_at").Text()), IssuedAt: r.s.Time(t.ref, p.Get("access_granted_at").Text())}
	if !c.IssuedAt.IsZero() {
		inventory.Set(&c.Attributes, "issuedAt.means", "when access to the organisation was granted; the token may be older")
	}
	expired := p.Get("token_expired").Kind()
	switch expired {
	case 't':
		c.State = "expired"
		if c.ExpiresAt.IsZero() {
			inventory.Set(&c.Attributes, "expiresAt.means", "it has expired; the source does not say when")
		}
	case 'f':
		c.State = "active"
	}
	inventory.Set(&c.Attributes, "name", p.Get("token_name").Text())
	inventory.Set(&c.Attributes, "tokenId", p.Get("token_id").Text())
	inventory.Set(&c.Attributes, "repositorySelection", p.Get("repository_selection").Text())
	for _, org := range []bool{true, false} {
		for _, s := range permissions(t.Node, org) {
			inventory.Add(&c.Scope, s)
		}
	}
	who := r.owner[id]
	if who == "" && p.Get("owner_login").Text() != "" {
		who = inventory.Text(prov.Person, "github", p.Get("owner_login").Text())
	}
	if who == "" {
		r.s.Note("token %s has no owner in the graph; it is left out", rawjson.Clip(id, 100))
		return
	}
	owner := r.l.Item(who)
	if !slices.ContainsFunc(owner.Credentials, func(x statement.CredentialItem) bool { return x.Ref == c.Ref }) {
		owner.Credentials = append(owner.Credentials, c)
	}
	if expired != 't' {
		r.wide(r.l.Item(t.ref), t)
	}
}

// alert says that a credential leaked into a repository. Whether it still
// works is known only where GitHub says so.
func (r *reading) alert(_ string, t thing) {
	p := t.Get("properties")
	c := statement.CredentialItem{Ref: t.ref, Kind: or(p.Get("secret_type").Text(), "secret")}
	if p.Get("validity").Text() == "active" {
		c.State = "active"
	} else if p.Get("validity").Text() == "inactive" {
		c.State = "revoked"
	}
	for _, k := range []string{"state", "validity", "repository_name", "resolution"} {
		inventory.Set(&c.Attributes, "alert."+k, p.Get(k).Text())
	}
	if who := r.owner[t.Get("id").Text()]; who != "" {
		it := r.l.Item(who)
		it.Credentials = append(it.Credentials, c)
	} else {
		r.l.Item(t.ref).Attributes = c.Attributes
	}
	ref, err := prov.ParseRef(t.ref)
	if err != nil || p.Get("state").Text() == "resolved" {
		return
	}
	at := r.s.Time(t.ref, p.Get("created_at").Text())
	r.s.Say(ref, nil, &statement.Notice{Kind: "leaked", Source: "github secret scanning", At: at, Since: at,
		Description: inventory.Short("found in the repository " + p.Get("repository_name").Text() + " as " + p.Get("secret_type").Text())})
}
