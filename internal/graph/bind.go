package graph

import (
	"sort"
	"strings"

	"github.com/stemma-lineage/stemma/prov"
)

// binding is the part of the fold's state that dates activities and ties
// unversioned reads to versions. All of it is derived from assertions, claims,
// writes and joins, each of which belongs to one entry.
type binding struct {
	acts    vec[uint32, act]
	claims  vec[uint32, claim]
	asserts vec[uint32, assert]
	writes  vec[uint32, write]
	joins   []join
	groups  []group
}

func (b *binding) init() {
	b.acts.add(act{})
	b.claims.add(claim{})
	b.asserts.add(assert{})
	b.writes.add(write{})
	b.joins, b.groups = make([]join, 1), make([]group, 1)
}

// act is the dated state of one activity, out of all claims that stand.
type act struct {
	id          ID
	claim       uint32 // head of the claims about it
	assert      uint32 // head of the assertions dated by it
	write       uint32 // head of the writes dated by it
	read, wrote prov.Instant
	failed      bool
	dated       bool // some claim gives a time
	_           [6]byte
}

// claim is what one entry says of an activity's times and state.
type claim struct {
	act        uint32
	next       uint32
	start, end prov.Instant
	seen       prov.Instant
	recorded   prov.Instant
	entry, kt  uint32
	state      uint8
	_          [7]byte
}

const (
	stateNone = iota
	stateStarted
	stateRunning
	stateCompleted
	stateFailed
	stateAborted
	stateOther
)

var stateNames = []string{"", "started", "running", "completed", "failed", "aborted", "other"}

// Which clock dates an assertion.
const (
	clockFixed = iota // at
	clockRead         // at if given, else the activity's reading time
	clockWrite        // the activity's writing time
)

// assert is a relation whose time or target is not fixed: it follows its
// activity's clock, or binds to the version of a series that was current.
type assert struct {
	from      ID
	to        ID     // the target; of a bound one its series
	act       uint32 // 0: none
	nextOfAct uint32
	cur       uint32 // its open relation
	column    ID     // bound reads of a column: the column's series
	at        prov.Instant
	when      prov.Instant // the time it stands at now
	entry, kt uint32
	role      uint32
	typ       prov.RelationType
	rule      uint8
	clock     uint8
	bound     bool
}

// write makes a version current in its series from the activity's writing
// time, or from at when no activity is known.
type write struct {
	version   ID
	act       uint32
	nextOfAct uint32
	nextOfVer uint32
	at        prov.Instant
	// placed is, in the newest write of a version, the time at which the
	// version stands in its group; see thing.placed.
	placed    prov.Instant
	entry, kt uint32
}

// join says that two series are the same.
type join struct {
	a, b      ID
	entry, kt uint32
}

// group is a set of series that are the same, with its versions and the reads
// that bind to them, both in order of time.
type group struct {
	members  []ID
	versions []version
	reads    []uint32 // assertions, by (when, position)
}

type version struct {
	at  prov.Instant
	id  ID
	act uint32
}

// eligible tells whether a read of activity a at t may see the version: one
// does not read what one writes at the same moment.
func (v version) eligible(t prov.Instant, a uint32) bool {
	return v.at < t || v.at == t && (a == 0 || v.act != a)
}

func (g *Graph) actOf(id ID) uint32 {
	if a := g.things.at(id).act; a != 0 {
		return a
	}
	a := g.binding.acts.add(act{id: id})
	put(&g.things.at(id).act, a)
	return a
}

func (g *Graph) groupOf(series ID) uint32 {
	if p := g.things.at(series).group; p != 0 {
		return p
	}
	p := uint32(len(g.binding.groups))
	g.binding.groups = append(g.binding.groups, group{members: []ID{series}})
	g.things.at(series).group = p
	return p
}

// Times are an activity's dates out of all that is claimed.
type Times struct {
	Start, End  prov.Instant // Beginning when not stated
	First, Last prov.Instant // first and last time it was seen alive
	State       string
}

// fold adds up claims: the earliest start, the latest end; that it completed
// outweighs that it failed.
func foldClaims(yield func(func(c *claim))) (t Times, read, wrote prov.Instant, failed, dated bool) {
	t.Start, t.End, t.First, t.Last = prov.Forever, prov.Beginning, prov.Forever, prov.Beginning
	recorded := prov.Forever
	var states uint8
	yield(func(c *claim) {
		if c.start != prov.Beginning {
			t.Start = min(t.Start, c.start)
		}
		t.End = max(t.End, c.end)
		if c.seen != prov.Beginning {
			t.First, t.Last = min(t.First, c.seen), max(t.Last, c.seen)
		}
		recorded = min(recorded, c.recorded)
		states |= 1 << c.state
	})
	for _, s := range []uint8{stateCompleted, stateFailed, stateAborted, stateRunning, stateStarted, stateOther} {
		if states>>s&1 != 0 {
			t.State = stateNames[s]
			break
		}
	}
	failed = t.State == "failed" || t.State == "aborted"
	pick := func(xs ...prov.Instant) prov.Instant {
		for _, x := range xs {
			if x != prov.Beginning && x != prov.Forever {
				return x
			}
		}
		return recorded
	}
	read, wrote = pick(t.Start, t.First, t.End), pick(t.End, t.Last, t.Start)
	dated = t.Start != prov.Forever || t.End != prov.Beginning || t.First != prov.Forever
	if t.Start == prov.Forever {
		t.Start = prov.Beginning
	}
	if t.First == prov.Forever {
		t.First = prov.Beginning
	}
	return t, read, wrote, failed, dated
}

// refreshAct recomputes an activity's clock at log position k and moves all
// that follows it.
func (g *Graph) refreshAct(a uint32, k uint32) {
	b := &g.binding
	g.touch(b.acts.at(a).id, Facets{Out: markTimes})
	_, read, wrote, failed, dated := foldClaims(func(add func(*claim)) {
		for p := b.acts.at(a).claim; p != 0; p = b.claims.at(p).next {
			if b.claims.at(p).kt == openKnown {
				add(b.claims.at(p))
			}
		}
	})
	old := *b.acts.at(a)
	b.acts.at(a).read, b.acts.at(a).wrote, b.acts.at(a).failed, b.acts.at(a).dated = read, wrote, failed, dated
	if old.wrote != wrote || old.failed != failed {
		for p := b.acts.at(a).write; p != 0; p = b.writes.at(p).nextOfAct {
			if b.writes.at(p).kt == openKnown {
				g.moveVersion(b.writes.at(p).version, k)
			}
		}
	}
	if old.read != read || old.wrote != wrote {
		for p := b.acts.at(a).assert; p != 0; p = b.asserts.at(p).nextOfAct {
			if b.asserts.at(p).kt == openKnown {
				g.moveAssert(p, k)
			}
		}
	}
}

func (g *Graph) whenOf(s *assert) prov.Instant {
	switch s.clock {
	case clockRead:
		if s.at != prov.Beginning {
			return s.at
		}
		return g.binding.acts.at(s.act).read
	case clockWrite:
		return g.binding.acts.at(s.act).wrote
	}
	return s.at
}

// addAssert takes an assertion in at log position k.
func (g *Graph) addAssert(s assert, k uint32) {
	b := &g.binding
	s.entry, s.kt = k, openKnown
	p := b.asserts.end()
	if s.act != 0 {
		s.nextOfAct = b.acts.at(s.act).assert
		b.acts.at(s.act).assert = p
	}
	s.when = g.whenOf(&s)
	b.asserts.add(s)
	if s.bound {
		g.insertRead(g.groupOf(s.to), p)
	}
	g.settle(p, k)
}

func (g *Graph) moveAssert(p, k uint32) {
	s := g.binding.asserts.at(p)
	when := g.whenOf(s)
	if when == s.when {
		return
	}
	if s.bound {
		gr := g.groupOf(s.to)
		g.removeRead(gr, p)
		s.when = when
		g.insertRead(gr, p)
	} else {
		s.when = when
	}
	g.settle(p, k)
}

func (g *Graph) dropAssert(p, k uint32) {
	s := g.binding.asserts.at(p)
	s.kt = k
	g.closeRel(s.cur, k)
	s.cur = 0
	if s.bound {
		g.removeRead(g.groupOf(s.to), p)
	}
}

// closeRel ends what was known at log position k. A relation that was opened
// by the same entry was never known.
func (g *Graph) closeRel(p, k uint32) {
	if p != 0 && g.rels.at(p).kt == openKnown {
		put(&g.rels.at(p).kt, k)
		g.touchRel(g.rels.at(p))
		g.except(p)
	}
}

// settle brings the open relation of an assertion to what holds now.
func (g *Graph) settle(p, k uint32) {
	s := g.binding.asserts.at(p)
	to := s.to
	if s.bound {
		to = g.currentFor(g.things.at(s.to).group, s.to, s.when, s.act)
		if s.column != None {
			to = g.columnAt(s.column, to, k)
			s = g.binding.asserts.at(p)
		}
	}
	if s.cur != 0 {
		c := g.rels.at(s.cur)
		if c.to == to && c.vf == s.when {
			return
		}
		g.closeRel(s.cur, k)
	}
	cur := g.newRel(rel{from: s.from, to: to, vf: s.when, vt: prov.Forever, entry: s.entry, kf: k, kt: openKnown,
		role: s.role, assert: p, typ: s.typ, rule: s.rule})
	g.binding.asserts.at(p).cur = cur
}

// currentFor gives the version that a read at t sees, or the series itself
// when none was written before.
func (g *Graph) currentFor(gr uint32, series ID, t prov.Instant, a uint32) ID {
	if gr == 0 {
		return series
	}
	vs := g.binding.groups[gr].versions
	i := sort.Search(len(vs), func(i int) bool { return vs[i].at > t })
	for i--; i >= 0; i-- {
		if vs[i].eligible(t, a) {
			return vs[i].id
		}
	}
	return series
}

// columnAt gives the column of a bound dataset version.
func (g *Graph) columnAt(column, dataset ID, k uint32) ID {
	cr, err1 := prov.ParseKey(g.text(g.things.at(column).key))
	dr, err2 := prov.ParseKey(g.text(g.things.at(dataset).key))
	if err1 != nil || err2 != nil || dr.Version == "" || dr.Kind != prov.Dataset { // it may be said to be the same as a model
		return column
	}
	_, field, ok := cr.SplitColumn()
	if !ok {
		return column
	}
	return g.intern(prov.ColumnOf(dr, field), k)
}

func (g *Graph) insertRead(gr, p uint32) {
	rs := g.binding.groups[gr].reads
	i := g.readPos(rs, g.binding.asserts.at(p).when, p)
	rs = append(rs, 0)
	copy(rs[i+1:], rs[i:])
	rs[i] = p
	g.binding.groups[gr].reads = rs
}

func (g *Graph) removeRead(gr, p uint32) {
	rs := g.binding.groups[gr].reads
	i := g.readPos(rs, g.binding.asserts.at(p).when, p)
	if i < len(rs) && rs[i] == p {
		g.binding.groups[gr].reads = append(rs[:i], rs[i+1:]...)
	}
}

func (g *Graph) readPos(rs []uint32, when prov.Instant, p uint32) int {
	return sort.Search(len(rs), func(i int) bool {
		w := g.binding.asserts.at(rs[i]).when
		return w > when || w == when && rs[i] >= p
	})
}

// addWrite makes version current in its series.
func (g *Graph) addWrite(w write, k uint32) {
	b := &g.binding
	w.entry, w.kt = k, openKnown
	p := b.writes.end()
	if w.act != 0 {
		w.nextOfAct = b.acts.at(w.act).write
		b.acts.at(w.act).write = p
	}
	if w.nextOfVer = g.things.at(w.version).writes; w.nextOfVer != 0 {
		w.placed = b.writes.at(w.nextOfVer).placed
	}
	b.writes.add(w)
	put(&g.things.at(w.version).writes, p)
	g.moveVersion(w.version, k)
}

// versionTime gives when a version became current: when an activity wrote
// it, else when it was registered. ok is false while no write stands.
func (g *Graph) versionTime(v ID) (ver version, ok bool) {
	b := &g.binding
	reg, regOK := prov.Forever, false
	ver = version{at: prov.Forever, id: v}
	for p := g.things.at(v).writes; p != 0; p = b.writes.at(p).nextOfVer {
		w := b.writes.at(p)
		switch {
		case w.kt != openKnown:
		case w.act == 0:
			reg, regOK = min(reg, w.at), true
		case b.acts.at(w.act).failed:
		case b.acts.at(w.act).wrote < ver.at || b.acts.at(w.act).wrote == ver.at && !ok:
			ver.at, ver.act, ok = b.acts.at(w.act).wrote, w.act, true
		case b.acts.at(w.act).wrote == ver.at && w.act != ver.act:
			ver.act = 0 // for each writer there is another
		}
	}
	if !ok && regOK {
		ver.at, ok = reg, true
	}
	return ver, ok
}

// moveVersion brings a version to its place in the group and binds the reads
// anew that this can concern.
func (g *Graph) moveVersion(v ID, k uint32) {
	series := g.things.at(v).series
	if series == None {
		return
	}
	g.touch(v, Facets{Out: markTimes})
	g.touch(series, Facets{Out: markTimes})
	gr := g.groupOf(series)
	g.placeVersion(gr, v, func(lo, hi prov.Instant) { g.rebind(gr, lo, hi, k) })
}

func (g *Graph) placeVersion(gr uint32, v ID, changed func(lo, hi prov.Instant)) {
	now, ok := g.versionTime(v)
	vs := g.binding.groups[gr].versions
	lo := prov.Forever
	t := g.things.at(v)
	if t.placed {
		i := g.findVersion(vs, v)
		if ok && vs[i] == now {
			return
		}
		lo = vs[i].at
		vs = append(vs[:i], vs[i+1:]...)
		t.placed = false
	} else if !ok {
		return
	}
	hi := lo
	if ok {
		i := sort.Search(len(vs), func(i int) bool { return g.versionLess(now, vs[i]) })
		vs = append(vs, version{})
		copy(vs[i+1:], vs[i:])
		vs[i] = now
		g.binding.writes.at(t.writes).placed = now.at
		t.placed = true
		if lo == prov.Forever {
			hi = now.at
		}
		lo, hi = min(lo, now.at), max(hi, now.at)
	}
	g.binding.groups[gr].versions = vs
	// Reads up to and with the next version's time may change: with, because
	// its own activity reads past it.
	i := sort.Search(len(vs), func(i int) bool { return vs[i].at > hi })
	if i < len(vs) {
		hi = vs[i].at
	} else {
		hi = prov.Forever
	}
	changed(lo, hi)
}

func (g *Graph) versionLess(a, b version) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	return strings.Compare(g.text(g.things.at(a.id).key), g.text(g.things.at(b.id).key)) < 0
}

// findVersion finds a version that is placed.
func (g *Graph) findVersion(vs []version, v ID) int {
	at := version{at: g.binding.writes.at(g.things.at(v).writes).placed, id: v}
	i := sort.Search(len(vs), func(i int) bool { return !g.versionLess(vs[i], at) })
	if i == len(vs) || vs[i].id != v {
		panic("graph: a version does not stand where it was placed")
	}
	return i
}

func (g *Graph) rebind(gr uint32, lo, hi prov.Instant, k uint32) {
	rs := g.binding.groups[gr].reads
	i := g.readPos(rs, lo, 0)
	for ; i < len(rs) && g.binding.asserts.at(rs[i]).when <= hi; i++ {
		g.settle(rs[i], k)
	}
}

// addJoin makes two series one group.
func (g *Graph) addJoin(a, b ID, k uint32) {
	g.binding.joins = append(g.binding.joins, join{a, b, k, openKnown})
	ga, gb := g.groupOf(a), g.groupOf(b)
	if ga == gb {
		return
	}
	if len(g.binding.groups[ga].reads) < len(g.binding.groups[gb].reads) {
		ga, gb = gb, ga
	}
	g.mergeGroups(ga, gb)
	g.sortGroup(ga)
	g.rebind(ga, prov.Beginning, prov.Forever, k)
}

// mergeGroups moves all of group from into group to, unsorted.
func (g *Graph) mergeGroups(to, from uint32) {
	src := g.binding.groups[from]
	g.binding.groups[from] = group{}
	dst := &g.binding.groups[to]
	dst.members = append(dst.members, src.members...)
	dst.versions = append(dst.versions, src.versions...)
	dst.reads = append(dst.reads, src.reads...)
	for _, m := range src.members {
		g.things.at(m).group = to
	}
}

func (g *Graph) sortGroup(gr uint32) {
	p := &g.binding.groups[gr]
	sort.Slice(p.versions, func(i, j int) bool { return g.versionLess(p.versions[i], p.versions[j]) })
	sort.Slice(p.reads, func(i, j int) bool {
		a, b := g.binding.asserts.at(p.reads[i]), g.binding.asserts.at(p.reads[j])
		return a.when < b.when || a.when == b.when && p.reads[i] < p.reads[j]
	})
}

// splitGroup takes a group apart after a join in it was retracted, and joins
// again what still stands.
func (g *Graph) splitGroup(gr, k uint32) {
	old := g.binding.groups[gr]
	g.binding.groups[gr] = group{}
	in := map[ID]bool{}
	for _, m := range old.members {
		g.things.at(m).group = 0
		in[m] = true
	}
	for _, v := range old.versions {
		p := g.groupOf(g.things.at(v.id).series)
		g.binding.groups[p].versions = append(g.binding.groups[p].versions, v)
	}
	for _, r := range old.reads {
		p := g.groupOf(g.binding.asserts.at(r).to)
		g.binding.groups[p].reads = append(g.binding.groups[p].reads, r)
	}
	joins := g.binding.joins
	for i := 1; i < len(joins); i++ {
		if joins[i].kt != openKnown || !in[joins[i].a] {
			continue
		}
		ga, gb := g.groupOf(joins[i].a), g.groupOf(joins[i].b)
		if ga == gb {
			continue
		}
		g.mergeGroups(ga, gb)
	}
	done := map[uint32]bool{}
	for _, m := range old.members {
		p := g.groupOf(m)
		if !done[p] {
			done[p] = true
			g.sortGroup(p)
			g.rebind(p, prov.Beginning, prov.Forever, k)
		}
	}
}
