package githuboidc

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

// algorithms are those by which a token may be signed (RFC 7518 section 3.1,
// RFC 8037): none with a shared secret, and not "none".
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

// verifier checks signatures against the key set that was given.
type verifier struct {
	keys *jose.JSONWebKeySet
	err  error
	sum  string
}

func newVerifier(jwks []byte) *verifier {
	v := &verifier{}
	if len(jwks) > 0 {
		v.sum = fmt.Sprintf("sha256:%x", sha256.Sum256(jwks))
		v.keys = &jose.JSONWebKeySet{}
		v.err = json.Unmarshal(jwks, v.keys)
	}
	return v
}

// check gives the outcome for a token. Whether it had expired is not looked
// at: it is a record of the moment in which it was issued.
func (v *verifier) check(token string) *statement.EvidenceCheck {
	out := &statement.EvidenceCheck{By: "JWS", Result: statement.CheckUnverified}
	sig, err := jose.ParseSigned(token, algorithms)
	if err != nil {
		out.Reason = "the token's signature cannot be read: its algorithm is not one of RS, PS, ES or EdDSA, or its form is wrong"
		return out
	}
	h := sig.Signatures[0].Protected
	out.By = rawjson.Clip(fmt.Sprintf("JWS %s, key %q", h.Algorithm, h.KeyID), 300)
	switch {
	case v.sum == "":
		out.Reason = "no key set of the issuer was given"
		return out
	case v.err != nil:
		out.Reason = rawjson.Clip(fmt.Sprintf("the key set cannot be read: %v", v.err), 300)
		return out
	}
	out.By += ", key set " + v.sum
	_, err = sig.Verify(v.keys)
	switch {
	case errors.Is(err, jose.ErrJWKSKidNotFound):
		out.Reason = "the key is not in the key set that was given"
	case err != nil:
		out.Result, out.Reason = statement.CheckFailed, "the token's signature does not verify"
	default:
		out.Result = statement.CheckVerified
	}
	return out
}
