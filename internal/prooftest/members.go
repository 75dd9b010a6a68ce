package prooftest

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/bundle"
)

// Member is one file of a bundle.
type Member struct {
	Name string
	Data []byte
}

// Members gives the files of a bundle.
func Members(data []byte) ([]Member, error) {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	var out []Member
	for _, f := range r.File {
		m, err := f.Open()
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(m)
		if err != nil {
			return nil, err
		}
		out = append(out, Member{f.Name, b})
	}
	return out, nil
}

// Zip puts files into a container as a bundle has it, so that the container
// does not give a change away.
func Zip(members []Member) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.Name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(m.Data), CompressedSize64: uint64(len(m.Data)),
			UncompressedSize64: uint64(len(m.Data)), CreatorVersion: 20, ReaderVersion: 20, ModifiedDate: 1<<5 | 1}
		f, err := w.CreateRaw(h)
		if err == nil {
			_, err = f.Write(m.Data)
		}
		if err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// Unchecked gives the files of a proof without asking whether it holds; what
// would be computed from it is empty.
func Unchecked(p *bundle.Proof) ([]Member, error) {
	entries := slices.Sorted(maps.Keys(p.Entries))
	type list struct {
		bundle.ListName
		Entries []uint64 `json:"entries"`
	}
	lists := []list{}
	for n, l := range p.Lists {
		lists = append(lists, list{n, l})
	}
	slices.SortFunc(lists, func(a, b list) int {
		return slices.Compare([]string{string(a.Relation), a.Of}, []string{string(b.Relation), b.Of})
	})
	var out []Member
	for _, m := range []struct {
		name string
		v    any
	}{{"bundle.json", map[string]any{"format": bundle.ProofFormat, "origin": Origin, "entries": entries}}, {"question.json", p.Question}, {"answer.json", map[string]any{}},
		{"summary.txt", nil}, {"checkpoint", p.Checkpoint}, {"index/lists.json", lists}, {"index/proof", p.Index}} {
		data, raw := m.v.([]byte)
		if !raw {
			var err error
			if data, err = json.Marshal(m.v); err != nil {
				return nil, err
			}
		}
		out = append(out, Member{m.name, data})
	}
	for _, i := range entries {
		out = append(out, Member{fmt.Sprintf("entries/%d.json", i), p.Entries[i]})
	}
	for _, i := range entries {
		var b strings.Builder
		for _, h := range p.Proofs[i] {
			b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
		}
		out = append(out, Member{fmt.Sprintf("proofs/%d.txt", i), []byte(b.String())})
	}
	return append(out, Member{"index.html", nil}), nil
}
