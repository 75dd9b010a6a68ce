package otel

import (
	"fmt"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

// get gives the first of the members that is given: the same field is written
// in several ways.
func get(n rawjson.Node, names ...string) rawjson.Node {
	for _, name := range names {
		if x := n.Get(name); x.Given() {
			return x
		}
	}
	return rawjson.Node{}
}

// document reads the spans of one JSON value.
func (u *unit) document(root rawjson.Node) {
	switch {
	case root.Get("data").Kind() == '[':
		u.each(root.Get("data"), "data", u.jaegerTrace)
	case root.Get("data").Kind() == '{': // one trace of a query service
		u.document1(root.Get("data"), "data.")
	default:
		u.document1(root, "")
	}
}

func (u *unit) document1(n rawjson.Node, at string) {
	for _, wrap := range []string{"trace", "result"} {
		if x := n.Get(wrap); x.Kind() == '{' {
			n, at = x, at+wrap+"."
		}
	}
	found := false
	for _, name := range []string{"resourceSpans", "resource_spans", "batches"} {
		if x := n.Get(name); x.Kind() == '[' {
			found = true
			u.each(x, at+name, u.resourceSpans)
		}
	}
	spans := n.Get("spans")
	switch {
	case found:
	case spans.Kind() == '[' && n.Get("processes").Given():
		u.jaegerTrace(n, strings.TrimSuffix(at, "."))
	case spans.Kind() == '[':
		u.each(spans, at+"spans", u.loneSpan)
	case get(n, "scopeSpans", "scope_spans", "instrumentationLibrarySpans").Given():
		u.resourceSpans(n, strings.TrimSuffix(at, "."))
	case get(n, "context", "spanContext", "span_context", "traceId", "traceID", "trace_id", "spanId", "spanID", "span_id").Given():
		u.loneSpan(n, strings.TrimSuffix(at, "."))
	}
}

func (u *unit) each(list rawjson.Node, at string, f func(n rawjson.Node, place string)) {
	i := 0
	for x := range list.All() {
		f(x, fmt.Sprintf("%s[%d]", at, i))
		i++
	}
}

// resourceSpans reads an OTLP ResourceSpans, also of the versions before 0.15
// of the protocol, whose scopes are called instrumentation libraries.
func (u *unit) resourceSpans(n rawjson.Node, at string) {
	p := newProcess(otlpAttrs(get(n, "resource").Get("attributes")))
	for _, name := range []string{"scopeSpans", "scope_spans", "instrumentationLibrarySpans", "instrumentation_library_spans"} {
		u.each(n.Get(name), at+"."+name, func(ss rawjson.Node, at string) {
			scope := get(ss, "scope", "instrumentationLibrary", "instrumentation_library")
			name := scopeName(scope.Get("name").Text(), scope.Get("version").Text())
			u.each(ss.Get("spans"), at+".spans", func(x rawjson.Node, place string) { u.otlpSpan(x, place, p, name) })
		})
	}
}

func scopeName(name, version string) string {
	if name != "" && version != "" {
		return name + " " + version
	}
	return name
}

// otlpSpan reads a span as in opentelemetry/proto/trace/v1/trace.proto.
func (u *unit) otlpSpan(n rawjson.Node, place string, p *process, scope string) {
	s := span{place: place, name: n.Get("name").Text(), kind: kindText(n.Get("kind").Text()), scope: scope, process: p}
	s.attrs = otlpAttrs(n.Get("attributes"))
	status := n.Get("status")
	s.failed = errorCode(status.Get("code").Text())
	s.start = u.time(get(n, "startTimeUnixNano", "start_time_unix_nano", "startTimeUnixNanos"), 1, place+".startTimeUnixNano")
	s.end = u.time(get(n, "endTimeUnixNano", "end_time_unix_nano", "endTimeUnixNanos"), 1, place+".endTimeUnixNano")
	for e := range n.Get("events").All() {
		s.event(e.Get("name").Text(), otlpAttrs(e.Get("attributes")))
	}
	for l := range n.Get("links").All() {
		u.link(&s, get(l, "traceId", "trace_id"), get(l, "spanId", "span_id"))
	}
	u.add(s, get(n, "traceId", "trace_id", "traceID"), get(n, "spanId", "span_id", "spanID"), get(n, "parentSpanId", "parent_span_id", "parentSpanID"))
}

// jaegerTrace reads a trace as Jaeger's query service writes it: times in
// microseconds, processes by name.
func (u *unit) jaegerTrace(n rawjson.Node, at string) {
	processes := map[string]*process{}
	for p := range n.Get("processes").All() {
		processes[p.Key()] = jaegerProcess(p)
	}
	if at != "" {
		at += "."
	}
	u.each(n.Get("spans"), at+"spans", func(x rawjson.Node, place string) {
		p := processes[x.Get("processID").Text()]
		if p == nil {
			p = jaegerProcess(x.Get("process"))
			if id := x.Get("processID").Text(); id != "" && len(p.attrs) == 0 {
				u.note("process %q is not described before its spans; which service they belong to is unknown here", rawjson.Clip(id, 60))
			}
		}
		u.jaegerSpan(x, place, p)
	})
}

func jaegerProcess(n rawjson.Node) *process {
	a := jaegerTags(n)
	if name := n.Get("serviceName").Text(); name != "" && a["service.name"] == "" {
		a["service.name"] = name
	}
	return newProcess(a)
}

func jaegerTags(n rawjson.Node) attrs {
	a := attrs{}
	for t := range n.Get("tags").All() {
		flatten(a, t.Get("key").Text(), t.Get("value"), 0)
	}
	flatten(a, "", n.Get("tag"), 0) // as Jaeger keeps them in Elasticsearch, with '@' for '.'
	for k, v := range a {
		if strings.Contains(k, "@") {
			a[strings.ReplaceAll(k, "@", ".")] = v
		}
	}
	return a
}

func (u *unit) jaegerSpan(n rawjson.Node, place string, p *process) {
	s := span{place: place, name: n.Get("operationName").Text(), process: p, attrs: jaegerTags(n)}
	s.kind = kindText(s.attrs["span.kind"])
	s.scope = scopeName(s.attrs.first("otel.scope.name", "otel.library.name"), s.attrs.first("otel.scope.version", "otel.library.version"))
	s.failed = s.attrs["error"] == "true" || errorCode(s.attrs["otel.status_code"])
	s.start = u.time(n.Get("startTime"), 1000, place+".startTime")
	if d := n.Get("duration"); d.Given() && !s.start.IsZero() {
		ns, ok := nanos(d.Text(), 1000)
		if end, fits := timeNanos(uint64(s.start.UnixNano()) + ns); ok && fits && s.start.UnixNano() >= 0 && !end.Before(s.start.Time) {
			s.end = end
		} else {
			u.note("%s.duration %q is no duration; when the span ended is unknown", place, rawjson.Clip(d.Text(), 60))
		}
	}
	for l := range n.Get("logs").All() {
		a := attrs{}
		for f := range l.Get("fields").All() {
			flatten(a, f.Get("key").Text(), f.Get("value"), 0)
		}
		s.event(a["event"], a)
	}
	parent := n.Get("parentSpanID")
	for r := range n.Get("references").All() {
		same := r.Get("traceID").Text() == n.Get("traceID").Text() || !r.Get("traceID").Given()
		if !parent.Given() && same && r.Get("refType").Text() != "FOLLOWS_FROM" {
			parent = r.Get("spanID")
			continue
		}
		u.link(&s, r.Get("traceID"), r.Get("spanID"))
	}
	u.add(s, get(n, "traceID", "traceId"), get(n, "spanID", "spanId"), parent)
}

// loneSpan reads a span that carries its context and resource with it: as the
// console exporters of the SDKs, any-agent and Phoenix write them, or a span
// of Jaeger's from Elasticsearch.
func (u *unit) loneSpan(n rawjson.Node, place string) {
	if n.Get("operationName").Given() {
		u.jaegerSpan(n, orUnit(place), jaegerProcess(n.Get("process")))
		return
	}
	if n.Get("startTimeUnixNano").Given() {
		u.otlpSpan(n, orUnit(place), newProcess(attrs{}), "")
		return
	}
	ctx := get(n, "context", "spanContext", "span_context")
	if !ctx.Given() {
		ctx = n
	}
	r := n.Get("resource").Get("attributes")
	if !r.Given() {
		r = n.Get("resource")
	}
	s := span{place: orUnit(place), name: n.Get("name").Text(), kind: kindText(n.Get("kind").Text()), process: newProcess(mapAttrs(r))}
	s.attrs = mapAttrs(n.Get("attributes"))
	if k := n.Get("span_kind").Text(); k != "" && s.attrs["openinference.span.kind"] == "" {
		s.attrs["openinference.span.kind"] = k
	}
	if k := n.Get("span_type").Text(); k != "" && s.attrs["mlflow.spanType"] == "" { // MLflow before version 3
		s.attrs["mlflow.spanType"] = k
	}
	scope := get(n, "scope", "instrumentation_scope", "instrumentationScope", "instrumentation_info")
	s.scope = scopeName(scope.Get("name").Text(), scope.Get("version").Text())
	s.failed = errorCode(get(n.Get("status"), "status_code", "code").Text()) || errorCode(n.Get("status_code").Text())
	s.start = u.time(get(n, "start_time", "startTime", "start_time_unix_nano"), 1, s.place+".start_time")
	s.end = u.time(get(n, "end_time", "endTime", "end_time_unix_nano"), 1, s.place+".end_time")
	for e := range n.Get("events").All() {
		s.event(e.Get("name").Text(), mapAttrs(e.Get("attributes")))
	}
	for l := range n.Get("links").All() {
		c := l
		if x := l.Get("context"); x.Given() {
			c = x
		}
		u.link(&s, get(c, "trace_id", "traceId"), get(c, "span_id", "spanId"))
	}
	parent := get(n, "parent_id", "parentId", "parent_span_id", "parentSpanId")
	if x := get(n, "parent", "parentSpanContext"); x.Kind() == '{' {
		parent = get(x, "span_id", "spanId")
	}
	u.add(s, get(ctx, "trace_id", "traceId"), get(ctx, "span_id", "spanId"), parent)
}

func orUnit(place string) string {
	if place == "" {
		return "span"
	}
	return place
}

func (u *unit) time(n rawjson.Node, unit int64, place string) statement.Time {
	t, ok := timeText(n.Text(), unit)
	if !ok || n.Given() && n.Text() == "" && n.Kind() != '"' {
		u.note("%s %q is no time of the years 1970 to 2261; it is unknown", place, rawjson.Clip(n.Text(), 60))
	}
	return t
}

func (u *unit) link(s *span, trace, id rawjson.Node) {
	t, ok1 := idText(trace.Text(), trace.Kind() == '0', 16)
	i, ok2 := idText(id.Text(), id.Kind() == '0', 8)
	u.linked(s, t, i, ok1 && ok2)
}

func (u *unit) linked(s *span, trace, id string, ok bool) {
	switch {
	case !ok || trace == "" || id == "":
		u.note("%s: a link without a readable trace and span id; it is in the evidence only", s.place)
	case len(s.links) >= maxLinks:
		u.note("%s: links beyond the first %d are in the evidence only", s.place, maxLinks)
	default:
		s.links = append(s.links, link{trace, id})
	}
}

// add takes the span with its ids, or says what is wrong with them.
func (u *unit) add(s span, trace, id, parent rawjson.Node) {
	var ok [3]bool
	s.trace, ok[0] = idText(trace.Text(), trace.Kind() == '0', 16)
	s.id, ok[1] = idText(id.Text(), id.Kind() == '0', 8)
	s.parent, ok[2] = idText(parent.Text(), parent.Kind() == '0', 8)
	u.take(s, ok, [3]string{trace.Text(), id.Text(), parent.Text()})
}

func otlpAttrs(list rawjson.Node) attrs {
	if list.Kind() == '{' { // some writers give a map
		return mapAttrs(list)
	}
	a := attrs{}
	for x := range list.All() {
		otlpValue(a, x.Get("key").Text(), x.Get("value"), 0)
	}
	return a
}

// otlpValue reads an AnyValue (opentelemetry/proto/common/v1/common.proto).
func otlpValue(a attrs, key string, v rawjson.Node, depth int) {
	if key == "" || depth > maxNesting {
		return
	}
	if v.Kind() != '{' {
		flatten(a, key, v, depth)
		return
	}
	if x := v.Get("Value"); x.Kind() == '{' { // as Go's encoding/json writes the oneof
		v = x
	}
	for m := range v.All() {
		switch strings.ToLower(strings.ReplaceAll(m.Key(), "_", "")) {
		case "stringvalue", "intvalue", "doublevalue", "bytesvalue", "boolvalue":
			scalar(a, key, m)
		case "arrayvalue":
			i := 0
			for x := range values(m).All() {
				otlpValue(a, fmt.Sprintf("%s.%d", key, i), x, depth+1)
				i++
			}
		case "kvlistvalue":
			for x := range values(m).All() {
				otlpValue(a, key+"."+x.Get("key").Text(), x.Get("value"), depth+1)
			}
		}
	}
}

func values(m rawjson.Node) rawjson.Node {
	if m.Kind() == '[' {
		return m
	}
	return m.Get("values")
}

func scalar(a attrs, key string, v rawjson.Node) {
	switch v.Kind() {
	case 't':
		a[key] = "true"
	case 'f':
		a[key] = "false"
	case '"', '0':
		a[key] = v.Text()
	}
}

func mapAttrs(n rawjson.Node) attrs {
	a := attrs{}
	flatten(a, "", n, 0)
	return a
}

func flatten(a attrs, key string, v rawjson.Node, depth int) {
	if depth > maxNesting {
		return
	}
	switch v.Kind() {
	case '{':
		for m := range v.All() {
			name := m.Key()
			if key != "" {
				name = key + "." + name
			}
			flatten(a, name, m, depth+1)
		}
	case '[':
		i := 0
		for x := range v.All() {
			flatten(a, fmt.Sprintf("%s.%d", key, i), x, depth+1)
			i++
		}
	default:
		if key != "" {
			scalar(a, key, v)
		}
	}
}
