package controls

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/oscal"
)

// propNS is the namespace of our properties in OSCAL documents.
const propNS = "https://stemma.dev/ns/oscal"

// noTime stands in OSCAL documents, which must have times, for an assessment of
// a log without entries.
const noTime = "1970-01-01T00:00:00Z"

// exporter writes an assessment in the models of OSCAL. All identifiers are
// derived from the log's origin, size and root and the question; all times are
// of the log. So the same log and question give the same bytes.
type exporter struct {
	a          *Assessment
	collected  string
	components []oscal.Component
	seen       map[string]bool
}

func (x *exporter) id(words ...string) string {
	a := x.a
	return oscal.UUID(append([]string{a.Log, strconv.FormatUint(a.LogSize, 10), a.Root, a.Framework, a.At, a.Env, a.Ref}, words...)...)
}

// stable gives an identifier that does not change as the log grows.
func (x *exporter) stable(words ...string) string {
	return oscal.UUID(append([]string{x.a.Log}, words...)...)
}

func prop(name, value string) oscal.Property {
	return oscal.Property{Name: name, NS: propNS, Value: oscal.Line(value)}
}

func newExporter(a *Assessment) *exporter {
	x := &exporter{a: a, collected: a.RecordedAt, seen: map[string]bool{}}
	if x.collected == "" {
		x.collected = noTime
	}
	x.components = []oscal.Component{{UUID: x.stable("log"), Type: "software", Title: oscal.Line("log " + a.Log),
		Description: "The append-only log of lineage that the assessment was made from.", Status: oscal.State{State: "operational"},
		Props: []oscal.Property{prop("log-origin", a.Log), prop("log-size", strconv.FormatUint(a.LogSize, 10)), prop("log-root", a.Root)}}}
	return x
}

func (x *exporter) metadata(title string) oscal.Metadata {
	m := oscal.Metadata{Title: title, LastModified: x.collected, Version: strconv.FormatUint(x.a.LogSize, 10), OSCALVersion: oscal.Version,
		Props: []oscal.Property{prop("framework", x.a.Framework), prop("log-origin", x.a.Log), prop("log-size", strconv.FormatUint(x.a.LogSize, 10)),
			prop("log-root", x.a.Root)}}
	for _, p := range []struct{ name, value string }{{"at", x.a.At}, {"environment", x.a.Env}, {"release", x.a.Ref}} {
		if p.value != "" {
			m.Props = append(m.Props, prop(p.name, p.value))
		}
	}
	return m
}

// component gives the UUID of a thing's component, and defines it once.
func (x *exporter) component(ref string) string {
	id := x.stable("thing", ref)
	if !x.seen[ref] {
		x.seen[ref] = true
		kind, _, _ := strings.Cut(ref, ":")
		x.components = append(x.components, oscal.Component{UUID: id, Type: "software", Title: oscal.Line(ref), Description: oscal.Line("The " + kind + " " + ref + " of the log."),
			Props: []oscal.Property{prop("ref", ref)}, Status: oscal.State{State: "other"}})
	}
	return id
}

// observations gives one observation for each piece of evidence.
func (x *exporter) observations(only map[string]bool) []oscal.Observation {
	var out []oscal.Observation
	for i := range x.a.Evidence {
		e := &x.a.Evidence[i]
		if !e.Available || only != nil && !only[e.ID] {
			continue
		}
		out = append(out, x.observation(e))
	}
	return out
}

func (x *exporter) observation(e *Evidence) oscal.Observation {
	c := e.Coverage
	o := oscal.Observation{UUID: x.id("observation", e.ID), Title: oscal.Line(e.ID), Methods: []string{"TEST"}, Types: []string{"control-objective"},
		Description: oscal.Line(fmt.Sprintf("%s Asked of %d: yes %d, no %d, unknown %d, waived %d.", e.Asks, c.Asked, c.Yes, c.No, c.Unknown, c.Waived)),
		Origins:     []oscal.Origin{{Actors: []oscal.Actor{{Type: "tool", UUID: x.stable("log")}}}},
		Subjects:    []oscal.Subject{{UUID: x.stable("log"), Type: "component"}}, Collected: x.collected}
	for _, p := range []struct {
		name string
		n    int
	}{{"asked", c.Asked}, {"yes", c.Yes}, {"no", c.No}, {"unknown", c.Unknown}, {"waived", c.Waived}} {
		o.Props = append(o.Props, prop(p.name, strconv.Itoa(p.n)))
	}
	if e.Command != "" {
		o.Props = append(o.Props, prop("command", e.Command))
	}
	listed := map[string]bool{}
	for _, it := range e.Items {
		if id := x.component(it.Ref); !listed[id] {
			listed[id] = true
			o.Subjects = append(o.Subjects, oscal.Subject{UUID: id, Type: "component", Title: oscal.Line(it.Ref)})
		}
		o.Remarks += fmt.Sprintf("- %s, %s: %s\n", it.Answer, oscal.Line(it.Ref), oscal.Line(it.Says))
	}
	if e.Hidden > 0 {
		o.Remarks += fmt.Sprintf("- and %d more that the command shows\n", e.Hidden)
	}
	o.Remarks = strings.TrimSpace(o.Remarks)
	for _, n := range e.Entries {
		o.Evidence = append(o.Evidence, oscal.Evidence{Description: fmt.Sprintf("entry %d of the log", n),
			Props: []oscal.Property{prop("entry", strconv.FormatUint(n, 10))}})
	}
	if e.MoreEntries > 0 {
		o.Evidence = append(o.Evidence, oscal.Evidence{Description: fmt.Sprintf("and %d more entries", e.MoreEntries)})
	}
	return o
}

func (x *exporter) related(c *Control) []oscal.RelatedObservation {
	var out []oscal.RelatedObservation
	for _, id := range c.Evidence {
		if e := x.evidence(id); e != nil && e.Available {
			out = append(out, oscal.RelatedObservation{UUID: x.id("observation", id)})
		}
	}
	return out
}

func (x *exporter) evidence(id string) *Evidence {
	for i := range x.a.Evidence {
		if x.a.Evidence[i].ID == id {
			return &x.a.Evidence[i]
		}
	}
	return nil
}

// finding gives the finding of a control that was assessed, and its risk when
// it is not satisfied.
func (x *exporter) finding(c *Control) (oscal.Finding, *oscal.Risk) {
	f := oscal.Finding{UUID: x.id("finding", c.ID), Title: oscal.Line(c.ID + " " + string(c.Status)), Description: oscal.Line("Shown is: " + c.Shows + "."),
		Target:       oscal.Target{Type: "statement-id", ID: c.Statement, Status: oscal.TargetStatus{State: string(c.Status), Reason: "pass"}},
		Observations: x.related(c)}
	if c.Statement == c.Target {
		f.Target.Type = "objective-id" // no statement of the catalogue is known
	}
	if c.Status == Satisfied {
		return f, nil
	}
	f.Target.Status.Reason, f.Target.Status.Remarks = "fail", because(c)
	r := &oscal.Risk{UUID: x.id("risk", c.ID), Title: oscal.Line(c.ID + " is not satisfied"), Description: oscal.Line(c.Says), Statement: because(c),
		Status: "open", Observations: f.Observations}
	f.Risks = []oscal.RelatedRisk{{UUID: r.UUID}}
	return f, r
}

func because(c *Control) string {
	var b strings.Builder
	for _, s := range c.Because {
		b.WriteString("- " + oscal.Line(s) + "\n")
	}
	return strings.TrimSpace(b.String())
}

// Results gives the assessment as OSCAL assessment results. OSCAL knows
// satisfied and not satisfied only: what was not assessed is excluded from the
// reviewed controls, and the remarks say why.
func Results(a *Assessment) *oscal.Document {
	x := newExporter(a)
	at := a.At
	if at == "" {
		at = x.collected
	}
	plan := x.id("plan")
	res := oscal.Result{UUID: x.id("result"), Title: oscal.Line("Controls of " + a.Title), Start: at, End: at,
		Description: fmt.Sprintf("What the log %s of %d entries shows of each control. A control is satisfied only by positive evidence.", a.Log, a.LogSize),
		Props: []oscal.Property{prop("satisfied", strconv.Itoa(a.Summary.Satisfied)), prop("not-satisfied", strconv.Itoa(a.Summary.NotSatisfied)),
			prop("not-assessed", strconv.Itoa(a.Summary.NotAssessed))}}
	sel := oscal.Selection{Description: "Included are controls to which evidence of the log gave an answer; excluded are those that were not assessed, for the reasons in the remarks."}
	var left []string
	for i := range a.Controls {
		c := &a.Controls[i]
		if c.Status == NotAssessed {
			sel.Exclude = append(sel.Exclude, oscal.ControlID{ControlID: c.Target})
			left = append(left, fmt.Sprintf("- %s: %s", c.ID, oscal.Line(strings.Join(c.Because, "; "))))
			continue
		}
		sel.Include = append(sel.Include, oscal.ControlID{ControlID: c.Target})
		f, r := x.finding(c)
		res.Findings = append(res.Findings, f)
		if r != nil {
			res.Risks = append(res.Risks, *r)
		}
	}
	if len(sel.Include) == 0 { // the schema wants some; the exclusion takes them all away again
		sel.Include = sel.Exclude
	}
	res.ReviewedControls.Selections = []oscal.Selection{sel}
	if len(left) > 0 {
		res.ReviewedControls.Remarks = "Not assessed:\n" + strings.Join(left, "\n")
	}
	res.Observations = x.observations(nil)
	res.LocalDefinitions.Components = x.components
	back := &oscal.BackMatter{Resources: []oscal.Resource{{UUID: plan, Title: "Assessment plan",
		Description: "There is no separate plan. What was asked for each control is in the observations, each with the command that asks it again."}}}
	if s := a.Catalog; s != nil {
		back.Resources = append(back.Resources, oscal.Resource{UUID: x.id("catalog"), Title: oscal.Line(s.Title),
			Description: "The catalogue whose identifiers are used.", Props: []oscal.Property{prop("catalog-uuid", s.UUID), prop("catalog-version", s.Version)}})
	}
	return &oscal.Document{Results: &oscal.AssessmentResults{UUID: x.id("assessment-results"), Metadata: x.metadata(oscal.Line(a.Title + ": assessment of a lineage log")),
		ImportAP: oscal.Import{Href: "#" + plan}, Results: []oscal.Result{res}, BackMatter: back}}
}

// POAM gives what is not satisfied as an OSCAL plan of action and milestones.
// OSCAL wants at least one item, so a plan with nothing to do says that.
func POAM(a *Assessment) *oscal.Document {
	x := newExporter(a)
	p := &oscal.POAM{UUID: x.id("poam"), Metadata: x.metadata(oscal.Line(a.Title + ": what is not satisfied")), SystemID: &oscal.SystemID{ID: oscal.Line(a.Log)}}
	used := map[string]bool{}
	for i := range a.Controls {
		c := &a.Controls[i]
		if c.Status != NotSatisfied {
			continue
		}
		for _, id := range c.Evidence {
			used[id] = true
		}
		f, r := x.finding(c)
		p.Findings, p.Risks = append(p.Findings, f), append(p.Risks, *r)
		item := oscal.POAMItem{UUID: x.stable("poam-item", a.Framework, a.Env, a.Ref, c.ID), Title: oscal.Line(c.ID + ": " + c.Says), Description: because(c),
			Findings: []oscal.RelatedFinding{{UUID: f.UUID}}, Observations: f.Observations, Risks: f.Risks, Props: []oscal.Property{prop("control-id", c.Target)}}
		for _, id := range c.Evidence {
			if e := x.evidence(id); e != nil && e.Coverage.No > 0 && e.Command != "" {
				item.Remarks += "- " + oscal.Line(e.Command) + "\n"
			}
		}
		item.Remarks = strings.TrimSpace(item.Remarks)
		p.Items = append(p.Items, item)
	}
	if len(p.Items) == 0 {
		p.Items = []oscal.POAMItem{{UUID: x.id("poam-item"), Title: "Nothing is open", Description: fmt.Sprintf(
			"No control is known not to be satisfied. %d controls were not assessed, which is not the same.", a.Summary.NotAssessed)}}
		used = map[string]bool{}
	}
	p.Observations = x.observations(used)
	p.LocalDefinitions = &oscal.LocalDefinitions{Components: x.components}
	return &oscal.Document{POAM: p}
}
