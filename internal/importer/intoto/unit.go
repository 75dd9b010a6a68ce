package intoto

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// The classes of refusals beside those of rawjson.
const (
	NotAStatement     = "not-a-statement"
	TrustMaterial     = "trust-material"
	MalformedEnvelope = "malformed-envelope"
	MissingSubject    = "missing-subject"
	MissingPredicate  = "missing-predicate"
	UnknownSubject    = "unidentified-subject"
	BadField          = "bad-field"
	TooManySubjects   = "too-many-subjects"
)

const (
	maxNotes = 50        // notes of one Item that are written out
	maxText  = 4096      // bytes of one parameter or attribute
	maxPairs = 200       // parameters or attributes of one statement
	maxTexts = 128 << 10 // bytes of all of them
	maxList  = 100_000   // resources or subjects of one statement
)

// unit is one Item in the making.
type unit struct {
	max      int64
	doc      *rawjson.Doc // what is kept
	sum      [sha256.Size]byte
	redacted []string
	check    statement.EvidenceCheck

	st            rawjson.Node // the Statement
	payloadSum    string       // SHA-256 of the payload as it is kept
	predicateType string
	predicate     rawjson.Node
	subjects      []thing

	drafts  []importer.Draft
	notes   []string
	unsaid  int
	refusal *importer.Refusal
}

func (u *unit) refuse(reason, place, format string, args ...any) {
	if u.refusal == nil {
		u.refusal = &importer.Refusal{Reason: reason, Detail: rawjson.Clip(place, 500) + ": " + rawjson.Clip(fmt.Sprintf(format, args...), 1000)}
	}
}

func (u *unit) note(format string, args ...any) {
	s := rawjson.Clip(fmt.Sprintf(format, args...), 500)
	if slices.Contains(u.notes, s) {
		return
	}
	if len(u.notes) >= maxNotes {
		u.unsaid++
		return
	}
	u.notes = append(u.notes, s)
}

// keptOnly notes the members of n that nothing was made of.
func (u *unit) keptOnly(place string, n rawjson.Node, understood ...string) {
	var names []string
	if n.Kind() != '{' {
		return
	}
	for x := range n.All() {
		if m := x.Key(); x.Given() && !slices.Contains(understood, m) {
			names = append(names, place+m)
		}
	}
	if len(names) > 0 {
		u.note("kept in the evidence only: %s", strings.Join(names, ", "))
	}
}

func (u *unit) add(p statement.Predicate, subjects ...statement.Subject) {
	if u.refusal == nil {
		u.drafts = append(u.drafts, importer.Draft{Subjects: subjects, Predicate: p})
	}
}

// seal adds the evidence to each draft and drops none: a draft that cannot be
// written refuses the unit.
func (u *unit) seal() {
	if u.doc.Unpaired {
		u.note("half of a surrogate pair is read as U+FFFD")
	}
	for _, p := range u.doc.Repeated {
		u.note("%s occurs more than once; the last one counts", p)
	}
	if u.unsaid > 0 {
		u.notes = append(u.notes, fmt.Sprintf("%d more notes are not written out", u.unsaid))
	}
	ev := importer.NewEvidence(Importer{}, MediaType, u.sum, len(u.doc.Raw()))
	check := u.check
	ev.Notes, ev.Redacted, ev.Verified = u.notes, u.redacted, &check
	later := ev // the same, where it is short enough to be said with every statement
	if size(u.notes)+size(u.redacted) > 2048 {
		later.Notes, later.Redacted = nil, nil
	}
	for i, d := range u.drafts {
		if i > 0 {
			ev = later
		}
		switch p := d.Predicate.(type) {
		case *statement.Activity:
			p.Evidence = []statement.Evidence{ev}
		case *statement.Entity:
			p.Evidence = []statement.Evidence{ev}
		case *statement.Delegation:
			p.Evidence = []statement.Evidence{ev}
		case *statement.Notice:
			p.Evidence = []statement.Evidence{ev}
		}
		payload, err := statement.Format(d.Subjects, d.Predicate)
		if err != nil {
			u.refuse(BadField, "statement", "makes no valid statement of ours: %v", err)
		} else if len(payload) > statement.MaxPayload {
			u.refuse(TooManySubjects, "statement", "makes a statement of %d bytes, the limit is %d; have the producer write several", len(payload), statement.MaxPayload)
		}
		if u.refusal != nil {
			return
		}
	}
	if len(u.drafts) == 0 {
		u.refuse(NotAStatement, "statement", "says nothing that can be recorded")
	}
}

func size(texts []string) int {
	n := 0
	for _, s := range texts {
		n += len(s)
	}
	return n
}

// signature gives the outcome of the check in a line, for readers of the graph.
func (u *unit) signature() string {
	why := u.check.Reason
	if u.check.Result == statement.CheckVerified {
		why = u.check.Identity
	}
	if why == "" {
		return u.check.Result
	}
	return u.check.Result + ": " + rawjson.Clip(why, 1000)
}

var zoned = []string{time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z07:00",
	"2006-01-02 15:04:05 -0700 MST", "2006-01-02 15:04:05 -0700"}
var unzoned = []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02"}

// time reads a time to the nanosecond. What is none gives the zero Time and a
// note.
func (u *unit) time(n rawjson.Node, place string) statement.Time {
	s := strings.TrimSpace(n.Text())
	if s == "" {
		return statement.Time{}
	}
	for i, layout := range append(slices.Clone(zoned), unzoned...) {
		t, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		if i >= len(zoned) {
			u.note("%s %q has no zone; read as UTC", place, s)
		}
		return u.inRange(t, place, s)
	}
	u.note("%s %q is no time; it is in the evidence only", place, rawjson.Clip(s, 100))
	return statement.Time{}
}

// millis reads milliseconds since 1970, as text of a number.
func (u *unit) millis(n rawjson.Node, place string) statement.Time {
	s := n.Text()
	if s == "" {
		return statement.Time{}
	}
	ms, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return u.time(n, place)
	}
	return u.inRange(time.UnixMilli(ms), place, s)
}

func (u *unit) inRange(t time.Time, place, s string) statement.Time {
	if y := t.UTC().Year(); y < 1679 || y > 2261 {
		u.note("%s %q lies outside the years 1679 to 2261; it is in the evidence only", place, rawjson.Clip(s, 100))
		return statement.Time{}
	}
	return statement.NewTime(t)
}

// period sets both times, unless they contradict each other.
func (u *unit) period(a *statement.Activity, start, end statement.Time) {
	if !start.IsZero() && !end.IsZero() && end.Before(start.Time) {
		u.note("ends at %s, before it begins at %s; the end is in the evidence only", end, start)
		end = statement.Time{}
	}
	a.StartedAt, a.EndedAt = start, end
	if !end.IsZero() {
		a.State = "completed"
	}
}

// texts collects parameters or attributes within the limits.
type texts struct {
	u      *unit
	prefix string // of every key
	m      map[string]string
	size   int
}

func (u *unit) texts() *texts { return &texts{u: u, m: map[string]string{}} }

// set adds a text, unless it is empty.
func (t *texts) set(key, value string) {
	if value == "" {
		return
	}
	key = t.prefix + key
	if len(value) > maxText || len(key) > 256 {
		t.u.note("%s is %d bytes long; it is in the evidence only", rawjson.Clip(key, 200), len(value))
		return
	}
	if _, have := t.m[key]; !have && len(t.m) >= maxPairs || t.size+len(key)+len(value) > maxTexts {
		t.u.note("more than %d texts; the rest is in the evidence only", maxPairs)
		return
	}
	t.size += len(key) + len(value)
	t.m[key] = value
}

// node adds the text of a scalar.
func (t *texts) node(key string, n rawjson.Node) {
	switch n.Kind() {
	case 't', 'f':
		t.set(key, string(n.Raw()))
	default:
		t.set(key, n.Text())
	}
}

// flat adds the scalars in n, each under its path: "a.b", "a[2]". Lists of
// scalars become one text.
func (t *texts) flat(key string, n rawjson.Node) { t.deeper(key, n, 0) }

func (t *texts) deeper(key string, n rawjson.Node, depth int) {
	switch n.Kind() {
	case '{':
		if depth > 8 {
			t.u.note("%s is nested deeper; it is in the evidence only", key)
			return
		}
		for m := range n.All() {
			name := strings.TrimPrefix(key+"."+m.Key(), ".")
			if strings.HasSuffix(strings.ToLower(name), "event_payload") { // all that the forge knows of the event, people too
				t.u.note("kept in the evidence only: %s", rawjson.Clip(name, 200))
				continue
			}
			t.deeper(name, m, depth+1)
		}
	case '[':
		if list, ok := scalars(n); ok {
			t.set(key, strings.Join(list, ", "))
			return
		}
		if depth > 8 {
			t.u.note("%s is nested deeper; it is in the evidence only", key)
			return
		}
		for i, x := range elements(n) {
			t.deeper(fmt.Sprintf("%s[%d]", key, i), x, depth+1)
		}
	default:
		t.node(key, n)
	}
}

func scalars(n rawjson.Node) ([]string, bool) {
	var out []string
	for x := range n.All() {
		switch x.Kind() {
		case '"', '0':
			out = append(out, x.Text())
		case 't', 'f':
			out = append(out, string(x.Raw()))
		case 'n':
		default:
			return nil, false
		}
	}
	return out, true
}

func (t *texts) done() map[string]string {
	if len(t.m) == 0 {
		return nil
	}
	return maps.Clone(t.m)
}

// activityID names an activity: by an id that is unique by itself, else within
// what ran it, else by the payload.
func (u *unit) activityID(within, id string) prov.Ref {
	name := id
	switch {
	case id == "":
		u.note("the statement names no invocation; the activity is named by the payload's digest")
		name = "in-toto/" + u.payloadSum[:32]
	case isUUID(id):
		name = strings.ToLower(id)
	case strings.Contains(id, "://"):
		name = bare(id)
	case within != "":
		name = within + "/" + id
	default:
		name = "in-toto/" + id
	}
	r := prov.Ref{Kind: prov.Activity, Name: name}
	if !fits(r) {
		u.note("the id of the invocation is too long; the activity is named by the payload's digest")
		r.Name = "in-toto/" + u.payloadSum[:32]
	}
	return r
}

func isUUID(s string) bool {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	_, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	return err == nil && strings.Count(s, "-") == 4
}

func fits(r prov.Ref) bool { return len(r.String()) <= prov.MaxRef }

// party gives an identity with a role, or none where the name is empty or too
// long.
func (u *unit) party(kind prov.Kind, name, role string) []statement.Party {
	r := prov.Ref{Kind: kind, Name: strings.TrimSpace(name)}
	if r.Name == "" {
		return nil
	}
	if !fits(r) {
		u.note("the name of the %s is too long; it is in the evidence only", role)
		return nil
	}
	return []statement.Party{{Ref: r.String(), Role: role}}
}

// person reads the name of who acted: "user:ann", a mail address, a URL.
func (u *unit) person(name, role string) []statement.Party {
	kinds := map[string]prov.Kind{"user": prov.Person, "person": prov.Person, "service": prov.ServiceAccount, "sa": prov.ServiceAccount,
		"serviceaccount": prov.ServiceAccount, "workload": prov.Workload, "team": prov.Team, "group": prov.Team, "org": prov.Org, "role": prov.Role}
	if prefix, rest, ok := strings.Cut(name, ":"); ok && rest != "" && !strings.HasPrefix(rest, "//") {
		if k, ok := kinds[strings.ToLower(prefix)]; ok {
			return u.party(k, rest, role)
		}
	}
	if strings.HasPrefix(name, "spiffe://") {
		return u.party(prov.Workload, name, role)
	}
	return u.party(prov.Person, name, role)
}
