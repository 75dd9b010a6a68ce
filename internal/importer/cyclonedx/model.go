package cyclonedx

import (
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/bom"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
)

// modelCard reads a model card: what the model was made from, and what is said
// of it.
func (x *reading) modelCard(t bom.Thing, m rawjson.Node, a map[string]string, place string) {
	p := m.Get("modelParameters")
	a["approach"] = p.Get("approach").Get("type").Text()
	for _, k := range []string{"task", "architectureFamily", "modelArchitecture"} {
		a[k] = p.Get(k).Text()
	}
	for _, k := range []string{"inputs", "outputs"} {
		var formats []string
		for f := range p.Get(k).All() {
			formats = append(formats, f.Get("format").Text())
		}
		a[k] = strings.Join(formats, ", ")
	}
	i := 0
	for d := range p.Get("datasets").All() {
		at := at(place+".modelParameters.datasets", i)
		i++
		ref := d.Get("ref").Text()
		if ref == "" {
			x.Derive(t, x.data(d, at, nil), "dataset")
			continue
		}
		x.later = append(x.later, func() { x.Derive(t, x.target(ref, at+".ref"), "dataset") })
	}
	x.metrics(m.Get("quantitativeAnalysis"), a, place)
	x.considerations(m.Get("considerations"), a)
	named(m.Get("properties"), "property.", a)
}

func (x *reading) metrics(q rawjson.Node, a map[string]string, place string) {
	n := 0
	for v := range q.Get("performanceMetrics").All() {
		if n++; n > 60 {
			x.Note("kept in the evidence only: the metrics of %s after the first 60", place)
			break
		}
		k := "metric." + v.Get("type").Text()
		if s := v.Get("slice").Text(); s != "" {
			k += " (" + s + ")"
		}
		value := v.Get("value").Text()
		if ci := v.Get("confidenceInterval"); ci.Given() {
			value += " [" + ci.Get("lowerBound").Text() + ", " + ci.Get("upperBound").Text() + "]"
		}
		a[k] = join("; ", a[k], value)
	}
	if q.Get("graphics").Given() {
		x.Note("kept in the evidence only: graphics of a model card")
	}
}

func (x *reading) considerations(c rawjson.Node, a map[string]string) {
	for _, k := range []string{"users", "useCases", "technicalLimitations", "performanceTradeoffs"} {
		a[k] = strings.Join(list(c.Get(k)), "; ")
	}
	for e := range c.Get("ethicalConsiderations").All() {
		a["ethicalConsiderations"] = join("; ", a["ethicalConsiderations"], join(": ", e.Get("name").Text(), e.Get("mitigationStrategy").Text()))
	}
	for f := range c.Get("fairnessAssessments").All() {
		a["fairnessAssessments"] = join("; ", a["fairnessAssessments"], join(", ", f.Get("groupAtRisk").Text(), f.Get("benefits").Text(), f.Get("harms").Text(), f.Get("mitigationStrategy").Text()))
	}
	env := c.Get("environmentalConsiderations")
	for e := range env.Get("energyConsumptions").All() {
		cost, co2 := e.Get("activityEnergyCost"), e.Get("co2CostEquivalent")
		text := join(" ", cost.Get("value").Text(), cost.Get("unit").Text())
		if co2.Given() {
			text = join(", ", text, join(" ", co2.Get("value").Text(), co2.Get("unit").Text(), "CO2"))
		}
		k := "energy." + e.Get("activity").Text()
		a[k] = join("; ", a[k], text)
	}
	named(env.Get("properties"), "environment.", a)
}

// data describes a dataset or other data of a component or model card.
// Contents is what a component that is nothing but data says of itself.
func (x *reading) data(d rawjson.Node, place string, of map[string]string) bom.Thing {
	if d.Kind() != '{' {
		x.Refuse(bom.BadField, place, "is no object; write data as an object")
		return bom.Thing{}
	}
	kind := prov.Dataset
	switch d.Get("type").Text() {
	case "source-code":
		kind = prov.Code
	case "configuration", "definition":
		kind = prov.Document
	}
	name, ref := d.Get("name").Text(), d.Get("bom-ref").Text()
	contents := d.Get("contents")
	location := rawjson.Secrets(contents.Get("url").Text())
	var t bom.Thing
	switch {
	case location != "":
		t.Ref = bom.Fit(prov.Ref{Kind: kind, Name: location})
		if repo, revision, ok := prov.Repository(location, false); ok && kind == prov.Code {
			t.Ref = bom.Fit(prov.Ref{Kind: kind, Name: repo, Version: revision})
		}
	case ref != "" || name != "":
		t.Ref = bom.Named(kind, x.scope, x.Local(kind, name, first(ref, place)), "", name, "")
	default:
		t.Ref = bom.Fit(prov.Ref{Kind: kind, Namespace: x.scope, Name: place})
	}
	x.name(ref, t)
	if contents.Get("attachment").Given() {
		x.Note("kept in the evidence only: attachments in data")
	}
	a := map[string]string{"dataType": d.Get("type").Text(), "name": name, "sensitiveData": strings.Join(list(d.Get("sensitiveData")), "; ")}
	named(contents.Get("properties"), "contents.", a)
	g := d.Get("governance")
	for _, k := range []string{"owners", "custodians", "stewards"} {
		a[k] = strings.Join(governors(g.Get(k)), ", ")
	}
	x.Describe(t, bom.Description{Origin: location, Sensitivity: d.Get("classification").Text(), Text: d.Get("description").Text(), Attributes: a})
	for o := range g.Get("owners").All() {
		if org := o.Get("organization"); org.Given() {
			x.Own(t, bom.Party(prov.Org, org.Get("name").Text(), ""))
		} else if p := o.Get("contact"); p.Given() {
			x.Own(t, bom.Party(prov.Person, p.Get("name").Text(), p.Get("email").Text()))
		}
	}
	return t
}

func governors(n rawjson.Node) []string {
	var out []string
	for g := range n.All() {
		out = append(out, join(", ", orgText(g.Get("organization")), personText(g.Get("contact"))))
	}
	return out
}
