package intoto

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/internal/importer/sigstore"
	"github.com/stemma-lineage/stemma/statement"
)

// maxParts is how many statements one wrapper may hold.
const maxParts = 100_000

// part is what one Item is made of: a value of the stream, or an element of a
// list in it.
type part struct {
	place string
	node  rawjson.Node
}

// items makes the Items of one value of the stream.
func items(v rawjson.Value, o Options) []importer.Item {
	whole := importer.Item{Place: v.Place, Offset: v.Offset, Bytes: v.Size}
	if v.Fault != nil {
		whole.Refusal = &importer.Refusal{Reason: v.Fault.Reason, Detail: v.Fault.Detail}
		return []importer.Item{whole}
	}
	doc := rawjson.Parse(v.Bytes)
	parts, around := split(doc.Root())
	if parts == nil {
		return []importer.Item{item(whole, v.Bytes, o)}
	}
	if len(parts) == 0 || len(parts) > maxParts {
		whole.Refusal = &importer.Refusal{Reason: NotAStatement, Detail: fmt.Sprintf(
			"value: holds %d statements; between 1 and %d are read from one wrapper, split it into files", len(parts), maxParts)}
		return []importer.Item{whole}
	}
	var out []importer.Item
	for i, p := range parts {
		raw := p.node.Raw()
		at := int64(cap(v.Bytes) - cap(raw)) // raw is a part of v.Bytes
		it := item(importer.Item{Place: v.Place + " " + p.place, Offset: v.Offset + at, Bytes: int64(len(raw))}, bytes.Clone(raw), o)
		if i == 0 && around != "" {
			it.Notes = append(it.Notes, around)
		}
		out = append(out, it)
	}
	return out
}

// split gives the statements of a list, each with where it stands, and a note
// on what stands around them. It gives nil for what is no list.
func split(root rawjson.Node) (parts []part, around string) {
	if root.Kind() != '{' {
		return nil, ""
	}
	var names []string
	for list := range root.All() { // not Get: there may be very many
		switch m := list.Key(); {
		case m == "attestations" && list.Kind() == '[':
			parts = []part{}
			for i, x := range elements(list) {
				parts = append(parts, part{fmt.Sprintf("attestations[%d]", i), x})
			}
		case m == "attestation_bundles" && list.Kind() == '[':
			parts = []part{}
			for i, b := range elements(list) {
				for k, x := range elements(b.Get("attestations")) {
					parts = append(parts, part{fmt.Sprintf("attestation_bundles[%d].attestations[%d]", i, k), x})
				}
				if b.Get("publisher").Given() {
					names = append(names, fmt.Sprintf("attestation_bundles[%d].publisher", i))
				}
			}
		default:
			if len(names) < maxNotes {
				names = append(names, m)
			}
		}
	}
	if parts != nil && len(names) > 0 {
		around = rawjson.Clip("not kept, because it belongs to the list around the statement: "+strings.Join(names, ", "), 500)
	}
	return parts, around
}

func elements(n rawjson.Node) []rawjson.Node {
	var out []rawjson.Node
	if n.Kind() == '[' {
		for x := range n.All() {
			out = append(out, x)
		}
	}
	return out
}

// The forms that a statement comes in.
const (
	formOther     = iota
	formStatement // _type, subject, predicateType, predicate
	formEnvelope  // DSSE
	formBundle    // Sigstore bundle
	formPEP740    // attestation object of the Python package index
	formMetablock // in-toto 0.9: signed, signatures
)

// holder is the object that holds the statement and is what was signed.
type holder struct {
	form  int
	node  rawjson.Node
	place string // where it stands in the evidence
}

// wrappers are the members under which tools put an envelope or bundle.
var wrappers = []string{"bundle", "envelope", "dsseEnvelope", "dsse", "attestation", "statement"}

// hold finds the holder within n, at most a few wrappers deep.
func hold(n rawjson.Node) holder {
	place := ""
	for range 4 {
		if f := form(n); f != formOther {
			return holder{f, n, place}
		}
		inner := rawjson.Node{}
		for _, w := range wrappers {
			if m := n.Get(w); m.Kind() == '{' {
				inner = m
				place = strings.TrimPrefix(place+"."+w, ".")
				break
			}
		}
		if !inner.Given() {
			break
		}
		n = inner
	}
	return holder{form: formOther}
}

func form(n rawjson.Node) int {
	has := func(names ...string) bool {
		for _, m := range names {
			if !n.Get(m).Given() {
				return false
			}
		}
		return true
	}
	switch {
	case n.Kind() != '{':
		return formOther
	case strings.HasPrefix(n.Get("mediaType").Text(), "application/vnd.dev.sigstore.bundle"),
		has("verificationMaterial"):
		return formBundle
	case has("payloadType", "payload"):
		return formEnvelope
	case has("verification_material", "envelope"), n.Get("envelope").Get("statement").Kind() == '"':
		return formPEP740
	case has("signed", "signatures"):
		return formMetablock
	case strings.HasPrefix(n.Get("_type").Text(), "https://in-toto.io/Statement/"), has("predicateType", "subject"):
		return formStatement
	}
	return formOther
}

// payload gives the string that holds the payload in base64, and its type.
func (h holder) payload() (n rawjson.Node, payloadType string) {
	switch h.form {
	case formEnvelope:
		return h.node.Get("payload"), h.node.Get("payloadType").Text()
	case formBundle:
		e := h.node.Get("dsseEnvelope")
		return e.Get("payload"), e.Get("payloadType").Text()
	case formPEP740:
		return h.node.Get("envelope").Get("statement"), statement.PayloadType
	}
	return rawjson.Node{}, ""
}

// decode reads base64 of either alphabet, with or without padding.
func decode(s string) ([]byte, error) {
	s = strings.TrimRight(strings.Map(func(r rune) rune {
		switch r {
		case '\n', '\r', ' ', '\t':
			return -1
		case '-':
			return '+'
		case '_':
			return '/'
		}
		return r
	}, s), "=")
	return base64.RawStdEncoding.DecodeString(s)
}

// single gives the tree over data, which must be one JSON object.
func single(data []byte, max int64) (*rawjson.Doc, string) {
	if b := bytes.TrimLeft(data, " \t\r\n"); len(b) == 0 || b[0] != '{' {
		return nil, "is no JSON object"
	}
	var doc *rawjson.Doc
	n := 0
	for v, err := range rawjson.Split(bytes.NewReader(data), max) {
		if err != nil {
			return nil, err.Error()
		}
		if v.Fault != nil {
			return nil, v.Fault.Reason + ": " + v.Fault.Detail
		}
		if n++; n > 1 {
			return nil, "holds more than one JSON value"
		}
		doc = rawjson.Parse(v.Bytes)
	}
	return doc, ""
}

// item makes an Item of raw, which is one JSON value.
func item(it importer.Item, raw []byte, o Options) importer.Item {
	it.Original = sha256.Sum256(raw)
	u := &unit{max: o.MaxUnit}
	u.check = u.verify(raw, o)
	kept, redacted := redact(raw, o.MaxUnit)
	u.redacted = redacted
	u.doc = rawjson.Parse(kept)
	u.sum = sha256.Sum256(kept)
	if u.refusal == nil {
		u.read()
	}
	if u.refusal == nil {
		u.seal()
	}
	if u.refusal != nil {
		it.Refusal = u.refusal
		return it
	}
	it.Evidence, it.Statements, it.Notes = kept, u.drafts, u.notes
	return it
}

// verify gives the outcome of checking the signatures over the bytes as they
// were received.
func (u *unit) verify(raw []byte, o Options) statement.EvidenceCheck {
	h := hold(rawjson.Parse(raw).Root())
	switch h.form {
	case formEnvelope, formBundle, formPEP740:
	case formMetablock:
		if len(elements(h.node.Get("signatures"))) == 0 {
			return statement.EvidenceCheck{Result: statement.CheckUnsigned}
		}
		return statement.EvidenceCheck{Result: statement.CheckUnverified, Reason: "signatures in the form of in-toto 0.9 are not checked"}
	default:
		return statement.EvidenceCheck{Result: statement.CheckUnsigned}
	}
	if n := len(h.node.Raw()); n > sigstore.MaxBundle {
		return statement.EvidenceCheck{Result: statement.CheckUnverified, Reason: fmt.Sprintf("%d bytes; signatures of more than %d are not checked", n, sigstore.MaxBundle)}
	}
	opened, err := o.Trust.Open(h.node.Raw())
	if err != nil {
		return statement.EvidenceCheck{Result: statement.CheckFailed, Reason: oneLine(err.Error())}
	}
	check := opened.Check
	if check.Result == "" {
		check = statement.EvidenceCheck{Result: statement.CheckUnverified, Reason: "the check gave no result"}
	}
	if n, _ := h.payload(); n.Given() {
		mine, err := decode(n.Text())
		if err != nil || !bytes.Equal(mine, opened.Payload) {
			return statement.EvidenceCheck{By: check.By, Result: statement.CheckFailed, Reason: "the payload that was checked is not the one that other readers find in these bytes"}
		}
	}
	check.Reason = oneLine(check.Reason)
	return packKey(check, raw, h)
}

func oneLine(s string) string { return rawjson.Clip(strings.Join(strings.Fields(s), " "), 500) }
