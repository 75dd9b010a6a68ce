package query

import (
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// Change is one entry's part in the history of a thing.
type Change struct {
	At         nullTime `json:"at"`         // when it happened, as claimed
	RecordedAt nullTime `json:"recordedAt"` // when the log learned it
	Entry      uint64   `json:"entry"`
	What       string   `json:"what"` // a word for the change, such as deployed
	Ref        string   `json:"ref"`  // what changed
	// Details are further things that the entry ties to it: relation, ref.
	Details []Detail `json:"details,omitempty"`
	Who     []string `json:"who,omitempty"`
	// Changed is, of a deployment, in what it and all that it was made from
	// differ from the one before it in that environment and service.
	Changed []Difference `json:"changed,omitempty"`
	// SignedOff are, of a deployment, the approvals of what was deployed, each
	// with its effect at that time, where somebody weighed them.
	SignedOff []Approval `json:"signedOff,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	Notes     []string   `json:"notes,omitempty"`
}

// Detail is one tie of a change.
type Detail struct {
	Relation string `json:"relation"`
	Ref      string `json:"ref"`
	// Entry is, of a deployment that is restored or whose place was taken, the
	// entry that told of it; empty where none is known.
	Entry *uint64 `json:"entry,omitempty"`
}

// History answers what happened to a thing, its versions, and the deployments
// of a service or environment, in order of valid time.
func History(v graph.View, text string, opt Options) (*Answer, error) {
	ids, err := Resolve(v, text, All)
	if err != nil {
		return nil, err
	}
	b := newBuilder(v, Question{Verb: "history", Refs: []string{text}, Limit: opt.Limit}, opt)
	for _, id := range ids {
		b.member(id, 0)
		for _, p := range partners(v, id) {
			b.member(p, 0)
		}
		b.answer.Focus = append(b.answer.Focus, b.name(id))
	}
	h := &historian{b: b, rows: map[changeKey]*Change{}}
	for _, id := range slices.Clone(b.members) {
		h.of(id)
	}
	h.releases()
	b.answer.History = h.sorted()
	b.notesOnApprovals()
	b.connect(lineage | context | agency)
	return b.end()
}

type changeKey struct {
	entry uint64
	ref   string
}

type historian struct {
	b    *builder
	rows map[changeKey]*Change
	deps []release
}

var happenings = map[prov.RelationType]string{
	prov.GeneratedBy: "written", prov.GeneratedByStated: "written", prov.ApprovedBy: "approved", prov.RejectedBy: "rejected",
	prov.RevokedBy: "approval revoked", prov.SubjectOf: "notice", prov.OwnedBy: "owned", prov.NamedBy: "named",
	prov.SameAs: "same-as", prov.DerivedFrom: "derived",
}

func (h *historian) of(id graph.ID) {
	v := h.b.v
	for r := range v.Out(id) {
		x := v.Relation(r)
		if what, ok := happenings[x.Type]; ok && !r.Named() {
			h.row(x, id, what, x.To)
		} else if x.Type == prov.DeployedTo {
			h.deployment(id)
		}
	}
	for r := range v.In(id) {
		x := v.Relation(r)
		switch x.Type {
		case prov.Used:
			h.row(x, id, "used", x.From)
		case prov.Deployed, prov.DeployedTo, prov.UsesPrompt, prov.CallsTool, prov.GovernedBy, prov.RunsAs, prov.ReadsSecret, prov.AuthenticatesWith:
			if v.Ref(x.From).Kind == prov.Deployment {
				h.deployment(x.From)
			}
		}
	}
	attrs := v.Attributes(id)
	if len(h.rows) == 0 || attrs["state"] == "registered" {
		h.mention(id, attrs)
	}
}

func (h *historian) at(entry uint64, ref, what string, at prov.Instant) *Change {
	k := changeKey{entry, ref + "|" + what}
	c := h.rows[k]
	if c == nil {
		c = &Change{At: nullTime(at.String()), RecordedAt: nullTime(h.b.v.Recorded(entry).String()), Entry: entry, What: what, Ref: ref}
		h.rows[k] = c
	}
	return c
}

func (h *historian) row(x graph.Relation, id graph.ID, what string, other graph.ID) {
	v, b := h.b.v, h.b
	at := x.Valid.From
	attrs := v.Attributes(other)
	for _, key := range []string{"decidedAt", "at"} {
		if t, err := prov.ParseTime(attrs[key]); err == nil && attrs[key] != "" {
			at = prov.At(t)
		}
	}
	if what == "notice" {
		what = attrs["notice"]
	}
	c := h.at(x.Entry, b.name(id), what, at)
	b.contextOf(other)
	c.Details = append(c.Details, Detail{Relation: x.Type.String(), Ref: b.name(other)})
	if r := attrs["review"]; r != "" {
		c.What = r + " review: " + what
	}
	c.Reason = first(c.Reason, attrs["comment"], attrs["description"], attrs["reason"])
	h.who(c, other)
}

func first(s ...string) string {
	for _, x := range s {
		if x != "" {
			return x
		}
	}
	return ""
}

func (h *historian) who(c *Change, id graph.ID) {
	for r := range h.b.v.Out(id) {
		if r.Type() == prov.AssociatedWith {
			h.b.contextOf(r.To())
			c.Who = append(c.Who, h.b.name(r.To()))
		}
	}
}

// deployment adds the row of a deployment with all that it is made of.
func (h *historian) deployment(dep graph.ID) {
	v, b := h.b.v, h.b
	attrs := v.Attributes(dep)
	at := prov.Beginning
	if t, err := prov.ParseTime(attrs["at"]); err == nil {
		at = prov.At(t)
	}
	what := map[string]string{"deploy": "deployed", "rollback": "rolled back", "retire": "retired"}[attrs["action"]]
	c := h.at(v.Entries(dep)[0], b.name(dep), what, at)
	if len(c.Details) > 0 {
		return
	}
	b.contextOf(dep)
	for r := range v.Out(dep) {
		x := v.Relation(r)
		b.contextOf(x.To)
		if x.Type == prov.AssociatedWith {
			c.Who = append(c.Who, b.name(x.To))
			continue
		}
		c.Details = append(c.Details, h.detail(x))
		if x.Type == prov.DeployedTo && x.Valid.To != prov.Forever && x.Role == "service" {
			c.Notes = append(c.Notes, "live until "+x.Valid.To.String())
		}
	}
	h.retired(dep)
	c.Reason = attrs["reason"]
	h.deps = append(h.deps, release{id: dep, at: at, change: c})
}

func (h *historian) mention(id graph.ID, attrs map[string]string) {
	for _, e := range h.b.v.Entries(id) {
		what := first(attrs["state"], "mentioned")
		h.at(e, h.b.name(id), what, h.b.v.Recorded(e))
	}
}

func (h *historian) sorted() []Change {
	var out []Change
	for _, c := range h.rows {
		c.Details = slices.CompactFunc(slices.SortedFunc(slices.Values(c.Details), func(a, b Detail) int {
			return strings.Compare(a.Relation+a.Ref, b.Relation+b.Ref)
		}), func(a, b Detail) bool { return a.Relation == b.Relation && a.Ref == b.Ref })
		c.Who = slices.Compact(slices.Sorted(slices.Values(c.Who)))
		out = append(out, *c)
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if a.At != b.At {
			return instant(a.At) < instant(b.At)
		}
		if a.Entry != b.Entry {
			return a.Entry < b.Entry
		}
		return a.Ref+a.What < b.Ref+b.What
	})
	return out
}

func instant(t nullTime) prov.Instant {
	if v, err := prov.ParseTime(string(t)); err == nil {
		return prov.At(v)
	}
	return prov.Beginning
}

// notesOnApprovals marks approvals that the log learned only after the
// deployment that they claim to come before.
func (b *builder) notesOnApprovals() {
	for _, id := range append(slices.Clone(b.members), slices.Sorted(maps.Keys(b.ctx))...) {
		b.noteOnApprovals(id)
	}
}

func (b *builder) noteOnApprovals(id graph.ID) {
	for r := range b.v.Out(id) {
		if r.Type() != prov.ApprovedBy {
			continue
		}
		ap := b.v.Relation(r)
		for _, twin := range append(partners(b.v, id), id) {
			for d := range b.v.In(twin) {
				if d.Type() == prov.Deployed {
					b.backdated(ap, b.v.Relation(d))
				}
			}
		}
	}
}

func (b *builder) backdated(ap, dep graph.Relation) {
	claimed := b.v.Attributes(ap.To)["decidedAt"]
	t, err := prov.ParseTime(claimed)
	if err != nil || prov.At(t) > dep.Valid.From || ap.Entry < dep.Entry {
		return
	}
	b.unknown(b.name(ap.To), "claims to be decided at %s, before %s, but was recorded only at %s (entry %d), after that deployment (entry %d)",
		claimed, b.name(dep.From), b.v.Recorded(ap.Entry), ap.Entry, dep.Entry)
}
