package policy

import (
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// WaiverClaim is a waiver, weighed like a decision; Until is when it ends.
type WaiverClaim struct {
	Decision
	Until string
}

// Waivers gives the waivers on any of the things for one of the rules, and
// whether they count at the view's moment: who accepted it held the role, did
// not make the thing, and it has not ended. They are in the order of the log.
func Waivers(v graph.View, on []graph.ID, rules []string, role string, ctx Context) []WaiverClaim {
	var out []WaiverClaim
	for _, id := range on {
		for c := range v.Always().Claims(id) {
			if c.Key != "waiver" || !slices.Contains(rules, c.Value) || c.Retracted {
				continue
			}
			j := newJudge(v, id, ctx)
			w := readWaiver(v, id, c.Entry, role)
			if !v.IsDigest(id) && len(j.content) > 0 {
				w.no(NoDigest, "it binds the name %s, not content", v.Ref(id))
			}
			j.weighApprover(&w)
			j.weighWaiver(&w)
			out = append(out, WaiverClaim{w, w.said["waiver.until"]})
		}
	}
	slices.SortFunc(out, func(a, b WaiverClaim) int { return int(a.Entry) - int(b.Entry) })
	return slices.CompactFunc(out, func(a, b WaiverClaim) bool { return a.Entry == b.Entry })
}

// weighWaiver asks for the period and the environments of a waiver.
func (j *judge) weighWaiver(w *Decision) {
	j.weighTime(w)
	if w.said["waiver.until"] == "" {
		w.no(Expired, "it has no end")
	}
	env := strings.TrimPrefix(j.ctx.Environment, "env:")
	if scope := scopeOf(w.said); len(scope) > 0 && !slices.Contains(scope, env) {
		w.no(OtherEnv, "it is for %s", strings.Join(scope, ", "))
	}
	w.settle()
}

// readWaiver reads a waiver as a decision in the role that is asked for.
func readWaiver(v graph.View, id graph.ID, entry uint64, role string) Decision {
	said := v.Always().Said(id, entry)
	w := Decision{Entry: entry, Role: role, Approver: said["waiver.by"], Comment: said["waiver.reason"], said: said,
		recorded: v.Recorded(entry), from: prov.Beginning, until: prov.Forever}
	w.decided = w.recorded
	if t, err := prov.ParseTime(said["waiver.from"]); err == nil {
		w.decided, w.from = prov.At(t), prov.At(t)
	}
	if t, err := prov.ParseTime(said["waiver.until"]); err == nil {
		w.until = prov.At(t)
	}
	return w
}
