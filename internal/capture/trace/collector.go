package trace

import (
	"fmt"
	"path/filepath"
	"sort"
	"strings"
	"sync/atomic"
)

// canaryPrefix begins the sentinel paths. No file of that name exists.
const canaryPrefix = "/.stemma-canary-"

// maxBlind bounds the details that are kept of one class of blind spots.
const maxBlind = 8

// collector takes the events of a run from its queue, in one goroutine, and
// passes them to the sink and to the nested runs that they belong to.
type collector struct {
	q    *queue
	sink func(Event)
	hub  *hub // nil when no nested run is served

	canary  atomic.Pointer[string] // the sentinel that is waited for
	seen    chan struct{}          // closed when it was reported
	started atomic.Bool            // events are passed to the sink from now on
	done    chan struct{}          // closed when the last event was passed

	// Owned by the goroutine of run, read by others after done.
	calls int
	blind map[string][]string // details by class
	more  map[string]int      // details beyond maxBlind, by class
	subs  map[int]*subRun
	live  map[int]bool // processes that were seen and have not ended
	dirs  map[string]string
	ended func(pid int) // called for each Exit; may be nil
}

func newCollector(sink func(Event), h *hub, canary string) *collector {
	c := &collector{
		q: newQueue(), sink: sink, hub: h, seen: make(chan struct{}), done: make(chan struct{}),
		blind: map[string][]string{}, more: map[string]int{}, subs: map[int]*subRun{}, live: map[int]bool{}, dirs: map[string]string{},
	}
	if sink == nil {
		c.sink = func(Event) {}
	}
	c.canary.Store(&canary)
	return c
}

// run passes events on until the queue is closed.
func (c *collector) run() {
	defer close(c.done)
	var spare []Event
	for {
		batch, more := c.q.take(spare)
		for i := range batch {
			c.one(&batch[i])
		}
		if c.hub != nil {
			c.hub.flush()
		}
		if !more {
			return
		}
		clear(batch)
		spare = batch
	}
}

func (c *collector) one(e *Event) {
	switch e.Kind {
	case kindBlind:
		c.addBlind(e.Path, e.Note)
		for s := c.subs[e.Pid]; s != nil; s = s.parent {
			s.send(e)
		}
		return
	case kindCalls:
		c.calls += e.Pid
		return
	case kindDropped:
		c.addBlind(BlindOverflow, fmt.Sprintf("%d events were dropped because they came faster than they were taken", e.Pid))
		return
	case kindSubRun:
		c.openSub(e)
		return
	case Fork:
		if s := c.subs[e.Parent]; c.subs[e.Pid] == nil || c.subs[e.Pid].root != e.Pid || c.subs[e.Pid].gone {
			c.setSub(e.Pid, s)
		}
		c.live[e.Pid] = true
	case Exit:
		delete(c.live, e.Pid)
	}
	e.Path, e.To = c.clean(e.Path), c.clean(e.To)
	sub := c.subs[e.Pid]
	for s := sub; s != nil; s = s.parent {
		s.send(e)
	}
	if e.Kind == Exit && sub != nil && sub.root == e.Pid {
		sub.gone = true
	}
	if e.Kind == Exit && c.ended != nil {
		c.ended(e.Pid)
	}
	if strings.HasPrefix(e.Path, canaryPrefix) {
		if want := c.canary.Load(); want != nil && *want == e.Path && !c.started.Load() {
			c.canary.Store(nil)
			close(c.seen)
		}
		return
	}
	if !c.started.Load() && e.Kind != Fork && e.Kind != Exit {
		return // our own process, before it becomes the command
	}
	if e.Kind == Exec && len(e.Argv) > 1 && isHidden(e.Argv[1]) {
		return
	}
	if sub != nil && !sub.probe {
		e.Sub = sub.id
	}
	c.sink(*e)
}

func (c *collector) setSub(pid int, s *subRun) {
	if s == nil {
		delete(c.subs, pid)
	} else {
		c.subs[pid] = s
	}
}

func (c *collector) addBlind(class, detail string) {
	have := c.blind[class]
	for _, d := range have {
		if d == detail {
			return
		}
	}
	if len(have) >= maxBlind {
		c.more[class]++
		return
	}
	c.blind[class] = append(have, detail)
}

// outcome fills what the collector knows. Call it after done.
func (c *collector) outcome(o *Outcome) {
	o.Calls, o.Complete = c.calls, true
	classes := make([]string, 0, len(c.blind))
	for class := range c.blind {
		classes = append(classes, class)
	}
	sort.Strings(classes)
	for _, class := range classes {
		for _, d := range c.blind[class] {
			o.Blind = append(o.Blind, Blind{class, d})
		}
		if n := c.more[class]; n > 0 {
			o.Blind = append(o.Blind, Blind{class, fmt.Sprintf("and %d more of this kind", n)})
		}
		switch class {
		case BlindSetuid, BlindMemfd, BlindPtrace, BlindMount:
		default:
			o.Complete = false
		}
	}
}

// clean makes a path clean. A ".." goes to the parent of what a symbolic link
// points to, so links before it are resolved where they can be.
func (c *collector) clean(p string) string {
	if p == "" || p[0] != '/' {
		return p
	}
	i := strings.Index(p, "/..")
	if i < 0 {
		return filepath.Clean(p)
	}
	for n := 0; i >= 0 && n < 64; n++ {
		if rest := p[i+3:]; rest != "" && rest[0] != '/' {
			j := strings.Index(p[i+3:], "/..") // a name that begins with two dots
			if j < 0 {
				break
			}
			i += 3 + j
			continue
		}
		p = filepath.Dir(c.real(p[:i])) + p[i+3:]
		i = strings.Index(p, "/..")
	}
	return filepath.Clean(p)
}

func (c *collector) real(dir string) string {
	if dir == "" {
		return "/"
	}
	if d, ok := c.dirs[dir]; ok {
		return d
	}
	d, err := filepath.EvalSymlinks(dir)
	if err != nil {
		d = filepath.Clean(dir)
	}
	if len(c.dirs) >= 4096 {
		clear(c.dirs)
	}
	c.dirs[dir] = d
	return d
}
