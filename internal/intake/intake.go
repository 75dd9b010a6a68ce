// Package intake walks the paths that a person wants to import and finds out
// which format each file is of. It reads the beginning of each file only.
package intake

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stemma-lineage/stemma/internal/importer"
)

// File is one file that was found.
type File struct {
	Path   string
	Size   int64
	Format importer.Importer // nil when the file is not to be read; Why says why
	Why    Why
	Err    error // of CannotRead
}

// Why says why a file is not read.
type Why string

// The reasons.
const (
	NotRecognised Why = "not recognised"
	Empty         Why = "empty file"
	Link          Why = "symbolic link, not followed"
	Special       Why = "not a regular file"
	CannotRead    Why = "cannot be read"
	OwnFolder     Why = "folder of Stemma's or git's own, not entered"
	PartOf        Why = "part of another" // set by the caller, from importer.Item.Covers
)

// ownFolders are not entered: what lies in them belongs to their programs.
var ownFolders = map[string]bool{".stemma": true, ".git": true}

// Find lists the files at and below path, in the order of their names, each
// with the first of formats that recognises it. The error is for path itself;
// what cannot be read below it is a File that says so. With sure, the person
// has named the format: a path that is a file is of formats[0] without being
// looked at, and a folder that is one thing for it is found as such.
func Find(path string, formats []importer.Importer, sure bool) ([]File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		f := File{Path: path, Size: st.Size()}
		if sure {
			f.Format = formats[0]
		} else if !st.Mode().IsRegular() {
			f.Why = Special
		} else {
			f.recognise(formats)
		}
		return []File{f}, nil
	}
	var folders importer.FolderImporter
	if sure {
		folders, _ = formats[0].(importer.FolderImporter)
	}
	var out []File
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			out = append(out, File{Path: p, Why: CannotRead, Err: err})
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			if folders != nil {
				if file, ok := folders.Folder(p); ok {
					out = append(out, File{Path: file, Format: folders})
					return fs.SkipDir
				}
			}
			if p != path && ownFolders[d.Name()] {
				out = append(out, File{Path: p, Why: OwnFolder})
				return fs.SkipDir
			}
			return nil
		}
		f := File{Path: p}
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			f.Why = Link
		case !d.Type().IsRegular():
			f.Why = Special
		default:
			if st, err := d.Info(); err != nil {
				f.Why, f.Err = CannotRead, err
			} else {
				f.Size = st.Size()
				f.recognise(formats)
			}
		}
		out = append(out, f)
		return nil
	})
	return out, err
}

func (f *File) recognise(formats []importer.Importer) {
	if f.Size == 0 {
		f.Why = Empty
		return
	}
	r, err := os.Open(f.Path)
	if err != nil {
		f.Why, f.Err = CannotRead, err
		return
	}
	defer r.Close()
	head, err := io.ReadAll(io.LimitReader(r, importer.HeadSize))
	if err != nil {
		f.Why, f.Err = CannotRead, err
		return
	}
	f.Format = Recognise(importer.NewHead(filepath.ToSlash(f.Path), f.Size, head), formats)
	if f.Format == nil {
		f.Why = NotRecognised
	}
}

// Recognise gives the first of formats that says yes to the head, or nil.
func Recognise(h *importer.Head, formats []importer.Importer) importer.Importer {
	for _, im := range formats {
		if im.Recognise(h) {
			return im
		}
	}
	return nil
}

// ErrNothing says that there is no file at all to import.
var ErrNothing = errors.New("no file was found")
