// Package git makes statements out of git commits and annotated tags: objects
// as `git cat-file` writes them, alone or in the stream of `git cat-file
// --batch`, the text of `git log --format=raw`, or a repository, which is read
// by running git. Signatures are checked where a key for them is given.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-git.md.
package git

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/statement"
)

// MaxObject is the largest commit or tag that is read, in bytes. Git itself
// sets no limit; the largest in known repositories are some 100 KB.
const MaxObject = 4 << 20

// MediaType is that of the evidence: an object, with the header of `git
// cat-file --batch` before it where its name is known from there.
const MediaType = "text/x-git-object"

// Options of reading.
type Options struct {
	// Trust lists the SSH keys by which signatures are verified. Nil: none.
	Trust *statement.Trust
	// OpenPGP is a ring of public keys, armored or binary. Nil: none.
	OpenPGP []byte
}

// Importer reads git commits and tags.
type Importer struct{ Options Options }

// Name gives "git".
func (Importer) Name() string { return "git" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Recognise tells whether the file is the text of commits or tags, or the HEAD
// of a repository.
func (Importer) Recognise(h *importer.Head) bool {
	if isHead(h.Path, h.Bytes) {
		return true
	}
	line, rest, _ := bytes.Cut(h.Bytes, []byte("\n"))
	next, _, _ := bytes.Cut(rest, []byte("\n"))
	if _, ok := batchHeader(string(line)); ok {
		line, next = next, nil
	}
	f := strings.Fields(string(line))
	switch {
	case len(f) == 2 && f[0] == "tree" && isName(f[1]):
		return next == nil || bytes.HasPrefix(next, []byte("parent ")) || bytes.HasPrefix(next, []byte("author "))
	case len(f) == 2 && f[0] == "object" && isName(f[1]):
		return next == nil || bytes.HasPrefix(next, []byte("type "))
	case len(f) >= 2 && f[0] == "commit" && isName(f[1]):
		return bytes.HasPrefix(next, []byte("tree "))
	}
	return false
}

// isHead tells whether a file is the HEAD of a repository, by its name and
// content (gitrepository-layout).
func isHead(path string, content []byte) bool {
	if filepath.ToSlash(path) != "HEAD" && !strings.HasSuffix(filepath.ToSlash(path), ".git/HEAD") || len(content) > 1024 {
		return false
	}
	s := strings.TrimSpace(string(content))
	return strings.HasPrefix(s, "ref: refs/") || isName(s)
}

// isName tells whether s is the name of an object: SHA-1 or SHA-256.
func isName(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// header is that of an object in the stream of `git cat-file --batch`. What
// stands after the size names the repository.
type header struct {
	name, typ, repository string
	size                  int64
}

func batchHeader(line string) (h header, ok bool) {
	f := strings.SplitN(line, " ", 4)
	if len(f) < 3 || !isName(f[0]) || f[1] != "commit" && f[1] != "tag" && f[1] != "tree" && f[1] != "blob" {
		return h, false
	}
	if n, err := fmt.Sscanf(f[2], "%d", &h.size); n != 1 || err != nil || h.size < 0 || fmt.Sprint(h.size) != f[2] {
		return h, false
	}
	h.name, h.typ = f[0], f[1]
	if len(f) == 4 {
		h.repository = f[3]
	}
	return h, true
}

// Read yields an Item for each commit and tag of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		r := bufio.NewReaderSize(s.R, 64<<10)
		head, err := r.Peek(1024)
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			yield(importer.Item{}, fmt.Errorf("reading git objects: %w", err))
			return
		}
		if s.Path != "" && (isHead(s.Path, head) || filepath.Base(s.Path) == "HEAD" && isRepository(filepath.Dir(s.Path))) {
			im.repository(s.Path, yield)
			return
		}
		im.stream(r, yield)
	}
}

// stream reads objects one after another. It holds one at a time.
func (im Importer) stream(r *bufio.Reader, yield func(importer.Item, error) bool) {
	x := &stream{r: r, checker: newChecker(im.Options)}
	line, err := x.peekLine()
	switch {
	case err != nil:
		yield(importer.Item{}, fmt.Errorf("reading git objects: %w", err))
		return
	case line == "":
		refuse(yield, importer.Item{Place: "line 1"}, Empty, "the input is empty; give the output of git cat-file or git log --format=raw")
		return
	}
	if _, ok := batchHeader(line); ok {
		x.batch(yield)
	} else if f := strings.Fields(line); len(f) >= 2 && f[0] == "commit" && isName(f[1]) {
		x.log(yield)
	} else {
		x.alone(yield)
	}
}

// The classes of refusals.
const (
	Empty         = "empty"
	NotAnObject   = "not-a-git-object"
	NotACommit    = "not-a-commit" // a tree, a blob, or a tag of one
	TooLarge      = "too-large"
	Truncated     = "truncated"
	WrongName     = "digest-mismatch"
	BadObject     = "bad-object"
	NoGit         = "git-failed"
	NothingInside = "no-commits"
)

func refuse(yield func(importer.Item, error) bool, it importer.Item, reason, format string, args ...any) bool {
	it.Refusal = &importer.Refusal{Reason: reason, Detail: fmt.Sprintf(format, args...)}
	return yield(it, nil)
}

type stream struct {
	r       *bufio.Reader
	at      int64 // offset of the next byte
	checker *checker
	git     string   // the repository's folder; "" of a stream
	covers  []string // for the first Item
}

func (x *stream) peekLine() (string, error) {
	b, err := x.r.Peek(4096)
	if err != nil && err != io.EOF {
		return "", err
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return strings.TrimSuffix(string(line), "\r"), nil
}

// take reads up to n bytes.
func (x *stream) take(n int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(x.r, n))
	x.at += int64(len(b))
	return b, err
}

// line reads a line, without its end. What is longer than MaxObject is cut.
func (x *stream) line() (line []byte, ok bool, err error) {
	for {
		part, err := x.r.ReadSlice('\n')
		x.at += int64(len(part))
		if len(line) <= MaxObject {
			line = append(line, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF:
			return line, len(line) > 0, nil
		case err != nil:
			return nil, false, err
		}
		return bytes.TrimSuffix(line, []byte("\n")), true, nil
	}
}

// alone reads one object without a header.
func (x *stream) alone(yield func(importer.Item, error) bool) {
	b, err := x.take(MaxObject + 1)
	if err != nil {
		yield(importer.Item{}, fmt.Errorf("reading git object: %w", err))
		return
	}
	it := importer.Item{Place: "object", Bytes: int64(len(b))}
	if len(b) > MaxObject {
		rest, err := io.Copy(io.Discard, x.r)
		if err != nil {
			yield(importer.Item{}, fmt.Errorf("reading git object: %w", err))
			return
		}
		it.Bytes += rest
		refuse(yield, it, TooLarge, "object: %d bytes, the limit is %d", it.Bytes, MaxObject)
		return
	}
	typ := "commit"
	if bytes.HasPrefix(b, []byte("object ")) {
		typ = "tag"
	}
	yield(x.item(it, header{typ: typ, size: int64(len(b))}, b), nil)
}

// batch reads the stream of `git cat-file --batch`.
func (x *stream) batch(yield func(importer.Item, error) bool) {
	for n := 0; ; n++ {
		it := importer.Item{Place: fmt.Sprintf("object %d", n+1), Offset: x.at}
		if n == 0 {
			it.Covers = x.covers
		}
		line, ok, err := x.line()
		if err != nil {
			yield(importer.Item{}, fmt.Errorf("reading git objects: %w", err))
			return
		}
		if !ok {
			return
		}
		if len(line) == 0 {
			n--
			continue
		}
		h, ok := batchHeader(string(line))
		if !ok {
			it.Bytes = x.at - it.Offset
			if bytes.HasSuffix(line, []byte(" missing")) {
				if !refuse(yield, it, NotAnObject, "%s: the repository does not hold it; it may be a shallow or partial clone", clip(line)) {
					return
				}
				continue
			}
			rest, err := io.Copy(io.Discard, x.r)
			x.at += rest
			it.Bytes += rest
			if err != nil {
				yield(importer.Item{}, fmt.Errorf("reading git objects: %w", err))
				return
			}
			refuse(yield, it, NotAnObject, "%s: found %q where the line NAME TYPE SIZE must stand; nothing after it was read", it.Place, clip(line))
			return
		}
		if it, err = x.object(it, h); err != nil {
			yield(importer.Item{}, fmt.Errorf("reading git objects: %w", err))
			return
		}
		if !yield(it, nil) {
			return
		}
	}
}

// object reads the bytes of an object after its header.
func (x *stream) object(it importer.Item, h header) (importer.Item, error) {
	it.Place = h.typ + " " + h.name
	if h.size > MaxObject || h.typ != "commit" && h.typ != "tag" {
		n, err := io.CopyN(io.Discard, x.r, h.size)
		x.at += n
		it.Bytes = x.at - it.Offset
		switch {
		case err == io.EOF:
			it.Refusal = &importer.Refusal{Reason: Truncated, Detail: it.Place + ": the input ends inside the object"}
		case err != nil:
			return it, err
		case h.typ != "commit" && h.typ != "tag":
			it.Refusal = &importer.Refusal{Reason: NotACommit, Detail: it.Place + ": only commits and tags are recorded"}
		default:
			it.Refusal = &importer.Refusal{Reason: TooLarge, Detail: fmt.Sprintf("%s: %d bytes, the limit is %d", it.Place, h.size, MaxObject)}
		}
		return it, nil
	}
	b, err := x.take(h.size)
	if err != nil {
		return it, err
	}
	it.Bytes = x.at - it.Offset
	if int64(len(b)) < h.size {
		it.Refusal = &importer.Refusal{Reason: Truncated, Detail: it.Place + ": the input ends inside the object; run git cat-file --batch again"}
		return it, nil
	}
	return x.item(it, h, b), nil
}

func clip(b []byte) string {
	if len(b) > 100 {
		return string(b[:100]) + "…"
	}
	return string(b)
}
