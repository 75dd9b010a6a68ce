package openlineage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// The classes of refusals beside those of rawjson.
const (
	NotAnEvent       = "not-an-event"
	MissingRunID     = "missing-run-id"
	MissingJob       = "missing-job"
	MissingDataset   = "missing-dataset-name"
	MissingEventTime = "missing-event-time"
	BadEventTime     = "bad-event-time"
	BadField         = "bad-field"
	BadFacet         = "bad-facet"
	NameTooLong      = "name-too-long"
	TooManyDatasets  = "too-many-datasets"
)

// maxNotes is how many notes of an event are written out; the rest is counted.
const maxNotes = 50

type event struct {
	doc      *rawjson.Doc
	root     rawjson.Node
	redacted []string
	sum      [32]byte // SHA-256 of the evidence

	time      statement.Time
	eventType string
	job       pair
	runID     string
	jobFacets rawjson.Node
	runFacets rawjson.Node
	inputs    []dataset
	outputs   []dataset

	notes    []string
	unsaid   int
	refusal  *importer.Refusal
	informed map[string]bool // keys of the activities that informed this one
}

// pair is the identifier of a job or dataset.
type pair struct{ namespace, name string }

type dataset struct {
	pair
	ref    prov.Ref // with the version, if one is told
	facets rawjson.Node
	place  string
	drop   bool // the event says that it was dropped
}

func (e *event) refuse(reason, place, format string, args ...any) {
	if e.refusal == nil {
		e.refusal = &importer.Refusal{Reason: reason, Detail: rawjson.Clip(place, 500) + ": " + rawjson.Clip(fmt.Sprintf(format, args...), 1000)}
	}
}

func (e *event) note(format string, args ...any) {
	if len(e.notes) >= maxNotes {
		e.unsaid++
		return
	}
	if s := rawjson.Clip(fmt.Sprintf(format, args...), 500); !slices.Contains(e.notes, s) {
		e.notes = append(e.notes, s)
	}
}

// drafts gives the statements that the event makes, or leaves a refusal.
func (e *event) drafts() []importer.Draft {
	if e.root.Kind() != '{' {
		e.refuse(NotAnEvent, "value", "is no JSON object; an OpenLineage event is one")
		return nil
	}
	for _, path := range e.doc.Repeated {
		e.note("%s occurs more than once; the last one counts", path)
	}
	e.readTime()
	run, job, ds := e.root.Get("run"), e.root.Get("job"), e.root.Get("dataset")
	var out []importer.Draft
	switch {
	case run.Given():
		e.readRun(run)
		e.readJob(job)
		e.readDatasets()
		if ds.Given() {
			e.note("the event has a run, so its dataset is in the evidence only")
		}
		out = e.ifAccepted(e.runEvent)
	case job.Given():
		if strings.HasSuffix(e.root.Get("schemaURL").Text(), "/RunEvent") {
			e.refuse(MissingRunID, "run", "is missing, but schemaURL says RunEvent; give run.runId, or send a JobEvent")
		}
		e.readJob(job)
		e.readDatasets()
		out = e.ifAccepted(e.jobEvent)
	case ds.Given():
		d, ok := e.readDataset(ds, "dataset", false)
		e.facetShapes("run", e.runFacets, "run.facets")
		if ok {
			out = e.ifAccepted(func() []importer.Draft { return e.datasetEvent(d) })
		}
	default:
		e.refuse(NotAnEvent, "event", "has neither run and job, nor job, nor dataset; an OpenLineage event has one of them")
	}
	return e.seal(out)
}

func (e *event) ifAccepted(f func() []importer.Draft) []importer.Draft {
	if e.refusal != nil {
		return nil
	}
	return f()
}

// seal adds the evidence to each draft.
func (e *event) seal(out []importer.Draft) []importer.Draft {
	if e.refusal != nil {
		return nil
	}
	if e.doc.Unpaired {
		e.note("half of a surrogate pair is read as U+FFFD")
	}
	if e.unsaid > 0 {
		e.notes = append(e.notes, fmt.Sprintf("%d more notes are not written out", e.unsaid))
	}
	ev := importer.NewEvidence(Importer{}, MediaType, e.sum, len(e.doc.Raw()))
	ev.Notes, ev.Redacted = e.notes, e.redacted
	later := ev // the same, where it is short enough to be said with every statement
	if size(e.notes)+size(e.redacted) > 4096 {
		later.Notes, later.Redacted = nil, nil
	}
	for i, d := range out {
		if i > 0 {
			ev = later
		}
		switch p := d.Predicate.(type) {
		case *statement.Activity:
			p.Evidence = []statement.Evidence{ev}
		case *statement.Entity:
			p.Evidence = []statement.Evidence{ev}
		}
		if len(e.doc.Raw()) > statement.MaxPayload/8 && !e.fitsPayload(d) {
			return nil
		}
	}
	return out
}

func size(texts []string) int {
	n := 0
	for _, s := range texts {
		n += len(s)
	}
	return n
}

// fitsPayload refuses an event that makes a statement too large to record.
func (e *event) fitsPayload(d importer.Draft) bool {
	payload, err := statement.Format(d.Subjects, d.Predicate)
	if err == nil && len(payload) > statement.MaxPayload {
		e.refuse(TooManyDatasets, "event", "makes a statement of %d bytes, the limit is %d; have the producer send several events", len(payload), statement.MaxPayload)
	} else if err != nil {
		e.refuse(BadField, "event", "makes no valid statement: %v", err)
	}
	return e.refusal == nil
}

var zoned = []string{time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z07:00"}
var unzoned = []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02"}

func (e *event) readTime() {
	n := e.root.Get("eventTime")
	s := n.Text()
	if n.Given() && n.Kind() != '"' {
		e.refuse(BadEventTime, "eventTime", "is no text; write RFC 3339, for example \"2026-03-01T12:00:00Z\"")
		return
	}
	if s == "" {
		e.refuse(MissingEventTime, "eventTime", "is missing; give the time of the event, for example \"2026-03-01T12:00:00Z\"")
		return
	}
	t, hasZone, ok := parseTime(s)
	if !ok {
		e.refuse(BadEventTime, "eventTime", "%q is no time; write RFC 3339, for example \"2026-03-01T12:00:00Z\"", s)
		return
	}
	if y := t.UTC().Year(); y < 1679 || y > 2261 {
		e.refuse(BadEventTime, "eventTime", "%s lies outside the years 1679 to 2261", s)
		return
	}
	if !hasZone {
		e.note("eventTime %q has no zone; read as UTC", s)
	}
	if fraction(s) > 9 {
		e.note("eventTime %q is finer than a nanosecond; the digits beyond are in the evidence only", s)
	}
	e.time = statement.NewTime(t)
}

func parseTime(s string) (t time.Time, hasZone, ok bool) {
	for _, layout := range zoned {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true, true
		}
	}
	for _, layout := range unzoned {
		if t, err := time.Parse(layout, s); err == nil {
			return t, false, true
		}
	}
	return time.Time{}, false, false
}

// fraction counts the digits after the seconds' point.
func fraction(s string) int {
	_, f, _ := strings.Cut(s, ".")
	n := 0
	for n < len(f) && f[n] >= '0' && f[n] <= '9' {
		n++
	}
	return n
}

func (e *event) readRun(run rawjson.Node) {
	if !e.object(run, "run") {
		return
	}
	e.runID = run.Get("runId").Text()
	if strings.TrimSpace(e.runID) == "" {
		e.refuse(MissingRunID, "run.runId", "is missing; give the UUID that the producer made for the run")
	}
	e.runFacets = run.Get("facets")
	e.facetShapes("run", e.runFacets, "run.facets")
	e.eventType = strings.ToUpper(e.root.Get("eventType").Text())
}

func (e *event) readJob(job rawjson.Node) {
	if !job.Given() {
		e.refuse(MissingJob, "job", "is missing; give job.namespace and job.name")
		return
	}
	if !e.object(job, "job") {
		return
	}
	e.job = pair{job.Get("namespace").Text(), job.Get("name").Text()}
	switch {
	case e.job.name == "":
		e.refuse(MissingJob, "job.name", "is missing; give the name of the job")
	case e.job.namespace == "":
		e.refuse(MissingJob, "job.namespace", "is missing; give the namespace of the job, for example that of its scheduler")
	}
	e.jobFacets = job.Get("facets")
	e.facetShapes("job", e.jobFacets, "job.facets")
	if e.refusal == nil {
		e.fits(prov.Ref{Kind: prov.Plan, Namespace: e.job.namespace, Name: e.job.name}, "job")
	}
}

func (e *event) object(n rawjson.Node, place string) bool {
	if n.Kind() != '{' {
		e.refuse(BadField, place, "is no object; write %s as an object", place)
		return false
	}
	return true
}

func (e *event) readDatasets() {
	e.inputs = e.list("inputs", false)
	e.outputs = e.list("outputs", true)
}

// list reads inputs or outputs. A dataset that is named twice with the same
// version is taken once, with the facets of both looked at.
func (e *event) list(name string, output bool) []dataset {
	n := e.root.Get(name)
	if !n.Given() {
		return nil
	}
	if n.Kind() != '[' {
		e.refuse(BadField, name, "is no array; write %s as an array of datasets", name)
		return nil
	}
	var out []dataset
	i := 0
	for x := range n.All() {
		if d, ok := e.readDataset(x, fmt.Sprintf("%s[%d]", name, i), output); ok {
			out = append(out, d)
		}
		i++
	}
	return out
}

func (e *event) readDataset(n rawjson.Node, place string, output bool) (dataset, bool) {
	if !e.object(n, place) {
		return dataset{}, false
	}
	d := dataset{pair: pair{n.Get("namespace").Text(), n.Get("name").Text()}, facets: n.Get("facets"), place: place}
	if !e.named(d.pair, place) {
		return d, false
	}
	e.facetShapes("dataset", d.facets, place+".facets")
	e.facetShapes("input", n.Get("inputFacets"), place+".inputFacets")
	e.facetShapes("output", n.Get("outputFacets"), place+".outputFacets")
	d.ref = datasetRef(d.pair)
	if v := facet(d.facets, "version").Get("datasetVersion").Text(); v != "" {
		d.ref.Version = v
	}
	d.drop = output && strings.EqualFold(facet(d.facets, "lifecycleStateChange").Get("lifecycleStateChange").Text(), "DROP")
	return d, e.fits(d.ref, place)
}

// named refuses an identifier that lacks a part.
func (e *event) named(p pair, place string) bool {
	if p.name == "" {
		e.refuse(MissingDataset, place+".name", "is missing; a dataset needs a namespace and a name")
		return false
	}
	if p.namespace == "" {
		e.refuse(MissingDataset, place+".namespace", "is missing; a dataset needs a namespace and a name")
		return false
	}
	return true
}

// fits refuses a name that is too long for a Ref.
func (e *event) fits(r prov.Ref, place string) bool {
	if n := len(r.String()); n > prov.MaxRef {
		e.refuse(NameTooLong, place, "the name is %d bytes long as a Ref, the limit is %d; shorten it at the producer", n, prov.MaxRef)
		return false
	}
	return true
}

func datasetRef(p pair) prov.Ref {
	return prov.Ref{Kind: prov.Dataset, Namespace: p.namespace, Name: p.name}
}

// facet gives a facet that is there and not marked as deleted.
func facet(facets rawjson.Node, name string) rawjson.Node {
	f := facets.Get(name)
	if f.Kind() != '{' || f.Get("_deleted").Kind() == 't' {
		return rawjson.Node{}
	}
	return f
}
