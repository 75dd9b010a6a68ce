// Package formats lists the importers, in the order in which they are asked
// whether a file is theirs.
package formats

import (
	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/git"
	"github.com/stemma-lineage/stemma/internal/importer/githuboidc"
	"github.com/stemma-lineage/stemma/internal/importer/openlineage"
	"github.com/stemma-lineage/stemma/internal/importer/provjson"
)

// Options are what the importers need to know from the person who imports.
type Options struct{}

// All gives every importer.
func All(Options) []importer.Importer {
	return []importer.Importer{
		git.Importer{},
		githuboidc.Importer{},
		openlineage.Importer{},
		provjson.Importer{},
	}
}
