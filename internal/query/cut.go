package query

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// cut says what would end a relation: the command of its system where that is
// known, else what to change.
func (r *reacher) cut(h hop) string {
	from, to := r.v.Ref(h.rel.From), r.v.Ref(h.rel.To)
	switch h.rel.Type {
	case prov.MemberOf:
		return r.cutMembership(h.rel, from, to)
	case prov.CanAssume:
		return r.cutAssume(h.rel, from, to)
	case prov.Granted, prov.GrantsOn:
		return r.cutGrant(h)
	case prov.RunsAs:
		return fmt.Sprintf("deploy %s as another identity than %s", r.b.name(h.rel.From), r.b.name(h.rel.To))
	case prov.Deployed, prov.DeployedTo:
		return "take down " + r.b.name(h.rel.From)
	case prov.DelegatedTo:
		if c := r.all.Said(h.rel.To, h.rel.Entry)["delegation.credential"]; c != "" {
			return "revoke " + c + ", with which it was delegated"
		}
		return fmt.Sprintf("revoke the delegation of %s to %s", r.b.name(h.rel.From), r.b.name(h.rel.To))
	case prov.AuthenticatesWith:
		return fmt.Sprintf("revoke %s", r.b.name(h.rel.To))
	case prov.ReadsSecret:
		return fmt.Sprintf("take the reference to %s out of %s, and rotate it", r.b.name(h.rel.To), r.b.name(h.rel.From))
	case prov.CallsTool:
		return fmt.Sprintf("deploy %s without %s", r.b.name(h.rel.From), r.b.name(h.rel.To))
	case prov.SameAs:
		return fmt.Sprintf("none: both are names of one thing (entry %d)", h.rel.Entry)
	}
	return fmt.Sprintf("end what entry %d says at its source", h.rel.Entry)
}

func (r *reacher) cutMembership(rel graph.Relation, from, to prov.Ref) string {
	if rel.Rule == "implied" {
		return "none: it follows from the name " + from.String()
	}
	if rest, ok := strings.CutPrefix(to.Name, "kubernetes/"); ok {
		said := r.all.Said(rel.From, rel.Entry)
		for _, k := range slices.Sorted(maps.Keys(said)) {
			binding, ok := strings.CutPrefix(k, "boundBy.")
			if !ok || said[k] != to.String() {
				continue
			}
			if ns, name, ok := strings.Cut(binding, "/"); ok {
				return fmt.Sprintf("kubectl delete rolebinding -n %s %s, or take the subject out of it", ns, name)
			}
			return fmt.Sprintf("kubectl delete clusterrolebinding %s, or take the subject out of it", binding)
		}
		return "take the subject out of the binding of " + rest
	}
	p := strings.Split(to.Name, "/")
	name := from.Name[strings.LastIndexByte(from.Name, '/')+1:]
	if p[0] == "aws" && len(p) > 2 {
		typ := map[prov.Kind]string{prov.ServiceAccount: "user", prov.Role: "role", prov.Team: "group"}[from.Kind]
		switch {
		case len(p) == 4 && p[2] == "policy" && typ != "":
			arn := r.all.Attributes(rel.To)["arn"]
			if arn == "" {
				arn = "arn:aws:iam::" + p[1] + ":policy/" + p[3]
			}
			return fmt.Sprintf("aws iam detach-%s-policy --%s-name %s --policy-arn %s", typ, typ, name, arn)
		case to.Kind == prov.Team && typ == "user":
			return fmt.Sprintf("aws iam remove-user-from-group --user-name %s --group-name %s", name, p[2])
		}
	}
	return fmt.Sprintf("take %s out of %s", from, to)
}

func (r *reacher) cutAssume(rel graph.Relation, from, to prov.Ref) string {
	said := r.all.Said(rel.From, rel.Entry)
	if _, ns, name, ok := clusterAccount(from); ok {
		for _, k := range []string{"eks.amazonaws.com/role-arn", "iam.gke.io/gcp-service-account"} {
			if said[k] != "" {
				return fmt.Sprintf("kubectl annotate serviceaccount -n %s %s %s-, and take it out of the trust of %s", ns, name, k, to)
			}
		}
	}
	if account := awsAccount(to); account != "" {
		who := from.String()
		if rel.Rule == "by-account" {
			who = "the account, or sts:AssumeRole from " + from.String()
		}
		return fmt.Sprintf("aws iam update-assume-role-policy --role-name %s, without %s", to.Name[strings.LastIndexByte(to.Name, '/')+1:], who)
	}
	if email, ok := strings.CutPrefix(to.Name, "gcp/"); ok && to.Kind == prov.ServiceAccount {
		return fmt.Sprintf("gcloud iam service-accounts remove-iam-policy-binding %s, for %s", email, from)
	}
	return fmt.Sprintf("take %s out of the trust of %s", from, to)
}

func (r *reacher) cutGrant(h hop) string {
	g := h.grant
	if g == nil {
		g = r.grantOf(h.rel.To)
	}
	holder := prov.Ref{}
	for x := range r.all.In(g.id) {
		if x.Type() == prov.Granted {
			holder = r.v.Ref(x.From())
		}
	}
	name := holder.Name[strings.LastIndexByte(holder.Name, '/')+1:]
	switch p := strings.Split(holder.Name, "/"); {
	case len(p) > 2 && p[0] == "kubernetes" && p[len(p)-2] == "clusterrole":
		return "kubectl edit clusterrole " + name + ", without the rule"
	case len(p) > 3 && p[0] == "kubernetes" && p[len(p)-2] == "role":
		return "kubectl edit role -n " + p[len(p)-3] + " " + name + ", without the rule"
	case strings.HasPrefix(g.Resource, "gcp/") && len(g.scope) > 0:
		return fmt.Sprintf("take %s out of %s in the IAM policy of %s", holder, strings.Join(g.scope, ", "), strings.TrimPrefix(g.Resource, "gcp/"))
	case g.via != "":
		return "change the statement in " + g.via
	}
	return fmt.Sprintf("take the grant on %s from %s", r.v.Ref(g.on.To), holder)
}
