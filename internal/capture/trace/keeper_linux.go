//go:build linux && (amd64 || arm64)

package trace

import (
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notification is struct seccomp_notif, see seccomp_unotify(2).
type notification struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// reply is struct seccomp_notif_resp.
type reply struct {
	id    uint64
	val   int64
	error int32
	flags uint32
}

func receiveNotification(fd int, n *notification) syscall.Errno {
	*n = notification{}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(n)))
	return errno
}

// letGo lets the call go on as if nobody had looked at it.
func letGo(fd int, id uint64) syscall.Errno {
	r := reply{id: id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r)))
		if errno != unix.EINTR {
			return errno
		}
	}
}

// board is the page that the recorder and the keeper share. The recorder writes
// all but stolen.
type board struct {
	last   atomic.Uint64 // the notification that was taken last
	busy   atomic.Uint32 // 1 while it is not answered
	served atomic.Uint64 // how many were answered
	stolen atomic.Uint64 // how many the keeper answered while the recorder lived
}

const boardSize = 4096

func mapBoard(fd int) (*board, []byte, error) {
	b, err := unix.Mmap(fd, 0, boardSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return (*board)(unsafe.Pointer(&b[0])), b, nil
}

// detach makes a helper process independent of what happens to the recorder
// and its terminal: it is called in a session of its own, closes all that was
// inherited but keep, and outlives signals that end others.
func detach(keep ...int) {
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
	detach(cfd, bfd)
	c := channel{cfd}
	b, _, err := mapBoard(bfd)
	if err != nil {
		c.send(message{Do: "failed", Error: "mapping the shared page: " + err.Error()})
		return 125
	}
	_, fds, err := c.expect("keep")
	if err != nil || len(fds) != 1 {
		return 125
	}
	if c.send(message{Do: "kept"}) != nil {
		return 125
	}
	// The end of the recorder is awaited by a thread of its own, because the
	// other may wait in the kernel for a call that the recorder took.
	gone := new(atomic.Bool)
	go func() {
		c.timeout(0)
		c.receive()
		rescue(fds[0], b)
		gone.Store(true)
	}()
	keep(fds[0], b, gone)
	return 0
}

// keep lets calls go on that the recorder does not answer, and returns when the
// tree has ended.
func keep(listener int, b *board, gone *atomic.Bool) {
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
			if served != last || b.busy.Load() == 0 && poll(listener, 0)&unix.POLLIN == 0 {
				last, still = served, 0
				continue
			}
			if still++; still == stallTicks && b.busy.Load() != 0 && letGo(listener, b.last.Load()) == 0 {
				b.stolen.Add(1)
			}
			continue
		}
		r := poll(listener, int(keeperTick/time.Millisecond))
		if !gone.Load() && b.served.Load() != last { // the recorder goes on
			still = 0
			continue
		}
		if r&unix.POLLIN != 0 {
			var n notification
			if receiveNotification(listener, &n) == 0 && letGo(listener, n.id) == 0 && !gone.Load() {
				b.stolen.Add(1)
			}
		} else if r&(unix.POLLHUP|unix.POLLNVAL) != 0 {
			return
		}
	}
}

// rescue lets the call go on that the recorder had taken when it ended. The
// kernel numbers notifications one after the other, so when the recorder had
// not yet written down which one it took, that is one of the next. Answers to
// numbers that nobody took are refused by the kernel and do nothing.
func rescue(listener int, b *board) {
	for i := uint64(0); i < 256; i++ {
		letGo(listener, b.last.Load()+i)
	}
}

func poll(fd int, timeout int) int16 {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, timeout)
	if err != nil || n == 0 {
		return 0
	}
	return p[0].Revents
}
