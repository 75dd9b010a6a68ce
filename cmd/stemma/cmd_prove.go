package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/bundle"
	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/internal/proof"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

func proveCommand() *cobra.Command {
	c := &cobra.Command{Use: "prove unused|blast|why|approvals REF", Short: "Prove an answer, and that nothing was left out of it",
		Example: `  stemma prove unused dataset:transactions@2026-03 --after 2026-03-15 -o unused.zip
  stemma prove blast dataset:transactions@2026-03 -o blast.zip
  stemma prove why model:fraud@1 -o why.zip
  stemma prove approvals model:fraud@1 -o approvals.zip
  stemma verify unused.zip --log-key log.pub`,
		Long: `The bundle proves that no entry of the log was left out: it holds the complete list of entries for every step, or the proof that there is none. It is about what was recorded, and says how completely the activities that it met state their inputs.

The verdicts are PROVEN-ABSENT, PROVEN-NOT-AFTER, PROVEN-COMPLETE, USED and INCONCLUSIVE. unused ends with exit code 10 for USED and 11 for INCONCLUSIVE.

The newest entry of the log must tell the root of its index. If it does not, one is appended first, signed with the log's own key`,
		Args: exactly("a question (unused, blast, why, approvals)", "one REF")}
	c.Flags().StringP("output", "o", "", "the file to write the bundle to (without it the answer is only printed)")
	c.Flags().String("after", "", "unused: from this time, or log size, on (default: ever)")
	c.Flags().String("accept", statement.Observed, "the weakest class of inputs that is taken as complete: "+strings.Join(proof.Classes, ", "))
	c.Flags().Bool("exact", false, "prove it of REF as it is written, although no entry names it")
	c.Flags().Bool("no-seal", false, "append nothing; fail if the newest entry does not tell the root of the index")
	c.RunE = prove
	return c
}

func prove(c *cobra.Command, args []string) error {
	q, err := proveQuestion(c, args)
	if err != nil {
		return err
	}
	w, err := workspace(c)
	if err != nil {
		return err
	}
	defer w.Close()
	exact, _ := c.Flags().GetBool("exact")
	if q.Thing, q.Versions, err = provable(c, w, q.Verb, args[1], exact); err != nil {
		return err
	}
	sealed, err := seal(c, w)
	if err != nil {
		return err
	}
	if err := moment(c, w, &q, sealed); err != nil {
		return err
	}
	b, a, text, err := w.Prove(c.Context(), q, sealed)
	if errors.Is(err, proof.ErrQuestion) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	out := c.OutOrStdout()
	fmt.Fprint(out, text)
	if file, _ := c.Flags().GetString("output"); file != "" {
		if err := durable.WriteFile(file, b, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(out, "wrote %s: %d bytes; to verify: stemma verify %s --log-key '%s'\n", file, len(b), file, w.Log.Key())
	} else {
		fmt.Fprintf(out, "no bundle was written; -o FILE writes what others can verify\n")
	}
	switch {
	case q.Verb == proof.Unused && a.Verdict == proof.Used:
		return errDenied
	case q.Verb == proof.Unused && a.Verdict == proof.Inconclusive:
		return errUndecided
	}
	return nil
}

// proveQuestion reads what does not need the log.
func proveQuestion(c *cobra.Command, args []string) (proof.Question, error) {
	var q proof.Question
	if !slices.Contains(proof.Verbs, args[0]) {
		return q, usage("%q cannot be proved; the questions are %s", args[0], strings.Join(proof.Verbs, ", "))
	}
	q.Verb = args[0]
	q.Accept, _ = c.Flags().GetString("accept")
	if !slices.Contains(proof.Classes, q.Accept) {
		return q, usage("--accept: %q is no class; the classes are %s", q.Accept, strings.Join(proof.Classes, ", "))
	}
	s, _ := c.Flags().GetString("after")
	if s == "" {
		return q, nil
	}
	if q.Verb != proof.Unused {
		return q, usage("--after belongs to the question unused; %s is about all times", q.Verb)
	}
	if n, err := strconv.ParseUint(s, 10, 63); err == nil {
		q.Size = n
		return q, nil
	}
	t, err := prov.ParseTime(s)
	if err != nil {
		return q, usage("--after: %v, or a log size", err)
	}
	q.After = prov.At(t).String()
	return q, nil
}

// moment finds out how many entries were recorded before T.
func moment(c *cobra.Command, w *app.Workspace, q *proof.Question, sealed uint64) error {
	if q.After == "" {
		if q.Size > sealed {
			return usage("--after: the log has %d entries, not %d", sealed, q.Size)
		}
		return nil
	}
	t, err := prov.ParseTime(q.After)
	if err != nil {
		return err
	}
	n, err := w.SizeBefore(c.Context(), t)
	q.Size = min(n, sealed)
	return err
}

// provable finds the one thing that a text names, and whether it is a series.
func provable(c *cobra.Command, w *app.Workspace, verb, text string, exact bool) (proof.Thing, bool, error) {
	g, _, err := w.Graph(c.Context())
	if err != nil {
		return proof.Thing{}, false, err
	}
	versions := query.All
	if verb == proof.Why {
		versions = query.One
	}
	ids, err := query.Resolve(g.At(prov.Now), text, versions)
	if errors.Is(err, query.ErrNotFound) && exact {
		ref, err := knownRef(text)
		return proof.ThingOf(ref.Key()), verb != proof.Why && ref.Version == "" && ref.Kind.Versioned(), err
	}
	if errors.Is(err, query.ErrNotFound) {
		return proof.Thing{}, false, fmt.Errorf("%w; --exact proves it of a name that no entry has", err)
	}
	if err != nil {
		return proof.Thing{}, false, err
	}
	ref := g.At(prov.Now).Ref(ids[0])
	if verb == proof.Why && (ref.Kind == prov.Service || ref.Kind == prov.Environment) {
		return proof.Thing{}, false, usage("%s is made of nothing itself; name a deployment of it, which stemma why %s shows", ref, ref)
	}
	return proof.ThingOf(ref.Key()), verb != proof.Why && ref.Version == "" && ref.Kind.Versioned(), nil
}

// seal gives the entry that tells the root of the index, and appends it if
// the newest entry is not one.
func seal(c *cobra.Command, w *app.Workspace) (uint64, error) {
	if no, _ := c.Flags().GetBool("no-seal"); no {
		return w.Sealed(c.Context())
	}
	return w.Seal(c.Context())
}

func sealCommand() *cobra.Command {
	return &cobra.Command{Use: "seal", Short: "Append the root of the index, if the newest entry does not tell it", Args: exactly0,
		Example: "  stemma log seal",
		Long:    "A proof is about all entries before the one that tells the root of the index. stemma prove seals by itself; this command is for those who prove elsewhere, or who want the root in the log at a certain time. The entry is signed with the log's own key",
		RunE: func(c *cobra.Command, _ []string) error {
			w, err := workspace(c)
			if err != nil {
				return err
			}
			defer w.Close()
			at, err := w.Seal(c.Context())
			if err == nil {
				fmt.Fprintf(c.OutOrStdout(), "entry %d tells the root of the index over the %d entries before it\n", at, at)
			}
			return err
		}}
}

// verifiedProof prints what a bundle with a completeness proof proves.
func verifiedProof(c *cobra.Command, res *bundle.Result) error {
	out := c.OutOrStdout()
	fmt.Fprint(out, res.Text)
	fmt.Fprintf(out, "verified: nothing of this is taken on trust but the log's key\n")
	fmt.Fprintf(out, "  lists       complete under the root of the index, which the log's last entry tells\n")
	fmt.Fprintf(out, "  entries     %d, each in the log; the answer was computed from them\n", res.Entries)
	if res.Trusted != "" {
		fmt.Fprintf(out, "  signatures  %s\n", strings.Replace(res.Trusted, "(names of keys as in the file trust)", "(by your own list)", 1))
	} else {
		fmt.Fprintf(out, "  signatures  not looked at; --trust FILE says by your own list whose they are\n")
	}
	return nil
}
