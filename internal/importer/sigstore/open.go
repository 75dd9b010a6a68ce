package sigstore

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

// Open reads one Sigstore bundle or DSSE envelope, bare or in a wrapper that is
// known (the answer of an attestation service, a proof pack), and checks its
// signatures. The error is for what is neither, or malformed; it names the
// place and the mend. What the signatures are worth is in the Check.
func (t *Trust) Open(raw []byte) (Opened, error) {
	if t == nil {
		t = &Trust{}
	}
	if len(raw) > MaxBundle {
		return Opened{}, fmt.Errorf("opening: %d bytes, the limit is %d", len(raw), MaxBundle)
	}
	value, err := onlyValue(raw)
	if err != nil {
		return Opened{}, fmt.Errorf("opening: %w", err)
	}
	n := rawjson.Parse(value).Root()
	if IsBundle(n) {
		return t.openBundle(n)
	}
	if isAttestation(n) {
		return t.openAttestation(n)
	}
	for _, wrapper := range []string{"bundle", "envelope", "dsseEnvelope", "dsse"} {
		inner := n.Get(wrapper)
		switch {
		case inner.Kind() != '{':
		case IsBundle(inner):
			return t.openBundle(inner)
		case IsEnvelope(inner):
			return t.openEnvelope(inner)
		}
	}
	if IsEnvelope(n) {
		return t.openEnvelope(n)
	}
	return Opened{}, errors.New("opening: the value is neither a Sigstore bundle (mediaType and verificationMaterial) nor a DSSE envelope (payload, payloadType and signatures)")
}

func onlyValue(raw []byte) ([]byte, error) {
	var value []byte
	for v, err := range rawjson.Split(bytes.NewReader(raw), MaxBundle) {
		switch {
		case err != nil:
			return nil, err
		case v.Fault != nil && v.Fault.Reason == rawjson.Empty:
			return nil, errors.New("there is no JSON value")
		case v.Fault != nil:
			return nil, fmt.Errorf("%s: %s", v.Place, v.Fault.Detail)
		case value != nil:
			return nil, fmt.Errorf("%s: a second value follows; open them one by one", v.Place)
		}
		value = v.Bytes
	}
	if value == nil {
		return nil, errors.New("there is no JSON value")
	}
	return value, nil
}

// IsBundle tells whether a JSON value has the shape of a Sigstore bundle.
func IsBundle(n rawjson.Node) bool {
	if strings.HasPrefix(n.Get("mediaType").Text(), "application/vnd.dev.sigstore.bundle") {
		return true
	}
	material := n.Get("verificationMaterial").Given()
	return material && (n.Get("dsseEnvelope").Given() || n.Get("messageSignature").Given())
}

// IsEnvelope tells whether a JSON value has the shape of a DSSE envelope.
func IsEnvelope(n rawjson.Node) bool {
	return n.Get("payload").Kind() == '"' && n.Get("payloadType").Kind() == '"' && (n.Get("signatures").Kind() == '[' || !n.Get("signatures").Given())
}

// outcome is what became of a check before it is written down.
type outcome struct {
	result string
	by     string
	reason string
	signer Signer
	time   statement.Time
}

func failed(format string, args ...any) outcome {
	return outcome{result: statement.CheckFailed, reason: fmt.Sprintf(format, args...)}
}

func unverified(format string, args ...any) outcome {
	return outcome{result: statement.CheckUnverified, reason: fmt.Sprintf(format, args...)}
}

// weight orders outcomes of checks against several roots: one that verifies is
// enough, and a failure says more than a root that does not know.
func (o outcome) weight() int {
	switch o.result {
	case statement.CheckVerified:
		return 3
	case statement.CheckFailed:
		return 2
	case statement.CheckUnverified:
		return 1
	}
	return 0
}

func heavier(a, b outcome) outcome {
	if b.weight() > a.weight() {
		return b
	}
	return a
}

// write puts the outcome into o.
func (o *Opened) write(out outcome) {
	o.Signer, o.Time = out.signer, out.time
	o.Check = statement.EvidenceCheck{
		By:       checker,
		Identity: rawjson.Clip(out.signer.String(), 1000),
		Result:   out.result,
		Reason:   rawjson.Clip(strings.Join(strings.Fields(out.reason), " "), 600),
	}
	if out.by != "" {
		o.Check.By += ", " + out.by
	}
	if out.result == statement.CheckVerified {
		o.Check.Reason = ""
	}
}

// guard turns a panic of a library on hostile input into a failed check.
func guard(check func() outcome) (o outcome) {
	defer func() {
		if r := recover(); r != nil {
			o = failed("the verifier stopped at this input: %v", r)
		}
	}()
	return check()
}
