package proof

import (
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/vindex"
)

// clock is when an activity ran, out of all that entries say of it.
type clock struct {
	start, end  prov.Instant // Beginning when not stated
	read, wrote prov.Instant
	dated       bool // some entry gives a time
	failed      bool
	running     bool   // it is said to have started, and not to have ended
	inputs      string // the weakest completeness that is stated; "" when none is
	entries     []uint64
}

// clockOf dates an activity: the earliest start and the latest end that is
// stated; that it completed outweighs that it failed.
func (w *walk) clockOf(act string) (*clock, error) {
	if c := w.clocks[act]; c != nil {
		return c, nil
	}
	entries, err := w.list(vindex.About, act)
	if err != nil {
		return nil, err
	}
	c := &clock{start: prov.Forever, end: prov.Beginning}
	first, last, recorded := prov.Forever, prov.Beginning, prov.Forever
	states := map[string]bool{}
	for _, i := range entries {
		r := w.read[i]
		if r.Claim == nil || r.Claim.Act != act {
			continue
		}
		x := r.Claim
		if x.Start != prov.Beginning {
			c.start = min(c.start, x.Start)
		}
		c.end = max(c.end, x.End)
		if x.Seen != prov.Beginning {
			first, last = min(first, x.Seen), max(last, x.Seen)
		}
		recorded = min(recorded, r.Recorded)
		states[x.State] = true
		if x.Inputs != "" && (c.inputs == "" || rank(x.Inputs) > rank(c.inputs)) {
			c.inputs = x.Inputs
		}
		c.entries = append(c.entries, i)
	}
	pick := func(xs ...prov.Instant) prov.Instant {
		for _, x := range xs {
			if x != prov.Beginning && x != prov.Forever {
				return x
			}
		}
		return recorded
	}
	c.read, c.wrote = pick(c.start, first, c.end), pick(c.end, last, c.start)
	c.dated = c.start != prov.Forever || c.end != prov.Beginning || first != prov.Forever
	c.failed = !states["completed"] && (states["failed"] || states["aborted"])
	c.running = (states["started"] || states["running"]) && !states["completed"] && !states["failed"] && !states["aborted"] && !states["other"]
	if c.start == prov.Forever {
		c.start = prov.Beginning
	}
	w.clocks[act] = c
	return c, nil
}

// version is a version of a series with when it became current.
type version struct {
	key     string
	at      prov.Instant // Forever: no entry that stands says
	writers []string     // the activities that wrote it then; none: it was registered
	failed  bool         // only activities that failed wrote it
}

// group is a set of series that are said to be the same.
type group struct {
	series   []string
	versions []version // those with a time, in its order
	byKey    map[string]version
}

// groupOf gives the group of a series.
func (w *walk) groupOf(series string) (*group, error) {
	if g := w.groups[series]; g != nil {
		return g, nil
	}
	g := &group{series: []string{series}, byKey: map[string]version{}}
	for n := 0; n < len(g.series); n++ {
		same, err := w.same(g.series[n])
		if err != nil {
			return nil, err
		}
		for _, t := range same {
			if o := other(t, g.series[n]); isSeries(g.series[n]) && isSeries(o) && !slices.Contains(g.series, o) {
				g.series = append(g.series, o)
			}
		}
	}
	slices.Sort(g.series)
	for _, s := range g.series {
		if err := w.versionsOf(g, s); err != nil {
			return nil, err
		}
		w.groups[s] = g
	}
	for _, v := range g.byKey {
		if v.at != prov.Forever {
			g.versions = append(g.versions, v)
		}
	}
	slices.SortFunc(g.versions, func(a, b version) int {
		if a.at != b.at {
			if a.at < b.at {
				return -1
			}
			return 1
		}
		return strings.Compare(a.key, b.key)
	})
	return g, nil
}

// versionsOf dates the versions of one series: by the activity that wrote them
// first, else by their registration.
func (w *walk) versionsOf(g *group, series string) error {
	entries, err := w.list(vindex.Writes, series)
	if err != nil {
		return err
	}
	registered := map[string]prov.Instant{}
	for _, i := range entries {
		for _, x := range w.read[i].Writes {
			if seriesOf(x.Version) != series {
				continue
			}
			v, ok := g.byKey[x.Version]
			if !ok {
				v = version{key: x.Version, at: prov.Forever}
			}
			if x.Act == "" {
				if at, ok := registered[x.Version]; !ok || x.At < at {
					registered[x.Version] = x.At
				}
			} else {
				c, err := w.clockOf(x.Act)
				if err != nil {
					return err
				}
				switch {
				case c.failed:
					v.failed = true
				case c.wrote < v.at:
					v.at, v.writers = c.wrote, []string{x.Act}
				case c.wrote == v.at && !slices.Contains(v.writers, x.Act):
					v.writers = append(v.writers, x.Act)
				}
			}
			g.byKey[x.Version] = v
		}
	}
	for key, at := range registered {
		if v := g.byKey[key]; v.at == prov.Forever {
			v.at = at
			g.byKey[key] = v
		}
	}
	return nil
}

// bind gives what an unversioned read of a series by act at t saw: the version
// that was written last before it, or at the same moment by another activity;
// the series itself when there was none.
func (w *walk) bind(series string, t prov.Instant, act string) (string, error) {
	g, err := w.groupOf(series)
	if err != nil {
		return "", err
	}
	n := len(g.versions)
	for n > 0 && g.versions[n-1].at > t {
		n--
	}
	for n--; n >= 0; n-- {
		v := g.versions[n]
		if v.at < t || len(v.writers) != 1 || v.writers[0] != act {
			return v.key, nil
		}
	}
	return series, nil
}

// target gives the key of the thing that a tie leads to.
func (w *walk) target(t vindex.Tie) (string, error) {
	if !t.To.Floating {
		return t.To.Key, nil
	}
	at, err := w.when(t)
	if err != nil {
		return "", err
	}
	r, err := prov.ParseKey(t.To.Key)
	if err != nil {
		return "", err
	}
	dataset, field, ok := r.SplitColumn()
	if !ok {
		return w.bind(t.To.Key, at, t.Act)
	}
	bound, err := w.bind(dataset.Key(), at, t.Act) // a column is read with its dataset
	if err != nil {
		return "", err
	}
	b, err := prov.ParseKey(bound)
	if err != nil || b.Version == "" || b.Kind != prov.Dataset {
		return t.To.Key, err
	}
	return prov.ColumnOf(b, field).Key(), nil
}

// when gives the time at which a tie holds.
func (w *walk) when(t vindex.Tie) (prov.Instant, error) {
	if t.Clock == vindex.Fixed || t.Clock == vindex.Read && t.At != prov.Beginning {
		return t.At, nil
	}
	c, err := w.clockOf(t.Act)
	if err != nil {
		return 0, err
	}
	if t.Clock == vindex.Read {
		return c.read, nil
	}
	return c.wrote, nil
}

func isSeries(key string) bool {
	r, err := prov.ParseKey(key)
	return err == nil && !r.IsDigest() && r.Version == "" && r.Kind.Versioned()
}

// seriesOf gives the key of the series of a version; empty for what is none.
func seriesOf(key string) string {
	r, err := prov.ParseKey(key)
	if err != nil || r.Version == "" {
		return ""
	}
	return r.Series().Key()
}

func other(t vindex.Tie, key string) string {
	if t.From == key {
		return t.To.Key
	}
	return t.From
}
