package provjson

import (
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// value is one value of an attribute (submission, section 2.3). Its datatype
// and language stay in the evidence.
type value struct{ text string }

// values gives the values of an attribute, which may be one or an array. A
// value that is none of a text, number, truth value or typed literal has no
// text.
func values(n rawjson.Node) []value {
	switch n.Kind() {
	case 0, 'n':
		return nil
	case '[':
		var out []value
		for x := range n.All() {
			if x.Kind() != '[' {
				out = append(out, valueOf(x))
			}
		}
		return out
	}
	return []value{valueOf(n)}
}

func valueOf(n rawjson.Node) value {
	if n.Kind() == '{' {
		n = n.Get("$")
	}
	if k := n.Kind(); k == 't' || k == 'f' {
		return value{string(n.Raw())}
	}
	return value{n.Text()}
}

func first(n rawjson.Node) string {
	for _, v := range values(n) {
		if v.text != "" {
			return v.text
		}
	}
	return ""
}

var unzoned = []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02"}

// time reads an xsd:dateTime. One without a zone, which XML Schema allows, is
// read as UTC with a note.
func (b *bundle) time(n rawjson.Node, attribute, of string) statement.Time {
	s := strings.TrimSpace(first(n))
	if s == "" {
		return statement.Time{}
	}
	t, err := prov.ParseTime(s)
	for i := 0; err != nil && i < len(unzoned); i++ {
		var u time.Time
		if u, err = time.Parse(unzoned[i], s); err == nil {
			t = u
			b.d.note("%s %q has no zone; read as UTC", attribute, s)
		}
	}
	if err != nil {
		b.d.note("%s of %s: %q is no xsd:dateTime; kept in the evidence only", attribute, of, s)
		return statement.Time{}
	}
	if y := t.UTC().Year(); y < 1679 || y > 2261 {
		b.d.note("%s of %s: %s lies outside the years 1679 to 2261; kept in the evidence only", attribute, of, s)
		return statement.Time{}
	}
	return statement.NewTime(t)
}
