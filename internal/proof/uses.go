package proof

import (
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/vindex"
)

// Whether a use counts as before or after T; open when that is in doubt.
const (
	before = "before"
	after  = "after"
	open   = "open"
)

// uses walks down from the focus and tells when each use was.
func (a *asker) uses() error {
	if err := a.from(a.focus); err != nil {
		return err
	}
	any, late := false, false
	for _, f := range a.found {
		if f.Tie.Retires {
			continue // to take a thing down is not to use it
		}
		u := a.use(f)
		if generated(f.Type) && !slices.Contains(a.focus, f.To) {
			a.answer.Uses = append(a.answer.Uses, u) // an output of an activity that used something
			continue
		}
		when, err := a.date(f)
		if err != nil {
			return err
		}
		any, late = true, late || when == after
		if a.q.Verb == Unused {
			u.When = when
		}
		a.answer.Uses = append(a.answer.Uses, u)
	}
	if err := a.members(); err != nil {
		return err
	}
	if err := a.doubts(); err != nil {
		return err
	}
	switch {
	case late:
		a.answer.Verdict = Used
	case len(a.answer.Doubts) > 0:
		a.answer.Verdict = Inconclusive
	case any:
		a.answer.Verdict = ProvenNotAfter
	default:
		a.answer.Verdict = ProvenAbsent
	}
	a.sortUses()
	return nil
}

func generated(t prov.RelationType) bool { return t == prov.GeneratedBy || t == prov.GeneratedByStated }

func (a *asker) use(f Followed) Use {
	return Use{Entry: f.Entry, Recorded: a.read[f.Entry].Recorded.String(), At: f.At.String(), Type: f.Type.String(),
		From: display(f.From), To: display(f.To)}
}

func (a *asker) sortUses() {
	slices.SortStableFunc(a.answer.Uses, func(x, y Use) int {
		if x.Entry != y.Entry {
			if x.Entry < y.Entry {
				return -1
			}
			return 1
		}
		return slices.Compare([]string{x.Type, x.From, x.To, x.At}, []string{y.Type, y.From, y.To, y.At})
	})
}

// date tells when a use was: by the place of its entry in the log, and by what
// the entry claims. Where the two do not agree it is open.
func (a *asker) date(f Followed) (string, error) {
	if a.q.Verb != Unused || a.n == 0 && a.q.After == "" {
		return after, nil
	}
	undated := f.Tie.Undated
	if byActivity(f) {
		c, err := a.clockOf(f.Tie.Act)
		if err != nil {
			return "", err
		}
		undated = !c.dated
	}
	from, to := display(f.From), display(f.To)
	switch {
	case f.Entry >= a.n && undated:
		a.doubt("undated", f.From, []uint64{f.Entry}, "entry %d, recorded at or after T, says that %s used %s (%s), and not when", f.Entry, from, to, f.Type)
	case f.Entry >= a.n && f.At >= a.t:
		return after, nil
	case f.Entry >= a.n:
		a.doubt("late", f.From, []uint64{f.Entry}, "entry %d, recorded at or after T, says that %s used %s (%s) before T, at %s", f.Entry, from, to, f.Type, f.At)
	case f.At >= a.t && !undated:
		a.doubt("early", f.From, []uint64{f.Entry}, "entry %d, recorded before T, says that %s used %s (%s) at or after T, at %s", f.Entry, from, to, f.Type, f.At)
	default:
		ended, err := a.ended(f)
		if ended || err != nil {
			return before, err
		}
	}
	return open, nil
}

// byActivity tells whether it is the activity's clock that dates the tie.
func byActivity(f Followed) bool { return f.Tie.Act != "" && f.Tie.At == prov.Beginning }

// ended tells whether a use that began before T had ended by then, as far as
// was recorded before T. If not, it leaves a doubt.
func (a *asker) ended(f Followed) (bool, error) {
	from, to := display(f.From), display(f.To)
	if byActivity(f) {
		c, err := a.clockOf(f.Tie.Act)
		if err != nil {
			return false, err
		}
		switch {
		case c.end >= a.t:
			a.doubt("spans", f.From, []uint64{f.Entry}, "%s used %s and ran from before T until %s; when it read is not told", from, to, c.end)
			return false, nil
		case c.end == prov.Beginning && (c.running || c.entries[len(c.entries)-1] >= a.n):
			a.doubt("spans", f.From, []uint64{f.Entry}, "%s used %s and began before T; no entry recorded before T says that it had ended", from, to)
			return false, nil
		}
	}
	if f.Tie.Lasting {
		a.doubt("lasting", f.From, []uint64{f.Entry}, "%s and %s are tied (%s) from before T on; that this ended is not proved", from, to, f.Type)
		return false, nil
	}
	p := a.read[f.Entry].Placed
	if p == nil || f.From != p.ID {
		return true, nil
	}
	next, err := a.list(vindex.DeployedTo, p.Place)
	if err != nil {
		return false, err
	}
	for _, i := range next {
		if o := a.read[i].Placed; o.ID != p.ID && o.At > p.At && (i < a.n && o.At <= a.t || o.At == a.t) {
			return true, nil
		}
	}
	a.doubt("live", f.From, []uint64{f.Entry}, "%s (%s %s) was in place from before T on; no entry recorded before T ends it", from, f.Type, to)
	return false, nil
}

// members lists the closure.
func (a *asker) members() error {
	keys := slices.Clone(a.order)
	slices.SortFunc(keys, strings.Compare)
	worst := -1
	var err error
	for _, k := range keys {
		t := ThingOf(k)
		m := Member{Ref: t.Ref, Namespace: t.Namespace}
		if m.Names, err = a.namesOf(k); err != nil {
			return err
		}
		if isActivity(k) {
			c, err := a.clockOf(k)
			if err != nil {
				return err
			}
			if len(c.entries) > 0 {
				m.Inputs = c.class()
				worst = max(worst, rank(m.Inputs))
			}
		}
		a.answer.Members = append(a.answer.Members, m)
	}
	if worst >= 0 {
		a.answer.Weakest = Classes[worst]
	}
	return nil
}

// namesOf gives the names that entries give to content.
func (a *asker) namesOf(key string) ([]string, error) {
	if r, err := prov.ParseKey(key); err != nil || !r.IsDigest() {
		return nil, err
	}
	same, err := a.same(key)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, t := range same {
		if o := other(t, key); t.Named && seriesOf(o)+"@"+key != o {
			out = append(out, display(o))
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func isActivity(key string) bool {
	r, err := prov.ParseKey(key)
	return err == nil && r.Kind == prov.Activity
}
