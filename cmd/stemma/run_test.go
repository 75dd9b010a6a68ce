package main

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// train DIR puts the training script, its data and its configuration there.
func train(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: train DIR")
	}
	ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS(trainDir)))
}

var trainDir, _ = filepath.Abs(filepath.Join("..", "..", "internal", "capture", "testdata", "train"))

var runIDs = regexp.MustCompile(`r-[0-9a-z]{10}`)

// runid NAME sets a variable to the run that was captured last: its evidence
// is the newest.
func runID(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: runid NAME")
	}
	newest, id := time.Time{}, ""
	blobs, err := filepath.Glob(ts.MkAbs(".stemma/blobs/sha256/??/*"))
	ts.Check(err)
	for _, p := range blobs {
		st, err := os.Stat(p)
		ts.Check(err)
		b, err := os.ReadFile(p)
		ts.Check(err)
		if st.ModTime().After(newest) && strings.HasPrefix(string(b), `{"run":`) {
			newest, id = st.ModTime(), runIDs.FindString(string(b))
		}
	}
	if id == "" {
		ts.Fatalf("there is no evidence of a run")
	}
	ts.Setenv(args[0], id)
}

// append FILE LINE adds a line to a file.
func appendLine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: append FILE LINE")
	}
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_WRONLY, 0)
	ts.Check(err)
	_, err = f.WriteString(args[1] + "\n")
	ts.Check(err)
	ts.Check(f.Close())
}

// goCopy IN OUT copies a file and adds a line: a static Go program.
func goCopy() {
	b, err := os.ReadFile(os.Args[1])
	if err == nil {
		err = os.WriteFile(os.Args[2], append(b, "more\n"...), 0o644)
	}
	if err != nil {
		os.Exit(1)
	}
}

type held struct {
	db   *sql.DB
	conn *sql.Conn
}

// hold DB takes the write lock of a log; release gives it back.
func hold(ts *testscript.TestScript, neg bool, args []string) {
	db, err := sql.Open("sqlite", "file:"+ts.MkAbs(args[0]))
	ts.Check(err)
	conn, err := db.Conn(context.Background())
	ts.Check(err)
	_, err = conn.ExecContext(context.Background(), "BEGIN IMMEDIATE")
	ts.Check(err)
	holding = &held{db, conn}
	ts.Defer(func() { release(ts, false, nil) })
}

var holding *held // one script holds at a time

func release(ts *testscript.TestScript, _ bool, _ []string) {
	if holding == nil {
		return
	}
	_, _ = holding.conn.ExecContext(context.Background(), "ROLLBACK")
	holding.conn.Close()
	holding.db.Close()
	holding = nil
}

// killrun FILE CMD… begins `stemma run -- CMD…`, and kills the recorder when
// its command has made the file.
func killRun(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: killrun FILE CMD…")
	}
	c := exec.Command("stemma", append([]string{"run", "--quiet", "--"}, args[1:]...)...)
	c.Dir = ts.MkAbs(".")
	c.Env = append(os.Environ(), "STEMMA_CONFIG="+ts.Getenv("STEMMA_CONFIG"), "STEMMA_PRINCIPAL="+ts.Getenv("STEMMA_PRINCIPAL"), "HOME="+ts.Getenv("HOME"), "XDG_CACHE_HOME="+ts.Getenv("XDG_CACHE_HOME"))
	ts.Check(c.Start())
	waitFor(ts, false, args[:1])
	ts.Check(c.Process.Signal(syscall.SIGKILL))
	_ = c.Wait()
}

// A full disk under the workspace: the command's own writes elsewhere succeed,
// its exit code stays, and the run waits in the cache directory.
func TestFullDisk(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Logf("a small disk cannot be made here (%v); run-full.txtar does without one", err)
		return
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	t.Setenv("STEMMA_CONFIG", t.TempDir())
	t.Setenv("STEMMA_PRINCIPAL", "person:test@example.org")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	stemma := func(args ...string) (string, int) {
		c := exec.Command("stemma", args...)
		c.Dir = dir
		b, err := c.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return string(b), c.ProcessState.ExitCode()
	}
	if text, code := stemma("init"); code != 0 {
		t.Fatal(text)
	}
	fill, err := os.Create(filepath.Join(dir, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = fill.Write(make([]byte, 4096))
	}
	fill.Close()
	text, code := stemma("run", "--quiet", "--", "sh", "-c", "echo made > "+out+"/x.csv; exit 9")
	if code != 9 || !strings.Contains(text, "because nothing could be written here (the disk is full); stemma sync brings it into the log") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	if b, err := os.ReadFile(filepath.Join(out, "x.csv")); err != nil || string(b) != "made\n" {
		t.Errorf("the command's output is %q, %v", b, err)
	}
	if err := os.Remove(fill.Name()); err != nil {
		t.Fatal(err)
	}
	if text, code := stemma("sync"); code != 0 || !strings.Contains(text, ": entry 0") {
		t.Errorf("sync: exit code %d\n%s", code, text)
	}
}

// waitfor FILE waits until a file is there and holds something.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	for range 6000 {
		if st, err := os.Stat(ts.MkAbs(args[0])); err == nil && st.Size() > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s did not come", args[0])
}
