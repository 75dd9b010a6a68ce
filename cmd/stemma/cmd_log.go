package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/monitor"
	"github.com/stemma-lineage/stemma/internal/witnessing"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/witness"
	"github.com/stemma-lineage/stemma/witness/stamp"
)

type logSub func(use, short string, args cobra.PositionalArgs, f func(c *cobra.Command, w *app.Workspace, args []string) error) *cobra.Command

// witnessingCommands adds what concerns others that watch the log.
func witnessingCommands(c *cobra.Command, sub logSub) {
	publish := sub("publish", "Ask the witnesses to cosign the newest checkpoint", exactly0, logPublish)
	publish.Example = "  stemma log publish\n  stemma log publish --tsa https://tsa.example/ --tsa-ca tsa-root.pem"
	publish.Flags().StringArray("tsa", nil, "ask this timestamp authority too (RFC 3161); may be repeated")
	publish.Flags().String("tsa-ca", "", "trust the authorities' certificates in this PEM file, from now on")
	bounds := sub("bounds TIME", "How large it was at a moment, and who says so", exactly("a time"), logBounds)
	bounds.Example = "  stemma log bounds 2026-03-15\n  stemma log bounds 2026-03-15T12:00:00Z"
	c.AddCommand(logWitnessCommand(), logMonitorCommand(), logForkCommand())
}

// logCheckpoint prints the newest checkpoint with the cosignatures of it, and
// says on standard error whether they suffice.
func logCheckpoint(c *cobra.Command, w *app.Workspace, _ []string) error {
	h, err := w.Log.Head(c.Context())
	if err != nil {
		return err
	}
	p, err := w.Policy()
	if err != nil {
		return err
	}
	cp, err := w.Cosigned(h, p)
	if err != nil {
		return err
	}
	if _, err := c.OutOrStdout().Write(cp.Note()); err != nil || p == nil {
		return err
	}
	fmt.Fprintln(c.ErrOrStderr(), quorumState(cp, p))
	return nil
}

// quorumState tells in one line what the cosignatures of a checkpoint amount
// to.
func quorumState(cp witness.Checkpoint, p *witness.Policy) string {
	var names []string
	for _, s := range cp.Cosignatures {
		names = append(names, s.Witness+" at "+s.Time.Format(time.RFC3339))
	}
	list := "nobody"
	if len(names) > 0 {
		list = strings.Join(names, ", ")
	}
	switch {
	case len(p.Witnesses) == 0:
		return "no witness is known"
	case p.Quorum == witness.NoQuorum:
		return fmt.Sprintf("%d entries cosigned by %s; the policy asks for nobody", cp.Tree.N, list)
	case cp.Quorum:
		return fmt.Sprintf("%d entries witnessed: cosigned by %s; quorum: %s", cp.Tree.N, list, p.Describe())
	}
	return fmt.Sprintf("%d entries not witnessed yet: cosigned by %s; quorum: %s; stemma log publish asks them", cp.Tree.N, list, p.Describe())
}

func logPublish(c *cobra.Command, w *app.Workspace, _ []string) error {
	authorities, _ := c.Flags().GetStringArray("tsa")
	stampErr := askAuthorities(c, w, authorities)
	out, err := w.Publish(c.Context())
	switch {
	case errors.Is(err, app.ErrNoWitness) && len(authorities) > 0:
		return stampErr
	case err != nil:
		return err
	}
	contradicted := error(nil)
	for _, r := range out.Replies {
		switch {
		case r.Err != nil:
			fmt.Fprintf(c.OutOrStdout(), "✗ %s: %v\n", r.Witness.Name, r.Err)
			if errors.Is(r.Err, witnessing.ErrContradicted) {
				contradicted = fmt.Errorf("%w (%s). Keep this directory as it is, and compare its checkpoint with the one that the witness holds", witnessing.ErrContradicted, r.Witness.Name)
			}
		case r.Remark != "":
			fmt.Fprintf(c.OutOrStdout(), "! %s cosigned; %s\n", r.Witness.Name, r.Remark)
		default:
			fmt.Fprintf(c.OutOrStdout(), "✓ %s cosigned at %s\n", r.Witness.Name, r.Cosignature.Time.Format(time.RFC3339))
		}
	}
	fmt.Fprintln(c.OutOrStdout(), quorumState(out.Checkpoint, out.Policy))
	switch {
	case contradicted != nil:
		return contradicted
	case out.Policy.Quorum != witness.NoQuorum && !out.Checkpoint.Quorum:
		return fmt.Errorf("%w: the checkpoint is published and not witnessed", errUndecided)
	}
	return stampErr
}

// askAuthorities asks timestamp authorities, one after the other. The last
// failure is returned, and holds up no witness.
func askAuthorities(c *cobra.Command, w *app.Workspace, list []string) (last error) {
	if name, _ := c.Flags().GetString("tsa-ca"); name != "" {
		text, err := os.ReadFile(name)
		if err == nil {
			err = w.TrustAuthority(text)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, url := range list {
		word, err := w.Timestamp(c.Context(), url)
		if err != nil {
			last = err
			fmt.Fprintf(c.OutOrStdout(), "✗ %s: %v\n", url, err)
			continue
		}
		fmt.Fprintf(c.OutOrStdout(), "✓ %s\n", word)
	}
	return last
}

func logBounds(c *cobra.Command, w *app.Workspace, args []string) error {
	t, err := prov.ParseTime(args[0])
	if err != nil {
		return usageError{err}
	}
	b, p, err := w.Bounds(c.Context(), t)
	if err != nil {
		return err
	}
	size, err := w.Log.SizeAt(c.Context(), t)
	if err != nil {
		return err
	}
	out := c.OutOrStdout()
	fmt.Fprintf(out, "at %s\n", t.UTC().Format(time.RFC3339))
	fmt.Fprintf(out, "by the operator's clock  %d entries; nobody else says so\n", size)
	if (p == nil || len(p.Witnesses) == 0) && b.Lower == nil {
		fmt.Fprintln(out, "by others                nothing: this log has none; stemma log witness add KEY URL adds one")
		return nil
	}
	for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		fmt.Fprintf(out, "by others                %s\n", line)
	}
	return nil
}

func logWitnessCommand() *cobra.Command {
	c := &cobra.Command{Use: "witness", Short: "Who cosigns this log, and which of them suffice", Args: cobra.ArbitraryArgs,
		Example: "  stemma log witness add 'witness.example/w1+1a2b3c4d+…' https://witness.example/w1\n  stemma log witness add KEY URL --quorum 2\n  stemma log witness list\n  stemma log witness remove witness.example/w1",
		Long:    "The list is the file witnesses in the workspace, a policy as in C2SP tlog-policy. What is more than one group of witnesses is written there by hand.",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("stemma log witness has no %q; use add, list or remove", args[0])
			}
			return c.Help()
		}}
	in := func(f func(c *cobra.Command, w *app.Workspace, args []string) error) func(*cobra.Command, []string) error {
		return func(c *cobra.Command, args []string) error {
			w, err := workspace(c)
			if err != nil {
				return err
			}
			defer w.Close()
			return f(c, w, args)
		}
	}
	add := &cobra.Command{Use: "add KEY URL", Short: "Let a witness cosign", Args: exactly("the verifier key of a witness (or a file that holds it)", "its address"), RunE: in(witnessAdd)}
	add.Flags().String("name", "", "its name in the list (default: the name in its key)")
	add.Flags().String("quorum", "", "how many suffice: a number, any, all (default: more than half), or none")
	remove := &cobra.Command{Use: "remove NAME", Short: "Ask a witness no more; what it cosigned stays", Args: exactly("a name"), RunE: in(witnessRemove)}
	remove.Flags().String("quorum", "", "how many suffice: a number, any, all (default: more than half), or none")
	c.AddCommand(add, remove, &cobra.Command{Use: "list", Short: "The list", Args: exactly0, RunE: in(func(c *cobra.Command, w *app.Workspace, _ []string) error {
		p, err := w.Policy()
		if err != nil {
			return err
		}
		if p == nil {
			return app.ErrNoWitness
		}
		fmt.Fprint(c.OutOrStdout(), p)
		return nil
	})})
	return c
}

// simpleGroup is the group that the commands keep.
const simpleGroup = "witnesses"

func witnessAdd(c *cobra.Command, w *app.Workspace, args []string) error {
	key := keyOrFile(args[0])
	name, _ := c.Flags().GetString("name")
	if name == "" {
		name, _, _ = strings.Cut(key, "+")
	}
	x, err := witness.NewWitness(name, key, args[1])
	if err != nil {
		return usageError{err}
	}
	return changePolicy(c, w, func(p *witness.Policy) error {
		p.Witnesses = append(p.Witnesses, x)
		return nil
	})
}

func witnessRemove(c *cobra.Command, w *app.Workspace, args []string) error {
	return changePolicy(c, w, func(p *witness.Policy) error {
		n := len(p.Witnesses)
		p.Witnesses = slices.DeleteFunc(p.Witnesses, func(x witness.Witness) bool { return x.Name == args[0] })
		if len(p.Witnesses) == n {
			return fmt.Errorf("%w: no witness is named %q; stemma log witness list shows them", os.ErrNotExist, args[0])
		}
		return nil
	})
}

// changePolicy changes a policy that has no more than one group over all its
// witnesses. Any other is for people to change.
func changePolicy(c *cobra.Command, w *app.Workspace, change func(*witness.Policy) error) error {
	p, err := w.Policy()
	if err != nil {
		return err
	}
	if p == nil {
		p = &witness.Policy{Quorum: witness.NoQuorum}
	}
	if !simple(p) {
		return usage("the policy has groups of its own; change it by hand in %s", w.PolicyFile())
	}
	old := len(p.Witnesses)/2 + 1
	asked := ""
	switch { // what was chosen before stays, if it was not the default
	case len(p.Witnesses) == 0:
	case p.Quorum == witness.NoQuorum:
		asked = witness.NoQuorum
	case len(p.Groups) == 1 && p.Groups[0].Need == len(p.Witnesses) && p.Groups[0].Need != old:
		asked = "all"
	case len(p.Groups) == 1 && p.Groups[0].Need != old:
		asked = strconv.Itoa(p.Groups[0].Need)
	}
	if q, _ := c.Flags().GetString("quorum"); q != "" {
		asked = q
	}
	if err := change(p); err != nil {
		return err
	}
	if err := setQuorum(p, asked); err != nil {
		return err
	}
	text := "# witnesses of this log, as in C2SP tlog-policy\n" + p.String()
	if err := w.SetPolicy(text); err != nil {
		return usageError{err}
	}
	fmt.Fprintf(c.OutOrStdout(), "%d witnesses; quorum: %s\n", len(p.Witnesses), p.Describe())
	return nil
}

func simple(p *witness.Policy) bool {
	switch {
	case len(p.Groups) == 0:
		return p.Quorum == witness.NoQuorum || len(p.Witnesses) == 1
	case len(p.Groups) > 1:
		return false
	}
	return p.Groups[0].Name == simpleGroup && p.Quorum == simpleGroup && len(p.Groups[0].Members) == len(p.Witnesses)
}

func setQuorum(p *witness.Policy, asked string) error {
	p.Groups, p.Quorum = nil, witness.NoQuorum
	n := len(p.Witnesses)
	need := n/2 + 1
	switch asked {
	case "":
	case witness.NoQuorum:
		return nil
	case "any":
		need = 1
	case "all":
		need = n
	default:
		v, err := strconv.Atoi(asked)
		if err != nil || v < 1 || v > n {
			return usage("--quorum %q: write a number from 1 to %d, any, all, or none", asked, n)
		}
		need = v
	}
	if n == 0 {
		return nil
	}
	g := witness.Group{Name: simpleGroup, Need: need}
	for _, x := range p.Witnesses {
		g.Members = append(g.Members, x.Name)
	}
	p.Groups, p.Quorum = []witness.Group{g}, simpleGroup
	return nil
}

// keyOrFile takes a key, or the first line of the file that holds it.
func keyOrFile(s string) string {
	if b, err := os.ReadFile(s); err == nil {
		line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
		return strings.TrimSpace(line)
	}
	return s
}

// misbehaved tells whether an error says that a log has two histories, or
// that what tells them apart is lost.
func misbehaved(err error) bool {
	var fork *monitor.ForkError
	if errors.As(err, &fork) {
		return true
	}
	for _, e := range []error{witnessing.ErrContradicted, witnessing.ErrLostState, witnessing.ErrHistory, app.ErrNotContinued, monitor.ErrTiles, errNotWitnessed, stamp.ErrTimestamp, witness.ErrCheckpoint, witness.ErrProof} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
