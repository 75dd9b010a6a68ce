// Package bundle writes and verifies evidence bundles: one question, its
// answer, and all that is needed to check it offline with a log's public key.
//
// A bundle is a zip file with these members, stored in this order, without
// compression and with the time 1980-01-01:
//
//	bundle.json         {"format":"stemma-bundle/v1","origin":…,"entries":[…]}
//	question.json       the question, as in the answer
//	answer.json         the answer
//	checkpoint          the log's signed checkpoint (C2SP signed note)
//	trust               the keys that signatures were checked against
//	entries/N.json      the content of entry N, bytes as stored
//	proofs/N.txt        its inclusion proof: a base64 hash a line
//	index.html          the answer for people
//
// What it proves: each entry is in the log of the checkpoint; the answer is
// what these entries say. What it does not prove: that no other entry of the
// log would change the answer. The page says so.
//
// # Bundles with a completeness proof
//
// The format stemma-bundle/v2 proves that too. Its container has one form
// (PKWARE APPNOTE 6.3): members stored, in this order, versions 2.0, no flags,
// the time 1980-01-01 00:00, no extra fields and no comments:
//
//	bundle.json         {"format":"stemma-bundle/v2","origin":…,"entries":[…]}
//	question.json       the question (package internal/proof, Question)
//	answer.json         the answer (Answer)
//	summary.txt         the answer in words
//	checkpoint          the log's signed checkpoint
//	index/lists.json    [{"relation":…,"of":…,"entries":[…]},…]: the lists that
//	                    the walk reads and that are not empty, sorted by
//	                    relation and thing
//	index/proof         the pruned tree over the keys of all lists that the walk
//	                    reads (package vindex, Proof)
//	entries/N.json      the entries that the walk reads, and the last one under
//	                    the checkpoint
//	proofs/N.txt        their inclusion proofs
//	index.html          the words for a browser
//
// The last entry under the checkpoint tells the root of the index over all
// entries before it. JSON stands on one line ended by a newline; no letter is
// escaped that need not be, but U+2028 and U+2029 are. All members but the
// checkpoint, the proofs and the entries follow from the others, and a verifier
// writes them anew. docs/proofs.md says what is checked, in which order.
package bundle

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/proof"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/internal/report"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Format is the version of the bundle's form.
const Format = "stemma-bundle/v1"

// MaxSize is the largest bundle that is read, in bytes.
const MaxSize = 1 << 30

// ErrVerify is wrapped by every error that says that a bundle does not hold.
var ErrVerify = errors.New("the bundle does not verify")

// Contents is what a bundle is made of.
type Contents struct {
	Question   query.Question
	Checkpoint []byte
	Trust      []byte
	Entries    map[uint64][]byte
	Proofs     map[uint64]tlog.RecordProof
}

type manifest struct {
	Format  string   `json:"format"`
	Origin  string   `json:"origin"`
	Entries []uint64 `json:"entries"`
}

// Ask answers the question from a graph, as of the log size that has the given
// root or an earlier one. What the graph holds beyond it counts for nothing.
func Ask(g *graph.Graph, q query.Question, size uint64, root tlog.Hash) (*query.Answer, error) {
	at, err := asOf(q.Valid, q.Known)
	if err != nil {
		return nil, err
	}
	at.Known = min(at.Known, size)
	v := g.At(at)
	opt := query.Options{Depth: q.Depth, Limit: q.Limit}
	if q.Since != "" {
		t, err := prov.ParseTime(q.Since)
		if err != nil {
			return nil, err
		}
		opt.Since = prov.At(t)
	}
	for _, k := range q.Kinds {
		opt.Kinds = append(opt.Kinds, prov.Kind(k))
	}
	for _, r := range q.Relations {
		t, err := prov.ParseRelationType(r)
		if err != nil {
			return nil, err
		}
		opt.Relations |= prov.Relations(t)
		if t == prov.GeneratedBy {
			opt.Relations |= prov.Relations(prov.GeneratedByStated)
		}
	}
	if len(q.Refs) != 1 {
		return nil, fmt.Errorf("a bundle is about one thing, not %d", len(q.Refs))
	}
	var a *query.Answer
	switch q.Verb {
	case "why":
		a, err = query.Why(v, q.Refs[0], opt)
	case "blast":
		a, err = query.Blast(v, q.Refs[0], opt)
	case "history":
		a, err = query.History(v, q.Refs[0], opt)
	default:
		return nil, fmt.Errorf("no bundle can be made of the question %q; use why, blast or history", q.Verb)
	}
	if err != nil {
		return nil, err
	}
	if a.LogSize == size { // else it is not the root at the size that the answer knows
		a.Root = fmt.Sprintf("%x", root[:])
	}
	return a, nil
}

func asOf(valid string, known uint64) (prov.AsOf, error) {
	at := prov.AsOf{Valid: prov.Forever, Known: known}
	if valid != "" {
		t, err := prov.ParseTime(valid)
		if err != nil {
			return at, err
		}
		at.Valid = prov.At(t)
	}
	return at, nil
}

// Partial folds the entries of a bundle; the others of the log are passed
// over.
func Partial(entries map[uint64][]byte, size uint64) (*graph.Graph, error) {
	g := graph.New()
	for _, i := range sorted(entries) {
		g.Skip(i)
		if err := g.Fold(i, entries[i]); err != nil {
			return nil, err
		}
	}
	g.Skip(size)
	return g, nil
}

func sorted[T any](m map[uint64]T) []uint64 {
	out := make([]uint64, 0, len(m))
	for i := range m {
		out = append(out, i)
	}
	sort.Slice(out, func(i, j int) bool { return out[i] < out[j] })
	return out
}

// Write gives the bytes of a bundle. The answer is computed from the entries
// in it, as a verifier will.
func Write(c Contents, v note.Verifier) ([]byte, *query.Answer, error) {
	size, root, err := checkpoint(c.Checkpoint, v)
	if err != nil {
		return nil, nil, err
	}
	g, err := Partial(c.Entries, size)
	if err != nil {
		return nil, nil, err
	}
	a, err := Ask(g, c.Question, size, root)
	if err != nil {
		return nil, nil, err
	}
	files, err := members(c, a, v, size, root)
	if err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Store}
		h.Modified = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
		m, err := w.CreateHeader(h)
		if err == nil {
			_, err = m.Write(f.data)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("writing bundle: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, nil, fmt.Errorf("writing bundle: %w", err)
	}
	return b.Bytes(), a, nil
}

type file struct {
	name string
	data []byte
}

func members(c Contents, a *query.Answer, v note.Verifier, size uint64, root tlog.Hash) ([]file, error) {
	list := sorted(c.Entries)
	man, err := json.Marshal(manifest{Format, v.Name(), list})
	if err != nil {
		return nil, err
	}
	q, err := json.Marshal(c.Question)
	if err != nil {
		return nil, err
	}
	answer, err := report.JSON(a)
	if err != nil {
		return nil, err
	}
	signers, err := signatures(c)
	if err != nil {
		return nil, err
	}
	html, err := report.HTML(a, []report.Fact{
		{Name: "Log", Text: v.Name()},
		{Name: "Checkpoint", Text: fmt.Sprintf("%d entries, root %x", size, root[:])},
		{Name: "Entries in this bundle", Text: fmt.Sprint(len(list))},
		{Name: "Signatures", Text: signers},
		{Name: "What this proves", Text: "Each entry is in the log of the checkpoint, unchanged, and the answer is what these entries say. Statements may be wrong; the log proves who said what, and in which order."},
		{Name: "What this does not prove", Text: "That no other entry of the log would change the answer. This bundle holds no completeness proof."},
		{Name: "To verify", Text: "stemma verify FILE.zip --log-key KEY, with the log's public key from a source that you trust, not from here."},
	})
	if err != nil {
		return nil, err
	}
	files := []file{{"bundle.json", append(man, '\n')}, {"question.json", append(q, '\n')}, {"answer.json", answer},
		{"checkpoint", c.Checkpoint}, {"trust", c.Trust}}
	for _, i := range list {
		files = append(files, file{fmt.Sprintf("entries/%d.json", i), c.Entries[i]})
	}
	for _, i := range list {
		var b strings.Builder
		for _, h := range c.Proofs[i] {
			b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
		}
		files = append(files, file{fmt.Sprintf("proofs/%d.txt", i), []byte(b.String())})
	}
	return append(files, file{"index.html", html}), nil
}

// signatures says by whom the entries are signed, and refuses a bundle with a
// signature that is bad. Whose key it is, is the trust list's word.
func signatures(c Contents) (string, error) {
	trust, err := statement.ParseTrust(c.Trust)
	if err != nil {
		return "", err
	}
	by := map[string]int{}
	for _, i := range sorted(c.Entries) {
		e, err := statement.ParseEntry(c.Entries[i])
		if err != nil {
			return "", fmt.Errorf("entry %d: %w", i, err)
		}
		v, err := statement.Verify(e.Envelope, trust, e.RecordedAt)
		if err != nil {
			return "", fmt.Errorf("entry %d: %w", i, err)
		}
		for _, s := range v.Signatures {
			if s.Status == statement.SignatureBad {
				return "", fmt.Errorf("entry %d: a signature is bad: %s", i, s.Reason)
			}
		}
		who := strings.Join(v.Principals(), " and ")
		if !v.Verified() {
			who = "nobody that the trust list knows"
		}
		by[who]++
	}
	var out []string
	for who, n := range by {
		out = append(out, fmt.Sprintf("%d by %s", n, who))
	}
	sort.Strings(out)
	return strings.Join(out, "; ") + " (names of keys as in the file trust)", nil
}

func checkpoint(text []byte, v note.Verifier) (uint64, tlog.Hash, error) {
	n, err := note.Open(text, note.VerifierList(v))
	if err != nil {
		return 0, tlog.Hash{}, fmt.Errorf("checkpoint: %w", err)
	}
	// note.Open takes base64 whose unused last bits are set, so that two texts
	// would stand for one signature.
	for _, s := range append(n.Sigs, n.UnverifiedSigs...) {
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return 0, tlog.Hash{}, fmt.Errorf("checkpoint: signature of %q: %w", s.Name, err)
		}
	}
	lines := strings.Split(n.Text, "\n")
	var size int64
	if len(lines) != 4 || lines[0] != v.Name() {
		return 0, tlog.Hash{}, errors.New("checkpoint: it is of another log")
	}
	if _, err := fmt.Sscanf(lines[1], "%d", &size); err != nil || fmt.Sprint(size) != lines[1] || size < 0 {
		return 0, tlog.Hash{}, errors.New("checkpoint: its size is no number")
	}
	root, err := tlog.ParseHash(lines[2])
	return uint64(size), root, err
}

// Result is what Verify found.
type Result struct {
	Answer *query.Answer // of a bundle without a completeness proof
	// Proof is the answer of a bundle with a completeness proof, and Text says
	// it in words.
	Proof   *proof.Answer
	Text    string
	Size    uint64 // of the log at the checkpoint
	Root    tlog.Hash
	Entries int
	Signers string // as the bundle's own trust list says
	// Trusted says what the caller's own trust list says of the signatures;
	// empty when none was given.
	Trusted string
}

// Verify checks a bundle with nothing but the log's public key: signature of
// the checkpoint, inclusion of every entry, for a completeness proof the root
// of the index and each list, and the answer, which it computes anew. Then it
// writes the bundle again and compares every byte, so that no byte of it can
// be other than what it proves. The error names the first thing that does not
// hold.
func Verify(data []byte, v note.Verifier, own *statement.Trust) (*Result, error) {
	res, err := verify(data, v, own)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVerify, err)
	}
	return res, nil
}

func verify(data []byte, v note.Verifier, own *statement.Trust) (*Result, error) {
	files, err := unzip(data)
	if err != nil {
		return nil, err
	}
	m, _, err := openManifest(files)
	if err != nil {
		return nil, err
	}
	var res *Result
	c := Contents{}
	if m.Format == ProofFormat { // it brings no trust list
		var p *Proof
		if res, p, err = verifyProof(data, files, v); err == nil {
			c.Entries = p.Entries
		}
	} else if c, err = open(files); err == nil {
		if res, err = verifyAnswer(data, c, v); err == nil {
			res.Signers, err = signatures(c)
		}
	}
	if err != nil {
		return nil, err
	}
	if own != nil {
		c.Trust = statement.FormatTrust(own)
		if res.Trusted, err = signatures(c); err != nil {
			return nil, err
		}
	}
	return res, nil
}

// verifyAnswer checks a bundle without a completeness proof.
func verifyAnswer(data []byte, c Contents, v note.Verifier) (*Result, error) {
	size, root, err := checkpoint(c.Checkpoint, v)
	if err != nil {
		return nil, err
	}
	for _, i := range sorted(c.Entries) {
		if err := included(i, c.Entries[i], c.Proofs[i], size, root); err != nil {
			return nil, err
		}
	}
	again, a, err := Write(c, v)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, data) {
		return nil, errors.New(difference(again, data))
	}
	return &Result{Answer: a, Size: size, Root: root, Entries: len(c.Entries)}, nil
}

// difference names the first member that is not what it should be.
func difference(want, got []byte) string {
	a, err1 := unzip(want)
	b, err2 := unzip(got)
	if err1 != nil || err2 != nil || len(a) != len(b) {
		return "its members are not those that belong to it"
	}
	for i := range a {
		if a[i].name != b[i].name || !bytes.Equal(a[i].data, b[i].data) {
			return a[i].name + " is not what the entries say"
		}
	}
	return "bytes of the zip container were changed"
}

func unzip(data []byte) ([]file, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("the file has %d bytes, the limit is %d", len(data), MaxSize)
	}
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("reading zip: %w", err)
	}
	var out []file
	left := uint64(len(data)) // members that share bytes must not add up to more
	for _, f := range r.File {
		if f.Method != zip.Store {
			return nil, fmt.Errorf("member %q is compressed; bundles store", f.Name)
		}
		if f.UncompressedSize64 > left {
			return nil, fmt.Errorf("member %q: the members are larger than the file that holds them", f.Name)
		}
		left -= f.UncompressedSize64
		m, err := f.Open()
		if err != nil {
			return nil, fmt.Errorf("member %q: %w", f.Name, err)
		}
		b, err := io.ReadAll(io.LimitReader(m, int64(len(data))))
		if err != nil {
			return nil, fmt.Errorf("member %q: %w", f.Name, err)
		}
		out = append(out, file{f.Name, b})
	}
	return out, nil
}

func openManifest(files []file) (manifest, map[string][]byte, error) {
	var m manifest
	byName := map[string][]byte{}
	for _, f := range files {
		if _, dup := byName[f.name]; dup {
			return m, nil, fmt.Errorf("member %q is there twice", f.name)
		}
		byName[f.name] = f.data
	}
	if err := json.Unmarshal(byName["bundle.json"], &m); err != nil {
		return m, nil, fmt.Errorf("bundle.json: %w", err)
	}
	if m.Format != Format && m.Format != ProofFormat {
		return m, nil, fmt.Errorf("bundle.json: format %q is not known; this program reads %s and %s", m.Format, Format, ProofFormat)
	}
	return m, byName, nil
}

func oneForm(text []byte) error {
	trust, err := statement.ParseTrust(text)
	if err != nil {
		return fmt.Errorf("trust: %w", err)
	}
	if !bytes.Equal(statement.FormatTrust(trust), text) {
		return errors.New("trust: it holds more than keys; a bundle's list has one form only")
	}
	return nil
}

func openEntries(m manifest, byName map[string][]byte) (map[uint64][]byte, map[uint64]tlog.RecordProof, error) {
	entries, proofs := map[uint64][]byte{}, map[uint64]tlog.RecordProof{}
	for _, i := range m.Entries {
		content, ok := byName[fmt.Sprintf("entries/%d.json", i)]
		if !ok {
			return nil, nil, fmt.Errorf("entry %d is missing", i)
		}
		entries[i] = content
		var p tlog.RecordProof
		for _, line := range strings.Fields(string(byName[fmt.Sprintf("proofs/%d.txt", i)])) {
			h, err := tlog.ParseHash(line)
			if err != nil {
				return nil, nil, fmt.Errorf("proofs/%d.txt: %w", i, err)
			}
			p = append(p, h)
		}
		proofs[i] = p
	}
	return entries, proofs, nil
}

func open(files []file) (Contents, error) {
	var c Contents
	m, byName, err := openManifest(files)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(byName["question.json"], &c.Question); err != nil {
		return c, fmt.Errorf("question.json: %w", err)
	}
	c.Checkpoint, c.Trust = byName["checkpoint"], byName["trust"]
	if err := oneForm(c.Trust); err != nil {
		return c, err
	}
	c.Entries, c.Proofs, err = openEntries(m, byName)
	return c, err
}
