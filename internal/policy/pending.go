package policy

import (
	"bytes"
	"slices"
	"sort"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Asked is a request for a decision on a thing.
type Asked struct {
	Subject string
	Decision
}

// Pending gives the requests that no decision of the same review on the same
// content followed, in the order of the log.
func Pending(v graph.View) []Asked {
	v = v.Always()
	var out []Asked
	for id := graph.ID(1); int(id) < v.Len(); id++ {
		if !bytes.HasPrefix(v.Key(id), []byte("approval:")) || !v.Known(id) {
			continue
		}
		for r := range v.In(id) {
			if x := v.Relation(r); x.Type == prov.RequestedBy && !decided(v, x) {
				j := judge{v: v, at: prov.Forever}
				d := j.read(x, x.From)
				_, names := Same(v, x.From)
				subject := v.Ref(x.From).String()
				if len(names) > 0 {
					subject = v.Ref(slices.Min(names)).String()
				}
				out = append(out, Asked{subject, d})
			}
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Entry < out[j].Entry })
	return out
}

// decided tells whether a decision of the request's review followed it.
func decided(v graph.View, request graph.Relation) bool {
	review := v.Said(request.To, request.Entry)["review"]
	for r := range v.Out(request.From) {
		x := v.Relation(r)
		if x.Type != prov.ApprovedBy && x.Type != prov.RejectedBy || x.Entry < request.Entry {
			continue
		}
		said := v.Said(x.To, x.Entry)
		if said["review"] == review && (said["decision"] == statement.Approve || said["decision"] == statement.Reject) {
			return true
		}
	}
	return false
}
