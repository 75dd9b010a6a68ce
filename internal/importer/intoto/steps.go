package intoto

import (
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Steps of a supply chain: in-toto links and witness collections.

// step is what a link and a witness collection have in common.
type step struct {
	name     string
	used     *uses
	outputs  *uses
	params   *texts
	env      *texts
	start    statement.Time
	end      statement.Time
	exitCode string
	run      string // URL of the run that it was part of
	who      []statement.Party
}

func (u *unit) step(name string) *step {
	return &step{name: name, used: u.uses(), outputs: u.uses(), params: u.parameters(), env: u.texts()}
}

// add makes the activity of the step.
func (s *step) add(u *unit) {
	id := prov.Ref{}
	if s.run != "" {
		id = u.activityID("", strings.TrimRight(s.run, "/")+"/"+s.name)
	} else {
		id = prov.Ref{Kind: prov.Activity, Name: "in-toto/" + u.payloadSum[:32]}
	}
	s.params.set("step", s.name)
	a := &statement.Activity{Kind: "build", ID: id.String(), Used: s.used.list, Parameters: s.params.done(), Environment: s.env.done(),
		InputsCompleteness: statement.BestEffort, Identities: s.who}
	if plan := (prov.Ref{Kind: prov.Plan, Name: "in-toto/" + s.name}); s.name != "" && fits(plan) {
		r := statement.NewResource(plan, nil)
		a.Plan = &r
	}
	u.period(a, s.start, s.end)
	if s.exitCode != "" && s.exitCode != "0" {
		a.State = "failed"
	}
	var out []statement.Subject
	for _, o := range s.outputs.list {
		if o.Ref == "" {
			out = append(out, statement.Subject{Digest: o.Digest})
		} else if r, err := prov.ParseRef(o.Ref); err == nil {
			out = append(out, statement.NewSubject(r, o.Digest))
		}
	}
	if len(out) == 0 {
		out = append(out, statement.NewSubject(id, nil))
	}
	u.add(a, out...)
}

// command writes the words of a command as a shell would read them.
func command(n rawjson.Node) string {
	if s := n.Text(); s != "" {
		return s
	}
	var words []string
	for _, w := range elements(n) {
		s := w.Text()
		if s == "" || strings.ContainsAny(s, " \t\n\"'\\$`") {
			s = strconv.Quote(s)
		}
		words = append(words, s)
	}
	return strings.Join(words, " ")
}

// link reads the in-toto predicate link, v0.2 and v0.3: the subjects are the
// products.
func (u *unit) link() {
	p := u.predicate
	s := u.step(p.Get("name").Text())
	s.body(u, p, "predicate.")
	for _, t := range u.subjects {
		s.outputs.add(t, "")
	}
	s.add(u)
}

func (s *step) body(u *unit, p rawjson.Node, place string) {
	s.params.set("command", command(p.Get("command")))
	s.env.flat("", p.Get("environment"))
	if m := p.Get("materials"); m.Kind() == '{' {
		s.used.files(m, "material", place+"materials")
	} else {
		s.used.all(m, "material", place+"materials")
	}
	by := p.Get("byproducts")
	s.exitCode = firstText(by, "return-value", "returnValue", "exitCode")
	s.params.set("exitCode", s.exitCode)
	u.keptOnly(place, p, "_type", "name", "command", "materials", "products", "byproducts", "environment")
	u.keptOnly(place+"byproducts.", by, "return-value", "returnValue", "exitCode")
}

// metablock reads what in-toto 0.9 signs: links and layouts.
func (u *unit) metablock(signed rawjson.Node) {
	switch typ := signed.Get("_type").Text(); typ {
	case "link":
		s := u.step(signed.Get("name").Text())
		s.body(u, signed, "signed.")
		s.outputs.files(signed.Get("products"), "", "signed.products")
		s.add(u)
	case "layout":
		t := u.texts()
		t.set("signature", u.signature())
		t.set("expires", signed.Get("expires").Text())
		t.flat("readme", signed.Get("readme"))
		for i, st := range elements(signed.Get("steps")) {
			t.set("step["+itoa(i)+"]", st.Get("name").Text())
			t.flat("step["+itoa(i)+"].functionary", st.Get("pubkeys"))
		}
		u.keptOnly("signed.", signed, "_type", "expires", "readme", "steps")
		u.add(&statement.Entity{State: "described", Attributes: t.done()},
			statement.NewSubject(prov.Ref{Kind: prov.Policy, Name: "in-toto-layout"}, statement.DigestSet{"sha256": u.payloadSum}))
	case "root", "targets", "snapshot", "timestamp":
		u.refuse(TrustMaterial, "signed._type", "%q is metadata of The Update Framework; it says nothing by itself", typ)
	default:
		u.refuse(NotAStatement, "signed._type", "is %q; in-toto signs a link or a layout in this form", rawjson.Clip(typ, 100))
	}
}

// witness reads an attestation collection of witness.
func (u *unit) witness() {
	s := u.step(u.predicate.Get("name").Text())
	for i, a := range elements(u.predicate.Get("attestations")) {
		place := "predicate.attestations[" + itoa(i) + "]"
		start, end := u.time(a.Get("starttime"), place+".starttime"), u.time(a.Get("endtime"), place+".endtime")
		if !start.IsZero() && (s.start.IsZero() || start.Before(s.start.Time)) {
			s.start = start
		}
		if !end.IsZero() && end.After(s.end.Time) {
			s.end = end
		}
		s.attestor(u, attestor(a.Get("type").Text()), a.Get("attestation"), place+".attestation")
	}
	u.keptOnly("predicate.", u.predicate, "name", "attestations")
	for i, t := range u.subjects {
		if n := t.node.Get("name").Text(); !strings.Contains(n, "/product/") && !strings.Contains(n, "commithash:") {
			u.note("subject[%d] %s is in the evidence only", i, rawjson.Clip(n, 120))
		}
	}
	s.add(u)
}

// attestor gives the word of an attestor's type, "git" of
// "https://witness.dev/attestations/git/v0.1".
func attestor(typ string) string {
	parts := strings.Split(strings.TrimRight(typ, "/"), "/")
	if n := len(parts); n >= 2 && strings.HasPrefix(parts[n-1], "v") {
		return parts[n-2]
	}
	return typ
}

func (s *step) attestor(u *unit, name string, n rawjson.Node, place string) {
	switch name {
	case "material":
		s.used.files(n, "material", place)
	case "product":
		s.outputs.files(n, "", place)
	case "git":
		s.git(u, n, place)
	case "environment":
		for _, m := range []string{"os", "hostname", "username"} {
			s.env.set(m, n.Get(m).Text())
		}
		if n.Get("variables").Given() {
			u.note("kept in the evidence only: %s.variables", place)
		}
	case "command-run":
		s.params.set("command", command(n.Get("cmd")))
		s.exitCode = n.Get("exitcode").Text()
		s.params.set("exitCode", s.exitCode)
		for i, p := range elements(n.Get("processes")) {
			where := place + ".processes[" + itoa(i) + "]"
			s.used.files(p.Get("openedfiles"), "opened", where+".openedfiles")
			if d := p.Get("programdigest"); d.Given() {
				if t, ok := u.thing(p.Get("program").Text(), d, "", false, p, where+".program"); ok {
					s.used.add(t, "program")
				}
			}
		}
		u.keptOnly(place+".", n, "cmd", "exitcode", "processes")
	case "github", "gitlab", "jenkins":
		s.run = firstText(n, "pipelineurl", "joburl", "buildurl")
		for _, m := range []string{"pipelineid", "pipelinename", "pipelineurl", "jobid", "jobname", "joburl", "projecturl", "runnerid", "cihost", "ciserverurl", "runnerhost"} {
			s.env.set(name+"."+m, n.Get(m).Text())
		}
		u.note("kept in the evidence only: the claims of the token in %s", place)
		s.who = append(s.who, u.party(prov.Workload, firstText(n, "projecturl", "pipelineurl"), "builder")...)
	default:
		u.note("kept in the evidence only: %s, of attestor %s", place, rawjson.Clip(name, 100))
	}
}

func (s *step) git(u *unit, n rawjson.Node, place string) {
	commit := strings.ToLower(n.Get("commithash").Text())
	if commit == "" || len(commit) > 64 {
		u.note("%s names no commit; it is in the evidence only", place)
		return
	}
	name := ""
	for _, r := range elements(n.Get("remotes")) {
		if repo, _, ok := prov.Repository(r.Text(), true); ok {
			name = repo
			break
		}
	}
	d := digests{set: statement.DigestSet{"gitCommit": commit}, commit: commit}
	s.used.add(thing{ref: named(name, d, ""), digest: d.set}, "source-code")
	for _, m := range []string{"author", "authoremail", "committername", "committeremail", "commitdate", "treehash"} {
		s.params.set("git."+m, n.Get(m).Text())
	}
	s.params.flat("git.refs", n.Get("refs"))
	dirty := 0
	for st := range n.Get("status").All() {
		if w := st.Get("worktree").Text(); w != "" && w != "unmodified" || st.Get("staging").Text() == "modified" {
			dirty++
		}
	}
	s.params.set("git.changedFiles", itoa(dirty))
	u.keptOnly(place+".", n, "commithash", "author", "authoremail", "committername", "committeremail", "commitdate", "treehash", "refs",
		"remotes", "status", "commitdigest")
}
