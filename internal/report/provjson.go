package report

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

// PROVJSON gives the answer as a PROV-JSON document (W3C Member Submission 24
// April 2013). Relations that PROV-DM has no word for are wasInfluencedBy with
// stemma:relation; what PROV cannot say of a thing or relation is in
// attributes of the namespaces stemma and stemma-attr. See
// docs/format-prov-json.md.
func PROVJSON(a *query.Answer) ([]byte, error) {
	if a.History != nil || a.Differences != nil || a.Counts != nil {
		return nil, fmt.Errorf("format prov-json gives things and their relations; %s gives none: use -o json", a.Question.Verb)
	}
	p := &provDocument{prefix: map[string]string{"stemma": "https://stemma.dev/ns#", "stemma-attr": "https://stemma.dev/ns/attribute#"},
		sections: map[string]map[string]provRecord{}, class: map[string]prov.Class{}}
	for class, items := range map[prov.Class][]query.Item{prov.ClassEntity: a.Entities, prov.ClassActivity: a.Activities, prov.ClassIdentity: a.Identities} {
		for _, it := range items {
			p.class[it.Ref] = class
			p.item(class, it)
		}
	}
	for i, r := range a.Relations {
		p.relation(fmt.Sprintf("_:r%d", i+1), r)
	}
	if err := p.answer(a); err != nil {
		return nil, err
	}
	doc := map[string]any{"prefix": p.prefix}
	for name, records := range p.sections {
		doc[name] = records
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing PROV-JSON: %w", err)
	}
	return append(b, '\n'), nil
}

type provRecord map[string]any

type provDocument struct {
	prefix   map[string]string
	sections map[string]map[string]provRecord
	class    map[string]prov.Class // of the items, by Ref
}

func (p *provDocument) add(section, id string, r provRecord) {
	if p.sections[section] == nil {
		p.sections[section] = map[string]provRecord{}
	}
	p.sections[section][id] = r
}

type provLiteral struct {
	Value string `json:"$"`
	Type  string `json:"type"`
}

func qualified(name string) provLiteral { return provLiteral{name, "prov:QUALIFIED_NAME"} }

// id gives the qualified name of a thing: its Ref, with the kind as prefix.
func (p *provDocument) id(ref string) string {
	kind, name, ok := strings.Cut(ref, ":")
	if !ok {
		kind, name = "thing", ref
	}
	p.prefix[kind] = "https://stemma.dev/ref/" + kind + ":"
	return kind + ":" + localPart(name)
}

// localPart escapes what may not stand in the local part of a qualified name
// (PROV-N, production PN_LOCAL) as %XX. A Ref has '%' only before two digits.
func localPart(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x80 || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("_-./@~&+*?#$!%", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

var provSections = map[prov.Class]string{prov.ClassEntity: "entity", prov.ClassActivity: "activity", prov.ClassIdentity: "agent"}

var provAgentTypes = map[string]string{"person": "prov:Person", "org": "prov:Organization", "team": "prov:Organization",
	"sa": "prov:SoftwareAgent", "workload": "prov:SoftwareAgent", "subagent": "prov:SoftwareAgent"}

func (p *provDocument) item(class prov.Class, it query.Item) {
	types := []provLiteral{qualified("stemma:" + it.Kind)}
	if it.Kind == string(prov.Plan) {
		types = append(types, qualified("prov:Plan"))
	}
	if t, ok := provAgentTypes[it.Kind]; ok {
		types = append(types, qualified(t))
	}
	r := provRecord{"prov:type": types, "prov:label": it.Name, "stemma:ref": it.Ref}
	if len(it.Entries) > 0 {
		r["stemma:entry"] = it.Entries
	}
	if it.Digest != "" {
		r["stemma:digest"] = it.Digest
	}
	if len(it.Aliases) > 0 {
		r["stemma:alias"] = it.Aliases
	}
	if it.Distance != nil {
		r["stemma:distance"] = *it.Distance
	}
	if it.Context {
		r["stemma:context"] = true
	}
	if len(it.Notes) > 0 {
		r["stemma:note"] = it.Notes
	}
	for k, v := range it.Attributes {
		switch {
		case class == prov.ClassActivity && k == "startedAt":
			r["prov:startTime"] = v
		case class == prov.ClassActivity && k == "endedAt":
			r["prov:endTime"] = v
		default:
			r["stemma-attr:"+localPart(strings.ReplaceAll(k, "%", "%25"))] = v
		}
	}
	p.add(provSections[class], p.id(it.Ref), r)
}

func (p *provDocument) classOf(ref string) prov.Class {
	if c, ok := p.class[ref]; ok {
		return c
	}
	kind, _, _ := strings.Cut(ref, ":")
	return prov.Kind(kind).Class()
}

// provForm is how a relation is written: the section, the attributes for its
// ends, and the classes that these must have.
type provForm struct {
	section, from, to    string
	fromClass, toClass   prov.Class
	timed, roled, marked bool // it has prov:time, prov:role; its type needs stemma:relation
}

const anyClass = prov.Class(0)

var provForms = map[string][]provForm{
	"Used":             {{"used", "prov:activity", "prov:entity", prov.ClassActivity, prov.ClassEntity, true, true, false}},
	"GeneratedBy":      {{"wasGeneratedBy", "prov:entity", "prov:activity", prov.ClassEntity, prov.ClassActivity, true, true, false}},
	"DerivedFrom":      {{"wasDerivedFrom", "prov:generatedEntity", "prov:usedEntity", prov.ClassEntity, prov.ClassEntity, false, false, false}},
	"SpecializationOf": {{"specializationOf", "prov:specificEntity", "prov:generalEntity", prov.ClassEntity, prov.ClassEntity, false, false, false}},
	"SameAs":           {{"alternateOf", "prov:alternate1", "prov:alternate2", anyClass, anyClass, false, false, false}},
	"PartOf":           {{"hadMember", "prov:entity", "prov:collection", prov.ClassEntity, prov.ClassEntity, false, false, false}},
	"HadPlan":          {{"wasAssociatedWith", "prov:activity", "prov:plan", prov.ClassActivity, prov.ClassEntity, false, true, false}},
	"InformedBy":       {{"wasInformedBy", "prov:informed", "prov:informant", prov.ClassActivity, prov.ClassActivity, false, false, false}},
	"AssociatedWith": {{"wasAssociatedWith", "prov:activity", "prov:agent", prov.ClassActivity, prov.ClassIdentity, false, true, false},
		{"wasAttributedTo", "prov:entity", "prov:agent", prov.ClassEntity, prov.ClassIdentity, false, true, true}},
	"ActedOnBehalfOf": {{"actedOnBehalfOf", "prov:delegate", "prov:responsible", prov.ClassIdentity, prov.ClassIdentity, false, true, false}},
	"OwnedBy":         {{"wasAttributedTo", "prov:entity", "prov:agent", anyClass, prov.ClassIdentity, false, true, false}},
}

var provInfluence = provForm{"wasInfluencedBy", "prov:influencee", "prov:influencer", anyClass, anyClass, false, true, true}

func (p *provDocument) formOf(r query.RelationItem) provForm {
	for _, f := range provForms[r.Type] {
		if (f.fromClass == anyClass || f.fromClass == p.classOf(r.From)) && (f.toClass == anyClass || f.toClass == p.classOf(r.To)) {
			return f
		}
	}
	return provInfluence
}

func (p *provDocument) relation(id string, r query.RelationItem) {
	f := p.formOf(r)
	x := provRecord{f.from: p.id(r.From), f.to: p.id(r.To), "stemma:entry": r.Entry}
	if f.marked {
		x["stemma:relation"] = r.Type
	}
	set := func(k, v string) {
		if v != "" {
			x[k] = v
		}
	}
	if f.timed {
		set("prov:time", string(r.ValidFrom))
	}
	set("stemma:validFrom", string(r.ValidFrom))
	set("stemma:validTo", string(r.ValidTo))
	set("stemma:rule", r.Rule)
	if f.roled {
		set("prov:role", r.Role)
	} else {
		set("stemma:role", r.Role)
	}
	if r.KnownFrom > 0 {
		x["stemma:knownFrom"] = r.KnownFrom
	}
	if r.Type == "GeneratedBy" && r.Rule == "" {
		x["stemma:stated"] = true // its derivations are all that it was made of
	}
	p.add(f.section, id, x)
}

// answer describes the answer itself, as an entity.
func (p *provDocument) answer(a *query.Answer) error {
	q, err := json.Marshal(a.Question)
	if err != nil {
		return fmt.Errorf("writing PROV-JSON: %w", err)
	}
	r := provRecord{"prov:type": qualified("stemma:Answer"), "stemma:question": string(q), "stemma:focus": a.Focus,
		"stemma:logSize": a.LogSize, "stemma:known": a.AsOf.Known, "stemma:truncated": a.Truncated, "stemma:hidden": a.Hidden}
	if a.Root != "" {
		r["stemma:root"] = a.Root
	}
	if a.AsOf.Valid != "" {
		r["stemma:valid"] = string(a.AsOf.Valid)
	}
	var unknown []string
	for _, u := range a.Unknown {
		unknown = append(unknown, strings.TrimPrefix(u.Ref+": "+u.Reason, ": "))
	}
	if unknown != nil {
		r["stemma:unknown"] = unknown
	}
	p.add("entity", "stemma:answer", r)
	return nil
}
