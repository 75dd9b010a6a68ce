package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

var answersAt = regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+`)

// answering NAME PROGRAM ARG… begins a server, and sets NAME to the address
// that it says on standard error. It is stopped at the end of the script, or
// by quit.
func answering(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: answering NAME PROGRAM ARG…")
	}
	c := exec.Command(args[1], args[2:]...)
	c.Dir = ts.MkAbs(".")
	c.Env = append(os.Environ(), "STEMMA_CONFIG="+ts.Getenv("STEMMA_CONFIG"), "HOME="+ts.Getenv("HOME"), "XDG_CACHE_HOME="+ts.Getenv("XDG_CACHE_HOME"))
	says, err := c.StderrPipe()
	ts.Check(err)
	ts.Check(c.Start())
	ended := false
	stop := func() {
		if !ended {
			ended = true
			ts.Check(c.Process.Signal(syscall.SIGTERM))
			if err := c.Wait(); err != nil {
				ts.Fatalf("%s ended with %v", strings.Join(args[1:], " "), err)
			}
		}
	}
	ts.Defer(stop)
	answerers[ts.Getenv("WORK")+args[0]] = stop
	var all strings.Builder
	for lines := bufio.NewScanner(says); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		if url := answersAt.FindString(lines.Text()); url != "" {
			ts.Setenv(args[0], url)
			go func() { _, _ = io.Copy(io.Discard, says) }()
			return
		}
	}
	ended = true
	ts.Fatalf("%s says no address: %s %v", strings.Join(args[1:], " "), &all, c.Wait())
}

var answerers = map[string]func(){} // scripts run one after the other

// quit NAME stops what answering began.
func quit(ts *testscript.TestScript, neg bool, args []string) {
	if stop := answerers[ts.Getenv("WORK")+strings.Join(args, " ")]; !neg && stop != nil {
		stop()
		return
	}
	ts.Fatalf("usage: quit NAME, of something that answers")
}
