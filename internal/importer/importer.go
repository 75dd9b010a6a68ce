// Package importer is the border between foreign formats and statements.
//
// An importer reads the bytes of one format and yields one Item for each unit
// of it (for OpenLineage an event, for others a line, a document or a row).
// An Item holds the bytes to keep as evidence, with secrets taken out, and the
// statements that they make, or says why there are none. One folder a format.
package importer

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"iter"

	"github.com/stemma-lineage/stemma/statement"
)

// Importer turns the bytes of one format into Items.
type Importer interface {
	// Name and Version are written into the evidence of each statement. The
	// version changes whenever the same bytes give other statements.
	Name() string
	Version() string
	// Recognise tells whether a file is of this format, from its name and
	// beginning. It is for `stemma import auto`, which asks the formats in a
	// fixed order and takes the first that says yes, so it says yes only to
	// what no other format claims.
	Recognise(h *Head) bool
	// Read yields an Item for each unit of s, in order. A unit that is not
	// accepted is an Item with a Refusal and never stops the rest. The error
	// is for failures of reading only, and ends the sequence. Memory is
	// bounded by the largest unit that the importer accepts.
	Read(s Source) iter.Seq2[Item, error]
}

// FolderImporter is an Importer for which a folder can be one thing, such as a
// git repository.
type FolderImporter interface {
	Importer
	// Folder tells whether dir is such a thing, and the file by whose path it
	// is read.
	Folder(dir string) (path string, ok bool)
}

// Source is one file to read, or standard input.
type Source struct {
	Name string    // as the person gave it, for messages
	Path string    // on disk, empty for standard input; for formats of several files
	R    io.Reader // its bytes, from the beginning
}

// Item is what an importer makes of one unit of its input.
//
// Its statements are a function of Evidence alone: they hold nothing that was
// redacted, and depend on no other Item, so that importing twice or in another
// order gives the same statements.
type Item struct {
	Place  string // where a person finds it: "line 12", "[3]"
	Offset int64  // of its first byte, counted from the start of the input
	Bytes  int64  // how many bytes of the input it covers, kept or not

	// Evidence is what to keep as a blob: the bytes as they were received, or
	// with secrets replaced. It is nil when the Item is refused.
	Evidence []byte
	// Original is the SHA-256 of the bytes as they were received. Where they
	// held a secret it differs from the digest of Evidence and must not be
	// kept: a short secret can be guessed from it.
	Original [sha256.Size]byte

	// Covers lists the other files, by path, that the unit was made of, such
	// as the parameters of an MLflow run that lie beside its meta.yaml.
	Covers []string

	Statements []Draft
	// Registries tells what aliases pointed at when somebody looked, for
	// sources that tell no time of it.
	Registries []RegistryState
	Refusal    *Refusal // nil when the Item is accepted
	Notes      []string // what had to be assumed or was left in the evidence only
}

// Draft is a statement that is not yet signed. Its predicate names the
// evidence that it was made from.
type Draft struct {
	Subjects  []statement.Subject
	Predicate statement.Predicate
}

// Evidence gives what the predicate says that it was made from.
func (d Draft) Evidence() []statement.Evidence {
	switch p := d.Predicate.(type) {
	case *statement.Activity:
		return p.Evidence
	case *statement.Entity:
		return p.Evidence
	case *statement.Approval:
		return p.Evidence
	case *statement.Deployment:
		return p.Evidence
	case *statement.Registry:
		return p.Evidence
	case *statement.Identity:
		return p.Evidence
	case *statement.Delegation:
		return p.Evidence
	case *statement.Notice:
		return p.Evidence
	}
	return nil
}

// Checked gives what checking the signatures of the Item's evidence gave, nil
// where it is of a kind that carries none.
func (it Item) Checked() *statement.EvidenceCheck {
	for _, d := range it.Statements {
		for _, e := range d.Evidence() {
			if e.Verified != nil {
				return e.Verified
			}
		}
	}
	return nil
}

// Refusal says why a unit of the input made no statement.
type Refusal struct {
	Reason string // a stable class, such as "malformed-json" or "missing-run-id"
	Detail string // what is wrong, where, and what to do about it
}

func (r *Refusal) Error() string { return r.Reason + ": " + r.Detail }

// NewEvidence describes the bytes that an Item keeps: their SHA-256 and size.
func NewEvidence(im Importer, mediaType string, sum [sha256.Size]byte, size int) statement.Evidence {
	return statement.Evidence{
		Digest:          statement.DigestSet{"sha256": hex.EncodeToString(sum[:])},
		MediaType:       mediaType,
		Size:            int64(size),
		Importer:        im.Name(),
		ImporterVersion: im.Version(),
	}
}
