package git

import (
	"errors"
	"regexp"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// maxParties is how many people one commit names at most, and maxText the
// longest text that a statement carries, in bytes.
const (
	maxParties = 200
	maxText    = 1000
)

// commit gives the activity that made a commit out of its parents.
func (o *object) commit(check *statement.EvidenceCheck) (importer.Draft, error) {
	tree := o.get("tree")
	author, ok := o.ident("author")
	if !isName(tree) || !ok {
		return importer.Draft{}, errors.New("is no commit: it must begin with tree and have an author; give the output of git cat-file commit NAME")
	}
	ref, digest := o.code(o.name)
	id := prov.Ref{Kind: prov.Activity, Name: "commit/" + o.name}
	p := &statement.Activity{Kind: "commit", ID: id.String(), StartedAt: author.at, State: "completed", InputsCompleteness: statement.Declared,
		Identities: []statement.Party{{Ref: author.ref, Role: "author"}},
		Parameters: map[string]string{"tree": tree}}
	if c, ok := o.ident("committer"); ok {
		p.EndedAt = c.at
		p.Identities = append(p.Identities, statement.Party{Ref: c.ref, Role: "committer"})
		if c.at.Before(p.StartedAt.Time) && !c.at.IsZero() {
			o.note("was committed at %s, before it was authored at %s; the clocks of two machines differ", c.at, p.StartedAt)
			p.StartedAt = statement.Time{}
		}
	}
	o.parents(p, ref, digest)
	o.say(&p.Identities, p.Parameters, check)
	return importer.Draft{Subjects: []statement.Subject{statement.NewSubject(ref, digest)}, Predicate: p}, nil
}

func (o *object) parents(p *statement.Activity, ref prov.Ref, digest statement.DigestSet) {
	var from []statement.DerivedInput
	for _, f := range o.fields {
		if f.key != "parent" {
			continue
		}
		if !isName(f.value) {
			o.note("parent %q is no name of an object; kept in the evidence only", f.value)
			continue
		}
		x := statement.NewResource(o.code(f.value))
		p.Used = append(p.Used, statement.Use{Resource: x, Role: "parent", Rule: statement.RuleStated})
		from = append(from, statement.DerivedInput{Resource: x, Transformation: "commit"})
	}
	if from != nil {
		p.Derived = []statement.Derivation{{To: statement.NewResource(ref, digest), From: from, Rule: statement.RuleStated}}
	}
	if o.get("mergetag") != "" {
		o.note("mergetag: the signed tag that was merged is kept in the evidence only")
	}
}

// tag gives the statement that an annotated tag now names a commit.
func (o *object) tag(check *statement.EvidenceCheck) (importer.Draft, error) {
	target, typ, name := o.get("object"), o.get("type"), o.get("tag")
	if !isName(target) || typ == "" || name == "" {
		return importer.Draft{}, errors.New("is no tag: it must have object, type and tag; give the output of git cat-file tag NAME")
	}
	if typ != "commit" {
		return importer.Draft{}, &notACommit{rawjson.Clip(typ, 50)}
	}
	ref, digest := o.code(target)
	p := &statement.Registry{Registry: "git", Name: ref.Series().String(), Alias: rawjson.Clip(name, maxText)}
	if t, ok := o.ident("tagger"); ok {
		p.At = t.at
		p.Identities = []statement.Party{{Ref: t.ref, Role: "tagger"}}
	}
	texts := map[string]string{}
	o.say(&p.Identities, texts, check)
	p.Reason = texts["message"]
	if len(texts) > 1 {
		o.note("trailers other than those that name people are kept in the evidence only")
	}
	return importer.Draft{Subjects: []statement.Subject{statement.NewSubject(ref, digest)}, Predicate: p}, nil
}

// say adds the first line of the message, and the people and texts that its
// trailers name. Trailers are what the author wrote: no one that they name has
// confirmed it.
func (o *object) say(who *[]statement.Party, texts map[string]string, check *statement.EvidenceCheck) {
	first, _, _ := strings.Cut(strings.TrimLeft(string(o.message), "\n"), "\n")
	if first = strings.TrimSpace(first); first != "" {
		texts["message"] = rawjson.Clip(first, maxText)
	}
	left := 0
	for _, t := range trailers(string(o.message)) {
		key := strings.ToLower(t.key)
		if strings.HasSuffix(key, "-by") {
			p := statement.Party{Ref: party(t.value), Role: rawjson.Clip(key, 60) + " (self-reported)"}
			if len(*who) >= maxParties {
				left++
			} else if !contains(*who, p) {
				*who = append(*who, p)
			}
			continue
		}
		name := "trailer." + t.key
		if old := texts[name]; old != "" {
			t.value = old + ", " + t.value
		}
		if len(t.value) > maxText || len(t.key) > 60 || len(texts) > 50 {
			left++
			continue
		}
		texts[name] = t.value
	}
	if left > 0 {
		o.note("%d trailers are too long or too many; kept in the evidence only", left)
	}
	if check != nil && check.Result == statement.CheckVerified && statement.CheckPrincipal(check.Identity) == nil {
		*who = append(*who, statement.Party{Ref: check.Identity, Role: "signer"})
	}
}

func contains(list []statement.Party, p statement.Party) bool {
	for _, x := range list {
		if x == p {
			return true
		}
	}
	return false
}

var trailerLine = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9-]*)[ \t]*:[ \t]*(.*)$`)

// trailers gives the trailers of a message: of its last paragraph, if all of
// that are trailers, or a quarter of it and one that git itself writes
// (git-interpret-trailers).
func trailers(message string) []field {
	message = strings.ReplaceAll(message, "\r\n", "\n")
	paragraphs := strings.Split(strings.TrimSpace(message), "\n\n")
	if len(paragraphs) < 2 {
		return nil
	}
	var out []field
	lines, other, gits := 0, 0, false
	for line := range strings.SplitSeq(strings.Trim(paragraphs[len(paragraphs)-1], "\n"), "\n") {
		m := trailerLine.FindStringSubmatch(line)
		switch {
		case line == "":
		case (line[0] == ' ' || line[0] == '\t') && len(out) > 0:
			out[len(out)-1].value += " " + strings.TrimSpace(line)
		case m != nil:
			lines++
			out = append(out, field{m[1], strings.TrimSpace(m[2])})
			gits = gits || m[1] == "Signed-off-by"
		case strings.HasPrefix(line, "(cherry picked from commit "):
			lines++
			gits = true
			out = append(out, field{"cherry-picked-from", strings.Trim(strings.TrimPrefix(line, "(cherry picked from commit "), ")")})
		default:
			other++
		}
	}
	if other > 0 && !(gits && lines*3 >= other) {
		return nil
	}
	return out
}
