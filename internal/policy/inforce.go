package policy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// Logged reads a policy out of the log. Its text was signed and recorded; that
// it is the text of the digest under which it was recorded, that who recorded
// it had standing, and that it compiles, is found out here.
func Logged(v graph.View, id graph.ID, ctx Context) (*Policy, error) {
	return logged(v, id, newStanding(v, ctx))
}

func logged(v graph.View, id graph.ID, st *standing) (*Policy, error) {
	text, err := textOf(v, id, st)
	if err != nil {
		return nil, err
	}
	p, err := Parse([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.Ref(id), err)
	}
	p.Source = v.Ref(id).String()
	return p, nil
}

// textOf gives the one text that those with standing put under a policy.
func textOf(v graph.View, id graph.ID, st *standing) (string, error) {
	texts, idle := textsOf(v, id, st)
	found := ""
	for _, c := range texts {
		if d := v.Ref(c.on); d.Kind == prov.SHA256 && d.Name != fmt.Sprintf("%x", sha256.Sum256([]byte(c.Value))) {
			return "", fmt.Errorf("%s: a text was recorded under %s that does not have this digest", v.Ref(id), d)
		}
		if found != "" && found != c.Value {
			return "", fmt.Errorf("%s stands for several texts; name the policy by its digest", v.Ref(id))
		}
		found = c.Value
	}
	switch {
	case found != "":
		return found, nil
	case len(idle) > 0:
		return "", fmt.Errorf("%s is not in force: %s", v.Ref(id), st.lacks(idle[0].Entry, "puts it in force"))
	}
	return "", fmt.Errorf("%s is no policy that is in force as of then; stemma policy add puts one in force", v.Ref(id))
}

// textClaim is a text that an entry put under a policy.
type textClaim struct {
	graph.Claim
	on graph.ID
}

// textClaims gives every text that was put under a policy, in the order of the
// log.
func textClaims(v graph.View, id graph.ID) (out []textClaim) {
	content, names := identify(v.Always(), id)
	for _, x := range append(content, names...) {
		for c := range v.Claims(x) {
			if c.Key == "text" && c.Value != "" && !c.Retracted && (v.AsOf().Valid == prov.Forever || c.At <= v.AsOf().Valid) {
				out = append(out, textClaim{c, x})
			}
		}
	}
	slices.SortFunc(out, func(a, b textClaim) int { return cmp.Compare(a.Entry, b.Entry) })
	return out
}

// textsOf gives the texts of a policy as of the view: those of entries whose
// recorder had standing, the latest of each name and content, and those of
// others, which have no effect.
func textsOf(v graph.View, id graph.ID, st *standing) (texts, idle []textClaim) {
	latest := map[graph.ID]textClaim{}
	for _, c := range textClaims(v, id) {
		if !st.has(c.Entry) {
			idle = append(idle, c)
			continue
		}
		if was, ok := latest[c.on]; !ok || c.At > was.At || c.At == was.At && c.Value > was.Value {
			latest[c.on] = c
		}
	}
	for _, x := range slices.Sorted(maps.Keys(latest)) {
		texts = append(texts, latest[x])
	}
	return texts, idle
}

// InForce gives the policies in force for an environment: of each series the
// version that is current as of the view, of those that somebody with standing
// recorded, in the order of their names. One that does not compile, or of
// which the current version has no text while an earlier one had, is an error,
// for nothing may pass it. What others recorded has no effect; idle says so of
// each, in words.
func InForce(v graph.View, ctx Context) (out []*Policy, idle []string, err error) {
	series, _ := Series(v, 1)
	return InForceOf(v, series, ctx)
}

// Series gives the series of policies that the view knows, of the things from
// an ID on, and the ID from which on to look for more when the log has grown.
func Series(v graph.View, from graph.ID) (out []graph.ID, next graph.ID) {
	id := from
	for ; int(id) < v.Len() && v.Known(id); id++ { // IDs are given in the order of the log
		if bytes.HasPrefix(v.Key(id), []byte("policy:")) && v.Ref(id).Version == "" {
			out = append(out, id)
		}
	}
	return out, id
}

// InForceOf is InForce of the series that [Series] gave.
func InForceOf(v graph.View, series []graph.ID, ctx Context) (out []*Policy, idle []string, err error) {
	st := newStanding(v, ctx)
	for _, id := range series {
		if !v.Known(id) {
			continue
		}
		current, not := currentPolicy(v, id, st)
		idle = append(idle, not...)
		if current == graph.None { // a bundle of another engine
			continue
		}
		p, err := logged(v, current, st)
		if err != nil {
			return nil, idle, err
		}
		if p.Covers(ctx.Environment) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *Policy) int { return cmp.Compare(a.Source, b.Source) })
	return out, idle, nil
}

// currentPolicy gives the version of a series that is current; None when none
// ever had a text of somebody with standing. When a version came into force is
// what those with standing say: else anybody could put it earlier, behind
// another.
func currentPolicy(v graph.View, series graph.ID, st *standing) (current graph.ID, idle []string) {
	ever, since := false, prov.Beginning
	for _, ver := range v.Always().Versions(series) { // of one time the last in the order of names counts
		at, texts := ver.At, false
		for _, c := range textClaims(v.Always(), ver.ID) {
			switch {
			case !st.has(c.Entry):
				idle = append(idle, st.lacks(c.Entry, "puts "+v.Ref(ver.ID).String()+" in force"))
			case !texts || c.At < at:
				at, texts = c.At, true
			}
		}
		if at > v.AsOf().Valid || !texts && !slices.ContainsFunc(v.Entries(ver.ID), st.has) {
			continue // later, or a version by the word of somebody without standing
		}
		ever = ever || texts
		if at >= since {
			current, since = ver.ID, at
		}
	}
	if !ever {
		return graph.None, idle
	}
	return current, idle
}
