package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/statement"
)

// withhold replaces the fields of --withhold in a statement, and keeps their
// disclosures as evidence that the statement names.
func (x *writing) withhold(c *cobra.Command, payload []byte) ([]byte, error) {
	fields, _ := c.Flags().GetStringSlice("withhold")
	if len(fields) == 0 {
		return payload, nil
	}
	out, list, err := statement.Withhold(payload, fields, func() ([]byte, error) {
		s := make([]byte, 16)
		_, err := rand.Read(s)
		return s, err
	})
	if err != nil {
		return nil, err
	}
	kept := []byte(strings.Join(list, "\n") + "\n")
	digest, err := x.w.Blobs.PutBytes(kept)
	if err != nil {
		return nil, err
	}
	return statement.AddEvidence(out, statement.Evidence{Digest: statement.DigestSet{"sha256": digest}, MediaType: statement.DisclosuresType, Size: int64(len(kept))})
}

// disclosed puts back into a payload what --disclosures gives.
func disclosed(c *cobra.Command, payload []byte) ([]byte, error) {
	name, _ := c.Flags().GetString("disclosures")
	if name == "" {
		return payload, nil
	}
	in := c.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, statement.MaxPayload+1))
	if err != nil {
		return nil, err
	}
	if len(b) > statement.MaxPayload {
		return nil, usage("%s: more than %d bytes", name, statement.MaxPayload)
	}
	out, left, err := statement.Reveal(payload, strings.Fields(string(b)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if left > 0 {
		c.PrintErrf("stemma: %s withheld\n", counted(left, "field stays", "fields stay"))
	}
	return out, nil
}

func discloseCommand() *cobra.Command {
	c := &cobra.Command{Use: "disclose ENTRY", Short: "Print the disclosures of fields that were withheld, to give to whom you choose", Args: exactly("an index"),
		Example: "  stemma log disclose 12 --field comment > comment.txt\n  stemma log entry 12 --statement --disclosures comment.txt",
		Long:    "Who is given a disclosure can check that it is the field that was signed. To take it away from all, erase the evidence that holds it with stemma log erase --blob"}
	c.Flags().StringSlice("field", nil, "only fields of this name (default: all)")
	c.RunE = func(c *cobra.Command, args []string) error {
		list, err := entryNumbers(args)
		if err != nil {
			return err
		}
		w, err := workspace(c)
		if err != nil {
			return err
		}
		defer w.Close()
		content, err := w.Log.Entry(c.Context(), list[0])
		if err != nil {
			return err
		}
		s, err := statement.ReadStored(content)
		if err != nil {
			return err
		}
		lines, err := disclosures(w.Blobs, s.Parsed)
		if err != nil {
			return fmt.Errorf("entry %d: %w", list[0], err)
		}
		fields, _ := c.Flags().GetStringSlice("field")
		found := 0
		for _, d := range lines {
			name, err := statement.DisclosureName(d)
			if err != nil {
				return err
			}
			if len(fields) == 0 || slices.Contains(fields, name) {
				found++
				fmt.Fprintln(c.OutOrStdout(), d)
			}
		}
		if found == 0 {
			return fmt.Errorf("%w: no field %s of entry %d is withheld", evlog.ErrNotFound, strings.Join(fields, ", "), list[0])
		}
		return nil
	}
	return c
}

// disclosures reads those that are kept of a statement.
func disclosures(blobs evlog.Blobs, p statement.Parsed) (out []string, err error) {
	if p.Statement == nil || p.Statement.Predicate == nil {
		return nil, errors.New("it says nothing that is understood")
	}
	for _, e := range statement.EvidenceOf(p.Statement.Predicate) {
		if e.MediaType != statement.DisclosuresType {
			continue
		}
		r, err := blobs.Open(e.Digest["sha256"])
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(io.LimitReader(r, statement.MaxPayload))
		r.Close()
		if err != nil {
			return nil, err
		}
		for _, l := range bytes.Fields(b) {
			out = append(out, string(l))
		}
	}
	return out, nil
}
