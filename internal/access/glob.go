// Package access weighs grants: whether something of what a grant allows is
// left beside what is refused, on a resource and for an action.
//
// Patterns are read as their source does: those of AWS IAM (JSON policy
// elements Action, NotAction, Resource, NotResource), those of Kubernetes RBAC
// (rbac.authorization.k8s.io/v1 PolicyRule), and plain names whose last part is
// '*'. It holds values only.
package access

import (
	"slices"
	"strings"
)

// token is one part of a pattern: a character, any one character, any number of
// characters, or any number of characters other than '/'.
type token struct {
	r    rune
	wild wild
}

type wild uint8

const (
	letter wild = iota
	one         // '?'
	many        // '*'
	part
)

// Pattern is a set of texts. The zero Pattern holds the empty text only.
type Pattern []token

// Literal gives the pattern that holds one text.
func Literal(text string) Pattern {
	out := make(Pattern, 0, len(text))
	for _, r := range text {
		out = append(out, token{r: r})
	}
	return out
}

// Glob reads a text in which '*' stands for any number of characters and '?'
// for one (AWS IAM, JSON policy elements: Resource).
func Glob(text string) Pattern {
	out := Literal(text)
	for i, t := range out {
		switch t.r {
		case '*':
			out[i] = token{wild: many}
		case '?':
			out[i] = token{wild: one}
		}
	}
	return out
}

// star reads a text in which only '*' is special, and stands for what w says.
func star(text string, w wild) Pattern {
	out := Literal(text)
	for i, t := range out {
		if t.r == '*' {
			out[i] = token{wild: w}
		}
	}
	return out
}

// Holds tells whether the pattern holds a text.
func (p Pattern) Holds(text string) bool {
	at := newSet(len(p) + 1)
	add(at, p, 0)
	for _, r := range text {
		at, _ = read(at, p, r)
	}
	return has(at, len(p))
}

// fresh stands for any character that is in no pattern.
const fresh rune = -1

// maxWork bounds the search for a text, in places of patterns that are looked
// at. Patterns that people write need some thousands.
const maxWork = 1 << 22

// meet tells whether some text is in all of the patterns and in none of the
// others. It walks the product of the patterns' automata; sure is false when
// it gave up because the work was used up.
func meet(in, out []Pattern, work *int) (found, sure bool) {
	if len(in) == 0 {
		in = []Pattern{{{wild: many}}}
	}
	m := &machine{all: slices.Concat(in, out), in: len(in)}
	start, places := make([][]uint64, len(m.all)), 1
	for i, p := range m.all {
		start[i] = newSet(len(p) + 1)
		add(start[i], p, 0)
		places += len(p)
	}
	seen := map[string]bool{key(start): true}
	for todo := [][][]uint64{start}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if m.accepts(at) {
			return true, true
		}
		for _, r := range m.letters(at) {
			if *work -= places; *work < 0 {
				return false, false
			}
			next, alive := m.step(at, r)
			if k := key(next); alive && !seen[k] {
				seen[k] = true
				todo = append(todo, next)
			}
		}
	}
	return false, true
}

type machine struct {
	all []Pattern
	in  int // how many must hold the text; the rest must not
}

func newSet(n int) []uint64      { return make([]uint64, (n+63)/64) }
func has(s []uint64, i int) bool { return s[i/64]>>(i%64)&1 != 0 }
func key(sets [][]uint64) string { return string(bytesOf(sets)) }
func bytesOf(sets [][]uint64) []byte {
	var b []byte
	for _, s := range sets {
		for _, w := range s {
			for i := range 8 {
				b = append(b, byte(w>>(8*i)))
			}
		}
	}
	return b
}

// add puts a position into a set, and those that it leads to without a
// character.
func add(s []uint64, p Pattern, i int) {
	for ; !has(s, i); i++ {
		s[i/64] |= 1 << (i % 64)
		if i == len(p) || p[i].wild != many && p[i].wild != part {
			return
		}
	}
}

func (m *machine) accepts(at [][]uint64) bool {
	for i, p := range m.all {
		if has(at[i], len(p)) != (i < m.in) {
			return false
		}
	}
	return true
}

// letters gives the characters that matter in a state.
func (m *machine) letters(at [][]uint64) []rune {
	out := []rune{fresh}
	for i, p := range m.all {
		for j, t := range p {
			if t.wild == letter && has(at[i], j) && !slices.Contains(out, t.r) {
				out = append(out, t.r)
			}
		}
	}
	return out
}

// step reads a character. A state in which a pattern that must hold the text
// no longer can is dead.
func (m *machine) step(at [][]uint64, r rune) (next [][]uint64, alive bool) {
	next = make([][]uint64, len(at))
	for i, p := range m.all {
		live := false
		if next[i], live = read(at[i], p, r); !live && i < m.in {
			return nil, false
		}
	}
	return next, true
}

// read gives the places of a pattern after a character.
func read(at []uint64, p Pattern, r rune) (next []uint64, live bool) {
	next = newSet(len(p) + 1)
	for j, t := range p {
		if !has(at, j) {
			continue
		}
		switch {
		case t.wild == many, t.wild == part && r != '/':
			add(next, p, j)
			live = true
		case t.wild == one || t.wild == letter && t.r == r:
			add(next, p, j+1)
			live = true
		}
	}
	return next, live
}

// lower gives the pattern without regard to the case of ASCII letters, as
// actions of AWS are compared.
func lower(texts []string) []string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = strings.ToLower(t)
	}
	return out
}
