package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// The roles in which one orders erasures, and sets and lifts holds.
const (
	RolePrivacy = "role:privacy"
	RoleLegal   = "role:legal"
)

// Errors of erasures and holds that callers tell apart.
var (
	ErrStanding = errors.New("no standing to order this")
	ErrHeld     = errors.New("a legal hold covers it")
)

// Standing tells whether an identity holds a role now, by an entry that it did
// not sign itself. Where all trusted keys are its own, its own word counts:
// there is nobody else.
func (w *Workspace) Standing(ctx context.Context, who prov.Ref, role string) error {
	g, _, err := w.Graph(ctx)
	if err != nil {
		return err
	}
	v := g.At(prov.AsOf{Valid: prov.At(w.clock()), Known: prov.Now.Known})
	alone := !slices.ContainsFunc(w.Trust.Keys(), func(k statement.TrustedKey) bool { return k.Principal != who.String() })
	own := false
	if id := v.Lookup(who); id != graph.None {
		for r := range v.Out(id) {
			x := v.Relation(r)
			if x.Type != prov.MemberOf || v.Ref(x.To).String() != role {
				continue
			}
			by, err := w.recorder(ctx, x.Entry)
			if err != nil {
				return err
			}
			if alone || by != who.String() {
				return nil
			}
			own = true
		}
	}
	if own {
		return fmt.Errorf("%w: that %s holds %s is said by %s alone; somebody else must record it", ErrStanding, who, role, who)
	}
	return fmt.Errorf("%w: no entry says that %s holds %s now; record that with stemma record --sign, as docs/erasure.md shows", ErrStanding, who, role)
}

func (w *Workspace) recorder(ctx context.Context, entry uint64) (string, error) {
	content, err := w.Log.Entry(ctx, entry)
	if err != nil {
		return "", err
	}
	s, err := statement.ReadStored(content)
	return s.RecordedBy, err
}

// Hold is a legal hold that is in force.
type Hold struct {
	ID      string   `json:"id"`
	Set     []uint64 `json:"set"` // the entries that set it
	By      string   `json:"by"`
	Reason  string   `json:"reason"`
	All     bool     `json:"all,omitempty"`
	Entries []uint64 `json:"entries,omitempty"`
	Refs    []string `json:"refs,omitempty"`
	Blobs   []string `json:"blobs,omitempty"`
}

// Holds gives the holds that are in force, in the order of their names. A hold
// ends only by being lifted: that the entry which set it was retracted does not
// end it.
func (w *Workspace) Holds(ctx context.Context) ([]Hold, error) {
	g, _, err := w.Graph(ctx)
	if err != nil {
		return nil, err
	}
	return holdsIn(g.At(prov.Now)), nil
}

func holdsIn(v graph.View) []Hold {
	var out []Hold
	ids, _ := v.Search("x-hold:", 0)
	for _, id := range ids {
		r := v.Ref(id)
		if r.Kind != graph.HoldRef("").Kind || r.Version != "" {
			continue
		}
		said := map[uint64]map[string]string{}
		for c := range v.Claims(id) {
			if said[c.Entry] == nil {
				said[c.Entry] = map[string]string{}
			}
			said[c.Entry][c.Key] = c.Value
		}
		if h := inForce(r.Name, said); h != nil {
			out = append(out, *h)
		}
	}
	return out
}

// inForce adds up what the entries since the last lifting say.
func inForce(id string, said map[uint64]map[string]string) *Hold {
	var entries []uint64
	for e := range said {
		entries = append(entries, e)
	}
	slices.Sort(entries)
	var h *Hold
	for _, e := range entries {
		switch said[e]["hold"] {
		case statement.HoldLift:
			h = nil
			continue
		case statement.HoldSet:
		default:
			continue
		}
		if h == nil {
			h = &Hold{ID: id, By: said[e]["hold.by"], Reason: said[e]["hold.reason"]}
		}
		h.Set = append(h.Set, e)
		for k := range said[e] {
			if k == "hold.all" {
				h.All = true
			} else if n, ok := strings.CutPrefix(k, "hold.entry."); ok {
				if i, err := strconv.ParseUint(n, 10, 64); err == nil {
					h.Entries = append(h.Entries, i)
				}
			} else if r, ok := strings.CutPrefix(k, "hold.ref."); ok {
				h.Refs = append(h.Refs, r)
			} else if b, ok := strings.CutPrefix(k, "hold.blob."); ok {
				h.Blobs = append(h.Blobs, b)
			}
		}
		slices.Sort(h.Entries)
		slices.Sort(h.Refs)
		slices.Sort(h.Blobs)
	}
	return h
}

// cover tells what a hold covers.
type cover struct {
	Hold
	names map[string]bool // keys of Refs
}

func covers(v graph.View, hs []Hold) []cover {
	var out []cover
	for _, h := range hs {
		c := cover{h, map[string]bool{}}
		for _, text := range h.Refs {
			if r, err := prov.ParseRef(text); err == nil {
				c.names[r.Key()] = true
			}
			ids, _ := query.Resolve(v, text, query.All) // a thing that nobody has named yet is held by its name
			for _, id := range alike(v, ids) {
				c.names[string(v.Key(id))] = true
			}
		}
		out = append(out, c)
	}
	return out
}

// alike gives things with all that is the same: other names, and content.
func alike(v graph.View, ids []graph.ID) []graph.ID {
	seen := map[graph.ID]bool{}
	for todo := slices.Clone(ids); len(todo) > 0; {
		id := todo[0]
		todo = todo[1:]
		if seen[id] {
			continue
		}
		seen[id] = true
		for r := range v.Out(id) {
			if r.Type() == prov.SameAs {
				todo = append(todo, r.To())
			}
		}
		for r := range v.In(id) {
			if r.Type() == prov.SameAs {
				todo = append(todo, r.From())
			}
		}
	}
	var out []graph.ID
	for id := range seen {
		out = append(out, id)
	}
	return out
}

// entry tells whether the hold covers an entry that names these things.
func (c cover) entry(index uint64, names []prov.Ref) bool {
	if c.All || slices.Contains(c.Entries, index) {
		return true
	}
	return slices.ContainsFunc(names, func(r prov.Ref) bool {
		d, _, column := r.SplitColumn()
		return c.names[r.Key()] || c.names[r.Series().Key()] || column && (c.names[d.Key()] || c.names[d.Series().Key()])
	})
}

func (c cover) String() string {
	return fmt.Sprintf("%s, set by %s in entry %d: %s", c.ID, c.By, c.Set[0], c.Reason)
}

func (w *Workspace) checkHold(ctx context.Context, who prov.Ref, h *statement.Hold) error {
	if h.Role != RoleLegal {
		return fmt.Errorf("%w: a hold is set and lifted in the role %s, this one says %q", ErrStanding, RoleLegal, h.Role)
	}
	if err := w.Standing(ctx, who, RoleLegal); err != nil {
		return err
	}
	hs, err := w.Holds(ctx)
	if err != nil {
		return err
	}
	there := slices.ContainsFunc(hs, func(x Hold) bool { return x.ID == h.ID })
	if h.State == statement.HoldLift && !there {
		return fmt.Errorf("%w: no hold %s is in force; stemma log hold list shows those that are", query.ErrNotFound, h.ID)
	}
	if h.State == statement.HoldSet && there {
		return fmt.Errorf("hold %s is in force already; choose another name, both hold then", h.ID)
	}
	return nil
}
