// Package statement holds what is said in the log: in-toto Statements v1 in
// DSSE envelopes, the predicate types of Stemma, their parsing, formatting
// and checking, and the trust list that signatures are verified against.
//
// It is pure: it reads no file, no clock and no randomness. The byte formats
// are in docs/format-statement.md and docs/format-envelope.md.
package statement

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/stemma-lineage/stemma/prov"
)

// Type is the _type of every statement: in-toto Statement v1.
const Type = "https://in-toto.io/Statement/v1"

// Base is the prefix of Stemma's predicate types.
const Base = "https://stemma.dev/"

// The predicate types that are understood.
const (
	ActivityType   = Base + "activity/v1"
	EntityType     = Base + "entity/v1"
	ApprovalType   = Base + "approval/v1"
	DeploymentType = Base + "deployment/v1"
	RegistryType   = Base + "registry/v1"
	IdentityType   = Base + "identity/v1"
	DelegationType = Base + "delegation/v1"
	NoticeType     = Base + "notice/v1"
	PolicyType     = Base + "policy/v1"
	WaiverType     = Base + "waiver/v1"
	RetractionType = Base + "retraction/v1"
	IndexType      = Base + "index/v1"
	VSAType        = "https://slsa.dev/verification_summary/v1"
)

// MaxPayload is the largest payload of a statement, in bytes. What is larger
// belongs into an evidence blob.
const MaxPayload = 8 << 20

// RefDigest is the algorithm name in a DigestSet under which a subject without
// a content digest carries the SHA-256 of its [prov.Ref.Key]: in-toto asks for
// a digest on every subject, and this one says that it is of the name.
const RefDigest = "stemmaRef"

// DigestSet maps algorithm to lower-case hexadecimal digest (in-toto
// attestation spec v1, DigestSet).
type DigestSet map[string]string

// Content gives the content digest of the set that identifies it: sha256,
// else sha512, else sha384. A zero Ref says that there is none.
func (d DigestSet) Content() prov.Ref {
	for _, alg := range []string{"sha256", "sha512", "sha384"} {
		if h := d[alg]; h != "" {
			return prov.DigestRef(alg, h)
		}
	}
	return prov.Ref{}
}

// hexLen tells how many digits an algorithm has that identifies content or a
// name.
func hexLen(alg string) int {
	switch alg {
	case "sha256", RefDigest:
		return 64
	case "sha384":
		return 96
	case "sha512":
		return 128
	}
	return 0
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; c-'0' > 9 && c-'a' > 5 {
			return false
		}
	}
	return s != ""
}

func (d DigestSet) check() error {
	good := true
	for alg, h := range d {
		good = good && len(h) == hexLen(alg) && isHex(h)
	}
	if good {
		return nil
	}
	for _, alg := range d.algorithms() {
		h := d[alg]
		switch alg {
		case "sha256", "sha384", "sha512":
			if _, err := prov.ParseRef(alg + ":" + h); err != nil {
				return err
			}
		case RefDigest:
			if _, err := prov.ParseRef("sha256:" + h); err != nil {
				return fmt.Errorf("%s: %w", RefDigest, err)
			}
		default:
			if h == "" || len(h) > 512 {
				return fmt.Errorf("digest %s is empty or too long", alg)
			}
		}
	}
	return nil
}

// algorithms gives the names of the digests, sorted.
func (d DigestSet) algorithms() []string {
	out := make([]string, 0, len(d))
	for alg := range d {
		out = append(out, alg)
	}
	sort.Strings(out)
	return out
}

// Subject is an in-toto ResourceDescriptor: what the statement is about.
type Subject struct {
	Name        string            `json:"name,omitempty"`
	Digest      DigestSet         `json:"digest"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// NewSubject describes the thing named by ref with its content digests, which
// may be nil.
func NewSubject(ref prov.Ref, digest DigestSet) Subject {
	s := Subject{Name: ref.String(), Digest: DigestSet{}}
	for k, v := range digest {
		s.Digest[k] = v
	}
	if ref.IsDigest() {
		s.Digest[string(ref.Kind)] = ref.Name
	}
	if len(s.Digest) == 0 {
		s.Digest[RefDigest] = KeyDigest(ref)
	}
	if ref.Namespace != "" {
		s.Annotations = map[string]string{"namespace": ref.Namespace}
	}
	return s
}

// KeyDigest gives the SHA-256 of the Ref's key, in hexadecimal.
func KeyDigest(ref prov.Ref) string {
	sum := sha256.Sum256([]byte(ref.Key()))
	return hex.EncodeToString(sum[:])
}

// Resource is a thing that a predicate speaks of: a Ref, and its content
// digests where they are known.
type Resource struct {
	Ref       string    `json:"ref,omitempty"`
	Namespace string    `json:"namespace,omitempty"`
	Digest    DigestSet `json:"digest,omitempty"`
}

// NewResource describes the thing named by ref.
func NewResource(ref prov.Ref, digest DigestSet) Resource {
	return Resource{Ref: ref.String(), Namespace: ref.Namespace, Digest: digest}
}

// Target is a parsed Resource or Subject.
type Target struct {
	Ref    prov.Ref // may be zero when only the content is known
	Digest prov.Ref // zero when only the name is known
}

// Target reads the Ref and digest of the resource.
func (r Resource) Target() (Target, error) { return target(r.Ref, r.Namespace, r.Digest) }

// Target reads the Ref and digest of the subject.
func (s Subject) Target() (Target, error) {
	t, err := target(s.Name, s.Annotations["namespace"], s.Digest)
	if err != nil {
		return t, err
	}
	if want := s.Digest[RefDigest]; want != "" && (t.Ref.IsZero() || want != KeyDigest(t.Ref)) {
		return t, fmt.Errorf("digest %s is not that of the name %q", RefDigest, s.Name)
	}
	return t, nil
}

func target(name, namespace string, digest DigestSet) (Target, error) {
	var t Target
	if err := digest.check(); err != nil {
		return t, err
	}
	t.Digest = digest.Content()
	if name == "" {
		if t.Digest.IsZero() {
			return t, errors.New("neither a ref nor a content digest (sha256, sha384, sha512) is given")
		}
		return t, nil
	}
	ref, err := prov.ParseRef(name)
	if err != nil {
		return t, err
	}
	if ref, err = ref.InNamespace(namespace); err != nil {
		return t, err
	}
	if ref.IsDigest() {
		if !t.Digest.IsZero() && t.Digest.Kind == ref.Kind && t.Digest != ref {
			return t, fmt.Errorf("ref %s and digest %s differ", ref, t.Digest)
		}
		if t.Digest.IsZero() {
			t.Digest = ref
		}
		return t, nil
	}
	t.Ref = ref
	return t, nil
}

// Statement is an in-toto Statement v1 with a predicate that is understood,
// or kept as raw JSON when its type is not.
type Statement struct {
	Subjects      []Subject
	PredicateType string
	Predicate     Predicate      // nil when PredicateType is not understood
	Raw           jsontext.Value // the predicate's bytes as received; may be part of the payload's
}

type statementJSON struct {
	Type          string         `json:"_type"`
	Subject       []Subject      `json:"subject"`
	PredicateType string         `json:"predicateType"`
	Predicate     jsontext.Value `json:"predicate"`
}

// PayloadError says where in a statement something is wrong and what to do.
type PayloadError struct {
	Place string // a JSON path, such as predicate.used[2].ref
	Err   error
}

func (e *PayloadError) Error() string { return e.Place + ": " + e.Err.Error() }
func (e *PayloadError) Unwrap() error { return e.Err }

// Parse reads and checks the payload of an envelope. Duplicate keys and
// invalid UTF-8 are refused; fields that are not known are ignored (in-toto
// attestation spec, parsing rules) and stay in the payload's bytes. A
// predicate type that is not understood is no error: Predicate is nil then.
func Parse(payload []byte) (*Statement, error) {
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("parsing statement: %d bytes, the limit is %d; keep large content as evidence", len(payload), MaxPayload)
	}
	s, ok := parsePlain(payload)
	if !ok {
		var err error
		if s, err = parseJSON(payload); err != nil {
			return nil, fmt.Errorf("parsing statement: %w", err)
		}
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("parsing statement: %w", err)
	}
	return s, nil
}

// parseJSON reads any JSON that says a statement; it does not check it.
func parseJSON(payload []byte) (*Statement, error) {
	var j statementJSON
	if err := json.Unmarshal(payload, &j); err != nil {
		return nil, jsonPlace(err, payload)
	}
	if j.Type != Type {
		return nil, &PayloadError{"_type", fmt.Errorf("is %q, must be %q", j.Type, Type)}
	}
	s := &Statement{Subjects: j.Subject, PredicateType: j.PredicateType, Raw: j.Predicate}
	p := newPredicate(j.PredicateType)
	if p != nil {
		if err := json.Unmarshal(j.Predicate, p); err != nil {
			return nil, fmt.Errorf("predicate: %w", jsonPlace(err, j.Predicate))
		}
		s.Predicate = p
	}
	return s, nil
}

// Format gives the payload bytes of a statement: compact JSON with the fields
// in the order of the in-toto specification and map keys sorted, so that the
// same statement has the same bytes.
func Format(subjects []Subject, p Predicate) ([]byte, error) {
	raw, err := json.Marshal(p, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("formatting statement: %w", err)
	}
	s := &Statement{Subjects: subjects, PredicateType: p.PredicateType(), Predicate: p}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("formatting statement: %w", err)
	}
	out, err := json.Marshal(statementJSON{Type, subjects, p.PredicateType(), raw}, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("formatting statement: %w", err)
	}
	return out, nil
}

func (s *Statement) check() error {
	if s.PredicateType == "" {
		return &PayloadError{"predicateType", errors.New("is missing")}
	}
	if len(s.Subjects) == 0 {
		return &PayloadError{"subject", errors.New("is empty; name at least one thing that the statement is about")}
	}
	for i, sub := range s.Subjects {
		if len(sub.Digest) == 0 {
			return &PayloadError{fmt.Sprintf("subject[%d].digest", i), fmt.Errorf("is missing; give a sha256, or %s for a thing known by name only", RefDigest)}
		}
		if s.Predicate == nil || s.PredicateType == VSAType {
			continue // names of foreign statements follow no grammar of ours
		}
		if _, err := sub.Target(); err != nil {
			return &PayloadError{fmt.Sprintf("subject[%d]", i), err}
		}
	}
	if s.Predicate == nil {
		return nil
	}
	c := &checker{}
	s.Predicate.check(c)
	return c.err
}

// checker collects the first complaint of a predicate's check.
type checker struct{ err error }

func (c *checker) fail(place, format string, args ...any) {
	if c.err == nil {
		c.err = &PayloadError{"predicate." + place, fmt.Errorf(format, args...)}
	}
}

func (c *checker) resource(place string, r Resource) {
	if c.err != nil {
		return
	}
	if _, err := r.Target(); err != nil {
		c.fail(place, "%w", err)
	}
}

func (c *checker) resources(place string, rs []Resource) {
	for i, r := range rs {
		c.item(place, i, "", r)
	}
}

// item checks a resource of a list.
func (c *checker) item(list string, i int, field string, r Resource) {
	if _, err := r.Target(); err != nil {
		c.fail(fmt.Sprintf("%s[%d]%s", list, i, field), "%w", err)
	}
}

func (c *checker) optional(place string, r *Resource) {
	if r != nil {
		c.resource(place, *r)
	}
}

func (c *checker) oneOf(place, value string, allowed ...string) {
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	c.fail(place, "is %q; must be one of %s", value, strings.Join(allowed, ", "))
}

func (c *checker) order(place string, from, to Time) {
	if !from.IsZero() && !to.IsZero() && to.Before(from.Time) {
		c.fail(place, "ends at %s, before it begins at %s", to, from)
	}
}

func (c *checker) evidence(evs []Evidence) {
	for i, e := range evs {
		if len(e.Digest) == 0 {
			c.fail(fmt.Sprintf("evidence[%d].digest", i), "is missing")
		} else if err := e.Digest.check(); err != nil {
			c.fail(fmt.Sprintf("evidence[%d].digest", i), "%w", err)
		}
		if e.Verified != nil {
			c.oneOf(fmt.Sprintf("evidence[%d].verified.result", i), e.Verified.Result, CheckVerified, CheckFailed, CheckUnverified, CheckUnsigned)
		}
	}
}

// jsonPlace turns an error of the JSON library into one that names the line
// and column.
func jsonPlace(err error, data []byte) error {
	var se *jsontext.SyntacticError
	var me *json.SemanticError
	off := int64(-1)
	switch {
	case errors.As(err, &se):
		off = se.ByteOffset
	case errors.As(err, &me):
		off = me.ByteOffset
		var pe *PayloadError
		if errors.As(me.Err, &pe) || me.Err != nil {
			err = fmt.Errorf("%s: %w", pointer(me.JSONPointer), me.Err)
		}
	}
	if off < 0 || off > int64(len(data)) {
		return err
	}
	line := 1 + bytes.Count(data[:off], []byte("\n"))
	col := int(off) - bytes.LastIndexByte(data[:off], '\n')
	return fmt.Errorf("line %d, column %d: %w", line, col, err)
}

func pointer(p jsontext.Pointer) string {
	if p == "" {
		return "value"
	}
	return strings.ReplaceAll(strings.TrimPrefix(string(p), "/"), "/", ".")
}
