package sigstore

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	intoto "github.com/in-toto/attestation/go/v1"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

var digests = map[protocommon.HashAlgorithm]struct {
	name string
	hash crypto.Hash
}{
	protocommon.HashAlgorithm_SHA2_256: {"sha256", crypto.SHA256},
	protocommon.HashAlgorithm_SHA2_384: {"sha384", crypto.SHA384},
	protocommon.HashAlgorithm_SHA2_512: {"sha512", crypto.SHA512},
}

// openBundle reads a bundle. Fields that its protobuf does not know are passed
// over: early model-signing wrote the key itself beside its hint.
func (t *Trust) openBundle(n rawjson.Node) (Opened, error) {
	pb := &protobundle.Bundle{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(n.Raw(), pb); err != nil {
		return Opened{}, fmt.Errorf("opening Sigstore bundle: %w; the format is protobuf JSON of dev.sigstore.bundle.v1.Bundle", oneLine(err))
	}
	key := n.Get("verificationMaterial").Get("publicKey").Get("rawBytes")
	return t.openProto(pb, keyHint(key.Text()))
}

// keyHint gives the digest of a key that stands in a bundle. It is not trusted:
// it tells which of the trusted keys is meant.
func keyHint(text string) string {
	der, err := anyBase64(text)
	if err != nil || len(der) == 0 {
		return ""
	}
	if block, _ := pem.Decode(der); block != nil {
		der = block.Bytes
	}
	return digestOf(der)
}

func (t *Trust) openProto(pb *protobundle.Bundle, hints ...string) (Opened, error) {
	o := Opened{Bundle: true}
	x := &bundled{t: t, pb: pb, hints: hints}
	switch {
	case pb.GetDsseEnvelope() != nil:
		e := pb.GetDsseEnvelope()
		o.PayloadType, o.Payload = e.GetPayloadType(), e.GetPayload()
		if o.PayloadType == "" {
			return Opened{}, fmt.Errorf("opening Sigstore bundle: dsseEnvelope.payloadType: is missing")
		}
		x.content = envelopeContent(o.PayloadType, o.Payload)
		x.count = len(e.GetSignatures())
		if x.count > 0 {
			x.sig, x.hints = e.GetSignatures()[0].GetSig(), append(x.hints, e.GetSignatures()[0].GetKeyid())
		}
	case pb.GetMessageSignature() != nil:
		m := pb.GetMessageSignature()
		x.count, x.sig = 1, m.GetSignature()
		if d, ok := digests[m.GetMessageDigest().GetAlgorithm()]; ok && len(m.GetMessageDigest().GetDigest()) == d.hash.Size() {
			o.Digest = statement.DigestSet{d.name: hex.EncodeToString(m.GetMessageDigest().GetDigest())}
			x.content = content{digest: m.GetMessageDigest().GetDigest(), hash: d.hash}
			x.digestName = d.name
		}
	default:
		return Opened{}, fmt.Errorf("opening Sigstore bundle: it holds neither dsseEnvelope nor messageSignature")
	}
	o.write(guard(x.check))
	return o, nil
}

// bundled is a bundle that is being checked.
type bundled struct {
	t          *Trust
	pb         *protobundle.Bundle
	content    content
	digestName string // of a message's digest
	sig        []byte
	hints      []string // what names the key, beside the bundle's hint
	count      int      // of signatures

	b          *bundle.Bundle
	entries    []*tlog.Entry
	timestamps [][]byte
	leaf       *x509.Certificate
	chain      []*x509.Certificate // what the bundle brings beside the leaf
	signer     Signer
}

// check gives what the bundle's signature is worth. What contradicts itself is
// failed whatever is trusted; only then are roots and keys looked for.
func (x *bundled) check() outcome {
	switch {
	case x.count == 0 || len(x.sig) == 0:
		return outcome{result: statement.CheckUnsigned, reason: "the bundle holds no signature"}
	case x.count != 1:
		return failed("the bundle holds %d signatures, a Sigstore bundle has exactly one", x.count)
	case x.content.message == nil && x.digestName == "":
		return unverified("the bundle does not give the SHA-2 digest of the artifact that it signs")
	}
	if kind := x.unknownEntry(); kind != "" {
		return unverified("transparency log entries of kind %s cannot be checked", kind)
	}
	if err := x.load(); err != nil {
		return failed("the bundle does not hold together: %v", oneLine(err))
	}
	if why := x.noStatement(); why != "" {
		return withSigner(failed("%s", why), x.signer)
	}
	if why := x.contradiction(); why != "" {
		return withSigner(failed("%s", why), x.signer)
	}
	if x.leaf == nil {
		return x.checkKey()
	}
	if err := supported(x.leaf.PublicKey); err != nil {
		return withSigner(unverified("the certificate holds %v", err), x.signer)
	}
	return withSigner(x.checkCertificate(), x.signer)
}

// readable lists the kinds of log entries that the verifier reads.
var readable = map[string]bool{"dsse 0.0.1": true, "intoto 0.0.2": true, "hashedrekord 0.0.1": true, "hashedrekord 0.0.2": true}

// unknownEntry gives the kind of a log entry that is named and not read.
func (x *bundled) unknownEntry() string {
	for _, e := range x.pb.GetVerificationMaterial().GetTlogEntries() {
		if v := e.GetKindVersion(); v != nil && !readable[v.GetKind()+" "+v.GetVersion()] {
			return rawjson.Clip(fmt.Sprintf("%q %q", v.GetKind(), v.GetVersion()), 200)
		}
	}
	return ""
}

func (x *bundled) load() error {
	var options []bundle.Option
	material := x.pb.GetVerificationMaterial()
	if material.GetX509CertificateChain() != nil && strings.Contains(x.pb.GetMediaType(), "0.3") {
		options = append(options, bundle.AllowCertificateChain()) // certificate-signed models
	}
	var err error
	if x.b, err = bundle.NewBundle(x.pb, options...); err != nil {
		return err
	}
	if x.entries, err = x.b.TlogEntries(); err != nil {
		return err
	}
	if x.timestamps, err = x.b.Timestamps(); err != nil {
		return err
	}
	if len(x.timestamps) > maxSignatures {
		return fmt.Errorf("%d timestamps, the limit is %d", len(x.timestamps), maxSignatures)
	}
	raw := [][]byte{material.GetCertificate().GetRawBytes()}
	if c := material.GetX509CertificateChain(); c != nil {
		raw = nil
		for _, cert := range c.GetCertificates() {
			raw = append(raw, cert.GetRawBytes())
		}
		if len(raw) == 0 || len(raw) > maxChain {
			return fmt.Errorf("verificationMaterial.x509CertificateChain holds %d certificates, must be 1 to %d", len(raw), maxChain)
		}
	}
	if material.GetPublicKey() != nil {
		return nil
	}
	for i, der := range raw {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("certificate %d: %w", i, err)
		}
		if i == 0 {
			x.leaf, x.signer = cert, signerOf(cert)
		} else {
			x.chain = append(x.chain, cert)
		}
	}
	return nil
}

// noStatement tells why the payload is not the in-toto statement that its type
// says: a statement of an unknown type must not be read as one that is known.
func (x *bundled) noStatement() string {
	e := x.pb.GetDsseEnvelope()
	if e.GetPayloadType() != bundle.IntotoMediaType {
		return ""
	}
	value, err := onlyValue(e.GetPayload())
	if err != nil {
		return fmt.Sprintf("the payload is not the in-toto statement that its type says: %v", err)
	}
	switch typ := rawjson.Parse(value).Root().Get("_type").Text(); typ {
	case "https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1":
		return ""
	default:
		return fmt.Sprintf("the payload is no in-toto statement of a known type: its _type is %q", rawjson.Clip(typ, 200))
	}
}

// logNames lists the logs that the bundle's entries are of.
func (x *bundled) logNames() string {
	var names []string
	for _, e := range x.entries {
		names = append(names, base64.StdEncoding.EncodeToString([]byte(e.LogKeyID())))
	}
	return strings.Join(names, ", ")
}

// entity is the bundle as the verifier sees it. The verifier parses the payload
// as an in-toto statement after all checks, and would fail what is none; here
// the payload is not its affair.
type entity struct {
	*bundle.Bundle
	encoded []byte
}

func (e entity) SignatureContent() (verify.SignatureContent, error) {
	c, err := e.Bundle.SignatureContent()
	switch {
	case err != nil || c.EnvelopeContent() == nil:
		return c, err
	case e.encoded != nil:
		return bundle.NewMessageSignature(e.encoded, protocommon.HashAlgorithm_SHA2_256.String(), c.Signature()), nil
	}
	return opaque{c}, nil
}

// entity gives the bundle to the verifier.
func (x *bundled) entity() entity { return entity{x.b, x.encoded()} }

// encoded gives the SHA-256 of the DSSE encoding where the envelope was logged
// as hashedrekord 0.0.1, else nil. Such an entry holds the digest of that
// encoding, and the signature over the encoding is a message's over it.
func (x *bundled) encoded() []byte {
	if x.content.message == nil || len(x.entries) == 0 {
		return nil
	}
	for _, e := range x.entries {
		if _, _, ok := e.GetHashedRekordDigest(); !ok || e.IsRekorV2() {
			return nil
		}
	}
	sum := sha256.Sum256(x.content.message)
	return sum[:]
}

type opaque struct{ verify.SignatureContent }

func (o opaque) EnvelopeContent() verify.EnvelopeContent {
	return opaquePayload{o.SignatureContent.EnvelopeContent()}
}

type opaquePayload struct{ verify.EnvelopeContent }

func (opaquePayload) Statement() (*intoto.Statement, error) { return &intoto.Statement{}, nil }

// policy is what the verifier is asked beside the signature: the digest of the
// artifact, where there is no payload. Whose certificate it is, is for Trust.
func (x *bundled) policy(options ...verify.PolicyOption) verify.PolicyBuilder {
	if sum := x.encoded(); sum != nil {
		return verify.NewPolicy(verify.WithArtifactDigest("sha256", sum), options...)
	}
	if x.content.message != nil {
		return verify.NewPolicy(verify.WithoutArtifactUnsafe(), options...)
	}
	return verify.NewPolicy(verify.WithArtifactDigest(x.digestName, x.content.digest), options...)
}

// earliest gives the first of the times that were verified.
func earliest(r *verify.VerificationResult) statement.Time {
	var first time.Time
	for _, t := range r.VerifiedTimestamps {
		if first.IsZero() || t.Timestamp.Before(first) {
			first = t.Timestamp
		}
	}
	if first.IsZero() {
		return statement.Time{}
	}
	return statement.NewTime(first.UTC())
}
