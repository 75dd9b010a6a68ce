package otel

import (
	"bytes"

	"github.com/stemma-lineage/stemma/internal/importer"
)

// Recognise tells whether the file begins with traces, or with OTLP of another
// signal, which is refused with a reason.
func (Importer) Recognise(h *importer.Head) bool {
	if h.Members == nil {
		return frameOf(h.Bytes) != notProto
	}
	has := func(texts ...string) bool {
		for _, t := range texts {
			if !bytes.Contains(h.Bytes, []byte(`"`+t+`"`)) {
				return false
			}
		}
		return true
	}
	ids := has("traceId", "spanId") || has("trace_id", "span_id") || has("traceID", "spanID")
	switch {
	case h.Has("resourceSpans"), h.Has("resource_spans"), h.Has("resourceLogs"), h.Has("resourceMetrics"), h.Has("resourceProfiles"):
		return true
	case h.Has("batches"):
		return has("spans")
	case h.Members["trace"] == "{" || h.Members["result"] == "{":
		return has("resourceSpans") || has("batches", "spans")
	case h.Members["data"] == "[":
		return has("spans", "traceID", "operationName")
	case h.Members["data"] == "{":
		return has("resourceSpans")
	case h.Members["spans"] == "[" && !h.Has("info"):
		return ids
	case h.Has("traceID", "spanID"):
		return h.Has("operationName")
	case h.Has("traceId", "spanId") || h.Has("trace_id", "span_id"):
		return h.Has("startTimeUnixNano") || h.Has("start_time") || h.Has("startTime") || h.Has("start_time_unix_nano")
	case h.Members["context"] == "{":
		return has("trace_id", "span_id") && h.Has("name", "start_time")
	}
	return false
}
