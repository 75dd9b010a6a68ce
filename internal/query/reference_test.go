package query_test

import (
	"slices"
	"sort"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// reference answers the questions in the plainest way: it derives every
// relation anew out of the entries that stand at a log size.
type reference struct {
	stand []int // the entries that stand
	h     history
	acts  map[string]*refAct
	vers  map[string]*refVersion // by key of version
	same  [][2]string            // series that are joined
	rels  []refRel
}

type refAct struct {
	start, end, first, last, recorded prov.Instant
	completed, failed                 bool
	read, wrote                       prov.Instant
}

type refVersion struct {
	series     string
	at         prov.Instant
	writers    []string // activities that wrote it at that time; none: registered
	registered prov.Instant
}

type refRel struct {
	typ      prov.RelationType
	from, to string
	vf, vt   prov.Instant
}

func newReference(h history, n int) *reference {
	r := &reference{h: h, acts: map[string]*refAct{}, vers: map[string]*refVersion{}}
	for i := range n {
		gone := h[i].copyOf >= 0
		for j := i + 1; j < n; j++ {
			if p, ok := h[j].pred.(*statement.Retraction); ok && h[j].copyOf < 0 && int(p.Entry) == i {
				gone = true
			}
		}
		if !gone {
			r.stand = append(r.stand, i)
		}
	}
	for _, i := range r.stand {
		r.claims(h[i])
	}
	for _, a := range r.acts {
		a.date()
	}
	for _, i := range r.stand {
		r.writes(h[i])
	}
	for _, i := range r.stand {
		r.relate(i)
	}
	return r
}

func (r *reference) claims(s said) {
	switch p := s.pred.(type) {
	case *statement.Activity:
		a := r.acts[p.ID]
		if a == nil {
			a = &refAct{recorded: prov.Forever}
			r.acts[p.ID] = a
		}
		earliest(&a.start, p.StartedAt)
		latest(&a.end, p.EndedAt)
		earliest(&a.first, p.ObservedAt)
		latest(&a.last, p.ObservedAt)
		a.recorded = min(a.recorded, prov.At(s.at))
		a.completed = a.completed || p.State == "completed"
		a.failed = a.failed || p.State == "failed" || p.State == "aborted"
	case *statement.Entity:
		for _, sub := range s.subjects {
			for _, o := range p.SameAs {
				if sub.Name != o.Ref {
					r.same = append(r.same, [2]string{sub.Name, o.Ref})
				}
			}
		}
	}
}

// Zero means not stated: no time of the generator is the epoch of Unix.
func earliest(x *prov.Instant, t statement.Time) {
	if !t.IsZero() && (*x == 0 || prov.At(t.Time) < *x) {
		*x = prov.At(t.Time)
	}
}

func latest(x *prov.Instant, t statement.Time) {
	if !t.IsZero() && prov.At(t.Time) > *x {
		*x = prov.At(t.Time)
	}
}

func (a *refAct) date() {
	first := func(xs ...prov.Instant) prov.Instant {
		return xs[slices.IndexFunc(xs, func(x prov.Instant) bool { return x != 0 })]
	}
	a.read = first(a.start, a.first, a.end, a.recorded)
	a.wrote = first(a.end, a.last, a.start, a.recorded)
	a.failed = a.failed && !a.completed
}

func target(t statement.Target, err error) statement.Target {
	if err != nil {
		panic(err)
	}
	return t
}

func res(x statement.Resource) statement.Target { return target(x.Target()) }

func sub(x statement.Subject) statement.Target { return target(x.Target()) }

// label is the name of a target, whose version is the digest if no other is
// given; "" if the target has no name.
func label(t statement.Target) string {
	if t.Ref.IsZero() {
		return ""
	}
	if !t.Digest.IsZero() && t.Ref.Version == "" {
		return t.Ref.WithVersion(t.Digest.String()).Key()
	}
	return t.Ref.Key()
}

func floating(t statement.Target) bool {
	return t.Digest.IsZero() && t.Ref.Version == "" && t.Ref.Kind.Versioned()
}

// exact is the thing that a target names: its content, else its name.
func (r *reference) exact(t statement.Target) string {
	if t.Digest.IsZero() {
		return t.Ref.Key()
	}
	if l := label(t); l != "" {
		r.rels = append(r.rels, refRel{prov.SameAs, l, t.Digest.Key(), prov.Beginning, prov.Forever})
	}
	return t.Digest.Key()
}

func outputsOf(s said, p *statement.Activity) []statement.Target {
	var out []statement.Target
	for _, x := range s.subjects {
		out = append(out, sub(x))
	}
	for _, d := range p.Derived {
		out = append(out, res(d.To))
	}
	return slices.DeleteFunc(out, func(t statement.Target) bool { return t.Ref.String() == p.ID })
}

func (r *reference) version(key string) *refVersion {
	ref, err := prov.ParseKey(key)
	if err != nil {
		panic(err)
	}
	v := r.vers[key]
	if v == nil {
		v = &refVersion{series: ref.Series().Key(), at: prov.Forever, registered: prov.Forever}
		r.vers[key] = v
	}
	return v
}

// outName is the name of an output: a series' version is named by the activity.
func outName(t statement.Target, act string) string {
	if floating(t) {
		return t.Ref.WithVersion(act[len("activity:"):]).Key()
	}
	return label(t)
}

func (r *reference) writes(s said) {
	switch p := s.pred.(type) {
	case *statement.Activity:
		a := r.acts[p.ID]
		for _, t := range outputsOf(s, p) {
			name := outName(t, p.ID)
			if name == "" || a.failed {
				continue
			}
			v := r.version(name)
			if a.wrote < v.at {
				v.at, v.writers = a.wrote, nil
			}
			if a.wrote == v.at {
				v.writers = append(v.writers, p.ID)
			}
		}
	case *statement.Entity:
		if p.State != "registered" {
			return
		}
		for _, x := range s.subjects {
			if l := label(sub(x)); l != "" && !floating(sub(x)) {
				v := r.version(l)
				v.registered = min(v.registered, p.At.Instant(prov.At(s.at)))
			}
		}
	}
}

// group gives all series that are the same as one.
func (r *reference) group(series string) []string {
	out := []string{series}
	for i := 0; i < len(out); i++ {
		for _, j := range r.same {
			for k := range 2 {
				if j[k] == out[i] && !slices.Contains(out, j[1-k]) {
					out = append(out, j[1-k])
				}
			}
		}
	}
	return out
}

// bind gives what a read by act at t of the series saw.
func (r *reference) bind(series string, t prov.Instant, act string) string {
	group := r.group(series)
	best, bestAt := series, prov.Beginning
	for key, v := range r.vers {
		at := v.at
		if at == prov.Forever {
			at = v.registered
		}
		others := len(v.writers) == 0
		for _, w := range v.writers {
			others = others || w != act
		}
		if at == prov.Forever || !slices.Contains(group, v.series) || at > t || at == t && !others {
			continue
		}
		if best == series || at > bestAt || at == bestAt && key > best {
			best, bestAt = key, at
		}
	}
	return best
}

func (r *reference) tie(from string, t statement.Target, typ prov.RelationType, at prov.Instant, act string) {
	to := r.exact(t)
	if floating(t) {
		to = r.bind(to, at, act)
	}
	r.rels = append(r.rels, refRel{typ, from, to, at, prov.Forever})
}

func (r *reference) relate(i int) {
	s := r.h[i]
	or := func(t statement.Time) prov.Instant { return t.Instant(prov.At(s.at)) }
	switch p := s.pred.(type) {
	case *statement.Activity:
		r.activity(s, p)
	case *statement.Entity:
		for _, x := range s.subjects {
			from := r.exact(sub(x))
			for _, o := range p.SameAs {
				r.rels = append(r.rels, refRel{prov.SameAs, from, o.Ref, prov.Beginning, prov.Forever})
			}
		}
		for _, d := range p.Derived {
			from := r.exact(res(d.To))
			for _, in := range d.From {
				r.rels = append(r.rels, refRel{prov.DerivedFrom, from, r.exact(res(in.Resource)), or(p.At), prov.Forever})
			}
		}
	case *statement.Approval:
		r.rels = append(r.rels, refRel{prov.AssociatedWith, p.ID, p.Approver, or(p.DecidedAt), prov.Forever})
		r.named(s)
	case *statement.Deployment:
		for _, x := range s.subjects {
			r.tie(p.ID, sub(x), prov.Deployed, or(p.At), "")
		}
		for _, x := range p.RunsAs {
			r.rels = append(r.rels, refRel{prov.RunsAs, p.ID, x, or(p.At), prov.Forever})
		}
		for _, x := range p.Prompts {
			r.tie(p.ID, res(x), prov.UsesPrompt, or(p.At), "")
		}
	case *statement.Registry:
		alias := prov.Ref{Kind: prov.Registry, Name: p.Registry + "/" + p.Name + "#" + p.Alias}.Key()
		r.rels = append(r.rels, refRel{prov.AssociatedWith, alias, "person:bob", or(p.At), prov.Forever})
	case *statement.Identity:
		r.inventory(p)
	case *statement.Notice:
		r.named(s)
	}
}

func (r *reference) named(s said) {
	for _, x := range s.subjects {
		r.exact(sub(x))
	}
}

func (r *reference) activity(s said, p *statement.Activity) {
	a := r.acts[p.ID]
	for _, u := range p.Used {
		r.tie(p.ID, res(u.Resource), prov.Used, u.At.Instant(a.read), p.ID)
	}
	if p.Plan != nil {
		r.tie(p.ID, res(*p.Plan), prov.HadPlan, a.read, p.ID)
	}
	for _, x := range p.Identities {
		r.rels = append(r.rels, refRel{prov.AssociatedWith, p.ID, x.Ref, a.read, prov.Forever})
	}
	out := func(t statement.Target) string {
		if floating(t) {
			return outName(t, p.ID)
		}
		return r.exact(t)
	}
	for _, t := range outputsOf(s, p) {
		typ := prov.GeneratedBy
		for _, d := range p.Derived {
			if res(d.To) == t {
				typ = prov.GeneratedByStated
			}
		}
		r.rels = append(r.rels, refRel{typ, out(t), p.ID, a.wrote, prov.Forever})
	}
	for _, d := range p.Derived {
		for _, in := range d.From {
			r.tie(out(res(d.To)), res(in.Resource), prov.DerivedFrom, a.read, p.ID)
		}
	}
}

func (r *reference) inventory(p *statement.Identity) {
	at, end := prov.At(p.At.Time), prov.Forever
	if p.Mode == "snapshot" {
		for _, j := range r.stand {
			o, ok := r.h[j].pred.(*statement.Identity)
			if ok && o.Mode == "snapshot" && o.Source == p.Source && o.At.After(p.At.Time) {
				end = min(end, prov.At(o.At.Time))
			}
		}
	}
	for _, it := range p.Items {
		for _, c := range it.Credentials {
			r.rels = append(r.rels, refRel{prov.AuthenticatesWith, it.Ref, c.Ref, c.IssuedAt.Instant(at), min(end, c.ExpiresAt.Instant(prov.Forever))})
		}
	}
}

// reach gives the sorted keys of what is reached from start at a valid time.
// It walks the two rules apart: whoever comes to an activity by an output with
// stated derivations does not go on by what it used.
func (r *reference) reach(start string, made bool, valid prov.Instant) []string {
	type state struct {
		key  string
		part bool
	}
	todo := []state{{start, false}}
	for i := 0; i < len(todo); i++ {
		s := todo[i]
		for _, x := range r.rels {
			if valid != prov.Forever && (x.vf > valid || x.vt <= valid) {
				continue
			}
			in, out, from, to := prov.GeneratedByStated, prov.Used, x.from, x.to
			if made {
				in, out, from, to = out, in, to, from
			}
			var next []state
			switch {
			case x.typ == prov.SameAs && s.key == from:
				next = append(next, state{to, false})
			case x.typ == prov.SameAs && s.key == to:
				next = append(next, state{from, false})
			case x.typ != prov.SameAs && s.key == from && !(s.part && x.typ == out):
				next = append(next, state{to, x.typ == in})
			}
			for _, n := range next {
				if !slices.Contains(todo, n) {
					todo = append(todo, n)
				}
			}
		}
	}
	var keys []string
	for _, s := range todo {
		keys = append(keys, s.key)
	}
	sort.Strings(keys)
	return slices.Compact(keys)
}
