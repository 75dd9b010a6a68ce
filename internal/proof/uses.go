package proof

import (
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/prov"
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
	t := f.Tie
	undated, until := t.Undated, prov.Beginning
	if t.Act != "" && t.At == prov.Beginning {
		c, err := a.clockOf(t.Act)
		if err != nil {
			return "", err
		}
		undated = !c.dated
		switch {
		case c.end != prov.Beginning:
			until = c.end
		case c.running || len(c.entries) > 0 && c.entries[len(c.entries)-1] >= a.n:
			until = prov.Forever
		}
	}
	from := display(f.From)
	switch {
	case f.Entry >= a.n && undated:
		a.doubt("undated", f.From, []uint64{f.Entry}, "entry %d, recorded at or after T, says that %s used %s (%s), and not when", f.Entry, from, display(f.To), f.Type)
	case f.Entry >= a.n && f.At >= a.t:
		return after, nil
	case f.Entry >= a.n:
		a.doubt("late", f.From, []uint64{f.Entry}, "entry %d, recorded at or after T, says that %s used %s (%s) before T, at %s", f.Entry, from, display(f.To), f.Type, f.At)
	case f.At >= a.t && !undated:
		a.doubt("early", f.From, []uint64{f.Entry}, "entry %d, recorded before T, says that %s used %s (%s) at or after T, at %s", f.Entry, from, display(f.To), f.Type, f.At)
	case until == prov.Forever:
		a.doubt("spans", f.From, []uint64{f.Entry}, "%s used %s and began before T; no entry recorded before T says that it had ended", from, display(f.To))
	case until >= a.t:
		a.doubt("spans", f.From, []uint64{f.Entry}, "%s used %s and ran from before T until %s; when it read is not told", from, display(f.To), until)
	default:
		return before, nil
	}
	return open, nil
}

// members lists the closure.
func (a *asker) members() error {
	keys := slices.Clone(a.order)
	slices.SortFunc(keys, strings.Compare)
	worst := -1
	for _, k := range keys {
		t := ThingOf(k)
		m := Member{Ref: t.Ref, Namespace: t.Namespace}
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

func isActivity(key string) bool {
	r, err := prov.ParseKey(key)
	return err == nil && r.Kind == prov.Activity
}
