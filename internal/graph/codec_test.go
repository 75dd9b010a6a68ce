package graph

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"
)

// FuzzDecode reads snapshots that were damaged: they are refused, or they are
// what Encode wrote.
func FuzzDecode(f *testing.F) {
	good := small(f).Encode()
	f.Add(good, false)
	f.Add(good, true)
	f.Add(New().Encode(), true)
	f.Add(good[:len(good)/2], true)
	f.Add(good[:16], true)
	f.Add([]byte{}, false)
	for _, at := range []int{8, 16, 24, 200, len(good) - 8} {
		bad := append([]byte(nil), good...)
		bad[at] ^= 0xff
		f.Add(bad, at > 16)
	}
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		b = append([]byte(nil), b...)
		if seal {
			reseal(b)
		}
		g, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrSnapshot) || g != nil {
				t.Fatalf("Decode gave %v, %v; want an ErrSnapshot and no graph", g != nil, err)
			}
			return
		}
		if err := g.thaw(); err != nil {
			if !errors.Is(err, ErrSnapshot) {
				t.Fatalf("the fold's sections: %v; want an ErrSnapshot", err)
			}
			return
		}
		if g.Size() != uint64(g.recorded.len()) || g.Things() < 0 || g.Relations() < 0 {
			t.Fatal("the graph has no size")
		}
	})
}

// reseal makes all checksums right, so that what the sections say is read.
func reseal(b []byte) {
	if len(b) < headerSize {
		return
	}
	copy(b, magic[:])
	n := int(min(binary.LittleEndian.Uint32(b[12:]), 1000))
	if len(b) < headerSize+tableRow*n {
		return
	}
	rest := b[headerSize+tableRow*n:]
	for i := range n {
		row := b[headerSize+tableRow*i:]
		size, count := binary.LittleEndian.Uint64(row), binary.LittleEndian.Uint64(row[8:])
		if size == 0 || count > uint64(len(rest))/size {
			break
		}
		end := min(count*size+padOf(count*size), uint64(len(rest)))
		binary.LittleEndian.PutUint64(row[16:], uint64(crc32.Checksum(rest[:end], castagnoli)))
		rest = rest[end:]
	}
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b[headerSize:headerSize+tableRow*n], castagnoli))
}

// TestDamage flips each byte of a snapshot in turn: none goes unnoticed by
// Decode, or where only the fold needs it, by the next Fold.
func TestDamage(t *testing.T) {
	good := small(t).Encode()
	late := 0
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1
		g, err := Decode(bad)
		if err == nil {
			late++
			err = g.Fold(g.Size(), []byte("{}"))
			if errors.Is(err, ErrSnapshot) && !errors.Is(g.Fold(g.Size(), []byte("{}")), ErrSnapshot) {
				t.Fatalf("byte %d is changed: the second Fold does not tell", i)
			}
		}
		if !errors.Is(err, ErrSnapshot) {
			t.Fatalf("byte %d is changed: %v, want %v", i, err, ErrSnapshot)
		}
	}
	if late == 0 || late == len(good) {
		t.Errorf("%d of %d bytes were checked late; want some", late, len(good))
	}
	for _, n := range []int{0, 1, 15, 16, 17, len(good) - 1} {
		if _, err := Decode(good[:n:n]); !errors.Is(err, ErrSnapshot) {
			t.Errorf("cut to %d bytes: %v, want %v", n, err, ErrSnapshot)
		}
	}
	if _, err := Decode(append(good[:len(good):len(good)], 0)); !errors.Is(err, ErrSnapshot) {
		t.Errorf("a byte more: %v, want %v", err, ErrSnapshot)
	}
	if _, err := Decode(good); err != nil {
		t.Errorf("the snapshot itself: %v", err)
	}
}
