// Package gate asks policies about things in a workspace, and records what
// they say as SLSA verification summaries. The command line and the admission
// webhook both go through it.
package gate

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/internal/policy"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// PolicyError says that the text of a policy is bad: whoever wrote it can mend
// it.
type PolicyError struct {
	Name string
	Err  error
}

func (e *PolicyError) Error() string { return e.Name + ": " + e.Err.Error() }

// Unwrap gives what is wrong with the text.
func (e *PolicyError) Unwrap() error { return e.Err }

// Thing finds the thing that a REF names. What is asked about must be in the
// log, but need not be current at the view's moment.
func Thing(v graph.View, text string) (graph.ID, error) {
	ids, err := query.Resolve(v, text, query.One)
	if errors.Is(err, query.ErrNotFound) {
		ids, err = query.Resolve(v.Always(), text, query.One)
	}
	if err != nil {
		return graph.None, err
	}
	return ids[0], nil
}

// Context is where decisions count in a workspace.
func Context(w *app.Workspace, env string) policy.Context {
	return policy.Context{Log: w.Log.Origin(), Environment: env, Stewards: w.Stewards()}
}

// Policies finds the policies that are named, or without names those in force
// for the environment. idle says of each that is not in force because who
// recorded it had no standing. That none is in force is an error of
// [query.ErrNotFound]: nothing may pass by no policy.
func Policies(v graph.View, names []string, ctx policy.Context) (out []*policy.Policy, idle []string, err error) {
	if len(names) == 0 {
		out, idle, err = policy.InForce(v, ctx)
		return out, idle, atLeastOne(out, idle, err, ctx)
	}
	for _, name := range names {
		p, err := Policy(v, name, ctx)
		if err != nil {
			return nil, nil, err
		}
		out = append(out, p)
	}
	return out, nil, nil
}

func atLeastOne(found []*policy.Policy, idle []string, err error, ctx policy.Context) error {
	if err != nil || len(found) > 0 {
		return err
	}
	return fmt.Errorf("%w: no policy is in force for %s%s; put one in force with stemma policy add FILE|library:NAME, or name one with --policy",
		query.ErrNotFound, ctx.Environment, strings.Join(append([]string{""}, idle...), "; "))
}

// InForce finds policies again and again, and looks only at what was recorded
// since it last did. Its zero value is ready; it may be used by several
// goroutines.
type InForce struct {
	mu     sync.Mutex
	g      *graph.Graph
	series []graph.ID
	next   graph.ID
}

// Policies is the function of that name, for a view of the graph.
func (f *InForce) Policies(g *graph.Graph, v graph.View, names []string, ctx policy.Context) (out []*policy.Policy, idle []string, err error) {
	if len(names) > 0 {
		return Policies(v, names, ctx)
	}
	f.mu.Lock()
	if f.g != g { // another graph has other IDs
		f.g, f.series, f.next = g, nil, 1
	}
	more, next := policy.Series(v, f.next)
	f.series, f.next = append(f.series, more...), next
	series := f.series[:len(f.series):len(f.series)]
	f.mu.Unlock()
	out, idle, err = policy.InForceOf(v, series, ctx)
	return out, idle, atLeastOne(out, idle, err, ctx)
}

// Policy finds one policy: library:NAME, a file, or a REF in the log.
func Policy(v graph.View, name string, ctx policy.Context) (*policy.Policy, error) {
	if lib, ok := strings.CutPrefix(name, "library:"); ok {
		text, err := policy.FromLibrary(lib)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", query.ErrNotFound, err)
		}
		p, err := policy.Parse(text)
		if err != nil {
			return nil, &PolicyError{name, err}
		}
		p.Source = name
		return p, nil
	}
	if st, err := os.Stat(name); err == nil && st.Mode().IsRegular() {
		return PolicyFile(name)
	}
	ids, err := query.Resolve(v, name, query.One)
	if err != nil {
		return nil, err
	}
	return policy.Logged(v, ids[0], ctx)
}

// PolicyFile reads a policy out of a file.
func PolicyFile(name string) (*policy.Policy, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, policy.MaxText+1))
	if err != nil {
		return nil, err
	}
	p, err := policy.Parse(text)
	if err != nil {
		return nil, &PolicyError{name, err}
	}
	p.Source = name
	return p, nil
}

// Evaluate asks each policy.
func Evaluate(ps []*policy.Policy, v graph.View, q policy.Question) ([]*policy.Verdict, error) {
	var all []*policy.Verdict
	for _, p := range ps {
		x, err := policy.Evaluate(p, v, q)
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	return all, nil
}

// Worst rolls verdicts up: deny before undecided before allow. No verdict is
// undecided.
func Worst(all []*policy.Verdict) string {
	out := policy.Allow
	if len(all) == 0 {
		out = policy.Undecided
	}
	for _, v := range all {
		if v.Verdict == policy.Deny {
			return policy.Deny
		}
		if v.Verdict != policy.Allow {
			out = policy.Undecided
		}
	}
	return out
}

// Record signs the verdicts of the policies as SLSA verification summaries v1
// and appends them all, or none.
func Record(ctx context.Context, w *app.Workspace, k keys.Key, all []*policy.Verdict, ps []*policy.Policy) ([]evlog.Appended, error) {
	if len(all) == 0 {
		return nil, nil
	}
	var envelopes [][]byte
	for i, v := range all {
		s, vsa, err := summary(v, ps[i], k.Principal.String())
		if err != nil {
			return nil, err
		}
		env, err := app.Envelope(ctx, k, []statement.Subject{s}, vsa)
		if err != nil {
			return nil, err
		}
		envelopes = append(envelopes, env)
	}
	return w.Record(ctx, k.Principal, envelopes...)
}

// summary gives a verdict as a verification summary (SLSA v1.1, VSA). SLSA
// knows passed and failed only: what is undecided failed, and the field stemma
// says so.
func summary(v *policy.Verdict, p *policy.Policy, verifier string) (statement.Subject, *statement.VSA, error) {
	result := "FAILED"
	if v.Verdict == policy.Allow {
		result = "PASSED"
	}
	ref, err := prov.ParseRef(v.Subject)
	if err != nil {
		return statement.Subject{}, nil, err
	}
	set := statement.DigestSet{}
	if d, err := prov.ParseRef(v.Digest); err == nil && d.IsDigest() {
		set[string(d.Kind)] = d.Name
	}
	var fields [3]jsontext.Value
	for i, x := range []any{map[string]string{"id": verifier},
		map[string]any{"uri": v.Policy, "digest": map[string]string{"sha256": hex.EncodeToString(p.Digest())}}, v} {
		b, err := json.Marshal(x)
		if err != nil {
			return statement.Subject{}, nil, err
		}
		fields[i] = jsontext.Value(b)
	}
	at, err := prov.ParseTime(v.At)
	if err != nil {
		return statement.Subject{}, nil, err
	}
	return statement.NewSubject(ref, set), &statement.VSA{Verifier: fields[0], TimeVerified: statement.NewTime(at),
		ResourceURI: v.Subject, Policy: fields[1], VerificationResult: result, VerifiedLevels: []string{}, Stemma: fields[2]}, nil
}
