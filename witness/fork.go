package witness

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Contradiction is what two checkpoints of one log show.
type Contradiction string

// What evidence can show.
const (
	// TwoHistories: the log's key signed two trees of which neither continues
	// the other. The signatures and the proof are all that is needed.
	TwoHistories Contradiction = "two histories"
	// WentBack: a smaller tree was shown after a larger one. Both checkpoints
	// are the log's; that the smaller came later is the finder's word.
	WentBack Contradiction = "went back"
	// Damaged: the hashes that are kept do not give the root that was signed.
	// It is the finder's word; no second history was signed.
	Damaged Contradiction = "damaged"
	// OtherKey: a checkpoint of this log's name is signed by another key.
	OtherKey Contradiction = "another key"
)

// Fork is the evidence of a log that does not continue what it signed before,
// for somebody who trusts neither the log nor the finder.
type Fork struct {
	Key   string    // the log's verifier key
	Found time.Time // by the finder's clock
	By    string    // the finder, in words: start-up, monitor, witness NAME
	// Known is the signed checkpoint that the finder had, Shown the one that
	// it was shown later.
	Known, Shown []byte
	// Root is the root of the larger tree over its first entries, as many as
	// the smaller has, and Proof that the larger continues it. Both may be
	// missing, since whoever shows a fork need not give them.
	Root  *tlog.Hash
	Proof tlog.TreeProof
}

const (
	forkHeader = "stemma-fork/v1"
	forkKnown  = "-- known --\n"
	forkShown  = "-- shown --\n"
	maxFork    = 1 << 20
)

// FormatFork gives the evidence as text: a first line "stemma-fork/v1", lines
// of a word and its value (log, found, by, root, proof), and both signed
// checkpoints under "-- known --" and "-- shown --".
func FormatFork(f Fork) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nlog %s\nfound %s\nby %s\n", forkHeader, f.Key, f.Found.UTC().Format(time.RFC3339), strings.Join(strings.Fields(f.By), " "))
	if f.Root != nil {
		fmt.Fprintf(&b, "root %s\n", f.Root)
	}
	for _, h := range f.Proof {
		fmt.Fprintf(&b, "proof %s\n", h)
	}
	b.WriteString(forkKnown)
	b.Write(f.Known)
	b.WriteString(forkShown)
	b.Write(f.Shown)
	return []byte(b.String())
}

// ParseFork reads evidence. Nothing is verified: [Fork.Check] does.
func ParseFork(text []byte) (Fork, error) {
	var f Fork
	bad := func(format string, args ...any) (Fork, error) {
		return Fork{}, fmt.Errorf("reading evidence: "+format, args...)
	}
	if len(text) > maxFork {
		return bad("it is larger than %d bytes", maxFork)
	}
	head, rest, ok := strings.Cut(string(text), forkKnown)
	known, shown, ok2 := strings.Cut(rest, forkShown)
	if !ok || !ok2 || !strings.HasPrefix(head, forkHeader+"\n") {
		return bad("it is no %s", forkHeader)
	}
	f.Known, f.Shown = []byte(known), []byte(shown)
	for _, l := range strings.Split(strings.TrimSuffix(head, "\n"), "\n")[1:] {
		word, value, _ := strings.Cut(l, " ")
		var err error
		switch word {
		case "log":
			f.Key = value
		case "found":
			f.Found, err = time.Parse(time.RFC3339, value)
		case "by":
			f.By = value
		case "root", "proof":
			var h tlog.Hash
			h, err = parseHash(value)
			if word == "root" {
				f.Root = &h
			} else {
				f.Proof = append(f.Proof, h)
			}
		default:
			return bad("the word %q is not known", word)
		}
		if err != nil {
			return bad("%s: %w", word, err)
		}
	}
	if len(f.Proof) > MaxProof {
		return bad("the proof has %d hashes, more than %d", len(f.Proof), MaxProof)
	}
	return f, nil
}

// FileName gives the name of a file for the evidence: the same two checkpoints
// have one.
func (f Fork) FileName() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\n%s%s", len(f.Known), f.Known, f.Shown))
	return fmt.Sprintf("fork-%x.txt", sum[:8])
}

// ErrNoContradiction says that evidence shows nothing: the checkpoints may be
// of one history.
var ErrNoContradiction = errors.New("the two checkpoints do not contradict each other")

// Check verifies evidence with the log's key, which must come from elsewhere,
// and tells what it shows. Only [TwoHistories] needs no trust in the finder.
func (f Fork) Check(log note.Verifier) (Contradiction, error) {
	known, err := Open(f.Known, log, nil)
	if err != nil {
		return "", fmt.Errorf("the known checkpoint: %w", err)
	}
	shown, err := Open(f.Shown, log, nil)
	var unknown *note.UnverifiedNoteError
	if errors.As(err, &unknown) && Origin(f.Shown) == log.Name() {
		return OtherKey, nil
	} else if err != nil {
		return "", fmt.Errorf("the shown checkpoint: %w", err)
	}
	a, b := known.Tree, shown.Tree
	if a.N == b.N {
		switch {
		case a.Hash != b.Hash:
			return TwoHistories, nil
		case f.Root != nil && *f.Root != a.Hash:
			return Damaged, nil
		}
		return "", ErrNoContradiction
	}
	small, large := a, b
	if a.N > b.N {
		small, large = b, a
	}
	if f.Root != nil {
		if err := Consistent(tlog.Tree{N: small.N, Hash: *f.Root}, large, f.Proof); err != nil {
			if a.N < b.N {
				return Damaged, nil // the shown tree is not even what was signed
			}
		} else if *f.Root != small.Hash {
			return TwoHistories, nil
		}
	}
	if b.N < a.N {
		return WentBack, nil
	}
	return "", ErrNoContradiction
}

// Explain tells what a contradiction means and what may be done.
func (c Contradiction) Explain() string {
	switch c {
	case TwoHistories:
		return "the log's key signed two histories; the signatures prove it to anybody"
	case WentBack:
		return "a smaller tree was shown after a larger one: an old copy was put back, or it is shown to some only; that it came later is the finder's word"
	case Damaged:
		return "the hashes that are kept do not give the root that was signed; that is the finder's word"
	case OtherKey:
		return "a checkpoint under the log's name is signed by another key"
	}
	return string(c)
}
