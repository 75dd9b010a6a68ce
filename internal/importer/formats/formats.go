// Package formats lists the importers, in the order in which they are asked
// whether a file is theirs.
package formats

import (
	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/git"
	"github.com/stemma-lineage/stemma/internal/importer/githuboidc"
	"github.com/stemma-lineage/stemma/internal/importer/openlineage"
	"github.com/stemma-lineage/stemma/internal/importer/provjson"
	"github.com/stemma-lineage/stemma/statement"
)

// Options are what the importers need to know from the person who imports.
type Options struct {
	Trust   *statement.Trust // whose SSH keys sign commits and tags; nil: nobody's
	OpenPGP []byte           // a ring of public keys for commits and tags; nil: none
	JWKS    []byte           // the key set of GitHub's token issuer; nil: none
}

// All gives every importer.
func All(o Options) []importer.Importer {
	return []importer.Importer{
		git.Importer{Options: git.Options{Trust: o.Trust, OpenPGP: o.OpenPGP}},
		githuboidc.Importer{Options: githuboidc.Options{JWKS: o.JWKS}},
		openlineage.Importer{},
		provjson.Importer{},
	}
}
