package openlineage

import (
	"maps"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// runEvent gives the activity, and what is said of its plan and datasets.
func (e *event) runEvent() []importer.Draft {
	f := e.flows()
	id := e.activity(e.job, e.runID, "run.runId")
	a := &statement.Activity{
		Kind: e.kind(), ID: id.String(), Namespace: id.Namespace,
		Plan:       resource(e.plan()),
		InformedBy: f.informedBy,
		Used:       f.used, Derived: f.derived,
		Parameters: e.parameters(), Environment: e.environment(),
		InputsCompleteness: statement.Declared,
		Rule:               f.rule(),
	}
	e.phase(a)
	e.parents(&a.InformedBy, id)
	if code, ok := e.code(); ok {
		a.Used = append(a.Used, statement.Use{Resource: statement.NewResource(code, nil), Role: "source-code", Rule: statement.RuleStated})
	}
	out := []importer.Draft{{Subjects: subjects(f.outputs, id), Predicate: a}}
	out = addColumns(out, a, id, f.columns)
	out = append(out, e.owners(e.plan(), e.jobFacets)...)
	return append(out, e.things()...)
}

func resource(r prov.Ref) *statement.Resource {
	x := statement.NewResource(r, nil)
	return &x
}

// subjects gives the outputs, or the activity itself where there are none.
func subjects(outputs []prov.Ref, id prov.Ref) []statement.Subject {
	if len(outputs) == 0 {
		return []statement.Subject{statement.NewSubject(id, nil)}
	}
	var out []statement.Subject
	for _, r := range outputs {
		out = append(out, statement.NewSubject(r, nil))
	}
	return out
}

// maxDerived is about how many bytes of derivations one statement holds;
// what is more goes into further statements about the same activity.
const maxDerived = 2 << 20

// addColumns adds the derivations of columns to the activity a.
func addColumns(out []importer.Draft, a *statement.Activity, id prov.Ref, columns []statement.Derivation) []importer.Draft {
	size := 0
	for _, d := range columns {
		n := derivedSize(d)
		if size+n > maxDerived && size > 0 {
			a = &statement.Activity{Kind: a.Kind, ID: a.ID, Namespace: a.Namespace, StartedAt: a.StartedAt, EndedAt: a.EndedAt,
				ObservedAt: a.ObservedAt, State: a.State, InputsCompleteness: a.InputsCompleteness, Rule: a.Rule}
			out = append(out, importer.Draft{Subjects: subjects(nil, id), Predicate: a})
			size = 0
		}
		size += n
		a.Derived = append(a.Derived, d)
	}
	return out
}

func derivedSize(d statement.Derivation) int {
	n := 100 + len(d.To.Ref) + len(d.To.Namespace)
	for _, f := range d.From {
		n += 60 + len(f.Ref) + len(f.Namespace) + len(f.Transformation)
	}
	return n
}

func (e *event) plan() prov.Ref {
	return prov.Ref{Kind: prov.Plan, Namespace: e.job.namespace, Name: e.job.name}
}

// activity gives the Ref of a run: by its UUID, which is unique by itself,
// else within its job.
func (e *event) activity(job pair, runID, place string) prov.Ref {
	if isUUID(runID) {
		return prov.Ref{Kind: prov.Activity, Name: strings.ToLower(runID)}
	}
	e.note("%s %q is no UUID; the activity is named within its job", place, runID)
	r := prov.Ref{Kind: prov.Activity, Namespace: job.namespace, Name: job.name + "/" + runID}
	e.fits(r, place)
	return r
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
				return false
			}
		}
	}
	return true
}

// phase sets the time and state that the event's type tells.
func (e *event) phase(a *statement.Activity) {
	switch e.eventType {
	case "START":
		a.StartedAt, a.State = e.time, "started"
	case "COMPLETE":
		a.EndedAt, a.State = e.time, "completed"
	case "FAIL":
		a.EndedAt, a.State = e.time, "failed"
	case "ABORT":
		a.EndedAt, a.State = e.time, "aborted"
	case "RUNNING":
		a.ObservedAt, a.State = e.time, "running"
	case "OTHER", "":
		a.ObservedAt, a.State = e.time, "other"
	default:
		a.ObservedAt, a.State = e.time, "other"
		e.note("eventType %q is not one of START, RUNNING, COMPLETE, ABORT, FAIL, OTHER; read as OTHER", e.eventType)
	}
}

// kind gives the sort of activity, where the type of the job tells it.
func (e *event) kind() string {
	switch strings.ToUpper(facet(e.jobFacets, "jobType").Get("jobType").Text()) {
	case "TRAIN", "TRAINING", "MODEL_TRAINING":
		return "train"
	case "TEST", "EVALUATE", "EVALUATION":
		return "evaluate"
	}
	return "transform"
}

// parents ties the activity to the run that started it and to the first one
// of the chain.
func (e *event) parents(list *[]statement.Resource, id prov.Ref) {
	p := facet(e.runFacets, "parent")
	for _, x := range []struct {
		node  rawjson.Node
		place string
	}{{p, "run.facets.parent"}, {p.Get("root"), "run.facets.parent.root"}} {
		if !x.node.Given() {
			continue
		}
		runID := x.node.Get("run").Get("runId").Text()
		if runID == "" {
			e.note("%s names no run; it is in the evidence only", x.place)
			continue
		}
		e.inform(list, pairOf(x.node.Get("job")), runID, x.place)
	}
	kept := (*list)[:0]
	for _, r := range *list {
		if r.Ref != id.String() || r.Namespace != id.Namespace {
			kept = append(kept, r)
		}
	}
	*list = kept
}

// inform adds the activity of a run to list, once.
func (e *event) inform(list *[]statement.Resource, job pair, runID, place string) {
	if !isUUID(runID) && (job.name == "" || job.namespace == "") {
		e.note("%s: the run %q is no UUID and its job is not named; it is in the evidence only", place, runID)
		return
	}
	r := statement.NewResource(e.activity(job, runID, place), nil)
	if e.informed == nil {
		e.informed = map[string]bool{}
	}
	if key := r.Namespace + "\x00" + r.Ref; !e.informed[key] {
		e.informed[key] = true
		*list = append(*list, r)
	}
}

// code gives the code that the job ran, by its repository and revision.
func (e *event) code() (prov.Ref, bool) {
	f := facet(e.jobFacets, "sourceCodeLocation")
	name := f.Get("repoUrl").Text()
	if name == "" {
		name = f.Get("url").Text()
	}
	if name == "" {
		return prov.Ref{}, false
	}
	r := prov.Ref{Kind: prov.Code, Name: name, Version: f.Get("version").Text()}
	if repo, revision, ok := prov.Repository(name, strings.EqualFold(f.Get("type").Text(), "git")); ok {
		r.Name = repo
		if r.Version == "" {
			r.Version = revision
		}
	}
	return r, e.fits(r, "job.facets.sourceCodeLocation")
}

func (e *event) parameters() map[string]string {
	nominal, typ := facet(e.runFacets, "nominalTime"), facet(e.jobFacets, "jobType")
	return e.texts(map[string]rawjson.Node{
		"nominalStartTime": nominal.Get("nominalStartTime"),
		"nominalEndTime":   nominal.Get("nominalEndTime"),
		"jobType":          typ.Get("jobType"),
		"integration":      typ.Get("integration"),
		"processingType":   typ.Get("processingType"),
		"eventContentMode": typ.Get("emissionPattern").Get("eventContentMode"),
	})
}

func (e *event) environment() map[string]string {
	f := facet(e.runFacets, "processing_engine")
	return e.texts(map[string]rawjson.Node{
		"engine":                    f.Get("name"),
		"engineVersion":             f.Get("version"),
		"openlineageAdapterVersion": f.Get("openlineageAdapterVersion"),
	})
}

// maxText is the longest value of a parameter or attribute, in bytes.
const maxText = 4096

// texts gives the text of each value that has one, or nil.
func (e *event) texts(values map[string]rawjson.Node) map[string]string {
	var out map[string]string
	for _, k := range slices.Sorted(maps.Keys(values)) {
		s := values[k].Text()
		if s == "" {
			continue
		}
		if len(s) > maxText {
			e.note("%s is %d bytes long; it is in the evidence only", k, len(s))
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[k] = s
	}
	return out
}
