package capture

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/capture/trace"
	"github.com/stemma-lineage/stemma/statement"
)

func TestSpool(t *testing.T) {
	s := SpoolOf(t.TempDir())
	if l, err := s.List(); err != nil || len(l) != 0 {
		t.Errorf("an empty spool: %v %v", l, err)
	}
	if _, err := s.Put("r-b", [][]byte{[]byte(`{"a":1}`), []byte(`{"b":2}`)}, true); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond)
	if _, err := s.Put("r-a", [][]byte{[]byte(`{}`)}, false); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{".r-x.dsse-123", "other.txt"} { // of a writer that was killed; foreign
		if err := os.WriteFile(filepath.Join(s.Dir, n), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l, err := s.List()
	if err != nil || len(l) != 2 {
		t.Fatalf("%v %v", l, err)
	}
	if l[0].ID != "r-b" || !l[0].Signed || len(l[0].Lines) != 2 || l[1].ID != "r-a" || l[1].Signed {
		t.Errorf("%+v", l)
	}
	if !l[1].Own {
		t.Error("a file of ours is not our own")
	}
	if err := os.Chmod(l[1].Path, 0o666); err != nil {
		t.Fatal(err)
	}
	if l, _ := s.List(); l[1].Own {
		t.Error("what others may write is our own")
	}
	if err := l[0].Done(); err != nil {
		t.Fatal(err)
	}
	if l, _ := s.List(); len(l) != 1 {
		t.Errorf("%+v", l)
	}
}

func TestLost(t *testing.T) {
	dir := t.TempDir()
	s := SpoolOf(dir)
	x := Begin(t.Context(), Options{Workspace: dir, Dir: dir, ID: "r-mine"}, trace.Command{Argv: []string{"train", "--token", "hunter2"}})
	mark, err := s.Mark(x)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Lost(); len(got) != 0 {
		t.Errorf("a run of a living process is lost: %+v", got)
	}
	b, err := os.ReadFile(mark)
	if err != nil || bytes.Contains(b, []byte("hunter2")) {
		t.Errorf("%s %v", b, err)
	}
	var m Begun
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	m.Since = "1" // another process has its number now
	if b, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mark, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "bad"+begunExt), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := s.Lost()
	if len(got) != 1 || got[0].ID != "r-mine" {
		t.Fatalf("%+v", got)
	}
	d := got[0].Draft()
	if _, err := statement.Format(d.Subjects, d.Predicate); err != nil {
		t.Error(err)
	}
	if a := d.Predicate.(*statement.Activity); a.State != "started" || a.InputsCompleteness != statement.BestEffort || !strings.Contains(a.Parameters["command"], "redacted") {
		t.Errorf("%+v", a)
	}
	if err := got[0].Done(); err != nil || exists(mark) {
		t.Error("the mark is still there")
	}
}

func TestOuterRun(t *testing.T) {
	sock := filepath.Join(t.TempDir(), "r-outer.sock")
	if got := outerRun([]string{trace.SocketEnv + "=" + sock}); got != "" {
		t.Errorf("a socket that is not there: %q", got)
	}
	if err := os.WriteFile(sock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := outerRun([]string{trace.SocketEnv + "=" + sock}); got != "r-outer" {
		t.Errorf("%q", got)
	}
}

func TestNewID(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := NewID()
		if len(id) != 12 || seen[id] || strings.Trim(id[2:], "0123456789abcdefghjkmnpqrstvwxyz") != "" {
			t.Fatalf("%q", id)
		}
		seen[id] = true
	}
}

// What is written as evidence is read back.
func TestEvidence(t *testing.T) {
	r := &Result{ID: "r-x", Files: []*File{{Path: "a\nb", Class: Input, Rule: "workspace"}}, Programs: []Program{{Path: "/bin/sh", Argv: []string{"sh"}}},
		Endpoints: []*Endpoint{{Addr: "tcp 192.0.2.1:443", Count: 2}}, Tried: []trace.Attempt{{Name: "a"}}}
	r.evidence()
	var got []string
	err := ReadEvidence(bytes.NewReader(r.Blobs[0]), func(l *Line) error {
		switch {
		case l.Run != nil:
			got = append(got, "run "+l.Run.ID)
		case l.File != nil:
			got = append(got, "file "+l.File.Path)
		case l.Program != nil:
			got = append(got, "program "+l.Program.Path)
		case l.Endpoint != nil:
			got = append(got, "endpoint "+l.Endpoint.Addr)
		}
		return nil
	})
	if d := cmp.Diff([]string{"run r-x", "file a\nb", "program /bin/sh", "endpoint tcp 192.0.2.1:443"}, got); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
}

func FuzzReadEvidence(f *testing.F) {
	f.Add([]byte(`{"run":{"version":1,"id":"r-x"}}` + "\n" + `{"file":{"path":"a","class":"input","rule":"workspace"}}` + "\n"))
	f.Add([]byte(`{"run":{"version":2}}`))
	f.Add([]byte(`{"file":{}}`))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		err := ReadEvidence(bytes.NewReader(b), func(l *Line) error {
			if n++; n == 1 && (l.Run == nil || l.Run.Version != 1) {
				t.Error("a line before the head")
			}
			return nil
		})
		_ = err
	})
}

// FuzzRedact: a secret that follows its flag is never kept, and redacting
// twice changes nothing.
func FuzzRedact(f *testing.F) {
	f.Add("python3", "train.py", "--password")
	f.Add("sh", "-c", "PASSWORD=x y --token 'z")
	f.Add("", "", "https://a:b@c")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		got := Redact([]string{a, b, c, "--password", "hunter2hunter2"})
		if len(got) != 5 || got[4] == "hunter2hunter2" && got[3] == "--password" {
			t.Errorf("%q", got)
		}
		_ = quoteArgv(got)
	})
}

// FuzzPlace: whatever the path, one rule decides, and the name makes a Ref
// that a statement takes.
func FuzzPlace(f *testing.F) {
	for _, p := range []string{"/w/a.csv", "/home/ann/.cache/huggingface/hub/models--a--b/snapshots/r/x@y z", "/w/\xff", "/w/" + strings.Repeat("ü", 3000), "/", "/w", "/home/ann"} {
		f.Add(p)
	}
	s := newSurroundings("/", []string{"HOME=/home/ann"})
	s.workspace = "/w"
	f.Fuzz(func(t *testing.T, p string) {
		if !strings.HasPrefix(p, "/") || filepath.Clean(p) != p || strings.ContainsRune(p, 0) {
			return
		}
		x := &File{Path: s.place(p).name(), place: s.place(p)}
		if x.place.rule().Class == "" {
			t.Error("no class")
		}
		ref, _ := x.ref()
		if ref.Name == "" {
			return // the workspace itself: a folder
		}
		d := statement.DigestSet{"sha256": strings.Repeat("a", 64)}
		a := &statement.Activity{Kind: "run", ID: "activity:x", Used: []statement.Use{{Resource: statement.NewResource(ref, d)}}}
		if _, err := statement.Format([]statement.Subject{statement.NewSubject(ref, d)}, a); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	})
}

func FuzzDigests(f *testing.F) {
	f.Add([]byte(cacheMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := filepath.Join(t.TempDir(), "digests")
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
		openDigests(p).load()
	})
}
