package bom

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// perStatement is how many things one statement speaks of, and maxBytes how
// much text of names it may hold: far below statement.MaxPayload.
const (
	perStatement = 500
	maxBytes     = 1 << 20
	perDocument  = 20 // statements of a document up to which each carries the notes
	maxNotes     = 50
	maxText      = 1000 // bytes of an attribute
	maxAttrs     = 200  // attributes of a thing
)

// MaxThings is how many things a document may speak of, and MaxTies how many
// ties between them it may state: each takes some hundred bytes until the
// document has been read to its end.
const (
	MaxThings = 500_000
	MaxTies   = 2_000_000
)

// Statements collects what a document says, and makes statements of it that
// are each small.
type Statements struct {
	At statement.Time // of the document

	notes   []string
	unsaid  int
	refusal *importer.Refusal

	groups  map[string]*group // described things, by what is said of them
	order   []*group
	derived []derivation
	parts   map[int32]*group // by whole
	partsIn []*group
	things  []Thing
	index   map[string]int32 // of things, by key
	stated  map[derivation]bool
	locals  map[[2]string]string
	seen    map[[2]string]bool // names and owners that were stated already
	drafts  []importer.Draft
}

type group struct {
	about    Description
	whole    Thing
	subjects []Thing
	seen     map[int32]bool
}

// derivation ties two things by their places in Statements.things.
type derivation struct {
	to, from int32
	how      string
}

// place gives the place of a thing among those that are spoken of.
func (s *Statements) place(t Thing) int32 {
	k := t.Key()
	i, ok := s.index[k]
	if !ok {
		if len(s.things) >= MaxThings {
			s.Refuse(rawjson.TooLarge, "document", "speaks of more than %d things; split it", MaxThings)
			return 0
		}
		i = int32(len(s.things))
		s.index[k] = i
		s.things = append(s.things, t)
	}
	return i
}

// Description is what is said of a thing by itself.
type Description struct {
	State       string // "described" when empty
	At          statement.Time
	Origin      string
	Licence     string
	Sensitivity string
	Text        string
	Attributes  map[string]string
}

// New begins a collection.
func New() *Statements {
	return &Statements{groups: map[string]*group{}, parts: map[int32]*group{}, index: map[string]int32{}, stated: map[derivation]bool{}, seen: map[[2]string]bool{}, locals: map[[2]string]string{}}
}

// Refuse says why the whole document is not accepted; the first reason counts.
func (s *Statements) Refuse(reason, place, format string, args ...any) {
	if s.refusal == nil {
		s.refusal = &importer.Refusal{Reason: reason, Detail: rawjson.Clip(place, 500) + ": " + rawjson.Clip(fmt.Sprintf(format, args...), 1000)}
	}
}

// Refusal gives the reason why the document is not accepted, or nil.
func (s *Statements) Refusal() *importer.Refusal { return s.refusal }

// Note says what was assumed or is in the evidence only.
func (s *Statements) Note(format string, args ...any) {
	t := rawjson.Clip(fmt.Sprintf(format, args...), 500)
	if slices.Contains(s.notes, t) {
		return
	}
	if len(s.notes) >= maxNotes {
		s.unsaid++
		return
	}
	s.notes = append(s.notes, t)
}

// Notes gives the notes.
func (s *Statements) Notes() []string {
	if s.unsaid > 0 {
		return append(slices.Clip(s.notes), fmt.Sprintf("%d more notes are not written out", s.unsaid))
	}
	return s.notes
}

// Describe says something of a thing. Things of which the same is said share
// statements.
func (s *Statements) Describe(t Thing, d Description) {
	if t.IsZero() {
		return
	}
	if d.State == "" {
		d.State = "described"
	}
	if d.At.IsZero() {
		d.At = s.At
	}
	d.Attributes = tidy(d.Attributes)
	key := d.key()
	g := s.groups[key]
	if g == nil {
		g = &group{about: d, seen: map[int32]bool{}}
		s.groups[key] = g
		s.order = append(s.order, g)
	}
	g.add(s.place(t), t)
}

func (g *group) add(place int32, t Thing) {
	if !g.seen[place] {
		g.seen[place] = true
		g.subjects = append(g.subjects, t)
	}
}

func tidy(in map[string]string) map[string]string {
	out := make(map[string]string, len(in))
	keys := make([]string, 0, len(in))
	for k := range in {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		if v := strings.TrimSpace(in[k]); v != "" && len(out) < maxAttrs {
			out[rawjson.Clip(k, 200)] = rawjson.Clip(v, maxText)
		}
	}
	return out
}

func (d *Description) key() string {
	var b strings.Builder
	for _, p := range []string{d.State, d.At.String(), d.Origin, d.Licence, d.Sensitivity, d.Text} {
		b.WriteString(p)
		b.WriteByte(0)
	}
	keys := make([]string, 0, len(d.Attributes))
	for k := range d.Attributes {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		b.WriteString(k)
		b.WriteByte(0)
		b.WriteString(d.Attributes[k])
		b.WriteByte(0)
	}
	return b.String()
}

// Derive says that a thing is made of, or needs, another; how is the
// document's word for it.
func (s *Statements) Derive(to, from Thing, how string) {
	if to.IsZero() || from.IsZero() {
		return
	}
	d := derivation{s.place(to), s.place(from), how}
	if d.to == d.from || s.stated[d] {
		return
	}
	if len(s.derived) >= MaxTies {
		s.Refuse(rawjson.TooLarge, "document", "states more than %d ties between things; split it", MaxTies)
		return
	}
	s.stated[d] = true
	s.derived = append(s.derived, d)
}

// Contain says that a thing contains another, which is then a part of it, and
// that it is made of it.
func (s *Statements) Contain(whole, part Thing) {
	if whole.IsZero() || part.IsZero() {
		return
	}
	a, b := s.place(whole), s.place(part)
	if a == b {
		return
	}
	s.Derive(whole, part, "contains")
	g := s.parts[a]
	if g == nil {
		g = &group{whole: whole, seen: map[int32]bool{}}
		s.parts[a] = g
		s.partsIn = append(s.partsIn, g)
	}
	g.add(b, part)
}

func (s *Statements) once(a, b string) (again bool) {
	k := [2]string{a, b}
	again = s.seen[k]
	s.seen[k] = true
	return again
}

// Same says that two names are of one thing.
func (s *Statements) Same(t Thing, other prov.Ref) {
	if t.IsZero() || other.IsZero() || t.Ref.Key() == other.Key() || s.once(t.Key(), "same "+other.Key()) {
		return
	}
	s.Add(importer.Draft{Subjects: []statement.Subject{t.Subject()},
		Predicate: &statement.Entity{State: "same-as", At: s.At, SameAs: []statement.Resource{statement.NewResource(other, nil)}}})
}

// Own says who answers for a thing.
func (s *Statements) Own(t Thing, owner prov.Ref) {
	if t.IsZero() || owner.IsZero() || s.once(t.Key(), "own "+owner.Key()) {
		return
	}
	s.Add(importer.Draft{Subjects: []statement.Subject{t.Subject()}, Predicate: &statement.Entity{State: "owned", At: s.At, Owner: owner.String()}})
}

// Add adds a statement of another form.
func (s *Statements) Add(d importer.Draft) { s.drafts = append(s.drafts, d) }

// Drafts gives the statements, each with the evidence. When a statement is not
// valid it gives none and the document is refused.
func (s *Statements) Drafts(ev statement.Evidence) []importer.Draft {
	if s.refusal != nil {
		return nil
	}
	var out []importer.Draft
	for _, g := range s.order {
		for some := range chunks(g.subjects) {
			out = append(out, importer.Draft{Subjects: subjects(some), Predicate: g.entity()})
		}
	}
	for _, g := range s.partsIn {
		for some := range chunks(g.subjects) {
			out = append(out, importer.Draft{Subjects: subjects(some),
				Predicate: &statement.Entity{State: "described", At: s.At, PartOf: []statement.Resource{g.whole.Resource()}}})
		}
	}
	out = append(append(out, s.derivations()...), s.drafts...)
	ev.Notes = s.Notes()
	later := ev
	if size(ev.Notes)+size(ev.Redacted) > 4096 || len(out) > perDocument { // said once
		later.Notes, later.Redacted = nil, nil
	}
	for i, d := range out {
		if i > 0 {
			ev = later
		}
		switch p := d.Predicate.(type) {
		case *statement.Entity:
			p.Evidence = []statement.Evidence{ev}
		case *statement.Activity:
			p.Evidence = []statement.Evidence{ev}
		case *statement.Notice:
			p.Evidence = []statement.Evidence{ev}
		}
		if payload, err := statement.Format(d.Subjects, d.Predicate); err != nil {
			s.Refuse(BadField, "document", "makes no valid statement: %v", err)
			return nil
		} else if len(payload) > statement.MaxPayload {
			s.Refuse(rawjson.TooLarge, "document", "makes a statement of %d bytes, the limit is %d; split the document", len(payload), statement.MaxPayload)
			return nil
		}
	}
	return out
}

// BadField is the class of refusal of a value that is not what the format asks.
const BadField = "bad-field"

func (g *group) entity() *statement.Entity {
	d := g.about
	return &statement.Entity{State: d.State, At: d.At, Origin: d.Origin, Licence: rawjson.Clip(d.Licence, maxText), Sensitivity: d.Sensitivity,
		Description: rawjson.Clip(d.Text, maxText), Attributes: d.Attributes}
}

func subjects(ts []Thing) []statement.Subject {
	out := make([]statement.Subject, len(ts))
	for i, t := range ts {
		out[i] = t.Subject()
	}
	return out
}

// chunks gives the things in runs that fit into one statement.
func chunks(ts []Thing) func(yield func([]Thing) bool) {
	return func(yield func([]Thing) bool) {
		from, n := 0, 0
		for i, t := range ts {
			w := len(t.Ref.Name) + len(t.Ref.Namespace) + len(t.Ref.Version) + 500
			if i > from && (i-from >= perStatement || n+w > maxBytes) {
				if !yield(ts[from:i]) {
					return
				}
				from, n = i, 0
			}
			n += w
		}
		if from < len(ts) {
			yield(ts[from:])
		}
	}
}

// derivations packs them in the order in which they were stated, those of one
// thing together.
func (s *Statements) derivations() []importer.Draft {
	index := map[int32]int{}
	var tos []derived
	for _, d := range s.derived {
		i, ok := index[d.to]
		if !ok {
			i = len(tos)
			index[d.to] = i
			tos = append(tos, derived{to: s.things[d.to]})
		}
		tos[i].from = append(tos[i].from, d)
	}
	var out []importer.Draft
	var cur importer.Draft
	var p *statement.Entity
	n, bytes := 0, 0
	flush := func() {
		if p != nil && len(p.Derived) > 0 {
			out = append(out, cur)
		}
		cur, p, n, bytes = importer.Draft{}, &statement.Entity{State: "described", At: s.At}, 0, 0
		cur.Predicate = p
	}
	flush()
	for _, t := range tos {
		for open := false; len(t.from) > 0; t.from = t.from[1:] {
			if n >= 4*perStatement || bytes > maxBytes || !open && len(cur.Subjects) >= perStatement {
				flush()
				open = false
			}
			if !open {
				cur.Subjects = append(cur.Subjects, t.to.Subject())
				p.Derived = append(p.Derived, statement.Derivation{To: t.to.Resource(), Rule: statement.RuleStated})
				open = true
			}
			d := &p.Derived[len(p.Derived)-1]
			f := s.things[t.from[0].from]
			d.From = append(d.From, statement.DerivedInput{Resource: f.Resource(), Transformation: t.from[0].how})
			n++
			bytes += 250 + len(f.Ref.Name) + len(f.Ref.Namespace)
		}
	}
	flush()
	return out
}

type derived struct {
	to   Thing
	from []derivation
}

func size(texts []string) int {
	n := 0
	for _, s := range texts {
		n += len(s)
	}
	return n
}

func itoa(n int) string { return strconv.Itoa(n) }

var zoned = []string{time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z07:00", "2006-01-02 15:04:05 Z0700 MST"}
var unzoned = []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02"}

// Time reads a time of the document. One without a zone is read as UTC, with a
// note; one that is none refuses the document.
func (s *Statements) Time(place, text string) statement.Time {
	if text == "" {
		return statement.Time{}
	}
	for _, layout := range zoned {
		if t, err := time.Parse(layout, text); err == nil {
			return s.inRange(place, text, t)
		}
	}
	for _, layout := range unzoned {
		if t, err := time.Parse(layout, text); err == nil {
			s.Note("%s %q has no zone; read as UTC", place, text)
			return s.inRange(place, text, t)
		}
	}
	s.Refuse("bad-time", place, "%q is no time; write RFC 3339, for example \"2026-03-01T12:00:00Z\"", text)
	return statement.Time{}
}

func (s *Statements) inRange(place, text string, t time.Time) statement.Time {
	if y := t.UTC().Year(); y < 1679 || y > 2261 {
		if y <= 1 {
			s.Note("%s %q stands for no time; left out", place, text)
			return statement.Time{}
		}
		s.Refuse("bad-time", place, "%s lies outside the years 1679 to 2261", text)
		return statement.Time{}
	}
	return statement.NewTime(t)
}

// Local gives a name for a thing that only the document knows: its own, and
// with the identifier beside it when another thing of the document has it.
func (s *Statements) Local(kind prov.Kind, name, id string) string {
	if name == "" {
		return id
	}
	k := [2]string{"local " + string(kind), name}
	if before, ok := s.locals[k]; ok && before != id {
		return name + "#" + id
	}
	s.locals[k] = id
	return name
}

// Vulnerable says that a thing is affected by a vulnerability.
func (s *Statements) Vulnerable(things []Thing, n statement.Notice) {
	for some := range chunks(unique(things)) {
		p := n
		p.Kind = "vulnerable"
		p.Description = rawjson.Clip(p.Description, maxText)
		p.Source = rawjson.Clip(p.Source, maxText)
		s.Add(importer.Draft{Subjects: subjects(some), Predicate: &p})
	}
}

func unique(ts []Thing) []Thing {
	seen := map[string]bool{}
	var out []Thing
	for _, t := range ts {
		if k := t.Key(); !t.IsZero() && !seen[k] {
			seen[k] = true
			out = append(out, t)
		}
	}
	return out
}

// NoticeRef names a vulnerability.
func NoticeRef(id string) string { return Fit(prov.Ref{Kind: prov.Notice, Name: id}).String() }

// Severity reads the words for severity that the formats use; "" is unknown or
// none.
func Severity(word string) string {
	switch w := strings.ToLower(strings.TrimSpace(word)); w {
	case "low", "medium", "high", "critical":
		return w
	case "moderate":
		return "medium"
	case "important":
		return "high"
	}
	return ""
}

// Worse gives the graver of two severities.
func Worse(a, b string) string {
	rank := map[string]int{"low": 1, "medium": 2, "high": 3, "critical": 4}
	if rank[b] > rank[a] {
		return b
	}
	return a
}
