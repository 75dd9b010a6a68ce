// Package trace runs a command and tells which files its process tree opened,
// wrote, renamed and removed, what it executed and where it connected. It
// records evidence; it is no sandbox: a process that wants to hide can race
// the reading of a path.
package trace

import (
	"context"
	"io"
	"os"
	"time"
)

// Kind says what an Event is about.
type Kind uint8

// The kinds of events.
const (
	Read    Kind = iota + 1 // opened for reading
	Write                   // opened for writing, created or truncated
	Rename                  // Path became To; also a hard link
	Remove                  // unlinked
	Exec                    // a program was started
	Connect                 // a socket connected to Addr
	Fork                    // Pid was started by Parent
	Exit                    // Pid ended
)

// Event is one thing that a process of the tree did, or tried to do: back-ends
// that see calls on entry cannot tell whether they succeeded.
type Event struct {
	Kind   Kind
	Pid    int // thread group
	Parent int // the parent's thread group where it is known, else 0
	At     time.Time
	Path   string   // absolute and clean, resolved by the process's own directory
	To     string   // the new path of a Rename
	Flags  Flag     // of Read and Write
	Argv   []string // of Exec, as passed; the caller redacts
	Addr   string   // of Connect: "tcp 192.0.2.1:443", "udp …", "unix /run/x.sock"
	Note   string   // what could not be told, such as "path not readable"
}

// Flag tells how a file was opened.
type Flag uint8

// The flags.
const (
	Create Flag = 1 << iota
	Truncate
	Append
	ReadWrite // opened for both: it is reported once, as Write
	Directory
)

// Command is what to run.
type Command struct {
	Argv   []string // Argv[0] is looked up in PATH
	Dir    string   // working directory; empty: the caller's
	Env    []string // the whole environment
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	// Workspace is the folder that a back-end compares before and after when
	// it cannot follow calls.
	Workspace string
}

// Outcome is how the command ended and how far its events can be relied on.
type Outcome struct {
	State    *os.ProcessState // nil when it never started
	Backend  string           // the name of the back-end that was used
	Complete bool             // every watched call of the tree was seen
	// Blind lists what the back-end could not see, in plain words and a stable
	// class, such as {"io_uring", "pid 12 set up io_uring; its reads are not seen"}.
	Blind []Blind
	Calls int // watched calls that were seen, for the overhead's report
}

// Blind is one blind spot.
type Blind struct{ Class, Detail string }

// Backend runs a command and reports what its tree does.
type Backend interface {
	// Name is "seccomp-notify", "seccomp-ptrace", "ptrace", "snapshot" or "outer".
	Name() string
	// Probe proves that the back-end works here and now by a canary: a process
	// of ours opens a sentinel path, and the back-end must report it. The error
	// says why it cannot be used.
	Probe(ctx context.Context) error
	// Run starts the command and calls sink for each event, from one goroutine,
	// until the whole tree has ended or the command has ended and what it left
	// behind is no longer followed (then that is a Blind). An error is returned
	// only when the command was not started; what fails later is a Blind, and
	// the command goes on.
	Run(ctx context.Context, c Command, sink func(Event)) (Outcome, error)
}

// Attempt is one back-end that was tried and why it was not taken.
type Attempt struct {
	Name string
	Err  error // nil for the one that was taken
}
