package query

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// erased tells what the answer cannot say because entries were erased: what
// else the entries said that it rests on, and whether entries in which names
// were replaced by pseudonyms speak of what is in it. One line tells of all
// entries of one order.
func (b *builder) erased(cited []uint64) {
	list := b.v.Erasures()
	if len(list) == 0 {
		return
	}
	kinds := b.kinds()
	type told struct {
		reason         string
		cited, unnamed []uint64
		kinds          map[prov.Kind]bool
	}
	orders := map[uint64]*told{}
	for _, e := range list {
		o := orders[e.By]
		if o == nil {
			o = &told{reason: e.Reason, kinds: map[prov.Kind]bool{}}
			orders[e.By] = o
		}
		if _, ok := slices.BinarySearch(cited, e.Entry); ok {
			o.cited = append(o.cited, e.Entry)
		}
		for _, k := range e.Kinds {
			if kinds[k] {
				o.kinds[k] = true
				if n := len(o.unnamed); n == 0 || o.unnamed[n-1] != e.Entry {
					o.unnamed = append(o.unnamed, e.Entry)
				}
			}
		}
	}
	for by, o := range orders {
		if len(o.cited) > 0 {
			b.unknown("", "what else %s said: the content was erased by entry %d%s", entriesText(o.cited), by, because(o.reason))
		}
		if len(o.unnamed) > 0 {
			b.unknown("", "which %s %s named: the names were erased by entry %d%s; the answer leaves out what is said there of those in it", kindsText(o.kinds), entriesText(o.unnamed), by, because(o.reason))
		}
	}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ", because " + reason
}

// kinds gives the kinds of what is in the answer.
func (b *builder) kinds() map[prov.Kind]bool {
	out := map[prov.Kind]bool{}
	add := func(id graph.ID) {
		k := b.v.Ref(id).Kind
		if strings.HasPrefix(string(k), "x-") {
			k = "x-"
		}
		out[k] = true
	}
	for _, id := range b.members {
		add(id)
		if b.v.IsDigest(id) {
			for _, n := range partners(b.v, id) {
				add(n)
			}
		}
	}
	for id := range b.ctx {
		add(id)
	}
	if c := b.answer.Counts; c != nil {
		for _, k := range c.ByKind {
			out[prov.Kind(k.Kind)] = true
		}
	}
	return out
}

// kindWords are the words for several things of a kind that is not made by an
// s.
var kindWords = map[prov.Kind]string{prov.Person: "people", prov.Activity: "activities", prov.Policy: "policies", prov.Registry: "registries",
	prov.Code: "code", "x-": "things of kinds of one's own"}

func kindsText(kinds map[prov.Kind]bool) string {
	var out []string
	for k := range kinds {
		w := kindWords[k]
		if w == "" {
			w = string(k) + "s"
		}
		out = append(out, w)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// entriesText names entries, ascending, with ranges for three or more in a row.
func entriesText(es []uint64) string {
	if len(es) == 1 {
		return fmt.Sprintf("entry %d", es[0])
	}
	var out []string
	for i := 0; i < len(es); {
		k := i
		for k+1 < len(es) && es[k+1] == es[k]+1 {
			k++
		}
		if k-i >= 2 {
			out = append(out, fmt.Sprintf("%d to %d", es[i], es[k]))
			i = k + 1
		} else {
			out = append(out, fmt.Sprint(es[i]))
			i++
		}
	}
	return "entries " + strings.Join(out[:len(out)-1], ", ") + lastText(out)
}

func lastText(out []string) string {
	if len(out) == 1 {
		return out[0]
	}
	return " and " + out[len(out)-1]
}

// erasedPaths says of a path that is not there that it may lie through what was
// erased.
func erasedPaths(v graph.View) string {
	var entries []uint64
	for _, e := range v.Erasures() {
		if len(e.Kinds) > 0 {
			entries = append(entries, e.Entry)
		}
	}
	if len(entries) == 0 {
		return ""
	}
	return fmt.Sprintf("; names were erased from %s, and a path through them would not be found", entriesText(entries))
}

// withheld tells of fields that whoever signed withheld.
func (b *builder) withheld(cited []uint64) {
	var entries []uint64
	fields := 0
	for _, e := range cited {
		if n := b.v.Withheld(e); n > 0 {
			entries, fields = append(entries, e), fields+n
		}
	}
	if fields > 0 {
		b.unknown("", "what stands in %s of %s: they were withheld when it was signed; who has the disclosures can read them with stemma log entry N --statement --disclosures FILE", count(fields, "field", "fields"), entriesText(entries))
	}
}
