package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
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
		c.AddCommand(formatCommand(name, about[name], exampleOf(name), func(o formats.Options) ([]importer.Importer, bool) {
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
	"cyclonedx":      "CycloneDX 1.2 to 1.7, JSON and XML: components, models, data, formulation, declarations",
	"dvc":            "DVC: dvc.lock, *.dvc files, dvc.yaml",
	"git":            "Git commits and tags: a repository, git cat-file --batch, git log --format=raw",
	"github-oidc":    "Claims of GitHub's workflow tokens",
	"mlflow":         "MLflow: exports, file stores (mlruns), SQLite databases, REST responses, a server",
	"openlineage":    "OpenLineage events: one object, an array, or one a line",
	"otel":           "OpenTelemetry traces of agents, tools and models: OTLP, Jaeger, Tempo",
	"prov-json":      "W3C PROV-JSON",
	"spdx":           "SPDX 2.2 to 3.0, JSON and tag-value, the AI profile too",
	"vex":            "OpenVEX and CSAF",
	"weights":        "Headers of model files: safetensors, GGUF; pickled files are never opened",
	"huggingface":    "Hugging Face: model and dataset cards, config.json, adapters, answers of the hub",
	"intoto":         "in-toto Statements, SLSA provenance, DSSE envelopes, Sigstore bundles, witness, Chainloop",
	"model-signing":  "OpenSSF model signatures (model.sig)",
	"kubernetes":     "Kubernetes objects: kubectl get -o json or yaml, manifests",
	"aws":            "AWS account details, credential reports, access keys, CloudTrail",
	"gcp":            "Google Cloud assets, IAM policies, service accounts and keys",
	"github":         "GitHub organisations as GitHound collects them (OpenGraph)",
	"spire":          "SPIRE registration entries",
	"scim":           "SCIM users, groups and agents",
	"vault":          "Vault audit lines",
	"mcp":            "MCP tools, registry servers, client configurations",
	"a2a":            "A2A agent cards",
	"jwt":            "Tokens and claims: who acts for whom",
	"trust-material": "Roots, keys and certificates: nothing is recorded of them; --trust uses them",
}

// examples are those of formats that are read from more than files.
var examples = map[string]string{
	"git":    "  stemma import git .\n  git rev-list --all | git cat-file --batch | stemma import git -",
	"mlflow": "  stemma import mlflow mlruns/\n  stemma import mlflow mlflow.db --observed-at 2026-03-01T10:00:00Z\n  MLFLOW_TRACKING_TOKEN=… stemma import mlflow https://mlflow.acme.example",
}

func exampleOf(format string) string {
	if e := examples[format]; e != "" {
		return e
	}
	return "  stemma import " + format + " FILE…"
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
	c.Flags().StringArray("trust", nil, "a file to check signatures of evidence with: a Sigstore trusted root, public keys or certificates, an OpenPGP ring, a JSON Web Key Set (beside those of stemma import trust)")
	if name == "auto" || name == "mlflow" {
		mlflowFlags(c, name == "mlflow")
	}
	inventoryFlags(c, name)
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
	read      func() iter.Seq2[importer.Item, error] // of a server; nil: Path is read
	accepted  int                                    // units that made statements
	recorded  int                                    // statements that are new
	duplicate int                                    // statements that stood there already
	refused   map[string]int
	first     map[string]string // by reason: where it came first, and the detail
	part      string            // the file that this one is a part of
	checks    map[string]int    // units by what checking their signatures gave
	checked   map[string]string // by result: where it came first, by whom, and why
}

func runImport(c *cobra.Command, pick func(formats.Options) ([]importer.Importer, bool), args []string) error {
	x, err := begin(c)
	if err != nil {
		return err
	}
	defer x.w.Close()
	i := &importing{writing: x, c: c, byPath: map[string]*fileImport{}, evidence: x.w.Blobs.Batch()}
	defer i.evidence.Drop()
	o, err := i.options()
	if err != nil {
		return err
	}
	ims, sure := pick(o)
	i.all = ims
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
		if isServer(a) {
			f, err := i.server(a, ims, sure)
			if err != nil {
				return err
			}
			if i.byPath[f.Path] == nil {
				i.byPath[f.Path] = f
				i.files = append(i.files, f)
			}
			continue
		}
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
	if f.read != nil {
		return i.items(f, f.read())
	}
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
	return i.items(f, f.Format.Read(src))
}

// items takes what an importer makes of a file or server.
func (i *importing) items(f *fileImport, items iter.Seq2[importer.Item, error]) error {
	for it, err := range items {
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
	made, err := i.sign(f, it.Statements)
	if err != nil {
		i.refuse(f, it.Place, &importer.Refusal{Reason: "no-statement", Detail: err.Error()})
		return nil
	}
	if _, err := i.evidence.Put(it.Evidence); err != nil {
		return err
	}
	f.accepted++
	f.check(it)
	i.pending = append(i.pending, made...)
	for _, s := range it.Registries {
		if err := i.registry(f, s); err != nil {
			return err
		}
	}
	if len(i.pending) >= importBatch {
		return i.flush()
	}
	return nil
}

func (f *fileImport) check(it importer.Item) {
	c := it.Checked()
	if c == nil {
		return
	}
	if f.checks == nil {
		f.checks, f.checked = map[string]int{}, map[string]string{}
	}
	if f.checks[c.Result]++; f.checks[c.Result] == 1 {
		f.checked[c.Result] = strings.Join(strings.Fields(it.Place+" "+c.Identity+" "+c.Reason), " ")
	}
}

func (i *importing) sign(f *fileImport, drafts []importer.Draft) (made []pendingStatement, err error) {
	for _, d := range drafts {
		env, err := app.Envelope(i.c.Context(), i.key, d.Subjects, d.Predicate)
		if err != nil {
			return nil, err
		}
		made = append(made, pendingStatement{env, f})
	}
	return made, nil
}

// registry records what the state of a registry tells that the log does not
// say. All before it must be folded for that.
func (i *importing) registry(f *fileImport, s importer.RegistryState) error {
	if err := i.flush(); err != nil {
		return err
	}
	known, err := i.known()
	if err != nil {
		return err
	}
	made, err := i.sign(f, s.Changes(known))
	if err != nil {
		return fmt.Errorf("aliases of %s: %w", s.Series, err)
	}
	i.pending = append(i.pending, made...)
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
