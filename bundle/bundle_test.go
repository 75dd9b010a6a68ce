package bundle_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/stemma-lineage/stemma/bundle"
	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/internal/report"
	"github.com/stemma-lineage/stemma/internal/story"
	"github.com/stemma-lineage/stemma/statement"
)

// tell records the story in a new workspace.
func tell(t testing.TB) (*app.Workspace, note.Verifier) {
	t.Helper()
	k, signer, vkey, err := story.Keys()
	if err != nil {
		t.Fatal(err)
	}
	return workspace(t, k, app.Options{Origin: story.Origin, LogKey: signer, LogVKey: vkey})
}

func workspace(t testing.TB, k keys.Key, o app.Options) (*app.Workspace, note.Verifier) {
	t.Helper()
	clock := &story.Clock{T: time.Date(2026, 3, 1, 7, 0, 0, 0, time.UTC)}
	o.Key, o.Now = k, clock.Now
	w, err := app.Init(context.Background(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	if err := story.Tell(context.Background(), w, k, clock, nil); err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(w.Log.Key())
	if err != nil {
		t.Fatal(err)
	}
	return w, v
}

func export(t testing.TB, w *app.Workspace, q query.Question) ([]byte, *query.Answer) {
	t.Helper()
	b, a, err := w.Bundle(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	return b, a
}

func whyModel() query.Question {
	return query.Question{Verb: "why", Refs: []string{story.Model1}, Known: 20}
}

// member is one file of a zip.
type member struct {
	name string
	data []byte
}

func unzip(t testing.TB, b []byte) []member {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var out []member
	for _, f := range r.File {
		m, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(m)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, member{f.Name, data})
	}
	return out
}

// rezip writes members as Write does, so that checksums of the container do
// not give a change away.
func rezip(t testing.TB, ms []member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range ms {
		f, err := w.CreateHeader(&zip.FileHeader{Name: m.name, Method: zip.Store, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)})
		if err == nil {
			_, err = f.Write(m.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func refused(t *testing.T, data []byte, v note.Verifier, what string) {
	t.Helper()
	if _, err := bundle.Verify(data, v, nil); !errors.Is(err, bundle.ErrVerify) {
		t.Fatalf("%s: Verify gave %v, want ErrVerify", what, err)
	}
}

func TestVerify(t *testing.T) {
	w, v := tell(t)
	for _, q := range []query.Question{
		whyModel(),
		{Verb: "why", Refs: []string{story.Deployment2}, Known: 20},
		{Verb: "blast", Refs: []string{story.Dataset2}, Known: 20},
		{Verb: "blast", Refs: []string{story.Dataset2}, Known: 18},
		{Verb: "history", Refs: []string{story.Service}, Known: 20},
		{Verb: "history", Refs: []string{story.Service}, Known: 18},
		{Verb: "why", Refs: []string{story.Model2}, Known: 20, Valid: "2026-03-09T15:30:00Z"},
		{Verb: "why", Refs: []string{story.Model1}, Known: 20, Depth: 2, Limit: 4},
		{Verb: "blast", Refs: []string{story.Dataset2}, Known: 20, Kinds: []string{"deployment", "notice"}},
		{Verb: "blast", Refs: []string{"dataset:transactions"}, Known: 20, Since: "2026-03-08T00:00:00Z"},
	} {
		b, said := export(t, w, q)
		res, err := bundle.Verify(b, v, w.Trust)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		want, err := report.JSON(said)
		if err != nil {
			t.Fatal(err)
		}
		got, err := report.JSON(res.Answer)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("%+v: answer (-written +verified):\n%s", q, d)
		}
		if res.Size != 20 || res.Entries == 0 || !strings.Contains(res.Trusted, "sa:acme/recorder") {
			t.Errorf("%+v: result %+v", q, res)
		}
	}
}

func TestVerifyWithOwnTrustList(t *testing.T) {
	w, v := tell(t)
	b, _ := export(t, w, whyModel())
	none, err := statement.NewTrust()
	if err != nil {
		t.Fatal(err)
	}
	res, err := bundle.Verify(b, v, none)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(res.Trusted, "nobody") {
		t.Errorf("an empty trust list says %q of the signatures", res.Trusted)
	}
}

func TestSameBytes(t *testing.T) {
	w1, _ := tell(t)
	w2, _ := tell(t)
	a, _ := export(t, w1, whyModel())
	b, _ := export(t, w2, whyModel())
	if !bytes.Equal(a, b) {
		t.Error("two logs of the same story give different bundles")
	}
}

// TestEveryByteOfTheZip flips bytes of the file as it lies there.
func TestEveryByteOfTheZip(t *testing.T) {
	w, v := tell(t)
	b, _ := export(t, w, query.Question{Verb: "history", Refs: []string{story.Deployment1}, Known: 20})
	step, from := 1, 0
	if len(b) > 30_000 {
		step, from = 7, rand.Intn(7)
	}
	t.Logf("%d bytes, every %d from %d", len(b), step, from)
	for i := from; i < len(b); i += step {
		b[i] ^= 1
		if _, err := bundle.Verify(b, v, nil); !errors.Is(err, bundle.ErrVerify) {
			t.Fatalf("byte %d flipped: Verify gave %v, want ErrVerify", i, err)
		}
		b[i] ^= 1
	}
	if _, err := bundle.Verify(b, v, nil); err != nil {
		t.Fatalf("flipped back: %v", err)
	}
}

// TestEveryMember flips bytes inside members and mends the container, as
// somebody would who means it.
func TestEveryMember(t *testing.T) {
	w, v := tell(t)
	b, _ := export(t, w, query.Question{Verb: "history", Refs: []string{story.Deployment1}, Known: 20})
	ms := unzip(t, b)
	if !bytes.Equal(rezip(t, ms), b) {
		t.Fatal("rezip does not give what Write gives; the test would prove nothing")
	}
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewSource(seed))
	for _, m := range ms {
		step := 1 + len(m.data)/60
		for i := rnd.Intn(step); i < len(m.data); i += step {
			old := m.data[i]
			m.data[i] ^= byte(1 + rnd.Intn(255))
			refused(t, rezip(t, ms), v, m.name)
			m.data[i] = old
		}
	}
}

// TestCheckpointHasOneForm tries all bytes at the end of the signature, where
// base64 has bits that mean nothing.
func TestCheckpointHasOneForm(t *testing.T) {
	w, v := tell(t)
	b, _ := export(t, w, whyModel())
	ms := unzip(t, b)
	i := slices.IndexFunc(ms, func(m member) bool { return m.name == "checkpoint" })
	data := ms[i].data
	for at := len(data) - 4; at < len(data); at++ {
		old := data[at]
		for x := 0; x < 256; x++ {
			if byte(x) == old {
				continue
			}
			data[at] = byte(x)
			refused(t, rezip(t, ms), v, "checkpoint")
		}
		data[at] = old
	}
}

func TestChangedMembers(t *testing.T) {
	w, v := tell(t)
	b, _ := export(t, w, whyModel())
	good := unzip(t, b)
	for i, m := range good {
		refused(t, rezip(t, slices.Delete(slices.Clone(good), i, i+1)), v, "without "+m.name)
		refused(t, rezip(t, slices.Insert(slices.Clone(good), i, m)), v, "twice "+m.name)
		refused(t, rezip(t, append(slices.Clone(good), m)), v, "again at the end "+m.name)
		if i > 0 {
			swapped := slices.Clone(good)
			swapped[0], swapped[i] = swapped[i], swapped[0]
			refused(t, rezip(t, swapped), v, "swapped "+m.name)
		}
	}
	refused(t, rezip(t, append(slices.Clone(good), member{"extra", []byte("x")})), v, "an extra member")
	refused(t, rezip(t, append(slices.Clone(good), member{"entries/999.json", good[5].data})), v, "an extra entry")
	refused(t, append([]byte("#!/bin/sh\n"), b...), v, "bytes before the zip")
	refused(t, append(slices.Clone(b), 0), v, "bytes after the zip")
	for i, m := range good {
		if m.name == "trust" {
			more := slices.Clone(good)
			more[i].data = append([]byte("# approved by the regulator\n"), m.data...)
			refused(t, rezip(t, more), v, "a comment in the trust list")
		}
	}
}

func TestTruncated(t *testing.T) {
	w, v := tell(t)
	b, _ := export(t, w, whyModel())
	for _, n := range []int{0, 1, 21, 22, len(b) / 2, len(b) - 23, len(b) - 22, len(b) - 1} {
		refused(t, b[:n], v, "truncated")
	}
}

func TestAnotherLog(t *testing.T) {
	w, v := tell(t)
	k, _, _, err := story.Keys()
	if err != nil {
		t.Fatal(err)
	}
	// The same origin and another key; then another origin too.
	skey, vkey, err := note.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{9}, 64)), story.Origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	k.Principal.Name = "acme/somebody-else"
	other, otherKey := workspace(t, k, app.Options{Origin: story.Origin, LogKey: signer, LogVKey: vkey})
	b, _ := export(t, w, whyModel())
	theirs, _ := export(t, other, whyModel())
	refused(t, b, otherKey, "the key of another log")
	refused(t, theirs, v, "the bundle of another log")

	ms, from := unzip(t, b), unzip(t, theirs)
	replaced := 0
	for i, m := range ms {
		if !strings.HasPrefix(m.name, "entries/") {
			continue
		}
		j := slices.IndexFunc(from, func(x member) bool { return x.name == m.name })
		if j < 0 {
			t.Fatalf("the other log's bundle has no %s", m.name)
		}
		if bytes.Equal(from[j].data, m.data) {
			continue // a decision, which the same reviewer signed in both
		}
		swapped := slices.Clone(ms)
		swapped[i] = from[j]
		refused(t, rezip(t, swapped), v, "another log's "+m.name)
		replaced++
	}
	if replaced == 0 {
		t.Fatal("the bundle holds no entry")
	}
}

func TestMembersThatShareBytes(t *testing.T) {
	w, v := tell(t)
	b, _ := export(t, w, whyModel())
	// A thousand names in the directory for the same bytes must not cost a
	// thousand times the memory.
	at := bytes.Index(b, []byte("PK\x01\x02"))
	end := bytes.Index(b, []byte("PK\x05\x06"))
	if at < 0 || end < 0 {
		t.Fatal("no central directory")
	}
	next := at + 4 + bytes.Index(b[at+4:], []byte("PK\x01\x02"))
	const n = 1000
	dir := bytes.Repeat(b[at:next], n)
	tail := slices.Clone(b[end:])
	put := func(i, size, x int) {
		for j := range size {
			tail[i+j] = byte(x >> (8 * j))
		}
	}
	put(8, 2, n)
	put(10, 2, n)
	put(12, 4, len(dir))
	bomb := append(append(slices.Clone(b[:at]), dir...), tail...)
	if r, err := zip.NewReader(bytes.NewReader(bomb), int64(len(bomb))); err != nil || len(r.File) != n {
		t.Fatalf("the test's zip is not as meant: %v", err)
	}
	refused(t, bomb, v, "members that share bytes")
}

func FuzzVerify(f *testing.F) {
	w, v := tell(f)
	seeds := map[string]bool{}
	for _, q := range []query.Question{whyModel(), {Verb: "history", Refs: []string{story.Service}, Known: 18}} {
		b, _ := export(f, w, q)
		seeds[string(b)] = true
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := bundle.Verify(data, v, nil)
		if err == nil && !seeds[string(data)] {
			t.Fatal("bytes verify that no log wrote")
		}
		if err != nil && !errors.Is(err, bundle.ErrVerify) {
			t.Fatalf("%v does not wrap ErrVerify", err)
		}
	})
}
