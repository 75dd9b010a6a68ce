//go:build linux && (amd64 || arm64)

package trace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxPath is PATH_MAX of Linux, with the final zero.
const maxPath = 4096

var errTooLong = errors.New("text without an end")

// memory reads from other processes. It belongs to one goroutine and keeps its
// buffers, so that a call costs no allocation but that of its path.
type memory struct {
	local  [1]unix.Iovec
	remote [1]unix.RemoteIovec
	buf    [maxPath]byte
	name   [64]byte
	link   [maxPath]byte
}

// read fills b from the address in the thread's memory. It returns how many
// bytes could be read; less than asked for is an error only when it is none.
func (m *memory) read(tid int, addr uint64, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	m.local[0].Base = &b[0]
	m.local[0].SetLen(len(b))
	m.remote[0] = unix.RemoteIovec{Base: uintptr(addr), Len: len(b)}
	n, err := unix.ProcessVMReadv(tid, m.local[:], m.remote[:], 0)
	if err == nil || (err != unix.EPERM && err != unix.ENOSYS) {
		return n, err
	}
	fd, err2 := unix.Open("/proc/"+strconv.Itoa(tid)+"/mem", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err2 != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return unix.Pread(fd, b, int64(addr))
}

// text reads a zero-terminated text of at most limit bytes. It never reads
// across the border of a page that it need not touch.
func (m *memory) text(tid int, addr uint64, limit int) (string, error) {
	const page = 4096
	limit = min(limit, len(m.buf))
	if addr == 0 {
		return "", unix.EFAULT
	}
	n := 0
	for step := 256; n < limit; step = page {
		want := min(step, limit-n, page-int((addr+uint64(n))%page))
		got, err := m.read(tid, addr+uint64(n), m.buf[n:n+want])
		if err != nil {
			return "", err
		}
		if got <= 0 {
			return "", unix.EFAULT
		}
		if i := bytes.IndexByte(m.buf[n:n+got], 0); i >= 0 {
			return string(m.buf[:n+i]), nil
		}
		n += got
	}
	return string(m.buf[:n]), errTooLong
}

// Limits of the arguments that are kept of one exec.
const (
	maxArgvCount = 1024
	maxArgvBytes = 64 << 10
)

// argv reads the arguments of an exec. word is the size of a pointer there.
func (m *memory) argv(tid int, addr uint64, word int) (args []string, note string) {
	if addr == 0 {
		return nil, ""
	}
	var block [512]byte
	total := 0
	for {
		want := min(len(block), 4096-int(addr%4096))
		want -= want % word
		if want == 0 {
			want = word
		}
		got, err := m.read(tid, addr, block[:want])
		if err != nil || got < word {
			return args, "arguments not readable"
		}
		for i := 0; i+word <= got; i += word {
			p := uint64(binary.LittleEndian.Uint32(block[i:]))
			if word == 8 {
				p = binary.LittleEndian.Uint64(block[i:])
			}
			if p == 0 {
				return args, ""
			}
			s, err := m.text(tid, p, maxPath)
			if err != nil && err != errTooLong {
				return args, "arguments not readable"
			}
			total += len(s)
			if len(args) >= maxArgvCount || total > maxArgvBytes {
				return args, "further arguments left out"
			}
			args = append(args, s)
		}
		addr += uint64(got - got%word)
	}
}

// procLink reads the symbolic link /proc/ID/what, or /proc/ID/fd/N.
func (m *memory) procLink(id int, what string, fd int) (string, error) {
	b := append(m.name[:0], "/proc/"...)
	b = strconv.AppendInt(b, int64(id), 10)
	b = append(b, '/')
	b = append(b, what...)
	if fd >= 0 {
		b = append(b, '/')
		b = strconv.AppendInt(b, int64(fd), 10)
	}
	b = append(b, 0)
	n, _, errno := unix.Syscall6(unix.SYS_READLINKAT, ^uintptr(99), uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&m.link[0])), uintptr(len(m.link)), 0, 0)
	if errno != 0 {
		return "", errno
	}
	return string(m.link[:n]), nil
}

// status reads the thread group and the parent's thread group of a thread.
func (m *memory) status(tid int) (tgid, ppid int, err error) {
	fd, err := unix.Open("/proc/"+strconv.Itoa(tid)+"/status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, 0, err
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, m.link[:2048])
	if err != nil {
		return 0, 0, err
	}
	b := m.link[:n]
	tgid, ppid = field(b, "\nTgid:\t"), field(b, "\nPPid:\t")
	if tgid <= 0 {
		return 0, 0, unix.ESRCH
	}
	return tgid, ppid, nil
}

func field(b []byte, name string) int {
	i := bytes.Index(b, []byte(name))
	if i < 0 {
		return 0
	}
	n := 0
	for _, c := range b[i+len(name):] {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}

func parentOf(pid int) int {
	var m memory
	_, ppid, _ := m.status(pid)
	return ppid
}
