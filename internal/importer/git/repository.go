package git

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/prov"
)

// maxCovers is how many files of a repository are named as read with it.
const maxCovers = 200_000

// repository reads all commits and tags that the references of a repository
// reach, by running git. Nothing in the repository is changed, no hook or
// helper of its configuration is run and nothing is fetched.
func (im Importer) repository(head string, yield func(importer.Item, error) bool) {
	dir := filepath.Dir(head)
	fail := func(err error) {
		refuse(yield, importer.Item{Place: "repository"}, NoGit, "%s: %v; install git, or give the output of git rev-list --all | git cat-file --batch", dir, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	names, err := objects(ctx, dir)
	if err != nil {
		fail(err)
		return
	}
	if names.Len() == 0 {
		refuse(yield, importer.Item{Place: "repository"}, NothingInside, "%s: no reference leads to a commit", dir)
		return
	}
	repo := "git"
	if out, err := command(ctx, dir, "config", "--local", "--get", "remote.origin.url").Output(); err == nil {
		if name, _, ok := prov.Repository(string(out), true); ok {
			repo = name
		}
	}
	c := command(ctx, dir, "cat-file", "--batch=%(objectname) %(objecttype) %(objectsize) "+strings.ReplaceAll(repo, "%", "%%"))
	c.Stdin = names
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		fail(err)
		return
	}
	x := &stream{r: bufio.NewReaderSize(out, 64<<10), checker: newChecker(im.Options), covers: files(dir)}
	stopped := false
	x.batch(func(it importer.Item, err error) bool {
		stopped = !yield(it, err)
		return !stopped
	})
	cancel()
	_, _ = io.Copy(io.Discard, out)
	_ = c.Wait() // what it could not give was refused or is at the end of the stream
}

// objects lists the names of the commits and annotated tags, oldest first.
func objects(ctx context.Context, dir string) (*bytes.Buffer, error) {
	commits, err := command(ctx, dir, "rev-list", "--all", "--reverse", "--topo-order").Output()
	if err != nil {
		return nil, reason(err)
	}
	refs, err := command(ctx, dir, "for-each-ref", "--format=%(objecttype) %(objectname)", "refs/tags").Output()
	if err != nil {
		return nil, reason(err)
	}
	b := bytes.NewBuffer(commits)
	for line := range strings.Lines(string(refs)) {
		if name, ok := strings.CutPrefix(line, "tag "); ok {
			b.WriteString(name)
		}
	}
	return b, nil
}

// reason gives what git said of its failure.
func reason(err error) error {
	if e, ok := err.(*exec.ExitError); ok && len(e.Stderr) > 0 {
		line, _, _ := strings.Cut(strings.TrimSpace(string(e.Stderr)), "\n")
		return fmt.Errorf("git: %s", clip([]byte(line)))
	}
	return err
}

func command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "git", append([]string{"--git-dir=" + dir, "--no-pager", "--no-replace-objects",
		"-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"}, args...)...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "GIT_") {
			c.Env = append(c.Env, e)
		}
	}
	c.Env = append(c.Env, "GIT_OPTIONAL_LOCKS=0", "GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	return c
}

// files lists what lies in the folder of a repository: all of it was read with
// its HEAD.
func files(dir string) []string {
	var out []string
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "HEAD" {
			if out = append(out, p); len(out) >= maxCovers {
				return fs.SkipAll
			}
		}
		return nil
	})
	return out
}
