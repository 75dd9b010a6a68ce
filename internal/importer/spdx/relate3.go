package spdx

import (
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/bom"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// relations3 are the relationship types of SPDX 3 (Core, RelationshipType)
// that say what a thing is made of or needs to run.
var relations3 = map[string]relation{
	"contains": {contains: true}, "dependsOn": {how: "depends-on"}, "hasDataFile": {how: "data-file"}, "trainedOn": {how: "trained-on"},
	"generates": {how: "generated-from", backward: true}, "ancestorOf": {how: "ancestor", backward: true}, "descendantOf": {how: "ancestor"},
	"copiedTo": {how: "copy", backward: true}, "hasStaticLink": {how: "static-link"}, "hasDynamicLink": {how: "dynamic-link"},
	"hasPrerequisite": {how: "prerequisite"}, "hasOptionalDependency": {how: "optional-dependency"}, "hasProvidedDependency": {how: "provided-dependency"},
	"hasOptionalComponent": {how: "optional-component"}, "hasDistributionArtifact": {how: "distribution", backward: true},
	"expandsTo": {how: "archive", backward: true}, "packagedBy": {how: "package", backward: true}, "hasInput": {how: "input"},
	"hasOutput": {how: "output", backward: true}, "modifiedBy": {}, "usesTool": {how: "tool"}, "hasAddedFile": {how: "file-added"},
	"patchedBy": {how: "patch"}, "hasDependencyManifest": {},
}

// tie says what a relationship or annotation says.
func (x *reading3) tie(n rawjson.Node, place string) {
	typ := typeOf(n)
	if typ == "Annotation" {
		x.annotation(n, place)
		return
	}
	if !strings.HasSuffix(typ, "Relationship") {
		return
	}
	from, tos, what := n.Get("from").Text(), list(n.Get("to")), n.Get("relationshipType").Text()
	if from == "" || what == "" {
		x.Refuse(BadRelationship, place, "lacks from or relationshipType; a relationship has both")
		return
	}
	if c := n.Get("completeness").Text(); c != "" && c != "noAssertion" {
		x.Describe(x.find(from), bom.Description{State: "labelled", Attributes: map[string]string{"completeness." + what: c}})
	}
	for _, to := range tos {
		if strings.HasSuffix(to, "NoneElement") || strings.HasSuffix(to, "NoAssertionElement") || strings.HasPrefix(to, "expandedlicensing_No") || strings.HasSuffix(to, "/NoneLicense") || strings.HasSuffix(to, "/NoAssertionLicense") {
			continue
		}
		x.one(n, from, to, what, place)
	}
}

func (x *reading3) one(n rawjson.Node, from, to, what, place string) {
	if _, isVuln := x.vulns[from]; isVuln {
		x.assess(n, from, to, what, place)
		return
	}
	switch what {
	case "hasDeclaredLicense":
		if t := first(x.texts[to], to); t != "" && !x.find(from).IsZero() && x.things[from].Ref.Kind != "" {
			x.licences[from] = append(x.licences[from], t)
		}
		return
	case "hasConcludedLicense":
		x.Describe(x.find(from), bom.Description{State: "labelled", Attributes: map[string]string{"licence concluded": first(x.texts[to], to)}})
		return
	case "testedOn":
		x.tested(n, from, to)
		return
	case "describes":
		return
	}
	if b, ok := x.builds[from]; ok && b.tie(x, what, to) {
		return
	}
	r, ok := relations3[what]
	if scope := n.Get("scope").Text(); scope == "development" || scope == "test" || !ok || r == (relation{}) {
		if scope != "" && ok {
			what += " in the scope " + scope
		}
		x.leftOut[what]++
		return
	}
	a, b := x.find(from), x.find(to)
	if r.backward {
		a, b = b, a
	}
	if a.Key() == x.self.Key() || b.Key() == x.self.Key() {
		x.leftOut[what+" of the document itself"]++ // it lists things, and is not made of them
		return
	}
	if what == "hasOutput" || what == "hasInput" || what == "usesTool" {
		x.leftOut[what]++ // of something that is no build
		return
	}
	if r.contains {
		x.Contain(a, b)
	} else {
		x.Derive(a, b, r.how)
	}
}

// tested makes an evaluation of a test: a model is not made of the data that
// it was tested on.
func (x *reading3) tested(n rawjson.Node, model, data string) {
	id := first(idOf(n), "tested "+model+" "+data)
	ref := bom.Fit(prov.Ref{Kind: prov.Activity, Name: id})
	p := &statement.Activity{Kind: "evaluate", ID: ref.String(), InputsCompleteness: statement.Declared,
		StartedAt: x.Time("startTime", n.Get("startTime").Text()), EndedAt: x.Time("endTime", n.Get("endTime").Text()),
		Used: []statement.Use{{Resource: x.find(model).Resource(), Role: "model", Rule: statement.RuleStated}, {Resource: x.find(data).Resource(), Role: "test-data", Rule: statement.RuleStated}}}
	if p.EndedAt.Before(p.StartedAt.Time) {
		p.EndedAt = statement.Time{}
	}
	if p.StartedAt.IsZero() && p.EndedAt.IsZero() {
		p.ObservedAt = x.At
	}
	x.Add(importer.Draft{Subjects: []statement.Subject{statement.NewSubject(ref, nil)}, Predicate: p})
}

func (x *reading3) annotation(n rawjson.Node, place string) {
	when := x.Time(place+".created", x.infos[n.Get("creationInfo").Text()].Get("created").Text())
	x.Describe(x.find(n.Get("subject").Text()), bom.Description{State: "labelled", At: when,
		Attributes: map[string]string{"annotation." + first(n.Get("annotationType").Text(), "other"): first(n.Get("statement").Text(), n.Get("comment").Text())}})
}

// assess says what a security relationship says of a vulnerability and a
// thing (SPDX 3 Security profile).
func (x *reading3) assess(n rawjson.Node, vuln, to, what, place string) {
	id, t := x.vulns[vuln], x.find(to)
	switch what {
	case "affects", "hasAssociatedVulnerability":
		p := statement.Notice{ID: bom.NoticeRef(id), At: x.At, Description: first(field(n, "security", "actionStatement").Text(), field(n, "security", "impactStatement").Text()),
			Severity: bom.Severity(field(n, "security", "severity").Text())}
		if when := x.Time(place, first(field(n, "security", "publishedTime").Text(), field(n, "security", "modifiedTime").Text())); !when.IsZero() {
			p.At = when
		}
		x.Vulnerable([]bom.Thing{t}, p)
	case "doesNotAffect", "fixedIn", "underInvestigationFor":
		text := map[string]string{"doesNotAffect": "not_affected", "fixedIn": "fixed", "underInvestigationFor": "under_investigation"}[what]
		for _, k := range []string{"justificationType", "impactStatement", "statusNotes"} {
			if v := field(n, "security", k).Text(); v != "" {
				text += "; " + v
			}
		}
		x.Describe(t, bom.Description{State: "labelled", Attributes: map[string]string{"vulnerability." + id: text}})
	default:
		if s := field(n, "security", "severity").Text(); s != "" {
			x.Describe(t, bom.Description{State: "labelled", Attributes: map[string]string{"severity." + id: s}})
		} else {
			x.leftOut[what]++
		}
	}
}

// build is a build of the build profile: an activity.
type build struct {
	ref  prov.Ref
	p    *statement.Activity
	outs []bom.Thing
}

func (x *reading3) build(n rawjson.Node, id, place string) {
	ref := bom.Fit(prov.Ref{Kind: prov.Activity, Name: id})
	if id == "" {
		x.Refuse(MissingField, place+".spdxId", "is missing; every element has one")
		return
	}
	p := &statement.Activity{Kind: "package", ID: ref.String(), InputsCompleteness: statement.Declared, Parameters: map[string]string{},
		StartedAt: x.Time(place+".build_buildStartTime", field(n, "build", "buildStartTime").Text()), EndedAt: x.Time(place+".build_buildEndTime", field(n, "build", "buildEndTime").Text())}
	if !p.StartedAt.IsZero() && !p.EndedAt.IsZero() && p.EndedAt.Before(p.StartedAt.Time) {
		x.Note("%s: buildEndTime is before buildStartTime; left out", place)
		p.EndedAt = statement.Time{}
	}
	for _, k := range []string{"buildType", "buildId"} {
		p.Parameters[k] = field(n, "build", k).Text()
	}
	for m := range field(n, "build", "parameter").All() {
		p.Parameters["parameter."+m.Get("key").Text()] = rawjson.Clip(m.Get("value").Text(), 1000)
	}
	for m := range field(n, "build", "configSourceUri").All() {
		p.Used = append(p.Used, statement.Use{Resource: bom.Thing{Ref: bom.Fit(prov.Ref{Kind: prov.Resource, Name: rawjson.Secrets(m.Text())})}.Resource(), Role: "config-source", Rule: statement.RuleStated})
	}
	for k, v := range p.Parameters {
		if v == "" {
			delete(p.Parameters, k)
		}
	}
	if _, again := x.builds[id]; !again {
		x.builds[id] = &build{ref: ref, p: p}
		x.order = append(x.order, id)
	}
}

// tie adds what a relationship of the build says; it says no to those that
// are not about what a build is.
func (b *build) tie(x *reading3, what, to string) bool {
	use := func(role string) {
		b.p.Used = append(b.p.Used, statement.Use{Resource: x.find(to).Resource(), Role: role, Rule: statement.RuleStated})
	}
	switch what {
	case "hasInput", "dependsOn":
		use("input")
	case "hasHost":
		use("host")
	case "usesTool":
		if _, isTool := x.things[to]; isTool && x.things[to].Ref.Kind == prov.Tool {
			b.p.Tools = append(b.p.Tools, x.things[to].Resource())
		} else {
			use("tool")
		}
	case "configures":
		use("configuration")
	case "hasOutput", "generates":
		b.outs = append(b.outs, x.find(to))
	case "invokedBy", "delegatedTo":
		r, ok := x.parties[to]
		if !ok {
			return false
		}
		role := map[string]string{"invokedBy": "invoker", "delegatedTo": "builder"}[what]
		b.p.Identities = append(b.p.Identities, statement.Party{Ref: r.String(), Role: role})
	case "ancestorOf":
		if child, ok := x.builds[to]; ok {
			child.p.InformedBy = append(child.p.InformedBy, statement.NewResource(b.ref, nil))
			return true
		}
		return false
	default:
		return false
	}
	return true
}

func (b *build) draft() importer.Draft {
	d := importer.Draft{Predicate: b.p}
	for _, t := range b.outs {
		d.Subjects = append(d.Subjects, t.Subject())
	}
	if len(d.Subjects) == 0 {
		d.Subjects = []statement.Subject{statement.NewSubject(b.ref, nil)}
	}
	return d
}
