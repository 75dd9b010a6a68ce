//go:build linux && (amd64 || arm64)

package trace

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/stemma-lineage/stemma/internal/capture/trace/shim"
	"golang.org/x/sys/unix"
)

// syscallInfo is struct ptrace_syscall_info, see ptrace(2). It has the same
// layout on all architectures.
type syscallInfo struct {
	op    uint8
	_     [3]uint8
	arch  uint32
	ip    uint64
	sp    uint64
	nr    uint64 // of exit: the result
	args  [6]uint64
	extra uint64
}

// Values of op.
const (
	opEntry   = 1
	opExit    = 2
	opSeccomp = 3
)

const (
	syscallStop = unix.SIGTRAP | 0x80
	traceFlags  = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK |
		unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACESECCOMP
)

// tracing is the tracer's process. All ptrace requests come from one thread.
type tracing struct {
	filter  bool
	out     *pipe
	o       *observer
	pending map[int][]Event // by thread: a call that has not returned
	nnp     atomic.Bool
	calls   int
}

// tracer traces the process that its recorder names, and all that come from
// it, until the last has ended, whatever happens to the recorder.
func tracer(args []string) int {
	runtime.LockOSThread() // only the thread that traces may ask
	if len(args) < 2 {
		return 125
	}
	cfd, err1 := strconv.Atoi(args[0])
	pfd, err2 := strconv.Atoi(args[1])
	if err1 != nil || err2 != nil {
		return 125
	}
	shim.Detach(cfd, pfd)
	c := shim.Channel{FD: cfd}
	m, _, err := c.Expect("trace")
	if err != nil {
		return 125
	}
	t := &tracing{filter: m.Filter, out: newPipe(pfd), pending: map[int][]Event{}}
	t.o = newObserver(t.out.put)
	t.o.traced = outsideTracer()
	if err := t.seize(m.Pid); err != nil {
		c.Send(shim.Message{Do: "failed", Error: err.Error()})
		return 125
	}
	if err := c.Send(shim.Message{Do: "traced"}); err != nil {
		t.out.closed.Store(true)
	}
	go func() {
		for {
			m, _, err := c.Receive()
			if err != nil {
				t.out.closed.Store(true)
				return
			}
			t.nnp.Store(m.Do == "noNewPrivs")
		}
	}()
	t.loop()
	t.out.put(Event{Kind: kindCalls, Pid: t.calls})
	t.out.put(Event{Kind: kindOver})
	t.out.finish()
	return 0
}

func ptrace(request, tid int, addr, data uintptr) syscall.Errno {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, data, 0, 0)
	return errno
}

func (t *tracing) seize(pid int) error {
	if errno := ptrace(unix.PTRACE_SEIZE, pid, 0, traceFlags); errno != 0 {
		return fmt.Errorf("tracing by ptrace: %w", errno)
	}
	if t.filter {
		return nil
	}
	if errno := ptrace(unix.PTRACE_INTERRUPT, pid, 0, 0); errno != 0 {
		return fmt.Errorf("tracing by ptrace: %w", errno)
	}
	var ws unix.WaitStatus
	for {
		if _, err := unix.Wait4(pid, &ws, unix.WALL, nil); err == unix.EINTR {
			continue
		} else if err != nil || !ws.Stopped() {
			return errors.New("tracing by ptrace: the process did not stop")
		}
		if int(ws)>>16 == unix.PTRACE_EVENT_STOP {
			break
		}
		ptrace(unix.PTRACE_CONT, pid, 0, uintptr(ws.StopSignal()))
	}
	t.resume(pid, 0)
	return nil
}

// resume lets a thread go on to its next stop. Nobody reads events any more
// once the recorder is gone, so without a filter the thread is left alone; with
// one it would lose its calls, so it stays.
func (t *tracing) resume(tid int, signal syscall.Signal) {
	request := unix.PTRACE_CONT
	switch {
	case t.filter:
	case t.out.closed.Load():
		request = unix.PTRACE_DETACH
	default:
		request = unix.PTRACE_SYSCALL
	}
	ptrace(request, tid, 0, uintptr(signal))
}

func (t *tracing) loop() {
	for {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return // ECHILD: none is left
		case ws.Exited() || ws.Signaled():
			delete(t.pending, tid)
			if t.o.exited(tid, time.Now()) {
				t.out.flush()
			}
		case ws.Stopped():
			t.stopped(tid, ws)
		}
	}
}

func (t *tracing) stopped(tid int, ws unix.WaitStatus) {
	signal := ws.StopSignal()
	event := int(ws) >> 16
	switch {
	case signal == syscallStop:
		t.syscallStop(tid)
		signal = 0
	case event == unix.PTRACE_EVENT_STOP:
		switch signal {
		case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
			ptrace(unix.PTRACE_LISTEN, tid, 0, 0) // stays stopped, as without us
			return
		}
		signal = 0
	case event == unix.PTRACE_EVENT_SECCOMP:
		if info, ok := t.info(tid); ok && !t.out.closed.Load() {
			t.entered(tid, &info)
			t.emit()
		}
		signal = 0
	case event == unix.PTRACE_EVENT_EXEC:
		if old, err := unix.PtraceGetEventMsg(tid); err == nil && int(old) != tid {
			if p := t.pending[int(old)]; p != nil {
				t.pending[tid] = p
			}
			delete(t.pending, int(old))
		}
		signal = 0
	case event != 0:
		signal = 0 // fork, vfork, clone: the child is traced by itself
	}
	t.resume(tid, signal)
}

func (t *tracing) info(tid int) (syscallInfo, bool) {
	var info syscallInfo
	errno := ptrace(unix.PTRACE_GET_SYSCALL_INFO, tid, unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)))
	return info, errno == 0
}

func (t *tracing) entered(tid int, info *syscallInfo) {
	t.o.out = t.o.out[:0]
	if c, _ := shim.Watched(info.arch, uint32(info.nr)); c == 0 || (c == shim.CallSeccomp && info.args[1]&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER == 0) {
		return
	}
	t.calls++
	t.o.noNewPrivs = t.nnp.Load()
	t.o.look(tid, info.arch, uint32(info.nr), &info.args)
}

func (t *tracing) emit() {
	for _, e := range t.o.out {
		t.out.put(e)
	}
}

// syscallStop is entry or return of any call. The events of a call are told
// when it has returned without error.
func (t *tracing) syscallStop(tid int) {
	if t.out.closed.Load() {
		return
	}
	info, ok := t.info(tid)
	if !ok {
		return
	}
	switch info.op {
	case opEntry:
		t.entered(tid, &info)
		if len(t.o.out) > 0 {
			t.pending[tid] = append(t.pending[tid][:0], t.o.out...)
		} else if len(t.pending[tid]) > 0 {
			t.pending[tid] = t.pending[tid][:0]
		}
	case opExit:
		p := t.pending[tid]
		if len(p) == 0 {
			return
		}
		// The sentinel does not exist, so that its opening fails.
		if r := int64(info.nr); r >= 0 || r == -int64(unix.EINPROGRESS) || strings.HasPrefix(p[0].Path, canaryPrefix) {
			for _, e := range p {
				t.out.put(e)
			}
		}
		t.pending[tid] = p[:0]
	}
}

// pipe carries events to the recorder. It never holds up the tracer: what the
// recorder does not take is kept up to a limit and then dropped.
type pipe struct {
	fd     int
	closed atomic.Bool // the recorder is gone

	mu      sync.Mutex // guards what follows
	buf     []byte
	dropped int
	timer   *time.Timer
	waiting bool // the timer runs
}

const (
	maxPipeBuffer = 32 << 20
	pipeBatch     = 32 << 10
)

func newPipe(fd int) *pipe {
	unix.SetNonblock(fd, true)
	unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, 1<<20)
	p := &pipe{fd: fd}
	p.timer = time.AfterFunc(time.Hour, p.tick)
	return p
}

func (p *pipe) put(e Event) {
	if p.closed.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.buf) > maxPipeBuffer {
		p.dropped++
		return
	}
	if p.dropped > 0 {
		p.buf = appendEvent(p.buf, &Event{Kind: kindDropped, Pid: p.dropped})
		p.dropped = 0
	}
	p.buf = appendEvent(p.buf, &e)
	if len(p.buf) >= pipeBatch {
		p.write()
	}
	if len(p.buf) > 0 && !p.waiting {
		p.waiting = true
		p.timer.Reset(gather)
	}
}

func (p *pipe) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.write()
	if p.waiting = len(p.buf) > 0 && !p.closed.Load(); p.waiting {
		p.timer.Reset(4 * gather)
	}
}

func (p *pipe) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.write()
}

// write passes on what the pipe takes. The caller holds mu.
func (p *pipe) write() {
	done := 0
	for done < len(p.buf) {
		n, err := unix.Write(p.fd, p.buf[done:])
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			break
		}
		if err != nil || n <= 0 {
			p.closed.Store(true)
			p.buf = nil
			return
		}
		done += n
	}
	p.buf = p.buf[:copy(p.buf, p.buf[done:])]
}

// finish writes the rest, waiting for the recorder as long as it lives.
func (p *pipe) finish() {
	for {
		p.flush()
		p.mu.Lock()
		left := len(p.buf)
		p.mu.Unlock()
		if left == 0 || p.closed.Load() {
			os.NewFile(uintptr(p.fd), "events").Close()
			return
		}
		fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLOUT}}
		unix.Poll(fds, 1000)
	}
}
