package capture

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Spool keeps what could not be recorded yet: a file a run, with one envelope
// a line (.dsse), or one unsigned statement a line (.statement) where there
// was no key; and a mark for each run that has begun (.begun).
type Spool struct{ Dir string }

// The endings of a spool's files.
const (
	signedExt   = ".dsse"
	unsignedExt = ".statement"
	begunExt    = ".begun"
)

// maxSpooled is the largest file that is read back.
const maxSpooled = 256 << 20

// SpoolOf gives the spool of a workspace.
func SpoolOf(dir string) Spool { return Spool{filepath.Join(dir, "spool")} }

// Fallback gives the folder that takes the place of a workspace's .stemma
// folder when nothing can be written there: in the user's cache directory.
func Fallback(dir string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(real(dir)))
	return filepath.Join(cache, "stemma", "workspaces", hex.EncodeToString(sum[:8])), nil
}

// Put keeps the statements of a run, durably. Signed tells whether they are
// envelopes.
func (s Spool) Put(id string, lines [][]byte, signed bool) (string, error) {
	ext := signedExt
	if !signed {
		ext = unsignedExt
	}
	if err := durable.MkdirAll(s.Dir, 0o755); err != nil {
		return "", fmt.Errorf("spooling: %w", err)
	}
	path := filepath.Join(s.Dir, id+ext)
	if err := durable.WriteFile(path, append(bytes.Join(lines, []byte("\n")), '\n'), 0o600); err != nil {
		return "", fmt.Errorf("spooling: %w", err)
	}
	return path, nil
}

// Spooled is one file of a spool.
type Spooled struct {
	Path   string
	ID     string
	Signed bool
	Own    bool // it belongs to this user, and nobody else may write it
	Lines  [][]byte
}

// List gives what is spooled, oldest first.
func (s Spool) List() ([]Spooled, error) {
	list, err := os.ReadDir(s.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the spool: %w", err)
	}
	type dated struct {
		Spooled
		at time.Time
	}
	var out []dated
	for _, e := range list {
		id, signed := strings.CutSuffix(e.Name(), signedExt)
		if !signed {
			var ok bool
			if id, ok = strings.CutSuffix(e.Name(), unsignedExt); !ok {
				continue
			}
		}
		st, err := e.Info()
		if err != nil || !st.Mode().IsRegular() || st.Size() > maxSpooled || strings.HasPrefix(id, ".") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(s.Dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading the spool: %w", err)
		}
		x := dated{Spooled{Path: filepath.Join(s.Dir, e.Name()), ID: id, Signed: signed, Own: own(st)}, st.ModTime()}
		for l := range bytes.SplitSeq(b, []byte("\n")) {
			if len(l) > 0 {
				x.Lines = append(x.Lines, l)
			}
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b dated) int { return a.at.Compare(b.at) })
	plain := make([]Spooled, len(out))
	for i := range out {
		plain[i] = out[i].Spooled
	}
	return plain, nil
}

// own tells whether a file can only have been written by this user: what is
// not signed yet must be, for it will be signed with this user's key.
func own(st os.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == os.Getuid() && st.Mode().Perm()&0o022 == 0 && sys.Nlink == 1
}

// Done takes a file out of the spool, after what it holds was recorded.
func (x Spooled) Done() error { return os.Remove(x.Path) }

// Begun is the mark of a run that has begun. It stays when the recorder is
// killed, so that the run is not forgotten.
type Begun struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"`
	Command string    `json:"command"` // secrets taken out
	Started time.Time `json:"startedAt"`
	Outer   string    `json:"outer,omitempty"`
	Pid     int       `json:"pid"`
	Since   string    `json:"since,omitempty"` // the process's start, in the kernel's count
	Path    string    `json:"-"`
}

// Mark notes that a run has begun. It is not waited for the disk: a mark that
// is lost with the machine is lost with the run.
func (s Spool) Mark(x *Capture) (string, error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return "", err
	}
	b, err := json.Marshal(Begun{ID: x.o.ID, Kind: x.o.Kind, Command: quoteArgv(cutArgv(Redact(x.command.Argv))), Started: x.started.UTC(), Outer: x.outer,
		Pid: os.Getpid(), Since: processStart(os.Getpid())})
	if err != nil {
		return "", err
	}
	path := filepath.Join(s.Dir, x.o.ID+begunExt)
	return path, os.WriteFile(path, b, 0o600)
}

// Lost gives the runs whose recorder ended before it could record them.
func (s Spool) Lost() []Begun {
	list, _ := filepath.Glob(filepath.Join(s.Dir, "*"+begunExt))
	var out []Begun
	for _, p := range list {
		st, err := os.Lstat(p)
		if err != nil || st.Size() > maxLine || !own(st) { // another user's run is for that user to tell
			continue
		}
		b, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		x := Begun{Path: p}
		if json.Unmarshal(b, &x) != nil || x.ID == "" || alive(x.Pid, x.Since) {
			continue
		}
		if _, err := prov.ParseRef(ActivityRef(x.ID).String()); err == nil {
			out = append(out, x)
		}
	}
	return out
}

// Draft says of a lost run what is known: that it began.
func (x Begun) Draft() importer.Draft {
	kind := x.Kind
	if kind == "" {
		kind = "run"
	}
	a := &statement.Activity{Kind: kind, ID: ActivityRef(x.ID).String(), StartedAt: statement.NewTime(x.Started), State: "started", InputsCompleteness: statement.BestEffort,
		Parameters: map[string]string{"command": x.Command, "capture": "lost", "capture.blind": "recorder: it ended before the run could be recorded; what the run read and wrote is not known"}}
	if x.Outer != "" {
		a.InformedBy = []statement.Resource{{Ref: ActivityRef(x.Outer).String()}}
	}
	return importer.Draft{Subjects: []statement.Subject{statement.NewSubject(ActivityRef(x.ID), nil)}, Predicate: a}
}

// Done removes the mark.
func (x Begun) Done() error { return os.Remove(x.Path) }

// alive tells whether the process of that number still is the one that left
// the mark.
func alive(pid int, since string) bool {
	if pid <= 0 || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	now := processStart(pid)
	return now == "" || since == "" || now == since
}

// processStart gives when a process began (proc(5), field 22 of stat), or "".
func processStart(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	i := bytes.LastIndexByte(b, ')') // the name may hold anything
	if i < 0 {
		return ""
	}
	if f := strings.Fields(string(b[i+1:])); len(f) > 19 {
		return f[19]
	}
	return ""
}
