//go:build linux && (amd64 || arm64)

package trace

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/stemma-lineage/stemma/internal/capture/trace/shim"
)

// Bare is seccomp notification and nothing else: each call is let go on, unread
// or, with reading, after its path was copied. Nobody can be faster who asks the
// kernel about each call, so the benchmark measures against it.
func Bare(reading bool) Backend { return bare{reading} }

type bare struct{ reading bool }

func (b bare) Name() string {
	if b.reading {
		return "bare-reading"
	}
	return "bare"
}

func (bare) Probe(context.Context) error { return nil }

func (b bare) Run(ctx context.Context, c Command, sink func(Event)) (Outcome, error) {
	return runFollowed(ctx, b.Name(), &bareWay{reading: b.reading, ended: make(chan struct{})}, c, sink)
}

type bareWay struct {
	reading bool
	ended   chan struct{}
	col     *collector
	calls   int
	serving bool
}

func (w *bareWay) follow(_ context.Context, l *launch, m shim.Message) (<-chan struct{}, error) {
	w.col = l.col
	m.Filter, m.Listener = true, true
	if err := l.c.Send(m); err != nil {
		return nil, err
	}
	_, fds, err := l.c.Expect("prepared")
	if err != nil {
		return nil, err
	}
	if len(fds) != 1 {
		return nil, fmt.Errorf("%d descriptors", len(fds))
	}
	unix.Syscall(unix.SYS_IOCTL, uintptr(fds[0]), unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	w.col.q.push(Event{Kind: Read, Path: m.Canary})
	w.serving = true
	go w.serve(fds[0])
	return w.ended, nil
}

func (w *bareWay) serve(listener int) {
	defer close(w.ended)
	defer unix.Close(listener)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	direct := newerThan(6, 11)
	var m memory
	var path [256]byte
	for {
		if !direct && shim.Poll(listener, -1)&unix.POLLIN == 0 {
			return
		}
		var n shim.Notification
		if errno := shim.ReceiveNotification(listener, &n); errno == unix.EINTR {
			continue
		} else if errno != 0 {
			return
		}
		w.calls++
		if w.reading {
			m.read(int(n.Pid), n.Args[1], path[:])
		}
		shim.LetGo(listener, n.ID)
	}
}

func (w *bareWay) left() {}

func (w *bareWay) finish() {
	if !w.serving {
		return
	}
	<-w.ended
	w.col.q.push(Event{Kind: kindCalls, Pid: w.calls})
}
