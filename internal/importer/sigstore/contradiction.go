package sigstore

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// contradiction tells what in the bundle speaks against itself, so that nobody
// could verify it, whatever they trust.
func (x *bundled) contradiction() string {
	if x.leaf != nil && supported(x.leaf.PublicKey) == nil {
		if _, _, ok := x.content.verifiedBy(x.leaf.PublicKey, x.sig); !ok {
			return "the signature is not that of the bundle's certificate over this content"
		}
	}
	dated := len(x.timestamps) > 0
	for i, e := range x.entries {
		dated = dated || e.HasInclusionPromise()
		if why := x.entryContradiction(e); why != "" {
			return fmt.Sprintf("transparency log entry %d %s", i, why)
		}
	}
	if x.leaf != nil && len(x.entries) > 0 && !dated {
		return "no time of signing is proven: the bundle holds neither a signed timestamp nor a log's inclusion promise"
	}
	return ""
}

func (x *bundled) entryContradiction(e *tlog.Entry) string {
	if err := tlog.ValidateEntry(e); err != nil {
		return fmt.Sprintf("is not valid: %v", err)
	}
	if !bytes.Equal(e.Signature(), x.sig) {
		return "is of another signature than the bundle's"
	}
	if x.leaf != nil {
		if cert, ok := e.PublicKey().(*x509.Certificate); !ok || !cert.Equal(x.leaf) {
			return "is of another certificate than the bundle's"
		}
		if at := e.IntegratedTime(); !at.IsZero() && (at.Before(x.leaf.NotBefore) || at.After(x.leaf.NotAfter)) {
			return fmt.Sprintf("was logged at %s, when the certificate had expired or was not yet valid: it holds from %s to %s",
				at.UTC().Format(time.RFC3339), x.leaf.NotBefore.UTC().Format(time.RFC3339), x.leaf.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	if sum, ok := e.GetDssePayloadHash(); ok && x.content.message != nil {
		if want := sha256.Sum256(x.pb.GetDsseEnvelope().GetPayload()); !bytes.Equal(sum, want[:]) {
			return "is of another payload than the bundle's"
		}
	}
	return proofContradiction(e.TransparencyLogEntry())
}

// proofContradiction follows the inclusion proof (RFC 6962 section 2.1.1) from
// the entry as it was logged to the root that the proof and its checkpoint say.
func proofContradiction(e *protorekor.TransparencyLogEntry) string {
	p := e.GetInclusionProof()
	if p == nil {
		return ""
	}
	root := p.GetRootHash()
	lines := strings.Split(p.GetCheckpoint().GetEnvelope(), "\n")
	if len(lines) > 2 {
		signed, err := base64.StdEncoding.DecodeString(lines[2])
		if err != nil {
			return "has a checkpoint whose third line is no root hash in base64"
		}
		if len(root) > 0 && !bytes.Equal(root, signed) {
			return fmt.Sprintf("has a checkpoint of another tree: its root hash is %s, that of the inclusion proof %s", base64.StdEncoding.EncodeToString(signed), base64.StdEncoding.EncodeToString(root))
		}
		root = signed
	}
	if p.GetLogIndex() < 0 || p.GetTreeSize() < 0 {
		return "has an inclusion proof of a negative index or size"
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(e.GetCanonicalizedBody())
	err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(p.GetLogIndex()), uint64(p.GetTreeSize()), leaf, p.GetHashes(), root)
	if err != nil {
		return "has an inclusion proof that does not lead from the entry to the root hash"
	}
	return ""
}
