package bundle

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/internal/proof"
	"github.com/stemma-lineage/stemma/statement"
	"github.com/stemma-lineage/stemma/vindex"
)

// ProofFormat is the version of the form of a bundle that holds a completeness
// proof.
const ProofFormat = "stemma-bundle/v2"

// Proof is what a bundle with a completeness proof is made of.
type Proof struct {
	Question   proof.Question
	Checkpoint []byte
	Lists      map[ListName][]uint64 // those that are not empty
	Index      []byte                // the pruned tree, as vindex.Proof is written
	Entries    map[uint64][]byte
	Proofs     map[uint64]tlog.RecordProof
}

// ListName names a list of the index.
type ListName struct {
	Relation vindex.Relation `json:"relation"`
	Of       string          `json:"of"` // key of a Ref, or what the relation says
}

type listJSON struct {
	ListName
	Entries []uint64 `json:"entries"`
}

// proved gives what a bundle holds to the walk, and notes what it took.
type proved struct {
	found   vindex.Found
	p       *Proof
	lists   map[ListName]bool // that were asked for and are not empty
	entries map[uint64]bool
}

// List gives a list, if the proof says that it is that list, or that there is
// none.
func (s *proved) List(rel vindex.Relation, x string) ([]uint64, error) {
	name := ListName{rel, x}
	v, present, covered := s.found.Lookup(vindex.KeyOf(rel, x))
	switch {
	case !covered:
		return nil, fmt.Errorf("index/proof does not say which entries are in the list %s %s", rel, x)
	case !present:
		return nil, nil
	}
	got, ok := s.p.Lists[name]
	if !ok {
		return nil, fmt.Errorf("index/lists.json: the list %s %s is missing", rel, x)
	}
	if vindex.ListHash(got) != v {
		return nil, fmt.Errorf("index/lists.json: the list %s %s is not the one that the index has", rel, x)
	}
	for i := 1; i < len(got); i++ {
		if got[i] <= got[i-1] {
			return nil, fmt.Errorf("the list %s %s does not ascend, so the index is not what it should be", rel, x)
		}
	}
	s.lists[name] = true
	return got, nil
}

// Entry gives an entry.
func (s *proved) Entry(i uint64) ([]byte, error) {
	content, ok := s.p.Entries[i]
	if !ok {
		return nil, fmt.Errorf("entry %d is missing", i)
	}
	s.entries[i] = true
	return content, nil
}

// state is what a proof was found to be under its checkpoint.
type state struct {
	answer *proof.Answer
	log    proof.Log
	root   tlog.Hash
}

// answer checks a proof from the checkpoint down and answers its question. It
// trusts the log's key and nothing else, and stops at the first thing that
// does not hold.
func (p *Proof) answer(v note.Verifier) (*state, error) {
	size, root, err := checkpoint(p.Checkpoint, v)
	if err != nil {
		return nil, err
	}
	if size == 0 {
		return nil, errors.New("checkpoint: the log is empty")
	}
	for _, i := range sorted(p.Entries) {
		if err := included(i, p.Entries[i], p.Proofs[i], size, root); err != nil {
			return nil, err
		}
	}
	x, indexRoot, err := p.rootEntry(size, v)
	if err != nil {
		return nil, err
	}
	tree, err := vindex.ParseProof(p.Index)
	if err != nil {
		return nil, fmt.Errorf("index/proof: %w", err)
	}
	found, err := tree.Verify(indexRoot)
	if err != nil {
		return nil, fmt.Errorf("index/proof: it does not lead to the root that entry %d tells: %w", size-1, err)
	}
	src := &proved{found, p, map[ListName]bool{}, map[uint64]bool{size - 1: true}}
	a, err := proof.Ask(src, p.Question, x.Size)
	if err != nil {
		return nil, err
	}
	for name := range p.Lists {
		if !src.lists[name] {
			return nil, fmt.Errorf("index/lists.json: the question does not need the list %s %s", name.Relation, name.Of)
		}
	}
	for _, i := range sorted(p.Entries) {
		if !src.entries[i] {
			return nil, fmt.Errorf("entry %d: the question does not need it", i)
		}
	}
	return &state{a, proof.Log{Origin: v.Name(), Size: size, Root: hex.EncodeToString(root[:]), IndexRoot: x.Root}, root}, nil
}

func included(i uint64, content []byte, p tlog.RecordProof, size uint64, root tlog.Hash) error {
	if i >= size {
		return fmt.Errorf("entry %d is beyond the checkpoint, which is for %d entries", i, size)
	}
	if err := tlog.CheckRecord(p, int64(size), root, int64(i), tlog.RecordHash(statement.Leaf(content))); err != nil {
		return fmt.Errorf("entry %d is not in the log of the checkpoint: %w", i, err)
	}
	return nil
}

// rootEntry finds the root of the index: the last entry under the checkpoint
// must tell it, over all entries before. So no entry can be outside the index.
func (p *Proof) rootEntry(size uint64, v note.Verifier) (*statement.Index, vindex.Hash, error) {
	content, ok := p.Entries[size-1]
	if !ok {
		return nil, vindex.Hash{}, fmt.Errorf("entry %d, the last under the checkpoint, is missing; it must tell the root of the index", size-1)
	}
	return Root(size-1, content, v)
}

// WriteProof gives the bytes of a bundle with a completeness proof. The answer
// is computed from what is in it, as a verifier will.
func WriteProof(p *Proof, v note.Verifier) ([]byte, *proof.Answer, string, error) {
	s, err := p.answer(v)
	if err != nil {
		return nil, nil, "", err
	}
	b, text, err := p.write(s)
	return b, s.answer, text, err
}

func (p *Proof) write(s *state) ([]byte, string, error) {
	list := sorted(p.Entries)
	text := s.answer.Text(s.log)
	names := make([]ListName, 0, len(p.Lists))
	for n := range p.Lists {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b ListName) int {
		return slices.Compare([]string{string(a.Relation), a.Of}, []string{string(b.Relation), b.Of})
	})
	lists := make([]listJSON, len(names))
	for i, n := range names {
		lists[i] = listJSON{n, p.Lists[n]}
	}
	var files []file
	for _, m := range []struct {
		name string
		v    any
	}{{"bundle.json", manifest{ProofFormat, s.log.Origin, list}}, {"question.json", p.Question}, {"answer.json", s.answer}} {
		data, err := compact(m.v)
		if err != nil {
			return nil, "", err
		}
		files = append(files, file{m.name, data})
	}
	data, err := compact(lists)
	if err != nil {
		return nil, "", err
	}
	files = append(files, file{"summary.txt", []byte(text)}, file{"checkpoint", p.Checkpoint},
		file{"index/lists.json", data}, file{"index/proof", p.Index})
	for _, i := range list {
		files = append(files, file{fmt.Sprintf("entries/%d.json", i), p.Entries[i]})
	}
	for _, i := range list {
		var b strings.Builder
		for _, h := range p.Proofs[i] {
			b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
		}
		files = append(files, file{fmt.Sprintf("proofs/%d.txt", i), []byte(b.String())})
	}
	files = append(files, file{"index.html", []byte(page(text))})
	out, err := store(files)
	return out, text, err
}

// page is the summary for a browser.
func page(text string) string {
	title, _, _ := strings.Cut(text, "\n")
	return "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>" + html.EscapeString(title) +
		"</title>\n<style>body{margin:2em;font:14px/1.5 monospace}pre{white-space:pre-wrap}</style>\n<pre>" + html.EscapeString(text) +
		"</pre>\n<p>This page proves nothing. To verify: stemma verify FILE.zip --log-key KEY, or python3 verify.py FILE.zip KEY, with the log's public key from a source that you trust.</p>\n</html>\n"
}

// compact writes JSON on one line, with no letter escaped that need not be.
func compact(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("writing bundle: %w", err)
	}
	return b.Bytes(), nil
}

// openProof reads a bundle with a completeness proof.
func openProof(files []file) (*Proof, error) {
	p := &Proof{Lists: map[ListName][]uint64{}, Entries: map[uint64][]byte{}, Proofs: map[uint64]tlog.RecordProof{}}
	m, byName, err := openManifest(files)
	if err != nil {
		return nil, err
	}
	if err := decode(byName["question.json"], &p.Question); err != nil {
		return nil, fmt.Errorf("question.json: %w", err)
	}
	p.Checkpoint, p.Index = byName["checkpoint"], byName["index/proof"]
	var lists []listJSON
	if err := decode(byName["index/lists.json"], &lists); err != nil {
		return nil, fmt.Errorf("index/lists.json: %w", err)
	}
	for _, l := range lists {
		p.Lists[l.ListName] = l.Entries
	}
	p.Entries, p.Proofs, err = openEntries(m, byName)
	return p, err
}

func decode(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// verifyProof checks a bundle with a completeness proof: all that it proves,
// and then that no byte of it says anything else.
func verifyProof(data []byte, files []file, v note.Verifier) (*Result, *Proof, error) {
	p, err := openProof(files)
	if err != nil {
		return nil, nil, err
	}
	s, err := p.answer(v)
	if err != nil {
		return nil, nil, err
	}
	again, text, err := p.write(s)
	if err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(again, data) {
		return nil, nil, errors.New(difference(again, data))
	}
	return &Result{Proof: s.answer, Text: text, Size: s.log.Size, Root: s.root, Entries: len(p.Entries)}, p, nil
}
