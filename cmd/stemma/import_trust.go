package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/internal/importer/formats"
	"github.com/stemma-lineage/stemma/internal/importer/sigstore"
)

// maxTrustFile is the largest file of a root, key or certificate, in bytes.
const maxTrustFile = 16 << 20

func importTrustCommand() *cobra.Command {
	return &cobra.Command{Use: "trust [FILE…]", Short: "Keep roots, keys and certificates that signatures of evidence are checked with, or list them",
		Example: "  stemma import trust trusted_root.json\n  stemma import trust",
		Long:    "What a file is shows in its content: a Sigstore trusted root, public keys or certificates in PEM, an OpenPGP ring of public keys (for commits and tags), a JSON Web Key Set (for GitHub's workflow tokens), or a policy of identities. They are kept in .stemma/roots and used by every import. Nothing is trusted because it lies beside what it would verify. The SSH keys of people who sign commits are those of stemma key trust.",
		RunE: func(c *cobra.Command, args []string) error {
			w, err := workspace(c)
			if err != nil {
				return err
			}
			defer w.Close()
			if len(args) == 0 {
				files, err := keptTrust(w)
				for _, f := range files {
					fmt.Fprintln(c.OutOrStdout(), f)
				}
				return err
			}
			return keepTrust(c, w, args)
		}}
}

func keepTrust(c *cobra.Command, w *app.Workspace, names []string) error {
	dir := filepath.Join(w.Dir, "roots")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		f, err := readTrust(name)
		if err != nil {
			return err
		}
		if err := new(formats.Options).AddTrust(f); err != nil {
			return usageError{err}
		}
		sum := sha256.Sum256(f.Data)
		kept := filepath.Join(dir, hex.EncodeToString(sum[:6])+"-"+filepath.Base(name))
		if err := durable.WriteFile(kept, f.Data, 0o644); err != nil {
			return err
		}
		fmt.Fprintln(c.OutOrStdout(), kept)
	}
	return nil
}

func keptTrust(w *app.Workspace) ([]string, error) {
	list, err := os.ReadDir(filepath.Join(w.Dir, "roots"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, e := range list {
		out = append(out, filepath.Join(w.Dir, "roots", e.Name()))
	}
	return out, err
}

func readTrust(name string) (sigstore.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return sigstore.File{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxTrustFile+1))
	if err == nil && len(data) > maxTrustFile {
		err = usage("%s is larger than %d bytes, so it is no root, key or certificate", name, maxTrustFile)
	}
	return sigstore.File{Name: name, Data: data}, err
}

// addTrust adds to the options what signatures of evidence are checked with:
// the workspace's trust list, what is kept and what --trust names.
func addTrust(c *cobra.Command, w *app.Workspace, o *formats.Options) error {
	names, err := keptTrust(w)
	if err != nil {
		return err
	}
	more, _ := c.Flags().GetStringArray("trust")
	var files []sigstore.File
	for _, name := range append(names, more...) {
		f, err := readTrust(name)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	o.Signers = w.Trust
	if err := o.AddTrust(files...); err != nil {
		return usageError{err}
	}
	return nil
}
