//go:build linux && (amd64 || arm64)

package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// The processes run from here, before the packages above this one are
// initialised: that takes a large program longer than all the rest, and each
// captured command waits for it. The Go specification ("Program initialization")
// lets a package with few imports come early. Until main begins, all runs on
// the first thread of the process, which the shim needs: a filter and a tracer
// hold for one thread, and a command must be the first.
func init() {
	if len(os.Args) < 2 {
		return
	}
	switch os.Args[1] {
	case Arg:
		os.Exit(become(os.Args[2:]))
	case KeeperArg:
		os.Exit(keeper(os.Args[2:]))
	}
}

// become becomes the command. Its arguments are the number of its channel, the
// path of the command and the arguments of the command; its environment is the
// command's.
func become(args []string) int {
	if len(args) < 3 {
		return 125
	}
	fd, err := strconv.Atoi(args[0])
	if err != nil {
		return 125
	}
	unix.CloseOnExec(fd)
	c := Channel{fd}
	if err := steps(c, args[1], args[2:]); err != nil {
		m := Message{Do: "failed", Error: err.Error()}
		var errno syscall.Errno
		if errors.As(err, &errno) {
			m.Errno = int(errno)
		}
		c.Send(m)
		return 125
	}
	return 0
}

// steps takes the steps that the recorder asks for, and then the place of the
// command. It returns nil only when there is no command, as in a probe.
func steps(c Channel, path string, argv []string) error {
	m, _, err := c.Expect("prepare")
	if err != nil {
		return err
	}
	if m.Tracer > 0 {
		// Yama lets only ancestors trace, unless the traced one allows it. The
		// error on kernels without Yama means that there is nothing to allow.
		unix.Prctl(unix.PR_SET_PTRACER, uintptr(m.Tracer), 0, 0, 0)
		if err := c.Send(Message{Do: "allowed"}); err != nil {
			return err
		}
		if _, _, err := c.Expect("traced"); err != nil {
			return err
		}
	}
	if m.Outer != "" {
		if err := join(c, m); err != nil {
			return err
		}
	}
	prepared := Message{Do: "prepared"}
	if m.Filter {
		lfd, nnp, err := install(m.Listener)
		if err != nil {
			return err
		}
		prepared.NoNewPrivs = nnp
		if m.Listener {
			err = c.Send(prepared, lfd)
			unix.Close(lfd)
		} else {
			err = c.Send(prepared)
		}
		if err != nil {
			return err
		}
	} else if err := c.Send(prepared); err != nil {
		return err
	}
	if _, _, err := c.Expect("canary"); err != nil {
		return err
	}
	canary(m.Canary)
	if err := c.Send(Message{Do: "opened"}); err != nil {
		return err
	}
	next, _, err := c.Receive()
	if err != nil || next.Do != "exec" {
		return err
	}
	err = syscall.Exec(path, argv, os.Environ())
	return fmt.Errorf("starting %s: %w", path, err)
}

// canary opens the sentinel on this very thread.
func canary(path string) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
}

// join registers this process with the outer run, which knows it by the
// credentials of the socket, and hands the connection to the recorder.
func join(c Channel, m Message) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("reaching the outer run: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: m.Outer}); err != nil {
		return fmt.Errorf("reaching the outer run at %s: %w", m.Outer, err)
	}
	if err := greet(fd, Hello{Version: ProtocolVersion, ID: m.ID, Probe: m.Probe}); err != nil {
		return err
	}
	return c.Send(Message{Do: "joined"}, fd)
}

// greet says hello and reads the welcome, byte by byte, so that nothing of the
// events after it is taken.
func greet(fd int, h Hello) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	for b = append(b, '\n'); len(b) > 0; {
		n, err := unix.Write(fd, b)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("greeting the outer run: %w", err)
		}
		b = b[max(n, 0):]
	}
	var line []byte
	var one [1]byte
	for one[0] != '\n' {
		switch n, err := unix.Read(fd, one[:]); {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("greeting the outer run: %w", err)
		case n == 0 || len(line) > 64<<10:
			return errors.New("greeting the outer run: it gave no answer")
		}
		line = append(line, one[0])
	}
	var w Welcome
	if err := json.Unmarshal(line, &w); err != nil {
		return fmt.Errorf("greeting the outer run: %w", err)
	}
	if w.Refused != "" {
		return errors.New("the outer run does not serve this one: " + w.Refused)
	}
	return nil
}
