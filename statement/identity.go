package statement

import "fmt"

// Identity (identity/v1) is an inventory of identities, credentials and
// grants: as events, or as a snapshot that closes what it no longer lists.
type Identity struct {
	Mode   string `json:"mode"` // event, snapshot
	Source string `json:"source"`
	At     Time   `json:"at,omitzero"`
	// Grade says how the source knows: GradeObserved, GradeDeclared or
	// GradeSelfReported. Empty: not stated.
	Grade    string         `json:"grade,omitempty"`
	Items    []IdentityItem `json:"items"`
	Evidence []Evidence     `json:"evidence,omitempty"`
}

// How the source of an inventory knows what it says.
const (
	GradeObserved     = "observed"      // the system that decides on access listed it
	GradeDeclared     = "declared"      // a manifest or template asks for it
	GradeSelfReported = "self-reported" // the identity says it of itself
)

// IdentityItem is one line of an inventory. No field holds a secret value.
type IdentityItem struct {
	Ref string `json:"ref"`
	// State is active (default), inactive (disabled or suspended, and can come
	// back) or retired.
	State string `json:"state,omitempty"`
	Owner string `json:"owner,omitempty"`
	// Human is yes or no; empty: the source does not say.
	Human       string           `json:"human,omitempty"`
	CreatedAt   Time             `json:"createdAt,omitzero"`
	LastUsedAt  Time             `json:"lastUsedAt,omitzero"`
	MemberOf    []string         `json:"memberOf,omitempty"`
	CanAssume   []string         `json:"canAssume,omitempty"`
	RunsAs      []string         `json:"runsAs,omitempty"`
	Credentials []CredentialItem `json:"credentials,omitempty"`
	Grants      []GrantItem      `json:"grants,omitempty"`
	Secrets     []string         `json:"secrets,omitempty"`
	Roles       []RoleItem       `json:"roles,omitempty"`
	// Trust says who may act as the identity, as its own policy tells.
	Trust []TrustItem `json:"trust,omitempty"`
	// Attributes are small texts in the words of the source.
	Attributes map[string]string `json:"attributes,omitempty"`
}

// RoleItem is a role that an identity holds for a time.
type RoleItem struct {
	Role  string `json:"role"` // role:risk-reviewer
	From  Time   `json:"from,omitzero"`
	Until Time   `json:"until,omitzero"`
}

// CredentialItem is a credential of an identity: reference and times only.
type CredentialItem struct {
	Ref  string `json:"ref"`
	Kind string `json:"kind,omitempty"` // access-key, password, token, certificate, svid …
	// State is active, inactive, expired or revoked; empty: not stated.
	State      string `json:"state,omitempty"`
	IssuedAt   Time   `json:"issuedAt,omitzero"`
	ExpiresAt  Time   `json:"expiresAt,omitzero"`
	RotatedAt  Time   `json:"rotatedAt,omitzero"`
	LastUsedAt Time   `json:"lastUsedAt,omitzero"`
	// NeverExpires: the source says so. Without it and ExpiresAt the expiry is
	// not known.
	NeverExpires bool              `json:"neverExpires,omitzero"`
	Scope        []string          `json:"scope,omitempty"`
	StoredIn     string            `json:"storedIn,omitempty"` // a secret's Ref
	Attributes   map[string]string `json:"attributes,omitempty"`
}

// GrantItem is a scope that an identity holds on a resource, or is denied.
type GrantItem struct {
	Resource string   `json:"resource"`
	Scope    []string `json:"scope,omitempty"`
	From     Time     `json:"from,omitzero"`
	Until    Time     `json:"until,omitzero"`
	// Deny: the scope is refused whatever other grants say.
	Deny bool `json:"deny,omitzero"`
	// NotScope and NotResource are excepted from the scope and the resource,
	// which are then the widest that the source knows.
	NotScope    []string `json:"notScope,omitempty"`
	NotResource []string `json:"notResource,omitempty"`
	// Condition is the source's text of what must hold. A grant with a
	// condition is a grant that may not apply.
	Condition string `json:"condition,omitempty"`
	Via       string `json:"via,omitempty"` // the binding or policy that says so, in the source's words
}

// TrustItem is one that may act as the identity.
type TrustItem struct {
	Principal string `json:"principal"`
	Condition string `json:"condition,omitempty"` // as in GrantItem
	Deny      bool   `json:"deny,omitzero"`
}

// PredicateType gives IdentityType.
func (*Identity) PredicateType() string { return IdentityType }

func (d *Identity) check(c *checker) {
	c.oneOf("mode", d.Mode, "event", "snapshot")
	if d.Mode == "snapshot" && d.Source == "" {
		c.fail("source", "is missing; a snapshot closes only what the same source listed before")
	}
	if d.Grade != "" {
		c.oneOf("grade", d.Grade, GradeObserved, GradeDeclared, GradeSelfReported)
	}
	for i := range d.Items {
		d.Items[i].check(c, func(f string) string { return fmt.Sprintf("items[%d].%s", i, f) })
	}
	c.evidence(d.Evidence)
}

func (it *IdentityItem) check(c *checker, at func(string) string) {
	c.resource(at("ref"), Resource{Ref: it.Ref})
	if it.State != "" {
		c.oneOf(at("state"), it.State, "active", "inactive", "retired")
	}
	if it.Human != "" {
		c.oneOf(at("human"), it.Human, "yes", "no")
	}
	if it.Owner != "" {
		c.resource(at("owner"), Resource{Ref: it.Owner})
	}
	for _, list := range [][]string{it.MemberOf, it.CanAssume, it.RunsAs, it.Secrets} {
		for _, r := range list {
			c.resource(at("memberOf/canAssume/runsAs/secrets"), Resource{Ref: r})
		}
	}
	for _, cr := range it.Credentials {
		c.resource(at("credentials.ref"), Resource{Ref: cr.Ref})
		c.order(at("credentials.expiresAt"), cr.IssuedAt, cr.ExpiresAt)
		if cr.State != "" {
			c.oneOf(at("credentials.state"), cr.State, "active", "inactive", "expired", "revoked")
		}
		if cr.StoredIn != "" {
			c.resource(at("credentials.storedIn"), Resource{Ref: cr.StoredIn})
		}
	}
	for _, r := range it.Roles {
		c.kind(at("roles.role"), r.Role, "role")
		c.order(at("roles.until"), r.From, r.Until)
	}
	for _, g := range it.Grants {
		c.resource(at("grants.resource"), Resource{Ref: g.Resource})
		c.order(at("grants.until"), g.From, g.Until)
	}
	for _, t := range it.Trust {
		c.resource(at("trust.principal"), Resource{Ref: t.Principal})
	}
}
