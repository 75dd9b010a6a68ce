package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/formats"
	"github.com/stemma-lineage/stemma/internal/intake"
)

// importBatch is how many statements are recorded in one transaction.
const importBatch = 512

func importCommand() *cobra.Command {
	all := formats.All(formats.Options{})
	c := &cobra.Command{Use: "import", Short: "Bring in what other tools recorded", Args: cobra.ArbitraryArgs,
		Example: "  stemma import auto .\n  stemma import openlineage events/*.json",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("format %q is not known; the formats are: auto, %s", args[0], strings.Join(formatNames(all), ", "))
			}
			return c.Help()
		}}
	c.AddCommand(formatCommand("auto", "Find out the format of each file, folders included",
		"  stemma import auto .\n  stemma import auto events/ sbom.json mlruns/ -o json", func(o formats.Options) ([]importer.Importer, bool) { return formats.All(o), false }))
	for _, im := range all {
		name := im.Name()
		c.AddCommand(formatCommand(name, about[name], "  stemma import "+name+" FILE…", func(o formats.Options) ([]importer.Importer, bool) {
			for _, im := range formats.All(o) {
				if im.Name() == name {
					return []importer.Importer{im}, true
				}
			}
			panic("import: the format " + name + " is in the list no more")
		}))
	}
	c.AddCommand(importTrustCommand())
	return c
}

func formatNames(all []importer.Importer) []string {
	var out []string
	for _, im := range all {
		out = append(out, im.Name())
	}
	return out
}

// about says in a line what each format is.
var about = map[string]string{
	"openlineage":    "OpenLineage events: one object, an array, or one a line",
	"intoto":         "in-toto Statements, SLSA provenance, DSSE envelopes, Sigstore bundles, witness, Chainloop",
	"model-signing":  "OpenSSF model signatures (model.sig)",
	"trust-material": "Roots, keys and certificates: nothing is recorded of them; --trust uses them",
}

func formatCommand(name, short, example string, pick func(formats.Options) (ims []importer.Importer, sure bool)) *cobra.Command {
	c := &cobra.Command{Use: name + " PATH…", Short: short, Example: example,
		Long: "What cannot be used is refused one by one with the reason; the rest is recorded. The exit code is 0 when every file could be read, even if something was refused; --strict makes refusals exit 1. Of a folder, the files that are recognised are read.",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("%s takes files or folders, or - for standard input", c.CommandPath())
			}
			return nil
		}}
	c.Flags().String("key", "default", "the signing key's name")
	c.Flags().Bool("strict", false, "exit with 1 when anything was refused")
	c.Flags().StringArray("trust", nil, "a file to check signatures of evidence with: a Sigstore trusted root, a public key, a CA certificate (beside those of stemma import trust)")
	c.Flags().StringP("output", "o", "text", "text or json: json tells what became of each file")
	c.RunE = func(c *cobra.Command, args []string) error {
		if o, _ := c.Flags().GetString("output"); o != "text" && o != "json" {
			return usage("-o %s is not known here; write text or json", o)
		}
		return runImport(c, pick, args)
	}
	return c
}

// importing is one run of an import.
type importing struct {
	*writing
	c        *cobra.Command
	all      []importer.Importer
	files    []*fileImport
	byPath   map[string]*fileImport
	pending  []pendingStatement
	evidence *evlog.BlobBatch // durable before the entries that name it
	progress *progress
}

type pendingStatement struct {
	envelope []byte
	from     *fileImport
}

// fileImport is what became of one file.
type fileImport struct {
	intake.File
	accepted  int // units that made statements
	recorded  int // statements that are new
	duplicate int // statements that stood there already
	refused   map[string]int
	first     map[string]string // by reason: where it came first, and the detail
	part      string            // the file that this one is a part of
}

func runImport(c *cobra.Command, pick func(formats.Options) ([]importer.Importer, bool), args []string) error {
	x, err := begin(c)
	if err != nil {
		return err
	}
	defer x.w.Close()
	trust, err := importTrust(c, x.w)
	if err != nil {
		return err
	}
	ims, sure := pick(formats.Options{Trust: trust})
	i := &importing{all: ims, writing: x, c: c, byPath: map[string]*fileImport{}, evidence: x.w.Blobs.Batch()}
	defer i.evidence.Drop()
	if err := i.find(args, ims, sure); err != nil {
		return err
	}
	if _, _, err := x.w.Graph(c.Context()); err != nil { // so that each statement is folded as it is recorded, out of one reading
		return err
	}
	i.progress = newProgress(c.ErrOrStderr(), i.files)
	for _, f := range i.files {
		if f.Format == nil {
			continue
		}
		if err = i.file(f); err != nil {
			err = fmt.Errorf("%s: %w", f.Path, err)
			break
		}
	}
	i.progress.stop()
	if err == nil {
		err = i.flush()
	}
	if werr := i.report(len(ims) > 1); err == nil {
		err = werr
	}
	if err != nil {
		return err
	}
	if _, _, err := x.w.Graph(c.Context()); err != nil { // brings the snapshot file up to date
		return err
	}
	return i.verdict()
}

// find lists what is to be imported.
func (i *importing) find(args []string, ims []importer.Importer, sure bool) error {
	for _, a := range args {
		found := []intake.File{{Path: a, Format: ims[0]}}
		if a != "-" {
			var err error
			if found, err = intake.Find(a, ims, sure); err != nil {
				return err
			}
		}
		for _, f := range found {
			key := filepath.Clean(f.Path)
			if i.byPath[key] != nil {
				continue // named twice
			}
			fi := &fileImport{File: f, refused: map[string]int{}, first: map[string]string{}}
			i.byPath[key] = fi
			i.files = append(i.files, fi)
		}
	}
	return nil
}

func (i *importing) file(f *fileImport) error {
	src := importer.Source{Name: f.Path, Path: f.Path, R: i.c.InOrStdin()}
	if f.Path == "-" {
		src.Path = ""
		if len(i.c.CalledAs()) > 0 && i.c.CalledAs() == "auto" {
			var err error
			if src.R, f.Format, err = i.recogniseInput(src.R); err != nil || f.Format == nil {
				f.Why = intake.NotRecognised
				return err
			}
		}
	} else {
		in, err := os.Open(f.Path)
		if err != nil { // it was there a moment ago
			f.Format, f.Why, f.Err = nil, intake.CannotRead, err
			i.progress.say(fmt.Sprintf("cannot read %s: %v\n", f.Path, err))
			return nil
		}
		defer in.Close()
		src.R = in
	}
	src.R = i.progress.reader(src.R)
	for it, err := range f.Format.Read(src) {
		if err != nil {
			return err
		}
		if err := i.c.Context().Err(); err != nil {
			return err
		}
		for _, p := range it.Covers {
			if o := i.byPath[filepath.Clean(p)]; o != nil && o != f {
				o.part = f.Path
			}
		}
		if it.Refusal != nil {
			i.refuse(f, it.Place, it.Refusal)
			continue
		}
		if err := i.take(f, it); err != nil {
			return fmt.Errorf("%s: %w", it.Place, err)
		}
	}
	return nil
}

// recogniseInput finds out the format of standard input.
func (i *importing) recogniseInput(r io.Reader) (io.Reader, importer.Importer, error) {
	b := bufio.NewReaderSize(r, importer.HeadSize)
	head, err := b.Peek(importer.HeadSize)
	if err != nil && err != io.EOF {
		return b, nil, err
	}
	return b, intake.Recognise(importer.NewHead("-", int64(len(head)), head), i.all), nil
}

func (i *importing) refuse(f *fileImport, place string, r *importer.Refusal) {
	f.refused[r.Reason]++
	if f.first[r.Reason] == "" {
		f.first[r.Reason] = strings.TrimSpace(place + " " + r.Detail)
	}
	i.progress.say(fmt.Sprintf("refused %s %s: %s: %s\n", f.Path, place, r.Reason, r.Detail))
}

func (i *importing) take(f *fileImport, it importer.Item) error {
	var made []pendingStatement
	for _, d := range it.Statements {
		env, err := app.Envelope(i.c.Context(), i.key, d.Subjects, d.Predicate)
		if err != nil {
			i.refuse(f, it.Place, &importer.Refusal{Reason: "no-statement", Detail: err.Error()})
			return nil
		}
		made = append(made, pendingStatement{env, f})
	}
	if _, err := i.evidence.Put(it.Evidence); err != nil {
		return err
	}
	f.accepted++
	i.pending = append(i.pending, made...)
	if len(i.pending) >= importBatch {
		return i.flush()
	}
	return nil
}

func (i *importing) flush() error {
	if err := i.evidence.Sync(); err != nil {
		return err
	}
	for len(i.pending) > 0 {
		batch := i.pending[:min(len(i.pending), importBatch)]
		envelopes := make([][]byte, len(batch))
		for k, p := range batch {
			envelopes[k] = p.envelope
		}
		out, err := i.w.Record(i.c.Context(), i.key.Principal, envelopes...)
		if err != nil {
			return err
		}
		for k, a := range out {
			if a.Duplicate {
				batch[k].from.duplicate++
			} else {
				batch[k].from.recorded++
			}
		}
		i.pending = i.pending[len(batch):]
	}
	i.pending = nil
	return nil
}

// verdict gives the error that the exit code says.
func (i *importing) verdict() error {
	strict, _ := i.c.Flags().GetBool("strict")
	for _, f := range i.files {
		if f.Err != nil {
			return fmt.Errorf("%s could not be read: %w; all else was imported", f.Path, f.Err)
		}
		if strict && len(f.refused) > 0 {
			return errors.New("something was refused")
		}
	}
	return nil
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

func newProgress(w io.Writer, files []*fileImport) *progress {
	p := &progress{w: w, start: time.Now()}
	if f, ok := w.(*os.File); ok {
		p.tty = term.IsTerminal(int(f.Fd()))
	}
	for _, f := range files {
		if f.Format != nil {
			p.total += f.Size
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
