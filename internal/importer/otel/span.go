package otel

import (
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/statement"
)

// span is one span out of any of the formats. Its ids are lower-case
// hexadecimal of full length, as in W3C Trace Context section 3.2.2.
type span struct {
	place   string // within the unit: resourceSpans[0].scopeSpans[1].spans[2]
	trace   string // 32 digits
	id      string // 16 digits
	parent  string // 16 digits, or empty: a root
	links   []link // spans that it follows from, besides its parent
	name    string
	kind    string // SERVER, CLIENT, PRODUCER, CONSUMER, INTERNAL, or empty
	start   statement.Time
	end     statement.Time
	failed  bool
	attrs   attrs
	scope   string // instrumentation scope and version
	process *process
	thrown  string // exception.type of the last exception event
}

type link struct{ trace, id string }

// process is a resource (OTLP) or process (Jaeger): what made the spans.
type process struct {
	attrs attrs
	key   string // equal for the same process within a unit
}

// attrs are attributes with nested values flattened: an array's element i is
// name.i, a map's member name.member.
type attrs map[string]string

// first gives the first of the attributes that is given and not empty.
func (a attrs) first(names ...string) string {
	for _, n := range names {
		if v := a[n]; v != "" {
			return v
		}
	}
	return ""
}

// event takes from an event of the span what is understood: the type of an
// exception, and messages, which the GenAI conventions had in events before
// (and may have in them again) instead of in attributes.
func (s *span) event(name string, a attrs) {
	if t := a.first("exception.type", "error.kind"); t != "" {
		s.thrown = t
	}
	for _, k := range []string{"gen_ai.prompt", "gen_ai.input.messages", "gen_ai.system_instructions"} {
		if a[k] != "" && s.attrs[k] == "" {
			s.attrs[k] = a[k]
		}
	}
	if text := a.first("content", "gen_ai.event.content"); name == "gen_ai.system.message" && text != "" && s.attrs["gen_ai.system_instructions"] == "" {
		s.attrs["gen_ai.system_instructions"] = text
	}
}

// maxNesting is how deeply attribute values are flattened; what lies deeper is
// in the evidence only.
const maxNesting = 8

func (s *span) ref() string { return s.trace + "/" + s.id }

// idText reads an id of n bytes: hexadecimal (also with 0x, or without its
// leading zeros, as old Jaeger writes it), base64 (as protobuf's own JSON
// mapping writes bytes), or a decimal number. Zero is no id (W3C Trace
// Context 3.2.2.3).
func idText(text string, number bool, n int) (id string, ok bool) {
	switch {
	case text == "":
		return "", true
	case number:
		if len(text) > 40 {
			return "", false
		}
		i, good := new(big.Int).SetString(text, 10)
		if !good || i.Sign() < 0 || i.BitLen() > 8*n {
			return "", false
		}
		id = i.Text(16)
	default:
		id = strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(text, "0x"), "0X"))
		if len(id) > 2*n || strings.Trim(id, "0123456789abcdef") != "" {
			b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
			if err != nil || len(b) != n {
				return "", false
			}
			id = hex.EncodeToString(b)
		}
	}
	id = strings.Repeat("0", 2*n-len(id)) + id
	if strings.Trim(id, "0") == "" {
		return "", true
	}
	return id, true
}

func idBytes(b []byte, n int) (id string, ok bool) {
	if len(b) == 0 {
		return "", true
	}
	if len(b) != n {
		return "", false
	}
	if id = hex.EncodeToString(b); strings.Trim(id, "0") == "" {
		return "", true
	}
	return id, true
}

// timeText reads a time: a count of units (in nanoseconds each) since 1970, or
// RFC 3339. The empty text and zero are no time.
func timeText(text string, unit int64) (t statement.Time, ok bool) {
	if text == "" || text == "0" {
		return t, true
	}
	if strings.ContainsAny(text, ":") {
		v, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			v, err = time.Parse("2006-01-02T15:04:05", text) // as Python writes a time in UTC
		}
		if err != nil {
			return t, false
		}
		return validTime(v)
	}
	n, ok := nanos(text, unit)
	if !ok {
		return t, false
	}
	return timeNanos(n)
}

// nanos reads a count exactly, however the number is written: beyond 2^53 a
// float64 would lose nanoseconds.
func nanos(text string, unit int64) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		if len(text) > 40 {
			return 0, false
		}
		if _, e, has := strings.Cut(strings.ToLower(text), "e"); has && len(strings.TrimLeft(e, "+-0")) > 2 {
			return 0, false
		}
		r, good := new(big.Rat).SetString(text)
		if !good || strings.ContainsAny(text, "/_xXpP") {
			return 0, false
		}
		r.Mul(r, new(big.Rat).SetInt64(unit))
		q := new(big.Int).Quo(r.Num(), r.Denom())
		return q.Uint64(), q.IsUint64()
	}
	if n > (1<<64-1)/uint64(unit) {
		return 0, false
	}
	return n * uint64(unit), true
}

func timeNanos(n uint64) (statement.Time, bool) {
	if n == 0 {
		return statement.Time{}, true
	}
	if n > 1<<63-1 {
		return statement.Time{}, false
	}
	return validTime(time.Unix(int64(n/1e9), int64(n%1e9)))
}

func validTime(v time.Time) (statement.Time, bool) {
	v = v.UTC()
	if y := v.Year(); y < 1679 || y > 2261 {
		return statement.Time{}, false
	}
	return statement.NewTime(v), true
}

var kindNames = []string{"", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"}

// kindText reads a span's kind: a number (OTLP), or its name in any of the
// spellings SPAN_KIND_SERVER, SpanKind.SERVER, server.
func kindText(text string) string {
	if n, err := strconv.Atoi(text); err == nil && n >= 0 && n < len(kindNames) {
		return kindNames[n]
	}
	text = strings.TrimPrefix(strings.TrimPrefix(strings.ToUpper(text), "SPAN_KIND_"), "SPANKIND.")
	for _, k := range kindNames {
		if k == text {
			return k
		}
	}
	return ""
}

// errorCode tells whether a status code says error.
func errorCode(text string) bool {
	text = strings.ToUpper(text)
	return text == "2" || strings.HasSuffix(text, "ERROR")
}
