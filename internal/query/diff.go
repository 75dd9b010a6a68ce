package query

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// Difference is one thing in which two answers differ.
type Difference struct {
	Change string `json:"change"` // added, removed, changed
	Kind   string `json:"kind"`
	Series string `json:"series"` // the name without version
	// From and To are the versions on either side; empty where there is none.
	From []string `json:"from,omitempty"`
	To   []string `json:"to,omitempty"`
	// Approvals of the To side, with those who gave them.
	Approvals []string `json:"approvals,omitempty"`
	Entries   []uint64 `json:"entries"` // the entries that speak of the To side, or of From when removed
}

// Diff answers in what two things, or one thing at two points of the clocks,
// differ: all that either was made from, and what governs it.
func Diff(va, vb graph.View, from, to string, opt Options) (*Answer, error) {
	a, err := Why(va, from, opt)
	if err != nil {
		return nil, fmt.Errorf("first side: %w", err)
	}
	z, err := Why(vb, to, opt)
	if err != nil {
		return nil, fmt.Errorf("second side: %w", err)
	}
	out := *z
	other := va.AsOf()
	out.Question = Question{Verb: "diff", Refs: []string{from, to}, Depth: opt.Depth, Valid: other.Valid.String(), Known: other.Known,
		ToValid: vb.AsOf().Valid.String(), ToKnown: vb.AsOf().Known}
	out.Focus = uniq(sorted(append(append([]string{}, a.Focus...), z.Focus...)))
	out.Differences = differences(a, z)
	// What a depth cut from either side, and what either side does not know,
	// may be where they differ.
	out.Truncated, out.Hidden = a.Truncated || z.Truncated, a.Hidden+z.Hidden
	out.Unknown = append([]Unknown{}, z.Unknown...)
	for _, u := range a.Unknown {
		if !slices.Contains(z.Unknown, u) {
			out.Unknown = append(out.Unknown, u)
		}
	}
	sortUnknown(out.Unknown)
	return &out, nil
}

func sorted(s []string) []string { sort.Strings(s); return s }

type side struct {
	refs    []string
	entries []uint64
}

func differences(a, z *Answer) []Difference {
	left, right := sides(a), sides(z)
	keys := map[string]bool{}
	for k := range left {
		keys[k] = true
	}
	for k := range right {
		keys[k] = true
	}
	out := []Difference{}
	for k := range keys {
		l, r := left[k], right[k]
		if strings.Join(l.refs, "\n") == strings.Join(r.refs, "\n") {
			continue
		}
		kind, series, _ := strings.Cut(k, "|")
		d := Difference{Change: "changed", Kind: kind, Series: series, From: l.refs, To: r.refs, Entries: r.entries}
		switch {
		case len(l.refs) == 0:
			d.Change = "added"
		case len(r.refs) == 0:
			d.Change, d.Entries = "removed", l.entries
		}
		d.Approvals = approvals(z, r.refs)
		out = append(out, d)
	}
	sort.Slice(out, func(i, j int) bool {
		return out[i].Kind < out[j].Kind || out[i].Kind == out[j].Kind && out[i].Series < out[j].Series
	})
	return out
}

// sides groups the things of an answer by kind and series. Activities group
// by what sort of activity they are: each is its own.
func sides(a *Answer) map[string]side {
	out := map[string]side{}
	for _, list := range [][]Item{a.Entities, a.Activities, a.Identities} {
		for _, it := range list {
			series := it.Ref
			if r, err := prov.ParseRef(it.Ref); err == nil {
				series = r.Series().String()
			}
			if k := it.Attributes["activity"]; k != "" {
				series = k
			}
			s := out[it.Kind+"|"+series]
			s.refs = append(s.refs, it.Ref)
			s.entries = uniqInts(append(s.entries, it.Entries...))
			out[it.Kind+"|"+series] = s
		}
	}
	for k, s := range out {
		sort.Strings(s.refs)
		sort.Slice(s.entries, func(i, j int) bool { return s.entries[i] < s.entries[j] })
		s.entries = uniqInts(s.entries)
		out[k] = s
	}
	return out
}

func approvals(a *Answer, refs []string) []string {
	want := map[string]bool{}
	for _, r := range refs {
		want[r] = true
	}
	by := map[string]string{}
	for _, r := range a.Relations {
		if r.Type == "AssociatedWith" {
			by[r.From] = r.To
		}
	}
	var out []string
	for _, r := range a.Relations {
		if r.Type == "ApprovedBy" && want[r.From] {
			out = append(out, fmt.Sprintf("%s by %s (%s, entry %d)", r.Role, by[r.To], r.To, r.Entry))
		}
	}
	return uniq(sorted(out))
}
