package provjson

import (
	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// maxTies is how many uses, outputs and other ties one statement about an
// activity holds; what is more goes into further statements about it.
const maxTies = 5000

// act gathers what a bundle says of one activity.
type act struct {
	name       string
	start, end statement.Time
	seen       statement.Time // the last generation
	used       []statement.Use
	outputs    []string
	has        map[string]bool
	informed   []statement.Resource
	parties    []statement.Party
	behalf     []statement.Party
	plans      []statement.Resource
	derived    map[string][]statement.DerivedInput // of outputs that are made of these alone
	cred       []statement.Resource
	tools      []statement.Resource
}

// teller makes the statements of one bundle.
type teller struct {
	*bundle
	acts      map[string]*act
	order     []*act
	entities  map[string]*entity
	names     []*entity
	generated map[string]string         // entity to the activity that generated it
	made      map[string]statement.Time // entity to its generation
	byID      map[string]string         // identifier of a generation to its activity
	stated    map[string]bool           // outputs whose derivations are all that they were made of
	governing map[string]*governing
	rulings   []*governing
	mentioned map[string]bool // in a relation of this bundle
}

func (b *bundle) statements() {
	t := &teller{bundle: b, acts: map[string]*act{}, entities: map[string]*entity{}, generated: map[string]string{},
		made: map[string]statement.Time{}, byID: map[string]string{}, stated: map[string]bool{},
		governing: map[string]*governing{}, mentioned: map[string]bool{}}
	for _, r := range b.relations {
		for _, names := range r.ends {
			for _, n := range names {
				t.mentioned[n] = true
			}
		}
	}
	for _, m := range b.members {
		t.member(m)
	}
	for i := range b.relations {
		if r := &b.relations[i]; r.section == "wasGeneratedBy" {
			t.generation(r)
		}
	}
	for i := range b.relations {
		t.relation(&b.relations[i])
	}
	for i := range b.relations { // what was used and generated is known now
		t.derivation(&b.relations[i])
	}
	for _, a := range t.order {
		t.activity(a)
	}
	for _, e := range t.names {
		t.entity(e)
	}
	t.rule()
}

// member takes in the records of one thing.
func (t *teller) member(m *thing) {
	if t.isAnswer(m) {
		return
	}
	if m.classes&isActivity != 0 {
		a := t.act(m.name)
		for _, r := range m.records {
			if r.bundle == t.bundle && r.section == "activity" {
				t.span(a, r.node.Get("prov:startTime"), r.node.Get("prov:endTime"))
			}
		}
	}
	if m.classes&isEntity != 0 {
		t.thingOf(m.name, isEntity).own = true
	}
	if m.classes&isAgent != 0 {
		t.thingOf(m.name, isAgent).own = true
	}
}

func (t *teller) span(a *act, start, end rawjson.Node) {
	if s := t.time(start, "prov:startTime", a.name); !s.IsZero() && (a.start.IsZero() || s.Before(a.start.Time)) {
		a.start = s
	}
	if s := t.time(end, "prov:endTime", a.name); !s.IsZero() && s.After(a.end.Time) {
		a.end = s
	}
}

func (t *teller) act(name string) *act {
	a := t.acts[name]
	if a == nil {
		a = &act{name: name, has: map[string]bool{}, derived: map[string][]statement.DerivedInput{}}
		t.acts[name] = a
		t.order = append(t.order, a)
	}
	return a
}

// once tells whether something is said of the activity for the first time.
func (a *act) once(what, key string) bool {
	k := what + "\x00" + key
	if a.has[k] {
		return false
	}
	a.has[k] = true
	return true
}

func (t *teller) generation(r *relation) {
	e, by := r.end("prov:entity"), r.end("prov:activity")
	at := t.time(r.node.Get("prov:time"), "prov:time", r.section)
	if !at.IsZero() && (t.made[e].IsZero() || at.Before(t.made[e].Time)) {
		t.made[e] = at
	}
	if by == "" {
		t.thingOf(e, isEntity)
		t.d.note("wasGeneratedBy of %s names no activity; its time is taken, the generation is in the evidence only", e)
		return
	}
	t.byID[r.id] = by
	if r.id == "" {
		delete(t.byID, "")
	}
	if t.generated[e] == "" {
		t.generated[e] = by
	}
	if first(r.node.Get("stemma:stated")) == "true" {
		t.stated[e] = true
	}
	a := t.act(by)
	if at.After(a.seen.Time) {
		a.seen = at
	}
	if a.once("output", e) {
		a.outputs = append(a.outputs, e)
	}
	t.extras(r)
}

func (t *teller) relation(r *relation) {
	switch r.section {
	case "wasGeneratedBy":
	case "used":
		t.use(r, r.end("prov:activity"), r.end("prov:entity"), role(r))
	case "wasStartedBy", "wasEndedBy":
		t.edge(r)
	case "wasInformedBy":
		t.inform(r.end("prov:informed"), r.end("prov:informant"))
	case "wasAssociatedWith":
		t.association(r)
	case "actedOnBehalfOf":
		t.delegation(r)
	default:
		t.entityRelation(r)
		return
	}
	if r.section != "wasGeneratedBy" {
		t.extras(r)
	}
}

func role(r *relation) string {
	s := ""
	for _, v := range values(r.node.Get("prov:role")) {
		if v.text != "" && s != "" {
			s += ", "
		}
		s += v.text
	}
	return rawjson.Clip(s, 200)
}

func (t *teller) use(r *relation, activity, entity, role string) {
	a := t.act(activity)
	at := t.time(r.node.Get("prov:time"), "prov:time", r.section)
	a.once("read", entity)
	if a.once("use", entity+"\x00"+role+"\x00"+at.String()) {
		a.used = append(a.used, statement.Use{Resource: t.d.resource(entity), Role: role, At: at, Rule: statement.RuleStated})
	}
}

// edge reads wasStartedBy and wasEndedBy. What triggered a start bears on what
// the activity did; what triggered its end does not.
func (t *teller) edge(r *relation) {
	a := t.act(r.end("prov:activity"))
	at, none := r.node.Get("prov:time"), rawjson.Node{}
	trigger, other := r.end("prov:trigger"), r.end("prov:starter")
	if r.section == "wasStartedBy" {
		t.span(a, at, none)
		if trigger != "" && a.once("use", trigger+"\x00trigger") {
			a.used = append(a.used, statement.Use{Resource: t.d.resource(trigger), Role: "trigger", Rule: statement.RuleStated})
		}
		if other != "" {
			t.inform(a.name, other)
		}
		return
	}
	t.span(a, none, at)
	if other = r.end("prov:ender"); trigger != "" || other != "" {
		t.d.note("wasEndedBy: what ended an activity is kept in the evidence only")
	}
}

func (t *teller) inform(informed, informant string) {
	a := t.act(informed)
	t.act(informant)
	if informed != informant && a.once("informed", informant) {
		x := statement.NewResource(t.d.ref(informant, isActivity), nil)
		a.informed = append(a.informed, x)
	}
}

func (t *teller) association(r *relation) {
	a := t.act(r.end("prov:activity"))
	if plan := r.end("prov:plan"); plan != "" && a.once("plan", plan) {
		a.plans = append(a.plans, t.d.resource(plan))
	}
	if who := r.end("prov:agent"); who != "" {
		t.party(a, &a.parties, who, role(r))
	}
}

func (t *teller) party(a *act, list *[]statement.Party, who, role string) {
	t.thingOf(who, isAgent)
	if ref := t.d.agent(who); a.once("party", ref+"\x00"+role) {
		*list = append(*list, statement.Party{Ref: ref, Role: role})
	}
}

// delegation reads actedOnBehalfOf: one hop, which nobody but the document
// vouches for.
func (t *teller) delegation(r *relation) {
	child, parent := r.end("prov:delegate"), r.end("prov:responsible")
	t.thingOf(child, isAgent)
	t.thingOf(parent, isAgent)
	p := &statement.Delegation{Parent: t.d.agent(parent), Child: t.d.agent(child), Grade: "self-reported",
		IssuedAt: t.written(r, "stemma:validFrom"), ExpiresAt: t.written(r, "stemma:validTo")}
	if in := r.end("prov:activity"); in != "" {
		a := t.act(in)
		if p.IssuedAt.IsZero() {
			p.IssuedAt = a.start
		}
		if ref := p.Parent; a.once("behalf", ref) {
			a.behalf = append(a.behalf, statement.Party{Ref: ref, Role: role(r)})
		}
	}
	child2 := statement.NewSubject(t.d.ref(child, isAgent), nil)
	t.tell(importer.Draft{Subjects: []statement.Subject{child2}, Predicate: p})
}

func (t *teller) tell(x importer.Draft) {
	t.d.out = append(t.d.out, x)
}

// activity gives the statements about one activity. Only the first holds its
// parameters.
func (t *teller) activity(a *act) {
	id := t.d.ref(a.name, isActivity)
	if id.Kind != prov.Activity {
		return // a decision, which is not imported
	}
	kind, state := t.kindOf(a.name)
	complete := statement.Declared
	if x := t.d.thing(a.name); x.attribute(RefAttribute) != "" {
		complete = x.attribute(attrPrefix + "inputsCompleteness")
	}
	head := func() *statement.Activity {
		p := &statement.Activity{Kind: kind, ID: id.String(), StartedAt: a.start, EndedAt: a.end, State: state, InputsCompleteness: complete}
		if a.end.IsZero() {
			p.ObservedAt = a.seen
		}
		if !a.start.IsZero() && !a.end.IsZero() && a.end.Before(a.start.Time) {
			t.d.note("%s ends at %s, before it begins; its end is kept in the evidence only", a.name, a.end)
			p.EndedAt = statement.Time{}
		}
		return p
	}
	p := head()
	p.Parameters, p.Environment = t.parameters(a.name)
	p.Identities, p.OnBehalfOf, p.InformedBy = a.parties, a.behalf, a.informed
	p.Credentials, p.Tools = a.cred, a.tools
	if len(a.plans) > 0 {
		p.Plan = &a.plans[0]
	}
	if t.mentioned[a.name] && a.nothing() && p.Parameters == nil && p.Environment == nil && state == "" && kind == "activity" {
		return // others say all there is to say
	}
	t.outputs(a, id, p, head)
	for i := 1; i < len(a.plans); i++ {
		p = head()
		p.Plan = &a.plans[i]
		t.tell(importer.Draft{Subjects: []statement.Subject{statement.NewSubject(id, nil)}, Predicate: p})
	}
}

// outputs tells the first statement p about the activity, with what it used and
// made, and as many more as that needs.
func (t *teller) outputs(a *act, id prov.Ref, p *statement.Activity, head func() *statement.Activity) {
	var whole, stated []string
	for _, e := range a.outputs {
		if t.stated[e] {
			stated = append(stated, e)
		} else {
			whole = append(whole, e)
		}
	}
	for n := 0; n == 0 || len(a.used) > 0 || len(whole) > 0 || len(stated) > 0; n++ {
		var subjects []statement.Subject
		p.Used, a.used = cut(a.used, maxTies)
		var some []string
		some, whole = cut(whole, maxTies)
		for _, e := range some {
			subjects = append(subjects, t.d.subject(e))
		}
		some, stated = cut(stated, maxTies)
		for _, e := range some {
			p.Derived = append(p.Derived, statement.Derivation{To: t.d.resource(e), From: nonNil(a.derived[e]), Rule: statement.RuleStated})
		}
		if len(subjects) == 0 {
			subjects = []statement.Subject{statement.NewSubject(id, nil)}
		}
		t.tell(importer.Draft{Subjects: subjects, Predicate: p})
		p = head()
	}
}

// nothing tells whether nothing is known of the activity but its name.
func (a *act) nothing() bool {
	return a.start.IsZero() && a.end.IsZero() && a.seen.IsZero() &&
		len(a.used)+len(a.outputs)+len(a.informed)+len(a.parties)+len(a.behalf)+len(a.plans)+len(a.cred)+len(a.tools) == 0
}

func nonNil(list []statement.DerivedInput) []statement.DerivedInput {
	if list == nil {
		return []statement.DerivedInput{}
	}
	return list
}

func cut[T any](list []T, n int) (some, rest []T) {
	if len(list) <= n {
		return list, nil
	}
	return list[:n:n], list[n:]
}

// activityKinds are the sorts of activities by the words of their types.
var activityKinds = map[string]string{
	"train": "train", "training": "train", "trainingrun": "train", "modeltraining": "train", "fit": "train",
	"finetune": "fine-tune", "finetuning": "fine-tune",
	"evaluate": "evaluate", "evaluation": "evaluate", "test": "evaluate", "testing": "evaluate", "validation": "evaluate",
	"collect": "collect", "collection": "collect", "transform": "transform", "transformation": "transform",
	"preprocessing": "transform", "deploy": "deploy", "deployment": "deploy", "review": "review", "package": "package",
}

// kindOf gives the sort and state of an activity: as a type of it tells, else
// "activity".
func (t *teller) kindOf(name string) (kind, state string) {
	x := t.d.thing(name)
	if kind = x.attribute(attrPrefix + "activity"); kind == "" {
		kind = "activity"
		for _, w := range x.types() {
			if k, ok := activityKinds[w]; ok {
				kind = k
				break
			}
		}
	}
	switch s := x.attribute(attrPrefix + "state"); s {
	case "started", "running", "completed", "failed", "aborted", "other":
		state = s
	}
	return kind, state
}
