package otel

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

func readAll(t testing.TB, data []byte, o Options) []importer.Item {
	t.Helper()
	var out []importer.Item
	for it, err := range Read(bytes.NewReader(data), o) {
		if err != nil {
			t.Fatal(err)
		}
		importertest.Check(t, it)
		out = append(out, it)
	}
	return out
}

// sameAgain reads the evidence of an accepted Item again: it must say the same.
func sameAgain(t testing.TB, it importer.Item) {
	t.Helper()
	if it.Refusal != nil {
		return
	}
	var again importer.Item
	if ev := statement.EvidenceOf(it.Statements[0].Predicate); ev[0].MediaType == MediaTypeProtobuf {
		again = protoItems(message{bytes: it.Evidence})[0]
	} else {
		for v, err := range rawjson.Split(bytes.NewReader(it.Evidence), int64(len(it.Evidence))) {
			if err != nil || v.Fault != nil {
				t.Fatalf("%s: the evidence cannot be read again: %v %v", it.Place, err, v.Fault)
			}
			again = jsonItems(v)[0]
		}
	}
	if again.Refusal != nil || !bytes.Equal(again.Evidence, it.Evidence) {
		t.Fatalf("%s: the evidence read again is other evidence (%v)", it.Place, again.Refusal)
	}
	again.Place, again.Notes = it.Place, it.Notes
	for _, x := range []importer.Item{it, again} {
		p := x.Statements[0].Predicate.(*statement.Activity)
		p.Evidence[0].Redacted, p.Evidence[0].Notes = nil, nil
	}
	if diff := cmp.Diff(it.Statements, again.Statements); diff != "" {
		t.Fatalf("%s: the evidence read again says something else:\n%s", it.Place, diff)
	}
}

// summary writes Items for a reader: one line a statement and its ties.
func summary(items []importer.Item) string {
	var b strings.Builder
	for _, it := range items {
		if it.Refusal != nil {
			fmt.Fprintf(&b, "%s: refused %s: %s\n", it.Place, it.Refusal.Reason, it.Refusal.Detail)
			continue
		}
		fmt.Fprintf(&b, "%s: accepted\n", it.Place)
		for _, d := range it.Statements {
			describe(&b, d)
		}
		for _, e := range statement.EvidenceOf(it.Statements[0].Predicate) {
			for _, r := range e.Redacted {
				fmt.Fprintf(&b, "  redacted: %s\n", r)
			}
		}
		for _, n := range it.Notes {
			fmt.Fprintf(&b, "  note: %s\n", n)
		}
	}
	return b.String()
}

func describe(b *strings.Builder, d importer.Draft) {
	subject := d.Subjects[0].Name
	switch p := d.Predicate.(type) {
	case *statement.Activity:
		fmt.Fprintf(b, "  %s %s", p.ID, p.Kind)
		if subject != p.ID {
			fmt.Fprintf(b, " makes %s", subject)
		}
		for _, t := range []struct {
			name string
			at   statement.Time
		}{{"from", p.StartedAt}, {"to", p.EndedAt}, {"seen", p.ObservedAt}} {
			if !t.at.IsZero() {
				fmt.Fprintf(b, " %s %s", t.name, t.at)
			}
		}
		fmt.Fprintf(b, " %s\n", p.State)
		if p.Plan != nil {
			fmt.Fprintf(b, "    plan %s\n", p.Plan.Ref)
		}
		for _, r := range p.InformedBy {
			fmt.Fprintf(b, "    informed by %s\n", r.Ref)
		}
		for _, u := range p.Used {
			fmt.Fprintf(b, "    used %s (%s)\n", short(u.Ref), u.Role)
		}
		for _, r := range p.Tools {
			fmt.Fprintf(b, "    calls %s\n", r.Ref)
		}
		for _, x := range p.Identities {
			fmt.Fprintf(b, "    by %s (%s)\n", x.Ref, x.Role)
		}
		for _, x := range p.OnBehalfOf {
			fmt.Fprintf(b, "    for %s (%s)\n", x.Ref, x.Role)
		}
		pairs(b, "parameters", p.Parameters)
		pairs(b, "environment", p.Environment)
	case *statement.Entity:
		fmt.Fprintf(b, "  %s %s at %s %q\n", subject, p.State, p.At, p.Description)
		for _, r := range p.SameAs {
			fmt.Fprintf(b, "    same as %s\n", r.Ref)
		}
		pairs(b, "attributes", p.Attributes)
	case *statement.Delegation:
		fmt.Fprintf(b, "  delegation %s -> %s from %s %s for %q chain %s\n", p.Parent, p.Child, p.IssuedAt, p.Grade, p.OnBehalfOf, strings.Join(p.Chain, " "))
	}
}

func short(ref string) string {
	if strings.HasPrefix(ref, "sha256:") {
		return ref[:15] + "…"
	}
	return ref
}

func pairs(b *strings.Builder, title string, m map[string]string) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for i, k := range keys {
		keys[i] = k + "=" + m[k]
	}
	if len(keys) > 0 {
		fmt.Fprintf(b, "    %s: %s\n", title, strings.Join(keys, "; "))
	}
}

// TestMapping shows what each input gives.
func TestMapping(t *testing.T) {
	datadriven.Walk(t, "testdata/mapping", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			o := Options{}
			if d.HasArg("max") {
				d.ScanArgs(t, "max", &o.MaxDocument)
			}
			items := readAll(t, []byte(d.Input), o)
			got := summary(items)
			for _, it := range items {
				sameAgain(t, it)
			}
			return got
		})
	})
}

// FuzzRead holds all that is read to the contract of package importer, and
// each accepted Item to saying the same when its evidence is read again.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"a"}}]},"scopeSpans":[{"spans":[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"invoke_agent a","startTimeUnixNano":1790000000123456789,"attributes":[{"key":"gen_ai.agent.id","value":{"stringValue":"x/a"}},{"key":"api_key","value":{"stringValue":"k"}}]}]}]}]}`,
		`{"data":[{"traceID":"1","spans":[{"traceID":"1","spanID":"1","operationName":"execute_tool x","startTime":5,"duration":1,"tags":[{"key":"a@b","value":1}],"processID":"p"}],"processes":{"p":{"serviceName":"s"}}}]}`,
		`{"name":"chat","context":{"trace_id":"0x1","span_id":2},"start_time":"2026-01-01T00:00:00","attributes":{"gen_ai":{"operation":{"name":"chat"}},"llm.input_messages.0.message.role":"system","llm.input_messages.0.message.content":"x"}}`,
		`{"batches":[{"instrumentationLibrarySpans":[{"spans":[{"traceId":"CvdlGRbNQ92ESOshHIAxnA==","spanId":"t61rcWkgMzE=","parentSpanId":"t61rcWkgMzE=","links":[{}],"kind":"SPAN_KIND_SERVER","attributes":[{"key":"mcp.method.name","value":{"stringValue":"tools/call"}},{"key":"k","value":{"kvlistValue":{"values":[{"key":"a","value":{"arrayValue":{"values":[{"boolValue":true}]}}}]}}}]}]}]}]}`,
		`{"trace":{"spans":[{"traceId":1,"spanId":1}],"resourceSpans":3}}`,
	} {
		f.Add([]byte(s), uint16(0))
		f.Add([]byte(s), uint16(100))
	}
	m := marshal(f, &tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{protoSpans("a", 2)}})
	for _, frame := range []framing{bare, bigEndian, varint} {
		f.Add(framed(frame, m, m), uint16(0))
		f.Add(framed(frame, m, m), uint16(100))
	}
	f.Fuzz(func(t *testing.T, data []byte, max uint16) {
		items := readAll(t, data, Options{MaxDocument: int64(max)})
		again := readAll(t, data, Options{MaxDocument: int64(max)})
		if diff := cmp.Diff(items, again); diff != "" {
			t.Fatalf("read twice, it says two things:\n%s", diff)
		}
		for _, it := range items {
			sameAgain(t, it)
		}
		Importer{}.Recognise(importer.NewHead("f", int64(len(data)), data))
	})
}
