package admission

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/stemma-lineage/stemma/internal/gate"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/policy"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

// finding is what was found of one thing, for people.
type finding struct {
	verdict string
	lines   []string
}

func undecided(where, why string) finding {
	return finding{policy.Undecided, []string{"? undecided: " + where + ": " + why}}
}

// decide answers one request.
func (s *Server) decide(ctx context.Context, r *request) *response {
	switch {
	case r.Operation == "DELETE":
		return &response{UID: r.UID, Allowed: true} // nothing goes live by it
	case r.Operation != "CREATE" && r.Operation != "UPDATE":
		return s.answer(r, []finding{undecided("operation "+r.Operation, "this webhook decides CREATE and UPDATE; take the operation out of its rules")})
	}
	if r.SubResource != "" && r.SubResource != "ephemeralcontainers" {
		return s.answer(r, []finding{undecided("subresource "+r.SubResource, "this webhook decides whole objects and ephemeralcontainers; take the subresource out of its rules")})
	}
	w, err := workloadOf(r.Kind, r.Namespace, r.Object)
	if errors.Is(err, errNotPods) {
		return s.answer(r, []finding{undecided(name(r), err.Error()+"; take it out of the webhook's rules")})
	}
	if err != nil {
		return s.answer(r, []finding{undecided(name(r), err.Error())})
	}
	if r.Operation == "UPDATE" && len(r.OldObject) > 0 {
		if old, err := workloadOf(r.Kind, r.Namespace, r.OldObject); err == nil && same(old, w) {
			return &response{UID: r.UID, Allowed: true}
		}
	}
	env := s.environment(r.Namespace)
	if env == "" {
		return s.answer(r, []finding{undecided("namespace "+r.Namespace, "no environment is known for it; start stemma serve with --env ENV or --namespace-env "+r.Namespace+"=ENV")})
	}
	return s.answer(r, s.ask(ctx, w, env, r.DryRun))
}

func name(r *request) string {
	return strings.TrimSpace(strings.ToLower(r.Kind.Kind) + " " + r.Namespace + "/" + r.Name)
}

func (s *Server) environment(namespace string) string {
	if e := s.o.Namespaces[namespace]; e != "" {
		return e
	}
	return s.o.Environment
}

// ask asks the policies about each thing of a workload. The graph is that of
// the whole log; it is read while other requests record.
func (s *Server) ask(ctx context.Context, w workload, env string, dry bool) []finding {
	g, _, err := s.o.Workspace.Graph(ctx)
	if err != nil {
		return []finding{undecided("the log", err.Error())}
	}
	v := g.At(prov.AsOf{Valid: prov.At(s.o.Now()), Known: prov.AllKnown})
	q := policy.Question{Context: gate.Context(s.o.Workspace, env)}
	ps, idle, err := s.inForce.Policies(g, v, s.o.Policies, q.Context)
	for _, why := range idle {
		s.o.Diagnostics.Warn("a policy has no effect", "reason", why)
	}
	if err != nil {
		return []finding{undecided("environment "+env, err.Error())}
	}
	q.Planned.RunsAs = []string{w.runsAs}
	var out []finding
	var verdicts []*policy.Verdict
	var by []*policy.Policy
	for _, a := range w.things {
		if ctx.Err() != nil {
			out = append(out, undecided(a.where, "the time to answer ran out"))
			break
		}
		all, f := s.one(v, ps, q, a, env)
		out = append(out, f)
		verdicts, by = append(verdicts, all...), append(by, ps[:len(all)]...)
	}
	if !dry && !s.o.DryRun {
		if _, err := gate.Record(ctx, s.o.Workspace, s.o.Key, verdicts, by); err != nil {
			s.o.Diagnostics.Error("recording a verdict", "error", err)
			out = append(out, undecided("the log", "the verdict could not be recorded: "+err.Error()))
		}
	}
	return out
}

// one asks about one thing.
func (s *Server) one(v graph.View, ps []*policy.Policy, q policy.Question, a asked, env string) ([]*policy.Verdict, finding) {
	if a.ref == "" {
		return nil, undecided(a.where, a.why)
	}
	id, err := gate.Thing(v, a.ref)
	if errors.Is(err, query.ErrNotFound) {
		return nil, undecided(a.where, fmt.Sprintf("no entry of the log tells of %s; import its provenance (stemma import), or stemma record what it is", a.ref))
	}
	if err != nil {
		return nil, undecided(a.where, err.Error())
	}
	q.Thing = id
	all, err := gate.Evaluate(ps, v, q)
	if err != nil {
		return nil, undecided(a.where, err.Error())
	}
	return all, explain(a, all, env)
}

var words = map[string]string{policy.Allow: "allowed", policy.Deny: "✗ denied", policy.Undecided: "? undecided"}

// explain says what the policies found of a thing: for each rule that does
// not hold the first reason, and what mends it.
func explain(a asked, all []*policy.Verdict, env string) finding {
	f := finding{verdict: gate.Worst(all)}
	for _, v := range all {
		if v.Verdict == policy.Allow {
			continue
		}
		f.lines = append(f.lines, fmt.Sprintf("%s: %s in %s by %s (%s)", words[v.Verdict], v.Subject, env, v.Policy, a.where))
		for _, o := range v.Rules {
			if o.Outcome != policy.Violated && o.Outcome != policy.Unknown {
				continue
			}
			why := strings.Join(o.Reasons, "; ")
			f.lines = append(f.lines, "  "+o.Rule+" is "+o.Outcome+": "+cut(oneLine(why), maxReason))
			if o.Mend != "" {
				f.lines = append(f.lines, "    mend: "+oneLine(o.Mend))
			}
		}
	}
	if len(f.lines) > 0 {
		f.lines = append(f.lines, fmt.Sprintf("  more: stemma gate %s --env %s --dry-run", a.ref, env))
	}
	return f
}

// printable leaves out what would move a terminal: names are the workload's
// own text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// The message is for a terminal, in bytes; reasons are cut to maxReason.
const (
	maxMessage = 8 << 10
	maxReason  = 400
)

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// answer rolls what was found up into a response. What is undecided goes by
// the choice to fail open or closed; in a dry run nothing is denied.
func (s *Server) answer(r *request, found []finding) *response {
	verdict := policy.Allow
	var lines []string
	for _, f := range found {
		lines = append(lines, f.lines...)
		switch {
		case f.verdict == policy.Deny:
			verdict = policy.Deny
		case f.verdict != policy.Allow && verdict == policy.Allow:
			verdict = policy.Undecided
		}
	}
	for i, l := range lines {
		lines[i] = printable(l)
	}
	out := &response{UID: r.UID}
	switch {
	case verdict == policy.Allow:
		out.Allowed = true
	case s.o.DryRun:
		out.Allowed, out.Warnings = true, warnings("dry run: ", lines)
	case verdict == policy.Undecided && s.o.FailOpen:
		out.Allowed, out.Warnings = true, warnings("let pass by --fail open: ", lines)
	default:
		out.Status = &status{Code: 403, Reason: "Forbidden", Message: cut(strings.Join(append([]string{"Stemma: " + verdict}, lines...), "\n"), maxMessage)}
	}
	s.o.Diagnostics.Info("admission", "verdict", verdict, "allowed", out.Allowed, "kind", r.Kind.Kind, "namespace", r.Namespace, "name", r.Name, "operation", r.Operation, "dryRun", r.DryRun || s.o.DryRun)
	return out
}

// warnings gives lines in the form that the Kubernetes API asks for: each of
// at most 120 characters, together at most 4096.
func warnings(first string, lines []string) []string {
	var out []string
	total := 0
	for _, l := range lines {
		l = cut(first+strings.TrimSpace(l), 114)
		if total += len(l); total > 4000 {
			break
		}
		out = append(out, l)
	}
	return out
}
