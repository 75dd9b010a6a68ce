package witness

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Word is one word on which a bound rests.
type Word struct {
	Who  string    // the witness, by its name in the policy, or a timestamp authority
	Size int64     // the size of the tree it speaks of
	Time time.Time // when it spoke, by its own clock
}

func (w Word) String() string {
	return fmt.Sprintf("%s saw %d entries at %s", w.Who, w.Size, w.Time.UTC().Format(time.RFC3339))
}

// Bound is a size and those who say so.
type Bound struct {
	Size int64
	By   []Word
}

// Bounds says how large the log was at a moment, as others than its operator
// saw it. Both bounds may be missing: then nobody but the operator says
// anything about that side.
//
//   - Lower: entries with an index below it stood in the log before At. A
//     quorum had each cosigned a tree of this size or a larger one by then, or
//     a timestamp authority had seen one.
//   - Upper: entries with this index or a higher one had not been shown by
//     then. A quorum each said at At or after that it had seen no larger tree.
//     An operator may hold entries back, so this speaks of showing, not of
//     recording.
//
// Entries between the two are undecided.
type Bounds struct {
	At           time.Time
	Lower, Upper *Bound
}

// Before tells whether it is proved that the entry stood in the log before At.
func (b Bounds) Before(index uint64) bool {
	return b.Lower != nil && index < uint64(b.Lower.Size)
}

// NotShown tells whether a quorum had not been shown the entry by At.
func (b Bounds) NotShown(index uint64) bool {
	return b.Upper != nil && index >= uint64(b.Upper.Size)
}

// BoundsAt computes the bounds of a moment from verified checkpoints of one
// log, each of which must be known to be continued by one later tree
// ([Consistent]): it takes their word for it. A cosignature's time is in whole
// seconds, so it is before at if its second is over, and at or after if its
// second has begun then. Timestamps (RFC 3161) of checkpoints add to the lower
// bound only: an authority does not say that it saw the largest tree.
//
// For a witness w, let before(w) be the largest size it cosigned before at and
// after(w) the smallest it cosigned from then on. Lower is the largest size
// that before(w) reaches for a quorum; Upper the smallest size, not below
// Lower, that after(w) does not exceed for a quorum.
func BoundsAt(at time.Time, seen []Checkpoint, stamps []Word, p *Policy) Bounds {
	b := Bounds{At: at}
	before, after := map[string]Word{}, map[string]Word{}
	for _, c := range seen {
		for _, s := range c.Cosignatures {
			w := Word{s.Witness, c.Tree.N, s.Time}
			if old, ok := before[w.Who]; !s.Time.Add(time.Second).After(at) && (!ok || w.Size > old.Size || w.Size == old.Size && w.Time.Before(old.Time)) {
				before[w.Who] = w
			}
			if old, ok := after[w.Who]; !s.Time.Before(at) && (!ok || w.Size < old.Size || w.Size == old.Size && w.Time.Before(old.Time)) {
				after[w.Who] = w
			}
		}
	}
	if p != nil && p.Quorum != NoQuorum {
		b.Lower = edge(before, p, -1, func(size, w int64) bool { return w >= size })
	}
	for _, w := range stamps {
		if !w.Time.After(at) && (b.Lower == nil || w.Size > b.Lower.Size) {
			b.Lower = &Bound{w.Size, []Word{w}}
		}
	}
	if p != nil && p.Quorum != NoQuorum {
		least := int64(0)
		if b.Lower != nil {
			least = b.Lower.Size
		}
		b.Upper = edge(after, p, +1, func(size, w int64) bool { return size >= least && w <= size }, least)
	}
	return b
}

// edge tries the sizes that words speak of, the largest first (dir -1) or the
// smallest (+1), and gives the first that a quorum agrees to.
func edge(words map[string]Word, p *Policy, dir int, agrees func(size, w int64) bool, also ...int64) *Bound {
	var sizes []int64
	for _, w := range words {
		sizes = append(sizes, w.Size)
	}
	sizes = append(sizes, also...)
	slices.SortFunc(sizes, func(a, b int64) int { return dir * cmp.Compare(a, b) })
	for _, size := range slices.Compact(sizes) {
		has := func(name string) bool { w, ok := words[name]; return ok && agrees(size, w.Size) }
		if !p.Met(has) {
			continue
		}
		out := &Bound{Size: size}
		for _, w := range p.Witnesses {
			if has(w.Name) {
				out.By = append(out.By, words[w.Name])
			}
		}
		return out
	}
	return nil
}

// String tells the bounds in two lines, with who says so.
func (b Bounds) String() string {
	line := func(what string, x *Bound, none string) string {
		if x == nil {
			return what + none + "\n"
		}
		var by []string
		for _, w := range x.By {
			by = append(by, w.String())
		}
		return fmt.Sprintf("%s%d entries (%s)\n", what, x.Size, strings.Join(by, "; "))
	}
	return line("at least ", b.Lower, "nothing: no quorum of witnesses had spoken before then") +
		line("at most  ", b.Upper, "nothing: no quorum of witnesses has spoken since then")
}

// Evidence is a cosigned checkpoint and the proof that a later tree of the log
// continues it: what an offline verifier needs for [BoundsAt].
type Evidence struct {
	Signed []byte         // the note, with its cosignatures
	Proof  tlog.TreeProof // RFC 6962 section 2.1.2; empty from the empty tree and at the same size
}

// OpenEvidence verifies the checkpoints, and that head continues each.
func OpenEvidence(list []Evidence, head tlog.Tree, log note.Verifier, p *Policy) ([]Checkpoint, error) {
	var out []Checkpoint
	for i, e := range list {
		c, err := Open(e.Signed, log, p)
		if err == nil {
			err = Consistent(c.Tree, head, e.Proof)
		}
		if err != nil {
			return nil, fmt.Errorf("cosigned checkpoint %d: %w", i, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// Around picks, out of many signed checkpoints, those on which the bounds at a
// moment can rest: for each witness of the policy the largest that it cosigned
// before, and the smallest from then on. Nothing is verified; the caller opens
// those that are picked. The result is indices, ascending.
func Around(notes [][]byte, at time.Time, p *Policy) []int {
	type pick struct {
		i    int
		size int64
		time int64
	}
	before, after := map[string]pick{}, map[string]pick{}
	for i, n := range notes {
		text, sigs, ok := strings.Cut(string(n), "\n\n")
		lines := strings.SplitN(text, "\n", 3)
		if !ok || len(lines) < 3 {
			continue
		}
		size, err := strconv.ParseInt(lines[1], 10, 64)
		if err != nil {
			continue
		}
		for line := range strings.Lines(sigs) {
			name, t, ok := p.unverified(line)
			if !ok {
				continue
			}
			x := pick{i, size, t}
			if old, ok := before[name]; t < at.Unix() && (!ok || size > old.size || size == old.size && t < old.time) {
				before[name] = x
			}
			if old, ok := after[name]; !time.Unix(t, 0).Before(at) && (!ok || size < old.size || size == old.size && t < old.time) {
				after[name] = x
			}
		}
	}
	var out []int
	for _, m := range []map[string]pick{before, after} {
		for _, x := range m {
			out = append(out, x.i)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// unverified reads whose cosignature a line claims to be, and of when.
func (p *Policy) unverified(line string) (name string, unix int64, ok bool) {
	f := strings.Fields(line)
	if len(f) != 3 {
		return "", 0, false
	}
	b, err := base64.StdEncoding.DecodeString(f[2])
	if err != nil || len(b) < 12 {
		return "", 0, false
	}
	w := p.find(f[1], binary.BigEndian.Uint32(b))
	if w == nil {
		return "", 0, false
	}
	return w.Name, int64(binary.BigEndian.Uint64(b[4:])), true
}
