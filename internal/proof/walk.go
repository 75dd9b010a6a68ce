package proof

import (
	"slices"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/vindex"
)

// lineage are the relations that the walk follows: those of a closure.
var lineage = prov.Relations(prov.Used, prov.GeneratedBy, prov.GeneratedByStated, prov.DerivedFrom, prov.SameAs,
	prov.HadPlan, prov.AssociatedWith, prov.ActedOnBehalfOf, prov.Deployed, prov.RunsAs, prov.AuthenticatesWith,
	prov.CallsTool, prov.UsesPrompt, prov.GovernedBy, prov.ReadsSecret)

// walk is one closure. Lists and bindings are read when they are met.
type walk struct {
	*log
	down   bool
	clocks map[string]*clock
	groups map[string]*group

	order []string         // the members, as they were reached
	full  map[string]bool  // reached in full; false: in part
	ties  map[tieKey]bool  // that were followed
	found []Followed       // the ties that were followed, in their order
	gone  map[string][]Cut // by activity: what was not followed, for its derivations are stated
}

// Followed is a tie that a closure follows.
type Followed struct {
	Entry    uint64
	Type     prov.RelationType
	From, To string // keys; To as it is bound
	At       prov.Instant
	Tie      vindex.Tie
}

// Cut is a tie that is not followed.
type Cut struct {
	Entry uint64
	To    string
}

type tieKey struct {
	entry    uint64
	typ      prov.RelationType
	from, to string
	at       prov.Instant
}

func newWalk(l *log, down bool) *walk {
	return &walk{log: l, down: down, clocks: map[string]*clock{}, groups: map[string]*group{},
		full: map[string]bool{}, ties: map[tieKey]bool{}, gone: map[string][]Cut{}}
}

type step struct {
	key  string
	part bool
}

// from walks the closure of the things.
func (w *walk) from(focus []string) error {
	var todo []step
	seen := map[step]bool{}
	add := func(s step) {
		if !seen[s] && !seen[step{s.key, false}] {
			seen[s] = true
			todo = append(todo, s)
			if _, ok := w.full[s.key]; !ok {
				w.order = append(w.order, s.key)
			}
			w.full[s.key] = w.full[s.key] || !s.part
		}
	}
	for _, k := range focus {
		add(step{k, false})
	}
	for n := 0; n < len(todo); n++ {
		s := todo[n]
		if s.part && w.full[s.key] {
			continue // it was reached in full meanwhile
		}
		same, err := w.same(s.key)
		if err != nil {
			return err
		}
		for _, t := range same {
			add(step{other(t, s.key), false})
		}
		next, err := w.next(s.key)
		if err != nil {
			return err
		}
		// Whoever comes to an activity by an output with stated derivations does
		// not go on by what it used, and the other way round.
		in, out := prov.GeneratedByStated, prov.Used
		if w.down {
			in, out = out, in
		}
		for _, f := range next {
			to := f.To
			if w.down {
				to = f.From
			}
			if s.part && f.Type == out {
				w.gone[s.key] = append(w.gone[s.key], Cut{f.Entry, to})
				continue
			}
			if k := (tieKey{f.Entry, f.Type, f.From, f.To, f.At}); !w.ties[k] {
				w.ties[k] = true
				w.found = append(w.found, f)
			}
			add(step{to, f.Type == in})
		}
	}
	return nil
}

// same gives the SameAs ties of a thing.
func (w *walk) same(key string) ([]vindex.Tie, error) {
	entries, err := w.list(vindex.TiedTo, key)
	if err != nil {
		return nil, err
	}
	var out []vindex.Tie
	for _, i := range entries {
		for _, t := range w.read[i].Ties {
			if t.Type == prov.SameAs && (t.From == key || t.To.Key == key) {
				out = append(out, t)
			}
		}
	}
	return out, nil
}

func (w *walk) next(key string) ([]Followed, error) {
	if w.down {
		return w.into(key)
	}
	return w.outOf(key)
}

// outOf gives the ties from a thing.
func (w *walk) outOf(key string) ([]Followed, error) {
	entries, err := w.list(vindex.About, key)
	if err != nil {
		return nil, err
	}
	var out []Followed
	for _, i := range entries {
		for _, t := range w.read[i].Ties {
			if t.From != key || t.Type == prov.SameAs || !lineage.Has(t.Type) {
				continue
			}
			to, err := w.target(t)
			if err != nil {
				return nil, err
			}
			if out, err = w.follow(out, i, t, to); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// into gives the ties to a thing: those that name it, those that name its
// series and are bound to it, and the outputs of an activity.
func (w *walk) into(key string) ([]Followed, error) {
	names, err := w.readAs(key)
	if err != nil {
		return nil, err
	}
	var out []Followed
	add := func(i uint64, t vindex.Tie) error {
		if t.Type == prov.SameAs || !lineage.Has(t.Type) || !slices.Contains(names, t.To.Key) || t.To.Key != key && !t.To.Floating {
			return nil
		}
		to, err := w.target(t)
		if err == nil && to == key {
			out, err = w.follow(out, i, t, to)
		}
		return err
	}
	var all []uint64
	for _, name := range names {
		entries, err := w.list(vindex.UsedBy, name)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
	}
	if r, err := prov.ParseKey(key); err == nil && r.Kind == prov.Activity {
		entries, err := w.list(vindex.About, key)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
	}
	slices.Sort(all)
	for _, i := range slices.Compact(all) {
		for _, t := range w.read[i].Ties {
			if err := add(i, t); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func (w *walk) follow(out []Followed, i uint64, t vindex.Tie, to string) ([]Followed, error) {
	at, err := w.when(t)
	return append(out, Followed{i, t.Type, t.From, to, at, t}), err
}

// readAs gives the names by which a thing may have been read: its own, and
// those of all series that are the same as its series.
func (w *walk) readAs(key string) ([]string, error) {
	out := []string{key}
	r, err := prov.ParseKey(key)
	if err != nil {
		return nil, err
	}
	if r.Version == "" {
		return out, nil
	}
	dataset, field, column := r.SplitColumn()
	series := r.Series()
	if column {
		series = dataset.Series()
	}
	g, err := w.groupOf(series.Key())
	if err != nil {
		return nil, err
	}
	for _, s := range g.series {
		if column {
			sr, err := prov.ParseKey(s)
			if err != nil {
				return nil, err
			}
			s = prov.ColumnOf(sr, field).Key()
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out, nil
}

// Closure gives the keys of what was made with some things, or of what they
// were made from, they themselves included, in the order in which they are
// reached, as the first size entries tell.
func Closure(src Source, focus []string, down bool, size uint64) ([]string, error) {
	w := newWalk(newLog(src, size), down)
	if err := w.from(focus); err != nil {
		return nil, err
	}
	if err := w.check(); err != nil {
		return nil, err
	}
	return w.order, nil
}
