package capture

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stemma-lineage/stemma/internal/durable"
)

// racy is how much older than its hashing a file must be for its digest to be
// kept in the cache: a file that is written again within the granularity of
// its times would look unchanged. (Git treats its index so: "racy git".)
const racy = time.Second

// cacheEntries is how many digests the cache keeps.
const cacheEntries = 1 << 19

// earlySize is the largest script, source, configuration or prompt that is hashed while the
// run goes on, because people edit those meanwhile.
const earlySize = 1 << 20

func earlyName(path string) bool {
	_, role := recognise(path)
	return edited(role)
}

// content is what a file held in one state.
type content struct {
	digest string // SHA-256 in hexadecimal
	id     identity
}

// errChanged says that a file is not what it was when it was read.
var errChanged = errors.New("it changed during or after the run, before it could be hashed")

// digests hashes files and keeps the digests in a file of the workspace by
// device, inode, size and both times.
type digests struct {
	path string
	once sync.Once  // reads the file when it is first needed
	mu   sync.Mutex // guards what follows
	kept map[identity][sha256.Size]byte
	news int

	ctx    context.Context // its end stops hashing
	racy   time.Duration
	bytes  int64 // hashed, not taken from the cache
	hashed int
}

const cacheMagic = "stemma-digests/1\n"

// cacheRow is 5 numbers of 8 bytes, little-endian, and the digest.
const cacheRow = 5*8 + sha256.Size

func openDigests(path string) *digests {
	return &digests{path: path, ctx: context.Background(), racy: racy, kept: map[identity][sha256.Size]byte{}}
}

// load reads the cache. It is derived: one that is missing, damaged or of
// another version is as good as an empty one.
func (d *digests) load() {
	b, err := os.ReadFile(d.path)
	if err != nil || len(b) < len(cacheMagic)+sha256.Size || !bytes.HasPrefix(b, []byte(cacheMagic)) {
		return
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if s := sha256.Sum256(body); !bytes.Equal(s[:], sum) {
		return
	}
	for rows := body[len(cacheMagic):]; len(rows) >= cacheRow; rows = rows[cacheRow:] {
		n := func(i int) uint64 { return binary.LittleEndian.Uint64(rows[8*i:]) }
		id := identity{dev: n(0), ino: n(1), size: int64(n(2)), mtime: int64(n(3)), ctime: int64(n(4)), regular: true}
		d.kept[id] = [sha256.Size]byte(rows[40:cacheRow])
	}
}

// save writes the cache. A failure costs time only, later.
func (d *digests) save() error {
	d.once.Do(d.load)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.news == 0 || d.path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(d.path), 0o755); err != nil {
		return err
	}
	b := make([]byte, 0, len(cacheMagic)+len(d.kept)*cacheRow+sha256.Size)
	b = append(b, cacheMagic...)
	n := 0
	for id, sum := range d.kept {
		if n++; n > cacheEntries {
			break
		}
		for _, v := range []uint64{id.dev, id.ino, uint64(id.size), uint64(id.mtime), uint64(id.ctime)} {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		b = append(b, sum[:]...)
	}
	sum := sha256.Sum256(b)
	return durable.WriteFile(d.path, append(b, sum[:]...), 0o644)
}

// known gives the digest of a state that was hashed before.
func (d *digests) known(id identity) (string, bool) {
	id.dir, id.regular = false, true
	d.once.Do(d.load)
	d.mu.Lock()
	defer d.mu.Unlock()
	sum, ok := d.kept[id]
	return hex.EncodeToString(sum[:]), ok
}

// hash gives the digest of the file at path in the state want: out of the
// cache, or by reading the file, which must be in that state. It never gives the digest of anything else: a file that is not in
// that state, or leaves it meanwhile, is errChanged.
func (d *digests) hash(path string, want identity) (string, error) {
	if !want.regular {
		return "", errors.New("it is no regular file")
	}
	if sum, ok := d.known(want); ok {
		return sum, nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", plain(err)
	}
	defer f.Close()
	is, err := identifyFile(f)
	if err != nil {
		return "", err
	}
	if !is.same(want) {
		return "", errChanged
	}
	if sum, ok := d.known(is); ok { // its mode or links changed
		return sum, nil
	}
	began := time.Now()
	h := sha256.New()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	n, err := io.CopyBuffer(struct{ io.Writer }{h}, stoppable{d.ctx, f}, *buf)
	if err != nil {
		return "", plain(err)
	}
	after, err := identifyFile(f)
	if err != nil || after != is || n != is.size {
		return "", errChanged
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bytes += n
	d.hashed++
	if max(is.mtime, is.ctime) < began.Add(-d.racy).UnixNano() {
		d.kept[is] = [sha256.Size]byte(h.Sum(nil))
		d.news++
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// stoppable reads until its context ends.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

func (s stoppable) Read(b []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, errors.New("hashing was interrupted")
	}
	return s.r.Read(b)
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 1<<20); return &b }}

func identifyFile(f *os.File) (identity, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return identity{}, err
	}
	return identityOf(&st), nil
}

// plain takes the path out of an error of a file: it is told beside.
func plain(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("it could not be read: %w", pe.Err)
	}
	return err
}

// eachAtOnce calls f for 0 to n-1, several at a time.
func eachAtOnce(n int, f func(i int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
