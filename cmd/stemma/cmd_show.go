package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/capture"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// showEvidence adds to `stemma show` what is kept of a captured run beside its
// statements.
func showEvidence(c *cobra.Command) {
	c.Example += "\n  stemma show r-7f3k9q2mxd --skipped\n  stemma show r-7f3k9q2mxd --network"
	c.Flags().Bool("skipped", false, "of a captured run: the files that are no input or output, and the rule that decided")
	c.Flags().Bool("network", false, "of a captured run: the addresses that it connected to")
	ask := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		skipped, _ := c.Flags().GetBool("skipped")
		network, _ := c.Flags().GetBool("network")
		if !skipped && !network {
			return ask(c, args)
		}
		format, _ := c.Flags().GetString("output")
		if format != "text" && format != "jsonl" {
			return usage("--skipped and --network are given as -o text or -o jsonl")
		}
		w, err := workspace(c)
		if err != nil {
			return err
		}
		defer w.Close()
		in, err := runEvidence(c, w, strings.TrimPrefix(args[0], "activity:"))
		if err != nil {
			return err
		}
		defer in.Close()
		l := &listing{skipped: skipped, network: network, lines: format == "jsonl", out: bufio.NewWriter(c.OutOrStdout()), rules: map[string][]*capture.File{}}
		if err := capture.ReadEvidence(in, l.line); err != nil {
			return err
		}
		return l.end()
	}
}

// runEvidence finds the evidence of a run: by the log, else in the spool.
func runEvidence(c *cobra.Command, w *app.Workspace, id string) (io.ReadCloser, error) {
	g, _, err := w.Graph(c.Context())
	if err != nil {
		return nil, err
	}
	v := g.At(prov.Now)
	var said []statement.Parsed
	var entries []uint64
	if a := v.Lookup(capture.ActivityRef(id)); a != graph.None {
		entries = v.Entries(a)
	}
	for _, n := range entries {
		content, err := w.Log.Entry(c.Context(), n)
		if err != nil {
			return nil, err
		}
		s, err := statement.ReadStored(content)
		if err != nil {
			return nil, err
		}
		said = append(said, s.Parsed)
	}
	spooled, err := capture.SpoolOf(w.Dir).List()
	if err != nil {
		return nil, err
	}
	for _, x := range spooled {
		if x.ID == id && x.Signed {
			for _, l := range x.Lines {
				said = append(said, statement.Read(l))
			}
		}
	}
	for _, p := range said {
		if p.Statement == nil {
			continue
		}
		for _, e := range statement.EvidenceOf(p.Statement.Predicate) {
			if e.MediaType == capture.MediaType {
				return w.Blobs.Open(e.Digest["sha256"])
			}
		}
	}
	return nil, fmt.Errorf("%w: no captured run %s; stemma run prints the name of each", query.ErrNotFound, id)
}

// listing prints the evidence of a run.
type listing struct {
	skipped, network, lines bool
	out                     *bufio.Writer
	rules                   map[string][]*capture.File // by class and rule
	endpoints               []*capture.Endpoint
	head                    *capture.Head
}

func (l *listing) line(x *capture.Line) error {
	switch {
	case x.Run != nil:
		l.head = x.Run
	case x.File != nil && l.skipped && folded(x.File.Class):
		if l.lines {
			return json.NewEncoder(l.out).Encode(x.File)
		}
		k := string(x.File.Class) + "\x00" + x.File.Rule
		l.rules[k] = append(l.rules[k], x.File)
	case x.Endpoint != nil && l.network:
		if l.lines {
			return json.NewEncoder(l.out).Encode(x.Endpoint)
		}
		l.endpoints = append(l.endpoints, x.Endpoint)
	}
	return nil
}

func folded(c capture.Class) bool {
	return c != capture.Input && c != capture.Output && c != capture.Both
}

func (l *listing) end() error {
	if l.lines {
		return l.out.Flush()
	}
	for _, k := range slices.Sorted(maps.Keys(l.rules)) {
		class, rule, _ := strings.Cut(k, "\x00")
		files := l.rules[k]
		fmt.Fprintf(l.out, "%s, rule %s: %d\n  %s\n", class, rule, len(files), why(rule))
		for _, f := range files {
			fmt.Fprintf(l.out, "    %s", printable(f.Path))
			if f.To != "" {
				fmt.Fprintf(l.out, " → %s", printable(f.To))
			}
			if f.Note != "" {
				fmt.Fprintf(l.out, "  (%s)", printable(f.Note))
			}
			fmt.Fprintln(l.out)
		}
	}
	if l.skipped {
		for _, b := range l.head.Blind {
			fmt.Fprintf(l.out, "? %s\n", printable(b))
		}
	}
	for _, e := range l.endpoints {
		where := ""
		if e.Local {
			where = "  (this machine, or a name server)"
		}
		fmt.Fprintf(l.out, "%6d × %s%s\n", e.Count, printable(e.Addr), where)
	}
	if l.network && len(l.endpoints) == 0 {
		fmt.Fprintln(l.out, "it connected to nothing")
	}
	return l.out.Flush()
}

// why says what a rule means.
func why(rule string) string {
	if s := capture.Reasons[rule]; s != "" {
		return s
	}
	for _, r := range capture.Rules {
		if r.Name == rule {
			return r.Why
		}
	}
	return "a rule of another version of stemma"
}

// printable keeps names from moving the cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '�'
		}
		return r
	}, s)
}
