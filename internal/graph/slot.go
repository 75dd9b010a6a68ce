package graph

import (
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/stemma-lineage/stemma/prov"
)

// slot is a place that one thing fills at a time: an environment's service,
// a registry's alias, an owner, a source's inventory. What fills it holds
// until the next one does. Items are in order of time.
type slot struct {
	key   string
	items []slotItem
	// group is the slot of the snapshots that list what fills this one; 0:
	// none does. An item ends where a snapshot does not list it.
	group uint32
}

type slotItem struct {
	at    prov.Instant
	id    ID
	entry uint32
	rels  []uint32       // its open relations
	ends  []prov.Instant // their own ends; nil: none has one
}

// slotRel in rel.assert says that a slot dates the relation.
const slotRel = ^uint32(0)

// fillSlot puts an item into its slot at log position k, and dates it and the
// item before it.
func (g *Graph) fillSlot(key string, it slotItem, k uint32) { g.fill(g.slotOf(key), it, k) }

func (g *Graph) slotOf(key string) uint32 {
	p, ok := g.slotKeys[key]
	if !ok {
		p = uint32(len(g.slots))
		g.slots = append(g.slots, slot{key: key})
		g.slotKeys[key] = p
	}
	return p
}

// memberOf makes a slot one that the snapshots in another slot list.
func (g *Graph) memberOf(p, group uint32) {
	if g.slots[p].group == 0 {
		g.slots[p].group = group
		g.members[group] = append(g.members[group], p)
	}
}

func (g *Graph) fill(p uint32, it slotItem, k uint32) {
	for _, r := range it.rels {
		g.rels.at(r).assert = slotRel
	}
	g.fills = append(g.fills, fill{it.entry, p})
	s := &g.slots[p]
	i := sort.Search(len(s.items), func(i int) bool { return g.itemLess(it, s.items[i]) })
	s.items = slices.Insert(s.items, i, it)
	g.dateItem(s, i, k)
	if i > 0 {
		g.dateItem(s, i-1, k)
	}
	g.dateMembers(p, it.at, k)
}

// dateMembers dates what a snapshot of that time in slot p may end.
func (g *Graph) dateMembers(p uint32, at prov.Instant, k uint32) {
	for _, m := range g.members[p] {
		s := &g.slots[m]
		for i := sort.Search(len(s.items), func(i int) bool { return s.items[i].at > at }) - 1; i >= 0; i-- {
			g.dateItem(s, i, k)
			if s.items[i].at < at {
				break
			}
		}
	}
}

// missing gives when the first snapshot after an item does not list it. A
// snapshot of the same moment counts.
func (g *Graph) missing(s *slot, it *slotItem) prov.Instant {
	if s.group == 0 {
		return prov.Forever
	}
	snaps := g.slots[s.group].items
	for i := sort.Search(len(snaps), func(i int) bool { return snaps[i].at >= it.at }); i < len(snaps); i++ {
		if snaps[i].at > it.at || !s.filledBy(snaps[i].entry, it.at) {
			return snaps[i].at
		}
	}
	return prov.Forever
}

// filledBy tells whether an entry put an item of that time into the slot.
func (s *slot) filledBy(entry uint32, at prov.Instant) bool {
	for i := sort.Search(len(s.items), func(i int) bool { return s.items[i].at >= at }); i < len(s.items) && s.items[i].at == at; i++ {
		if s.items[i].entry == entry {
			return true
		}
	}
	return false
}

func (g *Graph) itemLess(a, b slotItem) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	if c := strings.Compare(g.text(g.things.at(a.id).key), g.text(g.things.at(b.id).key)); c != 0 {
		return c < 0
	}
	// What ends something at the moment at which it began has the last word,
	// in whatever order the two were recorded.
	if gone := len(b.rels) == 0; gone != (len(a.rels) == 0) {
		return gone
	}
	return a.entry < b.entry
}

// dateItem makes the relations of an item end where the next one begins, or
// at their own end if that is earlier.
func (g *Graph) dateItem(s *slot, i int, k uint32) {
	next := prov.Forever
	if i+1 < len(s.items) {
		next = s.items[i+1].at
	}
	it := &s.items[i]
	if len(it.rels) > 0 {
		next = min(next, g.missing(s, it))
	}
	for j, p := range it.rels {
		end := next
		if it.ends != nil {
			end = min(end, it.ends[j])
		}
		r := *g.rels.at(p)
		if r.vt == end {
			continue
		}
		g.closeRel(p, k)
		r.vt, r.kf, r.kt = end, k, openKnown
		it.rels[j] = g.newRel(r)
	}
}

// fill says that an entry put an item into a slot. Fills are in the order of
// their entries.
type fill struct{ entry, slot uint32 }

// emptySlots takes out what entry e put into slots.
func (g *Graph) emptySlots(e, k uint32) {
	i := sort.Search(len(g.fills), func(i int) bool { return g.fills[i].entry >= e })
	for ; i < len(g.fills) && g.fills[i].entry == e; i++ {
		g.emptySlot(g.fills[i].slot, e, k)
	}
}

func (g *Graph) emptySlot(p, e, k uint32) {
	s := &g.slots[p]
	for i := 0; i < len(s.items); {
		if s.items[i].entry != e {
			i++
			continue
		}
		for _, r := range s.items[i].rels {
			g.closeRel(r, k)
		}
		at := s.items[i].at
		s.items = slices.Delete(s.items, i, i+1)
		g.dateMembers(p, at, k)
		if i > 0 {
			g.dateItem(s, i-1, k)
		}
	}
}

// retract closes at log position k all that entry e said.
func (g *Graph) retract(entry uint64, k uint32) {
	if entry >= uint64(k) {
		g.problem(k, "retracts an entry that is not before it in the log")
		return
	}
	e := uint32(entry)
	from, to := *g.marks.at(e), *g.marks.at(e + 1)
	b := &g.binding
	for p := from.attrs; p < to.attrs; p++ {
		put(&g.attrs.at(p).kt, min(g.attrs.at(p).kt, k))
		g.touch(g.attrs.at(p).thing, Facets{Out: markAttrs})
	}
	for p := from.rels; p < to.rels; p++ {
		if g.rels.at(p).entry == e && g.rels.at(p).assert == 0 {
			g.closeRel(p, k)
		}
	}
	g.emptySlots(e, k)
	for p := from.asserts; p < to.asserts; p++ {
		if b.asserts.at(p).kt == openKnown {
			g.dropAssert(p, k)
		}
	}
	for p := from.writes; p < to.writes; p++ {
		if b.writes.at(p).kt == openKnown {
			put(&b.writes.at(p).kt, k)
			g.moveVersion(b.writes.at(p).version, k)
		}
	}
	for p := from.claims; p < to.claims; p++ {
		if b.claims.at(p).kt == openKnown {
			put(&b.claims.at(p).kt, k)
			g.refreshAct(b.claims.at(p).act, k)
		}
	}
	split := map[uint32]bool{}
	for p := from.joins; p < to.joins; p++ {
		if b.joins[p].kt == openKnown {
			b.joins[p].kt = k
			split[g.groupOf(b.joins[p].a)] = true
		}
	}
	for _, gr := range slices.Sorted(maps.Keys(split)) {
		g.splitGroup(gr, k)
	}
	g.retracted.add(retraction{e, k})
	if to.rels == from.rels && to.attrs == from.attrs && to.asserts == from.asserts {
		g.problem(k, "retracts an entry that said nothing here; a retraction cannot itself be retracted, record the statement again")
	}
}

func sortedKeys(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
