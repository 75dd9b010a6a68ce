package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

// The schemas that the events follow.
const (
	olCore     = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/"
	olFacets   = "https://openlineage.io/spec/facets/"
	olProducer = "https://stemma.dev/"
	olOwn      = "https://stemma.dev/schemas/openlineage/1-0-0/StemmaFacets.json#/$defs/"
)

// OpenLineage gives the answer of a Why or Blast question as OpenLineage
// events (core schema 2-0-2), one a line in order of time: a START and an end
// event for each activity, and a DatasetEvent for each derivation that is
// stated by no activity. See docs/format-openlineage.md.
func OpenLineage(a *query.Answer) ([]byte, error) {
	if v := a.Question.Verb; v != "why" && v != "blast" || a.Counts != nil {
		return nil, fmt.Errorf("format openlineage gives the activities of why and blast; use -o json for %s", v)
	}
	w := newOLWriter(a)
	for _, it := range a.Activities {
		if prov.Kind(it.Kind) == prov.Activity {
			w.run(it)
		}
	}
	w.stated()
	sort.SliceStable(w.events, func(i, j int) bool {
		x, y := w.events[i], w.events[j]
		return x.at < y.at || x.at == y.at && x.order < y.order
	})
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, x := range w.events {
		if err := e.Encode(x.event); err != nil {
			return nil, fmt.Errorf("writing OpenLineage events: %w", err)
		}
	}
	return b.Bytes(), nil
}

type olObject = map[string]any

type olEvent struct {
	at    prov.Instant
	order int // START before the end of a run of no duration
	event olObject
}

type olWriter struct {
	items  map[string]query.Item
	out    map[string][]query.RelationItem
	in     map[string][]query.RelationItem
	events []olEvent
}

func newOLWriter(a *query.Answer) *olWriter {
	w := &olWriter{items: map[string]query.Item{}, out: map[string][]query.RelationItem{}, in: map[string][]query.RelationItem{}}
	for _, list := range [][]query.Item{a.Entities, a.Activities, a.Identities} {
		for _, it := range list {
			w.items[it.Ref] = it
		}
	}
	for _, r := range a.Relations {
		w.out[r.From] = append(w.out[r.From], r)
		w.in[r.To] = append(w.in[r.To], r)
	}
	return w
}

func olFacet(schema string, members olObject) olObject {
	members["_producer"], members["_schemaURL"] = olProducer, schema
	return members
}

// olPair gives the namespace and name of a thing. A dataset or plan is split
// so that both joined by '/' are its name, as OpenLineage names are written
// here; a thing of another kind has its kind in the namespace.
func olPair(ref prov.Ref) (namespace, name string) {
	name = ref.Name
	if ref.Namespace != "" {
		return ref.Namespace, name
	}
	if ref.Kind != prov.Dataset && ref.Kind != prov.Plan {
		return "stemma:" + string(ref.Kind), name
	}
	from := 0
	if i := strings.Index(name, "://"); i >= 0 {
		from = i + 3
	}
	if i := strings.IndexByte(name[from:], '/'); i > 0 && from+i < len(name)-1 {
		return name[:from+i], name[from+i+1:]
	}
	return "stemma", name
}

func olRef(text string) prov.Ref {
	r, err := prov.ParseRef(text)
	if err != nil {
		kind, name, _ := strings.Cut(text, ":")
		return prov.Ref{Kind: prov.Kind(kind), Name: name}
	}
	return r
}

func (w *olWriter) dataset(ref string) olObject {
	r := olRef(ref)
	ns, name := olPair(r)
	it := w.items[ref]
	own := olObject{"ref": ref, "kind": string(r.Kind)}
	if it.Digest != "" {
		own["digest"] = it.Digest
	}
	facets := olObject{"stemma_identity": olFacet(olOwn+"IdentityDatasetFacet", own)}
	if r.Version != "" {
		facets["version"] = olFacet(olFacets+"1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet", olObject{"datasetVersion": r.Version})
	}
	return olObject{"namespace": ns, "name": name, "facets": facets}
}

// olRunID gives the UUID of an activity: its name, if that is one, else one
// that is made of its Ref (RFC 9562, version 8).
func olRunID(ref string) string {
	name := olRef(ref).Name
	if id := strings.ToLower(name); len(id) == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-' {
		if _, err := hex.DecodeString(strings.ReplaceAll(id, "-", "")); err == nil {
			return id
		}
	}
	sum := sha256.Sum256([]byte("stemma openlineage run " + ref))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// job gives the job of an activity: its plan, else its sort.
func (w *olWriter) job(ref string) olObject {
	for _, r := range w.out[ref] {
		if r.Type == "HadPlan" {
			ns, name := olPair(olRef(r.To))
			return olObject{"namespace": ns, "name": name}
		}
	}
	kind := w.items[ref].Attributes["activity"]
	if kind == "" {
		kind = "activity"
	}
	return olObject{"namespace": "stemma", "name": kind}
}

var olStates = map[string]string{"completed": "COMPLETE", "failed": "FAIL", "aborted": "ABORT", "running": "RUNNING", "started": "START"}

// run writes the events of one activity.
func (w *olWriter) run(it query.Item) {
	job := w.job(it.Ref)
	if kind := it.Attributes["activity"]; kind != "" {
		job["facets"] = olObject{"jobType": olFacet(olFacets+"2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
			olObject{"processingType": "BATCH", "integration": "STEMMA", "jobType": strings.ToUpper(kind)})}
	}
	run := olObject{"runId": olRunID(it.Ref), "facets": w.runFacets(it)}
	inputs, outputs := w.inputs(it.Ref), w.outputs(it.Ref)
	event := func(at, typ string, order int, outputs []olObject) {
		w.add(at, order, olObject{"eventType": typ, "eventTime": at, "producer": olProducer, "schemaURL": olCore + "RunEvent",
			"run": run, "job": job, "inputs": inputs, "outputs": outputs})
	}
	start, end := it.Attributes["startedAt"], it.Attributes["endedAt"]
	state := olStates[it.Attributes["state"]]
	if start != "" {
		event(start, "START", 0, []olObject{})
	}
	switch {
	case end != "":
		if state == "" || state == "START" || state == "RUNNING" {
			state = "COMPLETE"
		}
		event(end, state, 1, outputs)
	case start != "" && len(outputs) == 0:
	default:
		if at := w.seen(it); at != "" {
			event(at, "OTHER", 1, outputs)
		}
	}
}

func (w *olWriter) add(at string, order int, event olObject) {
	t, err := prov.ParseTime(at)
	if err != nil {
		return // an answer holds no such time
	}
	w.events = append(w.events, olEvent{prov.At(t), order, event})
}

// seen gives a time at which an activity without an end was known of.
func (w *olWriter) seen(it query.Item) string {
	if at := it.Attributes["observedAt"]; at != "" {
		return at
	}
	best := ""
	for _, rels := range [][]query.RelationItem{w.in[it.Ref], w.out[it.Ref]} {
		for _, r := range rels {
			if at := string(r.ValidFrom); at != "" && (best == "" || earlier(at, best)) {
				best = at
			}
		}
	}
	return best
}

// earlier compares times as an answer writes them, with as many digits as are
// needed.
func earlier(a, b string) bool {
	x, err1 := prov.ParseTime(a)
	y, err2 := prov.ParseTime(b)
	return err1 == nil && err2 == nil && x.Before(y)
}

func (w *olWriter) runFacets(it query.Item) olObject {
	var who []olObject
	facets := olObject{}
	for _, r := range w.out[it.Ref] {
		switch r.Type {
		case "AssociatedWith", "ActedOnBehalfOf":
			who = append(who, olObject{"ref": r.To, "role": r.Role, "relation": r.Type})
		case "InformedBy":
			if facets["parent"] == nil {
				facets["parent"] = olFacet(olFacets+"1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet",
					olObject{"run": olObject{"runId": olRunID(r.To)}, "job": w.job(r.To)})
			}
		}
	}
	own := olObject{"ref": it.Ref, "entries": it.Entries}
	if who != nil {
		own["identities"] = who
	}
	facets["stemma_activity"] = olFacet(olOwn+"ActivityRunFacet", own)
	return facets
}

func (w *olWriter) inputs(ref string) []olObject {
	out, seen := []olObject{}, map[string]bool{}
	for _, r := range w.out[ref] {
		if r.Type == "Used" && !seen[r.To] {
			seen[r.To] = true
			out = append(out, w.dataset(r.To))
		}
	}
	return out
}

// outputs gives what an activity wrote. One whose derivations are all that it
// was made of says so by the lineage facet.
func (w *olWriter) outputs(ref string) []olObject {
	out, seen := []olObject{}, map[string]bool{}
	for _, r := range w.in[ref] {
		if r.Type != "GeneratedBy" || seen[r.From] {
			continue
		}
		seen[r.From] = true
		d := w.dataset(r.From)
		if r.Rule == "" {
			d["facets"].(olObject)["lineage"] = w.lineage(r.From)
		}
		out = append(out, d)
	}
	return out
}

func (w *olWriter) lineage(ref string) olObject {
	inputs := []olObject{}
	for _, r := range w.out[ref] {
		if r.Type == "DerivedFrom" {
			ns, name := olPair(olRef(r.To))
			inputs = append(inputs, olObject{"namespace": ns, "name": name, "type": "DATASET"})
		}
	}
	return olFacet(olFacets+"1-0-0/LineageFacet.json#/$defs/LineageDatasetFacet", olObject{"inputs": inputs})
}

// stated writes a DatasetEvent for each thing with derivations that no
// activity's event says.
func (w *olWriter) stated() {
	for _, ref := range slices.Sorted(maps.Keys(w.items)) {
		at, by := "", false
		for _, r := range w.out[ref] {
			switch {
			case r.Type == "GeneratedBy" && r.Rule == "":
				by = true
			case r.Type == "DerivedFrom" && (at == "" || earlier(string(r.ValidFrom), at)):
				at = string(r.ValidFrom)
			}
		}
		if by || at == "" {
			continue
		}
		d := w.dataset(ref)
		d["facets"].(olObject)["lineage"] = w.lineage(ref)
		w.add(at, 2, olObject{"eventTime": at, "producer": olProducer, "schemaURL": olCore + "DatasetEvent", "dataset": d})
	}
}
