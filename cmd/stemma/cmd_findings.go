package main

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/catalog"
	"github.com/stemma-lineage/stemma/internal/controls"
	"github.com/stemma-lineage/stemma/internal/finding"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/internal/webhook"
	"github.com/stemma-lineage/stemma/prov"
)

func findingsCommand() *cobra.Command {
	c := &cobra.Command{Use: "findings [REF]", Short: "What is wrong with what is live, who answers for it, and since when", Args: atMostOne,
		Example: "  stemma findings\n  stemma findings model:fraud@2 --env prod\n  stemma findings --detector L06 --outcome violated,unknown,clear\n  stemma findings --severity high --fail-on high\n" +
			"  stemma findings --owner person:ann@acme.example --since 2026-03-01\n  stemma findings --control PR.AA-05 --control NHI7\n" +
			"  stemma findings --at 2026-03-11 --known 2026-03-11 -o json\n  stemma findings -o sarif > findings.sarif\n" +
			"  stemma findings --webhook https://hooks.example/stemma --webhook-secret-file secret",
		Long: "Detectors L01 to L23 look at all subjects. Each finding is violated, clear or unknown; what is not known is never clear. " +
			"REF narrows to what concerns it: what it was made with, where it is deployed, and what that runs as and with. " +
			"A waiver (stemma policy waive REF --rule L06 …) that counts takes a finding out of --fail-on. " +
			"--webhook POSTs what is violated and new, changed or cleared since it was told last, signed as Standard Webhooks does; the secret is in a file or in STEMMA_WEBHOOK_SECRET."}
	c.Flags().StringSlice("detector", nil, "only these, by id or name (default: all)")
	c.Flags().String("severity", "", "at least low, medium, high or critical")
	c.Flags().StringSlice("outcome", []string{string(finding.Violated)}, "violated, unknown, clear")
	c.Flags().String("env", "", "only those of this environment, such as prod")
	c.Flags().StringSlice("owner", nil, "only those for which one of these answers, such as person:ann@acme.example; none: nobody")
	c.Flags().StringSlice("control", nil, "only those that concern one of these controls, in any usual spelling (PR.AA-5, NHI-07, GV-1.1)")
	c.Flags().String("since", "", "only those that could be seen first at this time or later (RFC 3339 or a date)")
	c.Flags().String("webhook", "", "tell this address what is new, changed or cleared; https, or a loopback address")
	c.Flags().String("webhook-secret-file", "", "the file with the secret of the webhook (default: STEMMA_WEBHOOK_SECRET)")
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
	Only       []string                `json:"only,omitempty"` // what else it was narrowed to
	Env        string                  `json:"environment,omitempty"`
	Counts     map[finding.Outcome]int `json:"counts"` // before --outcome and --severity narrowed them
	Waived     int                     `json:"waived"` // of those violated
	Findings   []finding.Finding       `json:"findings"`
}

func runFindings(c *cobra.Command, args []string) error {
	q, err := findingsFlags(c)
	if err != nil {
		return err
	}
	format, _ := c.Flags().GetString("output")
	if !slices.Contains([]string{"text", "json", "csv", "sarif"}, format) {
		return usage("-o %s is not known here; write text, json, csv or sarif", format)
	}
	to, err := webhookReceiver(c)
	if err != nil {
		return err
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
	a, violated, failed, err := askFindings(c, w, v, q, args)
	if err != nil {
		return err
	}
	if err := writeFindings(c.OutOrStdout(), format, a); err != nil {
		return err
	}
	if to != nil {
		o, err := webhook.Sender{}.Tell(c.Context(), filepath.Join(w.Dir, "webhooks"), to,
			webhook.Asked{Log: w.Log.Origin(), LogSize: a.LogSize, At: a.At, Only: strings.Join(append([]string{a.Ref, a.Env}, a.Only...), " ")}, violated)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.ErrOrStderr(), "the webhook at %s was told of %d\n", to.URL.Host, o.Told)
	}
	if failed {
		return errDenied
	}
	return nil
}

// webhookReceiver gives whom to tell; nil: nobody.
func webhookReceiver(c *cobra.Command) (*webhook.Receiver, error) {
	address, _ := c.Flags().GetString("webhook")
	file, _ := c.Flags().GetString("webhook-secret-file")
	if address == "" {
		if file != "" {
			return nil, usage("--webhook-secret-file is of a webhook; name it with --webhook")
		}
		return nil, nil
	}
	for _, f := range []string{"at", "known"} {
		if c.Flags().Changed(f) {
			return nil, usage("--webhook tells what is wrong now; leave out --%s", f)
		}
	}
	secret := os.Getenv("STEMMA_WEBHOOK_SECRET")
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		secret = string(b)
	}
	if secret == "" {
		return nil, usage("--webhook needs a secret; give --webhook-secret-file, or set STEMMA_WEBHOOK_SECRET")
	}
	r, err := webhook.NewReceiver(address, secret)
	if err != nil {
		return nil, usage("--webhook: %v", err)
	}
	return r, nil
}

// askFindings finds what is asked for. violated is all of it that is violated,
// whatever --outcome shows; failed tells whether --fail-on does.
func askFindings(c *cobra.Command, w *app.Workspace, v graph.View, q *findingsQuestion, args []string) (a *findingsAnswer, violated []finding.Finding, failed bool, err error) {
	a = &findingsAnswer{APIVersion: query.APIVersion, LogSize: v.AsOf().Known, At: v.AsOf().Valid.String(), Env: q.env, Only: q.only,
		Counts: map[finding.Outcome]int{}, Findings: []finding.Finding{}}
	concerns := func(*finding.Finding) bool { return true }
	if len(args) == 1 {
		id, err := thingOf(v, args[0])
		if err != nil {
			return nil, nil, false, err
		}
		a.Ref, concerns = args[0], finding.Behind(v, []graph.ID{id})
	}
	q.o.Log, q.o.Stewards = w.Log.Origin(), w.Stewards()
	if !q.narrow() { // what is only counted need not be told
		for _, o := range []finding.Outcome{finding.Clear, finding.Unknown} {
			if !slices.Contains(q.want, string(o)) {
				q.o.Terse = append(q.o.Terse, o)
			}
		}
	}
	run, err := finding.Run(v, q.o)
	if err != nil {
		return nil, nil, false, err
	}
	for f := range run {
		if !concerns(&f) || !q.holds(&f) {
			continue
		}
		f.Last = a.At
		a.Counts[f.Outcome]++
		if f.Waiver != nil && f.Outcome == finding.Violated {
			a.Waived++
		}
		failed = failed || q.failOn > 0 && f.Open() && f.Severity.Rank() >= q.failOn
		heavy := f.Outcome == finding.Clear || f.Severity.Rank() >= q.least
		if f.Outcome == finding.Violated && heavy {
			violated = append(violated, f)
		}
		if slices.Contains(q.want, string(f.Outcome)) && heavy {
			a.Findings = append(a.Findings, f)
		}
	}
	if err := c.Context().Err(); err != nil {
		return nil, nil, false, err
	}
	for _, l := range [][]finding.Finding{a.Findings, violated} {
		slices.SortFunc(l, func(x, y finding.Finding) int {
			return cmp.Or(-cmp.Compare(x.Severity.Rank(), y.Severity.Rank()), cmp.Compare(x.Detector, y.Detector), cmp.Compare(x.Subject, y.Subject), cmp.Compare(x.Fingerprint, y.Fingerprint))
		})
	}
	return a, violated, failed, nil
}

// findingsQuestion is what the flags ask for.
type findingsQuestion struct {
	o             finding.Options
	want          []string
	least, failOn int
	env           string
	owners        []string
	controls      []string
	since         prov.Instant
	only          []string // the narrowing flags, as they are shown
}

// narrow tells whether something is asked that only a whole finding tells.
func (q *findingsQuestion) narrow() bool {
	return q.env != "" || q.owners != nil || q.controls != nil || q.since != prov.Beginning
}

// holds tells whether a finding is among those that are asked for.
func (q *findingsQuestion) holds(f *finding.Finding) bool {
	if q.env != "" && f.Environment != q.env {
		return false
	}
	if q.owners != nil && !slices.Contains(q.owners, cmp.Or(f.Owner, "none")) {
		return false
	}
	if q.controls != nil && !slices.ContainsFunc(q.controls, func(k string) bool { return slices.Contains(f.Controls, k) }) {
		return false
	}
	if q.since == prov.Beginning {
		return true
	}
	if f.First == nil {
		return false
	}
	at, err := prov.ParseTime(cmp.Or(f.First.At, f.First.RecordedAt))
	told, err2 := prov.ParseTime(f.First.RecordedAt)
	return err == nil && prov.At(at) >= q.since || err2 == nil && prov.At(told) >= q.since
}

func findingsFlags(c *cobra.Command) (*findingsQuestion, error) {
	q := &findingsQuestion{since: prov.Beginning, o: finding.Options{Stop: func() bool { return c.Context().Err() != nil }}}
	names, _ := c.Flags().GetStringSlice("detector")
	for _, n := range names {
		d, ok := finding.Find(n)
		if !ok {
			return nil, usage("--detector %s: there is no such detector; they are L01 to L23, docs/findings.md lists them", n)
		}
		q.o.Only = append(q.o.Only, d.ID)
	}
	q.want, _ = c.Flags().GetStringSlice("outcome")
	for _, x := range q.want {
		if !slices.Contains([]string{"violated", "unknown", "clear"}, x) {
			return nil, usage("--outcome %s: write violated, unknown or clear", x)
		}
	}
	for _, f := range []struct {
		name string
		to   *int
	}{{"severity", &q.least}, {"fail-on", &q.failOn}} {
		text, _ := c.Flags().GetString(f.name)
		if *f.to = finding.Severity(text).Rank(); text != "" && *f.to == 0 {
			return nil, usage("--%s %s: write low, medium, high or critical", f.name, text)
		}
	}
	env, _ := c.Flags().GetString("env")
	q.env = strings.TrimPrefix(env, "env:")
	if err := q.owned(c); err != nil {
		return nil, err
	}
	if text, _ := c.Flags().GetString("since"); text != "" {
		t, err := prov.ParseTime(text)
		if err != nil {
			return nil, usage("--since: %v", err)
		}
		q.since = prov.At(t)
	}
	for _, f := range []string{"detector", "severity", "owner", "control", "since"} {
		if c.Flags().Changed(f) {
			q.only = append(q.only, "--"+f+" "+c.Flags().Lookup(f).Value.String())
		}
	}
	return q, nil
}

// owned reads the owners and the controls that are asked for.
func (q *findingsQuestion) owned(c *cobra.Command) error {
	owners, _ := c.Flags().GetStringSlice("owner")
	for _, o := range owners {
		if o != "none" {
			r, err := prov.ParseRef(o)
			if err != nil || r.Class() != prov.ClassIdentity {
				return usage("--owner %s: write somebody who can answer, such as person:ann@acme.example or team:risk, or none", o)
			}
			o = r.String()
		}
		q.owners = append(q.owners, o)
	}
	named, _ := c.Flags().GetStringSlice("control")
	for _, text := range named {
		found := 0
		for _, f := range catalog.Frameworks() {
			if k, err := f.Control(text); err == nil {
				found++
				q.controls = append(q.controls, k.ID)
			}
		}
		if found == 0 {
			return usage("--control %s: there is no such control in CSF 2.0, AI RMF 1.0, the OWASP NHI or the Agentic Top 10", text)
		}
	}
	return nil
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
	if i := f.Inputs; i != nil {
		live := "nowhere live"
		if i.Live {
			live = fmt.Sprintf("live, %d deployments depend on it", i.Blast)
		}
		fmt.Fprintf(out, "    severity: %s, of base %s, %s\n", f.Severity, i.Base, live)
	}
	if f.Grade != "" {
		fmt.Fprintf(out, "    weakest evidence: %s\n", f.Grade)
	}
	if f.Owner != "" {
		fmt.Fprintf(out, "    owner: %s\n", f.Owner)
	}
	fmt.Fprintf(out, "    controls: %s\n    fingerprint: %s\n", strings.Join(f.Controls, ", "), f.Fingerprint)
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
		"first_recorded", "known", "owner", "waived_by", "waived_until", "reasons", "entries", "controls", "fingerprint",
		"severity_base", "last_seen", "weakest_grade", "witness", "hidden", "not_waived"}); err != nil {
		return err
	}
	for _, f := range a.Findings {
		row := []string{f.Detector, f.Name, f.Subject, f.Digest, string(f.Outcome), string(f.Severity), f.Environment, "", "", "", "", "", f.Known, f.Owner, "", "", "", numbers(f.Entries),
			strings.Join(f.Controls, ", "), f.Fingerprint, "", f.Last, f.Grade, "", strconv.Itoa(f.Hidden), oneLine(strings.Join(f.NotWaived, "; "))}
		if f.Inputs != nil {
			row[20] = string(f.Inputs.Base)
			row[7], row[8] = strconv.FormatBool(f.Inputs.Live), strconv.Itoa(f.Inputs.Blast)
		}
		if f.First != nil {
			row[9], row[10], row[11] = f.First.At, strconv.FormatUint(f.First.Entry, 10), f.First.RecordedAt
		}
		if f.Waiver != nil {
			row[14], row[15] = f.Waiver.By, f.Waiver.Until
		}
		var why, how []string
		for _, h := range f.Witness {
			how = append(how, fmt.Sprintf("%s (entry %d)", h.Text(), h.Entry))
		}
		row[23] = strings.Join(how, "; ")
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
