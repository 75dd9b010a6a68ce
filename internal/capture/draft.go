package capture

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// EnvironmentKind names a software environment. The kind env is that of
// places that things are deployed to.
const EnvironmentKind prov.Kind = "x-environment"

// maxNetwork is how many endpoints a statement lists.
const maxNetwork = 50

// draft makes the statements and the evidence that they name.
func (r *Result) draft() {
	r.inputs = group(pick(r.Files, Input, Both), asInput)
	r.outputs = group(pick(r.Files, Output, Both), asOutput)
	a := &statement.Activity{Kind: r.kind, ID: ActivityRef(r.ID).String(), StartedAt: statement.NewTime(r.started), EndedAt: statement.NewTime(r.ended),
		State: stateOf(r.Outcome.State), Parameters: map[string]string{}, Environment: map[string]string{}}
	r.plan(a)
	r.used(a)
	r.surroundings(a)
	if !r.principal.IsZero() {
		a.Identities = []statement.Party{{Ref: r.principal.String(), Role: "operator"}}
	}
	if r.Outer != "" {
		a.InformedBy = []statement.Resource{{Ref: ActivityRef(r.Outer).String()}}
	}
	r.completeness(a)
	subjects := r.subjects()
	more := r.entities()
	a.Evidence = r.evidence()
	if len(subjects) == 0 {
		subjects = []statement.Subject{statement.NewSubject(ActivityRef(r.ID), nil)}
	}
	r.Drafts = append([]importer.Draft{{Subjects: subjects, Predicate: a}}, more...)
}

func pick(files []*File, classes ...Class) []*File {
	var out []*File
	for _, f := range files {
		if slices.Contains(classes, f.Class) {
			out = append(out, f)
		}
	}
	return out
}

func asInput(f *File) string {
	if f.Class == Both {
		return f.Before
	}
	return f.SHA256
}

func asOutput(f *File) string { return f.SHA256 }

func stateOf(s *os.ProcessState) string {
	switch {
	case s == nil:
		return "aborted"
	case s.Success():
		return "completed"
	case s.ExitCode() < 0:
		return "aborted"
	}
	return "failed"
}

// plan tells the command line, and names the recipe after the script or the
// program, so that runs of one script are runs of one plan.
func (r *Result) plan(a *statement.Activity) {
	argv := cutArgv(Redact(r.argv))
	a.Parameters["command"] = quoteArgv(argv)
	if s := r.Outcome.State; s != nil {
		if code := s.ExitCode(); code >= 0 {
			a.Parameters["exitCode"] = strconv.Itoa(code)
		} else if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			a.Parameters["signal"] = ws.Signal().String()
		}
	}
	name := path.Base(argv[0])
	for _, arg := range argv {
		if f := r.find(arg); f != nil && (f.Role == roleScript || f.Role == roleProgram) && f.place.rel != "" {
			name = f.Path
			break
		}
	}
	plan := statement.NewResource(prov.Ref{Kind: prov.Plan, Name: strings.ToValidUTF8(name, "�")}, nil)
	a.Plan = &plan
}

// find gives the input that an argument names.
func (r *Result) find(arg string) *File {
	if arg == "" || strings.HasPrefix(arg, "-") {
		return nil
	}
	arg = path.Clean(arg)
	for _, f := range r.Files {
		if (f.Class == Input || f.Class == Both) && (f.Path == arg || f.place.path == arg || f.place.rel != "" && strings.HasSuffix("/"+f.Path, "/"+strings.TrimLeft(arg, "./"))) {
			return f
		}
	}
	return nil
}

// used lists what the activity read.
func (r *Result) used(a *statement.Activity) {
	hubs := map[string]bool{}
	for i := range r.inputs {
		it := &r.inputs[i]
		if it.file == nil {
			res, role := it.resource()
			a.Used = append(a.Used, statement.Use{Resource: res, Role: role, At: statement.NewTime(it.members[0].file.met), Rule: statement.RuleStated})
			continue
		}
		f := it.file
		if h := f.place.hub; h.file != "" {
			if ref := h.ref(); !hubs[ref.String()] {
				hubs[ref.String()] = true
				a.Used = append(a.Used, statement.Use{Resource: statement.NewResource(ref, nil), Role: hubRole(h), At: statement.NewTime(f.file.met), Rule: statement.RuleStated})
			}
		}
		ref, role := f.ref()
		if f.Role == roleProgram {
			role = roleProgram
		}
		a.Used = append(a.Used, statement.Use{Resource: statement.NewResource(ref, digestSet(asInput(f))), Role: role, At: statement.NewTime(f.file.met), Rule: statement.RuleStated})
	}
	if v := r.Revision; v != nil && v.Commit != "" {
		a.Used = append(a.Used, statement.Use{Resource: v.resource(), Role: "source-code", Rule: statement.RuleStated})
	}
	if p := r.Python; p != nil {
		a.Used = append(a.Used, statement.Use{Resource: p.resource(), Role: "environment", Rule: statement.RuleStated})
	}
	if ref, digest, ok := imageRef(r.Image); ok {
		a.Used = append(a.Used, statement.Use{Resource: statement.NewResource(ref, digest), Role: "image", Rule: statement.RuleStated})
	}
	for i, e := range r.remote() {
		if i == maxNetwork {
			r.Truncated = append(r.Truncated, fmt.Sprintf("%d of %d network endpoints", len(r.remote())-maxNetwork, len(r.remote())))
			break
		}
		ref := prov.Ref{Kind: prov.Resource, Name: strings.Replace(e.Addr, " ", "://", 1)}
		a.Used = append(a.Used, statement.Use{Resource: statement.NewResource(ref, nil), Role: "network", Rule: statement.RuleStated})
	}
	for _, f := range pick(r.Files, Secret) {
		if f.Reads > 0 && len(a.Credentials) < 100 {
			a.Credentials = append(a.Credentials, statement.NewResource(prov.Ref{Kind: prov.Credential, Name: "file/" + f.Path}, nil))
		}
	}
}

func hubRole(h hubPath) string {
	switch h.kind {
	case datasetKind:
		return roleDataset
	case modelKind:
		return roleModel
	}
	return "source-code"
}

// ref names a file; one of a hub's snapshot by repository, path and revision.
func (f *File) ref() (prov.Ref, string) {
	if h := f.place.hub; h.file != "" {
		_, role := recognise(h.file)
		return prov.Ref{Kind: prov.File, Name: h.repo + "/" + h.file, Version: h.revision}, role
	}
	return fileRef(f.place)
}

func digestSet(sum string) statement.DigestSet {
	if sum == "" {
		return nil
	}
	return statement.DigestSet{"sha256": sum}
}

// resource names a folder of many files. It is a dataset or model when most
// of its files are.
func (it *item) resource() (statement.Resource, string) {
	count := map[string]int{}
	for _, m := range it.members {
		_, role := recognise(m.Path)
		count[role]++
	}
	kind, role := prov.File, ""
	for _, k := range []string{roleDataset, roleData, roleModel} {
		if 2*count[k] > len(it.members) {
			role = map[string]string{roleDataset: roleDataset, roleData: roleDataset, roleModel: roleModel}[k]
			kind = map[string]prov.Kind{roleDataset: datasetKind, roleModel: modelKind}[role]
		}
	}
	return statement.NewResource(prov.Ref{Kind: kind, Name: strings.ToValidUTF8(it.dir, "�")}, digestSet(it.sum)), role
}

func (p *Installed) resource() statement.Resource {
	return statement.NewResource(prov.Ref{Kind: EnvironmentKind, Name: "python" + p.Version}, digestSet(p.SHA256))
}

// imageRef names an image; the digest is its identity where it is given.
func imageRef(s string) (prov.Ref, statement.DigestSet, bool) {
	if s == "" {
		return prov.Ref{}, nil, false
	}
	name, digest, pinned := strings.Cut(s, "@")
	if alg, h, ok := strings.Cut(digest, ":"); pinned && ok && alg == "sha256" && len(h) == 64 && strings.Trim(h, "0123456789abcdef") == "" {
		return prov.Ref{Kind: prov.Image, Name: name}, statement.DigestSet{"sha256": h}, true
	}
	i := strings.LastIndexByte(name, ':')
	if i > strings.LastIndexByte(name, '/') && i+1 < len(name) {
		return prov.Ref{Kind: prov.Image, Name: name[:i], Version: name[i+1:]}, nil, true
	}
	return prov.Ref{Kind: prov.Image, Name: name}, nil, name != ""
}

// remote gives the endpoints that are on another machine.
func (r *Result) remote() []*Endpoint {
	return slices.DeleteFunc(slices.Clone(r.Endpoints), func(e *Endpoint) bool { return e.Local })
}

// subjects lists the outputs.
func (r *Result) subjects() []statement.Subject {
	var out []statement.Subject
	for i := range r.outputs {
		it := &r.outputs[i]
		if it.file == nil {
			res, _ := it.resource()
			ref, err := prov.ParseRef(res.Ref)
			if err == nil {
				out = append(out, statement.NewSubject(ref, res.Digest))
			}
			continue
		}
		ref, _ := it.file.ref()
		out = append(out, statement.NewSubject(ref, digestSet(it.file.SHA256)))
	}
	return out
}

// surroundings tells what the run ran in and with.
func (r *Result) surroundings(a *statement.Activity) {
	for k, v := range r.Machine {
		a.Environment[k] = v
	}
	if p := r.Python; p != nil {
		a.Environment["python"] = fmt.Sprintf("%s, %d packages", p.Version, p.Packages)
	}
	if r.Image != "" {
		a.Environment["image"] = r.Image
	}
	for k, v := range r.env {
		a.Environment["env."+k] = v
	}
	v := r.Revision
	if v == nil {
		return
	}
	if v.Branch != "" {
		a.Parameters["git.branch"] = v.Branch
	}
	switch {
	case v.Unknown != "":
		a.Parameters["git.uncommitted"] = "unknown: " + v.Unknown
	case len(r.Dirty) == 0 && len(v.Dirty) == 0:
		a.Parameters["git.uncommitted"] = "none"
	default:
		var names []string
		for _, f := range r.Dirty {
			names = append(names, f.Path)
		}
		text := "used: " + listOf(names)
		if len(names) == 0 {
			text = "none of those used"
		}
		if n := len(v.Dirty); n > 0 {
			text += fmt.Sprintf("; %d tracked in all", n)
		}
		a.Parameters["git.uncommitted"] = text
	}
}

// listOf joins names, the first twenty.
func listOf(names []string) string {
	if n := len(names); n > 20 {
		return strings.Join(names[:20], ", ") + fmt.Sprintf(" and %d more", n-20)
	}
	return strings.Join(names, ", ")
}

// completeness says how far the list of inputs can be relied on.
func (r *Result) completeness(a *statement.Activity) {
	a.Parameters["capture"] = r.Outcome.Backend
	if tried := r.tried(); len(tried) > 0 {
		a.Parameters["capture.tried"] = strings.Join(tried, "; ")
	}
	var why []string
	for _, b := range r.Outcome.Blind {
		why = append(why, b.Class+": "+b.Detail)
	}
	a.Parameters["capture.calls"] = strconv.Itoa(r.Outcome.Calls)
	var unknown []string
	for _, f := range pick(r.Files, Input, Both) {
		if asInput(f) == "" {
			unknown = append(unknown, f.Path)
		}
	}
	if len(unknown) > 0 {
		a.Parameters["capture.unknownContent"] = listOf(unknown)
	}
	if n := len(r.remote()); n > 0 {
		why = append(why, fmt.Sprintf("network: %d endpoints were connected to, and what came from them is not known", n))
	}
	if r.Overflow > 0 {
		why = append(why, fmt.Sprintf("overflow: %d events could not be kept", r.Overflow))
	}
	if r.Failed != "" {
		why = append(why, "recorder: it failed in the middle: "+r.Failed)
	}
	if len(why) > 0 {
		a.Parameters["capture.blind"] = listOf(why)
	}
	r.Complete = r.Outcome.Complete && len(unknown) == 0 && len(r.remote()) == 0 && r.Overflow == 0 && r.Failed == ""
	a.InputsCompleteness = statement.BestEffort
	if r.Complete {
		a.InputsCompleteness = statement.Observed
	}
}

// tried tells which ways of following the command did not work here. That a
// run lies in no other one is no failure.
func (r *Result) tried() []string {
	var out []string
	for _, t := range r.Tried {
		if t.Err != nil && (t.Name != "outer" || r.Outer != "") {
			out = append(out, t.Name+": "+t.Err.Error())
		}
	}
	return out
}

// entities says what the activity's statement has no place for: the members
// of folders, the snapshots of hubs, and what the environment is.
func (r *Result) entities() []importer.Draft {
	var out []importer.Draft
	if p := r.Python; p != nil {
		res := p.resource()
		out = append(out, importer.Draft{Subjects: []statement.Subject{{Name: res.Ref, Digest: res.Digest}}, Predicate: &statement.Entity{State: "described",
			At: statement.NewTime(r.started), Description: fmt.Sprintf("Python %s with %d packages", p.Version, p.Packages),
			Attributes: map[string]string{"python": p.Version, "packages": strconv.Itoa(p.Packages)},
			Evidence:   []statement.Evidence{r.blob(p.Manifest, "text/plain", "environment", nil)}}})
	}
	for i := range r.inputs {
		if it := &r.inputs[i]; it.file == nil {
			out = append(out, r.folder(it, asInput, false)...)
		}
	}
	for i := range r.outputs {
		if it := &r.outputs[i]; it.file == nil {
			out = append(out, r.folder(it, asOutput, true)...)
		}
	}
	return out
}

// folder tells the members of a folder. One that was read is derived from
// them, so that each leads to the runs that read it; the members of one that
// was written are part of it, and outputs of the run themselves.
func (r *Result) folder(it *item, digest func(*File) string, written bool) []importer.Draft {
	res, _ := it.resource()
	dir := statement.Subject{Name: res.Ref, Digest: res.Digest}
	manifest := it.manifest(digest)
	e := &statement.Entity{State: "described", At: statement.NewTime(r.ended), Description: fmt.Sprintf("%d files that a run read or wrote in this folder", len(it.members)),
		Attributes: map[string]string{"files": strconv.Itoa(len(it.members))},
		Evidence:   []statement.Evidence{r.blob(manifest, "text/plain", "manifest of "+it.dir, nil)}}
	out := []importer.Draft{{Subjects: []statement.Subject{dir}, Predicate: e}}
	if len(it.members) > maxMembers {
		r.Truncated = append(r.Truncated, fmt.Sprintf("the %d files of %s", len(it.members), it.dir))
		return out
	}
	d := statement.Derivation{To: res, Rule: statement.RuleStated}
	var members []statement.Subject
	for _, m := range it.members {
		ref, _ := m.ref()
		d.From = append(d.From, statement.DerivedInput{Resource: statement.NewResource(ref, digestSet(digest(m)))})
		members = append(members, statement.NewSubject(ref, digestSet(digest(m))))
	}
	if !written {
		e.Derived = []statement.Derivation{d}
		return out
	}
	return append(out, importer.Draft{Subjects: members, Predicate: &statement.Activity{Kind: r.kind, ID: ActivityRef(r.ID).String()}},
		importer.Draft{Subjects: members, Predicate: &statement.Entity{State: "described", At: statement.NewTime(r.ended), PartOf: []statement.Resource{res}}})
}

// blob keeps bytes as evidence.
func (r *Result) blob(b []byte, mediaType, name string, notes []string) statement.Evidence {
	r.Blobs = append(r.Blobs, b)
	sum := sha256.Sum256(b)
	return statement.Evidence{Digest: statement.DigestSet{"sha256": hex.EncodeToString(sum[:])}, MediaType: mediaType, Size: int64(len(b)),
		Name: name, Importer: Name, ImporterVersion: Version, Notes: notes}
}
