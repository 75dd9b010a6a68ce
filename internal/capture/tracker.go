package capture

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/internal/capture/trace"
)

// How much of one run is kept in memory. What exceeds it is counted and told.
const (
	maxFiles     = 1 << 20
	maxPrograms  = 2000
	maxEndpoints = 2000
	maxArgv      = 8 << 10 // bytes of one command line
)

// tick is how far the clock that the kernel stamps files with may lag behind
// the clock that events are stamped with.
const tick = 20 * time.Millisecond

// file is what the processes of a run did to one path.
type file struct {
	path    string
	existed bool     // when it was first met
	first   identity // what it was then
	met     time.Time

	reads, writes int
	readFirst     bool // its content was read before the run wrote it
	keeps         bool // it was opened for writing with its content kept
	appended      bool
	executed      bool
	directory     bool
	removed       bool   // the last that happened to the name
	movedTo       string // renamed or linked to
	movedFrom     string // the path that was renamed or linked to it
	link          string // what it was made to point at, as a symbolic link
	noted         string // what the back-end could not tell

	early *content // hashed while the run was going on
}

// Tracker takes the events of one run and keeps what they come to.
type Tracker struct {
	start     time.Time
	home      *surroundings
	files     map[string]*file
	dirs      map[string]string // folders by the names they were reached by
	programs  []Program
	endpoints map[string]*Endpoint
	inner     []string     // runs within this one, by their identifiers
	own       map[int]bool // processes of Stemma, and what they started: true for those that became Stemma themselves
	early     chan<- *file
	events    int
	dropped   int // paths above maxFiles
	innerSeen int
}

// Program is one program that was started.
type Program struct {
	Path string   `json:"path"`
	Argv []string `json:"argv,omitempty"` // secrets taken out
	Pid  int      `json:"pid,omitempty"`
}

// Endpoint is an address that the run connected to.
type Endpoint struct {
	Addr  string `json:"addr"`
	Count int    `json:"count"`
	Local bool   `json:"local,omitempty"` // on this machine, or a name server
}

func newTracker(start time.Time, home *surroundings, early chan<- *file) *Tracker {
	return &Tracker{start: start, home: home, files: map[string]*file{}, dirs: map[string]string{},
		endpoints: map[string]*Endpoint{}, own: map[int]bool{}, early: early}
}

// Event takes one event. It is called from one goroutine.
func (t *Tracker) Event(e trace.Event) {
	t.events++
	if e.Sub != "" { // a run within this one, which records it
		t.innerSeen++
		if !slices.Contains(t.inner, e.Sub) {
			t.inner = append(t.inner, e.Sub)
		}
		return
	}
	if t.ours(e) {
		return
	}
	switch e.Kind {
	case trace.Read:
		t.read(e)
	case trace.Write:
		t.write(e)
	case trace.Rename:
		t.rename(e)
		if e.Flags&trace.Exchange != 0 {
			e.Path, e.To = e.To, e.Path
			t.rename(e)
		}
	case trace.Remove:
		if f := t.file(e); f != nil {
			f.removed = true
		}
	case trace.Exec:
		t.exec(e)
	case trace.Connect:
		t.connect(e.Addr)
	}
}

// ours tells whether the event is of Stemma itself, such as the recorder of a
// run within this one, which reads what it hashes and asks git. A process that
// becomes another program, as the recorder does when it cannot record, counts
// again.
func (t *Tracker) ours(e trace.Event) bool {
	if e.Kind == trace.Fork {
		if _, ok := t.own[e.Parent]; ok {
			t.own[e.Pid] = false
		}
		return true
	}
	if e.Kind == trace.Exec {
		self := path.Base(e.Path) == "stemma" || within(t.canonical(e.Path), t.home.self)
		became, own := t.own[e.Pid]
		switch {
		case self:
			t.own[e.Pid] = true
		case own && became:
			delete(t.own, e.Pid)
		}
		return self
	}
	_, own := t.own[e.Pid]
	return own
}

func (t *Tracker) read(e trace.Event) {
	f := t.file(e)
	if f == nil {
		return
	}
	if e.Flags&trace.Directory != 0 {
		f.directory = true
		return
	}
	f.reads++
	if f.writes == 0 && f.existed {
		if !f.readFirst && t.early != nil && f.first.size <= earlySize && earlyName(f.path) {
			select {
			case t.early <- f:
			default: // it is hashed after the run, as others are
			}
		}
		f.readFirst = true
	}
}

func (t *Tracker) write(e trace.Event) {
	f := t.file(e)
	if f == nil {
		return
	}
	if e.Flags&trace.Symlink != 0 {
		f.link, f.removed = e.To, false
		return
	}
	f.link = ""
	if e.Flags&trace.Truncate == 0 && f.writes == 0 && f.existed {
		f.keeps = f.keeps || e.Flags&(trace.Append|trace.ReadWrite) != 0
	}
	f.appended = f.appended || e.Flags&trace.Append != 0
	f.writes++
	f.removed = false
}

// rename takes a file, or all that lies in a folder, to its new name. The old
// name stays known: that it is still there, as after a hard link or a rename
// that failed, shows when the run has ended.
func (t *Tracker) rename(e trace.Event) {
	from, to := t.canonical(e.Path), t.canonical(e.To)
	if st, err := os.Lstat(from); err == nil && st.IsDir() || err != nil && isDir(to) {
		var inside []*file
		for p, f := range t.files {
			if strings.HasPrefix(p, from+"/") {
				inside = append(inside, f)
			}
		}
		for _, f := range inside {
			t.move(f, to+f.path[len(from):])
		}
		return
	}
	if f := t.file(e); f != nil {
		t.move(f, to)
	}
}

func (t *Tracker) move(f *file, to string) {
	if f.path == to {
		return
	}
	d := t.at(to)
	if d == nil {
		return
	}
	if f.writes == 0 && f.existed {
		f.readFirst = true // what it held is what the new name holds
	}
	f.movedTo, d.movedFrom = to, f.path
	d.writes++
	d.removed = false
	d.keeps = false
}

func isDir(path string) bool {
	st, err := os.Lstat(path)
	return err == nil && st.IsDir()
}

func (t *Tracker) exec(e trace.Event) {
	f := t.file(e)
	if f == nil {
		return
	}
	f.executed = true
	if f.writes == 0 && f.existed {
		f.readFirst = true
	}
	if len(t.programs) < maxPrograms && f.existed {
		t.programs = append(t.programs, Program{Path: f.path, Argv: cutArgv(Redact(e.Argv)), Pid: e.Pid})
	}
}

func cutArgv(argv []string) []string {
	n := 0
	for i, a := range argv {
		if n += len(a); n > maxArgv {
			return append(argv[:i:i], "…")
		}
	}
	return argv
}

func (t *Tracker) connect(addr string) {
	if p := t.endpoints[addr]; p != nil {
		p.Count++
	} else if len(t.endpoints) < maxEndpoints {
		t.endpoints[addr] = &Endpoint{Addr: addr, Count: 1, Local: local(addr)}
	} else {
		t.dropped++
	}
}

// file gives what is known of the event's path.
func (t *Tracker) file(e trace.Event) *file {
	if e.Path == "" {
		t.dropped++
		return nil
	}
	f := t.at(t.canonical(e.Path))
	if f != nil && e.Note != "" {
		f.noted = e.Note
	}
	return f
}

func (t *Tracker) at(path string) *file {
	if f := t.files[path]; f != nil {
		return f
	}
	if len(t.files) >= maxFiles {
		t.dropped++
		return nil
	}
	f := &file{path: path, met: time.Now()}
	if !kernel(path) {
		f.first, f.existed = identify(path)
		f.directory = f.existed && f.first.dir
	}
	t.files[path] = f
	return f
}

// stood tells what a file was when the run began, unless that is known already.
func (t *Tracker) stood(path string, state identity) {
	path = t.canonical(path)
	met := t.files[path] != nil
	if f := t.at(path); f != nil && (!met || !f.existed && f.writes == 0) {
		f.first, f.existed, f.directory = state, true, false
	}
}

// canonical gives the path with the links of its folders resolved, so that a
// file has one name. The last part is kept as it was written: latest.ckpt is
// a name of its own even where it is a link.
func (t *Tracker) canonical(path string) string {
	dir, base := filepath.Split(path)
	if dir == "" || dir == "/" || base == "" {
		return filepath.Clean(path)
	}
	real, ok := t.dirs[dir]
	if !ok {
		var err error
		if kernel(dir) {
			real = filepath.Clean(dir)
		} else if real, err = filepath.EvalSymlinks(dir); err != nil {
			return filepath.Clean(path) // the folder may be made later
		}
		t.dirs[dir] = real
	}
	if real == "/" {
		return "/" + base
	}
	return real + "/" + base
}

// kernel tells whether the path is no file of a disk.
func kernel(path string) bool {
	return strings.HasPrefix(path, "/proc/") || strings.HasPrefix(path, "/sys/") ||
		strings.HasPrefix(path, "/dev/") && !strings.HasPrefix(path, "/dev/shm/")
}
