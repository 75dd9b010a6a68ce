package witnessing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sys/unix"

	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/witness"
)

// ErrHistory says that the file of cosigned checkpoints is damaged.
var ErrHistory = errors.New("the file of cosigned checkpoints is damaged")

// History is the file of every checkpoint that was cosigned, as the witnesses
// did: what time bounds are computed from. It only grows. Each record is a
// line "checkpoint LENGTH", the signed note of that many bytes, and a line
// "end". What follows the last whole record was cut off by a crash, and is
// cut away by the next Append.
type History struct{ Path string }

const (
	recordHead = "checkpoint "
	recordEnd  = "end\n"
)

// Append adds a signed checkpoint and returns when it is durable.
func (h History) Append(signed []byte) error {
	f, err := os.OpenFile(h.Path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("keeping cosignatures: %w", err)
	}
	defer f.Close()
	// Held until the file is closed: two processes may publish.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("keeping cosignatures: %w", err)
	}
	all, err := io.ReadAll(f)
	if err != nil {
		return fmt.Errorf("keeping cosignatures: %w", err)
	}
	_, whole, err := records(all)
	if err != nil {
		return fmt.Errorf("keeping cosignatures: %s: %w", h.Path, err)
	}
	if err = f.Truncate(int64(whole)); err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "%s%d\n%s%s", recordHead, len(signed), signed, recordEnd), int64(whole))
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil && whole == 0 {
		err = durable.SyncDir(filepath.Dir(h.Path))
	}
	if err != nil {
		return fmt.Errorf("keeping cosignatures: %w", err)
	}
	return nil
}

// Notes gives the signed checkpoints in the order in which they were kept,
// unverified. A file that is not there holds none.
func (h History) Notes() ([][]byte, error) {
	all, err := os.ReadFile(h.Path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading cosignatures: %w", err)
	}
	list, _, err := records(all)
	if err != nil {
		return nil, fmt.Errorf("reading cosignatures: %s: %w", h.Path, err)
	}
	return list, nil
}

// records gives the whole records and how many bytes they are.
func records(all []byte) (list [][]byte, whole int, err error) {
	for whole < len(all) {
		line, rest, ok := bytes.Cut(all[whole:], []byte("\n"))
		if !ok {
			return list, whole, nil
		}
		length, ok := strings.CutPrefix(string(line), recordHead)
		n, err := strconv.Atoi(length)
		if !ok || err != nil || n < 0 || n > witness.MaxNote {
			return nil, 0, fmt.Errorf("%w: byte %d is no beginning of a record; restore it from a copy", ErrHistory, whole)
		}
		if len(rest) < n+len(recordEnd) {
			return list, whole, nil // cut off
		}
		if string(rest[n:n+len(recordEnd)]) != recordEnd {
			return nil, 0, fmt.Errorf("%w: the record at byte %d does not end where it should; restore it from a copy", ErrHistory, whole)
		}
		list = append(list, rest[:n])
		whole += len(line) + 1 + n + len(recordEnd)
	}
	return list, whole, nil
}

// Around verifies what is needed for the bounds at a moment: of each witness
// of the policy the last checkpoint that it cosigned before, and the first
// from then on.
func Around(notes [][]byte, at time.Time, log note.Verifier, p *witness.Policy) ([]witness.Checkpoint, error) {
	var out []witness.Checkpoint
	for _, i := range witness.Around(notes, at, p) {
		c, err := witness.Open(notes[i], log, p)
		if err != nil {
			return nil, fmt.Errorf("%w: record %d: %w", ErrHistory, i, err)
		}
		out = append(out, c)
	}
	return out, nil
}
