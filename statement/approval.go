package statement

import (
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Decisions of an Approval.
const (
	Approve = "approve"
	Reject  = "reject"
	Revoke  = "revoke"  // an earlier approval no longer counts
	Request = "request" // a decision is asked for
)

// How surely the approver was present when the decision was signed, strongest
// first.
const (
	PasskeyUV   = "passkey"      // a passkey that verified its user
	HardwareKey = "hardware-key" // an SSH key that lives in hardware
	LocalKey    = "local-key"    // a key file
	OIDCSession = "oidc-session" // a session that an identity provider vouched for
)

// Assurance gives how surely the signers of an envelope were present, as far as
// its signatures show it: HardwareKey when each is an SSHSIG by a FIDO key
// (sk-…@openssh.com), which verifies only if the key was touched, and LocalKey
// otherwise; "" without signatures. It verifies nothing. Passkeys and sessions
// do not show in a signature.
func (e *Envelope) Assurance() string {
	if e == nil || len(e.Signatures) == 0 {
		return ""
	}
	for _, s := range e.Signatures {
		if !isSSHSIG(s.Sig) {
			return LocalKey
		}
		sig, err := parseSSHSIG(s.Sig)
		if err != nil {
			return LocalKey
		}
		switch sig.sig.PublicKey.Type() {
		case ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		default:
			return LocalKey
		}
	}
	return HardwareKey
}

// Approval (approval/v1) is a decision on the digests of the subjects.
type Approval struct {
	Decision     string    `json:"decision"` // approve, reject, revoke, request
	ID           string    `json:"id,omitempty"`
	Approver     string    `json:"approver"` // who decides; of a request, who asks
	Review       string    `json:"review"`   // security, risk, data, change, …
	Role         string    `json:"role,omitempty"`
	Environments []string  `json:"environments,omitempty"`
	DecidedAt    Time      `json:"decidedAt,omitzero"`
	ValidFrom    Time      `json:"validFrom,omitzero"`
	ValidUntil   Time      `json:"validUntil,omitzero"`
	Policy       DigestSet `json:"policy,omitempty"`
	// Supersedes and Revokes name the approval (its Ref) whose place this one
	// takes, or that no longer counts. A revocation that names none takes back
	// every approval of its review, by whomever, of the same content.
	Supersedes string `json:"supersedes,omitempty"`
	Revokes    string `json:"revokes,omitempty"`
	// Log is the origin of the log for which the decision was made. A copy in
	// another log counts for nothing there.
	Log string `json:"log,omitempty"`
	// Text is what the approver was shown: ApprovalText of this statement.
	Text       string     `json:"text,omitempty"`
	Assurance  string     `json:"assurance,omitempty"`  // the client's word; see Envelope.Assurance
	Credential string     `json:"credential,omitempty"` // Ref of the key or session that signed
	Evidence   []Evidence `json:"evidence,omitempty"`
	Controls   []string   `json:"controls,omitempty"`
	Comment    string     `json:"comment,omitempty"`
}

// PredicateType gives ApprovalType.
func (*Approval) PredicateType() string { return ApprovalType }

func (a *Approval) check(c *checker) {
	c.oneOf("decision", a.Decision, Approve, Reject, Revoke, Request)
	if a.Review == "" {
		c.fail("review", "is missing; say which review decided, for example security or risk")
	}
	c.resource("approver", Resource{Ref: a.Approver})
	if a.ID != "" {
		c.resource("id", Resource{Ref: a.ID})
	}
	for _, r := range []struct{ place, ref string }{{"supersedes", a.Supersedes}, {"revokes", a.Revokes}} {
		if r.ref != "" {
			c.kind(r.place, r.ref, "approval")
		}
	}
	if a.Revokes != "" && a.Decision != Revoke {
		c.fail("revokes", "is given, but the decision is %q", a.Decision)
	}
	if a.Credential != "" {
		c.kind("credential", a.Credential, "credential")
	}
	if a.Assurance != "" {
		c.oneOf("assurance", a.Assurance, PasskeyUV, HardwareKey, LocalKey, OIDCSession)
	}
	c.order("validUntil", a.ValidFrom, a.ValidUntil)
	if err := a.Policy.check(); err != nil {
		c.fail("policy", "%w", err)
	}
	c.evidence(a.Evidence)
}

var decides = map[string]string{Approve: "I approve", Reject: "I reject", Revoke: "I take back approval of", Request: "I ask for a decision on"}

// ApprovalText gives the text that says all that a decision says: it is what
// an approver is shown, and what is signed, as Approval.Text.
func ApprovalText(subjects []Subject, a *Approval) string {
	var b strings.Builder
	line := func(name, text string) {
		if text != "" {
			// A text of several lines cannot pass for lines of ours.
			fmt.Fprintf(&b, "%s: %s\n", name, strings.ReplaceAll(text, "\n", "\n  "))
		}
	}
	content := func(d DigestSet) string {
		if r := d.Content(); !r.IsZero() {
			return r.String()
		}
		return ""
	}
	fmt.Fprintf(&b, "%s, for the %s review:\n", decides[a.Decision], a.Review)
	for _, s := range subjects {
		fmt.Fprintf(&b, "  %s", s.Name)
		for _, alg := range s.Digest.algorithms() {
			if alg == RefDigest {
				b.WriteString("  (a name; no content is known)")
			} else {
				fmt.Fprintf(&b, "  %s:%s", alg, s.Digest[alg])
			}
		}
		b.WriteByte('\n')
	}
	line("as", a.Approver)
	line("in the role", a.Role)
	environments := "all"
	if len(a.Environments) > 0 {
		environments = strings.Join(a.Environments, ", ")
	}
	line("for the environments", environments)
	line("decided at", a.DecidedAt.String())
	line("valid from", a.ValidFrom.String())
	line("valid until", a.ValidUntil.String())
	line("policy", content(a.Policy))
	line("in place of", a.Supersedes)
	line("takes back", a.Revokes)
	for _, e := range a.Evidence {
		line("having seen", strings.TrimSpace(content(e.Digest)+" "+e.Name))
	}
	line("controls", strings.Join(a.Controls, ", "))
	line("comment", a.Comment)
	line("in the log", a.Log)
	return b.String()
}
