//go:build linux && (amd64 || arm64)

package trace

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

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
