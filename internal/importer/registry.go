package importer

import (
	"maps"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// RegistryState is what the aliases of one series in a registry pointed at
// when somebody looked, where the source itself tells no time at which they
// changed. Its At is no part of the evidence, so that what follows from it is
// recorded only where it tells something new: whoever imports records and
// folds the statements of an Item, and then those of [RegistryState.Changes].
type RegistryState struct {
	Registry string
	Series   prov.Ref
	At       statement.Time      // when somebody looked
	Aliases  map[string]prov.Ref // every alias of the series
	Evidence statement.Evidence  // what the state was read from
}

// Known tells what the aliases of a series in a registry pointed at, at an
// instant, as far as the log says.
type Known func(registry string, series prov.Ref, at prov.Instant) map[string]prov.Ref

// Changes gives a snapshot of the aliases where what is known of that time
// differs from the state, and nothing where the two agree.
func (s RegistryState) Changes(known Known) []Draft {
	if s.At.IsZero() || maps.Equal(known(s.Registry, s.Series, prov.At(s.At.Time)), s.Aliases) {
		return nil
	}
	d := s.Snapshot()
	d.Predicate.(*statement.Registry).Evidence = []statement.Evidence{s.Evidence}
	return []Draft{d}
}

// Snapshot gives the statement of the whole state, without its evidence.
func (s RegistryState) Snapshot() Draft {
	p := &statement.Registry{Mode: "snapshot", Registry: s.Registry, Name: s.Series.String(), Namespace: s.Series.Namespace, At: s.At}
	for name, to := range s.Aliases {
		if p.Aliases == nil {
			p.Aliases = map[string]statement.Resource{}
		}
		p.Aliases[name] = statement.NewResource(to, nil)
	}
	return Draft{Subjects: []statement.Subject{statement.NewSubject(s.Series, nil)}, Predicate: p}
}
