package query

import (
	"maps"
	"slices"

	"github.com/stemma-lineage/stemma/internal/graph"
)

// Line is one line of an answer that is given piece by piece: a header first,
// then items, and the end last. An answer without its end was cut off.
type Line struct {
	Header *Header `json:"header,omitempty"`
	Item   *Item   `json:"item,omitempty"`
	// Relations are those from the item to others of the answer, and Unknown
	// is what the answer cannot say about the item.
	Relations []RelationItem `json:"relations,omitempty"`
	Unknown   []Unknown      `json:"unknown,omitempty"`
	End       *End           `json:"end,omitempty"`
}

// Header is what an answer begins with.
type Header struct {
	APIVersion string   `json:"apiVersion"`
	Question   Question `json:"question"`
	LogSize    uint64   `json:"logSize"`
	Root       string   `json:"root"` // hexadecimal; set by whoever holds the log
	AsOf       AsOf     `json:"asOf"`
	Focus      []string `json:"focus"`
}

// End is what an answer ends with.
type End struct {
	Things    int       `json:"things"`
	Context   int       `json:"context"`
	Relations int       `json:"relations"`
	Truncated bool      `json:"truncated"`
	Hidden    int       `json:"hidden"`
	Unknown   []Unknown `json:"unknown"` // about the answer as a whole
}

// Lines answers a Why or Blast question piece by piece, so that the items of a
// very large answer are never held all at once: members in the order of their
// distance, then context. All lines together say what Why or Blast says. It
// ends with the error of emit, if there is one.
func Lines(v graph.View, verb, text string, opt Options, emit func(*Line) error) error {
	l, err := askLineage(v, verb, text, opt)
	if err != nil {
		return err
	}
	defer l.w.free()
	b := l.b
	for id, d := range b.chosen(l.w) {
		b.member(id, d)
	}
	b.surroundings(l.dir)
	if b.halted {
		return ErrStopped
	}
	focus := uniq(sorted(slices.Clone(b.answer.Focus)))
	a := &b.answer
	if err := emit(&Line{Header: &Header{a.APIVersion, a.Question, a.LogSize, "", a.AsOf, focus}}); err != nil {
		return err
	}
	p := &pieces{l: l, emit: emit, done: newBits(v.Len()), end: End{Truncated: a.Truncated, Hidden: a.Hidden, Unknown: append([]Unknown{}, a.Unknown...)}}
	for _, id := range slices.Concat(b.members, slices.Sorted(maps.Keys(b.ctx))) {
		if b.halt() {
			return ErrStopped
		}
		if err := p.piece(id); err != nil {
			return err
		}
	}
	p.end.Unknown = append(p.end.Unknown, b.doubtAll(p.unnamed)...)
	b.answer.Unknown = nil
	slices.Sort(p.cited)
	p.cited = slices.Compact(p.cited)
	b.erased(p.cited)
	b.withheld(p.cited)
	sortUnknown(b.answer.Unknown)
	p.end.Unknown = append(p.end.Unknown, b.answer.Unknown...)
	return emit(&Line{End: &p.end})
}

type pieces struct {
	l       *lineageQuestion
	emit    func(*Line) error
	done    bits
	unnamed int
	cited   []uint64 // entries that were erased, or withhold something, and on which a line rests
	end     End
}

// piece gives the line of a thing, with all that is shown as one with it.
func (p *pieces) piece(id graph.ID) error {
	b := p.l.b
	one := b.represent(id)
	if p.done.has(one) {
		return nil
	}
	p.done.add(one)
	if len(b.names) > 1<<12 {
		clear(b.names)
	}
	clear(b.rels)
	b.answer.Unknown = nil
	it := b.item(one)
	it.Context = true
	for _, x := range append(b.labels(one), one) {
		if !b.has(x) {
			continue
		}
		if d, ok := b.dist[x]; ok && (it.Distance == nil || d < *it.Distance) {
			it.Context, it.Distance = false, &d
		}
		b.relationsOf(x, p.l.mask|context|agency)
		if _, member := b.dist[x]; member && b.doubt(x, p.l.dir) {
			p.unnamed++
		}
		b.noteOnApprovals(x)
	}
	if it.Context {
		p.end.Context++
	} else {
		p.end.Things++
	}
	line := &Line{Item: it, Relations: b.sortedRelations(), Unknown: b.answer.Unknown}
	sortUnknown(line.Unknown)
	p.end.Relations += len(line.Relations)
	for _, e := range it.Entries {
		p.cite(e)
	}
	for _, r := range line.Relations {
		p.cite(r.Entry)
	}
	return p.emit(line)
}

func (p *pieces) cite(entry uint64) {
	if _, ok := p.l.b.v.Erased(entry); ok || p.l.b.v.Withheld(entry) > 0 {
		p.cited = append(p.cited, entry)
	}
}
