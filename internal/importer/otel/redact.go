package otel

import (
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// secretEnds end the names of attributes whose text is a secret, in lower case
// without '_', '-' and '.'. In OTLP and Jaeger an attribute's name stands
// beside its value, where rawjson does not look for it.
var secretEnds = []string{"password", "passwd", "pwd", "passphrase", "secret", "token", "apikey", "secretkey", "accesskey", "accountkey",
	"privatekey", "secretaccesskey", "authorization", "connectionstring", "cookie", "setcookie", "llmheaders", "requestheaders"}

// marks are taken out of names before they are looked at.
var marks = strings.NewReplacer("_", "", "-", "", ".", "", "@", "")

func secretAttribute(name string) bool {
	if len(name) > 200 {
		name = name[len(name)-200:]
	}
	name = marks.Replace(strings.ToLower(name))
	for _, end := range secretEnds {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	// A header's values are an array under its name.
	return strings.HasPrefix(name, "httprequestheaderauthorization") || strings.HasPrefix(name, "httprequestheadercookie")
}

// redact takes the secrets out of a JSON document and gives the paths of what
// was replaced, at most maxRedacted and how many more.
func redact(doc *rawjson.Doc) (*rawjson.Doc, []string) {
	r := &redactor{raw: doc.Raw()}
	r.walk(doc.Root(), "", 0)
	if len(r.paths) > 0 {
		r.out = append(r.out, r.raw[r.from:]...)
		doc = rawjson.Parse(r.out)
	}
	kept, paths := rawjson.Redact(doc, func([]byte) ([]string, bool) { return nil, false })
	if len(paths) > 0 {
		doc = rawjson.Parse(kept)
	}
	return doc, append(r.paths, paths...)
}

const maxRedacted = 500

type redactor struct {
	raw   []byte
	out   []byte
	from  int
	paths []string
}

// walk looks for attributes, written as a name with a value beside it or as a
// member of a map.
func (r *redactor) walk(n rawjson.Node, path string, depth int) {
	if depth > rawjson.MaxDepth {
		return
	}
	switch n.Kind() {
	case '{':
		k, v := n.Get("key"), n.Get("value")
		if k.Kind() == '"' && v.Given() && secretAttribute(k.Text()) {
			r.texts(v, path+k.Text(), 0)
			return
		}
	case '[':
	default:
		return
	}
	object := n.Kind() == '{'
	for m := range n.All() {
		if object && secretAttribute(m.Key()) {
			r.texts(m, path+m.Key(), 0)
		} else if c := m.Kind(); c == '{' || c == '[' {
			r.walk(m, path, depth+1)
		}
	}
}

// texts replaces every text below n.
func (r *redactor) texts(n rawjson.Node, path string, depth int) {
	switch n.Kind() {
	case '{', '[':
		for m := range n.All() {
			r.texts(m, path, depth+1)
		}
	case '"':
		if t := n.Text(); t == "" || t == rawjson.Redacted || t == "None" {
			return
		}
		// A node's bytes are part of the document's: both end at its end.
		at := cap(r.raw) - cap(n.Raw())
		r.out = append(r.out, r.raw[r.from:at]...)
		r.out = append(r.out, `"`+rawjson.Redacted+`"`...)
		r.from = at + len(n.Raw())
		if len(r.paths) < maxRedacted {
			r.paths = append(r.paths, "attribute "+rawjson.Clip(rawjson.Secrets(path), 200))
		}
	}
}
