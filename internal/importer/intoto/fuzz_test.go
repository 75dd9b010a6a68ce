package intoto

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer"
)

var digest = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"

func seeds() []string {
	st := func(typ, predicate string) string {
		return fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":%q}}],"predicateType":%q,"predicate":%s}`, digest, typ, predicate)
	}
	out := []string{``, `{}`, `[1]`, "-----BEGIN PUBLIC KEY-----\n", `{"attestations":[{"bundle":{"dsseEnvelope":{}}},{}]}`,
		`{"signed":{"_type":"link","name":"x","materials":{"a":{"sha256":"00"}},"products":{"b":{}}},"signatures":[]}`,
		`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":"oM/HEnHW4njlfNMy/5V8P3BD/do1TEy7GQow1W76Ab8="}}}`,
		`{"format":"testigo-proofpack/v0.1","envelope":{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[]},"publicKey":"AAAA","timestamp":{"token":"x"}}`,
		`{"chainloop.material.evidence.id":"CHAINLOOP_AI_AGENT_CONFIG","data":{"agent":{"name":"a"},"config_files":[{"path":".mcp.json","kind":"mcp","content":"eyJtY3BTZXJ2ZXJzIjp7ImEiOnsiZW52Ijp7IktFWV9UT0tFTiI6InMifX19fQ=="}]}}`,
		`{"chainloop.material.evidence.id":"CHAINLOOP_AI_CODING_SESSION","data":{"agent":{"name":"a"},"session":{"id":"s"},"subagents":[{"id":"b"}]}}`,
		st("https://slsa.dev/provenance/v1", `{"buildDefinition":{"externalParameters":{"env":{"A_TOKEN":"x"}},"resolvedDependencies":[{"uri":"git+https://h/p@r","digest":{"gitCommit":"00"}}]},"runDetails":{"metadata":{"startedOn":"2026-01-02T03:04:05Z","finishedOn":"2025-01-02T03:04:05Z"},"byproducts":[{"name":"log"}]}}`),
		st("https://slsa.dev/provenance/v0.2", `{"materials":[{"uri":"pkg:docker/a@b?x=%"}],"invocation":{"environment":{"GITHUB_RUN_ID":"1"}}}`),
		st("https://slsa.dev/provenance/v0.1", `{"recipe":{"definedInMaterial":0},"materials":[{"uri":"https://github.com/a/b"}]}`),
		st("https://witness.dev/attestation-collection/v0.1", `{"attestations":[{"type":"https://witness.dev/attestations/product/v0.1","attestation":{"x":{"digest":{"sha256":"`+digest+`"}}}},{"type":"https://witness.dev/attestations/git/v0.1","attestation":{"commithash":"ab"}}]}`),
		st("https://in-toto.io/attestation/session-chain/v0.1", `{"events":[{"line":"{\"ts\":1,\"hash\":\"a\"}"},{"stub":{}}]}`),
		st("https://in-toto.io/attestation/ai-agent-action/v0.1", `{"action":{"observedAt":"2026-01-02T03:04:05Z","toolName":"t"},"agent":{"principal":"user:x"},"chain":{"sequenceNumber":9007199254740993}}`),
	}
	for _, r := range readers {
		out = append(out, st(r.prefix+"v1", `{"a":[{"b":1}],"attributes":[{"attribute":"x"}],"scanner":{"result":[{"id":"CVE-1"}]},"references":[{"uri":"u"}],"purl":"pkg:a/b"}`))
	}
	return out
}

// FuzzRead holds whatever is read to the contract of package importer, within
// a statement and within an envelope.
func FuzzRead(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		env := fmt.Appendf(nil, `{"payloadType":"application/vnd.in-toto+json","payload":%q,"signatures":[]}`, base64.StdEncoding.EncodeToString(data))
		for _, in := range [][]byte{data, env} {
			(Importer{}).Recognise(importer.NewHead("x", int64(len(in)), in))
			first := readItems(t, in, Options{})
			for _, it := range first {
				if it.Refusal != nil {
					continue
				}
				// The statements are a function of the evidence: it gives them again.
				again := readItems(t, it.Evidence, Options{})
				if len(again) != 1 || again[0].Refusal != nil {
					t.Fatalf("the evidence does not read as it did: %d items\n%s", len(again), it.Evidence)
				}
			}
		}
	})
}

// TestSeeds runs the seeds twice: the same bytes give the same Items.
func TestSeeds(t *testing.T) {
	for _, s := range seeds() {
		a, b := readItems(t, []byte(s), Options{}), readItems(t, []byte(s), Options{})
		if diff := cmp.Diff(a, b, cmp.AllowUnexported(time.Time{})); diff != "" {
			t.Errorf("%s: %s", s, diff)
		}
		for _, it := range a {
			if it.Refusal == nil && bytes.Contains(it.Evidence, []byte(`"A_TOKEN":"x"`)) {
				t.Errorf("a secret is kept: %s", it.Evidence)
			}
		}
	}
}
