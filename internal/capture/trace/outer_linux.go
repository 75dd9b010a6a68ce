//go:build linux && (amd64 || arm64)

package trace

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/stemma-lineage/stemma/internal/capture/trace/shim"
)

// backends lists the ways in the order in which they are tried. Within an
// outer run that follows calls, that run is the best witness: two filters on
// one another would hide calls from both.
func backends() []Backend {
	return []Backend{outer{}, notify{}, ptracer{filter: true}, ptracer{}, &snapshot{}}
}

// outer takes the events of a command from the outer run in which it is
// nested.
type outer struct{}

func (outer) Name() string { return "outer" }

func (o outer) Probe(ctx context.Context) error {
	_, err := o.Run(ctx, Command{}, nil)
	return err
}

func (o outer) Run(ctx context.Context, c Command, sink func(Event)) (Outcome, error) {
	if os.Getenv(SocketEnv) == "" {
		return Outcome{}, errors.New("not inside of another run")
	}
	return runFollowed(ctx, o.Name(), &outerWay{}, c, sink)
}

type outerWay struct {
	col   *collector
	conn  net.Conn
	ended chan struct{} // closed when no process of the command's tree is left
	read  chan struct{} // closed when nothing more is read
	main  int
	live  map[int]bool // owned by the reading goroutine
	quiet bool         // likewise: the command's own process has ended
}

func (w *outerWay) follow(_ context.Context, l *launch, m shim.Message) (<-chan struct{}, error) {
	w.col, w.ended = l.col, make(chan struct{})
	m.Outer = os.Getenv(SocketEnv)
	if err := l.c.Send(m); err != nil {
		return nil, err
	}
	_, fds, err := l.c.Expect("joined")
	if err != nil {
		return nil, err
	}
	if len(fds) != 1 {
		return nil, errors.New("the shim sent no connection")
	}
	f := os.NewFile(uintptr(fds[0]), "outer run")
	w.conn, err = net.FileConn(f)
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("taking the connection to the outer run: %w", err)
	}
	w.main, w.live, w.read = l.cmd.Process.Pid, map[int]bool{}, make(chan struct{})
	go w.receive()
	if _, _, err := l.c.Expect("prepared"); err != nil {
		return nil, err
	}
	return w.ended, nil
}

func (w *outerWay) receive() {
	defer close(w.read)
	r := bufio.NewReaderSize(w.conn, 64<<10)
	var scratch []byte
	calls, over := 0, false
	defer func() {
		w.col.q.push(Event{Kind: kindCalls, Pid: calls})
	}()
	for {
		e, err := readEvent(r, &scratch)
		if err != nil {
			if !over && !errors.Is(err, net.ErrClosed) {
				w.col.q.push(Event{Kind: kindBlind, Path: BlindOuter, Note: "the outer run ended before this one; what the command did afterwards is not seen"})
			}
			return
		}
		switch e.Kind {
		case Fork:
			w.live[e.Pid] = true
		case Exit:
			delete(w.live, e.Pid)
		case kindBlind, kindDropped, SubRun:
		case Read, Write, Rename, Remove, Exec, Connect:
			if !strings.HasPrefix(e.Path, canaryPrefix) {
				calls++
			}
		default:
			continue
		}
		w.col.q.push(e)
		if e.Kind == Exit && len(w.live) == 0 && !over {
			over = true
			close(w.ended)
		}
	}
}

func (w *outerWay) left() {
	w.col.q.push(Event{Kind: kindBlind, Path: BlindLeft, Note: "processes outlived the command and were not followed further"})
}

func (w *outerWay) finish() {
	if w.conn != nil {
		w.conn.Close()
		<-w.read
	}
}
