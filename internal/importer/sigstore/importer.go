package sigstore

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"regexp"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
)

// The classes of refusals: none of these files is a thing to record.
const (
	TrustMaterial = "trust-material"
	PrivateKey    = "private-key"
)

// Importer accounts for files that signatures are checked with: trusted roots,
// signing configurations, public keys and certificates. It records nothing:
// such a file is trusted when a person names it, never because it was found.
type Importer struct{}

// Name gives "trust-material".
func (Importer) Name() string { return "trust-material" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Recognise tells whether the file is material to check signatures with.
func (Importer) Recognise(h *importer.Head) bool { return kindOf(h) != "" }

// jwkSet is the beginning of a key set (RFC 7517 section 5).
var jwkSet = regexp.MustCompile(`^[\s\x{feff}]*\{[^\[\]{}]*"keys"\s*:\s*\[\s*\{[^{}]*"kty"\s*:\s*"(?:RSA|EC|OKP)"`)

func kindOf(h *importer.Head) string {
	media := h.Members["mediaType"]
	switch {
	case strings.HasPrefix(media, "application/vnd.dev.sigstore.trustedroot"),
		h.Has("certificateAuthorities", "tlogs"), h.Has("certificateAuthorities", "timestampAuthorities"):
		return "a Sigstore trusted root"
	case strings.HasPrefix(media, "application/vnd.dev.sigstore.clienttrustconfig"):
		return "a Sigstore client trust configuration"
	case strings.HasPrefix(media, "application/vnd.dev.sigstore.signingconfig"):
		return "a Sigstore signing configuration"
	}
	if h.Members["keys"] == "[" && jwkSet.Match(h.Bytes) && !h.Has("spiffe_sequence") {
		return "a JSON Web Key Set"
	}
	text := bytes.TrimLeft(h.Bytes, " \t\r\n\xef\xbb\xbf")
	if h.Members != nil || !bytes.Contains(text, []byte("-----BEGIN ")) {
		return ""
	}
	for _, b := range []struct{ begin, kind string }{
		{"PRIVATE KEY-----", "a private key"}, {"PGP PRIVATE KEY BLOCK-----", "a private key"}, {"-----BEGIN PGP PUBLIC KEY BLOCK-----", "OpenPGP public keys"}, {"-----BEGIN CERTIFICATE-----", "X.509 certificates"},
		{"-----BEGIN PUBLIC KEY-----", "a public key"}, {"-----BEGIN RSA PUBLIC KEY-----", "a public key"},
	} {
		if at := bytes.Index(text, []byte(b.begin)); at >= 0 && (at < 4096 && pemFirst(text)) {
			return b.kind
		}
	}
	return ""
}

// pemFirst tells whether the text is PEM and no document that quotes some: a
// block begins a line near the start, with no JSON or markup before it.
func pemFirst(text []byte) bool {
	before, _, _ := bytes.Cut(text, []byte("-----BEGIN "))
	return len(before) < 4096 && (len(before) == 0 || bytes.HasSuffix(before, []byte("\n"))) && !bytes.ContainsAny(before, "{<`")
}

// Read yields one Item that says what the file is.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		head := make([]byte, importer.HeadSize)
		n, err := io.ReadFull(s.R, head)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			yield(importer.Item{}, err)
			return
		}
		rest, err := io.Copy(io.Discard, s.R)
		if err != nil {
			yield(importer.Item{}, err)
			return
		}
		it := importer.Item{Place: "file", Bytes: int64(n) + rest}
		switch kind := kindOf(importer.NewHead(s.Name, it.Bytes, head[:n])); kind {
		case "":
			it.Refusal = &importer.Refusal{Reason: TrustMaterial, Detail: "file: is neither a trusted root, a public key nor a certificate; import it as what it is"}
		case "a private key":
			it.Refusal = &importer.Refusal{Reason: PrivateKey, Detail: "file: is a private key, and was not read further; take it out of the folder"}
		default:
			it.Refusal = &importer.Refusal{Reason: TrustMaterial, Detail: "file: is " + kind + ", which signatures are checked with and which is no thing to record; to trust it, name it when importing"}
		}
		yield(it, nil)
	}
}
