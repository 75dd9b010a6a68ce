package provjson

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Attributes by which package report carries what PROV cannot say.
const (
	RefAttribute      = "stemma:ref"      // the Ref of a thing
	RelationAttribute = "stemma:relation" // the type of a relation
	attrPrefix        = "stemma-attr:"    // before the name of an attribute of a thing
)

// entity gathers what a bundle says of one entity or agent.
type entity struct {
	name    string
	class   class
	own     bool // it has a record of its own
	same    []statement.Resource
	partOf  []statement.Resource
	derived []dated
	special []string // what it specialises
	seen    map[string]bool
}

type dated struct {
	at   statement.Time
	from statement.DerivedInput
}

func (t *teller) thingOf(name string, c class) *entity {
	key := fmt.Sprint(c, name)
	e := t.entities[key]
	if e == nil {
		e = &entity{name: name, class: c, seen: map[string]bool{}}
		t.entities[key] = e
		t.names = append(t.names, e)
	}
	return e
}

func (e *entity) once(what, key string) bool {
	k := what + "\x00" + key
	if e.seen[k] {
		return false
	}
	e.seen[k] = true
	return true
}

// entityRelation reads the relations between entities, and of entities to
// agents and activities.
func (t *teller) entityRelation(r *relation) {
	switch r.section {
	case "wasAttributedTo":
		t.attribution(r)
	case "alternateOf":
		a, b := r.end("prov:alternate1"), r.end("prov:alternate2")
		if e := t.thingOf(a, t.classOf(a)); a != b && e.once("same", b) {
			e.same = append(e.same, t.any(b))
		}
	case "hadMember", "hadDictionaryMember":
		whole := append(r.ends["prov:collection"], r.ends["prov:dictionary"]...)[0]
		for _, m := range r.ends["prov:entity"] {
			if e := t.thingOf(m, isEntity); m != whole && e.once("part", whole) {
				e.partOf = append(e.partOf, t.d.resource(whole))
			}
		}
	case "specializationOf", "mentionOf":
		e, general := t.thingOf(r.end("prov:specificEntity"), isEntity), r.end("prov:generalEntity")
		if own := t.d.ref(e.name, isEntity); own.Version != "" && own.Series() == t.d.ref(general, isEntity) {
			return // a version says of which series it is
		}
		if e.once("special", general) {
			e.special = append(e.special, t.d.ref(general, isEntity).String())
		}
		if r.section == "mentionOf" {
			t.d.note("mentionOf: in which bundle a thing was described is kept in the evidence only")
		}
	case "wasInvalidatedBy":
		t.invalidation(r)
	case "wasInfluencedBy":
		t.influence(r)
	case "wasDerivedFrom", "derivedByInsertionFrom", "derivedByRemovalFrom":
		return
	}
	t.extras(r)
}

// classOf gives the class by which a name is meant where any may stand.
func (t *teller) classOf(name string) class {
	c := t.d.thing(name).classes
	switch {
	case c&(isEntity|isPlan) != 0 || c == 0:
		return isEntity
	case c&isAgent != 0:
		return isAgent
	}
	return isActivity
}

func (t *teller) any(name string) statement.Resource {
	if c := t.classOf(name); c != isEntity {
		return statement.NewResource(t.d.ref(name, c), nil)
	}
	return t.d.resource(name)
}

// derivation reads what one entity was made of. It adds to what the activity
// used: PROV does not say that a stated derivation is the only one
// (PROV-CONSTRAINTS, inference 11 makes a usage and a generation of it).
func (t *teller) derivation(r *relation) {
	how := ""
	to, from := r.end("prov:generatedEntity"), r.end("prov:usedEntity")
	switch r.section {
	case "wasDerivedFrom":
		how = transformation(r)
	case "derivedByInsertionFrom", "derivedByRemovalFrom":
		to, from, how = r.end("prov:after"), r.end("prov:before"), strings.TrimPrefix(r.section, "derivedBy")
	default:
		return
	}
	t.extras(r)
	if to == from {
		return
	}
	by := r.end("prov:activity")
	if g := r.end("prov:generation"); by == "" && g != "" {
		by = t.byID[g]
	}
	if by != "" {
		a := t.act(by)
		if a.once("read", from) {
			a.used = append(a.used, statement.Use{Resource: t.d.resource(from), Rule: statement.RuleStated})
		}
		if a.once("output", to) {
			a.outputs = append(a.outputs, to)
		}
	} else {
		by = t.generated[to]
	}
	in := statement.DerivedInput{Resource: t.d.resource(from), Transformation: how}
	if t.stated[to] && by != "" {
		a := t.act(by)
		a.derived[to] = append(a.derived[to], in)
		return
	}
	e := t.thingOf(to, isEntity)
	at := t.written(r, "stemma:validFrom")
	if at.IsZero() {
		at = t.made[to]
	}
	if a := t.acts[by]; at.IsZero() && a != nil {
		at = a.end
	}
	if e.once("derived", from+"\x00"+how+"\x00"+at.String()) {
		e.derived = append(e.derived, dated{at, in})
	}
}

// transformation gives the sort of a derivation: Revision, Quotation,
// PrimarySource, or whatever type it has.
func transformation(r *relation) string {
	if how := first(r.node.Get("stemma:role")); how != "" {
		return how
	}
	var words []string
	for _, v := range values(r.node.Get("prov:type")) {
		if v.text != "" && local(v.text) != "Derivation" {
			words = append(words, local(v.text))
		}
	}
	return clip(strings.Join(words, ", "))
}

func (t *teller) attribution(r *relation) {
	name, who := r.end("prov:entity"), r.end("prov:agent")
	t.thingOf(who, isAgent)
	if kind := first(r.node.Get(RelationAttribute)); kind == prov.AssociatedWith.String() {
		t.govern(name).add(kind, who, role(r))
		return
	}
	c := t.classOf(name)
	e := t.thingOf(name, c)
	at := t.written(r, "stemma:validFrom")
	if at.IsZero() {
		at = t.made[name]
	}
	p := &statement.Entity{State: "owned", At: at, Owner: t.d.agent(who)}
	if s := role(r); s != "" && s != "owner" {
		p.Attributes = map[string]string{"ownerType": s}
	}
	if e.once("owner", who+"\x00"+at.String()) {
		t.tell(importer.Draft{Subjects: []statement.Subject{t.about(name, c)}, Predicate: p})
	}
}

func (t *teller) about(name string, c class) statement.Subject {
	if c == isEntity {
		return t.d.subject(name)
	}
	return statement.NewSubject(t.d.ref(name, c), nil)
}

// invalidation says that an entity is no more.
func (t *teller) invalidation(r *relation) {
	p := &statement.Entity{State: "retired", At: t.time(r.node.Get("prov:time"), "prov:time", r.section)}
	if by := r.end("prov:activity"); by != "" {
		p.Attributes = map[string]string{"activity": t.d.ref(by, isActivity).String()}
		t.act(by)
		if p.At.IsZero() {
			p.At = t.acts[by].end
		}
	}
	t.tell(importer.Draft{Subjects: []statement.Subject{t.d.subject(r.end("prov:entity"))}, Predicate: p})
}

// written reads a time that package report wrote beside a relation.
func (t *teller) written(r *relation, attribute string) statement.Time {
	return t.time(r.node.Get(attribute), attribute, r.section)
}

// extras notes the attributes of a relation that no statement holds.
func (t *teller) extras(r *relation) {
	for m := range r.node.All() {
		switch k := m.Key(); {
		case slices.Contains(sections[r.section].ends, k), k == "prov:time", k == "prov:role", strings.HasPrefix(k, "stemma:"):
		case k == "prov:type" && r.section == "wasDerivedFrom":
		default:
			t.d.note("%s: attribute %s is kept in the evidence only", r.section, k)
		}
	}
}

// entity gives the statements about one entity or agent: what it is, and what
// it was derived from, by the time at which that is said to hold.
func (t *teller) entity(e *entity) {
	if e.class == isActivity || t.governing[e.name] != nil {
		return // its activity or its own statement says it
	}
	p := &statement.Entity{State: "described", At: t.made[e.name], SameAs: e.same, PartOf: e.partOf}
	subject := []statement.Subject{t.about(e.name, e.class)}
	if e.own || len(e.special) > 0 {
		t.describe(e, p)
	}
	if len(p.Attributes) > 0 || len(p.SameAs)+len(p.PartOf) > 0 || p.State != "described" || p.Origin+p.Licence+p.Sensitivity+p.Description != "" ||
		e.own && !t.mentioned[e.name] {
		t.tell(importer.Draft{Subjects: subject, Predicate: p})
	}
	byTime := map[string][]statement.DerivedInput{}
	var times []statement.Time
	for _, d := range e.derived {
		key := d.at.String()
		if byTime[key] == nil {
			times = append(times, d.at)
		}
		byTime[key] = append(byTime[key], d.from)
	}
	for _, at := range times {
		var some []statement.DerivedInput
		for rest := byTime[at.String()]; len(rest) > 0; {
			some, rest = cut(rest, maxTies)
			x := statement.Derivation{To: t.any(e.name), From: some, Rule: statement.RuleStated}
			t.tell(importer.Draft{Subjects: subject, Predicate: &statement.Entity{State: "described", At: at, Derived: []statement.Derivation{x}}})
		}
	}
}

// describe fills in the attributes of a thing, those that package report
// wrote in their own places.
func (t *teller) describe(e *entity, p *statement.Entity) {
	section := map[class]string{isEntity: "entity", isAgent: "agent"}[e.class]
	a := t.attributes(e.name, section)
	take := func(key string) string {
		s := a[key]
		delete(a, key)
		return s
	}
	if t.d.thing(e.name).attribute(RefAttribute) != "" {
		switch s := take("state"); s {
		case "registered", "described", "labelled", "owned", "retired":
			p.State = s
		}
		p.Origin, p.Licence, p.Sensitivity = take("origin"), take("licence"), take("sensitivity")
		p.Description = take("description")
		take("type")
		take("label")
		if p.State == "owned" { // its owner is told by a relation
			p.State = "described"
		}
	}
	for i, s := range e.special {
		if a == nil {
			a = map[string]string{}
		}
		key := "specializationOf"
		if i > 0 {
			key = fmt.Sprintf("specializationOf.%d", i+1)
		}
		a[key] = clip(s)
	}
	if t.name != "" && len(a) > 0 {
		a["bundle"] = clip(t.name)
	}
	p.Attributes = a
}
