package trace

import "golang.org/x/sys/unix"

var native = abi{arch: unix.AUDIT_ARCH_X86_64, calls: map[uint32]call{
	unix.SYS_OPEN:              callOpen,
	unix.SYS_CREAT:             callCreat,
	unix.SYS_OPENAT:            callOpenat,
	unix.SYS_OPENAT2:           callOpenat2,
	unix.SYS_RENAME:            callRename,
	unix.SYS_RENAMEAT:          callRenameat,
	unix.SYS_RENAMEAT2:         callRenameat2,
	unix.SYS_LINK:              callLink,
	unix.SYS_LINKAT:            callLinkat,
	unix.SYS_SYMLINK:           callSymlink,
	unix.SYS_SYMLINKAT:         callSymlinkat,
	unix.SYS_UNLINK:            callUnlink,
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

// compat is the i386 table, arch/x86/entry/syscalls/syscall_32.tbl of Linux.
var compat = abi{arch: unix.AUDIT_ARCH_I386, calls: map[uint32]call{
	5: callOpen, 8: callCreat, 9: callLink, 10: callUnlink, 11: callExecve, 38: callRename,
	83: callSymlink, 92: callTruncate, 193: callTruncate, 295: callOpenat, 301: callUnlinkat,
	302: callRenameat, 303: callLinkat, 304: callSymlinkat, 353: callRenameat2, 358: callExecveat,
	362: callConnect, 425: callIOUring, 342: callHandle, 437: callOpenat2,
}}

// x32Bit marks the numbers of the x32 ABI, which shares the native one's
// architecture. Its execve is 520 and its execveat 545.
const x32Bit = 0x40000000

var x32Calls = map[uint32]call{
	x32Bit + unix.SYS_OPEN: callOpen, x32Bit + unix.SYS_CREAT: callCreat, x32Bit + unix.SYS_OPENAT: callOpenat,
	x32Bit + unix.SYS_RENAME: callRename, x32Bit + unix.SYS_UNLINK: callUnlink, x32Bit + unix.SYS_OPENAT2: callOpenat2,
	x32Bit + unix.SYS_RENAMEAT: callRenameat, x32Bit + unix.SYS_UNLINKAT: callUnlinkat,
}
