package evlog

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/statement"
)

func startChild(t *testing.T, exe, do, dir, run string, k testKey) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	c := exec.Command(exe)
	c.Env = append(os.Environ(), "EVLOG_CHILD="+do, "EVLOG_DIR="+dir, "EVLOG_RUN="+run, "EVLOG_KEY="+k.private)
	c.Stderr = os.Stderr
	out := &bytes.Buffer{}
	c.Stdout = out
	return c, out
}

// acknowledged reads whole lines of a child; one that was cut off by its
// death counts for nothing.
func acknowledged(out io.Reader, into map[uint64]string) error {
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var index uint64
		var envelope string
		if _, err := fmt.Sscanf(line, "%d %s", &index, &envelope); err != nil {
			return fmt.Errorf("the child says %q", line)
		}
		if old, ok := into[index]; ok {
			return fmt.Errorf("entry %d was acknowledged for %s and for %s", index, old, envelope)
		}
		into[index] = envelope
	}
}

// holds tells whether the log holds each acknowledged entry from an index on.
func holds(t *testing.T, l *Log, acks map[uint64]string, from uint64) {
	t.Helper()
	size := uint64(head(t, l).Size)
	found := 0
	for e, err := range l.Entries(t.Context(), from, size) {
		if err != nil {
			t.Fatal(err)
		}
		want, ok := acks[e.Index]
		if !ok {
			continue // appended, and killed before saying so
		}
		found++
		if c, err := statement.ParseEntry(e.Content); err != nil || string(c.Envelope) != want {
			t.Fatalf("entry %d is %s (%v), acknowledged was %s", e.Index, c.Envelope, err, want)
		}
	}
	want := 0
	for i := range acks {
		if i >= from {
			want++
		}
	}
	if found != want {
		t.Fatalf("%d of %d acknowledged entries are in the log", found, want)
	}
}

func TestTwoProcessesAppend(t *testing.T) {
	dir, k := t.TempDir(), newKey(t)
	create(t, dir, k.opts).Close()
	acks := map[uint64]string{}
	var children []*exec.Cmd
	var outs []*bytes.Buffer
	for i := range 2 {
		c, out := startChild(t, os.Args[0], "20", dir, fmt.Sprint("p", i), k)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		children, outs = append(children, c), append(outs, out)
	}
	for range 20 { // opening while others append is no fork
		l, err := Open(t.Context(), dir, k.opts)
		if err != nil {
			t.Error(err)
			continue
		}
		l.Close()
	}
	for i, c := range children {
		if err := c.Wait(); err != nil {
			t.Fatalf("%v: %s", err, outs[i])
		}
		if err := acknowledged(outs[i], acks); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, dir, k.opts)
	if n := head(t, l).Size; n != 2*20*64 || len(acks) != 2*20*64 {
		t.Errorf("the log holds %d entries, %d were acknowledged, want %d", n, len(acks), 2*20*64)
	}
	holds(t, l, acks, 0)
	clean(t, l)
	published, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil || string(published) != string(head(t, l).Checkpoint) {
		t.Errorf("the published checkpoint is not the newest: %s (%v)", published, err)
	}
}

// TestKilledProcessLosesNothingAcknowledged kills a writer 40 times. It shows
// what survives the death of a process, not that of the machine.
func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir, k := t.TempDir(), newKey(t)
	create(t, dir, k.opts).Close()
	acks := map[uint64]string{}
	last := uint64(0)
	for i := range 40 {
		c, out := startChild(t, os.Args[0], "1000000", dir, fmt.Sprint("r", i), k)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		wait := time.Duration(rnd.IntN(150)) * time.Millisecond
		timer := time.AfterFunc(wait, func() { _ = c.Process.Kill() })
		_ = c.Wait()
		timer.Stop()
		err := acknowledged(out, acks)
		if err != nil {
			t.Fatal(err)
		}
		if s := c.ProcessState.Sys().(syscall.WaitStatus); s.Signal() != syscall.SIGKILL {
			t.Fatalf("round %d: the child ended by itself: %v", i, c.ProcessState)
		}
		l, err := Open(t.Context(), dir, k.opts)
		if err != nil {
			t.Fatalf("round %d, killed after %v: %v", i, wait, err)
		}
		holds(t, l, acks, last)
		last = uint64(head(t, l).Size)
		l.Close()
	}
	if len(acks) == 0 {
		t.Fatal("no entry was acknowledged in 40 rounds, so nothing was shown")
	}
	l := open(t, dir, k.opts)
	holds(t, l, acks, 0)
	t.Logf("%d entries, %d acknowledged", clean(t, l).Entries, len(acks))
}

// TestReadOnlyDirectory runs as another user when this one may write anywhere.
func TestReadOnlyDirectory(t *testing.T) {
	top, err := os.MkdirTemp("", "evlog-ro")
	if err != nil {
		t.Fatal(err)
	}
	dir, k := filepath.Join(top, "log"), newKey(t)
	t.Cleanup(func() { _ = os.Chmod(dir, 0o755); _ = os.RemoveAll(top) })
	l := create(t, dir, k.opts)
	mustAppend(t, l, items("a", 0, 5))
	l.Close()
	exe := filepath.Join(top, "evlog.test")
	bin, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(exe, bin, 0o755)
	}
	if err == nil {
		err = os.Chmod(top, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o555)
	}
	if err != nil {
		t.Fatal(err)
	}
	c, out := startChild(t, exe, "readonly", dir, "x", k)
	c.Dir = top
	if os.Getuid() == 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if err := c.Start(); err != nil {
		t.Skipf("this user may write anywhere and cannot start a process as another: %v", err)
	}
	err = c.Wait()
	if got := out.String(); err != nil || strings.TrimSpace(got) != "5 <nil> true" {
		t.Errorf("in a read-only directory: size, error, refused: %q (%v), want 5, none, true", got, err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	clean(t, open(t, dir, k.opts))
}
