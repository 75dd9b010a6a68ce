package capture

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// File is what a path came to, as it is kept in the evidence.
type File struct {
	Path   string `json:"path"` // from the workspace, from the home directory with ~, or absolute
	Class  Class  `json:"class"`
	Rule   string `json:"rule"`
	Role   string `json:"role,omitempty"`
	SHA256 string `json:"sha256,omitempty"` // as it was left by the run, or as it was read
	Before string `json:"before,omitempty"` // SHA-256 of what was read and then overwritten
	Size   int64  `json:"size,omitempty"`
	Reads  int    `json:"reads,omitempty"`
	Writes int    `json:"writes,omitempty"`
	From   string `json:"from,omitempty"` // the name that was renamed or linked to this one
	To     string `json:"to,omitempty"`   // the name that this one was renamed or linked to
	Note   string `json:"note,omitempty"` // why its content is not known, and the like
	Dirty  bool   `json:"dirty,omitempty"`

	file  *file
	place *place
	last  identity // after the run
}

// Rules that are no matter of the path alone.
const (
	ruleAbsent    = "absent"    // looked for, never there
	ruleFolder    = "folder"    // a folder was listed
	ruleRenamed   = "renamed"   // written, then renamed
	ruleRemoved   = "removed"   // removed by the run
	ruleGone      = "gone"      // not there after the run
	ruleUnchanged = "unchanged" // opened for writing and not changed
	ruleSpecial   = "special"   // no file that holds something
	ruleLink      = "link"      // a symbolic link was made
	ruleStayed    = "stayed"    // a model or dataset that was left in a folder for temporary files
	ruleBefore    = "before"    // was in a folder for temporary files before the run
)

// Reasons are the rules that look at more than a path, and what they say.
var Reasons = map[string]string{
	ruleAbsent:    "was looked for and never there",
	ruleFolder:    "is a folder; what was read in it is listed by itself",
	ruleRenamed:   "was written by the run and then renamed; the new name counts",
	ruleRemoved:   "was removed by the run",
	ruleGone:      "is not there after the run",
	ruleUnchanged: "was opened for writing and not changed",
	ruleSpecial:   "is a pipe, a socket or a device",
	ruleLink:      "is a symbolic link that the run made; what it points at counts",
	ruleStayed:    "is a model or dataset that the run left behind, though in a folder for temporary files",
	ruleBefore:    "was in a folder for temporary files before the run, so it was not made by it",
}

// decide says of each path what it came to, in the order of their names.
func (t *Tracker) decide() []*File {
	out := make([]*File, 0, len(t.files))
	for _, f := range t.files {
		out = append(out, t.decideOne(f))
	}
	slices.SortFunc(out, func(a, b *File) int { return cmp.Compare(a.file.path, b.file.path) })
	return out
}

func (t *Tracker) decideOne(f *file) *File {
	p := t.home.place(f.path)
	r := p.rule()
	d := &File{Path: p.name(), Class: r.Class, Rule: r.Name, Reads: f.reads, Writes: f.writes, From: t.name(f.movedFrom), To: t.name(f.movedTo), Note: f.noted, file: f, place: p}
	if r.Class == Device {
		return d
	}
	var there bool
	d.last, there = identify(f.path)
	d.Size = d.last.size
	_, d.Role = recognise(f.path)
	if f.executed && d.Role != roleScript {
		d.Role = roleProgram
	}
	switch {
	case !f.existed && !there && f.writes == 0 && f.link == "":
		d.Class, d.Rule = Absent, ruleAbsent
	case f.directory || there && d.last.dir:
		d.Class, d.Rule = Folder, ruleFolder
	case there && !d.last.regular:
		d.Class, d.Rule = Device, ruleSpecial
	case r.Class == Input:
		t.usage(d, there)
	case r.Name == "scratch":
		t.scratch(d, there)
	case f.executed && (r.Class == Environment || r.Class == Outside):
		d.Class = ProgramFile
	}
	switch d.Class {
	case Input, Output, Both, ProgramFile:
	default:
		d.Role = ""
	}
	return d
}

func (t *Tracker) name(path string) string {
	if path == "" {
		return ""
	}
	return t.home.place(path).name()
}

// before tells whether the file was there when the run began. Back-ends may
// report an event after the call, so that what was met may be new itself.
func (t *Tracker) before(d *File) bool {
	f := d.file
	if !f.existed {
		return false
	}
	if !f.first.changedSince(t.start) {
		return true
	}
	ns, ok := born(f.path)
	return ok && d.last.ino == f.first.ino && ns < t.start.Add(-tick).UnixNano()
}

// usage decides by what was done to the file.
func (t *Tracker) usage(d *File, there bool) {
	f := d.file
	changed := f.writes > 0 && there && d.last.changedSince(t.start)
	read := f.readFirst || f.executed && f.writes == 0 && f.existed || f.keeps && !logName(f.path) && f.first.size > 0 && t.before(d)
	switch {
	case f.link != "":
		d.Class, d.Rule, d.Note = Ignored, ruleLink, "to "+f.link
	case there && changed && read:
		d.Class = Both
	case there && changed:
		d.Class = Output
	case there && read:
		d.Class = Input
	case there && f.writes > 0:
		d.Class, d.Rule = Ignored, ruleUnchanged
	case there && f.removed: // rm failed, or another process made it anew
		d.Class, d.Rule = Ignored, ruleUnchanged
	case there:
		d.Class = Input // looked for first, and made by another meanwhile
		f.first, f.existed = d.last, true
		if f.executed || f.reads > 0 {
			break
		}
		d.Class, d.Rule = Ignored, ruleUnchanged
	case read:
		d.Class = Input
		if d.Note == "" {
			d.Note = "it is not there after the run"
		}
		d.Size = f.first.size
	case f.writes > 0 && f.movedTo != "":
		d.Class, d.Rule = Temporary, ruleRenamed
	case f.removed && f.writes == 0 && t.before(d):
		d.Class, d.Rule = Removed, ruleRemoved
	case f.removed:
		d.Class, d.Rule = Temporary, ruleRemoved
	default:
		d.Class, d.Rule = Temporary, ruleGone
	}
}

// scratch decides for folders for temporary files: what was there before and
// was read is an input; a model or dataset that stays is an output.
func (t *Tracker) scratch(d *File, there bool) {
	old := t.before(d)
	t.usage(d, there)
	switch {
	case (d.Class == Input || d.Class == Both) && (old || d.file.writes == 0 && d.file.existed):
		d.Rule = ruleBefore
	case d.Class == Output && d.place.weights():
		d.Rule = ruleStayed
	default:
		if d.Class != Ignored && d.Class != Removed {
			d.Class = Temporary
		}
		if d.Rule == "" {
			d.Rule = "scratch"
		}
	}
}

// logName tells whether appending to the file does not make it an input:
// nobody reads a log to go on writing it.
func logName(p string) bool {
	switch ext := pathExt(p); ext {
	case ".log", ".out", ".err", ".nohup":
		return true
	}
	return false
}

// fill hashes what counts. Inputs must be in the state in which they were
// read; a content that is not known stays empty, with the reason in Note.
func (t *Tracker) fill(files []*File, d *digests) time.Duration {
	began := time.Now()
	var todo []*File
	for _, x := range files {
		switch {
		case x.Class == Input || x.Class == Output || x.Class == Both:
			todo = append(todo, x)
		case x.Class == ProgramFile && len(todo) < maxPrograms:
			todo = append(todo, x)
		}
	}
	eachAtOnce(len(todo), func(i int) { t.fillOne(todo[i], d) })
	return time.Since(began)
}

func (t *Tracker) fillOne(x *File, d *digests) {
	f := x.file
	if x.Class == Output || x.Class == Both {
		sum, err := d.hash(f.path, x.last)
		if err != nil { // still being written: once more
			if now, ok := identify(f.path); ok {
				x.last = now
				sum, err = d.hash(f.path, now)
			}
		}
		if x.SHA256, x.Size = sum, x.last.size; err != nil {
			x.Note = "its content is not known: " + err.Error()
		}
	}
	if x.Class == Output {
		return
	}
	sum, err := t.asRead(x, d)
	if x.Class == Both {
		x.Before = sum
	} else {
		x.SHA256 = sum
	}
	if err != nil {
		x.Note = "what was read is not known: " + err.Error()
	}
}

// asRead gives the digest of what the run read.
func (t *Tracker) asRead(x *File, d *digests) (string, error) {
	f := x.file
	if e := f.early; e != nil && e.id.same(f.first) {
		return e.digest, nil
	}
	if x.Class != Both && x.last.same(f.first) {
		return d.hash(f.path, x.last)
	}
	if sum, ok := d.known(f.first); ok {
		return sum, nil
	}
	for to, n := f.movedTo, 0; to != "" && n < 16; n++ { // renamed as it was
		if now, ok := identify(to); ok && now.same(f.first) {
			return d.hash(to, now)
		}
		g := t.files[to]
		if g == nil {
			break
		}
		to = g.movedTo
	}
	switch {
	case x.Class == Both:
		return "", errors.New("the run itself wrote it afterwards, and what it held before was not hashed by an earlier run")
	case f.removed:
		return "", errors.New("the run removed it afterwards")
	case x.Note != "":
		return "", errors.New(x.Note)
	}
	return "", errChanged
}
