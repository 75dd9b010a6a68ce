// Package intoto makes statements out of in-toto Statements (v0.1 and v1, in-toto
// attestation specification): plain, in DSSE envelopes, in Sigstore bundles,
// and in the files that tools keep them in. It also reads what lies beside
// them: witness policies, in-toto links, Chainloop's agent configurations and
// coding sessions, OpenSSF Scorecard results.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-intoto.md.
package intoto

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"iter"
	"math"
	"regexp"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/internal/importer/sigstore"
)

// DefaultMaxUnit is the largest statement, envelope, bundle or wrapper that is
// read unless told otherwise, in bytes.
const DefaultMaxUnit = 32 << 20

// MediaType is that of the evidence.
const MediaType = "application/json"

// Options of reading.
type Options struct {
	MaxUnit int64           // in bytes, at most 2 GiB; 0 means DefaultMaxUnit
	Trust   *sigstore.Trust // what signatures are checked against; nil trusts nothing
}

// Importer reads in-toto Statements.
type Importer struct{ Options Options }

// Name gives "intoto".
func (Importer) Name() string { return "intoto" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Recognise tells whether the file begins with an in-toto Statement, something
// that holds one, or one of the documents that lie beside them. What OpenSSF
// model signing writes is left to its own importer.
func (Importer) Recognise(h *importer.Head) bool {
	if h.Members == nil || modelSigning(h.Bytes) {
		return false
	}
	switch {
	case strings.HasPrefix(h.Members["_type"], "https://in-toto.io/Statement/"),
		h.Has("predicateType", "subject"),
		h.Has("payloadType", "payload"),
		h.Has("payload") && jsonInside.Match(h.Bytes), // so long that what follows is not in the head
		h.HasPrefix("mediaType", "application/vnd.dev.sigstore.bundle"),
		h.Has("verificationMaterial"),
		h.HasPrefix("format", "testigo-proofpack/"),
		h.HasPrefix("chainloop.material.evidence.id", "CHAINLOOP_AI_"),
		h.Has("repo", "scorecard", "checks"),
		h.Has("isDependency", "isOccurrence", "hasSlsa"):
		return true
	case h.Has("signed", "signatures"):
		return inTotoMetablock.Match(h.Bytes)
	case h.Has("attestations"), h.Has("attestation_bundles"), h.Has("attestation"), h.Has("bundle"), h.Has("envelope"):
		return dsseInside.Match(h.Bytes)
	}
	return false
}

var (
	inTotoMetablock = regexp.MustCompile(`"_type"\s*:\s*"(?:link|layout|root|targets|snapshot|timestamp)"`)
	dsseInside      = regexp.MustCompile(`"payloadType"\s*:|"dsseEnvelope"\s*:|"verification_material"\s*:`)
	jsonInside      = regexp.MustCompile(`"payload"\s*:\s*"e[wy]`)
	payloadText     = regexp.MustCompile(`"payload"\s*:\s*"([A-Za-z0-9+/_\\-]{8})`)
)

func pem(b []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("-----BEGIN ")) }

// modelSigning tells whether the first payload speaks of OpenSSF model
// signing.
func modelSigning(b []byte) bool {
	const mark = "https://model_signing/"
	if bytes.Contains(b, []byte(mark)) {
		return true
	}
	// The mark can stand far behind in the payload, so all of it is decoded;
	// it is at most as long as the head.
	i := payloadText.FindSubmatchIndex(b)
	if i == nil {
		return false
	}
	text := b[i[2]:]
	if end := bytes.IndexByte(text, '"'); end >= 0 {
		text = text[:end]
	}
	text = bytes.ReplaceAll(text, []byte(`\`), nil)
	text = bytes.TrimRight(text, "=")
	text = text[:len(text)/4*4]
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(out, text)
	if err != nil {
		n, _ = base64.URLEncoding.Decode(out, text)
	}
	return bytes.Contains(out[:n], []byte(mark))
}

// Read yields an Item for each statement of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return Read(s.R, im.Options)
}

// Read yields an Item for each statement of r, in their order. It holds one
// JSON value at a time.
func Read(r io.Reader, o Options) iter.Seq2[importer.Item, error] {
	if o.MaxUnit <= 0 {
		o.MaxUnit = DefaultMaxUnit
	}
	o.MaxUnit = min(o.MaxUnit, math.MaxInt32) // what a tree can point into
	return func(yield func(importer.Item, error) bool) {
		in := bufio.NewReader(r)
		if head, _ := in.Peek(64); pem(head) { // asked for by name, not recognised
			n, err := io.Copy(io.Discard, in)
			if err != nil {
				yield(importer.Item{}, fmt.Errorf("reading in-toto Statements: %w", err))
				return
			}
			yield(importer.Item{Place: "file", Bytes: n, Refusal: &importer.Refusal{Reason: TrustMaterial,
				Detail: "a key or certificate in PEM; it says nothing by itself. To trust it, name it as trust material of an import"}}, nil)
			return
		}
		for v, err := range rawjson.Split(in, o.MaxUnit) {
			if err != nil {
				yield(importer.Item{}, fmt.Errorf("reading in-toto Statements: %w", err))
				return
			}
			for _, it := range items(v, o) {
				if !yield(it, nil) {
					return
				}
			}
		}
	}
}
