package rawjson

import (
	"bytes"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Doc is a tree over the bytes of one value.
type Doc struct {
	raw   []byte
	nodes []node
	// Repeated lists the paths of names that occur more than once in their
	// object: the last one counts. It ends with "and … more" after maxPaths.
	Repeated []string
	repeats  int
	// Unpaired says that a string holds half of a surrogate pair, which is
	// read as U+FFFD.
	Unpaired bool
}

type node struct {
	start, end       int32 // of the value
	keyStart, keyEnd int32 // of the name with its quotes; empty in an array
	first, next      int32 // first member or element, and the one after this; 0: none
	shadowed         bool  // a later member of the same name counts
}

// Node is a value in a Doc. The zero Node is a value that is not there.
type Node struct {
	d *Doc
	i int32
}

// Parse gives the tree over raw, which must be a value that Split yielded.
func Parse(raw []byte) *Doc {
	p := parser{Doc: &Doc{raw: raw, nodes: make([]node, 1, 2+len(raw)/24)}}
	p.value(0, 0, 0)
	p.Repeated = capped(p.Repeated, p.repeats)
	return p.Doc
}

// maxPaths is how many paths of one sort are written out.
const maxPaths = 500

// capped says how many paths of n are not in the list.
func capped(paths []string, n int) []string {
	if n > len(paths) {
		paths = append(paths, "and "+strconv.Itoa(n-len(paths))+" more")
	}
	return paths
}

// Root gives the value itself.
func (d *Doc) Root() Node { return Node{d, 1} }

// Raw gives the bytes.
func (d *Doc) Raw() []byte { return d.raw }

type parser struct {
	*Doc
	pos  int
	path []step // the open brackets
}

// step leads to a node: by its name, or by its index in an array.
type step struct {
	node  int32
	index int
}

func (p *parser) space() byte {
	for p.pos < len(p.raw) {
		switch c := p.raw[p.pos]; c {
		case ' ', '\t', '\r', '\n':
			p.pos++
		default:
			return c
		}
	}
	return 0
}

// value parses a value by the grammar that Split has checked. Its depth is
// bounded by MaxDepth.
func (p *parser) value(keyStart, keyEnd, index int) int32 {
	c := p.space()
	id := int32(len(p.nodes))
	p.nodes = append(p.nodes, node{start: int32(p.pos), keyStart: int32(keyStart), keyEnd: int32(keyEnd)})
	switch c {
	case '{', '[':
		p.pos++
		p.path = append(p.path, step{id, index})
		p.members(id, c)
		p.path = p.path[:len(p.path)-1]
	case '"':
		p.text()
	default:
		for p.pos < len(p.raw) && !strings.ContainsRune(" \t\r\n,]}", rune(p.raw[p.pos])) {
			p.pos++
		}
	}
	p.nodes[id].end = int32(p.pos)
	return id
}

func (p *parser) members(id int32, open byte) {
	last, n := int32(0), 0
	for {
		c := p.space()
		if c == 0 {
			break
		}
		if c == open+2 {
			p.pos++
			break
		}
		if c == ',' {
			p.pos++
			continue
		}
		ks, ke := 0, 0
		if open == '{' {
			ks = p.pos
			p.text()
			ke = p.pos
			p.space()
			p.pos++ // ':'
		}
		m := p.value(ks, ke, n)
		if last == 0 {
			p.nodes[id].first = m
		} else {
			p.nodes[last].next = m
		}
		last = m
		n++
	}
	if open == '{' && n > 1 {
		p.repeated(id, n)
	}
}

// repeated marks the members that a later one of the same name replaces.
func (p *parser) repeated(id int32, n int) {
	if n <= 8 {
		for a := p.nodes[id].first; a != 0; a = p.nodes[a].next {
			for b := p.nodes[a].next; b != 0; b = p.nodes[b].next {
				if p.sameKey(a, b) {
					p.shadow(a)
					break
				}
			}
		}
		return
	}
	seen := make(map[string]int32, n)
	for m := p.nodes[id].first; m != 0; m = p.nodes[m].next {
		k := Node{p.Doc, m}.Key()
		if before, ok := seen[k]; ok {
			p.shadow(before)
		}
		seen[k] = m
	}
}

func (p *parser) sameKey(a, b int32) bool {
	x, y := p.key(a), p.key(b)
	if bytes.IndexByte(x, '\\') < 0 && bytes.IndexByte(y, '\\') < 0 {
		return bytes.Equal(x, y)
	}
	return Node{p.Doc, a}.Key() == Node{p.Doc, b}.Key()
}

func (p *parser) key(m int32) []byte { return p.raw[p.nodes[m].keyStart:p.nodes[m].keyEnd] }

func (p *parser) shadow(m int32) {
	p.nodes[m].shadowed = true
	if p.repeats++; p.repeats <= maxPaths {
		p.Repeated = append(p.Repeated, p.pathText(append(p.path, step{node: m}), Secrets))
	}
}

func (p *parser) text() {
	p.pos++
	for p.pos < len(p.raw) {
		switch p.raw[p.pos] {
		case '"':
			p.pos++
			return
		case '\\':
			p.pos++
		}
		p.pos++
	}
}

// pathText writes a path: names joined by '.', odd names as ["name"], indices
// as [3]. Clean is applied to each name.
func (d *Doc) pathText(path []step, clean func(string) string) string {
	var b strings.Builder
	for _, st := range path {
		n := d.nodes[st.node]
		if n.keyEnd == n.keyStart {
			if st.node != 1 {
				b.WriteString("[" + strconv.Itoa(st.index) + "]")
			}
			continue
		}
		key := clean(Clip(Node{d, st.node}.Key(), 200))
		if !plainName(key) {
			b.WriteString("[" + strconv.Quote(key) + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(key)
	}
	return b.String()
}

// Clip shortens text of more than n bytes for a message, and says so.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + fmt.Sprintf("… (%d bytes)", len(s))
}

func plainName(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return s != ""
}

// Kind gives '{', '[', '"', '0' for a number, 't', 'f', 'n', or 0 for a value
// that is not there.
func (n Node) Kind() byte {
	if n.d == nil {
		return 0
	}
	c := n.d.raw[n.d.nodes[n.i].start]
	if c == '-' || c >= '0' && c <= '9' {
		return '0'
	}
	return c
}

// Given tells whether the value is there and not null.
func (n Node) Given() bool { k := n.Kind(); return k != 0 && k != 'n' }

// Get gives the member of that name; the last one, if it occurs repeatedly.
func (n Node) Get(name string) Node {
	if n.Kind() != '{' {
		return Node{}
	}
	for m := n.d.nodes[n.i].first; m != 0; m = n.d.nodes[m].next {
		if x := (Node{n.d, m}); !n.d.nodes[m].shadowed && x.named(name) {
			return x
		}
	}
	return Node{}
}

func (n Node) named(name string) bool {
	k := n.d.raw[n.d.nodes[n.i].keyStart+1 : n.d.nodes[n.i].keyEnd-1]
	if bytes.IndexByte(k, '\\') < 0 {
		return string(k) == name
	}
	return n.Key() == name
}

// All gives the members of an object, without those that are replaced by a
// later one of the same name, or the elements of an array.
func (n Node) All() iter.Seq[Node] {
	return func(yield func(Node) bool) {
		if k := n.Kind(); k != '{' && k != '[' {
			return
		}
		for m := n.d.nodes[n.i].first; m != 0; m = n.d.nodes[m].next {
			if !n.d.nodes[m].shadowed && !yield(Node{n.d, m}) {
				return
			}
		}
	}
}

// Key gives the name of a member.
func (n Node) Key() string {
	return n.d.unquote(n.d.raw[n.d.nodes[n.i].keyStart:n.d.nodes[n.i].keyEnd])
}

// Raw gives the bytes of the value.
func (n Node) Raw() []byte {
	if n.d == nil {
		return nil
	}
	return n.d.raw[n.d.nodes[n.i].start:n.d.nodes[n.i].end]
}

// Text gives the text of a string, and of a number as it is written; "" for
// all else.
func (n Node) Text() string {
	switch n.Kind() {
	case '"':
		return n.d.unquote(n.Raw())
	case '0':
		return string(n.Raw())
	}
	return ""
}

func (d *Doc) unquote(raw []byte) string {
	if len(raw) < 2 {
		return ""
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	out, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		d.Unpaired = true
	}
	return string(out)
}
