// Command stemma records the lineage of AI systems, answers questions about
// it for any past moment, and proves the answers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/stemma-lineage/stemma/bundle"
	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/capture/trace"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/gate"
	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/internal/monitor"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/internal/witnessing"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
	"github.com/stemma-lineage/stemma/witness"
)

// Exit codes; a contract.
const (
	exitOK           = 0
	exitFailure      = 1
	exitUsage        = 2
	exitNotFound     = 3
	exitNotPermitted = 4
	exitUnreachable  = 5
	exitDenied       = 10
	exitUndecided    = 11
	exitVerify       = 12
	exitDiffers      = 13
)

// usageError marks what the user can mend on the command line.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

var errDiffers = errors.New("the two differ")

// exitCode is the one table from errors to exit codes.
func exitCode(err error) int {
	var fork *evlog.ForkError
	var ambiguous *query.AmbiguousError
	var use usageError
	var payload *statement.PayloadError
	var request *url.Error
	var network *net.OpError
	var child childExit
	var bad *gate.PolicyError
	switch {
	case errors.As(err, &child):
		return child.code
	case err == nil:
		return exitOK
	case errors.Is(err, errDiffers):
		return exitDiffers
	// A verdict comes before what went wrong in recording it.
	case errors.Is(err, errDenied):
		return exitDenied
	case errors.Is(err, errUndecided):
		return exitUndecided
	case errors.As(err, &fork), errors.Is(err, bundle.ErrVerify), errors.Is(err, app.ErrUntrusted), errors.Is(err, errFsck), errors.Is(err, evlog.ErrCorrupt), misbehaved(err):
		return exitVerify
	case errors.As(err, &use), errors.As(err, &ambiguous), errors.Is(err, prov.ErrRef), errors.As(err, &payload), errors.As(err, &bad), errors.Is(err, witness.ErrPolicy):
		return exitUsage
	case errors.Is(err, query.ErrNotFound), errors.Is(err, evlog.ErrNotFound), errors.Is(err, evlog.ErrNotALog), errors.Is(err, witnessing.ErrNotAWitness), errors.Is(err, keys.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return exitNotFound
	case errors.As(err, &network), errors.As(err, &request) && request.Op != "parse", errors.Is(err, monitor.ErrUnreadable):
		return exitUnreachable
	case errors.Is(err, evlog.ErrReadOnly), errors.Is(err, os.ErrPermission):
		return exitNotPermitted
	case errors.Is(err, app.ErrUnsealed):
		return exitNotFound
	}
	return exitFailure
}

func main() {
	if trace.Main() { // this process is a part of a captured run
		return
	}
	ctx := context.Background()
	if !signal.Ignored(os.Interrupt) { // a command that is run inherits that
		var stop func()
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt)
		defer stop()
	}
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := command()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	var child childExit
	if err != nil && err != errDiffers && !verdictOnly(err) && !errors.As(err, &child) {
		fmt.Fprintf(errOut, "stemma: %s\n", strings.TrimSpace(err.Error()))
	}
	return exitCode(err)
}

// verdictOnly tells whether an error says no more than a verdict that was
// printed.
func verdictOnly(err error) bool {
	return err.Error() == errDenied.Error() || err.Error() == errUndecided.Error()
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "stemma",
		Short: "Record, ask and prove the lineage of AI systems",
		Example: `  stemma init
  stemma run -- python3 train.py
  stemma import openlineage events/*.json
  stemma why model:fraud@1
  stemma prove unused dataset:tx@2026-03 --after 2026-03-15 -o unused.zip
  stemma bundle why model:fraud@1 -o fraud.zip
  stemma verify fraud.zip --log-key "$(stemma key log)"`,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("%q is no command; stemma --help lists them", args[0])
			}
			return c.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetHelpTemplate(helpTemplate)
	root.SetUsageTemplate(usageTemplate)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%v; %s --help shows what it takes", err, c.CommandPath())
	})
	root.PersistentFlags().String("dir", "", "the folder to work in (default: here; .stemma is looked for upwards)")
	root.AddCommand(initCommand(), runCommand(), syncCommand(), recordCommand(), importCommand(), addCommand(), approveCommand(), deployCommand(), noticeCommand())
	root.AddCommand(askCommands()...)
	root.AddCommand(gateCommand(), validCommand(), findingsCommand(), controlsCommand(), policyCommand(), serveCommand(), proveCommand(), bundleCommand(), verifyCommand(), logCommand(), witnessCommand(), keyCommand(), doctorCommand(), demoCommand(), versionCommand())
	return root
}

const usageTemplate = `Usage:{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags everywhere:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
`

const helpTemplate = `{{with .Short}}{{.}}.

{{end}}{{if .HasExample}}Examples:
{{.Example}}

{{end}}{{with .Long}}{{.}}

{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}{{end}}
Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 not permitted, 10 denied, 11 undecided, 12 verification failed, 13 differs
`

// exactly wants n arguments, and says which.
func exactly(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usage("%s takes %s; %s --help shows examples", c.CommandPath(), strings.Join(names, " and "), c.CommandPath())
		}
		return nil
	}
}

func atMostOne(c *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usage("%s takes one argument at most, but got %d", c.CommandPath(), len(args))
	}
	return nil
}

func workspace(c *cobra.Command) (*app.Workspace, error) {
	dir, _ := c.Flags().GetString("dir")
	if dir == "" {
		dir = "."
	}
	p, err := app.Find(dir)
	if err != nil {
		return nil, err
	}
	return app.Open(c.Context(), p, app.Options{Progress: folding(c.ErrOrStderr())})
}

// folding shows on a terminal how far the log is folded, when there is enough
// of it to wait for.
func folding(w io.Writer) func(done, total uint64) {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func(done, total uint64) {
		switch {
		case total < 10000:
		case done == total:
			fmt.Fprint(w, "\r\x1b[K")
		default:
			fmt.Fprintf(w, "\rfolding the log: %d of %d entries", done, total)
		}
	}
}
