package index

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/vindex"
)

// The file, format 1, in little endian:
//
//	magic     8 bytes "stemvix" and the format version
//	version   of the keys: its length (4), its bytes
//	size      8, the number of entries
//	log root  32, the root of the log at that size
//	lengths   8 each: of the map, of the heads, of the arena
//	check     4, CRC-32C of all before
//	sections  map (see vindex), heads (12 each), arena (used blocks), each
//	          followed by its CRC-32C (4)
//
// It is derived from the log and never needed.
const fileVersion = 1

var magic = []byte{'s', 't', 'e', 'm', 'v', 'i', 'x', fileVersion}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrFile says that an index file cannot be used: it is damaged, of another
// format, or of other keys. The index is then made anew from the log.
var ErrFile = errors.New("the index file cannot be used")

// Save writes the index to a file; logRoot is the root of the log at Size. The
// caller applies nothing meanwhile. The file is whole or not there.
func (x *Index) Save(path string, logRoot vindex.Hash) error {
	return durable.Write(path, 0o644, func(w io.Writer) error {
		b := bufio.NewWriterSize(w, 1<<20)
		if err := x.write(b, logRoot); err != nil {
			return err
		}
		return b.Flush()
	})
}

func (x *Index) write(w io.Writer, logRoot vindex.Hash) error {
	var err error
	size := x.Size()
	if e := x.at(size, "saving the index", func(vindex.Snapshot) {
		if err = x.writeSettled(w, logRoot); x.size != size {
			err = fmt.Errorf("saving the index: entries were applied meanwhile; it had %d and has %d", size, x.size)
		}
	}); e != nil {
		return e
	}
	return err
}

func (x *Index) writeSettled(w io.Writer, logRoot vindex.Hash) error {
	heads := make([]byte, 0, 12*len(x.lists.heads))
	for _, h := range x.lists.heads {
		for _, v := range []uint32{h.last, h.count, h.tail} {
			heads = binary.LittleEndian.AppendUint32(heads, v)
		}
	}
	var size counter
	if _, err := x.m.WriteTo(&size); err != nil {
		return err
	}
	b := bytes.Clone(magic)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(x.keys.Version)))
	b = append(b, x.keys.Version...)
	b = binary.LittleEndian.AppendUint64(b, x.size)
	b = append(b, logRoot[:]...)
	for _, n := range []uint64{uint64(size), uint64(len(heads)), uint64(x.lists.used) * unit} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	if _, err := w.Write(b); err != nil {
		return err
	}
	return errors.Join(
		section(w, func(w io.Writer) error { _, err := x.m.WriteTo(w); return err }),
		section(w, func(w io.Writer) error { _, err := w.Write(heads); return err }),
		section(w, func(w io.Writer) error {
			for left, i := int(x.lists.used)*unit, 0; left > 0; left, i = left-pieceSize, i+1 {
				if _, err := w.Write(x.lists.arena[i][:min(left, pieceSize)]); err != nil {
					return err
				}
			}
			return nil
		}))
}

// section writes what fill writes, and its checksum.
func section(w io.Writer, fill func(io.Writer) error) error {
	sum := crc32.New(castagnoli)
	if err := fill(io.MultiWriter(w, sum)); err != nil {
		return err
	}
	_, err := w.Write(binary.LittleEndian.AppendUint32(nil, sum.Sum32()))
	return err
}

// counter counts what is written to it.
type counter uint64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// Load reads an index file and tells the root of the log that it was made
// from: the caller compares it with the root that the log has at Size, and
// takes neither from a file of another log. The error is ErrFile, or that of
// reading the file.
func Load(path string, keys Keys) (x *Index, logRoot vindex.Hash, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, logRoot, err
	}
	if x, logRoot, err = decode(b, keys); err != nil {
		return nil, logRoot, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
	}
	return x, logRoot, nil
}

// decode reads the bytes of a file, and keeps none of them.
func decode(b []byte, keys Keys) (x *Index, logRoot vindex.Hash, err error) {
	head := len(magic) + 4
	if len(b) < head || !bytes.Equal(b[:len(magic)], magic) {
		return nil, logRoot, errors.New("it is of another format")
	}
	head += int(binary.LittleEndian.Uint32(b[len(magic):]))
	if len(b) < head+8+32+24+4 {
		return nil, logRoot, errors.New("it ends too early")
	}
	version := string(b[len(magic)+4 : head])
	d := b[head:]
	size := binary.LittleEndian.Uint64(d)
	logRoot = vindex.Hash(d[8:40])
	var length [3]uint64
	for i := range length {
		length[i] = binary.LittleEndian.Uint64(d[40+8*i:])
	}
	head += 8 + 32 + 24
	if crc32.Checksum(b[:head], castagnoli) != binary.LittleEndian.Uint32(b[head:]) {
		return nil, logRoot, errors.New("its beginning is damaged")
	}
	if version != keys.Version {
		return nil, logRoot, fmt.Errorf("it has the keys of %q and not of %q", version, keys.Version)
	}
	b = b[head+4:]
	var sections [3][]byte
	for i, n := range length {
		if uint64(len(b)) < 4 || uint64(len(b))-4 < n {
			return nil, logRoot, errors.New("it ends too early")
		}
		sections[i] = b[:n]
		if crc32.Checksum(b[:n], castagnoli) != binary.LittleEndian.Uint32(b[n:]) {
			return nil, logRoot, fmt.Errorf("section %d is damaged", i)
		}
		b = b[n+4:]
	}
	if len(b) != 0 {
		return nil, logRoot, fmt.Errorf("%d bytes are too many", len(b))
	}
	x = New(keys)
	x.size = size
	return x, logRoot, x.read(sections[0], sections[1], sections[2])
}

func (x *Index) read(mapped, heads, arena []byte) (err error) {
	if len(heads)%12 != 0 || len(arena)%unit != 0 || uint64(len(arena)) > unit*noBlock {
		return errors.New("its lengths cannot be")
	}
	if x.m, err = vindex.ReadMap(mapped, x.lists.hash); err != nil {
		return err
	}
	x.lists.heads = make([]head, len(heads)/12)
	if x.m.Len() != len(x.lists.heads) {
		return fmt.Errorf("it has %d keys and %d lists", x.m.Len(), len(x.lists.heads))
	}
	for i := range x.lists.heads {
		h := heads[12*i:]
		x.lists.heads[i] = head{binary.LittleEndian.Uint32(h), binary.LittleEndian.Uint32(h[4:]), binary.LittleEndian.Uint32(h[8:])}
	}
	x.lists.used = uint32(len(arena) / unit)
	for len(arena) > 0 {
		piece := make([]byte, pieceSize)
		arena = arena[copy(piece, arena):]
		x.lists.arena = append(x.lists.arena, piece)
	}
	return x.lists.check(x.size)
}
