package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/stemma-lineage/stemma/bundle"
	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/internal/proof"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

func bundleCommand() *cobra.Command {
	c := &cobra.Command{Use: "bundle why|blast|history REF", Short: "Export an answer with all that is needed to verify it",
		Example: "  stemma bundle why model:fraud@1 -o fraud.zip\n  stemma bundle history service:fraud-scoring --at 2026-03-15 -o service.zip",
		Long:    "The bundle proves that each entry in it is in the log, and that the answer is what these entries say. It does not prove that nothing was left out.",
		Args:    exactly("a question (why, blast, history)", "one REF")}
	c.Flags().StringP("output", "o", "", "the file to write (required)")
	c.Flags().String("at", "", "as it was at this time")
	c.Flags().String("known", "", "as it was known at this time or log size")
	c.Flags().String("since", "", "blast of a series: only versions written then or later")
	limitFlags(c, "depth", "limit", "kind", "relation")
	c.RunE = func(c *cobra.Command, args []string) error {
		switch args[0] {
		case "why", "blast", "history":
		default:
			return usage("no bundle can be made of the question %q; use why, blast or history", args[0])
		}
		file, _ := c.Flags().GetString("output")
		if file == "" {
			return usage("-o is missing; name the file to write")
		}
		w, err := workspace(c)
		if err != nil {
			return err
		}
		defer w.Close()
		g, _, err := w.Graph(c.Context())
		if err != nil {
			return err
		}
		v, err := view(c, w, g, "at", "known")
		if err != nil {
			return err
		}
		opt, err := options(c)
		if err != nil {
			return err
		}
		q := query.Question{Verb: args[0], Refs: args[1:], Depth: opt.Depth, Limit: opt.Limit, Valid: v.AsOf().Valid.String(), Known: v.AsOf().Known}
		if opt.Since != 0 {
			q.Since = opt.Since.String()
		}
		q.Relations, _ = c.Flags().GetStringSlice("relation")
		q.Kinds, _ = c.Flags().GetStringSlice("kind")
		b, a, err := w.Bundle(c.Context(), q)
		if err != nil {
			return err
		}
		if err := durable.WriteFile(file, b, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "wrote %s: %d bytes; it proves what is in it, not that nothing was left out\n", file, len(b))
		fmt.Fprintf(c.OutOrStdout(), "log of %d entries; to verify: stemma verify %s --log-key '%s'\n", a.LogSize, file, w.Log.Key())
		return nil
	}
	return c
}

func verifyCommand() *cobra.Command {
	c := &cobra.Command{Use: "verify FILE.zip", Short: "Verify a bundle, offline, with the log's public key",
		Example: "  stemma verify fraud.zip --log-key 'acme.example/fraud+1a2b3c4d+…'\n  stemma verify fraud.zip --log-key log.pub --trust keys.txt", Args: exactly("one bundle file")}
	c.Flags().String("log-key", "", "the log's public key, or a file that holds it (required)")
	c.Flags().String("trust", "", "your own trust list, to say who signed")
	c.Flags().Bool("answer", false, "print the answer that was verified")
	c.RunE = func(c *cobra.Command, args []string) error {
		v, err := logKey(c)
		if err != nil {
			return err
		}
		var own *statement.Trust
		if name, _ := c.Flags().GetString("trust"); name != "" {
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			if own, err = statement.ParseTrust(text); err != nil {
				return usageError{fmt.Errorf("%s: %w", name, err)}
			}
		}
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, bundle.MaxSize+1))
		if err != nil {
			return err
		}
		res, err := bundle.Verify(data, v, own)
		if err != nil {
			fmt.Fprintln(c.OutOrStdout(), proof.Unverifiable)
			return fmt.Errorf("%s: %w", args[0], err)
		}
		return verified(c, v, res)
	}
	return c
}

func verified(c *cobra.Command, v note.Verifier, res *bundle.Result) error {
	out := c.OutOrStdout()
	if res.Proof != nil {
		return verifiedProof(c, res)
	}
	fmt.Fprintf(out, "verified: %s %s\n", res.Answer.Question.Verb, strings.Join(res.Answer.Question.Refs, " "))
	fmt.Fprintf(out, "  log         %s, %d entries, root %x\n", v.Name(), res.Size, res.Root[:])
	fmt.Fprintf(out, "  entries     %d, each in the log; the answer is what they say\n", res.Entries)
	fmt.Fprintf(out, "  signatures  %s\n", res.Signers)
	if res.Trusted != "" {
		fmt.Fprintf(out, "  by your own list: %s\n", strings.Replace(res.Trusted, "(names of keys as in the file trust)", "", 1))
	}
	fmt.Fprintf(out, "  not proved  that no other entry of the log would change the answer\n")
	fmt.Fprintf(out, "              a bundle of stemma prove proves that too\n")
	if show, _ := c.Flags().GetBool("answer"); show {
		b, err := reportText(res.Answer)
		if err != nil {
			return err
		}
		_, err = out.Write(b)
		return err
	}
	return nil
}

func logKey(c *cobra.Command) (note.Verifier, error) {
	key, _ := c.Flags().GetString("log-key")
	if key == "" {
		return nil, usage("--log-key is missing; take the log's public key from a source that you trust, not from the bundle")
	}
	if b, err := os.ReadFile(key); err == nil {
		key = strings.TrimSpace(string(b))
	}
	v, err := note.NewVerifier(key)
	if err != nil {
		return nil, usage("--log-key: neither a file nor a log's public key (NAME+HASH+KEY): %v", err)
	}
	return v, nil
}

var errFsck = errors.New("the log is not as it should be")

func logCommand() *cobra.Command {
	c := &cobra.Command{Use: "log", Short: "The log itself: size, checkpoint, entries, check, export, seal, publish", Args: cobra.ArbitraryArgs,
		Example: "  stemma log size\n  stemma log checkpoint\n  stemma log entry 12\n  stemma log fsck\n  stemma log export DIR\n  stemma log seal\n  stemma log publish",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("stemma log has no %q; stemma log --help lists what it has", args[0])
			}
			return c.Help()
		}}
	sub := func(use, short string, args cobra.PositionalArgs, f func(c *cobra.Command, w *app.Workspace, args []string) error) *cobra.Command {
		s := &cobra.Command{Use: use, Short: short, Args: args, RunE: func(c *cobra.Command, args []string) error {
			w, err := workspace(c)
			if err != nil {
				return err
			}
			defer w.Close()
			return f(c, w, args)
		}}
		c.AddCommand(s)
		return s
	}
	sub("size", "How many entries it holds", exactly0, func(c *cobra.Command, w *app.Workspace, _ []string) error {
		h, err := w.Log.Head(c.Context())
		if err == nil {
			fmt.Fprintln(c.OutOrStdout(), h.Size)
		}
		return err
	})
	sub("checkpoint", "The newest signed checkpoint, and who cosigned it", exactly0, logCheckpoint)
	entry := sub("entry N", "One entry as it stands there", exactly("an index"), logEntry)
	entry.Flags().Bool("statement", false, "print the statement in it instead")
	sub("fsck", "Compute all that is derived anew and compare", exactly0, logFsck)
	sub("export DIR", "Write it as C2SP tlog-tiles", exactly("a folder"), func(c *cobra.Command, w *app.Workspace, args []string) error {
		h, err := w.Export(c.Context(), args[0])
		if err == nil {
			fmt.Fprintf(c.OutOrStdout(), "exported %d entries to %s\n", h.Size, args[0])
		}
		return err
	})
	witnessingCommands(c, sub)
	c.AddCommand(sealCommand())
	return c
}

func logEntry(c *cobra.Command, w *app.Workspace, args []string) error {
	var n uint64
	if _, err := fmt.Sscanf(args[0], "%d", &n); err != nil || fmt.Sprint(n) != args[0] {
		return usage("%q is no index; write a number such as 12", args[0])
	}
	content, err := w.Log.Entry(c.Context(), n)
	if err != nil {
		return err
	}
	if st, _ := c.Flags().GetBool("statement"); st {
		e, err := statement.ParseEntry(content)
		if err != nil {
			return err
		}
		env, err := statement.ParseEnvelope(e.Envelope)
		if err != nil {
			return err
		}
		content = env.Payload
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s\n", content)
	return err
}

func logFsck(c *cobra.Command, w *app.Workspace, _ []string) error {
	r, err := w.Log.Fsck(c.Context(), nil)
	if err != nil {
		return err
	}
	n, bad, err := w.Blobs.Fsck()
	if err != nil {
		return err
	}
	r.Findings = append(r.Findings, bad...)
	stale, err := w.CheckSnapshot(c.Context())
	if err != nil {
		return err
	}
	r.Findings = append(r.Findings, stale...)
	if err := w.CheckIndex(c.Context(), app.IndexKeys); err != nil {
		r.Findings = append(r.Findings, "index: "+err.Error())
	}
	fmt.Fprintf(c.OutOrStdout(), "%d entries, %d tiles, %d pieces of evidence\n", r.Entries, r.Tiles, n)
	for _, f := range r.Findings {
		fmt.Fprintf(c.OutOrStdout(), "✗ %s\n", f)
	}
	if len(r.Findings) > 0 {
		return fmt.Errorf("%w: %d findings; keep the directory as it is for the inquiry, and restore a backup elsewhere", errFsck, len(r.Findings))
	}
	fmt.Fprintln(c.OutOrStdout(), "✓ all is as it should be")
	return nil
}

func knownRef(s string) (prov.Ref, error) {
	r, err := prov.ParseRef(s)
	if err != nil {
		return r, usageError{err}
	}
	return r, nil
}
