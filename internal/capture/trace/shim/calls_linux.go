//go:build linux && (amd64 || arm64)

package shim

// Call is what a watched system call does, with the layout of its arguments.
type Call uint8

// The watched calls.
const (
	CallOpen Call = iota + 1
	CallCreat
	CallOpenat
	CallOpenat2
	CallRename
	CallRenameat
	CallRenameat2
	CallLink
	CallLinkat
	CallSymlink
	CallSymlinkat
	CallUnlink
	CallUnlinkat
	CallTruncate
	CallExecve
	CallExecveat
	CallConnect
	CallIOUring
	CallHandle
	CallMemfd
	CallPtrace
	CallSetns
	CallUnshare
	CallMount
	CallChdir   // the folder of relative paths
	CallRoot    // chroot, pivot_root: absolute paths mean something else afterwards
	CallSeccomp // only when it asks for a listener of its own
)

// abi is one table of system calls: the architecture as the audit subsystem
// numbers it, and the watched numbers.
type abi struct {
	arch  uint32
	calls map[uint32]Call
}

// NativeArch and CompatArch are the architectures, as the audit subsystem
// numbers them, of the programs of this machine and of its 32-bit programs.
var NativeArch, CompatArch = native.arch, compat.arch

// Watched tells what the call with a number does, 0 when it is not watched, and
// whether it belongs to another ABI than that of this machine's programs.
func Watched(arch uint32, nr uint32) (c Call, foreign bool) {
	switch arch {
	case native.arch:
		if c, ok := native.calls[nr]; ok {
			return c, false
		}
		return x32Calls[nr], true
	case compat.arch:
		return compat.calls[nr], true
	}
	return 0, true
}
