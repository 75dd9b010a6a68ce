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
		if seal && len(b) >= 16 { // so that the sections are read
			copy(b, magic[:])
			binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b[16:], castagnoli))
		}
		g, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrSnapshot) || g != nil {
				t.Fatalf("Decode gave %v, %v; want an ErrSnapshot and no graph", g != nil, err)
			}
			return
		}
		if g.Size() != uint64(len(g.recorded)) || g.Things() < 0 || g.Relations() < 0 {
			t.Fatal("the graph has no size")
		}
	})
}

// TestDamage flips each byte of a snapshot in turn: none goes unnoticed but
// the four that are always zero.
func TestDamage(t *testing.T) {
	good := small(t).Encode()
	for i := range good {
		if i >= 12 && i < 16 {
			continue
		}
		bad := append([]byte(nil), good...)
		bad[i] ^= 1
		if _, err := Decode(bad); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("byte %d is changed: %v, want %v", i, err, ErrSnapshot)
		}
	}
	for _, n := range []int{0, 1, 15, 16, 17, len(good) - 1} {
		if _, err := Decode(good[:n:n]); !errors.Is(err, ErrSnapshot) {
			t.Errorf("cut to %d bytes: %v, want %v", n, err, ErrSnapshot)
		}
	}
	if _, err := Decode(good); err != nil {
		t.Errorf("the snapshot itself: %v", err)
	}
}
