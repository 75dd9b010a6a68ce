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
type relay struct {
	ch     chan os.Signal
	done   chan struct{}
	passed bool
}

// catch takes signals from now on and keeps them for passTo. It is called
// before the command can run, so that no signal finds this process without it.
func catch() *relay {
	r := &relay{ch: make(chan os.Signal, 8), done: make(chan struct{})}
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(r.ch, s)
		}
	}
	return r
}

// passTo passes signals on to the command. Those that came before it was there
// are passed whoever sent them: it cannot have got them itself.
func (r *relay) passTo(p *os.Process) {
	r.passed = true
	for early := len(r.ch); early > 0; early-- {
		p.Signal(<-r.ch)
	}
	go func() {
		for {
			select {
			case s := <-r.ch:
				if (s == syscall.SIGINT || s == syscall.SIGQUIT) && inForeground() {
					continue
				}
				p.Signal(s)
			case <-r.done:
				return
			}
		}
	}()
}

// stop gives the signals back. What came for a command that never ran comes to
// this process again, and does to it what it would have done. It is called
// once.
func (r *relay) stop() {
	signal.Stop(r.ch)
	close(r.done)
	for !r.passed && len(r.ch) > 0 {
		if s, ok := (<-r.ch).(syscall.Signal); ok {
			syscall.Kill(os.Getpid(), s)
		}
	}
}
