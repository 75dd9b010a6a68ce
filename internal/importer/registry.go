package importer

import (
	"maps"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// RegistryState is what a source shows of the aliases and stages of one series
// in a registry. The statements of an Item say what points where; that an
// alias points at nothing any more shows only against what was known before.
//
// Whoever imports records and folds the statements of an Item first, and then
// those of [RegistryState.Changes].
type RegistryState struct {
	Registry string
	Series   prov.Ref
	// At is when the source showed it: what the source says, or else the
	// newest time that is found in it. What the log says of later times is
	// left alone, so that an old copy that is read late undoes nothing.
	At statement.Time
	// Aliases holds every alias of the series; nil where the source does not
	// list them.
	Aliases map[string]prov.Ref
	// Stages holds the stage of each version that the source shows, "" for a
	// version in none; nil where it does not tell stages.
	Stages map[prov.Ref]string
	// Evidence is what the state was read from.
	Evidence statement.Evidence
}

// Pointing is what an alias or stage is known to point at.
type Pointing struct {
	Alias string
	Stage bool
	To    prov.Ref
}

// Known tells what the aliases and stages of a series in a registry pointed at
// at an instant, as far as the log says.
type Known func(registry string, series prov.Ref, at prov.Instant) []Pointing

// Changes gives the statements that make what is known agree with the state:
// removals of what it no longer shows, and what points elsewhere than is
// known. Where they agree it gives nothing.
func (s RegistryState) Changes(known Known) []Draft {
	if s.At.IsZero() {
		return nil
	}
	var out []Draft
	alias, stage := map[string]prov.Ref{}, map[prov.Ref]string{}
	for _, p := range known(s.Registry, s.Series, prov.At(s.At.Time)) {
		switch {
		case !p.Stage:
			alias[p.Alias] = p.To
			if _, ok := s.Aliases[p.Alias]; !ok && s.Aliases != nil {
				out = append(out, s.draft(p, true))
			}
		default:
			stage[p.To] = p.Alias
			if now, ok := s.Stages[p.To]; ok && now == "" {
				out = append(out, s.draft(p, true))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Aliases)) {
		if to := s.Aliases[name]; alias[name] != to {
			out = append(out, s.draft(Pointing{Alias: name, To: to}, false))
		}
	}
	for _, to := range slices.SortedFunc(maps.Keys(s.Stages), compareRefs) {
		if now := s.Stages[to]; now != "" && stage[to] != now {
			out = append(out, s.draft(Pointing{Alias: now, Stage: true, To: to}, false))
		}
	}
	return out
}

func compareRefs(a, b prov.Ref) int { return strings.Compare(a.Key(), b.Key()) }

func (s RegistryState) draft(p Pointing, removed bool) Draft {
	return Draft{
		Subjects: []statement.Subject{statement.NewSubject(p.To, nil)},
		Predicate: &statement.Registry{
			Registry: s.Registry, Name: s.Series.String(), Namespace: s.Series.Namespace,
			Alias: p.Alias, Stage: p.Stage, Removed: removed, At: s.At,
			Evidence: []statement.Evidence{s.Evidence},
		},
	}
}
