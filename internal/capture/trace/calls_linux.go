//go:build linux && (amd64 || arm64)

package trace

// call is what a watched system call does, with the layout of its arguments.
type call uint8

// The watched calls.
const (
	callOpen call = iota + 1
	callCreat
	callOpenat
	callOpenat2
	callRename
	callRenameat
	callRenameat2
	callLink
	callLinkat
	callSymlink
	callSymlinkat
	callUnlink
	callUnlinkat
	callTruncate
	callExecve
	callExecveat
	callConnect
	callIOUring
	callHandle
	callMemfd
	callPtrace
	callSetns
	callUnshare
	callMount
	callRoot    // chroot, pivot_root: absolute paths mean something else afterwards
	callSeccomp // only when it asks for a listener of its own
)

// abi is one table of system calls: the architecture as the audit subsystem
// numbers it, and the watched numbers.
type abi struct {
	arch  uint32
	calls map[uint32]call
}

// abis holds the native table first, then that of 32-bit programs.
var abis = [2]abi{native, compat}

func watched(arch uint32, nr uint32) (c call, foreign bool) {
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
