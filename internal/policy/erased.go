package policy

import (
	"fmt"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// erased doubts a decision whose content was erased, and those of people of
// whom teams, roles or other names may have been told in an entry from which
// names were erased. What is told of them after the order ends that doubt.
func (j *judge) erased(d *Decision, who graph.ID) (rs []Reason) {
	unsure := func(format string, args ...any) {
		rs = append(rs, Reason{Class: Erased, Detail: fmt.Sprintf(format, args...)})
	}
	if by, ok := j.v.Erased(d.Entry); ok {
		unsure("its content was erased by entry %d: who decided is not known by name, so neither is what they made or may do", by)
	}
	for _, e := range j.v.Erasures() {
		if e.Rights && !toldAfter(j.v, who, e.By) {
			unsure("entry %d told teams, roles or other names of people whose names entry %d erased; whether of %s too is not known until somebody records theirs anew", e.Entry, e.By, d.Approver)
		}
	}
	return rs
}

func toldAfter(v graph.View, who graph.ID, entry uint64) bool {
	if who == graph.None {
		return false
	}
	for r := range v.Out(who) {
		if x := v.Relation(r); x.Type == prov.MemberOf && x.Entry > entry {
			return true
		}
	}
	return false
}
