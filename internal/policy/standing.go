package policy

import (
	"fmt"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// adminRole is held by those who say who may do what, and which policies are
// in force. Who holds it cannot decide.
const adminRole = "role:admin"

// standing tells who may put policies in force and state roles: the stewards
// of the log, and whom they, or others with standing, gave role:admin. It is
// asked as of the recording of each entry, so what somebody said while it had
// the standing stays in effect.
type standing struct {
	v        graph.View // all times
	stewards []string
	known    map[uint64]bool
}

func newStanding(v graph.View, ctx Context) *standing {
	return &standing{v: v.Always(), stewards: ctx.Stewards, known: map[uint64]bool{}}
}

// has tells whether who recorded an entry had standing then. Standing rests on
// earlier entries alone, so the recursion ends.
func (s *standing) has(entry uint64) bool {
	if ok, asked := s.known[entry]; asked {
		return ok
	}
	_, ok := s.by(entry)
	s.known[entry] = ok
	return ok
}

// by gives the entries by which the recorder of an entry had standing; none
// for a steward.
func (s *standing) by(entry uint64) (chain []uint64, ok bool) {
	who := s.v.RecordedBy(entry)
	if slices.Contains(s.stewards, who) {
		return nil, true
	}
	ref, err := prov.ParseRef(who)
	if err != nil {
		return nil, false
	}
	id, at := s.v.Lookup(ref), s.v.Recorded(entry)
	if id == graph.None {
		return nil, false
	}
	for r := range s.v.Out(id) {
		x := s.v.Relation(r)
		if x.Type != prov.MemberOf || x.Entry >= entry || at < x.Valid.From || at >= x.Valid.To || s.v.Ref(x.To).String() != adminRole {
			continue
		}
		if s.has(x.Entry) {
			before, _ := s.by(x.Entry)
			return append(before, x.Entry), true
		}
	}
	return nil, false
}

// lacks says in words why an entry has no effect.
func (s *standing) lacks(entry uint64, what string) string {
	who := s.v.RecordedBy(entry)
	if who == "" {
		who = "nobody that is known here"
	}
	return fmt.Sprintf("entry %d %s without effect: %s had no standing, for it neither set up this log nor held %s then", entry, what, who, adminRole)
}
