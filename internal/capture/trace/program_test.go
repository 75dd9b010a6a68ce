package trace_test

import (
	"fmt"
	"os"
)

// program is what the test binary does when it is called as one of the tests'
// programs.
func program(name string, args []string) int {
	switch name {
	case "copy": // from, to
		b, err := os.ReadFile(args[0])
		if err == nil {
			err = os.WriteFile(args[1], b, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	return 2
}
