package gen

import (
	"math/rand/v2"
	"time"

	"github.com/stemma-lineage/stemma/statement"
)

// history is a made history under way.
type history struct {
	o     Options
	r     *rand.Rand
	now   time.Time
	made  int    // things so far
	index uint64 // entries so far
	queue queue
	count map[string]int // numbers given out, by what for

	datasets, models, agents, accounts, tools, prompts, codes pool
	datasetLine, modelLine, agentLine, promptLine, codeLine   line

	people, teams, services int
	seen                    map[string]bool // things of a fixed set that were named
	bases                   []made
	chain                   int // links so far
	placed                  []placed
}

// pending is a statement that waits for the time of its recording.
type pending struct {
	said    Said
	seq     uint64
	correct bool // to be retracted and told again
	// retracts says that said is the replacement of this entry, which is to be
	// retracted first.
	retracts *uint64
}

func newHistory(o Options) *history {
	return &history{o: o, r: rand.New(rand.NewPCG(o.Seed, 0x5745)), now: Begin, count: map[string]int{},
		datasets: pool{reuse: 0.75}, models: pool{reuse: 0.75}, agents: pool{reuse: 0.3}, accounts: pool{reuse: 0.8},
		tools: pool{reuse: 0.8}, prompts: pool{reuse: 0.5}, codes: pool{reuse: 0.6},
		datasetLine: line{fresh: 0.15}, modelLine: line{fresh: 0.2}, agentLine: line{fresh: 0.3},
		promptLine: line{fresh: 0.3}, codeLine: line{fresh: 0.1},
		people: 8 + o.Entities/5000, teams: 4 + o.Entities/50000, services: 4 + o.Entities/2000, seen: map[string]bool{}}
}

// run lets things happen until there are enough, and yields what is recorded.
func (h *history) run(yield func(Said) bool) {
	h.seedPools()
	for h.made < h.o.Entities {
		h.now = Begin.Add(time.Duration(float64(Span) * float64(h.made) / float64(h.o.Entities)))
		if !h.record(yield, h.now) {
			return
		}
		h.happen()
	}
	h.now = Begin.Add(Span)
	for h.chainLink() {
	}
	for len(h.queue.items) > 0 {
		if !h.record(yield, h.queue.items[0].said.RecordedAt) {
			return
		}
	}
}

// record yields all that is recorded up to t.
func (h *history) record(yield func(Said) bool, t time.Time) bool {
	for len(h.queue.items) > 0 && !h.queue.items[0].said.RecordedAt.After(t) {
		p := h.queue.pop()
		if p.retracts != nil {
			s := Said{Subjects: p.said.Subjects, RecordedAt: p.said.RecordedAt, RecordedBy: p.said.RecordedBy,
				Predicate: &statement.Retraction{Entry: *p.retracts, Reason: "an input was named wrongly", At: statement.NewTime(p.said.RecordedAt)}}
			h.index++
			if !yield(s) {
				return false
			}
		}
		if p.correct {
			h.correct(p.said)
		}
		h.index++
		if !yield(p.said) {
			return false
		}
	}
	return true
}

// correct arranges for the activity that is recorded now to be retracted some
// weeks later and told again with one input fewer.
func (h *history) correct(s Said) {
	a := *s.Predicate.(*statement.Activity)
	if n := len(a.Used); n > 1 {
		a.Used = a.Used[:n-1]
	}
	a.Parameters = map[string]string{"corrected": "yes"}
	entry := h.index
	s.Predicate = &a
	s.RecordedAt = s.RecordedAt.Add(h.within(90 * 24 * time.Hour))
	h.queue.push(pending{said: s, retracts: &entry})
}

// say puts a statement about time at into the queue.
func (h *history) say(at time.Time, by string, p statement.Predicate, subjects ...statement.Subject) {
	s := Said{Subjects: subjects, Predicate: p, RecordedBy: by, RecordedAt: at.Add(h.within(time.Minute))}
	if h.percent(h.o.LatePercent) {
		s.RecordedAt = at.Add(h.within(MaxLate))
	}
	_, activity := p.(*statement.Activity)
	h.queue.push(pending{said: s, correct: activity && h.percent(h.o.CorrectedPercent)})
	if h.percent(h.o.DuplicatePercent) {
		s.RecordedAt = s.RecordedAt.Add(h.within(24 * time.Hour))
		h.queue.push(pending{said: s})
	}
}

func (h *history) within(d time.Duration) time.Duration {
	return time.Duration(h.r.Int64N(int64(d/time.Millisecond))) * time.Millisecond
}

func (h *history) percent(p float64) bool { return p > 0 && h.r.Float64()*100 < p }

// geometric gives how often in a row a draw of chance p succeeds, up to most.
func (h *history) geometric(p float64, most int) int {
	n := 0
	for n < most && h.r.Float64() < p {
		n++
	}
	return n
}

// number counts up within what.
func (h *history) number(what string) int {
	h.count[what]++
	return h.count[what]
}

// member gives one of a fixed set of names, and counts it once as a thing.
func (h *history) member(kind string, n int) string {
	name := kind + ":" + numbered(kind, h.r.IntN(n))
	if !h.seen[name] {
		h.seen[name] = true
		h.made++
	}
	return name
}

// happen lets the next thing happen. The mix is that of a platform that
// trains, evaluates, approves and deploys.
func (h *history) happen() {
	for h.chain < int(float64(h.o.Chain/2)*float64(h.made)/float64(h.o.Entities)) && h.chainLink() {
	}
	if h.percent(h.o.GovernedPercent) {
		h.governed()
		return
	}
	switch x := h.r.IntN(1000); {
	case x < 120:
		h.dataset()
	case x < 620:
		h.training()
	case x < 880:
		h.deployment()
	case x < 950:
		h.agent()
	case x < 970:
		h.account()
	case x < 980:
		h.tool()
	case x < 982:
		h.base()
	case x < 990:
		h.described()
	case x < 996:
		h.registered()
	case x < 999:
		h.delegation()
	default:
		h.notice()
	}
}

// seedPools makes what the first activities need.
func (h *history) seedPools() {
	for range 3 {
		h.account()
		h.tool()
		h.base()
	}
	for range 3 {
		h.dataset()
	}
}
