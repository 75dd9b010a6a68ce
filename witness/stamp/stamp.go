// Package stamp reads timestamps of checkpoints (RFC 3161): the word of an
// authority that a signed checkpoint existed at a time. It is pure, and needs
// the authority's root certificates and no network. Revocation is not looked
// at, since that needs one.
package stamp

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/sigstore/timestamp-authority/v2/pkg/verification"

	"github.com/stemma-lineage/stemma/witness"
)

// ErrTimestamp says that a timestamp does not hold.
var ErrTimestamp = errors.New("the timestamp does not hold")

// MaxResponse is how many bytes a TimeStampResp may have.
const MaxResponse = 64 << 10

// Authorities are the certificates that are trusted: self-issued ones as
// roots, others to complete chains.
type Authorities struct{ roots, others []*x509.Certificate }

// ParseAuthorities reads certificates in PEM (RFC 7468). Anything else in the
// text is refused.
func ParseAuthorities(text []byte) (*Authorities, error) {
	a := &Authorities{}
	for rest := bytes.TrimSpace(text); len(rest) > 0; {
		b, more := pem.Decode(rest)
		if b == nil || b.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%w: the authorities' file holds something that is no CERTIFICATE in PEM", ErrTimestamp)
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: the authorities' file: %w", ErrTimestamp, err)
		}
		if bytes.Equal(c.RawIssuer, c.RawSubject) {
			a.roots = append(a.roots, c)
		} else {
			a.others = append(a.others, c)
		}
		rest = bytes.TrimSpace(more)
	}
	if len(a.roots) == 0 {
		return nil, fmt.Errorf("%w: the authorities' file holds no root certificate", ErrTimestamp)
	}
	return a, nil
}

// Stamped is a signed checkpoint, with the log's signature alone, and the
// TimeStampResp (DER) over its SHA-256.
type Stamped struct{ Signed, Response []byte }

const mark = "-- timestamp --\n"

// Format gives the bytes of s: the signed checkpoint, a line "-- timestamp --"
// and the response in base64 on one line.
func Format(s Stamped) []byte {
	return fmt.Appendf(nil, "%s%s%s\n", s.Signed, mark, base64.StdEncoding.EncodeToString(s.Response))
}

// Parse reads what Format gives. Nothing is verified.
func Parse(text []byte) (Stamped, error) {
	signed, b64, ok := strings.Cut(string(text), mark)
	der, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSuffix(b64, "\n"))
	if !ok || err != nil || len(der) > MaxResponse {
		return Stamped{}, fmt.Errorf("%w: it is no checkpoint and response", ErrTimestamp)
	}
	return Stamped{[]byte(signed), der}, nil
}

// Open verifies the response over the signed checkpoint, whose size is size: the
// signature of the authority, its certificate for timestamping alone (RFC 3161
// section 2.3) up to a root, valid at the time of the timestamp, and the hash. A
// nonce, if not nil, must be in it. The time in the word is the latest that the
// authority's accuracy allows.
func (a *Authorities) Open(s Stamped, size int64, nonce *big.Int) (witness.Word, error) {
	if len(s.Response) > MaxResponse {
		return witness.Word{}, fmt.Errorf("%w: it is larger than %d bytes", ErrTimestamp, MaxResponse)
	}
	ts, err := verification.VerifyTimestampResponse(s.Response, bytes.NewReader(s.Signed), verification.VerifyOpts{Roots: a.roots, Intermediates: a.others, Nonce: nonce})
	if err != nil {
		return witness.Word{}, fmt.Errorf("%w: %w", ErrTimestamp, err)
	}
	who := "timestamp authority"
	for _, c := range ts.Certificates {
		if !c.IsCA && c.Subject.CommonName != "" {
			who += " " + strings.Join(strings.Fields(c.Subject.CommonName), " ")
			break
		}
	}
	return witness.Word{Who: who, Size: size, Time: ts.Time.Add(ts.Accuracy).UTC()}, nil
}
