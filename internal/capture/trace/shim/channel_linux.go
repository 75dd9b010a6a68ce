//go:build linux && (amd64 || arm64)

package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Message is what the recorder and its helper processes say to each other over
// a pair of sockets that keep the borders of messages.
type Message struct {
	Do         string `json:"do"`
	Tracer     int    `json:"tracer,omitempty"`
	Pid        int    `json:"pid,omitempty"`
	Listener   bool   `json:"listener,omitempty"`
	Filter     bool   `json:"filter,omitempty"`
	Canary     string `json:"canary,omitempty"`
	Outer      string `json:"outer,omitempty"`
	ID         string `json:"id,omitempty"`
	Probe      bool   `json:"probe,omitempty"`
	NoNewPrivs bool   `json:"noNewPrivs,omitempty"`
	Errno      int    `json:"errno,omitempty"`
	Error      string `json:"error,omitempty"`
}

// Channel is one end of such a pair.
type Channel struct{ FD int }

// ErrGone is the error of a channel whose other end was closed.
var ErrGone = errors.New("the other process is gone")

// NewChannels makes a pair. The caller closes both.
func NewChannels() (ours, theirs Channel, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Channel{-1}, Channel{-1}, fmt.Errorf("making a pair of sockets: %w", err)
	}
	return Channel{p[0]}, Channel{p[1]}, nil
}

// Close closes the end, if there is one.
func (c Channel) Close() {
	if c.FD >= 0 {
		unix.Close(c.FD)
	}
}

// Timeout bounds each sending and receiving from now on; 0 lifts the bound.
func (c Channel) Timeout(d time.Duration) {
	tv := unix.NsecToTimeval(int64(d))
	unix.SetsockoptTimeval(c.FD, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	unix.SetsockoptTimeval(c.FD, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv)
}

// Send sends a message, and descriptors with it.
func (c Channel) Send(m Message, fds ...int) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for {
		err = unix.Sendmsg(c.FD, b, oob, nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}

// Receive returns the next message and the descriptors that came with it.
func (c Channel) Receive() (Message, []int, error) {
	var m Message
	b := make([]byte, 16<<10)
	oob := make([]byte, unix.CmsgSpace(4*4))
	var n, oobn int
	var err error
	for {
		n, oobn, _, _, err = unix.Recvmsg(c.FD, b, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err == unix.EAGAIN {
		return m, nil, errors.New("the other process does not answer")
	}
	if err != nil {
		return m, nil, err
	}
	if n == 0 {
		return m, nil, ErrGone
	}
	var fds []int
	if oobn > 0 {
		scms, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			return m, nil, err
		}
		for i := range scms {
			got, err := unix.ParseUnixRights(&scms[i])
			if err == nil {
				fds = append(fds, got...)
			}
		}
	}
	if err := json.Unmarshal(b[:n], &m); err != nil {
		return m, fds, err
	}
	if m.Error != "" {
		return m, fds, errors.New(m.Error)
	}
	return m, fds, nil
}

// Expect receives a message and checks what it is.
func (c Channel) Expect(do string) (Message, []int, error) {
	m, fds, err := c.Receive()
	if err == nil && m.Do != do {
		err = fmt.Errorf("expected the message %q, got %q", do, m.Do)
	}
	return m, fds, err
}

// inherited lists the descriptors above 2 that this process was given and will
// pass on to the command, by number.
func inherited() map[int]bool {
	open := map[int]bool{}
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return open
	}
	for _, d := range names {
		n := 0
		for _, c := range d.Name() {
			n = n*10 + int(c-'0')
		}
		if n <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			open[n] = true
		}
	}
	return open
}

// ExtraFiles returns the files that a child gets above 2 so that all inherited
// descriptors keep their numbers and those given get the lowest free ones. The
// caller closes the files after the start.
func ExtraFiles(fds ...int) (files []*os.File, places []int, err error) {
	have := inherited()
	for n := 3; len(places) < len(fds); n++ {
		if n > 1<<14 {
			return files, nil, errors.New("no free descriptor for the child")
		}
		from := n
		if !have[n] {
			from = fds[len(places)]
			places = append(places, n)
		}
		fd, err := unix.FcntlInt(uintptr(from), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return files, nil, fmt.Errorf("duplicating a descriptor: %w", err)
		}
		files = append(files, os.NewFile(uintptr(fd), "passed"))
	}
	return files, places, nil
}
