package dvc

import (
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// plan reads a dvc.yaml: its stages are plans, its artifacts are things that
// it describes.
func (r *reader) plan(root rawjson.Node) {
	for st := range root.Get("stages").All() {
		if r.stopped {
			return
		}
		u := &unit{r: r, place: "stage " + st.Key()}
		u.planned(st.Key(), st)
		u.finish()
	}
	for x := range root.Get("artifacts").All() {
		if r.stopped {
			return
		}
		u := &unit{r: r, place: "artifact " + x.Key()}
		u.artifact(x.Key(), x)
		u.finish()
	}
}

// planned describes a plan and what it is designed to make of what.
func (u *unit) planned(name string, st rawjson.Node) {
	if st.Kind() != '{' {
		u.refuse(BadStage, "is no mapping; a stage has cmd, deps and outs")
		return
	}
	p := &statement.Entity{State: "described", Attributes: map[string]string{"format": "dvc"}}
	do, each := st, false
	for _, k := range []string{"foreach", "matrix"} {
		if st.Get(k).Given() {
			each = true
			p.Attributes["repeats"] = k
		}
	}
	if st.Get("do").Kind() == '{' {
		do = st.Get("do")
	}
	cmd := command(do.Get("cmd"))
	if cmd == "" {
		u.refuse(BadStage, "has no cmd")
		return
	}
	p.Attributes["cmd"] = rawjson.Clip(cmd, maxText)
	p.Description = rawjson.Clip(do.Get("desc").Text(), maxText)
	if each {
		u.note("kept in the evidence only: deps and outs of a stage that is repeated by %s; dvc.lock names those of each", p.Attributes["repeats"])
	} else {
		u.designed(p, do)
	}
	u.note("kept in the evidence only: params, vars and options of files")
	u.out = append(u.out, importer.Draft{Subjects: []statement.Subject{statement.NewSubject(planRef(name), nil)}, Predicate: p})
}

// designed states what the outputs of a stage are to be made of.
func (u *unit) designed(p *statement.Entity, st rawjson.Node) {
	wdir := st.Get("wdir").Text()
	var from []statement.DerivedInput
	for _, r := range u.paths(st, "deps", wdir) {
		from = append(from, statement.DerivedInput{Resource: r})
	}
	if len(from) == 0 {
		return
	}
	for _, key := range []string{"outs", "metrics", "plots"} {
		for _, to := range u.paths(st, key, wdir) {
			if len(p.Derived)*len(from) > maxFiles {
				u.refuse(TooMany, "makes more than %d derivations", maxFiles)
				return
			}
			p.Derived = append(p.Derived, statement.Derivation{To: to, From: from, Rule: statement.RuleDesignTime})
		}
	}
}

// paths reads a list of paths, each a text or a mapping from path to options.
func (u *unit) paths(st rawjson.Node, key, wdir string) []statement.Resource {
	var out []statement.Resource
	add := func(p string) {
		if strings.Contains(p, "${") || strings.Contains(wdir, "${") {
			u.note("kept in the evidence only: paths with ${…}; dvc.lock names what they became")
			return
		}
		r := prov.Ref{Kind: kindOf(p, false), Name: clean(wdir, p)}
		if p != "" && len(out) < maxFiles && len(r.String()) <= prov.MaxRef {
			out = append(out, statement.NewResource(r, nil))
		}
	}
	n := st.Get(key)
	if s := n.Text(); s != "" {
		add(s)
	}
	if n.Kind() != '[' {
		return out
	}
	for x := range n.All() {
		if s := x.Text(); s != "" {
			add(s)
		} else if x.Kind() == '{' {
			for m := range x.All() {
				add(m.Key())
			}
		}
	}
	return out
}

// artifact describes an entry of "artifacts": a model or dataset by name.
func (u *unit) artifact(name string, x rawjson.Node) {
	path := x.Get("path").Text()
	if path == "" {
		u.refuse(BadOutput, "has no path")
		return
	}
	r := prov.Ref{Kind: kindOf(path, false), Name: clean("", path)}
	switch x.Get("type").Text() {
	case "model":
		r.Kind = prov.Model
	case "dataset", "data":
		r.Kind = prov.Dataset
	}
	if len(r.String()) > prov.MaxRef {
		u.refuse(BadOutput, "its path is too long for a name")
		return
	}
	p := &statement.Entity{State: "described", Description: rawjson.Clip(x.Get("desc").Text(), maxText),
		Attributes: map[string]string{"format": "dvc", "artifact": rawjson.Clip(name, maxText)}}
	if t := x.Get("type").Text(); t != "" {
		p.Attributes["type"] = rawjson.Clip(t, maxText)
	}
	u.out = append(u.out, importer.Draft{Subjects: []statement.Subject{statement.NewSubject(r, nil)}, Predicate: p})
}
