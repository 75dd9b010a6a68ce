package app

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

const planted = "PLANTED"

// office is a log with a person in it, and evidence, whose key holds the roles
// to erase and to hold.
type office struct {
	*hand
	blob  string
	entry uint64
}

func roles(who prov.Ref, names ...string) ([]statement.Subject, *statement.Identity) {
	it := statement.IdentityItem{Ref: who.String()}
	for _, n := range names {
		it.Roles = append(it.Roles, statement.RoleItem{Role: n, From: statement.NewTime(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))})
	}
	return []statement.Subject{statement.NewSubject(who, nil)}, &statement.Identity{Mode: "event", Source: "hr", Items: []statement.IdentityItem{it}}
}

func (h *hand) say(s []statement.Subject, p statement.Predicate) uint64 {
	h.t.Helper()
	a, err := h.w.Say(context.Background(), h.key, s, p)
	if err != nil {
		h.t.Fatal(err)
	}
	return a.Index
}

func newOffice(t *testing.T) *office {
	o := &office{hand: newHand(t, 1)}
	for range 30 { // which retract some of the first 20 entries
		o.batch(o.w)
	}
	o.say(roles(o.key.Principal, RolePrivacy, RoleLegal))
	var err error
	if o.blob, err = o.w.Blobs.PutBytes([]byte(planted + " evidence")); err != nil {
		t.Fatal(err)
	}
	o.entry = o.say([]statement.Subject{statement.NewSubject(prov.Ref{Kind: prov.Dataset, Name: "d", Version: "1"}, nil)},
		&statement.Activity{Kind: "train", ID: "activity:a", Identities: []statement.Party{{Ref: "person:" + planted}}, Parameters: map[string]string{planted: planted},
			Evidence: []statement.Evidence{{Digest: statement.DigestSet{"sha256": o.blob}, Name: planted}}})
	if _, _, err := o.w.Graph(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.w.save(t.Context()) // a snapshot that holds the name
	if !slices.ContainsFunc(o.files(), func(f string) bool { return filepath.Base(f) == "snapshot" }) {
		t.Fatal("the snapshot should hold the name, or the test proves nothing")
	}
	return o
}

// files gives the files of the workspace that hold what is to be erased. The
// payload of an envelope is base64: of the name within it, what begins a group.
func (o *office) files() (out []string) {
	err := filepath.WalkDir(o.w.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, f := range []string{planted, "UExBTlRFR", "BMQU5URU", "QTEFOVEVE"} {
			if bytes.Contains(b, []byte(f)) {
				out = append(out, path)
				break
			}
		}
		return err
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return out
}

func (o *office) plan() *ErasurePlan {
	o.t.Helper()
	p, err := o.w.PlanErasure(o.t.Context(), Wanted{Entries: []uint64{o.entry}, Evidence: true, Reason: "request 7", Basis: "law", At: time.Now()})
	if err != nil {
		o.t.Fatal(err)
	}
	if len(p.Order.Entries) != 1 || len(p.Order.Blobs) != 1 {
		o.t.Fatalf("the plan is %+v", p.Order)
	}
	return p
}

// good wants nothing left, a log as it should be, and the graph of the log.
func (o *office) good() {
	o.t.Helper()
	if f := o.files(); f != nil {
		o.t.Errorf("these files hold what was erased: %v", f)
	}
	if u, err := o.w.Log.Unfinished(o.t.Context()); err != nil || len(u) != 0 {
		o.t.Errorf("not carried out: %v, %v", u, err)
	}
	r, err := o.w.Log.Fsck(o.t.Context(), nil)
	if err != nil || len(r.Findings) > 0 || r.Erased != 1 {
		o.t.Errorf("fsck: %+v, %v", r, err)
	}
	o.compare()
	o.w.save(o.t.Context())
	if bad, err := o.w.CheckSnapshot(o.t.Context()); err != nil || len(bad) > 0 {
		o.t.Errorf("the snapshot: %v, %v", bad, err)
	}
	if f := o.files(); f != nil {
		o.t.Errorf("after the snapshot was written, these files hold what was erased: %v", f)
	}
}

func TestErase(t *testing.T) {
	o := newOffice(t)
	a, err := o.w.Erase(t.Context(), o.key, o.plan())
	if err != nil {
		t.Fatal(err)
	}
	o.good()
	g, _, err := o.w.Graph(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if by, ok := g.At(prov.Now).Erased(o.entry); !ok || by != a.Index {
		t.Errorf("the graph tells of %d, %t", by, ok)
	}
}

// TestErasureCutOff ends the process after each step of an erasure: whoever
// opens the log next carries out the rest.
func TestErasureCutOff(t *testing.T) {
	steps := map[string]func(o *office, by uint64) error{
		"committed": func(*office, uint64) error { return nil },
		"evidence": func(o *office, _ uint64) error {
			return o.w.Blobs.Erase(o.blob, "by entry 0 of x")
		},
		"evidence half": func(o *office, _ uint64) error { // the note is there, and the bytes are
			if err := o.w.Blobs.Erase(o.blob, "by entry 0 of x"); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(o.w.Dir, "blobs", "sha256", o.blob[:2], o.blob[2:]), []byte(planted+" evidence"), 0o600)
		},
		"snapshot": func(o *office, _ uint64) error { return o.w.dropSnapshots() },
		"store":    func(o *office, _ uint64) error { return o.w.Log.Scrub(o.t.Context()) },
		"a snapshot": func(o *office, _ uint64) error { // a process killed while it wrote one
			return os.WriteFile(filepath.Join(o.w.Dir, ".snapshot-1234"), []byte(planted), 0o600)
		},
	}
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			p := o.plan()
			env, err := Envelope(t.Context(), o.key, p.Subjects, p.Order)
			if err != nil {
				t.Fatal(err)
			}
			h, err := o.w.Log.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			a, err := o.w.Log.Erase(t.Context(), evlog.Item{RecordedBy: o.key.Principal.String(), Envelope: env}, uint64(h.Size))
			if err != nil {
				t.Fatal(err)
			}
			if err := step(o, a.Index); err != nil {
				t.Fatal(err)
			}
			o.w.Close()
			if o.w, err = Open(t.Context(), o.w.Dir, Options{}); err != nil {
				t.Fatal(err)
			}
			defer o.w.Close()
			o.good()
		})
	}
}

// TestErasureOfAnotherProcess wants a process that folded the log before, and
// has it in memory, to tell nothing any more, and to write no snapshot of it.
func TestErasureOfAnotherProcess(t *testing.T) {
	o := newOffice(t)
	old, _, err := o.other.Graph(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if old.At(prov.Now).Lookup(prov.Ref{Kind: prov.Person, Name: planted}) == 0 {
		t.Fatal("the name should be there before")
	}
	if _, err := o.w.Erase(t.Context(), o.key, o.plan()); err != nil {
		t.Fatal(err)
	}
	o.other.mu.Lock()
	o.other.save(t.Context()) // it was about to
	o.other.mu.Unlock()
	if f := o.files(); f != nil {
		t.Errorf("another process wrote what was erased: %v", f)
	}
	now, _, err := o.other.Graph(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if ids, _ := now.At(prov.Now).Search(planted, 0); len(ids) > 0 {
		t.Error("another process tells what was erased")
	}
	o.good()
}

// TestStanding asks who may order: not who says so of himself, where others
// could.
func TestStanding(t *testing.T) {
	h := newHand(t, 2)
	bob := keys.Key{Name: "bob", Principal: prov.Ref{Kind: prov.Person, Name: "bob"}, Private: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))}
	ann := h.key.Principal
	at := func(want error, text string) {
		t.Helper()
		err := h.w.Standing(t.Context(), ann, RolePrivacy)
		if !errors.Is(err, want) || err != nil && !strings.Contains(err.Error(), text) {
			t.Errorf("ann's standing: %v, want %v", err, want)
		}
	}
	at(ErrStanding, "no entry says")
	h.say(roles(ann, RolePrivacy))
	at(nil, "") // there is only one key
	k, err := bob.Trusted()
	if err == nil {
		err = h.w.AddTrust(k)
	}
	if err != nil {
		t.Fatal(err)
	}
	at(ErrStanding, "somebody else must record it")
	s, p := roles(ann, RolePrivacy)
	p.At = statement.NewTime(time.Now())
	if _, err := h.w.Say(t.Context(), bob, s, p); err != nil {
		t.Fatal(err)
	}
	at(nil, "")
	// An order through the back door is one all the same.
	entry := h.say([]statement.Subject{statement.NewSubject(prov.Ref{Kind: prov.Dataset, Name: "d", Version: "1"}, nil)}, &statement.Entity{State: "registered", Description: "x"})
	plan, err := h.w.PlanErasure(t.Context(), Wanted{Entries: []uint64{entry}, Reason: "r", Basis: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.w.Erase(t.Context(), bob, plan); !errors.Is(err, ErrStanding) {
		t.Errorf("an order by bob gives %v", err)
	}
	plan.Order.Role = "role:king"
	if _, err := h.w.Erase(t.Context(), h.key, plan); !errors.Is(err, ErrStanding) {
		t.Errorf("an order in a role of one's own gives %v", err)
	}
	plan.Order.Role = RolePrivacy
	other, err := Envelope(t.Context(), h.key, s, &statement.Entity{State: "described"})
	if err != nil {
		t.Fatal(err)
	}
	env, err := Envelope(t.Context(), h.key, plan.Subjects, plan.Order)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.w.Record(t.Context(), ann, other, env); err == nil || !strings.Contains(err.Error(), "recorded by itself") {
		t.Errorf("an order among others gives %v", err)
	}
	if _, err := h.w.Record(t.Context(), ann, env); err != nil {
		t.Error(err)
	}
}
