package policy

import (
	"container/heap"
	"errors"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// The words of validity.
const (
	IsValid  = "valid"
	NotValid = "not valid"
	NotKnown = "unknown"
)

var validity = map[string]string{Allow: IsValid, Deny: NotValid, Undecided: NotKnown}

// Interval is a period in which a thing was valid, was not, or nobody can say.
// From is in it and To is not; empty is without end.
type Interval struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Validity string   `json:"validity"`
	Rules    []string `json:"rules,omitempty"`   // those that are violated or unknown
	Reasons  []string `json:"reasons,omitempty"` // why, at its beginning
	// Entries are those that speak of the moment at which it begins.
	Entries []uint64 `json:"entries,omitempty"`

	from, to prov.Instant
}

// Validity is the intervals in which a thing was valid under a policy.
type Validity struct {
	Policy      string `json:"policy"`
	Subject     string `json:"subject"`
	Environment string `json:"environment"`
	LogSize     uint64 `json:"logSize"`
	// AsItWas is what the whole log says of each moment; AsKnown is what the
	// log said at that moment itself.
	AsItWas []Interval `json:"asItWas"`
	AsKnown []Interval `json:"asKnown"`
	// Truncated says that a list ends before all moments at which something
	// changes were looked at; its last interval ends where it was cut off.
	Truncated bool `json:"truncated"`
}

// ErrStopped says that a question was stopped before its answer was whole.
var ErrStopped = errors.New("it was stopped before the answer was whole")

// Bounds limit how much is evaluated.
type Bounds struct {
	Moments int         // in each list; 0: all
	Stop    func() bool // tells whether to stop; nil: never
}

func (b Bounds) stopped() bool { return b.Stop != nil && b.Stop() }

// Valid evaluates a policy at every moment at which its verdict on a thing can
// change, and gives the intervals between them. When it is stopped, the error
// is [ErrStopped].
func Valid(p *Policy, v graph.View, q Question, b Bounds) (*Validity, error) {
	v = v.Always()
	out := &Validity{Policy: p.Source, Subject: Label(v, q.Thing), Environment: q.Context.Environment, LogSize: v.AsOf().Known}
	pts, err := points(v, q, b)
	if err != nil {
		return nil, err
	}
	cut, cutToo := false, false
	if out.AsItWas, cut, err = intervals(p, q, pts, v.When, b); err != nil {
		return nil, err
	}
	out.AsKnown, cutToo, err = intervals(p, q, pts, v.AsKnownAt, b)
	out.Truncated = cut || cutToo
	return out, err
}

func intervals(p *Policy, q Question, pts moments, at func(prov.Instant) graph.View, b Bounds) (list []Interval, cut bool, err error) {
	queue := &instants{}
	for t := range pts {
		*queue = append(*queue, t)
	}
	heap.Init(queue)
	var out []Interval
	add := func(t prov.Instant, shown prov.Instant) error {
		verdict, f, err := evaluate(p, at(t), q)
		if err != nil {
			return err
		}
		for _, x := range f.thresholds {
			if x > t {
				heap.Push(queue, x)
			}
		}
		out = append(out, interval(verdict, shown, pts))
		return nil
	}
	if queue.Len() == 0 {
		err := add(0, prov.Beginning)
		return out, false, err
	}
	if err := add((*queue)[0]-1, prov.Beginning); err != nil {
		return nil, false, err
	}
	n := 0
	for last := prov.Beginning; queue.Len() > 0; {
		t := heap.Pop(queue).(prov.Instant)
		if t == last {
			continue
		}
		if b.stopped() {
			return nil, false, ErrStopped
		}
		if n++; b.Moments > 0 && n > b.Moments {
			return merge(out, t), true, nil
		}
		last = t
		if err := add(t, t); err != nil {
			return nil, false, err
		}
	}
	return merge(out, prov.Forever), false, nil
}

func interval(v *Verdict, from prov.Instant, pts moments) Interval {
	i := Interval{Validity: validity[v.Verdict], from: from, From: from.String(), Entries: slices.Sorted(slices.Values(pts[from]))}
	i.Entries = slices.Compact(i.Entries)
	for _, o := range v.Rules {
		if o.Outcome == Violated || o.Outcome == Unknown {
			i.Rules = append(i.Rules, o.Rule)
			i.Reasons = append(i.Reasons, o.Reasons...)
		}
	}
	return i
}

// merge joins neighbours that say the same of the same rules. The last ends at
// end.
func merge(is []Interval, end prov.Instant) []Interval {
	var out []Interval
	for _, i := range is {
		if n := len(out); n > 0 && out[n-1].Validity == i.Validity && slices.Equal(out[n-1].Rules, i.Rules) {
			continue
		} else if n > 0 {
			out[n-1].to, out[n-1].To = i.from, i.From
		}
		i.to = prov.Forever
		out = append(out, i)
	}
	if n := len(out); n > 0 {
		out[n-1].to, out[n-1].To = end, end.String()
	}
	return out
}

// At gives what the intervals say of a moment.
func At(is []Interval, t prov.Instant) string {
	for _, i := range is {
		if i.from <= t && t < i.to {
			return i.Validity
		}
	}
	return NotKnown
}

// instants is a heap.
type instants []prov.Instant

func (h instants) Len() int           { return len(h) }
func (h instants) Less(i, j int) bool { return h[i] < h[j] }
func (h instants) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push adds a moment.
func (h *instants) Push(x any) { *h = append(*h, x.(prov.Instant)) }

// Pop takes the last one away.
func (h *instants) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// moments are the instants at which something that a policy can look at begins
// or ends, by either clock, each with the entries that say so.
type moments map[prov.Instant][]uint64

func (m moments) add(t prov.Instant, entry uint64) {
	if t != prov.Beginning && t != prov.Forever {
		m[t] = append(m[t], entry)
	}
}

// points collects the moments of all that can bear on a thing: everything that
// any relation, ever told, leads to from the thing, from its deployments, from
// the activities that used it, and from who is planned to run it. That is more
// than any rule looks at; what changes nothing is merged away.
func points(v graph.View, q Question, b Bounds) (moments, error) {
	m := moments{}
	seen := map[graph.ID]bool{}
	var todo []graph.ID
	push := func(id graph.ID) {
		if id != graph.None && !seen[id] {
			seen[id] = true
			todo = append(todo, id)
		}
	}
	push(q.Thing)
	content, names := Same(v, q.Thing)
	group := append(append([]graph.ID{q.Thing}, content...), names...)
	for _, id := range group {
		push(id)
		for r := range v.EverIn(id) {
			switch r.Type {
			case prov.Deployed, prov.Used, prov.SameAs:
				m.relation(v, r)
				push(r.From)
			}
		}
	}
	for _, who := range q.Planned.RunsAs {
		if r, err := prov.ParseRef(who); err == nil {
			push(v.Lookup(r))
		}
	}
	for n := 0; len(todo) > 0; n++ {
		if n&1023 == 0 && b.stopped() {
			return nil, ErrStopped
		}
		id := todo[0]
		todo = todo[1:]
		m.thing(v, id)
		for r := range v.EverOut(id) {
			m.relation(v, r)
			push(r.To)
		}
		for r := range v.EverIn(id) { // names of content are walked too
			if r.Type == prov.SameAs {
				m.relation(v, r)
				push(r.From)
			}
		}
	}
	return m, nil
}

func (m moments) relation(v graph.View, r graph.Ever) {
	m.add(r.Valid.From, r.Entry)
	m.add(r.Valid.To, r.Entry)
	m.add(r.Begin, r.Since)
	m.add(r.End, r.Ended)
	m.add(v.Recorded(r.Entry), r.Entry)
}

// thing adds the times that attributes hold from, those that they tell, and
// those of activities.
func (m moments) thing(v graph.View, id graph.ID) {
	for c := range v.Claims(id) {
		m.add(c.At, c.Entry)
		m.add(v.Recorded(c.Entry), c.Entry)
		if c.Retracted {
			m.add(v.Recorded(c.Ended), c.Ended)
		}
		if t, err := prov.ParseTime(c.Value); err == nil {
			m.add(prov.At(t), c.Entry)
		}
	}
	for c := range v.EverTimes(id) {
		m.add(c.Start, c.Entry)
		m.add(c.End, c.Entry)
		m.add(v.Recorded(c.Entry), c.Entry)
		if c.Retracted {
			m.add(v.Recorded(c.Ended), c.Ended)
		}
	}
}
