package aws

import (
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

// target names the user, group or role that a call is about.
func (r *record) target() string {
	switch {
	case r.req("userName") != "":
		return user(r.account, r.req("userName"))
	case r.req("roleName") != "":
		return role(r.account, r.req("roleName"))
	case r.req("groupName") != "":
		return group(r.account, r.req("groupName"))
	}
	return ""
}

// iam reads a change of identities or of what they may do.
func (r *record) iam() bool {
	of := r.target()
	switch r.name {
	case "CreatePolicy", "CreatePolicyVersion", "DeletePolicy":
		return r.managed()
	case "CreateAccessKey", "DeleteAccessKey", "UpdateAccessKey":
		return r.accessKey()
	}
	if of == "" {
		return false
	}
	switch r.name {
	case "CreateUser", "CreateRole", "CreateGroup":
		it := r.event().Item(of)
		it.CreatedAt, it.State = r.at, "active"
		if doc := r.n.Get("requestParameters").Get("assumeRolePolicyDocument"); doc.Given() {
			r.trusts(of, doc)
		}
	case "DeleteUser", "DeleteRole", "DeleteGroup":
		r.event().Item(of).State = "retired"
	case "UpdateAssumeRolePolicy":
		r.trusts(of, r.n.Get("requestParameters").Get("policyDocument"))
	case "AddUserToGroup", "RemoveUserFromGroup":
		g := group(r.account, r.req("groupName"))
		l := r.narrow(of, "member-of/"+g)
		if r.name == "AddUserToGroup" {
			inventory.Add(&l.Item(of).MemberOf, g)
		}
	case "PutUserPermissionsBoundary", "PutRolePermissionsBoundary":
		inventory.Set(&r.event().Item(of).Attributes, "permissionsBoundary", policy(r.req("permissionsBoundary")))
	case "DeleteUserPermissionsBoundary", "DeleteRolePermissionsBoundary":
		inventory.Set(&r.event().Item(of).Attributes, "permissionsBoundary", "none")
	case "CreateLoginProfile", "UpdateLoginProfile", "DeleteLoginProfile":
		r.login(of)
	default:
		return r.attached(of)
	}
	r.event()
	return true
}

func (r *record) trusts(of string, doc rawjson.Node) {
	r.narrow(of, "trust").Item(of).Trust = trust(r.s, of, doc)
}

// attached reads what is attached to or written into an identity, or taken
// from it.
func (r *record) attached(of string) bool {
	verb := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(r.name, "UserPolicy"), "RolePolicy"), "GroupPolicy")
	p := policy(r.req("policyArn"))
	inline := "inline/" + r.req("policyName")
	switch verb {
	case "Attach":
		inventory.Add(&r.narrow(of, "policy/"+p).Item(of).MemberOf, p)
	case "Detach":
		r.narrow(of, "policy/"+p)
	case "Put":
		r.narrow(of, inline).Item(of).Grants = grants(r.s, "inline policy "+rawjson.Clip(r.req("policyName"), 200)+" of "+of, r.n.Get("requestParameters").Get("policyDocument"))
	case "Delete":
		r.narrow(of, inline)
	default:
		return false
	}
	r.event()
	return true
}

// managed reads a change of a managed policy.
func (r *record) managed() bool {
	at := or(r.n.Get("responseElements").Get("policy").Get("arn").Text(), r.req("policyArn"))
	if at == "" {
		return false
	}
	p := policy(at)
	l := r.narrow(p, "document")
	switch {
	case r.name == "DeletePolicy":
		r.event().Item(p).State = "retired"
	case r.name == "CreatePolicyVersion" && r.n.Get("requestParameters").Get("setAsDefault").Kind() != 't':
		return false
	default:
		l.Item(p).Grants = grants(r.s, at, r.n.Get("requestParameters").Get("policyDocument"))
	}
	r.event()
	return true
}

// accessKey reads the life of an access key. A call without a user name is
// about the caller's own key.
func (r *record) accessKey() bool {
	made := r.n.Get("responseElements").Get("accessKey")
	id := or(made.Get("accessKeyId").Text(), r.req("accessKeyId"))
	of := r.caller
	if n := or(r.req("userName"), made.Get("userName").Text()); n != "" {
		of = user(r.account, n)
	}
	if id == "" || of == "" {
		r.s.Refuse(Invalid, "the record names neither the access key nor its user; give it as CloudTrail wrote it")
		return true
	}
	c := statement.CredentialItem{Ref: key(id), Kind: "access-key"}
	switch r.name {
	case "CreateAccessKey":
		c.IssuedAt, c.State = r.at, state(or(made.Get("status").Text(), "Active"))
	case "UpdateAccessKey":
		c.State = state(r.req("status"))
	case "DeleteAccessKey":
		c.State = "revoked"
	}
	it := r.narrow(of, "key/"+id).Item(of)
	it.Credentials = append(it.Credentials, c)
	r.event()
	return true
}

func (r *record) login(of string) {
	c := statement.CredentialItem{Ref: password(r.account, r.req("userName")), Kind: "password"}
	switch r.name {
	case "CreateLoginProfile":
		c.IssuedAt, c.State = r.at, "active"
	case "UpdateLoginProfile":
		c.RotatedAt, c.State = r.at, "active"
	default:
		c.State = "revoked"
	}
	it := r.narrow(of, "login").Item(of)
	it.Credentials = append(it.Credentials, c)
}
