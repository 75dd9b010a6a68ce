package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// formsOf gives a text as it may stand in a file: as it is, and in base64 at each
// place within a group.
func formsOf(text string) (out [][]byte) {
	out = append(out, []byte(text))
	for i := range 3 {
		s := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("?", i) + text))
		from := (i*8 + 5) / 6 // sextets that only the text decides
		to := len(strings.TrimRight(s, "="))
		if (i+len(text))%3 != 0 {
			to--
		}
		out = append(out, []byte(s[from:to]))
	}
	return out
}

// filesWith gives the files under dir that hold a text.
func filesWith(dir, text string) (found []string, err error) {
	want := formsOf(text)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, f := range want {
			if bytes.Contains(b, f) {
				found = append(found, path)
				break
			}
		}
		return err
	})
	return found, err
}

// nowhere TEXT DIR wants no file under the folder to hold the text, in any form
// that the store knows; with ! it wants one to.
func nowhere(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: nowhere TEXT DIR")
	}
	found, err := filesWith(ts.MkAbs(args[1]), args[0])
	ts.Check(err)
	if (len(found) > 0) != neg {
		ts.Fatalf("files that hold %q: %v", args[0], found)
	}
}

func TestFormsOf(t *testing.T) {
	for i := range 7 {
		text := strings.Repeat("x", i) + "PLANTED" + strings.Repeat("y", i%4)
		b := []byte(base64.StdEncoding.EncodeToString([]byte(text)))
		ok := false
		for _, f := range formsOf("PLANTED")[1:] {
			ok = ok || bytes.Contains(b, f)
		}
		if !ok {
			t.Errorf("%s is not found in %s", "PLANTED", b)
		}
	}
}

// TestEraseKilled kills an erasure again and again. After each, the next
// command that opens the log finishes what was begun: either no order is in the
// log and all is there, or nothing of what it erases is left in any file.
func TestEraseKilled(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("STEMMA_CONFIG", filepath.Join(dir, "config"))
	t.Setenv("STEMMA_PRINCIPAL", "person:test@example.org")
	stemma(t, "init", "--dir", dir)
	stemma(t, "record", "--dir", dir, "--sign", role(t, dir))
	const n = 8
	for i := range n {
		file := filepath.Join(dir, fmt.Sprintf("f%d", i))
		if err := os.WriteFile(file, []byte(fmt.Sprintf("f%d", i)), 0o600); err != nil {
			t.Fatal(err)
		}
		stemma(t, "add", file, "--dir", dir, "--as", fmt.Sprintf("dataset:d@%d", i), "--description", fmt.Sprintf("PLANTED-%d-%s", i, strings.Repeat("x", 20_000)))
	}
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewSource(seed))
	data := filepath.Join(dir, ".stemma")
	killed, done := 0, 0
	for i := range n {
		c := exec.Command("stemma", "log", "erase", fmt.Sprint(i+1), "--dir", dir, "--reason", "r", "--basis", "b", "--yes")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rnd.Intn(500)) * time.Millisecond)
		_ = c.Process.Kill()
		var exit *exec.ExitError
		if err := c.Wait(); errors.As(err, &exit) && exit.ExitCode() == -1 {
			killed++
		} else if err != nil {
			t.Fatal(err)
		}
		stemma(t, "log", "fsck", "--dir", dir)
		entry := stemma(t, "log", "entry", fmt.Sprint(i+1), "--dir", dir)
		found, err := filesWith(data, fmt.Sprintf("PLANTED-%d-", i))
		if err != nil {
			t.Fatal(err)
		}
		erased := strings.HasPrefix(entry, `{"erasedBy"`)
		if erased {
			done++
		}
		if erased != (len(found) == 0) {
			t.Errorf("entry %d: erased is %t, and these files hold its text: %v", i+1, erased, found)
		}
	}
	t.Logf("of %d, %d were killed and %d erased", n, killed, done)
}

// role writes the statement that gives the test's principal its roles.
func role(t *testing.T, dir string) string {
	name := filepath.Join(dir, "roles.json")
	text := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"role:privacy","digest":{"stemmaRef":"230bc857aee955977db9abdf96779bdbbaf0207f90acbb050613665ab5a035d3"}}],"predicateType":"https://stemma.dev/identity/v1","predicate":{"mode":"event","source":"hr","at":"2026-01-01T00:00:00Z","items":[{"ref":"person:test@example.org","roles":[{"role":"role:privacy"},{"role":"role:legal"}]}]}}`
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestRanges(t *testing.T) {
	var odd []uint64
	for i := range uint64(30) {
		odd = append(odd, 2*i+1)
	}
	for _, c := range []struct {
		es   []uint64
		want string
	}{
		{nil, ""}, {[]uint64{7}, "7"}, {[]uint64{7, 8}, "7, 8"}, {[]uint64{0, 1, 2, 5, 9, 10, 11, 12}, "0 to 2, 5, 9 to 12"},
		{odd, "1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33, 35, 37, 39 and 10 more (stemma show x -o json)"},
	} {
		if got := ranges(c.es, "x"); got != c.want {
			t.Errorf("%v gives %q, want %q", c.es, got, c.want)
		}
	}
}
