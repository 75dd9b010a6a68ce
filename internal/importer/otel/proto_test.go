package otel

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/stemma-lineage/stemma/internal/importer"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func text(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

func protoSpans(service string, n int) *tracepb.ResourceSpans {
	rs := &tracepb.ResourceSpans{Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{text("service.name", service)}},
		ScopeSpans: []*tracepb.ScopeSpans{{Scope: &commonpb.InstrumentationScope{Name: "s", Version: "1"}}}}
	for i := range n {
		id := binary.BigEndian.AppendUint64(nil, 0xb7ad6b7169203331+uint64(i))
		s := &tracepb.Span{TraceId: unhex("0af7651916cd43dd8448eb211c80319c"), SpanId: id, Name: "execute_tool t", Kind: tracepb.Span_SPAN_KIND_INTERNAL,
			StartTimeUnixNano: 1790000000123456789, EndTimeUnixNano: 1790000001123456789, Status: &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR},
			Attributes: []*commonpb.KeyValue{text("gen_ai.operation.name", "execute_tool"), text("gen_ai.tool.name", "t"), text("x.api_key", "abc"),
				{Key: "n", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: 1 << 60}}}},
			Links: []*tracepb.Span_Link{{TraceId: unhex("0af7651916cd43dd8448eb211c80319d"), SpanId: unhex("b7ad6b7169203399")}}}
		if i > 0 {
			s.ParentSpanId = unhex("b7ad6b7169203331")
		}
		rs.ScopeSpans[0].Spans = append(rs.ScopeSpans[0].Spans, s)
	}
	return rs
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func framed(frame framing, messages ...[]byte) []byte {
	var out []byte
	for _, m := range messages {
		switch frame {
		case bigEndian:
			out = binary.BigEndian.AppendUint32(out, uint32(len(m)))
		case varint:
			out = protowire.AppendVarint(out, uint64(len(m)))
		}
		out = append(out, m...)
	}
	return out
}

// TestProtobuf reads the same messages in each framing.
func TestProtobuf(t *testing.T) {
	a := marshal(t, &tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{protoSpans("a", 2)}})
	b := marshal(t, &tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{protoSpans("b", 1)}})
	const want = `byte N: accepted
  activity:0af7651916cd43dd8448eb211c80319c trace from 2026-09-21T14:13:20.123456789Z to 2026-09-21T14:13:21.123456789Z 
    by workload:a (workload)
    parameters: rootName=execute_tool t; rootSpan=b7ad6b7169203331
  activity:0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331 call-tool from 2026-09-21T14:13:20.123456789Z to 2026-09-21T14:13:21.123456789Z failed
    informed by activity:0af7651916cd43dd8448eb211c80319c
    informed by activity:0af7651916cd43dd8448eb211c80319d/b7ad6b7169203399
    calls tool:t
    by workload:a (workload)
    parameters: operation=execute_tool; scope=s 1; span=execute_tool t; spanKind=INTERNAL
  activity:0af7651916cd43dd8448eb211c80319c/b7ad6b7169203332 call-tool from 2026-09-21T14:13:20.123456789Z to 2026-09-21T14:13:21.123456789Z failed
    informed by activity:0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331
    informed by activity:0af7651916cd43dd8448eb211c80319d/b7ad6b7169203399
    calls tool:t
    by workload:a (workload)
    parameters: operation=execute_tool; scope=s 1; span=execute_tool t; spanKind=INTERNAL
  redacted: span.x.api_key
  redacted: span.x.api_key
`
	for _, frame := range []framing{bigEndian, varint} {
		data := framed(frame, a, b)
		if got := frameOf(data); got != frame {
			t.Errorf("framing %d is read as %d", frame, got)
		}
		items := readAll(t, data, Options{})
		if len(items) != 2 || items[0].Bytes+items[1].Bytes != int64(len(data)) || items[1].Offset != items[0].Bytes {
			t.Fatalf("framing %d: %d items", frame, len(items))
		}
		items[0].Place = "byte N"
		if diff := cmp.Diff(want, summary(items[:1])); diff != "" {
			t.Errorf("framing %d (-want +got):\n%s", frame, diff)
		}
	}
	data := framed(bare, a, b) // is one message with both
	if items := readAll(t, data, Options{}); len(items) != 1 || items[0].Refusal != nil || len(items[0].Statements) != 4 || items[0].Bytes != int64(len(data)) {
		t.Errorf("bare:\n%s", summary(items))
	}
}

// TestProtobufBroken refuses what is cut off, too large or no message, and
// reads what came before.
func TestProtobufBroken(t *testing.T) {
	a := marshal(t, &tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{protoSpans("a", 1)}})
	large := marshal(t, &tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{protoSpans("a", 40)}})
	for _, c := range []struct {
		name string
		data []byte
		want []string // reasons; "" is accepted
	}{
		{"cut", framed(bigEndian, a, a)[:len(a)+20], []string{"", TruncatedProto}},
		{"cut length", framed(bigEndian, a, a)[:len(a)+6], []string{"", TruncatedProto}},
		{"cut bare", framed(bare, a, a)[:len(a)+20], []string{TruncatedProto}},
		{"large between", framed(bigEndian, a, large, a), []string{"", "too-large", ""}},
		{"large bare", framed(bare, a, large, a), []string{"", "too-large", ""}},
		{"no message", framed(bigEndian, a, []byte("this is no message")), []string{"", MalformedProto}},
		{"garbage after", append(framed(bare, a), 0xff, 0xff, 0xff), []string{"", MalformedProto}},
	} {
		var got []string
		n := int64(0)
		for _, it := range readAll(t, c.data, Options{MaxDocument: 4000}) {
			n += it.Bytes
			if it.Refusal == nil {
				got = append(got, "")
			} else {
				got = append(got, it.Refusal.Reason)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" || n != int64(len(c.data)) {
			t.Errorf("%s (-want +got), %d of %d bytes:\n%s", c.name, n, len(c.data), diff)
		}
	}
}

// TestOldScopes reads the scopes of OTLP before 0.15, and takes the secrets
// out of them.
func TestOldScopes(t *testing.T) {
	rs := protoSpans("a", 1)
	old := protowire.AppendBytes(protowire.AppendTag(nil, 1000, protowire.BytesType), marshal(t, rs.ScopeSpans[0]))
	rs.ScopeSpans = nil
	rs.ProtoReflect().SetUnknown(old)
	items := readAll(t, marshal(t, &tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{rs}}), Options{})
	if len(items) != 1 || items[0].Refusal != nil || bytes.Contains(items[0].Evidence, []byte("abc")) {
		t.Errorf("%s", summary(items))
	}
}

// TestRecognise asks of each sort of file whether it is one of traces.
func TestRecognise(t *testing.T) {
	msg := marshal(t, &tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{protoSpans("a", 2)}})
	for _, c := range []struct {
		head string
		want bool
	}{
		{string(msg), true}, {string(framed(bigEndian, msg)), true}, {string(framed(varint, msg)), true},
		{`{"resourceSpans":[]}`, true}, {`{"resourceLogs":[]}`, true},
		{`{"trace":{"resourceSpans":[]}}`, true}, {`{"trace":{"id":1}}`, false},
		{`{"batches":[{"scopeSpans":[{"spans":[]}]}]}`, true}, {`{"batches":[1]}`, false},
		{`{"data":[{"traceID":"1","spans":[{"operationName":"x"}]}]}`, true}, {`{"data":[{"id":1}]}`, false},
		{`{"spans":[{"context":{"trace_id":1,"span_id":2}}]}`, true}, {`{"info":{},"spans":[{"trace_id":1,"span_id":2}]}`, false}, {`{"spans":[]}`, false},
		{`[{"traceID":"1","spanID":"2","operationName":"x"}]`, true},
		{`{"name":"x","context":{"trace_id":"0x1","span_id":"0x2"},"start_time":"t"}`, true},
		{`{"eventTime":"x","run":{},"job":{}}`, false}, {`{"bomFormat":"CycloneDX"}`, false}, {"", false}, {"plain text that is long enough for a look", false},
	} {
		if got := (Importer{}).Recognise(importer.NewHead("f", int64(len(c.head)), []byte(c.head))); got != c.want {
			t.Errorf("%.60q: %v", c.head, got)
		}
	}
}
