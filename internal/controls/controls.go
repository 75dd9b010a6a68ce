// Package controls says which controls of a framework are satisfied by what a
// log holds. It is a pure function of a view of the graph and of a few facts
// about the log: the same log and question give the same assessment, byte for
// byte.
//
// A control is satisfied only by positive evidence: every question that speaks
// to it was asked of something and answered with yes throughout, and every
// detector that speaks to it ran and is clear. It is not satisfied when any
// answer is no. All else is not assessed, and says what is missing.
package controls

import (
	"fmt"
	"maps"
	"slices"

	"github.com/stemma-lineage/stemma/internal/catalog"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/oscal"
)

// Status says whether a control is satisfied.
type Status string

// The statuses.
const (
	Satisfied    Status = "satisfied"
	NotSatisfied Status = "not-satisfied"
	NotAssessed  Status = "not-assessed"
)

// Answer is what a question or a detector says of one thing.
type Answer string

// The answers. A detector that is clear says yes, one that is violated no.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown"
	Waived  Answer = "waived" // no or unknown, and accepted until a time
)

// Item is one thing that a question was asked of.
type Item struct {
	Ref     string   `json:"ref"`
	Answer  Answer   `json:"answer"`
	Says    string   `json:"says"`
	Entries []uint64 `json:"entries"`           // the entries that say so
	Command string   `json:"command,omitempty"` // that shows it
}

// Coverage says of how many things a question was asked, and how many
// answered what. Asked is the sum of the others.
type Coverage struct {
	Asked   int `json:"asked"`
	Yes     int `json:"yes"`
	No      int `json:"no"`
	Unknown int `json:"unknown"`
	Waived  int `json:"waived,omitempty"`
}

func (c *Coverage) add(a Answer, n int) {
	c.Asked += n
	switch a {
	case Yes:
		c.Yes += n
	case No:
		c.No += n
	case Waived:
		c.Waived += n
	default:
		c.Unknown += n
	}
}

// Evidence is what one question, or one detector, gave.
type Evidence struct {
	ID       string   `json:"id"`
	Kind     string   `json:"kind"` // query or detector
	Asks     string   `json:"asks"`
	Coverage Coverage `json:"coverage"`
	// Available is false of a detector that this version does not have.
	Available bool   `json:"available"`
	Command   string `json:"command,omitempty"` // that asks it again
	// Items are the things that did not answer yes, up to Options.Items;
	// Hidden counts the rest of them.
	Items  []Item `json:"items"`
	Hidden int    `json:"hidden,omitempty"`
	// Entries are entries that the answers rest upon, up to Options.Entries;
	// MoreEntries counts the rest.
	Entries     []uint64 `json:"entries"`
	MoreEntries int      `json:"moreEntries,omitempty"`
}

// Control is the assessment of one control.
type Control struct {
	ID       string   `json:"id"`
	Title    string   `json:"title,omitempty"`
	Says     string   `json:"says"`
	Official string   `json:"official,omitempty"` // out of the catalogue that the user named
	Status   Status   `json:"status"`
	Shows    string   `json:"shows,omitempty"` // the part of the control that the evidence can show
	Because  []string `json:"because"`         // why it is not satisfied, or what is missing
	Evidence []string `json:"evidence"`        // ids of Assessment.Evidence
	// Target and Statement are the identifiers for OSCAL.
	Target    string `json:"-"`
	Statement string `json:"-"`
}

// Assessment is the answer of [Assess].
type Assessment struct {
	APIVersion string     `json:"apiVersion"`
	Framework  string     `json:"framework"`
	Title      string     `json:"title"`
	Catalog    *Source    `json:"catalog,omitempty"`
	Log        string     `json:"log"`
	LogSize    uint64     `json:"logSize"`
	Root       string     `json:"root"`
	RecordedAt string     `json:"recordedAt,omitempty"` // of the last entry that is known
	At         string     `json:"at,omitempty"`
	Env        string     `json:"environment,omitempty"`
	Ref        string     `json:"ref,omitempty"` // the release that it is narrowed to
	Summary    Summary    `json:"summary"`
	Controls   []Control  `json:"controls"`
	Evidence   []Evidence `json:"evidence"`
}

// Source names the catalogue that official texts are from.
type Source struct {
	UUID    string `json:"uuid"`
	Title   string `json:"title"`
	Version string `json:"version"`
}

// Summary counts the controls.
type Summary struct {
	Satisfied    int `json:"satisfied"`
	NotSatisfied int `json:"notSatisfied"`
	NotAssessed  int `json:"notAssessed"`
}

// Log is what is known of the log beside its graph.
type Log struct {
	Origin string
	// Stewards are who set up the log; see policy.Context.
	Stewards []string
	Root     string // hexadecimal, at the size of the view
	// Published says that a checkpoint with a good signature covers the view;
	// Witnesses is how many cosigned it.
	Published bool
	Witnesses int
}

// Detectors gives what a detector (L01 to L23) says of each thing in scope.
// available is false where there is no such detector: that it found nothing is
// then not known. covers tells whether a thing is in scope.
type Detectors func(v graph.View, id string, covers func(graph.ID) bool) (items []Item, available bool)

// Options narrow an assessment.
type Options struct {
	Log       Log
	Ref       []graph.ID // of a release, under any of its names; nil: the whole log
	RefName   string
	Env       string            // such as prod; "": all
	Detectors Detectors         // nil: none is available
	Official  *catalog.Official // nil: our own words only
	Only      []string          // identifiers of controls; nil: all
	Items     int               // things listed a question; 0: 50
	Entries   int               // entries listed a question; 0: 100
	// Stop is asked now and then; once it says true the assessment ends with
	// query.ErrStopped. Nil: never.
	Stop func() bool
}

// Assess assesses the controls of a framework. The view's valid instant must be
// a moment, not the whole of time.
func Assess(v graph.View, f *catalog.Framework, o Options) (*Assessment, error) {
	s, err := newScope(v, o)
	if err != nil {
		return nil, err
	}
	a := s.frame()
	a.Framework, a.Title = f.ID, f.Title
	if off := o.Official; off != nil {
		a.Catalog = &Source{off.UUID, off.Title, off.Version}
	}
	done := map[string]*Evidence{}
	for i := range f.Controls {
		k := &f.Controls[i]
		if o.Only != nil && !slices.Contains(o.Only, k.ID) {
			continue
		}
		c, err := s.control(f, k, done)
		if err != nil {
			return nil, err
		}
		a.Controls = append(a.Controls, c)
		switch c.Status {
		case Satisfied:
			a.Summary.Satisfied++
		case NotSatisfied:
			a.Summary.NotSatisfied++
		default:
			a.Summary.NotAssessed++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(done)) {
		a.Evidence = append(a.Evidence, *done[id])
	}
	return a, nil
}

// frame gives the assessment without its controls.
func (s *scope) frame() *Assessment {
	known := s.v.AsOf().Known
	a := &Assessment{APIVersion: "stemma/v1", Log: s.o.Log.Origin, LogSize: known, Root: s.o.Log.Root, At: s.v.AsOf().Valid.String(),
		Env: s.env, Ref: s.o.RefName, Controls: []Control{}, Evidence: []Evidence{}}
	if known > 0 {
		a.RecordedAt = s.v.Recorded(known - 1).String()
	}
	return a
}

func (s *scope) control(f *catalog.Framework, k *catalog.Control, done map[string]*Evidence) (Control, error) {
	c := Control{ID: k.ID, Title: k.Title, Says: k.Says, Because: []string{}, Evidence: []string{}, Target: k.Token(), Statement: k.Token()}
	if off := s.o.Official; off != nil {
		if t, ok := off.Texts[k.ID]; ok {
			c.Official = t.Text
			if oscal.IsToken(t.ControlID) {
				c.Target, c.Statement = t.ControlID, t.ControlID
			}
			if oscal.IsToken(t.StatementID) {
				c.Statement = t.StatementID
			}
		}
	}
	m, ok := f.Mapping(k.ID)
	if !ok {
		c.Status, c.Because = NotAssessed, []string{"nothing that Stemma records speaks to it"}
		return c, nil
	}
	c.Shows = m.Shows
	var es []*Evidence
	for _, id := range m.Evidence {
		e, err := s.evidence(id, done)
		if err != nil {
			return c, err
		}
		es = append(es, e)
	}
	for _, id := range m.Detectors {
		es = append(es, s.detector(id, done))
	}
	for _, e := range es {
		c.Evidence = append(c.Evidence, e.ID)
	}
	c.Status, c.Because = judge(es)
	return c, nil
}

// judge gives the status that evidence makes, and why.
func judge(es []*Evidence) (Status, []string) {
	no, missing, asked := []string{}, []string{}, 0
	for _, e := range es {
		c := e.Coverage
		asked += c.Asked
		switch {
		case !e.Available:
			missing = append(missing, e.ID+": this version has no such detector, so what it would find is not known")
		case c.No > 0:
			no = append(no, fmt.Sprintf("%s: no for %d of %d%s", e.ID, c.No, c.Asked, first(e, No)))
		case c.Unknown > 0:
			missing = append(missing, fmt.Sprintf("%s: not known of %d of %d%s", e.ID, c.Unknown, c.Asked, first(e, Unknown)))
		case c.Waived > 0:
			missing = append(missing, fmt.Sprintf("%s: %d of %d are accepted by a waiver, which is no evidence%s", e.ID, c.Waived, c.Asked, first(e, Waived)))
		case c.Asked == 0 && e.Kind == kindQuery:
			missing = append(missing, e.ID+": there is nothing to ask it of")
		}
	}
	switch {
	case len(no) > 0:
		return NotSatisfied, append(no, missing...)
	case len(missing) > 0:
		return NotAssessed, missing
	case asked == 0:
		return NotAssessed, []string{"there is nothing to ask it of"}
	}
	return Satisfied, []string{}
}

func first(e *Evidence, a Answer) string {
	for _, it := range e.Items {
		if it.Answer == a {
			return ", first " + it.Ref + ": " + it.Says
		}
	}
	return ""
}

const (
	kindQuery    = "query"
	kindDetector = "detector"
)

// evidence asks a question, once.
func (s *scope) evidence(id string, done map[string]*Evidence) (*Evidence, error) {
	if e := done[id]; e != nil {
		return e, nil
	}
	q, ok := queries[id]
	if !ok {
		return nil, fmt.Errorf("there is no question %q; there are %v", id, Queries())
	}
	c := &collector{s: s}
	q.ask(s, c)
	if c.err != nil {
		return nil, c.err
	}
	e := s.evidenceOf(id, kindQuery, q.asks, c)
	e.Command = s.command("controls --query " + id)
	done[id] = e
	return e, nil
}

func (s *scope) detector(id string, done map[string]*Evidence) *Evidence {
	if e := done[id]; e != nil {
		return e
	}
	c, available := &collector{s: s}, false
	if s.o.Detectors != nil {
		var items []Item
		items, available = s.o.Detectors(s.v, id, s.covers)
		for _, it := range items {
			c.put(it)
		}
	}
	e := s.evidenceOf(id, kindDetector, DetectorName(id), c)
	if e.Available = available; available {
		e.Command = s.command("findings --detector " + id + " --outcome violated,unknown,clear")
	}
	done[id] = e
	return e
}

func (s *scope) evidenceOf(id, kind, asks string, c *collector) *Evidence {
	e := &Evidence{ID: id, Kind: kind, Asks: asks, Coverage: c.coverage, Available: true, Items: []Item{}, Entries: []uint64{}}
	slices.SortStableFunc(c.items, func(a, b Item) int { return compareItems(a, b) })
	for _, it := range c.items {
		e.Entries = append(e.Entries, it.Entries...)
		if it.Answer == Yes && !s.all {
			continue
		}
		if len(e.Items) < s.o.Items || s.all {
			e.Items = append(e.Items, it)
		} else {
			e.Hidden++
		}
	}
	slices.Sort(e.Entries)
	e.Entries = slices.Compact(e.Entries)
	if n := s.o.Entries; len(e.Entries) > n && !s.all {
		e.Entries, e.MoreEntries = e.Entries[:n:n], len(e.Entries)-n
	}
	return e
}

// Ask asks one question of the mapping and gives every thing that it was asked
// of, those that answered yes too.
func Ask(v graph.View, id string, o Options) (*Assessment, error) {
	s, err := newScope(v, o)
	if err != nil {
		return nil, err
	}
	s.all = true
	e, err := s.evidence(id, map[string]*Evidence{})
	if err != nil {
		return nil, err
	}
	a := s.frame()
	a.Evidence = []Evidence{*e}
	return a, nil
}
