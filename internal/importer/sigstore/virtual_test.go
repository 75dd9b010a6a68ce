package sigstore

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/stemma-lineage/stemma/statement"
)

// rootOf gives the root of an instance of Sigstore that lives in the test.
func rootOf(vs *ca.VirtualSigstore, logs bool, tsa bool) *Trust {
	tsas, rekor := vs.TimestampingAuthorities(), vs.RekorLogs()
	if !tsa {
		tsas = nil
	}
	if !logs {
		rekor = map[string]*root.TransparencyLog{}
	}
	r := must(root.NewTrustedRoot(root.TrustedRootMediaType01, vs.FulcioCertificateAuthorities(), map[string]*root.TransparencyLog{}, tsas, rekor))
	return &Trust{roots: []*trustedRoot{{r, "sha256:test"}}}
}

// write gives the JSON of a bundle of what the instance signed. With envelope,
// the signature is that of an envelope over the test's payload.
func write(vs *ca.VirtualSigstore, e *ca.TestEntity, version string, envelope bool) []byte {
	content := must(e.SignatureContent())
	cert := must(e.VerificationContent()).Certificate()
	vm := &protobundle.VerificationMaterial{TimestampVerificationData: &protobundle.TimestampVerificationData{}}
	if version == "0.3" {
		vm.Content = &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: cert.Raw}}
	} else {
		vm.Content = &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{
			Certificates: []*protocommon.X509Certificate{{RawBytes: cert.Raw}}}}
	}
	for _, ts := range must(e.Timestamps()) {
		vm.TimestampVerificationData.Rfc3161Timestamps = append(vm.TimestampVerificationData.Rfc3161Timestamps, &protocommon.RFC3161SignedTimestamp{SignedTimestamp: ts})
	}
	for _, entry := range must(e.TlogEntries()) {
		vm.TlogEntries = append(vm.TlogEntries, logged(vs, entry))
	}
	b := &protobundle.Bundle{MediaType: "application/vnd.dev.sigstore.bundle+json;version=" + version, VerificationMaterial: vm}
	if env := content.EnvelopeContent(); env != nil || envelope {
		b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{Payload: []byte(payload), PayloadType: inToto,
			Signatures: []*protodsse.Signature{{Sig: content.Signature()}}}}
	} else {
		b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{Signature: content.Signature(),
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: content.MessageSignatureContent().Digest()}}}
	}
	return must(protojson.Marshal(b))
}

// logged completes what the instance's log gave: kind, and promise for Rekor 1.
func logged(vs *ca.VirtualSigstore, entry *tlog.Entry) *protorekor.TransparencyLogEntry {
	e := entry.TransparencyLogEntry()
	if e.KindVersion != nil {
		return e
	}
	var body struct{ Kind, APIVersion string }
	if err := json.Unmarshal(e.CanonicalizedBody, &body); err != nil {
		panic(err)
	}
	e.KindVersion = &protorekor.KindVersion{Kind: body.Kind, Version: body.APIVersion}
	e.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: must(vs.RekorSignPayload(tlog.RekorPayload{
		Body: entry.Body(), IntegratedTime: e.IntegratedTime, LogIndex: e.LogIndex, LogID: hex.EncodeToString(e.LogId.KeyId)}))}
	return e
}

// TestVirtual signs with an instance of Sigstore of our own, so that the kinds
// of bundles that no fixture shows are tried too.
func TestVirtual(t *testing.T) {
	vs := must(ca.NewVirtualSigstore())
	other := must(ca.NewVirtualSigstore())
	mail, issuer := "ann@acme.example", "https://issuer.example"
	attested := must(vs.Attest(mail, issuer, []byte(payload)))
	v2 := must(vs.AttestHashedRekordV2(mail, issuer, []byte(payload)))
	message := must(vs.Sign(mail, issuer, []byte("artifact")))
	encoded := must(vs.Sign(mail, issuer, dsse.PAE(inToto, []byte(payload)))) // an envelope that was logged as a file

	noEntries := func(raw []byte) []byte {
		b := &protobundle.Bundle{}
		if err := protojson.Unmarshal(raw, b); err != nil {
			t.Fatal(err)
		}
		b.VerificationMaterial.TlogEntries = nil
		return must(protojson.Marshal(b))
	}
	changed := func(raw []byte) []byte {
		one, two := base64.StdEncoding.EncodeToString([]byte(payload)), base64.StdEncoding.EncodeToString([]byte(strings.Replace(payload, "/x", "/y", 1)))
		return []byte(strings.Replace(string(raw), one, two, 1))
	}
	for _, c := range []struct {
		name  string
		trust *Trust
		raw   []byte
		want  string
		says  string
	}{
		{"Rekor 1, dsse", rootOf(vs, true, true), write(vs, attested, "0.1", false), statement.CheckVerified, mail + " (" + issuer + ")"},
		{"Rekor 2", rootOf(vs, true, true), write(vs, v2, "0.3", false), statement.CheckVerified, mail},
		{"Rekor 2, and the root has no timestamp authority", rootOf(vs, true, false), write(vs, v2, "0.3", false), statement.CheckUnverified, "timestamp authority"},
		{"message", rootOf(vs, true, true), write(vs, message, "0.1", false), statement.CheckVerified, mail},
		{"Rekor 1, an envelope logged as hashedrekord", rootOf(vs, true, true), write(vs, encoded, "0.1", true), statement.CheckVerified, mail},
		{"the same, changed", rootOf(vs, true, true), changed(write(vs, encoded, "0.1", true)), statement.CheckFailed, "not that of the bundle's certificate"},
		{"the entry of another message", rootOf(vs, true, true), write(vs, message, "0.1", true), statement.CheckFailed, "not that of the bundle's certificate"},
		{"an entry of a kind that is not read", rootOf(vs, true, true), []byte(strings.Replace(string(write(vs, v2, "0.3", false)), "\"0.0.2\"", "\"0.0.9\"", 1)), statement.CheckUnverified, `"hashedrekord" "0.0.9"`},
		{"another root", rootOf(other, true, true), write(vs, attested, "0.1", false), statement.CheckUnverified, "no trusted root or CA certificate leads"},
		{"a root without logs", rootOf(vs, false, true), noEntries(write(vs, attested, "0.3", false)), statement.CheckVerified, mail},
		{"a root without logs and without the authority", rootOf(vs, false, false), noEntries(write(vs, attested, "0.3", false)), statement.CheckUnverified, "timestamp authority"},
		{"no entry, and the root has logs", rootOf(vs, true, true), noEntries(write(vs, attested, "0.3", false)), statement.CheckFailed, "no transparency log entry"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := c.trust.Open(c.raw)
			if err != nil {
				t.Fatal(err)
			}
			says := o.Check.Reason
			if c.want == statement.CheckVerified {
				says = o.Check.Identity
				if o.Time.IsZero() {
					t.Error("no time")
				}
			}
			if o.Check.Result != c.want || !strings.Contains(says, c.says) {
				t.Errorf("got %+v, want %s saying %q", o.Check, c.want, c.says)
			}
		})
	}
	o := must(rootOf(vs, true, true).Open(write(vs, message, "0.1", false)))
	sum := sha256.Sum256([]byte("artifact"))
	if o.Digest["sha256"] != hex.EncodeToString(sum[:]) {
		t.Errorf("digest %v", o.Digest)
	}
}
