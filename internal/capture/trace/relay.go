//go:build unix

package trace

import (
	"os"
	"os/signal"
	"syscall"
)

// relay lets this process outlive the signals that are meant for the command,
// and passes on those that the command does not get by itself: the terminal
// sends SIGINT and SIGQUIT to the command too.
func relay(p *os.Process) (stop func()) {
	var want []os.Signal
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			want = append(want, s)
		}
	}
	if len(want) == 0 {
		return func() {}
	}
	ch := make(chan os.Signal, 8)
	done := make(chan struct{})
	signal.Notify(ch, want...)
	go func() {
		for {
			select {
			case s := <-ch:
				if (s == syscall.SIGINT || s == syscall.SIGQUIT) && inForeground() {
					continue
				}
				p.Signal(s)
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(done)
	}
}
