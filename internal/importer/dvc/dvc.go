// Package dvc makes statements out of the files that DVC (Data Version
// Control) keeps in Git: dvc.lock (schema 1.0 and 2.0), *.dvc files, and
// dvc.yaml, which is the plan that a dvc.lock followed.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-dvc.md.
package dvc

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/internal/importer/rawyaml"
	"github.com/stemma-lineage/stemma/statement"
)

// The classes of refusals beside those of rawjson.
const (
	BadYAML   = "bad-yaml"
	NotDVC    = "not-dvc"
	BadSchema = "unknown-schema"
	BadStage  = "bad-stage"
	BadOutput = "bad-output"
	TooMany   = "too-many-files"
	Aside     = "nothing-to-record" // a listing of the cache, a plan without stages
)

// maxFiles is how many dependencies or outputs a stage may have.
const maxFiles = 20_000

// Importer reads the files of DVC.
type Importer struct{}

// Name gives "dvc".
func (Importer) Name() string { return "dvc" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

var (
	lockHead = regexp.MustCompile(`(?m)^(stages|schema|datasets)["']?:|^[ \t]+["']?cmd["']?:`)
	planHead = regexp.MustCompile(`(?m)^(stages|vars|params|metrics|plots|artifacts|datasets)["']?:`)
	fileHead = regexp.MustCompile(`(?m)^(outs|deps|cmd|wdir|frozen)["']?:`)
	cacheDir = regexp.MustCompile(`(?:^|/)(?:\.dvc/cache|files/md5)(?:/.+)?/[0-9a-f]{2}/[0-9a-f]{30}\.dir$`)
)

type format int

const (
	none format = iota
	lockFormat
	planFormat
	fileFormat
	listFormat
)

func formatOf(path string, head []byte) format {
	base := path[strings.LastIndexByte(path, '/')+1:]
	switch {
	case base == "dvc.lock" && lockHead.Match(head):
		return lockFormat
	case base == "dvc.yaml" && planHead.Match(head):
		return planFormat
	case (base == "Dvcfile" || strings.HasSuffix(base, ".dvc") && base != ".dvc") && fileHead.Match(head):
		return fileFormat
	case cacheDir.MatchString(path):
		return listFormat
	}
	return none
}

// Recognise tells whether the file is one of DVC's.
func (Importer) Recognise(h *importer.Head) bool { return formatOf(h.Path, h.Bytes) != none }

// Read yields an Item for each stage of a dvc.lock or dvc.yaml, and one for a
// *.dvc file. All Items of a file have the same evidence.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		raw, err := io.ReadAll(io.LimitReader(s.R, rawyaml.MaxBytes+1))
		if err != nil {
			yield(importer.Item{}, fmt.Errorf("reading a DVC file: %w", err))
			return
		}
		r := &reader{yield: yield, raw: raw, original: sha256.Sum256(raw)}
		name := s.Path
		if name == "" {
			name = s.Name
		}
		r.read(filepath.ToSlash(name))
	}
}

type reader struct {
	yield    func(importer.Item, error) bool
	raw      []byte
	original [sha256.Size]byte
	file     rawyaml.File
	sum      [sha256.Size]byte // of file.Kept
	stopped  bool
	items    int
}

func (r *reader) read(path string) {
	f := formatOf(path, r.raw)
	if f == listFormat {
		r.refuse("file", Aside, "a list of the files in a folder of DVC's cache; the dvc.lock or *.dvc file that names the folder says where it lies")
		return
	}
	if len(r.raw) > rawyaml.MaxBytes {
		r.refuse("file", rawjson.TooLarge, "the file holds more than %d bytes", rawyaml.MaxBytes)
		return
	}
	var err error
	if r.file, err = rawyaml.Read(r.raw); err != nil {
		r.refuse("file", BadYAML, "the file %v; mend it, or write it anew with dvc repro or dvc commit", err)
		return
	}
	r.sum = sha256.Sum256(r.file.Kept)
	root := r.file.Root
	if !root.Given() || root.Kind() != '{' {
		r.refuse("file", Aside, "the file holds no mapping; there is nothing in it")
		return
	}
	if f == none { // named in another way: told by its content
		switch {
		case root.Get("outs").Given():
			f = fileFormat
		case root.Get("schema").Given() || !root.Get("stages").Given():
			f = lockFormat
		default:
			f = planFormat
		}
	}
	switch f {
	case lockFormat:
		r.lock(root)
	case planFormat:
		r.plan(root)
	default:
		r.single(root)
	}
	if r.items == 0 && !r.stopped {
		r.refuse("file", Aside, "the file names no stage and no output")
	}
}

func (r *reader) give(it importer.Item) {
	if r.stopped {
		return
	}
	if r.items == 0 {
		it.Bytes = int64(len(r.raw))
	}
	r.items++
	it.Original = r.original
	r.stopped = !r.yield(it, nil)
}

func (r *reader) refuse(place, reason, format string, args ...any) {
	r.give(importer.Item{Place: rawjson.Clip(place, 200), Refusal: &importer.Refusal{Reason: reason, Detail: rawjson.Clip(fmt.Sprintf(format, args...), 1000)}})
}

// unit is what becomes one Item.
type unit struct {
	r       *reader
	place   string
	out     []importer.Draft
	notes   []string
	refusal *importer.Refusal
}

func (u *unit) refuse(reason, format string, args ...any) {
	if u.refusal == nil {
		u.refusal = &importer.Refusal{Reason: reason, Detail: rawjson.Clip(fmt.Sprintf(format, args...), 1000)}
	}
}

func (u *unit) note(format string, args ...any) {
	if s := rawjson.Clip(fmt.Sprintf(format, args...), 500); len(u.notes) < 50 && !slices.Contains(u.notes, s) {
		u.notes = append(u.notes, s)
	}
}

// finish gives the Item, with the evidence in each of its statements.
func (u *unit) finish() {
	for _, p := range u.r.file.Repeated {
		u.note("%s occurs more than once; the last one counts", p)
	}
	ev := importer.NewEvidence(Importer{}, "application/yaml", u.r.sum, len(u.r.file.Kept))
	ev.Name, ev.Redacted, ev.Notes = rawjson.Clip(u.place, 200), u.r.file.Redacted, u.notes
	for _, d := range u.out {
		switch p := d.Predicate.(type) {
		case *statement.Activity:
			p.Evidence = []statement.Evidence{ev}
		case *statement.Entity:
			p.Evidence = []statement.Evidence{ev}
		}
		if u.refusal == nil {
			if payload, err := statement.Format(d.Subjects, d.Predicate); err != nil {
				u.refuse(BadStage, "makes no valid statement: %v", err)
			} else if len(payload) > statement.MaxPayload {
				u.refuse(TooMany, "makes a statement of %d bytes, the limit is %d", len(payload), statement.MaxPayload)
			}
		}
	}
	it := importer.Item{Place: rawjson.Clip(u.place, 200)}
	switch {
	case u.refusal != nil:
		it.Refusal = u.refusal
	case len(u.out) == 0:
		it.Refusal = &importer.Refusal{Reason: Aside, Detail: "says nothing that can be recorded"}
	default:
		it.Evidence, it.Statements, it.Notes = u.r.file.Kept, u.out, u.notes
	}
	u.r.give(it)
}

func hash16(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
