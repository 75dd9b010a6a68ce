package trace

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/stemma-lineage/stemma/internal/capture/trace/shim"
)

// kindSubRun tells the collector that the connection with the number Note
// registered the process Pid. Parent is the process that may be told of it.
const kindSubRun Kind = 210

// maxSubBuffer bounds what waits for a nested run that does not read.
const maxSubBuffer = 32 << 20

// hub serves the runs that are nested in this one.
type hub struct {
	ln      *net.UnixListener
	path    string
	backend string // empty: this back-end cannot tell processes apart
	c       *collector

	mu      sync.Mutex // guards waiting and open
	waiting map[string]*subRun
	open    map[*subRun]bool
	next    int
	wg      sync.WaitGroup
}

// subRun is a nested run.
type subRun struct {
	root   int // owned by the collector, like parent and gone
	parent *subRun
	gone   bool
	id     string
	probe  bool
	conn   *net.UnixConn
	ready  chan struct{} // closed when the collector knows it

	mu      sync.Mutex // guards what follows
	buf     []byte
	dropped int
	closing bool
	wake    chan struct{}
}

// listen begins to serve nested runs at path. The caller sets c before it
// accepts any.
func listen(path, backend string) (*hub, error) {
	os.Remove(path) // of a run that was killed; a living one has another folder
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("serving nested runs at %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, fmt.Errorf("serving nested runs at %s: %w", path, err)
	}
	return &hub{ln: ln, path: path, backend: backend, waiting: map[string]*subRun{}, open: map[*subRun]bool{}}, nil
}

func (h *hub) serve() {
	for {
		conn, err := h.ln.AcceptUnix()
		if err != nil {
			return
		}
		h.wg.Add(1)
		go func() {
			defer h.wg.Done()
			defer conn.Close()
			h.one(conn)
		}()
	}
}

func (h *hub) one(conn *net.UnixConn) {
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	var in shim.Hello
	line, err := bufio.NewReaderSize(conn, 4096).ReadSlice('\n')
	if err != nil || json.Unmarshal(line, &in) != nil || len(in.ID) > 256 {
		return
	}
	pid, err := peerPid(conn)
	refused := ""
	switch {
	case in.Version != shim.ProtocolVersion:
		refused = fmt.Sprintf("the outer run speaks version %d of the protocol, not %d; use one version of stemma for both", shim.ProtocolVersion, in.Version)
	case err != nil:
		refused = err.Error()
	case h.backend == "":
		refused = "the outer run does not follow calls"
	}
	if in.Announce && refused == "" || refused != "" && err == nil && in.Version == shim.ProtocolVersion && !in.Probe {
		h.c.q.push(Event{Kind: SubRun, Pid: pid, Sub: in.ID, At: time.Now()})
	}
	if refused != "" || in.Announce {
		answer(conn, shim.Welcome{Refused: refused})
		return
	}
	s := &subRun{id: in.ID, probe: in.Probe, conn: conn, ready: make(chan struct{}), wake: make(chan struct{}, 1)}
	h.mu.Lock()
	h.next++
	key := strconv.Itoa(h.next)
	h.waiting[key] = s
	h.open[s] = true
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.open, s)
		h.mu.Unlock()
	}()
	h.c.q.push(Event{Kind: kindSubRun, Pid: pid, Parent: parentOf(pid), Note: key, At: time.Now()})
	select {
	case <-s.ready:
	case <-h.c.done:
		return
	}
	if answer(conn, shim.Welcome{Backend: h.backend}) != nil {
		return
	}
	conn.SetDeadline(time.Time{})
	s.write()
}

func answer(conn *net.UnixConn, w shim.Welcome) error {
	b, err := json.Marshal(w)
	if err != nil {
		return err
	}
	_, err = conn.Write(append(b, '\n'))
	return err
}

// openSub makes the process of a registration the root of a nested run.
func (c *collector) openSub(e *Event) {
	c.hub.mu.Lock()
	s := c.hub.waiting[e.Note]
	delete(c.hub.waiting, e.Note)
	c.hub.mu.Unlock()
	if s == nil {
		return
	}
	s.root = e.Pid
	s.parent = c.subs[e.Pid]
	if s.parent == nil {
		s.parent = c.subs[e.Parent]
	}
	c.subs[e.Pid] = s
	if !s.probe {
		ev := Event{Kind: SubRun, Pid: e.Pid, Parent: e.Parent, Sub: s.id, At: e.At}
		for p := s.parent; p != nil; p = p.parent {
			p.send(&ev)
		}
		c.sink(ev)
	}
	s.send(&Event{Kind: Fork, Pid: e.Pid, Parent: e.Parent, At: e.At})
	close(s.ready)
}

// send appends an event for the nested run. It never waits.
func (s *subRun) send(e *Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
	case len(s.buf) > maxSubBuffer:
		s.dropped++
	default:
		s.buf = appendEvent(s.buf, e)
	}
}

// flush wakes the writers. The collector calls it after each batch.
func (h *hub) flush() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.open {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// write sends what is appended until the connection or the run ends.
func (s *subRun) write() {
	gone := make(chan struct{})
	go func() { // the inner run sends nothing more: a read ends when it is gone
		defer close(gone)
		var b [1]byte
		s.conn.Read(b[:])
	}()
	defer func() {
		s.mu.Lock()
		s.closing, s.buf = true, nil
		s.mu.Unlock()
		s.conn.Close()
		<-gone
	}()
	var spare []byte
	for {
		s.mu.Lock()
		b, closing := s.buf, s.closing
		if s.dropped > 0 {
			b = appendEvent(b, &Event{Kind: kindDropped, Pid: s.dropped})
			s.dropped = 0
		}
		s.buf = spare[:0]
		s.mu.Unlock()
		if len(b) > 0 {
			if _, err := s.conn.Write(b); err != nil {
				return
			}
		} else if closing {
			return
		}
		spare = b
		if len(b) == 0 {
			select {
			case <-s.wake:
			case <-gone:
				return
			}
		}
	}
}

// close ends the serving. Nested runs that still go on see the outer run end.
func (h *hub) close() {
	h.ln.Close()
	os.Remove(h.path)
	h.mu.Lock()
	for s := range h.open {
		s.mu.Lock()
		s.closing = true
		s.mu.Unlock()
		s.conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	h.mu.Unlock()
	h.wg.Wait()
}

func withEnv(env []string, name, value string) []string {
	if env == nil {
		env = os.Environ()
	}
	return append(env[:len(env):len(env)], name+"="+value)
}

// announce tells the outer run, if there is one, of a run that follows its
// command without it. Nothing depends on its success.
func announce(id string) {
	path := os.Getenv(SocketEnv)
	if path == "" {
		return
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	b, err := json.Marshal(shim.Hello{Version: shim.ProtocolVersion, ID: id, Announce: true})
	if err != nil {
		return
	}
	if _, err := conn.Write(append(b, '\n')); err == nil {
		conn.Read(b[:1])
	}
}
