package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/internal/report"
	"github.com/stemma-lineage/stemma/prov"
)

// reachFlags adds what only stemma reach has.
func reachFlags(c *cobra.Command) {
	c.Long = `With RESOURCE the answer is yes with the path, unknown with the reasons, or that no path is recorded.
RESOURCE is a Ref, an ARN or a name that only a pattern of a grant holds. docs/reach.md tells what is weighed.
Exit code 0 is yes, 3 no path recorded, 11 unknown.`
	c.Flags().Bool("explain", false, "the path as a table: each step with who said so, since when, who approved, and what would cut it")
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) != 1 && len(args) != 2 {
			return usage("%s takes IDENTITY and, if you ask for one only, RESOURCE; %s --help shows examples", c.CommandPath(), c.CommandPath())
		}
		if explain, _ := c.Flags().GetBool("explain"); explain && len(args) == 1 {
			return usage("--explain tells of the path to one resource; name it: stemma reach %s RESOURCE --explain", args[0])
		}
		return nil
	}
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

// undecided is an error that ends with the exit code of what is not known.
type undecided struct{ error }

func (u undecided) Unwrap() []error { return []error{errUndecided, u.error} }

// reached writes the answer of a Reach question. That no path is recorded is an
// error, and in JSON an answer too.
func reached(c *cobra.Command, w *app.Workspace, h evlog.Head, a *query.Answer, err error) error {
	var none *query.NoPathError
	format, _ := c.Flags().GetString("output")
	switch {
	case errors.As(err, &none):
		a = none.Answer
		if err := w.Tell(c.Context(), a); err != nil {
			return err
		}
		if format == "json" {
			if err := answer(c, w, h, a); err != nil {
				return err
			}
		} else if covered := report.Covered(a); covered != "" {
			err = fmt.Errorf("%w\nthe record tells of who is on the way:\n%s", none, covered)
		}
		if a.Outcome == "unknown" {
			return undecided{err}
		}
		return err
	case err != nil:
		return err
	}
	if err := w.Tell(c.Context(), a); err != nil {
		return err
	}
	if explain, _ := c.Flags().GetBool("explain"); explain && format == "text" {
		if _, err := c.OutOrStdout().Write(report.Explain(a)); err != nil {
			return err
		}
	} else if err := answer(c, w, h, a); err != nil {
		return err
	}
	if a.Outcome == "unknown" {
		return errUndecided
	}
	return nil
}

// rotates tells whether a text names a credential or secret.
func rotates(v graph.View, text string) bool {
	ids, err := query.Resolve(v, text, query.One)
	if err != nil {
		return false
	}
	k := v.Ref(ids[0]).Kind
	return k == prov.Credential || k == prov.Secret
}

// rotation adds to a Blast answer of a credential or secret what hangs on it.
func rotation(v graph.View, text string, a *query.Answer, opt query.Options) (err error) {
	if rotates(v, text) {
		a.Rotation, err = query.Rotate(v, text, opt)
	}
	return err
}
