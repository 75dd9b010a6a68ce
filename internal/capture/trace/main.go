package trace

import (
	"os"
	"slices"
)

// The first arguments by which the program's own binary is called to stand in
// for one of the helper processes.
const (
	shimArg   = "__stemma-trace-shim"   // becomes the command
	keeperArg = "__stemma-trace-keeper" // answers the kernel when the recorder is gone
	tracerArg = "__stemma-trace-tracer" // traces the command's processes by ptrace
)

func isHidden(arg string) bool {
	return slices.Contains([]string{shimArg, keeperArg, tracerArg}, arg)
}

// Main stands in for a helper process when the program was called as one, and
// then returns true when that process has done its work: the caller returns
// from main. It must be called at the very start of main, and of TestMain,
// because the back-ends run the program's own binary again.
func Main() bool {
	if len(os.Args) < 2 || !isHidden(os.Args[1]) {
		return false
	}
	helper(os.Args[1], os.Args[2:])
	return true
}
