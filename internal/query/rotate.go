package query

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// rotator walks from a credential to what it exposes.
type rotator struct {
	r     *reacher
	v     graph.View
	out   *Rotation
	win   prov.Period // in which the credential was exposed
	why   map[graph.ID]string
	order []graph.ID
	after map[graph.ID][]graph.ID // what is to be rotated before
	// stored are the credentials by the secret that they are in.
	stored map[string][]graph.ID
}

// maxRotations bounds a plan; what is cut is told.
const maxRotations = 1000

// Rotate gives what hangs on a credential or secret and the plan to rotate it.
// With opt.Since it was exposed from then on, else as of the view; of the whole
// history that is the latest moment.
func Rotate(v graph.View, text string, opt Options) (*Rotation, error) {
	ids, err := Resolve(v, text, One)
	if err != nil {
		return nil, err
	}
	q := Question{Verb: "blast", Refs: []string{text}}
	now := v.AsOf().Valid
	if now == prov.Forever {
		now = prov.Forever - 1
	}
	x := &rotator{r: newReacher(v, q, rights, opt), v: v.Always(), why: map[graph.ID]string{}, after: map[graph.ID][]graph.ID{},
		win: prov.Period{From: now, To: now + 1}}
	if opt.Since != 0 && opt.Since != prov.Beginning {
		x.win.From = min(opt.Since, now)
	}
	start := x.r.b.represent(ids[0])
	x.out = &Rotation{Credential: x.name(start), Authenticates: []Holder{}, Live: []Consumer{}, Reaches: []Reached{}, Activities: []Acted{},
		Made: []string{}, Plan: []RotationStep{}, Cycles: [][]string{}, Unknown: []Unknown{}}
	if opt.Since != 0 {
		x.out.Since = nullTime(opt.Since.String())
	}
	x.expose(start)
	x.holders(start)
	x.out.Live = x.consumers(start)
	if err := x.reaches(v, start, opt); err != nil {
		return nil, err
	}
	x.acted(v, start)
	x.plan()
	sortUnknown(x.out.Unknown)
	x.out.Unknown = slices.Compact(x.out.Unknown)
	return x.out, nil
}

func (x *rotator) name(id graph.ID) string { return x.r.b.name(id) }

func (x *rotator) unknown(ref, format string, args ...any) {
	x.out.Unknown = append(x.out.Unknown, Unknown{ref, fmt.Sprintf(format, args...)})
}

// held tells whether a relation held while the credential was exposed: one of a
// deployment while that was live.
func (x *rotator) held(r graph.Relation) bool {
	if r.Valid.From >= x.win.To || r.Valid.To <= x.win.From {
		return false
	}
	if x.v.Ref(r.From).Kind != prov.Deployment || r.Type == prov.SameAs {
		return true
	}
	for rel := range x.v.OutOf(r.From, prov.Relations(prov.DeployedTo)) {
		if z := x.v.Relation(rel).Valid; z.From < x.win.To && z.To > x.win.From {
			return true
		}
	}
	return false
}

// related gives the other ends of relations of some types that held then, in
// the order of their names.
func (x *rotator) related(id graph.ID, types prov.RelationSet, in bool) []graph.Relation {
	var out []graph.Relation
	for _, y := range x.r.b.group(id) {
		list := x.v.OutOf(y, types)
		if in {
			list = x.v.InOf(y, types)
		}
		for rel := range list {
			if z := x.v.Relation(rel); x.held(z) {
				out = append(out, z)
			}
		}
	}
	slices.SortFunc(out, func(a, b graph.Relation) int {
		if c := strings.Compare(x.name(a.From)+" "+x.name(a.To), x.name(b.From)+" "+x.name(b.To)); c != 0 {
			return c
		}
		return int(a.Entry) - int(b.Entry)
	})
	return out
}

// expose finds what a credential gives: further credentials, in the order of
// how they are found.
func (x *rotator) expose(start graph.ID) {
	x.why[start] = "it is what was asked"
	x.order = []graph.ID{start}
	x.parents(start)
	for i := 0; i < len(x.order); i++ {
		c := x.order[i]
		if len(x.order) > maxRotations {
			x.unknown("", "what further credentials are exposed: the plan ends after %d", maxRotations)
			return
		}
		if x.v.Ref(c).Kind == prov.Secret { // who has the secret has what it holds
			for _, k := range x.kept(c) {
				x.add(c, k, "it is kept in "+x.name(c))
			}
		}
		for _, who := range x.acting(c) {
			x.gives(c, who)
		}
	}
}

// parents are the credentials under which a credential was issued: who holds
// one of them can have it issued anew.
func (x *rotator) parents(c graph.ID) {
	for _, rel := range x.related(c, prov.Relations(prov.AuthenticatesWith), true) {
		for _, p := range x.issuers(rel.From, c) {
			if x.why[p] == "" {
				x.why[p] = "it is of who had " + x.name(c) + " issued, and can have it issued again"
				x.order = append(x.order, p)
			}
			x.before(p, c)
		}
	}
}

// issuers gives the credentials of those who delegated with a credential.
func (x *rotator) issuers(child, c graph.ID) []graph.ID {
	var out []graph.ID
	for _, d := range x.related(child, prov.Relations(prov.DelegatedTo), true) {
		ref, err := prov.ParseRef(x.v.Said(child, d.Entry)["delegation.credential"])
		if err != nil || x.r.b.represent(x.v.Lookup(ref)) != c {
			continue
		}
		for _, a := range x.related(d.From, prov.Relations(prov.AuthenticatesWith), false) {
			if p := x.r.b.represent(a.To); p != c && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

func (x *rotator) before(first, then graph.ID) {
	if !slices.Contains(x.after[then], first) {
		x.after[then] = append(x.after[then], first)
	}
}

func (x *rotator) add(from, c graph.ID, why string) {
	if c == graph.None || c == from {
		return
	}
	if x.why[c] == "" {
		x.why[c] = why
		x.order = append(x.order, c)
	}
	x.before(from, c)
}

// kept gives the credentials that are stored in a secret.
func (x *rotator) kept(secret graph.ID) []graph.ID {
	if x.stored == nil {
		x.stored = map[string][]graph.ID{}
		for id := graph.ID(1); int(id) < x.v.Len(); id++ {
			if x.v.Known(id) && strings.HasPrefix(string(x.v.Key(id)), string(prov.Credential)+":") {
				if s := x.v.Attributes(id)["storedIn"]; s != "" {
					x.stored[s] = append(x.stored[s], x.r.b.represent(id))
				}
			}
		}
	}
	var out []graph.ID
	for _, y := range x.r.b.group(secret) {
		out = append(out, x.stored[x.v.Ref(y).String()]...)
	}
	return out
}

// acting gives those who can act with a credential: who authenticates with it,
// and as whom they can act.
func (x *rotator) acting(c graph.ID) []graph.ID {
	var out []graph.ID
	seen := map[graph.ID]bool{}
	add := func(id graph.ID) {
		if id = x.r.b.represent(id); !seen[id] && x.v.Ref(id).Kind != prov.Activity {
			seen[id] = true
			out = append(out, id)
		}
	}
	for _, rel := range x.related(c, prov.Relations(prov.AuthenticatesWith), true) {
		add(rel.From)
	}
	on := prov.Relations(prov.RunsAs, prov.CanAssume, prov.MemberOf, prov.SameAs)
	for i := 0; i < len(out); i++ {
		if i > maxRotations*10 {
			x.unknown(x.name(c), "as whom else one can act with it: there are more than %d", i)
			break
		}
		if x.v.Ref(out[i]).Kind == prov.Deployment { // it has the credential; what else it has is its own
			continue
		}
		for _, rel := range x.related(out[i], on, false) {
			add(rel.To)
		}
	}
	return out
}

// gives finds the credentials that one can have who acts as somebody: those in
// the secrets that they read, and those that they had issued.
func (x *rotator) gives(c, who graph.ID) {
	for _, rel := range x.related(who, prov.Relations(prov.ReadsSecret), false) {
		s := x.r.b.represent(rel.To)
		if x.v.Ref(s).Kind == prov.Secret && x.holds(c, s) {
			continue // it is kept there itself
		}
		why := x.name(who) + " reads it"
		if x.v.Ref(who).Kind == prov.Deployment {
			why = x.name(who) + " has both; whether the one opens the other, no entry says"
		}
		x.add(c, s, why)
	}
	for _, d := range x.related(who, prov.Relations(prov.DelegatedTo), false) {
		if ref, err := prov.ParseRef(x.v.Said(d.To, d.Entry)["delegation.credential"]); err == nil {
			x.add(c, x.r.b.represent(x.v.Lookup(ref)), x.name(who)+" had it issued for "+x.name(d.To))
		}
	}
}

// holds tells whether a secret is where a credential is stored.
func (x *rotator) holds(c, secret graph.ID) bool {
	for _, y := range x.r.b.group(c) {
		if s := x.v.Attributes(y)["storedIn"]; s != "" {
			if ref, err := prov.ParseRef(s); err == nil && x.r.b.represent(x.v.Lookup(ref)) == secret {
				return true
			}
		}
	}
	return false
}

func (x *rotator) holders(c graph.ID) {
	for _, rel := range x.related(c, prov.Relations(prov.AuthenticatesWith, prov.ReadsSecret), true) {
		if x.v.Ref(rel.From).Kind == prov.Activity {
			continue
		}
		x.out.Authenticates = append(x.out.Authenticates, Holder{x.name(rel.From), nullTime(rel.Valid.From.String()), nullTime(rel.Valid.To.String()), rel.Entry})
	}
	if len(x.out.Authenticates) == 0 {
		x.unknown(x.name(c), "no entry says who authenticates with it then")
	}
}

// consumers gives the deployments that are live at the end of the exposure and
// rest on a credential: that have it, read the secret it is in, or run as who
// has it.
func (x *rotator) consumers(c graph.ID) []Consumer {
	out := []Consumer{}
	seen := map[graph.ID]bool{c: true}
	type step struct {
		id  graph.ID
		how string
	}
	todo := []step{{c, ""}}
	for _, y := range x.r.b.group(c) {
		if ref, err := prov.ParseRef(x.v.Attributes(y)["storedIn"]); err == nil {
			if s := x.r.b.represent(x.v.Lookup(ref)); s != graph.None {
				todo = append(todo, step{s, "ReadsSecret " + x.name(s)})
			}
		}
	}
	for len(todo) > 0 {
		at := todo[0]
		todo = todo[1:]
		for _, rel := range x.related(at.id, prov.Relations(prov.AuthenticatesWith, prov.ReadsSecret, prov.RunsAs), true) {
			from := x.r.b.represent(rel.From)
			if seen[from] {
				continue
			}
			seen[from] = true
			how := strings.TrimSpace(rel.Type.String() + " " + x.name(at.id))
			if at.how != "" && !strings.HasPrefix(at.how, how) {
				how += ", which " + at.how
			}
			switch k := x.v.Ref(from); {
			case k.Kind == prov.Deployment:
				out = append(out, x.live(from, how, rel.Entry)...)
			case k.Class() == prov.ClassIdentity:
				todo = append(todo, step{from, how})
			}
		}
	}
	slices.SortFunc(out, func(a, b Consumer) int {
		return strings.Compare(a.Environment+"\x00"+a.Deployment, b.Environment+"\x00"+b.Deployment)
	})
	return out
}

func (x *rotator) live(d graph.ID, how string, entry uint64) []Consumer {
	c := Consumer{Deployment: x.name(d), How: how, Entry: entry}
	found := false
	for rel := range x.v.OutOf(d, prov.Relations(prov.DeployedTo)) {
		if z := x.v.Relation(rel); z.Valid.Holds(x.win.To - 1) {
			found = true
			if x.v.Ref(z.To).Kind == prov.Environment {
				c.Environment = x.name(z.To)
			} else {
				c.Service = x.name(z.To)
			}
		}
	}
	if !found {
		return nil
	}
	return []Consumer{c}
}

// maxReached is how many things are listed that holders reach.
const maxReached = 1000

func (x *rotator) reaches(v graph.View, c graph.ID, opt Options) error {
	at := v
	if v.AsOf().Valid == prov.Forever && x.out.Since == "" {
		at = v.When(x.win.From)
	}
	if x.out.Since != "" {
		at = v.Always() // what was reached at any moment since
	}
	hidden := 0
	seen := map[string]bool{x.out.Credential: true}
	for _, sure := range []bool{true, false} { // those who act with it, then deployments that also have other things
		for _, h := range x.out.Authenticates {
			ref, err := prov.ParseRef(h.Ref)
			if err != nil || (ref.Kind != prov.Deployment) != sure || seen[h.Ref] {
				continue
			}
			seen[h.Ref] = true
			a, err := CanReach(at, h.Ref, "", Options{Stop: opt.Stop})
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			for _, it := range a.Entities {
				k := prov.Kind(it.Kind)
				if it.Context || k == prov.Grant || k == prov.Deployment || it.Distance != nil && *it.Distance == 0 || !x.since(it.Reached) || seen[it.Ref] {
					continue
				}
				if seen[it.Ref] = true; len(x.out.Reaches) >= maxReached {
					hidden++
					continue
				}
				outcome := "yes"
				if it.Reach != "" || !sure {
					outcome = "unknown"
				}
				x.out.Reaches = append(x.out.Reaches, Reached{h.Ref, it.Ref, outcome})
			}
			x.out.Unknown = append(x.out.Unknown, a.Unknown...)
		}
	}
	if hidden > 0 {
		x.unknown("", "%d more things are reached than the %d that are listed; stemma reach lists all", hidden, maxReached)
	}
	return nil
}

// since tells whether something was reached while the credential was exposed.
func (x *rotator) since(ps []Period) bool {
	if len(ps) == 0 {
		return true
	}
	return slices.ContainsFunc(ps, func(p Period) bool {
		t, err := prov.ParseTime(string(p.To))
		return err != nil || prov.At(t) > x.win.From
	})
}

// acted lists the activities of the exposure, and what was made with them.
func (x *rotator) acted(v graph.View, c graph.ID) {
	found := map[graph.ID]Acted{}
	take := func(rel graph.Relation, by string) {
		if x.v.Ref(rel.From).Kind != prov.Activity || found[rel.From].By == "credential" {
			return
		}
		t, _ := x.v.Times(rel.From)
		at := max(t.Start, t.End)
		if at == prov.Beginning {
			at = t.First
		}
		if x.out.Since != "" && at != prov.Beginning && at < x.win.From {
			return
		}
		found[rel.From] = Acted{x.name(rel.From), nullTime(at.String()), by, rel.Entry}
	}
	always := func(id graph.ID, t prov.RelationSet, by string) {
		for _, y := range x.r.b.group(id) {
			for rel := range x.v.InOf(y, t) {
				if z := x.v.Relation(rel); z.Valid.From < x.win.To {
					take(z, by)
				}
			}
		}
	}
	always(c, prov.Relations(prov.AuthenticatesWith), "credential")
	for _, who := range x.related(c, prov.Relations(prov.AuthenticatesWith), true) {
		if x.v.Ref(who.From).Class() == prov.ClassIdentity {
			always(who.From, prov.Relations(prov.AssociatedWith), "identity")
		}
	}
	ids := slices.Sorted(maps.Keys(found))
	for _, id := range ids {
		x.out.Activities = append(x.out.Activities, found[id])
	}
	slices.SortFunc(x.out.Activities, func(a, b Acted) int { return strings.Compare(a.Activity, b.Activity) })
	if len(ids) == 0 {
		return
	}
	w := closure(v.Always(), ids, down, lineage)
	defer w.free()
	for _, id := range w.order {
		if k := x.v.Ref(id).Kind; made[k] || k == prov.Tool || k == prov.Code {
			x.out.Made = append(x.out.Made, x.name(id))
		}
	}
	slices.Sort(x.out.Made)
	x.out.Made = slices.Compact(x.out.Made)
}
