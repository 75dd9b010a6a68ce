package evlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stemma-lineage/stemma/internal/durable"
)

// Blobs keeps evidence: bytes by their SHA-256, one file each, under
// sha256/ab/cdef…. In the place of one that was erased stands cdef….erased,
// with the text that says by what; such bytes are not kept again.
type Blobs struct{ dir string }

// OpenBlobs keeps blobs in dir, which is made when first needed.
func OpenBlobs(dir string) Blobs { return Blobs{dir} }

func (b Blobs) path(digest string) string {
	return filepath.Join(b.dir, "sha256", digest[:2], digest[2:])
}

// Put keeps what r gives and returns its SHA-256 in hexadecimal and its size.
func (b Blobs) Put(r io.Reader) (digest string, size int64, err error) {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return "", 0, fmt.Errorf("keeping evidence: %w", explain(err))
	}
	f, err := os.CreateTemp(b.dir, ".new-*")
	if err != nil {
		return "", 0, fmt.Errorf("keeping evidence: %w", explain(err))
	}
	defer os.Remove(f.Name())
	h := sha256.New()
	size, err = io.Copy(io.MultiWriter(f, h), r)
	digest = hex.EncodeToString(h.Sum(nil))
	path := b.path(digest)
	if why := b.Erased(digest); err == nil && why != nil {
		f.Close()
		return "", 0, fmt.Errorf("keeping evidence: %w", why)
	}
	if err == nil && b.Has(digest) {
		f.Close()
		return digest, size, nil
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err := durable.Finish(f, path, err); err != nil {
		return "", 0, fmt.Errorf("keeping evidence: %w", explain(err))
	}
	return digest, size, nil
}

// PutBytes keeps data, which costs nothing when it is kept already.
func (b Blobs) PutBytes(data []byte) (digest string, err error) {
	sum := sha256.Sum256(data)
	if digest = hex.EncodeToString(sum[:]); b.Has(digest) {
		return digest, nil
	}
	digest, _, err = b.Put(bytes.NewReader(data))
	return digest, err
}

// Has tells whether a blob is there.
func (b Blobs) Has(digest string) bool {
	if len(digest) != 64 {
		return false
	}
	_, err := os.Stat(b.path(digest))
	return err == nil
}

// Open opens a blob.
func (b Blobs) Open(digest string) (io.ReadCloser, error) {
	if !isDigest(digest) {
		return nil, fmt.Errorf("%w: %q is no SHA-256", ErrNotFound, digest)
	}
	f, err := os.Open(b.path(digest))
	if errors.Is(err, os.ErrNotExist) {
		if why := b.Erased(digest); why != nil {
			return nil, why
		}
		return nil, fmt.Errorf("%w: no evidence is kept under %s", ErrNotFound, digest)
	}
	return f, err
}

const erasedSuffix = ".erased"

// Erased says, as an error, that the evidence was erased, and by what; nil: it
// was not.
func (b Blobs) Erased(digest string) error {
	if len(digest) != 64 {
		return nil
	}
	why, err := os.ReadFile(b.path(digest) + erasedSuffix)
	if err != nil {
		return nil
	}
	return fmt.Errorf("evidence sha256:%s: %w %s; it is not kept again", digest, ErrErased, strings.TrimSpace(string(why)))
}

// Erase removes a blob for good, and leaves a note in its place that says why:
// "by entry 40 of acme.example/fraud". Doing it twice does it once.
func (b Blobs) Erase(digest, why string) error {
	if !isDigest(digest) {
		return fmt.Errorf("erasing evidence: %w: %q is no SHA-256", ErrNotFound, digest)
	}
	path := b.path(digest)
	if err := durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("erasing evidence: %w", explain(err))
	}
	if err := durable.WriteFile(path+erasedSuffix, []byte(why+"\n"), 0o644); err != nil {
		return fmt.Errorf("erasing evidence: %w", explain(err))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("erasing evidence: %w", explain(err))
	}
	return durable.SyncDir(filepath.Dir(path))
}

func isDigest(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// Fsck compares every blob with its name.
func (b Blobs) Fsck() (n int, findings []string, err error) {
	err = filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) && path == b.dir {
			return nil
		}
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		if name, erased := strings.CutSuffix(d.Name(), erasedSuffix); erased {
			if name = filepath.Base(filepath.Dir(path)) + name; b.Has(name) {
				findings = append(findings, fmt.Sprintf("evidence %s: it was erased, and is here", name))
			}
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		n++
		if name := filepath.Base(filepath.Dir(path)) + d.Name(); name != hex.EncodeToString(h.Sum(nil)) {
			findings = append(findings, fmt.Sprintf("evidence %s: its bytes have another digest", name))
		}
		return nil
	})
	return n, findings, err
}
