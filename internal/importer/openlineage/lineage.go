package openlineage

import (
	"fmt"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// flows is what an event says of how its outputs came about, in the order of
// precedence of the OpenLineage explicit lineage facet: the lineage facet is
// the complete picture, else columnLineage, else all inputs count for all
// outputs, which needs no derivation.
type flows struct {
	e          *event
	outputs    []prov.Ref             // what was written, in order
	used       []statement.Use        // what was read, in order
	derived    []statement.Derivation // of whole datasets
	columns    []statement.Derivation // of columns
	informedBy []statement.Resource   // activities that handed data over

	byOutput map[string]bool // keys of outputs
	byUse    map[string]bool // keys of used
	rules    map[string]int  // how many outputs follow each rule
	versions map[pair]prov.Ref
}

func (e *event) flows() *flows {
	f := &flows{e: e, byOutput: map[string]bool{}, byUse: map[string]bool{}, rules: map[string]int{}, versions: map[pair]prov.Ref{}}
	for _, d := range e.inputs {
		f.use(d.ref, statement.RuleStated, "")
		if _, ok := f.versions[d.pair]; !ok {
			f.versions[d.pair] = d.ref
		}
	}
	jobFacet := facet(e.jobFacets, "lineage")
	entries := f.entries(jobFacet)
	for _, d := range e.outputs {
		if d.drop {
			continue
		}
		f.output(d, jobFacet.Given(), entries[d.pair])
		delete(entries, d.pair)
	}
	// Entries for datasets that are not among the outputs were written too.
	for x := range jobFacet.Get("entries").All() {
		p := pairOf(x)
		if list, ok := entries[p]; ok {
			delete(entries, p)
			e.note("%s %s is not among the outputs; it counts as one, as the lineage facet says", p.namespace, p.name)
			f.output(dataset{pair: p, ref: datasetRef(p), place: "job.facets.lineage"}, true, list)
		}
	}
	return f
}

func pairOf(n rawjson.Node) pair { return pair{n.Get("namespace").Text(), n.Get("name").Text()} }

// entry is what a job's lineage facet says of one dataset.
type entry struct {
	node  rawjson.Node
	place string
}

// entries gives the dataset entries of a job's lineage facet, by dataset, and
// handles its job entries.
func (f *flows) entries(jobFacet rawjson.Node) map[pair][]entry {
	out := map[pair][]entry{}
	i := 0
	for x := range jobFacet.Get("entries").All() {
		place := fmt.Sprintf("job.facets.lineage.entries[%d]", i)
		i++
		if isJob(x) {
			f.jobEntry(x, place)
			continue
		}
		p := pairOf(x)
		if f.e.named(p, place) && f.e.fits(datasetRef(p), place) {
			out[p] = append(out[p], entry{x, place})
		}
	}
	return out
}

func isJob(n rawjson.Node) bool { return strings.EqualFold(n.Get("type").Text(), "JOB") }

// jobEntry reads what feeds a job. The event's own job reads it as an input;
// what other jobs read is for their own events to say.
func (f *flows) jobEntry(x rawjson.Node, place string) {
	p := pairOf(x)
	own := p == (pair{}) || p == f.e.job
	if id := x.Get("runId").Text(); own && id != "" && f.e.runID != "" && !strings.EqualFold(id, f.e.runID) {
		own = false
	}
	if !own {
		f.e.note("%s speaks of the job %s %s, not of this one; it is in the evidence only", place, p.namespace, p.name)
		return
	}
	i := 0
	for in := range x.Get("inputs").All() {
		at := fmt.Sprintf("%s.inputs[%d]", place, i)
		i++
		if isJob(in) {
			f.jobSource(in, at)
		} else if ref, ok := f.source(pairOf(in), at); ok {
			f.use(ref, statement.RuleLineage, transformation(in))
		}
	}
}

// jobSource reads a job that handed data over without a dataset.
func (f *flows) jobSource(in rawjson.Node, place string) {
	p := pairOf(in)
	if p == (pair{}) || p == f.e.job {
		return
	}
	id := in.Get("runId").Text()
	if id == "" {
		f.e.note("%s names the job %s %s without its run; it is in the evidence only", place, p.namespace, p.name)
		return
	}
	f.e.inform(&f.informedBy, p, id, place)
}

// source gives the Ref of a dataset that is named as a source, with the
// version that the inputs tell.
func (f *flows) source(p pair, place string) (prov.Ref, bool) {
	if r, ok := f.versions[p]; ok {
		return r, true
	}
	if !f.e.named(p, place) {
		return prov.Ref{}, false
	}
	r := datasetRef(p)
	return r, f.e.fits(r, place)
}

func (f *flows) use(r prov.Ref, rule, role string) {
	if key := r.Key(); !f.byUse[key] {
		f.byUse[key] = true
		f.used = append(f.used, statement.Use{Resource: statement.NewResource(r, nil), Rule: rule, Role: role})
	}
}

// output adds an output and what it was made from.
func (f *flows) output(d dataset, explicit bool, entries []entry) {
	if key := d.ref.Key(); !f.byOutput[key] {
		f.byOutput[key] = true
		f.outputs = append(f.outputs, d.ref)
	}
	c := &flow{f: f, to: d.ref, rule: statement.RuleLineage, seen: map[string]bool{}}
	own := facet(d.facets, "lineage")
	says := own.Get("inputs").Given() || own.Get("fields").Given()
	if own.Given() && !says {
		f.e.note("%s.facets.lineage says nothing of inputs or fields; it is passed over", d.place)
	}
	switch columns := facet(d.facets, "columnLineage"); {
	case explicit || says:
		for _, x := range entries {
			c.entry(x.node, x.place)
		}
		c.entry(own, d.place+".facets.lineage")
	default:
		c.rule = statement.RuleColumn
		if !c.columnLineage(columns, d.place+".facets.columnLineage") {
			f.rules[statement.RuleInputs]++
			return
		}
	}
	f.rules[c.rule]++
	if c.from == nil {
		c.from = []statement.DerivedInput{}
	}
	f.derived = append(f.derived, statement.Derivation{To: statement.NewResource(d.ref, nil), From: c.from, Rule: c.rule})
	f.columns = append(f.columns, c.columns...)
}

// rule says how the outputs tie to the inputs, taken together.
func (f *flows) rule() string {
	for _, r := range []string{statement.RuleLineage, statement.RuleColumn} {
		if n := f.rules[r]; n > 0 && n == f.rules[statement.RuleLineage]+f.rules[statement.RuleColumn]+f.rules[statement.RuleInputs] {
			return r
		}
	}
	return statement.RuleInputs
}

// flow collects the sources of one output.
type flow struct {
	f       *flows
	to      prov.Ref
	rule    string
	from    []statement.DerivedInput
	seen    map[string]bool
	columns []statement.Derivation
}

func (c *flow) add(r prov.Ref, how string) {
	if key := r.Key() + "\x00" + how; !c.seen[key] {
		c.seen[key] = true
		c.from = append(c.from, derivedInput(r, how))
	}
}

func derivedInput(r prov.Ref, how string) statement.DerivedInput {
	return statement.DerivedInput{Resource: statement.NewResource(r, nil), Transformation: how}
}

// dataset adds a whole dataset as a source, which the activity used.
func (c *flow) dataset(r prov.Ref, how string) {
	c.add(r, how)
	c.f.use(r, c.rule, "")
}

// entry reads the inputs and fields of a lineage facet's dataset.
func (c *flow) entry(x rawjson.Node, place string) {
	i := 0
	for in := range x.Get("inputs").All() {
		at := fmt.Sprintf("%s.inputs[%d]", place, i)
		i++
		if isJob(in) {
			c.f.jobSource(in, at)
			continue
		}
		ref, ok := c.f.source(pairOf(in), at)
		if !ok {
			return
		}
		field := in.Get("field").Text()
		if field == "" {
			c.dataset(ref, transformation(in))
			continue
		}
		c.dataset(ref, "")
		if col, ok := c.column(ref, field, at); ok {
			c.add(col, transformation(in))
		}
	}
	for field := range x.Get("fields").All() {
		c.field(field, "inputs", fmt.Sprintf("%s.fields.%s", place, field.Key()))
	}
}

// columnLineage reads that facet and tells whether it names any source.
func (c *flow) columnLineage(x rawjson.Node, place string) bool {
	for field := range x.Get("fields").All() {
		c.field(field, "inputFields", fmt.Sprintf("%s.fields.%s", place, field.Key()))
	}
	i := 0
	for in := range x.Get("dataset").All() {
		at := fmt.Sprintf("%s.dataset[%d]", place, i)
		i++
		ref, ok := c.f.source(pairOf(in), at)
		if !ok {
			return false
		}
		c.dataset(ref, "")
		if col, ok := c.column(ref, in.Get("field").Text(), at); ok {
			c.add(col, transformation(in))
		}
	}
	return len(c.from) > 0
}

// field reads what one column was made from.
func (c *flow) field(x rawjson.Node, list, place string) {
	to, ok := c.column(c.to, x.Key(), place)
	if !ok {
		return
	}
	d := statement.Derivation{To: statement.NewResource(to, nil), Rule: c.rule}
	legacy := x.Get("transformationType").Text()
	seen := map[string]bool{}
	i := 0
	for in := range x.Get(list).All() {
		at := fmt.Sprintf("%s.%s[%d]", place, list, i)
		i++
		if isJob(in) {
			c.f.jobSource(in, at)
			continue
		}
		ref, ok := c.f.source(pairOf(in), at)
		if !ok {
			return
		}
		c.dataset(ref, "")
		how := transformation(in)
		if how == "" {
			how = legacy
		}
		if name := in.Get("field").Text(); name != "" {
			if ref, ok = c.column(ref, name, at); !ok {
				return
			}
		}
		if key := ref.Key() + "\x00" + how; !seen[key] {
			seen[key] = true
			d.From = append(d.From, derivedInput(ref, how))
		}
	}
	if len(d.From) > 0 {
		c.columns = append(c.columns, d)
	}
}

func (c *flow) column(ds prov.Ref, field, place string) (prov.Ref, bool) {
	if field == "" {
		c.f.e.refuse(BadFacet, place, "a field has no name; name it or leave it out")
		return prov.Ref{}, false
	}
	r := prov.ColumnOf(ds, field)
	return r, c.f.e.fits(r, place)
}

// transformation gives the format's words for what was done, such as
// "DIRECT/IDENTITY, INDIRECT/FILTER".
func transformation(in rawjson.Node) string {
	var words []string
	for t := range in.Get("transformations").All() {
		w := t.Get("type").Text()
		if sub := t.Get("subtype").Text(); sub != "" {
			w += "/" + sub
		}
		if t.Get("masking").Kind() == 't' {
			w += " (masking)"
		}
		if w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, ", ")
}
