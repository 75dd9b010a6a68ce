package capture

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/stemma-lineage/stemma/statement"
)

// MediaType is that of the evidence of a run: JSON, one value a line. Each has
// one member, which tells what it is: run first, then files, programs,
// endpoints.
const MediaType = "application/vnd.stemma.capture+jsonl"

// maxEvidence bounds what ReadEvidence takes: 1 GiB, and 1 MiB a line.
const (
	maxEvidence = 1 << 30
	maxLine     = 1 << 20
)

// Head is the first line of the evidence.
type Head struct {
	Version  int       `json:"version"`
	ID       string    `json:"id"`
	Started  time.Time `json:"startedAt"`
	Ended    time.Time `json:"endedAt"`
	Backend  string    `json:"backend"`
	Complete bool      `json:"complete"`
	Calls    int       `json:"calls"`
	Events   int       `json:"files"`
	Tried    []string  `json:"tried,omitempty"`
	Blind    []string  `json:"blind,omitempty"`
	Inner    []string  `json:"inner,omitempty"`
	Overflow int       `json:"overflow,omitempty"`
	Dirty    []string  `json:"uncommitted,omitempty"` // in the repository, used or not
}

// Line is one line of the evidence.
type Line struct {
	Run      *Head     `json:"run,omitempty"`
	File     *File     `json:"file,omitempty"`
	Program  *Program  `json:"program,omitempty"`
	Endpoint *Endpoint `json:"endpoint,omitempty"`
}

// evidence writes the whole of what was seen.
func (r *Result) evidence() []statement.Evidence {
	h := &Head{Version: 1, ID: r.ID, Started: r.started.UTC(), Ended: r.ended.UTC(), Backend: r.Outcome.Backend, Complete: r.Outcome.Complete,
		Calls: r.Outcome.Calls, Events: len(r.Files), Tried: r.tried(), Inner: r.Inner, Overflow: r.Overflow}
	var notes []string
	for _, b := range r.Outcome.Blind {
		h.Blind = append(h.Blind, b.Class+": "+b.Detail)
	}
	if r.Revision != nil {
		h.Dirty = r.Revision.Dirty
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	put := func(l Line) { _ = e.Encode(l) } // strings, numbers and times: it cannot fail
	put(Line{Run: h})
	for _, f := range r.Files {
		put(Line{File: f})
	}
	for i := range r.Programs {
		put(Line{Program: &r.Programs[i]})
	}
	for _, x := range r.Endpoints {
		put(Line{Endpoint: x})
	}
	if n := len(h.Blind); n > 0 {
		notes = append(notes, h.Blind[:min(n, 20)]...)
	}
	for _, t := range r.Truncated {
		notes = append(notes, "kept in the evidence only: "+t)
	}
	return []statement.Evidence{r.blob(b.Bytes(), MediaType, "capture of "+r.ID, notes)}
}

// ReadEvidence gives the lines of the evidence of a run to f, until it is over
// or f gives an error.
func ReadEvidence(in io.Reader, f func(*Line) error) error {
	s := bufio.NewScanner(io.LimitReader(in, maxEvidence))
	s.Buffer(make([]byte, 64<<10), maxLine)
	for n := 1; s.Scan(); n++ {
		var l Line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			return fmt.Errorf("reading the evidence of a run: line %d: %w", n, err)
		}
		if n == 1 && (l.Run == nil || l.Run.Version != 1) {
			return fmt.Errorf("reading the evidence of a run: it does not begin as version 1 does; a newer stemma may have written it")
		}
		if err := f(&l); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("reading the evidence of a run: %w", err)
	}
	return nil
}
