package trace

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed pyhook/sitecustomize.py
var siteCustomize []byte

// maxHookFields bounds what is read of the file that Python programs write.
const (
	maxHookField = 64 << 10
	maxHookFile  = 512 << 20
)

// pythonHook is a folder that makes Python programs tell what they open.
type pythonHook struct{ dir string }

func newPythonHook() (*pythonHook, error) {
	dir, err := os.MkdirTemp("", "stemma-python-")
	if err != nil {
		return nil, err
	}
	h := &pythonHook{dir}
	err = os.Mkdir(filepath.Join(dir, "site"), 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "site", "sitecustomize.py"), siteCustomize, 0o600)
	}
	if err == nil {
		err = os.WriteFile(h.events(), nil, 0o600)
	}
	if err != nil {
		h.remove()
		return nil, err
	}
	return h, nil
}

func (h *pythonHook) events() string { return filepath.Join(h.dir, "events") }
func (h *pythonHook) remove()        { os.RemoveAll(h.dir) }

// environ adds the hook to an environment, before what PYTHONPATH has.
func (h *pythonHook) environ(env []string) []string {
	path := filepath.Join(h.dir, "site")
	var out []string
	for _, e := range env {
		if old, ok := strings.CutPrefix(e, "PYTHONPATH="); ok {
			if old != "" { // the last one counts, as for exec
				path = filepath.Join(h.dir, "site") + string(os.PathListSeparator) + old
			}
			continue
		}
		out = append(out, e)
	}
	return append(out, "PYTHONPATH="+path, "STEMMA_TRACE_PYTHON="+h.events())
}

// read returns the events that Python programs told, in their order.
func (h *pythonHook) read(see func(Event)) error {
	f, err := os.Open(h.events())
	if err != nil {
		return err
	}
	defer f.Close()
	return readHook(f, see)
}

// readHook reads the hook's file: events of seven fields, each ended by a zero
// byte: kind, pid, parent, nanoseconds, flags, path, second path.
func readHook(f io.Reader, see func(Event)) error {
	r := bufio.NewReaderSize(io.LimitReader(f, maxHookFile), maxHookField)
	var fields [7]string
	for {
		for i := range fields {
			b, err := r.ReadSlice(0)
			if err == io.EOF && i == 0 && len(b) == 0 {
				return nil
			}
			if err == io.EOF {
				return errors.New("the last event is broken off")
			}
			if err != nil {
				return fmt.Errorf("a field has more than %d bytes", maxHookField)
			}
			fields[i] = string(b[:len(b)-1])
		}
		e, err := hookEvent(&fields)
		if err != nil {
			return err
		}
		see(e)
	}
}

var hookFlags = map[rune]Flag{'c': Create, 't': Truncate, 'a': Append, 'd': Directory, '+': ReadWrite, 'h': HardLink, 's': Symlink}

func hookEvent(f *[7]string) (Event, error) {
	pid, err1 := strconv.Atoi(f[1])
	parent, err2 := strconv.Atoi(f[2])
	at, err3 := strconv.ParseInt(f[3], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil || pid < 0 || parent < 0 {
		return Event{}, fmt.Errorf("an event without valid numbers: %q", f[1:4])
	}
	e := Event{Pid: pid, Parent: parent, At: time.Unix(0, at), Path: f[5], To: f[6]}
	for _, c := range f[4] {
		e.Flags |= hookFlags[c]
	}
	switch f[0] {
	case "f":
		e.Kind, e.Path = Fork, ""
		return e, nil
	case "r":
		e.Kind = Read
	case "w":
		e.Kind = Write
	case "m":
		e.Kind = Rename
	case "d":
		e.Kind = Remove
	case "n":
		e.Kind, e.Path = Connect, ""
		if e.Addr = "ip " + f[5]; strings.Contains(f[4], "u") {
			e.Addr = "unix " + f[5]
		}
		return e, nil
	case "x":
		e.Kind, e.To = Exec, ""
		if f[6] != "" {
			e.Argv = strings.Split(f[6], "\x01")
		}
	default:
		return Event{}, fmt.Errorf("an event of unknown kind %q", f[0])
	}
	if filepath.IsAbs(e.Path) {
		e.Path = filepath.Clean(e.Path)
	}
	if e.Flags&Symlink == 0 && e.To != "" {
		e.To = filepath.Clean(e.To)
	}
	return e, nil
}
