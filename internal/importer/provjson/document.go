package provjson

import (
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

// The classes of refusals beside those of rawjson.
const (
	NotADocument    = "not-a-prov-document"
	BadSection      = "bad-section"
	BadRecord       = "bad-record"
	BadPrefix       = "bad-prefix"
	NameTooLong     = "name-too-long"
	TooLarge        = "statement-too-large"
	NothingToRecord = "nothing-to-record"
)

// section is a member of a document that holds records. For a relation, ends
// are its formal attributes that name other records, those that PROV-DM asks
// for first.
type section struct {
	needs int // how many of ends must be there
	ends  []string
}

func (s section) relation() bool { return len(s.ends) > 0 }

// sections are those of the submission (section 3) and of PROV-DICTIONARY.
var sections = map[string]section{
	"entity": {}, "activity": {}, "agent": {}, "bundle": {},
	"wasGeneratedBy":         {1, []string{"prov:entity", "prov:activity"}},
	"used":                   {2, []string{"prov:activity", "prov:entity"}},
	"wasInformedBy":          {2, []string{"prov:informed", "prov:informant"}},
	"wasStartedBy":           {1, []string{"prov:activity", "prov:trigger", "prov:starter"}},
	"wasEndedBy":             {1, []string{"prov:activity", "prov:trigger", "prov:ender"}},
	"wasInvalidatedBy":       {1, []string{"prov:entity", "prov:activity"}},
	"wasDerivedFrom":         {2, []string{"prov:generatedEntity", "prov:usedEntity", "prov:activity", "prov:generation", "prov:usage"}},
	"wasAttributedTo":        {2, []string{"prov:entity", "prov:agent"}},
	"wasAssociatedWith":      {1, []string{"prov:activity", "prov:agent", "prov:plan"}},
	"actedOnBehalfOf":        {2, []string{"prov:delegate", "prov:responsible", "prov:activity"}},
	"wasInfluencedBy":        {2, []string{"prov:influencee", "prov:influencer"}},
	"specializationOf":       {2, []string{"prov:specificEntity", "prov:generalEntity"}},
	"alternateOf":            {2, []string{"prov:alternate1", "prov:alternate2"}},
	"hadMember":              {2, []string{"prov:collection", "prov:entity"}},
	"mentionOf":              {2, []string{"prov:specificEntity", "prov:generalEntity", "prov:bundle"}},
	"hadDictionaryMember":    {2, []string{"prov:dictionary", "prov:entity"}},
	"derivedByInsertionFrom": {2, []string{"prov:after", "prov:before"}},
	"derivedByRemovalFrom":   {2, []string{"prov:after", "prov:before"}},
}

// maxNotes is how many notes of a document are written out; the rest is
// counted.
const maxNotes = 50

type document struct {
	doc      *rawjson.Doc
	redacted []string
	sum      [32]byte // SHA-256 of the evidence

	bundles []*bundle
	things  map[string]*thing // by name with its prefix expanded

	out     []importer.Draft
	notes   []string
	unsaid  int
	refusal *importer.Refusal
}

// bundle is the document itself, or a bundle in it.
type bundle struct {
	d         *document
	name      string // "" of the document itself
	prefixes  map[string]string
	members   []*thing // things that have a record here, in order
	relations []relation
}

// relation is a record of a relation, with the names that it ties.
type relation struct {
	section string
	id      string
	node    rawjson.Node
	ends    map[string][]string // formal attribute to expanded names
}

func (r *relation) end(attribute string) string {
	if l := r.ends[attribute]; len(l) > 0 {
		return l[0]
	}
	return ""
}

func newDocument(doc *rawjson.Doc, redacted []string, sum [32]byte) *document {
	return &document{doc: doc, redacted: redacted, sum: sum, things: map[string]*thing{}}
}

func (d *document) refuse(reason, place, format string, args ...any) {
	if d.refusal == nil {
		d.refusal = &importer.Refusal{Reason: reason, Detail: rawjson.Clip(place, 500) + ": " + rawjson.Clip(fmt.Sprintf(format, args...), 1000)}
	}
}

func (d *document) note(format string, args ...any) {
	if len(d.notes) >= maxNotes {
		d.unsaid++
		return
	}
	if s := rawjson.Clip(fmt.Sprintf(format, args...), 500); !slices.Contains(d.notes, s) {
		d.notes = append(d.notes, s)
	}
}

// drafts gives the statements that the document makes, or leaves a refusal.
func (d *document) drafts() []importer.Draft {
	root := d.doc.Root()
	if root.Kind() != '{' {
		d.refuse(NotADocument, "value", "is no JSON object; a PROV-JSON document is one")
		return nil
	}
	for _, path := range d.doc.Repeated {
		d.note("%s occurs more than once; the last one counts. PROV-JSON writes several records of one name as an array", path)
	}
	d.read(root, "", nil)
	if d.refusal != nil {
		return nil
	}
	records := 0
	for _, b := range d.bundles {
		records += len(b.members) + len(b.relations)
	}
	if records == 0 {
		d.refuse(NothingToRecord, "document", "holds no record of an entity, activity, agent or relation")
		return nil
	}
	d.mark()
	for _, b := range d.bundles {
		b.statements()
	}
	if d.refusal == nil && len(d.out) == 0 {
		d.refuse(NothingToRecord, "document", "holds only relations that lack what they relate, or that Stemma has no statement for: %s", firstOf(d.notes))
	}
	return d.seal()
}

func firstOf(notes []string) string {
	if len(notes) == 0 {
		return "none is understood"
	}
	return notes[0]
}

// read reads the document, or a bundle of it.
func (d *document) read(n rawjson.Node, name string, outer map[string]string) {
	b := &bundle{d: d, name: name, prefixes: outer}
	place := "document"
	if name != "" {
		place = "bundle " + name
	}
	b.readPrefixes(n.Get("prefix"), place)
	d.bundles = append(d.bundles, b)
	var inner []rawjson.Node
	for m := range n.All() {
		key := m.Key()
		s, ok := sections[key]
		switch {
		case key == "prefix" || key == "@id" && name != "" || key == "$schema":
		case !ok:
			d.note("%s: %s is no section of PROV-JSON; kept in the evidence only", place, key)
		case key == "bundle" && name != "":
			d.note("%s: a bundle holds no bundles (PROV-DM 5.4); kept in the evidence only", place)
		case key == "bundle":
			inner = append(inner, m)
		case m.Kind() == 'n':
		case m.Kind() == '[' && s.relation():
			i := 0
			for x := range m.All() {
				b.record(key, s, "", x, fmt.Sprintf("%s.%s[%d]", place, key, i))
				i++
			}
		case m.Kind() != '{':
			d.refuse(BadSection, place+"."+key, "is no object; write its records as an object, by their identifiers")
		default:
			for x := range m.All() {
				b.records(key, s, x, place)
			}
		}
	}
	for _, m := range inner {
		d.inner(b, m)
	}
}

func (d *document) inner(b *bundle, section rawjson.Node) {
	if section.Kind() == 'n' {
		return
	}
	if section.Kind() != '{' {
		d.refuse(BadSection, "document.bundle", "is no object; write the bundles as an object, by their identifiers")
		return
	}
	for x := range section.All() {
		if x.Kind() != '{' {
			d.refuse(BadRecord, "document.bundle."+x.Key(), "is no object; a bundle is an object of sections")
			return
		}
		d.read(x, b.expand(x.Key()), b.prefixes)
	}
}

// records reads one member of a section: a record, or several of one name.
func (b *bundle) records(key string, s section, x rawjson.Node, place string) {
	id := x.Key()
	at := place + "." + key + "." + id
	if x.Kind() != '[' {
		b.record(key, s, id, x, at)
		return
	}
	i := 0
	for r := range x.All() {
		b.record(key, s, id, r, fmt.Sprintf("%s[%d]", at, i))
		i++
	}
}

func (b *bundle) record(key string, s section, id string, x rawjson.Node, place string) {
	d := b.d
	if x.Kind() != '{' {
		d.refuse(BadRecord, place, "is no object; a record is an object of attributes")
		return
	}
	if !s.relation() {
		b.thing(key, id, x)
		return
	}
	r := relation{section: key, id: b.expand(id), node: x, ends: map[string][]string{}}
	for i, attribute := range s.ends {
		for _, v := range values(x.Get(attribute)) {
			if v.text == "" {
				d.refuse(BadRecord, place+"."+attribute, "is no identifier; write it as text, for example \"ex:e1\"")
				return
			}
			r.ends[attribute] = append(r.ends[attribute], b.expand(v.text))
		}
		if i < s.needs && len(r.ends[attribute]) == 0 {
			d.note("%s has no %s; kept in the evidence only", place, attribute)
			return
		}
	}
	b.relations = append(b.relations, r)
}

func (b *bundle) thing(key, id string, x rawjson.Node) {
	t := b.d.thing(b.expand(id))
	t.classes |= classOf(key)
	if !t.in(b) {
		b.members = append(b.members, t)
	}
	t.records = append(t.records, record{b, key, x})
}

// seal adds the evidence to each draft.
func (d *document) seal() []importer.Draft {
	if d.refusal != nil {
		return nil
	}
	if d.doc.Unpaired {
		d.note("half of a surrogate pair is read as U+FFFD")
	}
	if d.unsaid > 0 {
		d.notes = append(d.notes, fmt.Sprintf("%d more notes are not written out", d.unsaid))
	}
	ev := importer.NewEvidence(Importer{}, MediaType, d.sum, len(d.doc.Raw()))
	first := ev
	first.Notes, first.Redacted = d.notes, d.redacted
	for i, x := range d.out {
		if i > 0 {
			first = ev
		}
		list := []statement.Evidence{first}
		switch p := x.Predicate.(type) {
		case *statement.Activity:
			p.Evidence = list
		case *statement.Entity:
			p.Evidence = list
		case *statement.Delegation:
			p.Evidence = list
		case *statement.Deployment:
			p.Evidence = list
		case *statement.Identity:
			p.Evidence = list
		case *statement.Notice:
			p.Evidence = list
		}
		payload, err := statement.Format(x.Subjects, x.Predicate)
		if err != nil {
			d.refuse(BadRecord, "document", "makes no valid statement: %v", err)
			return nil
		}
		if len(payload) > statement.MaxPayload {
			d.refuse(TooLarge, "document", "makes a statement of %d bytes, the limit is %d; split the document", len(payload), statement.MaxPayload)
			return nil
		}
	}
	return d.out
}

// short names the document in names of blank nodes, which hold within it only.
func (d *document) short() string { return hex.EncodeToString(d.sum[:8]) }
