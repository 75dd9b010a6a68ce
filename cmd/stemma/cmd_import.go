package main

import (
	"fmt"
	"io"
	"os"
	"sort"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/openlineage"
)

// importBatch is how many statements are recorded in one transaction.
const importBatch = 512

func importCommand() *cobra.Command {
	c := &cobra.Command{Use: "import", Short: "Bring in what other tools recorded", Args: cobra.ArbitraryArgs,
		Example: "  stemma import openlineage events/*.json",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("format %q is not known; the formats are: openlineage", args[0])
			}
			return c.Help()
		}}
	ol := &cobra.Command{Use: "openlineage FILE…", Short: "OpenLineage events: one object, an array, or one a line",
		Example: "  stemma import openlineage events/*.json\n  cat events.ndjson | stemma import openlineage -",
		Long:    "Events that cannot be used are refused one by one with the reason; the rest is recorded. The exit code is 0 when every file could be read, even if events were refused; --strict makes refusals exit 1."}
	ol.Flags().String("key", "default", "the signing key's name")
	ol.Flags().Bool("strict", false, "exit with 1 when any event was refused")
	ol.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage("stemma import openlineage takes files, or - for standard input")
		}
		return nil
	}
	ol.RunE = func(c *cobra.Command, args []string) error { return runImport(c, openlineage.Importer{}, args) }
	c.AddCommand(ol)
	return c
}

// run of one import: what was taken, and what was refused for which reason.
type importing struct {
	*writing
	c         *cobra.Command
	im        importer.Importer
	pending   [][]byte
	evidence  *evlog.BlobBatch // durable before the entries that name it
	accepted  int
	events    int
	duplicate int
	refused   map[string]int
	progress  *progress
}

func runImport(c *cobra.Command, im importer.Importer, files []string) error {
	x, err := begin(c)
	if err != nil {
		return err
	}
	defer x.w.Close()
	if _, _, err := x.w.Graph(c.Context()); err != nil { // so that each statement is folded as it is recorded, out of one reading
		return err
	}
	i := &importing{writing: x, c: c, im: im, evidence: x.w.Blobs.Batch(), refused: map[string]int{}, progress: newProgress(c.ErrOrStderr(), files)}
	defer i.evidence.Drop()
	for _, name := range files {
		if err = i.file(name); err != nil {
			err = fmt.Errorf("%s: %w", name, err)
			break
		}
	}
	i.progress.stop()
	if err == nil {
		err = i.flush()
	}
	i.summary()
	if err != nil {
		return err
	}
	if _, _, err := x.w.Graph(c.Context()); err != nil { // brings the snapshot file up to date
		return err
	}
	if strict, _ := c.Flags().GetBool("strict"); strict && len(i.refused) > 0 {
		return fmt.Errorf("some events were refused")
	}
	return nil
}

func (i *importing) file(name string) error {
	in := i.c.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	for it, err := range i.im.Read(i.progress.reader(in)) {
		if err != nil {
			return err
		}
		if err := i.c.Context().Err(); err != nil {
			return err
		}
		i.events++
		if it.Refusal != nil {
			i.refused[it.Refusal.Reason]++
			i.progress.say(fmt.Sprintf("refused %s %s: %s: %s\n", name, it.Place, it.Refusal.Reason, it.Refusal.Detail))
			continue
		}
		if err := i.take(it); err != nil {
			return fmt.Errorf("%s: %w", it.Place, err)
		}
	}
	return nil
}

func (i *importing) take(it importer.Item) error {
	var envelopes [][]byte
	for _, d := range it.Statements {
		env, err := app.Envelope(i.c.Context(), i.key, d.Subjects, d.Predicate)
		if err != nil {
			i.refused["no-statement"]++
			i.progress.say(fmt.Sprintf("refused %s: no-statement: %v\n", it.Place, err))
			return nil
		}
		envelopes = append(envelopes, env)
	}
	if _, err := i.evidence.Put(it.Evidence); err != nil {
		return err
	}
	i.accepted++
	i.pending = append(i.pending, envelopes...)
	if len(i.pending) >= importBatch {
		return i.flush()
	}
	return nil
}

func (i *importing) flush() error {
	if err := i.evidence.Sync(); err != nil {
		return err
	}
	if len(i.pending) == 0 {
		return nil
	}
	out, err := i.w.Record(i.c.Context(), i.key.Principal, i.pending...)
	if err != nil {
		return err
	}
	for _, a := range out {
		if a.Duplicate {
			i.duplicate++
		}
	}
	i.pending = i.pending[:0]
	return nil
}

func (i *importing) summary() {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options.DrawBorder = false
	t.Style().Format.Header = 0
	t.AppendHeader(table.Row{"events", "count"})
	t.AppendRow(table.Row{"accepted", i.accepted})
	t.AppendRow(table.Row{"statements that stood there already", i.duplicate})
	var reasons []string
	for r := range i.refused {
		reasons = append(reasons, r)
	}
	sort.Strings(reasons)
	for _, r := range reasons {
		t.AppendRow(table.Row{"refused: " + r, i.refused[r]})
	}
	fmt.Fprintln(i.c.OutOrStdout(), t.Render())
}

// progress is a bar on a terminal for what lasts longer than a second, and
// nothing elsewhere.
type progress struct {
	w     io.Writer
	total int64
	start time.Time
	tty   bool
	p     *mpb.Progress
	bar   *mpb.Bar
	done  int64
}

func newProgress(w io.Writer, files []string) *progress {
	p := &progress{w: w, start: time.Now()}
	if f, ok := w.(*os.File); ok {
		p.tty = term.IsTerminal(int(f.Fd()))
	}
	for _, name := range files {
		if st, err := os.Stat(name); err == nil {
			p.total += st.Size()
		}
	}
	return p
}

func (p *progress) reader(r io.Reader) io.Reader { return &progressReader{r, p} }

type progressReader struct {
	r io.Reader
	p *progress
}

func (r *progressReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.p.add(int64(n))
	return n, err
}

func (p *progress) add(n int64) {
	p.done += n
	if !p.tty || time.Since(p.start) < time.Second {
		return
	}
	if p.bar == nil {
		p.p = mpb.New(mpb.WithOutput(p.w))
		p.bar = p.p.AddBar(p.total, mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.CountersKibiByte("% .1f / % .1f")),
			mpb.AppendDecorators(decor.AverageSpeed(decor.SizeB1024(0), "% .1f"), decor.AverageETA(decor.ET_STYLE_GO)))
	}
	p.bar.SetCurrent(p.done)
}

// say writes a line above the bar.
func (p *progress) say(s string) {
	if p.p != nil {
		_, _ = p.p.Write([]byte(s))
		return
	}
	fmt.Fprint(p.w, s)
}

func (p *progress) stop() {
	if p.bar != nil {
		p.bar.Abort(true)
		p.p.Wait()
	}
}
