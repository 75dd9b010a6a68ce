package trace

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEventsOverTheWire(t *testing.T) {
	events := []Event{
		{Kind: Read, Pid: 1, Parent: 2, At: time.Unix(0, 1785542400123456789), Path: "/a", Flags: Create | Exchange},
		{Kind: Exec, Pid: 1 << 30, Path: "/bin/sh", Argv: []string{"sh", "", "-c"}, Note: "n", Sub: "s"},
		{Kind: Connect, Addr: "tcp 192.0.2.1:443"},
		{Kind: Exit, At: time.Unix(0, -1)},
	}
	var b []byte
	for i := range events {
		b = appendEvent(b, &events[i])
	}
	r, scratch := bufio.NewReader(bytes.NewReader(b)), []byte(nil)
	for i := range events {
		got, err := readEvent(r, &scratch)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(events[i], got); diff != "" {
			t.Error(diff)
		}
	}
	huge := Event{Kind: Exec, Path: "/x", Argv: []string{strings.Repeat("y", maxFrame)}}
	if e, err := parseEvent(appendEvent(nil, &huge)[4:]); err != nil || e.Path != "/x" || e.Note == "" {
		t.Errorf("%+v %v", e, err)
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add(appendEvent(nil, &Event{Kind: Exec, Pid: 7, Path: "/p", Argv: []string{"a", "b"}, At: time.Unix(1, 2)})[4:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEvent(b)
		if err != nil {
			return
		}
		again, err := parseEvent(appendEvent(nil, &e)[4:])
		if err != nil || !cmp.Equal(e, again) {
			t.Fatalf("%v: %s", err, cmp.Diff(e, again))
		}
	})
}

func FuzzReadHook(f *testing.F) {
	f.Add([]byte("r\x001\x002\x003\x00ct\x00/a\x00\x00"))
	f.Add([]byte("x\x001\x002\x003\x00\x00/bin/sh\x00sh\x01-c\x00m\x001\x002\x003\x00h\x00/a\x00/b\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		readHook(bytes.NewReader(b), func(e Event) {
			if e.Kind == 0 || e.Kind > SubRun {
				t.Fatalf("%+v", e)
			}
		})
	})
}

func TestCleanFollowsLinks(t *testing.T) {
	c := newCollector(nil, nil, "")
	c.dirs["/w/link"] = "/elsewhere/deep"
	for in, want := range map[string]string{
		"/a/./b//c":         "/a/b/c",
		"/w/link/../f":      "/elsewhere/f",
		"/w/..x/f":          "/w/..x/f",
		"/w/..x/../f":       "/w/f",
		"/..":               "/",
		"/../..":            "/",
		"/w/link/../../f":   "/f",
		"relative/../kept":  "relative/../kept",
		"/w/a../b":          "/w/a../b",
		"":                  "",
		"/w/link/..":        "/elsewhere",
		"/w/link/../../../": "/",
	} {
		if got := c.clean(in); got != want {
			t.Errorf("%q gives %q, want %q", in, got, want)
		}
	}
}

func TestQueueDropsRatherThanWaits(t *testing.T) {
	q := newQueue()
	long := strings.Repeat("p", 1<<20)
	for range maxQueued>>20 + 10 {
		q.push(Event{Kind: Read, Path: long})
	}
	q.push(Event{Kind: Exit, Pid: 1})
	q.close()
	batch, more := q.take(nil)
	last := batch[len(batch)-1]
	if !more || last.Kind != kindDropped || last.Pid == 0 || batch[len(batch)-2].Kind != Exit {
		t.Errorf("%+v", last)
	}
	if _, more := q.take(nil); more {
		t.Error("an empty closed queue has more")
	}
}
