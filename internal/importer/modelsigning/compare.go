package modelsigning

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/blake2b"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

// compare hashes the files of the model that lie in the folder of the signature
// and gives their paths. A file that differs makes the check failed; what is
// absent or cannot be read is noted, since a model may be there in part.
func (m *model) compare(dir string) []string {
	folder, err := os.OpenRoot(dir) // nothing outside of it is read, by link or name
	if err != nil {
		m.note("the files of the model were not compared: %v", err)
		return nil
	}
	defer folder.Close()
	var covers, differ, absent []string
	same := 0
	for _, r := range m.resources {
		name := m.onDisk(r)
		if name == "" {
			m.note("%s is no path below the model's folder, and was not compared", rawjson.Clip(r.path, 200))
			continue
		}
		got, err := digestOf(folder, name, r)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			absent = append(absent, r.path)
			continue
		case errors.Is(err, errAlgorithm):
			m.note("%s was not compared: its digest is a %s, which is not computed here", rawjson.Clip(r.path, 200), r.algorithm)
			continue
		case err != nil:
			m.note("%s was not compared: %v", rawjson.Clip(r.path, 200), err)
			continue
		case got == r.digest:
			same++
		default:
			differ = append(differ, fmt.Sprintf("%s is %s, signed was %s", r.path, got, r.digest))
		}
		if p := filepath.Join(dir, filepath.FromSlash(name)); len(covers) == 0 || covers[len(covers)-1] != p {
			covers = append(covers, p)
		}
	}
	m.report(same, differ, absent)
	return covers
}

func (m *model) report(same int, differ, absent []string) {
	if same+len(differ) == 0 {
		if len(absent) > 0 {
			m.note("none of the model's files lies beside the signature; only the signature was checked")
		}
		return
	}
	for _, p := range absent {
		m.note("%s is signed, and does not lie beside the signature", rawjson.Clip(p, 200))
	}
	for _, d := range differ {
		m.note("differs from what was signed: %s", d)
	}
	if len(differ) > 0 {
		was := "the signature is " + m.check.Result
		if m.check.Result == statement.CheckVerified {
			was = "the signature holds"
		}
		m.fail("%s, and %d of the %d files beside it differ from what was signed: %s", was, len(differ), same+len(differ), differ[0])
	}
}

// onDisk gives the path of the resource's file below the folder, or "" when
// its name leads out of it.
func (m *model) onDisk(r resource) string {
	name := r.path
	if name == "." {
		name = m.name
	}
	if !fs.ValidPath(path.Clean(name)) || path.Clean(name) == "." || strings.Contains(name, "\x00") || strings.Contains(name, `\`) {
		return ""
	}
	return path.Clean(name)
}

var errAlgorithm = errors.New("algorithm not computed here")

func digestOf(folder *os.Root, name string, r resource) (string, error) {
	h := newHash(r.algorithm)
	st, err := folder.Stat(filepath.FromSlash(name)) // before it is opened: a pipe would block
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() {
		return "", errors.New("it is no regular file")
	}
	if h == nil {
		return "", errAlgorithm
	}
	f, err := folder.Open(filepath.FromSlash(name))
	if err != nil {
		return "", err
	}
	defer f.Close()
	var in io.Reader = f
	if r.shard {
		in = io.NewSectionReader(f, r.start, r.end-r.start)
	}
	if _, err := io.Copy(h, in); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "sha256":
		return sha256.New()
	case "sha384":
		return sha512.New384()
	case "sha512":
		return sha512.New()
	case "blake2b":
		h, err := blake2b.New512(nil)
		if err != nil {
			return nil
		}
		return h
	}
	return nil
}

var _ importer.Importer = Importer{}
