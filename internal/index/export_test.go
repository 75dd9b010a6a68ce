package index

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stemma-lineage/stemma/vindex"
)

// Bytes gives the bytes of the file.
func (x *Index) Bytes(t testing.TB, logRoot vindex.Hash) []byte {
	var b bytes.Buffer
	if err := x.write(&b, logRoot); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Decode reads the bytes of a file.
var Decode = decode

// Resum puts right the checksums of a file whose lengths are right.
func Resum(b []byte) {
	head := len(magic) + 4
	if len(b) < head {
		return
	}
	head += int(binary.LittleEndian.Uint32(b[len(magic):])) + 64
	if head < 0 || len(b) < head+4 {
		return
	}
	binary.LittleEndian.PutUint32(b[head:], crc32.Checksum(b[:head], castagnoli))
	lengths := b[head-24 : head]
	b = b[head+4:]
	for ; len(lengths) > 0; lengths = lengths[8:] {
		n := binary.LittleEndian.Uint64(lengths)
		if uint64(len(b)) < 4 || uint64(len(b))-4 < n {
			return
		}
		binary.LittleEndian.PutUint32(b[n:], crc32.Checksum(b[:n], castagnoli))
		b = b[n+4:]
	}
}
