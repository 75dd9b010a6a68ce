package mlflow

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Limits on what is written into a statement; the rest is in the evidence.
const (
	maxNotes      = 50
	maxParameters = 500  // parameters and metrics of a run, each
	maxValue      = 500  // bytes of a parameter or attribute
	maxOutputs    = 2000 // models, datasets and versions of one unit
)

// unit is one thing that MLflow keeps, on its way into statements.
type unit struct {
	Options
	doc       *rawjson.Doc
	root      rawjson.Node
	kept      []byte // the evidence
	mediaType string
	redacted  []string
	observed  statement.Time // when an export was made

	notes   []string
	unsaid  int
	refusal *importer.Refusal
	out     []importer.Draft
	states  []importer.RegistryState
}

func (u *unit) refuse(reason, place, format string, args ...any) {
	if u.refusal == nil {
		u.refusal = &importer.Refusal{Reason: reason, Detail: rawjson.Clip(place, 500) + ": " + rawjson.Clip(fmt.Sprintf(format, args...), 1000)}
	}
}

func (u *unit) note(format string, args ...any) {
	if len(u.notes) >= maxNotes {
		u.unsaid++
		return
	}
	if s := rawjson.Clip(fmt.Sprintf(format, args...), 500); !slices.Contains(u.notes, s) {
		u.notes = append(u.notes, s)
	}
}

func (u *unit) add(p statement.Predicate, subjects ...statement.Subject) {
	u.out = append(u.out, importer.Draft{Subjects: subjects, Predicate: p})
}

// item completes the Item with the statements of the unit.
func (u *unit) item(it importer.Item) importer.Item {
	if u.doc != nil {
		for _, path := range u.doc.Repeated {
			u.note("%s occurs more than once; the last one counts", path)
		}
	}
	u.statements()
	u.seal()
	if u.refusal == nil && len(u.out) == 0 {
		u.refuse(Aside, "unit", "says nothing that can be recorded")
	}
	if u.refusal != nil {
		it.Refusal = u.refusal
		return it
	}
	it.Evidence, it.Statements, it.Notes, it.Registries = u.kept, u.out, u.notes, u.states
	return it
}

func (u *unit) statements() {
	m, exported := body(u.root)
	if exported {
		u.observed = u.time(u.root.Get("system").Get("export_time"), "system.export_time")
		if u.observed.IsZero() {
			u.observed = u.time(u.root.Get("export_info").Get("export_time"), "export_info.export_time")
		}
	}
	switch shapeOf(u.root) {
	case shapeRun:
		u.run(m)
	case shapeExperiment:
		u.experiment(inner(m, "experiment", exported))
	case shapeModel:
		u.registeredModel(inner(m, "registered_model", exported))
	case shapeVersion:
		u.versionUnit(inner(m, "model_version", exported))
	case shapeLogged:
		u.loggedModel(m)
	case shapePrompt:
		u.prompt(m.Get("prompt"))
	case shapeDataset:
		u.evaluationDataset(inner(m, "evaluation_dataset", exported))
	case shapeTrace:
		u.trace(m)
	case shapeSpans:
		u.spans(m)
	}
}

func inner(m rawjson.Node, name string, exported bool) rawjson.Node {
	if exported {
		return m.Get(name)
	}
	return m
}

// seal adds the evidence to each statement, and checks that all can be said.
func (u *unit) seal() {
	if u.refusal != nil {
		return
	}
	if u.doc != nil && u.doc.Unpaired {
		u.note("half of a surrogate pair is read as U+FFFD")
	}
	if u.unsaid > 0 {
		u.notes = append(u.notes, fmt.Sprintf("%d more notes are not written out", u.unsaid))
	}
	ev := importer.NewEvidence(Importer{}, u.mediaType, sha256.Sum256(u.kept), len(u.kept))
	ev.Redacted, ev.Notes = u.redacted, u.notes
	short := ev
	short.Redacted, short.Notes = nil, nil
	for i := range u.states {
		u.states[i].Evidence = short // the notes and paths stand with the statements
	}
	for i, d := range u.out {
		if i > 0 {
			ev = short
		}
		evs := []statement.Evidence{ev}
		switch p := d.Predicate.(type) {
		case *statement.Activity:
			p.Evidence = evs
		case *statement.Entity:
			p.Evidence = evs
		case *statement.Registry:
			p.Evidence = evs
		}
		payload, err := statement.Format(d.Subjects, d.Predicate)
		if err != nil {
			u.refuse(BadField, "unit", "makes no valid statement: %v; mend what it names, or report it", err)
			return
		}
		if len(payload) > statement.MaxPayload {
			u.refuse(rawjson.TooLarge, "unit", "makes a statement of %d bytes, the limit is %d; record it in parts", len(payload), statement.MaxPayload)
			return
		}
	}
}

// ref names a thing whose name MLflow keeps unique within a server.
func (u *unit) ref(kind prov.Kind, name, version string) prov.Ref {
	r := prov.Ref{Kind: kind, Namespace: u.Server, Name: name, Version: version}
	u.fits(r)
	return r
}

// global names a thing whose name is unique by itself.
func (u *unit) global(kind prov.Kind, name, version string) prov.Ref {
	r := prov.Ref{Kind: kind, Name: name, Version: version}
	u.fits(r)
	return r
}

func (u *unit) fits(r prov.Ref) {
	if n := len(r.String()); n > prov.MaxRef {
		u.refuse(NameTooLong, rawjson.Clip(r.String(), 100), "the name is %d bytes long as a Ref, the limit is %d; shorten it at the source", n, prov.MaxRef)
	}
}

// registry gives the name of the registry.
func (u *unit) registry() string {
	if u.Server != "" {
		return u.Server
	}
	return "mlflow"
}

// activity gives the Ref of a run: its id as MLflow writes it.
func (u *unit) activity(id string) prov.Ref {
	if !isHex(id, 32) {
		return u.global(prov.Activity, "mlflow/"+id, "")
	}
	return u.global(prov.Activity, strings.ToLower(id), "")
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(strings.ToLower(s), "0123456789abcdef") == ""
}

// identity gives who a user name of MLflow means: an address is a person, a
// bare UUID is a service principal of Databricks, all else is the name of a
// login.
func (u *unit) identity(user string) (string, bool) {
	user = strings.TrimSpace(user)
	switch strings.ToLower(user) {
	case "", "unknown", "none", "null":
		return "", false
	}
	kind := prov.Person
	if p := strings.Split(user, "-"); len(user) == 36 && len(p) == 5 && isHex(strings.Join(p, ""), 32) {
		kind = prov.ServiceAccount
	}
	return u.global(kind, user, "").String(), true
}

// time reads a time: an integer of milliseconds since 1970, as MLflow writes
// it, of seconds, microseconds or nanoseconds, told by its size, or RFC 3339.
// No time, and 0, give the zero Time.
func (u *unit) time(n rawjson.Node, place string) statement.Time {
	s := n.Text()
	if s == "" {
		return statement.Time{}
	}
	var t time.Time
	if v, err := strconv.ParseInt(s, 10, 64); err == nil {
		t = instant(v)
	} else if f, err := strconv.ParseFloat(s, 64); err == nil && f > 0 && f < 1e12 && n.Kind() == '0' {
		t = time.Unix(int64(f), int64((f-math.Floor(f))*1e9))
	} else if v, err := parseText(s); err == nil {
		t = v
	} else {
		u.note("%s: %q is no time; it is in the evidence only", place, rawjson.Clip(s, 60))
		return statement.Time{}
	}
	if t.IsZero() || t.UTC().Year() < 1679 || t.UTC().Year() > 2261 {
		return statement.Time{}
	}
	return statement.NewTime(t)
}

func instant(v int64) time.Time {
	switch {
	case v <= 0:
		return time.Time{}
	case v < 1e11: // seconds; as milliseconds it would lie before March 1973
		return time.Unix(v, 0)
	case v < 1e14:
		return time.UnixMilli(v)
	case v < 1e17:
		return time.UnixMicro(v)
	}
	return time.Unix(0, v)
}

// parseText reads RFC 3339, and the times that Python writes in UTC without a
// zone.
func parseText(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("no time")
}

func later(times ...statement.Time) (t statement.Time) {
	for _, x := range times {
		if x.After(t.Time) {
			t = x
		}
	}
	return t
}

// pairs reads a map: an object, or an array of {key, value}.
func pairs(n rawjson.Node) map[string]string {
	out := map[string]string{}
	for m := range n.All() {
		key, val := m.Get("key").Text(), m.Get("value")
		if n.Kind() == '{' {
			key, val = m.Key(), m
		}
		if key == "" {
			continue
		}
		if t := val.Text(); t != "" || val.Kind() == '"' {
			out[key] = t
		} else if val.Given() {
			out[key] = string(val.Raw())
		}
	}
	return out
}

// text gives the first of the members that is given.
func text(n rawjson.Node, names ...string) string {
	for _, name := range names {
		if t := n.Get(name).Text(); t != "" {
			return t
		}
	}
	return ""
}

// attributes keeps what is not empty, shortened.
func (u *unit) attributes(kv ...string) map[string]string {
	out := map[string]string{}
	for i := 0; i+1 < len(kv); i += 2 {
		if v := kv[i+1]; v != "" {
			out[kv[i]] = rawjson.Clip(v, maxValue)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func resource(r prov.Ref) statement.Resource { return statement.NewResource(r, nil) }
func subject(r prov.Ref) statement.Subject   { return statement.NewSubject(r, nil) }

func truth(s string) bool { return strings.EqualFold(s, "true") }

// sortedPairs gives a map in the order of its keys.
func sortedPairs(m map[string]string) []pair {
	var out []pair
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, pair{k, m[k]})
	}
	return out
}
