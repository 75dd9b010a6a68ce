package trace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// DisableEnv names the variable that lists, with commas, the back-ends that
// Select must not try.
const DisableEnv = "STEMMA_TRACE_DISABLE"

// errDisabled is the reason of an Attempt that DisableEnv forbids.
var errDisabled = errors.New("disabled by " + DisableEnv)

// Methods lists the names of the back-ends that Select tries, best first.
func Methods() []string {
	var names []string
	for _, b := range backends() {
		names = append(names, b.Name())
	}
	return names
}

// Select returns the first back-end that works here, and what was tried. The
// method "" or "auto" tries all in the order of Methods; a name takes only that
// one, without falling back: the Backend is nil when it does not work.
func Select(ctx context.Context, method string) (Backend, []Attempt) {
	disabled := strings.Split(os.Getenv(DisableEnv), ",")
	var tried []Attempt
	for _, b := range backends() {
		if method != "" && method != "auto" && method != b.Name() {
			continue
		}
		err := errDisabled
		if !slices.Contains(disabled, b.Name()) {
			err = b.Probe(ctx)
		}
		tried = append(tried, Attempt{Name: b.Name(), Err: err})
		if err == nil {
			return b, tried
		}
	}
	if len(tried) == 0 {
		tried = []Attempt{{Name: method, Err: fmt.Errorf("no such way of capturing on this system; use one of: auto, %s", strings.Join(Methods(), ", "))}}
	}
	return nil, tried
}
