package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/gate"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/policy"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/internal/report"
	"github.com/stemma-lineage/stemma/prov"
)

type question struct {
	use, short, example string
	args                []string
	flags               []string // beside the clocks and the format: only those that the question heeds
	ask                 func(v graph.View, args []string, o query.Options) (*query.Answer, error)
}

// lineageFlags are those of the closures.
var lineageFlags = []string{"depth", "limit", "kind", "relation", "count"}

// defaultPaths is how many paths --all gives unless --limit says otherwise.
const defaultPaths = 100

func askCommands() []*cobra.Command {
	one := func(f func(graph.View, string, query.Options) (*query.Answer, error)) func(graph.View, []string, query.Options) (*query.Answer, error) {
		return func(v graph.View, args []string, o query.Options) (*query.Answer, error) { return f(v, args[0], o) }
	}
	var out []*cobra.Command
	for _, q := range []question{
		{"why REF", "What was it made from, by whom, and who approved it", "  stemma why model:fraud@1\n  stemma why dataset:lake/tx --at 2026-03-01 -o json",
			[]string{"one REF"}, lineageFlags, one(query.Why)},
		{"blast REF", "What was made with it, all the way down", "  stemma blast dataset:transactions@2026-03\n  stemma blast credential:vault/prod/scorer@4 -o csv\n  stemma blast dataset:lake/tx --since 2026-03-01 --count",
			[]string{"one REF"}, append([]string{"since"}, lineageFlags...), one(query.Blast)},
		{"path FROM TO", "How one thing depends on another: all that lies between, and the shortest path", "  stemma path model:fraud@1 dataset:transactions@2026-02\n  stemma path model:fraud@1 dataset:transactions --all",
			[]string{"FROM", "TO"}, []string{"limit", "relation", "all"}, func(v graph.View, args []string, o query.Options) (*query.Answer, error) {
				return query.Path(v, args[0], args[1], o)
			}},
		{"reach IDENTITY [RESOURCE]", "How an identity, agent or service can reach a resource, or all that it can reach", "  stemma reach sa:prod/scorer\n  stemma reach service:fraud-scoring resource:s3://acme/features --at 2026-03-11\n  stemma reach agent:helper@2 --kind resource,tool",
			nil, []string{"depth", "limit", "kind", "relation", "all"}, reach},
		{"history REF", "What happened to it, when, and by whom", "  stemma history service:fraud-scoring\n  stemma history model:fraud",
			[]string{"one REF"}, nil, one(query.History)},
		{"show REF", "What is recorded of one thing, both ways", "  stemma show model:fraud@1",
			[]string{"one REF"}, []string{"limit"}, one(query.Show)},
		{"search TEXT", "Which names contain a text", "  stemma search fraud --limit 20",
			[]string{"a text"}, []string{"limit"}, one(query.Search)},
	} {
		c := askCommand(q)
		if c.Name() == "show" {
			showEvidence(c)
		}
		out = append(out, c)
	}
	return append(out, diffCommand())
}

func reach(v graph.View, args []string, o query.Options) (*query.Answer, error) {
	switch {
	case len(args) == 1 && o.All:
		return nil, usage("--all gives every path to one resource; name it: stemma reach %s RESOURCE --all", args[0])
	case len(args) == 1:
		return query.CanReach(v, args[0], "", o)
	case o.Depth > 0 || len(o.Kinds) > 0:
		return nil, usage("--depth and --kind narrow what an identity can reach; leave them out, or RESOURCE")
	}
	return query.CanReach(v, args[0], args[1], o)
}

func askCommand(q question) *cobra.Command {
	c := &cobra.Command{Use: q.use, Short: q.short, Example: q.example, Args: exactly(q.args...)}
	if c.Name() == "reach" {
		c.Args = func(c *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return usage("%s takes IDENTITY and, if you ask for one only, RESOURCE; %s --help shows examples", c.CommandPath(), c.CommandPath())
			}
			return nil
		}
	}
	clockFlags(c)
	limitFlags(c, q.flags...)
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
		if c.Name() != "search" {
			if args, err = hashed(args); err != nil {
				return err
			}
		}
		if format, _ := c.Flags().GetString("output"); format == "jsonl" {
			return lines(c, w, h, v, args, opt)
		}
		ask := q.ask
		if count, _ := c.Flags().GetBool("count"); count {
			if format, _ := c.Flags().GetString("output"); format == "dot" || format == "mermaid" {
				return usage("--count names no things to draw; use -o text, json, csv or html")
			}
			ask = func(v graph.View, args []string, o query.Options) (*query.Answer, error) {
				return query.Counts(v, c.Name(), args[0], o)
			}
		}
		a, err := ask(v, args, opt)
		if err != nil {
			return err
		}
		policy.SignOff(a.History, v, gate.Context(w, ""))
		return answer(c, w, h, a)
	}
	return c
}

// lines writes an answer piece by piece.
func lines(c *cobra.Command, w *app.Workspace, h evlog.Head, v graph.View, args []string, opt query.Options) error {
	count, _ := c.Flags().GetBool("count")
	if name := c.Name(); count || name != "why" && name != "blast" {
		return usage("-o jsonl gives the items of why and blast, one a line; use -o json here")
	}
	root, err := rootAt(c.Context(), w, h, v.AsOf().Known)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(c.OutOrStdout(), 1<<16)
	err = query.Lines(v, c.Name(), args[0], opt, func(l *query.Line) error {
		if l.Header != nil {
			l.Header.Root = root
		}
		return report.Line(out, l)
	})
	return errors.Join(err, out.Flush())
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
	c.Flags().StringP("output", "o", "text", "text, json, csv, dot, mermaid, html or prov-json; of why and blast also openlineage, and jsonl, one item a line")
}

// limitFlags adds those flags that a question heeds.
func limitFlags(c *cobra.Command, names ...string) {
	for _, name := range names {
		switch name {
		case "depth":
			c.Flags().Int("depth", 0, "relations from the focus at most (0: no limit); what is cut is counted")
		case "limit":
			c.Flags().Int("limit", 0, "things in the answer at most (0: no limit); what is cut is counted")
		case "kind":
			c.Flags().StringSlice("kind", nil, "only things of these kinds")
		case "relation":
			c.Flags().StringSlice("relation", nil, "walk only relations of these types")
		case "since":
			c.Flags().String("since", "", "of a series: only versions written then or later")
		case "all":
			c.Flags().Bool("all", false, fmt.Sprintf("every path; --limit bounds their number (default %d, 0: no limit)", defaultPaths))
		case "count":
			c.Flags().Bool("count", false, "how many things by kind and environment, without saying which")
		}
	}
}

func options(c *cobra.Command) (query.Options, error) {
	var o query.Options
	o.Depth, _ = c.Flags().GetInt("depth")
	o.Limit, _ = c.Flags().GetInt("limit")
	o.Stop = func() bool { return c.Context().Err() != nil }
	if o.All, _ = c.Flags().GetBool("all"); o.All && !c.Flags().Changed("limit") {
		o.Limit = defaultPaths
	}
	if count, _ := c.Flags().GetBool("count"); count && o.Limit > 0 {
		return o, usage("--count counts everything; leave out --limit")
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
	var err error
	if a.Root, err = rootAt(c.Context(), w, h, a.LogSize); err != nil {
		return err
	}
	format, _ := c.Flags().GetString("output")
	b, err := report.Write(a, format)
	if err != nil {
		return usageError{err}
	}
	_, err = c.OutOrStdout().Write(b)
	return err
}

// secondView reads the clocks of the second side of a diff. When one of them
// is given, the other is that of the first side: two valid times as known at
// one size, or one valid time as known at two sizes.
func secondView(c *cobra.Command, w *app.Workspace, g *graph.Graph, first graph.View, oneRef bool) (graph.View, error) {
	at, known := "to-at", "to-known"
	switch toAt, toKnown := c.Flags().Changed(at), c.Flags().Changed(known); {
	case !toAt && !toKnown && !oneRef:
		return first, nil
	case toAt && !toKnown:
		known = "known"
	case toKnown && !toAt:
		at = "at"
	}
	return view(c, w, g, at, known)
}

// rootAt gives the root of the log at a size, in hexadecimal.
func rootAt(ctx context.Context, w *app.Workspace, h evlog.Head, size uint64) (string, error) {
	root := h.Root
	if size != uint64(h.Size) {
		var err error
		if root, err = w.Log.RootAt(ctx, int64(size)); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(root[:]), nil
}

func diffCommand() *cobra.Command {
	c := &cobra.Command{Use: "diff FROM [TO]", Short: "In what two releases, or one at two times, differ, and which approval covers each change",
		Example: "  stemma diff model:fraud@1 model:fraud@2\n  stemma diff model:fraud --at 2026-03-06 --to-at 2026-03-11\n  stemma diff model:fraud@2 --at 2026-03-11 --known 16 --to-known 18\n  stemma diff model:fraud@2 --known 16 --exit-code"}
	clockFlags(c)
	c.Flags().String("to-at", "", "--at of the second side (default: that of the first if --to-known is given, else the whole history)")
	c.Flags().String("to-known", "", "--known of the second side (default: that of the first if --to-at is given, else now)")
	c.Flags().String("env", "", "for which environment an approval must be to cover a change (default: any)")
	c.Flags().Bool("exit-code", false, "exit with 13 when there are differences")
	limitFlags(c, "depth")
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
		to, err := secondView(c, w, g, from, len(args) == 1)
		if err != nil {
			return err
		}
		opt, err := options(c)
		if err != nil {
			return err
		}
		a, err := query.Diff(from, to, args[0], args[len(args)-1], opt)
		if err != nil {
			return err
		}
		if to.AsOf().Valid == prov.Forever { // what counts is asked of a moment
			to = to.When(prov.At(time.Now()))
		}
		env, _ := c.Flags().GetString("env")
		policy.Cover(a.Differences, to, gate.Context(w, strings.TrimPrefix(env, "env:")))
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
