package proof

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/vindex"
)

// Format is the version of questions and answers, and of how a verdict is
// found.
const Format = "stemma-proof/v1"

// The questions that can be proved.
const (
	Unused    = "unused"    // was it, or what was made with it, used at or after a time?
	Blast     = "blast"     // all that was made with it
	Why       = "why"       // all that it was made from
	Approvals = "approvals" // all decisions on it
)

// Verbs lists the questions.
var Verbs = []string{Unused, Blast, Why, Approvals}

// Verdict is the word for an answer.
type Verdict string

// The verdicts. None of them says that something did not happen: they speak of
// what the log tells.
const (
	// ProvenAbsent: no entry of the log says it: that the thing, or anything
	// made with it, was used; or that a decision was made on it.
	ProvenAbsent Verdict = "PROVEN-ABSENT"
	// ProvenNotAfter: there are uses, and each of them was recorded before T
	// and is dated before T.
	ProvenNotAfter Verdict = "PROVEN-NOT-AFTER"
	// ProvenComplete: the answer lists all that the log says to the question.
	ProvenComplete Verdict = "PROVEN-COMPLETE"
	// Used: at least one use was recorded at or after T and is dated then.
	Used Verdict = "USED"
	// Inconclusive: what the log says leaves it open; the doubts say why.
	Inconclusive Verdict = "INCONCLUSIVE"
	// Unverifiable: the proof does not hold. Only a verifier says so.
	Unverifiable Verdict = "UNVERIFIABLE"
)

// Thing is the name of what a question is about.
type Thing struct {
	Ref       string `json:"ref"`
	Namespace string `json:"namespace,omitempty"`
}

// ThingOf gives the name of a thing by its key.
func ThingOf(key string) Thing {
	r, err := prov.ParseKey(key)
	if err != nil {
		return Thing{Ref: key}
	}
	return Thing{r.String(), r.Namespace}
}

// Key gives the key of the thing.
func (t Thing) Key() (string, error) {
	r, err := prov.ParseRef(t.Ref)
	if err == nil {
		r, err = r.InNamespace(t.Namespace)
	}
	return r.Key(), err
}

// Question is what a proof answers.
type Question struct {
	Verb  string `json:"verb"`
	Thing Thing  `json:"thing"`
	// Versions says that the thing is a series, and that it is asked of all
	// names of it and of all its versions.
	Versions bool `json:"versions,omitempty"`
	// After is T of the question unused, RFC 3339 in UTC; Size is how many
	// entries were recorded before T. Without After, T is the moment at which
	// the log had Size entries.
	After string `json:"after,omitempty"`
	Size  uint64 `json:"size,omitempty"`
	// Accept is the weakest class of completeness whose inputs are taken to be
	// all inputs.
	Accept string `json:"accept"`
}

// Answer is what the log says to a question. All of it follows from the
// question, the lists and the entries.
type Answer struct {
	Format   string   `json:"format"`
	Question Question `json:"question"`
	Verdict  Verdict  `json:"verdict"`
	// Covered is how many entries the index covers: the answer is of these.
	Covered uint64 `json:"covered"`
	After   *After `json:"after,omitempty"`
	// Weakest is the weakest class among the activities that were met; empty
	// when none was.
	Weakest string `json:"weakest,omitempty"`
	// Named tells whether any entry names the thing that the question is about.
	Named     bool        `json:"named"`
	Members   []Member    `json:"members"`
	Uses      []Use       `json:"uses"`
	Decisions []Made      `json:"decisions"`
	Doubts    []Doubt     `json:"doubts"`
	Retracted []Retracted `json:"retracted"`
}

// After is how T was found: by the operator's clock, which wrote recordedAt
// into every entry.
type After struct {
	Time string `json:"time"` // T
	Size uint64 `json:"size"` // entries recorded before T
	// Before and Next are when the last entry before T and the first not before
	// it were recorded; empty when there is none.
	Before string `json:"before,omitempty"`
	Next   string `json:"next,omitempty"`
}

// Member is a thing in the closure.
type Member struct {
	Ref       string `json:"ref"`
	Namespace string `json:"namespace,omitempty"`
	// Names are those that entries give to content.
	Names  []string `json:"names,omitempty"`
	Inputs string   `json:"inputs,omitempty"` // of an activity: completeness of its inputs
}

// Use is a tie that the closure follows.
type Use struct {
	Entry    uint64 `json:"entry"`
	Recorded string `json:"recorded"`
	At       string `json:"at,omitempty"` // when it happened, as claimed
	Type     string `json:"type"`
	From     string `json:"from"`
	To       string `json:"to"`
	When     string `json:"when,omitempty"` // of unused: before, after or open
}

// Made is a decision.
type Made struct {
	Entry        uint64   `json:"entry"`
	Recorded     string   `json:"recorded"`
	RecordedBy   string   `json:"recordedBy"`
	Ref          string   `json:"ref"`
	Of           []string `json:"of"`
	Decision     string   `json:"decision"`
	Review       string   `json:"review"`
	Approver     string   `json:"approver"`
	Role         string   `json:"role,omitempty"`
	Environments []string `json:"environments,omitempty"`
	At           string   `json:"at,omitempty"` // when it was made, as claimed
	From         string   `json:"from,omitempty"`
	Until        string   `json:"until,omitempty"`
	// RevokedBy are the entries that name this decision to take it back or to
	// take its place.
	RevokedBy []uint64 `json:"revokedBy,omitempty"`
}

// Doubt is a reason why the answer cannot be sure.
type Doubt struct {
	Code    string   `json:"code"`
	Ref     string   `json:"ref,omitempty"`
	Entries []uint64 `json:"entries"`
	Text    string   `json:"text"`
}

// Retracted is an entry that was met and does not count.
type Retracted struct {
	Entry uint64   `json:"entry"`
	By    []uint64 `json:"by"`
}

// ErrQuestion is wrapped by errors that the question itself is wrong.
var ErrQuestion = errors.New("the question cannot be proved")

// Ask answers a question from a source whose lists cover the first covered
// entries of a log.
func Ask(src Source, q Question, covered uint64) (*Answer, error) {
	key, err := q.check(covered)
	if err != nil {
		return nil, err
	}
	a := &asker{q: q, walk: newWalk(newLog(src, covered), q.Verb != Why), accept: rank(q.Accept),
		answer: &Answer{Format: Format, Question: q, Covered: covered, Members: []Member{}, Uses: []Use{}, Decisions: []Made{}, Doubts: []Doubt{}, Retracted: []Retracted{}}}
	if err := a.unreadable(); err != nil {
		return nil, err
	}
	if a.focus, err = a.things(key); err != nil {
		return nil, err
	}
	if err := a.named(); err != nil {
		return nil, err
	}
	if err := a.pairs(); err != nil {
		return nil, err
	}
	switch q.Verb {
	case Unused:
		if err = a.moment(); err == nil {
			err = a.uses()
		}
	case Blast:
		a.t, a.n = prov.Beginning, 0
		err = a.uses()
	case Why:
		err = a.origins()
	case Approvals:
		err = a.decisions()
	}
	if err != nil {
		return nil, err
	}
	if err := a.end(); err != nil {
		return nil, err
	}
	return a.answer, nil
}

func (q Question) check(covered uint64) (string, error) {
	if !slices.Contains(Verbs, q.Verb) {
		return "", fmt.Errorf("%w: %q is no question; the questions are %v", ErrQuestion, q.Verb, Verbs)
	}
	if !slices.Contains(Classes, q.Accept) {
		return "", fmt.Errorf("%w: %q is no class of completeness; the classes are %v", ErrQuestion, q.Accept, Classes)
	}
	if q.Verb != Unused && (q.After != "" || q.Size != 0) {
		return "", fmt.Errorf("%w: only the question %s has a time", ErrQuestion, Unused)
	}
	if q.Size > covered {
		return "", fmt.Errorf("%w: the log has %d entries, not yet %d", ErrQuestion, covered, q.Size)
	}
	key, err := q.Thing.Key()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrQuestion, err)
	}
	if ThingOf(key) != q.Thing {
		return "", fmt.Errorf("%w: %q is not how this name is written", ErrQuestion, q.Thing.Ref)
	}
	if q.Versions && !isSeries(key) {
		return "", fmt.Errorf("%w: %s has no versions", ErrQuestion, q.Thing.Ref)
	}
	return key, nil
}

// asker makes one answer.
type asker struct {
	*walk
	q      Question
	accept int
	focus  []string
	t      prov.Instant // T
	n      uint64       // entries before T
	answer *Answer
}

// things gives the things that the question is about: with Versions all series
// that are the same, and all versions that any entry names.
func (a *asker) things(key string) ([]string, error) {
	if !a.q.Versions {
		return []string{key}, nil
	}
	r, err := prov.ParseKey(key)
	if err != nil {
		return nil, err
	}
	group := key
	dataset, field, column := r.SplitColumn()
	if column {
		group = dataset.Key()
	}
	g, err := a.groupOf(group)
	if err != nil {
		return nil, err
	}
	out := []string{key}
	add := func(k string) {
		if !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	for _, s := range g.series {
		add(columnKey(s, field, column))
		for _, name := range []string{s, columnKey(s, field, column)} {
			entries, err := a.list(vindex.Versions, name)
			if err != nil {
				return nil, err
			}
			for _, i := range entries {
				for _, x := range a.read[i].Names {
					if seriesOf(x) == name {
						add(columnKey(x, field, column && name == s))
					}
				}
			}
			if !column {
				break
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// columnKey gives the key of the column of a dataset; without column the
// dataset's own.
func columnKey(dataset, field string, column bool) string {
	r, err := prov.ParseKey(dataset)
	if err != nil || !column {
		return dataset
	}
	return prov.ColumnOf(r, field).Key()
}

// named finds out whether any entry names what the question is about.
func (a *asker) named() error {
	for _, k := range a.focus {
		for _, rel := range []vindex.Relation{vindex.UsedBy, vindex.About, vindex.TiedTo, vindex.DecidedBy} {
			got, err := a.all(rel, k)
			if err != nil {
				return err
			}
			if len(got) > 0 {
				a.answer.Named = true
				return nil
			}
		}
	}
	return nil
}

// pairs tells of names that are written as the thing in question is, and are
// another pair of namespace and name: two sources may mean the same by them.
func (a *asker) pairs() error {
	rel := map[string]vindex.Relation{Unused: vindex.UsedBy, Blast: vindex.UsedBy, Why: vindex.About, Approvals: vindex.DecidedBy}[a.q.Verb]
	for _, k := range a.focus {
		r, err := prov.ParseKey(k)
		if err != nil || r.IsDigest() {
			continue
		}
		whole := r
		if r.Namespace != "" {
			whole.Namespace, whole.Name = "", r.Namespace+"/"+r.Name
		}
		alike := []prov.Ref{whole}
		for i := 1; i+1 < len(whole.Name); i++ {
			if whole.Name[i] == '/' {
				p := whole
				p.Namespace, p.Name = whole.Name[:i], whole.Name[i+1:]
				alike = append(alike, p)
			}
		}
		for _, o := range alike {
			if o == r || slices.Contains(a.focus, o.Key()) {
				continue
			}
			entries, err := a.list(rel, o.Key())
			if err != nil {
				return err
			}
			if len(entries) > 0 {
				a.doubt("pair", k, entries, "entries say something of the same text as another name (namespace \"%s\"); whether the two are the same, none says", namespaceText(o))
			}
		}
	}
	return nil
}

// namespaceText writes the namespace as it stands in the text of a Ref.
func namespaceText(r prov.Ref) string {
	return strings.TrimPrefix(prov.Ref{Kind: prov.Resource, Name: r.Namespace}.String(), "resource:")
}

// moment checks T: that so many entries, and not one more, were recorded
// before it.
func (a *asker) moment() error {
	n := a.q.Size
	x := &After{Size: n}
	var before, next prov.Instant = prov.Beginning, prov.Forever
	if n > 0 {
		r, err := a.entry(n - 1)
		if err != nil {
			return err
		}
		before, x.Before = r.Recorded, r.Recorded.String()
	}
	if n < a.size {
		r, err := a.entry(n)
		if err != nil {
			return err
		}
		next, x.Next = r.Recorded, r.Recorded.String()
	}
	a.t, a.n = before, n
	if a.q.After != "" {
		t, err := prov.ParseTime(a.q.After)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrQuestion, err)
		}
		a.t = prov.At(t)
		if a.t.String() != a.q.After {
			return fmt.Errorf("%w: %q is not how this time is written", ErrQuestion, a.q.After)
		}
		if before >= a.t || next < a.t {
			return fmt.Errorf("%w: that %d entries were recorded before %s: the last was at %s, the next at %s", ErrSource, n, a.q.After, x.Before, x.Next)
		}
	}
	x.Time = a.t.String()
	a.answer.After = x
	return nil
}

func (a *asker) doubt(code, key string, entries []uint64, format string, args ...any) {
	d := Doubt{Code: code, Entries: slices.Clone(entries), Text: fmt.Sprintf(format, args...)}
	if d.Entries == nil {
		d.Entries = []uint64{}
	}
	if key != "" {
		d.Ref = display(key)
	}
	a.answer.Doubts = append(a.answer.Doubts, d)
}

func display(key string) string { return ThingOf(key).Ref }

// unreadable lists the entries that say what nobody knows.
func (a *asker) unreadable() error {
	entries, err := a.list(vindex.Unreadable, "")
	if err != nil {
		return err
	}
	for _, i := range entries {
		a.doubt("unreadable", "", []uint64{i}, "entry %d: %s", i, a.read[i].Unread)
	}
	return nil
}

// end checks what was read, and puts the lists in order.
func (a *asker) end() error {
	if err := a.check(); err != nil {
		return err
	}
	x := a.answer
	for _, i := range sortedKeys(a.stands) {
		if a.stands[i] {
			continue
		}
		by, err := a.retractions(i)
		if err != nil {
			return err
		}
		if len(by) > 0 {
			x.Retracted = append(x.Retracted, Retracted{i, by})
		}
	}
	slices.SortStableFunc(x.Doubts, func(p, q Doubt) int {
		return compare([]string{p.Code, p.Ref, p.Text}, []string{q.Code, q.Ref, q.Text})
	})
	x.Doubts = slices.CompactFunc(x.Doubts, func(p, q Doubt) bool { return p.Code == q.Code && p.Ref == q.Ref && p.Text == q.Text })
	return nil
}

func compare(a, b []string) int { return slices.Compare(a, b) }
