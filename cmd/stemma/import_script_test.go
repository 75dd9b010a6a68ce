package main

import (
	"encoding/json"
	"io/fs"
	"path/filepath"
	"sort"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// imported reads the answer of an import with -o json on standard output.
func imported(ts *testscript.TestScript) (out importJSON) {
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &out); err != nil {
		ts.Fatalf("standard output is no answer of an import: %v", err)
	}
	return out
}

// accounted DIR wants each file below DIR in the answer of an import once, with
// a status, and no other.
func accounted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: accounted DIR")
	}
	want := map[string]int{}
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			want[p]++
		}
		return err
	}))
	for _, f := range imported(ts).Files {
		p := ts.MkAbs(f.Path)
		if f.Status == "" {
			ts.Fatalf("%s has no status", f.Path)
		}
		if want[p]--; want[p] < 0 {
			ts.Fatalf("%s is told twice, or is not there", f.Path)
		}
	}
	for p, n := range want {
		if n > 0 {
			ts.Fatalf("%s is not told", p)
		}
	}
}

// outcomes FILE wants each line of FILE in the answer of an import: a path (its
// end suffices), its status, and what checking its signatures gave, with a part
// of the reason. A path with a star stands for all that match, and there must
// be some.
//
//	*/FAIL-wrong-root.json imported failed: root hash
func outcomes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: outcomes FILE")
	}
	var got []string
	for _, f := range imported(ts).Files {
		got = append(got, outcome(f))
	}
	sort.Strings(got)
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, want, _ := strings.Cut(line, " ")
		status, reason, _ := strings.Cut(want, ": ")
		found := false
		for _, g := range got {
			p, is, _ := strings.Cut(g, " ")
			if ok, err := filepath.Match(name, filepath.Base(p)); err != nil || !ok && !strings.HasSuffix(p, "/"+name) {
				continue
			}
			found = true
			isStatus, isReason, _ := strings.Cut(is, ": ")
			if isStatus != status || !strings.Contains(isReason, reason) {
				ts.Fatalf("%s\nwant %s", g, line)
			}
		}
		if !found {
			ts.Fatalf("no file is %s", name)
		}
	}
}

func outcome(f fileJSON) string {
	s, why := f.Path+" "+f.Status, ""
	for _, r := range f.Refused {
		s, why = s+" "+r.Reason, why+" "+r.First
	}
	for _, c := range f.Signatures {
		s, why = s+" "+c.Result, why+" "+c.First
	}
	if why == "" {
		return s
	}
	return s + ":" + why
}

// absent DIR TEXT wants no file below DIR to hold the text.
func absent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: absent DIR TEXT")
	}
	files := 0
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		if strings.Contains(ts.ReadFile(p), args[1]) {
			ts.Fatalf("%s holds %s", p, args[1])
		}
		return nil
	}))
	if files == 0 {
		ts.Fatalf("there is no file below %s", args[0])
	}
}
