package statement

// Evidence names bytes that a statement was made from, or that speak for it.
type Evidence struct {
	Digest          DigestSet `json:"digest"`
	MediaType       string    `json:"mediaType,omitempty"`
	Size            int64     `json:"size,omitempty"`
	Name            string    `json:"name,omitempty"`
	Importer        string    `json:"importer,omitempty"`
	ImporterVersion string    `json:"importerVersion,omitempty"`
	// Redacted lists the JSON paths whose values were removed before the
	// bytes were kept; Digest is of what was kept.
	Redacted []string `json:"redacted,omitempty"`
	// Notes say what the importer had to assume, such as a zone.
	Notes    []string       `json:"notes,omitempty"`
	Verified *EvidenceCheck `json:"verified,omitempty"`
}

// EvidenceCheck is the outcome of verifying the signatures of evidence, as
// far as the recorder could. Only the result CheckVerified is a yes.
type EvidenceCheck struct {
	By       string `json:"by,omitempty"`       // what checked, and against which key or root, by digest
	Identity string `json:"identity,omitempty"` // whose signature it is, as the certificate or key says
	Result   string `json:"result"`
	Reason   string `json:"reason,omitempty"` // why it is not CheckVerified, in one line
}

// The results of an EvidenceCheck.
const (
	CheckVerified   = "verified"   // a signature by a trusted key or root holds
	CheckFailed     = "failed"     // a signature, proof, time or digest does not hold
	CheckUnverified = "unverified" // there is a signature, and nothing trusted to check it with
	CheckUnsigned   = "unsigned"   // there is no signature
)

// EvidenceOf gives the evidence that a predicate carries.
func EvidenceOf(p Predicate) []Evidence {
	switch p := p.(type) {
	case *Activity:
		return p.Evidence
	case *Entity:
		return p.Evidence
	case *Approval:
		return p.Evidence
	case *Deployment:
		return p.Evidence
	case *Registry:
		return p.Evidence
	case *Identity:
		return p.Evidence
	case *Delegation:
		return p.Evidence
	case *Notice:
		return p.Evidence
	case *Policy:
		return p.Evidence
	case *Waiver:
		return p.Evidence
	case *Retraction:
		return p.Evidence
	case *VSA:
		return p.Evidence
	case *Erasure:
		return p.Evidence
	case *Hold:
		return p.Evidence
	case *LogState:
		return p.Evidence
	}
	return nil
}
