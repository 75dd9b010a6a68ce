package statement

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/stemma-lineage/stemma/prov"
)

// The rule core/v1: what the graph keeps of an erased entry.
//
// Kept are the type of the statement, its subjects and their digests, and every
// Ref, digest, time, period and word of a closed list by which things are tied
// to one another. Dropped is all free text: parameters, environments,
// attributes, descriptions, comments, reasons, sources, texts that were shown,
// names and notes of evidence. The name of every person is replaced by a
// pseudonym, and so are the names that the order hides.

// Hide tells which names are replaced by pseudonyms: those of all persons, and
// Refs. A pseudonym is kind:erased-<32 hex digits of the SHA-256 of
// "stemma-erased/v1", a zero byte, the salt and the key of the Ref>; a version
// stays. Who has the salt and the name can show that they belong together;
// without the salt nobody can.
type Hide struct {
	Salt []byte // at least 16 bytes; one for each order
	Refs []prov.Ref
	seen func(prov.Ref) // told of each name and digest that is read
	// as, when not nil, gives the pseudonyms in the place of Salt.
	as map[prov.Ref]prov.Ref
}

const pseudonym = "erased-"

// IsPseudonym tells whether a Ref stands in the place of a name that was
// erased.
func IsPseudonym(r prov.Ref) bool {
	h, ok := strings.CutPrefix(r.Name, pseudonym)
	if r.Kind == prov.Column {
		h, _, _ = strings.Cut(h, "#")
	}
	return ok && len(h) == 32 && isHex(h)
}

func (h Hide) hides(r prov.Ref) bool {
	whole := r
	if d, _, ok := r.SplitColumn(); ok {
		whole = d
	}
	for _, x := range h.Refs {
		for _, y := range []prov.Ref{r, whole} { // whoever hides may not know the namespace of a pair
			if y == x || y.Series() == x || y.String() == x.String() || y.Series().String() == x.String() {
				return true
			}
		}
	}
	return r.Kind == prov.Person && !IsPseudonym(r)
}

// Ref gives the name that stands for r: r itself if it is not hidden.
func (h Hide) Ref(r prov.Ref) prov.Ref {
	if h.seen != nil {
		h.seen(r)
	}
	if r.IsZero() || r.IsDigest() {
		return r
	}
	if h.as != nil {
		if x, ok := h.as[r]; ok {
			return x
		}
		return r
	}
	if !h.hides(r) {
		return r
	}
	of, field := r, ""
	if d, f, ok := r.SplitColumn(); ok {
		of, field = d, "#"+f
	}
	sum := sha256.New()
	sum.Write([]byte("stemma-erased/v1\x00"))
	sum.Write(h.Salt)
	sum.Write([]byte(of.Series().Key()))
	return prov.Ref{Kind: r.Kind, Name: pseudonym + hex.EncodeToString(sum.Sum(nil)[:16]) + field, Version: r.Version}
}

func (h Hide) content(d prov.Ref) {
	if h.seen != nil && !d.IsZero() {
		h.seen(d)
	}
}

// Names gives every name and every digest of content by which a statement ties
// things, evidence included, in the order of its fields.
func Names(s *Statement) []prov.Ref {
	var out []prov.Ref
	h := Hide{seen: func(r prov.Ref) { out = append(out, r) }}
	for _, x := range s.Subjects {
		h.subject(x)
	}
	if s.Predicate == nil {
		return out
	}
	h.predicate(s.Predicate)
	for _, e := range EvidenceOf(s.Predicate) {
		h.content(e.Digest.Content())
	}
	return out
}

// text hides in a field that holds a Ref. What is no Ref is free text, and is
// dropped.
func (h Hide) text(s string) string {
	if s == "" {
		return ""
	}
	r, err := prov.ParseRef(s)
	if err != nil {
		return ""
	}
	return h.Ref(r).String()
}

func (h Hide) texts(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, h.text(s))
	}
	return out
}

func (h Hide) resource(r Resource) Resource {
	t, err := r.Target()
	h.content(t.Digest)
	if err != nil || t.Ref.IsZero() {
		return Resource{Ref: r.Ref, Digest: r.Digest}
	}
	x := h.Ref(t.Ref)
	return Resource{Ref: x.String(), Namespace: x.Namespace, Digest: r.Digest}
}

func (h Hide) resources(list []Resource) []Resource {
	var out []Resource
	for _, r := range list {
		out = append(out, h.resource(r))
	}
	return out
}

func (h Hide) optional(r *Resource) *Resource {
	if r == nil {
		return nil
	}
	x := h.resource(*r)
	return &x
}

func (h Hide) parties(list []Party) []Party {
	var out []Party
	for _, p := range list {
		out = append(out, Party{h.text(p.Ref), p.Role})
	}
	return out
}

func (h Hide) derived(list []Derivation) []Derivation {
	var out []Derivation
	for _, d := range list {
		x := Derivation{To: h.resource(d.To), Rule: d.Rule}
		for _, f := range d.From {
			x.From = append(x.From, DerivedInput{h.resource(f.Resource), f.Transformation})
		}
		out = append(out, x)
	}
	return out
}

// subject keeps a subject by its name and digests. A name that follows no
// grammar of ours is dropped.
func (h Hide) subject(s Subject) Subject {
	t, err := s.Target()
	h.content(t.Digest)
	out := Subject{Digest: maps.Clone(s.Digest)}
	if err != nil || t.Ref.IsZero() {
		if err == nil {
			out.Name = s.Name
		}
		return out
	}
	x := h.Ref(t.Ref)
	out.Name = x.String()
	if out.Digest[RefDigest] != "" {
		out.Digest[RefDigest] = KeyDigest(x)
	}
	if x.Namespace != "" {
		out.Annotations = map[string]string{"namespace": x.Namespace}
	}
	return out
}

// Dropped stands where a text must be and was erased.
const Dropped = "(erased)"

// evidence keeps which bytes a statement was made from, and whether they were
// verified: a doubt must not go with the reason for it.
func keptEvidence(list []Evidence) []Evidence {
	var out []Evidence
	for _, e := range list {
		x := Evidence{Digest: e.Digest, MediaType: e.MediaType, Size: e.Size, Importer: e.Importer, ImporterVersion: e.ImporterVersion}
		if e.Verified != nil {
			x.Verified = &EvidenceCheck{Result: e.Verified.Result}
			if e.Verified.Reason != "" {
				x.Verified.Reason = Dropped
			}
		}
		out = append(out, x)
	}
	return out
}

// Reducible tells whether entries with a statement may be erased, and names may
// be hidden in it. Orders, holds and what is said of the log itself may not be.
// In a statement that takes something back, or ends or takes the place of what
// stood before, only persons' names are hidden: with another name gone, what it
// ended would count again.
func Reducible(s *Statement) (names bool, err error) {
	switch s.Predicate.(type) {
	case nil, *Activity, *Entity:
		return true, nil
	case *Approval, *Deployment, *Registry, *Identity, *Delegation, *Notice, *Policy, *Waiver, *Retraction, *VSA:
		return false, nil
	case *Erasure, *Hold, *LogState:
		return false, fmt.Errorf("a statement of type %s cannot be erased: it says what was done to the log", s.PredicateType)
	}
	return false, fmt.Errorf("a statement of type %s cannot be erased: no rule says what is kept of it", s.PredicateType)
}

// Reduce gives the payload of the statement that is kept of s by the rule
// core/v1, with the names hidden. It says nothing that s does not say.
func Reduce(s *Statement, hide Hide) (jsontext.Value, error) {
	names, err := Reducible(s)
	if err != nil {
		return nil, err
	}
	if hide.as == nil && len(hide.Salt) < 16 {
		return nil, errors.New("the salt of the pseudonyms is shorter than 16 bytes")
	}
	if !names {
		hide.Refs = onlyPersons(hide.Refs)
	}
	subjects := make([]Subject, len(s.Subjects))
	for i, x := range s.Subjects {
		subjects[i] = hide.subject(x)
	}
	if s.Predicate == nil {
		return json.Marshal(statementJSON{Type, subjects, s.PredicateType, jsontext.Value("{}")}, json.Deterministic(true))
	}
	return Format(subjects, hide.predicate(s.Predicate))
}

func onlyPersons(refs []prov.Ref) (out []prov.Ref) {
	for _, r := range refs {
		if r.Kind == prov.Person {
			out = append(out, r)
		}
	}
	return out
}

func (h Hide) predicate(p Predicate) Predicate {
	switch p := p.(type) {
	case *Activity:
		return h.activity(p)
	case *Entity:
		return h.entity(p)
	case *Approval:
		return h.approval(p)
	case *Deployment:
		return h.deployment(p)
	case *Registry:
		return h.registry(p)
	case *Identity:
		return h.identity(p)
	case *Delegation:
		return &Delegation{Parent: h.text(p.Parent), Child: h.text(p.Child), OnBehalfOf: h.text(p.OnBehalfOf), Scope: p.Scope, IssuedAt: p.IssuedAt,
			ExpiresAt: p.ExpiresAt, Credential: h.text(p.Credential), Chain: h.texts(p.Chain), ActingAs: h.text(p.ActingAs), Grade: p.Grade, Evidence: keptEvidence(p.Evidence)}
	case *Notice:
		return &Notice{Kind: p.Kind, ID: h.text(p.ID), Since: p.Since, Until: p.Until, Severity: p.Severity, At: p.At, Evidence: keptEvidence(p.Evidence)}
	case *Policy: // its text is what its digest is of: without it, it is in force and nothing passes it
		return &Policy{Name: Dropped, Text: Dropped, Environments: p.Environments, At: p.At, Evidence: keptEvidence(p.Evidence)}
	case *Waiver:
		return &Waiver{Rule: p.Rule, Scope: p.Scope, Reason: Dropped, Until: p.Until, At: p.At, Evidence: keptEvidence(p.Evidence)}
	case *Retraction:
		return &Retraction{Entry: p.Entry, Reason: Dropped, Replacement: p.Replacement, At: p.At, Evidence: keptEvidence(p.Evidence)}
	case *VSA:
		return &VSA{TimeVerified: p.TimeVerified, VerificationResult: p.VerificationResult, Evidence: keptEvidence(p.Evidence)}
	}
	return p
}

func (h Hide) activity(p *Activity) *Activity {
	id := h.resource(Resource{Ref: p.ID, Namespace: p.Namespace})
	a := &Activity{Kind: p.Kind, ID: id.Ref, Namespace: id.Namespace, StartedAt: p.StartedAt, EndedAt: p.EndedAt, ObservedAt: p.ObservedAt,
		State: p.State, Plan: h.optional(p.Plan), InformedBy: h.resources(p.InformedBy), Derived: h.derived(p.Derived),
		Identities: h.parties(p.Identities), OnBehalfOf: h.parties(p.OnBehalfOf), Credentials: h.resources(p.Credentials),
		Tools: h.resources(p.Tools), InputsCompleteness: p.InputsCompleteness, Rule: p.Rule, Evidence: keptEvidence(p.Evidence)}
	for _, u := range p.Used {
		a.Used = append(a.Used, Use{Resource: h.resource(u.Resource), Role: u.Role, At: u.At, Rule: u.Rule})
	}
	return a
}

func (h Hide) entity(p *Entity) *Entity {
	e := &Entity{State: p.State, At: p.At, Owner: h.text(p.Owner), Licence: p.Licence, Sensitivity: p.Sensitivity,
		SameAs: h.resources(p.SameAs), PartOf: h.resources(p.PartOf), Derived: h.derived(p.Derived), Evidence: keptEvidence(p.Evidence)}
	if p.Origin == "unknown" {
		e.Origin = p.Origin // that nobody knows is no personal data, and must not turn into silence
	}
	return e
}

func (h Hide) approval(p *Approval) *Approval {
	return &Approval{Decision: p.Decision, ID: h.text(p.ID), Approver: h.text(p.Approver), Review: p.Review, Role: p.Role,
		Environments: p.Environments, DecidedAt: p.DecidedAt, ValidFrom: p.ValidFrom, ValidUntil: p.ValidUntil, Policy: p.Policy,
		Supersedes: h.text(p.Supersedes), Revokes: h.text(p.Revokes), Log: p.Log, Assurance: p.Assurance, Credential: h.text(p.Credential),
		Evidence: keptEvidence(p.Evidence), Controls: p.Controls}
}

func (h Hide) deployment(p *Deployment) *Deployment {
	return &Deployment{Action: p.Action, ID: h.text(p.ID), Environment: h.text(p.Environment), Service: h.text(p.Service), At: p.At, Supersedes: h.text(p.Supersedes),
		Restores: h.text(p.Restores), RunsAs: h.texts(p.RunsAs), Credentials: h.resources(p.Credentials), Secrets: h.resources(p.Secrets),
		Tools: h.resources(p.Tools), Prompts: h.resources(p.Prompts), PolicyBundle: h.optional(p.PolicyBundle), Identities: h.parties(p.Identities),
		Evidence: keptEvidence(p.Evidence)}
}

func (h Hide) registry(p *Registry) *Registry {
	name := h.resource(Resource{Ref: p.Name, Namespace: p.Namespace})
	r := &Registry{Mode: p.Mode, Registry: p.Registry, Name: name.Ref, Namespace: name.Namespace, Alias: p.Alias, Stage: p.Stage, Removed: p.Removed,
		Previous: h.optional(p.Previous), At: p.At, Identities: h.parties(p.Identities), Evidence: keptEvidence(p.Evidence)}
	if p.Aliases != nil {
		r.Aliases = map[string]Resource{}
		for _, k := range slices.Sorted(maps.Keys(p.Aliases)) {
			r.Aliases[k] = h.resource(p.Aliases[k])
		}
	}
	return r
}

func (h Hide) identity(p *Identity) *Identity {
	d := &Identity{Mode: p.Mode, Source: p.Source, At: p.At, Grade: p.Grade, Evidence: keptEvidence(p.Evidence)}
	for _, it := range p.Items {
		x := IdentityItem{Ref: h.text(it.Ref), State: it.State, Owner: h.text(it.Owner), Human: it.Human, CreatedAt: it.CreatedAt, LastUsedAt: it.LastUsedAt,
			MemberOf: h.texts(it.MemberOf), CanAssume: h.texts(it.CanAssume), RunsAs: h.texts(it.RunsAs), Secrets: h.texts(it.Secrets)}
		for _, c := range it.Credentials {
			x.Credentials = append(x.Credentials, CredentialItem{Ref: h.text(c.Ref), Kind: c.Kind, State: c.State, IssuedAt: c.IssuedAt, ExpiresAt: c.ExpiresAt,
				RotatedAt: c.RotatedAt, LastUsedAt: c.LastUsedAt, NeverExpires: c.NeverExpires, Scope: c.Scope, StoredIn: h.text(c.StoredIn)})
		}
		for _, g := range it.Grants {
			x.Grants = append(x.Grants, GrantItem{Resource: h.text(g.Resource), Scope: g.Scope, From: g.From, Until: g.Until, Deny: g.Deny,
				NotScope: g.NotScope, NotResource: g.NotResource, Condition: condition(g.Condition)})
		}
		for _, r := range it.Roles {
			x.Roles = append(x.Roles, RoleItem{h.text(r.Role), r.From, r.Until})
		}
		for _, t := range it.Trust {
			x.Trust = append(x.Trust, TrustItem{Principal: h.text(t.Principal), Condition: condition(t.Condition), Deny: t.Deny})
		}
		d.Items = append(d.Items, x)
	}
	return d
}

// condition keeps that there is one: a right with a condition may not apply.
func condition(s string) string {
	if s == "" {
		return ""
	}
	return Dropped
}
