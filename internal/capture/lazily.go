package capture

import (
	"regexp"
	"sync"
)

// lazily compiles a regular expression when it is first asked, because the
// command waits for whatever is done before.
func lazily(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
