package trace

import "golang.org/x/sys/unix"

var native = abi{arch: unix.AUDIT_ARCH_AARCH64, calls: map[uint32]call{
	unix.SYS_OPENAT:            callOpenat,
	unix.SYS_OPENAT2:           callOpenat2,
	unix.SYS_RENAMEAT:          callRenameat,
	unix.SYS_RENAMEAT2:         callRenameat2,
	unix.SYS_LINKAT:            callLinkat,
	unix.SYS_SYMLINKAT:         callSymlinkat,
	unix.SYS_UNLINKAT:          callUnlinkat,
	unix.SYS_TRUNCATE:          callTruncate,
	unix.SYS_EXECVE:            callExecve,
	unix.SYS_EXECVEAT:          callExecveat,
	unix.SYS_CONNECT:           callConnect,
	unix.SYS_IO_URING_SETUP:    callIOUring,
	unix.SYS_OPEN_BY_HANDLE_AT: callHandle,
	unix.SYS_MEMFD_CREATE:      callMemfd,
	unix.SYS_PTRACE:            callPtrace,
	unix.SYS_SETNS:             callSetns,
	unix.SYS_UNSHARE:           callUnshare,
	unix.SYS_MOUNT:             callMount,
	unix.SYS_MOVE_MOUNT:        callMount,
	unix.SYS_CHROOT:            callRoot,
	unix.SYS_PIVOT_ROOT:        callRoot,
	unix.SYS_SECCOMP:           callSeccomp,
}}

// compat is the 32-bit ARM table, arch/arm/tools/syscall.tbl of Linux.
var compat = abi{arch: unix.AUDIT_ARCH_ARM, calls: map[uint32]call{
	5: callOpen, 8: callCreat, 9: callLink, 10: callUnlink, 11: callExecve, 38: callRename,
	83: callSymlink, 92: callTruncate, 193: callTruncate, 283: callConnect, 322: callOpenat,
	328: callUnlinkat, 329: callRenameat, 330: callLinkat, 331: callSymlinkat, 382: callRenameat2,
	387: callExecveat, 425: callIOUring, 371: callHandle, 437: callOpenat2,
}}

const x32Bit = 0

var x32Calls map[uint32]call
