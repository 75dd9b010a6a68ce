package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/internal/report"
	"github.com/stemma-lineage/stemma/prov"
)

type question struct {
	use, short, example string
	args                []string
	ask                 func(v graph.View, args []string, o query.Options) (*query.Answer, error)
}

// defaultPaths is how many paths --all gives unless --limit says otherwise.
const defaultPaths = 100

func askCommands() []*cobra.Command {
	one := func(f func(graph.View, string, query.Options) (*query.Answer, error)) func(graph.View, []string, query.Options) (*query.Answer, error) {
		return func(v graph.View, args []string, o query.Options) (*query.Answer, error) { return f(v, args[0], o) }
	}
	var out []*cobra.Command
	for _, q := range []question{
		{"why REF", "What was it made from, by whom, and who approved it", "  stemma why model:fraud@1\n  stemma why dataset:lake/tx --at 2026-03-01 -o json", []string{"one REF"}, one(query.Why)},
		{"blast REF", "What was made with it, all the way down", "  stemma blast dataset:transactions@2026-03\n  stemma blast credential:vault/prod/scorer@4 -o csv\n  stemma blast dataset:lake/tx --since 2026-03-01", []string{"one REF"}, one(query.Blast)},
		{"path FROM TO", "How one thing depends on another: all that lies between, and the shortest path", "  stemma path model:fraud@1 dataset:transactions@2026-02\n  stemma path model:fraud@1 dataset:transactions --all", []string{"FROM", "TO"},
			func(v graph.View, args []string, o query.Options) (*query.Answer, error) {
				return query.Path(v, args[0], args[1], o)
			}},
		{"reach IDENTITY [RESOURCE]", "How an identity, agent or service can reach a resource, or all that it can reach", "  stemma reach sa:prod/scorer\n  stemma reach service:fraud-scoring resource:s3://acme/features --at 2026-03-11\n  stemma reach agent:helper@2 --kind resource,tool", nil,
			func(v graph.View, args []string, o query.Options) (*query.Answer, error) {
				return query.CanReach(v, args[0], strings.Join(args[1:], ""), o)
			}},
		{"history REF", "What happened to it, when, and by whom", "  stemma history service:fraud-scoring\n  stemma history model:fraud", []string{"one REF"}, one(query.History)},
		{"show REF", "What is recorded of one thing, both ways", "  stemma show model:fraud@1", []string{"one REF"}, one(query.Show)},
		{"search TEXT", "Which names contain a text", "  stemma search fraud --limit 20", []string{"a text"}, one(query.Search)},
	} {
		out = append(out, askCommand(q))
	}
	return append(out, diffCommand())
}

func askCommand(q question) *cobra.Command {
	c := &cobra.Command{Use: q.use, Short: q.short, Example: q.example, Args: exactly(q.args...)}
	if strings.HasPrefix(q.use, "reach ") {
		c.Args = func(c *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return usage("%s takes IDENTITY and, if you ask for one only, RESOURCE; %s --help shows examples", c.CommandPath(), c.CommandPath())
			}
			return nil
		}
	}
	clockFlags(c)
	limitFlags(c)
	if q.use == "blast REF" {
		c.Flags().String("since", "", "of a series: only versions written then or later")
	}
	if strings.HasPrefix(q.use, "path ") || strings.HasPrefix(q.use, "reach ") {
		c.Flags().Bool("all", false, fmt.Sprintf("every path; --limit bounds their number (default %d, 0: no limit)", defaultPaths))
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		w, err := workspace(c)
		if err != nil {
			return err
		}
		defer w.Close()
		g, h, err := w.Graph(c.Context())
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
		if !strings.HasPrefix(q.use, "search") {
			if args, err = hashed(args); err != nil {
				return err
			}
		}
		a, err := q.ask(v, args, opt)
		if err != nil {
			return err
		}
		return answer(c, w, h, a)
	}
	return c
}

// hashed puts the digest in the place of each argument that is a file here and
// cannot be a Ref.
func hashed(args []string) ([]string, error) {
	out := slices.Clone(args)
	for i, a := range args {
		st, err := os.Stat(a)
		if _, notRef := prov.ParseRef(a); err != nil || notRef == nil || !st.Mode().IsRegular() {
			continue
		}
		digest, err := hashFile(a)
		if err != nil {
			return nil, err
		}
		out[i] = "sha256:" + digest
	}
	return out, nil
}

func clockFlags(c *cobra.Command) {
	c.Flags().String("at", "", "as it was at this time (RFC 3339 or a date; default: the whole history)")
	c.Flags().String("known", "", "as it was known at this time or log size (default: now)")
	c.Flags().StringP("output", "o", "text", "text, json, csv, dot, mermaid or html")
}

func limitFlags(c *cobra.Command) {
	c.Flags().Int("depth", 0, "relations from the focus at most (0: no limit)")
	c.Flags().Int("limit", 0, "things in the answer at most (0: no limit); what is cut is counted")
	c.Flags().StringSlice("kind", nil, "only things of these kinds")
	c.Flags().StringSlice("relation", nil, "walk only relations of these types")
}

func options(c *cobra.Command) (query.Options, error) {
	var o query.Options
	o.Depth, _ = c.Flags().GetInt("depth")
	o.Limit, _ = c.Flags().GetInt("limit")
	o.Stop = func() bool { return c.Context().Err() != nil }
	if o.All, _ = c.Flags().GetBool("all"); o.All && !c.Flags().Changed("limit") {
		o.Limit = defaultPaths
	}
	if o.Depth < 0 || o.Limit < 0 {
		return o, usage("--depth and --limit cannot be negative")
	}
	ks, _ := c.Flags().GetStringSlice("kind")
	for _, k := range ks {
		if !prov.Kind(k).Known() {
			return o, usage("--kind %s: no such kind; the kinds are %v", k, prov.Kinds())
		}
		o.Kinds = append(o.Kinds, prov.Kind(k))
	}
	rs, _ := c.Flags().GetStringSlice("relation")
	for _, r := range rs {
		t, err := prov.ParseRelationType(r)
		if err != nil {
			return o, usage("--relation: %v; the types are %v", err, prov.RelationTypes())
		}
		o.Relations |= prov.Relations(t)
		if t == prov.GeneratedBy {
			o.Relations |= prov.Relations(prov.GeneratedByStated)
		}
	}
	if s, err := c.Flags().GetString("since"); err == nil && s != "" {
		t, err := prov.ParseTime(s)
		if err != nil {
			return o, usage("--since: %v", err)
		}
		o.Since = prov.At(t)
	}
	return o, nil
}

// view reads the two clocks.
func view(c *cobra.Command, w *app.Workspace, g *graph.Graph, at, known string) (graph.View, error) {
	asOf := prov.Now
	if s, _ := c.Flags().GetString(at); s != "" {
		t, err := prov.ParseTime(s)
		if err != nil {
			return graph.View{}, usage("--%s: %v", at, err)
		}
		asOf.Valid = prov.At(t)
	}
	if s, _ := c.Flags().GetString(known); s != "" {
		n, err := knownSize(c.Context(), w, g, s)
		if err != nil {
			return graph.View{}, usage("--%s: %v", known, err)
		}
		asOf.Known = n
	}
	return g.At(asOf), nil
}

func knownSize(ctx context.Context, w *app.Workspace, g *graph.Graph, s string) (uint64, error) {
	if n, err := strconv.ParseUint(s, 10, 63); err == nil {
		if n > g.Size() {
			return 0, fmt.Errorf("the log holds %d entries, not %d", g.Size(), n)
		}
		return n, nil
	}
	t, err := prov.ParseTime(s)
	if err != nil {
		return 0, fmt.Errorf("%w, or a log size", err)
	}
	return w.Log.SizeAt(ctx, t)
}

// answer writes an answer to standard output. Its root is that of the log at
// the size that the answer knows.
func answer(c *cobra.Command, w *app.Workspace, h evlog.Head, a *query.Answer) error {
	root := h.Root
	if a.LogSize != uint64(h.Size) {
		var err error
		if root, err = w.Log.RootAt(c.Context(), int64(a.LogSize)); err != nil {
			return err
		}
	}
	a.Root = hex.EncodeToString(root[:])
	format, _ := c.Flags().GetString("output")
	b, err := report.Write(a, format)
	if err != nil {
		return usageError{err}
	}
	_, err = c.OutOrStdout().Write(b)
	return err
}

func diffCommand() *cobra.Command {
	c := &cobra.Command{Use: "diff FROM [TO]", Short: "In what two things, or one at two times, differ",
		Example: "  stemma diff model:fraud@1 model:fraud@2\n  stemma diff model:fraud --at 2026-03-06 --to-at 2026-03-11\n  stemma diff model:fraud@2 --known 16 --exit-code"}
	clockFlags(c)
	c.Flags().String("to-at", "", "--at of the second side")
	c.Flags().String("to-known", "", "--known of the second side")
	c.Flags().Bool("exit-code", false, "exit with 13 when there are differences")
	c.Flags().Int("depth", 0, "relations from the focus at most (0: no limit)")
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) != 1 && len(args) != 2 {
			return usage("stemma diff takes FROM and TO, or one REF with two clocks")
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		w, err := workspace(c)
		if err != nil {
			return err
		}
		defer w.Close()
		g, h, err := w.Graph(c.Context())
		if err != nil {
			return err
		}
		from, err := view(c, w, g, "at", "known")
		if err != nil {
			return err
		}
		to := from
		if len(args) == 1 || c.Flags().Changed("to-at") || c.Flags().Changed("to-known") {
			if to, err = view(c, w, g, "to-at", "to-known"); err != nil {
				return err
			}
		}
		opt, err := options(c)
		if err != nil {
			return err
		}
		a, err := query.Diff(from, to, args[0], args[len(args)-1], opt)
		if err != nil {
			return err
		}
		if err := answer(c, w, h, a); err != nil {
			return err
		}
		if want, _ := c.Flags().GetBool("exit-code"); want && len(a.Differences) > 0 {
			return errDiffers
		}
		return nil
	}
	return c
}
