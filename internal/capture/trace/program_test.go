package trace_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/internal/capture/trace"
)

// recorded is what the program "record" writes about its run.
type recorded struct {
	Backend  string
	Tried    []string
	Complete bool
	Blind    []trace.Blind
	Lines    []string
	Subs     []string // identifiers of nested runs
	InSub    []string // lines of what nested runs did
	Calls    int
}

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
	case "record": // method, socket, id, report, command
		return record(args)
	case "slow": // folder, count, milliseconds: opens and writes for a while
		return slow(args)
	}
	return 2
}

// record is a recorder that is not the test's own process, so that it can be
// killed, stopped or nested.
func record(args []string) int {
	b, tried := trace.Select(context.Background(), args[0])
	var rec recorded
	for _, a := range tried {
		rec.Tried = append(rec.Tried, fmt.Sprint(a.Name, ": ", a.Err))
	}
	if b == nil {
		fmt.Fprintln(os.Stderr, tried)
		return 99
	}
	c := trace.Command{Argv: args[4:], Socket: args[1], ID: args[2], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	dir, _ := os.Getwd()
	c.Workspace = dir
	out, err := b.Run(context.Background(), c, func(e trace.Event) {
		if e.Kind == trace.SubRun {
			rec.Subs = append(rec.Subs, e.Sub)
			return
		}
		if !strings.HasPrefix(e.Path, dir+"/") {
			return
		}
		l := strings.ReplaceAll(strings.Join(lines([]trace.Event{e}), ""), dir+"/", "")
		if e.Sub != "" {
			rec.InSub = append(rec.InSub, e.Sub+": "+l)
		} else {
			rec.Lines = append(rec.Lines, l)
		}
	})
	rec.Backend, rec.Complete, rec.Blind, rec.Calls = out.Backend, out.Complete, out.Blind, out.Calls
	report, _ := json.Marshal(rec)
	os.WriteFile(args[3], report, 0o644)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 127
	case errors.Is(err, fs.ErrPermission):
		return 126
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 98
	}
	return out.State.ExitCode()
}

func slow(args []string) int {
	var n, ms int
	fmt.Sscan(args[1], &n)
	fmt.Sscan(args[2], &ms)
	for i := range n {
		name := fmt.Sprintf("%s/f%d", args[0], i)
		if err := os.WriteFile(name, []byte(name), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if b, err := os.ReadFile(name); err != nil || string(b) != name {
			fmt.Fprintln(os.Stderr, err, string(b))
			return 1
		}
		time.Sleep(time.Duration(ms) * time.Millisecond)
	}
	if err := os.WriteFile(args[0]+"/done", nil, 0o644); err != nil {
		return 1
	}
	return 0
}
