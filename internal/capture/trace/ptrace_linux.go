//go:build linux && (amd64 || arm64)

package trace

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/stemma-lineage/stemma/internal/capture/trace/shim"
	"golang.org/x/sys/unix"
)

// ptracer follows calls by ptrace. The tracer is a process of its own, which
// outlives the recorder: a traced process whose tracer ends goes on, but with
// the filter its watched calls fail (ENOSYS). So that one process may not be
// killed while a command runs under "seccomp-ptrace"; under "ptrace" it may.
type ptracer struct {
	filter bool // stop at shim.Watched calls only, which a seccomp filter picks
}

func (p ptracer) Name() string {
	if p.filter {
		return "seccomp-ptrace"
	}
	return "ptrace"
}

func (p ptracer) Probe(ctx context.Context) error {
	_, err := runFollowed(ctx, p.Name(), &ptraceWay{filter: p.filter}, Command{}, nil)
	return err
}

func (p ptracer) Run(ctx context.Context, c Command, sink func(Event)) (Outcome, error) {
	return runFollowed(ctx, p.Name(), &ptraceWay{filter: p.filter}, c, sink)
}

type ptraceWay struct {
	filter bool
	col    *collector
	tracer *os.Process
	tc     shim.Channel
	events *os.File // what the tracer tells
	ended  chan struct{}
	main   int // the command's process
	begun  bool

	over bool // owned by read: the tracer said that the tree has ended
}

func (w *ptraceWay) follow(_ context.Context, l *launch, m shim.Message) (<-chan struct{}, error) {
	w.col, w.ended, w.tc = l.col, make(chan struct{}), shim.Channel{FD: -1}
	w.main = l.cmd.Process.Pid
	r, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	defer out.Close()
	w.events = r
	if w.tracer, w.tc, err = startHelper(tracerArg, int(out.Fd())); err != nil {
		return nil, err
	}
	m.Tracer, m.Filter = w.tracer.Pid, w.filter
	if err := l.c.Send(m); err != nil {
		return nil, err
	}
	if _, _, err := l.c.Expect("allowed"); err != nil {
		return nil, err
	}
	if err := w.tc.Send(shim.Message{Do: "trace", Pid: w.main, Filter: w.filter}); err != nil {
		return nil, err
	}
	if _, _, err := w.tc.Expect("traced"); err != nil {
		return nil, err
	}
	w.begun = true
	go w.read()
	if err := l.c.Send(shim.Message{Do: "traced"}); err != nil {
		return nil, err
	}
	got, _, err := l.c.Expect("prepared")
	if err != nil {
		return nil, err
	}
	if got.NoNewPrivs {
		if err := w.tc.Send(shim.Message{Do: "noNewPrivs"}); err != nil {
			return nil, err
		}
	}
	return w.ended, nil
}

// read passes on what the tracer tells, until it closes the pipe.
func (w *ptraceWay) read() {
	defer close(w.ended)
	r := bufio.NewReaderSize(w.events, 256<<10)
	var scratch []byte
	for {
		e, err := readEvent(r, &scratch)
		switch {
		case err == nil && e.Kind == kindOver:
			w.over = true
			continue
		case err == nil && e.Kind != kindSubRun:
			w.col.q.push(e)
			continue
		case errors.Is(err, io.EOF) && w.over, errors.Is(err, os.ErrClosed):
			return
		}
		w.col.q.push(Event{Kind: kindBlind, Path: BlindRecorder, Note: "the process that traces ended before the command; what the command did afterwards is not seen"})
		return
	}
}

// kindOver is the last event of a tracer whose tree has ended.
const kindOver Kind = 211

func (w *ptraceWay) left() {
	w.col.q.push(Event{Kind: kindBlind, Path: BlindLeft, Note: "processes outlived the command and were not followed further"})
	w.events.Close()
	<-w.ended
}

func (w *ptraceWay) finish() {
	if w.events != nil {
		w.events.Close()
	}
	if w.begun {
		<-w.ended
	}
	w.tc.Close()
	if w.tracer != nil {
		go w.tracer.Wait()
	}
}

// outsideTracer reports whether this process may trace only what it is allowed
// to, so that setuid programs lose their rights under it.
func outsideTracer() bool { return unix.Geteuid() != 0 }
