package githuboidc

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

type claims struct {
	place   string
	root    rawjson.Node // the claims
	issuer  string       // host and path of iss
	host    string       // of the forge
	refusal *importer.Refusal
	notes   []string
}

func (c *claims) get(name string) string { return c.root.Get(name).Text() }

func (c *claims) note(format string, args ...any) {
	if len(c.notes) < 50 {
		c.notes = append(c.notes, rawjson.Clip(fmt.Sprintf(format, args...), 500))
	}
}

func (c *claims) refuse(reason, format string, args ...any) {
	if c.refusal == nil {
		c.refusal = &importer.Refusal{Reason: reason, Detail: c.place + ": " + rawjson.Clip(fmt.Sprintf(format, args...), 1000)}
	}
}

// item makes the Item of claims, which text holds with or without a header.
func item(it importer.Item, text []byte, check *statement.EvidenceCheck, notes []string) importer.Item {
	doc := rawjson.Parse(text)
	kept, redacted := rawjson.Redact(doc, func([]byte) ([]string, bool) { return nil, false })
	if len(redacted) > 0 {
		doc = rawjson.Parse(kept)
	}
	c := &claims{place: it.Place, root: doc.Root(), notes: notes}
	for _, name := range wrappers {
		if x := doc.Root().Get(name); x.Kind() == '{' {
			c.root = x
			break
		}
	}
	if check == nil {
		check = &statement.EvidenceCheck{Result: statement.CheckUnsigned, Reason: "decoded claims without a signature"}
	}
	drafts := c.drafts(check)
	if c.refusal != nil {
		it.Refusal = c.refusal
		return it
	}
	ev := importer.NewEvidence(Importer{}, MediaType, sha256.Sum256(kept), len(kept))
	ev.Notes, ev.Redacted, ev.Verified = c.notes, redacted, check
	for _, d := range drafts {
		switch p := d.Predicate.(type) {
		case *statement.Activity:
			p.Evidence = []statement.Evidence{ev}
		case *statement.Identity:
			p.Evidence = []statement.Evidence{ev}
		}
		if _, err := statement.Format(d.Subjects, d.Predicate); err != nil {
			it.Refusal = &importer.Refusal{Reason: BadClaim, Detail: it.Place + ": " + rawjson.Clip(err.Error(), 1000)}
			return it
		}
	}
	it.Evidence, it.Statements, it.Notes = kept, drafts, c.notes
	return it
}

// drafts gives the run of the workflow, and the credential that its workload
// got.
func (c *claims) drafts(check *statement.EvidenceCheck) []importer.Draft {
	if c.root.Kind() != '{' {
		c.refuse(NotClaims, "is no object of claims; give a token or its decoded claims")
		return nil
	}
	for _, name := range []string{"repository", "run_id"} {
		if c.get(name) == "" {
			c.refuse(MissingClaim, "the claim %s is missing; GitHub's tokens have it (OpenID Connect reference)", name)
			return nil
		}
	}
	c.readIssuer()
	workload := c.workload()
	attempt := c.get("run_attempt")
	if attempt == "" {
		attempt = "1"
	}
	id := prov.Ref{Kind: prov.Activity, Name: fmt.Sprintf("%s/%s/actions/runs/%s/attempts/%s", c.host, c.get("repository"), c.get("run_id"), attempt)}
	if len(id.String()) > prov.MaxRef || len(workload.String()) > prov.MaxRef-300 {
		c.refuse(BadClaim, "repository, run_id or sub are too long for a name")
		return nil
	}
	issued, expires := c.time("iat"), c.time("exp")
	a := &statement.Activity{Kind: "workflow", ID: id.String(), ObservedAt: issued, InputsCompleteness: statement.BestEffort,
		Identities: []statement.Party{{Ref: workload.String(), Role: "workload"}}, Parameters: c.parameters()}
	if a.ObservedAt.IsZero() {
		a.ObservedAt = c.time("nbf")
	}
	if actor := c.get("actor"); actor != "" {
		kind := prov.Person
		if strings.HasSuffix(actor, "[bot]") {
			kind = prov.Workload
		}
		a.Identities = append(a.Identities, statement.Party{Ref: prov.Ref{Kind: kind, Name: c.host + "/" + rawjson.Clip(actor, 200)}.String(), Role: "actor"})
	}
	if env := c.get("environment"); env != "" {
		a.Environment = map[string]string{"github.environment": rawjson.Clip(env, 1000)}
	}
	c.workflows(a)
	c.revision(a)
	if check.Result == statement.CheckVerified {
		check.Identity = rawjson.Clip(c.get("iss")+" "+c.get("sub"), 1000)
	}
	out := []importer.Draft{{Subjects: []statement.Subject{statement.NewSubject(id, nil)}, Predicate: a}}
	return append(out, c.credential(a, workload, issued, expires)...)
}

func (c *claims) credential(a *statement.Activity, workload prov.Ref, issued, expires statement.Time) []importer.Draft {
	jti := c.get("jti")
	if jti == "" {
		c.note("the token has no jti, so it is not recorded as a credential")
		return nil
	}
	if !issued.IsZero() && !expires.IsZero() && expires.Before(issued.Time) {
		c.note("exp lies before iat; kept in the evidence only")
		expires = statement.Time{}
	}
	cred := prov.Ref{Kind: prov.Credential, Name: workload.Name, Version: rawjson.Clip(jti, 200)}
	a.Credentials = []statement.Resource{statement.NewResource(cred, nil)}
	p := &statement.Identity{Mode: "event", Source: rawjson.Clip(c.issuer, 1000), At: issued, Items: []statement.IdentityItem{{Ref: workload.String(),
		Credentials: []statement.CredentialItem{{Ref: cred.String(), IssuedAt: issued, ExpiresAt: expires}}}}}
	return []importer.Draft{{Subjects: []statement.Subject{statement.NewSubject(workload, nil)}, Predicate: p}}
}

// readIssuer tells which forge the issuer belongs to: github.com, a tenant
// of ghe.com, or an Enterprise Server.
func (c *claims) readIssuer() {
	iss := c.get("iss")
	u, err := url.Parse(iss)
	switch {
	case iss == "" || err != nil || u.Host == "":
		c.note("iss is no URL; taken as a token of github.com")
		c.issuer, c.host = "token.actions.githubusercontent.com", "github.com"
		return
	case u.Hostname() == "token.actions.githubusercontent.com":
		c.host = "github.com"
	default:
		c.host = strings.TrimPrefix(strings.ToLower(u.Host), "token.actions.")
	}
	c.issuer = strings.ToLower(u.Host) + strings.TrimSuffix(u.Path, "/")
}

// workload names the identity that the token is of: issuer and subject, which
// together are unique (OpenID Connect Core, section 2).
func (c *claims) workload() prov.Ref {
	sub := c.get("sub")
	if sub == "" {
		sub = "repo:" + c.get("repository")
		c.note("sub is missing; the workload is named by the repository")
	}
	return prov.Ref{Kind: prov.Workload, Name: c.issuer + "/" + sub}
}

// time reads a NumericDate (RFC 7519 section 2).
func (c *claims) time(name string) statement.Time {
	s := c.get(name)
	if s == "" {
		return statement.Time{}
	}
	whole, fraction, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || sec < -9_000_000_000 || sec > 9_200_000_000 {
		c.note("%s: %q is no time in the years 1679 to 2261; kept in the evidence only", name, s)
		return statement.Time{}
	}
	nano, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if err != nil {
		nano = 0
	}
	return statement.NewTime(time.Unix(sec, nano))
}

// workflows reads the workflow of the run, and the reusable one that the job
// ran where it is another.
func (c *claims) workflows(a *statement.Activity) {
	whole, ok := c.workflow("workflow_ref", "workflow_sha")
	job, ok2 := c.workflow("job_workflow_ref", "job_workflow_sha")
	if !ok {
		whole, ok = job, ok2
	}
	if !ok {
		return
	}
	plan := statement.NewResource(whole, nil)
	a.Plan = &plan
	if ok2 && job != whole {
		a.Used = append(a.Used, statement.Use{Resource: statement.NewResource(job, nil), Role: "job-workflow", Rule: statement.RuleStated})
	}
}

func (c *claims) workflow(ref, sha string) (prov.Ref, bool) {
	s := c.get(ref)
	if s == "" {
		return prov.Ref{}, false
	}
	path, version, _ := strings.Cut(s, "@")
	if v := c.get(sha); v != "" {
		version = v
	}
	r := prov.Ref{Kind: prov.Plan, Name: "https://" + c.host + "/" + path, Version: version}
	if path == "" || len(r.String()) > prov.MaxRef {
		c.note("%s names no workflow; kept in the evidence only", ref)
		return r, false
	}
	return r, true
}

// revision reads the commit that the workflow ran on.
func (c *claims) revision(a *statement.Activity) {
	sha := c.get("sha")
	if sha == "" {
		return
	}
	name := "https://" + c.host + "/" + c.get("repository")
	if repo, _, ok := prov.Repository(name, true); ok {
		name = repo
	}
	r := prov.Ref{Kind: prov.Code, Name: name, Version: rawjson.Clip(sha, 200)}
	var digest statement.DigestSet
	if (len(sha) == 40 || len(sha) == 64) && strings.Trim(sha, "0123456789abcdef") == "" {
		digest = statement.DigestSet{"gitCommit": sha}
	} else {
		c.note("sha %q is no name of a commit; taken as a version without a digest", sha)
	}
	a.Used = append(a.Used, statement.Use{Resource: statement.NewResource(r, digest), Role: "source-code", Rule: statement.RuleStated})
}

// elsewhere are the claims that are told otherwise.
var elsewhere = map[string]bool{"iss": true, "sub": true, "jti": true, "iat": true, "exp": true, "nbf": true, "sha": true, "run_id": true,
	"actor": true, "environment": true, "workflow_ref": true, "job_workflow_ref": true, "workflow_sha": true, "job_workflow_sha": true}

// parameters gives the other claims.
func (c *claims) parameters() map[string]string {
	out := map[string]string{}
	var left []string
	for m := range c.root.All() {
		key := m.Key()
		text := m.Text()
		if k := m.Kind(); k == 't' || k == 'f' {
			text = string(m.Raw())
		}
		switch {
		case elsewhere[key], text == "" && (m.Kind() == '"' || m.Kind() == 'n'):
		case text == "" || len(text) > 1000 || len(key) > 100 || len(out) >= 100:
			left = append(left, rawjson.Clip(key, 100))
		default:
			out[key] = text
		}
	}
	if len(left) > 0 {
		slices.Sort(left)
		c.note("claims %s are kept in the evidence only", rawjson.Clip(strings.Join(left, ", "), 300))
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
