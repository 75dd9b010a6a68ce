package sigstore

import (
	"crypto/x509"
	"fmt"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// isAttestation tells whether a value has the shape of an attestation of a
// Python package (PEP 740): a bundle in other words.
func isAttestation(n rawjson.Node) bool {
	e := n.Get("envelope")
	return n.Get("verification_material").Kind() == '{' && e.Get("statement").Kind() == '"' && e.Get("signature").Kind() == '"'
}

// openAttestation reads a PEP 740 attestation as the bundle that it stands for.
func (t *Trust) openAttestation(n rawjson.Node) (Opened, error) {
	bad := func(place string, err error) (Opened, error) {
		return Opened{}, fmt.Errorf("opening PEP 740 attestation: %s: %w", place, oneLine(err))
	}
	payload, err := anyBase64(n.Get("envelope").Get("statement").Text())
	if err != nil {
		return bad("envelope.statement", err)
	}
	sig, err := anyBase64(n.Get("envelope").Get("signature").Text())
	if err != nil {
		return bad("envelope.signature", err)
	}
	material := n.Get("verification_material")
	der, err := anyBase64(material.Get("certificate").Text())
	if err == nil {
		_, err = x509.ParseCertificate(der)
	}
	if err != nil {
		return bad("verification_material.certificate", err)
	}
	vm := &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_Certificate{
		Certificate: &protocommon.X509Certificate{RawBytes: der}}}
	for e := range material.Get("transparency_entries").All() {
		entry := &protorekor.TransparencyLogEntry{}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(e.Raw(), entry); err != nil {
			return bad(fmt.Sprintf("verification_material.transparency_entries[%d]", len(vm.TlogEntries)), err)
		}
		vm.TlogEntries = append(vm.TlogEntries, entry)
	}
	return t.openProto(&protobundle.Bundle{
		MediaType:            "application/vnd.dev.sigstore.bundle.v0.3+json",
		VerificationMaterial: vm,
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload: payload, PayloadType: "application/vnd.in-toto+json",
			Signatures: []*protodsse.Signature{{Sig: sig}}}},
	})
}
