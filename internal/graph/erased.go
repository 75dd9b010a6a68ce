package graph

import (
	"fmt"
	"sort"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// # Entries that were erased
//
// Where the content of an entry was erased, the log gives what is left of it
// (statement.Remainder), and the fold takes that in at the place of the entry:
// the graph is the one of a log in which the entry never said more. So an
// erasure reaches back: what was erased is told for no log size, also not for
// one before the order, and that it was erased is told for every size that
// holds the entry. A graph that was folded before the erasure is of no use
// after it; who holds one folds anew.

// erasure says that an entry was erased by a later one, and of which kinds
// names in what is left are pseudonyms: a bit for each place in prov.Kinds, the
// last for kinds of one's own, and hidesRights.
type erasure struct {
	entry, by uint32
	hidden    uint64
}

// foldRemainder takes in what is left of an erased entry.
func (g *Graph) foldRemainder(index uint64, content []byte) error {
	r, err := statement.ParseRemainder(content)
	if err != nil {
		return fmt.Errorf("folding entry %d: %w", index, err)
	}
	if r.ErasedBy <= index {
		return fmt.Errorf("folding entry %d: it is said to be erased by entry %d, which is not after it", index, r.ErasedBy)
	}
	if index != g.Size() {
		return gap(index, g.Size())
	}
	k, at, p := uint32(index), prov.At(r.RecordedAt), r.Parsed()
	e := erasure{entry: k, by: uint32(min(r.ErasedBy, uint64(openKnown)))}
	if p.Statement != nil {
		for _, n := range append(statement.Names(p.Statement), recorder(r.RecordedBy)) {
			if statement.IsPseudonym(n) {
				e.hidden |= kindBit(n.Kind)
			}
		}
	}
	if e.hidden&kindBit(prov.Person) != 0 && tellsRights(p.Statement) {
		e.hidden |= hidesRights
	}
	g.recorded.add(at)
	g.recorder.add(g.words.intern(r.RecordedBy))
	g.erased.add(e)
	g.foldStatement(k, at, r.RecordedBy, p)
	g.publish()
	return nil
}

// hidesRights says that the teams, roles, or other names of a person were told
// in the entry, and that the person's name is gone.
const hidesRights = 1 << 62

func tellsRights(s *statement.Statement) bool {
	switch p := s.Predicate.(type) {
	case *statement.Identity:
		return true
	case *statement.Entity:
		return len(p.SameAs) > 0
	}
	return false
}

func recorder(s string) prov.Ref {
	r, _ := prov.ParseRef(s) // it may be empty
	return r
}

func kindBit(k prov.Kind) uint64 {
	all := prov.Kinds()
	i := sort.Search(len(all), func(i int) bool { return all[i] >= k })
	if i == len(all) || all[i] != k {
		i = 63
	}
	return 1 << min(i, 63)
}

func gap(index, size uint64) error {
	return fmt.Errorf("folding entry %d: the graph holds %d entries; fold them in order", index, size)
}

// erasure folds an order. What it orders of entries stands at these entries
// already; one whose content is still there is a problem.
func (f *folder) erasure(p *statement.Erasure) {
	g := f.g
	why := p.Reason + " (" + p.LegalBasis + ")"
	g.orders.add(problem{entry: f.k, what: g.store(why)})
	for _, e := range p.Entries {
		if by, ok := g.erasedBy(e.Entry); !ok || by != f.k {
			g.problem(f.k, fmt.Sprintf("it orders that entry %d be erased, whose content is here; stemma log fsck tells more", e.Entry))
		}
	}
	for _, d := range p.Blobs {
		id := g.intern(prov.DigestRef("sha256", d), f.k)
		g.mentionOf(id, f.k)
		f.attr(id, "erased", fmt.Sprintf("by entry %d, because %s", f.k, why), prov.Beginning)
	}
}

func (g *Graph) erasedBy(entry uint64) (by uint32, ok bool) {
	n := g.erased.len()
	i := sort.Search(n, func(i int) bool { return uint64(g.erased.at(uint32(i)).entry) >= entry })
	if i == n || uint64(g.erased.at(uint32(i)).entry) != entry {
		return 0, false
	}
	return g.erased.at(uint32(i)).by, true
}

// hold folds a legal hold: what a hold says hangs together by its entry.
func (f *folder) hold(p *statement.Hold) {
	id := f.g.intern(HoldRef(p.ID), f.k)
	f.g.mentionOf(id, f.k)
	at := f.or(p.At)
	f.attr(id, "hold", p.State, at)
	f.attr(id, "hold.reason", p.Reason, at)
	f.attr(id, "hold.by", f.by, at)
	if p.All {
		f.attr(id, "hold.all", "yes", at)
	}
	for _, e := range p.Entries {
		f.attr(id, fmt.Sprintf("hold.entry.%d", e), "yes", at)
	}
	for _, r := range p.Refs {
		f.attr(id, "hold.ref."+r, "yes", at)
	}
	for _, b := range p.Blobs {
		f.attr(id, "hold.blob."+b, "yes", at)
	}
}

// HoldRef names a legal hold.
func HoldRef(id string) prov.Ref { return prov.Ref{Kind: "x-hold", Name: id} }

// logState folds what is said of the log itself.
func (f *folder) logState(p *statement.LogState) {
	id := f.g.intern(LogRef(p.Origin), f.k)
	f.g.mentionOf(id, f.k)
	at := f.or(p.At)
	f.attr(id, "log", p.State, at)
	f.attr(id, "reason", p.Reason, at)
	if x := p.Predecessor; x != nil {
		f.attr(id, "predecessor", x.Origin, at)
		f.attr(id, "predecessor.size", fmt.Sprint(x.Size), at)
		f.attr(id, "predecessor.root", x.Root, at)
		f.attr(id, "predecessor.key", x.Key, at)
	}
}

// LogRef names a log by its origin.
func LogRef(origin string) prov.Ref { return prov.Ref{Kind: prov.Resource, Name: "log/" + origin} }

// Erased is an entry whose content was erased.
type Erased struct {
	Entry, By uint64
	// Reason is that of the order, with its legal basis; empty as long as the
	// order is not folded.
	Reason string
	// Kinds are those of which names in the entry were replaced by pseudonyms;
	// "x-" stands for kinds of one's own.
	Kinds []prov.Kind
	// Rights tells that the entry may have told the teams, roles, or other names
	// of a person whose name is gone.
	Rights bool
}

// Erasures gives the entries known in the view whose content was erased,
// ascending: at whatever size of the log the order stands, also beyond the
// view's.
func (v View) Erasures() []Erased {
	var out []Erased
	for i := range v.g.erased.end() {
		e := v.g.erased.at(i)
		if e.entry >= v.known {
			break
		}
		x := Erased{Entry: uint64(e.entry), By: uint64(e.by), Reason: v.orderReason(e.by), Rights: e.hidden&hidesRights != 0}
		if e.hidden != 0 {
			for _, k := range append(prov.Kinds(), "x-") {
				if e.hidden&kindBit(k) != 0 {
					x.Kinds = append(x.Kinds, k)
				}
			}
		}
		out = append(out, x)
	}
	return out
}

// Erased tells whether the content of an entry was erased, and by which order.
func (v View) Erased(entry uint64) (by uint64, ok bool) {
	b, ok := v.g.erasedBy(entry)
	return uint64(b), ok && entry < uint64(v.known)
}

func (v View) orderReason(by uint32) string {
	os := &v.g.orders
	n := os.len()
	i := sort.Search(n, func(i int) bool { return os.at(uint32(i)).entry >= by })
	if i == n || os.at(uint32(i)).entry != by {
		return ""
	}
	return v.g.text(os.at(uint32(i)).what)
}

// ErasedEntries gives how many entries of the graph were erased.
func (g *Graph) ErasedEntries() int { return g.erased.len() }

// withheld says that fields of an entry were withheld when it was signed.
type withheld struct{ entry, fields uint32 }

// Withheld gives how many fields of an entry were withheld when it was signed.
func (v View) Withheld(entry uint64) int {
	ws := &v.g.withheld
	n := ws.len()
	i := sort.Search(n, func(i int) bool { return uint64(ws.at(uint32(i)).entry) >= entry })
	if i == n || uint64(ws.at(uint32(i)).entry) != entry || entry >= uint64(v.known) {
		return 0
	}
	return int(ws.at(uint32(i)).fields)
}
