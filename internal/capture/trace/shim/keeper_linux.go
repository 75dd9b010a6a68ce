//go:build linux && (amd64 || arm64)

package shim

import (
	"bytes"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Notification is struct seccomp_notif, see seccomp_unotify(2).
type Notification struct {
	ID    uint64
	Pid   uint32 // the thread that makes the call
	Flags uint32
	Nr    int32
	Arch  uint32
	IP    uint64
	Args  [6]uint64
}

// Reply is struct seccomp_notif_resp.
type Reply struct {
	id    uint64
	val   int64
	error int32
	flags uint32
}

// ReceiveNotification waits for a call and takes it. The error is ENOENT when
// its thread was killed meanwhile, and, since Linux 6.11, when no process of the
// tree is left.
func ReceiveNotification(fd int, n *Notification) syscall.Errno {
	*n = Notification{}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(n)))
	return errno
}

// LetGo lets the call go on as if nobody had looked at it.
func LetGo(fd int, id uint64) syscall.Errno {
	r := Reply{id: id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r)))
		if errno != unix.EINTR {
			return errno
		}
	}
}

// Board is the page that the recorder and the keeper share. The recorder writes
// all but stolen.
type Board struct {
	last   atomic.Uint64 // the notification that was taken last
	busy   atomic.Uint32 // 1 while it is not answered
	served atomic.Uint64 // how many were answered
	stolen atomic.Uint64 // how many the keeper answered while the recorder lived
}

// BoardSize is the size of the page, in bytes.
const BoardSize = 4096

// Take writes down that the recorder took a call.
func (b *Board) Take(id uint64) {
	b.last.Store(id)
	b.busy.Store(1)
}

// Answered writes down that the recorder answered the call that it took.
func (b *Board) Answered() {
	b.served.Add(1)
	b.busy.Store(0)
}

// Stolen tells how many calls the keeper answered while the recorder lived.
func (b *Board) Stolen() uint64 { return b.stolen.Load() }

// MapBoard maps the page that a descriptor holds.
func MapBoard(fd int) (*Board, []byte, error) {
	b, err := unix.Mmap(fd, 0, BoardSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return (*Board)(unsafe.Pointer(&b[0])), b, nil
}

// Detach makes a helper process independent of what happens to the recorder
// and its terminal: it is called in a session of its own, closes all that was
// inherited but keep, and outlives signals that end others.
func Detach(keep ...int) {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGPIPE,
		syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM)
	os.Chdir("/")
	for _, fd := range keep {
		unix.CloseOnExec(fd)
	}
	for fd := range inherited() {
		unix.Close(fd)
	}
}

// The keeper looks at the recorder this often, and takes over when it has
// stood still for stallTicks of these while a call waits.
const (
	keeperTick = 250 * time.Millisecond
	stallTicks = 8
)

// keeper holds the listener too. While the recorder lives and answers, the
// keeper sleeps; it lets calls go on when the recorder stands still, and when
// it is gone, until the last process of the tree has ended.
func keeper(args []string) int {
	if len(args) < 2 {
		return 125
	}
	cfd, err1 := strconv.Atoi(args[0])
	bfd, err2 := strconv.Atoi(args[1])
	if err1 != nil || err2 != nil {
		return 125
	}
	recorder := os.Getppid()
	Detach(cfd, bfd)
	c := Channel{cfd}
	b, _, err := MapBoard(bfd)
	if err != nil {
		c.Send(Message{Do: "failed", Error: "mapping the shared page: " + err.Error()})
		return 125
	}
	_, fds, err := c.Expect("keep")
	if err != nil || len(fds) != 1 {
		return 125
	}
	if c.Send(Message{Do: "kept"}) != nil {
		return 125
	}
	// The end of the recorder is awaited by a thread of its own, because the
	// other may wait in the kernel for a call that the recorder took.
	gone := new(atomic.Bool)
	go func() {
		c.Timeout(0)
		c.Receive()
		rescue(fds[0], b)
		gone.Store(true)
	}()
	keep(fds[0], b, gone, recorder)
	return 0
}

// keep lets calls go on that the recorder does not answer, and returns when the
// tree has ended.
func keep(listener int, b *Board, gone *atomic.Bool, recorder int) {
	last, still := uint64(0), 0
	for {
		stalled := still >= stallTicks
		if !stalled && !gone.Load() {
			// Without POLLIN in the request, only the end of the tree wakes.
			p := []unix.PollFd{{Fd: int32(listener)}}
			if n, err := unix.Poll(p, int(keeperTick/time.Millisecond)); err == nil && n > 0 && p[0].Revents&(unix.POLLHUP|unix.POLLNVAL) != 0 {
				return
			}
			served := b.served.Load()
			waits := b.busy.Load() != 0 || Poll(listener, 0)&unix.POLLIN != 0
			if served == last && !waits && stopped(recorder) {
				// The kernel may have given it a call that it had no time to write down.
				b.stolen.Add(rescue(listener, b))
			}
			if served != last || !waits {
				last, still = served, 0
				continue
			}
			if still++; still == stallTicks && b.busy.Load() != 0 && LetGo(listener, b.last.Load()) == 0 {
				b.stolen.Add(1)
			}
			continue
		}
		r := Poll(listener, int(keeperTick/time.Millisecond))
		if !gone.Load() && b.served.Load() != last { // the recorder goes on
			still = 0
			continue
		}
		if r&unix.POLLIN != 0 {
			var n Notification
			if ReceiveNotification(listener, &n) == 0 && LetGo(listener, n.ID) == 0 && !gone.Load() {
				b.stolen.Add(1)
			}
		} else if r&(unix.POLLHUP|unix.POLLNVAL) != 0 {
			return
		}
	}
}

// stopped tells whether a process is stopped, as by SIGSTOP or a debugger.
func stopped(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	i := bytes.LastIndexByte(b, ')') // the name may hold anything
	return i >= 0 && len(b) > i+2 && (b[i+2] == 'T' || b[i+2] == 't')
}

// rescue lets the call go on that the recorder had taken when it ended or was
// stopped, and tells how many these were. The kernel numbers notifications one after the other, so when the recorder had
// not yet written down which one it took, that is one of the next. Answers to
// numbers that nobody took are refused by the kernel and do nothing.
func rescue(listener int, b *Board) (n uint64) {
	for i := uint64(0); i < 256; i++ {
		if LetGo(listener, b.last.Load()+i) == 0 {
			n++
		}
	}
	return n
}

// Poll waits so many milliseconds for a descriptor to be readable, and gives what
// it is.
func Poll(fd int, timeout int) int16 {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, timeout)
	if err != nil || n == 0 {
		return 0
	}
	return p[0].Revents
}
