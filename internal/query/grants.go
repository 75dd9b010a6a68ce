package query

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/access"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// grant is what one grant or refusal says.
type grant struct {
	*access.Compiled
	id        graph.ID
	on        graph.Relation // GrantsOn
	condition string
	scope     []string
	via       string
	untold    []string // roles of which no entry tells the permissions
	when      span     // of a refusal: when it is one for who acts
	holder    graph.ID // likewise: whose it is
}

// asked finds what is asked for, under all the names that patterns may know it by.
func (r *reacher) asked(to string) error {
	if to == "" {
		return nil
	}
	text := to
	if strings.HasPrefix(to, "arn:") {
		text = string(prov.Resource) + ":" + to
	}
	ids, err := Resolve(r.v, text, All)
	ref, bad := prov.ParseRef(text)
	if err != nil && bad != nil && strings.Contains(text, "://") {
		ref, bad = prov.ParseRef(string(prov.Resource) + ":" + text)
	}
	if err != nil && (!errors.Is(err, ErrNotFound) || bad != nil || ref.IsDigest() || ref.Class() != prov.ClassEntity) {
		return err
	}
	r.ask = access.Ask{Action: r.ask.Action}
	if err != nil {
		r.ask.Names = r.namesOf(ref, nil)
		for _, n := range r.ask.Names { // an entry may name it as its system does
			if id := r.v.Lookup(prov.Ref{Kind: prov.Resource, Name: n}); id != graph.None {
				ids = append(ids, id)
			}
		}
		if len(ids) == 0 { // none does, but a pattern may hold it
			r.endRef, r.end = ref, r.copy(graph.None, graph.ID(1))
			return nil
		}
	}
	for _, id := range ids {
		for _, x := range []graph.ID{id, r.v.SeriesOf(id)} { // a right to a series is one to its versions
			if x == graph.None {
				continue
			}
			if y := r.b.represent(x); !slices.Contains(r.ends, y) {
				r.ends = append(r.ends, y)
			}
			for _, n := range r.namesOf(r.v.Ref(x), r.all.Attributes(x)) {
				if !slices.Contains(r.ask.Names, n) {
					r.ask.Names = append(r.ask.Names, n)
				}
			}
		}
	}
	r.end = r.ends[0]
	up := closure(r.all, ids, up, prov.Relations(prov.PartOf))
	defer up.free()
	for _, x := range up.order[min(len(ids), len(up.order)):] {
		r.ask.Above = append(r.ask.Above, nameOf(r.v.Ref(x)))
	}
	return nil
}

// namesOf gives the names by which patterns may know a thing.
func (r *reacher) namesOf(ref prov.Ref, attrs map[string]string) []string {
	name := nameOf(ref)
	var out []string
	if ref.Kind == prov.Resource || strings.Contains(name, "://") {
		out = append(out, name)
	}
	if path, ok := strings.CutPrefix(name, "s3://"); ok {
		out = append(out, "arn:aws:s3:::"+path)
	}
	if path, ok := strings.CutPrefix(name, "gs://"); ok {
		bucket, _, _ := strings.Cut(path, "/")
		out = append(out, "gcp/storage.googleapis.com/"+bucket)
	}
	if ref.Kind == prov.Secret {
		p := strings.Split(name, "/")
		switch {
		case p[0] == "aws" && len(p) > 3:
			out = append(out, "arn:aws:secretsmanager:"+p[2]+":"+p[1]+":secret:"+strings.Join(p[3:], "/"))
		case len(p) == 2 && (attrs["type"] != "" || attrs == nil && p[0] != "vault"):
			out = append(out, "kubernetes/"+p[0]+"/core/secrets/"+p[1])
		case len(p) == 3 && attrs["type"] != "": // in a cluster with a name
			out = append(out, "kubernetes:"+p[0]+"/"+p[1]+"/core/secrets/"+p[2])
		}
	}
	return out
}

// grantOf reads what a grant says.
func (r *reacher) grantOf(id graph.ID) *grant {
	if g, ok := r.grants[id]; ok {
		return g
	}
	a := r.all.Attributes(id)
	g := &grant{id: id, condition: a["condition"], via: a["via"]}
	rule := access.Rule{Deny: a["deny"] == "yes"}
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if v, ok := strings.CutPrefix(k, "scope."); ok {
			g.scope = append(g.scope, v)
		} else if v, ok := strings.CutPrefix(k, "notScope."); ok {
			rule.NotActions = append(rule.NotActions, v)
		} else if v, ok := strings.CutPrefix(k, "notResource."); ok {
			rule.NotResources = append(rule.NotResources, v)
		}
	}
	for rel := range r.all.Out(id) {
		if rel.Type() == prov.GrantsOn {
			g.on = r.all.Relation(rel)
			rule.Resource = nameOf(r.v.Ref(rel.To()))
		}
	}
	rule.Actions = r.actions(g)
	g.Compiled = access.Compile(rule)
	r.grants[id] = g
	return g
}

// actions gives what a grant's scope stands for: itself, and of a role of
// Google Cloud its permissions, where an entry lists them.
func (r *reacher) actions(g *grant) []string {
	var out []string
	for _, s := range g.scope {
		if !strings.HasPrefix(s, "roles/") && !strings.Contains(s, "/roles/") {
			out = append(out, s)
			continue
		}
		n := len(out)
		if role := r.v.Lookup(prov.Ref{Kind: prov.Role, Name: "gcp/" + s}); role != graph.None {
			for k := range r.v.Attributes(role) {
				if p, ok := strings.CutPrefix(k, "permission."); ok {
					out = append(out, p)
				}
			}
		}
		if slices.Sort(out[n:]); len(out) == n {
			g.untold = append(g.untold, s)
		}
		out = append(out, s)
	}
	if r.ask.Action != "" && len(g.untold) > 0 && !slices.Contains(out, r.ask.Action) {
		return nil // not told
	}
	return out
}

// policySet is what limits one who acts: refusals of its own and of what it is
// a member of, and a permissions boundary.
type policySet struct {
	denies []*grant
	bounds []*access.Compiled // nil: there is no boundary
	bound  string             // the boundary's name
	// untold: there is a boundary, and no entry tells what it allows.
	untold bool
}

// memberships gives the hops to what one is the same as or a member of.
func (r *reacher) memberships(x graph.ID) []graph.Relation {
	var out []graph.Relation
	for _, y := range r.b.group(x) {
		for rel := range r.v.Out(y) {
			if t := rel.Type(); t == prov.MemberOf || t == prov.SameAs {
				out = append(out, r.v.Relation(rel))
			}
		}
		for rel := range r.v.In(y) {
			if rel.Type() == prov.SameAs {
				z := r.v.Relation(rel)
				z.From, z.To = z.To, z.From
				out = append(out, z)
			}
		}
		out = append(out, r.implied(y)...)
	}
	return out
}

// refusals gives the refusals that a thing itself holds.
func (r *reacher) refusals(x graph.ID) []*grant {
	var out []*grant
	for _, y := range r.b.group(x) {
		for k := range r.all.Attributes(y) {
			name, ok := strings.CutPrefix(k, "denied.")
			if !ok {
				continue
			}
			id := r.v.Lookup(prov.Ref{Kind: prov.Grant, Name: name})
			if id == graph.None {
				continue
			}
			for rel := range r.v.Out(id) { // while the refusal stands
				if rel.Type() == prov.GrantsOn {
					g := *r.grantOf(id)
					g.on, g.holder = r.v.Relation(rel), y
					g.when = span{r.period(g.on)}
					out = append(out, &g)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b *grant) int { return strings.Compare(string(r.v.Key(a.id)), string(r.v.Key(b.id))) })
	return out
}

func (r *reacher) boundary(x graph.ID) string {
	for _, y := range r.b.group(x) {
		if b := r.v.Attributes(y)["permissionsBoundary"]; b != "" && b != "none" {
			return b
		}
	}
	return ""
}

// personal tells whether a grant holds for some of those who have it only, by a
// condition on who they are.
func (r *reacher) personal(x graph.ID) bool {
	return slices.ContainsFunc(r.grantsOf(x), func(rel graph.Relation) bool {
		return strings.Contains(strings.ToLower(r.grantOf(rel.To).condition), `"aws:principal`)
	})
}

// limits finds those who act and are limited: all that hold a refusal or
// boundary, and all that are members of these.
func (r *reacher) limits() {
	back := map[graph.ID][]graph.ID{}
	var todo []graph.ID
	seen := map[graph.ID]bool{r.start: true}
	for queue := []graph.ID{r.start}; len(queue) > 0; {
		x := queue[0]
		queue = queue[1:]
		if r.v.Ref(x).Class() == prov.ClassIdentity || r.v.Ref(x).Kind == prov.Agent {
			if r.boundary(x) != "" || len(r.refusals(x)) > 0 || r.personal(x) {
				todo = append(todo, x)
			}
			for _, y := range r.memberships(x) {
				to := r.b.represent(y.To)
				back[to] = append(back[to], x)
				if !seen[to] {
					seen[to] = true
					queue = append(queue, to)
				}
			}
		}
		for _, y := range r.leads(x) {
			if !seen[y] {
				seen[y] = true
				queue = append(queue, y)
			}
		}
	}
	for len(todo) > 0 {
		x := todo[0]
		todo = todo[1:]
		if !r.limited[x] {
			r.limited[x] = true
			todo = append(todo, back[x]...)
		}
	}
}

// leads gives all to which a thing may lead, whatever holds.
func (r *reacher) leads(x graph.ID) []graph.ID {
	var out []graph.ID
	for _, y := range r.b.group(x) {
		for rel := range r.v.Out(y) {
			if t := rel.Type(); r.mask.Has(t) && t != prov.Granted && t != prov.GrantsOn && t != prov.Deployed && t != prov.DeployedTo {
				out = append(out, r.b.represent(rel.To()))
			}
		}
		for rel := range r.v.In(y) {
			if t := rel.Type(); r.mask.Has(t) && (t == prov.SameAs || t == prov.Deployed || t == prov.DeployedTo) {
				out = append(out, r.b.represent(rel.From()))
			}
		}
		if account := awsAccount(r.v.Ref(y)); account != "" {
			for _, group := range []prov.Ref{{Kind: prov.Org, Name: "aws/" + account}, {Kind: prov.Team, Name: "aws/anyone"}} {
				if id := r.v.Lookup(group); id != graph.None {
					out = append(out, id)
				}
			}
		}
	}
	return out
}

// setOf gathers what limits one who acts.
func (r *reacher) setOf(x graph.ID) *policySet {
	if s, ok := r.sets[x]; ok {
		return s
	}
	s := &policySet{}
	r.sets[x] = s
	when := map[graph.ID]span{x: {prov.Always}}
	for todo := []graph.ID{x}; len(todo) > 0; {
		at := todo[0]
		todo = todo[1:]
		for _, y := range r.memberships(at) {
			to := r.b.represent(y.To)
			if more := when[at].meet(r.period(y)).minus(when[to]); len(more) > 0 {
				when[to] = when[to].join(more)
				todo = append(todo, to)
			}
		}
	}
	members := slices.Collect(maps.Keys(when))
	slices.SortFunc(members, func(a, b graph.ID) int { return strings.Compare(r.b.name(a), r.b.name(b)) })
	for _, m := range members {
		for _, g := range r.refusals(m) {
			switch access.Condition(g.condition, r.facts(x)) {
			case access.No:
				continue
			case access.Unknown:
				g.Compiled = r.maybe(g.Compiled)
			}
			if g.when = when[m].cut(g.when); len(g.when) > 0 {
				s.denies = append(s.denies, g)
			}
		}
	}
	r.bounded(s, x)
	return s
}

func (r *reacher) maybe(c *access.Compiled) *access.Compiled {
	rule := c.Rule
	rule.Maybe = true
	return access.Compile(rule)
}

// bounded reads the permissions boundary of one who acts (AWS IAM, permissions
// boundaries for IAM entities).
func (r *reacher) bounded(s *policySet, x graph.ID) {
	if s.bound = r.boundary(x); s.bound == "" {
		return
	}
	s.bounds, s.untold = []*access.Compiled{}, true
	ref, err := prov.ParseRef(s.bound)
	if err != nil {
		return
	}
	id := r.v.Lookup(ref)
	if id == graph.None {
		return
	}
	for rel := range r.v.Out(id) {
		if rel.Type() == prov.Granted {
			s.bounds, s.untold = append(s.bounds, r.decided(r.grantOf(rel.To()), x)...), false
		}
	}
	for _, g := range r.refusals(id) {
		s.bounds, s.untold = append(s.bounds, r.decided(g, x)...), false
	}
}

func (r *reacher) decided(g *grant, x graph.ID) []*access.Compiled {
	switch access.Condition(g.condition, r.facts(x)) {
	case access.No:
		return nil
	case access.Unknown:
		return []*access.Compiled{r.maybe(g.Compiled)}
	}
	return []*access.Compiled{g.Compiled}
}

// judged is what is left of a grant, and when.
type judged struct {
	yes, maybe span
	part       bool
	less       []*grant // refusals that take something of it, or may
}

// judge weighs a grant for who acts (None: nobody is limited).
func (r *reacher) judge(c *access.Compiled, by graph.ID, ask access.Ask) judged {
	var j judged
	s := &policySet{}
	if by != graph.None {
		s = r.setOf(by)
	}
	bounds := s.bounds
	if s.untold {
		bounds = nil
	}
	free, scope := access.Left(c, nil, bounds, ask)
	if free == access.No {
		return j
	}
	var near []*grant // refusals that take anything of it
	for _, d := range s.denies {
		if access.Overlap(c, d.Compiled, ask) {
			near = append(near, d)
		}
	}
	for _, p := range elementary(near) {
		var denies []*access.Compiled
		for _, d := range near {
			if d.when.meets(span{{From: p.From, To: p.From + 1}}) {
				denies = append(denies, d.Compiled)
			}
		}
		o, sc := access.Left(c, denies, bounds, ask)
		if o == access.Yes && s.untold {
			o = access.Unknown
		}
		switch o {
		case access.Yes:
			j.yes = j.yes.join(span{p})
		case access.Unknown:
			j.maybe = j.maybe.join(span{p})
		}
		if o != access.No {
			scope = sc
		}
	}
	j.part, j.less = scope == access.Part, near
	return j
}

// elementary gives the periods between the moments at which refusals begin or end.
func elementary(gs []*grant) []prov.Period {
	edges := []prov.Instant{prov.Beginning}
	for _, g := range gs {
		for _, p := range g.when {
			edges = append(edges, p.From, p.To)
		}
	}
	slices.Sort(edges)
	edges = slices.Compact(append(edges, prov.Forever))
	var out []prov.Period
	for i, e := range edges[:len(edges)-1] {
		if e != prov.Forever {
			out = append(out, prov.Period{From: e, To: edges[i+1]})
		}
	}
	return out
}

// allowed tells when who acts may do something, without the hop of a grant:
// whether any grant of it or of what it is a member of is left, or, where no
// grant is needed, whether nothing refuses it.
func (r *reacher) allowed(x graph.ID, ask access.Ask, need bool) (yes, maybe span) {
	by := graph.None
	if r.limited[x] {
		by = x
	}
	if !need {
		all := access.Compile(access.Rule{Actions: []string{"*"}, Resource: "aws/*"})
		j := r.judge(all, by, ask)
		return j.yes, j.maybe
	}
	when := map[graph.ID]span{x: {prov.Always}}
	for todo := []graph.ID{x}; len(todo) > 0; {
		at := todo[0]
		todo = todo[1:]
		for _, rel := range r.grantsOf(at) {
			g := r.grantOf(rel.To)
			in := when[at].meet(r.period(rel))
			for _, c := range r.decided(g, x) {
				j := r.judge(c, by, ask)
				yes, maybe = yes.join(in.cut(j.yes)), maybe.join(in.cut(j.maybe))
			}
		}
		if r.unlisted(at) != "" {
			maybe = maybe.join(when[at])
		}
		for _, y := range r.memberships(at) {
			to := r.b.represent(y.To)
			if more := when[at].meet(r.period(y)).minus(when[to]); len(more) > 0 {
				when[to] = when[to].join(more)
				todo = append(todo, to)
			}
		}
	}
	for _, p := range yes {
		maybe = maybe.minus(span{p})
	}
	return yes, maybe
}

func (r *reacher) grantsOf(x graph.ID) []graph.Relation {
	var out []graph.Relation
	for _, y := range r.b.group(x) {
		for rel := range r.v.Out(y) {
			if rel.Type() == prov.Granted {
				out = append(out, r.v.Relation(rel))
			}
		}
	}
	return out
}

// granted takes what a grant is on, or what was asked for if it holds that.
func (r *reacher) granted(w *walker, x, by graph.ID) {
	if !r.mask.Has(prov.GrantsOn) {
		return
	}
	g := r.grantOf(x)
	cond := access.Condition(g.condition, r.facts(by))
	if cond == access.No {
		return
	}
	c := g.Compiled
	if cond == access.Unknown {
		c = r.maybe(c)
	}
	for rel := range r.v.Out(x) {
		if rel.Type() != prov.GrantsOn {
			continue
		}
		y := r.v.Relation(rel)
		to := r.b.represent(rel.To())
		if slices.Contains(r.ends, to) || r.end == graph.None {
			r.grantHops(w, g, y, to, r.judge(c, by, access.Ask{Any: true, Action: r.ask.Action}), by)
			continue
		}
		r.grantHops(w, g, y, r.end, r.judge(c, by, r.ask), by)
		r.grantHops(w, g, y, to, r.judge(c, by, access.Ask{Any: true}), by) // it may be the same as what was asked
	}
}

func (r *reacher) grantHops(w *walker, g *grant, y graph.Relation, to graph.ID, j judged, by graph.ID) {
	whole := w.when
	w.when = whole.cut(j.yes)
	h := hop{rel: y, grant: g, part: j.part, less: j.less}
	w.add(to, h)
	if w.when = whole.cut(j.maybe); len(w.when) > 0 {
		h.doubt = r.grantDoubt(g, y, j, by)
		w.add(to, h)
	}
	w.when = whole
}

// grantDoubt says why it is not known whether a grant gives a right.
func (r *reacher) grantDoubt(g *grant, y graph.Relation, j judged, by graph.ID) string {
	var why []string
	if access.Condition(g.condition, r.facts(by)) == access.Unknown {
		why = append(why, "holds only under a condition that nothing here decides: "+g.condition)
	}
	if by != graph.None {
		if s := r.setOf(by); s.untold {
			why = append(why, fmt.Sprintf("is bounded for %s by %s, and no entry tells what that allows", r.b.name(by), s.bound))
		}
	}
	for _, d := range j.less {
		if d.Maybe {
			why = append(why, fmt.Sprintf("may be refused to %s (entry %d) under the condition %s", r.b.name(d.holder), d.on.Entry, d.condition))
		}
	}
	switch {
	case len(why) > 0:
	case len(g.untold) > 0:
		why = append(why, "is a role of which no entry lists the permissions: "+strings.Join(g.untold, ", "))
	case len(g.scope) == 0:
		why = append(why, "does not say which actions it allows")
	default:
		why = append(why, "has a pattern that is not understood, or too many refusals to weigh")
	}
	return fmt.Sprintf("the grant on %s (entry %d) %s", r.b.name(y.To), y.Entry, strings.Join(why, "; and "))
}
