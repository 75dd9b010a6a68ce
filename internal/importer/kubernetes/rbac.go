package kubernetes

import (
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// account says what a service account is.
func (r *reading) account(o object) {
	it := r.listing(o).Item(r.saRef(o.ns, o.name))
	it.Human = "no"
	it.CreatedAt = r.time(o, "creationTimestamp", o.meta.Get("creationTimestamp"))
	inventory.Set(&it.Attributes, "uid", o.meta.Get("uid").Text())
	switch truth(o.Get("automountServiceAccountToken")) {
	case "true":
		inventory.Set(&it.Attributes, "automount", "yes")
	case "false":
		inventory.Set(&it.Attributes, "automount", "no")
	}
	for l := range o.meta.Get("labels").All() {
		inventory.Set(&it.Attributes, "label."+l.Key(), l.Text())
	}
	for _, list := range []string{"secrets", "imagePullSecrets"} {
		for x := range o.Get(list).All() {
			if name := x.Get("name").Text(); name != "" {
				inventory.Add(&it.Secrets, r.secretRef(o.ns, name))
			}
		}
	}
	for a := range o.meta.Get("annotations").All() {
		r.cloud(it, a.Key(), a.Text())
	}
}

// cloud ties a service account to the identity of a cloud that its annotation
// names. Whether the cloud lets it in stands in the trust of that identity.
func (r *reading) cloud(it *statement.IdentityItem, key, text string) {
	switch key {
	case "eks.amazonaws.com/role-arn":
		if account, name, ok := awsRole(text); ok {
			inventory.Add(&it.CanAssume, inventory.Text(prov.Role, "aws", account, name))
		}
	case "iam.gke.io/gcp-service-account":
		if text != "" {
			inventory.Add(&it.CanAssume, inventory.Text(prov.ServiceAccount, "gcp", text))
		}
	case "azure.workload.identity/client-id":
	default:
		r.s.Kept("annotations")
		return
	}
	inventory.Set(&it.Attributes, key, text)
}

// awsRole reads arn:PARTITION:iam::ACCOUNT:role/PATH/NAME.
func awsRole(arn string) (account, name string, ok bool) {
	p := strings.SplitN(arn, ":", 6)
	if len(p) < 6 || p[2] != "iam" || !strings.HasPrefix(p[5], "role/") || p[4] == "" {
		return "", "", false
	}
	name = p[5][strings.LastIndexByte(p[5], '/')+1:]
	return p[4], name, name != ""
}

// secret says that a secret exists, and whose token it holds.
func (r *reading) secret(o object) {
	l := r.listing(o)
	ref := r.secretRef(o.ns, o.name)
	typ := o.Get("type").Text()
	it := l.Item(ref)
	it.CreatedAt = r.time(o, "creationTimestamp", o.meta.Get("creationTimestamp"))
	inventory.Set(&it.Attributes, "type", typ)
	used := r.time(o, "legacy-token-last-used", o.meta.Get("labels").Get("kubernetes.io/legacy-token-last-used"))
	it.LastUsedAt = used
	if typ != "kubernetes.io/service-account-token" {
		return
	}
	sa := o.meta.Get("annotations").Get("kubernetes.io/service-account.name").Text()
	if sa == "" {
		r.s.Note("Secret %s/%s holds a token and does not say whose", o.ns, o.name)
		return
	}
	who := l.Item(r.saRef(o.ns, sa))
	c := statement.CredentialItem{Ref: inventory.Text(prov.Credential, r.in("kubernetes", o.ns, o.name)...), Kind: "service-account-token",
		IssuedAt: r.time(o, "creationTimestamp", o.meta.Get("creationTimestamp")), LastUsedAt: used, NeverExpires: true, StoredIn: ref}
	inventory.Set(&c.Attributes, "serviceAccountUid", o.meta.Get("annotations").Get("kubernetes.io/service-account.uid").Text())
	who.Credentials = append(who.Credentials, c)
	inventory.Add(&who.Secrets, ref)
}

// maxGrants is how many grants are made of the rules of one role.
const maxGrants = 5000

// role says what a role grants. A cluster role grants across the cluster where
// a cluster role binding binds it, and in one namespace where a role binding
// does: the latter is a role of its own.
func (r *reading) role(o object) {
	ref := r.roleRef(o.ns, o.kind, o.name)
	it := r.listing(o).Item(ref)
	it.CreatedAt = r.time(o, "creationTimestamp", o.meta.Get("creationTimestamp"))
	if o.Get("aggregationRule").Given() {
		inventory.Set(&it.Attributes, "aggregated", "yes")
	}
	it.Grants = r.grants(o.Get("rules"), o.ns, ref)
	if o.kind == "ClusterRole" {
		r.roles[o.name] = it.Grants
	}
}

func (r *reading) grants(rules rawjson.Node, ns, via string) []statement.GrantItem {
	var out []statement.GrantItem
	for rule := range rules.All() {
		verbs := texts(rule.Get("verbs"))
		if len(verbs) == 0 {
			r.s.Note("%s has a rule without verbs, which grants nothing", via)
			continue
		}
		for _, res := range r.resources(rule, ns) {
			if len(out) >= maxGrants {
				r.s.Note("%s grants more than %d things; the rest is kept in the evidence only", via, maxGrants)
				return out
			}
			out = append(out, statement.GrantItem{Resource: res, Scope: verbs})
		}
	}
	return out
}

// resources names what a rule is about.
func (r *reading) resources(rule rawjson.Node, ns string) []string {
	var out []string
	for _, u := range texts(rule.Get("nonResourceURLs")) {
		out = append(out, inventory.Text(prov.Resource, r.system(), "url"+u))
	}
	names := texts(rule.Get("resourceNames"))
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range texts(rule.Get("apiGroups")) {
		if group == "" {
			group = "core"
		}
		for _, res := range texts(rule.Get("resources")) {
			for _, name := range names {
				if len(out) > maxGrants {
					return out
				}
				out = append(out, r.resource(ns, group, res, name))
			}
		}
	}
	return out
}

// resource names what a rule is about. A subresource comes after the name of
// its object, as in the paths of the API, so that it is no object of that name.
func (r *reading) resource(ns, group, res, name string) string {
	if ns == "" {
		ns = "*"
	}
	res, sub, _ := strings.Cut(res, "/")
	parts := []string{r.system(), ns, group, res}
	switch {
	case sub != "":
		if name == "" {
			name = "*"
		}
		parts = append(parts, name, sub)
	case name != "":
		parts = append(parts, name)
	}
	return inventory.Text(prov.Resource, parts...)
}

// system begins the names of resources. The cluster is no part of its own: each
// part of such a name has its place.
func (r *reading) system() string {
	if r.o.Cluster == "" {
		return "kubernetes"
	}
	return "kubernetes:" + r.o.Cluster
}

func texts(n rawjson.Node) []string {
	var out []string
	for x := range n.All() {
		if x.Kind() == '"' {
			out = append(out, x.Text())
		}
	}
	return out
}

// binding makes its subjects members of its role.
func (r *reading) binding(o object) {
	l := r.listing(o)
	rr := o.Get("roleRef")
	kind, name := rr.Get("kind").Text(), rr.Get("name").Text()
	if kind != "Role" && kind != "ClusterRole" || name == "" {
		r.s.Note("%s %s/%s: roleRef names no role", o.kind, o.ns, o.name)
		return
	}
	ns := o.ns
	if o.kind == "ClusterRoleBinding" {
		ns = ""
		if kind == "Role" {
			r.s.Note("ClusterRoleBinding %s names a Role, which the API server does not accept; whether it grants anything is not known", o.name)
		}
	}
	role := r.roleRef(ns, kind, name)
	if ns != "" && kind == "ClusterRole" {
		r.bound(l.Item(role), ns, name)
	}
	bound := 0
	for x := range o.Get("subjects").All() {
		who := r.subject(x, o.ns)
		if who == "" {
			r.s.Note("%s %s/%s: a subject is no service account, user or group with a name", o.kind, o.ns, o.name)
			continue
		}
		bound++
		it := l.Item(who)
		inventory.Add(&it.MemberOf, role)
		inventory.Set(&it.Attributes, "boundBy."+strings.Trim(o.ns+"/"+o.name, "/"), role)
	}
	if bound == 0 {
		inventory.Set(&l.Item(role).Attributes, "boundToNobody."+strings.Trim(o.ns+"/"+o.name, "/"), "yes")
	}
}

// bound says what a cluster role grants in a namespace, where the unit lists
// the cluster role; else it is not known.
func (r *reading) bound(it *statement.IdentityItem, ns, name string) {
	inventory.Set(&it.Attributes, "clusterRole", r.roleRef("", "ClusterRole", name))
	grants, ok := r.roles[name]
	if !ok {
		inventory.Set(&it.Attributes, "grants", "unknown: the cluster role was not in the same listing")
		return
	}
	if it.Grants != nil {
		return
	}
	prefix := strings.TrimSuffix(r.resource("", "x", "y", ""), "*/x/y")
	for _, g := range grants {
		rest, ok := strings.CutPrefix(g.Resource, prefix+"*/")
		if !ok {
			continue // a URL: a role binding does not grant it
		}
		g.Resource = prefix + inventory.Name(prov.Resource, ns).Name + "/" + rest
		it.Grants = append(it.Grants, g)
	}
}

// truth gives true or false as text, as which YAML is read.
func truth(n rawjson.Node) string {
	if k := n.Kind(); k == 't' || k == 'f' {
		return string(n.Raw())
	}
	return n.Text()
}
