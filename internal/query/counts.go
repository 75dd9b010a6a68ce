package query

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// Counted is how many things a closure holds, without saying which.
type Counted struct {
	Things        int                `json:"things"`
	ByKind        []KindCount        `json:"byKind"`
	ByEnvironment []EnvironmentCount `json:"byEnvironment"`
}

// KindCount is how many things of a kind there are.
type KindCount struct {
	Kind   string `json:"kind"`
	Things int    `json:"things"`
}

// EnvironmentCount is how many things a deployment placed in an environment,
// deployments included, and of how many of them one is live there.
type EnvironmentCount struct {
	Environment string `json:"environment"`
	Things      int    `json:"things"`
	Live        int    `json:"live"`
}

// Counts answers a Why or Blast question with counts by kind and environment
// in the place of items and relations. It counts all that the whole answer
// would list, its context aside.
func Counts(v graph.View, verb, text string, opt Options) (*Answer, error) {
	if verb != "why" && verb != "blast" {
		return nil, fmt.Errorf("counting the answer to %q: only those to why and blast can be counted", verb)
	}
	opt.Limit = 0
	l, err := askLineage(v, verb, text, opt)
	if err != nil {
		return nil, err
	}
	defer l.w.free()
	b := l.b
	b.answer.Question.Count = true
	c := counter{v: v, seen: newBits(v.Len()), kinds: map[prov.Kind]int{}, places: map[graph.ID]*EnvironmentCount{}}
	for id := range b.chosen(l.w) {
		c.add(id)
	}
	b.answer.Counts = c.counted()
	b.problems()
	return b.end()
}

type counter struct {
	v      graph.View
	seen   bits
	things int
	kinds  map[prov.Kind]int
	places map[graph.ID]*EnvironmentCount
}

func (c *counter) add(id graph.ID) {
	one := standsFor(c.v, id)
	if c.seen.has(one) {
		return
	}
	c.seen.add(one)
	c.things++
	names := []graph.ID{one}
	kind := c.v.Ref(one).Kind
	if c.v.IsDigest(one) {
		var labels []graph.ID
		for _, n := range partners(c.v, one) {
			if standsFor(c.v, n) == one {
				labels = append(labels, n)
			}
		}
		if len(labels) > 0 {
			kind = best(c.v, labels).Kind
		}
		names = append(names, labels...)
	}
	c.kinds[kind]++
	live := map[graph.ID]bool{} // by environment
	for _, n := range names {
		c.placed(n, live)
		for r := range c.v.In(n) {
			if r.Type() == prov.Deployed {
				c.placed(r.From(), live)
			}
		}
	}
	for env, is := range live {
		e := c.places[env]
		if e == nil {
			e = &EnvironmentCount{Environment: c.v.Ref(env).String()}
			c.places[env] = e
		}
		e.Things++
		if is {
			e.Live++
		}
	}
}

// placed adds the environments of a deployment, and whether it is live there.
func (c *counter) placed(deployment graph.ID, live map[graph.ID]bool) {
	for r := range c.v.Out(deployment) {
		if r.Type() == prov.DeployedTo && c.v.Ref(r.To()).Kind == prov.Environment {
			live[r.To()] = live[r.To()] || c.v.AsOf().Valid != prov.Forever || c.v.Relation(r).Valid.To == prov.Forever
		}
	}
}

func (c *counter) counted() *Counted {
	out := &Counted{Things: c.things, ByKind: []KindCount{}, ByEnvironment: []EnvironmentCount{}}
	for k, n := range c.kinds {
		out.ByKind = append(out.ByKind, KindCount{string(k), n})
	}
	for _, e := range c.places {
		out.ByEnvironment = append(out.ByEnvironment, *e)
	}
	slices.SortFunc(out.ByKind, func(x, y KindCount) int { return cmp.Compare(x.Kind, y.Kind) })
	slices.SortFunc(out.ByEnvironment, func(x, y EnvironmentCount) int { return cmp.Compare(x.Environment, y.Environment) })
	return out
}
