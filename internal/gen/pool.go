package gen

import "math/rand/v2"

// made is one version that a later activity may read.
type made struct {
	series  uint32
	version uint16
	depth   uint8 // of the longest path up, in relations
}

// pool is what there is to read of one sort, in order of appearance, and who
// was read how often.
type pool struct {
	items []made
	// uses holds the position of an item once for each time it was read: to
	// draw from it evenly is to draw by past use (Simon 1955).
	uses  []uint32
	reuse float64
}

func (p *pool) add(m made) { p.items = append(p.items, m) }

// pick draws one to read: by past use, else half from the newest twentieth
// and half from all.
func (p *pool) pick(r *rand.Rand) made {
	var i uint32
	n := len(p.items)
	switch {
	case len(p.uses) > 0 && r.Float64() < p.reuse:
		i = p.uses[r.IntN(len(p.uses))]
	case r.IntN(2) == 0:
		i = uint32(n - 1 - r.IntN(n/20+1))
	default:
		i = uint32(r.IntN(n))
	}
	p.uses = append(p.uses, i)
	return p.items[i]
}

// shallow draws until the depth is below limit, a few times.
func (p *pool) shallow(r *rand.Rand, limit uint8) (made, bool) {
	for range 8 {
		if m := p.pick(r); m.depth < limit {
			return m, true
		}
		p.uses = p.uses[:len(p.uses)-1]
	}
	return made{}, false
}

// line is the versions of the series of one sort: a series has at most
// maxVersions, and most have few.
type line struct {
	latest []uint16 // by series: its newest version
	fresh  float64  // the share of versions that begin a series
}

const maxVersions = 200

// next gives the series and version of a new version. begun says that the
// series is new too.
func (l *line) next(r *rand.Rand) (series uint32, version uint16, begun bool) {
	if n := len(l.latest); n > 0 && r.Float64() >= l.fresh {
		s := n - 1 - r.IntN(n)
		if r.IntN(2) == 0 {
			s = n - 1 - r.IntN(n/10+1)
		}
		if l.latest[s] < maxVersions {
			l.latest[s]++
			return uint32(s), l.latest[s], false
		}
	}
	l.latest = append(l.latest, 1)
	return uint32(len(l.latest) - 1), 1, true
}

// queue orders what is to be said by the time of recording, and among equals
// by the order in which it was put in.
type queue struct {
	items []pending
	seq   uint64
}

func (q *queue) less(i, j int) bool {
	a, b := &q.items[i], &q.items[j]
	if !a.said.RecordedAt.Equal(b.said.RecordedAt) {
		return a.said.RecordedAt.Before(b.said.RecordedAt)
	}
	return a.seq < b.seq
}

func (q *queue) push(p pending) {
	p.seq = q.seq
	q.seq++
	q.items = append(q.items, p)
	for i := len(q.items) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.less(i, up) {
			return
		}
		q.items[i], q.items[up] = q.items[up], q.items[i]
		i = up
	}
}

func (q *queue) pop() pending {
	first, n := q.items[0], len(q.items)-1
	q.items[0] = q.items[n]
	q.items[n] = pending{}
	q.items = q.items[:n]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < n; c++ {
			if q.less(c, least) {
				least = c
			}
		}
		if least == i {
			return first
		}
		q.items[i], q.items[least] = q.items[least], q.items[i]
		i = least
	}
}
