package main

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/controls"
	"github.com/stemma-lineage/stemma/internal/finding"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

func findingsCommand() *cobra.Command {
	c := &cobra.Command{Use: "findings [REF]", Short: "What is wrong with what is live, who answers for it, and since when", Args: atMostOne,
		Example: "  stemma findings\n  stemma findings model:fraud@2 --env prod\n  stemma findings --detector L06 --outcome violated,unknown,clear\n  stemma findings --severity high --fail-on high\n" +
			"  stemma findings --at 2026-03-11 --known 2026-03-11 -o json\n  stemma findings -o sarif > findings.sarif",
		Long: "Detectors L01 to L23 look at all subjects. Each finding is violated, clear or unknown; what is not known is never clear. " +
			"REF narrows to what concerns it: what it was made with, where it is deployed, and what that runs as and with. " +
			"A waiver (stemma policy waive REF --rule L06 …) that counts takes a finding out of --fail-on."}
	c.Flags().StringSlice("detector", nil, "only these, by id or name (default: all)")
	c.Flags().String("severity", "", "at least low, medium, high or critical")
	c.Flags().StringSlice("outcome", []string{string(finding.Violated)}, "violated, unknown, clear")
	c.Flags().String("env", "", "only those of this environment, such as prod")
	c.Flags().String("at", "", "as it was at this time (RFC 3339 or a date; default: now)")
	c.Flags().String("known", "", "as it was known at this time or log size (default: now)")
	c.Flags().String("fail-on", "", "exit with 10 when something of at least this severity is violated and not waived")
	c.Flags().StringP("output", "o", "text", "text, json, csv or sarif")
	c.RunE = runFindings
	return c
}

// findingsAnswer is what is found, and what was asked.
type findingsAnswer struct {
	APIVersion string                  `json:"apiVersion"`
	LogSize    uint64                  `json:"logSize"`
	At         string                  `json:"at"`
	Ref        string                  `json:"ref,omitempty"`
	Env        string                  `json:"environment,omitempty"`
	Counts     map[finding.Outcome]int `json:"counts"` // before --outcome and --severity narrowed them
	Waived     int                     `json:"waived"` // of those violated
	Findings   []finding.Finding       `json:"findings"`
}

func runFindings(c *cobra.Command, args []string) error {
	o, want, least, failOn, err := findingsFlags(c)
	if err != nil {
		return err
	}
	format, _ := c.Flags().GetString("output")
	if !slices.Contains([]string{"text", "json", "csv", "sarif"}, format) {
		return usage("-o %s is not known here; write text, json, csv or sarif", format)
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
	if v.AsOf().Valid == prov.Forever {
		v = v.When(prov.At(time.Now()))
	}
	a := &findingsAnswer{APIVersion: query.APIVersion, LogSize: v.AsOf().Known, At: v.AsOf().Valid.String(), Counts: map[finding.Outcome]int{}, Findings: []finding.Finding{}}
	concerns := func(*finding.Finding) bool { return true }
	if len(args) == 1 {
		id, err := thingOf(v, args[0])
		if err != nil {
			return err
		}
		a.Ref, concerns = args[0], finding.Behind(v, []graph.ID{id})
	}
	env, _ := c.Flags().GetString("env")
	a.Env = strings.TrimPrefix(env, "env:")
	o.Log, o.Stewards = w.Log.Origin(), w.Stewards()
	run, err := finding.Run(v, o)
	if err != nil {
		return err
	}
	failed := false
	for f := range run {
		if !concerns(&f) || a.Env != "" && f.Environment != a.Env {
			continue
		}
		a.Counts[f.Outcome]++
		if f.Waiver != nil && f.Outcome == finding.Violated {
			a.Waived++
		}
		failed = failed || failOn > 0 && f.Open() && f.Severity.Rank() >= failOn
		if slices.Contains(want, string(f.Outcome)) && (f.Outcome == finding.Clear || f.Severity.Rank() >= least) {
			a.Findings = append(a.Findings, f)
		}
	}
	if err := c.Context().Err(); err != nil {
		return err
	}
	slices.SortFunc(a.Findings, func(x, y finding.Finding) int {
		return cmp.Or(-cmp.Compare(x.Severity.Rank(), y.Severity.Rank()), cmp.Compare(x.Detector, y.Detector), cmp.Compare(x.Subject, y.Subject), cmp.Compare(x.Fingerprint, y.Fingerprint))
	})
	if err := writeFindings(c.OutOrStdout(), format, a); err != nil {
		return err
	}
	if failed {
		return errDenied
	}
	return nil
}

func findingsFlags(c *cobra.Command) (o finding.Options, want []string, least, failOn int, err error) {
	names, _ := c.Flags().GetStringSlice("detector")
	for _, n := range names {
		d, ok := finding.Find(n)
		if !ok {
			return o, nil, 0, 0, usage("--detector %s: there is no such detector; they are L01 to L23, docs/findings.md lists them", n)
		}
		o.Only = append(o.Only, d.ID)
	}
	want, _ = c.Flags().GetStringSlice("outcome")
	for _, x := range want {
		if !slices.Contains([]string{"violated", "unknown", "clear"}, x) {
			return o, nil, 0, 0, usage("--outcome %s: write violated, unknown or clear", x)
		}
	}
	for _, f := range []struct {
		name string
		to   *int
	}{{"severity", &least}, {"fail-on", &failOn}} {
		text, _ := c.Flags().GetString(f.name)
		if *f.to = finding.Severity(text).Rank(); text != "" && *f.to == 0 {
			return o, nil, 0, 0, usage("--%s %s: write low, medium, high or critical", f.name, text)
		}
	}
	o.Stop = func() bool { return c.Context().Err() != nil }
	return o, want, least, failOn, nil
}

func writeFindings(out io.Writer, format string, a *findingsAnswer) error {
	switch format {
	case "json":
		return writeJSON(out, a)
	case "csv":
		return findingsCSV(out, a)
	case "sarif":
		return finding.WriteSARIF(out, a.Findings, "")
	}
	fmt.Fprintf(out, "%d violated (%d of them waived), %d unknown, %d clear, at %s, log of %d entries\n", a.Counts[finding.Violated], a.Waived,
		a.Counts[finding.Unknown], a.Counts[finding.Clear], a.At, a.LogSize)
	for i := range a.Findings {
		printFinding(out, &a.Findings[i])
	}
	return nil
}

var findingGlyphs = map[finding.Outcome]string{finding.Violated: "✗", finding.Unknown: "?", finding.Clear: "✓"}

func printFinding(out io.Writer, f *finding.Finding) {
	glyph := findingGlyphs[f.Outcome]
	if f.Waiver != nil {
		glyph = "~"
	}
	fmt.Fprintf(out, "\n%s %s %s: %s", glyph, f.Detector, f.Name, f.Subject)
	if f.Severity != "" {
		fmt.Fprintf(out, ", %s", f.Severity)
	}
	if f.Environment != "" {
		fmt.Fprintf(out, ", in %s", f.Environment)
	}
	fmt.Fprintln(out)
	for _, r := range f.Reasons {
		fmt.Fprintf(out, "    %s: %s\n", r.Class, oneLine(r.Detail))
	}
	for _, h := range f.Witness[:min(len(f.Witness), 6)] {
		grade := ""
		if h.Grade != "" {
			grade = ", " + h.Grade
		}
		fmt.Fprintf(out, "    %s %s %s (entry %d%s)\n", h.From, h.Relation, h.To, h.Entry, grade)
	}
	if n := len(f.Witness) - 6 + f.Hidden; n > 0 {
		fmt.Fprintf(out, "    and %d more, -o json shows them\n", n)
	}
	if f.First != nil {
		fmt.Fprintf(out, "    since %s, in the log since %s (entry %d)\n", f.First.At, f.First.RecordedAt, f.First.Entry)
	}
	if f.Owner != "" {
		fmt.Fprintf(out, "    owner: %s\n", f.Owner)
	}
	if w := f.Waiver; w != nil {
		fmt.Fprintf(out, "    accepted by %s until %s: %s (entry %d)\n", w.By, w.Until, oneLine(w.Reason), w.Entry)
	}
	for _, w := range f.NotWaived {
		fmt.Fprintf(out, "    %s\n", oneLine(w))
	}
	if d, ok := finding.Find(f.Detector); ok && f.Outcome == finding.Violated && f.Waiver == nil {
		fmt.Fprintf(out, "    mend: %s\n", d.Mend)
	}
}

func findingsCSV(out io.Writer, a *findingsAnswer) error {
	w := csv.NewWriter(out)
	if err := w.Write([]string{"detector", "name", "subject", "digest", "outcome", "severity", "environment", "live", "blast", "first_seen", "first_entry",
		"first_recorded", "known", "owner", "waived_by", "waived_until", "reasons", "entries", "controls", "fingerprint"}); err != nil {
		return err
	}
	for _, f := range a.Findings {
		row := []string{f.Detector, f.Name, f.Subject, f.Digest, string(f.Outcome), string(f.Severity), f.Environment, "", "", "", "", "", f.Known, f.Owner, "", "", "", numbers(f.Entries),
			strings.Join(f.Controls, ", "), f.Fingerprint}
		if f.Inputs != nil {
			row[7], row[8] = strconv.FormatBool(f.Inputs.Live), strconv.Itoa(f.Inputs.Blast)
		}
		if f.First != nil {
			row[9], row[10], row[11] = f.First.At, strconv.FormatUint(f.First.Entry, 10), f.First.RecordedAt
		}
		if f.Waiver != nil {
			row[14], row[15] = f.Waiver.By, f.Waiver.Until
		}
		var why []string
		for _, r := range f.Reasons {
			why = append(why, r.Class+": "+oneLine(r.Detail))
		}
		row[16] = strings.Join(why, "; ")
		for i, x := range row { // a spreadsheet takes these for formulas
			if x != "" && strings.ContainsRune("=+-@\t\r", rune(x[0])) {
				row[i] = "'" + x
			}
		}
		if err := w.Write(row); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// detectorsFor gives an assessment of controls what the detectors say. They
// are run once, when the first of them is asked for.
func detectorsFor(o finding.Options) controls.Detectors {
	var found map[string][]finding.Finding
	return func(v graph.View, id string, covers func(graph.ID) bool) ([]controls.Item, bool) {
		if _, ok := finding.Find(id); !ok {
			return nil, false
		}
		if found == nil {
			run, err := finding.Run(v, o)
			if err != nil {
				return nil, false
			}
			found = map[string][]finding.Finding{}
			for f := range run {
				found[f.Detector] = append(found[f.Detector], f)
			}
		}
		var out []controls.Item
		for _, f := range found[id] {
			if !covers(f.ID) && !slices.ContainsFunc(f.Under, covers) {
				continue
			}
			out = append(out, item(&f, v.AsOf()))
		}
		return out, true
	}
}

func item(f *finding.Finding, at prov.AsOf) controls.Item {
	it := controls.Item{Ref: f.Subject, Says: string(f.Outcome), Entries: f.Entries,
		Command: fmt.Sprintf("stemma findings --detector %s --outcome violated,unknown,clear --at %s --known %d", f.Detector, at.Valid, at.Known)}
	switch f.Outcome {
	case finding.Clear:
		it.Answer = controls.Yes
	case finding.Violated:
		it.Answer = controls.No
	default:
		it.Answer = controls.Unknown
	}
	if f.Waiver != nil {
		it.Answer = controls.Waived
	}
	var why []string
	for _, r := range f.Reasons {
		why = append(why, r.Detail)
	}
	if len(why) > 0 {
		it.Says = strings.Join(why, "; ")
	}
	return it
}
