package modelsigning

import (
	"fmt"
	"maps"
	"strconv"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// maxSubjects is how many files one statement names.
const maxSubjects = 1000

// file is a file of the model, out of one resource or several shards.
type file struct {
	path   string
	digest statement.DigestSet
	shards int
}

// files joins the shards of each file. A file that is one shard from its start
// has the shard's digest; of a file of several shards none is known.
func (m *model) files() []file {
	var out []file
	at := map[string]int{}
	for _, r := range m.resources {
		i, ok := at[r.path]
		if ok {
			if !r.shard {
				m.note("%s is listed more than once", r.path)
				continue
			}
			out[i].digest = nil
			out[i].shards++
			continue
		}
		at[r.path] = len(out)
		f := file{path: r.path, shards: 1}
		if !r.shard || r.start == 0 {
			f.digest = statement.DigestSet{r.algorithm: r.digest}
		}
		out = append(out, f)
	}
	return out
}

// version gives the part of a digest that names a version.
func version(digest string) string { return digest[:min(12, len(digest))] }

// ref names the model: its name with the beginning of its digest as version,
// or its digest when it has no name.
func (m *model) ref() prov.Ref {
	if m.name == "" || m.name == "." || len(m.name) > 1024 {
		return prov.DigestRef("sha256", m.root)
	}
	return prov.Ref{Kind: prov.Model, Name: m.name, Version: version(m.root)}
}

func (m *model) fileSubject(f file) statement.Subject {
	r := prov.Ref{Kind: prov.File, Name: f.path, Version: version(m.root)}
	switch {
	case f.path == "." && m.ref().IsDigest():
		r.Name = "model"
	case f.path == ".":
		r.Name = m.name
	case !m.ref().IsDigest():
		r.Name = m.name + "/" + f.path
	}
	if d := f.digest.Content(); !d.IsZero() {
		r.Version = version(d.Name)
	}
	return statement.NewSubject(r, f.digest)
}

// drafts gives the statements: the model, its files as parts of it, and the act
// of signing, if the signature is verified.
func (m *model) drafts() []importer.Draft {
	digest := statement.DigestSet{"sha256": m.root}
	model := statement.NewResource(m.ref(), digest)
	if m.ref().IsDigest() {
		model = statement.Resource{Digest: digest}
	}
	files := m.files()
	predicateType := PredicateType
	if m.legacy {
		predicateType = LegacyPredicateType
	}
	a := map[string]string{"predicateType": predicateType, "files": strconv.Itoa(len(files))}
	maps.Copy(a, m.attributes)
	state := "described"
	if m.check.Result == statement.CheckVerified && !m.time.IsZero() {
		state = "registered"
	}
	for _, f := range files {
		if f.digest == nil {
			m.note("%s is signed in %d shards; it has no digest of its own", f.path, f.shards)
		} else if f.digest.Content().IsZero() {
			m.note("%s has a digest that does not identify content here; it is known by name", f.path)
		}
	}
	if m.unsaid > 0 {
		m.notes = append(m.notes, fmt.Sprintf("%d more notes are not written out", m.unsaid))
	}
	m.evidence.Notes = m.notes
	first := []statement.Evidence{m.evidence}
	later := m.evidence
	later.Notes = nil
	rest := []statement.Evidence{later}

	out := []importer.Draft{{
		Subjects:  []statement.Subject{statement.NewSubject(m.ref(), digest)},
		Predicate: &statement.Entity{State: state, At: m.time, Attributes: a, Evidence: first},
	}}
	for len(files) > 0 {
		n := min(len(files), maxSubjects)
		p := &statement.Entity{State: "described", At: m.time, PartOf: []statement.Resource{model}, Evidence: rest}
		var subjects []statement.Subject
		for _, f := range files[:n] {
			subjects = append(subjects, m.fileSubject(f))
		}
		out = append(out, importer.Draft{Subjects: subjects, Predicate: p})
		files = files[n:]
	}
	if m.check.Result == statement.CheckVerified {
		out = append(out, m.signing(model, rest))
	}
	return out
}

// signing gives the activity of signing, with whose signature it is.
func (m *model) signing(model statement.Resource, ev []statement.Evidence) importer.Draft {
	id := prov.Ref{Kind: prov.Activity, Name: "model-signing/" + m.evidence.Digest["sha256"][:32]}
	p := &statement.Activity{Kind: "sign", ID: id.String(), State: "completed", EndedAt: m.time,
		Used: []statement.Use{{Resource: model, Role: "signed"}}, Evidence: ev,
		InputsCompleteness: statement.Declared}
	if who := m.signer.Ref(); !who.IsZero() && len(who.String()) <= prov.MaxRef {
		if who.Class() == prov.ClassIdentity {
			p.Identities = []statement.Party{{Ref: who.String(), Role: "signer"}}
		} else {
			p.Credentials = []statement.Resource{statement.NewResource(who, nil)}
		}
	}
	if m.signer.Issuer != "" {
		p.Parameters = map[string]string{"identityProvider": m.signer.Issuer}
	}
	return importer.Draft{Subjects: []statement.Subject{statement.NewSubject(id, nil)}, Predicate: p}
}
