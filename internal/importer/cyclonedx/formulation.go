package cyclonedx

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/bom"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

var uuid = regexp.MustCompile(`^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$`)

// activityKinds gives our word for a task type of CycloneDX (1.5 and later,
// taskType).
var activityKinds = map[string]string{"build": "package", "deliver": "package", "release": "package", "test": "evaluate", "scan": "evaluate",
	"lint": "evaluate", "deploy": "deploy", "clone": "collect", "copy": "collect", "merge": "transform", "clean": "transform", "other": "transform"}

// formulation makes an activity of each workflow and task.
func (x *reading) formulation() {
	type process struct {
		n        rawjson.Node
		place    string
		workflow rawjson.Node
	}
	var all []process
	acts := map[string]prov.Ref{} // by bom-ref
	add := func(p process) {
		all = append(all, p)
		if ref := p.n.Get("bom-ref").Text(); ref != "" && acts[ref].IsZero() {
			acts[ref] = x.activityRef(p.n, p.place)
		}
	}
	for i, f := range x.doc.Each("formulation") {
		k := 0
		for w := range f.Get("workflows").All() {
			place := at(at("formulation", i)+".workflows", k)
			k++
			add(process{n: w, place: place})
			j := 0
			for t := range w.Get("tasks").All() {
				add(process{t, at(place+".tasks", j), w})
				j++
			}
		}
	}
	for _, p := range all {
		a := x.activity(p.n, p.place, acts)
		if p.workflow.Given() {
			a.p.InformedBy = append(a.p.InformedBy, resource(x.activityRef(p.workflow, p.place[:strings.LastIndex(p.place, ".tasks")])))
			for d := range p.workflow.Get("taskDependencies").All() {
				if d.Get("ref").Text() != p.n.Get("bom-ref").Text() || d.Get("ref").Text() == "" {
					continue
				}
				for on := range d.Get("dependsOn").All() {
					if r, ok := acts[on.Text()]; ok {
						a.p.InformedBy = append(a.p.InformedBy, resource(r))
					} else {
						x.Note("%s: depends on %q, which is no task of the document; left out", p.place, rawjson.Clip(on.Text(), 200))
					}
				}
			}
		}
		x.Add(a.draft())
	}
}

func resource(r prov.Ref) statement.Resource { return statement.NewResource(r, nil) }

// activityRef names a workflow or task: by its uid alone if that is a UUID,
// otherwise within the document.
func (x *reading) activityRef(n rawjson.Node, place string) prov.Ref {
	uid := n.Get("uid").Text()
	if uuid.MatchString(uid) {
		return prov.Ref{Kind: prov.Activity, Name: strings.ToLower(uid)}
	}
	return bom.Fit(prov.Ref{Kind: prov.Activity, Namespace: x.scope, Name: first(n.Get("bom-ref").Text(), uid, place)})
}

type doing struct {
	x        *reading
	ref      prov.Ref
	p        *statement.Activity
	outputs  []bom.Thing
	used     map[string]bool
	produced map[string]bool
}

func (x *reading) activity(n rawjson.Node, place string, acts map[string]prov.Ref) *doing {
	ref := x.activityRef(n, place)
	types := list(n.Get("taskTypes"))
	kind := "transform"
	if len(types) > 0 {
		kind = first(activityKinds[types[len(types)-1]], "transform")
	}
	p := &statement.Activity{Kind: kind, ID: ref.String(), Namespace: ref.Namespace, InputsCompleteness: statement.Declared,
		StartedAt: x.Time(place+".timeStart", n.Get("timeStart").Text()), EndedAt: x.Time(place+".timeEnd", n.Get("timeEnd").Text())}
	if !p.StartedAt.IsZero() && !p.EndedAt.IsZero() && p.EndedAt.Before(p.StartedAt.Time) {
		x.Note("%s.timeEnd is before timeStart; left out", place)
		p.EndedAt = statement.Time{}
	}
	p.Parameters = map[string]string{"name": n.Get("name").Text(), "description": rawjson.Clip(n.Get("description").Text(), 1000), "taskTypes": strings.Join(types, ", ")}
	a := &doing{x: x, ref: ref, p: p, used: map[string]bool{}, produced: map[string]bool{}}
	i := 0
	for r := range n.Get("resourceReferences").All() {
		a.use(r, "resource", at(place+".resourceReferences", i))
		i++
	}
	a.inputs(n, place, "")
	a.results(n, place)
	a.trigger(n.Get("trigger"), place+".trigger")
	if n := count(n.Get("steps")); n > 0 {
		p.Parameters["steps"] = strconv.Itoa(n)
		x.Note("kept in the evidence only: the commands of the steps of a workflow or task")
	}
	for _, k := range []string{"workspaces", "runtimeTopology"} {
		if n.Get(k).Given() {
			x.Note("kept in the evidence only: %s of a workflow or task", k)
		}
	}
	named(n.Get("properties"), "property.", p.Parameters)
	return a
}

func count(n rawjson.Node) int {
	i := 0
	for range n.All() {
		i++
	}
	return i
}

// inputs reads inputs and what they are: resources, parameters, environment
// variables (of which the names only are told), other data.
func (a *doing) inputs(n rawjson.Node, place, role string) {
	i := 0
	for in := range n.Get("inputs").All() {
		p := at(place+".inputs", i)
		i++
		a.use(in.Get("resource"), first(role, "input"), p+".resource")
		a.use(in.Get("source"), "source", p+".source")
		k := 0
		for q := range in.Get("parameters").All() {
			if k++; k <= 100 {
				a.p.Parameters["parameter."+q.Get("name").Text()] = rawjson.Clip(q.Get("value").Text(), 1000)
			}
		}
		a.environment(in)
		if in.Get("data").Given() {
			a.x.Note("kept in the evidence only: data given to a workflow or task in the document itself")
		}
	}
}

func (a *doing) environment(n rawjson.Node) {
	var names []string
	for v := range n.Get("environmentVars").All() {
		names = append(names, first(v.Get("name").Text(), v.Text()))
	}
	if len(names) == 0 {
		return
	}
	a.p.Parameters["environmentVars"] = rawjson.Clip(join(", ", a.p.Parameters["environmentVars"], strings.Join(unique(names), ", ")), 1000)
}

func (a *doing) results(n rawjson.Node, place string) {
	i := 0
	for out := range n.Get("outputs").All() {
		p := at(place+".outputs", i)
		i++
		t := a.locate(out.Get("resource"), p+".resource")
		switch typ := out.Get("type").Text(); {
		case t.IsZero():
			if out.Get("data").Given() {
				a.x.Note("kept in the evidence only: data that a workflow or task put into the document itself")
			}
		case typ == "log" || typ == "metrics" || typ == "evidence":
			a.p.Parameters["output."+typ] = rawjson.Clip(join(", ", a.p.Parameters["output."+typ], t.Ref.String()), 1000)
		case !a.produced[t.Key()]:
			a.produced[t.Key()] = true
			a.outputs = append(a.outputs, t)
		}
	}
}

func (a *doing) trigger(t rawjson.Node, place string) {
	if !t.Given() {
		return
	}
	p := a.p.Parameters
	p["trigger"] = join(" ", t.Get("type").Text(), t.Get("name").Text())
	if when := a.x.Time(place+".timeActivated", t.Get("timeActivated").Text()); !when.IsZero() {
		p["trigger.timeActivated"] = when.String()
	}
	e := t.Get("event")
	if when := a.x.Time(place+".event.timeReceived", e.Get("timeReceived").Text()); !when.IsZero() {
		p["trigger.timeReceived"] = when.String()
	}
	a.use(e.Get("source"), "trigger-source", place+".event.source")
	i := 0
	for r := range t.Get("resourceReferences").All() {
		a.use(r, "trigger", at(place+".resourceReferences", i))
		i++
	}
	a.inputs(t, place, "trigger")
	if t.Get("outputs").Given() || t.Get("conditions").Given() {
		a.x.Note("kept in the evidence only: conditions and outputs of a trigger")
	}
}

// locate gives the thing of a resource reference: a bom-ref, or an external
// reference.
func (a *doing) locate(n rawjson.Node, place string) bom.Thing {
	if ref := n.Get("ref").Text(); ref != "" {
		return a.x.target(ref, place+".ref")
	}
	e := n.Get("externalReference")
	url := rawjson.Secrets(e.Get("url").Text())
	if url == "" {
		return bom.Thing{}
	}
	t := bom.Thing{Ref: bom.Fit(prov.Ref{Kind: prov.Resource, Name: url}), Digest: a.x.hashes(e.Get("hashes"), place+".externalReference.hashes")}
	if e.Get("type").Text() == "vcs" {
		t.Ref.Kind = prov.Code
		if repo, revision, ok := prov.Repository(url, true); ok {
			t.Ref = bom.Fit(prov.Ref{Kind: prov.Code, Name: repo, Version: revision})
		}
	}
	return t
}

func (a *doing) use(n rawjson.Node, role, place string) {
	t := a.locate(n, place)
	if t.IsZero() || a.used[role+" "+t.Key()] {
		return
	}
	a.used[role+" "+t.Key()] = true
	a.p.Used = append(a.p.Used, statement.Use{Resource: t.Resource(), Role: role, Rule: statement.RuleStated})
}

func (a *doing) draft() importer.Draft {
	for _, k := range sortedKeys(a.p.Parameters) {
		if a.p.Parameters[k] == "" {
			delete(a.p.Parameters, k)
		}
	}
	d := importer.Draft{Predicate: a.p}
	for _, t := range a.outputs {
		d.Subjects = append(d.Subjects, t.Subject())
	}
	if len(d.Subjects) == 0 {
		d.Subjects = []statement.Subject{statement.NewSubject(a.ref, nil)}
	}
	return d
}
