//go:build linux && (amd64 || arm64)

package trace

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/internal/capture/trace/shim"
	"golang.org/x/sys/unix"
)

// observer turns watched calls into events. It belongs to one goroutine.
type observer struct {
	memory
	emit       func(Event)
	noNewPrivs bool // setuid programs do not get their rights
	traced     bool // the same, when ptrace is not privileged
	newProcess func(tgid int)

	tids  map[int]*thread
	now   *thread // that makes the call
	moved uint64  // how many calls were seen that may change a working directory
	procs map[int]*process
	mnt   string // our own view of the files
	out   []Event
	execs map[string]bool // programs whose file was looked at for rights
}

// thread caches which process a thread belongs to. It is believed for a second,
// in which no system can use up its thread numbers and begin again.
type thread struct {
	p        *process
	until    time.Time
	cwd      string // its working directory, or empty
	cwdUntil time.Time
	cwdMoved uint64 // the observer's moved when cwd was read
}

const believed = time.Second

// A working directory is asked for once in cwdBelieved, not at each call: that
// costs a third of what the whole call costs. A process that changes its own
// says so by a call, as does one of the tree that renames a folder; nothing is
// believed of its process then until the thread is known to be back from it. The
// time bounds what is not seen: that a process elsewhere renames the folder, or
// that two processes share one working directory (CLONE_FS).
const (
	cwdBelieved = 5 * time.Millisecond
	anyThread   = -1
)

type process struct {
	tgid, parent int
	root         string // empty for /
	rootMoves    bool
	moving       int             // the thread that is about to change cwd, or 0; anyThread when there are several
	tids         []int           // that the observer's cache may hold
	told         map[string]bool // classes of blind spots
}

func newObserver(emit func(Event)) *observer {
	o := &observer{emit: emit, tids: map[int]*thread{}, procs: map[int]*process{}, execs: map[string]bool{}}
	o.mnt, _ = o.procLink(unix.Getpid(), "ns/mnt", -1)
	return o
}

// process returns the process of a thread, after telling of it if it is new.
func (o *observer) process(tid int, now time.Time) *process {
	if e := o.tids[tid]; e != nil && now.Before(e.until) {
		o.now = e
		return e.p
	}
	tgid, ppid, err := o.status(tid)
	if err != nil {
		return nil
	}
	if len(o.tids) > 1<<14 {
		clear(o.tids)
		for _, p := range o.procs {
			p.tids = nil
		}
	}
	p := o.procs[tgid]
	if p == nil {
		p = o.meet(tgid, ppid, now)
	}
	p.root = o.rootOf(tgid)
	if o.tids[tid] == nil {
		p.tids = append(p.tids, tid)
	}
	o.now = &thread{p: p, until: now.Add(believed)}
	o.tids[tid] = o.now
	return p
}

// meet tells of a new process, and before it of those between it and one that
// is known: they made no watched call so far.
func (o *observer) meet(tgid, ppid int, now time.Time) *process {
	line := []*process{{tgid: tgid, parent: ppid}}
	for i := 0; i < 64 && len(o.procs) > 0; i++ {
		last := line[len(line)-1]
		if last.parent <= 1 || o.procs[last.parent] != nil || last.parent == unix.Getpid() {
			break
		}
		_, up, err := o.status(last.parent)
		if err != nil {
			break
		}
		line = append(line, &process{tgid: last.parent, parent: up})
	}
	if last := line[len(line)-1]; o.procs[last.parent] == nil && len(o.procs) > 0 {
		// Not below a known process: it was given to another parent. Its own
		// forebears are not of the tree.
		line = line[:1]
		line[0].parent = 0
	}
	for i := len(line) - 1; i >= 0; i-- {
		p := line[i]
		o.procs[p.tgid] = p
		o.emit(Event{Kind: Fork, Pid: p.tgid, Parent: p.parent, At: now})
		if o.newProcess != nil {
			o.newProcess(p.tgid)
		}
		o.checkNamespace(p.tgid)
	}
	return line[0]
}

func (o *observer) checkNamespace(tgid int) {
	if ns, err := o.procLink(tgid, "ns/mnt", -1); err == nil && o.mnt != "" && ns != o.mnt {
		o.blind(tgid, BlindNamespace, "has another view of the files (a mount namespace): its paths may mean other files than here")
	}
}

func (o *observer) rootOf(tgid int) string {
	r, err := o.procLink(tgid, "root", -1)
	if err != nil || r == "/" {
		return ""
	}
	return r
}

// exited forgets a process. It returns false when the process was not known.
func (o *observer) exited(tgid int, now time.Time) bool {
	p := o.procs[tgid]
	if p == nil {
		return false
	}
	delete(o.procs, tgid)
	for _, tid := range p.tids {
		if e := o.tids[tid]; e != nil && e.p == p {
			delete(o.tids, tid)
		}
	}
	o.emit(Event{Kind: Exit, Pid: tgid, Parent: p.parent, At: now})
	return true
}

// blind tells of a blind spot, once for each process and class.
func (o *observer) blind(pid int, class, detail string) {
	if p := o.procs[pid]; p != nil {
		if p.told[class] {
			return
		}
		if p.told == nil {
			p.told = map[string]bool{}
		}
		p.told[class] = true
	}
	name, _ := o.procLink(pid, "exe", -1)
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		name = " (" + name[i+1:] + ")"
	}
	o.emit(Event{Kind: kindBlind, Path: class, Pid: pid, Note: "pid " + strconv.Itoa(pid) + name + " " + detail})
}

// look reads what a thread is about to do. The events are in o.out until the
// next call of look; the caller emits them when the call is known to stand.
// Forks and blind spots are emitted at once.
func (o *observer) look(tid int, arch, nr uint32, args *[6]uint64) {
	o.out = o.out[:0]
	c, foreign := shim.Watched(arch, nr)
	if c == 0 {
		return
	}
	now := time.Now()
	p := o.process(tid, now)
	if p == nil {
		if tid == 0 {
			o.emit(Event{Kind: kindBlind, Path: BlindPath, Note: "a process outside of the recorder's view made a call whose path cannot be read"})
		}
		return // it ended meanwhile
	}
	if p.moving == tid {
		p.moving = 0 // it is back
		o.moved++
	}
	word := 8
	if foreign {
		o.blind(p.tgid, BlindABI, "runs 32-bit code: only its most usual calls are seen")
		if arch == shim.CompatArch {
			word = 4
		}
	}
	o.decode(c, tid, p, now, args, word)
}

const atFDCWD = unix.AT_FDCWD

func (o *observer) decode(c shim.Call, tid int, p *process, now time.Time, a *[6]uint64, word int) {
	e := Event{Pid: p.tgid, Parent: p.parent, At: now}
	switch c {
	case shim.CallOpen:
		o.opened(&e, tid, p, atFDCWD, a[0], a[1])
	case shim.CallCreat:
		o.opened(&e, tid, p, atFDCWD, a[0], unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC)
	case shim.CallOpenat:
		o.opened(&e, tid, p, int32(a[0]), a[1], a[2])
	case shim.CallOpenat2:
		var how [8]byte
		if n, err := o.read(tid, a[2], how[:]); err != nil || n < 8 {
			e.Note = "flags not readable"
		}
		o.opened(&e, tid, p, int32(a[0]), a[1], binary.LittleEndian.Uint64(how[:]))
	case shim.CallTruncate:
		e.Kind, e.Flags = Write, Truncate
		o.one(&e, tid, p, atFDCWD, a[0])
	case shim.CallUnlink:
		e.Kind = Remove
		o.one(&e, tid, p, atFDCWD, a[0])
	case shim.CallUnlinkat:
		e.Kind = Remove
		if a[2]&unix.AT_REMOVEDIR != 0 {
			e.Flags = Directory
		}
		o.one(&e, tid, p, int32(a[0]), a[1])
	case shim.CallRename:
		o.two(&e, tid, p, atFDCWD, a[0], atFDCWD, a[1])
	case shim.CallRenameat:
		o.two(&e, tid, p, int32(a[0]), a[1], int32(a[2]), a[3])
	case shim.CallRenameat2:
		if a[4]&unix.RENAME_EXCHANGE != 0 {
			e.Flags = Exchange
		}
		o.two(&e, tid, p, int32(a[0]), a[1], int32(a[2]), a[3])
	case shim.CallLink:
		e.Flags = HardLink
		o.two(&e, tid, p, atFDCWD, a[0], atFDCWD, a[1])
	case shim.CallLinkat:
		e.Flags = HardLink
		o.two(&e, tid, p, int32(a[0]), a[1], int32(a[2]), a[3])
	case shim.CallSymlink:
		o.symlink(&e, tid, p, a[0], atFDCWD, a[1])
	case shim.CallSymlinkat:
		o.symlink(&e, tid, p, a[0], int32(a[1]), a[2])
	case shim.CallExecve:
		o.exec(&e, tid, p, atFDCWD, a[0], a[1], word)
	case shim.CallExecveat:
		o.exec(&e, tid, p, int32(a[0]), a[1], a[2], word)
	case shim.CallConnect:
		o.connect(&e, tid, p, int(int32(a[0])), a[1], a[2])
	default:
		o.note(c, tid, p, a)
	}
}

// note tells of calls that make later ones invisible or ambiguous.
func (o *observer) note(c shim.Call, tid int, p *process, a *[6]uint64) {
	switch c {
	case shim.CallChdir:
		o.moves(tid, p)
	case shim.CallIOUring:
		o.blind(p.tgid, BlindIOUring, "set up io_uring; what it opens by it is not seen")
	case shim.CallHandle:
		o.blind(p.tgid, BlindHandle, "opened a file by its handle, without a path")
	case shim.CallMemfd:
		o.blind(p.tgid, BlindMemfd, "made a file in memory that has no path")
	case shim.CallPtrace:
		o.blind(p.tgid, BlindPtrace, "traces processes, and may change what their calls do")
	case shim.CallSetns, shim.CallUnshare:
		o.moves(tid, p)
		if c == shim.CallSetns || a[0]&unix.CLONE_NEWNS != 0 {
			o.blind(p.tgid, BlindNamespace, "changed its view of the files: its paths may mean other files than here")
		}
	case shim.CallMount:
		o.blind(p.tgid, BlindMount, "mounted a file system: paths may mean other files afterwards")
	case shim.CallRoot:
		p.rootMoves = true
		o.moves(tid, p)
	case shim.CallSeccomp:
		o.blind(p.tgid, BlindListener, "wants to answer system calls itself by seccomp, which Linux allows one program of a tree only; run it with --method=ptrace or --method=snapshot")
	}
}

// moves says that the thread is about to change what relative paths begin with.
func (o *observer) moves(tid int, p *process) {
	o.moved++
	if p.moving != 0 && p.moving != tid {
		tid = anyThread
	}
	p.moving = tid
}

// folder gives the working directory of the thread's process.
func (o *observer) folder(tid int, p *process, now time.Time) (string, error) {
	t := o.now
	if t.cwd != "" && p.moving == 0 && t.cwdMoved == o.moved && now.Before(t.cwdUntil) {
		return t.cwd, nil
	}
	dir, err := o.procLink(tid, "cwd", -1)
	if err == nil {
		t.cwd, t.cwdUntil, t.cwdMoved = dir, now.Add(cwdBelieved), o.moved
	}
	return dir, err
}

func (o *observer) opened(e *Event, tid int, p *process, dir int32, path, flags uint64) {
	switch {
	case flags&unix.O_PATH == unix.O_PATH:
		return // names the file, and neither reads nor writes it
	case flags&unix.O_ACCMODE == unix.O_RDONLY && flags&unix.O_TRUNC == 0:
		e.Kind = Read
	default:
		e.Kind = Write
		if flags&unix.O_ACCMODE == unix.O_RDWR {
			e.Flags |= ReadWrite
		}
	}
	if flags&unix.O_TMPFILE == unix.O_TMPFILE {
		e.Note = "a file without a name in this folder"
	} else if flags&unix.O_DIRECTORY != 0 {
		e.Flags |= Directory
	}
	for _, f := range [...]struct {
		bit  uint64
		flag Flag
	}{{unix.O_CREAT, Create}, {unix.O_TRUNC, Truncate}, {unix.O_APPEND, Append}} {
		if flags&f.bit != 0 {
			e.Flags |= f.flag
		}
	}
	o.one(e, tid, p, dir, path)
	if n := len(o.out); n > 0 {
		o.out[n-1].Path = o.reopened(tid, o.out[n-1].Path)
	}
}

// reopened gives the file behind a name of an open descriptor, such as
// /dev/stdin or /proc/self/fd/5; other paths as they are, and names of what has
// no path, such as a pipe.
func (o *observer) reopened(tid int, path string) string {
	if !strings.HasPrefix(path, "/dev/") && !strings.HasPrefix(path, "/proc/") {
		return path
	}
	fd, owner := -1, tid
	switch part := strings.Split(path, "/"); {
	case path == "/dev/stdin", path == "/dev/stdout", path == "/dev/stderr":
		fd = slices.Index([]string{"in", "out", "err"}, path[len("/dev/std"):])
	case len(part) == 4 && part[2] == "fd":
		fd = number(part[3])
	case len(part) == 5 && part[1] == "proc" && part[3] == "fd":
		if fd = number(part[4]); part[2] != "self" && part[2] != "thread-self" {
			owner = number(part[2])
		}
	}
	if fd < 0 || owner <= 0 {
		return path
	}
	file, err := o.procLink(owner, "fd", fd)
	if err != nil || !strings.HasPrefix(file, "/") || strings.HasSuffix(file, " (deleted)") {
		return path
	}
	return file
}

// number reads a descriptor or a pid; -1 when it is none.
func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}

func (o *observer) one(e *Event, tid int, p *process, dir int32, path uint64) {
	var ok bool
	if e.Path, ok = o.path(e, tid, p, dir, path); ok {
		o.out = append(o.out, *e)
	}
}

func (o *observer) two(e *Event, tid int, p *process, dir1 int32, path1 uint64, dir2 int32, path2 uint64) {
	e.Kind = Rename
	defer o.moves(tid, p) // what is renamed may be a folder
	var ok, ok2 bool
	e.Path, ok = o.path(e, tid, p, dir1, path1)
	e.To, ok2 = o.path(e, tid, p, dir2, path2)
	if ok && ok2 {
		o.out = append(o.out, *e)
	}
}

func (o *observer) symlink(e *Event, tid int, p *process, target uint64, dir int32, path uint64) {
	e.Kind, e.Flags = Write, Create|Symlink
	to, err := o.text(tid, target, maxPath)
	if err != nil {
		e.Note = "target not readable"
	}
	e.To = to
	o.one(e, tid, p, dir, path)
}

// path reads a path and makes it absolute. It is false when the call cannot
// succeed because there is no path to read.
func (o *observer) path(e *Event, tid int, p *process, dir int32, addr uint64) (string, bool) {
	s, err := o.text(tid, addr, maxPath)
	switch err {
	case nil:
	case unix.EFAULT, errTooLong:
		return "", false // the call fails too
	case unix.ESRCH:
		return "", false // the process ended
	default:
		e.Note = "path not readable: " + err.Error()
		o.blind(p.tgid, BlindPath, "made a call whose path could not be read: "+err.Error())
		return "", true
	}
	return o.resolve(e, tid, p, dir, s)
}

func (o *observer) resolve(e *Event, tid int, p *process, dir int32, s string) (string, bool) {
	if strings.HasPrefix(s, "/") {
		if p.rootMoves {
			p.root = o.rootOf(p.tgid)
		}
		if p.root != "" {
			return p.root + s, true
		}
		return s, true
	}
	var base string
	var err error
	if dir == atFDCWD {
		base, err = o.folder(tid, p, e.At)
	} else if dir < 0 {
		return "", false // EBADF
	} else if base, err = o.procLink(tid, "fd", int(dir)); err == unix.ENOENT {
		return "", false // EBADF
	}
	if err != nil {
		e.Note = "folder of a relative path not readable: " + err.Error()
		o.blind(p.tgid, BlindPath, "used a relative path whose folder could not be read: "+err.Error())
		return s, true
	}
	if s == "" {
		return base, true
	}
	return base + "/" + s, true
}

func (o *observer) exec(e *Event, tid int, p *process, dir int32, path, argv uint64, word int) {
	e.Kind = Exec
	var ok bool
	if e.Path, ok = o.path(e, tid, p, dir, path); !ok {
		return
	}
	known := o.execs[e.Path]
	if !known && e.Path != "" {
		var st unix.Stat_t
		if err := unix.Stat(e.Path, &st); err == unix.ENOENT || err == unix.ENOTDIR {
			return // one of the folders of PATH in which it is not
		} else if err == nil {
			o.checkRights(e, p, &st)
		}
		if len(o.execs) > 4096 {
			clear(o.execs)
		}
		o.execs[e.Path] = true
	}
	var note string
	if e.Argv, note = o.argv(tid, argv, word); note != "" {
		e.Note = note
	}
	o.out = append(o.out, *e)
}

// checkRights tells when the program's file gives rights that it will not get.
func (o *observer) checkRights(e *Event, p *process, st *unix.Stat_t) {
	if !o.noNewPrivs && !o.traced {
		return
	}
	what := ""
	var caps [64]byte
	switch uid := uint32(unix.Geteuid()); {
	case st.Mode&unix.S_ISUID != 0 && st.Uid != uid:
		what = "setuid"
	case st.Mode&unix.S_ISGID != 0 && st.Mode&unix.S_IXGRP != 0 && st.Gid != uint32(unix.Getegid()):
		what = "setgid"
	default:
		if n, err := unix.Getxattr(e.Path, "security.capability", caps[:]); err != nil || n <= 0 {
			return
		}
		what = "given capabilities"
	}
	o.blind(p.tgid, BlindSetuid, fmt.Sprintf("runs %s, which is %s, without those rights, because a followed program may not gain any; if it fails, use --method=snapshot", e.Path, what))
}

func (o *observer) connect(e *Event, tid int, p *process, fd int, addr, size uint64) {
	var b [128]byte
	n, err := o.read(tid, addr, b[:min(size, uint64(len(b)))])
	if err != nil || n < 3 {
		return
	}
	e.Kind = Connect
	port := strconv.Itoa(int(binary.BigEndian.Uint16(b[2:])))
	switch family := binary.LittleEndian.Uint16(b[:]); {
	case family == unix.AF_INET && n >= 8:
		e.Addr = o.protocol(p.tgid, fd) + " " + netip.AddrFrom4([4]byte(b[4:8])).String() + ":" + port
	case family == unix.AF_INET6 && n >= 24:
		ip := netip.AddrFrom16([16]byte(b[8:24]))
		if ip.Is4In6() {
			e.Addr = o.protocol(p.tgid, fd) + " " + ip.Unmap().String() + ":" + port
		} else {
			e.Addr = o.protocol(p.tgid, fd) + " [" + ip.String() + "]:" + port
		}
	case family == unix.AF_UNIX:
		name := b[2:n]
		if name[0] == 0 {
			e.Addr = "unix @" + strings.TrimRight(string(name[1:]), "\x00")
			break
		}
		s := string(name)
		if i := strings.IndexByte(s, 0); i >= 0 {
			s = s[:i]
		}
		s, ok := o.resolve(e, tid, p, atFDCWD, s)
		if !ok {
			return
		}
		e.Addr = "unix " + s
	default:
		return // netlink, vsock, AF_UNSPEC (which ends a connection)
	}
	o.out = append(o.out, *e)
}

// protocol asks the socket itself what it is.
func (o *observer) protocol(tgid, fd int) string {
	pidfd, err := unix.PidfdOpen(tgid, 0)
	if err != nil {
		return "ip"
	}
	defer unix.Close(pidfd)
	s, err := unix.PidfdGetfd(pidfd, fd, 0)
	if err != nil {
		return "ip"
	}
	defer unix.Close(s)
	switch typ, _ := unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_TYPE); typ {
	case unix.SOCK_STREAM:
		return "tcp"
	case unix.SOCK_DGRAM:
		return "udp"
	}
	return "ip"
}
