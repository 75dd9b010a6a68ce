package trace

import (
	"cmp"
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
	var taken Backend
	tried := each(method, func(b Backend) (done bool, err error) {
		if err = b.Probe(ctx); err == nil {
			taken = b
		}
		return err == nil, err
	})
	return taken, tried
}

// each calls f for the back-ends of a method, until it is done.
func each(method string, f func(Backend) (done bool, err error)) []Attempt {
	disabled := strings.Split(os.Getenv(DisableEnv), ",")
	var tried []Attempt
	for _, b := range backends() {
		if method != "" && method != "auto" && method != b.Name() {
			continue
		}
		done, err := false, errDisabled
		if !slices.Contains(disabled, b.Name()) {
			done, err = f(b)
		}
		tried = append(tried, Attempt{Name: b.Name(), Err: err})
		if done {
			return tried
		}
	}
	if len(tried) == 0 {
		tried = []Attempt{{Name: method, Err: fmt.Errorf("no such way of capturing on this system; use one of: auto, %s", strings.Join(Methods(), ", "))}}
	}
	return tried
}

// First returns a Backend that runs a command under the first of the back-ends
// of a method that works here. It does not ask them before: each proves itself
// by its canary when the command is ready to start, which is as safe and takes
// half the time. When none works, the error of Run is a NoneError.
func First(method string) Backend { return first{method} }

type first struct{ method string }

func (f first) Name() string { return cmp.Or(f.method, "auto") }

func (f first) Probe(ctx context.Context) error {
	if b, tried := Select(ctx, f.method); b == nil {
		return &NoneError{tried}
	}
	return nil
}

func (f first) Run(ctx context.Context, c Command, sink func(Event)) (out Outcome, err error) {
	tried := each(f.method, func(b Backend) (bool, error) {
		if out, err = b.Run(ctx, c, sink); err == nil {
			return true, nil
		}
		var own *CommandError
		return errors.As(err, &own) || ctx.Err() != nil, err
	})
	out.Tried = tried
	var own *CommandError
	if last := tried[len(tried)-1].Err; last != nil && !errors.As(last, &own) {
		return out, &NoneError{tried}
	}
	return out, err
}

// NoneError says that no back-end works here, and why each does not.
type NoneError struct{ Tried []Attempt }

func (e *NoneError) Error() string {
	var why []string
	for _, t := range e.Tried {
		why = append(why, fmt.Sprintf("%s: %v", t.Name, t.Err))
	}
	return "no way of following the command works here (" + strings.Join(why, "; ") + ")"
}

// CommandError says that the command itself cannot be started, under no
// back-end.
type CommandError struct{ err error }

func (e *CommandError) Error() string { return e.err.Error() }

// Unwrap gives the system's error.
func (e *CommandError) Unwrap() error { return e.err }
