package statement

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEntryHasOneForm(t *testing.T) {
	want := Entry{RecordedAt: time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC), RecordedBy: `person:a"b,"envelope":c`, Envelope: []byte(`{"payloadType":"x"}`)}
	b, err := FormatEntry(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseEntry(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("reading what was written (-want +got):\n%s", d)
	}
	for _, bad := range [][]byte{nil, []byte("{}"), append([]byte(" "), b...), append(bytes.Clone(b), '\n'), b[:len(b)-1],
		bytes.Replace(b, []byte("12:00:00.000000005Z"), []byte("12:00:00.000000005+00:00"), 1),
		bytes.Replace(b, []byte(`,"envelope"`), []byte(`, "envelope"`), 1)} {
		if _, err := ParseEntry(bad); err == nil {
			t.Errorf("ParseEntry takes %q", bad)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add([]byte(`{"recordedAt":"2026-03-01T12:00:00.000000005Z","recordedBy":"sa:x","envelope":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEntry(b)
		if err != nil {
			return
		}
		if again, err := FormatEntry(e); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q is written again as %q (%v)", b, again, err)
		}
	})
}
