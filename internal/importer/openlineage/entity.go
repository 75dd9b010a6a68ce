package openlineage

import (
	"fmt"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// maxProduct is how many derivations the inputs and outputs of a JobEvent may
// make when it does not say which of them belong together.
const maxProduct = 100_000

// jobEvent describes a plan and what it is designed to make of what.
func (e *event) jobEvent() []importer.Draft {
	f := e.flows()
	p := &statement.Entity{State: "described", At: e.time, Attributes: e.parameters()}
	derived := map[string]bool{}
	for _, d := range f.derived {
		derived[d.To.Namespace+"\x00"+d.To.Ref] = true
	}
	if n := len(f.outputs) * len(f.used); n > maxProduct {
		e.refuse(TooManyDatasets, "inputs and outputs", "make %d derivations, the limit is %d; state them with a lineage facet", n, maxProduct)
		return nil
	}
	for _, r := range f.outputs {
		to := statement.NewResource(r, nil)
		if derived[to.Namespace+"\x00"+to.Ref] || len(e.inputs) == 0 {
			continue
		}
		d := statement.Derivation{To: to, Rule: statement.RuleDesignTime}
		for _, u := range f.used {
			d.From = append(d.From, statement.DerivedInput{Resource: u.Resource})
		}
		p.Derived = append(p.Derived, d)
	}
	p.Derived = append(append(p.Derived, f.derived...), f.columns...)
	if len(f.outputs) == 0 && len(f.used) > 0 {
		e.note("the inputs of a job without outputs are in the evidence only")
	}
	if len(f.informedBy) > 0 {
		e.note("runs that a JobEvent names are in the evidence only")
	}
	if _, ok := e.code(); ok {
		e.note("job.facets.sourceCodeLocation of a JobEvent is in the evidence only")
	}
	out := []importer.Draft{{Subjects: []statement.Subject{statement.NewSubject(e.plan(), nil)}, Predicate: p}}
	out = append(out, e.owners(e.plan(), e.jobFacets)...)
	return append(out, e.things()...)
}

// datasetEvent describes a dataset, and what it is made of by no job.
func (e *event) datasetEvent(d dataset) []importer.Draft {
	f := &flows{e: e, byOutput: map[string]bool{}, byUse: map[string]bool{}, rules: map[string]int{}, versions: map[pair]prov.Ref{}}
	f.output(d, false, nil)
	p := &statement.Entity{State: "described", At: e.time, Derived: append(f.derived, f.columns...)}
	out := []importer.Draft{{Subjects: []statement.Subject{statement.NewSubject(d.ref, nil)}, Predicate: p}}
	e.inputs = []dataset{d}
	return append(out, e.things()...)
}

// things gives what is said of the datasets by themselves: their owners, their
// other names, and that they are gone.
func (e *event) things() []importer.Draft {
	var out []importer.Draft
	done := map[string]bool{}
	for _, d := range append(append([]dataset(nil), e.inputs...), e.outputs...) {
		for _, x := range append(e.owners(d.ref, d.facets), e.lifeCycle(d)...) {
			if key := draftKey(x); !done[key] {
				done[key] = true
				out = append(out, x)
			}
		}
	}
	return out
}

// draftKey tells drafts of things apart: a dataset that is both read and
// written carries the same facets twice.
func draftKey(d importer.Draft) string {
	p := d.Predicate.(*statement.Entity)
	return fmt.Sprint(d.Subjects, p.State, p.Owner, p.SameAs, p.Attributes)
}

// maxSameAs is how many names one statement joins.
const maxSameAs = 400

func (e *event) lifeCycle(d dataset) []importer.Draft {
	var out []importer.Draft
	series := d.ref.Series()
	draft := func(p *statement.Entity) {
		p.At = e.time
		out = append(out, importer.Draft{Subjects: []statement.Subject{statement.NewSubject(series, nil)}, Predicate: p})
	}
	p := &statement.Entity{State: "same-as"}
	seen := map[string]bool{series.Key(): true}
	i := 0
	for x := range facet(d.facets, "symlinks").Get("identifiers").All() {
		place := fmt.Sprintf("%s.facets.symlinks.identifiers[%d]", d.place, i)
		i++
		e.same(p, pairOf(x), seen, place)
		if len(p.SameAs) == maxSameAs {
			draft(p)
			p = &statement.Entity{State: "same-as"}
		}
	}
	if len(p.SameAs) > 0 {
		draft(p)
	}
	change := facet(d.facets, "lifecycleStateChange")
	switch strings.ToUpper(change.Get("lifecycleStateChange").Text()) {
	case "DROP":
		a := map[string]string{}
		if e.runID != "" {
			a["activity"] = e.activity(e.job, e.runID, "run.runId").String()
		}
		draft(&statement.Entity{State: "retired", Attributes: a})
	case "RENAME":
		p := &statement.Entity{State: "same-as", Attributes: map[string]string{"lifecycleStateChange": "RENAME"}}
		if old := change.Get("previousIdentifier"); old.Given() {
			e.same(p, pairOf(old), map[string]bool{series.Key(): true}, d.place+".facets.lifecycleStateChange.previousIdentifier")
		}
		if len(p.SameAs) > 0 {
			draft(p)
		}
	}
	return out
}

// same adds another name of a dataset, unless it was said before.
func (e *event) same(p *statement.Entity, other pair, seen map[string]bool, place string) {
	if !e.named(other, place) {
		return
	}
	r := datasetRef(other)
	if key := r.Key(); !seen[key] && e.fits(r, place) {
		seen[key] = true
		p.SameAs = append(p.SameAs, statement.NewResource(r, nil))
	}
}

// owners gives one statement for each owner of a thing.
func (e *event) owners(thing prov.Ref, facets rawjson.Node) []importer.Draft {
	var out []importer.Draft
	for x := range facet(facets, "ownership").Get("owners").All() {
		name := x.Get("name").Text()
		if name == "" {
			continue
		}
		owner := e.owner(name)
		if !e.fits(owner, "ownership") {
			return nil
		}
		p := &statement.Entity{State: "owned", At: e.time, Owner: owner.String(),
			Attributes: e.texts(map[string]rawjson.Node{"ownerType": x.Get("type")})}
		out = append(out, importer.Draft{Subjects: []statement.Subject{statement.NewSubject(thing.Series(), nil)}, Predicate: p})
	}
	return out
}

// owner reads the name of an owner: "team:data", "user:ann", a mail address.
// The format has no kinds of owners; a bare name is read as a team's.
func (e *event) owner(name string) prov.Ref {
	kinds := map[string]prov.Kind{"team": prov.Team, "group": prov.Team, "user": prov.Person, "person": prov.Person,
		"service": prov.ServiceAccount, "sa": prov.ServiceAccount, "serviceaccount": prov.ServiceAccount, "role": prov.Role, "org": prov.Org}
	if prefix, rest, ok := strings.Cut(name, ":"); ok && rest != "" {
		if k, ok := kinds[strings.ToLower(prefix)]; ok {
			return prov.Ref{Kind: k, Name: rest}
		}
	}
	if strings.Contains(name, "@") {
		return prov.Ref{Kind: prov.Person, Name: name}
	}
	e.note("owner %q has no kind; read as a team", name)
	return prov.Ref{Kind: prov.Team, Name: name}
}
