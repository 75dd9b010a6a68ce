package proof

import (
	"slices"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/vindex"
)

// doubts tells why there may be uses that the closure does not reach. The
// rules, with their reasons, are in docs/decisions/0015.
func (a *asker) doubts() error {
	for _, k := range a.order {
		for _, f := range []func(string) error{a.unboundReads, a.parts, a.aliases, a.cuts} {
			if err := f(k); err != nil {
				return err
			}
		}
	}
	return a.siblings()
}

// isMember tells whether a thing is in the closure.
func (a *asker) isMember(key string) bool { _, ok := a.full[key]; return ok }

// unboundReads tells of ties that name a member's series and not its version,
// and may mean the member all the same.
func (a *asker) unboundReads(key string) error {
	r, err := prov.ParseKey(key)
	if err != nil || r.Version == "" {
		return err
	}
	ver, series := key, r.Series().Key()
	if dataset, _, ok := r.SplitColumn(); ok {
		ver, series = dataset.Key(), dataset.Series().Key()
	}
	names, err := a.readAs(key)
	if err != nil {
		return err
	}
	g, err := a.groupOf(series)
	if err != nil {
		return err
	}
	v, ok := g.byKey[ver]
	if !ok {
		v.at = prov.Forever
	}
	var loose []uint64 // reads that are bound to something else
	for _, name := range names {
		entries, err := a.list(vindex.UsedBy, name)
		if err != nil {
			return err
		}
		for _, i := range entries {
			for _, t := range a.read[i].Ties {
				if t.To.Key != name || name == key || !lineage.Has(t.Type) || t.Type == prov.SameAs || t.Retires || a.isMember(t.From) {
					continue
				}
				if !t.To.Floating {
					a.doubt("series", t.From, []uint64{i}, "%s is tied to %s (%s) without a version; it may be %s", display(t.From), display(name), t.Type, display(key))
					continue
				}
				loose = append(loose, i)
				if v.at == prov.Forever {
					continue
				}
				if err := a.looseRead(i, t, key, v); err != nil {
					return err
				}
			}
		}
	}
	if len(loose) > 0 && v.at == prov.Forever {
		slices.Sort(loose)
		why := "no entry says when it was written"
		if v.failed {
			why = "the activity that wrote it did not complete"
		}
		a.doubt("unwritten", key, slices.Compact(loose), "%s: %s, so reads of %s without a version are not tied to it", display(key), why, display(series))
	}
	return nil
}

// looseRead tells whether a read that is bound to another version may have
// been of this one.
func (a *asker) looseRead(i uint64, t vindex.Tie, key string, v version) error {
	if t.Act == "" || t.Clock == vindex.Read && t.At != prov.Beginning {
		if t.Undated {
			a.doubt("undated-read", t.From, []uint64{i}, "%s names %s without a version, and no entry says when; it may be %s", display(t.From), display(t.To.Key), display(key))
		}
		return nil
	}
	c, err := a.clockOf(t.Act)
	if err != nil {
		return err
	}
	switch {
	case !c.dated:
		a.doubt("undated-read", t.From, []uint64{i}, "%s read %s without a version, and no entry says when; it may have read %s", display(t.From), display(t.To.Key), display(key))
	case slices.Contains(v.writers, t.Act): // nobody reads what he is only writing
	case v.at > c.read && (v.at <= c.end || c.end == prov.Beginning && c.running):
		a.doubt("overlap", t.From, []uint64{i}, "%s was written while %s ran, which read %s without a version; it may have read that", display(key), display(t.From), display(t.To.Key))
	}
	return nil
}

// parts tells of things that are part of a member, or of which it is a part.
func (a *asker) parts(key string) error {
	entries, err := a.list(vindex.TiedTo, key)
	if err != nil {
		return err
	}
	for _, i := range entries {
		for _, t := range a.read[i].Ties {
			if t.Type != prov.PartOf || t.From != key && t.To.Key != key || kindOf(t.From) == prov.Column {
				continue
			}
			if o := other(t, key); !a.isMember(o) {
				a.doubt("part", o, []uint64{i}, "%s is said to be part of %s; the closure does not go from the one to the other", display(t.From), display(t.To.Key))
			}
		}
	}
	return nil
}

func kindOf(key string) prov.Kind {
	r, err := prov.ParseKey(key)
	if err != nil {
		return ""
	}
	return r.Kind
}

// aliases tells of uses by a registry's name for a member.
func (a *asker) aliases(key string) error {
	entries, err := a.list(vindex.TiedTo, key)
	if err != nil {
		return err
	}
	for _, i := range entries {
		for _, t := range a.read[i].Ties {
			if t.Type != prov.NamedBy || t.From != key || a.isMember(t.To.Key) {
				continue
			}
			uses, err := a.list(vindex.UsedBy, t.To.Key)
			if err != nil {
				return err
			}
			var by []uint64
			for _, k := range uses {
				if slices.ContainsFunc(a.read[k].Ties, func(u vindex.Tie) bool {
					return u.To.Key == t.To.Key && lineage.Has(u.Type) && u.Type != prov.SameAs
				}) {
					by = append(by, k)
				}
			}
			if len(by) > 0 {
				a.doubt("alias", t.To.Key, by, "%s was used by that name, which a registry pointed at %s", display(t.To.Key), display(key))
			}
		}
	}
	return nil
}

// cuts tells of what the closure does not follow since derivations are stated,
// by an activity whose inputs are stated weakly.
func (a *asker) cuts(key string) error {
	if a.full[key] || !isActivity(key) {
		return nil
	}
	c, err := a.clockOf(key)
	if err != nil {
		return err
	}
	if rank(c.class()) <= a.accept {
		return nil
	}
	for _, x := range a.gone[key] {
		if !a.isMember(x.To) {
			a.doubt("cut", x.To, []uint64{x.Entry}, "%s states what %s was made from, and none of it is in the closure; its inputs are %s", display(key), display(x.To), c.class())
		}
	}
	return nil
}

// siblings tells of runs that may have read a member without saying so: runs
// of a plan that a run in the closure followed, and runs that wrote a version
// of a series of which one is in the closure, whose inputs are stated weakly.
func (a *asker) siblings() error {
	first, err := a.firstWritten()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	run := func(act, how string) error {
		if seen[act] || a.isMember(act) {
			return nil
		}
		seen[act] = true
		c, err := a.clockOf(act)
		if err != nil || rank(c.class()) <= a.accept || c.end != prov.Beginning && c.end < first {
			return err
		}
		a.doubt("inputs", act, c.entries, "%s %s, and its inputs are %s: what it may have read besides is not told", display(act), how, c.class())
		return nil
	}
	for _, key := range a.order {
		if err := a.samePlan(key, run); err != nil {
			return err
		}
	}
	for _, key := range a.order {
		if seriesOf(key) == "" || slices.Contains(a.focus, key) {
			continue
		}
		entries, err := a.list(vindex.Writes, seriesOf(key))
		if err != nil {
			return err
		}
		for _, i := range entries {
			for _, x := range a.read[i].Writes {
				if x.Act == "" || seriesOf(x.Version) != seriesOf(key) {
					continue
				}
				if err := run(x.Act, "wrote a version of "+display(seriesOf(key))); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// samePlan visits the runs that follow a plan which the activity follows.
func (a *asker) samePlan(key string, run func(act, how string) error) error {
	if !isActivity(key) {
		return nil
	}
	entries, err := a.list(vindex.About, key)
	if err != nil {
		return err
	}
	var plans []string
	for _, i := range entries {
		for _, t := range a.read[i].Ties {
			if t.Type != prov.HadPlan || t.From != key {
				continue
			}
			for _, p := range []string{t.To.Key, seriesOf(t.To.Key)} {
				if p != "" && !slices.Contains(plans, p) {
					plans = append(plans, p)
				}
			}
		}
	}
	for _, p := range plans {
		uses, err := a.list(vindex.UsedBy, p)
		if err != nil {
			return err
		}
		for _, i := range uses {
			for _, t := range a.read[i].Ties {
				if t.Type == prov.HadPlan && t.To.Key == p && t.Act != "" {
					if err := run(t.Act, "follows "+display(p)); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// firstWritten gives when the first of the things in question came to be:
// what ended before has not read it. Beginning when that is not known.
func (a *asker) firstWritten() (prov.Instant, error) {
	w := newWalk(a.log, a.down)
	w.clocks, w.groups = a.clocks, a.groups
	first := prov.Forever
	for n, todo := 0, slices.Clone(a.focus); n < len(todo); n++ {
		same, err := w.same(todo[n])
		if err != nil {
			return 0, err
		}
		for _, t := range same {
			if o := other(t, todo[n]); !slices.Contains(todo, o) {
				todo = append(todo, o)
			}
		}
		s := seriesOf(todo[n])
		if s == "" {
			continue
		}
		g, err := a.groupOf(s)
		if err != nil {
			return 0, err
		}
		v, ok := g.byKey[todo[n]]
		if !ok || v.at == prov.Forever {
			return prov.Beginning, nil
		}
		first = min(first, v.at)
	}
	if first == prov.Forever {
		return prov.Beginning, nil
	}
	return first, nil
}
