//go:build linux && (amd64 || arm64)

package trace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// launch is a command that is being started: its process is the shim until
// exec succeeds.
type launch struct {
	cmd *exec.Cmd
	c   channel
	col *collector
}

// self is the program's own binary. The link works also when the file was
// replaced meanwhile.
const self = "/proc/self/exe"

// startShim starts the process that becomes the command, and leaves it waiting
// for what it shall prepare.
func startShim(c Command, col *collector) (*launch, error) {
	path, err := lookPath(c)
	if err != nil {
		return nil, err
	}
	ours, theirs, err := newChannels()
	if err != nil {
		return nil, err
	}
	defer theirs.close()
	files, places, err := extraFiles(theirs.fd)
	defer closeAll(files)
	if err != nil {
		ours.close()
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Args = append([]string{os.Args[0], shimArg, strconv.Itoa(places[0]), path}, c.Argv...)
	cmd.Dir, cmd.Env = c.Dir, c.Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	cmd.ExtraFiles = files
	if err := cmd.Start(); err != nil {
		ours.close()
		return nil, fmt.Errorf("starting the recorder's shim: %w", err)
	}
	ours.timeout(startTimeout)
	return &launch{cmd: cmd, c: ours, col: col}, nil
}

func lookPath(c Command) (string, error) {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return "", errors.New("no command was given; put it after --")
	}
	if strings.Contains(c.Argv[0], "/") {
		return c.Argv[0], nil
	}
	return exec.LookPath(c.Argv[0])
}

// canaryTimeout is how long the report of the sentinel is waited for. A report
// that comes at all comes within milliseconds, on a machine that is not very
// busy.
const canaryTimeout = 5 * time.Second

// prove makes the shim open the sentinel and waits until it was reported.
func (l *launch) prove() error {
	if err := l.c.send(message{Do: "canary"}); err != nil {
		return err
	}
	if _, _, err := l.c.expect("opened"); err != nil {
		return err
	}
	select {
	case <-l.col.seen:
		return nil
	case <-time.After(canaryTimeout):
		return errors.New("a file that was opened as a test was not reported, so calls are not seen; another tool that filters system calls may stand before this one")
	}
}

// exec lets the shim become the command.
func (l *launch) exec() error {
	l.col.started.Store(true)
	if err := l.c.send(message{Do: "exec"}); err != nil {
		return err
	}
	m, _, err := l.c.receive()
	switch {
	case errors.Is(err, errGone), errors.Is(err, unix.ECONNRESET):
		l.c.close()
		l.c.fd = -1
		return nil // closed by a successful exec
	case m.Errno != 0:
		return &os.PathError{Op: "starting", Path: l.cmd.Args[3], Err: syscall.Errno(m.Errno)}
	}
	return err
}

// abort ends a shim that has not become the command.
func (l *launch) abort() {
	l.c.close()
	l.c.fd = -1
	l.cmd.Process.Kill()
	l.cmd.Wait()
}

// canaryPath returns a sentinel for one run.
func canaryPath() string {
	return canaryPrefix + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
}

// way is what differs between the back-ends that follow calls.
type way interface {
	// follow prepares the shim and begins to push events to the queue. ended is
	// closed when the last process of the tree has ended.
	follow(ctx context.Context, l *launch, m message) (ended <-chan struct{}, err error)
	// left tells that the command has ended and other processes of its tree go
	// on, which are not to be followed further.
	left()
	// finish ends the pushing of events. It is called once, after follow, also
	// when follow failed.
	finish()
}

// graceAfter is how long processes are followed after the command has ended.
const graceAfter = 500 * time.Millisecond

// runFollowed runs a command, or a probe when c has no Argv.
func runFollowed(ctx context.Context, name string, w way, c Command, sink func(Event)) (out Outcome, err error) {
	out.Backend = name
	if err := ctx.Err(); err != nil {
		return out, err
	}
	m := message{Do: "prepare", Canary: canaryPath(), ID: c.ID, Probe: c.Argv == nil}
	if m.Probe {
		c.Argv, c.Env = []string{self}, []string{"PATH=/"}
	}
	col := newCollector(sink, nil, m.Canary)
	if c.Socket != "" {
		if h, err := listen(c.Socket, name); err != nil {
			col.q.push(Event{Kind: kindBlind, Path: BlindOuter, Note: err.Error() + "; runs nested in this one are not told apart"})
		} else {
			c.Env = withEnv(c.Env, SocketEnv, c.Socket)
			col.hub, h.c = h, col
			go h.serve()
		}
	}
	go col.run()
	defer func() {
		col.q.close()
		<-col.done
		if col.hub != nil {
			col.hub.close()
		}
		col.outcome(&out)
	}()
	if !m.Probe && name != (outer{}).Name() {
		announce(c.ID)
	}
	l, err := startShim(c, col)
	if err != nil {
		return out, err
	}
	ended, err := w.follow(ctx, l, m)
	defer w.finish()
	if err == nil {
		err = l.begin(m.Probe)
	}
	if err != nil {
		l.abort()
		return out, err
	}
	out.State = l.wait()
	select {
	case <-ended:
	case <-time.After(graceAfter):
		w.left()
	}
	return out, nil
}

// begin proves that calls are seen, and then lets the shim go on.
func (l *launch) begin(probe bool) error {
	if err := l.prove(); err != nil {
		return err
	}
	if probe {
		return l.c.send(message{Do: "exit"})
	}
	return l.exec()
}

// wait waits for the command.
func (l *launch) wait() *os.ProcessState {
	defer l.c.close()
	stop := relay(l.cmd.Process)
	defer stop()
	err := l.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.col.q.push(Event{Kind: kindBlind, Path: BlindRecorder, Note: "passing on input or output: " + err.Error()})
	}
	return l.cmd.ProcessState
}
