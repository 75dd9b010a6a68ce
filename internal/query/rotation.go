package query

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// Rotation is what hangs on a credential or secret, and in which order to
// rotate it and what it exposes.
type Rotation struct {
	Credential string   `json:"credential"`
	Since      nullTime `json:"since"` // exposed since; null: now
	// Authenticates are those who authenticate, or authenticated, with it.
	Authenticates []Holder `json:"authenticates"`
	// Live are the deployments that are live and rest on it.
	Live []Consumer `json:"live"`
	// Reaches is what those who authenticate with it reach.
	Reaches []Reached `json:"reaches"`
	// Activities used it, or ran as who holds it, since then; Made is what was
	// made with them, all the way down.
	Activities []Acted  `json:"activities"`
	Made       []string `json:"made"`
	// Plan is in the order in which to rotate. Cycles are credentials each of
	// which gives the next; the plan begins each at its first, which is nearest
	// to what was asked.
	Plan    []RotationStep `json:"plan"`
	Cycles  [][]string     `json:"cycles"`
	Unknown []Unknown      `json:"unknown"`
}

// Holder is one who authenticates with a credential.
type Holder struct {
	Ref   string   `json:"ref"`
	From  nullTime `json:"from"`
	Until nullTime `json:"until"`
	Entry uint64   `json:"entry"`
}

// Consumer is a deployment that rests on a credential.
type Consumer struct {
	Deployment  string `json:"deployment"`
	Environment string `json:"environment,omitempty"`
	Service     string `json:"service,omitempty"`
	How         string `json:"how"` // the relations from the deployment
	Entry       uint64 `json:"entry"`
}

// Reached is a resource, secret or tool that a holder reaches.
type Reached struct {
	By      string `json:"by"`
	Ref     string `json:"ref"`
	Outcome string `json:"outcome"` // yes or unknown
}

// Acted is an activity that a credential may have been used in.
type Acted struct {
	Activity string   `json:"activity"`
	At       nullTime `json:"at"`
	// By is "credential" when an entry says that it was used, "identity" when
	// one says only that its holder acted.
	By    string `json:"by"`
	Entry uint64 `json:"entry"`
}

// RotationStep is one credential to rotate.
type RotationStep struct {
	N    int    `json:"n"`
	Ref  string `json:"ref"`
	Kind string `json:"kind,omitempty"`
	// Why it is in the plan, and After which others it comes.
	Why   string   `json:"why"`
	After []string `json:"after"`
	// Of are those who authenticate with it.
	Of []string `json:"of"`
	// Live are its live consumers, which stop working when it is revoked before
	// they have the new one.
	Live   []Consumer `json:"live"`
	Breaks string     `json:"breaks"`
	// Expires is when it ends: a time, "never", or "unknown".
	Expires  string `json:"expires"`
	Issued   string `json:"issued,omitempty"`
	Rotated  string `json:"rotated,omitempty"`
	StoredIn string `json:"storedIn,omitempty"`
	State    string `json:"state,omitempty"`
}

// plan puts the credentials in order: each after those that could give it
// again. A cycle is told, and begun at what is nearest to what was asked.
func (x *rotator) plan() {
	left := map[graph.ID]int{}
	next := map[graph.ID][]graph.ID{}
	for _, c := range x.order {
		left[c] = 0
	}
	for _, c := range x.order {
		for _, p := range x.after[c] {
			if _, ok := left[p]; ok {
				left[c]++
				next[p] = append(next[p], c)
			}
		}
	}
	byName := func(a, b graph.ID) int { return strings.Compare(x.name(a), x.name(b)) }
	var ready []graph.ID
	for _, c := range x.order {
		if left[c] == 0 {
			ready = append(ready, c)
		}
	}
	for len(left) > 0 {
		if len(ready) == 0 {
			ready = []graph.ID{x.cycle(left, byName)}
		}
		slices.SortFunc(ready, byName)
		c := ready[0]
		ready = ready[1:]
		delete(left, c)
		x.out.Plan = append(x.out.Plan, x.rotation(c))
		for _, n := range next[c] {
			if _, ok := left[n]; ok {
				if left[n]--; left[n] == 0 {
					ready = append(ready, n)
				}
			}
		}
	}
	for i := range x.out.Plan {
		x.out.Plan[i].N = i + 1
	}
}

// cycle finds one among what is left, where all wait for another, and gives
// the thing at which it is broken.
func (x *rotator) cycle(left map[graph.ID]int, byName func(a, b graph.ID) int) graph.ID {
	at := slices.MinFunc(slices.Collect(maps.Keys(left)), byName)
	seen := map[graph.ID]int{}
	var walk []graph.ID
	for {
		if i, ok := seen[at]; ok {
			walk = walk[i:]
			break
		}
		seen[at] = len(walk)
		walk = append(walk, at)
		var waits []graph.ID
		for _, p := range x.after[at] {
			if _, ok := left[p]; ok {
				waits = append(waits, p)
			}
		}
		at = slices.MinFunc(waits, byName)
	}
	slices.Reverse(walk)
	first := slices.MinFunc(walk, func(a, b graph.ID) int { return slices.Index(x.order, a) - slices.Index(x.order, b) })
	i := slices.Index(walk, first)
	var names []string
	for _, id := range append(slices.Clone(walk[i:]), walk[:i]...) {
		names = append(names, x.name(id))
	}
	x.out.Cycles = append(x.out.Cycles, names)
	return first
}

// rotation tells of one credential of the plan.
func (x *rotator) rotation(c graph.ID) RotationStep {
	a := map[string]string{}
	for _, y := range x.r.b.group(c) {
		maps.Copy(a, x.v.When(x.win.To-1).Attributes(y))
		for k, v := range x.v.Attributes(y) { // dates of what an inventory told later
			if (k == "issuedAt" || k == "expiresAt" || k == "storedIn") && a[k] == "" {
				a[k] = v
			}
		}
	}
	s := RotationStep{Ref: x.name(c), Kind: a["credential"], Why: x.why[c], After: []string{}, Of: []string{}, Live: x.consumers(c), Issued: a["issuedAt"],
		Rotated: a["rotatedAt"], StoredIn: a["storedIn"], State: a["state"], Expires: "unknown"}
	if a["expiresAt"] != "" {
		s.Expires = a["expiresAt"]
	} else if a["neverExpires"] == "yes" {
		s.Expires = "never"
	}
	for _, p := range x.after[c] {
		s.After = append(s.After, x.name(p))
	}
	slices.Sort(s.After)
	others := 0
	for _, rel := range x.related(c, prov.Relations(prov.AuthenticatesWith, prov.ReadsSecret), true) {
		if x.v.Ref(rel.From).Class() != prov.ClassIdentity {
			continue
		}
		if n := x.name(rel.From); !slices.Contains(s.Of, n) {
			s.Of = append(s.Of, n)
		}
		for _, o := range x.related(rel.From, prov.Relations(prov.AuthenticatesWith), false) {
			if y := x.r.b.represent(o.To); y != c && x.why[y] == "" && x.v.Attributes(o.To)["credential"] == a["credential"] && a["credential"] != "" {
				others++
			}
		}
	}
	s.Breaks = x.breaks(s, others)
	return s
}

func (x *rotator) breaks(s RotationStep, others int) string {
	switch {
	case s.State == "revoked" || s.State == "expired":
		return "nothing: it is recorded as " + s.State
	case len(s.Live) == 0 && len(s.Of) == 0:
		return "no entry says who uses it; what breaks is not known"
	case len(s.Live) == 0:
		return "no live deployment is recorded; what else uses it is not known"
	case others > 0:
		return fmt.Sprintf("%s, unless they go over to another credential of the same kind: there are %d", count(len(s.Live), "live deployment", "live deployments"), others)
	}
	return fmt.Sprintf("%s until they have the new one", count(len(s.Live), "live deployment", "live deployments"))
}
