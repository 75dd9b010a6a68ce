package controls

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/policy"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

// scope is what an assessment is about.
type scope struct {
	v   graph.View
	at  prov.Instant
	o   Options
	env string // without "env:"
	all bool   // list every item

	focus       map[graph.ID]bool // the release under all its names; nil: the whole log
	deployments []deployment      // that happened by then, in the environment and of the release
	everywhere  []deployment      // that are live, whatever the scope
	behind      []graph.ID        // live deployments and all behind them, and with a release that and all behind it
	within      map[graph.ID]bool // the same as a set
	kinds       map[prov.Kind][]graph.ID

	members  map[graph.ID]membership // of teams, as they were asked for
	approved []decided               // every approval in scope; nil: not looked for yet
}

// deployment is one deployment with what it placed where.
type deployment struct {
	id       graph.ID
	action   string
	env      string // without "env:"
	service  string
	placed   []graph.Relation
	live     bool
	entries  []uint64
	restores graph.ID
}

func newScope(v graph.View, o Options) (*scope, error) {
	s := &scope{v: v, at: v.AsOf().Valid, o: o, env: strings.TrimPrefix(o.Env, "env:"), kinds: map[prov.Kind][]graph.ID{},
		members: map[graph.ID]membership{}}
	if s.at == prov.Forever {
		return nil, errors.New("controls are assessed at a moment; give a time")
	}
	if s.o.Items <= 0 {
		s.o.Items = 50
	}
	if s.o.Entries <= 0 {
		s.o.Entries = 100
	}
	if o.Ref != nil {
		s.focus = map[graph.ID]bool{}
		for _, id := range o.Ref {
			content, names := policy.Same(v.Always(), id)
			for _, x := range append(content, names...) {
				s.focus[x] = true
			}
		}
	}
	for id := graph.ID(1); int(id) < v.Len(); id++ {
		if id&1023 == 0 && o.Stop != nil && o.Stop() {
			return nil, query.ErrStopped
		}
		if !v.Known(id) {
			continue
		}
		kind := v.Kind(id)
		s.kinds[kind] = append(s.kinds[kind], id)
	}
	s.readDeployments()
	s.walk()
	return s, nil
}

// walk finds what is behind the live deployments in scope.
func (s *scope) walk() {
	var from []graph.ID
	for _, d := range s.live() {
		from = append(from, d.id)
	}
	from = append(from, slices.Sorted(maps.Keys(s.focus))...)
	s.behind, s.within = query.Members(s.v, from, false), map[graph.ID]bool{}
	for _, id := range s.behind {
		s.within[id] = true
	}
	for _, d := range s.deployments {
		if s.focus != nil {
			s.within[d.id] = true
		}
	}
}

// covers tells whether a thing is in scope.
func (s *scope) covers(id graph.ID) bool { return s.focus == nil && s.env == "" || s.within[id] }

func (s *scope) readDeployments() {
	for _, id := range s.kinds[prov.Deployment] {
		d, ok := s.deployment(id)
		if !ok {
			continue
		}
		if d.live {
			s.everywhere = append(s.everywhere, d)
		}
		if (s.env == "" || d.env == s.env) && (s.focus == nil || s.ofRelease(d)) {
			s.deployments = append(s.deployments, d)
		}
	}
	byName := func(a, b deployment) int { return cmp.Compare(string(s.v.Key(a.id)), string(s.v.Key(b.id))) }
	slices.SortFunc(s.deployments, byName)
	slices.SortFunc(s.everywhere, byName)
}

// deployment reads a deployment that happened by the moment.
func (s *scope) deployment(id graph.ID) (deployment, bool) {
	d := deployment{id: id, action: s.v.Attributes(id)["action"]}
	if d.action == "" || d.action == "retire" {
		return d, false
	}
	for r := range s.v.Out(id) {
		switch x := s.v.Relation(r); x.Type {
		case prov.Deployed:
			d.placed = append(d.placed, x)
			d.entries = append(d.entries, x.Entry)
		case prov.Restores:
			d.restores = x.To
		case prov.DeployedTo:
			d.live = true
		}
	}
	for r := range s.v.Always().Out(id) {
		x := s.v.Relation(r)
		if x.Type != prov.DeployedTo {
			continue
		}
		if to := s.v.Ref(x.To); to.Kind == prov.Environment {
			d.env = to.Name
		} else {
			d.service = to.String()
		}
	}
	slices.SortFunc(d.placed, func(a, b graph.Relation) int { return cmp.Compare(string(s.v.Key(a.To)), string(s.v.Key(b.To))) })
	slices.Sort(d.entries)
	d.entries = slices.Compact(d.entries)
	return d, len(d.placed) > 0
}

// ofRelease tells whether a deployment is of the release that is asked about:
// it places it, is it, or is of that service or environment.
func (s *scope) ofRelease(d deployment) bool {
	if s.focus[d.id] || slices.ContainsFunc(d.placed, func(r graph.Relation) bool { return s.focus[r.To] }) {
		return true
	}
	for r := range s.v.Always().Out(d.id) {
		if r.Type() == prov.DeployedTo && s.focus[r.To()] {
			return true
		}
	}
	return false
}

// live gives the live deployments in scope.
func (s *scope) live() []deployment {
	var out []deployment
	for _, d := range s.deployments {
		if d.live {
			out = append(out, d)
		}
	}
	return out
}

// command gives a command of stemma with the scope and clocks of this
// assessment.
func (s *scope) command(words string) string {
	out := "stemma " + words
	if s.o.RefName != "" {
		out += " " + quote(s.o.RefName)
	}
	if s.env != "" {
		out += " --env " + quote(s.env)
	}
	return out + s.clocks()
}

func (s *scope) clocks() string {
	return fmt.Sprintf(" --at %s --known %d", s.at.String(), s.v.AsOf().Known)
}

// show gives the command that shows one thing.
func (s *scope) show(ref string) string { return "stemma show " + quote(ref) + s.clocks() }

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// quote writes a word for a shell (POSIX shell, 2.2.2).
func quote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// collector gathers what a question gives.
type collector struct {
	s        *scope
	items    []Item
	coverage Coverage
	steps    int
	err      error
}

// put adds what was said of one thing. It tells whether to go on.
func (c *collector) put(it Item) bool {
	if it.Entries == nil {
		it.Entries = []uint64{}
	}
	slices.Sort(it.Entries)
	it.Entries = slices.Compact(it.Entries)
	c.items = append(c.items, it)
	c.coverage.add(it.Answer, 1)
	if c.steps++; c.steps&63 == 0 && c.s.o.Stop != nil && c.s.o.Stop() {
		c.err = query.ErrStopped
	}
	return c.err == nil
}

// say adds an answer about a thing of the graph.
func (c *collector) say(id graph.ID, a Answer, entries []uint64, format string, args ...any) bool {
	ref := policy.Label(c.s.v, id)
	return c.put(Item{Ref: ref, Answer: a, Says: fmt.Sprintf(format, args...), Entries: entries, Command: c.s.show(ref)})
}

var answerOrder = map[Answer]int{No: 0, Unknown: 1, Waived: 2, Yes: 3}

func compareItems(a, b Item) int {
	return cmp.Or(cmp.Compare(answerOrder[a.Answer], answerOrder[b.Answer]), cmp.Compare(a.Ref, b.Ref), cmp.Compare(a.Says, b.Says),
		slices.Compare(a.Entries, b.Entries))
}
