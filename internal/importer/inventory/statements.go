package inventory

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// The limits of what a statement carries.
const (
	maxText      = 2000    // bytes of an attribute or condition
	maxNotes     = 100     // of an Item
	maxStatement = 2 << 20 // bytes of items in a statement, about
)

// Statements collects what one unit of the input says.
type Statements struct {
	listings []*Listing
	drafts   []importer.Draft
	notes    []string
	more     int
	kept     map[string]int
	// Check is the outcome of checking the unit's signatures; nil: it has none.
	Check   *statement.EvidenceCheck
	refusal *importer.Refusal
}

// Refuse says why the unit makes no statement; the first reason counts.
func (s *Statements) Refuse(reason, format string, args ...any) {
	if s.refusal == nil {
		s.refusal = &importer.Refusal{Reason: reason, Detail: fmt.Sprintf(format, args...)}
	}
}

// Refused tells whether there is a reason.
func (s *Statements) Refused() bool { return s.refusal != nil }

// Note tells what had to be assumed.
func (s *Statements) Note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if slices.Contains(s.notes, text) {
		return
	}
	if len(s.notes) >= maxNotes {
		s.more++
		return
	}
	s.notes = append(s.notes, text)
}

// Kept counts a thing that is in the evidence only.
func (s *Statements) Kept(what string) {
	if s.kept == nil {
		s.kept = map[string]int{}
	}
	if what = rawjson.Clip(what, 100); len(s.kept) < 200 || s.kept[what] > 0 {
		s.kept[what]++
	}
}

// Rest counts the members of an object that are not among the known ones.
func (s *Statements) Rest(where string, n rawjson.Node, known ...string) {
	if n.Kind() != '{' {
		return
	}
	for m := range n.All() {
		if k := m.Key(); !slices.Contains(known, k) && m.Given() {
			s.Kept(where + rawjson.Secrets(k))
		}
	}
}

func (s *Statements) notesList() []string {
	out := s.notes
	if s.more > 0 {
		out = append(out, fmt.Sprintf("and %d notes more", s.more))
	}
	if len(s.kept) > 0 {
		var texts []string
		for _, k := range slices.Sorted(maps.Keys(s.kept)) {
			texts = append(texts, fmt.Sprintf("%s (%d)", k, s.kept[k]))
		}
		out = append(out, "kept in the evidence only: "+strings.Join(texts, ", "))
	}
	return out
}

// Say adds a statement about a thing.
func (s *Statements) Say(about prov.Ref, digest statement.DigestSet, p statement.Predicate) {
	s.drafts = append(s.drafts, importer.Draft{Subjects: []statement.Subject{statement.NewSubject(about, digest)}, Predicate: p})
}

// Time reads a time as sources write it; one that is none is noted, and gives
// the zero Time.
func (s *Statements) Time(where, text string) statement.Time {
	t, ok := ParseTime(text)
	if !ok {
		s.Note("%s: %q is no time that is understood; it is left out", where, rawjson.Clip(rawjson.Secrets(text), 60))
	}
	return t
}

// Listing is an identity/v1 statement that grows.
type Listing struct {
	s     *Statements
	p     statement.Identity
	about prov.Ref
	at    map[string]int
}

// Snapshot begins the listing of the whole of a source, or gives the one that
// was begun. With o.Event it closes nothing.
func (s *Statements) Snapshot(o Options, source string) *Listing {
	mode := "snapshot"
	if o.Event {
		mode = "event"
	}
	return s.listing(mode, source, Name(prov.Resource, source))
}

// Event begins the listing of single things of a source.
func (s *Statements) Event(source string) *Listing {
	return s.listing("event", source, Name(prov.Resource, source))
}

func (s *Statements) listing(mode, source string, about prov.Ref) *Listing {
	for _, l := range s.listings {
		if l.p.Mode == mode && l.p.Source == source {
			return l
		}
	}
	l := &Listing{s: s, about: about, at: map[string]int{}, p: statement.Identity{Mode: mode, Source: source, Grade: statement.GradeObserved, Items: []statement.IdentityItem{}}}
	s.listings = append(s.listings, l)
	return l
}

// At sets when the listing was true.
func (l *Listing) At(t statement.Time) *Listing { l.p.At = t; return l }

// Grade sets how the source knows.
func (l *Listing) Grade(g string) *Listing { l.p.Grade = g; return l }

// Item gives the line of an identity, a new one the first time. It holds until
// the next call.
func (l *Listing) Item(ref string) *statement.IdentityItem {
	i, ok := l.at[ref]
	if !ok {
		i = len(l.p.Items)
		l.at[ref] = i
		l.p.Items = append(l.p.Items, statement.IdentityItem{Ref: ref})
	}
	return &l.p.Items[i]
}

// Set adds an attribute of an item, without its secrets and not too long.
func Set(to *map[string]string, key, text string) {
	if text == "" {
		return
	}
	if *to == nil {
		*to = map[string]string{}
	}
	(*to)[rawjson.Clip(key, 200)] = Short(text)
}

// Short gives text that is fit for an attribute: without what has the shape of
// a secret, and not too long.
func Short(text string) string { return rawjson.Clip(rawjson.Secrets(text), maxText) }

// Add appends text to a list that does not hold it.
func Add(list *[]string, text string) {
	if text != "" && !slices.Contains(*list, text) {
		*list = append(*list, text)
	}
}

// tidy mends what a statement may not hold and says so.
func (s *Statements) tidy(it *statement.IdentityItem) {
	for i := range it.Credentials {
		c := &it.Credentials[i]
		if !c.IssuedAt.IsZero() && !c.ExpiresAt.IsZero() && c.ExpiresAt.Before(c.IssuedAt.Time) {
			s.Note("%s expires at %s, before it was issued at %s; the time of issue is left out", c.Ref, c.ExpiresAt, c.IssuedAt)
			c.IssuedAt = statement.Time{}
		}
	}
	for _, l := range []*[]string{&it.MemberOf, &it.CanAssume, &it.RunsAs, &it.Secrets} {
		sort.Strings(*l)
		*l = slices.Compact(*l)
	}
}

// size says about how many bytes an item takes.
func size(it *statement.IdentityItem) int {
	n := 100 + len(it.Ref)
	for _, l := range [][]string{it.MemberOf, it.CanAssume, it.RunsAs, it.Secrets} {
		n += textSize(l)
	}
	for _, g := range it.Grants {
		n += 100 + len(g.Resource) + textSize(g.Scope) + textSize(g.NotScope) + textSize(g.NotResource) + len(g.Condition)
	}
	for _, c := range it.Credentials {
		n += 300 + len(c.Ref) + textSize(c.Scope)
	}
	for _, t := range it.Trust {
		n += 50 + len(t.Principal) + len(t.Condition)
	}
	for k, v := range it.Attributes {
		n += 8 + len(k) + len(v)
	}
	return n
}

func textSize(texts []string) int {
	n := 0
	for _, t := range texts {
		n += len(t) + 4
	}
	return n
}

// split gives the statements of a listing: one, or, where it is too large for
// one, several that close nothing, because a part of a snapshot is none.
func (l *Listing) split() []importer.Draft {
	var parts [][]statement.IdentityItem
	from, n := 0, 0
	for i := range l.p.Items {
		l.s.tidy(&l.p.Items[i])
		k := size(&l.p.Items[i])
		if i > from && n+k > maxStatement {
			parts = append(parts, l.p.Items[from:i])
			from, n = i, 0
		}
		n += k
	}
	parts = append(parts, l.p.Items[from:])
	var out []importer.Draft
	for _, items := range parts {
		p := l.p
		p.Items = items
		if len(parts) > 1 && p.Mode == "snapshot" {
			p.Mode = "event"
			l.s.Note("%s lists too much for one statement, so it is recorded in %d parts and closes nothing of what it no longer lists", l.p.Source, len(parts))
		}
		if p.Mode == "event" && len(items) == 0 {
			continue
		}
		about := l.about
		if len(items) == 1 && p.Mode == "event" {
			if r, err := prov.ParseRef(items[0].Ref); err == nil {
				about = r
			}
		}
		out = append(out, importer.Draft{Subjects: []statement.Subject{statement.NewSubject(about, nil)}, Predicate: &p})
	}
	return out
}

// finish gives the statements, each with the evidence.
func (s *Statements) finish(ev statement.Evidence) []importer.Draft {
	if s.refusal != nil {
		return nil
	}
	if s.Check != nil {
		ev.Verified = s.Check
	}
	var out []importer.Draft
	for _, l := range s.listings {
		out = append(out, l.split()...)
	}
	out = append(out, s.drafts...)
	for _, d := range out {
		evs := []statement.Evidence{ev}
		switch p := d.Predicate.(type) {
		case *statement.Identity:
			p.Evidence = evs
		case *statement.Delegation:
			p.Evidence = evs
		case *statement.Entity:
			p.Evidence = evs
		case *statement.Deployment:
			p.Evidence = evs
		case *statement.Notice:
			p.Evidence = evs
		case *statement.Activity:
			p.Evidence = evs
		}
		if _, err := statement.Format(d.Subjects, d.Predicate); err != nil {
			s.Refuse(Invalid, "%s; mend the source, or leave it out", rawjson.Clip(rawjson.Secrets(err.Error()), 500))
			return nil
		}
	}
	return out
}

// SayAll adds a statement about several things.
func (s *Statements) SayAll(about []statement.Subject, p statement.Predicate) {
	s.drafts = append(s.drafts, importer.Draft{Subjects: about, Predicate: p})
}

// Narrow begins the listing of all that a source says of one aspect of one
// thing: the next one about the same aspect takes its place. An event that
// takes something away is an empty one.
func (s *Statements) Narrow(about prov.Ref, source string) *Listing {
	return s.listing("snapshot", source, about)
}
