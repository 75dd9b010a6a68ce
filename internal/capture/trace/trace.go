// Package trace runs a command and tells which files its process tree opened,
// wrote, renamed and removed, what it executed and where it connected. It
// records evidence; it is no sandbox: a process that wants to hide can race
// the reading of a path.
//
// Five back-ends do it, and each is proved by opening a sentinel before it is
// trusted:
//
//   - outer: inside of another run, that run tells what this command does.
//   - seccomp-notify: the kernel asks the recorder at each watched call.
//   - seccomp-ptrace: a filter stops the process at watched calls for a tracer.
//   - ptrace: a tracer stops the process at every call, and knows the result.
//   - snapshot: the workspace is compared before and after, and Python programs
//     tell what they open.
//
// The processes, on Linux:
//
//	recorder ── the caller; parent of the command; answers notifications
//	├─ shim ─── our binary again, which prepares itself and then becomes the command
//	├─ keeper ─ seccomp-notify: answers when the recorder is stopped or gone
//	└─ tracer ─ ptrace: traces; goes on when the recorder is gone
//
// Keeper and tracer have a session of their own, so that no key of the terminal
// reaches them, and stay as long as a process of the tree lives.
//
// What cannot be had: under seccomp-notify, when recorder and keeper are both
// killed (SIGKILL), and under seccomp-ptrace, when the tracer is, watched calls
// of the command fail with ENOSYS. Under ptrace no death does harm. A signal
// other than SIGHUP and SIGINT that the caller was started to ignore is not
// ignored by the command, because the Go runtime does not keep that.
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
	Fork                    // Pid was seen for the first time, started by Parent
	Exit                    // Pid ended
	SubRun                  // Pid is the root of a nested run that calls itself Sub
)

// Event is one thing that a process of the tree did, or tried to do: back-ends
// that see calls on entry cannot tell whether they succeeded. Of every process
// its Fork comes first; then, in the order of each process, what it did.
type Event struct {
	Kind   Kind
	Pid    int // thread group
	Parent int // the parent's thread group where it is known, else 0
	// Sub is the identifier of the nested run that the process belongs to, or
	// empty. That run records the event too.
	Sub   string
	At    time.Time
	Path  string   // absolute and clean, resolved by the process's own directory
	To    string   // the new path of a Rename; the target of a Symlink
	Flags Flag     // of Read and Write
	Argv  []string // of Exec, as passed; the caller redacts
	Addr  string   // of Connect: "tcp 192.0.2.1:443", "udp …", "unix /run/x.sock"
	Note  string   // what could not be told, such as "path not readable"
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
	HardLink // a Rename after which Path is still there
	Symlink  // a Write that made the symbolic link Path to To
	Exchange // a Rename that also made To into Path
)

// Command is what to run. Signals, terminal, process group, umask, limits and
// inherited descriptors are those of the caller.
type Command struct {
	// Argv[0] without a slash is looked up in the caller's PATH; with one it is
	// relative to Dir. The process sees Argv as it stands.
	Argv []string
	Dir  string   // working directory; empty: the caller's
	Env  []string // the whole environment; nil: the caller's
	// Files are passed as they are. With any other reader or writer Run returns
	// only when every process that holds the pipe has ended.
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	// Workspace is the folder that a back-end compares before and after when
	// it cannot follow calls.
	Workspace string
	// ID is the identifier of this run. An outer run is told it.
	ID string
	// Socket is the path at which this run serves runs nested in it, at most
	// 100 bytes, in a folder of the caller's that nobody else may write. Run
	// makes the socket, passes its path to the command as STEMMA_SOCKET and
	// removes it. Empty: nested runs are not told apart.
	Socket string
}

// SocketEnv names the variable that leads a nested run to the outer one.
const SocketEnv = "STEMMA_SOCKET"

// Outcome is how the command ended and how far its events can be relied on.
type Outcome struct {
	State    *os.ProcessState // nil when it never started
	Backend  string           // the name of the back-end that was used
	Complete bool             // every watched call of the tree was seen
	// Blind lists what the back-end could not see, in plain words and a stable
	// class, such as {"io_uring", "pid 12 set up io_uring; its reads are not seen"}.
	Blind []Blind
	Calls int       // watched calls that were seen, for the overhead's report
	Tried []Attempt // of First: the back-ends that were tried, the one that was taken last
}

// Blind is one blind spot. The classes are listed at the Blind constants.
type Blind struct{ Class, Detail string }

// The classes of blind spots. Those up to BlindOuter leave the outcome
// incomplete; the others name a thing to know.
const (
	BlindSnapshot  = "snapshot"    // calls were not followed at all
	BlindIOUring   = "io_uring"    // files may have been opened by a ring
	BlindABI       = "abi"         // a program of another ABI ran: some of its calls are not seen
	BlindHandle    = "file-handle" // a file was opened by its handle, without a path
	BlindPath      = "unreadable"  // the path of a call could not be read
	BlindNamespace = "namespace"   // a process has another view of the files, so its paths mean other files
	BlindListener  = "listener"    // a program wanted a seccomp listener of its own and was refused
	BlindOverflow  = "overflow"    // events were dropped: they came faster than they were taken
	BlindStalled   = "stalled"     // the recorder stood still, so calls went on unseen
	BlindRecorder  = "recorder"    // a process of the recorder died
	BlindLeft      = "left-behind" // processes outlived the command and were not followed further
	BlindOuter     = "outer"       // the outer run ended first
	BlindSetuid    = "setuid"      // a program could not gain the rights of its file
	BlindMemfd     = "memfd"       // a file without a name was made in memory
	BlindPtrace    = "ptrace"      // a process traced another, and may have changed its calls
	BlindMount     = "mount"       // a file system was mounted: paths may mean other files afterwards
)

// Backend runs a command and reports what its tree does.
type Backend interface {
	// Name is "seccomp-notify", "seccomp-ptrace", "ptrace", "snapshot" or "outer".
	Name() string
	// Probe proves that the back-end works here and now by a canary: a process
	// of ours opens a sentinel path, and the back-end must report it. The error
	// says why it cannot be used.
	Probe(ctx context.Context) error
	// Run starts the command, once the canary has proved here too that calls are
	// seen, and calls sink for each event, from one goroutine,
	// until the whole tree has ended or the command has ended and what it left
	// behind is no longer followed (then that is a Blind). An error is returned
	// only when the command was not started (a CommandError when that is the
	// command's own fault); what fails later is a Blind, and the command goes on. The end of ctx does not end the command: it prevents
	// only the start. While the command runs, SIGINT and SIGQUIT that the
	// terminal sends are left to the command, and SIGTERM and SIGHUP are passed
	// on to it.
	Run(ctx context.Context, c Command, sink func(Event)) (Outcome, error)
}

// Attempt is one back-end that was tried and why it was not taken.
type Attempt struct {
	Name string
	Err  error // nil for the one that was taken
}
