package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/importer/formats"
)

// listings are the formats whose files list all that a source has, so that
// what they list no more has ended.
var listings = []string{"aws", "gcp", "github", "kubernetes", "mcp", "scim", "spire"}

func inventoryFlags(c *cobra.Command, format string) {
	if format == "auto" || slices.Contains(listings, format) {
		c.Flags().Bool("partial", false, "of inventories: the listing was filtered or is one page, so what it does not list has not ended")
	}
	if format == "auto" || format == "kubernetes" {
		c.Flags().String("cluster", "", "of Kubernetes: the cluster's name, where there are several; names of its objects begin with it")
	}
}

func inventoryOptions(c *cobra.Command, o *formats.Options) error {
	o.Inventory.Event, _ = c.Flags().GetBool("partial")
	o.Cluster, _ = c.Flags().GetString("cluster")
	if strings.ContainsAny(o.Cluster, "/@ \t\n") {
		return usage("--cluster %q: a cluster's name has no /, @ or space; use the name that your kubeconfig gives it, without them", o.Cluster)
	}
	return nil
}
