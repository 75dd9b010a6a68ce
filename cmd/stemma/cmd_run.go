package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/capture"
	"github.com/stemma-lineage/stemma/internal/capture/trace"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/statement"
)

// Exit codes of `stemma run` beside the command's own, as env(1) has them.
const (
	exitStrict     = 125 // --strict, and the run could not be captured or recorded
	exitCannotRun  = 126
	exitNoCommand  = 127
	exitBySignal   = 128 // and the signal's number
	appendPatience = 3 * time.Second
)

// childExit ends stemma as the command ended; it was said already why.
type childExit struct{ code int }

func (e childExit) Error() string { return fmt.Sprintf("the command ended with exit code %d", e.code) }

func runCommand() *cobra.Command {
	c := &cobra.Command{Use: "run [flags] [--] CMD…", Short: "Run a command and record what it read, wrote, executed and connected to",
		Example: "  stemma run -- python3 train.py --epochs 3\n  stemma run --kind train --env SEED -- make -j4 model\n  stemma show RUN --skipped",
		Long: "The command runs and ends as it would without: its input, output and exit code are its own, and a failure to record is told and changes nothing.\n" +
			"Beside its own exit codes there are 125 (--strict, and the run cannot be recorded), 126 (it cannot be executed) and 127 (it was not found).\n" +
			"Flags stand before the command. docs/capture.md tells what is recorded and what is not",
	}
	c.Flags().SetInterspersed(false)
	c.Flags().String("key", "default", "the signing key's name")
	c.Flags().String("kind", "run", "what sort of activity it is: train, fine-tune, evaluate, transform, …")
	c.Flags().String("method", "auto", "how to follow the command: auto, "+strings.Join(trace.Methods(), ", "))
	c.Flags().StringSlice("env", nil, "names of environment variables whose values are recorded (none by default)")
	c.Flags().Bool("strict", false, "exit with 125 when the run cannot be captured or recorded, before it starts if possible")
	c.Flags().Bool("quiet", false, "print no summary")
	c.Flags().Bool("spool", false, "do not open the log: keep the signed statements in .stemma/spool for stemma sync")
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage("stemma run takes a command; for example: stemma run -- python3 train.py")
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, args []string) error { return newRunning(c, args).run() }
	return c
}

// running is one `stemma run`.
type running struct {
	c             *cobra.Command
	argv          []string
	path          string // of the program
	dir           string // the .stemma folder
	key           keys.Key
	keyErr        error
	strict, quiet bool
	spool         bool
	recorded      bool
}

func newRunning(c *cobra.Command, argv []string) *running {
	r := &running{c: c, argv: argv}
	r.strict, _ = c.Flags().GetBool("strict")
	r.quiet, _ = c.Flags().GetBool("quiet")
	r.spool, _ = c.Flags().GetBool("spool")
	return r
}

func (r *running) warn(format string, args ...any) {
	fmt.Fprintf(r.c.ErrOrStderr(), "stemma: "+format+"\n", args...)
}

func (r *running) run() error {
	var err error
	if r.path, err = exec.LookPath(r.argv[0]); err != nil && !errors.Is(err, exec.ErrDot) {
		return r.cannotStart(err)
	}
	from, _ := r.c.Flags().GetString("dir")
	if from == "" {
		from = "."
	}
	if r.dir, err = app.Find(from); err != nil {
		return r.plainly("nothing is recorded: %v, and the next run is recorded", err)
	}
	name, _ := r.c.Flags().GetString("key")
	r.key, r.keyErr = keys.Load(name)
	if r.keyErr != nil && r.strict {
		r.warn("the run is not started (--strict): it could not be signed: %v", r.keyErr)
		return childExit{exitStrict}
	}
	ctx := context.WithoutCancel(r.c.Context()) // ^C is the command's
	return r.captured(ctx)
}

// plainly runs the command without capture, in our place.
func (r *running) plainly(format string, args ...any) error {
	if r.strict {
		r.warn("the run is not started (--strict): "+format, args...)
		return childExit{exitStrict}
	}
	r.warn(format, args...)
	err := syscall.Exec(r.path, r.argv, os.Environ())
	return r.cannotStart(err)
}

func (r *running) cannotStart(err error) error {
	code := exitCannotRun
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		code = exitNoCommand
	}
	var named *exec.Error
	if errors.As(err, &named) {
		err = named.Err
	}
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	r.warn("%s: %v", r.argv[0], err)
	return childExit{code}
}

func (r *running) captured(ctx context.Context) error {
	o := capture.Options{Workspace: filepath.Dir(r.dir), Dir: r.dir, Principal: r.key.Principal}
	o.Kind, _ = r.c.Flags().GetString("kind")
	o.Env, _ = r.c.Flags().GetStringSlice("env")
	x := capture.Begin(ctx, o, trace.Command{Argv: r.argv, Stdin: r.c.InOrStdin(), Stdout: r.c.OutOrStdout(), Stderr: r.c.ErrOrStderr()})
	mark, markErr := capture.SpoolOf(r.dir).Mark(x)
	// The back-end passes signals on to the command. Here they are only kept
	// from ending us before the run is recorded.
	signals := make(chan os.Signal, 16)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // as under nohup: the command inherits that
			signal.Notify(signals, s)
		}
	}
	method, _ := r.c.Flags().GetString("method")
	out, err := x.Run(ctx, trace.First(method))
	for len(signals) > 0 {
		<-signals
	}
	if err != nil {
		if markErr == nil {
			_ = os.Remove(mark)
		}
		signal.Reset()
		var own *trace.CommandError
		if errors.As(err, &own) {
			return r.cannotStart(err)
		}
		return r.plainly("nothing is recorded, because %v; say by hand what it made: stemma add FILE --from INPUT", err)
	}
	signal.Ignore(syscall.SIGPIPE) // a closed standard error must not change how this ends
	r.finish(ctx, x, signals)
	if markErr == nil && r.recorded {
		_ = os.Remove(mark)
	}
	return r.end(out.State)
}

// finish decides, hashes, signs and records. Whatever goes wrong here is told.
func (r *running) finish(ctx context.Context, x *capture.Capture, signals <-chan os.Signal) {
	defer func() {
		if p := recover(); p != nil {
			r.warn("%s is not recorded: a mistake in stemma: %v; please report it. stemma sync records that the run took place", x.ID(), p)
		}
	}()
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	go hurry(stop, cancel, signals)
	res := x.Finish(stop)
	how := r.record(ctx, res)
	if !r.quiet {
		res.Summary(r.c.ErrOrStderr())
	}
	if how != "" {
		r.warn("%s", how)
	}
}

// hurry cuts the hashing short: five seconds after a signal, for whoever ends
// the command may send it twice, or at once when another one comes.
func hurry(ctx context.Context, cancel func(), signals <-chan os.Signal) {
	defer cancel()
	select {
	case <-signals:
	case <-ctx.Done():
		return
	}
	time.Sleep(50 * time.Millisecond) // of one and the same kill
	for len(signals) > 0 {
		<-signals
	}
	select {
	case <-signals:
	case <-time.After(5 * time.Second):
	case <-ctx.Done():
	}
}

// end ends as the command did.
func (r *running) end(s *os.ProcessState) error {
	code := exitFailure
	if s != nil {
		code = s.ExitCode()
	}
	if ws, ok := sys(s); ok && ws.Signaled() {
		switch sig := ws.Signal(); sig {
		case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGKILL: // so that a shell sees what it would have seen
			signal.Reset(sig)
			_ = syscall.Kill(os.Getpid(), sig)
			time.Sleep(100 * time.Millisecond)
			code = exitBySignal + int(sig)
		default:
			code = exitBySignal + int(sig)
		}
	}
	if code == 0 && r.strict && !r.recorded {
		code = exitStrict
	}
	if code == 0 {
		return nil
	}
	return childExit{code}
}

func sys(s *os.ProcessState) (syscall.WaitStatus, bool) {
	if s == nil {
		return 0, false
	}
	ws, ok := s.Sys().(syscall.WaitStatus)
	return ws, ok
}

// record brings a run into the log, else into the spool, else into the spool
// in the user's cache directory. It gives what to tell the user, if anything.
func (r *running) record(ctx context.Context, res *capture.Result) string {
	lines, signed, err := r.lines(ctx, res.Drafts)
	if err != nil {
		return fmt.Sprintf("%s is not recorded: %v", res.ID, err)
	}
	why := "--spool was given"
	if !signed {
		why = fmt.Sprintf("it could not be signed (%v)", r.keyErr)
	}
	err = keep(r.dir, res.Blobs)
	if err == nil {
		if signed && !r.spool {
			if err = r.append(ctx, lines); err == nil {
				r.recorded = true
				return ""
			}
			why = fmt.Sprintf("the log could not be written (%v)", err)
		}
		if _, err = capture.SpoolOf(r.dir).Put(res.ID, lines, signed); err == nil {
			r.recorded = true
			return fmt.Sprintf("%s is kept in %s, because %s; stemma sync brings it into the log", res.ID, filepath.Join(r.dir, "spool"), why)
		}
	}
	other, ferr := capture.Fallback(r.dir)
	if ferr == nil {
		if ferr = keep(other, res.Blobs); ferr == nil {
			_, ferr = capture.SpoolOf(other).Put(res.ID, lines, signed)
		}
	}
	if ferr == nil {
		r.recorded = true
		return fmt.Sprintf("%s is kept in %s, because nothing could be written here (%v); stemma sync brings it into the log", res.ID, other, cause(err))
	}
	return fmt.Sprintf("%s is NOT recorded: nothing could be written here (%v), nor in your cache directory (%v). The command itself was not touched. Make room and say by hand what it made: stemma add FILE --from INPUT", res.ID, cause(err), cause(ferr))
}

// cause leaves out of an error what is said of other commands than this one.
func cause(err error) error {
	if errors.Is(err, evlog.ErrFull) {
		return evlog.ErrFull
	}
	return err
}

// lines signs the drafts, or only formats them where there is no key.
func (r *running) lines(ctx context.Context, drafts []importer.Draft) (lines [][]byte, signed bool, err error) {
	for i, d := range drafts {
		var b []byte
		if r.keyErr == nil {
			b, err = app.Envelope(ctx, r.key, d.Subjects, d.Predicate)
		} else {
			b, err = statement.Format(d.Subjects, d.Predicate)
		}
		if err != nil && i == 0 {
			return nil, false, err
		}
		if err != nil {
			r.warn("what is known of %s is left out: %v", d.Subjects[0].Name, err)
			continue
		}
		lines = append(lines, b)
	}
	return lines, r.keyErr == nil, nil
}

// keep writes evidence, durably.
func keep(dir string, blobs [][]byte) error {
	b := evlog.OpenBlobs(filepath.Join(dir, "blobs")).Batch()
	defer b.Drop()
	for _, x := range blobs {
		if _, err := b.Put(x); err != nil {
			return err
		}
	}
	return b.Sync()
}

// append records envelopes, and what is in the spool. It does not wait long:
// a log that another holds gets them later, and twice does no harm.
func (r *running) append(ctx context.Context, lines [][]byte) error {
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(ctx, appendPatience)
	defer cancel()
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("a mistake in stemma: %v", p)
			}
		}()
		w, err := app.Open(ctx, r.dir, app.Options{})
		if err != nil {
			done <- err
			return
		}
		defer w.Close()
		_, err = w.Record(ctx, r.key.Principal, lines...)
		done <- err
		if err == nil {
			_ = syncing{w: w, key: r.key, out: io.Discard, problem: func(string, ...any) {}}.all(ctx)
			done <- nil
		}
	}()
	select {
	case err := <-done:
		if err == nil { // give the spool its time
			select {
			case <-done:
			case <-ctx.Done():
			}
		}
		return err
	case <-time.After(appendPatience + time.Second):
		return evlog.ErrBusy
	}
}
