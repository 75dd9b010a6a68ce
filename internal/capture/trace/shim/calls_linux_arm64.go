package shim

import "golang.org/x/sys/unix"

var native = abi{arch: unix.AUDIT_ARCH_AARCH64, calls: map[uint32]Call{
	unix.SYS_OPENAT:            CallOpenat,
	unix.SYS_OPENAT2:           CallOpenat2,
	unix.SYS_RENAMEAT:          CallRenameat,
	unix.SYS_RENAMEAT2:         CallRenameat2,
	unix.SYS_LINKAT:            CallLinkat,
	unix.SYS_SYMLINKAT:         CallSymlinkat,
	unix.SYS_UNLINKAT:          CallUnlinkat,
	unix.SYS_TRUNCATE:          CallTruncate,
	unix.SYS_EXECVE:            CallExecve,
	unix.SYS_EXECVEAT:          CallExecveat,
	unix.SYS_CONNECT:           CallConnect,
	unix.SYS_IO_URING_SETUP:    CallIOUring,
	unix.SYS_OPEN_BY_HANDLE_AT: CallHandle,
	unix.SYS_MEMFD_CREATE:      CallMemfd,
	unix.SYS_PTRACE:            CallPtrace,
	unix.SYS_SETNS:             CallSetns,
	unix.SYS_UNSHARE:           CallUnshare,
	unix.SYS_MOUNT:             CallMount,
	unix.SYS_MOVE_MOUNT:        CallMount,
	unix.SYS_CHDIR:             CallChdir,
	unix.SYS_FCHDIR:            CallChdir,
	unix.SYS_CHROOT:            CallRoot,
	unix.SYS_PIVOT_ROOT:        CallRoot,
	unix.SYS_SECCOMP:           CallSeccomp,
}}

// compat is the 32-bit ARM table, arch/arm/tools/syscall.tbl of Linux.
var compat = abi{arch: unix.AUDIT_ARCH_ARM, calls: map[uint32]Call{
	5: CallOpen, 8: CallCreat, 9: CallLink, 10: CallUnlink, 11: CallExecve, 12: CallChdir, 38: CallRename,
	83: CallSymlink, 92: CallTruncate, 133: CallChdir, 193: CallTruncate, 283: CallConnect, 322: CallOpenat,
	328: CallUnlinkat, 329: CallRenameat, 330: CallLinkat, 331: CallSymlinkat, 382: CallRenameat2,
	387: CallExecveat, 425: CallIOUring, 371: CallHandle, 437: CallOpenat2,
}}

const x32Bit = 0

var x32Calls map[uint32]Call
