package otel

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

// protoItems makes the Items of one message.
func protoItems(m message) []importer.Item {
	it := importer.Item{Place: place(m.offset), Offset: m.offset, Bytes: m.size, Original: sha256.Sum256(m.bytes)}
	data := &tracepb.TracesData{}
	if err := proto.Unmarshal(m.bytes, data); err != nil {
		it.Refusal = &importer.Refusal{Reason: MalformedProto, Detail: fmt.Sprintf("%s: no TracesData message of OTLP: %s; export it again", it.Place, rawjson.Secrets(err.Error()))}
		return []importer.Item{it}
	}
	evidence := m.bytes
	c := &cleaner{}
	c.data(data)
	if len(c.paths) > 0 {
		var err error
		if evidence, err = (proto.MarshalOptions{Deterministic: true}).Marshal(data); err != nil {
			it.Refusal = &importer.Refusal{Reason: MalformedProto, Detail: fmt.Sprintf("%s: cannot be written without its secrets: %v", it.Place, err)}
			return []importer.Item{it}
		}
	}
	u := &unit{}
	for i, rs := range data.GetResourceSpans() {
		u.protoResource(rs, fmt.Sprintf("resource_spans[%d]", i))
	}
	return u.items(it, bytes.Clone(evidence), MediaTypeProtobuf, c.paths)
}

func (u *unit) protoResource(rs *tracepb.ResourceSpans, at string) {
	p := newProcess(protoAttrs(rs.GetResource().GetAttributes()))
	for i, ss := range append(rs.GetScopeSpans(), u.oldScopes(rs, at)...) {
		scope := scopeName(ss.GetScope().GetName(), ss.GetScope().GetVersion())
		for k, s := range ss.GetSpans() {
			u.protoSpan(s, fmt.Sprintf("%s.scope_spans[%d].spans[%d]", at, i, k), p, scope)
		}
	}
}

// oldScopes reads the instrumentation_library_spans (field 1000) of OTLP
// before 0.15, whose message has the fields of ScopeSpans.
func (u *unit) oldScopes(rs *tracepb.ResourceSpans, at string) []*tracepb.ScopeSpans {
	var out []*tracepb.ScopeSpans
	for b := rs.ProtoReflect().GetUnknown(); len(b) > 0; {
		n, typ, k := protowire.ConsumeField(b)
		if k < 0 {
			break
		}
		if n == 1000 && typ == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(b)
			v, _ := protowire.ConsumeBytes(b[tag:])
			ss := &tracepb.ScopeSpans{}
			if proto.Unmarshal(v, ss) == nil {
				out = append(out, ss)
			} else {
				u.note("%s: an instrumentation_library_spans that cannot be read; it is in the evidence only", at)
			}
		}
		b = b[k:]
	}
	return out
}

func (u *unit) protoSpan(x *tracepb.Span, place string, p *process, scope string) {
	s := span{place: place, name: x.GetName(), kind: kindText(strconv.Itoa(int(x.GetKind()))), scope: scope, process: p,
		attrs: protoAttrs(x.GetAttributes()), failed: x.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR}
	s.start = u.protoTime(x.GetStartTimeUnixNano(), place+".start_time_unix_nano")
	s.end = u.protoTime(x.GetEndTimeUnixNano(), place+".end_time_unix_nano")
	for _, e := range x.GetEvents() {
		s.event(e.GetName(), protoAttrs(e.GetAttributes()))
	}
	for _, l := range x.GetLinks() {
		t, ok1 := idBytes(l.GetTraceId(), 16)
		i, ok2 := idBytes(l.GetSpanId(), 8)
		u.linked(&s, t, i, ok1 && ok2)
	}
	var ok [3]bool
	s.trace, ok[0] = idBytes(x.GetTraceId(), 16)
	s.id, ok[1] = idBytes(x.GetSpanId(), 8)
	s.parent, ok[2] = idBytes(x.GetParentSpanId(), 8)
	u.take(s, ok, [3]string{fmt.Sprintf("%x", x.GetTraceId()), fmt.Sprintf("%x", x.GetSpanId()), fmt.Sprintf("%x", x.GetParentSpanId())})
}

func (u *unit) protoTime(n uint64, place string) statement.Time {
	t, ok := timeNanos(n)
	if !ok {
		u.note("%s %d is no time of the years 1970 to 2261; it is unknown", place, n)
	}
	return t
}

func protoAttrs(list []*commonpb.KeyValue) attrs {
	a := attrs{}
	for _, kv := range list {
		protoValue(a, kv.GetKey(), kv.GetValue(), 0)
	}
	return a
}

func protoValue(a attrs, key string, v *commonpb.AnyValue, depth int) {
	if key == "" || depth > maxNesting {
		return
	}
	switch x := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		a[key] = x.StringValue
	case *commonpb.AnyValue_BoolValue:
		a[key] = strconv.FormatBool(x.BoolValue)
	case *commonpb.AnyValue_IntValue:
		a[key] = strconv.FormatInt(x.IntValue, 10)
	case *commonpb.AnyValue_DoubleValue:
		a[key] = strconv.FormatFloat(x.DoubleValue, 'g', -1, 64)
	case *commonpb.AnyValue_BytesValue:
		a[key] = base64.StdEncoding.EncodeToString(x.BytesValue)
	case *commonpb.AnyValue_ArrayValue:
		for i, e := range x.ArrayValue.GetValues() {
			protoValue(a, key+"."+strconv.Itoa(i), e, depth+1)
		}
	case *commonpb.AnyValue_KvlistValue:
		for _, kv := range x.KvlistValue.GetValues() {
			protoValue(a, key+"."+kv.GetKey(), kv.GetValue(), depth+1)
		}
	}
}

// cleaner takes the secrets out of a message.
type cleaner struct{ paths []string }

func (c *cleaner) text(s *string, path string, all bool) {
	clean := rawjson.Secrets(*s)
	if all && *s != "" && *s != "None" {
		clean = rawjson.Redacted
	}
	if clean != *s {
		*s = clean
		c.paths = append(c.paths, rawjson.Clip(rawjson.Secrets(path), 200))
	}
}

func (c *cleaner) data(d *tracepb.TracesData) {
	for _, rs := range d.GetResourceSpans() {
		c.attrs(rs.GetResource().GetAttributes(), "resource")
		for _, ss := range rs.GetScopeSpans() {
			c.attrs(ss.GetScope().GetAttributes(), "scope")
			for _, s := range ss.GetSpans() {
				c.span(s)
			}
		}
		c.old(rs)
	}
}

func (c *cleaner) span(s *tracepb.Span) {
	c.text(&s.Name, "span.name", false)
	c.text(&s.TraceState, "span.trace_state", false)
	if s.Status != nil {
		c.text(&s.Status.Message, "span.status.message", false)
	}
	c.attrs(s.GetAttributes(), "span")
	for _, e := range s.GetEvents() {
		c.text(&e.Name, "event.name", false)
		c.attrs(e.GetAttributes(), "event")
	}
	for _, l := range s.GetLinks() {
		c.attrs(l.GetAttributes(), "link")
	}
}

// old cleans spans in the field of old versions, which is written anew if they
// held a secret.
func (c *cleaner) old(rs *tracepb.ResourceSpans) {
	var out []byte
	before := len(c.paths)
	for b := rs.ProtoReflect().GetUnknown(); len(b) > 0; {
		n, typ, k := protowire.ConsumeField(b)
		if k < 0 {
			return
		}
		field := b[:k]
		b = b[k:]
		if n == 1000 && typ == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(field)
			v, _ := protowire.ConsumeBytes(field[tag:])
			ss := &tracepb.ScopeSpans{}
			if proto.Unmarshal(v, ss) == nil {
				for _, s := range ss.GetSpans() {
					c.span(s)
				}
				if w, err := (proto.MarshalOptions{Deterministic: true}).Marshal(ss); err == nil {
					field = protowire.AppendBytes(protowire.AppendTag(nil, 1000, protowire.BytesType), w)
				}
			}
		}
		out = append(out, field...)
	}
	if len(c.paths) > before {
		rs.ProtoReflect().SetUnknown(out)
	}
}

func (c *cleaner) attrs(list []*commonpb.KeyValue, path string) {
	for _, kv := range list {
		c.text(&kv.Key, path+" (name)", false)
		c.value(kv.GetValue(), path+"."+kv.GetKey(), secretAttribute(kv.GetKey()), 0)
	}
}

func (c *cleaner) value(v *commonpb.AnyValue, path string, all bool, depth int) {
	switch x := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		c.text(&x.StringValue, path, all)
	case *commonpb.AnyValue_BytesValue:
		if all && len(x.BytesValue) > 0 {
			x.BytesValue = []byte(rawjson.Redacted)
			c.paths = append(c.paths, rawjson.Clip(rawjson.Secrets(path), 200))
		}
	case *commonpb.AnyValue_ArrayValue:
		for _, e := range x.ArrayValue.GetValues() {
			c.value(e, path, all, depth+1)
		}
	case *commonpb.AnyValue_KvlistValue:
		for _, kv := range x.KvlistValue.GetValues() {
			c.text(&kv.Key, path+" (name)", false)
			c.value(kv.GetValue(), path+"."+kv.GetKey(), all || secretAttribute(kv.GetKey()), depth+1)
		}
	}
}
