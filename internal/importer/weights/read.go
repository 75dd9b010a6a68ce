// Package weights makes statements out of files that hold the weights of a
// model. Of safetensors and GGUF files it reads the header; files that are
// pickles, or hold one, are never opened beyond their first bytes; of a Git
// LFS pointer it reads what it points to. The digest of the whole file is the
// model's identity.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-weights.md.
package weights

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/huggingface"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// MaxHeader is the largest header that is read, in bytes: the limit that
// safetensors sets itself.
const MaxHeader = 100_000_000

// The classes of refusals beside those of rawjson.
const (
	NotWeights = "not-weights"
	BadHeader  = "bad-header"  // what the format does not allow
	BadOffsets = "bad-offsets" // tensors that overlap, or lie outside the file
	Truncated  = "truncated"   // the file ends early
	BadVersion = "unknown-version"
	BadPointer = "bad-lfs-pointer"
)

// Importer reads files of weights.
type Importer struct{}

// Name gives "weights".
func (Importer) Name() string { return "weights" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

type format int

const (
	none format = iota
	safetensorsFormat
	ggufFormat
	pickleFormat
	pointerFormat
)

// Recognise tells whether the file holds weights, by its first bytes, and by
// its name where those cannot tell.
func (Importer) Recognise(h *importer.Head) bool {
	return formatOf(h.Path, h.Bytes, h.Size) != none
}

const pointerHead = "version https://git-lfs.github.com/spec/v1\n"

var weightsExt = map[string]bool{".safetensors": true, ".gguf": true, ".pt": true, ".pth": true, ".bin": true, ".pkl": true,
	".pickle": true, ".ckpt": true, ".joblib": true, ".onnx": true, ".h5": true, ".keras": true, ".tflite": true, ".msgpack": true}

// formatOf tells the format of a file. Size is that of the whole file, -1 when
// it is not known.
func formatOf(name string, head []byte, size int64) format {
	ext := strings.ToLower(path.Ext(name))
	switch {
	case bytes.HasPrefix(head, []byte(pointerHead)) && weightsExt[ext]:
		return pointerFormat
	case bytes.HasPrefix(head, []byte("GGUF")), ext == ".gguf":
		return ggufFormat
	case ext == ".safetensors", looksLikeSafetensors(head, size):
		return safetensorsFormat
	case pickleKind(ext, head) != "":
		return pickleFormat
	}
	return none
}

// Read yields the one Item of a file.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		name := filepath.ToSlash(firstOf(s.Path, s.Name))
		in := &stream{r: bufio.NewReaderSize(s.R, 1<<20), sum: sha256.New()}
		head, err := in.peek(512)
		if err != nil {
			yield(importer.Item{}, fmt.Errorf("reading weights: %w", err))
			return
		}
		f := &file{in: in, path: s.Path, name: name, kept: nil, entity: &statement.Entity{State: "described", Attributes: map[string]string{}}}
		switch formatOf(name, head, -1) {
		case safetensorsFormat:
			err = f.safetensors()
		case ggufFormat:
			err = f.gguf()
		case pickleFormat:
			err = f.pickle(head)
		case pointerFormat:
			err = f.pointer()
		default:
			f.refuse(NotWeights, "first bytes", "are those of no safetensors, GGUF or pickle file, and the name ends with none of .safetensors, .gguf, .pt, .pth, .ckpt, .pkl, .bin")
		}
		var read *readError
		if errors.As(err, &read) {
			yield(importer.Item{}, fmt.Errorf("reading weights: %w", read.err))
			return
		}
		yield(f.item(), nil)
	}
}

// readError is a failure of the reader, in contrast to an end that comes early.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }

var errEnd = errors.New("the file ends early")

// stream hands out a file from its beginning and sums up all that it saw.
type stream struct {
	r   *bufio.Reader
	sum hash.Hash
	n   int64 // bytes handed out
}

// peek gives the first bytes without handing them out.
func (s *stream) peek(n int) ([]byte, error) {
	b, err := s.r.Peek(n)
	if err == io.EOF {
		err = nil
	}
	return b, err
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.sum.Write(p[:n])
	s.n += int64(n)
	if err != nil && err != io.EOF {
		err = &readError{err}
	}
	return n, err
}

// takeAtOnce is how many bytes are allocated before they are there.
const takeAtOnce = 64 << 10

// take reads n bytes. It allocates more than a little only as they come,
// whatever n says.
func (s *stream) take(n int64) ([]byte, error) {
	var out []byte
	var k int64
	var err error
	if n <= takeAtOnce {
		var m int
		out = make([]byte, n)
		m, err = io.ReadFull(s, out)
		out, k = out[:m], int64(m)
	} else {
		var b bytes.Buffer
		k, err = io.CopyN(&b, s, n)
		out = b.Bytes()
	}
	var read *readError
	if errors.As(err, &read) {
		return nil, err
	}
	if k < n {
		return out, fmt.Errorf("%w: %d of %d bytes are there", errEnd, k, n)
	}
	return out, nil
}

// rest passes over the rest of the file.
func (s *stream) rest() error {
	_, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{s}, make([]byte, 1<<20))
	return err
}

// file is a file of weights, being read.
type file struct {
	in        *stream
	path      string
	name      string
	kept      []byte // the evidence
	mediaType string
	redacted  []string
	digest    string // SHA-256 of the file, in hexadecimal
	ref       prov.Ref
	entity    *statement.Entity
	from      []statement.DerivedInput
	notes     []string
	refusal   *importer.Refusal
	sum       string // of kept, once it was asked for
}

func (f *file) refuse(reason, place, format string, args ...any) {
	if f.refusal == nil {
		f.refusal = &importer.Refusal{Reason: reason, Detail: rawjson.Clip(place+" "+fmt.Sprintf(format, args...), 1000)}
	}
}

func (f *file) note(format string, args ...any) {
	if s := rawjson.Clip(fmt.Sprintf(format, args...), 500); len(f.notes) < 50 && !slices.Contains(f.notes, s) {
		f.notes = append(f.notes, s)
	}
}

// maxText is the longest text that becomes an attribute, in bytes.
const maxText = 1000

func (f *file) attr(key, value string) {
	if value = strings.TrimSpace(strings.ToValidUTF8(value, "\uFFFD")); value != "" {
		f.entity.Attributes[key] = rawjson.Clip(value, maxText)
	}
}

// end reads the rest of the file, so that its digest and size are known.
func (f *file) end() error {
	if err := f.in.rest(); err != nil {
		return err
	}
	f.digest = hex.EncodeToString(f.in.sum.Sum(nil))
	f.attr("size", fmt.Sprint(f.in.n))
	return nil
}

// keptSum is the SHA-256 of the evidence, in hexadecimal. The evidence must be
// whole.
func (f *file) keptSum() string {
	if f.sum == "" {
		sum := sha256.Sum256(f.kept)
		f.sum = hex.EncodeToString(sum[:])
	}
	return f.sum
}

// source adds a thing that the weights were made of, as the header names it.
func (f *file) source(kind prov.Kind, text, how, key string) {
	text = strings.ToValidUTF8(text, "\uFFFD")
	r, hub := huggingface.Named(kind, text, "", f.keptSum())
	if r.IsZero() {
		return
	}
	if !hub && strings.HasPrefix(r.Version, "named-in:") {
		f.note("%q in %s is no id of the hub and no URL; the name counts within this file only", rawjson.Clip(text, 200), key)
	}
	f.add(statement.DerivedInput{Resource: statement.NewResource(r, nil), Transformation: how})
}

func (f *file) add(d statement.DerivedInput) {
	same := func(o statement.DerivedInput) bool { return o.Ref == d.Ref && o.Transformation == d.Transformation }
	if len(f.from) < 1000 && !slices.ContainsFunc(f.from, same) {
		f.from = append(f.from, d)
	}
}

// trainingState names files of a training that hold no weights of the model.
var trainingState = regexp.MustCompile(`^(training_args\.bin|(optimizer|scheduler|scaler|rng_state.*)\.(pt|pth|bin))$`)

// named labels the file: by its place in the cache of the hub, else by its
// name with the beginning of its digest, because many files are called
// model.safetensors.
func (f *file) named() {
	kind := prov.Model
	if trainingState.MatchString(path.Base(f.name)) {
		kind = prov.File
	}
	p := huggingface.Locate(f.path)
	switch {
	case !p.Repo.IsZero():
		f.ref = prov.Ref{Kind: kind, Name: p.Repo.Name + "/" + firstOf(p.File, "blobs/"+path.Base(f.name)), Version: p.Repo.Version}
	default:
		base := path.Base(f.name)
		if base == "-" || base == "." || base == "/" {
			base = "weights"
		}
		f.ref = prov.Ref{Kind: kind, Name: rawjson.Secrets(strings.ToValidUTF8(base, "\uFFFD")), Version: "sha256:" + f.digest[:16]}
	}
	repo, how := huggingface.RepoOf(f.path)
	if repo.IsZero() || repo.Kind != prov.Model && how == "card" {
		return
	}
	if how == "card" {
		f.note("the file is taken as a part of the model that the README.md beside it names")
	}
	// The file came with the model that it is a part of, so what that one was
	// made of counts for it. Closures do not walk PartOf.
	f.entity.PartOf = []statement.Resource{statement.NewResource(repo, nil)}
	f.add(statement.DerivedInput{Resource: statement.NewResource(repo, nil), Transformation: "part-of"})
}

func (f *file) item() importer.Item {
	it := importer.Item{Place: "file", Bytes: f.in.n}
	if f.refusal != nil {
		it.Refusal = f.refusal
		return it
	}
	f.named()
	digest := statement.DigestSet{"sha256": f.digest}
	f.in.sum.Sum(it.Original[:0])
	if len(f.from) > 0 {
		f.entity.Derived = []statement.Derivation{{To: statement.NewResource(f.ref, digest), From: f.from, Rule: statement.RuleStated}}
	}
	ev := importer.NewEvidence(Importer{}, f.mediaType, sha256.Sum256(f.kept), len(f.kept))
	ev.Name, ev.Redacted, ev.Notes = "header of sha256:"+f.digest, f.redacted, f.notes
	f.entity.Evidence = []statement.Evidence{ev}
	d := importer.Draft{Subjects: []statement.Subject{statement.NewSubject(f.ref, digest)}, Predicate: f.entity}
	if _, err := statement.Format(d.Subjects, d.Predicate); err != nil {
		it.Refusal = &importer.Refusal{Reason: BadHeader, Detail: rawjson.Clip("the header makes no valid statement: "+err.Error(), 1000)}
		return it
	}
	it.Evidence, it.Statements, it.Notes = f.kept, []importer.Draft{d}, f.notes
	return it
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

var pointerText = regexp.MustCompile(`^version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,19})\n?$`)

// pointer reads a Git LFS pointer (version 1): the digest is that of the file
// which is not there.
func (f *file) pointer() error {
	b, err := f.in.take(1025) // a pointer is shorter than 1024 bytes
	if err != nil && !errors.Is(err, errEnd) {
		return err
	}
	m := pointerText.FindSubmatch(b)
	if m == nil {
		f.refuse(BadPointer, "the file", "begins as a Git LFS pointer and does not go on as one; fetch it again with git lfs pull")
		return nil
	}
	f.kept, f.mediaType, f.digest = b, "text/plain", string(m[1])
	f.attr("size", string(m[2]))
	f.attr("format", "git-lfs-pointer")
	f.note("the file is a Git LFS pointer: the digest is what it says, and the weights were not read")
	return nil
}
