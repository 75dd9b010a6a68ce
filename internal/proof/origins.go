package proof

import (
	"slices"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/vindex"
)

// origins walks up from the focus.
func (a *asker) origins() error {
	if err := a.from(a.focus); err != nil {
		return err
	}
	for _, f := range a.found {
		a.answer.Uses = append(a.answer.Uses, a.use(f))
		if err := a.originDoubts(f); err != nil {
			return err
		}
	}
	for _, k := range a.order {
		if err := a.weakInputs(k); err != nil {
			return err
		}
	}
	if err := a.members(); err != nil {
		return err
	}
	a.sortUses()
	switch {
	case len(a.answer.Doubts) > 0:
		a.answer.Verdict = Inconclusive
	case len(a.found) == 0:
		a.answer.Verdict = ProvenAbsent
	default:
		a.answer.Verdict = ProvenComplete
	}
	return nil
}

// originDoubts tells which version an activity may have read instead of the
// one that its read is bound to.
func (a *asker) originDoubts(f Followed) error {
	t := f.Tie
	if !t.To.Floating || kindOf(t.To.Key) == prov.Column {
		return nil
	}
	g, err := a.groupOf(t.To.Key)
	if err != nil {
		return err
	}
	var unwritten []string
	for key, v := range g.byKey {
		if v.at == prov.Forever {
			unwritten = append(unwritten, key)
		}
	}
	slices.Sort(unwritten)
	for _, key := range unwritten {
		a.doubt("unwritten", key, []uint64{f.Entry}, "%s: the activity that wrote it did not complete, so reads of %s without a version are not tied to it", display(key), display(t.To.Key))
	}
	if t.Act == "" || t.At != prov.Beginning {
		if t.Undated {
			a.doubt("undated-read", f.From, []uint64{f.Entry}, "%s names %s without a version, and no entry says when", display(f.From), display(t.To.Key))
		}
		return nil
	}
	c, err := a.clockOf(t.Act)
	if err != nil {
		return err
	}
	if !c.dated {
		a.doubt("undated-read", f.From, []uint64{f.Entry}, "%s read %s without a version, and no entry says when", display(f.From), display(t.To.Key))
		return nil
	}
	for _, v := range g.versions {
		if v.key != f.To && v.at > c.read && (v.at <= c.end || c.end == prov.Beginning && c.running) && !slices.Contains(v.writers, t.Act) {
			a.doubt("overlap", f.From, []uint64{f.Entry}, "%s was written while %s ran, which read %s without a version; it may have read that", display(v.key), display(f.From), display(t.To.Key))
		}
	}
	return nil
}

// weakInputs tells of an activity that may have used more than is recorded.
func (a *asker) weakInputs(key string) error {
	if !isActivity(key) {
		return nil
	}
	c, err := a.clockOf(key)
	if err != nil {
		return err
	}
	if len(c.entries) > 0 && rank(c.class()) > a.accept {
		a.doubt("inputs", key, c.entries, "the inputs of %s are %s: what it may have read besides is not told", display(key), c.class())
	}
	return a.cuts(key)
}

// decisions lists what was decided on the things and on all their names.
func (a *asker) decisions() error {
	todo := slices.Clone(a.focus)
	for n := 0; n < len(todo); n++ {
		same, err := a.same(todo[n])
		if err != nil {
			return err
		}
		for _, t := range same {
			if o := other(t, todo[n]); !slices.Contains(todo, o) {
				todo = append(todo, o)
			}
		}
	}
	var entries []uint64
	for _, k := range todo {
		got, err := a.list(vindex.DecidedBy, k)
		if err != nil {
			return err
		}
		entries = append(entries, got...)
		a.full[k] = true
	}
	a.order = todo
	slices.Sort(entries)
	for _, i := range slices.Compact(entries) {
		if err := a.decision(i, a.read[i]); err != nil {
			return err
		}
	}
	if err := a.members(); err != nil {
		return err
	}
	switch {
	case len(a.answer.Doubts) > 0:
		a.answer.Verdict = Inconclusive
	case len(a.answer.Decisions) == 0:
		a.answer.Verdict = ProvenAbsent
	default:
		a.answer.Verdict = ProvenComplete
	}
	return nil
}

func (a *asker) decision(i uint64, r *vindex.Reading) error {
	d, p := r.Says, r.Says.Approval
	m := Made{Entry: i, Recorded: r.Recorded.String(), RecordedBy: r.By, Ref: display(d.ID), Decision: p.Decision, Review: p.Review,
		Approver: p.Approver, Role: p.Role, Environments: p.Environments, From: p.ValidFrom.String(), Until: p.ValidUntil.String()}
	if !d.Undated {
		m.At = d.At.String()
	}
	for _, k := range d.Of {
		m.Of = append(m.Of, display(k))
	}
	by, err := a.list(vindex.RevokedBy, d.ID)
	if err != nil {
		return err
	}
	m.RevokedBy = by
	a.answer.Decisions = append(a.answer.Decisions, m)
	return nil
}
