package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/catalog"
	"github.com/stemma-lineage/stemma/internal/controls"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/finding"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/oscal"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

func controlsCommand() *cobra.Command {
	c := &cobra.Command{Use: "controls [REF]", Short: "Which controls of a framework the log shows to be satisfied, and by what evidence", Args: atMostOne,
		Example: "  stemma controls --framework csf\n  stemma controls --framework ai-rmf model:fraud@1 --env prod\n  stemma controls --control ID.AM-2 --framework csf -o json\n" +
			"  stemma controls --framework csf --catalog NIST_CSF_v2.0_catalog.xml -o oscal > results.json\n  stemma controls --framework nhi --fail-on not-satisfied\n  stemma controls --query owned --env prod",
		Long: "A control is satisfied only by positive evidence: every question that speaks to it was asked of something and answered with yes throughout, and every detector is clear. " +
			"It is not satisfied when any answer is no. All else is not assessed, and what is missing is said. REF narrows to a release: what is live of it, and all that is behind it."}
	c.Flags().String("framework", "", "csf, ai-rmf, nhi or agentic")
	c.Flags().StringSlice("control", nil, "only these controls, in any usual spelling (ID.AM-2, GV-1.1, NHI-01)")
	c.Flags().String("query", "", "ask one question again and show everything that it was asked of")
	c.Flags().String("env", "", "only deployments in this environment, such as prod (default: all)")
	c.Flags().String("at", "", "as it was at this time (RFC 3339 or a date; default: when the last known entry was recorded)")
	c.Flags().String("known", "", "as it was known at this time or log size (default: now)")
	c.Flags().String("catalog", "", "an OSCAL catalogue (JSON or XML) with the official texts and identifiers")
	c.Flags().String("fail-on", "", "not-satisfied: exit with 10 when a control is not satisfied")
	c.Flags().StringP("output", "o", "text", "text, json, csv, oscal (assessment results) or poam (plan of action and milestones)")
	c.RunE = runControls
	return c
}

func runControls(c *cobra.Command, args []string) error {
	f, only, err := framework(c)
	if err != nil {
		return err
	}
	failOn, _ := c.Flags().GetString("fail-on")
	if failOn != "" && failOn != string(controls.NotSatisfied) {
		return usage("--fail-on %s: write not-satisfied", failOn)
	}
	official, err := officialTexts(c, f)
	if err != nil {
		return err
	}
	w, err := workspace(c)
	if err != nil {
		return err
	}
	defer w.Close()
	g, h, err := w.Graph(c.Context())
	if err != nil {
		return err
	}
	v, o, err := controlsScope(c, w, g, h, args)
	if err != nil {
		return err
	}
	o.Only, o.Official = only, official
	o.Detectors = detectorsFor(finding.Options{Log: w.Log.Origin(), Stewards: w.Stewards(), Stop: o.Stop})
	if name, _ := c.Flags().GetString("query"); name != "" {
		return askControlsQuery(c, v, name, o)
	}
	a, err := controls.Assess(v, f, o)
	if err != nil {
		return err
	}
	if err := writeControls(c, a); err != nil {
		return err
	}
	if failOn != "" && a.Summary.NotSatisfied > 0 {
		return errDenied
	}
	return nil
}

// framework gives the framework and the controls that are asked for.
func framework(c *cobra.Command) (*catalog.Framework, []string, error) {
	name, _ := c.Flags().GetString("framework")
	names, _ := c.Flags().GetStringSlice("control")
	if q, _ := c.Flags().GetString("query"); q != "" {
		if name != "" || len(names) > 0 {
			return nil, nil, usage("--query asks one question of the log; leave out --framework and --control")
		}
		if !slices.Contains(controls.Queries(), q) {
			return nil, nil, usage("--query %s: no such question; there are %s", q, strings.Join(controls.Queries(), ", "))
		}
		return nil, nil, nil
	}
	if name == "" {
		return nil, nil, usage("--framework is missing; write csf, ai-rmf, nhi or agentic")
	}
	f, err := catalog.Find(name)
	if err != nil {
		return nil, nil, usage("--framework: %v", err)
	}
	var only []string
	for _, text := range names {
		k, err := f.Control(text)
		if err != nil {
			return nil, nil, usage("--control: %v", err)
		}
		only = append(only, k.ID)
	}
	return f, only, nil
}

func officialTexts(c *cobra.Command, f *catalog.Framework) (*catalog.Official, error) {
	name, _ := c.Flags().GetString("catalog")
	if name == "" {
		return nil, nil
	}
	if f == nil {
		return nil, usage("--catalog gives texts of controls; name the --framework")
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, catalog.MaxOSCAL+1))
	if err != nil {
		return nil, err
	}
	off, err := f.ReadOSCAL(text)
	if err != nil {
		return nil, usage("--catalog %s: %v", name, err)
	}
	return off, nil
}

// controlsScope reads the clocks, the environment and the release. Without
// --at the moment is that of the last known entry, so that the same log gives
// the same assessment at any time.
func controlsScope(c *cobra.Command, w *app.Workspace, g *graph.Graph, h evlog.Head, args []string) (graph.View, controls.Options, error) {
	o := controls.Options{Stop: func() bool { return c.Context().Err() != nil }}
	v, err := view(c, w, g, "at", "known")
	if err != nil {
		return v, o, err
	}
	known := v.AsOf().Known
	if v.AsOf().Valid == prov.Forever {
		last := prov.Instant(0)
		if known > 0 {
			last = v.Recorded(known - 1)
		}
		v = v.When(last)
	}
	env, _ := c.Flags().GetString("env")
	o.Env = strings.TrimPrefix(env, "env:")
	o.Log = controls.Log{Origin: w.Log.Origin(), Stewards: w.Stewards(), Published: uint64(h.Size) >= known} // Head checks the checkpoint's signature
	if o.Log.Witnesses, err = w.Witnessed(c.Context(), int64(known)); err != nil {
		return v, o, err
	}
	if o.Log.Root, err = rootAt(c.Context(), w, h, known); err != nil {
		return v, o, err
	}
	if len(args) == 0 {
		return v, o, nil
	}
	if args, err = hashed(args); err != nil {
		return v, o, err
	}
	o.RefName = args[0]
	o.Ref, err = query.Resolve(v, args[0], query.One)
	if errors.Is(err, query.ErrNotFound) {
		o.Ref, err = query.Resolve(v.Always(), args[0], query.One)
	}
	return v, o, err
}

func askControlsQuery(c *cobra.Command, v graph.View, name string, o controls.Options) error {
	a, err := controls.Ask(v, name, o)
	if err != nil {
		return err
	}
	out := c.OutOrStdout()
	switch format, _ := c.Flags().GetString("output"); format {
	case "json":
		return writeJSON(out, a)
	case "text":
		e := &a.Evidence[0]
		fmt.Fprintf(out, "%s\n%s, at %s, log of %d entries\n", e.Asks, coverage(e.Coverage), or(a.At, "no time"), a.LogSize)
		for _, it := range e.Items {
			fmt.Fprintf(out, "  %s %s\n", answerGlyphs[it.Answer], itemText(it))
			fmt.Fprintf(out, "      %s\n", it.Command)
		}
		return nil
	default:
		return usage("-o %s is not known with --query; write text or json", format)
	}
}

func writeControls(c *cobra.Command, a *controls.Assessment) error {
	out := c.OutOrStdout()
	switch format, _ := c.Flags().GetString("output"); format {
	case "text":
		printControls(out, a)
		return nil
	case "json":
		return writeJSON(out, a)
	case "csv":
		return controlsCSV(out, a)
	case "oscal", "poam":
		doc := controls.Results(a)
		if format == "poam" {
			doc = controls.POAM(a)
		}
		b, err := oscal.Format(doc)
		if err == nil {
			_, err = out.Write(b)
		}
		return err
	default:
		return usage("-o %s is not known here; write text, json, csv, oscal or poam", format)
	}
}

var (
	statusGlyphs = map[controls.Status]string{controls.Satisfied: "✓ satisfied", controls.NotSatisfied: "✗ not satisfied", controls.NotAssessed: "? not assessed"}
	answerGlyphs = map[controls.Answer]string{controls.Yes: "✓", controls.No: "✗", controls.Unknown: "?", controls.Waived: "~"}
)

func printControls(out io.Writer, a *controls.Assessment) {
	scope := ""
	if a.Ref != "" {
		scope += ", of " + a.Ref
	}
	if a.Env != "" {
		scope += ", in " + a.Env
	}
	fmt.Fprintf(out, "%s%s, at %s, log of %d entries\n", a.Title, scope, or(a.At, "no time"), a.LogSize)
	fmt.Fprintf(out, "%d satisfied, %d not satisfied, %d not assessed\n\n", a.Summary.Satisfied, a.Summary.NotSatisfied, a.Summary.NotAssessed)
	evidence := map[string]*controls.Evidence{}
	for i := range a.Evidence {
		evidence[a.Evidence[i].ID] = &a.Evidence[i]
	}
	var silent []string
	for i := range a.Controls {
		k := &a.Controls[i]
		if k.Shows == "" {
			silent = append(silent, k.ID)
			continue
		}
		printControl(out, k, evidence)
	}
	if len(silent) > 0 {
		fmt.Fprintf(out, "? not assessed, for nothing that Stemma records speaks to them: %s\n", strings.Join(silent, ", "))
	}
}

func printControl(out io.Writer, k *controls.Control, evidence map[string]*controls.Evidence) {
	title := k.ID
	if k.Title != "" {
		title += " " + k.Title
	}
	says := k.Says
	if k.Official != "" {
		says = k.Official
	}
	fmt.Fprintf(out, "%s: %s: %s\n", statusGlyphs[k.Status], title, oneLine(says))
	fmt.Fprintf(out, "    looks at: %s\n", k.Shows)
	var absent []string
	for _, id := range k.Evidence {
		e := evidence[id]
		if !e.Available {
			absent = append(absent, id)
			continue
		}
		fmt.Fprintf(out, "    %s: %s%s\n", id, coverage(e.Coverage), entriesText(e))
		for _, it := range e.Items[:min(len(e.Items), 3)] {
			fmt.Fprintf(out, "        %s %s\n", answerGlyphs[it.Answer], itemText(it))
		}
		if n := len(e.Items) - 3 + e.Hidden; n > 0 {
			fmt.Fprintf(out, "        and %d more\n", n)
		}
		fmt.Fprintf(out, "        $ %s\n", e.Command)
	}
	if len(absent) > 0 {
		fmt.Fprintf(out, "    missing: detectors %s, which this version does not have\n", strings.Join(absent, ", "))
	}
	fmt.Fprintln(out)
}

func coverage(c controls.Coverage) string {
	if c.Asked == 0 {
		return "there is nothing to ask it of"
	}
	s := fmt.Sprintf("asked of %d: %d yes, %d no, %d unknown", c.Asked, c.Yes, c.No, c.Unknown)
	if c.Waived > 0 {
		s += fmt.Sprintf(", %d waived", c.Waived)
	}
	return s
}

func entriesText(e *controls.Evidence) string {
	if len(e.Entries) == 0 {
		return ""
	}
	s := " (entries " + numbers(e.Entries[:min(len(e.Entries), 12)])
	if n := len(e.Entries) - 12 + e.MoreEntries; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s + ")"
}

func itemText(it controls.Item) string {
	s := it.Ref + ": " + oneLine(it.Says)
	if len(it.Entries) > 0 {
		s += " (entries " + numbers(it.Entries[:min(len(it.Entries), 12)]) + ")"
	}
	return s
}

// controlsCSV writes a line for each control and each piece of its evidence.
func controlsCSV(out io.Writer, a *controls.Assessment) error {
	w := csv.NewWriter(out)
	if err := w.Write([]string{"framework", "control", "status", "evidence", "available", "asked", "yes", "no", "unknown", "waived", "entries", "command", "because"}); err != nil {
		return err
	}
	evidence := map[string]*controls.Evidence{}
	for i := range a.Evidence {
		evidence[a.Evidence[i].ID] = &a.Evidence[i]
	}
	for _, k := range a.Controls {
		ids := k.Evidence
		if len(ids) == 0 {
			ids = []string{""}
		}
		for _, id := range ids {
			row := []string{a.Framework, k.ID, string(k.Status), id, "", "", "", "", "", "", "", "", strings.Join(k.Because, "; ")}
			if e := evidence[id]; e != nil {
				n := e.Coverage
				row[4] = strconv.FormatBool(e.Available)
				for i, x := range []int{n.Asked, n.Yes, n.No, n.Unknown, n.Waived} {
					row[5+i] = strconv.Itoa(x)
				}
				row[10], row[11] = numbers(e.Entries), e.Command
			}
			for i, cell := range row { // nothing that a spreadsheet takes for a formula
				if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
					row[i] = "'" + cell
				}
			}
			if err := w.Write(row); err != nil {
				return err
			}
		}
	}
	w.Flush()
	return w.Error()
}
