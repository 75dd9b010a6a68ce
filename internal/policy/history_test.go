package policy

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// A file in testdata is histories and what policies say of them. Its commands:
//
//	record      adds entries, a line each: DAY WHO: VERB THING KEY=VALUE…
//	            DAY is MM-DD or MM-DDThh:mm of 2026, the time of recording.
//	            THING is a Ref; its content is made of its name. KIND:NAME!
//	            has no content, KIND:NAME=OTHER has other content, and #CONTENT
//	            is content without a name.
//	gate        THING at=DAY env=ENV known=N runs-as=…, then rules: ID: CEL
//	decisions   THING at=DAY env=ENV: every decision, whether it counts and why
//	valid       THING env=ENV, then rules
//	in-force    at=DAY env=ENV: the policies in force, and what they say
//	reset       begins another history
func TestHistories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		h := &book{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			h.t = t
			first, rest, _ := strings.Cut(d.Input, "\n")
			switch d.Cmd {
			case "reset":
				h.entries = nil
				return "ok\n"
			case "record":
				return h.record(strings.Split(d.Input, "\n"))
			case "gate":
				return h.gate(h.ask(first), rest)
			case "decisions":
				return h.decisions(h.ask(first))
			case "valid":
				return h.valid(h.ask(first), rest)
			case "in-force":
				return h.inForce(h.ask("- " + first))
			}
			t.Fatalf("%s: no command %q", d.Pos, d.Cmd)
			return ""
		})
	})
}

type book struct {
	t       *testing.T
	entries []entry
}

func (h *book) day(s string) time.Time {
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, "2026-"+s); err == nil {
			return t
		}
	}
	h.t.Fatalf("%q is no day", s)
	return time.Time{}
}

func (h *book) time(s string) statement.Time {
	if s == "" {
		return statement.Time{}
	}
	return statement.NewTime(h.day(s))
}

// thing reads a THING.
func (h *book) thing(s string) statement.Subject {
	if content, ok := strings.CutPrefix(s, "#"); ok {
		return statement.NewSubject(prov.DigestRef("sha256", digestOf(content)["sha256"]), digestOf(content))
	}
	name, content, _ := strings.Cut(s, "=")
	if bare, ok := strings.CutSuffix(name, "!"); ok {
		return thing(bare, nil)
	}
	if content == "" {
		content = name
	}
	return thing(name, digestOf(content))
}

func (h *book) resource(s string) statement.Resource {
	x := h.thing(s)
	if strings.HasPrefix(s, "#") {
		return statement.Resource{Digest: x.Digest}
	}
	return statement.Resource{Ref: x.Name, Digest: x.Digest}
}

// said is the words of one line.
type said struct {
	what string
	get  map[string]string
}

func (h *book) words(line string) said {
	f := strings.Fields(line)
	s := said{get: map[string]string{}}
	for i, w := range f {
		k, v, ok := strings.Cut(w, "=")
		switch {
		case i == 0:
			s.what = w
		case ok:
			s.get[k] = strings.ReplaceAll(v, "_", " ")
		default:
			h.t.Fatalf("%q: %q is not KEY=VALUE", line, w)
		}
	}
	return s
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func (h *book) record(lines []string) string {
	var out strings.Builder
	for _, line := range lines {
		day, rest, _ := strings.Cut(line, " ")
		by, rest, ok := strings.Cut(rest, ": ")
		if !ok {
			h.t.Fatalf("%q: want DAY WHO: VERB THING …", line)
		}
		verb, rest, _ := strings.Cut(strings.TrimSpace(rest), " ")
		e := entry{by: by, at: h.day(day)}
		words := h.words(rest)
		e.file = words.get["key"] == "file"
		e.pred, e.subjects = h.predicate(verb, words, by, e.at)
		fmt.Fprintf(&out, "%d\n", len(h.entries))
		h.entries = append(h.entries, e)
	}
	return out.String()
}

func (h *book) predicate(verb string, s said, by string, at time.Time) (statement.Predicate, []statement.Subject) {
	get, when := s.get, statement.NewTime(at)
	about := []statement.Subject{}
	if verb != "retract" {
		about = append(about, h.thing(s.what))
	}
	switch verb {
	case "identity":
		it := statement.IdentityItem{Ref: strings.TrimSuffix(s.what, "!"), Owner: get["owner"], MemberOf: list(get["member"]), State: get["state"]}
		if get["role"] != "" {
			it.Roles = []statement.RoleItem{{Role: get["role"], From: h.time(get["from"]), Until: h.time(get["until"])}}
		}
		if get["credential"] != "" {
			it.Credentials = []statement.CredentialItem{{Ref: get["credential"], IssuedAt: h.time(get["issued"]), ExpiresAt: h.time(get["expires"])}}
		}
		mode := "event"
		if get["mode"] != "" {
			mode = get["mode"]
		}
		return &statement.Identity{Mode: mode, Source: "hr", At: when, Items: []statement.IdentityItem{it}}, []statement.Subject{thing(it.Ref, nil)}
	case "entity":
		e := &statement.Entity{State: "registered", At: when, Owner: get["owner"], Origin: get["origin"], Licence: get["licence"]}
		if get["at"] != "" {
			e.At = h.time(get["at"])
		}
		if get["same"] != "" {
			e.State, e.SameAs = "same-as", []statement.Resource{h.resource(get["same"])}
		}
		return e, about
	case "act":
		a := &statement.Activity{Kind: get["kind"], ID: get["id"], StartedAt: when, EndedAt: h.time(get["ended"]), State: get["state"], InputsCompleteness: get["inputs"]}
		for _, u := range list(get["used"]) {
			a.Used = append(a.Used, statement.Use{Resource: h.resource(strings.ReplaceAll(u, " ", "="))})
		}
		for _, who := range list(get["by"]) {
			a.Identities = append(a.Identities, statement.Party{Ref: who})
		}
		if a.Kind == "evaluate" {
			about = []statement.Subject{thing(a.ID, nil)}
			a.Used = []statement.Use{{Resource: h.resource(s.what)}}
		}
		return a, about
	case "approve", "reject", "revoke", "request":
		return h.approval(verb, get, by, when, about), about
	case "notice":
		return &statement.Notice{Kind: get["kind"], ID: get["id"], Since: h.time(get["since"]), Until: h.time(get["until"]), At: when}, about
	case "waive":
		return &statement.Waiver{Rule: get["rule"], Reason: "told", Until: h.time(get["until"]), Scope: list(get["env"]), At: when}, about
	case "deploy":
		dep := &statement.Deployment{Action: "deploy", Environment: "env:" + get["env"], Service: "service:s", At: when, RunsAs: list(get["runs-as"])}
		if get["bundle"] != "" {
			r := h.resource(get["bundle"])
			dep.PolicyBundle = &r
		}
		return dep, about
	case "policy":
		text := "name: " + get["name"] + "\nenvironments: [" + get["env"] + "]\nrules: [{id: r, require: '" + get["require"] + "'}]\n"
		if get["digest"] == "" {
			about[0].Digest = statement.DigestSet{"sha256": fmt.Sprintf("%x", sha256.Sum256([]byte(text)))}
		}
		return &statement.Policy{Name: get["name"], Text: text, Environments: list(get["env"]), At: when}, about
	case "retract":
		var n uint64
		fmt.Sscan(strings.TrimPrefix(s.what, "entry:"), &n)
		return &statement.Retraction{Entry: n, Reason: "wrong"}, h.entries[n].subjects
	}
	h.t.Fatalf("no verb %q", verb)
	return nil, nil
}

func (h *book) approval(verb string, get map[string]string, by string, when statement.Time, about []statement.Subject) *statement.Approval {
	a := &statement.Approval{Decision: verb, Approver: by, Review: get["review"], Role: get["role"], ID: get["id"], Comment: get["comment"], DecidedAt: when,
		ValidFrom: h.time(get["from"]), ValidUntil: h.time(get["until"]), Log: testLog, Assurance: get["assurance"], Revokes: get["revokes"], Supersedes: get["supersedes"]}
	if get["as"] != "" {
		a.Approver = get["as"]
	}
	if get["decided"] != "" {
		a.DecidedAt = h.time(get["decided"])
	}
	if log, ok := get["log"]; ok {
		a.Log = log
	}
	for _, e := range list(get["env"]) {
		a.Environments = append(a.Environments, "env:"+e)
	}
	a.Text = statement.ApprovalText(about, a)
	if get["text"] != "" {
		a.Text = get["text"]
	}
	return a
}

// asking is what a gate asks.
type asking struct {
	said
	v graph.View
	q Question
}

func (h *book) ask(line string) asking {
	s := h.words(line)
	if s.get["env"] == "" {
		s.get["env"] = "prod"
	}
	g := fold(h.t, h.entries, -1)
	asOf := prov.Now
	if s.get["at"] != "" {
		asOf.Valid = prov.At(h.day(s.get["at"]))
	}
	if s.get["known"] != "" {
		fmt.Sscan(s.get["known"], &asOf.Known)
	}
	out := asking{said: s, v: g.At(asOf), q: Question{Context: Context{Log: testLog, Environment: s.get["env"], Stewards: []string{"sa:hr", "sa:ops"}}}}
	out.q.Planned.RunsAs = list(s.get["runs-as"])
	if s.what != "-" {
		x := h.thing(s.what)
		name := x.Name
		if strings.HasPrefix(s.what, "#") {
			name = "sha256:" + x.Digest["sha256"]
		}
		r, err := prov.ParseRef(name)
		if err != nil {
			h.t.Fatal(err)
		}
		if out.q.Thing = g.At(prov.Now).Lookup(r); out.q.Thing == graph.None {
			h.t.Fatalf("the history does not know %s", name)
		}
	}
	return out
}

// rules makes a policy of lines: ID: EXPRESSION, or key: value of the policy.
func (h *book) rules(text string) *Policy {
	var head, rules strings.Builder
	for _, line := range strings.Split(text, "\n") {
		id, expr, ok := strings.Cut(line, ": ")
		switch {
		case !ok:
			h.t.Fatalf("%q: want ID: EXPRESSION", line)
		case id == "parameters" || id == "waivers":
			fmt.Fprintf(&head, "%s: %s\n", id, expr)
		default:
			fmt.Fprintf(&rules, "  - id: %s\n    require: >-\n      %s\n", id, expr)
		}
	}
	return policyOf(h.t, "name: p\n"+head.String()+"rules:\n"+rules.String())
}

var digests = regexp.MustCompile(`[0-9a-f]{64}`)

// short cuts digests to 6 digits, and times to the day.
func short(s string) string {
	s = digests.ReplaceAllStringFunc(s, func(d string) string { return d[:6] })
	return strings.ReplaceAll(strings.ReplaceAll(s, "T00:00:00Z", ""), "2026-", "")
}

func (h *book) gate(x asking, rules string) string {
	v, err := Evaluate(h.rules(rules), x.v, x.q)
	if err != nil {
		return err.Error() + "\n"
	}
	return told(v)
}

func told(v *Verdict) string {
	var out strings.Builder
	fmt.Fprintln(&out, v.Verdict)
	for _, o := range v.Rules {
		fmt.Fprintf(&out, "  %s: %s %v\n", o.Rule, o.Outcome, o.Entries)
		if o.Waiver != "" {
			fmt.Fprintf(&out, "    waived by %s\n", o.Waiver)
		}
		for _, r := range o.Reasons {
			fmt.Fprintf(&out, "    %s\n", r)
		}
	}
	return short(out.String())
}

func (h *book) decisions(x asking) string {
	var out strings.Builder
	for _, d := range Decisions(x.v, x.q.Thing, x.q.Context) {
		fmt.Fprintf(&out, "%d %s %s %s: %s\n", d.Entry, d.Approver, d.Decision, d.Review, d.Effect)
		for _, r := range d.Reasons {
			fmt.Fprintf(&out, "  %s: %s\n", r.Class, r.Detail)
		}
	}
	if out.Len() == 0 {
		return "none\n"
	}
	return short(out.String())
}

func (h *book) valid(x asking, rules string) string {
	got, err := Valid(h.rules(rules), x.v, x.q, Bounds{})
	if err != nil {
		return err.Error() + "\n"
	}
	var out strings.Builder
	for _, part := range []struct {
		name string
		list []Interval
	}{{"as it was", got.AsItWas}, {"as known", got.AsKnown}} {
		fmt.Fprintf(&out, "%s:\n", part.name)
		for _, i := range part.list {
			fmt.Fprintf(&out, "  %s … %s: %s %s %v\n", i.From, i.To, i.Validity, strings.Join(i.Rules, ","), i.Entries)
		}
	}
	return short(out.String())
}

func (h *book) inForce(x asking) string {
	ps, idle, err := InForce(x.v, x.q.Context)
	if err != nil {
		return short("error: " + err.Error() + "\n")
	}
	var out strings.Builder
	for _, why := range idle {
		fmt.Fprintln(&out, why)
	}
	for _, p := range ps {
		fmt.Fprintf(&out, "%s: %s\n", p.Source, p.Rules[0].Require)
	}
	if out.Len() == 0 {
		return "none\n"
	}
	return out.String()
}
