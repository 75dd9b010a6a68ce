package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/statement"
)

func closeCommand() *cobra.Command {
	c := &cobra.Command{Use: "close", Short: "Close the log: its last entry says so, and nothing is recorded after it", Args: exactly0,
		Example: "  stemma log close --reason \"end of 2026\"\n  cd ../2027 && stemma init --successor-of ../2026",
		Long:    "A closed log still takes orders of erasure, and holds. All questions about it are answered as before"}
	signFlags(c)
	c.Flags().String("reason", "", "why")
	c.Flags().Bool("yes", false, "do not ask")
	c.RunE = func(c *cobra.Command, _ []string) error {
		x, err := begin(c)
		if err != nil {
			return err
		}
		defer x.w.Close()
		if by, ok, err := x.w.Log.Closed(c.Context()); err != nil {
			return err
		} else if ok {
			fmt.Fprintf(c.OutOrStdout(), "entry %d closed it already\n", by)
			return nil
		}
		reason, _ := c.Flags().GetString("reason")
		if yes, _ := c.Flags().GetBool("yes"); !yes {
			return usage("nothing was closed: it cannot be undone, so say --yes")
		}
		a, err := x.w.CloseLog(c.Context(), x.key, reason, x.signers...)
		if err != nil {
			return err
		}
		h, err := x.w.Log.Head(c.Context())
		if err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "entry %d closes the log; its final checkpoint:\n%s", a.Index, h.Checkpoint)
		return nil
	}
	return c
}

// predecessor reads --successor-of: what the new log says of the one before,
// and where that is, as seen from the new workspace.
func predecessor(c *cobra.Command, dir string) (*statement.Predecessor, string, error) {
	of, _ := c.Flags().GetString("successor-of")
	if of == "" {
		return nil, "", nil
	}
	st, err := os.Stat(of)
	if err != nil {
		return nil, "", err
	}
	if !st.IsDir() {
		p, err := predecessorFile(c, of)
		return p, "", err
	}
	w, err := app.OpenIn(c.Context(), of, app.Options{})
	if err != nil {
		return nil, "", err
	}
	defer w.Close()
	p, err := app.PredecessorAt(c.Context(), w)
	if err != nil {
		return nil, "", err
	}
	where, err := filepath.Abs(of)
	if err != nil {
		return nil, "", err
	}
	if here, err := filepath.Abs(filepath.Join(dir, app.DirName)); err == nil {
		if r, err := filepath.Rel(here, where); err == nil {
			where = r
		}
	}
	return &p, where, nil
}

func predecessorFile(c *cobra.Command, file string) (*statement.Predecessor, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	v, err := logKey(c)
	if err != nil {
		return nil, err
	}
	h, err := evlog.ParseCheckpoint(text, v)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %v", app.ErrSuccession, file, err)
	}
	key, err := logKeyText(c)
	return &statement.Predecessor{Origin: v.Name(), Size: uint64(h.Size), Root: evlog.Hex(h.Root), Key: key, Checkpoint: string(text)}, err
}

func chainCommand() *cobra.Command {
	c := &cobra.Command{Use: "chain", Short: "The logs that this one continues, each checked", Args: exactly0,
		Example: "  stemma log chain\n  stemma log chain --predecessor /archive/2025 --predecessor /archive/2026",
		Long:    "Of each log that is here it is checked that it holds what it held when its successor began, and that it was closed then. Of one that is not, its successor's first entry has the checkpoint, signed by its key"}
	c.Flags().StringSlice("predecessor", nil, "a folder to look for earlier logs in")
	c.RunE = func(c *cobra.Command, _ []string) error {
		w, err := workspace(c)
		if err != nil {
			return err
		}
		defer w.Close()
		dirs, _ := c.Flags().GetStringSlice("predecessor")
		links, err := w.Chain(c.Context(), dirs...)
		out := c.OutOrStdout()
		for i, l := range links {
			fmt.Fprintf(out, "%s  %d entries, root %s\n", l.Origin, l.Size, l.Root)
			switch {
			case i == len(links)-1 && err != nil: // told below
			case l.Dir == "":
				fmt.Fprintln(out, "  ? it is not here: nothing but its checkpoint was checked; --predecessor DIR says where it is")
			case i == 0 && !l.Closed:
				fmt.Fprintln(out, "  ✓ open")
			case l.Orders > 0:
				fmt.Fprintf(out, "  ✓ closed, and as it was; %s since\n", counted(int(l.Orders), "order of erasure or hold", "orders of erasure or holds"))
			default:
				fmt.Fprintln(out, "  ✓ closed, and as it was")
			}
		}
		return err
	}
	return c
}
