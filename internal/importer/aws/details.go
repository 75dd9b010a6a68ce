package aws

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

func compact(n rawjson.Node) string {
	var b bytes.Buffer
	if json.Compact(&b, n.Raw()) != nil {
		return string(n.Raw())
	}
	return b.String()
}

// details reads account authorization details.
type details struct {
	s       *inventory.Statements
	o       inventory.Options
	account string
}

var sections = []string{"UserDetailList", "GroupDetailList", "RoleDetailList", "Policies"}

func (d *details) say(n rawjson.Node) {
	for _, l := range sections {
		for x := range n.Get(l).All() {
			if a, ok := parseARN(x.Get("Arn").Text()); ok && a.account != "aws" && d.account == "" {
				d.account = a.account
			}
		}
	}
	if d.account == "" {
		d.s.Refuse(NoAccount, "no user, group, role or policy in it has an ARN of an account; give the whole answer of get-account-authorization-details")
		return
	}
	if n.Get("IsTruncated").Kind() == 't' {
		d.o.Event = true
		d.s.Note("the answer is one page of several, so it closes nothing")
	}
	for x := range n.Get("UserDetailList").All() {
		d.user(x)
	}
	for x := range n.Get("GroupDetailList").All() {
		d.group(x)
	}
	for x := range n.Get("RoleDetailList").All() {
		d.role(x)
	}
	for x := range n.Get("Policies").All() {
		d.policy(x)
	}
	d.s.Rest("", n, append(sections, "IsTruncated", "Marker")...)
}

// listing gives the statement of a section. A section that is empty may have
// been filtered out, so it closes nothing.
func (d *details) listing(section string) *inventory.Listing {
	return d.s.Snapshot(d.o, inventory.Name(prov.Resource, "aws", d.account, "iam", section).Name)
}

// member gives the line of an entry, or nil for one that names nobody.
func (d *details) member(section string, n rawjson.Node, want string) *statement.IdentityItem {
	at := n.Get("Arn").Text()
	a, ok := parseARN(at)
	if !ok || !strings.HasPrefix(a.resource, want+"/") {
		d.s.Note("an entry of %s has no ARN of a %s; it is left out", section, want)
		return nil
	}
	it := d.listing(section).Item(principal("AWS", at))
	it.CreatedAt = d.s.Time(at, n.Get("CreateDate").Text())
	inventory.Set(&it.Attributes, "arn", at)
	for t := range n.Get("Tags").All() {
		inventory.Set(&it.Attributes, "tag."+t.Get("Key").Text(), t.Get("Value").Text())
	}
	if b := n.Get("PermissionsBoundary").Get("PermissionsBoundaryArn").Text(); b != "" {
		inventory.Set(&it.Attributes, "permissionsBoundary", policy(b))
	} else if want != "group" { // what an earlier listing said has ended
		inventory.Set(&it.Attributes, "permissionsBoundary", "none")
	}
	for p := range n.Get("AttachedManagedPolicies").All() {
		if a := p.Get("PolicyArn").Text(); a != "" {
			inventory.Add(&it.MemberOf, policy(a))
		}
	}
	return it
}

func (d *details) inline(it *statement.IdentityItem, list rawjson.Node) {
	for p := range list.All() {
		it.Grants = append(it.Grants, grants(d.s, "inline policy "+rawjson.Clip(p.Get("PolicyName").Text(), 200)+" of "+it.Ref, p.Get("PolicyDocument"))...)
	}
}

func (d *details) user(n rawjson.Node) {
	it := d.member("users", n, "user")
	if it == nil {
		return
	}
	for _, g := range inventory.Texts(n.Get("GroupList")) {
		if g != "" {
			inventory.Add(&it.MemberOf, group(d.account, g))
		}
	}
	d.inline(it, n.Get("UserPolicyList"))
}

func (d *details) group(n rawjson.Node) {
	if it := d.member("groups", n, "group"); it != nil {
		d.inline(it, n.Get("GroupPolicyList"))
	}
}

func (d *details) role(n rawjson.Node) {
	it := d.member("roles", n, "role")
	if it == nil {
		return
	}
	it.Human = "no"
	it.LastUsedAt = d.s.Time(it.Ref, n.Get("RoleLastUsed").Get("LastUsedDate").Text())
	it.Trust = trust(d.s, it.Ref, n.Get("AssumeRolePolicyDocument"))
	for p := range n.Get("InstanceProfileList").All() {
		inventory.Set(&it.Attributes, "instanceProfile."+last(p.Get("InstanceProfileName").Text()), p.Get("Arn").Text())
	}
	d.inline(it, n.Get("RolePolicyList"))
}

// policy says what the default version of a managed policy grants.
func (d *details) policy(n rawjson.Node) {
	at := n.Get("Arn").Text()
	if a, ok := parseARN(at); !ok || !strings.HasPrefix(a.resource, "policy/") {
		d.s.Note("an entry of Policies has no ARN of a policy; it is left out")
		return
	}
	it := d.listing("policies").Item(policy(at))
	it.CreatedAt = d.s.Time(at, n.Get("CreateDate").Text())
	inventory.Set(&it.Attributes, "arn", at)
	inventory.Set(&it.Attributes, "updatedAt", d.s.Time(at, n.Get("UpdateDate").Text()).String())
	found := false
	for v := range n.Get("PolicyVersionList").All() {
		if v.Get("IsDefaultVersion").Kind() != 't' {
			d.s.Kept("versions of policies that are not the default")
			continue
		}
		found = true
		inventory.Set(&it.Attributes, "version", v.Get("VersionId").Text())
		it.Grants = append(it.Grants, grants(d.s, at, v.Get("Document"))...)
	}
	if !found {
		inventory.Set(&it.Attributes, "grants", "unknown: the default version was not listed")
	}
}

// keys reads the answer of list-access-keys.
func keys(n rawjson.Node, s *inventory.Statements) {
	for k := range n.Get("AccessKeyMetadata").All() {
		id := k.Get("AccessKeyId").Text()
		if id == "" || k.Get("UserName").Text() == "" {
			s.Note("an access key has no identifier or user; it is left out")
			continue
		}
		it := s.Event("aws/access-keys").Item(inventory.Text(prov.ServiceAccount, "aws", "-", k.Get("UserName").Text()))
		it.Credentials = append(it.Credentials, statement.CredentialItem{Ref: key(id), Kind: "access-key", State: state(k.Get("Status").Text()),
			IssuedAt: s.Time(id, k.Get("CreateDate").Text())})
		s.Note("the list does not name its account, so its users are not those of the account's details")
	}
}

func state(status string) string {
	switch strings.ToLower(status) {
	case "active":
		return "active"
	case "inactive":
		return "inactive"
	}
	return ""
}
