// Package formats lists the importers, in the order in which they are asked
// whether a file is theirs.
package formats

import (
	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/a2a"
	"github.com/stemma-lineage/stemma/internal/importer/aws"
	"github.com/stemma-lineage/stemma/internal/importer/cyclonedx"
	"github.com/stemma-lineage/stemma/internal/importer/dvc"
	"github.com/stemma-lineage/stemma/internal/importer/gcp"
	"github.com/stemma-lineage/stemma/internal/importer/git"
	"github.com/stemma-lineage/stemma/internal/importer/github"
	"github.com/stemma-lineage/stemma/internal/importer/githuboidc"
	"github.com/stemma-lineage/stemma/internal/importer/huggingface"
	"github.com/stemma-lineage/stemma/internal/importer/intoto"
	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/jwt"
	"github.com/stemma-lineage/stemma/internal/importer/kubernetes"
	"github.com/stemma-lineage/stemma/internal/importer/mcp"
	"github.com/stemma-lineage/stemma/internal/importer/mlflow"
	"github.com/stemma-lineage/stemma/internal/importer/modelsigning"
	"github.com/stemma-lineage/stemma/internal/importer/openlineage"
	"github.com/stemma-lineage/stemma/internal/importer/otel"
	"github.com/stemma-lineage/stemma/internal/importer/provjson"
	"github.com/stemma-lineage/stemma/internal/importer/scim"
	"github.com/stemma-lineage/stemma/internal/importer/sigstore"
	"github.com/stemma-lineage/stemma/internal/importer/spdx"
	"github.com/stemma-lineage/stemma/internal/importer/spire"
	"github.com/stemma-lineage/stemma/internal/importer/vault"
	"github.com/stemma-lineage/stemma/internal/importer/vex"
	"github.com/stemma-lineage/stemma/internal/importer/weights"
	"github.com/stemma-lineage/stemma/statement"
)

// Options are what the importers need to know from the person who imports.
type Options struct {
	// Trust is what the signatures of evidence are checked against; nil trusts
	// nothing.
	Trust *sigstore.Trust
	// Signers are whose SSH keys sign commits and tags; nil: nobody's.
	Signers *statement.Trust
	// OpenPGP is a ring of public keys for commits and tags; nil: none.
	OpenPGP []byte
	// JWKS is the key set of the issuer of GitHub's workflow tokens; nil: none.
	JWKS []byte
	// MLflow tells of which server MLflow's data are, and from when.
	MLflow mlflow.Options
	// Inventory is how inventories of identities are read.
	Inventory inventory.Options
	// Cluster names the Kubernetes cluster, which its objects do not.
	Cluster string
}

// All gives every importer.
func All(o Options) []importer.Importer {
	return []importer.Importer{
		openlineage.Importer{},
		modelsigning.Importer{Trust: o.Trust},
		intoto.Importer{Options: intoto.Options{Trust: o.Trust}},
		sigstore.Importer{},
		mlflow.Importer{Options: o.MLflow},
		cyclonedx.Importer{},
		spdx.Importer{},
		vex.Importer{},
		otel.Importer{},
		git.Importer{Options: git.Options{Trust: o.Signers, OpenPGP: o.OpenPGP}},
		githuboidc.Importer{Options: githuboidc.Options{JWKS: o.JWKS}},
		provjson.Importer{},
		dvc.Importer{},
		huggingface.Importer{},
		weights.Importer{},
		aws.Importer{Options: o.Inventory},
		gcp.Importer{Options: o.Inventory},
		github.Importer{Options: o.Inventory},
		spire.Importer{Options: o.Inventory},
		scim.Importer{Options: o.Inventory},
		vault.Importer{Options: o.Inventory},
		kubernetes.Importer{Options: kubernetes.Options{Options: o.Inventory, Cluster: o.Cluster}},
		mcp.Importer{Options: o.Inventory},
		a2a.Importer{Options: o.Inventory},
		jwt.Importer{Options: o.Inventory},
	}
}
