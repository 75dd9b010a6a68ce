package witness_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/witness"
)

// TestBounds: three witnesses, two of which suffice.
func TestBounds(t *testing.T) {
	p, say := threeWitnesses(t)
	seen := []witness.Checkpoint{say("a", 10, 100), say("b", 12, 110), say("c", 30, 120), say("a", 40, 200), say("b", 45, 210), say("c", 60, 300)}
	for _, c := range []struct {
		at           float64
		lower, upper int64 // -1: nothing says so
	}{
		{50, -1, 12},    // two have seen no more than 12 since
		{100, -1, 12},   // at the very second is not before
		{101, -1, 30},   // b has seen 12 and c 30
		{110.5, -1, 40}, // within the second of b: neither before nor after
		{111, 10, 40},   // a says 10, b 12: both say at least 10
		{150, 12, 45},
		{200, 12, 45},
		{201, 30, 60},
		{250, 40, -1}, // only c has spoken since
		{1000, 45, -1},
	} {
		at := time.Unix(0, int64(c.at*1e9))
		b := witness.BoundsAt(at, seen, nil, p)
		if got := [2]int64{size(b.Lower), size(b.Upper)}; got != [2]int64{c.lower, c.upper} {
			t.Errorf("at %v: %v, want %d and %d\n%s", c.at, got, c.lower, c.upper, b)
		}
	}
}

func size(b *witness.Bound) int64 {
	if b == nil {
		return -1
	}
	return b.Size
}

// threeWitnesses gives a policy of two out of three, and what says that one of
// them cosigned a size at a second.
func threeWitnesses(t *testing.T) (*witness.Policy, func(who string, size, at int64) witness.Checkpoint) {
	l := newLog(t, "example.org/log").grow("a", 400)
	text, by := "", map[string]*cosigner{}
	for _, n := range []string{"a", "b", "c"} {
		by[n] = newCosigner(t, "witness.example/"+n)
		text += "witness " + n + " " + by[n].key() + "\n"
	}
	p := policy(t, text+"group g 2 a b c\nquorum g\n")
	return p, func(who string, size, at int64) witness.Checkpoint {
		t.Helper()
		by[who].at = at
		c, err := witness.Open(l.signed(size, by[who]), l.v, p)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func TestBoundsWithoutWitnesses(t *testing.T) {
	p, say := threeWitnesses(t)
	at := time.Unix(150, 0)
	for name, c := range map[string]struct {
		p    *witness.Policy
		seen []witness.Checkpoint
	}{
		"no policy":     {nil, []witness.Checkpoint{say("a", 1, 100)}},
		"nobody spoke":  {p, nil},
		"too few":       {p, []witness.Checkpoint{say("a", 1, 100), say("b", 2, 200)}},
		"no quorum set": {policy(t, "witness a "+p.Witnesses[0].Key+"\nquorum none\n"), []witness.Checkpoint{say("a", 1, 100), say("a", 2, 200)}},
	} {
		b := witness.BoundsAt(at, c.seen, nil, c.p)
		if b.Lower != nil || b.Upper != nil || b.Before(0) || b.NotShown(1<<40) {
			t.Errorf("%s: %s", name, b)
		}
	}
}

// A timestamp authority adds to the lower bound only.
func TestBoundsWithTimestamps(t *testing.T) {
	p, say := threeWitnesses(t)
	seen := []witness.Checkpoint{say("a", 10, 100), say("b", 10, 100), say("a", 50, 300), say("b", 50, 300)}
	stamps := []witness.Word{{Who: "authority", Size: 20, Time: time.Unix(200, 0)}, {Who: "authority", Size: 40, Time: time.Unix(260, 0)}}
	for at, want := range map[int64][2]int64{150: {10, 50}, 200: {20, 50}, 250: {20, 50}, 260: {40, 50}} {
		b := witness.BoundsAt(time.Unix(at, 0), seen, stamps, p)
		if got := [2]int64{size(b.Lower), size(b.Upper)}; got != want {
			t.Errorf("at %d: %v, want %v", at, got, want)
		}
	}
	if b := witness.BoundsAt(time.Unix(205, 0), nil, stamps, nil); size(b.Lower) != 20 || b.Upper != nil {
		t.Errorf("without witnesses: %s", b)
	}
}

// TestBoundsHold lets a log grow, and witnesses look at it now and then, some
// of them late; whatever they say, the true size at any moment is not below
// Lower, what was shown by then is not above Upper, and few notes that are
// picked say the same as all.
func TestBoundsHold(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	p, say := threeWitnesses(t)
	for range 30 {
		size, sizes := int64(0), []int64{} // by second
		var seen []witness.Checkpoint
		var notes [][]byte
		for s := range int64(120) {
			if r.IntN(3) == 0 {
				size += r.Int64N(4)
			}
			sizes = append(sizes, size)
			for _, w := range []string{"a", "b", "c"} {
				if r.IntN(12) == 0 {
					c := say(w, size, s)
					seen, notes = append(seen, c), append(notes, c.Note())
				}
			}
		}
		for s := range int64(120) {
			at := time.Unix(s, r.Int64N(1e9))
			b := witness.BoundsAt(at, seen, nil, p)
			if b.Lower != nil && b.Lower.Size > sizes[s] {
				t.Fatalf("at %v the log had %d entries, and the lower bound is %s", at, sizes[s], b)
			}
			if b.Upper != nil && b.Upper.Size < sizes[s] {
				t.Fatalf("at %v the log had %d entries, and the upper bound is %s", at, sizes[s], b)
			}
			if b.Lower != nil && b.Upper != nil && b.Lower.Size > b.Upper.Size {
				t.Fatalf("the bounds cross: %s", b)
			}
			var picked []witness.Checkpoint
			for _, i := range witness.Around(notes, at, p) {
				picked = append(picked, seen[i])
			}
			if d := cmp.Diff(b, witness.BoundsAt(at, picked, nil, p)); d != "" || len(picked) > 6 {
				t.Fatalf("%d picked say another thing:\n%s", len(picked), d)
			}
			for i := range uint64(size) + 2 {
				if b.Before(i) && b.NotShown(i) {
					t.Fatalf("entry %d was before and not: %s", i, b)
				}
			}
		}
	}
}

// TestOpenEvidence: each part that is changed refuses all.
func TestOpenEvidence(t *testing.T) {
	l := newLog(t, "example.org/log").grow("a", 40)
	f := l.other("b", 7, 40)
	w := newCosigner(t, "witness.example/w")
	p := policy(t, "witness w "+w.key()+"\nquorum w\n")
	good := func() []witness.Evidence {
		return []witness.Evidence{{l.signed(0, w), nil}, {l.signed(10, w), l.proof(10, 40)}, {l.signed(40, w), nil}}
	}
	if list, err := witness.OpenEvidence(good(), l.tree(40), l.v, p); err != nil || len(list) != 3 || !list[1].Quorum {
		t.Errorf("%+v %v", list, err)
	}
	for name, change := range map[string]func(e []witness.Evidence){
		"another history":     func(e []witness.Evidence) { e[1] = witness.Evidence{Signed: f.signed(10, w), Proof: f.proof(10, 40)} },
		"no proof":            func(e []witness.Evidence) { e[1].Proof = nil },
		"a proof of another":  func(e []witness.Evidence) { e[1].Proof = l.proof(11, 40) },
		"proof where none is": func(e []witness.Evidence) { e[2].Proof = l.proof(10, 40) },
		"same size, forked":   func(e []witness.Evidence) { e[2].Signed = f.signed(40, w) },
		"not of the log":      func(e []witness.Evidence) { e[0].Signed = newLog(t, "example.org/log").signed(0, w) },
	} {
		list := good()
		change(list)
		if _, err := witness.OpenEvidence(list, l.tree(40), l.v, p); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}

func ExampleBounds() {
	b := witness.Bounds{Lower: &witness.Bound{Size: 40, By: []witness.Word{{Who: "w1", Size: 41, Time: time.Unix(1770000000, 0)}, {Who: "w2", Size: 40, Time: time.Unix(1770000060, 0)}}}}
	fmt.Print(b)
	// Output:
	// at least 40 entries (w1 saw 41 entries at 2026-02-02T02:40:00Z; w2 saw 40 entries at 2026-02-02T02:41:00Z)
	// at most  nothing: no quorum of witnesses has spoken since then
}
