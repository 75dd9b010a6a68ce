package intoto

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// redact takes the secrets out of raw: of the object itself, of the payload in
// its envelope, and of files that are embedded in base64. Where the payload
// changes, its signatures and what a transparency log says of it go too: they
// hold no longer, and a short secret could be guessed from them.
func redact(raw []byte, max int64) (kept []byte, paths []string) {
	doc := rawjson.Parse(raw)
	kept, paths = rawjson.Redact(doc, environments(doc))
	doc = rawjson.Parse(kept)
	h := hold(doc.Root())
	var edits []edit
	if n, _ := h.payload(); n.Kind() == '"' {
		if clean, inside, ok := redactPayload(n.Text(), max); ok {
			edits = append(edits, edit{n, clean})
			for _, p := range inside {
				paths = append(paths, "payload: "+p)
			}
			edits = signatures(edits, doc.Root())
		}
	}
	for i, f := range elements(doc.Root().Get("data").Get("config_files")) {
		n := f.Get("content")
		data, err := decode(n.Text())
		if err != nil || len(data) == 0 {
			continue
		}
		if clean, ok := redactFile(data, max); ok {
			edits = append(edits, edit{n, base64.StdEncoding.EncodeToString(clean)})
			paths = append(paths, "data.config_files["+strconv.Itoa(i)+"].content")
		}
	}
	return splice(kept, edits), paths
}

func redactPayload(text string, max int64) (clean string, paths []string, changed bool) {
	data, err := decode(text)
	if err != nil {
		return "", nil, false
	}
	doc, fault := single(data, max)
	if fault != "" {
		out := rawjson.Secrets(string(data))
		return base64.StdEncoding.EncodeToString([]byte(out)), []string{"text"}, out != string(data)
	}
	out, paths := rawjson.Redact(doc, environments(doc))
	return base64.StdEncoding.EncodeToString(out), paths, len(paths) > 0
}

func redactFile(data []byte, max int64) (clean []byte, changed bool) {
	if doc, fault := single(data, max); fault == "" {
		out, paths := rawjson.Redact(doc, environments(doc))
		return out, len(paths) > 0
	}
	out := rawjson.Secrets(string(data))
	return []byte(out), out != string(data)
}

// signed are the members whose text binds to the payload.
var signed = []string{"sig", "signature", "canonicalizedBody", "canonicalized_body", "messageImprint", "signedTimestamp"}

// signatures adds an edit for each signature below root.
func signatures(edits []edit, root rawjson.Node) []edit {
	queue := []rawjson.Node{root}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		for m := range n.All() {
			switch m.Kind() {
			case '{', '[':
				queue = append(queue, m)
			case '"':
				if n.Kind() == '{' && slices.Contains(signed, m.Key()) && m.Text() != "" {
					edits = append(edits, edit{m, rawjson.Redacted})
				}
			}
		}
	}
	return edits
}

// edit replaces a string.
type edit struct {
	node rawjson.Node
	text string
}

// splice applies the edits to raw, of which their nodes are parts.
func splice(raw []byte, edits []edit) []byte {
	if len(edits) == 0 {
		return raw
	}
	at := func(e edit) int { return cap(raw) - cap(e.node.Raw()) }
	slices.SortFunc(edits, func(a, b edit) int { return at(a) - at(b) })
	var out []byte
	from := 0
	for _, e := range edits {
		out = append(append(out, raw[from:at(e)]...), strconv.Quote(e.text)...)
		from = at(e) + len(e.node.Raw())
	}
	return append(out, raw[from:]...)
}

// environments gives what rawjson.Redact asks for: in an object of environment
// variables the value of each one with a telling name is a secret, and in a
// time stamp the token is none.
func environments(doc *rawjson.Doc) func(key []byte) (keep []string, secret bool) {
	var names, stamp []string
	queue := []rawjson.Node{doc.Root()}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		for m := range n.All() {
			if k := m.Kind(); k != '{' && k != '[' {
				continue
			}
			queue = append(queue, m)
			if n.Kind() != '{' || m.Kind() != '{' {
				continue
			}
			for v := range m.All() {
				name := v.Key()
				if environment(m.Key()) && !telling(name) {
					names = append(names, name)
				}
				if m.Key() == "timestamp" {
					stamp = append(stamp, name)
				}
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return func(key []byte) ([]string, bool) {
		switch k := string(key); {
		case environment(k):
			return names, true
		case k == "timestamp":
			return stamp, true
		}
		return nil, false
	}
}

func environment(key string) bool {
	switch key {
	case "variables", "environment", "env", "environmentVariables", "envVars", "env_vars":
		return true
	}
	return false
}

// telling tells whether the name of a variable says that its value is secret.
func telling(name string) bool {
	name = strings.ToLower(strings.NewReplacer("_", "", "-", "", ".", "").Replace(name))
	for _, w := range []string{"token", "secret", "passw", "passphrase", "credential", "apikey", "accesskey", "accountkey",
		"privatekey", "authorization", "connectionstring", "cookie"} {
		if strings.Contains(name, w) {
			return true
		}
	}
	return strings.HasSuffix(name, "pwd") && name != "pwd" && name != "oldpwd"
}
