package otel

import (
	"fmt"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

// The classes of refusals, beside those of package rawjson.
const (
	BadID          = "bad-id"          // a span without a readable trace and span id
	NotSpans       = "not-spans"       // nothing in it is a span
	NoAgentSpans   = "no-agent-spans"  // spans, and none of an agent, tool or model
	MalformedProto = "malformed-proto" // not a TracesData message
	TruncatedProto = "truncated-proto" // cut off within a message
	Compressed     = "compressed"      // gzip or zstd
	OtherTelemetry = "other-telemetry" // metrics or diagnostics, not traces
)

const (
	maxLinks    = 64
	maxNotes    = 40
	maxRefusals = 100 // of single spans within a unit
)

// unit is one document of spans: what statements are made from. What it says
// depends on nothing outside of it.
type unit struct {
	spans   []span
	index   map[link]int // of spans by trace and id, the first of them
	seen    int          // spans, those without ids counted
	notes   []string
	unsaid  int
	refused []importer.Refusal // single spans
	skipped int                // refusals that are not written out

	kinds  []string // of spans, in their order; empty: not recorded
	words  []string
	up     []ancestor
	users  []int // of spans: the nearest that names a user, itself counted; -1: none
	agents []int // of spans: the nearest that invokes a named agent, itself counted; -1: none
}

func (u *unit) note(format string, args ...any) {
	text := rawjson.Secrets(fmt.Sprintf(format, args...))
	for _, n := range u.notes {
		if n == text {
			return
		}
	}
	if len(u.notes) >= maxNotes {
		u.unsaid++
		return
	}
	u.notes = append(u.notes, text)
}

func newProcess(a attrs) *process {
	return &process{attrs: a, key: a["service.namespace"] + "\x00" + a["service.name"] + "\x00" + a["service.instance.id"] + "\x00" + a["k8s.pod.name"]}
}

// take adds a span whose ids were read, or refuses it.
func (u *unit) take(s span, ok [3]bool, texts [3]string) {
	u.seen++
	for i, f := range []string{"trace id", "span id", "parent's span id"} {
		empty := i == 0 && s.trace == "" || i == 1 && s.id == ""
		switch {
		case i == 2 && !ok[i]:
			u.note("%s: the parent's span id %q is no id of 8 bytes; its parent is unknown", s.place, rawjson.Clip(texts[i], 40))
			s.parent = ""
		case !ok[i] || empty:
			u.refuse(BadID, fmt.Sprintf("%s: its %s %q is no id of %d bytes other than zero; write it as %d hexadecimal digits",
				s.place, f, rawjson.Clip(rawjson.Secrets(texts[i]), 40), 16>>i, 32>>i))
			return
		}
	}
	if s.parent == s.id {
		u.note("%s: the span is its own parent; its parent is unknown", s.place)
		s.parent = ""
	}
	if !s.end.IsZero() && s.end.Before(s.start.Time) {
		u.note("%s: the span ends before it starts; when it ended is unknown", s.place)
		s.end = statement.Time{}
	}
	u.spans = append(u.spans, s)
}

func (u *unit) refuse(reason, detail string) {
	if len(u.refused) >= maxRefusals {
		u.skipped++
		return
	}
	u.refused = append(u.refused, importer.Refusal{Reason: reason, Detail: detail})
}

// ancestor is what is above a span that is recorded.
type ancestor struct {
	span    int    // index of the nearest ancestor that is recorded; -1: none in the unit
	outside string // span id of the first ancestor that is not in the unit
	done    bool
}

// order classifies the spans and finds what is above each of them.
func (u *unit) order() {
	u.index = make(map[link]int, len(u.spans))
	u.kinds, u.words = make([]string, len(u.spans)), make([]string, len(u.spans))
	for i := range u.spans {
		s := &u.spans[i]
		if _, ok := u.index[link{s.trace, s.id}]; !ok {
			u.index[link{s.trace, s.id}] = i
		}
		u.kinds[i], u.words[i] = s.classify()
	}
	u.up = make([]ancestor, len(u.spans))
	for i := range u.spans {
		u.climb(i)
	}
	u.users = u.inherited(func(i int) bool { return u.spans[i].user() != "" })
	u.agents = u.inherited(func(i int) bool {
		if u.kinds[i] != invoke {
			return false
		}
		name, _, _ := u.spans[i].agent(invoke)
		return name != ""
	})
}

// climb finds the ancestor of span i. What it passes is found with it, so that
// long chains cost each step once; a circle of parents ends nowhere.
func (u *unit) climb(i int) {
	var path []int
	found := ancestor{span: -1, done: true}
	on := map[int]bool{}
	for at := i; ; {
		if u.up[at].done {
			found = u.up[at]
			break
		}
		if on[at] {
			u.note("%s: its parents form a circle; its parent is unknown", u.spans[at].place)
			break
		}
		on[at] = true
		path = append(path, at)
		s := &u.spans[at]
		if s.parent == "" {
			break
		}
		next, ok := u.index[link{s.trace, s.parent}]
		if !ok {
			found.outside = s.parent
			break
		}
		if u.kinds[next] != "" {
			found.span = next
			break
		}
		at = next
	}
	for _, p := range path {
		u.up[p] = found
	}
}

// agentAbove gives the nearest invocation of a named agent around span i; -1:
// none. Workflows are passed over.
func (u *unit) agentAbove(i int) int {
	if i = u.up[i].span; i < 0 {
		return -1
	}
	return u.agents[i]
}

// inherited gives, for each recorded span, the nearest of itself and the spans
// above it that is one, and -1 where there is none. Each is looked at once,
// however long the chains are.
func (u *unit) inherited(is func(i int) bool) []int {
	const unknown, open = -2, -3
	out := make([]int, len(u.spans))
	for i := range out {
		out[i] = unknown
	}
	var path []int
	for i := range out {
		path = path[:0]
		found := -1
		for at := i; at >= 0 && out[at] != open; at = u.up[at].span {
			if out[at] != unknown {
				found = out[at]
				break
			}
			if u.kinds[at] != "" && is(at) {
				found, out[at] = at, at
				break
			}
			out[at] = open
			path = append(path, at)
		}
		for _, p := range path {
			out[p] = found
		}
	}
	return out
}
