package sigstore

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// File is a file of trust material: its name, for messages, and its bytes.
type File struct {
	Name string
	Data []byte
}

// Trust is what signatures are checked against. It is made once and not
// changed, so any number of goroutines may use it. A nil Trust works and
// trusts nothing.
type Trust struct {
	roots    []*trustedRoot
	keys     []*publicKey
	anchors  []*anchor
	policies []policy
}

// trustedRoot is a Sigstore trusted root: certificate authorities, logs and
// timestamp authorities that belong together.
type trustedRoot struct {
	*root.TrustedRoot
	digest string // "sha256:…" of the JSON
}

// anchor is a certificate that signing certificates may lead to.
type anchor struct {
	cert   *x509.Certificate
	digest string // "sha256:…" of the DER
}

// publicKey is a key that a person trusts by itself.
type publicKey struct {
	pub    crypto.PublicKey
	digest string          // "sha256:…" of the DER
	ids    map[string]bool // the ways in which producers name it
}

// policy says whose certificates are accepted.
type policy struct{ issuer, subject func(string) bool }

// NewTrust reads trust material. Each file is one of
//
//   - a Sigstore trusted root (trusted_root.json), several of them one a line
//     (trusted_root.jsonl), or a client trust configuration that holds one;
//   - public keys or certificates in PEM, any number, or one in DER. The
//     certificate of an authority is one that signing certificates may lead
//     to; any other stands for its key;
//   - an identity policy: {"identities":[{"issuer":…,"subject":…}]}, with
//     issuerRegExp and subjectRegExp for patterns, which must match the whole.
//     With any policy, a certificate must match one of them.
func NewTrust(files ...File) (*Trust, error) {
	t := &Trust{}
	for _, f := range files {
		if err := t.add(f.Data); err != nil {
			return nil, fmt.Errorf("reading trust material %s: %w", f.Name, err)
		}
	}
	return t, nil
}

// Empty tells whether there is nothing to check with.
func (t *Trust) Empty() bool {
	return t == nil || len(t.roots)+len(t.keys)+len(t.anchors) == 0
}

func (t *Trust) add(data []byte) error {
	if len(data) > MaxTrustFile {
		return fmt.Errorf("%d bytes, the limit is %d", len(data), MaxTrustFile)
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	switch {
	case len(text) == 0:
		return errors.New("the file is empty")
	case text[0] == '{' || text[0] == '[':
		return t.addJSON(text)
	case bytes.Contains(text, []byte("-----BEGIN ")):
		return t.addPEM(text)
	}
	if pub, err := x509.ParsePKIXPublicKey(data); err == nil {
		return t.addKey(pub)
	}
	if cert, err := x509.ParseCertificate(data); err == nil {
		return t.addCertificate(cert)
	}
	return errors.New("neither a Sigstore trusted root, an identity policy (JSON), nor public keys or certificates (PEM, DER)")
}

func (t *Trust) addPEM(text []byte) error {
	n := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		n++
		err := t.addBlock(block)
		if err != nil {
			return fmt.Errorf("PEM block %d: %w", n, err)
		}
	}
	if n == 0 {
		return errors.New("the PEM text holds no block that can be read")
	}
	return nil
}

func (t *Trust) addBlock(b *pem.Block) error {
	switch b.Type {
	case "PUBLIC KEY":
		pub, err := x509.ParsePKIXPublicKey(b.Bytes)
		if err != nil {
			return err
		}
		return t.addKey(pub)
	case "RSA PUBLIC KEY":
		pub, err := x509.ParsePKCS1PublicKey(b.Bytes)
		if err != nil {
			return err
		}
		return t.addKey(pub)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return err
		}
		return t.addCertificate(cert)
	}
	if strings.Contains(b.Type, "PRIVATE KEY") {
		return errors.New("this is a private key; name the file of its public key, and keep this one to yourself")
	}
	return fmt.Errorf("is %q; give PUBLIC KEY or CERTIFICATE", b.Type)
}

func (t *Trust) addCertificate(cert *x509.Certificate) error {
	if !cert.IsCA {
		return t.addKey(cert.PublicKey)
	}
	t.anchors = append(t.anchors, &anchor{cert, digestOf(cert.Raw)})
	return nil
}

func (t *Trust) addKey(pub crypto.PublicKey) error {
	if err := supported(pub); err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return err
	}
	t.keys = append(t.keys, &publicKey{pub, digestOf(der), keyIDs(der)})
	return nil
}

// keyIDs gives the names under which producers refer to a key: the SHA-256 of
// its DER in hexadecimal (in-toto tools, witness, cosign), in base64 (Sigstore
// bundles), as npm writes it, and that of its PEM (model signing).
func keyIDs(der []byte) map[string]bool {
	ids := map[string]bool{}
	sum := sha256.Sum256(der)
	raw := base64.RawStdEncoding.EncodeToString(sum[:])
	for _, id := range []string{raw, base64.StdEncoding.EncodeToString(sum[:]), hex.EncodeToString(sum[:])} {
		ids[id], ids["SHA256:"+id], ids["sha256:"+id] = true, true, true
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	for _, b := range [][]byte{text, bytes.TrimSpace(text)} {
		sum := sha256.Sum256(b)
		ids[hex.EncodeToString(sum[:])] = true
	}
	return ids
}

func (t *Trust) addJSON(text []byte) error {
	n := 0
	for v, err := range rawjson.Split(bytes.NewReader(text), MaxTrustFile) {
		if err != nil {
			return err
		}
		if v.Fault != nil {
			return fmt.Errorf("%s: %s", v.Place, v.Fault.Detail)
		}
		n++
		if err := t.addDocument(rawjson.Parse(v.Bytes).Root()); err != nil {
			return fmt.Errorf("%s: %w", v.Place, err)
		}
	}
	if n == 0 {
		return errors.New("the file holds no JSON object")
	}
	return nil
}

func (t *Trust) addDocument(n rawjson.Node) error {
	if inner := n.Get("trustedRoot"); inner.Kind() == '{' {
		n = inner // a client trust configuration
	}
	switch {
	case n.Get("identities").Kind() == '[':
		return t.addPolicies(n.Get("identities"))
	case n.Get("certificateAuthorities").Given() || n.Get("tlogs").Given() || strings.Contains(n.Get("mediaType").Text(), "trustedroot"):
		r, err := root.NewTrustedRootFromJSON(n.Raw())
		if err != nil {
			return fmt.Errorf("is no trusted root that can be used: %w", oneLine(err))
		}
		t.roots = append(t.roots, &trustedRoot{r, digestOf(n.Raw())})
		return nil
	}
	return errors.New("is neither a Sigstore trusted root (mediaType application/vnd.dev.sigstore.trustedroot+json;version=0.1) nor an identity policy ({\"identities\":[…]})")
}

func (t *Trust) addPolicies(list rawjson.Node) error {
	i := 0
	for n := range list.All() {
		p := policy{}
		var err1, err2 error
		p.issuer, err1 = matcher(n, "issuer")
		p.subject, err2 = matcher(n, "subject")
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("identities[%d]: %w", i, oneLine(err))
		}
		if p.issuer == nil && p.subject == nil {
			return fmt.Errorf("identities[%d]: gives neither issuer nor subject, and would accept anybody", i)
		}
		t.policies = append(t.policies, p)
		i++
	}
	if i == 0 {
		return errors.New("identities is empty, and would accept nobody")
	}
	return nil
}

// matcher reads a field of a policy, exact or as a pattern; nil when absent.
func matcher(n rawjson.Node, field string) (func(string) bool, error) {
	if want := n.Get(field).Text(); want != "" {
		return func(s string) bool { return s == want }, nil
	}
	for _, suffix := range []string{"RegExp", "Regexp"} {
		if pattern := n.Get(field + suffix).Text(); pattern != "" {
			re, err := regexp.Compile("^(?:" + pattern + ")$")
			if err != nil {
				return nil, fmt.Errorf("%s%s: %w", field, suffix, err)
			}
			return re.MatchString, nil
		}
	}
	return nil, nil
}

// accepts tells whether the policies let the signer of a certificate through.
func (t *Trust) accepts(s Signer) bool {
	for _, p := range t.policies {
		if (p.issuer == nil || p.issuer(s.Issuer)) && (p.subject == nil || p.subject(s.Name)) {
			return true
		}
	}
	return len(t.policies) == 0
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// line is an error with its text in one line.
type line struct {
	error
	text string
}

func (l line) Error() string { return l.text }
func (l line) Unwrap() error { return l.error }

func oneLine(err error) error {
	return line{err, rawjson.Clip(strings.Join(strings.Fields(err.Error()), " "), 400)}
}
