// Package githuboidc makes statements out of the OpenID Connect claims that
// GitHub gives to the jobs of its workflows: decoded, or in a token (JWT, RFC
// 7519). A token is a secret: its claims and header are kept, the token and
// its signature are not.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-github-oidc.md.
package githuboidc

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// MaxClaims is the largest token or object of claims that is read, in bytes.
const MaxClaims = 1 << 20

// MediaType is that of the evidence.
const MediaType = "application/json"

// The classes of refusals beside those of rawjson.
const (
	NotClaims    = "not-github-claims"
	MissingClaim = "missing-claim"
	BadToken     = "bad-token"
	BadClaim     = "bad-claim"
)

// Options of reading.
type Options struct {
	// JWKS is the key set of the issuer (RFC 7517 section 5), as it stands at
	// its jwks_uri. Nil: no signature is verified.
	JWKS []byte
}

// Importer reads the claims of GitHub's OIDC tokens.
type Importer struct{ Options Options }

// Name gives "github-oidc".
func (Importer) Name() string { return "github-oidc" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Recognise tells whether the file holds claims or a token of GitHub's issuer.
func (Importer) Recognise(h *importer.Head) bool {
	if h.Members == nil {
		line, _, _ := bytes.Cut(bytes.TrimSpace(h.Bytes), []byte("\n"))
		_, claims, ok := decode(string(bytes.TrimSpace(line)))
		return ok && ofGitHub(claims)
	}
	if _, claims, ok := decode(h.Members["value"]); ok {
		return ofGitHub(claims)
	}
	for _, name := range wrappers {
		if h.Members[name] == "{" {
			return ofGitHub(h.Bytes) && (h.Has("alg") || h.Has("header") || len(h.Members) == 1)
		}
	}
	return h.Has("iss", "sub", "repository", "run_id") && ofGitHub(h.Bytes)
}

// wrappers are the members under which decoders put the claims.
var wrappers = []string{"claims", "_claims", "payload"}

// ofGitHub tells whether the text holds claims that only GitHub's issuer
// gives.
func ofGitHub(b []byte) bool {
	return bytes.Contains(b, []byte("token.actions.")) || bytes.Contains(b, []byte(`"job_workflow_ref"`)) && bytes.Contains(b, []byte(`"run_id"`))
}

// decode gives the header and claims of a token (RFC 7515 section 7.1).
func decode(token string) (head, claims []byte, ok bool) {
	parts := strings.Split(token, ".")
	if len(token) > MaxClaims || len(parts) != 3 || !strings.HasPrefix(token, "eyJ") {
		return nil, nil, false
	}
	head, err1 := base64.RawURLEncoding.DecodeString(parts[0])
	claims, err2 := base64.RawURLEncoding.DecodeString(parts[1])
	return head, claims, err1 == nil && err2 == nil && len(claims) > 0 && claims[0] == '{'
}

// Read yields an Item for each token or object of claims.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		r := bufio.NewReaderSize(s.R, 64<<10)
		b, err := r.Peek(1024)
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			yield(importer.Item{}, fmt.Errorf("reading claims: %w", err))
			return
		}
		v := newVerifier(im.Options.JWKS)
		if b = bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), " \t\r\n"); bytes.HasPrefix(b, []byte("eyJ")) {
			v.tokens(r, yield)
			return
		}
		for x, err := range rawjson.Split(r, MaxClaims) {
			if err != nil {
				yield(importer.Item{}, fmt.Errorf("reading claims: %w", err))
				return
			}
			if !yield(v.value(x), nil) {
				return
			}
		}
	}
}

// tokens reads one token a line.
func (v *verifier) tokens(r *bufio.Reader, yield func(importer.Item, error) bool) {
	at := int64(0)
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		it := importer.Item{Place: fmt.Sprintf("line %d", n), Offset: at, Bytes: int64(len(line))}
		whole := bytes.Clone(line)
		for err == bufio.ErrBufferFull {
			line, err = r.ReadSlice('\n')
			it.Bytes += int64(len(line))
			if len(whole) <= MaxClaims {
				whole = append(whole, line...)
			}
		}
		at += it.Bytes
		if err != nil && err != io.EOF {
			yield(importer.Item{}, fmt.Errorf("reading tokens: %w", err))
			return
		}
		if text := strings.TrimSpace(strings.TrimPrefix(string(whole), "\xef\xbb\xbf")); text != "" {
			it.Original = sha256.Sum256([]byte(text))
			if !yield(v.token(it, text), nil) {
				return
			}
		}
		if err == io.EOF {
			return
		}
	}
}

// token makes the Item of a token. A message about it never holds it.
func (v *verifier) token(it importer.Item, token string) importer.Item {
	head, claims, ok := decode(token)
	if !ok {
		it.Refusal = &importer.Refusal{Reason: BadToken, Detail: it.Place + ": is no JSON web token of three parts in base64url; give the token as it was received, or its decoded claims"}
		return it
	}
	// Each part must be one JSON object by itself before both are put together.
	text := append(append(append(append([]byte(`{"header":`), head...), `,"claims":`...), claims...), '}')
	for _, part := range [][]byte{head, claims, text} {
		if !object(part) {
			it.Refusal = &importer.Refusal{Reason: BadToken, Detail: it.Place + ": its header or claims are no JSON object"}
			return it
		}
	}
	check := v.check(token)
	return item(it, text, check, []string{"the token and its signature are not kept: whoever has them may act as the workflow"})
}

// object tells whether the text is one JSON object.
func object(text []byte) bool {
	n := 0
	for x, err := range rawjson.Split(bytes.NewReader(text), 2*MaxClaims) {
		if n++; err != nil || x.Fault != nil || n > 1 || x.Bytes[0] != '{' || int64(len(text)) != x.Size {
			return false
		}
	}
	return n == 1
}

// value makes the Item of one value of a stream.
func (v *verifier) value(x rawjson.Value) importer.Item {
	it := importer.Item{Place: x.Place, Offset: x.Offset, Bytes: x.Size}
	if x.Fault != nil {
		it.Refusal = &importer.Refusal{Reason: x.Fault.Reason, Detail: x.Fault.Detail}
		return it
	}
	it.Original = sha256.Sum256(x.Bytes)
	root := rawjson.Parse(x.Bytes).Root()
	text := root.Text()
	if text == "" {
		text = root.Get("value").Text() // as the runner's token endpoint answers
	}
	if strings.HasPrefix(text, "eyJ") {
		return v.token(it, strings.TrimSpace(text))
	}
	return item(it, x.Bytes, nil, nil)
}
