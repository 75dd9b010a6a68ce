//go:build linux && (amd64 || arm64)

package shim

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Places in struct seccomp_data, see seccomp(2).
const (
	dataNr   = 0
	dataArch = 4
	dataArg1 = 24 // the low word, on little-endian machines
	dataArg2 = 32
)

// filter returns the program that answers watched calls with action and lets
// all others pass untouched.
func filter(action uint32) []unix.SockFilter {
	load := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: k}
	}
	jump := func(op uint16, k uint32, yes, no int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jt: uint8(yes), Jf: uint8(no), K: k}
	}
	ret := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
	}
	block := func(numbers ...uint32) []unix.SockFilter {
		slices.Sort(numbers)
		p := []unix.SockFilter{load(dataNr)}
		for _, nr := range numbers {
			p = append(p, jump(unix.BPF_JEQ, nr, 0, 1), ret(action))
		}
		return p
	}
	// opens watches a call that opens a file, unless it only names the file
	// (O_PATH) and can neither read nor write it.
	opens := func(nr, flags uint32) []unix.SockFilter {
		return []unix.SockFilter{jump(unix.BPF_JEQ, nr, 0, 4), load(flags), jump(unix.BPF_JSET, unix.O_PATH, 0, 1), ret(unix.SECCOMP_RET_ALLOW), ret(action)}
	}
	var numbers []uint32
	for nr, c := range native.calls {
		switch c {
		case CallSeccomp, CallOpen, CallOpenat:
		default:
			numbers = append(numbers, nr)
		}
	}
	numbers = append(numbers, slices.Collect(maps.Keys(x32Calls))...)
	first := block(numbers...)
	for nr, c := range native.calls {
		switch c {
		case CallOpen:
			first = append(first, opens(nr, dataArg1)...)
		case CallOpenat:
			first = append(first, opens(nr, dataArg2)...)
		}
	}
	first = append(first,
		jump(unix.BPF_JEQ, unix.SYS_SECCOMP, 0, 3), load(dataArg1),
		jump(unix.BPF_JSET, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, 0, 1), ret(action),
		ret(unix.SECCOMP_RET_ALLOW))
	second := append(block(slices.Collect(maps.Keys(compat.calls))...), ret(unix.SECCOMP_RET_ALLOW))
	p := []unix.SockFilter{load(dataArch), jump(unix.BPF_JEQ, native.arch, 0, len(first))}
	p = append(p, first...)
	p = append(p, jump(unix.BPF_JEQ, compat.arch, 1, 0), ret(unix.SECCOMP_RET_ALLOW))
	return append(p, second...)
}

// install puts the filter on the calling thread. It first tries without
// no_new_privs, which is allowed to CAP_SYS_ADMIN and leaves setuid programs
// their rights; noNewPrivs tells whether that failed. With listener it returns
// the descriptor at which the calls are answered.
func install(listener bool) (fd int, noNewPrivs bool, err error) {
	action := uint32(unix.SECCOMP_RET_TRACE)
	// SPEC_ALLOW keeps Linux before 5.16 from slowing down all computation of
	// the command for the sake of a sandbox, which this is not.
	tries := []uintptr{unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, 0}
	if listener {
		action = unix.SECCOMP_RET_USER_NOTIF
		// The last flag, of Linux 5.19, keeps a signal from breaking off a
		// call that is being looked at.
		const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		tries = []uintptr{flags | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, flags}
	}
	p := filter(action)
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	defer runtime.KeepAlive(p)
	for _, flags := range tries {
		r, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
		if errno == unix.EACCES {
			if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
				return -1, true, fmt.Errorf("setting no_new_privs: %w", err)
			}
			noNewPrivs = true
			r, _, errno = unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
		}
		if errno == 0 {
			if v, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && v == 1 {
				noNewPrivs = true
			}
			return int(r), noNewPrivs, nil
		}
		if errno != unix.EINVAL {
			return -1, noNewPrivs, fmt.Errorf("installing the seccomp filter: %w", errno)
		}
		err = fmt.Errorf("installing the seccomp filter: %w", errno)
	}
	return -1, noNewPrivs, err
}
