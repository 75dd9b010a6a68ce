package git

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Folder tells whether dir is a repository, bare or with a working tree, and
// gives the HEAD by which it is read. The working tree of git worktree and the
// one of a submodule, whose .git is a file, are told too.
func (Importer) Folder(dir string) (head string, ok bool) {
	git := filepath.Join(dir, ".git")
	if st, err := os.Stat(git); err == nil && st.Mode().IsRegular() {
		target, found := strings.CutPrefix(firstLine(git), "gitdir: ")
		if !found {
			return "", false
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		git = target
	} else if err != nil {
		git = dir
	}
	head = filepath.Join(git, "HEAD")
	return head, isRepository(git)
}

// isRepository tells whether the folder is one that git keeps objects in, or
// the one that a worktree has of its own (gitrepository-layout).
func isRepository(dir string) bool {
	s := firstLine(filepath.Join(dir, "HEAD"))
	if !strings.HasPrefix(s, "ref: refs/") && !isName(s) {
		return false
	}
	if _, err := os.Stat(filepath.Join(dir, "commondir")); err == nil {
		return true
	}
	for _, name := range []string{"objects", "refs"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || !st.IsDir() {
			return false
		}
	}
	return true
}

// firstLine gives the first line of a small file, "" where there is none.
func firstLine(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return ""
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return strings.TrimSpace(string(line))
}
