// Package gcp makes statements out of what Google Cloud tells of identities:
// assets of Cloud Asset Inventory, IAM policies, service accounts, their keys
// and roles, as gcloud writes them in JSON.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-gcp.md.
package gcp

import (
	"bytes"
	"encoding/json"
	"iter"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// NotGCP is the class of a value that is none of what is read.
const NotGCP = "not-a-gcp-asset"

// Importer reads assets and policies of Google Cloud.
type Importer struct{ Options inventory.Options }

// Name gives "gcp".
func (Importer) Name() string { return "gcp" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "2" }

// Recognise tells whether the file begins with an asset, a policy, a service
// account or a key.
func (Importer) Recognise(h *importer.Head) bool {
	switch {
	case h.Members == nil:
		return false
	case h.Has("name") && (h.Has("asset_type") || h.Has("assetType")):
		return true
	case h.Members["bindings"] == "[":
		return bytes.Contains(h.Bytes, []byte(`"members"`)) && bytes.Contains(h.Bytes, []byte(`"role"`))
	case h.HasPrefix("type", "service_account"), h.Has("resource", "policy") && bytes.Contains(h.Bytes, []byte(`"bindings"`)):
		return h.Has("private_key_id") || h.Has("policy")
	}
	return h.HasPrefix("name", "projects/") && (h.Has("email", "uniqueId") || h.Has("keyAlgorithm")) || h.Has("includedPermissions", "name")
}

// Read yields an Item for each asset or policy of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	rules := rawjson.Rules{Dropped: func(key []byte) bool { return string(key) == "privateKeyData" || string(key) == "private_key" }}
	return inventory.Read(im, s, im.Options, rules, say)
}

type reading struct{ s *inventory.Statements }

// either gives the member by its name in one of the two spellings.
func either(n rawjson.Node, snake, camel string) rawjson.Node {
	if x := n.Get(snake); x.Given() {
		return x
	}
	return n.Get(camel)
}

func say(n rawjson.Node, s *inventory.Statements) {
	r := &reading{s}
	typ := either(n, "asset_type", "assetType").Text()
	name := strings.TrimPrefix(n.Get("name").Text(), "//")
	data, policy := n.Get("resource").Get("data"), either(n, "iam_policy", "iamPolicy")
	switch {
	case n.Get("resource").Kind() == '"' && n.Get("policy").Given(): // gcloud asset search-all-iam-policies
		r.policy(strings.TrimPrefix(n.Get("resource").Text(), "//"), n.Get("policy"))
		return
	case typ == "" && n.Get("bindings").Kind() == '[':
		name = "policy/" + n.Get("etag").Text()
		s.Note("the policy does not name what it is of; its resource is named by its etag")
		r.policy(name, n)
		return
	case n.Get("type").Text() == "service_account" && n.Get("client_email").Given():
		r.keyFile(n)
		return
	case typ == "":
		data, name = n, n.Get("name").Text()
		switch {
		case strings.Contains(name, "/keys/"):
			typ = "iam.googleapis.com/ServiceAccountKey"
		case n.Get("email").Given() && n.Get("uniqueId").Given():
			typ = "iam.googleapis.com/ServiceAccount"
		case n.Get("includedPermissions").Given():
			typ = "iam.googleapis.com/Role"
		}
	}
	if name == "" || typ == "" {
		s.Refuse(NotGCP, "it is no asset with a name and a type, no IAM policy, service account, key or role; give what gcloud writes in JSON")
		return
	}
	switch {
	case !data.Given():
	case typ == "iam.googleapis.com/ServiceAccount":
		r.account(name, data)
	case typ == "iam.googleapis.com/ServiceAccountKey":
		r.key(name, data)
	case typ == "iam.googleapis.com/Role":
		r.role(name, data)
	}
	if policy.Given() {
		r.policy(name, policy)
	}
	if !strings.HasPrefix(typ, "iam.googleapis.com/") {
		r.within(name, n.Get("ancestors"))
	}
	s.Rest("", n, "name", "asset_type", "assetType", "resource", "iam_policy", "iamPolicy", "ancestors", "update_time", "updateTime")
}

// listing begins the statement of all that is said of an asset in one respect.
func (r *reading) listing(about, asset, aspect string) *inventory.Listing {
	ref, err := prov.ParseRef(about)
	if err != nil {
		ref = inventory.Name(prov.Resource, "gcp", asset)
	}
	return r.s.Narrow(ref, inventory.Name(prov.Resource, "gcp", asset, aspect).Name)
}

func account(email string) string { return inventory.Text(prov.ServiceAccount, "gcp", email) }

func (r *reading) account(name string, d rawjson.Node) {
	email := d.Get("email").Text()
	if email == "" {
		r.s.Note("the service account %s has no e-mail address; it is left out", rawjson.Clip(name, 200))
		return
	}
	it := r.listing(account(email), name, "account").Item(account(email))
	it.Human = "no"
	if d.Get("disabled").Kind() == 't' {
		it.State = "inactive"
	}
	for _, k := range []string{"uniqueId", "displayName", "description", "projectId", "oauth2ClientId"} {
		inventory.Set(&it.Attributes, k, d.Get(k).Text())
	}
}

// key says what a key of a service account is. Google writes the end of the
// year 9999 for a key that never expires.
func (r *reading) key(name string, d rawjson.Node) {
	_, rest, ok := strings.Cut(name, "serviceAccounts/")
	email, id, ok2 := strings.Cut(rest, "/keys/")
	if !ok || !ok2 || email == "" || id == "" {
		r.s.Note("the key %s does not name its service account; it is left out", rawjson.Clip(name, 200))
		return
	}
	c := statement.CredentialItem{Ref: inventory.Text(prov.Credential, "gcp", email, id), Kind: "service-account-key", State: "active",
		IssuedAt: r.s.Time("validAfterTime", d.Get("validAfterTime").Text())}
	if d.Get("disabled").Kind() == 't' {
		c.State = "inactive"
	}
	switch until := d.Get("validBeforeTime").Text(); {
	case strings.HasPrefix(until, "9999-"):
		c.NeverExpires = true
	case until != "":
		if c.ExpiresAt = r.s.Time("validBeforeTime", until); c.ExpiresAt.IsZero() {
			inventory.Set(&c.Attributes, "validBeforeTime", until)
		}
	}
	for _, k := range []string{"keyType", "keyAlgorithm", "keyOrigin"} {
		inventory.Set(&c.Attributes, k, d.Get(k).Text())
	}
	it := r.listing(account(email), name, "key").Item(account(email))
	it.Credentials = append(it.Credentials, c)
}

// keyFile says that a key exists as a file. The key itself is taken out.
func (r *reading) keyFile(n rawjson.Node) {
	email, id := n.Get("client_email").Text(), n.Get("private_key_id").Text()
	c := statement.CredentialItem{Ref: inventory.Text(prov.Credential, "gcp", email, id), Kind: "service-account-key"}
	inventory.Set(&c.Attributes, "seenAs", "key file with its private key")
	it := r.s.Event("gcp/key-files").Grade(statement.GradeSelfReported).Item(account(email))
	it.Credentials = append(it.Credentials, c)
}

// maxPermissions is how many permissions of a role are told.
const maxPermissions = 5000

// role says which permissions a role has. On what, its bindings say.
func (r *reading) role(name string, d rawjson.Node) {
	short := strings.TrimPrefix(name, "iam.googleapis.com/")
	ref := inventory.Text(prov.Role, "gcp", short)
	it := r.listing(ref, name, "role").Item(ref)
	for _, k := range []string{"title", "stage"} {
		inventory.Set(&it.Attributes, k, d.Get(k).Text())
	}
	if d.Get("deleted").Kind() == 't' {
		it.State = "retired"
	}
	for i, p := range inventory.Texts(either(d, "included_permissions", "includedPermissions")) {
		if i >= maxPermissions {
			r.s.Note("the role has more than %d permissions; the rest is kept in the evidence only", maxPermissions)
			break
		}
		inventory.Set(&it.Attributes, "permission."+p, "yes")
	}
}

// impersonating are the roles that let their members act as the service
// account that the policy is of.
var impersonating = map[string]bool{"roles/iam.serviceAccountTokenCreator": true, "roles/iam.serviceAccountUser": true, "roles/iam.workloadIdentityUser": true,
	"roles/iam.serviceAccountKeyAdmin": true, "roles/owner": true, "roles/editor": true}

// within says which project, folders and organisation an asset is in: what is
// granted on these is granted on it (IAM, policy inheritance).
func (r *reading) within(name string, ancestors rawjson.Node) {
	about := inventory.Name(prov.Resource, "gcp", name)
	e := &statement.Entity{State: "described"}
	for _, a := range inventory.Texts(ancestors) {
		if in := inventory.Name(prov.Resource, "gcp", "cloudresourcemanager.googleapis.com", a); a != "" && in != about {
			e.PartOf = append(e.PartOf, statement.NewResource(in, nil))
		}
	}
	if len(e.PartOf) > 0 {
		r.s.Say(about, nil, e)
	}
}

// policy says what the members of a policy's bindings are granted. It is whole:
// what it no longer lists has ended.
func (r *reading) policy(name string, p rawjson.Node) {
	on := inventory.Text(prov.Resource, "gcp", name)
	l := r.listing(on, name, "policy")
	_, sa, isAccount := strings.Cut(name, "/serviceAccounts/")
	for b := range p.Get("bindings").All() {
		role := b.Get("role").Text()
		cond := ""
		if c := b.Get("condition"); c.Kind() == '{' {
			cond = inventory.Short(compact(c))
		}
		for _, m := range inventory.Texts(b.Get("members")) {
			ref, gone := member(m)
			if ref == "" || role == "" {
				r.s.Note("a binding has no role, or a member that is not understood: %s", rawjson.Clip(rawjson.Secrets(m), 100))
				continue
			}
			it := l.Item(ref)
			if gone {
				it.State = "retired"
			}
			it.Grants = append(it.Grants, statement.GrantItem{Resource: on, Scope: []string{role}, Condition: cond})
			if isAccount && strings.Contains(sa, "@") && impersonating[role] {
				x := l.Item(account(sa))
				x.Trust = append(x.Trust, statement.TrustItem{Principal: ref, Condition: cond})
			}
		}
	}
	if either(p, "audit_configs", "auditConfigs").Given() {
		r.s.Kept("audit configurations")
		if !p.Get("bindings").Given() {
			r.s.Refuse(inventory.NothingToRecord, "the policy says only what is logged, and grants nothing")
		}
	}
}

func compact(n rawjson.Node) string {
	var b bytes.Buffer
	if json.Compact(&b, n.Raw()) != nil {
		return string(n.Raw())
	}
	return b.String()
}

// member names a principal (IAM principal identifiers), and tells whether it
// was deleted.
func member(m string) (ref string, gone bool) {
	if rest, ok := strings.CutPrefix(m, "deleted:"); ok {
		m, gone = rest, true
	}
	kind, name, _ := strings.Cut(m, ":")
	switch {
	case m == "allUsers", m == "allAuthenticatedUsers":
		return inventory.Text(prov.Team, "gcp", m), gone
	case name == "":
		return "", gone
	}
	switch kind {
	case "user":
		return inventory.Person("gcp", name), gone
	case "serviceAccount":
		if ns, ksa, ok := clusterAccount(name); ok {
			return inventory.Text(prov.ServiceAccount, ns, ksa), gone
		}
		return account(name), gone
	case "group":
		return inventory.Text(prov.Team, "gcp", name), gone
	case "domain":
		return inventory.Text(prov.Org, "gcp", "domain", name), gone
	case "principal":
		return inventory.Text(prov.Workload, "gcp", strings.TrimPrefix(name, "//")), gone
	case "principalSet":
		return inventory.Text(prov.Team, "gcp", strings.TrimPrefix(name, "//")), gone
	case "projectOwner", "projectEditor", "projectViewer":
		return inventory.Text(prov.Role, "gcp", "project", name, strings.ToLower(strings.TrimPrefix(kind, "project"))), gone
	}
	return "", gone
}

// clusterAccount reads PROJECT.svc.id.goog[NAMESPACE/NAME], a service account
// of Kubernetes.
func clusterAccount(name string) (ns, sa string, ok bool) {
	_, rest, ok := strings.Cut(name, ".svc.id.goog[")
	if !ok || !strings.HasSuffix(rest, "]") {
		return "", "", false
	}
	ns, sa, ok = strings.Cut(strings.TrimSuffix(rest, "]"), "/")
	return ns, sa, ok && ns != "" && sa != ""
}
