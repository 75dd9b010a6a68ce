package main

import (
	"encoding/json"
	"fmt"
	"sort"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/stemma-lineage/stemma/internal/intake"
	"github.com/stemma-lineage/stemma/internal/query"
)

// status says in a word or two what became of a file.
func (f *fileImport) status() string {
	switch {
	case f.accepted > 0:
		return "imported"
	case len(f.refused) > 0:
		return "refused"
	case f.part != "":
		return string(intake.PartOf)
	case f.Format == nil:
		return string(f.Why)
	}
	return "nothing in it"
}

func (f *fileImport) format() string {
	if f.Format == nil {
		return ""
	}
	return f.Format.Name()
}

// report tells what became of everything that was found.
func (i *importing) report(several bool) error {
	if o, _ := i.c.Flags().GetString("output"); o == "json" {
		return i.reportJSON()
	}
	if several {
		i.reportFormats()
	}
	i.reportTotals(several)
	return nil
}

// reportFormats prints a line for each format, and one for each reason why a
// file was not read, so that the files add up.
func (i *importing) reportFormats() {
	type line struct{ files, accepted, recorded, duplicate, refused int }
	lines, rest := map[string]*line{}, map[string]int{}
	for _, f := range i.files {
		name := f.format()
		if name == "" {
			rest[f.status()]++
			continue
		}
		l := lines[name]
		if l == nil {
			l = &line{}
			lines[name] = l
		}
		l.files++
		l.accepted += f.accepted
		l.recorded += f.recorded
		l.duplicate += f.duplicate
		for _, n := range f.refused {
			l.refused += n
		}
	}
	t := newTable("format", "files", "accepted", "new statements", "already there", "refused")
	for _, name := range sorted(lines) {
		l := lines[name]
		t.AppendRow(table.Row{name, l.files, l.accepted, l.recorded, l.duplicate, l.refused})
	}
	for _, why := range sorted(rest) {
		t.AppendRow(table.Row{"(" + why + ")", rest[why]})
	}
	t.AppendFooter(table.Row{"all", len(i.files)})
	fmt.Fprintf(i.c.OutOrStdout(), "%s\n\n", t.Render())
}

func (i *importing) reportTotals(several bool) {
	var accepted, recorded, duplicate int
	refused, left, checks := map[string]int{}, map[string]int{}, map[string]int{}
	for _, f := range i.files {
		accepted += f.accepted
		recorded += f.recorded
		duplicate += f.duplicate
		for r, n := range f.checks {
			checks[r] += n
		}
		for r, n := range f.refused {
			if several {
				r = f.format() + ": " + r
			}
			refused[r] += n
		}
		if !several && f.Format == nil {
			left[f.status()]++
		}
	}
	t := newTable("units", "count")
	t.AppendRow(table.Row{"accepted", accepted})
	t.AppendRow(table.Row{"statements recorded", recorded})
	t.AppendRow(table.Row{"statements that stood there already", duplicate})
	for _, r := range sorted(checks) {
		t.AppendRow(table.Row{"signatures: " + r, checks[r]})
	}
	for _, r := range sorted(refused) {
		t.AppendRow(table.Row{"refused: " + r, refused[r]})
	}
	for _, why := range sorted(left) {
		t.AppendRow(table.Row{"files: " + why, left[why]})
	}
	fmt.Fprintln(i.c.OutOrStdout(), t.Render())
}

func newTable(header ...any) table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options.DrawBorder = false
	t.Style().Format.Header = 0
	t.Style().Format.Footer = 0
	t.AppendHeader(header)
	return t
}

func sorted[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// importJSON is the answer of an import with -o json.
type importJSON struct {
	APIVersion string     `json:"apiVersion"`
	LogSize    uint64     `json:"logSize"`
	Files      []fileJSON `json:"files"`
}

type fileJSON struct {
	Path       string        `json:"path"`
	Status     string        `json:"status"`
	Format     string        `json:"format,omitempty"`
	PartOf     string        `json:"partOf,omitempty"`
	Accepted   int           `json:"accepted"`
	Statements int           `json:"statements"`
	Duplicates int           `json:"duplicates"`
	Refused    []refusedJSON `json:"refused,omitempty"`
	Signatures []checkedJSON `json:"signatures,omitempty"`
}

// checkedJSON tells how many units had a result of checking their signatures.
type checkedJSON struct {
	Result string `json:"result"` // as in the statements: verified, failed, unverified, unsigned
	Count  int    `json:"count"`
	First  string `json:"first"` // place, signer and reason of the first of them
}

type refusedJSON struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
	First  string `json:"first"` // place and detail of the first of them
}

func (i *importing) reportJSON() error {
	h, err := i.w.Log.Head(i.c.Context())
	if err != nil {
		return err
	}
	out := importJSON{APIVersion: query.APIVersion, LogSize: uint64(h.Size), Files: []fileJSON{}}
	for _, f := range i.files {
		j := fileJSON{Path: f.Path, Status: f.status(), Format: f.format(), PartOf: f.part,
			Accepted: f.accepted, Statements: f.recorded, Duplicates: f.duplicate}
		for _, r := range sorted(f.refused) {
			j.Refused = append(j.Refused, refusedJSON{r, f.refused[r], f.first[r]})
		}
		for _, r := range sorted(f.checks) {
			j.Signatures = append(j.Signatures, checkedJSON{r, f.checks[r], f.checked[r]})
		}
		out.Files = append(out.Files, j)
	}
	e := json.NewEncoder(i.c.OutOrStdout())
	e.SetEscapeHTML(false)
	return e.Encode(out)
}
