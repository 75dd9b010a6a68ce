package finding

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// A file in testdata is histories and what detectors say of them. Its commands:
//
//	record  adds entries, a line each: DAY WHO: VERB THING KEY=VALUE…
//	        DAY is MM-DD or MM-DDThh:mm of 2026, the time of recording. THING is
//	        a Ref whose content is made of its name; KIND:NAME! has no content.
//	find    DETECTOR,…|all at=DAY known=N budget=N: what the detector says of each subject
//	reset   begins another history
func TestHistories(t *testing.T) {
	seen := map[string]map[Outcome]bool{}
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		h := &book{t: t, seen: seen}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			h.t = t
			switch d.Cmd {
			case "reset":
				h.entries = nil
				return "ok\n"
			case "record":
				return h.record(strings.Split(d.Input, "\n"))
			case "find":
				return h.find(d.Input)
			}
			t.Fatalf("%s: no command %q", d.Pos, d.Cmd)
			return ""
		})
	})
	for _, d := range Detectors() {
		for _, o := range []Outcome{Violated, Clear, Unknown} {
			if !seen[d.ID][o] {
				t.Errorf("no case has %s %s", d.ID, o)
			}
		}
	}
}

type book struct {
	t       *testing.T
	entries []content
	seen    map[string]map[Outcome]bool
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

func (h *book) thing(s string) statement.Subject {
	if bare, ok := strings.CutSuffix(s, "!"); ok {
		return thing(bare, nil)
	}
	name, other, _ := strings.Cut(s, "~") // NAME~CONTENT has other content
	if other == "" {
		other = name
	}
	return thing(name, digestOf(other))
}

func (h *book) resources(s string) []statement.Resource {
	var out []statement.Resource
	for _, x := range words(s) {
		y := h.thing(x)
		out = append(out, statement.Resource{Ref: y.Name, Digest: y.Digest})
	}
	return out
}

func words(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func parties(s string) []statement.Party {
	var out []statement.Party
	for _, x := range words(s) {
		out = append(out, statement.Party{Ref: x})
	}
	return out
}

func (h *book) record(lines []string) string {
	var out strings.Builder
	for _, line := range lines {
		day, rest, _ := strings.Cut(line, " ")
		by, rest, ok := strings.Cut(rest, ": ")
		if !ok {
			h.t.Fatalf("%q: want DAY WHO: VERB THING …", line)
		}
		f := strings.Fields(rest)
		get := map[string]string{}
		for _, w := range f[2:] {
			k, v, ok := strings.Cut(w, "=")
			if !ok {
				h.t.Fatalf("%q: %q is not KEY=VALUE", line, w)
			}
			get[k] = v
		}
		p, about := h.predicate(f[0], f[1], get, by, h.day(day))
		h.entries = append(h.entries, entry(by, h.day(day), p, about...))
		h.entries[len(h.entries)-1](h.t) // that it can be written
		fmt.Fprintf(&out, "%d\n", len(h.entries)-1)
	}
	return out.String()
}

func (h *book) predicate(verb, what string, get map[string]string, by string, at time.Time) (statement.Predicate, []statement.Subject) {
	when := statement.NewTime(at)
	if get["at"] != "" {
		when = h.time(get["at"])
	}
	about := []statement.Subject{h.thing(what)}
	switch verb {
	case "identity":
		about[0].Digest = nil
		return h.identity(what, get, when), []statement.Subject{thing(what, nil)}
	case "entity":
		return &statement.Entity{State: "registered", At: when, Owner: get["owner"], Origin: get["origin"]}, about
	case "act":
		a := &statement.Activity{Kind: get["kind"], ID: get["id"], StartedAt: when, EndedAt: h.time(get["ended"]), InputsCompleteness: get["inputs"],
			Identities: parties(get["by"]), OnBehalfOf: parties(get["for"]), Tools: h.resources(get["tools"])}
		for _, c := range words(get["with"]) {
			a.Credentials = append(a.Credentials, statement.Resource{Ref: c})
		}
		for _, r := range h.resources(get["used"]) {
			a.Used = append(a.Used, statement.Use{Resource: r})
		}
		if get["session"] != "" {
			a.Parameters = map[string]string{"session": get["session"]}
		}
		if a.ID == "" {
			a.ID = what
		}
		if strings.HasPrefix(what, "activity:") {
			about = []statement.Subject{thing(a.ID, nil)}
		}
		return a, about
	case "approve", "revoke":
		a := &statement.Approval{Decision: verb, Approver: by, Review: "risk", Role: get["role"], ID: get["id"], DecidedAt: when,
			ValidUntil: h.time(get["until"]), Log: testLog}
		if get["as"] != "" {
			a.Approver = get["as"]
		}
		for _, e := range words(get["env"]) {
			a.Environments = append(a.Environments, "env:"+e)
		}
		a.Text = statement.ApprovalText(about, a)
		return a, about
	case "deploy", "rollback", "retire":
		d := &statement.Deployment{Action: verb, ID: get["id"], Environment: "env:" + get["env"], Service: "service:" + get["service"], At: when,
			RunsAs: words(get["runs-as"]), Tools: h.resources(get["tools"]), Restores: get["restores"], Supersedes: get["supersedes"], Identities: parties(get["by"])}
		for _, c := range words(get["with"]) {
			d.Credentials = append(d.Credentials, statement.Resource{Ref: c})
		}
		if get["service"] == "" {
			d.Service = "service:s"
		}
		return d, about
	case "notice":
		return &statement.Notice{Kind: get["kind"], ID: get["id"], Since: h.time(get["since"]), Until: h.time(get["until"]), At: when}, about
	case "waive":
		return &statement.Waiver{Rule: get["rule"], Reason: "told", Until: h.time(get["until"]), At: when}, about
	case "delegate":
		return &statement.Delegation{Parent: get["from"], Child: strings.TrimSuffix(what, "!"), Scope: words(get["scope"]), IssuedAt: when, ExpiresAt: h.time(get["until"]),
			OnBehalfOf: get["for"], Credential: get["with"], ActingAs: get["as"], Grade: get["grade"]}, []statement.Subject{thing(strings.TrimSuffix(what, "!"), nil)}
	}
	h.t.Fatalf("no verb %q", verb)
	return nil, nil
}

func (h *book) identity(what string, get map[string]string, when statement.Time) *statement.Identity {
	it := statement.IdentityItem{Ref: what, Owner: get["owner"], MemberOf: words(get["member"]), RunsAs: words(get["runs-as"]), State: get["state"], Human: get["human"]}
	if get["role"] != "" {
		it.Roles = []statement.RoleItem{{Role: get["role"]}}
	}
	if get["credential"] != "" {
		it.Credentials = []statement.CredentialItem{{Ref: get["credential"], IssuedAt: h.time(get["issued"]), ExpiresAt: h.time(get["expires"]),
			RotatedAt: h.time(get["rotated"]), LastUsedAt: h.time(get["last-used"]), State: get["credential-state"], NeverExpires: get["expires-never"] != ""}}
	}
	if get["grant"] != "" {
		it.Grants = []statement.GrantItem{{Resource: get["on"], Scope: words(get["grant"]), Until: h.time(get["grant-until"]), Condition: get["if"]}}
	}
	if get["trust"] != "" {
		it.Trust = []statement.TrustItem{{Principal: get["trust"], Condition: get["if"]}}
	}
	return &statement.Identity{Mode: "event", Source: "hr", At: when, Items: []statement.IdentityItem{it}}
}

var long = regexp.MustCompile(`[0-9a-f]{64}`)

func short(s string) string {
	s = long.ReplaceAllStringFunc(s, func(d string) string { return d[:6] })
	return strings.ReplaceAll(strings.ReplaceAll(s, "T00:00:00Z", ""), "2026-", "")
}

// find tells what detectors say, and holds that the same is found when the
// history is followed entry by entry.
func (h *book) find(line string) string {
	f := strings.Fields(line)
	asOf := prov.AsOf{Valid: prov.At(h.day("12-31")), Known: prov.AllKnown}
	for _, w := range f[1:] {
		k, v, _ := strings.Cut(w, "=")
		switch k {
		case "at":
			asOf.Valid = prov.At(h.day(v))
		case "known":
			fmt.Sscan(v, &asOf.Known)
		}
	}
	o := testOptions
	for _, w := range f[1:] {
		if b, ok := strings.CutPrefix(w, "budget="); ok {
			o.Limits = DefaultLimits()
			fmt.Sscan(b, &o.Limits.Budget)
		}
	}
	if f[0] != "all" {
		o.Only = words(f[0])
	}
	g := graph.New()
	follower, err := Follow(g, prov.At(epoch), o)
	if err != nil {
		h.t.Fatal(err)
	}
	for i, c := range h.entries {
		if uint64(i) == asOf.Known {
			break
		}
		if err := g.Fold(uint64(i), c(h.t)); err != nil {
			h.t.Fatal(err)
		}
		follower.Entry()
	}
	if ps := g.At(prov.Now).Problems(); len(ps) > 0 {
		h.t.Fatal(ps)
	}
	follower.Advance(asOf.Valid)
	run, err := Run(g.At(asOf), o)
	if err != nil {
		h.t.Fatal(err)
	}
	all := slices.Collect(run)
	text := tell(all)
	if followed := tell(slices.Collect(follower.Findings())); followed != text {
		h.t.Errorf("followed entry by entry it is\n%s\nnot\n%s", followed, text)
	}
	for _, x := range all {
		if h.seen[x.Detector] == nil {
			h.seen[x.Detector] = map[Outcome]bool{}
		}
		h.seen[x.Detector][x.Outcome] = true
	}
	return text
}

func tell(fs []Finding) string {
	var out strings.Builder
	for _, x := range fs {
		fmt.Fprintf(&out, "%s %s %s", x.Detector, x.Outcome, x.Subject)
		if x.Inputs != nil {
			fmt.Fprintf(&out, ", %s (%s, env %q, live %t, blast %d), since %s, entry %d", x.Severity, x.Inputs.Base, x.Inputs.Environment, x.Inputs.Live, x.Inputs.Blast, x.First.At, x.First.Entry)
		}
		if x.Grade != "" {
			fmt.Fprintf(&out, ", weakest %s", x.Grade)
		}
		if x.Known != "" {
			fmt.Fprintf(&out, ", known %s", x.Known)
		}
		fmt.Fprintln(&out)
		for _, r := range x.Reasons {
			fmt.Fprintf(&out, "  %s: %s\n", r.Class, r.Detail)
		}
		if x.Waiver != nil {
			fmt.Fprintf(&out, "  waived by %s until %s: %s\n", x.Waiver.By, x.Waiver.Until, x.Waiver.Reason)
		}
		for _, w := range x.NotWaived {
			fmt.Fprintf(&out, "  %s\n", w)
		}
	}
	if out.Len() == 0 {
		return "nothing\n"
	}
	return short(out.String())
}
