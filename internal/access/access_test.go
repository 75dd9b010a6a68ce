package access

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// A file in testdata/left has lines ALLOW|DENY|BOUND ACTIONS RESOURCE [not=…]
// [notres=…] [maybe] and then ASK NAME [ACTION]; lists have commas, "-" is none.
func TestLeft(t *testing.T) {
	datadriven.RunTest(t, "testdata/left", func(t *testing.T, d *datadriven.TestData) string {
		var allows, denies, bounds []*Compiled
		var out strings.Builder
		for _, line := range strings.Split(d.Input, "\n") {
			f := strings.Fields(line)
			if f[0] == "ASK" {
				a := Ask{Names: strings.Split(f[1], ",")}
				if len(f) > 2 {
					a.Action = f[2]
				}
				for _, c := range allows {
					o, s := Left(c, denies, bounds, a)
					fmt.Fprintf(&out, "%s: %s%s\n", strings.Join(f[1:], " "), o, map[Scope]string{Part: ", of a part"}[s])
				}
				continue
			}
			r := Rule{Deny: f[0] == "DENY", Resource: f[2]}
			if f[1] != "-" {
				r.Actions = strings.Split(f[1], ",")
			}
			for _, x := range f[3:] {
				k, v, _ := strings.Cut(x, "=")
				switch k {
				case "maybe":
					r.Maybe = true
				case "not":
					r.NotActions = strings.Split(v, ",")
				case "notres":
					r.NotResources = strings.Split(v, ",")
				}
			}
			c := Compile(r)
			switch f[0] {
			case "ALLOW":
				allows = append(allows, c)
			case "DENY":
				denies = append(denies, c)
			case "BOUND":
				bounds = append(bounds, c)
			}
		}
		return out.String()
	})
}

func TestCondition(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	f := Facts{At: at, Keys: map[string]string{"aws:principalarn": "arn:aws:iam::1:role/r", "idp:sub": "system:serviceaccount:ns:a"}}
	for text, want := range map[string]Outcome{
		``: Yes,
		`{"StringEquals":{"idp:sub":"system:serviceaccount:ns:a"}}`:                                     Yes,
		`{"StringEquals":{"idp:sub":"system:serviceaccount:ns:b"}}`:                                     No,
		`{"StringLike":{"idp:sub":["x","system:serviceaccount:ns:*"]}}`:                                 Yes,
		`{"StringEquals":{"idp:sub":"system:serviceaccount:ns:a","idp:aud":"x"}}`:                       Unknown,
		`{"StringEquals":{"idp:sub":"other","idp:aud":"x"}}`:                                            No,
		`{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::1:role/*"}}`:                                   No,
		`{"StringEquals":{"aws:PrincipalArn":"${aws:x}"}}`:                                              Unknown,
		`{"Bool":{"aws:MultiFactorAuthPresent":"true"}}`:                                                Unknown,
		`{"Null":{"aws:PrincipalArn":"true"}}`:                                                          Unknown,
		`{"DateLessThan":{"aws:CurrentTime":"2026-04-01T00:00:00Z"}}`:                                   Yes,
		`{"DateGreaterThan":{"aws:CurrentTime":"2026-04-01"}}`:                                          No,
		`{"expression":"request.time < timestamp(\"2026-04-01T00:00:00Z\")"}`:                           Yes,
		`{"expression":"request.time < timestamp(\"2026-02-01T00:00:00Z\") && resource.name == \"x\""}`: No,
		`{"expression":"resource.name == \"x\""}`:                                                       Unknown,
		`{"expression":"request.time < timestamp(\"2026-04-01T00:00:00Z\") || resource.name == \"x\""}`: Unknown,
		`{"expression":"!(request.time < timestamp(\"2026-04-01T00:00:00Z\"))"}`:                        Unknown,
		`selectors k8s:ns:x`: Unknown,
		`{}`:                 Unknown,
	} {
		if got := Condition(text, f); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if got := Condition(`{"DateLessThan":{"aws:CurrentTime":"2026-04-01T00:00:00Z"}}`, Facts{}); got != Unknown {
		t.Errorf("without a moment: %s", got)
	}
}

// holds matches by recursion, as one would explain it.
func holds(p, text string) bool {
	switch {
	case p == "":
		return text == ""
	case p[0] == '*':
		return holds(p[1:], text) || text != "" && holds(p, text[1:])
	case text == "":
		return false
	case p[0] == '?' || p[0] == text[0]:
		return holds(p[1:], text[1:])
	}
	return false
}

func words(n int) []string {
	out, last := []string{""}, []string{""}
	for range n {
		var next []string
		for _, w := range last {
			for _, r := range "abz" {
				next = append(next, w+string(r))
			}
		}
		out, last = append(out, next...), next
	}
	return out
}

// TestMeetReference: the search for a text agrees with trying all short ones.
func TestMeetReference(t *testing.T) {
	all := words(6)
	r := rand.New(rand.NewPCG(1, 2))
	some := func() string {
		var b strings.Builder
		for range 1 + r.IntN(3) {
			b.WriteByte("ab*?*"[r.IntN(5)])
		}
		return b.String()
	}
	yes := 0
	for n := range 4000 {
		var in, out []string
		for range 1 + r.IntN(2) {
			in = append(in, some())
		}
		for range r.IntN(4) {
			out = append(out, some())
		}
		want := slices.ContainsFunc(all, func(w string) bool {
			return !slices.ContainsFunc(in, func(p string) bool { return !holds(p, w) }) && !slices.ContainsFunc(out, func(p string) bool { return holds(p, w) })
		})
		work := maxWork
		got, sure := meet(globs(in), globs(out), &work)
		if got != want || !sure {
			t.Fatalf("case %d: in %q, not in %q: %t (sure %t), want %t", n, in, out, got, sure, want)
		}
		if got {
			yes++
		}
	}
	t.Logf("%d of 4000 have a text", yes)
}

func globs(texts []string) []Pattern {
	var out []Pattern
	for _, x := range texts {
		out = append(out, Glob(x))
	}
	return out
}

type plainRule struct {
	Rule
}

func (r plainRule) takes(action, res string) bool {
	in := func(list []string, x string) bool {
		return slices.ContainsFunc(list, func(p string) bool { return holds(strings.TrimPrefix(p, "aws/"), x) })
	}
	return in(r.Actions, action) && !in(r.NotActions, action) && holds(strings.TrimPrefix(r.Resource, "aws/"), res) && !in(r.NotResources, res)
}

// TestLeftReference: what is left of grants beside refusals and within bounds
// agrees with trying every action on every resource.
func TestLeftReference(t *testing.T) {
	const pre = "arn:aws:s3:::"
	count := map[Outcome]int{}
	for seed := range uint64(1200) {
		r := rand.New(rand.NewPCG(seed, 4))
		some := func() string {
			var b strings.Builder
			for range 1 + r.IntN(2) {
				b.WriteByte("ab*?*"[r.IntN(5)])
			}
			return b.String()
		}
		act := func() string { return "s3:" + some() }
		rule := func(deny bool) plainRule {
			x := Rule{Deny: deny, Actions: []string{act()}, Resource: pre + some()}
			switch r.IntN(6) {
			case 0:
				x.Actions, x.NotActions = []string{"*"}, []string{act(), act()}
			case 1:
				x.Resource, x.NotResources = "aws/*", []string{pre + some()}
			case 2:
				x.Actions = append(x.Actions, act())
			}
			x.Maybe = r.IntN(5) == 0
			return plainRule{x}
		}
		allow, denies, bounds := rule(false), []plainRule{}, []plainRule(nil)
		for range r.IntN(4) {
			denies = append(denies, rule(true))
		}
		if r.IntN(3) == 0 {
			for range 1 + r.IntN(2) {
				bounds = append(bounds, rule(r.IntN(4) == 0))
			}
		}
		name := words(2)[1+r.IntN(12)]
		action := words(2)[r.IntN(13)]
		if action != "" {
			action = "s3:" + action
		}
		got, _ := Left(Compile(allow.Rule), compiled(denies), compiled(bounds), Ask{Names: []string{pre + name}, Action: action})
		want := No
		for _, below := range []bool{false, true} {
			for _, w := range words(3) {
				res := pre + name
				if below {
					res += "/" + w
				}
				for _, a := range words(3) {
					a = "s3:" + a
					if action == "" || action == a {
						want = max(want, plainly(allow, denies, bounds, a, res))
					}
				}
				if !below {
					break
				}
			}
		}
		if got != want {
			t.Fatalf("seed %d: %q on %s: %s, want %s\nallow %+v\ndeny %+v\nbounds %+v", seed, action, name, got, want, allow, denies, bounds)
		}
		count[got]++
	}
	t.Log(count)
	for _, o := range []Outcome{No, Unknown, Yes} {
		if count[o] < 50 {
			t.Errorf("only %d are %s", count[o], o)
		}
	}
}

func compiled(rules []plainRule) []*Compiled {
	if rules == nil {
		return nil
	}
	out := []*Compiled{}
	for _, r := range rules {
		out = append(out, Compile(r.Rule))
	}
	return out
}

func plainly(allow plainRule, denies, bounds []plainRule, action, res string) Outcome {
	if !allow.takes(action, res) {
		return No
	}
	out := Yes
	if allow.Maybe {
		out = Unknown
	}
	if bounds != nil {
		in := No
		for _, b := range bounds {
			if !b.Deny && b.takes(action, res) {
				in = max(in, map[bool]Outcome{true: Unknown, false: Yes}[b.Maybe])
			}
		}
		out = min(out, in)
	}
	for _, d := range append(slices.Clone(denies), bounds...) {
		if d.Deny && d.takes(action, res) {
			out = min(out, map[bool]Outcome{true: Unknown, false: No}[d.Maybe])
		}
	}
	return out
}

// TestHostilePatterns: patterns made to be slow end.
func TestHostilePatterns(t *testing.T) {
	long := strings.Repeat("a*", 200) + "b"
	var denies []*Compiled
	for i := range 60 {
		denies = append(denies, Compile(Rule{Deny: true, Actions: []string{fmt.Sprintf("s3:*%d*%d*", i%7, i)}, Resource: "arn:aws:s3:::" + strings.Repeat("*a?", i%20)}))
	}
	o, _ := Left(Compile(Rule{Actions: []string{"s3:" + long, "*"}, Resource: "arn:aws:s3:::" + long}), denies, nil, Ask{Names: []string{"arn:aws:s3:::" + strings.Repeat("a", 300) + "b"}})
	if o == Yes {
		t.Error("what was not searched to its end is yes")
	}
}

func FuzzLeft(f *testing.F) {
	f.Add("s3:*", "arn:aws:s3:::b/*", "s3:Get*", "arn:aws:s3:::b/x", "s3:GetObject", "arn:aws:s3:::b/x")
	f.Add("get", "kubernetes/*/core/secrets", "*", "kubernetes/a/*/*", "get", "kubernetes/a/core/secrets/x")
	f.Add("read", "github/o/*", "", "github/o/r", "", "github/o")
	f.Fuzz(func(t *testing.T, act, res, dact, dres, action, name string) {
		if len(act)+len(res)+len(dact)+len(dres)+len(action)+len(name) > 200 {
			t.Skip()
		}
		a, d := Compile(Rule{Actions: []string{act}, Resource: res}), Compile(Rule{Deny: true, Actions: []string{dact}, Resource: dres})
		ask := Ask{Names: []string{name}, Action: action}
		free, _ := Left(a, nil, nil, ask)
		less, _ := Left(a, []*Compiled{d}, nil, ask)
		if less > free {
			t.Errorf("a refusal gave more: %s, then %s", free, less)
		}
	})
}
