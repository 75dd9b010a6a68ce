package aws

import (
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/prov"
)

// arn is an Amazon Resource Name: arn:partition:service:region:account:resource.
type arn struct{ service, region, account, resource string }

func parseARN(s string) (arn, bool) {
	p := strings.SplitN(s, ":", 6)
	if len(p) < 6 || p[0] != "arn" {
		return arn{}, false
	}
	return arn{p[2], p[3], p[4], p[5]}, true
}

// last gives the name of an IAM resource, without its path: names are unique
// in an account whatever the path.
func last(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }

func user(account, name string) string {
	return inventory.Text(prov.ServiceAccount, "aws", account, name)
}
func group(account, name string) string { return inventory.Text(prov.Team, "aws", account, name) }
func role(account, name string) string  { return inventory.Text(prov.Role, "aws", account, name) }
func session(account, role, name string) string {
	return inventory.Text(prov.Workload, "aws", account, role, name)
}

// policy names a managed policy as the role that it is: whoever it is attached
// to is a member.
func policy(a string) string {
	if p, ok := parseARN(a); ok && strings.HasPrefix(p.resource, "policy/") {
		return inventory.Text(prov.Role, "aws", p.account, "policy", last(p.resource))
	}
	return inventory.Text(prov.Role, "aws", "-", "policy", a)
}

func key(id string) string { return inventory.Text(prov.Credential, "aws", id) }

// principal names who an ARN, an account, a service or a provider stands for
// (IAM JSON policy elements: Principal). Human or not is not known of any.
func principal(kind, p string) string {
	if p == "*" {
		return inventory.Text(prov.Team, "aws", "anyone")
	}
	switch kind {
	case "Service":
		return inventory.Text(prov.Workload, "aws", "service", p)
	case "Federated":
		if a, ok := parseARN(p); ok {
			return inventory.Text(prov.Workload, "aws", a.account, a.resource)
		}
		return inventory.Text(prov.Workload, "aws", "federated", p)
	case "CanonicalUser":
		return inventory.Text(prov.Org, "aws", "canonical", p)
	}
	a, ok := parseARN(p)
	if !ok {
		if len(p) == 12 && strings.Trim(p, "0123456789") == "" {
			return inventory.Text(prov.Org, "aws", p)
		}
		return inventory.Text(prov.Workload, "aws", "deleted", p) // an identifier: its owner is gone
	}
	typ, rest, _ := strings.Cut(a.resource, "/")
	switch {
	case a.resource == "root":
		return inventory.Text(prov.Org, "aws", a.account)
	case typ == "user":
		return user(a.account, last(rest))
	case typ == "group":
		return group(a.account, last(rest))
	case typ == "role":
		return role(a.account, last(rest))
	case typ == "assumed-role":
		r, name, _ := strings.Cut(rest, "/")
		return session(a.account, r, name)
	case typ == "federated-user":
		return session(a.account, "federated-user", rest)
	}
	return inventory.Text(prov.Workload, "aws", a.account, a.resource)
}

// resource names what a grant is on: an ARN, as a pattern if it is one.
func resource(a string) string {
	if a == "*" {
		return inventory.Text(prov.Resource, "aws", "*")
	}
	return inventory.Text(prov.Resource, a)
}

// secret names a secret by its ARN, or by its name in an account and region.
func secret(account, region, id string) string {
	if a, ok := parseARN(id); ok {
		account, region, id = a.account, a.region, strings.TrimPrefix(a.resource, "secret:")
	}
	return inventory.Text(prov.Secret, "aws", account, region, id)
}
