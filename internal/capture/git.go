package capture

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Revision is the state of the Git repository that the workspace lies in, as
// it was when the run began.
type Revision struct {
	Root    string
	Commit  string
	Branch  string
	Remote  string   // without user and password
	Dirty   []string // tracked files that differ from the commit, from Root
	Unknown string   // what could not be found out, and why
}

// gitTime bounds how long git is waited for after the run has ended.
const gitTime = 10 * time.Second

// revisionOf asks git. It gives nil where there is no repository, or no git.
func revisionOf(ctx context.Context, dir string) *Revision {
	ctx, cancel := context.WithTimeout(ctx, gitTime)
	defer cancel()
	root, err := git(ctx, dir, "rev-parse", "--show-toplevel")
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && bytes.Contains(exit.Stderr, []byte("dubious ownership")) {
			return &Revision{Unknown: "git refuses a repository of another user; git config --global --add safe.directory " + dir}
		}
		return nil
	}
	r := &Revision{Root: real(strings.TrimSuffix(root, "\n"))}
	if remote, err := git(ctx, dir, "remote", "get-url", "origin"); err == nil {
		r.Remote = bareURL(strings.TrimSpace(remote))
	}
	if commit, err := git(ctx, dir, "rev-parse", "--verify", "HEAD"); err == nil {
		r.Commit = strings.TrimSpace(commit)
	} else {
		r.Unknown = "there is no commit yet"
		return r
	}
	if branch, err := git(ctx, dir, "symbolic-ref", "--short", "-q", "HEAD"); err == nil {
		r.Branch = strings.TrimSpace(branch)
	}
	status, err := git(ctx, dir, "status", "--porcelain=v1", "-z", "--untracked-files=no", "--no-renames")
	if err != nil {
		r.Unknown = "which files differ from the commit is not known: git status failed or took too long"
		return r
	}
	for line := range strings.SplitSeq(status, "\x00") {
		if len(line) > 3 {
			r.Dirty = append(r.Dirty, line[3:])
		}
	}
	return r
}

// git runs a command that changes nothing, not even the index.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	c.Env = append(os.Environ(), "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	c.WaitDelay = time.Second
	out, err := c.Output()
	return string(out), err
}

// untracked gives those of the files that git does not track. A failure gives
// none.
func (r *Revision) untracked(ctx context.Context, files []string) []string {
	if len(files) == 0 || len(files) > 2000 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, gitTime)
	defer cancel()
	out, err := git(ctx, r.Root, append([]string{"--literal-pathspecs", "ls-files", "-z", "--"}, files...)...)
	if err != nil {
		return nil
	}
	tracked := map[string]bool{}
	for f := range strings.SplitSeq(out, "\x00") {
		tracked[f] = true
	}
	var list []string
	for _, f := range files {
		if !tracked[f] {
			list = append(list, f)
		}
	}
	return list
}

// mark says which of the files that the run read differ from the commit.
func (r *Revision) mark(ctx context.Context, files []*File) (uncommitted []*File) {
	if r == nil || r.Commit == "" {
		return nil
	}
	dirty := map[string]bool{}
	for _, d := range r.Dirty {
		dirty[filepath.Join(r.Root, d)] = true
	}
	var ask []string
	byRel := map[string]*File{}
	for _, f := range files {
		if f.Class != Input && f.Class != Both || !within(f.file.path, r.Root) {
			continue
		}
		if dirty[f.file.path] {
			f.Dirty = true
			uncommitted = append(uncommitted, f)
		} else if edited(f.Role) {
			rel := strings.TrimPrefix(f.file.path, r.Root+"/")
			ask = append(ask, rel)
			byRel[rel] = f
		}
	}
	for _, rel := range r.untracked(ctx, ask) {
		byRel[rel].Dirty = true
		uncommitted = append(uncommitted, byRel[rel])
	}
	return uncommitted
}

var scpURL = regexp.MustCompile(`^(?:[^@/]+@)?([^:/]+):([^/].*)$`)

// bareURL gives a remote's address without user, password and query: they are
// no part of its name, and may be secret.
func bareURL(s string) string {
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		u.User, u.RawQuery, u.Fragment = nil, "", ""
		return u.String()
	}
	if m := scpURL.FindStringSubmatch(s); m != nil {
		return "ssh://" + m[1] + "/" + m[2]
	}
	return s
}

// resource names the commit.
func (r *Revision) resource() statement.Resource {
	name := r.Remote
	if name == "" {
		name = filepath.Base(r.Root)
	}
	return statement.NewResource(prov.Ref{Kind: prov.Code, Name: name, Version: r.Commit}, statement.DigestSet{"gitCommit": r.Commit})
}
