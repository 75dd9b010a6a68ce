package keys

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

var ann = prov.Ref{Kind: prov.Person, Name: "ann@acme.example"}

// config gives the test a configuration directory of its own.
func config(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "config")
	t.Setenv("STEMMA_CONFIG", dir)
	return dir
}

func TestGenerateLoadSign(t *testing.T) {
	dir := config(t)
	made, err := Generate(DefaultName, ann)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(DefaultName)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made, loaded); diff != "" {
		t.Errorf("(-made +loaded):\n%s", diff)
	}
	for path, want := range map[string]fs.FileMode{"keys": 0o700, "keys/default.key": 0o600} {
		st, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if got := st.Mode().Perm(); got != want && runtime.GOOS != "windows" {
			t.Errorf("%s has mode %04o, want %04o", path, got, want)
		}
	}
	line, err := Public(DefaultName)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := statement.ParseTrust([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	s, err := loaded.Signer()
	if err != nil {
		t.Fatal(err)
	}
	env, err := statement.Sign(context.Background(), []byte(`{}`), s)
	if err != nil {
		t.Fatal(err)
	}
	v, err := statement.Verify(env, trust, time.Now())
	if err != nil || !v.Verified() || v.Principals()[0] != ann.String() {
		t.Errorf("%+v, %v", v.Signatures, err)
	}
}

// A key that is there is never replaced, whatever it holds.
func TestGenerateNeverReplaces(t *testing.T) {
	dir := config(t)
	first, err := Generate("a", ann)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Generate("a", ann); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "never replaced") {
		t.Errorf("second Generate: %v", err)
	}
	again, err := Load("a")
	if err != nil || !first.Private.Equal(again.Private) {
		t.Errorf("the key changed: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "keys", "b.key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Generate("b", ann); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Generate over an empty file: %v", err)
	}
}

func TestGenerateRefuses(t *testing.T) {
	dir := config(t)
	for _, name := range []string{"", ".", "..", "../a", "a/b", `a\b`, ".a", "-a", "a b", "a\n", "log-a", strings.Repeat("a", 101)} {
		if _, err := Generate(name, ann); err == nil {
			t.Errorf("name %q is accepted", name)
		}
	}
	if _, err := Generate("a", prov.Ref{Kind: prov.Model, Name: "fraud"}); err == nil {
		t.Error("a model is accepted as a principal")
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
}

func TestExposedKeysAreRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("file modes do not protect keys on Windows")
	}
	dir := filepath.Join(config(t), "keys")
	if _, err := Generate("a", ann); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "a.key")
	for _, mode := range []fs.FileMode{0o644, 0o640, 0o620, 0o601} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Load("a")
		if !errors.Is(err, ErrExposed) || !strings.Contains(err.Error(), "run: chmod 600 "+quote(file)) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	if err := os.Chmod(file, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := Load("a"); err != nil {
		t.Errorf("mode 0400: %v", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Load("a"); !errors.Is(err, ErrExposed) || !strings.Contains(err.Error(), "run: chmod 700 "+quote(dir)) {
		t.Errorf("open directory, Load: %v", err)
	}
	if _, err := Generate("b", ann); !errors.Is(err, ErrExposed) {
		t.Errorf("open directory, Generate: %v", err)
	}
}

// What is wrong with a key file is said without saying what is in it.
func TestDamagedKeysAreRefused(t *testing.T) {
	dir := filepath.Join(config(t), "keys")
	k, err := Generate("good", ann)
	if err != nil {
		t.Fatal(err)
	}
	seed := base64.StdEncoding.EncodeToString(k.Private.Seed())
	text := formatKey(k)
	for name, c := range map[string]struct{ text, want string }{
		"empty":     {"", "first line is not stemma-key/v1"},
		"newer":     {strings.Replace(text, "/v1", "/v2", 1), "newer version"},
		"cut":       {text[:len(text)-1], "three whole lines"},
		"cut-more":  {text[:len(text)-9], "three whole lines"},
		"more":      {text + "x: y\n", "three whole lines"},
		"swapped":   {header + "\nseed: " + seed + "\nprincipal: " + ann.String() + "\n", "line 2"},
		"nobody":    {header + "\nprincipal: model:x\nseed: " + seed + "\n", "line 2"},
		"short":     {header + "\nprincipal: " + ann.String() + "\nseed: " + seed[:40] + "\n", "line 3"},
		"no-prefix": {header + "\nprincipal: " + ann.String() + "\n" + seed + "\n", "line 3"},
		"huge":      {strings.Repeat("x", maxFile+1), "larger than"},
	} {
		if err := os.WriteFile(filepath.Join(dir, name+".key"), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(name)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		} else if strings.Contains(err.Error(), seed[:20]) {
			t.Errorf("%s: the error tells the secret", name)
		}
	}
	if _, err := Load("missing"); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing: %v", err)
	}
}

func TestList(t *testing.T) {
	config(t)
	if got, err := List(); err != nil || got != nil {
		t.Errorf("no directory: %v, %v", got, err)
	}
	for _, name := range []string{"zoe", "ci.release"} {
		if _, err := Generate(name, ann); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := GenerateLogKey("acme.example/log"); err != nil {
		t.Fatal(err)
	}
	got, err := List()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ci.release", "zoe"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLogKey(t *testing.T) {
	dir := filepath.Join(config(t), "keys")
	_, vkey, err := GenerateLogKey("acme.example/Log")
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := GenerateLogKey("acme.example/Log")
	if err != nil {
		t.Fatal("a second log of one origin:", err)
	}
	s, err := LoadLogKey(vkey)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: "x\n"}, s)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open(signed, note.VerifierList(v)); err != nil {
		t.Error(err)
	}
	nameA, _ := logName(vkey)
	nameB, _ := logName(other)
	text, err := os.ReadFile(filepath.Join(dir, nameB+".key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, nameA+".key"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadLogKey(vkey); err == nil || !strings.Contains(err.Error(), "not the key of acme.example/Log") {
		t.Errorf("with the secret of another log in its place: %v", err)
	}
	for _, bad := range []string{"", "x", "a+b", "a+b+c"} {
		if _, err := LoadLogKey(bad); !errors.Is(err, ErrLogKey) {
			t.Errorf("LoadLogKey(%q): %v", bad, err)
		}
	}
	for _, origin := range []string{"", "a b", "a+b"} {
		if _, _, err := GenerateLogKey(origin); err == nil {
			t.Errorf("origin %q is accepted", origin)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != 2 {
		t.Errorf("files left: %v", files)
	}
}

func TestDefaultPrincipal(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	t.Setenv("GIT_DIR", filepath.Join(home, "none"))
	t.Setenv("PATH", "") // no git
	t.Setenv("STEMMA_PRINCIPAL", "sa:ci/release")
	if got, err := DefaultPrincipal(); err != nil || got.String() != "sa:ci/release" {
		t.Errorf("STEMMA_PRINCIPAL: %v, %v", got, err)
	}
	t.Setenv("STEMMA_PRINCIPAL", "model:fraud")
	if got, err := DefaultPrincipal(); err == nil {
		t.Errorf("a model is accepted: %v", got)
	}
	t.Setenv("STEMMA_PRINCIPAL", "")
	t.Setenv("USER", "ann")
	host, err := os.Hostname()
	if err != nil {
		t.Skip("this machine has no name:", err)
	}
	if got, err := DefaultPrincipal(); err != nil || got.String() != "person:ann@"+host {
		t.Errorf("login name: %v, %v", got, err)
	}
	t.Setenv("USER", "")
	t.Setenv("LOGNAME", "")
	if got, err := DefaultPrincipal(); err == nil || !strings.Contains(err.Error(), "STEMMA_PRINCIPAL=") {
		t.Errorf("nothing known: %v, %v", got, err)
	}
}

func TestDefaultPrincipalAsksGit(t *testing.T) {
	tool(t, "git")
	file := filepath.Join(t.TempDir(), "gitconfig")
	if err := os.WriteFile(file, []byte("[user]\n\temail = ann@acme.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	t.Setenv("GIT_CONFIG_GLOBAL", file)
	t.Setenv("STEMMA_PRINCIPAL", "")
	if got, err := DefaultPrincipal(); err != nil || got != ann {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("stemma-key/v1\nprincipal: person:ann@acme.example\nseed: " + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32)) + "\n")
	f.Add("stemma-key/v1\nprincipal: model:x\nseed: \n")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := parseKey(text)
		if err != nil {
			return
		}
		if got := formatKey(k); got != strings.ReplaceAll(text, "\r\n", "\n") {
			t.Errorf("%q was read from %q", got, text)
		}
	})
}
