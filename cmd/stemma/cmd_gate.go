package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/gate"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/policy"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

var (
	errDenied    = errors.New("denied")
	errUndecided = errors.New("undecided")
)

func gateFlags(c *cobra.Command) {
	c.Flags().String("env", "", "the environment (required)")
	c.Flags().StringSlice("policy", nil, "policies to ask: a REF in the log, a file, or library:NAME (default: those in force for the environment)")
	c.Flags().StringSlice("runs-as", nil, "identities as which it is to run")
	c.Flags().String("known", "", "as the log was known: a size or a time")
	c.Flags().StringP("output", "o", "text", "text or json")
}

func gateCommand() *cobra.Command {
	c := &cobra.Command{Use: "gate REF", Short: "May this go into an environment now: exit 0 allowed, 10 denied, 11 undecided",
		Example: "  stemma gate model:fraud@3 --env prod\n  stemma gate ./model.safetensors --env prod --policy library:two-person\n  stemma gate model:fraud@2 --env prod --at 2026-03-10T12:00:00Z --known 2026-03-10T12:00:00Z",
		Long:    "The verdict is recorded as a SLSA verification summary, unless it is a replay (--at, --known) or --dry-run.",
		Args:    exactly("one REF or FILE")}
	gateFlags(c)
	c.Flags().String("key", "default", "the signing key's name, for the verdict")
	c.Flags().String("at", "", "at which moment (default: now)")
	c.Flags().Bool("dry-run", false, "record no verdict")
	c.RunE = func(c *cobra.Command, args []string) error {
		g, err := beginGate(c, args[0])
		if err != nil {
			return err
		}
		defer g.w.Close()
		all, err := gate.Evaluate(g.policies, g.v, g.q)
		if err != nil {
			return err
		}
		entry, notLogged := "", error(nil)
		if !g.replay {
			entry, notLogged = g.log(c, all)
		}
		if err := g.print(c, all, entry); err != nil {
			return err
		}
		if notLogged != nil {
			notLogged = fmt.Errorf("the verdict is %s, but it could not be recorded: %w", gate.Worst(all), notLogged)
		}
		switch gate.Worst(all) {
		case policy.Allow:
			return notLogged // what was not recorded does not pass
		case policy.Deny:
			return errors.Join(errDenied, notLogged)
		}
		return errors.Join(errUndecided, notLogged)
	}
	return c
}

// gateQuestion is one question to policies.
type gateQuestion struct {
	w        *app.Workspace
	v        graph.View
	q        policy.Question
	policies []*policy.Policy
	replay   bool
}

func beginGate(c *cobra.Command, text string) (g *gateQuestion, err error) {
	if o, _ := c.Flags().GetString("output"); o != "text" && o != "json" {
		return nil, usage("-o %s is not known here; write text or json", o)
	}
	env, _ := c.Flags().GetString("env")
	if env == "" {
		return nil, usage("--env is missing; say for which environment, for example --env prod")
	}
	g = &gateQuestion{}
	g.q.Planned.RunsAs, _ = c.Flags().GetStringSlice("runs-as")
	if g.w, err = workspace(c); err != nil {
		return nil, err
	}
	w := g.w
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	g.q.Context = gate.Context(w, strings.TrimPrefix(env, "env:"))
	gr, _, err := g.w.Graph(c.Context())
	if err != nil {
		return nil, err
	}
	if g.v, err = view(c, g.w, gr, "at", "known"); err != nil {
		return nil, err
	}
	dry, _ := c.Flags().GetBool("dry-run")
	g.replay = dry || c.Flags().Changed("at") || c.Flags().Changed("known")
	if g.v.AsOf().Valid == prov.Forever {
		g.v = g.v.When(prov.At(time.Now()))
	}
	if g.q.Thing, err = thingOf(g.v, text); err != nil {
		return nil, err
	}
	names, _ := c.Flags().GetStringSlice("policy")
	var idle []string
	if g.policies, idle, err = gate.Policies(g.v, names, g.q.Context); err != nil {
		return nil, err
	}
	for _, why := range idle {
		fmt.Fprintln(c.ErrOrStderr(), "note: "+oneLine(why))
	}
	return g, nil
}

// thingOf finds the thing that a REF names, or the content of a file. What is
// asked about must be in the log, but need not be current at the moment.
func thingOf(v graph.View, text string) (graph.ID, error) {
	if st, err := os.Stat(text); err == nil && st.Mode().IsRegular() {
		sum, err := hashFile(text)
		if err != nil {
			return graph.None, err
		}
		text = "sha256:" + sum
	}
	return gate.Thing(v, text)
}

// log records the verdicts as SLSA verification summaries v1.
func (g *gateQuestion) log(c *cobra.Command, all []*policy.Verdict) (string, error) {
	name, _ := c.Flags().GetString("key")
	k, err := loadKey(name)
	if err != nil {
		return "", err
	}
	out, err := gate.Record(c.Context(), g.w, k, all, g.policies)
	if err != nil {
		return "", err
	}
	var entries []string
	for _, o := range out {
		entries = append(entries, entryText(o))
	}
	return strings.Join(entries, ", "), nil
}

func (g *gateQuestion) print(c *cobra.Command, all []*policy.Verdict, entry string) error {
	out := c.OutOrStdout()
	if o, _ := c.Flags().GetString("output"); o == "json" {
		return writeJSON(out, struct {
			APIVersion string            `json:"apiVersion"`
			Verdict    string            `json:"verdict"`
			Verdicts   []*policy.Verdict `json:"verdicts"`
		}{query.APIVersion, gate.Worst(all), all})
	}
	for _, v := range all {
		printVerdict(out, v)
	}
	switch {
	case entry != "":
		fmt.Fprintf(out, "recorded: %s\n", entry)
	case g.replay:
		fmt.Fprintln(out, "nothing was recorded: this is a replay or a dry run")
	}
	return nil
}

var verdictWords = map[string]string{policy.Allow: "✓ allowed", policy.Deny: "✗ denied", policy.Undecided: "? undecided"}

var outcomeGlyphs = map[string]string{policy.Satisfied: "✓", policy.Violated: "✗", policy.Unknown: "?", policy.Waived: "~", policy.NotApplicable: "-"}

func printVerdict(out io.Writer, v *policy.Verdict) {
	fmt.Fprintf(out, "%s: %s in %s, by %s, at %s, log of %d entries\n", verdictWords[v.Verdict], v.Subject, v.Environment, v.Policy, v.At, v.LogSize)
	for _, o := range v.Rules {
		fmt.Fprintf(out, "  %s %s: %s\n", outcomeGlyphs[o.Outcome], o.Rule, oneLine(o.Says))
		for _, r := range o.Reasons {
			fmt.Fprintf(out, "      %s\n", oneLine(r))
		}
		if o.Waiver != "" {
			fmt.Fprintf(out, "      accepted by %s\n", oneLine(o.Waiver))
		} else if o.Mend != "" {
			fmt.Fprintf(out, "      mend: %s\n", oneLine(o.Mend))
		}
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func writeJSON(out io.Writer, x any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(x)
}

func validCommand() *cobra.Command {
	c := &cobra.Command{Use: "valid REF", Short: "In which periods was it valid under a policy, as it was and as it was known",
		Example: "  stemma valid model:fraud@1 --env prod --policy policy:production@1\n  stemma valid model:fraud@2 --env prod --policy library:two-person -o json", Args: exactly("one REF or FILE")}
	gateFlags(c)
	c.Flags().Int("limit", 10_000, "look at most at so many moments at which something changes, for each of the two lists; 0: all")
	c.RunE = func(c *cobra.Command, args []string) error {
		g, err := beginGate(c, args[0])
		if err != nil {
			return err
		}
		defer g.w.Close()
		limit, _ := c.Flags().GetInt("limit")
		if limit < 0 {
			return usage("--limit is %d; write 0 for all, or a number", limit)
		}
		var all []*policy.Validity
		for _, p := range g.policies {
			v, err := policy.Valid(p, g.v, g.q, policy.Bounds{Moments: limit, Stop: func() bool { return c.Context().Err() != nil }})
			if err != nil {
				return err
			}
			all = append(all, v)
		}
		out := c.OutOrStdout()
		if o, _ := c.Flags().GetString("output"); o == "json" {
			return writeJSON(out, struct {
				APIVersion string             `json:"apiVersion"`
				Validity   []*policy.Validity `json:"validity"`
			}{query.APIVersion, all})
		}
		for _, v := range all {
			printValidity(out, v)
		}
		return nil
	}
	return c
}

func printValidity(out io.Writer, v *policy.Validity) {
	fmt.Fprintf(out, "%s in %s, by %s, log of %d entries\n", v.Subject, v.Environment, v.Policy, v.LogSize)
	for _, part := range []struct {
		says string
		list []policy.Interval
	}{{"as it was, as all entries tell it now", v.AsItWas}, {"as it was known at each moment", v.AsKnown}} {
		fmt.Fprintf(out, "\n%s:\n", part.says)
		t := newTable("from", "to", "", "because", "entries")
		for _, i := range part.list {
			why := strings.Join(i.Rules, ", ")
			if len(i.Reasons) > 0 {
				why += ": " + oneLine(i.Reasons[0])
				if n := len(i.Reasons) - 1; n > 0 {
					why += fmt.Sprintf(" (and %d more, -o json shows them)", n)
				}
			}
			t.AppendRow(table.Row{or(i.From, "the beginning"), or(i.To, "further notice"), i.Validity, why, numbers(i.Entries)})
		}
		fmt.Fprintln(out, t.Render())
	}
	if v.Truncated {
		fmt.Fprintln(out, "\ntruncated: more changed later than was looked at; --limit 0 looks at all")
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func numbers(ns []uint64) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(ns), " ", ", "), "[]")
}

func policyCommand() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Put policies in force, test them, and read the library", Args: cobra.ArbitraryArgs,
		Example: "  stemma policy library\n  stemma policy library production > production.yaml\n  stemma policy test production.yaml\n  stemma policy add production.yaml --as policy:production@1",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("%q is no command of stemma policy; stemma policy --help lists them", args[0])
			}
			return c.Help()
		}}
	add := &cobra.Command{Use: "add FILE|library:NAME", Short: "Put a policy in force: its text is signed and recorded", Args: exactly("a file or library:NAME"),
		Example: "  stemma policy add production.yaml --as policy:production@2"}
	signFlags(add)
	add.Flags().String("as", "", "its Ref (default: policy:NAME@ and the beginning of its digest)")
	add.RunE = func(c *cobra.Command, args []string) error { return addPolicy(c, args[0]) }
	lib := &cobra.Command{Use: "library [NAME]", Short: "The policies that come with Stemma, or the text of one", Args: atMostOne,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				text, err := policy.FromLibrary(args[0])
				if err != nil {
					return fmt.Errorf("%w: %w", query.ErrNotFound, err)
				}
				_, err = c.OutOrStdout().Write(text)
				return err
			}
			for _, name := range policy.Library() {
				text, err := policy.FromLibrary(name)
				if err != nil {
					return err
				}
				p, err := policy.Parse(text)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "%-16s %s\n", name, oneLine(p.Description))
			}
			return nil
		}}
	test := &cobra.Command{Use: "test FILE…", Short: "Check policies, and run the cases that stand in them", Args: func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage("stemma policy test takes policy files")
		}
		return nil
	}, Long: "A policy file may end with cases: which REF, in which environment, at which time, is to get which verdict. They are asked of the log in this folder.",
		RunE: func(c *cobra.Command, args []string) error { return testPolicies(c, args) }}
	c.AddCommand(add, lib, test, waiveCommand())
	return c
}

func addPolicy(c *cobra.Command, name string) error {
	x, err := begin(c)
	if err != nil {
		return err
	}
	defer x.w.Close()
	p, err := gate.Policy(graph.New().At(prov.Now), name, policy.Context{})
	if err != nil {
		return err
	}
	as, _ := c.Flags().GetString("as")
	if as == "" {
		as = "policy:" + p.Name + "@" + hex.EncodeToString(p.Digest())[:12]
	}
	ref, err := prov.ParseRef(as)
	if err != nil {
		return err
	}
	if ref.Kind != prov.Policy || ref.Version == "" {
		return usage("--as is %q; a policy's Ref is policy:NAME@VERSION", as)
	}
	s := p.Statement()
	if s.At, err = when(c); err != nil {
		return err
	}
	return x.say(c, []statement.Subject{statement.NewSubject(ref, statement.DigestSet{"sha256": hex.EncodeToString(p.Digest())})}, s)
}

func testPolicies(c *cobra.Command, files []string) error {
	failed := 0
	for _, name := range files {
		p, err := gate.PolicyFile(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%s: policy %s, %d rules, compiles\n", name, p.Name, len(p.Rules))
		if len(p.Cases) == 0 {
			continue
		}
		n, err := testCases(c, p)
		if err != nil {
			return err
		}
		failed += n
	}
	if failed > 0 {
		return fmt.Errorf("%d cases failed", failed)
	}
	return nil
}

func testCases(c *cobra.Command, p *policy.Policy) (failed int, err error) {
	w, err := workspace(c)
	if err != nil {
		return 0, err
	}
	defer w.Close()
	g, _, err := w.Graph(c.Context())
	if err != nil {
		return 0, err
	}
	for _, k := range p.Cases {
		at, known := prov.At(time.Now()), uint64(prov.AllKnown)
		if k.At != "" {
			t, err := prov.ParseTime(k.At)
			if err != nil {
				return failed, usage("case of %s: at: %v", k.Ref, err)
			}
			at = prov.At(t)
		}
		if k.Known > 0 {
			known = k.Known
		}
		v := g.At(prov.AsOf{Valid: at, Known: known})
		id, err := thingOf(v, k.Ref)
		if err != nil {
			return failed, fmt.Errorf("case of %s: %w", k.Ref, err)
		}
		got, err := policy.Evaluate(p, v, policy.Question{Thing: id, Context: gate.Context(w, k.Env)})
		if err != nil {
			return failed, err
		}
		if got.Verdict == k.Want {
			fmt.Fprintf(c.OutOrStdout(), "  ✓ %s in %s: %s\n", k.Ref, k.Env, got.Verdict)
			continue
		}
		failed++
		fmt.Fprintf(c.OutOrStdout(), "  ✗ %s in %s: %s, wanted %s\n", k.Ref, k.Env, got.Verdict, k.Want)
		printVerdict(c.OutOrStdout(), got)
	}
	return failed, nil
}
