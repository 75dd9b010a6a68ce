//go:build !linux || !(amd64 || arm64)

package trace

import (
	"errors"
	"net"
)

func backends() []Backend { return []Backend{&snapshot{}} }

func tracer([]string) int { return 125 }

func peerPid(*net.UnixConn) (int, error) {
	return 0, errors.New("the outer run cannot tell processes apart on this system")
}

func parentOf(int) int { return 0 }
