package dvc

import (
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// The limits of parameters: how many, and the bytes of one.
const (
	maxParameters = 1000
	maxText       = 2000
)

// lock reads a dvc.lock. Schema 1.0 has the stages at the top, 2.0 under
// "stages".
func (r *reader) lock(root rawjson.Node) {
	stages := root
	if root.Get("schema").Given() || root.Get("stages").Kind() == '{' && !root.Get("stages").Get("cmd").Given() {
		schema := root.Get("schema").Text()
		if major, _, _ := strings.Cut(schema, "."); schema != "" && major != "2" && major != "1" {
			r.refuse("schema", BadSchema, "schema %q of dvc.lock is not known; 1.0 and 2.0 are", schema)
			return
		}
		stages = root.Get("stages")
	}
	for st := range stages.All() {
		if r.stopped {
			return
		}
		u := &unit{r: r, place: "stage " + st.Key()}
		u.stage(st.Key(), st, "")
		u.finish()
	}
	for d := range root.Get("datasets").All() {
		if r.stopped {
			return
		}
		if d.Kind() == '{' {
			r.dataset(d)
		}
	}
}

// dataset reads an entry of "datasets" in a dvc.lock: a dataset that is kept
// elsewhere, at the version that was locked.
func (r *reader) dataset(d rawjson.Node) {
	name := d.Get("name").Text()
	u := &unit{r: r, place: "dataset " + name}
	where := clean("", firstOf(d.Get("url").Text(), name))
	if name == "" || where == "." {
		u.refuse(BadOutput, "has no name")
		u.finish()
		return
	}
	ref := prov.Ref{Kind: prov.Dataset, Name: where, Version: firstOf(d.Get("rev_lock").Text(), d.Get("version").Text())}
	p := &statement.Entity{State: "described", Attributes: map[string]string{"name": rawjson.Clip(name, maxText), "format": "dvc"}}
	for _, k := range []string{"type", "path", "created_at"} {
		if v := d.Get(k).Text(); v != "" {
			p.Attributes[k] = rawjson.Clip(v, maxText)
		}
	}
	u.out = []importer.Draft{{Subjects: []statement.Subject{statement.NewSubject(ref, nil)}, Predicate: p}}
	u.finish()
}

// kinds are the words in the name of a stage that tell what it does.
var kinds = map[string]string{"train": "train", "training": "train", "fit": "train", "finetune": "fine-tune", "fine-tune": "fine-tune", "fine_tune": "fine-tune",
	"evaluate": "evaluate", "eval": "evaluate", "evaluation": "evaluate", "test": "evaluate"}

// stage makes the activity of a stage that ran.
func (u *unit) stage(name string, st rawjson.Node, wdir string) {
	if st.Kind() != '{' {
		u.refuse(BadStage, "is no mapping; a stage has cmd, deps and outs")
		return
	}
	cmd := command(st.Get("cmd"))
	if cmd == "" {
		u.refuse(BadStage, "has no cmd; a stage that ran has one")
		return
	}
	base, _, _ := strings.Cut(name, "@") // train@eu of a foreach or matrix
	a := &statement.Activity{Kind: firstOf(kinds[strings.ToLower(base)], "transform"), State: "completed", InputsCompleteness: statement.Declared,
		ID:         prov.Ref{Kind: prov.Activity, Name: "dvc/" + name + "/" + hash16(st.Raw())}.String(),
		Parameters: map[string]string{"cmd": rawjson.Clip(cmd, maxText)}}
	plan := statement.NewResource(planRef(name), nil)
	a.Plan = &plan
	for _, x := range u.files(st, "deps", wdir) {
		a.Used = append(a.Used, statement.Use{Resource: x, Role: "dependency", Rule: statement.RuleStated})
	}
	u.parameters(a, st.Get("params"))
	var subjects []statement.Subject
	for _, x := range u.files(st, "outs", wdir) {
		subjects = append(subjects, subject(x))
	}
	if len(subjects) == 0 {
		t, err := statement.Resource{Ref: a.ID}.Target()
		if err != nil {
			u.refuse(BadStage, "its name makes no Ref: %v", err)
			return
		}
		subjects = []statement.Subject{statement.NewSubject(t.Ref, nil)}
	}
	u.note("kept in the evidence only: sizes and numbers of files; dvc.lock holds no times, so the activity has none")
	u.out = append(u.out, importer.Draft{Subjects: subjects, Predicate: a})
}

func planRef(stage string) prov.Ref { return prov.Ref{Kind: prov.Plan, Name: "dvc/" + stage} }

// command gives the commands of a stage, one a line.
func command(n rawjson.Node) string {
	if n.Kind() != '[' {
		return strings.TrimSpace(n.Text())
	}
	var all []string
	for x := range n.All() {
		if s := strings.TrimSpace(x.Text()); s != "" {
			all = append(all, s)
		}
	}
	return strings.Join(all, "\n")
}

// files reads deps or outs: each once, with its path and hash.
func (u *unit) files(st rawjson.Node, key, wdir string) []statement.Resource {
	n := st.Get(key)
	if !n.Given() {
		return nil
	}
	if n.Kind() != '[' {
		u.refuse(BadStage, "%s is no list", key)
		return nil
	}
	var out []statement.Resource
	seen := map[string]bool{}
	for x := range n.All() {
		if len(out) == maxFiles {
			u.refuse(TooMany, "%s names more than %d files", key, maxFiles)
			return nil
		}
		if x.Kind() != '{' || x.Get("path").Text() == "" {
			u.refuse(BadStage, "an entry of %s has no path", key)
			return nil
		}
		r, ok := u.resource(x, wdir)
		if ok && !seen[r.Ref] {
			seen[r.Ref] = true
			out = append(out, r)
		}
	}
	return out
}

// parameters reads params: a mapping from file to name to value.
func (u *unit) parameters(a *statement.Activity, n rawjson.Node) {
	rest := 0
	for file := range n.All() {
		if n.Kind() != '{' {
			u.note("kept in the evidence only: params, which is no mapping")
			return
		}
		for p := range file.All() {
			key := file.Key() + ":" + p.Key()
			if file.Kind() != '{' || len(a.Parameters) >= maxParameters || len(key) > 500 {
				rest++
				continue
			}
			v := p.Text()
			if v == "" {
				v = string(p.Raw())
			}
			a.Parameters[key] = rawjson.Clip(v, maxText)
		}
	}
	if rest > 0 {
		u.note("kept in the evidence only: %d more parameters", rest)
	}
}

// single reads a *.dvc file: outputs that were added or imported, or, from
// DVC before 1.0, a stage with its command.
func (r *reader) single(root rawjson.Node) {
	u := &unit{r: r, place: "file"}
	wdir := root.Get("wdir").Text()
	if command(root.Get("cmd")) != "" {
		u.place = "stage"
		u.stage("stage", root, wdir)
		u.finish()
		return
	}
	deps := u.files(root, "deps", wdir)
	i := 0
	for x := range root.Get("outs").All() {
		if i++; i > maxFiles {
			u.refuse(TooMany, "outs names more than %d files", maxFiles)
			break
		}
		if x.Kind() != '{' || x.Get("path").Text() == "" {
			u.refuse(BadOutput, "an entry of outs has no path")
			break
		}
		if to, ok := u.resource(x, wdir); ok {
			u.output(root, x, to, deps)
		}
	}
	u.finish()
}

// output describes an output that was added or imported.
func (u *unit) output(root, x rawjson.Node, to statement.Resource, deps []statement.Resource) {
	p := &statement.Entity{State: "described", Attributes: map[string]string{"format": "dvc"}}
	p.Description = rawjson.Clip(firstOf(x.Get("desc").Text(), root.Get("desc").Text()), maxText)
	for _, k := range []string{"size", "nfiles", "type", "hash", "remote"} {
		if v := x.Get(k).Text(); v != "" {
			p.Attributes[k] = rawjson.Clip(v, maxText)
		}
	}
	var labels []string
	for l := range x.Get("labels").All() {
		if s := l.Text(); s != "" && len(labels) < 100 {
			labels = append(labels, s)
		}
	}
	if len(labels) > 0 {
		p.Attributes["labels"] = rawjson.Clip(strings.Join(labels, ", "), maxText)
	}
	if len(deps) > 0 {
		d := statement.Derivation{To: to, Rule: statement.RuleStated}
		for _, from := range deps {
			d.From = append(d.From, statement.DerivedInput{Resource: from, Transformation: "import"})
		}
		p.Derived = []statement.Derivation{d}
	}
	for _, k := range []string{"meta", "cloud", "files"} {
		if x.Get(k).Given() || root.Get(k).Given() {
			u.note("kept in the evidence only: %s", k)
		}
	}
	u.out = append(u.out, importer.Draft{Subjects: []statement.Subject{subject(to)}, Predicate: p})
}
