// Package query holds the questions that are asked of a graph. They are pure:
// the same view and question give the same answer, byte for byte.
package query

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// APIVersion is the version of the JSON form of an answer.
const APIVersion = "stemma/v1"

// Answer is what every question gives. Its JSON form is a contract; see
// docs/format-answer.md.
type Answer struct {
	APIVersion string   `json:"apiVersion"`
	Question   Question `json:"question"`
	LogSize    uint64   `json:"logSize"`
	Root       string   `json:"root"` // hexadecimal; set by whoever holds the log
	AsOf       AsOf     `json:"asOf"`
	Focus      []string `json:"focus"`

	Entities   []Item         `json:"entities"`
	Activities []Item         `json:"activities"`
	Identities []Item         `json:"identities"`
	Relations  []RelationItem `json:"relations"`

	// Path is the shortest path of a Path question, from end to end.
	Path []string `json:"path,omitempty"`
	// Shortest counts the shortest paths, of which Path is the first in the
	// order of names.
	Shortest *Shortest `json:"shortest,omitempty"`
	// Outcome of a Reach question with a resource: yes, unknown (Unknown says
	// why), or none, which is that no path is recorded.
	Outcome string `json:"outcome,omitempty"`
	// Hops are the relations of Path, of a Reach question, and Steps what is
	// known of each.
	Hops  []RelationItem `json:"hops,omitempty"`
	Steps []Step         `json:"steps,omitempty"`
	// Refused are the refusals that left no path, of a Reach question.
	Refused []Refusal `json:"refused,omitempty"`
	// Covers are the inventories that a Reach question was answered from.
	Covers []Coverage `json:"covers,omitempty"`
	// Paths are all paths, where the question asks for all: shorter ones
	// first, then in the order of names.
	Paths [][]string `json:"paths,omitempty"`
	// History is the changes of a History question in order of valid time.
	History []Change `json:"history,omitempty"`
	// Differences is the outcome of a Diff question.
	Differences []Difference `json:"differences,omitempty"`
	// Counts stands in the place of the items and relations, where the
	// question asks for counts only.
	Counts *Counted `json:"counts,omitempty"`

	// Rotation is set by whoever asks Blast of a credential or secret, from
	// Rotate: it rests on more than the closure.
	Rotation *Rotation `json:"rotation,omitempty"`

	// Truncated says that a limit cut the answer, and Hidden how many things
	// it left out: things, or paths where the question asks for all paths.
	Truncated bool `json:"truncated"`
	Hidden    int  `json:"hidden"`
	// HiddenAtLeast says that Hidden is only what is known to be left out.
	HiddenAtLeast bool `json:"hiddenAtLeast,omitempty"`

	Unknown []Unknown `json:"unknown"`
}

// Question is what was asked, enough to ask it again.
type Question struct {
	Verb      string   `json:"verb"`
	Refs      []string `json:"refs"`
	Depth     int      `json:"depth,omitempty"`
	Since     string   `json:"since,omitempty"`
	Action    string   `json:"action,omitempty"`
	Kinds     []string `json:"kinds,omitempty"`
	Relations []string `json:"relations,omitempty"`
	Limit     int      `json:"limit,omitempty"`
	All       bool     `json:"all,omitempty"`
	Count     bool     `json:"count,omitempty"`
	Valid     string   `json:"valid,omitempty"` // RFC 3339; empty: the whole history
	Known     uint64   `json:"known"`           // a log size
	// Other clocks of a Diff of one ref with itself.
	ToValid string `json:"toValid,omitempty"`
	ToKnown uint64 `json:"toKnown,omitempty"`
}

// AsOf is the pair of clocks of an answer.
type AsOf struct {
	Valid nullTime `json:"valid"`
	Known uint64   `json:"known"`
}

// nullTime is RFC 3339, or null in JSON when empty.
type nullTime string

func (t nullTime) MarshalJSON() ([]byte, error) {
	if t == "" {
		return []byte("null"), nil
	}
	return []byte(`"` + string(t) + `"`), nil
}

func (t *nullTime) UnmarshalJSON(b []byte) error {
	*t = nullTime(strings.Trim(string(b), `"`))
	if *t == "null" {
		*t = ""
	}
	return nil
}

// Item is one entity, activity or identity of an answer.
type Item struct {
	Ref    string `json:"ref"`
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Digest string `json:"digest,omitempty"`
	// Aliases are further names of the same content.
	Aliases []string `json:"aliases,omitempty"`
	// Entries are the log indices that speak about it.
	Entries []uint64 `json:"entries"`
	// Distance counts relations from the focus; absent for context.
	Distance *int `json:"distance,omitempty"`
	// Context says that it is no member of the closure, but governs one:
	// an approval, an owner, a notice.
	Context    bool              `json:"context,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Notes      []string          `json:"notes,omitempty"`
	// Reached is when a Reach question reaches it; absent: always.
	Reached []Period `json:"reached,omitempty"`
	// Reach is "unknown" of what a Reach question reaches only by relations in
	// doubt.
	Reach string `json:"reach,omitempty"`
}

// Period is a period of valid time; null: open on that side.
type Period struct {
	From nullTime `json:"from"`
	To   nullTime `json:"to"`
}

// RelationItem is one relation of an answer.
type RelationItem struct {
	Type      string   `json:"type"`
	From      string   `json:"from"`
	To        string   `json:"to"`
	ValidFrom nullTime `json:"validFrom"`
	ValidTo   nullTime `json:"validTo"`
	Entry     uint64   `json:"entry"`
	// KnownFrom is given when a later entry moved the relation to where it
	// stands: a version that became known after its reader.
	KnownFrom uint64 `json:"knownFrom,omitempty"`
	Rule      string `json:"rule,omitempty"`
	Role      string `json:"role,omitempty"`
}

// Unknown is something that the answer cannot say, and why.
type Unknown struct {
	Ref    string `json:"ref,omitempty"`
	Reason string `json:"reason"`
}

// Options narrow a question.
type Options struct {
	Depth     int              // relations from the focus; 0: no limit
	Limit     int              // things in the answer; 0: no limit
	Kinds     []prov.Kind      // of things to give; nil: all
	Relations prov.RelationSet // to walk; 0: the default of the question
	Since     prov.Instant     // Blast of a series: versions written then or later
	All       bool             // Path and Reach: every path, not one of the shortest only
	Action    string           // Reach: what is to be done with the resource; "": anything
	// Stop is asked now and then; once it says true the question ends with
	// ErrStopped. Nil: never.
	Stop func() bool
}

// ErrStopped says that a question was ended before its answer was whole. Part
// of an answer is no answer, so there is none.
var ErrStopped = errors.New("the question was stopped before its answer was whole; ask again, or for less with --depth, --kind or --relation")

// stopped tells at every 1024th step whether the question is to end.
func (o *Options) stopped(step int) bool { return step&1023 == 0 && o.Stop != nil && o.Stop() }

// lineage are the relations that closures walk.
var lineage = prov.Relations(prov.Used, prov.GeneratedBy, prov.GeneratedByStated, prov.DerivedFrom, prov.SameAs,
	prov.HadPlan, prov.AssociatedWith, prov.ActedOnBehalfOf, prov.Deployed, prov.RunsAs, prov.AuthenticatesWith,
	prov.CallsTool, prov.UsesPrompt, prov.GovernedBy, prov.ReadsSecret)

// governance are the relations that a closure's members bring with them as
// context, and that a question about an identity, approval or notice walks.
var governance = prov.Relations(prov.ApprovedBy, prov.RejectedBy, prov.RevokedBy, prov.SubjectOf, prov.OwnedBy)

// context are all relations whose targets are shown beside a closure.
var context = governance | prov.Relations(prov.NamedBy, prov.DeployedTo, prov.InformedBy, prov.Restores, prov.Supersedes)

// agency says who and with what: context of a Blast, members of a Why.
var agency = prov.Relations(prov.AssociatedWith, prov.ActedOnBehalfOf, prov.RunsAs, prov.AuthenticatesWith)

// builder makes an answer out of members and their relations.
type builder struct {
	v       graph.View
	members []graph.ID
	dist    map[graph.ID]int
	ctx     map[graph.ID]bool
	rep     map[graph.ID]graph.ID // of a thing in the answer: the one that stands for it
	names   map[graph.ID]string
	rels    map[relKey]RelationItem
	reached map[string][]Period // by name; of a Reach question
	unsure  map[string]bool     // by name; likewise
	extra   []Item              // that are not in the graph
	virtual func(graph.ID) string
	opt     Options
	steps   int
	halted  bool
	answer  Answer
}

type relKey struct {
	typ      string
	from, to string
	vf, vt   nullTime
}

func newBuilder(v graph.View, q Question, opt Options) *builder {
	asOf := v.AsOf()
	q.Known, q.Valid = asOf.Known, asOf.Valid.String()
	return &builder{v: v, opt: opt, dist: map[graph.ID]int{}, ctx: map[graph.ID]bool{}, rep: map[graph.ID]graph.ID{},
		names: map[graph.ID]string{}, rels: map[relKey]RelationItem{},
		answer: Answer{APIVersion: APIVersion, Question: q, LogSize: asOf.Known,
			AsOf: AsOf{nullTime(asOf.Valid.String()), asOf.Known}, Focus: []string{}, Entities: []Item{}, Activities: []Item{},
			Identities: []Item{}, Relations: []RelationItem{}, Unknown: []Unknown{}}}
}

func (b *builder) member(id graph.ID, dist int) {
	if _, ok := b.dist[id]; !ok {
		b.dist[id] = dist
		b.members = append(b.members, id)
		delete(b.ctx, id)
	}
}

func (b *builder) contextOf(id graph.ID) bool {
	if _, ok := b.dist[id]; ok || b.ctx[id] {
		return false
	}
	b.ctx[id] = true
	return true
}

func (b *builder) has(id graph.ID) bool {
	_, ok := b.dist[id]
	return ok || b.ctx[id]
}

func (b *builder) relationItem(r graph.Relation) RelationItem {
	it := RelationItem{Type: r.Type.String(), From: b.name(r.From), To: b.name(r.To),
		ValidFrom: nullTime(r.Valid.From.String()), ValidTo: nullTime(r.Valid.To.String()),
		Entry: r.Entry, Rule: r.Rule, Role: r.Role}
	if r.Since != r.Entry {
		it.KnownFrom = r.Since
	}
	return it
}

func (b *builder) relation(r graph.Relation) { b.related(b.relationItem(r)) }

func (b *builder) related(it RelationItem) {
	if it.From == it.To {
		return // a name and its content, shown as one
	}
	key := relKey{it.Type, it.From, it.To, it.ValidFrom, it.ValidTo}
	if old, ok := b.rels[key]; ok {
		if old.Entry < it.Entry || old.Entry == it.Entry && (old.Role < it.Role || old.Role == it.Role && old.Rule <= it.Rule) {
			return
		}
	}
	b.rels[key] = it
}

// halt tells whether the question is to end. Loops over things ask it; end
// then gives no answer.
func (b *builder) halt() bool {
	b.steps++
	b.halted = b.halted || b.opt.stopped(b.steps)
	return b.halted
}

// end gives the answer, if the question was not stopped.
func (b *builder) end() (*Answer, error) {
	if a := b.finish(); !b.halted {
		return a, nil
	}
	return nil, ErrStopped
}

// finish sorts and fills in the answer.
func (b *builder) finish() *Answer {
	items := map[string]*Item{}
	var order []string
	take := func(id graph.ID, dist *int) {
		if b.halt() {
			return
		}
		name := b.name(id)
		it := items[name]
		if it == nil {
			it = b.item(id)
			items[name] = it
			order = append(order, name)
		}
		if dist != nil && (it.Distance == nil || *dist < *it.Distance) {
			it.Distance = dist
		}
	}
	for _, id := range b.members {
		d := b.dist[id]
		take(id, &d)
	}
	for id := range b.ctx {
		take(id, nil)
	}
	for i := range b.extra {
		items[b.extra[i].Ref] = &b.extra[i]
		order = append(order, b.extra[i].Ref)
	}
	sort.Strings(order)
	for _, name := range order {
		it := items[name]
		it.Context, it.Reached = it.Distance == nil, b.reached[name]
		if b.unsure[name] {
			it.Reach = "unknown"
		}
		switch prov.Kind(it.Kind).Class() {
		case prov.ClassActivity:
			b.answer.Activities = append(b.answer.Activities, *it)
		case prov.ClassIdentity:
			b.answer.Identities = append(b.answer.Identities, *it)
		default:
			b.answer.Entities = append(b.answer.Entities, *it)
		}
	}
	b.answer.Relations = append(b.answer.Relations, b.sortedRelations()...)
	cited := b.cited(items)
	b.unverified(cited)
	b.erased(cited)
	b.withheld(cited)
	sort.Strings(b.answer.Focus)
	b.answer.Focus = uniq(b.answer.Focus)
	sortUnknown(b.answer.Unknown)
	if b.answer.Question.Verb == "reach" { // several hops may have one doubt
		b.answer.Unknown = slices.Compact(b.answer.Unknown)
	}
	return &b.answer
}

// cited gives the entries that the answer rests on, ascending.
func (b *builder) cited(items map[string]*Item) []uint64 {
	var entries []uint64
	for _, it := range items {
		entries = append(entries, it.Entries...)
	}
	for _, r := range b.answer.Relations {
		entries = append(entries, r.Entry)
	}
	for _, c := range b.answer.History {
		entries = append(entries, c.Entry)
	}
	slices.Sort(entries)
	return slices.Compact(entries)
}

// unverified tells of each entry in the answer that was made from evidence whose
// signature did not hold.
func (b *builder) unverified(entries []uint64) {
	for _, e := range entries {
		if why, ok := b.v.Doubt(e); ok {
			b.answer.Unknown = append(b.answer.Unknown, Unknown{Reason: fmt.Sprintf(
				"whether entry %d is true: the signature of its evidence does not hold (%s)", e, why)})
		}
	}
}

// sortedRelations gives the relations so far in the order of an answer.
func (b *builder) sortedRelations() []RelationItem {
	out := slices.Collect(maps.Values(b.rels))
	sort.Slice(out, func(i, j int) bool {
		x, y := out[i], out[j]
		for _, c := range []int{strings.Compare(x.From, y.From), strings.Compare(x.Type, y.Type), strings.Compare(x.To, y.To),
			strings.Compare(string(x.ValidFrom), string(y.ValidFrom)), strings.Compare(string(x.ValidTo), string(y.ValidTo))} {
			if c != 0 {
				return c < 0
			}
		}
		return x.Entry < y.Entry
	})
	return out
}

func sortUnknown(us []Unknown) {
	sort.Slice(us, func(i, j int) bool {
		return us[i].Ref < us[j].Ref || us[i].Ref == us[j].Ref && us[i].Reason < us[j].Reason
	})
}

func uniq(s []string) []string {
	out := s[:0]
	for i, x := range s {
		if i == 0 || x != s[i-1] {
			out = append(out, x)
		}
	}
	return out
}

func (b *builder) item(id graph.ID) *Item {
	id = b.represent(id)
	ref := b.v.Ref(id)
	it := &Item{Entries: b.v.Entries(id), Attributes: b.v.Attributes(id)}
	if b.v.IsDigest(id) {
		it.Digest = ref.String()
		if ls := b.labels(id); len(ls) > 0 {
			ref = best(b.v, ls)
			for _, l := range ls {
				if r := b.v.Ref(l); r != ref {
					it.Aliases = append(it.Aliases, r.String())
				}
				it.Entries = append(it.Entries, b.v.Entries(l)...)
				for k, val := range b.v.Attributes(l) {
					if _, ok := it.Attributes[k]; !ok {
						it.Attributes[k] = val
					}
				}
			}
			sort.Slice(it.Entries, func(i, j int) bool { return it.Entries[i] < it.Entries[j] })
			it.Entries = uniqInts(it.Entries)
		}
	}
	it.Ref, it.Kind, it.Name = ref.String(), string(ref.Kind), nameOf(ref)
	if t, ok := b.v.Times(id); ok {
		for k, at := range map[string]prov.Instant{"startedAt": t.Start, "endedAt": t.End} {
			if s := at.String(); s != "" {
				it.Attributes[k] = s
			}
		}
		if t.Start == prov.Beginning && t.End == prov.Beginning && t.First.String() != "" {
			it.Attributes["observedAt"] = t.First.String()
		}
		if t.State != "" {
			it.Attributes["state"] = t.State
		}
	}
	if by := it.Attributes["erased"]; by != "" {
		it.Notes = append(it.Notes, "its bytes were erased from the evidence "+by)
	}
	for _, e := range it.Entries {
		if by, ok := b.v.RetractedBy(e); ok {
			it.Notes = append(it.Notes, fmt.Sprintf("entry %d was retracted by entry %d", e, by))
		}
		if by, ok := b.v.Erased(e); ok { // b.erased says why
			it.Notes = append(it.Notes, fmt.Sprintf("entry %d: its content was erased by entry %d", e, by))
		}
	}
	return it
}

func nameOf(r prov.Ref) string {
	if r.Namespace != "" {
		return r.Namespace + "/" + r.Name
	}
	return r.Name
}

func uniqInts(s []uint64) []uint64 {
	out := s[:0]
	for i, x := range s {
		if i == 0 || x != s[i-1] {
			out = append(out, x)
		}
	}
	return out
}
