package trace

import (
	"sync"
	"time"
)

// maxQueued bounds the events that wait for the sink, in bytes of text and
// fixed cost together. What comes when it is full is counted and dropped, so
// that a slow sink never holds up the command.
const maxQueued = 128 << 20

const eventCost = 256 // bytes of an Event and its place in the slice, about

// gather is how long a batch may build up before the sink is woken. It keeps
// the sink from being woken for every single event.
const gather = 5 * time.Millisecond

// queue hands events from the one who sees them to the sink, in batches.
type queue struct {
	mu      sync.Mutex // guards what follows; held briefly
	events  []Event
	bytes   int
	dropped int
	closed  bool
	wake    chan struct{} // has one place; filled when events was empty
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

func (q *queue) push(e Event) {
	q.mu.Lock()
	first := len(q.events) == 0
	switch {
	case q.closed:
	case q.bytes > maxQueued && e.Kind < kindBlind && e.Kind != Exit:
		q.dropped++
	default:
		q.events = append(q.events, e)
		q.bytes += eventCost + len(e.Path) + len(e.To)
		for _, a := range e.Argv {
			q.bytes += len(a)
		}
	}
	q.mu.Unlock()
	if first {
		q.poke()
	}
}

func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// close ends the queue. What is in it is still taken.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.poke()
}

// take waits for events and returns them. The slice into is used for later
// ones. It returns false when the queue is closed and empty.
func (q *queue) take(into []Event) (batch []Event, more bool) {
	for {
		q.mu.Lock()
		if len(q.events) > 0 || q.closed {
			batch, q.events = q.events, into[:0]
			q.bytes = 0
			if q.dropped > 0 {
				batch = append(batch, Event{Kind: kindDropped, Pid: q.dropped})
				q.dropped = 0
			}
			more = len(batch) > 0 || !q.closed
			q.mu.Unlock()
			return batch, more
		}
		q.mu.Unlock()
		<-q.wake
		q.mu.Lock()
		closed := q.closed
		q.mu.Unlock()
		if !closed {
			time.Sleep(gather)
		}
	}
}
