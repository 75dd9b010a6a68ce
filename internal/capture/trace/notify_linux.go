//go:build linux && (amd64 || arm64)

package trace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/stemma-lineage/stemma/internal/capture/trace/shim"
	"golang.org/x/sys/unix"
)

// notify follows calls by seccomp user notification: the kernel stops a thread
// at a watched call and asks the recorder, which reads the path and lets the
// call go on. The keeper answers when the recorder cannot.
type notify struct{}

func (notify) Name() string { return "seccomp-notify" }

func (n notify) Probe(ctx context.Context) error {
	_, err := runFollowed(ctx, n.Name(), &notifyWay{}, Command{}, nil)
	return err
}

func (n notify) Run(ctx context.Context, c Command, sink func(Event)) (Outcome, error) {
	return runFollowed(ctx, n.Name(), &notifyWay{}, c, sink)
}

type notifyWay struct {
	col      *collector
	listener int
	epoll    int // of the pidfds
	stop     int // an event descriptor
	keeper   *os.Process
	kc       shim.Channel
	board    *shim.Board
	page     []byte
	direct   bool          // the kernel ends the waiting for a call at the end of the tree
	served   chan struct{} // closed when serve returns; nil until it is started
	ended    chan struct{} // closed when watch returns

	mu     sync.Mutex // guards what follows; held while a call is read and its events are pushed
	o      *observer
	pidfds map[int32]int // to process
	calls  int
	over   bool // no more calls are read
}

func (w *notifyWay) follow(_ context.Context, l *launch, m shim.Message) (<-chan struct{}, error) {
	w.col, w.ended = l.col, make(chan struct{})
	w.listener, w.epoll, w.stop, w.kc = -1, -1, -1, shim.Channel{FD: -1}
	// The keeper starts while the shim does.
	if err := w.startKeeper(); err != nil {
		return nil, err
	}
	m.Filter, m.Listener = true, true
	if err := l.c.Send(m); err != nil {
		return nil, err
	}
	got, fds, err := l.c.Expect("prepared")
	if err != nil {
		return nil, err
	}
	if len(fds) != 1 {
		return nil, errors.New("the shim sent no listener")
	}
	w.listener = fds[0]
	if err := w.checkSizes(); err != nil {
		return nil, err
	}
	if err := w.kc.Send(shim.Message{Do: "keep"}, w.listener); err != nil {
		return nil, fmt.Errorf("handing the listener to the keeper: %w", err)
	}
	if _, _, err := w.kc.Expect("kept"); err != nil {
		return nil, fmt.Errorf("handing the listener to the keeper: %w", err)
	}
	// Linux 6.6: the answer wakes the waiting thread on this processor, which
	// halves the time of a call. Older kernels refuse, and that is all.
	unix.Syscall(unix.SYS_IOCTL, uintptr(w.listener), unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	if w.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("waiting for calls: %w", err)
	}
	if w.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("waiting for calls: %w", err)
	}
	w.o = newObserver(w.col.q.push)
	w.o.noNewPrivs = got.NoNewPrivs
	w.o.newProcess = w.watchProcess
	w.pidfds = map[int32]int{}
	w.direct = newerThan(6, 11)
	w.served = make(chan struct{})
	go w.serve()
	go w.watch()
	return w.ended, nil
}

// newerThan tells whether the kernel is of that version or a later one.
func newerThan(major, minor int) bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	var a, b int
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a > major || a == major && b >= minor
}

// checkSizes makes sure that the kernel's structures are those that we know.
func (w *notifyWay) checkSizes() error {
	var sizes [3]uint16
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0, uintptr(unsafe.Pointer(&sizes))); errno != 0 {
		return fmt.Errorf("asking for the size of notifications: %w", errno)
	}
	if sizes[0] != uint16(unsafe.Sizeof(shim.Notification{})) || sizes[1] != uint16(unsafe.Sizeof(shim.Reply{})) {
		return fmt.Errorf("this kernel's notifications have %d and %d bytes, which is not known", sizes[0], sizes[1])
	}
	return nil
}

func (w *notifyWay) await(fd int) error {
	return unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

func (w *notifyWay) startKeeper() error {
	fd, err := unix.MemfdCreate("stemma-trace", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("sharing a page with the keeper: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, shim.BoardSize); err != nil {
		return fmt.Errorf("sharing a page with the keeper: %w", err)
	}
	if w.board, w.page, err = shim.MapBoard(fd); err != nil {
		return fmt.Errorf("sharing a page with the keeper: %w", err)
	}
	w.keeper, w.kc, err = startHelper(shim.KeeperArg, fd)
	return err
}

// startHelper starts a process that stays when this one ends, in a session of
// its own so that no signal of the terminal reaches it.
func startHelper(arg string, fds ...int) (*os.Process, shim.Channel, error) {
	ours, theirs, err := shim.NewChannels()
	if err != nil {
		return nil, ours, err
	}
	defer theirs.Close()
	files, places, err := shim.ExtraFiles(append([]int{theirs.FD}, fds...)...)
	defer closeAll(files)
	if err != nil {
		ours.Close()
		return nil, shim.Channel{FD: -1}, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		ours.Close()
		return nil, shim.Channel{FD: -1}, err
	}
	defer null.Close()
	argv := []string{os.Args[0], arg}
	for _, p := range places {
		argv = append(argv, strconv.Itoa(p))
	}
	p, err := os.StartProcess(self, argv, &os.ProcAttr{
		Env:   []string{"GOTRACEBACK=none"},
		Files: append([]*os.File{null, null, null}, files...),
		Sys:   &unix.SysProcAttr{Setsid: true},
	})
	if err != nil {
		ours.Close()
		return nil, shim.Channel{FD: -1}, fmt.Errorf("starting a helper process: %w", err)
	}
	ours.Timeout(startTimeout)
	return p, ours, nil
}

// maxWatched bounds the processes whose end is awaited at once, by the
// descriptors that it takes. The end of further ones is not told.
const maxWatched = 4096

// watchProcess makes the end of a process known.
func (w *notifyWay) watchProcess(tgid int) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || uint64(len(w.pidfds)) >= min(maxWatched, limit.Cur/2) {
		return
	}
	fd, err := unix.PidfdOpen(tgid, 0)
	if err != nil {
		return
	}
	if w.await(fd) != nil {
		unix.Close(fd)
		return
	}
	w.pidfds[int32(fd)] = tgid
}

// watch waits for the ends of processes, and for that of the tree or of the
// following.
func (w *notifyWay) watch() {
	defer close(w.ended)
	// Without POLLIN in the request, the listener wakes only at the end of the tree.
	fds := []unix.PollFd{{Fd: int32(w.listener)}, {Fd: int32(w.stop), Events: unix.POLLIN}, {Fd: int32(w.epoll), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		} else if err != nil {
			w.lost("waiting for the end of processes: " + err.Error())
			return
		}
		w.mu.Lock()
		if fds[2].Revents != 0 {
			w.processesEnded()
		}
		hangup, stop := fds[0].Revents != 0, fds[1].Revents != 0
		if hangup || stop {
			w.over = true
			w.endAll(!hangup)
		}
		w.mu.Unlock()
		if hangup || stop {
			return
		}
	}
}

// serve answers calls until the tree has ended, or the following has.
func (w *notifyWay) serve() {
	defer close(w.served)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		if !w.direct && !w.comes() {
			return
		}
		var n shim.Notification
		switch errno := shim.ReceiveNotification(w.listener, &n); {
		case errno == 0:
			if !w.answer(&n) {
				return
			}
		case errno == unix.EINTR:
		case errno != unix.ENOENT:
			w.lost("waiting for calls: " + errno.Error())
			return
		case shim.Poll(w.listener, 0)&unix.POLLHUP != 0:
			return // no process of the tree is left
		}
	}
}

// comes waits until a call waits for an answer. It is false at the end of the
// tree or of the following. Linux before 6.11 needs it: there, nothing ends the
// waiting of ReceiveNotification.
func (w *notifyWay) comes() bool {
	// Only poll(2), not epoll, hands the processor over directly from the thread
	// that calls (Linux 6.6).
	fds := []unix.PollFd{{Fd: int32(w.listener), Events: unix.POLLIN}, {Fd: int32(w.stop), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		} else if err != nil {
			w.lost("waiting for calls: " + err.Error())
			return false
		}
		return fds[0].Revents&unix.POLLIN != 0 && fds[1].Revents == 0
	}
}

func (w *notifyWay) processesEnded() {
	var events [64]unix.EpollEvent
	n, _ := unix.EpollWait(w.epoll, events[:], 0)
	for _, e := range events[:max(n, 0)] {
		if tgid, ok := w.pidfds[e.Fd]; ok {
			w.processEnded(int(e.Fd), tgid)
		}
	}
}

func (w *notifyWay) processEnded(fd, tgid int) {
	delete(w.pidfds, int32(fd))
	unix.Close(fd)
	w.o.exited(tgid, time.Now())
}

// endAll tells the end of the processes that are left.
func (w *notifyWay) endAll(stopped bool) {
	var alive []string
	for fd, tgid := range w.pidfds {
		if !stopped || shim.Poll(int(fd), 0) != 0 {
			w.o.exited(tgid, time.Now())
		} else {
			name, _ := w.o.procLink(tgid, "exe", -1)
			alive = append(alive, fmt.Sprintf("%d (%s)", tgid, name[strings.LastIndexByte(name, '/')+1:]))
		}
		unix.Close(int(fd))
	}
	if stopped && len(alive) > 0 {
		w.col.q.push(Event{Kind: kindBlind, Path: BlindLeft, Note: leftBehind(alive)})
	}
	w.col.q.push(Event{Kind: kindCalls, Pid: w.calls})
}

func (w *notifyWay) lost(why string) {
	w.col.q.push(Event{Kind: kindBlind, Path: BlindRecorder, Note: why})
}

// answer reads what a call is about and lets it go on. It is false when the
// following has ended: then the call was let go on unread.
func (w *notifyWay) answer(n *shim.Notification) bool {
	w.board.Take(n.ID)
	defer w.board.Answered()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		shim.LetGo(w.listener, n.ID)
		return false
	}
	w.calls++
	w.o.look(int(n.Pid), n.Arch, uint32(n.Nr), &n.Args)
	// The answer is taken only while the thread still waits. So when it is, what
	// was read is of that thread and not of one that got its number later.
	if shim.LetGo(w.listener, n.ID) == 0 {
		for _, e := range w.o.out {
			w.col.q.push(e)
		}
	}
	return true
}

// left ends the following. Reading a call may wait for a file system that does
// not answer; nothing waits for that.
func (w *notifyWay) left() {
	var one = [8]byte{1}
	unix.Write(w.stop, one[:])
	select {
	case <-w.ended:
	case <-time.After(time.Second):
	}
}

func (w *notifyWay) finish() {
	// The keeper goes on by itself as long as a process of the tree lives.
	defer w.kc.Close()
	if w.keeper != nil {
		go w.keeper.Wait()
	}
	if w.served == nil {
		w.release()
		return
	}
	w.left()
	select {
	case <-w.ended:
	default:
		w.lost("the thread that answers calls did not end")
		return
	}
	if n := w.board.Stolen(); n > 0 {
		w.col.q.push(Event{Kind: kindBlind, Path: BlindStalled, Note: fmt.Sprintf("%d calls went on unseen while the recorder was stopped or did not get to run", n)})
	}
	select {
	case <-w.served:
		w.release()
	case <-time.After(graceServe):
		// It waits in the kernel for a call of a process that was left behind. It
		// lets that call go on, or ends with the tree.
		go func() {
			<-w.served
			w.release()
		}()
	}
}

// graceServe is how long the answering thread gets to see the end.
const graceServe = 100 * time.Millisecond

func (w *notifyWay) release() {
	if w.page != nil {
		unix.Munmap(w.page)
	}
	for _, fd := range []int{w.epoll, w.stop, w.listener} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func leftBehind(alive []string) string {
	const most = 8
	more := ""
	if len(alive) > most {
		more = fmt.Sprintf(" and %d more", len(alive)-most)
		alive = alive[:most]
	}
	return "processes outlived the command and were not followed further: " + strings.Join(alive, ", ") + more
}
