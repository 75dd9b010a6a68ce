package bundle

import (
	"archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
)

// store writes a zip file in the one form that a proof's bundle has (PKWARE
// APPNOTE 6.3): members stored, each header complete before its data, no
// extra fields, made at 1980-01-01 00:00. Another program can write the same
// bytes.
func store(files []file) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(f.data), CompressedSize64: uint64(len(f.data)),
			UncompressedSize64: uint64(len(f.data)), CreatorVersion: 20, ReaderVersion: 20}
		h.ModifiedDate = 1<<5 | 1 //nolint:staticcheck // the field that is written, without an extra field
		m, err := w.CreateRaw(h)
		if err == nil {
			_, err = m.Write(f.data)
		}
		if err != nil {
			return nil, fmt.Errorf("writing bundle: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("writing bundle: %w", err)
	}
	return b.Bytes(), nil
}
