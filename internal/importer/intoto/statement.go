package intoto

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

func itoa(i int) string { return strconv.Itoa(i) }

// read makes the drafts of the unit, or leaves a refusal.
func (u *unit) read() {
	root := u.doc.Root()
	if u.aside(root) {
		return
	}
	h := hold(root)
	switch h.form {
	case formStatement:
		u.payloadSum = sum(h.node.Raw())
		u.statement(h.node)
	case formEnvelope, formBundle, formPEP740:
		for _, p := range u.redacted {
			if strings.HasPrefix(p, "payload: ") {
				u.note("the payload held secrets; its signatures were checked before they were taken out, and are not kept")
				break
			}
		}
		if u.check.Result == statement.CheckFailed {
			u.note("the check of the signatures failed: %s", u.check.Reason)
		}
		u.envelope(h)
	case formMetablock:
		u.payloadSum = sum(h.node.Get("signed").Raw())
		u.metablock(h.node.Get("signed"))
	default:
		u.refuse(NotAStatement, "value", "is neither an in-toto Statement nor an envelope, bundle or wrapper with one; a Statement has _type, subject and predicateType")
	}
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// aside reads what is no Statement but lies beside them.
func (u *unit) aside(root rawjson.Node) bool {
	media := root.Get("mediaType").Text()
	evidence := root.Get("chainloop.material.evidence.id").Text()
	switch {
	case root.Kind() != '{':
		return false
	case strings.HasPrefix(media, "application/vnd.dev.sigstore.trustedroot"), strings.HasPrefix(media, "application/vnd.dev.sigstore.signingconfig"),
		root.Get("tlogs").Kind() == '[' && root.Get("certificateAuthorities").Kind() == '[':
		u.refuse(TrustMaterial, "value", "a Sigstore trusted root or signing configuration; it says nothing by itself. To trust it, name it as trust material of an import")
	case root.Get("isDependency").Given() && root.Get("isOccurrence").Given() && root.Get("hasSlsa").Given():
		u.refuse(NotAStatement, "value", "the form in which GUAC hands documents on within itself; import the documents that it was made of")
	case strings.HasPrefix(evidence, "CHAINLOOP_AI_AGENT_CONFIG"):
		u.payloadSum = sum(root.Raw())
		u.agentConfig(root)
	case strings.HasPrefix(evidence, "CHAINLOOP_AI_CODING_SESSION"):
		u.payloadSum = sum(root.Raw())
		u.codingSession(root)
	case root.Get("scorecard").Kind() == '{' && root.Get("repo").Kind() == '{':
		u.payloadSum = sum(root.Raw())
		u.scorecardFile(root)
	default:
		return false
	}
	return true
}

// envelope reads the payload of an envelope or bundle, or what a bundle says
// of an artifact that it does not hold.
func (u *unit) envelope(h holder) {
	n, payloadType := h.payload()
	if h.form == formBundle && !n.Given() {
		u.messageSignature(h.node.Get("messageSignature"))
		return
	}
	if n.Kind() != '"' {
		u.refuse(MalformedEnvelope, "payload", "is missing or no text; a DSSE envelope holds its payload as base64")
		return
	}
	data, err := decode(n.Text())
	if err != nil {
		u.refuse(MalformedEnvelope, "payload", "is no base64: %v; ask the producer for the envelope as it was signed", err)
		return
	}
	u.payloadSum = sum(data)
	if p, ok := u.doc.Root().Get("format"), h.place != ""; ok && strings.HasPrefix(p.Text(), "testigo-proofpack/") {
		u.keptOnly("", u.doc.Root(), "format", "envelope", "publicKey")
	} else if ok {
		u.keptOnly("", u.doc.Root(), strings.Split(h.place, ".")[0])
	}
	if !strings.HasPrefix(payloadType, "application/vnd.in-toto") {
		u.otherPayload(data, payloadType)
		return
	}
	doc, fault := single(data, u.max)
	if fault != "" {
		u.refuse(MalformedEnvelope, "payload", "%s; an in-toto Statement is one JSON object", fault)
		return
	}
	for _, p := range doc.Repeated {
		u.note("payload: %s occurs more than once; the last one counts", p)
	}
	if signed := doc.Root(); signed.Get("_type").Text() == "link" {
		u.metablock(signed)
		return
	}
	u.statement(doc.Root())
}

// messageSignature describes an artifact that a bundle signs.
func (u *unit) messageSignature(n rawjson.Node) {
	if n.Kind() != '{' {
		u.refuse(MalformedEnvelope, "bundle", "has neither dsseEnvelope nor messageSignature; a Sigstore bundle has one of them")
		return
	}
	d := n.Get("messageDigest")
	raw, err := decode(d.Get("digest").Text())
	alg := algorithm(d.Get("algorithm").Text())
	set := statement.DigestSet{alg: hex.EncodeToString(raw)}
	if err != nil || set.Content().IsZero() || len(set[alg]) != hexLengths[alg][0] {
		u.refuse(UnknownSubject, "messageSignature.messageDigest", "is no digest by SHA-256, SHA-384 or SHA-512; the bundle does not say what it signs")
		return
	}
	t := u.texts()
	t.set("signature", u.signature())
	t.set("signature.identity", u.check.Identity)
	u.add(&statement.Entity{State: "described", Attributes: t.done()}, statement.Subject{Digest: set})
}

// otherPayload describes a signed document that is no Statement.
func (u *unit) otherPayload(data []byte, payloadType string) {
	ref := prov.Ref{Kind: prov.Document, Name: "signed"}
	t := u.texts()
	t.set("payloadType", payloadType)
	t.set("signature", u.signature())
	doc, fault := single(data, u.max)
	if strings.Contains(payloadType, "/policy/") && fault == "" {
		ref = prov.Ref{Kind: prov.Policy, Name: "witness"}
		root := doc.Root()
		t.set("expires", root.Get("expires").Text())
		var steps []string
		for s := range root.Get("steps").All() {
			steps = append(steps, s.Key())
			for i, f := range elements(s.Get("functionaries")) {
				t.set("step."+s.Key()+".functionary["+itoa(i)+"]", f.Get("publickeyid").Text())
			}
			for i, a := range elements(s.Get("attestations")) {
				t.set("step."+s.Key()+".attestation["+itoa(i)+"]", a.Get("type").Text())
			}
		}
		t.set("steps", strings.Join(steps, ", "))
		u.keptOnly("payload: ", root, "expires", "steps")
	} else {
		u.note("kept in the evidence only: the payload, of type %s", rawjson.Clip(payloadType, 200))
	}
	if len(u.redacted) > 0 {
		u.note("the payload's digest is that of what is kept, without its secrets")
	}
	u.add(&statement.Entity{State: "described", Attributes: t.done()},
		statement.NewSubject(ref, statement.DigestSet{"sha256": u.payloadSum}))
}

// statement reads an in-toto Statement.
func (u *unit) statement(st rawjson.Node) {
	u.st = st
	u.predicateType = strings.TrimSpace(st.Get("predicateType").Text())
	u.predicate = st.Get("predicate")
	typ := st.Get("_type").Text()
	switch {
	case u.predicateType == "":
		u.refuse(MissingPredicate, "predicateType", "is missing; an in-toto Statement names the type of its predicate")
		return
	case typ == "":
		u.note("_type is missing; read as an in-toto Statement")
	case typ != "https://in-toto.io/Statement/v1" && typ != "https://in-toto.io/Statement/v0.1" && typ != "https://in-toto.io/Statement/v0.2":
		u.note("_type %q is not one that is known; read as an in-toto Statement", rawjson.Clip(typ, 100))
	}
	if len(u.predicateType) > 1024 {
		u.refuse(BadField, "predicateType", "is %d bytes long; give the URI of the type", len(u.predicateType))
		return
	}
	u.keptOnly("", st, "_type", "subject", "predicateType", "predicate", "predicate_type")
	if !u.readSubjects() {
		return
	}
	read := reader(u.predicateType)
	if u.predicate.Given() && u.predicate.Kind() != '{' && u.predicate.Kind() != '[' {
		u.note("predicate is no object; it is in the evidence only")
	}
	if read == nil || u.predicate.Kind() != '{' {
		u.note("kept in the evidence only: the predicate, whose type %s is not understood", rawjson.Clip(u.predicateType, 300))
		u.describe(u.claim())
		return
	}
	read(u)
}

// readSubjects reads what the Statement is about.
func (u *unit) readSubjects() bool {
	list := u.st.Get("subject")
	subjects := elements(list)
	if list.Kind() == '{' {
		subjects = []rawjson.Node{list}
		u.note("subject is an object; read as a list of one")
	}
	if len(subjects) == 0 {
		u.refuse(MissingSubject, "subject", "is missing or empty; an in-toto Statement names what it is about")
		return false
	}
	if len(subjects) > maxList {
		u.refuse(TooManySubjects, "subject", "has %d elements, the limit is %d; have the producer write several Statements", len(subjects), maxList)
		return false
	}
	seen := map[string]bool{}
	for i, n := range subjects {
		t, ok := u.descriptor(n, "subject["+itoa(i)+"]")
		if !ok {
			u.note("subject[%d] has neither a name nor a digest by SHA-256, SHA-384 or SHA-512; it is in the evidence only", i)
			continue
		}
		if !seen[t.key()] {
			seen[t.key()] = true
			u.subjects = append(u.subjects, t)
		}
	}
	if len(u.subjects) == 0 {
		u.refuse(UnknownSubject, "subject", "none has a name or a digest by SHA-256, SHA-384 or SHA-512; give each subject its digest")
		return false
	}
	return true
}

// claim starts the attributes of a description: which predicate says it, and
// what its signatures are worth. What a Statement claims that is not verified
// stands under names that begin with the result, such as
// "unsigned.svr.properties", so that nobody takes it for a claim that is.
func (u *unit) claim() *texts {
	t := u.texts()
	t.set("predicate."+rawjson.Clip(u.predicateType, 200), rawjson.Clip(u.signature(), 1000))
	if u.check.Result != statement.CheckVerified {
		t.prefix = u.check.Result + "."
	}
	return t
}

// describe says the same of each subject.
func (u *unit) describe(t *texts) { u.describeAt(t, statement.Time{}) }

func (u *unit) describeAt(t *texts, at statement.Time) *statement.Entity {
	p := &statement.Entity{State: "described", At: at, Attributes: t.done()}
	u.add(p, u.about()...)
	return p
}

func (u *unit) about() []statement.Subject {
	var out []statement.Subject
	for _, s := range u.subjects {
		if s.digest.Content().IsZero() && s.ref.Kind != prov.Code && s.ref.Kind != prov.Package {
			u.note("%s has no digest by SHA-256, SHA-384 or SHA-512; it is known by name only", rawjson.Clip(s.ref.String(), 200))
		}
		out = append(out, s.subject())
	}
	return out
}

// parameters starts the parameters of an activity, as claim does.
func (u *unit) parameters() *texts {
	t := u.texts()
	t.set("predicateType", u.predicateType)
	t.set("signature."+u.payloadSum[:12], u.signature())
	return t
}

// readers maps the beginning of a predicate type to what reads it. The first
// that fits is taken.
var readers = []struct {
	prefix string
	read   func(*unit)
}{
	{"https://slsa.dev/provenance/v0.1", (*unit).provenanceV01},
	{"https://in-toto.io/Provenance/v0.1", (*unit).provenanceV01},
	{"https://slsa.dev/provenance/v0.2", (*unit).provenanceV02},
	{"https://slsa.dev/provenance/v1", (*unit).provenanceV1},
	{"https://slsa.dev/verification_summary/", (*unit).verificationSummary},
	{"https://in-toto.io/attestation/svr/", (*unit).verificationResult},
	{"https://in-toto.io/attestation/simple-verification-result/", (*unit).verificationResult},
	{"https://in-toto.io/attestation/test-result/", (*unit).testResult},
	{"https://in-toto.io/attestation/scai/", (*unit).scai},
	{"https://in-toto.io/attestation/runtime-trace/", (*unit).runtimeTrace},
	{"https://in-toto.io/attestation/release/", (*unit).release},
	{"https://in-toto.io/attestation/reference/", (*unit).reference},
	{"https://in-toto.io/attestation/link/", (*unit).link},
	{"https://in-toto.io/Link/", (*unit).link},
	{"https://in-toto.io/attestation/vulns", (*unit).vulnerabilities},
	{"https://cosign.sigstore.dev/attestation/vuln/", (*unit).vulnerabilities},
	{"cosign.sigstore.dev/attestation/vuln/", (*unit).vulnerabilities},
	{"https://cosign.sigstore.dev/attestation/v1", (*unit).custom},
	{"cosign.sigstore.dev/attestation/v1", (*unit).custom},
	{"https://crev.dev/in-toto-scheme/", (*unit).review},
	{"https://in-toto.io/attestation/certify/", (*unit).review},
	{"https://in-toto.io/attestation/human-review/", (*unit).review},
	{"http://in-toto.io/attestation/human-review/", (*unit).review},
	{"https://in-toto.io/attestation/ai-agent-action/", (*unit).agentAction},
	{"https://in-toto.io/attestation/session-chain/", (*unit).sessionChain},
	{"https://github.com/cyl-castillo/testigo/attestation/", (*unit).sessionChain},
	{"https://witness.testifysec.com/attestation-collection/", (*unit).witness},
	{"https://witness.dev/attestation-collection/", (*unit).witness},
	{"https://witness.aflock.ai/attestation-collection/", (*unit).witness},
	{"https://aflock.ai/attestation-collection/", (*unit).witness},
	{"chainloop.dev/attestation/", (*unit).chainloop},
	{"https://scorecard.dev/result/", (*unit).scorecard},
	{"https://openvex.dev/", (*unit).document},
	{"https://cyclonedx.org/", (*unit).document},
	{"https://spdx.dev/", (*unit).document},
	{"https://falsify.dev/prml/", (*unit).plain},
	{"https://drvelvetfog.github.io/source-review-coverage/", (*unit).plain},
	{"https://in-toto.io/attestation/source-review-coverage/", (*unit).plain},
	{"https://in-toto.io/attestation/eval-result/", (*unit).plain},
	{"https://in-toto.io/attestation/prml/", (*unit).plain},
	{"https://github.com/npm/attestation/tree/main/specs/publish/", (*unit).plain},
	{"https://docs.pypi.org/attestations/publish/", (*unit).plain},
	{"https://slsa.dev/source_provenance/", (*unit).plain},
}

func reader(predicateType string) func(*unit) {
	for _, r := range readers {
		if strings.HasPrefix(predicateType, r.prefix) {
			return r.read
		}
	}
	return nil
}

// short gives the word by which attributes of the predicate begin, such as
// "svr" or "prml".
func (u *unit) short() string {
	parts := strings.Split(strings.TrimRight(u.predicateType, "/"), "/")
	for i := len(parts) - 1; i >= 0; i-- {
		p := parts[i]
		if p == "" || len(p) > 1 && p[0] == 'v' && p[1] >= '0' && p[1] <= '9' {
			continue
		}
		return rawjson.Clip(p, 60)
	}
	return "predicate"
}

// plain describes the subjects with every scalar of the predicate.
func (u *unit) plain() {
	t := u.claim()
	t.flat(u.short(), u.predicate)
	u.describe(t)
}

// document describes the subjects of a Statement whose predicate is a document
// of a format of its own.
func (u *unit) document() {
	u.note("kept in the evidence only: the predicate, a document of type %s; import the document by itself to have what it says", rawjson.Clip(u.predicateType, 300))
	u.describe(u.claim())
}

// custom describes the subjects of cosign's generic predicate.
func (u *unit) custom() {
	t := u.claim()
	at := u.time(u.predicate.Get("Timestamp"), "predicate.Timestamp")
	data := u.predicate.Get("Data")
	if s := data.Text(); s != "" && len(s) <= maxText {
		t.set("custom.Data", s)
	} else if data.Given() {
		u.note("kept in the evidence only: predicate.Data")
	}
	u.keptOnly("predicate.", u.predicate, "Data", "Timestamp")
	u.describeAt(t, at)
}
