package query

import (
	"math"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
)

// place is a thing as it is passed on a path. An activity that is entered by
// an output whose derivations are stated is passed in part: what it used is
// not on the path (see walk).
type place struct {
	id   graph.ID
	part bool
}

// ways are all paths from one thing to any of several: the places that lie on
// some path, and where each leads. Places are numbered; 0 is the start.
type ways struct {
	places []place
	next   [][]int32 // in the order of the names of the things
	end    []bool
	toEnd  []int32 // relations to the nearest end; -1: none is reached
	twin   []int32 // the same thing passed in part; -1: it never is
	loop   []int32 // the cycle of things that the place lies on; 0: none
	order  []int32 // the place's turn when those that it leads to come first; only without cycles
	cyclic bool
	opt    *Options
}

// maze is what ways are looked for in.
type maze struct {
	start graph.ID
	end   func(graph.ID) bool
	hops  func(place) []place // each thing once
	name  func(graph.ID) string
}

// find looks for the ways. There is none when toEnd[0] < 0.
func (m maze) find(opt *Options) (*ways, error) {
	w := &ways{opt: opt}
	number := map[place]int32{}
	add := func(p place) int32 {
		n, ok := number[p]
		if !ok {
			n = int32(len(w.places))
			number[p] = n
			w.places = append(w.places, p)
			w.end = append(w.end, m.end(p.id))
		}
		return n
	}
	add(place{m.start, false})
	for i := 0; i < len(w.places); i++ {
		if opt.stopped(i) {
			return nil, ErrStopped
		}
		var next []int32
		for _, p := range m.hops(w.places[i]) {
			next = append(next, add(p))
		}
		w.next = append(w.next, next)
	}
	w.measure()
	for i, next := range w.next {
		if w.toEnd[i] < 0 {
			w.next[i] = nil
			continue
		}
		next = slices.DeleteFunc(next, func(n int32) bool { return w.toEnd[n] < 0 })
		slices.SortFunc(next, func(a, b int32) int {
			return strings.Compare(m.name(w.places[a].id), m.name(w.places[b].id))
		})
		w.next[i] = next
	}
	w.twin = make([]int32, len(w.places))
	for i, p := range w.places {
		w.twin[i] = -1
		if n, ok := number[place{p.id, true}]; ok && !p.part {
			w.twin[i] = n
		}
	}
	w.cycles()
	return w, nil
}

// measure searches backwards from the ends.
func (w *ways) measure() {
	back := make([][]int32, len(w.places))
	w.toEnd = make([]int32, len(w.places))
	var todo []int32
	for i, next := range w.next {
		for _, n := range next {
			back[n] = append(back[n], int32(i))
		}
		w.toEnd[i] = -1
		if w.end[i] {
			w.toEnd[i] = 0
			todo = append(todo, int32(i))
		}
	}
	for i := 0; i < len(todo); i++ {
		for _, b := range back[todo[i]] {
			if w.toEnd[b] < 0 {
				w.toEnd[b] = w.toEnd[todo[i]] + 1
				todo = append(todo, b)
			}
		}
	}
}

// cycles finds the sets of things that lead to one another (Tarjan 1972, with
// a stack of its own in the place of recursion). The two ways in which an
// activity is passed are one thing here.
func (w *ways) cycles() {
	t := &tarjan{w: w, thing: make([]int32, len(w.places))}
	number := map[graph.ID]int32{}
	for i, p := range w.places {
		n, ok := number[p.id]
		if !ok {
			n = int32(len(t.places))
			number[p.id] = n
			t.places = append(t.places, nil)
		}
		t.thing[i] = n
		t.places[n] = append(t.places[n], int32(i))
	}
	t.run()
	w.loop, w.order = make([]int32, len(w.places)), make([]int32, len(w.places))
	for i := range w.places {
		set := t.set[t.thing[i]]
		w.order[i] = set
		if t.size[set] > 1 {
			w.loop[i] = set
			w.cyclic = true
		}
	}
}

type tarjan struct {
	w      *ways
	thing  []int32   // of a place
	places [][]int32 // of a thing
	index  []int32   // when the thing was first met, from 1 on
	low    []int32
	set    []int32 // the thing's set, from 1 on: those that it leads to have lower numbers
	size   []int32 // of a set
	open   []int32 // things that have no set yet
}

type visit struct{ thing, place, next int32 }

func (t *tarjan) run() {
	n := len(t.places)
	t.index, t.low, t.set, t.size = make([]int32, n), make([]int32, n), make([]int32, n), []int32{0}
	met := int32(0)
	enter := func(x int32) visit {
		met++
		t.index[x], t.low[x] = met, met
		t.open = append(t.open, x)
		return visit{thing: x}
	}
	for x := range int32(n) {
		if t.index[x] != 0 {
			continue
		}
		stack := []visit{enter(x)}
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			y, ok := t.step(top)
			switch {
			case !ok:
				x := top.thing
				t.close(x)
				if stack = stack[:len(stack)-1]; len(stack) > 0 {
					up := stack[len(stack)-1].thing
					t.low[up] = min(t.low[up], t.low[x])
				}
			case t.index[y] == 0:
				stack = append(stack, enter(y))
			case t.set[y] == 0:
				t.low[top.thing] = min(t.low[top.thing], t.index[y])
			}
		}
	}
}

// step gives the next thing that a thing leads to.
func (t *tarjan) step(v *visit) (int32, bool) {
	for ps := t.places[v.thing]; int(v.place) < len(ps); v.place, v.next = v.place+1, 0 {
		if next := t.w.next[ps[v.place]]; int(v.next) < len(next) {
			v.next++
			return t.thing[next[v.next-1]], true
		}
	}
	return 0, false
}

// close makes a set of what was met since x, when nothing of it leads further
// back.
func (t *tarjan) close(x int32) {
	if t.low[x] != t.index[x] {
		return
	}
	s := int32(len(t.size))
	t.size = append(t.size, 0)
	for {
		y := t.open[len(t.open)-1]
		t.open = t.open[:len(t.open)-1]
		t.set[y] = s
		t.size[s]++
		if y == x {
			return
		}
	}
}

// maxCount is the largest integer that every reader of JSON takes exactly.
// Counts stop there.
const maxCount = 1<<53 - 1

func plus(a, b uint64) uint64 { return min(a+b, maxCount) }

// shortest counts the shortest paths.
func (w *ways) shortest() Shortest {
	turn := make([]int32, 0, len(w.places))
	for i := range w.places {
		if w.toEnd[i] >= 0 {
			turn = append(turn, int32(i))
		}
	}
	slices.SortFunc(turn, func(a, b int32) int { return int(w.toEnd[a]) - int(w.toEnd[b]) })
	n := make([]uint64, len(w.places))
	for _, i := range turn {
		if w.end[i] {
			n[i] = 1
			continue
		}
		for _, x := range w.next[i] {
			if w.toEnd[x] == w.toEnd[i]-1 {
				n[i] = plus(n[i], n[x])
			}
		}
	}
	return Shortest{Length: int(w.toEnd[0]), Count: n[0], AtLeast: n[0] == maxCount}
}

// first gives the shortest path that is first in the order of names.
func (w *ways) first() []int32 {
	out := []int32{0}
	for at := int32(0); !w.end[at]; out = append(out, at) {
		for _, x := range w.next[at] {
			if w.toEnd[x] == w.toEnd[at]-1 {
				at = x
				break
			}
		}
	}
	return out
}

// total counts all paths; ok is false when there are cycles, where that is
// not to be had.
func (w *ways) total() (n uint64, ok bool) {
	if w.cyclic {
		return 0, false
	}
	turn := make([]int32, len(w.places))
	for i := range turn {
		turn[i] = int32(i)
	}
	slices.SortFunc(turn, func(a, b int32) int { return int(w.order[a]) - int(w.order[b]) })
	all := make([]uint64, len(w.places))
	for _, i := range turn {
		if w.toEnd[i] < 0 {
			continue
		}
		if w.end[i] {
			all[i] = 1
		}
		for _, x := range w.next[i] {
			all[i] = plus(all[i], all[x])
		}
	}
	return all[0], true
}

// trail is a path so far, told backwards.
type trail struct {
	before *trail
	at     int32
	length int32
	// again: the thing was passed in part before. The path may only go on by
	// what that did not allow, else the loop in between is for nothing.
	again bool
}

// places gives the trail from its start.
func (t *trail) places() []int32 {
	out := make([]int32, t.length+1)
	for i := t.length; t != nil; i, t = i-1, t.before {
		out[i] = t.at
	}
	return out
}

// each yields every path, shorter ones first, until yield says false. It takes
// steps in all at most; whole tells whether it came to the end.
//
// No thing is passed twice, unless an activity first in part and then, after a
// loop that cannot be left out, in full.
func (w *ways) each(steps int, yield func(*trail) bool) (whole bool, err error) {
	if w.toEnd[0] < 0 {
		return true, nil
	}
	todo := [][]*trail{{{at: 0}}} // by the length that is to be had at best, less that of the shortest
	for f := 0; f < len(todo); f++ {
		for len(todo[f]) > 0 {
			t := todo[f][len(todo[f])-1]
			todo[f] = todo[f][:len(todo[f])-1]
			if steps--; steps < 0 {
				return false, nil
			}
			if w.opt.stopped(steps) {
				return false, ErrStopped
			}
			if w.end[t.at] && !t.again && !yield(t) {
				return false, nil
			}
			for i := len(w.next[t.at]) - 1; i >= 0; i-- {
				x := w.onward(t, w.next[t.at][i])
				if x == nil {
					continue
				}
				g := int(x.length+w.toEnd[x.at]) - int(w.toEnd[0])
				for len(todo) <= g {
					todo = append(todo, nil)
				}
				todo[g] = append(todo[g], x)
			}
		}
	}
	return true, nil
}

// onward gives the trail that goes on to a place, nil if it may not.
func (w *ways) onward(t *trail, to int32) *trail {
	x := &trail{before: t, at: to, length: t.length + 1}
	if t.again && slices.ContainsFunc(w.next[w.twin[t.at]], func(n int32) bool { return w.places[n].id == w.places[to].id }) {
		return nil
	}
	if w.loop[to] == 0 {
		return x
	}
	for b := t; b != nil && w.loop[b.at] == w.loop[to]; b = b.before {
		if w.places[b.at].id != w.places[to].id {
			continue
		}
		if x.again || !w.places[b.at].part || w.places[to].part {
			return nil
		}
		x.again = true
	}
	return x
}

// Shortest tells of the shortest paths between two things.
type Shortest struct {
	// Length counts relations. A name and its content are one thing.
	Length int `json:"length"`
	// Count is how many shortest paths there are.
	Count uint64 `json:"count"`
	// AtLeast says that there may be more than Count: counts end at 2^53-1.
	AtLeast bool `json:"atLeast,omitempty"`
}

// Bounds of the search for all paths, beside the limit of the question.
const (
	maxSteps  = 1 << 22 // paths begun
	maxThings = 1 << 20 // things in all paths together
)

// most is the number of paths when there is no limit.
const most = math.MaxInt
