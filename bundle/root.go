package bundle

import (
	"encoding/hex"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
	"github.com/stemma-lineage/stemma/vindex"
)

// FormatRoot gives the envelope of the entry that tells the root of a log's
// index, signed with the log's own key: its DSSE signature is that key's over
// the PAE. Whoever else may record statements cannot make one.
func FormatRoot(signer note.Signer, x *statement.Index) ([]byte, error) {
	payload, err := statement.Format([]statement.Subject{statement.NewSubject(LogRef(signer.Name()), nil)}, x)
	if err != nil {
		return nil, err
	}
	e := &statement.Envelope{PayloadType: statement.PayloadType, Payload: payload}
	sig, err := signer.Sign(e.PAE())
	if err != nil {
		return nil, fmt.Errorf("signing the root of the index: %w", err)
	}
	e.Signatures = []statement.Signature{{KeyID: fmt.Sprintf("%s+%08x", signer.Name(), signer.KeyHash()), Sig: sig}}
	return statement.FormatEnvelope(e)
}

// LogRef names a log: as the subject of what it says of itself, and as who
// recorded it.
func LogRef(origin string) prov.Ref { return prov.Ref{Kind: prov.Resource, Name: "log/" + origin} }

// Root reads the entry at index i as the one that tells the root of the index
// over the i entries before it. The error says why it is not.
func Root(i uint64, content []byte, v note.Verifier) (*statement.Index, vindex.Hash, error) {
	var root vindex.Hash
	r, err := vindex.ReadEntry(content)
	if err != nil {
		return nil, root, fmt.Errorf("entry %d: %w", i, err)
	}
	x := r.Index
	switch {
	case x == nil:
		return nil, root, fmt.Errorf("entry %d, the last under the checkpoint, does not tell the root of the index; the entries that it leaves out are not proved", i)
	case x.Version != statement.IndexVersion:
		return nil, root, fmt.Errorf("entry %d: index version %q is not known; this program reads %s", i, x.Version, statement.IndexVersion)
	case !byLog(content, v):
		return nil, root, fmt.Errorf("entry %d tells a root of the index, but the log's key has not signed it", i)
	case x.Size != i:
		return nil, root, fmt.Errorf("entry %d: the index covers %d entries, and not the %d before it", i, x.Size, i)
	}
	b, err := hex.DecodeString(x.Root)
	if err != nil || copy(root[:], b) != len(root) {
		return nil, root, fmt.Errorf("entry %d: the root of the index is no hash", i)
	}
	return x, root, nil
}

// byLog tells whether one of the entry's signatures is by the log's key.
func byLog(content []byte, v note.Verifier) bool {
	e, err := statement.ParseEntry(content)
	if err != nil {
		return false
	}
	env, err := statement.ParseEnvelope(e.Envelope)
	if err != nil {
		return false
	}
	for _, s := range env.Signatures {
		if v.Verify(env.PAE(), s.Sig) {
			return true
		}
	}
	return false
}
