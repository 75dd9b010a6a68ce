package witnessing

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"

	"github.com/digitorus/timestamp"

	"github.com/stemma-lineage/stemma/witness/stamp"
)

// AskAuthority asks a timestamp authority (RFC 3161, by HTTP as in its section
// 3.4) for a timestamp of a signed checkpoint, within Timeout. The answer is
// not verified: [stamp.Authorities.Open] does, with the nonce.
func AskAuthority(ctx context.Context, where string, signed []byte) (s stamp.Stamped, nonce *big.Int, err error) {
	if u, err := url.Parse(where); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return s, nil, fmt.Errorf("the address of the timestamp authority is no plain http or https address")
	}
	nonce, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		return s, nil, err
	}
	query, err := timestamp.CreateRequest(bytes.NewReader(signed), &timestamp.RequestOptions{Hash: crypto.SHA256, Certificates: true, Nonce: nonce})
	if err != nil {
		return s, nil, fmt.Errorf("asking %s: %w", where, err)
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, where, bytes.NewReader(query))
	if err != nil {
		return s, nil, err
	}
	req.Header.Set("Content-Type", "application/timestamp-query")
	req.Header.Set("User-Agent", "stemma (github.com/stemma-lineage/stemma)")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	r, err := client.Do(req)
	if err != nil {
		return s, nil, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, stamp.MaxResponse+1))
	switch {
	case err != nil:
		return s, nil, fmt.Errorf("asking %s: %w", where, err)
	case r.StatusCode != http.StatusOK:
		return s, nil, fmt.Errorf("asking %s: it answered %d: %s", where, r.StatusCode, text(b))
	case len(b) > stamp.MaxResponse:
		return s, nil, fmt.Errorf("asking %s: its answer is larger than %d bytes", where, stamp.MaxResponse)
	}
	return stamp.Stamped{Signed: signed, Response: b}, nonce, nil
}
