package aws

import (
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// record reads one CloudTrail record (CloudTrail record contents, version 1).
type record struct {
	s       *inventory.Statements
	n       rawjson.Node
	name    string
	account string
	at      statement.Time
	caller  string
}

func (r *record) req(name string) string { return r.n.Get("requestParameters").Get(name).Text() }

func (r *record) say() {
	r.name = r.n.Get("eventName").Text()
	if code := r.n.Get("errorCode").Text(); code != "" {
		r.s.Refuse(FailedCall, "the call failed, so nothing changed by it; %s", rawjson.Clip(rawjson.Secrets(code), 100))
		return
	}
	if r.n.Get("responseElements").Get("ConsoleLogin").Text() == "Failure" {
		r.s.Refuse(FailedCall, "the sign-in failed, so nothing changed by it")
		return
	}
	r.account = r.n.Get("recipientAccountId").Text()
	id := r.n.Get("userIdentity")
	if r.account == "" {
		r.account = id.Get("accountId").Text()
	}
	r.at = r.s.Time("eventTime", r.n.Get("eventTime").Text())
	if r.at.IsZero() {
		r.s.Refuse(Invalid, "eventTime is missing or no time; give the record as CloudTrail wrote it")
		return
	}
	r.caller = r.who(id)
	source := r.n.Get("eventSource").Text()
	known := false
	switch source {
	case "sts.amazonaws.com":
		known = r.sts()
	case "iam.amazonaws.com":
		known = r.iam()
	case "signin.amazonaws.com":
		known = r.signIn(id)
	case "secretsmanager.amazonaws.com":
		known = r.secrets()
	}
	if !known && !r.s.Refused() {
		r.s.Refuse(OtherEvent, "the record changes no identity, credential or grant, and reads no secret; nothing is lost by leaving it out")
	}
}

// Invalid is the class of a record without a time.
const Invalid = "invalid-record"

// who names the caller (CloudTrail userIdentity element).
func (r *record) who(id rawjson.Node) string {
	account := id.Get("accountId").Text()
	if account == "" {
		account = r.account
	}
	switch typ := id.Get("type").Text(); typ {
	case "Root":
		return user(account, "root")
	case "IAMUser":
		if n := id.Get("userName").Text(); n != "" {
			return user(account, n)
		}
	case "AWSService":
		return principal("Service", id.Get("invokedBy").Text())
	case "AWSAccount":
		return inventory.Text(prov.Org, "aws", account)
	case "WebIdentityUser", "SAMLUser":
		provider := id.Get("identityProvider").Text()
		if provider == "" {
			provider = id.Get("principalId").Text()
		}
		return inventory.Text(prov.Workload, "aws", "federated", provider, id.Get("userName").Text())
	}
	if a := id.Get("arn").Text(); a != "" {
		return principal("AWS", a)
	}
	if p := id.Get("principalId").Text(); p != "" {
		return inventory.Text(prov.Workload, "aws", "principal", p)
	}
	return ""
}

func (r *record) event() *inventory.Listing {
	l := r.s.Event(inventory.Name(prov.Resource, "aws", r.account, "cloudtrail").Name)
	l.At(r.at)
	if id := r.n.Get("userIdentity"); keyID.MatchString(id.Get("accessKeyId").Text()) && strings.HasPrefix(id.Get("accessKeyId").Text(), "AKIA") && r.caller != "" {
		if it := l.Item(r.caller); len(it.Credentials) == 0 {
			it.Credentials = append(it.Credentials, statement.CredentialItem{Ref: key(id.Get("accessKeyId").Text()), Kind: "access-key", LastUsedAt: r.at})
		}
	}
	return l
}

// narrow begins what holds of one aspect of one thing from the event on.
func (r *record) narrow(about, aspect string) *inventory.Listing {
	ref, err := prov.ParseRef(about)
	if err != nil {
		ref = inventory.Name(prov.Resource, about)
	}
	return r.s.Narrow(ref, "aws/"+r.account+"/cloudtrail/"+about+"/"+aspect).At(r.at)
}

// sts reads the hand-over of a session.
func (r *record) sts() bool {
	creds := r.n.Get("responseElements").Get("credentials")
	child := ""
	switch {
	case strings.HasPrefix(r.name, "AssumeRole"):
		a, ok := parseARN(r.req("roleArn"))
		if !ok {
			r.s.Refuse(Invalid, "requestParameters.roleArn is no ARN of a role; give the record as CloudTrail wrote it")
			return true
		}
		name := last(a.resource)
		child = session(a.account, name, r.req("roleSessionName"))
		it := r.event().Item(child)
		it.RunsAs = []string{role(a.account, name)}
		it.CreatedAt = r.at
		inventory.Set(&it.Attributes, "sourceIdentity", r.req("sourceIdentity"))
		inventory.Set(&it.Attributes, "externalId", given(r.req("externalId")))
		r.event().Item(role(a.account, name)).LastUsedAt = r.at
	case r.name == "GetFederationToken":
		child = session(r.account, "federated-user", r.req("name"))
	case r.name == "GetSessionToken" && r.caller != "":
		child = r.caller
	default:
		return false
	}
	d := &statement.Delegation{Parent: r.caller, Child: child, IssuedAt: r.at, Grade: "issuer"}
	if r.caller == "" {
		r.s.Note("the record does not name its caller, so no delegation follows")
		return len(creds.Raw()) > 0
	}
	if exp := creds.Get("expiration").Text(); exp != "" {
		if t := r.s.Time("expiration", exp); !t.Before(r.at.Time) {
			d.ExpiresAt = t
		}
	}
	if id := creds.Get("accessKeyId").Text(); keyID.MatchString(id) {
		d.Credential = key(id)
	}
	if child == r.caller {
		it := r.event().Item(child)
		it.Credentials = append(it.Credentials, statement.CredentialItem{Ref: or(d.Credential, key("-")), Kind: "session-key", IssuedAt: r.at, ExpiresAt: d.ExpiresAt})
		return true
	}
	ref, _ := prov.ParseRef(child)
	r.s.Say(ref, nil, d)
	return true
}

func given(v string) string {
	if v != "" {
		return "given"
	}
	return ""
}

func or(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}

// signIn reads a person's sign-in at the console: evidence that a human used
// the identity.
func (r *record) signIn(id rawjson.Node) bool {
	if r.name != "ConsoleLogin" || r.caller == "" {
		return false
	}
	it := r.event().Item(r.caller)
	it.LastUsedAt = r.at
	inventory.Set(&it.Attributes, "humanSession", r.at.String())
	inventory.Set(&it.Attributes, "mfa", r.n.Get("additionalEventData").Get("MFAUsed").Text())
	if id.Get("type").Text() == "IAMUser" {
		it.Credentials = append(it.Credentials, statement.CredentialItem{Ref: password(r.account, id.Get("userName").Text()), Kind: "password", LastUsedAt: r.at})
	}
	return true
}

func (r *record) secrets() bool {
	id := or(r.req("secretId"), r.req("name"))
	if id == "" {
		return false
	}
	ref := secret(r.account, r.n.Get("awsRegion").Text(), id)
	switch r.name {
	case "GetSecretValue":
		if r.caller == "" {
			return false
		}
		it := r.event().Item(r.caller)
		it.LastUsedAt = r.at
		inventory.Add(&it.Secrets, ref)
		r.event().Item(ref).LastUsedAt = r.at
	case "CreateSecret":
		r.event().Item(ref).CreatedAt = r.at
	case "PutSecretValue", "UpdateSecret", "RotateSecret":
		inventory.Set(&r.event().Item(ref).Attributes, "rotatedAt", r.at.String())
	case "DeleteSecret":
		r.event().Item(ref).State = "retired"
	default:
		return false
	}
	return true
}
