package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stemma-lineage/stemma/internal/capture/trace"
)

func TestMain(m *testing.M) {
	if trace.Main() { // a part of a captured run
		return
	}
	testscript.Main(m, map[string]func(){
		"stemma": func() { os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
		"gocopy": goCopy,
		// authority FILE is a timestamp authority; it writes its certificate.
		"authority": authority,
	})
}

// fixtures gives the folder of real inputs, or "" when it is not there.
func fixtures(t testing.TB) string {
	dir := os.Getenv("STEMMA_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "fixtures")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return dir
	}
	if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
		t.Fatalf("STEMMA_TEST_REQUIRE=all, but the real inputs are not in %s; set STEMMA_FIXTURES", dir)
	}
	return ""
}

func TestScripts(t *testing.T) {
	real := fixtures(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("STEMMA_CONFIG", filepath.Join(e.WorkDir, "config"))
			e.Setenv("STEMMA_PRINCIPAL", "person:test@example.org")
			e.Setenv("FIXTURES", real)
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, "cache-home"))
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "fixtures" {
				return real != "", nil
			}
			return false, errors.New("unknown condition " + cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"absent":    absent,
			"accounted": accounted,
			"answering": answering,
			"quit":      quit,
			"outcomes":  outcomes,
			"exits":     exits,
			"fields":    fields,
			"corrupt":   corrupt,
			"train":     train,
			"runid":     runID,
			"append":    appendLine,
			"hold":      hold,
			"release":   release,
			"killrun":   killRun,
			"waitfor":   waitFor,
		},
	})
}

// exits CODE PROGRAM ARG… wants an exit code exactly.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s ended with exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// fields PATH… wants members in the JSON on the last standard output. A path
// is names with dots; a list stands for its first element.
func fields(ts *testscript.TestScript, neg bool, args []string) {
	var doc any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &doc); err != nil {
		ts.Fatalf("standard output is no JSON: %v", err)
	}
	for _, path := range args {
		if has(doc, strings.Split(path, ".")) == neg {
			ts.Fatalf("field %s: present is %v, want %v", path, neg, !neg)
		}
	}
}

func has(doc any, path []string) bool {
	for _, name := range path {
		if list, ok := doc.([]any); ok {
			if len(list) == 0 {
				return false
			}
			doc = list[0]
		}
		object, ok := doc.(map[string]any)
		if !ok {
			return false
		}
		if doc, ok = object[name]; !ok {
			return false
		}
	}
	return true
}

// corrupt FILE flip|halve changes a byte in the middle, or cuts the file.
func corrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: corrupt FILE flip|halve")
	}
	name := ts.MkAbs(args[0])
	b, err := os.ReadFile(name)
	ts.Check(err)
	switch args[1] {
	case "flip":
		b[len(b)/2] ^= 1
	case "halve":
		b = b[:len(b)/2]
	default:
		ts.Fatalf("corrupt: %q is neither flip nor halve", args[1])
	}
	ts.Check(os.WriteFile(name, b, 0o600))
}
