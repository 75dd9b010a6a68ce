// Package formats lists the importers, in the order in which they are asked
// whether a file is theirs.
package formats

import (
	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/dvc"
	"github.com/stemma-lineage/stemma/internal/importer/huggingface"
	"github.com/stemma-lineage/stemma/internal/importer/openlineage"
	"github.com/stemma-lineage/stemma/internal/importer/weights"
)

// Options are what the importers need to know from the person who imports.
type Options struct{}

// All gives every importer.
func All(Options) []importer.Importer {
	return []importer.Importer{
		openlineage.Importer{},
		dvc.Importer{},
		huggingface.Importer{},
		weights.Importer{},
	}
}
