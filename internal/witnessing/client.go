// Package witnessing asks witnesses to cosign checkpoints (C2SP tlog-witness),
// keeps every cosigned checkpoint, and is a witness for other logs.
package witnessing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/witness"
)

// ErrContradicted says that a witness has cosigned what this log does not
// continue.
var ErrContradicted = errors.New("a witness has cosigned another history, or a longer one, than this log holds")

// Timeout is how long one witness may take.
const Timeout = 15 * time.Second

// maxSkew is how far the clock of a witness may be from ours before we say so.
const maxSkew = 5 * time.Minute

// Asking is what is needed to ask: the log's checkpoint, and proofs.
type Asking struct {
	Checkpoint witness.Checkpoint
	Log        note.Verifier
	// Last gives the size that a witness is known to have cosigned last.
	Last func(name string) int64
	// Prove gives the consistency proof from old to the checkpoint's size.
	Prove  func(ctx context.Context, old int64) (tlog.TreeProof, error)
	Client *http.Client // nil: one of ours
	Now    func() time.Time
}

// Reply is what one witness answered: a cosignature or an error.
type Reply struct {
	Witness     witness.Witness
	Cosignature witness.Cosignature
	Err         error
	Remark      string // what the operator should know although it cosigned
}

// Ask asks every witness at once, each within Timeout. A witness that fails
// holds up no other. Replies are in the order of the witnesses.
func Ask(ctx context.Context, a Asking, list []witness.Witness) []Reply {
	if a.Client == nil {
		a.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		defer a.Client.CloseIdleConnections()
	}
	if a.Now == nil {
		a.Now = time.Now
	}
	out := make([]Reply, len(list))
	var wg sync.WaitGroup
	for i, w := range list {
		wg.Go(func() {
			c, cancel := context.WithTimeout(ctx, Timeout)
			defer cancel()
			out[i] = Reply{Witness: w}
			if w.URL == "" {
				out[i].Err = errors.New("the policy has no address for it")
				return
			}
			out[i].Cosignature, out[i].Err = a.ask(c, w)
			if d := a.Now().Sub(out[i].Cosignature.Time); out[i].Err == nil && (d > maxSkew || d < -maxSkew) {
				out[i].Remark = fmt.Sprintf("its clock says %s, ours %s", out[i].Cosignature.Time.Format(time.RFC3339), a.Now().UTC().Format(time.RFC3339))
			}
		})
	}
	wg.Wait()
	return out
}

// ask asks with the size that is known, and again with the one that the
// witness tells.
func (a Asking) ask(ctx context.Context, w witness.Witness) (witness.Cosignature, error) {
	old, size := a.Last(w.Name), a.Checkpoint.Tree.N
	if old > size {
		return witness.Cosignature{}, fmt.Errorf("%w: it cosigned %d entries before, and the checkpoint has %d", ErrContradicted, old, size)
	}
	for range 3 { // others may publish at the same time
		proof, err := a.Prove(ctx, old)
		if err != nil {
			return witness.Cosignature{}, err
		}
		status, body, err := a.post(ctx, w, witness.FormatRequest(witness.Request{Old: old, Proof: proof, Note: a.Checkpoint.Signed()}))
		if err != nil {
			return witness.Cosignature{}, err
		}
		switch status {
		case http.StatusOK:
			return witness.Add(a.Checkpoint, a.Log, w, body)
		case http.StatusConflict:
			known, err := strconv.ParseInt(strings.TrimSuffix(string(body), "\n"), 10, 64)
			switch {
			case err != nil || known < 0:
				return witness.Cosignature{}, fmt.Errorf("it answered %d with %s instead of a size", status, text(body))
			case known > size:
				return witness.Cosignature{}, fmt.Errorf("%w: it has cosigned %d entries, and the checkpoint has %d", ErrContradicted, known, size)
			case known == old && known == size:
				return witness.Cosignature{}, fmt.Errorf("%w: it has cosigned another root for %d entries", ErrContradicted, size)
			case known == old:
				return witness.Cosignature{}, fmt.Errorf("it answered %d for the size that it says it knows", status)
			}
			old = known
		case http.StatusUnprocessableEntity:
			return witness.Cosignature{}, fmt.Errorf("%w: it refuses the proof from %d entries to %d: %s", ErrContradicted, old, size, text(body))
		case http.StatusNotFound:
			return witness.Cosignature{}, fmt.Errorf("it does not know this log, or its address is another; give its operator the log's key (stemma key log): %s", text(body))
		case http.StatusForbidden:
			return witness.Cosignature{}, fmt.Errorf("it knows another key for this log; give its operator the log's key (stemma key log): %s", text(body))
		default:
			return witness.Cosignature{}, fmt.Errorf("it answered %d: %s", status, text(body))
		}
	}
	return witness.Cosignature{}, errors.New("its size changed while it was asked; try again")
}

func (a Asking) post(ctx context.Context, w witness.Witness, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(w.URL, "/")+"/add-checkpoint", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	req.Header.Set("User-Agent", "stemma (github.com/stemma-lineage/stemma)")
	r, err := a.Client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, witness.MaxNote+1))
	return r.StatusCode, b, err
}

// text makes an answer fit for a line on a terminal.
func text(b []byte) string {
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(b[:min(len(b), 200)]), "?"))
	return strings.TrimSpace(s)
}
