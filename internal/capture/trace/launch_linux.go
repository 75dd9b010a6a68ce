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

	"github.com/stemma-lineage/stemma/internal/capture/trace/shim"
	"golang.org/x/sys/unix"
)

// launch is a command that is being started: its process is the shim until
// exec succeeds.
type launch struct {
	cmd     *exec.Cmd
	c       shim.Channel
	col     *collector
	signals *relay
}

// self is the program's own binary. The link works also when the file was
// replaced meanwhile.
const self = "/proc/self/exe"

// startShim starts the process that becomes the command, and leaves it waiting
// for what it shall prepare.
func startShim(c Command, col *collector) (*launch, error) {
	path, err := lookPath(c)
	if err != nil {
		return nil, &CommandError{err}
	}
	ours, theirs, err := shim.NewChannels()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	files, places, err := shim.ExtraFiles(theirs.FD)
	defer closeAll(files)
	if err != nil {
		ours.Close()
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Args = append([]string{os.Args[0], shim.Arg, strconv.Itoa(places[0]), path}, c.Argv...)
	cmd.Dir, cmd.Env = c.Dir, c.Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	cmd.ExtraFiles = files
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, fmt.Errorf("starting the recorder's shim: %w", err)
	}
	ours.Timeout(startTimeout)
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

// startTimeout bounds each step of starting a command. Nothing of the user's
// runs yet when it is used.
const startTimeout = 20 * time.Second

// canaryTimeout is how long the report of the sentinel is waited for. A report
// that comes at all comes within milliseconds, on a machine that is not very
// busy.
const canaryTimeout = 5 * time.Second

// prove makes the shim open the sentinel and waits until it was reported.
func (l *launch) prove() error {
	if err := l.c.Send(shim.Message{Do: "canary"}); err != nil {
		return err
	}
	if _, _, err := l.c.Expect("opened"); err != nil {
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
	if err := l.c.Send(shim.Message{Do: "exec"}); err != nil {
		return err
	}
	m, _, err := l.c.Receive()
	switch {
	case errors.Is(err, shim.ErrGone), errors.Is(err, unix.ECONNRESET):
		l.c.Close()
		l.c.FD = -1
		return nil // closed by a successful exec
	case m.Errno != 0:
		return &CommandError{&os.PathError{Op: "starting", Path: l.cmd.Args[3], Err: syscall.Errno(m.Errno)}}
	}
	return err
}

// abort ends a shim that has not become the command.
func (l *launch) abort() {
	l.c.Close()
	l.c.FD = -1
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
	follow(ctx context.Context, l *launch, m shim.Message) (ended <-chan struct{}, err error)
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
	m := shim.Message{Do: "prepare", Canary: canaryPath(), ID: c.ID, Probe: c.Argv == nil}
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
	signals := catch()
	defer signals.stop()
	l, err := startShim(c, col)
	if err != nil {
		return out, err
	}
	l.signals = signals
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
		return l.c.Send(shim.Message{Do: "exit"})
	}
	l.signals.passTo(l.cmd.Process)
	return l.exec()
}

// wait waits for the command.
func (l *launch) wait() *os.ProcessState {
	defer l.c.Close()
	err := l.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.col.q.push(Event{Kind: kindBlind, Path: BlindRecorder, Note: "passing on input or output: " + err.Error()})
	}
	return l.cmd.ProcessState
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
