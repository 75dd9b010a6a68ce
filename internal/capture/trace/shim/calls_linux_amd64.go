package shim

import "golang.org/x/sys/unix"

var native = abi{arch: unix.AUDIT_ARCH_X86_64, calls: map[uint32]Call{
	unix.SYS_OPEN:              CallOpen,
	unix.SYS_CREAT:             CallCreat,
	unix.SYS_OPENAT:            CallOpenat,
	unix.SYS_OPENAT2:           CallOpenat2,
	unix.SYS_RENAME:            CallRename,
	unix.SYS_RENAMEAT:          CallRenameat,
	unix.SYS_RENAMEAT2:         CallRenameat2,
	unix.SYS_LINK:              CallLink,
	unix.SYS_LINKAT:            CallLinkat,
	unix.SYS_SYMLINK:           CallSymlink,
	unix.SYS_SYMLINKAT:         CallSymlinkat,
	unix.SYS_UNLINK:            CallUnlink,
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

// compat is the i386 table, arch/x86/entry/syscalls/syscall_32.tbl of Linux.
var compat = abi{arch: unix.AUDIT_ARCH_I386, calls: map[uint32]Call{
	5: CallOpen, 8: CallCreat, 9: CallLink, 10: CallUnlink, 11: CallExecve, 12: CallChdir, 38: CallRename,
	83: CallSymlink, 92: CallTruncate, 133: CallChdir, 193: CallTruncate, 295: CallOpenat, 301: CallUnlinkat,
	302: CallRenameat, 303: CallLinkat, 304: CallSymlinkat, 353: CallRenameat2, 358: CallExecveat,
	362: CallConnect, 425: CallIOUring, 342: CallHandle, 437: CallOpenat2,
}}

// x32Bit marks the numbers of the x32 ABI, which shares the native one's
// architecture. Its execve is 520 and its execveat 545.
const x32Bit = 0x40000000

var x32Calls = map[uint32]Call{
	x32Bit + unix.SYS_OPEN: CallOpen, x32Bit + unix.SYS_CREAT: CallCreat, x32Bit + unix.SYS_OPENAT: CallOpenat,
	x32Bit + unix.SYS_RENAME: CallRename, x32Bit + unix.SYS_UNLINK: CallUnlink, x32Bit + unix.SYS_OPENAT2: CallOpenat2,
	x32Bit + unix.SYS_RENAMEAT: CallRenameat, x32Bit + unix.SYS_UNLINKAT: CallUnlinkat,
	x32Bit + unix.SYS_CHDIR: CallChdir, x32Bit + unix.SYS_FCHDIR: CallChdir,
}
