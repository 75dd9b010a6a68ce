package query

import (
	"cmp"
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
	Area   string `json:"area"`   // see Areas
	Kind   string `json:"kind"`
	Series string `json:"series"` // the name without version
	// From and To are the versions on either side; empty where there is none.
	From []string `json:"from,omitempty"`
	To   []string `json:"to,omitempty"`
	// Approvals of the To side.
	Approvals []Approval `json:"approvals,omitempty"`
	// Covered says whether an approval of the To side counts, in a release
	// where somebody weighed them: yes, no, or unknown. Of what was removed, and
	// of what nobody approves, it is empty.
	Covered string   `json:"covered,omitempty"`
	Entries []uint64 `json:"entries"` // the entries that speak of the To side, or of From when removed
}

// Approval is an approval of one thing of a difference.
type Approval struct {
	Ref      string `json:"ref"`
	Of       string `json:"of"`
	Review   string `json:"review"`
	Approver string `json:"approver"`
	Entry    uint64 `json:"entry"`
	// Effect is counts, no effect or unknown, with the reasons; empty where
	// nobody weighed it.
	Effect  string   `json:"effect,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
}

// String says it in a line.
func (a Approval) String() string {
	return fmt.Sprintf("%s by %s (%s, entry %d)", a.Review, a.Approver, a.Ref, a.Entry)
}

// Areas are what a release is made of, in the order in which differences are
// told: the last is all that is none of these.
var Areas = []string{"models", "data", "code", "prompts", "tools", "identities", "credentials", "policy", "other"}

var areas = map[prov.Kind]string{prov.Model: "models", prov.Agent: "models", prov.Dataset: "data", prov.FeatureSet: "data", prov.Column: "data", prov.File: "data",
	prov.Code: "code", prov.Image: "code", prov.Package: "code", prov.Plan: "code", prov.Prompt: "prompts", prov.Tool: "tools",
	prov.Person: "identities", prov.Team: "identities", prov.Org: "identities", prov.ServiceAccount: "identities", prov.Workload: "identities", prov.Role: "identities", prov.Subagent: "identities",
	prov.Credential: "credentials", prov.Secret: "credentials", prov.Grant: "credentials", prov.Policy: "policy"}

// areaOf gives the area of a kind; content of which no kind is known is data.
func areaOf(kind string) string {
	if a := areas[prov.Kind(kind)]; a != "" {
		return a
	}
	if prov.DigestRef(kind, "").IsDigest() {
		return "data"
	}
	return "other"
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
	judges := deciders(a, z)
	return compare(sides(a), sides(z), func(d *Difference, l, r side) {
		d.Approvals = approvals(z, r.refs)
		if all := append(slices.Clone(l.refs), r.refs...); d.Area == "identities" && !slices.ContainsFunc(all, func(x string) bool { return !judges[x] }) {
			d.Area = "other"
		}
	})
}

// compare gives in what two sides differ, by area; each difference is given to
// more before they are put in order.
func compare(left, right map[string]side, more func(d *Difference, l, r side)) []Difference {
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
		if slices.Equal(l.refs, r.refs) {
			continue
		}
		kind, series, _ := strings.Cut(k, "|")
		d := Difference{Change: "changed", Area: areaOf(kind), Kind: kind, Series: series, From: l.refs, To: r.refs, Entries: r.entries}
		switch {
		case len(l.refs) == 0:
			d.Change = "added"
		case len(r.refs) == 0:
			d.Change, d.Entries = "removed", l.entries
		}
		more(&d, l, r)
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(slices.Index(Areas, a.Area), slices.Index(Areas, b.Area)), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Series, b.Series))
	})
	return out
}

// deciders gives the identities that only decided: they are no part of a
// release.
func deciders(answers ...*Answer) map[string]bool {
	out := map[string]bool{}
	for _, a := range answers {
		for _, r := range a.Relations {
			decided := r.Type == "AssociatedWith" && strings.HasPrefix(r.From, "approval:")
			if was, ok := out[r.To]; !ok || was {
				out[r.To] = decided
			}
		}
	}
	return out
}

// sides groups the things of an answer by kind and series. Activities group
// by what sort of activity they are: each is its own.
func sides(a *Answer) map[string]side {
	out, before := map[string]side{}, map[string]bool{}
	for _, r := range a.Relations { // deployments that are told only as those before
		if r.Type == "Supersedes" || r.Type == "Restores" {
			before[r.To] = !slices.Contains(a.Focus, r.To)
		}
	}
	for _, list := range [][]Item{a.Entities, a.Activities, a.Identities} {
		for _, it := range list {
			if before[it.Ref] && it.Kind == string(prov.Deployment) {
				continue
			}
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

func approvals(a *Answer, refs []string) []Approval {
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
	var out []Approval
	for _, r := range a.Relations {
		if r.Type == "ApprovedBy" && want[r.From] {
			out = append(out, Approval{Ref: r.To, Of: r.From, Review: r.Role, Approver: by[r.To], Entry: r.Entry})
		}
	}
	slices.SortFunc(out, func(a, b Approval) int { return cmp.Or(cmp.Compare(a.Entry, b.Entry), cmp.Compare(a.Of, b.Of)) })
	return out
}
