package trace

import (
	"os"
	"slices"

	"github.com/stemma-lineage/stemma/internal/capture/trace/shim"
)

// tracerArg is the first argument by which the program's own binary is called
// to trace the command's processes by ptrace.
const tracerArg = "__stemma-trace-tracer"

func isHidden(arg string) bool {
	return slices.Contains([]string{shim.Arg, shim.KeeperArg, tracerArg}, arg)
}

// Main stands in for the tracer when the program was called as one, and then
// returns true when that process has done its work: the caller returns from
// main. It must be called at the very start of main, and of TestMain, because
// the back-ends run the program's own binary again.
func Main() bool {
	if len(os.Args) < 2 || os.Args[1] != tracerArg {
		return false
	}
	os.Exit(tracer(os.Args[2:]))
	return true
}
