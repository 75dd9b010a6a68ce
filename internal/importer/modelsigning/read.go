// Package modelsigning makes statements out of signatures of the OpenSSF model
// signing format (OMS): Sigstore bundles over an in-toto statement that lists
// the files of a model, version 1.0 and the version 0.1 before it, signed by
// Sigstore, a key or a certificate.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-model-signing.md.
package modelsigning

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"iter"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/internal/importer/sigstore"
	"github.com/stemma-lineage/stemma/statement"
)

// The predicate types of the format.
const (
	PredicateType       = "https://model_signing/signature/v1.0"
	LegacyPredicateType = "https://model_signing/Digests/v0.1"

	predicateBase = "https://model_signing/"
)

// The classes of refusals beside those of rawjson.
const (
	NotABundle       = "not-a-bundle"
	NotAModel        = "not-a-model-signature"
	MalformedPayload = "malformed-payload"
	BadField         = "bad-field"
	SecretInPayload  = "secret-in-payload"
)

// Importer reads model signatures.
type Importer struct {
	// Trust is what signatures are checked against; nil trusts nothing.
	Trust *sigstore.Trust
}

// Name gives "model-signing".
func (Importer) Name() string { return "model-signing" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Recognise tells whether the file is a bundle, envelope or bare statement with
// a model-signing predicate.
func (Importer) Recognise(h *importer.Head) bool {
	if h.HasPrefix("predicateType", predicateBase) {
		return true
	}
	bundle := h.HasPrefix("mediaType", "application/vnd.dev.sigstore.bundle") || h.Has("verificationMaterial") || h.Has("dsseEnvelope")
	if !bundle && !h.Has("payloadType") && !h.Has("payload") {
		return false
	}
	return bytes.Contains(payloadHead(h.Bytes), []byte(predicateBase))
}

var payloadMember = regexp.MustCompile(`"payload"\s*:\s*"([A-Za-z0-9+/_\\-]+)`)

// payloadHead decodes the beginning of the first payload in a file's head.
func payloadHead(head []byte) []byte {
	m := payloadMember.FindSubmatch(head)
	if m == nil {
		return nil
	}
	text := strings.NewReplacer(`\`, "", "-", "+", "_", "/").Replace(string(m[1]))
	text = text[:len(text)&^3]
	out, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	return out
}

// Read yields an Item for each signature of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		for v, err := range rawjson.Split(s.R, sigstore.MaxBundle) {
			if err != nil {
				yield(importer.Item{}, fmt.Errorf("reading model signature: %w", err))
				return
			}
			if !yield(im.item(v, s.Path), nil) {
				return
			}
		}
	}
}

// item makes the Item of one bundle.
func (im Importer) item(v rawjson.Value, path string) importer.Item {
	it := importer.Item{Place: v.Place, Offset: v.Offset, Bytes: v.Size}
	if v.Fault != nil {
		it.Refusal = &importer.Refusal{Reason: v.Fault.Reason, Detail: v.Fault.Detail}
		return it
	}
	it.Original = sha256.Sum256(v.Bytes)
	m, refusal := im.open(v.Bytes)
	if refusal != nil {
		it.Refusal = refusal
		return it
	}
	if path != "" {
		it.Covers = m.compare(filepath.Dir(path))
	}
	kept, redacted := rawjson.Redact(rawjson.Parse(v.Bytes), noSecrets)
	m.evidence = importer.NewEvidence(im, m.mediaType, sha256.Sum256(kept), len(kept))
	m.evidence.Redacted = redacted
	m.evidence.Verified = &m.check
	drafts := m.drafts()
	for _, d := range drafts {
		if payload, err := statement.Format(d.Subjects, d.Predicate); err != nil || len(payload) > statement.MaxPayload {
			it.Refusal = refuse(BadField, "predicate", "makes no valid statement: %v", err)
			return it
		}
	}
	it.Evidence, it.Statements, it.Notes = kept, drafts, m.evidence.Notes
	return it
}

func refuse(reason, place, format string, args ...any) *importer.Refusal {
	return &importer.Refusal{Reason: reason, Detail: rawjson.Clip(place, 300) + ": " + rawjson.Clip(fmt.Sprintf(format, args...), 1000)}
}

// open checks the signature and reads the manifest of what it signs.
func (im Importer) open(raw []byte) (*model, *importer.Refusal) {
	root := rawjson.Parse(raw).Root()
	m := &model{mediaType: root.Get("mediaType").Text()}
	payload := raw
	if strings.HasPrefix(root.Get("predicateType").Text(), predicateBase) {
		m.mediaType = "application/vnd.in-toto+json"
		m.check = statement.EvidenceCheck{Result: statement.CheckUnsigned, Reason: "the statement is bare, without an envelope"}
	} else {
		o, err := im.Trust.Open(raw)
		if err != nil {
			return nil, refuse(NotABundle, "value", "%v", err)
		}
		if o.PayloadType == "" {
			return nil, refuse(NotAModel, "messageSignature", "signs a file that is not here; a model signature holds a dsseEnvelope with a manifest")
		}
		m.check, m.signer, m.time, payload = o.Check, o.Signer, o.Time, o.Payload
	}
	if m.mediaType == "" || len(m.mediaType) > 200 {
		m.mediaType = "application/vnd.dsse.envelope.v1+json"
	}
	return m, m.readPayload(payload)
}

// noSecrets says that no member of a signature is a secret whatever it holds.
func noSecrets([]byte) (keep []string, secret bool) { return nil, false }
