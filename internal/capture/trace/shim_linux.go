//go:build linux && (amd64 || arm64)

package trace

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// A filter and a tracer hold for one thread, and a command must be the first
// thread of its process: so the shim stays on it from the start.
func init() {
	if len(os.Args) > 1 && isHidden(os.Args[1]) {
		runtime.LockOSThread()
	}
}

// helper is the body of a helper process.
func helper(which string, args []string) {
	code := 125
	switch which {
	case shimArg:
		code = shim(args)
	case keeperArg:
		code = keeper(args)
	case tracerArg:
		code = tracer(args)
	}
	os.Exit(code)
}

// shim becomes the command. Its arguments are the number of its channel, the
// path of the command and the arguments of the command; its environment is the
// command's.
func shim(args []string) int {
	if len(args) < 3 {
		return 125
	}
	fd, err := strconv.Atoi(args[0])
	if err != nil {
		return 125
	}
	unix.CloseOnExec(fd)
	c := channel{fd}
	if err := become(c, args[1], args[2:]); err != nil {
		m := message{Do: "failed", Error: err.Error()}
		var errno syscall.Errno
		if errors.As(err, &errno) {
			m.Errno = int(errno)
		}
		c.send(m)
		return 125
	}
	return 0
}

// become takes the steps that the recorder asks for, and then the place of the
// command. It returns nil only when there is no command, as in a probe.
func become(c channel, path string, argv []string) error {
	m, _, err := c.expect("prepare")
	if err != nil {
		return err
	}
	if m.Tracer > 0 {
		// Yama lets only ancestors trace, unless the traced one allows it. The
		// error on kernels without Yama means that there is nothing to allow.
		unix.Prctl(unix.PR_SET_PTRACER, uintptr(m.Tracer), 0, 0, 0)
		if err := c.send(message{Do: "allowed"}); err != nil {
			return err
		}
		if _, _, err := c.expect("traced"); err != nil {
			return err
		}
	}
	if m.Outer != "" {
		if err := join(c, m); err != nil {
			return err
		}
	}
	prepared := message{Do: "prepared"}
	if m.Filter {
		lfd, nnp, err := install(m.Listener)
		if err != nil {
			return err
		}
		prepared.NoNewPrivs = nnp
		if m.Listener {
			err = c.send(prepared, lfd)
			unix.Close(lfd)
		} else {
			err = c.send(prepared)
		}
		if err != nil {
			return err
		}
	} else if err := c.send(prepared); err != nil {
		return err
	}
	if _, _, err := c.expect("canary"); err != nil {
		return err
	}
	canary(m.Canary)
	if err := c.send(message{Do: "opened"}); err != nil {
		return err
	}
	next, _, err := c.receive()
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

// join registers this process with the outer run and hands the connection to
// the recorder.
func join(c channel, m message) error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: m.Outer, Net: "unix"})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := greet(conn, hello{Version: protocolVersion, ID: m.ID, Probe: m.Probe}); err != nil {
		return err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	if err := raw.Control(func(fd uintptr) { sendErr = c.send(message{Do: "joined"}, int(fd)) }); err != nil {
		return err
	}
	return sendErr
}

// greet says hello and reads the welcome, byte by byte, so that nothing of the
// events after it is taken.
func greet(conn *net.UnixConn, h hello) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if _, err := conn.Write(append(b, '\n')); err != nil {
		return err
	}
	line, err := bufio.NewReaderSize(oneByte{conn}, 16).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("greeting the outer run: %w", err)
	}
	var w welcome
	if err := json.Unmarshal(line, &w); err != nil {
		return fmt.Errorf("greeting the outer run: %w", err)
	}
	if w.Refused != "" {
		return errors.New("the outer run does not serve this one: " + w.Refused)
	}
	return nil
}

type oneByte struct{ conn net.Conn }

func (r oneByte) Read(p []byte) (int, error) { return r.conn.Read(p[:1]) }

// peerPid returns the pid of the process at the other end, and refuses those
// of other users.
func peerPid(conn *net.UnixConn) (int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err == nil {
		err = credErr
	}
	if err != nil {
		return 0, fmt.Errorf("asking who connects: %w", err)
	}
	if uid := os.Geteuid(); int(cred.Uid) != uid && cred.Uid != 0 && uid != 0 {
		return 0, errors.New("another user runs the outer command")
	}
	if cred.Pid <= 0 {
		return 0, errors.New("the process cannot be seen from the outer run")
	}
	return int(cred.Pid), nil
}
