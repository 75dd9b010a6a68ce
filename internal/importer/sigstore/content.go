package sigstore

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // SHA-256 of the content
	_ "crypto/sha512" // SHA-384 and SHA-512 of the content
	"fmt"
	"strconv"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// legacyPredicate is what model-signing 0.2 wrote.
const legacyPredicate = "https://model_signing/Digests/v0.1"

// content is what a signature is over.
type content struct {
	message []byte // the DSSE pre-authentication encoding; nil for an artifact
	// legacy is the encoding that model-signing 0.2 made by mistake, where the
	// payload is of that version; else nil.
	legacy []byte
	digest []byte // of an artifact that is not here
	hash   crypto.Hash
}

func envelopeContent(payloadType string, payload []byte) content {
	c := content{message: dsse.PAE(payloadType, payload)}
	if isLegacyModel(payload) {
		c.legacy = legacyPAE(payloadType, payload)
	}
	return c
}

// supported tells whether signatures by a key of this sort can be checked.
func supported(pub crypto.PublicKey) error {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return fmt.Errorf("an elliptic curve key of %s; P-256, P-384 and P-521 can be checked", k.Curve.Params().Name)
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 || n > 8192 {
			return fmt.Errorf("an RSA key of %d bits; 2048 to 8192 can be checked", n)
		}
		return nil
	}
	return fmt.Errorf("a key of type %T; ECDSA, Ed25519 and RSA can be checked", pub)
}

// verifiedBy tells whether sig is that of the key over the content, with which
// hash, and whether it is over the legacy encoding.
func (c content) verifiedBy(pub crypto.PublicKey, sig []byte) (hash crypto.Hash, legacy, ok bool) {
	if supported(pub) != nil || len(sig) == 0 {
		return 0, false, false
	}
	if c.message == nil {
		return c.hash, false, c.hash.Available() && len(c.digest) == c.hash.Size() && verifyDigest(pub, c.hash, c.digest, sig)
	}
	if hash, ok = verifyMessage(pub, c.message, sig); ok {
		return hash, false, true
	}
	if c.legacy != nil {
		if hash, ok = verifyMessage(pub, c.legacy, sig); ok {
			return hash, true, true
		}
	}
	return 0, false, false
}

// verifyMessage tries the hashes that producers use with the sort of key, the
// Sigstore default first.
func verifyMessage(pub crypto.PublicKey, message, sig []byte) (crypto.Hash, bool) {
	if k, ok := pub.(ed25519.PublicKey); ok {
		return crypto.Hash(0), ed25519.Verify(k, message, sig)
	}
	for _, h := range hashes(pub) {
		w := h.New()
		w.Write(message)
		if verifyDigest(pub, h, w.Sum(nil), sig) {
			return h, true
		}
	}
	return 0, false
}

func hashes(pub crypto.PublicKey) []crypto.Hash {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P384():
			return []crypto.Hash{crypto.SHA384, crypto.SHA256}
		case elliptic.P521():
			return []crypto.Hash{crypto.SHA512, crypto.SHA256}
		}
		return []crypto.Hash{crypto.SHA256}
	case *rsa.PublicKey:
		return []crypto.Hash{crypto.SHA256, crypto.SHA512, crypto.SHA384}
	}
	return nil
}

func verifyDigest(pub crypto.PublicKey, h crypto.Hash, digest, sig []byte) bool {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, digest, sig)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, h, digest, sig) == nil || rsa.VerifyPSS(k, h, digest, sig, nil) == nil
	case ed25519.PublicKey: // Ed25519ph, the only one over a digest
		return h == crypto.SHA512 && ed25519.VerifyWithOptions(k, digest, sig, &ed25519.Options{Hash: crypto.SHA512}) == nil
	}
	return false
}

// legacyPAE is the encoding that model-signing 0.2 signs in place of that of
// DSSE: the version in upper case, and the payload as Python prints bytes. It
// says all of the payload and can be no DSSE encoding, so that accepting it
// for a payload of that version lets nothing else through.
func legacyPAE(payloadType string, payload []byte) []byte {
	b := []byte("DSSEV1 " + strconv.Itoa(len(payloadType)) + " " + payloadType + " " + strconv.Itoa(len(payload)) + " ")
	return appendPythonBytes(b, payload)
}

// appendPythonBytes writes bytes as Python's repr does.
func appendPythonBytes(b, data []byte) []byte {
	quote := byte('\'')
	single, double := false, false
	for _, c := range data {
		single, double = single || c == '\'', double || c == '"'
	}
	if single && !double {
		quote = '"'
	}
	b = append(b, 'b', quote)
	for _, c := range data {
		switch {
		case c == quote || c == '\\':
			b = append(b, '\\', c)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c < ' ' || c >= 0x7f:
			const digits = "0123456789abcdef"
			b = append(b, '\\', 'x', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, quote)
}

func isLegacyModel(payload []byte) bool {
	if !bytes.Contains(payload, []byte(legacyPredicate)) {
		return false
	}
	value, err := onlyValue(payload)
	return err == nil && rawjson.Parse(value).Root().Get("predicateType").Text() == legacyPredicate
}
