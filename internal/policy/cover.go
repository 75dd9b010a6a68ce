package policy

import (
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Cover says of each difference whether an approval covers it: one that
// counts, at the moment and the log size of the view, of each thing that the
// second side has and the first has not. Of what is no part of a release, such
// as an activity, and of what was removed, nothing is said.
func Cover(ds []query.Difference, v graph.View, ctx Context) {
	for i := range ds {
		d := &ds[i]
		d.Approvals = nil
		if len(d.To) == 0 || d.Area == "other" {
			continue
		}
		d.Covered = "yes"
		for _, ref := range d.To {
			if slices.Contains(d.From, ref) {
				continue
			}
			switch ok, maybe := coverOne(d, ref, v, ctx); {
			case ok:
			case maybe && d.Covered != "no":
				d.Covered = "unknown"
			case !maybe:
				d.Covered = "no"
			}
		}
	}
}

// SignOff says of each deployment in a history who approved what it put live,
// and whether that counted there at that time, as the view's log knows it.
func SignOff(history []query.Change, v graph.View, ctx Context) {
	for i := range history {
		c := &history[i]
		at, err := prov.ParseTime(string(c.At))
		if err != nil {
			continue
		}
		there := ctx
		for _, d := range c.Details {
			if env, ok := strings.CutPrefix(d.Ref, "env:"); ok && d.Relation == prov.DeployedTo.String() {
				there.Environment = env
			}
		}
		found := query.Difference{}
		for _, d := range c.Details {
			if d.Relation == prov.Deployed.String() {
				coverOne(&found, d.Ref, v.When(prov.At(at)), there)
			}
		}
		c.SignedOff = found.Approvals
	}
}

// coverOne lists the approvals of one thing.
func coverOne(d *query.Difference, text string, v graph.View, ctx Context) (ok, maybe bool) {
	ref, err := prov.ParseRef(text)
	if err != nil {
		return false, false
	}
	id := v.Always().Lookup(ref)
	if id == graph.None {
		return false, false
	}
	for _, x := range Decisions(v, id, ctx) {
		if x.Decision != statement.Approve {
			continue
		}
		a := query.Approval{Ref: x.Ref, Of: text, Review: x.Review, Approver: x.Approver, Entry: x.Entry, Effect: string(x.Effect)}
		for _, r := range x.Reasons {
			a.Reasons = append(a.Reasons, r.Detail)
		}
		d.Approvals = append(d.Approvals, a)
		ok, maybe = ok || x.Effect == Counts, maybe || x.Effect == Uncertain
	}
	return ok, maybe
}
