package capture

import (
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// standard is a file that the command was given as its standard input or
// output, so that nobody sees it open it.
type standard struct {
	file  *os.File
	path  string
	state identity // when the run began
	at    int64    // the offset then, which is shared with the command
	adds  bool     // all that is written is appended
}

// standardOf gives the file behind a reader or writer, or nil when it is none
// that has a name, such as a terminal or a pipe.
func standardOf(x any) *standard {
	s := &standard{}
	var ok bool
	if s.file, ok = x.(*os.File); !ok || s.file == nil {
		return nil
	}
	var st unix.Stat_t
	s.control(func(fd int) {
		if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			return
		}
		s.path, _ = os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
		s.at, _ = unix.Seek(fd, 0, io.SeekCurrent)
		flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		s.adds = flags&unix.O_APPEND != 0
	})
	if s.path == "" {
		return nil
	}
	// A name that leads elsewhere is that of a file that was removed or replaced.
	if s.state, ok = identify(s.path); !ok || s.state.ino != st.Ino || s.state.dev != st.Dev {
		return nil
	}
	return s
}

func (s *standard) control(f func(fd int)) {
	if c, err := s.file.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// moved tells whether the file was read or written since.
func (s *standard) moved() bool {
	now := s.at
	s.control(func(fd int) { now, _ = unix.Seek(fd, 0, io.SeekCurrent) })
	return now != s.at
}

// shared tells whether it is the output of commands before this one, too, as
// that of a script that was started with its output in a file.
func (s *standard) shared() bool { return s.at > 0 && !s.adds }

// is tells whether two are one file.
func (s *standard) is(o *standard) bool {
	return o != nil && s.state.dev == o.state.dev && s.state.ino == o.state.ino
}
