package access

import (
	"slices"
	"strings"
)

// Outcome is one of three values. Unknown is never yes.
type Outcome uint8

// The outcomes, in the order of their weight.
const (
	No Outcome = iota
	Unknown
	Yes
)

func (o Outcome) String() string { return [...]string{"no", "unknown", "yes"}[o] }

// Dialect says how the patterns of a rule are read.
type Dialect uint8

// The dialects.
const (
	// Plain: a resource is a name; "/*" or ":*" at its end stands for all that
	// is below, and "*" for everything. So do actions.
	Plain Dialect = iota
	// AWS: '*' and '?' anywhere; actions without regard to case.
	AWS
	// Kubernetes: resource kubernetes[:CLUSTER]/NAMESPACE/GROUP/RESOURCE[/NAME[/SUBRESOURCE]]
	// or kubernetes[:CLUSTER]/url/PATH; each part may be '*', but the cluster.
	Kubernetes
)

// DialectOf tells the dialect by the name of a resource, as importers give it.
func DialectOf(name string) Dialect {
	switch {
	case name == "aws/*", strings.HasPrefix(name, "arn:"):
		return AWS
	case strings.HasPrefix(name, "kubernetes/"), strings.HasPrefix(name, "kubernetes:") && strings.Contains(name, "/"):
		return Kubernetes
	}
	return Plain
}

// Rule is one grant, or with Deny one refusal. Names are those of resources
// without their kind.
type Rule struct {
	Deny         bool
	Actions      []string // none: not told
	NotActions   []string
	Resource     string
	NotResources []string
	// Maybe: whether it applies is not known.
	Maybe bool
}

// Ask is what is asked: for a resource under all its names, and an action; ""
// is any.
type Ask struct {
	Names  []string // as in the dialects, first the one that was asked
	Action string
	// Any asks for whatever the rule itself is about.
	Any bool
	// Above are names of what the resource is part of, where a grant on the
	// whole is one on the part.
	Above []string
}

// Scope of an answer: whether the rule covers the resource that was asked, or
// only a part of it.
type Scope uint8

// The scopes.
const (
	Nothing Scope = iota
	Part          // of what is below the resource
	Whole
)

// Compiled is a Rule with its patterns read.
type Compiled struct {
	Rule
	dialect    Dialect
	actions    []Pattern
	notActions []Pattern
	resource   Pattern
	notRes     []Pattern
	opaque     bool // the resource has a pattern that is not understood
}

// Compile reads the patterns of a rule.
func Compile(r Rule) *Compiled {
	c := &Compiled{Rule: r, dialect: DialectOf(r.Resource)}
	acts, nots := r.Actions, r.NotActions
	if c.dialect == AWS {
		acts, nots = lower(acts), lower(nots)
	}
	c.resource, c.opaque = c.read(r.Resource)
	for _, a := range acts {
		c.actions = append(c.actions, c.action(a))
	}
	for _, a := range nots {
		c.notActions = append(c.notActions, c.action(a))
	}
	for _, n := range r.NotResources {
		p, opaque := c.read(n)
		c.notRes, c.opaque = append(c.notRes, p), c.opaque || opaque
	}
	return c
}

func (c *Compiled) action(a string) Pattern {
	switch c.dialect {
	case AWS:
		return Glob(a)
	case Kubernetes:
		if a == "*" {
			return star(a, many)
		}
		return Literal(a)
	}
	p, opaque := below(a)
	c.opaque = c.opaque || opaque
	return p
}

// read gives the pattern of a resource, and whether it is not understood.
func (c *Compiled) read(name string) (p Pattern, opaque bool) {
	switch c.dialect {
	case AWS:
		return Glob(strings.TrimPrefix(name, "aws/")), false
	case Kubernetes:
		cluster, rest := clustered(name)
		if strings.HasPrefix(rest, "url/") {
			return append(cluster, star(object(rest, "*"), many)...), false
		}
		// RBAC has "*/scale", and no "pods/*".
		p := strings.Split(rest, "/")
		return append(cluster, star(object(rest, "*"), part)...), len(p) > 4 && p[4] == "*" && p[2] != "*"
	}
	return below(name)
}

// below reads a plain name: all that is below it when it ends with '*' as a
// part of its own.
func below(name string) (p Pattern, opaque bool) {
	head, ok := strings.CutSuffix(name, "*")
	if !ok {
		return star(name, many), strings.Contains(name, "*")
	}
	bounded := head == "" || strings.HasSuffix(head, "/") || strings.HasSuffix(head, ":")
	return star(name, many), !bounded || strings.Contains(head, "*")
}

// clustered parts a name of Kubernetes from its cluster.
func clustered(name string) (cluster Pattern, rest string) {
	c, rest, _ := strings.Cut(strings.TrimPrefix(name, "kubernetes"), "/")
	return Literal(c + "|"), rest
}

// object writes a name within a cluster in five parts, namespace, group, resource,
// subresource and object, so that its parts stand at fixed places. What is not
// told is rest. A rule for all resources is one for their subresources too.
func object(name, rest string) string {
	if path, ok := strings.CutPrefix(name, "url/"); ok {
		return "url:/" + path
	}
	p := strings.SplitN(name, "/", 5)
	for len(p) < 3 {
		p = append(p, rest)
	}
	obj, sub := rest, ""
	if len(p) > 3 {
		obj = p[3]
	}
	switch {
	case len(p) > 4:
		sub = p[4]
	case p[2] == "*":
		sub = "*"
	}
	return strings.Join([]string{p[0], p[1], p[2], sub, obj}, "/")
}

// about gives the sets of resources that an Ask is about, in this dialect: the
// resource itself, then what is below it.
func (c *Compiled) about(a Ask) []Pattern {
	if a.Any {
		return []Pattern{c.resource}
	}
	var out [2][]Pattern
	for _, n := range a.Names {
		if DialectOf(n) != c.dialect && !(c.dialect == AWS && n == "*") {
			continue
		}
		switch c.dialect {
		case AWS:
			n = strings.TrimPrefix(n, "aws/")
			out[0] = append(out[0], Literal(n))
			out[1] = append(out[1], append(Literal(n), Glob("/*")...))
		case Kubernetes:
			cluster, rest := clustered(n)
			parts, url := strings.Count(rest, "/"), strings.HasPrefix(rest, "url/")
			if parts >= 2 || url {
				out[0] = append(out[0], slices.Concat(cluster, Literal(object(rest, ""))))
			}
			if parts < 4 && !url {
				out[1] = append(out[1], slices.Concat(cluster, inside(rest)))
			}
		default:
			out[0] = append(out[0], Literal(n))
			out[1] = append(out[1], append(Literal(n), Glob("/*")...))
		}
	}
	if c.dialect == Plain {
		for _, n := range a.Above {
			out[0] = append(out[0], Literal(n))
		}
	}
	return slices.Concat(out[0], []Pattern{nil}, out[1])
}

// inside gives the pattern of what is below a name in a cluster: resources of
// a namespace, objects of a resource, subresources of an object. Only the parts
// that are not told vary.
func inside(name string) Pattern {
	p := strings.Split(name, "/")
	told := []int{0, 1, 2, 4, 3} // the part of a name that stands at each place
	var out Pattern
	for i, n := range told {
		if i > 0 {
			out = append(out, token{r: '/'})
		}
		if n < len(p) {
			out = append(out, Literal(p[n])...)
		} else {
			out = append(out, token{wild: part})
		}
	}
	return out
}

// Left tells whether something is left of what a rule allows, beside the
// refusals and within the bounds (nil: none), and of how much of the resource.
// A rule without actions allows something that is not told.
func Left(allow *Compiled, denies, bounds []*Compiled, a Ask) (Outcome, Scope) {
	work := maxWork
	scope := Whole
	best, bestScope := No, Nothing
	for _, where := range allow.about(a) {
		if where == nil { // what follows is below
			scope = Part
			continue
		}
		for _, act := range allow.deeds(a) {
			if o := allow.left(denies, bounds, where, act, a.Action, &work); o > best {
				if best, bestScope = o, scope; best == Yes {
					return best, bestScope
				}
			}
		}
	}
	return best, bestScope
}

func (c *Compiled) left(denies, bounds []*Compiled, where, act Pattern, action string, work *int) Outcome {
	s := &search{work: work, inR: []Pattern{where, c.resource}, outR: c.notRes, outA: c.notActions}
	if found, sure := s.meet(s.inR, s.outR); !found && sure {
		return No
	}
	if act != nil {
		s.inA = append(s.inA, act)
	}
	best := No
	for i := range max(1, len(c.actions)) {
		x := *s
		untold := len(c.actions) == 0
		if !untold {
			x.inA = slices.Concat(s.inA, []Pattern{c.actions[i]})
		}
		best = max(best, x.bounded(denies, bounds, c.Maybe || c.opaque || untold && action != ""))
		if best == Yes {
			return Yes
		}
	}
	return best
}

// beside are services of AWS whose actions are on resources of another.
var beside = map[string][]string{"iam": {"sts"}, "rds": {"rds-data"}, "redshift": {"redshift-data"}, "kafka": {"kafka-cluster"}}

// deeds gives what is asked to be done. Of a resource of AWS any action of its
// service: an action of another does nothing to it.
func (c *Compiled) deeds(a Ask) []Pattern {
	switch {
	case a.Action != "" && c.dialect == AWS:
		return []Pattern{Literal(strings.ToLower(a.Action))}
	case a.Action != "":
		return []Pattern{Literal(a.Action)}
	case c.dialect != AWS || a.Any:
		return []Pattern{nil}
	}
	var out []Pattern
	for _, n := range a.Names {
		p := strings.SplitN(n, ":", 6)
		if len(p) < 3 || p[0] != "arn" || strings.ContainsAny(p[2], "*?") || p[2] == "" {
			if n == "aws/*" || p[0] == "arn" {
				return []Pattern{nil}
			}
			continue
		}
		for _, service := range append([]string{p[2]}, beside[p[2]]...) {
			out = append(out, Glob(service+":*"))
		}
	}
	return out
}

// search looks for an action and a resource that are in all of some patterns
// and in none of others.
type search struct {
	inA, outA, inR, outR []Pattern
	work                 *int // that may still be done
}

func (s *search) meet(in, out []Pattern) (found, sure bool) { return meet(in, out, s.work) }

// bounded looks within one of the bounds, if there are any.
func (s search) bounded(denies, bounds []*Compiled, maybe bool) Outcome {
	if bounds == nil {
		return s.weigh(denies, maybe)
	}
	best := No
	all := slices.Clone(denies)
	for _, b := range bounds {
		if b.Deny {
			all = append(all, b)
		}
	}
	for _, b := range bounds {
		if b.Deny {
			continue
		}
		for _, act := range b.actions {
			x := s
			x.inA, x.outA = slices.Concat(s.inA, []Pattern{act}), slices.Concat(s.outA, b.notActions)
			x.inR, x.outR = slices.Concat(s.inR, []Pattern{b.resource}), slices.Concat(s.outR, b.notRes)
			if best = max(best, x.weigh(all, maybe || b.Maybe)); best == Yes {
				return Yes
			}
		}
	}
	return best
}

// weigh gives Yes when something is left whatever refusals apply, Unknown when
// something is left if some do not.
func (s search) weigh(denies []*Compiled, maybe bool) Outcome {
	var surely []*Compiled
	for _, d := range denies {
		if !d.Maybe && !d.opaque {
			surely = append(surely, d)
		}
	}
	o := s.beside(surely)
	if o == Yes && len(surely) < len(denies) && s.beside(denies) != Yes || o == Yes && maybe {
		return Unknown
	}
	return o
}

// beside looks for something that none of the refusals takes.
func (s search) beside(denies []*Compiled) Outcome {
	found, sure := s.try(denies)
	switch {
	case found:
		return Yes
	case sure:
		return No
	}
	return Unknown
}

func (s search) try(denies []*Compiled) (found, sure bool) {
	a, sureA := s.meet(s.inA, s.outA)
	if !a {
		return false, sureA
	}
	r, sureR := s.meet(s.inR, s.outR)
	if !r {
		return false, sureR
	}
	for i, d := range denies {
		if s.apart(d) {
			continue
		}
		return s.avoid(d, denies[i+1:])
	}
	return true, true
}

// apart tells whether a refusal takes nothing of what is looked at.
func (s search) apart(d *Compiled) bool {
	if r, sure := s.meet(slices.Concat(s.inR, []Pattern{d.resource}), slices.Concat(s.outR, d.notRes)); !r && sure {
		return true
	}
	for _, act := range d.actions {
		if a, sure := s.meet(slices.Concat(s.inA, []Pattern{act}), slices.Concat(s.outA, d.notActions)); a || !sure {
			return false
		}
	}
	return len(d.actions) > 0
}

// avoid tries each way around a refusal: an action or a resource that it is
// not about, or one that it excepts.
func (s search) avoid(d *Compiled, rest []*Compiled) (found, sure bool) {
	sure = true
	next := func(x search) bool {
		f, ok := x.try(rest)
		found, sure = found || f, sure && ok
		return f
	}
	x := s
	x.outA = slices.Concat(s.outA, d.actions)
	if len(d.actions) > 0 && next(x) {
		return true, true
	}
	x = s
	x.outR = slices.Concat(s.outR, []Pattern{d.resource})
	if next(x) {
		return true, true
	}
	for _, p := range d.notActions {
		x = s
		if x.inA = slices.Concat(s.inA, []Pattern{p}); next(x) {
			return true, true
		}
	}
	for _, p := range d.notRes {
		x = s
		if x.inR = slices.Concat(s.inR, []Pattern{p}); next(x) {
			return true, true
		}
	}
	return found, sure
}

// Overlap tells whether a refusal is about something of what a rule allows of
// what is asked. What was not searched to its end counts as an overlap.
func Overlap(allow, deny *Compiled, a Ask) bool {
	work := maxWork
	for _, where := range allow.about(a) {
		if where == nil {
			continue
		}
		for _, act := range allow.deeds(a) {
			s := search{work: &work, inR: []Pattern{where, allow.resource}, outR: allow.notRes, outA: allow.notActions}
			if act != nil {
				s.inA = append(s.inA, act)
			}
			for i := range max(1, len(allow.actions)) {
				x := s
				if len(allow.actions) > 0 {
					x.inA = slices.Concat(s.inA, []Pattern{allow.actions[i]})
				}
				if !x.apart(deny) {
					return true
				}
			}
		}
	}
	return false
}
