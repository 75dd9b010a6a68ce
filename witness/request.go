package witness

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// MaxRequest is how many bytes a request may have; MaxProof how many hashes
// its proof (C2SP tlog-witness).
const (
	MaxRequest = MaxNote + 8<<10
	MaxProof   = 63
)

// Request is the body of add-checkpoint (C2SP tlog-witness).
type Request struct {
	Old   int64          // the size that the witness cosigned last, as the log knows it
	Proof tlog.TreeProof // from Old to the size of the checkpoint
	Note  []byte         // the signed checkpoint
}

// FormatRequest gives the bytes of a request.
func FormatRequest(r Request) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "old %d\n", r.Old)
	for _, h := range r.Proof {
		fmt.Fprintf(&b, "%s\n", h)
	}
	b.WriteString("\n")
	b.Write(r.Note)
	return []byte(b.String())
}

// ParseRequest reads a request. The checkpoint in it is not looked at.
func ParseRequest(body []byte) (Request, error) {
	if len(body) > MaxRequest {
		return Request{}, fmt.Errorf("the request is larger than %d bytes", MaxRequest)
	}
	head, signed, ok := strings.Cut(string(body), "\n\n")
	if !ok || signed == "" {
		return Request{}, fmt.Errorf("the request has no empty line before a checkpoint")
	}
	lines := strings.Split(head, "\n")
	size, ok := strings.CutPrefix(lines[0], "old ")
	old, err := strconv.ParseInt(size, 10, 64)
	if !ok || err != nil || old < 0 || strconv.FormatInt(old, 10) != size {
		return Request{}, fmt.Errorf("the first line is not \"old\" and a size")
	}
	if len(lines)-1 > MaxProof {
		return Request{}, fmt.Errorf("the proof has %d hashes, more than %d", len(lines)-1, MaxProof)
	}
	r := Request{Old: old, Note: []byte(signed)}
	for i, l := range lines[1:] {
		h, err := parseHash(l)
		if err != nil {
			return Request{}, fmt.Errorf("line %d: %w", i+2, err)
		}
		r.Proof = append(r.Proof, h)
	}
	return r, nil
}

func parseHash(s string) (tlog.Hash, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != tlog.HashSize || strings.ContainsAny(s, "\r\n") {
		return tlog.Hash{}, fmt.Errorf("%q is no hash of %d bytes in base64", s, tlog.HashSize)
	}
	return tlog.Hash(b), nil
}

// Add takes the signature lines of an answer into a checkpoint, those of w
// only, and gives the checkpoint with them. It errs if there is none that
// holds.
func Add(c Checkpoint, log note.Verifier, w Witness, answer []byte) (Cosignature, error) {
	if len(answer) > MaxNote {
		return Cosignature{}, fmt.Errorf("%w: the answer is larger than %d bytes", ErrCheckpoint, MaxNote)
	}
	only := &Policy{Witnesses: []Witness{w}, Quorum: w.Name}
	got, err := Open(append(c.Signed(), answer...), log, only)
	if err != nil {
		return Cosignature{}, err
	}
	if len(got.Cosignatures) == 0 {
		return Cosignature{}, fmt.Errorf("%w: the answer holds no cosignature of %s", ErrCheckpoint, w.Name)
	}
	return got.Cosignatures[0], nil
}
