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

// maxRedacted is how many paths of a document are told.
const maxRedacted = 500

// redact takes the secrets out of a JSON document and gives the paths of what
// was replaced.
func redact(doc *rawjson.Doc) (*rawjson.Doc, []string) {
	kept, named := rawjson.RedactPairs(doc, rawjson.Pairs{Names: []string{"key"}, Value: "value", Secret: secretAttribute, Members: true})
	if len(named) > 0 {
		doc = rawjson.Parse(kept)
	}
	kept, paths := rawjson.Redact(doc, func([]byte) ([]string, bool) { return nil, false })
	if len(paths) > 0 {
		doc = rawjson.Parse(kept)
	}
	return doc, append(named, paths...)
}
