package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/stemma-lineage/stemma/internal/policy"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

func approveCommand() *cobra.Command {
	c := &cobra.Command{Use: "approve [REF]", Short: "Sign a decision on a thing: approve, reject or revoke; or ask for one",
		Example: "  stemma approve model:fraud@3 --review security --env prod --comment \"threat model checked\"\n  stemma approve model:fraud@3 --review risk --reject --comment \"bias report missing\"\n  stemma approve model:fraud@3 --review risk --request --env prod\n  stemma approve --pending",
		Long:    "What is signed is shown first, word for word. On a terminal you are asked; --yes does not ask.",
		Args: func(c *cobra.Command, args []string) error {
			if pending, _ := c.Flags().GetBool("pending"); pending {
				return exactly0(c, args)
			}
			return exactly("one REF or FILE")(c, args)
		}}
	signFlags(c)
	c.Flags().String("review", "", "which review decides: security, risk, data, change, … (required)")
	c.Flags().String("role", "", "the role in which you decide, such as role:risk-reviewer")
	c.Flags().StringSlice("env", nil, "environments that it is for (default: all)")
	c.Flags().String("from", "", "from when it is valid (default: when it was decided)")
	c.Flags().String("until", "", "until when it is valid")
	c.Flags().Bool("reject", false, "reject instead of approve")
	c.Flags().Bool("revoke", false, "take back approvals of this review")
	c.Flags().Bool("request", false, "ask for a decision")
	c.Flags().String("revokes", "", "take back this approval only (with --revoke)")
	c.Flags().String("supersedes", "", "the approval of yours whose place it takes")
	c.Flags().String("policy", "", "the policy under which you decide")
	c.Flags().StringSlice("evidence", nil, "files that you looked at; their digests are signed")
	c.Flags().String("comment", "", "why")
	c.Flags().StringSlice("control", nil, "controls that it speaks to")
	c.Flags().Bool("pending", false, "list the decisions that were asked for and are not made")
	c.Flags().Bool("yes", false, "sign without being asked")
	c.RunE = func(c *cobra.Command, args []string) error {
		if pending, _ := c.Flags().GetBool("pending"); pending {
			return listPending(c)
		}
		return decide(c, args[0])
	}
	return c
}

func decide(c *cobra.Command, text string) error {
	x, err := begin(c)
	if err != nil {
		return err
	}
	defer x.w.Close()
	a, err := x.decision(c)
	if err != nil {
		return err
	}
	s, err := x.subject(c, text, "")
	if err != nil {
		return err
	}
	if s, err = x.known(c, s); err != nil {
		return err
	}
	if s.Digest.Content().IsZero() {
		fmt.Fprintf(c.ErrOrStderr(), "note: no content digest of %s is known, so this decision binds a name only, and counts for no gate\n", s.Name)
	}
	subjects := []statement.Subject{s}
	a.Text = statement.ApprovalText(subjects, a)
	if dry, _ := c.Flags().GetBool("dry-run"); !dry {
		if err := consent(c, a.Text); err != nil {
			return err
		}
	}
	return x.say(c, subjects, a)
}

// known gives the name under which the log knows the content of a file.
func (x *writing) known(c *cobra.Command, s statement.Subject) (statement.Subject, error) {
	d := s.Digest.Content()
	if ref, err := prov.ParseRef(s.Name); d.IsZero() || err != nil || ref.Kind != prov.File {
		return s, nil
	}
	g, _, err := x.w.Graph(c.Context())
	if err != nil {
		return s, err
	}
	name, _, err := query.Identify(g.At(prov.Now), d.String())
	switch {
	case errors.Is(err, query.ErrNotFound):
		return s, nil
	case err != nil:
		return s, err
	}
	return statement.NewSubject(name, s.Digest), nil
}

// consent shows the text that is to be signed and, on a terminal, asks.
func consent(c *cobra.Command, text string) error {
	fmt.Fprint(c.ErrOrStderr(), text)
	in, ok := c.InOrStdin().(*os.File)
	if yes, _ := c.Flags().GetBool("yes"); yes || !ok || !term.IsTerminal(int(in.Fd())) {
		return nil
	}
	fmt.Fprint(c.ErrOrStderr(), "sign this? [y/N] ")
	answer, _ := bufio.NewReader(in).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return fmt.Errorf("nothing was signed")
	}
	return nil
}

// decision makes the statement out of the flags.
func (x *writing) decision(c *cobra.Command) (*statement.Approval, error) {
	get := func(f string) string { s, _ := c.Flags().GetString(f); return s }
	a := &statement.Approval{Decision: statement.Approve, Approver: x.key.Principal.String(), Review: get("review"), Role: get("role"),
		Comment: get("comment"), Supersedes: get("supersedes"), Revokes: get("revokes"), Log: x.w.Log.Origin(), Assurance: x.assurance()}
	given := 0
	for flag, decision := range map[string]string{"reject": statement.Reject, "revoke": statement.Revoke, "request": statement.Request} {
		if on, _ := c.Flags().GetBool(flag); on {
			a.Decision = decision
			given++
		}
	}
	switch {
	case given > 1:
		return nil, usage("--reject, --revoke and --request exclude one another")
	case a.Review == "":
		return nil, usage("--review is missing; say which review decides, for example --review security")
	case a.Decision == statement.Reject && a.Comment == "":
		return nil, usage("--comment is missing; a rejection says why")
	case a.Revokes != "" && a.Decision != statement.Revoke:
		return nil, usage("--revokes goes with --revoke")
	}
	if a.Role != "" && !strings.HasPrefix(a.Role, "role:") {
		a.Role = "role:" + a.Role
	}
	a.Controls, _ = c.Flags().GetStringSlice("control")
	envs, _ := c.Flags().GetStringSlice("env")
	for _, e := range envs {
		a.Environments = append(a.Environments, "env:"+strings.TrimPrefix(e, "env:"))
	}
	var err error
	if a.DecidedAt, err = when(c); err != nil {
		return nil, err
	}
	for flag, to := range map[string]*statement.Time{"from": &a.ValidFrom, "until": &a.ValidUntil} {
		if t := get(flag); t != "" {
			at, err := prov.ParseTime(t)
			if err != nil {
				return nil, usage("--%s: %v", flag, err)
			}
			*to = statement.NewTime(at)
		}
	}
	if p := get("policy"); p != "" {
		s, err := x.subject(c, p, "")
		if err != nil {
			return nil, err
		}
		if a.Policy = s.Digest; s.Digest.Content().IsZero() {
			return nil, usage("--policy %s: no content of it is known; stemma policy add records policies", p)
		}
	}
	return a, x.lookedAt(c, a)
}

// lookedAt adds the files that the approver looked at.
func (x *writing) lookedAt(c *cobra.Command, a *statement.Approval) error {
	files, _ := c.Flags().GetStringSlice("evidence")
	for _, f := range files {
		sum, err := hashFile(f)
		if err != nil {
			return err
		}
		a.Evidence = append(a.Evidence, statement.Evidence{Digest: statement.DigestSet{"sha256": sum}, Name: f})
	}
	return nil
}

// assurance tells how surely the signer is present: a key that lives in
// hardware says so by its type.
func (x *writing) assurance() string {
	for _, s := range x.signers {
		if id, err := s.KeyID(); err == nil {
			if k, ok := x.w.Trust.Find(id); ok && strings.Contains(k.Public.String(), "sk-") {
				return statement.HardwareKey
			}
		}
	}
	return statement.LocalKey
}

func listPending(c *cobra.Command) error {
	w, err := workspace(c)
	if err != nil {
		return err
	}
	defer w.Close()
	g, _, err := w.Graph(c.Context())
	if err != nil {
		return err
	}
	t := newTable("thing", "review", "for", "asked by", "at", "entry")
	pending := policy.Pending(g.At(prov.Now))
	for _, p := range pending {
		t.AppendRow(table.Row{p.Subject, p.Review, strings.Join(p.Environments, ", "), p.Approver, p.DecidedAt, p.Entry})
	}
	if len(pending) == 0 {
		fmt.Fprintln(c.OutOrStdout(), "no decision is asked for")
		return nil
	}
	fmt.Fprintln(c.OutOrStdout(), t.Render())
	fmt.Fprintln(c.OutOrStdout(), "\nstemma approve THING --review REVIEW decides")
	return nil
}

// waiveCommand accepts what a rule finds, for a time.
func waiveCommand() *cobra.Command {
	c := &cobra.Command{Use: "waive REF", Short: "Accept what a rule finds in a thing, for a time",
		Example: "  stemma policy waive model:fraud@3 --rule evaluated --until 2026-12-31 --reason \"evaluation runs next week\" --env prod", Args: exactly("one REF or FILE")}
	signFlags(c)
	c.Flags().String("rule", "", "the rule's id (required)")
	c.Flags().String("until", "", "until when (required)")
	c.Flags().String("reason", "", "why (required)")
	c.Flags().StringSlice("env", nil, "environments that it is for (default: all)")
	c.RunE = func(c *cobra.Command, args []string) error {
		x, err := begin(c)
		if err != nil {
			return err
		}
		defer x.w.Close()
		v := &statement.Waiver{}
		for flag, to := range map[string]*string{"rule": &v.Rule, "reason": &v.Reason} {
			if *to, _ = c.Flags().GetString(flag); *to == "" {
				return usage("--%s is missing", flag)
			}
		}
		until, _ := c.Flags().GetString("until")
		t, err := prov.ParseTime(until)
		if err != nil {
			return usage("--until: %v", err)
		}
		v.Until = statement.NewTime(t)
		envs, _ := c.Flags().GetStringSlice("env")
		for _, e := range envs {
			v.Scope = append(v.Scope, "env:"+strings.TrimPrefix(e, "env:"))
		}
		if v.At, err = when(c); err != nil {
			return err
		}
		s, err := x.subject(c, args[0], "")
		if err != nil {
			return err
		}
		return x.say(c, []statement.Subject{s}, v)
	}
	return c
}
