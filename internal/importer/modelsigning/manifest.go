package modelsigning

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/internal/importer/sigstore"
	"github.com/stemma-lineage/stemma/statement"
)

// maxNotes is how many notes are written out; the rest is counted.
const maxNotes = 50

// model is one signature and the manifest that it signs.
type model struct {
	mediaType string
	check     statement.EvidenceCheck
	signer    sigstore.Signer
	time      statement.Time
	evidence  statement.Evidence

	legacy     bool
	name       string // of the model's folder or file; "" when it is not told
	root       string // SHA-256 over the digests of the resources, in hexadecimal
	attributes map[string]string
	resources  []resource
	notes      []string
	unsaid     int
}

// resource is a file of the model, or a shard of one.
type resource struct {
	path       string // slash-separated, below the model's folder; "." for a model that is one file
	shard      bool
	start, end int64 // of a shard, in bytes; end is outside
	algorithm  string
	digest     string // lower-case hexadecimal
}

func (m *model) note(format string, args ...any) {
	if len(m.notes) >= maxNotes {
		m.unsaid++
		return
	}
	if s := rawjson.Clip(fmt.Sprintf(format, args...), 500); !slices.Contains(m.notes, s) {
		m.notes = append(m.notes, s)
	}
}

// fail makes the check failed, keeping whose signature it is.
func (m *model) fail(format string, args ...any) {
	reason := rawjson.Clip(fmt.Sprintf(format, args...), 600)
	if m.check.Result == statement.CheckFailed && m.check.Reason != "" {
		reason = m.check.Reason + "; " + reason
	}
	m.check.Result, m.check.Reason = statement.CheckFailed, rawjson.Clip(reason, 1000)
}

func (m *model) readPayload(payload []byte) *importer.Refusal {
	var doc *rawjson.Doc
	for v, err := range rawjson.Split(bytes.NewReader(payload), sigstore.MaxBundle) {
		switch {
		case err != nil:
			return refuse(MalformedPayload, "payload", "%v", err)
		case v.Fault != nil:
			return refuse(MalformedPayload, "payload "+v.Place, "%s", v.Fault.Detail)
		case doc != nil:
			return refuse(MalformedPayload, "payload "+v.Place, "a second value follows the statement")
		}
		doc = rawjson.Parse(v.Bytes)
	}
	if doc == nil {
		return refuse(MalformedPayload, "payload", "is empty; it must be an in-toto statement")
	}
	if _, paths := rawjson.Redact(doc, noSecrets); len(paths) > 0 {
		return refuse(SecretInPayload, "payload "+paths[0], "looks like a secret, and cannot be taken out of what is signed; sign the model anew without it")
	}
	root := doc.Root()
	for _, path := range doc.Repeated {
		m.note("payload %s occurs more than once; the last one counts", path)
	}
	if doc.Unpaired {
		m.note("half of a surrogate pair is read as U+FFFD")
	}
	switch typ := root.Get("predicateType").Text(); typ {
	case PredicateType:
		return m.readManifest(root)
	case LegacyPredicateType:
		return m.readLegacy(root)
	default:
		return refuse(NotAModel, "payload predicateType", "is %q; a model signature has %s", rawjson.Clip(typ, 200), PredicateType)
	}
}

// readManifest reads a version 1.0 payload.
func (m *model) readManifest(root rawjson.Node) *importer.Refusal {
	i := 0
	for s := range root.Get("subject").All() {
		if i++; i > 1 {
			return refuse(BadField, "payload subject[1]", "a second subject; a model signature has one, the model")
		}
		m.name = s.Get("name").Text()
		m.root = strings.ToLower(s.Get("digest").Get("sha256").Text())
	}
	if !isHex(m.root, 64) {
		return refuse(BadField, "payload subject[0].digest.sha256", "is no SHA-256 of 64 hexadecimal digits; it is the digest of the model")
	}
	predicate := root.Get("predicate")
	s := predicate.Get("serialization")
	m.readSerialization(s)
	shards := s.Get("method").Text() == "shards"
	i = 0
	for n := range predicate.Get("resources").All() {
		place := fmt.Sprintf("payload predicate.resources[%d]", i)
		i++
		r := resource{path: n.Get("name").Text(), algorithm: n.Get("algorithm").Text(), digest: strings.ToLower(n.Get("digest").Text())}
		if refusal := m.add(r, shards, place); refusal != nil {
			return refusal
		}
	}
	for n := range predicate.All() {
		if n.Key() != "serialization" && n.Key() != "resources" {
			m.note("kept in the evidence only: predicate.%s", rawjson.Clip(n.Key(), 100))
		}
	}
	if got := m.sum(); got != m.root {
		m.fail("the manifest contradicts itself: the model's digest is %s, its resources hash to %s", m.root, got)
	}
	return nil
}

func (m *model) readSerialization(s rawjson.Node) {
	m.attributes = map[string]string{}
	for n := range s.All() {
		key := "serialization." + n.Key()
		switch {
		case len(n.Key()) > 100:
		case n.Kind() == '[':
			var texts []string
			for e := range n.All() {
				texts = append(texts, e.Text())
			}
			slices.Sort(texts) // a set, which producers write in any order
			m.attributes[key] = rawjson.Clip(strings.Join(texts, " "), 1000)
		case n.Kind() == 't' || n.Kind() == 'f':
			m.attributes[key] = string(n.Raw())
		case n.Text() != "":
			m.attributes[key] = rawjson.Clip(n.Text(), 1000)
		}
		if len(m.attributes) == 32 {
			break
		}
	}
}

// readLegacy reads a version 0.1 payload, whose subjects are the files. It
// gives the model no name and no digest; the digest is made as version 1.0
// makes it, so that both versions name one model alike.
func (m *model) readLegacy(root rawjson.Node) *importer.Refusal {
	m.legacy = true
	m.attributes = map[string]string{"serialization.method": "files", "serialization.hash_type": "sha256"}
	i := 0
	for s := range root.Get("subject").All() {
		place := fmt.Sprintf("payload subject[%d]", i)
		i++
		r := resource{path: s.Get("name").Text(), algorithm: "sha256", digest: strings.ToLower(s.Get("digest").Get("sha256").Text())}
		if refusal := m.add(r, false, place); refusal != nil {
			return refusal
		}
	}
	slices.SortStableFunc(m.resources, func(a, b resource) int {
		return slices.Compare(strings.Split(a.path, "/"), strings.Split(b.path, "/"))
	})
	m.root = m.sum()
	m.note("the model's digest is not signed in this version of the format; it is computed from the files as version 1.0 does")
	return nil
}

// add takes a resource, or says what is wrong with it.
func (m *model) add(r resource, shard bool, place string) *importer.Refusal {
	if r.path == "" {
		return refuse(BadField, place+".name", "is missing; it is the path of a file of the model")
	}
	if len(r.path) > 2048 {
		return refuse(BadField, place+".name", "has %d bytes, the limit is 2048", len(r.path))
	}
	if r.algorithm == "" || len(r.algorithm) > 64 {
		return refuse(BadField, place+".algorithm", "is missing or longer than 64 bytes; write for example sha256")
	}
	want := 0
	if r.algorithm == "sha256" {
		want = 64
	}
	if !isHex(r.digest, want) {
		return refuse(BadField, place+".digest", "is no %s digest in hexadecimal", r.algorithm)
	}
	if shard {
		parts := strings.Split(r.path, ":")
		if len(parts) < 3 {
			return refuse(BadField, place+".name", "is %q; a shard is named path:start:end", r.path)
		}
		n := len(parts)
		start, err1 := strconv.ParseInt(parts[n-2], 10, 64)
		end, err2 := strconv.ParseInt(parts[n-1], 10, 64)
		if err1 != nil || err2 != nil || start < 0 || end < start {
			return refuse(BadField, place+".name", "is %q; a shard is named path:start:end, in bytes", r.path)
		}
		r.path, r.shard, r.start, r.end = strings.Join(parts[:n-2], ":"), true, start, end
	}
	m.resources = append(m.resources, r)
	return nil
}

// sum gives SHA-256 over the digests in their order: the model's digest by
// section "Payload" of the model-signing specification 1.0.
func (m *model) sum() string {
	h := sha256.New()
	for _, r := range m.resources {
		b, err := hex.DecodeString(r.digest)
		if err != nil {
			return ""
		}
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// isHex tells whether s is hexadecimal of whole bytes, of n digits unless n is 0.
func isHex(s string, n int) bool {
	if s == "" || len(s)%2 != 0 || len(s) > 256 || n != 0 && len(s) != n {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}
