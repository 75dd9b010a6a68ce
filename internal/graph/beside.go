package graph

import "sync/atomic"

// Readers beside the fold.
//
// One goroutine folds while any number read, without locks. It rests on four
// rules, which hold for every field that a View reads:
//
//   - Lists (vec, arena) never move what they hold. What is written into an
//     element before a reader can come to it is written plainly.
//   - A reader comes to an element by Graph.size, by the head of a list, by a
//     slot of the name table or by the length of a vec. Each of them is stored
//     with put or its like, after the element is whole, and read with get.
//   - What changes later in an element that readers may hold (heads, and kt,
//     the log size at which something ceased to be known) is written with put
//     and read with get. The fold itself, which alone writes, reads plainly.
//   - What grows as a whole (the chunks of a list, the name table, a bitset,
//     the rows) stands behind an atomic pointer; a reader who holds the old
//     one misses only what he must not see yet.
//
// A View sees no more than Graph.size was when it was taken. What the fold is
// adding meanwhile was told by an entry at or beyond it, and what the fold
// closes meanwhile is closed at a log size at or beyond it, so for the View
// neither is there.

// get reads what the fold may write at the same time.
func get(p *uint32) uint32 { return atomic.LoadUint32(p) }

// put writes what readers may read at the same time.
func put(p *uint32, x uint32) { atomic.StoreUint32(p, x) }
